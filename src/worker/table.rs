//! The connections of a worker: places that are claimed by one thread at a time, made in chunks, never freed.
//!
//! A place that is never freed makes a stale event harmless: it finds the place vacant, or with another tenure.

use std::sync::atomic::AtomicU16;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use super::harvest::Token;
use crate::sys::claim::Claim;

/// Places in a chunk.
const CHUNK: usize = 256;

/// A deadline that never comes.
pub(super) const NEVER: u64 = u64::MAX;

/// Where a connection lives.
#[derive(Debug)]
pub(super) struct Place<T> {
    /// The connection.
    pub occupant: Claim<T>,
    /// When it has to be looked at again if nothing happens, in nanoseconds of the monotonic clock. Written by whoever
    /// held the claim last, after its look; read by whoever sweeps.
    deadline: AtomicU64,
    tenure: AtomicU16,
}

type Chunk<T> = Box<[Place<T>]>;

/// All places.
#[derive(Debug)]
pub(super) struct Table<T> {
    chunks: Vec<OnceLock<Chunk<T>>>,
    vacant: Mutex<Vacant>,
    occupied: AtomicUsize,
    capacity: usize,
}

/// Places without an occupant: those that had one, and those from `unused` on.
#[derive(Debug, Default)]
struct Vacant {
    freed: Vec<u32>,
    unused: u32,
}

impl<T: Default> Table<T> {
    /// A table with room for `capacity` connections.
    pub(super) fn new(capacity: usize) -> Table<T> {
        let chunks = (0..capacity.div_ceil(CHUNK)).map(|_| OnceLock::new()).collect();
        Table { chunks, vacant: Mutex::default(), occupied: AtomicUsize::new(0), capacity }
    }

    /// How many places are taken.
    pub(super) fn occupied(&self) -> usize {
        self.occupied.load(Relaxed)
    }

    /// Is there no room?
    pub(super) fn is_full(&self) -> bool {
        self.occupied() >= self.capacity
    }

    /// Takes a place, if there is one.
    pub(super) fn enter(&self) -> Option<Token> {
        let mut vacant = self.lock();
        let index = match vacant.freed.pop() {
            Some(index) => index,
            None if (vacant.unused as usize) < self.capacity => {
                vacant.unused += 1;
                vacant.unused - 1
            }
            None => return None,
        };
        self.occupied.store(self.occupied() + 1, Relaxed);
        drop(vacant);
        Some(Token { index, tenure: self.place(index).tenure.load(Acquire) })
    }

    /// Gives a place back. The caller holds its claim, and has emptied it.
    pub(super) fn leave(&self, index: u32) {
        let place = self.place(index);
        place.deadline.store(NEVER, Relaxed);
        place.tenure.store(place.tenure.load(Relaxed).wrapping_add(1), Release);
        let mut vacant = self.lock();
        self.occupied.store(self.occupied() - 1, Relaxed);
        vacant.freed.push(index);
    }

    /// The place with that index.
    #[inline]
    pub(super) fn place(&self, index: u32) -> &Place<T> {
        let index = index as usize;
        let chunk = self.chunks[index / CHUNK].get_or_init(|| (0..CHUNK).map(|_| Place::new()).collect());
        &chunk[index % CHUNK]
    }

    /// The places that have ever been taken, with their indices.
    pub(super) fn places(&self) -> impl Iterator<Item = (u32, &Place<T>)> {
        let unused = self.lock().unused;
        (0..unused).map(|index| (index, self.place(index)))
    }

    fn lock(&self) -> MutexGuard<'_, Vacant> {
        self.vacant.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T: Default> Place<T> {
    fn new() -> Place<T> {
        Place { occupant: Claim::default(), deadline: AtomicU64::new(NEVER), tenure: AtomicU16::new(0) }
    }

    /// Is this still the tenant that `token` names?
    pub(super) fn is_tenant(&self, token: Token) -> bool {
        self.tenure.load(Acquire) == token.tenure
    }

    /// See the field.
    pub(super) fn deadline(&self) -> u64 {
        self.deadline.load(Relaxed)
    }

    /// Says when the connection has to be looked at. The caller holds the claim.
    pub(super) fn set_deadline(&self, deadline: u64) {
        self.deadline.store(deadline, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_given_back_with_a_new_tenure() {
        let table = Table::<u8>::new(2);
        let (first, second) = (table.enter().expect("empty"), table.enter().expect("one is left"));
        assert!(table.is_full() && table.enter().is_none());
        table.leave(first.index);
        let third = table.enter().expect("one was given back");
        assert_eq!((third.index, third.tenure), (first.index, first.tenure + 1));
        assert!(!table.place(first.index).is_tenant(first) && table.place(second.index).is_tenant(second));
    }
}
