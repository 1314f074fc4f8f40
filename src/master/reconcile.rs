//! The one reconciler: what is wanted against what is there, one step at a time. Pure: [`next_step`] decides, the master
//! takes the step. A start is a reload from nothing, a stop is a reload to nothing.

use nix::unistd::Pid;

use super::children::Parting;
use super::generation::Fate;
use super::limits::{Monotonic, NEVER};

/// One generation, as the reconciler sees it.
#[derive(Clone, Debug)]
pub(super) struct Tally {
    /// Which one.
    pub number: u64,
    /// What is to become of it.
    pub fate: Fate,
    /// How many workers it is to have; counts only while it is not leaving.
    pub wanted: usize,
    /// Its workers that are not Ready yet, oldest first.
    pub booting: Vec<Pid>,
    /// Its workers that serve, oldest first.
    pub ready: Vec<Pid>,
    /// Its workers that were asked to leave, and how.
    pub retiring: Vec<(Pid, Parting)>,
    /// How many of its workers are being killed before they were ever Ready. Their death decides what comes next: the end
    /// of the start or of the reload, or a pause. Until then nobody takes their place.
    pub failing: usize,
    /// Those of `ready` that are to be replaced, oldest first.
    pub outdated: Vec<Pid>,
    /// It is leaving, and has to accept from a listener that is closing, until that is quiet.
    pub is_held: bool,
    /// Its slots without a process.
    pub free: Vec<FreeSlot>,
}

/// A slot without a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FreeSlot {
    /// Its place on the board.
    pub slot: usize,
    /// Nobody may be spawned into it before this.
    pub not_before: Monotonic,
    /// Its last worker died.
    pub bereaved: bool,
}

/// What to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
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
    /// Kill a worker that is not Ready: nobody is served by it.
    Dismiss {
        /// Which.
        pid: Pid,
    },
    /// All workers of an arriving generation are Ready.
    Commit {
        /// Which generation.
        generation: u64,
    },
}

/// The next step, for generations in order of age.
pub(super) fn next_step(generations: &[Tally], now: Monotonic) -> Step {
    let mut rest = NEVER;
    for generation in generations {
        let step = match generation.fate {
            Fate::Leaving(parting) => dissolve(generation, parting),
            Fate::Serving => recycle(generation, now),
            Fate::Arriving => arrive(generation, now),
        };
        match step {
            Step::RestUntil(until) => rest = rest.min(until),
            Step::Spawn { .. } | Step::Retire { .. } | Step::Dismiss { .. } | Step::Commit { .. } => {
                return step;
            }
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

fn arrive(generation: &Tally, now: Monotonic) -> Step {
    if generation.ready.len() >= generation.wanted {
        Step::Commit { generation: generation.number }
    } else {
        balance(generation, now)
    }
}

/// Towards the number that is wanted, and one more as long as somebody is outdated: when all are Ready, the outdated one is
/// the one too many. Those that still leave are waited for, so that there are never more than twice as many as wanted.
fn recycle(generation: &Tally, now: Monotonic) -> Step {
    match generation.outdated.first() {
        Some(&pid) if generation.ready.len() > generation.wanted => {
            Step::Retire { pid, parting: Parting::Reload }
        }
        Some(_) if generation.retiring.len() < generation.wanted => {
            balance(&Tally { wanted: generation.wanted + 1, ..generation.clone() }, now)
        }
        Some(_) | None => balance(generation, now),
    }
}

/// Towards the number that is wanted. Surplus leaves in this order: who is not Ready (nobody misses it), then the oldest.
fn balance(generation: &Tally, now: Monotonic) -> Step {
    let have = generation.booting.len() + generation.ready.len();
    if have + generation.failing < generation.wanted {
        return fill(generation, generation.wanted - have - generation.failing, now);
    }
    match (have > generation.wanted, generation.booting.last(), generation.ready.first()) {
        (true, Some(&pid), _) => Step::Dismiss { pid },
        (true, None, Some(&pid)) => Step::Retire { pid, parting: Parting::Reload },
        (true, None, None) | (false, _, _) => Step::RestUntil(NEVER),
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
mod tests {
    use super::*;

    fn pids(raw: &[i32]) -> Vec<Pid> {
        raw.iter().map(|&pid| Pid::from_raw(pid)).collect()
    }

    fn free(slot: usize) -> FreeSlot {
        FreeSlot { slot, not_before: 0, bereaved: false }
    }

    fn generation(fate: Fate, wanted: usize, booting: &[i32], ready: &[i32]) -> Tally {
        Tally {
            number: 7,
            fate,
            wanted,
            booting: pids(booting),
            ready: pids(ready),
            retiring: Vec::new(),
            failing: 0,
            outdated: Vec::new(),
            is_held: false,
            free: vec![free(4), free(5), free(6)],
        }
    }

    fn step(tally: Tally) -> Step {
        next_step(&[tally], 100)
    }

    fn retire(pid: i32, parting: Parting) -> Step {
        Step::Retire { pid: Pid::from_raw(pid), parting }
    }

    const REST: Step = Step::RestUntil(NEVER);

    #[test]
    fn an_outdated_worker_leaves_when_its_successor_is_ready_and_the_next_one_follows() {
        let outdated = |booting: &[i32], ready: &[i32], outdated: &[i32]| {
            step(Tally { outdated: pids(outdated), ..generation(Fate::Serving, 2, booting, ready) })
        };
        let spawn = Step::Spawn { generation: 7, slot: 4 };
        assert_eq!(outdated(&[], &[1, 2], &[1, 2]), spawn);
        assert_eq!(outdated(&[3], &[1, 2], &[1, 2]), REST, "one at a time");
        assert_eq!(outdated(&[], &[1, 2, 3], &[2]), retire(2, Parting::Reload), "not the oldest");
        assert_eq!(outdated(&[], &[2, 3], &[2]), spawn);
        assert_eq!(outdated(&[], &[3, 4], &[]), REST);
    }

    #[test]
    fn an_outdated_worker_stays_while_as_many_as_are_wanted_still_leave() {
        let ready = Tally { outdated: pids(&[3]), ..generation(Fate::Serving, 2, &[], &[3, 4]) };
        let leave = Parting::Reload;
        let leaving = |pids: &[i32]| pids.iter().map(|&pid| (Pid::from_raw(pid), leave)).collect();
        assert_eq!(step(Tally { retiring: leaving(&[1, 2]), ..ready.clone() }), REST);
        let spawn = Step::Spawn { generation: 7, slot: 4 };
        assert_eq!(step(Tally { retiring: leaving(&[2]), ..ready }), spawn);
    }

    #[test]
    fn whoever_is_missing_comes_before_a_successor_and_a_worker_less_is_the_outdated_one() {
        let tally = generation(Fate::Serving, 2, &[], &[1]);
        let spawn = Step::Spawn { generation: 7, slot: 4 };
        assert_eq!(step(Tally { outdated: pids(&[1]), ..tally }), spawn);
        let ttou = generation(Fate::Serving, 1, &[3], &[1, 2]);
        assert_eq!(step(Tally { outdated: pids(&[2]), ..ttou }), retire(2, Parting::Reload));
    }

    #[test]
    fn a_start_spawns_until_there_are_enough_then_waits_then_commits() {
        let spawn = Step::Spawn { generation: 7, slot: 4 };
        assert_eq!(step(generation(Fate::Arriving, 2, &[], &[])), spawn);
        assert_eq!(step(generation(Fate::Arriving, 2, &[], &[1])), spawn);
        assert_eq!(step(generation(Fate::Arriving, 2, &[2], &[1])), REST);
        let commit = Step::Commit { generation: 7 };
        assert_eq!(step(generation(Fate::Arriving, 2, &[], &[1, 2])), commit);
    }

    #[test]
    fn nobody_takes_the_place_of_a_worker_whose_boot_is_failing_until_it_is_dead() {
        let mut tally = generation(Fate::Arriving, 2, &[], &[1]);
        tally.failing = 1;
        assert_eq!(step(tally), REST);
    }

    #[test]
    fn surplus_takes_the_youngest_that_boots_then_the_oldest_that_serves() {
        let dismiss = Step::Dismiss { pid: Pid::from_raw(3) };
        assert_eq!(step(generation(Fate::Serving, 2, &[2, 3], &[1])), dismiss);
        assert_eq!(step(generation(Fate::Serving, 1, &[], &[1, 2])), retire(1, Parting::Reload));
        assert_eq!(step(generation(Fate::Serving, 2, &[], &[1, 2])), REST);
    }

    #[test]
    fn leaving_dismisses_retires_and_hurries() {
        let leaving = Fate::Leaving(Parting::Stop);
        let dismiss = Step::Dismiss { pid: Pid::from_raw(3) };
        assert_eq!(step(generation(leaving, 9, &[3], &[1])), dismiss);
        assert_eq!(step(generation(leaving, 9, &[], &[1, 2])), retire(1, Parting::Stop));
        let mut tally = generation(leaving, 9, &[], &[]);
        tally.retiring = vec![(Pid::from_raw(8), Parting::Stop), (Pid::from_raw(9), Parting::Reload)];
        assert_eq!(step(tally.clone()), retire(9, Parting::Stop));
        tally.fate = Fate::Leaving(Parting::Reload);
        assert_eq!(step(tally.clone()), REST);
        tally.fate = Fate::Leaving(Parting::Quick);
        assert_eq!(step(tally), retire(8, Parting::Quick));
    }

    #[test]
    fn workers_that_still_accept_for_a_dropped_bind_leave_later_but_stop_at_once() {
        let mut tally = generation(Fate::Leaving(Parting::Reload), 9, &[], &[1]);
        tally.is_held = true;
        assert_eq!(step(tally.clone()), REST);
        tally.fate = Fate::Leaving(Parting::Stop);
        assert_eq!(step(tally), retire(1, Parting::Stop));
    }

    #[test]
    fn a_pause_holds_its_own_slot_and_no_other() {
        let mut tally = generation(Fate::Serving, 3, &[], &[1]);
        tally.free[1] = FreeSlot { slot: 5, not_before: 500, bereaved: true };
        assert_eq!(step(tally.clone()), Step::Spawn { generation: 7, slot: 4 });
        tally.ready = pids(&[1, 2]);
        assert_eq!(step(tally.clone()), Step::RestUntil(500));
        assert_eq!(next_step(&[tally], 500), Step::Spawn { generation: 7, slot: 5 });
    }

    #[test]
    fn an_old_generation_is_filled_up_while_a_new_one_arrives() {
        let old = generation(Fate::Serving, 2, &[], &[1]);
        let mut new = generation(Fate::Arriving, 1, &[2], &[]);
        new.number = 8;
        let spawn = Step::Spawn { generation: 7, slot: 4 };
        assert_eq!(next_step(&[old.clone(), new.clone()], 100), spawn);
        let filled = Tally { ready: pids(&[1, 3]), ..old };
        assert_eq!(next_step(&[filled, new], 100), REST);
    }

    #[test]
    fn a_board_without_room_is_waited_for() {
        let mut tally = generation(Fate::Serving, 9, &[], &[1]);
        tally.free.clear();
        assert_eq!(step(tally), REST);
    }

    #[test]
    fn nothing_wanted_is_nothing_done() {
        assert_eq!(next_step(&[], 100), REST);
    }
}
