//! Single decisions of the reconciler, each from one state.

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
        surge: 1,
        peak: ready.len(),
        booting: pids(booting),
        ready: pids(ready),
        outdated: Vec::new(),
        retiring: Vec::new(),
        failing: 0,
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

const SPAWN: Step = Step::Spawn { generation: 7, slot: 4 };
const SPAWN_NEW: Step = Step::Spawn { generation: 8, slot: 4 };

#[test]
fn a_start_boots_a_canary_then_the_others_then_commits() {
    assert_eq!(step(generation(Fate::Arriving, 3, &[], &[])), SPAWN);
    assert_eq!(step(generation(Fate::Arriving, 3, &[1], &[])), REST);
    assert_eq!(step(generation(Fate::Arriving, 3, &[], &[1])), SPAWN);
    assert_eq!(step(generation(Fate::Arriving, 3, &[2], &[1])), SPAWN);
    assert_eq!(step(generation(Fate::Arriving, 3, &[2, 3], &[1])), REST);
    assert_eq!(step(generation(Fate::Arriving, 3, &[], &[1, 2, 3])), Step::Commit { generation: 7 });
}

/// A serving generation 7 and an arriving 8 of `wanted` workers each.
fn roll(wanted: usize, old: &[i32], booting: &[i32], ready: &[i32]) -> [Tally; 2] {
    let old = generation(Fate::Serving, wanted, &[], old);
    [old, Tally { number: 8, ..generation(Fate::Arriving, wanted, booting, ready) }]
}

#[test]
fn nothing_old_is_touched_before_the_canary_is_ready() {
    assert_eq!(next_step(&roll(4, &[1, 2, 3, 4], &[], &[]), 100), SPAWN_NEW);
    assert_eq!(next_step(&roll(4, &[1, 2, 3, 4], &[11], &[]), 100), REST);
}

#[test]
fn one_old_worker_retires_for_each_new_one_and_the_last_with_the_commit() {
    let reload = |pid| retire(pid, Parting::Reload);
    assert_eq!(next_step(&roll(4, &[1, 2, 3, 4], &[], &[11]), 100), reload(1));
    assert_eq!(next_step(&roll(4, &[2, 3, 4], &[], &[11]), 100), SPAWN_NEW);
    assert_eq!(next_step(&roll(4, &[2, 3, 4], &[12], &[11]), 100), REST);
    assert_eq!(next_step(&roll(4, &[2, 3, 4], &[], &[11, 12]), 100), reload(2));
    assert_eq!(next_step(&roll(4, &[4], &[], &[11, 12, 13]), 100), SPAWN_NEW);
    assert_eq!(next_step(&roll(4, &[4], &[], &[11, 12, 13, 14]), 100), Step::Commit { generation: 8 });
}

#[test]
fn a_surge_is_how_many_live_beyond_the_number_wanted() {
    let mut both = roll(4, &[2, 3, 4], &[12], &[11]);
    both[1].surge = 2;
    assert_eq!(next_step(&both, 100), SPAWN_NEW);
    both[1].booting = pids(&[12, 13]);
    assert_eq!(next_step(&both, 100), REST);
}

#[test]
fn one_old_worker_stays_until_the_commit_also_when_more_are_to_come() {
    let mut both = roll(2, &[2], &[12, 13], &[11, 14, 15]);
    both[1].wanted = 6;
    assert_eq!(next_step(&both, 100), SPAWN_NEW);
    both[1].booting = pids(&[12, 13, 16]);
    assert_eq!(next_step(&both, 100), REST);
}

#[test]
fn a_new_worker_that_dies_brings_back_nobody_and_lets_nobody_go() {
    let mut both = roll(4, &[2, 3, 4], &[], &[11]);
    both[1].peak = 2;
    assert_eq!(next_step(&both, 100), SPAWN_NEW);
    both[1].booting = pids(&[13]);
    assert_eq!(next_step(&both, 100), REST);
}

#[test]
fn an_old_worker_that_boots_in_vain_does_not_hold_up_the_roll() {
    let mut both = roll(2, &[], &[], &[11]);
    both[0].booting = pids(&[1, 2]);
    assert_eq!(next_step(&both, 100), Step::Dismiss { pid: Pid::from_raw(2) });
    both[0].booting = pids(&[1]);
    assert_eq!(next_step(&both, 100), SPAWN_NEW);
}

/// A serving generation 7 of four, and 8 that was withdrawn.
fn take_back(old: &[i32], booting: &[i32], ready: &[i32]) -> [Tally; 2] {
    let old = generation(Fate::Serving, 4, &[], old);
    [old, Tally { number: 8, ..generation(Fate::Withdrawn, 4, booting, ready) }]
}

#[test]
fn taken_back_the_old_ones_come_first_and_the_new_ones_go_for_each_that_is_ready() {
    assert_eq!(next_step(&take_back(&[3, 4], &[], &[11, 12]), 100), SPAWN);
    let mut both = take_back(&[3, 4], &[], &[11, 12]);
    both[0].booting = pids(&[5]);
    assert_eq!(next_step(&both, 100), REST);
    assert_eq!(next_step(&take_back(&[3, 4, 5], &[], &[11, 12]), 100), retire(11, Parting::Reload));
    assert_eq!(next_step(&take_back(&[3, 4, 5, 6], &[], &[12]), 100), Step::Dissolve { generation: 8 });
}

#[test]
fn taken_back_before_its_canary_was_ready_a_generation_goes_at_once() {
    let dismiss = Step::Dismiss { pid: Pid::from_raw(11) };
    assert_eq!(next_step(&take_back(&[1, 2, 3, 4], &[11], &[]), 100), dismiss);
    assert_eq!(next_step(&take_back(&[1, 2, 3, 4], &[], &[]), 100), Step::Dissolve { generation: 8 });
}

#[test]
fn an_old_worker_that_dies_is_replaced_at_once_whatever_room_there_is() {
    let mut both = take_back(&[4], &[], &[11, 12]);
    both[0].booting = pids(&[5]);
    assert_eq!(next_step(&both, 100), SPAWN);
}

#[test]
fn a_newer_configuration_goes_on_from_what_the_one_before_it_has_reached() {
    let [old, before] = take_back(&[3, 4], &[], &[11, 12]);
    let newest = Tally { number: 9, ..generation(Fate::Arriving, 4, &[], &[21]) };
    assert_eq!(next_step(&[old.clone(), before.clone(), newest.clone()], 100), retire(11, Parting::Reload));
    let before = Tally { ready: pids(&[12]), ..before };
    let spawn = Step::Spawn { generation: 9, slot: 4 };
    assert_eq!(next_step(&[old, before, newest], 100), spawn);
}

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
fn nobody_is_recycled_while_workers_are_exchanged() {
    let mut both = roll(2, &[1, 2], &[11], &[]);
    both[0].outdated = pids(&[1]);
    assert_eq!(next_step(&both, 100), REST);
    both[0].booting = pids(&[3]);
    assert_eq!(next_step(&both, 100), Step::Dismiss { pid: Pid::from_raw(3) });
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
