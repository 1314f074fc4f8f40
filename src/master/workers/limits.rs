//! Time limits of a worker, judged from what is known of it. Pure: what follows from a verdict is done elsewhere.

use std::time::Duration;

use super::children::{Doom, Life};
use super::freeze::Freezes;
use crate::master::moment::{Monotonic, NEVER, after};

/// An application may be silent on purpose for so long at one go, and no longer: a stray write to a scoreboard must not
/// end the watch.
const LONGEST_EXTENSION: Duration = Duration::from_secs(24 * 3600);

/// A thread has so long to react to its time limit, and a condemned worker to leave, before SIGKILL.
pub(in crate::master) const LAST_SECOND: Duration = Duration::from_secs(1);

/// So long after its end of the pair was closed a worker should be dead.
const DEAF: Duration = Duration::from_secs(1);

/// The limits that a worker is held to, from its own generation's settings.
#[derive(Clone, Copy, Debug)]
pub(in crate::master) struct Limits {
    /// In the application between two contacts with the host.
    pub timeout: Option<Duration>,
    /// From the fork to Ready.
    pub boot_timeout: Option<Duration>,
}

/// What is known of a worker that bears on its limits.
#[derive(Clone, Debug)]
pub(in crate::master) struct Facts<'a> {
    /// The judge's clock.
    pub now: Monotonic,
    /// Where it is in its life.
    pub life: &'a Life,
    /// When it was forked.
    pub spawned: Monotonic,
    /// Since when a signal has it stopped.
    pub stopped_since: Option<Monotonic>,
    /// Since when its pair is closed, although it lives.
    pub deaf_since: Option<Monotonic>,
    /// When its engine last came round, or it became Ready.
    pub last_turn: Monotonic,
    /// When it was last asked for a turn.
    pub pinged: Option<Monotonic>,
    /// Its lanes that are in an exchange.
    pub calls: Vec<Call>,
    /// Its slot holds what no worker writes.
    pub is_absurd: bool,
}

/// An exchange in flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::master) struct Call {
    /// Which thread of the worker.
    pub lane: usize,
    /// The number of the exchange on it.
    pub exchange: u64,
    /// Since when the application has control (0: the host has).
    pub in_app_since: Monotonic,
    /// The application has asked to be left alone until then (0: it has not).
    pub extended_until: Monotonic,
    /// When it was told that it is over its time.
    pub summoned: Option<Monotonic>,
}

/// What the limits say of a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::master) enum Verdict {
    /// In order, and certainly so until then.
    FineUntil(Monotonic),
    /// It has been silent for half of `timeout`: ask it for a turn.
    Ping,
    /// A call is over its time: its thread is to end it.
    Summon {
        /// On which lane.
        lane: usize,
        /// The number of the exchange.
        exchange: u64,
    },
    /// It has broken a limit.
    Condemn(Doom),
    /// It was condemned, and did not go by itself.
    Kill,
}

/// Holds a worker's facts against its limits.
pub(in crate::master) fn judge(facts: &Facts<'_>, limits: &Limits, freezes: &Freezes) -> Verdict {
    let watch = Watch { facts, freezes };
    match *facts.life {
        Life::Condemned { killed: true, .. } => Verdict::FineUntil(NEVER),
        Life::Condemned { since, patience, killed: false, .. } => {
            watch.hold(since, Some(patience), Verdict::Kill)
        }
        Life::Booting => {
            let boot = watch.hold(facts.spawned, limits.boot_timeout, Verdict::Condemn(Doom::BootTimeout));
            watch.stopped(limits).unwrap_or(boot).and(boot).and(watch.deaf())
        }
        Life::Ready => watch.living(limits),
        Life::Retiring { since, patience, parting } => {
            let overstayed = Verdict::Condemn(Doom::Overstayed { parting });
            let leaving = watch.hold(since, Some(patience), overstayed);
            watch.living(limits).and(leaving)
        }
    }
}

impl Verdict {
    /// The graver of two; of two that are in order, the one that ends first.
    fn and(self, other: Verdict) -> Verdict {
        match (self, other) {
            (Verdict::FineUntil(a), Verdict::FineUntil(b)) => Verdict::FineUntil(a.min(b)),
            (first, second) if second.gravity() > first.gravity() => second,
            (first, _) => first,
        }
    }

    fn gravity(self) -> u8 {
        match self {
            Verdict::FineUntil(_) => 0,
            Verdict::Ping => 1,
            Verdict::Summon { .. } => 2,
            Verdict::Condemn(_) => 3,
            Verdict::Kill => 4,
        }
    }
}

struct Watch<'a> {
    facts: &'a Facts<'a>,
    freezes: &'a Freezes,
}

impl Watch<'_> {
    /// `over` when more than `limit` has gone by since `start`, freezes not counted.
    fn hold(&self, start: Monotonic, limit: Option<Duration>, over: Verdict) -> Verdict {
        let Some(limit) = limit else {
            return Verdict::FineUntil(NEVER);
        };
        self.hold_until(start, after(start, limit), over)
    }

    fn hold_until(&self, start: Monotonic, end: Monotonic, over: Verdict) -> Verdict {
        let end = end.saturating_add(self.freezes.since(start));
        if self.facts.now >= end { over } else { Verdict::FineUntil(end) }
    }

    /// What holds for every worker that has been Ready.
    fn living(&self, limits: &Limits) -> Verdict {
        let working = if self.facts.is_absurd {
            Verdict::Condemn(Doom::Absurd)
        } else {
            self.stopped(limits).unwrap_or_else(|| self.working(limits))
        };
        working.and(self.deaf())
    }

    /// A worker that exits closes its pair a moment before it can be reaped; one that goes on can be told nothing.
    fn deaf(&self) -> Verdict {
        match self.facts.deaf_since {
            Some(since) => self.hold(since, Some(DEAF), Verdict::Condemn(Doom::Deaf)),
            None => Verdict::FineUntil(NEVER),
        }
    }

    /// A stopped worker answers to nothing else: neither its calls nor its engine can move.
    fn stopped(&self, limits: &Limits) -> Option<Verdict> {
        let since = self.facts.stopped_since?;
        Some(self.hold(since, limits.timeout, Verdict::Condemn(Doom::Stopped)))
    }

    fn working(&self, limits: &Limits) -> Verdict {
        let Some(timeout) = limits.timeout else {
            return Verdict::FineUntil(NEVER);
        };
        let engine = if self.facts.calls.is_empty() {
            self.engine(timeout)
        } else {
            Verdict::FineUntil(after(self.facts.now, timeout / 2))
        };
        self.facts.calls.iter().map(|call| self.call(call, timeout)).fold(engine, |all, one| one.and(all))
    }

    fn call(&self, call: &Call, timeout: Duration) -> Verdict {
        if let Some(since) = call.summoned {
            return self.hold(since, Some(LAST_SECOND), Verdict::Condemn(Doom::Timeout { lane: call.lane }));
        }
        if call.in_app_since == 0 {
            return Verdict::FineUntil(after(self.facts.now, timeout));
        }
        let furthest = after(call.in_app_since, LONGEST_EXTENSION);
        let end = after(call.in_app_since, timeout).max(call.extended_until.min(furthest));
        let over = Verdict::Summon { lane: call.lane, exchange: call.exchange };
        self.hold_until(call.in_app_since, end, over)
    }

    /// An idle engine has no timer of its own: it is asked, and has as long again to answer.
    fn engine(&self, timeout: Duration) -> Verdict {
        let unanswered = self.facts.pinged.filter(|&pinged| self.facts.last_turn < pinged);
        match unanswered {
            Some(pinged) => self.hold(pinged, Some(timeout / 2), Verdict::Condemn(Doom::Silent)),
            None => self.hold(self.facts.last_turn, Some(timeout / 2), Verdict::Ping),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::master::workers::children::Parting;

    const SECOND: u64 = 1_000_000_000;
    const LIMITS: Limits =
        Limits { timeout: Some(Duration::from_secs(30)), boot_timeout: Some(Duration::from_secs(60)) };

    fn facts(now_secs: u64, life: &Life) -> Facts<'_> {
        Facts {
            now: now_secs * SECOND,
            life,
            spawned: 0,
            stopped_since: None,
            deaf_since: None,
            is_absurd: false,
            last_turn: now_secs * SECOND,
            pinged: None,
            calls: Vec::new(),
        }
    }

    const SUMMONS: Verdict = Verdict::Summon { lane: 2, exchange: 7 };

    fn call(since_secs: u64, extended_secs: u64) -> Call {
        Call {
            lane: 2,
            exchange: 7,
            in_app_since: since_secs * SECOND,
            extended_until: extended_secs * SECOND,
            summoned: None,
        }
    }

    fn verdict(facts: &Facts<'_>) -> Verdict {
        judge(facts, &LIMITS, &Freezes::default())
    }

    fn until(secs: u64) -> Verdict {
        Verdict::FineUntil(secs * SECOND)
    }

    #[test]
    fn a_thread_that_was_summoned_has_a_second_to_react() {
        let mut f = facts(140, &Life::Ready);
        f.calls = vec![Call { summoned: Some(140 * SECOND), ..call(100, 0) }];
        assert_eq!(verdict(&f), Verdict::FineUntil(141 * SECOND));
        f.now = 141 * SECOND;
        assert_eq!(verdict(&f), Verdict::Condemn(Doom::Timeout { lane: 2 }));
        // Another call that is over its time is told so meanwhile.
        f.now = 140 * SECOND;
        f.calls.push(Call { lane: 3, exchange: 9, ..call(100, 0) });
        assert_eq!(verdict(&f), Verdict::Summon { lane: 3, exchange: 9 });
    }

    #[test]
    fn a_call_is_over_time_when_the_application_had_control_for_timeout() {
        let mut f = facts(139, &Life::Ready);
        f.calls = vec![call(110, 0)];
        assert_eq!(verdict(&f), until(140));
        f.now = 140 * SECOND;
        assert_eq!(verdict(&f), SUMMONS);
    }

    #[test]
    fn a_call_that_the_host_blocks_is_never_over_time() {
        let mut f = facts(100_000, &Life::Ready);
        f.calls = vec![call(0, 0)];
        f.last_turn = 0;
        assert!(matches!(verdict(&f), Verdict::FineUntil(_)));
    }

    #[test]
    fn an_extension_moves_the_limit_but_not_for_ever() {
        let mut f = facts(149, &Life::Ready);
        f.calls = vec![call(100, 150)];
        assert_eq!(verdict(&f), until(150));
        f.calls = vec![Call { extended_until: u64::MAX, ..call(100, 0) }];
        f.now = (100 + 24 * 3600) * SECOND;
        assert_eq!(verdict(&f), SUMMONS);
    }

    #[test]
    fn a_later_call_than_the_earliest_known_cannot_expire_before_the_next_look() {
        let mut f = facts(100, &Life::Ready);
        f.calls = vec![call(0, 0)];
        assert_eq!(verdict(&f), until(115));
    }

    #[test]
    fn a_silent_engine_is_pinged_at_half_of_timeout_and_condemned_at_the_whole() {
        let mut f = facts(100, &Life::Ready);
        f.last_turn = 86 * SECOND;
        assert_eq!(verdict(&f), until(101));
        f.now = 101 * SECOND;
        assert_eq!(verdict(&f), Verdict::Ping);
        f.pinged = Some(f.now);
        assert_eq!(verdict(&f), until(116));
        f.now = 116 * SECOND;
        assert_eq!(verdict(&f), Verdict::Condemn(Doom::Silent));
        f.last_turn = 102 * SECOND;
        assert_eq!(verdict(&f), until(117));
    }

    #[test]
    fn a_boot_and_a_stopped_worker_have_their_own_limits() {
        let mut f = facts(59, &Life::Booting);
        assert_eq!(verdict(&f), until(60));
        f.now = 60 * SECOND;
        assert_eq!(verdict(&f), Verdict::Condemn(Doom::BootTimeout));
        let mut f = facts(100, &Life::Ready);
        f.stopped_since = Some(80 * SECOND);
        f.calls = vec![call(1, 0)];
        assert_eq!(verdict(&f), until(110));
        f.now = 110 * SECOND;
        assert_eq!(verdict(&f), Verdict::Condemn(Doom::Stopped));
    }

    #[test]
    fn a_retiring_worker_is_held_to_both_limits() {
        let life =
            Life::Retiring { since: 100 * SECOND, patience: Duration::from_secs(10), parting: Parting::Stop };
        let mut f = facts(105, &life);
        f.calls = vec![call(104, 0)];
        assert_eq!(verdict(&f), until(110));
        f.now = 110 * SECOND;
        assert_eq!(verdict(&f), Verdict::Condemn(Doom::Overstayed { parting: Parting::Stop }));
        f.calls = vec![call(75, 0)];
        f.now = 106 * SECOND;
        assert_eq!(verdict(&f), SUMMONS);
    }

    #[test]
    fn a_condemned_worker_has_its_second_and_then_nothing() {
        let doom = Doom::Silent;
        let patience = Duration::from_secs(1);
        let life = Life::Condemned { since: 9 * SECOND, patience, doom, killed: false };
        assert_eq!(verdict(&facts(9, &life)), until(10));
        assert_eq!(verdict(&facts(10, &life)), Verdict::Kill);
        let life = Life::Condemned { since: 9 * SECOND, patience, doom, killed: true };
        assert_eq!(verdict(&facts(99, &life)), Verdict::FineUntil(NEVER));
    }

    #[test]
    fn a_limit_that_is_off_never_ends() {
        let off = Limits { timeout: None, boot_timeout: None };
        let mut f = facts(100_000, &Life::Ready);
        f.last_turn = 0;
        f.calls = vec![call(1, 0)];
        assert_eq!(judge(&f, &off, &Freezes::default()), Verdict::FineUntil(NEVER));
    }

    #[test]
    fn a_freeze_moves_every_limit() {
        let mut freezes = Freezes::default();
        freezes.observe(105 * SECOND, 120 * SECOND, 200 * SECOND);
        let mut f = facts(200, &Life::Ready);
        f.calls = vec![call(104, 0)];
        assert_eq!(judge(&f, &LIMITS, &freezes), until(215));
        f.calls = vec![];
        f.last_turn = 104 * SECOND;
        f.pinged = Some(104 * SECOND);
        assert_eq!(judge(&f, &LIMITS, &freezes), until(214));
    }
}
