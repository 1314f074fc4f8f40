//! HUP: a reload is a new generation that arrives beside the one that serves, takes over when all its workers are Ready,
//! and can be taken back until then.

use std::path::Path;
use std::sync::Arc;

use tracing::{error, info, warn};

use crate::last_words::Ledger;
use crate::listener::BindError;
use crate::master::listeners;
use crate::master::logs::{self, Logs, LogsError};
use crate::master::moment::Monotonic;
use crate::master::pidfile::{Pidfile, PidfileError};
use crate::master::workers::children::{Child, Parting};
use crate::master::workers::respawn::Respawn;
use crate::master::{Master, Phase};
use crate::settings::Settings;
use crate::sys::clock;
use generation::{Fate, Generation};
use image::Image;
use mold::Mold;

pub(in crate::master) mod generation;
pub(in crate::master) mod image;
pub(in crate::master) mod mold;
pub(in crate::master) mod outcome;
pub(in crate::master) mod reconcile;

/// Why a generation cannot even begin to arrive.
#[derive(Debug, thiserror::Error)]
pub(crate) enum GenerationError {
    /// An address cannot be had.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// A log cannot be had.
    #[error(transparent)]
    Logs(#[from] LogsError),
    /// The pidfile cannot be had.
    #[error(transparent)]
    Pidfile(#[from] PidfileError),
    /// There is no memory for its scoreboard.
    #[error("cannot make a scoreboard for {workers} workers: {source}")]
    Board {
        /// How many workers were asked for.
        workers: usize,
        /// Why not.
        source: std::io::Error,
    },
}

impl Master {
    /// Reads the configuration anew. Refused, everything stays as it is, also a reload under way.
    pub(in crate::master) fn reload(&mut self) {
        info!("Hang up: Master");
        let read_at = clock::monotonic();
        self.notifier.send(format!("RELOADING=1\nMONOTONIC_USEC={}\nSTATUS=reloading", read_at / 1000));
        let settings = match (self.load)() {
            Ok(settings) => settings,
            Err(problems) => {
                return self.refuse(&all_in_one(&problems), read_at);
            }
        };
        match self.arrival(settings, read_at) {
            Ok(generation) => self.replace_arriving(generation),
            Err(error) => self.refuse(&error.to_string(), read_at),
        }
    }

    /// A generation of these settings, with everything that it needs but its workers. The pidfile comes first: that a
    /// server runs already says more than that its port is taken.
    pub(in crate::master) fn arrival(
        &self,
        settings: Settings,
        read_at: Monotonic,
    ) -> Result<Generation, GenerationError> {
        let mut next_pidfile = self.pidfile_for(&settings)?;
        match self.generation_of(settings, read_at) {
            Ok(generation) => Ok(Generation { next_pidfile, ..generation }),
            Err(error) => {
                remove(next_pidfile.take());
                Err(error)
            }
        }
    }

    fn generation_of(&self, settings: Settings, read_at: Monotonic) -> Result<Generation, GenerationError> {
        let board = Generation::board(&settings)
            .map_err(|source| GenerationError::Board { workers: settings.workers, source })?;
        let ledger = Ledger::create(board.slots())
            .map_err(|source| GenerationError::Board { workers: settings.workers, source })?;
        let listeners = self.listeners_for(&settings)?;
        let logs = Logs::open(&settings, &self.error_log, &self.directory.path)
            .inspect_err(|_| self.abandon(&listeners))?;
        Ok(Generation {
            number: self.newest + 1,
            wanted: settings.workers.max(1),
            peak: 0,
            losses: 0,
            respawns: vec![Respawn::default(); board.slots()],
            mold: Mold::default(),
            image: Image::for_settings(&settings),
            settings: Arc::new(settings),
            read_at,
            board,
            ledger,
            listeners,
            fate: Fate::Arriving,
            logs,
            next_pidfile: None,
        })
    }

    /// The pidfile that the settings name, if it is not held already. A held one must not be opened again: closing that
    /// would lose the lock.
    fn pidfile_for(&self, settings: &Settings) -> Result<Option<Pidfile>, PidfileError> {
        let Some(path) = self.pidfile_path(settings) else {
            return Ok(None);
        };
        let arriving = self.generations.iter().filter_map(|generation| generation.next_pidfile.as_ref());
        if self.pidfile.iter().chain(arriving).any(|pidfile| pidfile.is_at(&path)) {
            return Ok(None);
        }
        Ok(Some(Pidfile::acquire(&self.directory.fd, &path)?))
    }

    /// The newest configuration is the one that counts: what was arriving before it goes.
    fn replace_arriving(&mut self, mut generation: Generation) {
        let path = self.pidfile_path(&generation.settings);
        for before in self.generations.iter_mut().filter(|before| before.fate == Fate::Arriving) {
            info!("generation {} makes way for a newer configuration", before.number);
            before.fate = Fate::Withdrawn;
            inherit_pidfile(before, &mut generation, path.as_deref());
        }
        raise_limits(&generation.settings);
        self.newest = generation.number;
        self.generations.push(generation);
    }

    /// Nobody needs a withdrawn generation any more.
    pub(in crate::master) fn let_leave(&mut self, number: u64) {
        if let Some(generation) = self.generation(number) {
            generation.dissolve(Parting::Reload);
        }
        self.close_left_listeners(self.now());
    }

    /// An arriving generation has failed: whoever serves goes on, and what of it has left already comes back.
    pub(in crate::master) fn take_back(&mut self, reason: &str) {
        let mut read_at = None;
        for generation in self.generations.iter_mut().filter(|generation| generation.fate == Fate::Arriving) {
            generation.fate = Fate::Withdrawn;
            remove(generation.next_pidfile.take());
            read_at = Some(generation.read_at);
        }
        if let Some(read_at) = read_at {
            self.refuse(reason, read_at);
        }
    }

    /// A worker of an arriving generation has died after it had been Ready: a death like others, and it is replaced. But a
    /// roll in which the new workers keep dying would never end.
    pub(in crate::master) fn count_loss(&mut self, child: &Child) {
        let phase = self.phase;
        let (Some(generation), Some(slot)) = (self.generation(child.generation), child.slot()) else {
            return;
        };
        generation.losses += 1;
        let again = generation.respawns[slot].deaths_in_row() >= 2;
        if phase != Phase::Starting && (again || generation.losses > generation.wanted) {
            let reason = format!("its workers die when they are ready, {} until now", generation.losses);
            self.take_back(&reason);
        }
    }

    /// From here on `number` serves, and what served before leaves.
    pub(in crate::master) fn take_over(&mut self, number: u64) {
        self.say_where_if_new(number);
        for generation in &mut self.generations {
            if generation.number == number {
                generation.fate = Fate::Serving;
            } else {
                generation.dissolve(Parting::Reload);
            }
        }
        self.switch_pidfile(number);
        if let Some(index) = self.generations.iter().position(|generation| generation.number == number) {
            let generation = &mut self.generations[index];
            generation.logs.take_effect(&self.error_log);
            generation.logs.reopen();
        }
        logs::reopen(&self.error_log.sink());
        self.close_left_listeners(self.now());
        self.show_title();
    }

    fn say_where_if_new(&self, number: u64) {
        let arriving = self.generations.iter().find(|generation| generation.number == number);
        let serving = self.generations.iter().find(|generation| generation.fate == Fate::Serving);
        if let (Some(arriving), Some(serving)) = (arriving, serving)
            && arriving.settings.bind != serving.settings.bind
        {
            listeners::say_where(&arriving.listeners);
        }
    }

    fn switch_pidfile(&mut self, number: u64) {
        let Some(generation) = self.generation(number) else {
            return;
        };
        match (generation.next_pidfile.take(), generation.settings.pidfile.is_some()) {
            // The one that is held is the one that is wanted.
            (None, true) => {}
            (next, _) => remove(std::mem::replace(&mut self.pidfile, next)),
        }
    }
}

/// All problems in one sentence; those that would not be read in one are lines of their own before it.
fn all_in_one(problems: &[String]) -> String {
    match problems {
        [only] => only.clone(),
        _ => {
            problems.iter().for_each(|problem| error!("{problem}"));
            let first = problems.first().map_or("", String::as_str);
            format!("the configuration has {} errors, the first is {first}", problems.len())
        }
    }
}

/// Two arriving generations that name the same pidfile share one, since it cannot be opened twice.
fn inherit_pidfile(before: &mut Generation, next: &mut Generation, path: Option<&Path>) {
    let Some(pidfile) = before.next_pidfile.take() else {
        return;
    };
    match path {
        Some(path) if pidfile.is_at(path) => next.next_pidfile = Some(pidfile),
        _ => remove(Some(pidfile)),
    }
}

fn remove(pidfile: Option<Pidfile>) {
    if let Some(Err(error)) = pidfile.map(Pidfile::remove) {
        warn!("{error}");
    }
}

/// Descriptors for the connections of one worker, its listeners and logs, and the master's pairs.
pub(in crate::master) fn raise_limits(settings: &Settings) {
    const BESIDE_CONNECTIONS: u64 = 256;
    let connections = u64::try_from(settings.worker_connections).unwrap_or(u64::MAX);
    let workers = u64::try_from(settings.workers).unwrap_or(u64::MAX);
    // A connection may have a file beside it that is being sent.
    let wanted =
        connections.saturating_mul(2).max(workers.saturating_mul(2)).saturating_add(BESIDE_CONNECTIONS);
    match crate::sys::fd::raise_nofile(wanted) {
        Ok(limit) if limit < wanted => warn!(
            "a process may open {limit} descriptors and worker_connections needs {wanted}: \
             raise LimitNOFILE (ulimit -n) or lower worker_connections"
        ),
        Ok(_) => {}
        Err(error) => warn!("cannot raise the limit of open descriptors to {wanted}: {error}"),
    }
}
