//! What one wait for events brought in: a batch that any thread may take from, without a lock.
//!
//! Only the thread that holds the baton (crew.rs) fills it, and only when it is empty. Where it stands is one word:
//! a stamp that changes with each filling, how many events there are, and which is next. Taking one is a
//! compare-and-swap of that word; a taker that was asleep over a refill fails on the stamp.

use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicI32, AtomicU64};

use crate::sys::epoll::{HUNG_UP, READABLE, Readiness, WRITABLE};
use crate::sys::thread::Thread;

/// How many events one wait brings in at the most.
pub(super) const MOST_EVENTS: usize = 64;

/// What an event is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Token {
    /// A place in the connection table, or one of the numbers that the engine keeps for its own descriptors.
    pub index: u32,
    /// How often the place was taken before; tells a new occupant from the one that the event was for.
    pub tenure: u16,
}

impl Token {
    /// As the kernel keeps it.
    pub(super) fn to_word(self) -> u64 {
        u64::from(self.tenure) << 32 | u64::from(self.index)
    }

    fn from_word(word: u64) -> Token {
        Token { index: word as u32, tenure: (word >> 32) as u16 }
    }
}

/// An event: what is ready on what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Event {
    /// On what.
    pub token: Token,
    /// Bytes, or the end, can be read.
    pub readable: bool,
    /// Bytes can be written.
    pub writable: bool,
    /// The other side has closed its half, or the connection broke.
    pub hung_up: bool,
    /// When the wait ended that brought it, in nanoseconds of the monotonic clock.
    pub at: u64,
}

impl Event {
    fn to_word(readiness: Readiness) -> u64 {
        let flag = |bits: u32, at: u32| u64::from(readiness.bits & bits != 0) << at;
        readiness.token | flag(READABLE, 48) | flag(WRITABLE, 49) | flag(HUNG_UP, 50)
    }

    fn from_word(word: u64, at: u64) -> Event {
        let flag = |at: u32| word >> at & 1 == 1;
        Event { token: Token::from_word(word), readable: flag(48), writable: flag(49), hung_up: flag(50), at }
    }
}

/// The batch.
#[derive(Debug)]
pub(super) struct Harvest {
    cursor: AtomicU64,
    /// The number of the thread that took the last event, which comes for the next one when it can; 0: there was none.
    taker: AtomicI32,
    /// When the wait ended that brought them.
    brought_at: AtomicU64,
    events: [AtomicU64; MOST_EVENTS],
}

/// The cursor's word, taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cursor {
    stamp: u32,
    len: u16,
    next: u16,
}

impl Cursor {
    fn from_word(word: u64) -> Cursor {
        Cursor { stamp: (word >> 32) as u32, len: (word >> 16) as u16, next: word as u16 }
    }

    fn to_word(self) -> u64 {
        u64::from(self.stamp) << 32 | u64::from(self.len) << 16 | u64::from(self.next)
    }

    /// Is nothing left?
    pub(super) fn is_empty(self) -> bool {
        self.next >= self.len
    }

    /// Are both of the same filling?
    pub(super) fn is_of_filling(self, other: Cursor) -> bool {
        self.stamp == other.stamp
    }
}

impl Harvest {
    /// An empty batch.
    pub(super) fn new() -> Harvest {
        Harvest {
            cursor: AtomicU64::new(0),
            taker: AtomicI32::new(0),
            brought_at: AtomicU64::new(0),
            events: [const { AtomicU64::new(0) }; MOST_EVENTS],
        }
    }

    /// Takes the next event, for the thread that asks.
    pub(super) fn take(&self, taker: Thread) -> Option<Event> {
        loop {
            let word = self.cursor.load(Acquire);
            let cursor = Cursor::from_word(word);
            if cursor.is_empty() {
                return None;
            }
            let event = self.events[usize::from(cursor.next)].load(Relaxed);
            let at = self.brought_at.load(Relaxed);
            if self.cursor.compare_exchange_weak(word, word + 1, AcqRel, Acquire).is_ok() {
                self.note_taker(taker.as_raw());
                return Some(Event::from_word(event, at));
            }
        }
    }

    /// It is mostly the one that it was: then the others' copy of the cache line stays good.
    fn note_taker(&self, taker: i32) {
        if self.taker.load(Relaxed) != taker {
            self.taker.store(taker, Relaxed);
        }
    }

    /// The thread that took the last event.
    pub(super) fn taker(&self) -> Option<Thread> {
        Some(self.taker.load(Relaxed)).filter(|id| *id != 0).map(Thread::from_raw)
    }

    /// Puts in what a wait has brought that ended at `now`; how many there were. Only the holder of the baton, and only
    /// when empty.
    pub(super) fn fill(&self, events: impl Iterator<Item = Readiness>, now: u64) -> usize {
        self.brought_at.store(now, Relaxed);
        let mut len = 0;
        for (place, readiness) in self.events.iter().zip(events) {
            place.store(Event::to_word(readiness), Relaxed);
            len += 1;
        }
        let stamp = self.cursor().stamp.wrapping_add(1);
        self.cursor.store(Cursor { stamp, len, next: 0 }.to_word(), Release);
        usize::from(len)
    }

    /// Where it stands.
    pub(super) fn cursor(&self) -> Cursor {
        Cursor::from_word(self.cursor.load(Acquire))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn readiness(index: u32) -> Readiness {
        Readiness { bits: READABLE, token: Token { index, tenure: 7 }.to_word() }
    }

    #[test]
    fn what_was_put_in_comes_out_once() {
        let harvest = Harvest::new();
        assert_eq!(harvest.fill([3, 4].map(readiness).into_iter(), 5), 2);
        let event = harvest.take(Thread::current()).expect("two were put in");
        assert_eq!(
            (event.token, event.readable, event.writable, event.at),
            (Token { index: 3, tenure: 7 }, true, false, 5)
        );
        assert_eq!(harvest.take(Thread::current()).map(|event| event.token.index), Some(4));
        assert_eq!(harvest.take(Thread::current()), None);
    }

    #[test]
    fn many_takers_share_many_fillings() {
        let (harvest, rounds) = (Harvest::new(), 5_000u32);
        let (taken, filled) = (AtomicU64::new(0), AtomicU64::new(0));
        let is_over = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    while !is_over.load(Acquire) || !harvest.cursor().is_empty() {
                        if let Some(event) = harvest.take(Thread::current()) {
                            taken.fetch_add(u64::from(event.token.index), Relaxed);
                            assert!((event.at..event.at + 10).contains(&event.token.index.into()));
                        }
                    }
                });
            }
            for round in 0..rounds {
                while !harvest.cursor().is_empty() {
                    std::hint::spin_loop();
                }
                harvest.fill((round..round + 10).map(readiness), round.into());
                filled.fetch_add((round..round + 10).map(u64::from).sum(), Relaxed);
            }
            is_over.store(true, Release);
        });
        assert_eq!(taken.into_inner(), filled.into_inner());
    }
}
