//! How the threads of a worker share its work: one holds the baton, the others sleep until they are needed.
//!
//! The thread with the baton waits for events and serves what it brought in itself, as a single thread would. Once
//! in a tick, while any call is under way, the lookout asks two questions: has something that was brought in waited
//! for a whole tick? Is something ready, and has nobody waited for events for a whole tick? Only then is one more
//! thread woken (and more at once, while that does not help). A thread that finds nothing to do sleeps again.
//!
//! Where many calls take longer than a tick, that is too late: then as many threads are woken as events came in.

use std::sync::atomic::Ordering::{Acquire, Relaxed, SeqCst};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::harvest::{Cursor, Harvest};

/// How long something waits before another thread is woken for it.
const TICK: Duration = Duration::from_millis(1);

/// After so many ticks without a call the lookout sleeps too.
const QUIET_TICKS: u32 = 20;

/// How often calls are long is judged by about so many of the last ones ...
const MEMORY: u32 = 32;

/// ... in parts of this whole.
const WHOLE: u32 = 1 << 16;

/// When more than a tenth of the calls are long, each is expected to be.
const MANY: u32 = WHOLE / 10;

/// Never wakes more threads at once than this.
const MOST_WOKEN: usize = 16;

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
        if brought > 0 && self.lookout_sleeps.load(SeqCst) {
            self.wake_lookout();
        }
        if brought > 0 && self.size > 1 && self.long_calls.load(Relaxed) > MANY {
            self.call_up(brought);
        }
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

    /// The lookout's life: a thread of its own, for a crew of more than one. `is_ready` asks the kernel whether there
    /// are events that nobody has fetched; `someone_waits_inside` says that the application lets threads wait for a
    /// lock of its own, so that one more would only wait with them.
    pub(super) fn keep_lookout(
        &self,
        harvest: &Harvest,
        is_ready: impl Fn() -> bool,
        someone_waits_inside: impl Fn() -> bool,
    ) {
        let mut watch = Watch::new(harvest.cursor());
        while !self.is_dismissed() {
            if watch.quiet_ticks > QUIET_TICKS {
                self.sleep_as_lookout();
                watch = Watch::new(harvest.cursor());
            }
            std::thread::sleep(TICK);
            let unattended = !self.baton.load(Relaxed) && is_ready();
            let woken = watch.tick(harvest.cursor(), unattended, self.busy.load(Relaxed) > 0);
            if woken > 0 && !someone_waits_inside() {
                self.call_up(woken);
            }
        }
    }

    fn call_up(&self, wanted: usize) {
        let mut berth = self.lock();
        let called = wanted.min(berth.asleep.saturating_sub(berth.calls));
        berth.calls += called;
        for _ in 0..called {
            self.wake.notify_one();
        }
    }

    fn sleep_as_lookout(&self) {
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

/// What the lookout remembers from one tick to the next.
#[derive(Debug)]
struct Watch {
    seen: Cursor,
    was_unattended: bool,
    next_wave: usize,
    quiet_ticks: u32,
}

impl Watch {
    fn new(seen: Cursor) -> Watch {
        Watch { seen, was_unattended: false, next_wave: 1, quiet_ticks: 0 }
    }

    /// How many threads to wake, now that a tick has passed.
    fn tick(&mut self, now: Cursor, is_unattended: bool, someone_is_busy: bool) -> usize {
        let is_stale = !now.is_empty() && now.is_of_filling(self.seen);
        let nothing_moved = now == self.seen;
        let is_needed = is_stale || is_unattended && self.was_unattended;
        self.seen = now;
        self.was_unattended = is_unattended;
        self.quiet_ticks = if someone_is_busy { 0 } else { self.quiet_ticks + 1 };
        if !is_needed {
            self.next_wave = 1;
            return 0;
        }
        let wave = self.next_wave;
        self.next_wave = if nothing_moved { (wave * 2).min(MOST_WOKEN) } else { 1 };
        wave
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::epoll::Readiness;

    fn filled(harvest: &Harvest, events: u64) -> Cursor {
        harvest.fill((0..events).map(|token| Readiness { bits: 1, token }));
        harvest.cursor()
    }

    #[test]
    fn only_what_waits_a_whole_tick_wakes_somebody() {
        let harvest = Harvest::new();
        let mut watch = Watch::new(harvest.cursor());
        assert_eq!(watch.tick(filled(&harvest, 2), false, true), 0, "brought in since the last tick");
        assert_eq!(watch.tick(harvest.cursor(), false, true), 1, "still there a tick later");
    }

    #[test]
    fn more_are_woken_while_nothing_moves() {
        let harvest = Harvest::new();
        let cursor = filled(&harvest, 9);
        let mut watch = Watch::new(cursor);
        let waves = [(); 6].map(|()| watch.tick(cursor, false, true));
        assert_eq!(waves, [1, 2, 4, 8, 16, 16]);
        harvest.take();
        assert_eq!(
            watch.tick(harvest.cursor(), false, true),
            16,
            "the last wave was decided before it moved"
        );
        harvest.take();
        assert_eq!(watch.tick(harvest.cursor(), false, true), 1);
    }

    #[test]
    fn events_that_nobody_fetches_wake_somebody_at_the_second_tick() {
        let harvest = Harvest::new();
        let mut watch = Watch::new(harvest.cursor());
        assert_eq!([(); 3].map(|()| watch.tick(harvest.cursor(), true, true)), [0, 1, 2]);
    }
}
