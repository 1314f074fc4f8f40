//! How the threads of a worker share its work: one holds the baton, the others sleep until they are needed.
//!
//! The thread with the baton waits for events and serves what it brought in itself, as a single thread would. Others
//! are woken when the lookout (`lookout.rs`) finds that something waits although somebody could serve it. A thread that
//! finds nothing to do sleeps again.
//!
//! Where many calls take longer than a tick, that is too late: then as many threads are woken at once as events are
//! expected to need one of their own. Where long calls leave the thread that serves the short ones no processor, as many
//! as came in: the kernel deals processors out by threads.

use std::sync::atomic::Ordering::{Acquire, Relaxed, SeqCst};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// A call that takes longer than this lets others wait for too long.
pub(super) const TICK: Duration = Duration::from_millis(1);

/// How often calls are long is judged by about so many of the last ones ...
const MEMORY: u32 = 32;

/// ... in parts of this whole.
const WHOLE: u32 = 1 << 16;

/// The threads of a worker, as far as they wait for each other.
#[derive(Debug)]
pub(super) struct Crew {
    size: usize,
    baton: AtomicBool,
    /// Threads that are neither asleep nor waiting for events.
    busy: AtomicUsize,
    /// How many calls take longer than a tick: a running average, in parts of [`WHOLE`]. Written by whoever made a
    /// call; one that is lost to another thread's does not matter.
    long_calls: AtomicU32,
    /// Calls take the processor from whoever serves the other requests. Written by the lookout.
    is_crowded: AtomicBool,
    berth: Mutex<Berth>,
    wake: Condvar,
    lookout_sleeps: AtomicBool,
    lookout_wake: Condvar,
    is_dismissed: AtomicBool,
}

/// What sleeping threads and those who wake them agree about.
#[derive(Debug, Default)]
struct Berth {
    asleep: usize,
    /// How many of the sleepers may get up.
    calls: usize,
}

impl Crew {
    /// A crew of `size` threads, all of them busy.
    pub(super) fn new(size: usize) -> Crew {
        Crew {
            size,
            baton: AtomicBool::new(false),
            busy: AtomicUsize::new(size),
            long_calls: AtomicU32::new(0),
            is_crowded: AtomicBool::new(false),
            berth: Mutex::new(Berth::default()),
            wake: Condvar::new(),
            lookout_sleeps: AtomicBool::new(false),
            lookout_wake: Condvar::new(),
            is_dismissed: AtomicBool::new(false),
        }
    }

    /// Takes the baton, if nobody has it.
    pub(super) fn take_baton(&self) -> bool {
        !self.baton.load(Relaxed) && !self.baton.swap(true, Acquire)
    }

    /// Whoever holds the baton does not want it after all.
    pub(super) fn lay_baton_down(&self) {
        self.baton.store(false, SeqCst);
    }

    /// The thread with the baton is about to wait for events.
    pub(super) fn begin_wait(&self) {
        self.busy.fetch_sub(1, Relaxed);
    }

    /// It has waited, and brought something in or not: lays the baton down.
    pub(super) fn end_wait(&self, brought: usize) {
        self.busy.fetch_add(1, SeqCst);
        self.lay_baton_down();
        if brought == 0 {
            return;
        }
        if self.lookout_sleeps.load(SeqCst) {
            self.wake_lookout();
        }
        let wanted =
            if self.is_crowded.load(Relaxed) { brought } else { self.expected_to_be_held_up(brought) };
        if wanted > 0 {
            self.call_up(wanted);
        }
    }

    /// How many threads so many events are expected to hold up, each for longer than a tick, if calls go on as the last
    /// ones did. One more is counted: the thread that brought them in would have waited for the next ones.
    fn expected_to_be_held_up(&self, events: usize) -> usize {
        let expected = (events + 1) * self.long_calls.load(Relaxed) as usize / WHOLE as usize;
        expected.min(events)
    }

    /// Do threads share the work? Then it matters how long calls take.
    pub(super) fn is_shared(&self) -> bool {
        self.size > 1
    }

    /// A call took so many nanoseconds.
    pub(super) fn note_call(&self, duration: u64) {
        let share = self.long_calls.load(Relaxed);
        let this = if Duration::from_nanos(duration) > TICK { WHOLE / MEMORY } else { 0 };
        self.long_calls.store(share - share / MEMORY + this, Relaxed);
    }

    /// Is a thread other than the one that asks in the middle of something?
    pub(super) fn others_are_busy(&self) -> bool {
        self.size > 1 && self.busy.load(Relaxed) > 1
    }

    /// Sleeps until the thread is needed, or until `limit` is over.
    pub(super) fn sleep(&self, limit: Option<Duration>) {
        let mut berth = self.lock();
        self.busy.fetch_sub(1, Relaxed);
        berth.asleep += 1;
        while berth.calls == 0 && !self.is_dismissed() {
            let Some(limit) = limit else {
                berth = self.wake.wait(berth).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            berth = self.wake.wait_timeout(berth, limit).unwrap_or_else(PoisonError::into_inner).0;
            break;
        }
        berth.calls = berth.calls.saturating_sub(1);
        berth.asleep -= 1;
        self.busy.fetch_add(1, Relaxed);
    }

    /// Everybody goes home: the sleepers wake, and nobody sleeps again.
    pub(super) fn dismiss(&self) {
        let _berth = self.lock();
        self.is_dismissed.store(true, SeqCst);
        self.wake.notify_all();
        self.lookout_wake.notify_all();
    }

    /// Has the worker's life ended?
    pub(super) fn is_dismissed(&self) -> bool {
        self.is_dismissed.load(Acquire)
    }

    /// How many threads are in the middle of something.
    pub(super) fn busy(&self) -> usize {
        self.busy.load(Relaxed)
    }

    /// Does nobody wait for events?
    pub(super) fn is_baton_down(&self) -> bool {
        !self.baton.load(Relaxed)
    }

    /// Do calls take the processor from whoever serves the other requests?
    pub(super) fn set_crowded(&self, is_crowded: bool) {
        self.is_crowded.store(is_crowded, Relaxed);
    }

    /// Wakes up to so many of those who sleep.
    pub(super) fn call_up(&self, wanted: usize) {
        let mut berth = self.lock();
        let called = wanted.min(berth.asleep.saturating_sub(berth.calls));
        berth.calls += called;
        for _ in 0..called {
            self.wake.notify_one();
        }
    }

    /// The lookout sleeps until there is something to look at.
    pub(super) fn sleep_as_lookout(&self) {
        let mut berth = self.lock();
        self.lookout_sleeps.store(true, SeqCst);
        if self.busy.load(SeqCst) > 0 {
            self.lookout_sleeps.store(false, SeqCst); // somebody began before the flag could be seen
        }
        while self.lookout_sleeps.load(SeqCst) && !self.is_dismissed() {
            berth = self.lookout_wake.wait(berth).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn wake_lookout(&self) {
        let _berth = self.lock();
        self.lookout_sleeps.store(false, SeqCst);
        self.lookout_wake.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, Berth> {
        self.berth.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A crew whose last 320 calls were short, but for one in so many.
    fn after_one_long_call_in(interval: u64) -> Crew {
        let crew = Crew::new(32);
        for call in 1..=320 {
            crew.note_call(if call % interval == 0 { 5_000_000 } else { 10_000 });
        }
        crew
    }

    #[test]
    fn nobody_is_woken_for_short_calls() {
        let crew = after_one_long_call_in(100);
        assert_eq!([1, 8, 32].map(|events| crew.expected_to_be_held_up(events)), [0, 0, 0]);
    }

    #[test]
    fn one_is_woken_for_each_event_where_all_calls_are_long() {
        let crew = after_one_long_call_in(1);
        assert_eq!([1, 2, 16].map(|events| crew.expected_to_be_held_up(events)), [1, 2, 16]);
    }

    #[test]
    fn between_the_two_as_many_as_will_be_held_up() {
        let crew = after_one_long_call_in(20);
        assert_eq!([1, 8, 32].map(|events| crew.expected_to_be_held_up(events)), [0, 0, 2]);
        let crew = after_one_long_call_in(2);
        assert_eq!([1, 8, 32].map(|events| crew.expected_to_be_held_up(events)), [1, 4, 16]);
    }
}
