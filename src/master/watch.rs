//! The watch over the children: gathers what is known of each, and does what the limits say.

use std::time::Duration;

use nix::unistd::Pid;
use tracing::{debug, error, warn};

use crate::log::critical;
use crate::scoreboard::{Scoreboard, Slot};
use crate::sys::{process, signal};

use super::Master;
use super::children::{Child, Doom, Life};
use super::limits::{Call, Facts, Monotonic, Verdict, after, elapsed, judge};

/// What a condemned worker has between the first signal and SIGKILL.
const LAST_SECOND: Duration = Duration::from_secs(1);
/// A slot may be ahead of the master's clock by so much: it was read a moment later. More is absurd.
const SLACK: Duration = Duration::from_secs(1);

/// What is known of a child that bears on its limits.
pub(super) fn facts<'a>(child: &'a Child, board: &Scoreboard, now: Monotonic) -> Facts<'a> {
    let slot = child.slot().map(|slot| board.slot(slot));
    let turn = slot.map_or(0, |slot| slot.last_turn());
    let calls = slot.map_or_else(Vec::new, calls);
    let latest = calls.iter().map(|call| call.in_app_since).max().unwrap_or(0).max(turn);
    Facts {
        now,
        life: &child.life,
        spawned: child.spawned,
        stopped_since: child.stopped_since,
        deaf_since: child.deaf_since,
        last_turn: turn.max(child.ready_since.unwrap_or(0)),
        pinged: child.pinged,
        calls,
        is_absurd: latest > after(now, SLACK) || slot.is_some_and(|slot| slot.state().is_none()),
    }
}

fn calls(slot: Slot<'_>) -> Vec<Call> {
    let lanes = (0..slot.lanes()).map(|lane| (lane, slot.lane(lane).exchange()));
    lanes
        .filter_map(|(lane, exchange)| {
            let exchange = exchange?;
            Some(Call { lane, in_app_since: exchange.in_app_since, extended_until: exchange.extension })
        })
        .collect()
}

impl Master {
    /// Who is over its time.
    pub(super) fn murder_workers(&mut self) {
        let now = self.now();
        for pid in self.children.pids() {
            match self.verdict(pid, now) {
                None | Some(Verdict::FineUntil(_)) => {}
                Some(Verdict::Ping) => self.ping(pid, now),
                Some(Verdict::Condemn(doom)) => self.condemn(pid, doom),
                Some(Verdict::Kill) => self.kill(pid),
            }
        }
    }

    fn verdict(&mut self, pid: Pid, now: Monotonic) -> Option<Verdict> {
        let child = self.children.get_mut(pid)?;
        let generation = self.generations.iter().find(|generation| generation.number == child.generation)?;
        let facts = facts(child, &generation.board, now);
        let verdict = judge(&facts, &generation.limits(), &self.freezes);
        // A call explains the silence before it, and what follows it is a new silence.
        if !facts.calls.is_empty() {
            child.pinged = None;
        }
        Some(verdict)
    }

    fn ping(&mut self, pid: Pid, now: Monotonic) {
        if let Some(child) = self.children.get_mut(pid) {
            debug!("worker (pid:{pid}) has been silent: asking for a turn");
            child.pinged = Some(now);
            child.owed.ping = true;
        }
        self.pay(pid);
    }

    /// Sends a child the first signal of its end.
    pub(super) fn condemn(&mut self, pid: Pid, doom: Doom) {
        let now = self.now();
        self.report_doom(pid, doom, now);
        let graceful = self.graceful_timeout_of(pid);
        let Some(child) = self.children.get_mut(pid) else {
            return;
        };
        let first = doom.signal();
        send(pid, first);
        child.life = Life::Condemned {
            since: now,
            patience: if doom == Doom::Deaf { graceful } else { LAST_SECOND },
            doom,
            killed: first == libc::SIGKILL,
        };
    }

    /// The last word.
    fn kill(&mut self, pid: Pid) {
        let Some(child) = self.children.get_mut(pid) else {
            return;
        };
        send(pid, libc::SIGKILL);
        match &mut child.life {
            Life::Condemned { killed, .. } => *killed = true,
            Life::Booting | Life::Ready | Life::Retiring { .. } => {}
        }
    }

    fn report_doom(&self, pid: Pid, doom: Doom, now: Monotonic) {
        let reason = doom.reason();
        let work = self.work_of(pid, now);
        match doom {
            Doom::Timeout { .. } => critical!("WORKER TIMEOUT (pid:{pid}): {reason}; {work}"),
            Doom::BootTimeout | Doom::Silent => critical!("WORKER TIMEOUT (pid:{pid}): {reason}"),
            Doom::Stopped | Doom::Deaf | Doom::Absurd => {
                error!("Worker (pid:{pid}) is replaced: {reason}; {work}");
            }
            Doom::Overstayed { .. } => warn!("Worker (pid:{pid}) is killed: {reason}; {work}"),
            Doom::Dismissed => debug!("Worker (pid:{pid}) is killed: {reason}"),
        }
    }

    fn work_of(&self, pid: Pid, now: Monotonic) -> String {
        let child = self.children.iter().find(|child| child.pid == pid);
        let slot = child.and_then(|child| {
            let generation =
                self.generations.iter().find(|generation| generation.number == child.generation)?;
            Some(generation.board.slot(child.slot()?))
        });
        slot.map_or_else(String::new, |slot| in_flight(slot, now))
    }

    pub(super) fn graceful_timeout_of(&self, pid: Pid) -> Duration {
        let child = self.children.iter().find(|child| child.pid == pid);
        let generation = child.and_then(|child| {
            self.generations.iter().find(|generation| generation.number == child.generation)
        });
        generation.map_or(LAST_SECOND, |generation| generation.settings.graceful_timeout)
    }
}

/// The requests that a worker is answering: `in flight: GET /slow for 3.2 s, 3.2 s of it in the application (lane 0,
/// thread 4242)`.
pub(super) fn in_flight(slot: Slot<'_>, now: Monotonic) -> String {
    let requests: Vec<String> = (0..slot.lanes())
        .filter_map(|index| {
            let lane = slot.lane(index);
            let exchange = lane.exchange()?;
            let age = elapsed(exchange.started, now).as_secs_f64();
            let place = match exchange.in_app_since {
                0 => "not in the application".to_owned(),
                since => {
                    format!("{:.1} s of it in the application", elapsed(since, now).as_secs_f64())
                }
            };
            let thread = lane.thread_id().map_or_else(String::new, |id| format!(", thread {id}"));
            Some(format!("{} for {age:.1} s, {place} (lane {index}{thread})", exchange.request))
        })
        .collect();
    match requests.as_slice() {
        [] => "no request in flight".to_owned(),
        _ => format!("in flight: {}", requests.join("; ")),
    }
}

fn send(pid: Pid, number: i32) {
    match process::kill(pid, number) {
        Ok(()) => debug!("sent {} to pid {pid}", signal::long_name(number)),
        Err(error) => warn!("cannot send {} to pid {pid}: {error}", signal::long_name(number)),
    }
}
