//! A cell that belongs to one thread at a time, and remembers that it was wanted meanwhile.
//!
//! This is how threads share connections without a lock: whoever is told of an event claims the cell; if another
//! thread has it, that thread is told to look again before it lets go. One atomic, three states.

use std::cell::UnsafeCell;
use std::ops::{Deref, DerefMut};
use std::sync::atomic::AtomicU8;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Release};

const IDLE: u8 = 0;
const CLAIMED: u8 = 1;
const CLAIMED_AND_WANTED: u8 = 2;

/// A value that one thread at a time may hold.
#[derive(Debug, Default)]
pub(crate) struct Claim<T> {
    state: AtomicU8,
    value: UnsafeCell<T>,
}

// SAFETY: the value is reached only through a `Claimed`, of which `state` lets one exist at a time; so sharing the
// cell between threads hands the value from one to another and never to two at once.
unsafe impl<T: Send> Sync for Claim<T> {}

impl<T> Claim<T> {
    /// Claims the cell. If another thread holds it, that thread learns from [`Claimed::release`] that it was wanted.
    pub(crate) fn claim(&self) -> Option<Claimed<'_, T>> {
        loop {
            match self.state.compare_exchange(IDLE, CLAIMED, Acquire, Acquire) {
                Ok(_) => return Some(Claimed { cell: self }),
                Err(CLAIMED_AND_WANTED) => return None,
                Err(_) => {
                    if self.state.compare_exchange(CLAIMED, CLAIMED_AND_WANTED, AcqRel, Acquire).is_ok() {
                        return None;
                    }
                }
            }
        }
    }

    /// Claims the cell if nobody holds it, and leaves no trace otherwise.
    pub(crate) fn try_claim(&self) -> Option<Claimed<'_, T>> {
        self.state.compare_exchange(IDLE, CLAIMED, Acquire, Acquire).ok().map(|_| Claimed { cell: self })
    }
}

/// The right to use a claimed cell's value.
#[derive(Debug)]
pub(crate) struct Claimed<'a, T> {
    cell: &'a Claim<T>,
}

impl<'a, T> Claimed<'a, T> {
    /// Lets go, unless the cell was wanted meanwhile: then the claim comes back, for another look.
    pub(crate) fn release(self) -> Option<Claimed<'a, T>> {
        let cell = self.cell;
        std::mem::forget(self);
        if cell.state.compare_exchange(CLAIMED, IDLE, Release, Acquire).is_ok() {
            return None;
        }
        cell.state.store(CLAIMED, Release);
        Some(Claimed { cell })
    }
}

impl<T> Drop for Claimed<'_, T> {
    fn drop(&mut self) {
        self.cell.state.store(IDLE, Release);
    }
}

impl<T> Deref for Claimed<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: `state` is not IDLE while a `Claimed` exists, and nobody else makes one before it is.
        unsafe { &*self.cell.value.get() }
    }
}

impl<T> DerefMut for Claimed<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: as for `deref`; and `&mut self` keeps this claim's other borrows away.
        unsafe { &mut *self.cell.value.get() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wanted_cell_comes_back_once() {
        let cell = Claim::<u32>::default();
        let mut held = cell.claim().expect("nobody holds it");
        assert!(cell.claim().is_none());
        *held += 1;
        let again = held.release().expect("it was wanted");
        assert!(again.release().is_none());
        assert_eq!(*cell.claim().expect("it was let go"), 1);
    }

    #[test]
    fn a_try_leaves_no_trace() {
        let cell = Claim::<()>::default();
        let held = cell.claim().expect("nobody holds it");
        assert!(cell.try_claim().is_none());
        assert!(held.release().is_none());
    }

    #[test]
    fn no_two_threads_hold_a_cell_and_no_wish_is_lost() {
        let (cell, wishes) = (Claim::<u64>::default(), 50_000u64);
        let served = std::sync::atomic::AtomicU64::new(0);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..wishes {
                        let mut claim = cell.claim();
                        while let Some(mut held) = claim {
                            *held += 1;
                            served.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                            claim = held.release();
                        }
                    }
                });
            }
        });
        assert_eq!(*cell.claim().expect("all are done"), served.into_inner());
    }
}
