//! A generation: a configuration, its board, its listeners and logs, and how many workers it is to have.

use std::collections::HashSet;
use std::sync::Arc;

use super::image::Image;
use super::mold::Mold;
use super::reconcile::{FreeSlot, Tally};
use crate::last_words::Ledger;
use crate::listener::Listener;
use crate::master::logs::Logs;
use crate::master::moment::Monotonic;
use crate::master::pidfile::Pidfile;
use crate::master::workers::children::{Child, Children, Doom, Life, Parting};
use crate::master::workers::limits::Limits;
use crate::master::workers::respawn::Respawn;
use crate::scoreboard::Scoreboard;
use crate::settings::Settings;

/// Slots beside those for twice the workers and `max_surge`: for replacements of workers that leave slowly, and for TTIN.
const SPARE_SLOTS: usize = 64;

/// One configuration and the workers that run it.
pub(in crate::master) struct Generation {
    /// 1, 2, ...; never used again.
    pub number: u64,
    /// As they were read for it.
    pub settings: Arc<Settings>,
    /// When that began.
    pub read_at: Monotonic,
    /// How many workers it is to have, while it is not leaving.
    pub wanted: usize,
    /// Its scoreboard.
    pub board: Scoreboard,
    /// What its workers load the application from.
    pub image: Image,
    /// What its dying workers say.
    pub ledger: Ledger,
    /// Where it serves; a listener that two generations have is one.
    pub listeners: Vec<Arc<Listener>>,
    /// The most workers that it ever had Ready at once.
    pub peak: usize,
    /// Its workers that died although they had been Ready, while it arrived.
    pub losses: usize,
    /// Its mold, if it preloads.
    pub mold: Mold,
    /// For each slot, when the next worker may be spawned into it.
    pub respawns: Vec<Respawn>,
    /// What is to become of it.
    pub fate: Fate,
    /// Where it writes.
    pub logs: Logs,
    /// A pidfile that becomes the master's when the generation is committed.
    pub next_pidfile: Option<Pidfile>,
}

/// What is to become of a generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::master) enum Fate {
    /// Its workers boot; it can be taken back.
    Arriving,
    /// It was taken back, or made way for a newer configuration. Its Ready workers serve until there are others in their place.
    Withdrawn,
    /// It is the one that serves.
    Serving,
    /// Its workers are to go, and are not replaced.
    Leaving(Parting),
}

impl Generation {
    /// A board with room for the workers of these settings.
    pub(in crate::master) fn board(settings: &Settings) -> std::io::Result<Scoreboard> {
        let slots =
            settings.workers.saturating_mul(2).saturating_add(surge(settings)).saturating_add(SPARE_SLOTS);
        Scoreboard::create(slots, settings.threads.max(1))
    }

    /// Has taken down how many of its workers are Ready, if they were never so many.
    pub(in crate::master) fn note_peak(&mut self, children: &Children) {
        let ready = children.of(self.number).filter(|child| child.life == Life::Ready).count();
        self.peak = self.peak.max(ready);
    }

    /// What the reconciler needs to know of it.
    pub(in crate::master) fn tally(&self, children: &Children) -> Tally {
        let mut tally = Tally {
            number: self.number,
            fate: self.fate,
            wanted: self.wanted,
            surge: surge(&self.settings),
            peak: self.peak,
            booting: Vec::new(),
            ready: Vec::new(),
            retiring: Vec::new(),
            failing: 0,
            outdated: Vec::new(),
            is_held: false,
            free: Vec::new(),
        };
        let births = &self.mold.births;
        // They are on their way and have no number yet: nobody else takes their place.
        tally.failing += births.len();
        let mut taken: HashSet<usize> = births.iter().map(|birth| birth.slot).collect();
        for child in children.of(self.number) {
            taken.extend(child.slot());
            count(child, &mut tally);
        }
        let free = self.respawns.iter().enumerate().filter(|(slot, _)| !taken.contains(slot));
        tally.free = free.map(|(slot, respawn)| free_slot(slot, respawn)).collect();
        tally
    }

    /// What its workers are held to.
    pub(in crate::master) fn limits(&self) -> Limits {
        Limits { timeout: self.settings.timeout, boot_timeout: self.settings.boot_timeout }
    }

    /// True when it is to have workers.
    pub(in crate::master) fn is_staying(&self) -> bool {
        match self.fate {
            Fate::Arriving | Fate::Serving => true,
            Fate::Withdrawn | Fate::Leaving(_) => false,
        }
    }

    /// True when its workers are to go in any case, and its listeners were taken from it.
    pub(in crate::master) fn is_leaving(&self) -> bool {
        matches!(self.fate, Fate::Leaving(_))
    }

    /// Its workers are to leave like this, or faster if that was said before.
    pub(in crate::master) fn dissolve(&mut self, parting: Parting) {
        self.fate = match self.fate {
            Fate::Arriving | Fate::Withdrawn | Fate::Serving => Fate::Leaving(parting),
            Fate::Leaving(before) => Fate::Leaving(before.max(parting)),
        };
    }
}

/// How many workers beyond the number wanted may live while workers are exchanged.
pub(in crate::master) fn surge(settings: &Settings) -> usize {
    settings.max_surge.unwrap_or(settings.workers / 4).max(1)
}

fn count(child: &Child, tally: &mut Tally) {
    match child.life {
        Life::Booting => tally.booting.push(child.pid),
        Life::Ready => {
            tally.ready.push(child.pid);
            tally.outdated.extend(child.outdated.map(|_| child.pid));
        }
        Life::Retiring { parting, .. } => tally.retiring.push((child.pid, parting)),
        // It was asked by a signal, and can be asked to hurry like the others.
        Life::Condemned { doom: Doom::Deaf, killed: false, .. } => {
            tally.retiring.push((child.pid, Parting::Reload));
        }
        Life::Condemned { .. } if child.ready_since.is_some() || child.is_expected_to_go() => {}
        Life::Condemned { .. } => tally.failing += 1,
    }
}

fn free_slot(slot: usize, respawn: &Respawn) -> FreeSlot {
    FreeSlot { slot, not_before: respawn.not_before(), bereaved: respawn.deaths_in_row() > 0 }
}
