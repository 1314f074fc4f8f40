//! Who has died, what is said about it, and what follows: a pause, a start that fails, a reload that is taken back.

use std::time::{Duration, SystemTime};

use nix::unistd::Pid;
use tracing::{error, info, warn};

use crate::master::moment::elapsed;
use crate::master::reload::generation::Fate;
use crate::master::service::status::one_line;
use crate::master::workers::children::{Child, Life, Role};
use crate::master::workers::watch::in_flight;
use crate::master::{EXIT_APPLICATION, EXIT_BOOT, Master, Phase};
use crate::sys::cgroup::OomCount;
use crate::sys::process::{self, Change, Status};
use crate::sys::signal;
use obituary::{Death, End};

pub(in crate::master) mod obituary;
pub(in crate::master) mod record;
pub(in crate::master) mod symbolize;

/// What the kernel's OOM killer has done in the master's control group, which is the workers' too.
pub(in crate::master) struct OomWatch {
    /// `None`: nobody counts here.
    count: Option<OomCount>,
    /// How many of its kills are accounted for.
    seen: u64,
}

impl OomWatch {
    /// From now on.
    pub(in crate::master) fn new() -> OomWatch {
        let count = OomCount::find();
        let seen = count.as_ref().and_then(OomCount::read).unwrap_or(0);
        OomWatch { count, seen }
    }

    /// Whether it has killed once more; `None` if nobody can say. Each kill explains one death.
    fn has_struck(&mut self) -> Option<bool> {
        let now = self.count.as_ref()?.read()?;
        let more = now > self.seen;
        self.seen += u64::from(more);
        Some(more)
    }

    /// All that it has killed until now is accounted for: what was no worker explains no later death.
    fn settle(&mut self) {
        if let Some(now) = self.count.as_ref().and_then(OomCount::read) {
            self.seen = now;
        }
    }
}

impl Master {
    /// Takes every change of a child off the kernel's hands.
    pub(in crate::master) fn reap_workers(&mut self) {
        let before = self.children.len();
        self.take_changes();
        if self.children.len() < before {
            self.oom.settle();
        }
    }

    fn take_changes(&mut self) {
        while let Some(status) = process::wait_any() {
            match status.change {
                Change::Exited(_) | Change::Signaled { .. } => self.bury(&status),
                Change::Stopped(signal) => self.has_stopped(status.pid, signal),
                Change::Continued => self.goes_on(status.pid),
            }
        }
    }

    fn has_stopped(&mut self, pid: Pid, number: i32) {
        let now = self.now();
        if let Some(child) = self.children.get_mut(pid) {
            info!("worker (pid:{pid}) was stopped by {}", signal::long_name(number));
            child.stopped_since = Some(now);
        }
    }

    fn goes_on(&mut self, pid: Pid) {
        if let Some(child) = self.children.get_mut(pid) {
            info!("worker (pid:{pid}) goes on");
            child.stopped_since = None;
        }
    }

    pub(in crate::master) fn bury(&mut self, status: &Status) {
        // What it had said before it died may be the reason.
        self.read_reports(status.pid);
        self.hear_last_words(status.pid);
        let Some(child) = self.children.remove(status.pid) else {
            return self.bury_unknown(status);
        };
        match child.role {
            Role::Worker { .. } => self.bury_worker(&child, status),
            Role::Mold => self.bury_mold(&child, status),
            Role::Upgrade => self.bury_successor(&child, status.change),
            Role::Symbolizer => self.bury_symbolizer(child.pid, status.change),
        }
    }

    fn bury_worker(&mut self, child: &Child, status: &Status) {
        if let Some(death) = self.death(child, status) {
            say(child, status.change, &self.with_last_words(child, death.to_string()));
            if !child.is_expected_to_go() {
                self.deaths.push(death);
            }
        }
        self.settle_slot(child);
        self.draw_consequences(child, status.change);
    }

    /// Why a worker could not boot is said with its death, unless the verdict over its generation says it.
    fn with_last_words(&self, child: &Child, line: String) -> String {
        let is_judged = self
            .generations
            .iter()
            .any(|generation| generation.number == child.generation && generation.fate == Fate::Arriving);
        match &child.last_words {
            Some(words) if !is_judged => format!("{line} {}", one_line(words)),
            Some(_) | None => line,
        }
    }

    /// Folds the dead worker's figures into the master's, and decides when its slot gets the next one.
    fn settle_slot(&mut self, child: &Child) {
        let now = self.now();
        let generation = self.generations.iter_mut().find(|generation| generation.number == child.generation);
        let (Some(generation), Some(slot)) = (generation, child.slot()) else {
            return;
        };
        self.departed.add(&generation.board.slot(slot).totals());
        generation.board.reset(slot);
        let is_staying = generation.is_staying();
        let respawn = &mut generation.respawns[slot];
        if child.is_expected_to_go() {
            respawn.after_retirement(child.ready_for(now));
            return;
        }
        let pause = respawn.after_death(now, child.ready_for(now));
        if is_staying && pause > Duration::ZERO {
            let deaths = respawn.deaths_in_row();
            warn!("slot {slot} has lost {deaths} workers in a row; the next starts in {pause:?}");
        }
    }

    /// A worker that was never Ready ends a start, and takes back a reload.
    pub(in crate::master) fn draw_consequences(&mut self, child: &Child, change: Change) {
        let fate = self.generation(child.generation).map(|generation| generation.fate);
        if child.is_expected_to_go() || fate != Some(Fate::Arriving) {
            return;
        }
        if child.ready_since.is_some() {
            return self.count_loss(child);
        }
        let (code, sentence) = boot_failure(child, change);
        match self.phase {
            Phase::Starting => self.fail_start(code, sentence),
            Phase::Running | Phase::Draining { .. } => self.take_back(&sentence),
            Phase::Stopping { .. } => {}
        }
    }

    /// All that is known of a worker's death.
    fn death(&mut self, child: &Child, status: &Status) -> Option<Death> {
        let now = self.now();
        let slot = child.slot()?;
        let killed = matches!(status.change, Change::Signaled { signal: libc::SIGKILL, .. });
        let oom = if killed { self.oom.has_struck() } else { None };
        let end = End::new(status.change, child.life, child.spoke, oom)?;
        let generation = self.generations.iter().find(|generation| generation.number == child.generation)?;
        let view = generation.board.slot(slot);
        Some(Death {
            pid: child.pid,
            slot,
            generation: child.generation,
            at: SystemTime::now(),
            end,
            age: elapsed(child.spawned, now),
            served: view.totals().requests,
            in_flight: in_flight(view, now),
            peak_memory: status.peak_memory,
        })
    }
}

/// As grave as Gunicorn says it, but for what the master itself has asked for.
fn say(child: &Child, change: Change, line: &str) {
    match change {
        // Its application may have called exit(), in the middle of a request.
        Change::Exited(0) if !child.is_expected_to_go() => warn!("{line}"),
        Change::Exited(0) | Change::Signaled { signal: libc::SIGTERM, .. } => info!("{line}"),
        Change::Signaled { signal: libc::SIGKILL, .. } | Change::Exited(_) => {
            if child.is_expected_to_go() {
                warn!("{line}")
            } else {
                error!("{line}")
            }
        }
        Change::Signaled { .. } | Change::Stopped(_) | Change::Continued => warn!("{line}"),
    }
}

/// What the exit codes of a worker mean as long as it was never Ready, and only then.
fn boot_failure(child: &Child, change: Change) -> (u8, String) {
    let (code, what) = match change {
        Change::Exited(code) if code == i32::from(EXIT_APPLICATION) => {
            (EXIT_APPLICATION, "App failed to load.")
        }
        Change::Exited(_) | Change::Signaled { .. } | Change::Stopped(_) | Change::Continued => {
            (EXIT_BOOT, "Worker failed to boot.")
        }
    };
    let why = match (&child.last_words, child.life, change) {
        (Some(words), _, _) => one_line(words),
        (None, Life::Condemned { doom, .. }, _) => doom.reason().to_owned(),
        (None, _, Change::Exited(code)) => format!("it exited with code {code}"),
        (None, _, Change::Signaled { signal, .. }) => {
            format!("it was sent {}", signal::long_name(signal))
        }
        (None, _, Change::Stopped(_) | Change::Continued) => "it was stopped".to_owned(),
    };
    (code, format!("{what} (pid:{}): {why}", child.pid))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::master::workers::children::{Doom, Role};

    fn child(life: Life) -> Child {
        Child { life, ..Child::newborn(Pid::from_raw(77), Role::Worker { slot: 0 }, 1, None, 0) }
    }

    #[test]
    fn only_code_four_means_that_the_application_did_not_load() {
        let booting = child(Life::Booting);
        let code = |change| boot_failure(&booting, change).0;
        assert_eq!(code(Change::Exited(4)), EXIT_APPLICATION);
        for other in [Change::Exited(3), Change::Exited(0), Change::Signaled { signal: 11, core: false }] {
            assert_eq!(code(other), EXIT_BOOT);
        }
    }

    #[test]
    fn a_boot_failure_is_told_in_the_workers_own_words_if_there_are_any() {
        let mut dead = child(Life::Booting);
        let tell = |dead: &Child| boot_failure(dead, Change::Exited(4)).1;
        assert_eq!(tell(&dead), "App failed to load. (pid:77): it exited with code 4");
        dead.last_words = Some("no such file\n".to_owned());
        assert_eq!(tell(&dead), "App failed to load. (pid:77): no such file\\n");
        let life =
            Life::Condemned { since: 0, patience: Duration::ZERO, doom: Doom::BootTimeout, killed: false };
        let (_, sentence) = boot_failure(&child(life), Change::Signaled { signal: 6, core: false });
        assert_eq!(sentence, "Worker failed to boot. (pid:77): it was not ready within boot_timeout");
    }
}
