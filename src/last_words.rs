//! What a dying worker leaves behind: one generation's ledger, in memory that it shares with the master, with an area for
//! each slot. It does not decide when something is written, nor what becomes of it.
//!
//! A worker writes into its own area, from signal handlers: nothing here allocates on that side, takes a lock or makes a
//! system call. The master reads; whoever wrote may be broken, so every length is bounded and nothing is believed.

use std::fmt::{self, Display};
use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicU64, fence};
use std::time::Duration;

use crate::sys::memory::{self, Mapping, WORD, Word};

mod layout;
mod writer;

pub(crate) use layout::{MOST_FRAMES, RECORDS};
pub(crate) use writer::{Draft, Subject, Writer};

use layout::{
    ADDRESS, AGE, CAUSE, CLIENT, CLIENT_LENGTH, CODE, FRAME_COUNT, FRAMES, FREE, IN_APP, MAPS_BYTES,
    MAPS_LENGTH, NUMBER, PARKED, PC, PUBLISHED, RECORD_WORDS, REQUEST, REQUEST_LENGTH, SAID, SIGNAL,
    STACK_POINTER, STATE, THREAD,
};

/// The exit code of a worker that has one thread, and ended because a call on it was over its time.
pub(crate) const EXIT_OVERTIME: u8 = 124;

/// One generation's ledger. Clones are the same.
#[derive(Clone, Debug)]
pub(crate) struct Ledger {
    mapping: Arc<Mapping>,
    slots: usize,
    /// Words from one area to the next: whole pages.
    stride: usize,
}

/// One record: why a worker, or one call of it, came to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LastWords {
    /// What happened.
    pub cause: Cause,
    /// The kernel's id of the thread that it happened on; 0 if it was not written.
    pub thread: i32,
    /// The exchange that this thread was in.
    pub exchange: Option<Spoken>,
    /// What its client was told.
    pub said: Said,
    /// Connections of the worker that nobody was serving, which went with it.
    pub parked: u64,
    /// Where the thread was.
    pub pc: u64,
    /// Its stack pointer.
    pub stack_pointer: u64,
    /// Return addresses, the innermost first; the first one is [`LastWords::pc`] where it is known.
    pub frames: Vec<u64>,
    /// /proc/self/maps of the worker, maybe cut.
    pub maps: Vec<u8>,
}

/// Why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cause {
    /// A fault, or `abort()`.
    Signal {
        /// Its number.
        number: i32,
        /// `si_code` of it.
        code: i32,
        /// The address of a fault, where there is one.
        address: u64,
    },
    /// The call was over its time, and the master said so.
    Overtime,
    /// The application called `exit()`.
    Exit {
        /// With this, if that is known.
        code: Option<i32>,
    },
}

/// An exchange as its last words tell of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Spoken {
    /// Its number on its thread, as on the scoreboard.
    pub number: u64,
    /// `GET /path`, as it came from the network.
    pub method_and_path: String,
    /// The client's address.
    pub client: String,
    /// Since its first byte arrived.
    pub age: Duration,
    /// Since the application has control; zero when the host has it.
    pub in_app: Duration,
}

/// What the client of the exchange was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Said {
    /// There was no client to tell.
    Nothing,
    /// An answer with this status.
    Answered(u16),
    /// Nothing, the connection was cut: something of this answer had been sent.
    Begun,
    /// Nothing, the connection was cut: something earlier was unsent.
    Unsent,
    /// The client did not take the answer.
    NotTaken,
    /// What the application had said in time: its answer was made, and sent as far as the client took it.
    OwnAnswer,
}

impl Display for Said {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Said::Nothing => f.write_str("there was no request"),
            Said::Answered(status) => write!(f, "the client was answered {status}"),
            Said::Begun => f.write_str("the connection was cut, since the answer had begun"),
            Said::Unsent => f.write_str("the connection was cut, since something was still unsent"),
            Said::NotTaken => f.write_str("the client did not take an answer"),
            Said::OwnAnswer => f.write_str("the client was sent the application's answer"),
        }
    }
}

impl Ledger {
    /// An empty ledger. Whoever makes it may write all of it, and so may its forked children until they say
    /// [`Ledger::take_area`] or [`Ledger::read_only`].
    pub(crate) fn create(slots: usize) -> io::Result<Ledger> {
        let used = RECORDS * (RECORD_WORDS + MAPS_BYTES / WORD);
        let stride = used.next_multiple_of(memory::page_size() / WORD);
        let words = stride.checked_mul(slots).ok_or(io::ErrorKind::InvalidInput)?;
        let mapping = Mapping::create(c"unirs-last-words", words)?;
        // A core is written page by page: it would fetch all that nobody has touched. And it has better words than these.
        mapping.leave_out_of_cores()?;
        Ok(Ledger { mapping: Arc::new(mapping), slots, stride })
    }

    /// From here on this process only reads it.
    pub(crate) fn read_only(&self) -> io::Result<()> {
        self.mapping.read_only()
    }

    /// In the worker, once: from here on this process writes the area of this slot alone.
    pub(crate) fn take_area(&self, slot: usize) -> io::Result<Writer> {
        if slot >= self.slots {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        // A signal handler may come at any time until the process has ended, so the mapping stays as long.
        let mapping: &'static Mapping = Box::leak(Box::new(Arc::clone(&self.mapping)));
        Ok(Writer::new(mapping.claim(self.area(slot))?))
    }

    /// In the master: what has been published in a slot's area since the last time, in the order of its places. The
    /// places are free again.
    pub(crate) fn read(&self, slot: usize) -> Vec<LastWords> {
        if slot >= self.slots {
            return Vec::new();
        }
        (0..RECORDS).filter_map(|record| self.read_record(slot, record)).collect()
    }

    /// In the master: forgets what is there. Before a worker is spawned into the slot.
    pub(crate) fn clear(&self, slot: usize) {
        if slot < self.slots {
            (0..RECORDS).for_each(|record| self.free(slot, record));
        }
    }

    fn read_record(&self, slot: usize, record: usize) -> Option<LastWords> {
        let area = &self.mapping.words()[self.area(slot)];
        let head = &area[record * RECORD_WORDS..][..RECORD_WORDS];
        if head[STATE].load() != PUBLISHED {
            return None;
        }
        // What was written before it was published is seen after it was found so ...
        fence(Acquire);
        let maps = &area[layout::maps_of(record)];
        let words = read(head, maps);
        // ... and the place is given back after it was read.
        fence(Release);
        self.free(slot, record);
        words
    }

    /// The one word of a record that the master writes too.
    fn free(&self, slot: usize, record: usize) {
        let state = self.area(slot).start + record * RECORD_WORDS + STATE;
        const { assert!(FREE == 0) };
        // A process that may not write it has nothing to give back.
        let _ = self.mapping.clear(state..state + 1);
    }

    fn area(&self, slot: usize) -> Range<usize> {
        slot * self.stride..(slot + 1) * self.stride
    }
}

/// A record in words of our own; `None` for a cause that nobody writes on purpose.
fn read(head: &[Word], maps: &[Word]) -> Option<LastWords> {
    let number = |word: usize| head[word].load();
    let small = |word: usize| i32::try_from(number(word).cast_signed()).unwrap_or(0);
    let cause = match number(CAUSE) {
        layout::CAUSE_SIGNAL => {
            Cause::Signal { number: small(SIGNAL), code: small(CODE), address: number(ADDRESS) }
        }
        layout::CAUSE_OVERTIME => Cause::Overtime,
        layout::CAUSE_EXIT => Cause::Exit { code: None },
        layout::CAUSE_EXIT_WITH => Cause::Exit { code: Some(small(CODE)) },
        _ => return None,
    };
    let exchange = (number(NUMBER) != 0).then(|| Spoken {
        number: number(NUMBER),
        method_and_path: text(&head[REQUEST], number(REQUEST_LENGTH)),
        client: text(&head[CLIENT], number(CLIENT_LENGTH)),
        age: Duration::from_nanos(number(AGE)),
        in_app: Duration::from_nanos(number(IN_APP)),
    });
    let frames = usize::try_from(number(FRAME_COUNT)).unwrap_or(usize::MAX).min(MOST_FRAMES);
    Some(LastWords {
        cause,
        thread: small(THREAD),
        exchange,
        said: Said::from_word(number(SAID)),
        parked: number(PARKED),
        pc: number(PC),
        stack_pointer: number(STACK_POINTER),
        frames: head[FRAMES][..frames].iter().map(Word::load).collect(),
        maps: bytes(maps, number(MAPS_LENGTH)),
    })
}

fn text(words: &[Word], length: u64) -> String {
    String::from_utf8_lossy(&bytes(words, length)).into_owned()
}

fn bytes(words: &[Word], length: u64) -> Vec<u8> {
    let length = usize::try_from(length).unwrap_or(usize::MAX).min(words.len() * WORD);
    let mut bytes: Vec<u8> =
        words[..length.div_ceil(WORD)].iter().flat_map(|word| word.load().to_le_bytes()).collect();
    bytes.truncate(length);
    bytes
}

impl Said {
    fn to_word(self) -> u64 {
        match self {
            Said::Nothing => 0,
            Said::Begun => 1,
            Said::Unsent => 2,
            Said::NotTaken => 3,
            Said::OwnAnswer => 4,
            Said::Answered(status) => u64::from(status),
        }
    }

    fn from_word(word: u64) -> Said {
        match word {
            1 => Said::Begun,
            2 => Said::Unsent,
            3 => Said::NotTaken,
            4 => Said::OwnAnswer,
            status @ 100..=599 => Said::Answered(status as u16),
            _ => Said::Nothing,
        }
    }
}

#[cfg(test)]
mod tests;
