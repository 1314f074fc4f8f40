//! The watch over the children: gathers what is known of each, and does what the limits say.

use std::time::Duration;

use nix::unistd::Pid;
use tracing::{debug, error, warn};

use super::children::{Child, Doom, Life, Parting, Summons};
use super::limits::{Call, Facts, LAST_SECOND, Verdict, judge};
use crate::log::critical;
use crate::master::Master;
use crate::master::deaths::record::headline_from_outside;
use crate::master::moment::{Monotonic, after, elapsed};
use crate::scoreboard::{InFlight, Scoreboard, Slot};
use crate::sys::{process, signal};

/// A slot may be ahead of the master's clock by so much: it was read a moment later. More is absurd.
const SLACK: Duration = Duration::from_secs(1);

/// What is known of a child that bears on its limits.
pub(in crate::master) fn facts<'a>(child: &'a Child, board: &Scoreboard, now: Monotonic) -> Facts<'a> {
    let slot = child.slot().map(|slot| board.slot(slot));
    let turn = slot.map_or(0, |slot| slot.last_turn());
    let exchanges = slot.map_or_else(Vec::new, exchanges);
    let is_forged = exchanges.iter().any(|(lane, exchange)| {
        summons(child, *lane, exchange).is_some_and(|summons| summons.exchange != exchange.number)
    });
    let calls: Vec<Call> = exchanges.iter().map(|(lane, exchange)| call(child, *lane, exchange)).collect();
    let latest = calls.iter().map(|call| call.in_app_since).max().unwrap_or(0).max(turn);
    Facts {
        now,
        life: &child.life,
        spawned: child.spawned,
        stopped_since: child.stopped_since,
        deaf_since: child.deaf_since,
        // A process without a slot has no engine that could stand still.
        last_turn: if slot.is_some() { turn.max(child.ready_since.unwrap_or(0)) } else { now },
        pinged: child.pinged,
        calls,
        is_absurd: is_forged || latest > after(now, SLACK) || slot.is_some_and(|slot| slot.state().is_none()),
    }
}

fn exchanges(slot: Slot<'_>) -> Vec<(usize, InFlight)> {
    (0..slot.lanes()).filter_map(|lane| Some((lane, slot.lane(lane).exchange()?))).collect()
}

fn call(child: &Child, lane: usize, exchange: &InFlight) -> Call {
    Call {
        lane,
        exchange: exchange.number,
        in_app_since: exchange.in_app_since,
        extended_until: exchange.extension,
        summoned: summons(child, lane, exchange).map(|summons| summons.since),
    }
}

/// The summons that still stands for what a lane shows. A thread that has been in touch with the host since then is heard of
/// again when it is over its time again. One that shows another call, begun before the summons, shows what cannot be: a
/// lane has one call at a time.
fn summons<'a>(child: &'a Child, lane: usize, exchange: &InFlight) -> Option<&'a Summons> {
    let stands = |summons: &&Summons| {
        summons.lane == lane && exchange.in_app_since != 0 && exchange.in_app_since <= summons.since
    };
    child.summons.iter().find(stands)
}

impl Master {
    /// Who is over its time.
    pub(in crate::master) fn murder_workers(&mut self) {
        let now = self.now();
        for pid in self.children.pids() {
            match self.verdict(pid, now) {
                None | Some(Verdict::FineUntil(_)) => {}
                Some(Verdict::Ping) => self.ping(pid, now),
                Some(Verdict::Summon { lane, exchange }) => self.summon(pid, lane, exchange, now),
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

    /// Tells one thread of a worker that its call is over its time. What follows is its own doing: an answer, and its end.
    fn summon(&mut self, pid: Pid, lane: usize, exchange: u64, now: Monotonic) {
        let (reason, work) = (Doom::Timeout { lane }.reason(), self.work_of(pid, now));
        critical!("WORKER TIMEOUT (pid:{pid}): {reason}; {work}");
        let Some(child) = self.children.get_mut(pid) else { return };
        let generation = self.generations.iter().find(|generation| generation.number == child.generation);
        let (Some(generation), Some(slot)) = (generation, child.slot()) else { return };
        child.summons.retain(|summons| summons.lane != lane);
        child.summons.push(Summons { lane, exchange, since: now });
        generation.board.summon(slot, lane, exchange);
        let thread = generation.board.slot(slot).lane(lane).thread_id();
        // The pid is ours, the thread is what the worker says: the kernel checks that they belong together.
        if let Err(error) = process::kill_thread(pid, thread.unwrap_or(0), libc::SIGABRT) {
            warn!("worker (pid:{pid}) names a thread for lane {lane} that is none of its own: {error}");
            self.condemn(pid, Doom::Absurd);
        }
    }

    /// Sends a child the first signal of its end.
    pub(in crate::master) fn condemn(&mut self, pid: Pid, doom: Doom) {
        let now = self.now();
        self.report_doom(pid, doom, now);
        let graceful = self.graceful_timeout_of(pid);
        let Some(child) = self.children.get_mut(pid) else {
            return;
        };
        let first = doom.signal();
        match first {
            Some(first) => send(pid, first),
            None => child.owed.parting = Some(Parting::Reload),
        }
        child.life = Life::Condemned {
            since: now,
            patience: if doom == Doom::Deaf { graceful } else { LAST_SECOND },
            doom,
            killed: first == Some(libc::SIGKILL),
        };
        self.pay(pid);
    }

    /// The last word, unless what the child has said meanwhile is another.
    fn kill(&mut self, pid: Pid) {
        self.read_reports(pid);
        let Some(child) = self.children.get_mut(pid) else {
            return;
        };
        if let Life::Condemned { killed, .. } = &mut child.life {
            send(pid, libc::SIGKILL);
            *killed = true;
        }
    }

    fn report_doom(&self, pid: Pid, doom: Doom, now: Monotonic) {
        let reason = doom.reason();
        let work = self.work_of(pid, now);
        match doom {
            Doom::Timeout { lane } => {
                error!("{}", headline_from_outside(pid, self.exchange_of(pid, lane), now))
            }
            Doom::BootTimeout | Doom::Silent => critical!("WORKER TIMEOUT (pid:{pid}): {reason}"),
            Doom::Stopped | Doom::Deaf | Doom::Absurd => {
                error!("Worker (pid:{pid}) is replaced: {reason}; {work}");
            }
            Doom::Overstayed { .. } => warn!("Worker (pid:{pid}) is killed: {reason}; {work}"),
            Doom::Dismissed => debug!("Worker (pid:{pid}) is to leave: {reason}"),
        }
    }

    fn exchange_of(&self, pid: Pid, lane: usize) -> Option<InFlight> {
        self.slot_of(pid)?.lane(lane).exchange()
    }

    fn work_of(&self, pid: Pid, now: Monotonic) -> String {
        self.slot_of(pid).map_or_else(String::new, |slot| in_flight(slot, now))
    }

    fn slot_of(&self, pid: Pid) -> Option<Slot<'_>> {
        let child = self.children.iter().find(|child| child.pid == pid)?;
        let generation = self.generations.iter().find(|generation| generation.number == child.generation)?;
        Some(generation.board.slot(child.slot()?))
    }

    pub(in crate::master) fn graceful_timeout_of(&self, pid: Pid) -> Duration {
        let child = self.children.iter().find(|child| child.pid == pid);
        let generation = child.and_then(|child| {
            self.generations.iter().find(|generation| generation.number == child.generation)
        });
        generation.map_or(LAST_SECOND, |generation| generation.settings.graceful_timeout)
    }
}

/// The requests that a worker is answering: `in flight: GET /slow for 3.2 s, 3.2 s of it in the application (lane 0,
/// thread 4242)`.
pub(in crate::master) fn in_flight(slot: Slot<'_>, now: Monotonic) -> String {
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
