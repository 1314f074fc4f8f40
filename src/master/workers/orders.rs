//! Orders to children and reports from them, over their pairs. What a child's queue has no room for is owed and sent again.

use nix::unistd::Pid;
use tracing::{debug, info, warn};

use super::children::{Child, Doom, Life, Parting, Role};
use crate::master::Master;
use crate::master::logs::Logs;
use crate::master::moment::{after, elapsed};
use crate::master::stop::QUICK;
use crate::pair::{Order, Received, Report, Sent};
use crate::scoreboard::SlotState;
use crate::sys::process;

/// So many reports of one child are read in a turn; a child that floods its pair must not stop the master.
const REPORTS_A_TURN: usize = 16;

impl Master {
    /// Asks a child to leave, or to leave faster than it was asked before.
    pub(in crate::master) fn retire(&mut self, pid: Pid, parting: Parting) {
        let now = self.now();
        let graceful = self.graceful_timeout_of(pid);
        let Some(child) = self.children.get_mut(pid) else {
            return;
        };
        let mut end = match parting {
            Parting::Reload | Parting::Stop => after(now, graceful),
            Parting::Quick => after(now, QUICK),
        };
        // Whoever is asked to hurry gets no more time than it had.
        if let Life::Retiring { since, patience, .. } | Life::Condemned { since, patience, .. } = child.life {
            end = end.min(after(since, patience));
        }
        child.life = Life::Retiring { since: now, patience: elapsed(now, end), parting };
        child.owed.parting = Some(parting);
        self.pay(pid);
    }

    /// Every worker is to open its logs anew.
    pub(in crate::master) fn order_reopening(&mut self) {
        for child in self.children.iter_mut() {
            child.owed.reopen = true;
        }
        for pid in self.children.pids() {
            self.pay(pid);
        }
    }

    /// One worker was told to open its logs anew, and has no right to: it gets those that are at the paths now.
    fn reopen_logs_of(&mut self, pid: Pid) {
        if let Some(child) = self.children.get_mut(pid) {
            child.owed.reopen = true;
        }
        self.pay(pid);
    }

    /// Sends a child what it is owed, as far as its queue takes it.
    pub(in crate::master) fn pay(&mut self, pid: Pid) {
        let Some(child) = self.children.get_mut(pid) else {
            return;
        };
        let logs = self
            .generations
            .iter()
            .find(|generation| generation.number == child.generation)
            .map(|generation| &generation.logs);
        if child.pair.is_none() {
            if child.slot().is_some() {
                pay_by_signal(child);
            }
            return;
        }
        if let Some(parting) = child.owed.parting {
            child.owed.parting = send(child, &parting.order()).then_some(parting);
        }
        if child.owed.ping {
            child.owed.ping = send(child, &Order::Ping);
        }
        if child.owed.reopen {
            child.owed.reopen = logs.is_some_and(|logs| send_logs(child, logs, &self.error_log));
        }
    }

    /// Reads what a child has to say.
    pub(in crate::master) fn read_reports(&mut self, pid: Pid) {
        for _ in 0..REPORTS_A_TURN {
            let Some(child) = self.children.get_mut(pid) else {
                return;
            };
            let Some(pair) = &child.pair else { return };
            match pair.receive_report() {
                Ok(Received::Message(Report::Look, _)) => {
                    self.look_at(pid);
                    self.hear_last_words(pid);
                }
                Ok(Received::Message(Report::Ready, _)) => self.becomes_ready(pid),
                Ok(Received::Message(Report::WantsLogs, _)) => self.reopen_logs_of(pid),
                Ok(Received::Message(Report::Failed(words), _)) => child.last_words = Some(words),
                Ok(Received::Message(Report::Serving(kept), _)) => self.successor_serves(pid, kept),
                Ok(Received::Message(Report::Leaving, _)) => self.successor_leaves(pid),
                Ok(Received::Message(Report::Forked { slot, pid: new }, _)) => {
                    self.is_born(pid, slot as usize, Pid::from_raw(new));
                }
                Ok(Received::Message(Report::NotForked { slot, error }, _)) => {
                    self.is_not_born(pid, slot as usize, error);
                }
                Ok(Received::Nothing) => return,
                Ok(Received::Closed) => return self.lose_pair(pid),
                Err(error) if error.kind() == std::io::ErrorKind::InvalidData => {
                    warn!("worker (pid:{pid}) sent what is no report; it is ignored");
                }
                Err(error) => {
                    warn!("cannot hear from worker (pid:{pid}): {error}");
                    return self.lose_pair(pid);
                }
            }
        }
    }

    fn lose_pair(&mut self, pid: Pid) {
        let now = self.now();
        if let Some(child) = self.children.get_mut(pid) {
            child.pair = None;
            child.deaf_since = Some(now);
        }
    }

    /// A worker serves, or a mold can fork. It may have been told to leave since then.
    fn becomes_ready(&mut self, pid: Pid) {
        let now = self.now();
        let Some(child) = self.children.get_mut(pid) else { return };
        let age = elapsed(child.spawned, now);
        match (child.role, child.life) {
            (Role::Worker { .. }, Life::Booting) => debug!("worker (pid:{pid}) is ready after {age:.1?}"),
            (Role::Mold, Life::Booting) => info!("Mold (pid:{pid}) is ready after {age:.1?}"),
            // Before it was told that it is not wanted: what it has, it answers.
            (Role::Worker { .. }, Life::Condemned { doom: Doom::Dismissed, killed: false, .. }) => {
                return self.retires(pid);
            }
            (Role::Worker { .. } | Role::Mold | Role::Upgrade | Role::Symbolizer, _) => return,
        }
        child.ready_since = Some(now);
        child.life = Life::Ready;
        let number = child.generation;
        self.settle_image(number);
        self.look_at(pid);
    }

    /// A child's slot has changed.
    fn look_at(&mut self, pid: Pid) {
        let Some(child) = self.children.get_mut(pid) else { return };
        let generation = self.generations.iter().find(|generation| generation.number == child.generation);
        let (Some(generation), Some(slot)) = (generation, child.slot()) else { return };
        let leaves = match child.life {
            // It was told to by somebody else than the master, with a signal; its place is free at once.
            Life::Ready => true,
            // It was not Ready and is not wanted: its application has time to stop.
            Life::Condemned { doom: Doom::Dismissed, killed: false, .. } => true,
            Life::Booting | Life::Retiring { .. } | Life::Condemned { .. } => false,
        };
        // An absurd state is the watch's business.
        if leaves && generation.board.slot(slot).state() == Some(SlotState::Draining) {
            self.retires(pid);
        }
    }

    /// A worker is on its way out, and has the time that every one has that retires.
    fn retires(&mut self, pid: Pid) {
        let (now, patience) = (self.now(), self.graceful_timeout_of(pid));
        if let Some(child) = self.children.get_mut(pid) {
            child.life = Life::Retiring { since: now, patience, parting: Parting::Reload };
        }
    }
}

/// Sends an order; true when it has to be sent again.
fn send(child: &mut Child, order: &Order) -> bool {
    let Some(pair) = &child.pair else {
        return false;
    };
    is_owed(child.pid, pair.send_order(order, &[]))
}

fn send_logs(child: &Child, logs: &Logs, error_log: &crate::log::ErrorLog) -> bool {
    let Some(pair) = &child.pair else {
        return false;
    };
    is_owed(child.pid, logs.send_to(pair, error_log))
}

/// A closed pair is found out by reading it; an error is said once and not tried again.
fn is_owed(pid: Pid, sent: std::io::Result<Sent>) -> bool {
    match sent {
        Ok(Sent::Yes | Sent::Closed) => false,
        Ok(Sent::Full) => true,
        Err(error) => {
            warn!("cannot send an order to worker (pid:{pid}): {error}");
            false
        }
    }
}

/// A worker that has lost its pair still has its signals. There is none for a ping; the watch draws its conclusion.
fn pay_by_signal(child: &mut Child) {
    let reopen = child.owed.reopen.then_some(libc::SIGUSR1);
    let parting = child.owed.parting.map(Parting::signal);
    for signal in reopen.into_iter().chain(parting) {
        // It may be dead already, and is reaped next.
        let _gone = process::kill(child.pid, signal);
    }
    child.owed = super::children::Owed::default();
}
