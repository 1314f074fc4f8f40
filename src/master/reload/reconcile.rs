//! The one reconciler: what is wanted against what is there, one step at a time. Pure: [`next_step`] decides, the master
//! takes the step. A start is a reload from nothing, a stop is a reload to nothing.
//!
//! A generation arrives with one worker, its canary. Once that has been Ready it *rolls*: so many boot as there is room for
//! beyond the number wanted, and one old worker retires for each new one. Taking it back is the same with the parts
//! exchanged: what was withdrawn serves until others are Ready in its place.

use nix::unistd::Pid;

use super::generation::Fate;
use crate::master::moment::{Monotonic, NEVER};
use crate::master::workers::children::Parting;

/// One generation, as the reconciler sees it.
#[derive(Clone, Debug)]
pub(in crate::master) struct Tally {
    /// Which one.
    pub number: u64,
    /// What is to become of it.
    pub fate: Fate,
    /// How many workers it is to have; counts only while it is not leaving.
    pub wanted: usize,
    /// How many more than wanted may live while workers are exchanged; the arriving generation's counts, if there is one.
    pub surge: usize,
    /// The most workers that it ever had Ready at once: so many of the serving generation's it stands for, also
    /// while one of them is replaced after a death.
    pub peak: usize,
    /// Its workers that are not Ready yet, oldest first.
    pub booting: Vec<Pid>,
    /// Its workers that serve, oldest first.
    pub ready: Vec<Pid>,
    /// Those among them that are to be replaced for their age or size, in the order in which they are to go.
    pub outdated: Vec<Pid>,
    /// Its workers that were asked to leave, and how.
    pub retiring: Vec<(Pid, Parting)>,
    /// How many of its workers are being killed before they were ever Ready. Their death decides what comes next: the end
    /// of the start or of the reload, or a pause. Until then nobody takes their place.
    pub failing: usize,
    /// It is leaving, and has to accept from a listener that is closing, until that is quiet.
    pub is_held: bool,
    /// Its slots without a process.
    pub free: Vec<FreeSlot>,
}

/// A slot without a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::master) struct FreeSlot {
    /// Its place on the board.
    pub slot: usize,
    /// Nobody may be spawned into it before this.
    pub not_before: Monotonic,
    /// Its last worker died.
    pub bereaved: bool,
}

/// What to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::master) enum Step {
    /// Nothing before that time.
    RestUntil(Monotonic),
    /// Fork a worker into a slot.
    Spawn {
        /// Whose worker.
        generation: u64,
        /// Into which slot.
        slot: usize,
    },
    /// Ask a worker to leave.
    Retire {
        /// Which.
        pid: Pid,
        /// How.
        parting: Parting,
    },
    /// Have a worker leave that is not Ready, within a second: nobody is served by it.
    Dismiss {
        /// Which.
        pid: Pid,
    },
    /// All workers of an arriving generation are Ready.
    Commit {
        /// Which generation.
        generation: u64,
    },
    /// A withdrawn generation is not needed any more: all its workers may leave, and its own listeners be closed.
    Dissolve {
        /// Which generation.
        generation: u64,
    },
}

/// The next step, for generations in order of age: at most one of them serves, and at most one arrives.
pub(in crate::master) fn next_step(generations: &[Tally], now: Monotonic) -> Step {
    let whole = Whole::of(generations);
    let is_complete = |generation: &&Tally| {
        generation.fate == Fate::Arriving && generation.ready.len() >= generation.wanted
    };
    if let Some(generation) = generations.iter().find(is_complete) {
        return Step::Commit { generation: generation.number };
    }
    let mut rest = NEVER;
    for generation in generations {
        let step = match generation.fate {
            Fate::Leaving(parting) => dissolve(generation, parting),
            Fate::Withdrawn => whole.relieve(generation),
            Fate::Serving => whole.serve(generation, now),
            Fate::Arriving => whole.arrive(generation, now),
        };
        match step {
            Step::RestUntil(until) => rest = rest.min(until),
            Step::Spawn { .. }
            | Step::Retire { .. }
            | Step::Dismiss { .. }
            | Step::Commit { .. }
            | Step::Dissolve { .. } => return step,
        }
    }
    Step::RestUntil(rest)
}

/// Towards nothing.
fn dissolve(generation: &Tally, parting: Parting) -> Step {
    let hurried = generation.retiring.iter().find(|(_, so_far)| *so_far < parting);
    if let Some(&pid) = generation.booting.first() {
        Step::Dismiss { pid }
    } else if generation.is_held && parting == Parting::Reload {
        Step::RestUntil(NEVER)
    } else if let Some(&pid) = generation.ready.first() {
        Step::Retire { pid, parting }
    } else if let Some(&(pid, _)) = hurried {
        Step::Retire { pid, parting }
    } else {
        Step::RestUntil(NEVER)
    }
}

/// What no generation knows of itself: all that are not leaving, taken together.
struct Whole {
    /// So many are to be Ready at all times: what the serving generation wants. Nothing at a start.
    floor: usize,
    /// So many may live, a canary not counted.
    most: usize,
    /// So many live, and do not leave.
    live: usize,
    /// So many are Ready.
    ready: usize,
    /// Those of them that are of withdrawn generations.
    standing_in: usize,
    /// For how many workers an arriving generation stands; none before its canary was Ready.
    arrived: usize,
    /// A generation arrives, or was withdrawn and still serves.
    is_reloading: bool,
}

impl Whole {
    fn of(generations: &[Tally]) -> Whole {
        let with = |fate| generations.iter().filter(move |generation| generation.fate == fate);
        let serving = || with(Fate::Serving);
        let arriving = || with(Fate::Arriving);
        let withdrawn = || with(Fate::Withdrawn);
        let staying = || serving().chain(arriving()).chain(withdrawn());
        let wanted = serving().chain(arriving()).map(|generation| generation.wanted).max().unwrap_or(0);
        let surge = arriving().chain(serving()).map(|generation| generation.surge).next().unwrap_or(0);
        Whole {
            floor: serving().map(|generation| generation.wanted).sum(),
            most: wanted.saturating_add(surge),
            live: staying().map(Tally::live).sum(),
            ready: staying().map(|generation| generation.ready.len()).sum(),
            standing_in: withdrawn().map(|generation| generation.ready.len()).sum(),
            arrived: arriving().map(|generation| generation.peak).sum(),
            is_reloading: arriving().chain(withdrawn()).next().is_some(),
        }
    }

    /// Workers are being exchanged: an arriving generation's canary has been Ready.
    fn is_rolling(&self) -> bool {
        self.arrived > 0
    }

    /// How many Ready workers may go without anybody missing them.
    fn spare(&self) -> usize {
        self.ready.saturating_sub(self.floor)
    }

    /// A generation that was withdrawn: who is not Ready goes at once, who is when there is another in its place.
    fn relieve(&self, own: &Tally) -> Step {
        match (own.booting.first(), own.ready.first()) {
            (Some(&pid), _) => Step::Dismiss { pid },
            (None, _) if own.ready.len() <= self.spare() => Step::Dissolve { generation: own.number },
            (None, Some(&pid)) if self.spare() > 0 => Step::Retire { pid, parting: Parting::Reload },
            (None, _) => Step::RestUntil(NEVER),
        }
    }

    /// Towards the number that is wanted, less those for whom an arriving generation stands.
    fn serve(&self, own: &Tally, now: Monotonic) -> Step {
        let target = self.target(own);
        let missing = target.saturating_sub(own.live());
        // In the place of those who stand in nobody has to be in a hurry: as in a roll, there has to be room.
        let is_due = missing > self.standing_in || !self.is_rolling() && self.live < self.most;
        if missing > 0 && is_due {
            return fill(own, missing, now);
        }
        self.surplus(own, target).unwrap_or_else(|| self.renew(own, now))
    }

    /// One stays until the end of the roll: the reload may be taken back, and an address that is about to be dropped is
    /// still served.
    fn target(&self, own: &Tally) -> usize {
        own.wanted.saturating_sub(self.arrived).max(own.wanted.min(1))
    }

    /// Who leaves first: who is outdated, who is not Ready (nobody misses it), who is oldest.
    fn surplus(&self, own: &Tally, target: usize) -> Option<Step> {
        let standing_in = if self.is_rolling() { self.standing_in } else { 0 };
        let renewing = usize::from(self.is_renewing(own));
        let is_over = own.ready.len() > target && self.spare() > 0 && self.standing_in == 0;
        if let Some(&pid) = own.outdated.first().filter(|_| is_over) {
            return Some(Step::Retire { pid, parting: Parting::Reload });
        }
        if own.have() + standing_in > target + renewing
            && let Some(&pid) = own.booting.last()
        {
            return Some(Step::Dismiss { pid });
        }
        let &pid = own.ready.first().filter(|_| is_over)?;
        Some(Step::Retire { pid, parting: Parting::Reload })
    }

    /// Never while workers are exchanged in any case. Those that still leave are waited for, so that there are never more
    /// than twice as many as wanted.
    fn is_renewing(&self, own: &Tally) -> bool {
        !own.outdated.is_empty() && !self.is_reloading && own.retiring.len() < own.wanted
    }

    /// An outdated worker's replacement boots beyond the number that is wanted, one at a time; when it is Ready, there is a
    /// surplus.
    fn renew(&self, own: &Tally, now: Monotonic) -> Step {
        let is_complete = own.booting.is_empty() && own.failing == 0;
        if self.is_renewing(own) && is_complete { fill(own, 1, now) } else { Step::RestUntil(NEVER) }
    }

    /// First the canary, for which there is always room; then all others, as far as there is room.
    fn arrive(&self, own: &Tally, now: Monotonic) -> Step {
        let goal = if self.is_rolling() { own.wanted } else { 1 };
        let missing = goal.saturating_sub(own.live());
        match own.booting.last() {
            Some(&pid) if own.have() > goal => Step::Dismiss { pid },
            _ if missing > 0 && (!self.is_rolling() || self.live < self.most) => fill(own, missing, now),
            _ => Step::RestUntil(NEVER),
        }
    }
}

impl Tally {
    /// Those that serve or will.
    fn have(&self) -> usize {
        self.booting.len() + self.ready.len()
    }

    /// Those that live and were not asked to leave, also those whose boot is failing.
    fn live(&self) -> usize {
        self.have() + self.failing
    }
}

/// A slot that must wait counts as one of the missing, so that its pause cannot be dodged by another slot.
fn fill(generation: &Tally, missing: usize, now: Monotonic) -> Step {
    let waiting = generation.free.iter().filter(|free| free.not_before > now);
    let (pauses, earliest) =
        waiting.fold((0, NEVER), |(n, earliest), free| (n + 1, earliest.min(free.not_before)));
    let due = || generation.free.iter().filter(|free| free.not_before <= now);
    let next = due().find(|free| free.bereaved).or_else(|| due().next());
    match next {
        Some(free) if missing > pauses => Step::Spawn { generation: generation.number, slot: free.slot },
        _ => Step::RestUntil(earliest),
    }
}

#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;
