//! The lookout: a thread that serves nobody. It looks whether something waits although the worker has a thread that could
//! serve it, and wakes one, then more, as long as that does not help.
//!
//! It has two questions. Has something that was brought in waited for a whole tick? Has nobody waited for events for a
//! whole tick? The thread that took the last event is the one that comes for the next and then waits for more; as long
//! as that only lacks a processor, another thread would lack it too, and nobody is woken.
//!
//! Looking is not free: each look takes the processor from somebody, and tears apart what would have been served in one
//! go. So it looks less often when it was not needed for a while, and not at all when nothing is under way.

use std::time::Duration;

use super::crew::TICK;
use super::engine::Engine;
use super::harvest::Cursor;
use crate::sys::thread::{self, Thread};

/// From one look to the next, when nobody was needed in the last ones.
const CALM_TICK: Duration = Duration::from_millis(4);

/// After so many looks at which nobody was needed: half a second.
const CALM_LOOKS: u32 = 500;

/// After so many looks with nobody at work the lookout sleeps too.
const QUIET_LOOKS: u32 = 20;

/// For so many looks it is remembered that calls took the processors from others.
const CROWDED_LOOKS: u32 = 100;

/// Never wakes more threads at once than this.
const MOST_WOKEN: usize = 16;

/// The lookout's life, in a worker with more than one thread.
pub(super) fn keep(engine: &Engine) {
    let crew = &engine.crew;
    let mut watch = Watch::new(engine.harvest.cursor());
    while !crew.is_dismissed() {
        if watch.quiet_looks > QUIET_LOOKS {
            crew.sleep_as_lookout();
            watch = Watch::new(engine.harvest.cursor());
        }
        std::thread::sleep(watch.tick());
        let wanted = watch.look(&Sight::of(engine), Thread::is_runnable);
        crew.set_crowded(watch.crowded_looks > 0);
        if wanted > 0 && !engine.someone_waits_inside() {
            crew.call_up(wanted);
        }
    }
}

/// What one look shows.
#[derive(Clone, Copy, Debug)]
struct Sight {
    cursor: Cursor,
    /// Nobody waits for events.
    is_unattended: bool,
    /// Something was brought in and not taken, or is ready and nobody waits for it.
    something_waits: bool,
    /// Threads in the middle of something.
    busy: usize,
    taker: Option<Taker>,
    /// For how long all threads together have ever had a processor.
    run_time: Duration,
}

/// The thread that took the last event, and for how long it has ever had a processor.
#[derive(Clone, Copy, Debug)]
struct Taker {
    thread: Thread,
    run_time: Duration,
}

impl Sight {
    fn of(engine: &Engine) -> Sight {
        let taker = || {
            let thread = engine.harvest.taker()?;
            Some(Taker { thread, run_time: thread.run_time()? })
        };
        let (cursor, is_unattended) = (engine.harvest.cursor(), engine.crew.is_baton_down());
        Sight {
            cursor,
            is_unattended,
            something_waits: !cursor.is_empty() || is_unattended && engine.epoll.is_ready(),
            busy: engine.crew.busy(),
            taker: taker(),
            run_time: thread::run_time_of_all(),
        }
    }
}

/// What the lookout remembers from one look to the next.
#[derive(Debug)]
struct Watch {
    /// Where the harvest stood.
    seen: Cursor,
    /// Nobody waited for events.
    was_unattended: bool,
    taker: Option<Taker>,
    /// What all threads together had run.
    run_time: Duration,
    /// How many threads to wake when somebody is needed; it grows while that moves nothing.
    next_wave: usize,
    /// Looks in a row with nobody at work.
    quiet_looks: u32,
    /// Looks in a row at which nobody was needed.
    calm_looks: u32,
    /// Looks for which it is still remembered that calls took the processors from others.
    crowded_looks: u32,
}

impl Watch {
    fn new(seen: Cursor) -> Watch {
        Watch {
            seen,
            was_unattended: false,
            taker: None,
            run_time: Duration::ZERO,
            next_wave: 1,
            quiet_looks: 0,
            calm_looks: 0,
            crowded_looks: 0,
        }
    }

    /// How long to wait for the next look.
    fn tick(&self) -> Duration {
        if self.calm_looks < CALM_LOOKS { TICK } else { CALM_TICK }
    }

    /// How many threads to wake, now that a tick has passed.
    fn look(&mut self, now: &Sight, is_runnable: impl FnOnce(Thread) -> Option<bool>) -> usize {
        let nothing_fetched = now.cursor.is_of_filling(self.seen);
        let nothing_moved = now.cursor == self.seen;
        let is_late = nothing_fetched && (!now.cursor.is_empty() || now.is_unattended && self.was_unattended);
        let lacks_a_processor = is_late && self.lacks_a_processor(now.taker, is_runnable);
        let is_needed = is_late && (now.busy > 1 || !lacks_a_processor);
        self.crowded_looks = if lacks_a_processor && self.calls_have_run(now) {
            CROWDED_LOOKS
        } else {
            self.crowded_looks.saturating_sub(1)
        };
        self.seen = now.cursor;
        self.was_unattended = now.is_unattended;
        self.taker = now.taker;
        self.run_time = now.run_time;
        self.quiet_looks = if now.busy > 0 { 0 } else { self.quiet_looks + 1 };
        if !is_needed {
            self.calm_looks = self.calm_looks.saturating_add(1);
            self.next_wave = 1;
            return 0;
        }
        self.calm_looks = 0;
        let wave = self.next_wave;
        self.next_wave = if nothing_moved && now.something_waits { (wave * 2).min(MOST_WOKEN) } else { 1 };
        wave
    }

    /// Would the one who comes for the next event go on if it had a processor? It has had less than half of one since
    /// the last look, and waits for nothing else.
    fn lacks_a_processor(
        &self,
        now: Option<Taker>,
        is_runnable: impl FnOnce(Thread) -> Option<bool>,
    ) -> bool {
        let (Some(before), Some(now)) = (self.taker, now) else { return false };
        let has_run = now.run_time.saturating_sub(before.run_time);
        let had_a_processor = before.thread == now.thread && has_run >= self.tick() / 2;
        !had_a_processor && is_runnable(now.thread).unwrap_or(false)
    }

    /// Have threads in calls had a good part of a processor since the last look?
    fn calls_have_run(&self, now: &Sight) -> bool {
        now.busy > 1 && now.run_time.saturating_sub(self.run_time) >= self.tick() / 2
    }
}

#[cfg(test)]
mod tests {
    use super::super::harvest::Harvest;
    use super::*;
    use crate::sys::epoll::Readiness;

    const THREAD: i32 = 7;

    /// A look at this harvest while the thread that took the last event, if there is one, has run for so long in all.
    fn sight(harvest: &Harvest, is_unattended: bool, run_time: Duration) -> Sight {
        let taker = harvest.taker().map(|thread| Taker { thread, run_time });
        let something_waits = !harvest.cursor().is_empty();
        let cursor = harvest.cursor();
        Sight { cursor, is_unattended, something_waits, busy: 1, taker, run_time }
    }

    fn fill(harvest: &Harvest, events: u64) {
        harvest.fill((0..events).map(|token| Readiness { bits: 1, token }), 0);
    }

    /// A harvest of which that thread is serving the first event.
    fn begun(events: u64) -> Harvest {
        let harvest = Harvest::new();
        fill(&harvest, events);
        harvest.take(Thread::from_raw(THREAD));
        harvest
    }

    fn waits(_: Thread) -> Option<bool> {
        Some(false)
    }

    fn runs(_: Thread) -> Option<bool> {
        Some(true)
    }

    #[test]
    fn only_what_waits_a_whole_tick_wakes_somebody() {
        let harvest = Harvest::new();
        let mut watch = Watch::new(harvest.cursor());
        fill(&harvest, 2);
        let sight = sight(&harvest, false, Duration::ZERO);
        assert_eq!(watch.look(&sight, waits), 0, "brought in since the last look");
        assert_eq!(watch.look(&sight, waits), 1, "still there at the next");
    }

    #[test]
    fn more_are_woken_while_nothing_moves() {
        let harvest = begun(10);
        let mut watch = Watch::new(harvest.cursor());
        let mut look = || watch.look(&sight(&harvest, false, Duration::ZERO), waits);
        assert_eq!([(); 6].map(|()| look()), [1, 2, 4, 8, 16, 16]);
        harvest.take(Thread::from_raw(THREAD));
        assert_eq!(look(), 16, "the last wave was decided before it moved");
        harvest.take(Thread::from_raw(THREAD));
        assert_eq!(look(), 1);
    }

    #[test]
    fn somebody_is_woken_to_wait_for_events_and_more_only_if_there_are_some() {
        let harvest = Harvest::new();
        let mut watch = Watch::new(harvest.cursor());
        let unattended = sight(&harvest, true, Duration::ZERO);
        assert_eq!([(); 3].map(|()| watch.look(&unattended, waits)), [0, 1, 1]);
        let ready = Sight { something_waits: true, ..unattended };
        assert_eq!([(); 3].map(|()| watch.look(&ready, waits)), [1, 2, 4]);
    }

    #[test]
    fn who_fetches_events_and_does_not_wait_for_more_attends_to_them() {
        let harvest = begun(1);
        let mut watch = Watch::new(harvest.cursor());
        for _ in 0..10 {
            fill(&harvest, 0);
            assert_eq!(watch.look(&sight(&harvest, true, Duration::ZERO), waits), 0);
        }
    }

    #[test]
    fn nobody_is_woken_while_the_one_at_work_only_lacks_a_processor() {
        let harvest = begun(10);
        let mut watch = Watch::new(harvest.cursor());
        let idle = sight(&harvest, false, TICK / 10);
        assert_eq!(watch.look(&idle, waits), 1, "it waits for something else");
        assert_eq!(watch.look(&idle, runs), 0, "it would run");
        assert_eq!(watch.look(&idle, |_| None), 1, "nobody knows");
        let with_others = Sight { busy: 2, ..idle };
        assert_eq!(watch.look(&with_others, runs), 2, "then the others want the processor, and one more can");
    }

    #[test]
    fn one_who_has_a_processor_and_does_not_get_on_is_helped() {
        let harvest = begun(10);
        let mut watch = Watch::new(harvest.cursor());
        let looks = [1, 2, 3].map(|ticks| watch.look(&sight(&harvest, false, TICK * ticks), runs));
        assert_eq!(looks, [1, 2, 4]);
    }

    #[test]
    fn it_is_crowded_when_calls_run_and_the_one_who_serves_the_others_does_not() {
        let harvest = begun(10);
        let mut watch = Watch::new(harvest.cursor());
        let stands = sight(&harvest, false, Duration::ZERO);
        let mut looks = |busy, run_time| {
            let wakes = watch.look(&Sight { busy, run_time, ..stands }, runs) > 0;
            (wakes, watch.crowded_looks > 0)
        };
        assert_eq!(looks(2, TICK), (true, false), "who runs is not known before the second look");
        assert_eq!(looks(2, TICK), (true, false), "nobody runs: other processes do");
        assert_eq!(looks(1, TICK * 2), (false, false), "nobody is in a call");
        assert_eq!(looks(2, TICK * 3), (true, true));
        assert_eq!(looks(2, TICK * 3), (true, true), "it is remembered");
        for _ in 0..CROWDED_LOOKS {
            looks(1, TICK * 3);
        }
        assert_eq!(looks(1, TICK * 3), (false, false));
    }

    #[test]
    fn looks_are_rarer_when_nobody_was_needed_for_long_and_not_when_somebody_was() {
        let harvest = begun(10);
        let mut watch = Watch::new(harvest.cursor());
        for _ in 0..CALM_LOOKS {
            assert_eq!(watch.tick(), TICK);
            fill(&harvest, 10);
            assert_eq!(watch.look(&sight(&harvest, false, Duration::ZERO), waits), 0);
        }
        assert_eq!(watch.tick(), CALM_TICK);
        assert_eq!(watch.look(&sight(&harvest, false, Duration::ZERO), waits), 1);
        assert_eq!(watch.tick(), TICK);
    }
}
