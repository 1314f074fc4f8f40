//! Recycling: which workers have served long enough, and when to look again. [`judge`] is pure. Nobody is retired here: the
//! reconciler sees to it that a successor is Ready first, one at a time.

use std::fmt;
use std::fs;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io;
use std::num::NonZeroU64;
use std::time::Duration;

use nix::unistd::Pid;
use tracing::{info, warn};

use super::children::Life;
use crate::log::cause;
use crate::master::moment::{Monotonic, NEVER, after, elapsed};
use crate::master::reload::generation::Fate;
use crate::master::{Master, Phase};
use crate::settings::Settings;

/// How often memory is looked at. A leak that matters within less is a crash.
const LOOK: Duration = Duration::from_secs(5);

/// Why a worker is to be replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::master) enum Outdated {
    /// So many requests are enough.
    Requests(u64),
    /// It has served for so long.
    Age(Duration),
    /// It uses so many bytes.
    Memory(u64),
}

impl fmt::Display for Outdated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Outdated::Requests(count) => write!(f, "it has answered {count} requests (max_requests)"),
            Outdated::Age(age) => {
                write!(f, "it has served for {:.1} s (max_worker_lifetime)", age.as_secs_f64())
            }
            Outdated::Memory(bytes) => {
                write!(f, "it uses {} MiB of memory (max_worker_memory)", bytes / 1024 / 1024)
            }
        }
    }
}

/// What is known of a worker that serves.
#[derive(Clone, Copy, Debug)]
struct Facts {
    now: Monotonic,
    ready_since: Monotonic,
    /// As its slot says; whoever scribbles over that is replaced early, no more.
    requests: u64,
    request_limit: Option<NonZeroU64>,
    /// If it was looked at in this turn.
    memory: Option<u64>,
}

/// What its generation's settings say.
#[derive(Clone, Copy, Debug)]
struct Limits {
    lifetime: Option<Duration>,
    memory: Option<u64>,
}

/// What the limits say of a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// It may go on, by the clock until then.
    FineUntil(Monotonic),
    /// It is to be replaced.
    Outdated(Outdated),
}

fn judge(facts: &Facts, limits: &Limits) -> Verdict {
    if facts.request_limit.is_some_and(|limit| facts.requests >= limit.get()) {
        return Verdict::Outdated(Outdated::Requests(facts.requests));
    }
    if let Some(memory) = facts.memory.filter(|memory| limits.memory.is_some_and(|limit| *memory > limit)) {
        return Verdict::Outdated(Outdated::Memory(memory));
    }
    match limits.lifetime.map(|lifetime| after(facts.ready_since, lifetime)) {
        Some(end) if end <= facts.now => {
            Verdict::Outdated(Outdated::Age(elapsed(facts.ready_since, facts.now)))
        }
        end => Verdict::FineUntil(end.unwrap_or(NEVER)),
    }
}

/// After how many requests a new worker is to be replaced. The lot is the master's to draw: after a fork all workers would
/// draw the same.
pub(in crate::master) fn draw_request_limit(settings: &Settings) -> Option<NonZeroU64> {
    let limit = NonZeroU64::new(settings.max_requests)?;
    let lot = RandomState::new().build_hasher().finish();
    Some(limit.saturating_add(spread(lot, settings.max_requests_jitter)))
}

/// A number from 0 to `most`, for any number.
fn spread(lot: u64, most: u64) -> u64 {
    most.checked_add(1).map_or(lot, |ways| lot % ways)
}

/// When memory is looked at, and whether that can be done.
#[derive(Debug, Default)]
pub(in crate::master) struct MemoryWatch {
    looked: Monotonic,
    /// It could not be read, and that was said.
    is_blind: bool,
}

impl MemoryWatch {
    fn due(&self) -> Monotonic {
        after(self.looked, LOOK)
    }

    fn look(&mut self, pid: Pid) -> Option<u64> {
        let found = own_memory(pid);
        // Who has just died has none. If the master cannot see its own either, it is blind.
        if found.is_err()
            && let Err(error) = own_memory(Pid::this())
            && !std::mem::replace(&mut self.is_blind, true)
        {
            let cause = cause(&error);
            warn!(
                "max_worker_memory has no effect: cannot read /proc/self/status: {cause} (is /proc mounted?)"
            );
        }
        found.ok()
    }
}

/// What a process has allocated and written, wherever that is now. The kernel has these figures at hand, while
/// `smaps_rollup` would walk all its memory, and wait for its lock.
fn own_memory(pid: Pid) -> io::Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    own_memory_in(&status).ok_or_else(|| io::Error::other("it says nothing of RssAnon"))
}

fn own_memory_in(status: &str) -> Option<u64> {
    let row = |name: &str| -> Option<u64> {
        let value = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        value.trim().strip_suffix("kB")?.trim().parse().ok()
    };
    // A kernel without swap has no row for it.
    Some(row("RssAnon")?.saturating_add(row("VmSwap").unwrap_or(0)).saturating_mul(1024))
}

impl Master {
    /// Notes who is to be replaced, and says so once.
    pub(in crate::master) fn mark_outdated(&mut self) {
        let now = self.now();
        let looks_at_memory = self.memory_look(now) <= now;
        for (pid, facts, limits) in self.candidates(now) {
            let memory = if looks_at_memory { self.memory_watch.look(pid) } else { None };
            match judge(&Facts { memory, ..facts }, &limits) {
                Verdict::FineUntil(_) => {}
                Verdict::Outdated(why) => self.outdate(pid, why),
            }
        }
        if looks_at_memory {
            self.memory_watch.looked = now;
        }
    }

    fn outdate(&mut self, pid: Pid, why: Outdated) {
        if let Some(child) = self.children.get_mut(pid) {
            info!("Worker (pid:{pid}) is to be replaced: {why}");
            child.outdated = Some(why);
        }
    }

    /// When somebody may be outdated, by the clock.
    pub(in crate::master) fn next_outdated(&self, now: Monotonic) -> Monotonic {
        let ages = self.candidates(now).into_iter().map(|(_, facts, limits)| match judge(&facts, &limits) {
            Verdict::FineUntil(until) => until,
            Verdict::Outdated(_) => now,
        });
        ages.fold(self.memory_look(now), Monotonic::min)
    }

    /// The workers that serve and are not outdated yet. While a reload goes on, all of them are to leave in any case; so
    /// they are when the server stops.
    fn candidates(&self, now: Monotonic) -> Vec<(Pid, Facts, Limits)> {
        let is_settled =
            self.phase == Phase::Running && self.generations.iter().all(|one| one.fate != Fate::Arriving);
        let serving = self.generations.iter().filter(|one| is_settled && one.fate == Fate::Serving);
        serving
            .flat_map(|generation| {
                let settings = &generation.settings;
                let limits =
                    Limits { lifetime: settings.max_worker_lifetime, memory: settings.max_worker_memory };
                let workers = self.children.of(generation.number);
                let fresh = workers.filter(|child| child.life == Life::Ready && child.outdated.is_none());
                fresh.filter_map(move |child| {
                    let facts = Facts {
                        now,
                        ready_since: child.ready_since?,
                        requests: child.slot().map_or(0, |slot| generation.board.slot(slot).requests()),
                        request_limit: child.request_limit,
                        memory: None,
                    };
                    Some((child.pid, facts, limits))
                })
            })
            .collect()
    }

    /// When memory is looked at again; without a limit, never.
    fn memory_look(&self, now: Monotonic) -> Monotonic {
        let is_limited = self.generations.iter().any(|generation| {
            generation.fate == Fate::Serving && generation.settings.max_worker_memory.is_some()
        });
        if is_limited { self.memory_watch.due().max(now) } else { NEVER }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;
    const FREE: Limits = Limits { lifetime: None, memory: None };

    fn facts(now: Monotonic) -> Facts {
        Facts { now, ready_since: SECOND, requests: 0, request_limit: None, memory: None }
    }

    #[test]
    fn nothing_is_outdated_without_limits() {
        let used = Facts { requests: u64::MAX, memory: Some(u64::MAX), ..facts(u64::MAX - 1) };
        assert_eq!(judge(&used, &FREE), Verdict::FineUntil(NEVER));
    }

    #[test]
    fn a_worker_is_outdated_by_its_last_request_and_not_before() {
        let after =
            |requests| judge(&Facts { requests, request_limit: NonZeroU64::new(50), ..facts(SECOND) }, &FREE);
        assert_eq!(after(49), Verdict::FineUntil(NEVER));
        assert_eq!(after(50), Verdict::Outdated(Outdated::Requests(50)));
    }

    #[test]
    fn a_worker_is_outdated_when_its_time_is_over_and_the_master_wakes_up_for_it() {
        let limits = Limits { lifetime: Some(Duration::from_secs(60)), ..FREE };
        assert_eq!(judge(&facts(60 * SECOND), &limits), Verdict::FineUntil(61 * SECOND));
        let age = Outdated::Age(Duration::from_secs(60));
        assert_eq!(judge(&facts(61 * SECOND), &limits), Verdict::Outdated(age));
    }

    #[test]
    fn a_worker_may_use_all_of_its_memory_and_no_more() {
        let limits = Limits { memory: Some(1000), ..FREE };
        let with = |memory| judge(&Facts { memory, ..facts(SECOND) }, &limits);
        assert_eq!(with(None), Verdict::FineUntil(NEVER));
        assert_eq!(with(Some(1000)), Verdict::FineUntil(NEVER));
        assert_eq!(with(Some(1001)), Verdict::Outdated(Outdated::Memory(1001)));
    }

    #[test]
    fn a_lot_adds_between_nothing_and_the_jitter() {
        assert_eq!([0, 1, 2, 3, 7].map(|lot| spread(lot, 2)), [0, 1, 2, 0, 1]);
        assert_eq!(spread(u64::MAX, 0), 0);
        assert_eq!(spread(u64::MAX, u64::MAX), u64::MAX);
    }

    #[test]
    fn memory_of_its_own_is_what_was_written_and_what_was_swapped_out() {
        let status = "Name:\tunirs\nVmRSS:\t  9000 kB\nRssAnon:\t    1000 kB\nVmSwap:\t      24 kB\n";
        assert_eq!(own_memory_in(status), Some(1024 * 1024));
        assert_eq!(own_memory_in("RssAnon:\t 1 kB\n"), Some(1024));
        assert_eq!(own_memory_in("Name:\tkthread\n"), None);
        assert!(own_memory(Pid::this()).expect("/proc is mounted") > 4096);
    }
}
