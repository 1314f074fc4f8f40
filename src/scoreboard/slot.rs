//! A worker's slot as others read it, and where its words are.

use std::sync::atomic::{Ordering, fence};

use super::Monotonic;
use super::lane::{self, Lane};
use super::totals::Totals;
use crate::sys::memory::Word;

// The words of a slot's header, each with its only writer. Words that change often have cache lines (of 128 bytes, since
// processors fetch them in pairs) of their own, away from those that stay.

/// The worker's main thread: its [`SlotState`].
pub(super) const STATE: usize = 0;
/// The engine (one thread at a time): what the application said to `ready`: 0 never asked, 1 no, 2 yes.
pub(super) const READY: usize = 1;
/// The engine: when it said so.
pub(super) const READY_AT: usize = 2;
/// Whoever registers a counter, under the seat's lock: how many have names.
pub(super) const COUNTERS_USED: usize = 3;
/// The thread that polls: when the engine last took a turn.
pub(super) const LAST_TURN: usize = 16;
/// The thread that polls: whether it is in its wait for events (1) or not (0).
pub(super) const POLLING: usize = 17;
/// The engine, one thread at a time: connections that are open.
pub(super) const CONNECTIONS: usize = 32;
/// The engine, one thread at a time: connections accepted since the start.
pub(super) const ACCEPTS: usize = 33;
/// The application's counters: the value (any thread of the application adds to it), then the name (written once, by
/// whoever registers it). 64 bytes each, so that two counters do not share a cache line.
pub(super) const FIRST_COUNTER: usize = 48;

/// How many counters an application can have.
pub const COUNTERS: usize = 16;
pub(super) const COUNTER_WORDS: usize = 8;
/// The longest name of a counter.
pub(super) const COUNTER_NAME: usize = (COUNTER_WORDS - 1) * 8;
/// Up to the first lane; whole 128-byte lines.
pub(super) const HEADER_WORDS: usize = FIRST_COUNTER + COUNTERS * COUNTER_WORDS;

const _: () = assert!(HEADER_WORDS.is_multiple_of(16));

/// Where a worker is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SlotState {
    /// Nobody has taken the seat.
    Free,
    /// It loads.
    Booting,
    /// It serves.
    Ready,
    /// It has left its listeners and finishes what is in flight.
    Draining,
}

impl SlotState {
    pub(super) fn to_word(self) -> u64 {
        match self {
            SlotState::Free => 0,
            SlotState::Booting => 1,
            SlotState::Ready => 2,
            SlotState::Draining => 3,
        }
    }

    fn from_word(word: u64) -> Option<SlotState> {
        match word {
            0 => Some(SlotState::Free),
            1 => Some(SlotState::Booting),
            2 => Some(SlotState::Ready),
            3 => Some(SlotState::Draining),
            _ => None,
        }
    }
}

/// What the application last said to `ready`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Readiness {
    /// Yes or no.
    pub ready: bool,
    /// When.
    pub at: Monotonic,
}

/// A worker's slot, to read. Each call looks anew.
#[derive(Clone, Copy, Debug)]
pub struct Slot<'a> {
    words: &'a [Word],
    lanes: usize,
}

impl<'a> Slot<'a> {
    pub(super) fn new(words: &'a [Word], lanes: usize) -> Slot<'a> {
        Slot { words, lanes }
    }

    /// Where the worker is in its life; `None` for a word that no worker writes on purpose.
    pub fn state(&self) -> Option<SlotState> {
        let state = SlotState::from_word(self.words[STATE].load());
        // What the worker had written before it said so is seen after it was read.
        fence(Ordering::Acquire);
        state
    }

    /// When the engine last took a turn; 0: not yet. It may be absurd: compare, do not subtract.
    pub fn last_turn(&self) -> Monotonic {
        self.words[LAST_TURN].load()
    }

    /// Connections that are open.
    pub fn connections(&self) -> u64 {
        self.words[CONNECTIONS].load()
    }

    /// Connections accepted since the start.
    pub fn accepts(&self) -> u64 {
        self.words[ACCEPTS].load()
    }

    /// Whether a thread of it waits for events right now, so that it would take a connection at once.
    pub fn polling(&self) -> bool {
        self.words[POLLING].load() == 1
    }

    /// What the application last said to `ready`; `None`: not asked yet.
    pub fn readiness(&self) -> Option<Readiness> {
        let at = self.words[READY_AT].load();
        match self.words[READY].load() {
            1 => Some(Readiness { ready: false, at }),
            2 => Some(Readiness { ready: true, at }),
            _ => None,
        }
    }

    /// How many lanes there are.
    pub fn lanes(&self) -> usize {
        self.lanes
    }

    /// The lane of one thread. `index` is below [`Slot::lanes`], else it panics.
    pub fn lane(&self, index: usize) -> Lane<'a> {
        assert!(index < self.lanes, "lane {index} of {}", self.lanes);
        let start = HEADER_WORDS + index * lane::WORDS;
        Lane::new(&self.words[start..start + lane::WORDS])
    }

    /// Is a thread outside of a call?
    pub fn has_idle_lane(&self) -> bool {
        (0..self.lanes).any(|index| self.lane(index).exchange().is_none())
    }

    /// All lanes added up.
    pub fn totals(&self) -> Totals {
        let mut sum = Totals::default();
        for index in 0..self.lanes {
            sum.add(&self.lane(index).totals());
        }
        sum
    }

    /// Exchanges that have ended, on all lanes.
    pub fn requests(&self) -> u64 {
        (0..self.lanes).fold(0, |sum: u64, index| sum.saturating_add(self.lane(index).requests()))
    }

    /// The application's counters that have names, with their values.
    pub fn counters(&self) -> Vec<(String, u64)> {
        let used = usize::try_from(self.words[COUNTERS_USED].load()).unwrap_or(COUNTERS);
        // The names were written before the number that covers them.
        fence(Ordering::Acquire);
        (0..used.min(COUNTERS)).map(|index| self.counter(index)).collect()
    }

    fn counter(&self, index: usize) -> (String, u64) {
        let start = FIRST_COUNTER + index * COUNTER_WORDS;
        let words = &self.words[start..start + COUNTER_WORDS];
        let name: Vec<u8> = words[1..].iter().flat_map(|word| word.load().to_le_bytes()).collect();
        let end = name.iter().position(|byte| *byte == 0).unwrap_or(name.len());
        (String::from_utf8_lossy(&name[..end]).into_owned(), words[0].load())
    }
}
