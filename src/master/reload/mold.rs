//! Molds, as the master has them: one for each generation that preloads, made before its workers, asked for each of them, made
//! anew when it dies. What happens inside one is `worker::mold`'s.

use std::io;
use std::num::NonZeroU64;
use std::os::fd::AsFd;

use nix::unistd::Pid;
use tracing::{debug, error, info, warn};

use super::generation::{Fate, Generation};
use crate::master::deaths::obituary::End;
use crate::master::moment::{Monotonic, NEVER, after};
use crate::master::workers::children::{Child, Life, Role};
use crate::master::workers::respawn::Respawn;
use crate::master::{Master, Phase};
use crate::pair::{self, Order, Pair, Sent};
use crate::sys::process::{self, Status};

/// Exits of children that nobody knows are kept for a mold's answer, so many of them at most: the rest are orphans.
const MOST_UNNAMED: usize = 64;

/// What a generation has of its mold, beside the child.
#[derive(Debug, Default)]
pub(in crate::master) struct Mold {
    /// When the next one may be made.
    pub respawn: Respawn,
    /// Workers that it was asked for and that have no number yet.
    pub births: Vec<Birth>,
}

/// A worker that a mold was asked for.
#[derive(Debug)]
pub(in crate::master) struct Birth {
    /// The slot that it takes.
    pub slot: usize,
    /// How many requests it may answer.
    request_limit: Option<NonZeroU64>,
    /// The master's end of its pair.
    pair: Pair,
    /// Since when.
    since: Monotonic,
}

/// What the decision about a mold rests on.
#[derive(Clone, Copy, Debug)]
struct Facts {
    /// Its generation.
    number: u64,
    /// The generation preloads and is to have workers.
    is_wanted: bool,
    /// The one that there is, and where it is in its life.
    child: Option<(Pid, Life)>,
    /// No other is made before this.
    not_before: Monotonic,
    /// It has to have answered until then.
    answer_by: Monotonic,
}

/// What to do about molds next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::master) enum MoldStep {
    /// Nothing before that time.
    RestUntil(Monotonic),
    /// Make one for this generation.
    Cast(u64),
    /// It is not needed any more, and has nothing in flight.
    Retire(Pid),
    /// It is not needed any more, and is no good for anything yet.
    Dismiss(Pid),
    /// It does not answer.
    Condemn(Pid),
}

fn decide(facts: &Facts, now: Monotonic) -> MoldStep {
    match (facts.is_wanted, facts.child) {
        (true, None) if facts.not_before <= now => MoldStep::Cast(facts.number),
        (true, None) => MoldStep::RestUntil(facts.not_before),
        (true, Some((pid, Life::Ready))) if facts.answer_by <= now => MoldStep::Condemn(pid),
        (true, Some((_, Life::Ready))) => MoldStep::RestUntil(facts.answer_by),
        (false, Some((pid, Life::Ready))) => MoldStep::Retire(pid),
        (false, Some((pid, Life::Booting))) => MoldStep::Dismiss(pid),
        (_, Some((_, Life::Booting | Life::Retiring { .. } | Life::Condemned { .. }))) | (false, None) => {
            MoldStep::RestUntil(NEVER)
        }
    }
}

impl Generation {
    /// Its workers are forked by a mold.
    pub(in crate::master) fn preloads(&self) -> bool {
        self.settings.preload_app
    }
}

impl Master {
    /// The next step, if there is one to be taken now; else when to look again.
    pub(in crate::master) fn mold_step(&self, now: Monotonic) -> MoldStep {
        let mut rest = NEVER;
        for generation in &self.generations {
            match decide(&self.mold_facts(generation), now) {
                MoldStep::RestUntil(until) => rest = rest.min(until),
                step @ (MoldStep::Cast(_)
                | MoldStep::Retire(_)
                | MoldStep::Dismiss(_)
                | MoldStep::Condemn(_)) => {
                    return step;
                }
            }
        }
        MoldStep::RestUntil(rest)
    }

    fn mold_facts(&self, generation: &Generation) -> Facts {
        let oldest = generation.mold.births.iter().map(|birth| birth.since).min();
        let patience = generation.settings.boot_timeout;
        Facts {
            number: generation.number,
            is_wanted: generation.preloads() && generation.is_staying(),
            child: self.mold_of(generation.number).map(|child| (child.pid, child.life)),
            not_before: generation.mold.respawn.not_before(),
            answer_by: oldest.zip(patience).map_or(NEVER, |(since, patience)| after(since, patience)),
        }
    }

    fn mold_of(&self, number: u64) -> Option<&Child> {
        self.children.iter().find(|child| child.role == Role::Mold && child.generation == number)
    }

    /// Its workers can be forked: there is a mold that is Ready, or none is needed.
    pub(in crate::master) fn can_spawn(&self, generation: &Generation) -> bool {
        !generation.preloads() || self.mold_of(generation.number).is_some_and(|mold| mold.life == Life::Ready)
    }

    /// Asks the mold of a generation for a worker.
    pub(in crate::master) fn order_birth(
        &mut self,
        number: u64,
        slot: usize,
        request_limit: Option<NonZeroU64>,
    ) {
        let since = self.now();
        let Some(mold) = self.mold_of(number).and_then(|child| child.pair.as_ref()) else {
            return; // it is dying: its death brings another
        };
        let order = Order::Fork {
            slot: u32::try_from(slot).unwrap_or(u32::MAX),
            request_limit: request_limit.map_or(0, NonZeroU64::get),
        };
        let asked =
            pair::pair().and_then(|(ours, workers)| match mold.send_order(&order, &[workers.as_fd()])? {
                Sent::Yes => Ok(Some(ours)),
                Sent::Full => Err(io::ErrorKind::WouldBlock.into()),
                Sent::Closed => Ok(None),
            });
        match asked {
            Ok(Some(pair)) => {
                if let Some(generation) = self.generation(number) {
                    generation.mold.births.push(Birth { slot, request_limit, pair, since });
                }
            }
            Ok(None) => {}
            Err(error) => self.fork_failed(number, slot, &error),
        }
    }

    /// A mold says that it has forked a worker. It runs foreign code: the kernel has to agree that the process is a child of
    /// this one, and no other child may have the number.
    pub(in crate::master) fn is_born(&mut self, mold: Pid, slot: usize, pid: Pid) {
        let Some((number, birth)) = self.take_birth(mold, slot) else {
            return;
        };
        let early = self.unnamed.iter().position(|status| status.pid == pid);
        let is_known = self.children.get_mut(pid).is_some();
        if is_known || (early.is_none() && !process::is_child(pid)) {
            warn!(
                "the mold (pid:{mold}) says that it has forked pid {pid}, which is no new child of this master"
            );
            return;
        }
        info!("Booting worker with pid: {pid}");
        if let Some(generation) = self.generation(number) {
            generation.respawns[slot].after_fork();
        }
        let child = Child::newborn(pid, Role::Worker { slot }, number, Some(birth.pair), self.now());
        self.children.push(Child { request_limit: birth.request_limit, ..child });
        if let Some(early) = early {
            let status = self.unnamed.remove(early);
            self.bury(&status);
        }
    }

    /// A mold says that it could not.
    pub(in crate::master) fn is_not_born(&mut self, mold: Pid, slot: usize, errno: i32) {
        if let Some((number, _)) = self.take_birth(mold, slot) {
            self.fork_failed(number, slot, &io::Error::from_raw_os_error(errno));
        }
    }

    /// A birth and its generation, if this process is the mold that was asked.
    fn take_birth(&mut self, mold: Pid, slot: usize) -> Option<(u64, Birth)> {
        let child = self.children.get_mut(mold).filter(|child| child.role == Role::Mold)?;
        let number = child.generation;
        let births = &mut self.generation(number)?.mold.births;
        let index = births.iter().position(|birth| birth.slot == slot)?;
        Some((number, births.remove(index)))
    }

    /// A child has died whom nobody knows: a worker whose mold has not answered yet, or an orphan of an application.
    pub(in crate::master) fn bury_unknown(&mut self, status: &Status) {
        let is_awaited = self.generations.iter().any(|generation| !generation.mold.births.is_empty());
        self.unnamed.retain(|_| is_awaited);
        if is_awaited && self.unnamed.len() < MOST_UNNAMED {
            self.unnamed.push(*status);
        } else {
            debug!("reaped pid {}, an orphan that was no worker of ours", status.pid);
        }
    }

    /// A mold has died. Those whom it has not forked any more are asked of the next one.
    pub(in crate::master) fn bury_mold(&mut self, child: &Child, status: &Status) {
        self.settle_mold(child, status);
        // One that was never Ready ends a start, and takes back a reload.
        self.draw_consequences(child, status.change);
        let arriving = self.generation(child.generation).filter(|one| one.fate == Fate::Arriving);
        let is_hopeless = arriving.is_some_and(|one| one.mold.respawn.deaths_in_row() >= 2);
        if is_hopeless && self.phase == Phase::Running {
            self.take_back("its mold dies when it is ready");
        }
    }

    fn settle_mold(&mut self, child: &Child, status: &Status) {
        let now = self.now();
        if let Some(end) = End::new(status.change, child.life, None, None) {
            let line = format!("Mold (pid:{}) {end} (generation {})", child.pid, child.generation);
            if child.is_expected_to_go() { info!("{line}") } else { error!("{line}") }
        }
        let is_stopping = matches!(self.phase, Phase::Stopping { .. });
        if let Some(generation) = self.generation(child.generation) {
            generation.mold.births.clear();
            if child.is_expected_to_go() {
                generation.mold.respawn.after_retirement(child.ready_for(now));
                return;
            }
            let pause = generation.mold.respawn.after_death(now, child.ready_for(now));
            if generation.is_staying() && !is_stopping {
                info!("generation {} gets another mold in {pause:?}", generation.number);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::master::workers::children::Parting;

    const PID: Pid = Pid::from_raw(7);

    fn step(is_wanted: bool, life: Option<Life>) -> MoldStep {
        let child = life.map(|life| (PID, life));
        decide(&Facts { number: 3, is_wanted, child, not_before: 50, answer_by: 150 }, 100)
    }

    #[test]
    fn a_mold_is_made_when_it_is_wanted_and_ended_when_it_is_not() {
        let rest = MoldStep::RestUntil(NEVER);
        assert_eq!(step(true, None), MoldStep::Cast(3));
        assert_eq!(step(true, Some(Life::Booting)), rest);
        assert_eq!(step(true, Some(Life::Ready)), MoldStep::RestUntil(150));
        assert_eq!(step(false, Some(Life::Ready)), MoldStep::Retire(PID));
        assert_eq!(step(false, Some(Life::Booting)), MoldStep::Dismiss(PID));
        assert_eq!(step(false, None), rest);
        let patience = Duration::from_secs(1);
        let leaving = Life::Retiring { since: 0, patience, parting: Parting::Quick };
        assert_eq!(step(false, Some(leaving)), rest);
        assert_eq!(step(true, Some(leaving)), rest, "it was told to go by its operator");
    }

    #[test]
    fn a_mold_that_dies_again_and_again_is_made_after_a_pause() {
        let facts = Facts { number: 3, is_wanted: true, child: None, not_before: 150, answer_by: NEVER };
        assert_eq!(decide(&facts, 100), MoldStep::RestUntil(150));
    }

    #[test]
    fn a_mold_that_does_not_answer_is_ended() {
        let child = Some((PID, Life::Ready));
        let facts = Facts { number: 3, is_wanted: true, child, not_before: 0, answer_by: 99 };
        assert_eq!(decide(&facts, 100), MoldStep::Condemn(PID));
    }
}
