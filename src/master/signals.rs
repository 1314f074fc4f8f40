//! What each signal to the master means: one row each, and nothing in it waits.

use tracing::{debug, info, warn};

use crate::sys::signal;

use super::logs;
use super::reload::generation::{Fate, Generation};
use super::workers::children::Parting;
use super::{Master, Phase};

/// The signals that the master takes.
pub(super) const TAKEN: [i32; 10] = [
    libc::SIGHUP,
    libc::SIGINT,
    libc::SIGQUIT,
    libc::SIGTERM,
    libc::SIGTTIN,
    libc::SIGTTOU,
    libc::SIGUSR1,
    libc::SIGUSR2,
    libc::SIGWINCH,
    libc::SIGCHLD,
];

impl Master {
    pub(super) fn handle_signal(&mut self, number: i32) {
        // Who has died is looked up in every turn; the signal only had to wake the master.
        if number == libc::SIGCHLD {
            return debug!("Handling signal: chld");
        }
        info!("Handling signal: {}", signal::short_name(number));
        match (self.phase, number) {
            (_, libc::SIGINT | libc::SIGQUIT) => self.stop(Parting::Quick),
            (Phase::Starting | Phase::Running | Phase::Draining { .. }, libc::SIGTERM) => {
                self.stop(Parting::Stop);
            }
            (Phase::Stopping { .. }, libc::SIGTERM) => self.stop(Parting::Quick),
            (_, libc::SIGUSR1) => self.reopen_logs(),
            (Phase::Starting | Phase::Running, libc::SIGHUP) => self.reload(),
            (Phase::Starting | Phase::Running | Phase::Draining { .. }, libc::SIGTTIN) => {
                self.change_workers(1);
            }
            (Phase::Starting | Phase::Running | Phase::Draining { .. }, libc::SIGTTOU) => {
                self.change_workers(-1);
            }
            (Phase::Starting | Phase::Running, libc::SIGUSR2) => self.upgrade(),
            (Phase::Starting | Phase::Running, libc::SIGWINCH) => self.retire_all(),
            (Phase::Draining { .. } | Phase::Stopping { .. }, _) => {
                info!("nothing is done: the server is stopping")
            }
            (Phase::Starting | Phase::Running, _) => warn!("no meaning is known for it"),
        }
    }

    fn reopen_logs(&mut self) {
        logs::reopen(&self.error_log.sink());
        for generation in &self.generations {
            generation.logs.reopen();
        }
        self.order_reopening();
    }

    /// WINCH: every worker leaves, and the master stays, so that another one serves alone. Only in daemon mode: a
    /// terminal sends this signal when its window changes.
    pub(super) fn retire_all(&mut self) {
        if !self.is_daemon {
            return debug!("SIGWINCH ignored. Not daemonized");
        }
        let is_arriving = self.generations.iter().any(|generation| generation.fate == Fate::Arriving);
        if self.phase == Phase::Starting || is_arriving {
            return warn!("SIGWINCH ignored. New workers are on their way; send it again when they serve");
        }
        for generation in self.generations.iter_mut().filter(|generation| generation.is_staying()) {
            generation.wanted = 0;
        }
        info!("Gracefully stopping workers: HUP brings them back, TTIN one of them");
    }

    /// One worker more or less, at least one and no more than the board has room for. None is left by WINCH alone.
    fn change_workers(&mut self, by: isize) {
        let Some(generation) = self.current() else {
            return;
        };
        let most = generation.board.slots();
        let least = generation.wanted.min(1);
        let wanted = generation.wanted.saturating_add_signed(by).clamp(least, most);
        if wanted == generation.wanted {
            return warn!("the number of workers stays {wanted}: it is between {least} and {most}");
        }
        generation.wanted = wanted;
        info!("{wanted} workers are wanted");
    }

    /// The generation that serves; before there is one, the one that arrives.
    fn current(&mut self) -> Option<&mut Generation> {
        let serving = self.generations.iter().position(|generation| generation.fate == Fate::Serving);
        let arriving = || self.generations.iter().rposition(|generation| generation.fate == Fate::Arriving);
        let index = serving.or_else(arriving)?;
        self.generations.get_mut(index)
    }
}
