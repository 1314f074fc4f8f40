//! The fork of a worker: signals blocked across it, a pair between the two, and the child's way out of the loop.

use std::io;

use nix::unistd::Pid;
use tracing::{error, info};

use super::children::{Child, Role};
use super::recycling;
use super::seating::Seating;
use crate::log::cause;
use crate::master::reload::generation::Fate;
use crate::master::{EXIT_BOOT, Master, Phase};
use crate::pair::{self, Pair};
use crate::sys::process::{self, Fork};
use crate::sys::signal::{self, Mask};

/// A reload is taken back when so many forks for one slot have failed in a row: after seven seconds.
const FORKS_OF_A_RELOAD: u32 = 4;

/// Which side of a fork this is, with what only that side has.
enum Forked {
    Master { pid: Pid, pair: Pair },
    Worker { pair: Pair, mask: Mask, master: Pid },
}

impl Master {
    /// Forks a worker into a slot, or asks the generation's mold for it. In the master it returns `None`, in the worker its
    /// belongings.
    pub(in crate::master) fn spawn_worker(&mut self, generation: u64, slot: usize) -> Option<Box<Seating>> {
        let request_limit = self.generation(generation).and_then(|generation| {
            generation.board.reset(slot);
            generation.ledger.clear(slot);
            recycling::draw_request_limit(&generation.settings)
        });
        if self.generation(generation).is_some_and(|generation| generation.preloads()) {
            self.order_birth(generation, slot, request_limit);
            return None;
        }
        match fork() {
            Ok(Forked::Master { pid, pair }) => {
                info!("Booting worker with pid: {pid}");
                if let Some(generation) = self.generation(generation) {
                    generation.respawns[slot].after_fork();
                }
                let child = Child::newborn(pid, Role::Worker { slot }, generation, Some(pair), self.now());
                self.children.push(Child { request_limit, ..child });
                None
            }
            // Whatever happens, the child must not go on as a second master.
            Ok(Forked::Worker { pair, mask, master }) => {
                let mut seating = self
                    .seat(generation, Some(slot), pair, mask, master)
                    .unwrap_or_else(|| process::exit_now(i32::from(EXIT_BOOT)));
                seating.request_limit = request_limit;
                Some(seating)
            }
            Err(error) => {
                self.fork_failed(generation, slot, &error);
                None
            }
        }
    }

    /// Forks a generation's mold, as [`Master::spawn_worker`] does a worker.
    pub(in crate::master) fn spawn_mold(&mut self, number: u64) -> Option<Box<Seating>> {
        // Its workers are to be this process's children; so is whatever an application leaves behind from here on.
        let adopted = process::adopt_orphans();
        match adopted.and_then(|()| fork()) {
            Ok(Forked::Master { pid, pair }) => {
                info!("Booting mold with pid: {pid}");
                if let Some(generation) = self.generation(number) {
                    generation.mold.respawn.after_fork();
                }
                self.children.push(Child::newborn(pid, Role::Mold, number, Some(pair), self.now()));
                None
            }
            Ok(Forked::Worker { pair, mask, master }) => {
                let seating = self.seat(number, None, pair, mask, master);
                Some(seating.unwrap_or_else(|| process::exit_now(i32::from(EXIT_BOOT))))
            }
            Err(error) => {
                self.mold_fork_failed(number, &error);
                None
            }
        }
    }

    /// In the child: takes from the master what the worker, or the mold, keeps.
    fn seat(
        &mut self,
        number: u64,
        slot: Option<usize>,
        pair: Pair,
        mask: Mask,
        master: Pid,
    ) -> Option<Box<Seating>> {
        let index = self.generations.iter().position(|generation| generation.number == number)?;
        let mut generation = self.generations.swap_remove(index);
        generation.logs.take_effect(&self.error_log);
        Some(Box::new(Seating {
            settings: generation.settings,
            generation: number,
            slot,
            board: generation.board,
            ledger: generation.ledger,
            pair,
            listeners: generation.listeners,
            request_limit: None,
            access_log: generation.logs.access,
            image: generation.image.file(),
            error_log: self.error_log.clone(),
            directory: self.directory.fd.clone(),
            title: self.title.take(),
            mask,
            master,
            foreign: std::mem::take(&mut self.foreign),
        }))
    }

    /// The system is out of processes, memory or descriptors: at the start that is the end, later it is tried again.
    pub(in crate::master) fn fork_failed(&mut self, number: u64, slot: usize, error: &io::Error) {
        let now = self.now();
        if let Some(generation) = self.generation(number) {
            let arrives = generation.fate == Fate::Arriving;
            let respawn = &mut generation.respawns[slot];
            let pause = respawn.after_failed_fork(now);
            let is_lasting = arrives && respawn.failed_forks() >= FORKS_OF_A_RELOAD;
            self.judge_failed_fork(is_lasting, &no_fork("a worker", error), || {
                format!("slot {slot} tries again in {pause:?}")
            });
        }
    }

    /// The same for a mold.
    fn mold_fork_failed(&mut self, number: u64, error: &io::Error) {
        let now = self.now();
        if let Some(generation) = self.generation(number) {
            let arrives = generation.fate == Fate::Arriving;
            let respawn = &mut generation.mold.respawn;
            let pause = respawn.after_failed_fork(now);
            let is_lasting = arrives && respawn.failed_forks() >= FORKS_OF_A_RELOAD;
            self.judge_failed_fork(is_lasting, &no_fork("a mold", error), || {
                format!("generation {number} tries again in {pause:?}")
            });
        }
    }

    fn judge_failed_fork(&mut self, is_lasting: bool, sentence: &str, next: impl FnOnce() -> String) {
        match self.phase {
            Phase::Starting => self.fail_start(EXIT_BOOT, sentence.to_owned()),
            Phase::Running if is_lasting => self.take_back(sentence),
            Phase::Running | Phase::Draining { .. } | Phase::Stopping { .. } => {
                error!("{sentence}; {}", next())
            }
        }
    }
}

fn no_fork(whom: &str, error: &io::Error) -> String {
    let cause = match error.kind() {
        io::ErrorKind::WouldBlock => {
            "the limit of processes is reached (see TasksMax, LimitNPROC, ulimit -u)".to_owned()
        }
        _ => cause(error),
    };
    format!("cannot start {whom}: {cause}")
}

fn fork() -> io::Result<Forked> {
    let (ours, childs) = pair::pair()?;
    // Not asked of the child: its parent may be another by then, and it would follow that one.
    let master = Pid::this();
    let mask = signal::block_all()?;
    let side = process::fork();
    if !matches!(side, Ok(Fork::Child)) {
        // It can only fail for a mask that is no mask; and the new child has to be counted in any case.
        let _restored = signal::restore(&mask);
    }
    Ok(match side? {
        Fork::Parent(pid) => Forked::Master { pid, pair: ours },
        Fork::Child => Forked::Worker { pair: childs, mask, master },
    })
}
