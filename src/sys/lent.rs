//! A value that a thread shows to its own signal handlers, while somebody further up its stack owns it.

use std::ptr;
use std::sync::atomic::AtomicPtr;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::sync::atomic::compiler_fence;

/// Nothing, or where the value is.
#[derive(Debug)]
pub(crate) struct Lent<T>(AtomicPtr<T>);

impl<T> Lent<T> {
    /// Nothing is shown.
    pub(crate) const fn nothing() -> Lent<T> {
        Lent(AtomicPtr::new(ptr::null_mut()))
    }

    /// Shows `value`, which stays where it is until [`Lent::take_back`]. A pointer, since its owner goes on changing it.
    #[inline]
    pub(crate) fn lend(&self, value: *const T) {
        self.0.store(value.cast_mut(), Relaxed);
        compiler_fence(SeqCst);
    }

    /// From here on a signal handler sees nothing.
    #[inline]
    pub(crate) fn take_back(&self) {
        compiler_fence(SeqCst);
        self.0.store(ptr::null_mut(), Relaxed);
    }

    /// The value, for a signal handler on the very thread that has lent it. That thread stands still meanwhile. If it stands
    /// in the middle of a change, what is seen may be torn; so this is for last words only, after which nothing matters
    /// more than that they were tried, and for a thread that stands in code of the application's.
    pub(crate) fn look(&self) -> Option<&T> {
        let value = self.0.load(Relaxed);
        // SAFETY: `lend` was promised that it stays there, and `take_back` comes before it goes.
        unsafe { value.as_ref() }
    }
}
