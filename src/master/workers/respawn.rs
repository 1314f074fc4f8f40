//! When a slot whose worker died gets the next one. Pure: no clock, no process.

use std::time::Duration;

use crate::master::moment::{Monotonic, after};

/// A worker that was Ready for so long did not die of its start.
const PROVEN: Duration = Duration::from_secs(5);
/// The pause after the second death in a row.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// The pause after the first fork that failed.
const FORK_PAUSE: Duration = Duration::from_secs(1);
/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// The record of one slot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::master) struct Respawn {
    /// Deaths without [`PROVEN`] time of being Ready between them.
    deaths_in_row: u32,
    /// Forks that failed since the last one that did not.
    failed_forks: u32,
    /// Before this nobody is spawned into the slot.
    not_before: Monotonic,
}

impl Respawn {
    /// A worker that was not asked to leave has left, after `ready_for` of being Ready. Returns the pause.
    pub(in crate::master) fn after_death(&mut self, now: Monotonic, ready_for: Duration) -> Duration {
        self.deaths_in_row = if ready_for >= PROVEN { 1 } else { self.deaths_in_row.saturating_add(1) };
        let pause = pause(self.deaths_in_row);
        self.not_before = after(now, pause);
        pause
    }

    /// A worker has left because it was asked to.
    pub(in crate::master) fn after_retirement(&mut self, ready_for: Duration) {
        if ready_for >= PROVEN {
            *self = Respawn::default();
        }
    }

    /// The fork itself failed: try again a little later, without blame. Returns the pause.
    pub(in crate::master) fn after_failed_fork(&mut self, now: Monotonic) -> Duration {
        let doublings = 2u32.saturating_pow(self.failed_forks);
        let pause = FORK_PAUSE.saturating_mul(doublings).min(LONGEST_PAUSE);
        self.failed_forks = self.failed_forks.saturating_add(1);
        self.not_before = after(now, pause);
        pause
    }

    /// A fork did not fail.
    pub(in crate::master) fn after_fork(&mut self) {
        self.failed_forks = 0;
    }

    /// How many forks have failed in a row.
    pub(in crate::master) fn failed_forks(&self) -> u32 {
        self.failed_forks
    }

    /// How many deaths there were in a row.
    pub(in crate::master) fn deaths_in_row(&self) -> u32 {
        self.deaths_in_row
    }

    /// Before this nobody is spawned into the slot.
    pub(in crate::master) fn not_before(&self) -> Monotonic {
        self.not_before
    }
}

fn pause(deaths_in_row: u32) -> Duration {
    let Some(doublings) = deaths_in_row.checked_sub(2) else {
        return Duration::ZERO;
    };
    FIRST_PAUSE.saturating_mul(2u32.saturating_pow(doublings)).min(LONGEST_PAUSE)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BRIEF: Duration = Duration::from_millis(4999);

    #[test]
    fn the_first_death_costs_nothing_then_pauses_double_from_a_tenth_to_thirty_seconds() {
        let mut slot = Respawn::default();
        let pauses: Vec<u128> = (0..12).map(|_| slot.after_death(0, BRIEF).as_millis()).collect();
        let expected = [0, 100, 200, 400, 800, 1600, 3200, 6400, 12800, 25600, 30000, 30000];
        assert_eq!(pauses, expected);
    }

    #[test]
    fn five_seconds_of_ready_end_the_row() {
        let mut slot = Respawn::default();
        slot.after_death(0, BRIEF);
        slot.after_death(0, BRIEF);
        assert_eq!(slot.after_death(0, PROVEN), Duration::ZERO);
        assert_eq!(slot.after_death(0, BRIEF), FIRST_PAUSE);
    }

    #[test]
    fn the_pause_counts_from_the_death() {
        let mut slot = Respawn::default();
        slot.after_death(7, BRIEF);
        assert_eq!(slot.not_before(), 7);
        slot.after_death(7, BRIEF);
        assert_eq!(slot.not_before(), 100_000_007);
    }

    #[test]
    fn a_retirement_forgives_a_proven_slot_only() {
        let mut slot = Respawn::default();
        slot.after_death(0, BRIEF);
        slot.after_retirement(BRIEF);
        assert_eq!(slot.deaths_in_row(), 1);
        slot.after_retirement(PROVEN);
        assert_eq!(slot.deaths_in_row(), 0);
    }

    #[test]
    fn forks_that_fail_are_tried_more_and_more_rarely_until_one_does_not() {
        let mut slot = Respawn::default();
        let mut pauses = || slot.after_failed_fork(0).as_secs();
        assert_eq!(
            [pauses(), pauses(), pauses(), pauses(), pauses(), pauses(), pauses()],
            [1, 2, 4, 8, 16, 30, 30]
        );
        slot.after_fork();
        assert_eq!(slot.after_failed_fork(0), FORK_PAUSE);
    }

    #[test]
    fn a_slot_that_never_lives_does_not_overflow() {
        let mut slot = Respawn { deaths_in_row: u32::MAX, ..Respawn::default() };
        assert_eq!(slot.after_death(u64::MAX, BRIEF), LONGEST_PAUSE);
        assert_eq!(slot.not_before(), u64::MAX);
    }
}
