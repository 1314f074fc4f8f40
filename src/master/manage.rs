//! Takes the reconciler's steps, and computes when the next turn is due.

use nix::unistd::Pid;
use tracing::debug;

use super::moment::{Monotonic, NEVER, after};
use super::reload::mold::MoldStep;
use super::reload::reconcile::{Step, Tally, next_step};
use super::workers::children::{Doom, Life, Parting};
use super::workers::limits::{Verdict, judge};
use super::workers::seating::Seating;
use super::{Master, Phase};
use std::time::Duration;

/// The master looks around at least so often, whatever it computes.
const LONGEST_SLEEP: Duration = Duration::from_secs(3600);
/// How soon a message is offered again to a service manager that has not read.
const MANAGER_PAUSE: Duration = Duration::from_millis(100);

impl Master {
    /// One step towards what is wanted. In a worker that it has just forked it returns that worker's belongings.
    pub(super) fn manage_workers(&mut self) -> Option<Box<Seating>> {
        let now = self.now();
        for generation in &mut self.generations {
            generation.note_peak(&self.children);
        }
        match self.mold_step(now) {
            MoldStep::Cast(generation) => return self.spawn_mold(generation),
            MoldStep::Retire(pid) => self.retire(pid, Parting::Quick),
            MoldStep::Dismiss(pid) => self.condemn(pid, Doom::Dismissed),
            MoldStep::Condemn(pid) => self.condemn(pid, Doom::BootTimeout),
            MoldStep::RestUntil(_) => {}
        }
        match next_step(&self.tallies(now), now) {
            Step::Spawn { generation, slot } => return self.spawn_worker(generation, slot),
            Step::Retire { pid, parting } => self.retire(pid, parting),
            Step::Dismiss { pid } => self.dismiss(pid),
            Step::Commit { generation } => self.commit(generation),
            Step::Dissolve { generation } => self.let_leave(generation),
            Step::RestUntil(_) => self.tidy(),
        }
        None
    }

    /// Has a worker leave that is not Ready, and soon. One that has just said that it is may have requests already: the next
    /// step is to ask it to leave in peace.
    fn dismiss(&mut self, pid: Pid) {
        self.read_reports(pid);
        if self.children.get_mut(pid).is_some_and(|child| matches!(child.life, Life::Booting)) {
            self.condemn(pid, Doom::Dismissed);
        }
    }

    /// When the next turn is due at the latest; `None` when the master has stopped and no child is left.
    pub(super) fn next_deadline(&self) -> Option<Monotonic> {
        match self.phase {
            Phase::Stopping { .. } if self.may_end() => return None,
            Phase::Starting | Phase::Running | Phase::Draining { .. } | Phase::Stopping { .. } => {}
        }
        let now = self.now();
        let step = match next_step(&self.tallies(now), now) {
            Step::RestUntil(until) => until,
            Step::Spawn { .. }
            | Step::Retire { .. }
            | Step::Dismiss { .. }
            | Step::Commit { .. }
            | Step::Dissolve { .. } => now,
        };
        let mold = match self.mold_step(now) {
            MoldStep::RestUntil(until) => until,
            MoldStep::Cast(_) | MoldStep::Retire(_) | MoldStep::Dismiss(_) | MoldStep::Condemn(_) => now,
        };
        let manager = if self.notifier.is_waiting() { after(now, MANAGER_PAUSE) } else { NEVER };
        let limits = self.earliest_limit(now);
        let queues = self.next_look(now).unwrap_or(NEVER);
        let longest = after(now, LONGEST_SLEEP).min(self.symbolizer_deadline());
        let outdated = self.next_outdated(now);
        let manager = manager.min(self.heartbeat.next()).min(self.end_of_delay());
        let upgrade = self.upgrade_deadline(now).min(self.handing_deadline(now));
        Some(step.min(mold).min(upgrade).min(manager).min(limits).min(queues).min(outdated).min(longest))
    }

    /// Until when every child is certainly within its limits.
    fn earliest_limit(&self, now: Monotonic) -> Monotonic {
        let until = self.generations.iter().flat_map(|generation| {
            self.children.all_of(generation.number).map(move |child| {
                let facts = super::workers::watch::facts(child, &generation.board, now);
                match judge(&facts, &generation.limits(), &self.freezes) {
                    Verdict::FineUntil(until) => until,
                    Verdict::Ping | Verdict::Summon { .. } | Verdict::Condemn(_) | Verdict::Kill => now,
                }
            })
        });
        until.min().unwrap_or(NEVER)
    }

    fn tallies(&self, now: Monotonic) -> Vec<Tally> {
        let is_held = self.is_holding(now);
        self.generations
            .iter()
            .map(|generation| {
                let mut tally = Tally { is_held, ..generation.tally(&self.children) };
                if !self.can_spawn(generation) {
                    tally.free.clear();
                }
                tally
            })
            .collect()
    }

    /// Nothing is to be done: lets go of what nobody needs any more.
    fn tidy(&mut self) {
        self.forget_generations();
        self.notifier.flush();
    }

    /// Generations that are leaving and have no child left.
    fn forget_generations(&mut self) {
        let children = &self.children;
        self.generations.retain(|generation| {
            let needed = !generation.is_leaving() || children.all_of(generation.number).next().is_some();
            if !needed {
                debug!("generation {} is gone", generation.number);
            }
            needed
        });
    }

    /// All workers of an arriving generation are Ready: it takes over, and the one before it leaves.
    fn commit(&mut self, number: u64) {
        match self.phase {
            Phase::Starting => {
                self.take_over(number);
                self.conclude(number, None);
                self.phase = Phase::Running;
                self.came_up();
            }
            Phase::Running | Phase::Draining { .. } => {
                let former = self.place();
                self.take_over(number);
                self.conclude(number, former);
                self.say_ready();
            }
            // Nobody arrives while the server stops.
            Phase::Stopping { .. } => {}
        }
    }
}
