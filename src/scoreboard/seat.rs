//! A worker's own slot, to write.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use super::lane::{self, LaneWriter};
use super::slot::{
    ACCEPTS, CONNECTIONS, COUNTER_NAME, COUNTER_WORDS, COUNTERS, COUNTERS_USED, FIRST_COUNTER, HEADER_WORDS,
    LAST_TURN, POLLING, READY, READY_AT, STATE, SlotState,
};
use super::{Monotonic, Scoreboard};

/// A worker's own slot. It lasts as long as the process, and may be shared by its threads; which of them writes what is
/// said at each method.
#[derive(Debug)]
pub struct Seat {
    /// The whole board, to read.
    board: &'static Scoreboard,
    /// Which slot it is.
    index: usize,
    /// Its words.
    words: &'static [AtomicU64],
    /// Its lanes, one for each thread.
    lanes: Vec<LaneWriter>,
    /// The names that were registered. Locked over each registration.
    counters: Mutex<Vec<String>>,
}

impl Seat {
    pub(super) fn new(board: &'static Scoreboard, index: usize, words: &'static [AtomicU64]) -> Seat {
        let lanes = words[HEADER_WORDS..].as_chunks::<{ lane::WORDS }>().0.iter();
        let lanes = lanes.take(board.lanes()).map(LaneWriter::new).collect();
        let seat = Seat { board, index, words, lanes, counters: Mutex::default() };
        seat.set_state(SlotState::Booting);
        seat
    }

    /// The whole board, which this process can only read.
    pub fn board(&self) -> &'static Scoreboard {
        self.board
    }

    /// Which slot it is.
    pub fn index(&self) -> usize {
        self.index
    }

    /// Where the worker is in its life. The main thread.
    pub fn set_state(&self, state: SlotState) {
        // A reader that sees the state sees all that was written before it.
        self.words[STATE].store(state.to_word(), Ordering::Release);
    }

    /// The engine takes a turn. The thread that polls.
    #[inline]
    pub fn turn(&self, now: Monotonic) {
        self.store(LAST_TURN, now);
    }

    /// Whether a thread waits for events. The thread that polls.
    #[inline]
    pub fn set_polling(&self, polling: bool) {
        self.store(POLLING, u64::from(polling));
    }

    /// How many connections are open. One thread at a time.
    #[inline]
    pub fn set_connections(&self, count: u64) {
        self.store(CONNECTIONS, count);
    }

    /// One more connection was accepted. One thread at a time.
    #[inline]
    pub fn accepted(&self) {
        let before = self.words[ACCEPTS].load(Ordering::Relaxed);
        self.store(ACCEPTS, before.wrapping_add(1));
    }

    /// What the application said to `ready`. One thread at a time.
    pub fn set_ready(&self, ready: bool, now: Monotonic) {
        self.store(READY_AT, now);
        self.store(READY, if ready { 2 } else { 1 });
    }

    /// The application's counter of this name, made at the first call; any thread adds to it. `None`: the name is empty,
    /// longer than 56 bytes or has a NUL, or there are 16 others already.
    pub fn counter(&self, name: &str) -> Option<&'static AtomicU64> {
        register(self.words, &self.counters, name)
    }

    /// Registers what a draft has registered, in the same order: its counters are this seat's memory.
    pub(super) fn adopt(&self, names: Vec<String>) {
        for name in names {
            self.counter(&name);
        }
    }

    /// The lane of thread `index`, below the board's number of lanes, else it panics.
    #[inline]
    pub fn lane(&self, index: usize) -> &LaneWriter {
        &self.lanes[index]
    }

    /// The exchange of a lane that the master holds to be over its time; 0: none. Async-signal-safe.
    pub fn summoned(&self, lane: usize) -> u64 {
        self.board.summoned(self.index, lane)
    }

    #[inline]
    fn store(&self, word: usize, value: u64) {
        self.words[word].store(value, Ordering::Relaxed);
    }
}

/// Finds or makes the counter of that name among the words of a slot's header.
pub(super) fn register(
    words: &'static [AtomicU64],
    names: &Mutex<Vec<String>>,
    name: &str,
) -> Option<&'static AtomicU64> {
    if name.is_empty() || name.len() > COUNTER_NAME || name.contains('\0') {
        return None;
    }
    let mut names = names.lock().unwrap_or_else(PoisonError::into_inner);
    let known = names.iter().position(|known| known == name);
    let index = known.unwrap_or(names.len());
    if index >= COUNTERS {
        return None;
    }
    let start = FIRST_COUNTER + index * COUNTER_WORDS;
    let counter = &words[start..start + COUNTER_WORDS];
    if known.is_none() {
        names.push(name.to_owned());
        write_name(&counter[1..], name);
        // A reader that counts this one sees its name.
        words[COUNTERS_USED].store(names.len() as u64, Ordering::Release);
    }
    Some(&counter[0])
}

/// NUL-padded.
fn write_name(words: &[AtomicU64], name: &str) {
    let mut bytes = [0; COUNTER_NAME];
    bytes[..name.len()].copy_from_slice(name.as_bytes());
    for (word, piece) in words.iter().zip(bytes.as_chunks::<8>().0) {
        word.store(u64::from_le_bytes(*piece), Ordering::Relaxed);
    }
}
