//! The worker's side of the ledger: claims a record, fills it in, publishes it. Async-signal-safe throughout: no
//! allocation, no lock, no system call.

use super::layout::{
    ADDRESS, AGE, CAUSE, CAUSE_EXIT, CAUSE_EXIT_WITH, CAUSE_OVERTIME, CAUSE_SIGNAL, CLAIMED, CLIENT,
    CLIENT_LENGTH, CODE, FRAME_COUNT, FRAMES, FREE, IN_APP, MAPS_LENGTH, MOST_FRAMES, NUMBER, PARKED, PC,
    PUBLISHED, RECORD_WORDS, RECORDS, REQUEST, REQUEST_LENGTH, SAID, SIGNAL, STACK_POINTER, STATE, THREAD,
    maps_of,
};
use super::{AcqRel, AtomicU64, Cause, Duration, Relaxed, Release, Said, WORD};

/// A worker's own area, for as long as the process lives.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Writer {
    words: &'static [AtomicU64],
}

/// A record that one thread is writing. One that is never published is never read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Draft {
    head: &'static [AtomicU64],
    maps: &'static [AtomicU64],
}

/// An exchange as the worker knows it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Subject<'a> {
    /// Its number on its thread's lane.
    pub number: u64,
    /// Its method.
    pub method: &'a [u8],
    /// Its path.
    pub path: &'a [u8],
    /// The client's address.
    pub client: &'a [u8],
    /// Since its first byte.
    pub age: Duration,
    /// Since the application has control.
    pub in_app: Duration,
}

impl Writer {
    pub(super) fn new(words: &'static [AtomicU64]) -> Writer {
        Writer { words }
    }

    /// Takes a record that nobody has; `None` when all are in use, and the master has not read them yet.
    pub(crate) fn claim(&self) -> Option<Draft> {
        (0..RECORDS).find_map(|record| {
            let head = &self.words[record * RECORD_WORDS..][..RECORD_WORDS];
            head[STATE].compare_exchange(FREE, CLAIMED, AcqRel, Relaxed).ok()?;
            head[STATE + 1..].iter().for_each(|word| word.store(0, Relaxed));
            Some(Draft { head, maps: &self.words[maps_of(record)] })
        })
    }
}

impl Draft {
    /// What happened.
    pub(crate) fn cause(&self, cause: Cause) {
        match cause {
            Cause::Signal { number, code, address } => {
                self.set(CAUSE, CAUSE_SIGNAL);
                self.set(SIGNAL, i64::from(number).cast_unsigned());
                self.set(CODE, i64::from(code).cast_unsigned());
                self.set(ADDRESS, address);
            }
            Cause::Overtime => self.set(CAUSE, CAUSE_OVERTIME),
            Cause::Exit { code: None } => self.set(CAUSE, CAUSE_EXIT),
            Cause::Exit { code: Some(code) } => {
                self.set(CAUSE, CAUSE_EXIT_WITH);
                self.set(CODE, i64::from(code).cast_unsigned());
            }
        }
    }

    /// On which thread.
    pub(crate) fn thread(&self, id: i32) {
        self.set(THREAD, i64::from(id).cast_unsigned());
    }

    /// In which exchange.
    pub(crate) fn exchange(&self, exchange: &Subject<'_>) {
        let room = REQUEST.len() * WORD;
        let mut line = [0; REQUEST.end * WORD];
        let mut length = 0;
        for piece in [exchange.method, b" ", exchange.path] {
            let piece = &piece[..piece.len().min(room - length)];
            line[length..length + piece.len()].copy_from_slice(piece);
            length += piece.len();
        }
        self.set(NUMBER, exchange.number);
        self.set(AGE, nanoseconds(exchange.age));
        self.set(IN_APP, nanoseconds(exchange.in_app));
        self.set(REQUEST_LENGTH, put(&self.head[REQUEST], &line[..length]));
        self.set(CLIENT_LENGTH, put(&self.head[CLIENT], exchange.client));
    }

    /// What its client was told.
    pub(crate) fn said(&self, said: Said) {
        self.set(SAID, said.to_word());
    }

    /// How many connections go with the worker that nobody was serving.
    pub(crate) fn parked(&self, count: u64) {
        self.set(PARKED, count);
    }

    /// Where the thread was.
    pub(crate) fn place(&self, pc: u64, stack_pointer: u64) {
        self.set(PC, pc);
        self.set(STACK_POINTER, stack_pointer);
    }

    /// One more return address, the innermost first; false when there is no more room.
    pub(crate) fn frame(&self, address: u64) -> bool {
        let count = usize::try_from(self.head[FRAME_COUNT].load(Relaxed)).unwrap_or(MOST_FRAMES);
        let Some(word) = self.head[FRAMES].get(count) else { return false };
        word.store(address, Relaxed);
        self.set(FRAME_COUNT, count as u64 + 1);
        true
    }

    /// A piece of /proc/self/maps; all but the last have a length that is a multiple of 8. False: there is no more room.
    pub(crate) fn maps(&self, piece: &[u8]) -> bool {
        let length = self.head[MAPS_LENGTH].load(Relaxed);
        let start = usize::try_from(length).unwrap_or(usize::MAX).div_ceil(WORD);
        let Some(room) = self.maps.get(start..) else { return false };
        let taken = put(room, piece);
        self.set(MAPS_LENGTH, length + taken);
        taken == piece.len() as u64
    }

    /// From here on the master may read it.
    pub(crate) fn publish(self) {
        self.head[STATE].store(PUBLISHED, Release);
    }

    fn set(&self, word: usize, value: u64) {
        self.head[word].store(value, Relaxed);
    }
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// Writes as many bytes as there is room for: how many.
fn put(words: &[AtomicU64], bytes: &[u8]) -> u64 {
    let bytes = &bytes[..bytes.len().min(words.len() * WORD)];
    for (word, piece) in words.iter().zip(bytes.chunks(WORD)) {
        let value = piece.iter().rfold(0, |value, byte| value << 8 | u64::from(*byte));
        word.store(value, Relaxed);
    }
    bytes.len() as u64
}
