//! Frozen is not stuck: how much every limit moves after the master itself (or the whole machine) stood still.

use std::time::Duration;

use crate::master::moment::Monotonic;

/// A turn so late is a freeze; less is an ordinary delay.
const LATE: u64 = Duration::from_secs(2).as_nanos() as u64;
/// So many freezes are remembered; older ones bear on no limit that still runs, or hardly any.
const REMEMBERED: usize = 32;

/// The freezes that the master has noticed.
#[derive(Clone, Debug, Default)]
pub(in crate::master) struct Freezes(Vec<Freeze>);

#[derive(Clone, Copy, Debug)]
struct Freeze {
    noticed: Monotonic,
    lasted: u64,
}

impl Freezes {
    /// Compares a turn that began at `now` with the deadline that it was to keep, having slept since `asleep_since`.
    /// Returns how long nothing ran, if it was a freeze.
    ///
    /// Nobody knows when in its sleep the master was frozen, so the whole sleep counts: a limit that ends a little late
    /// harms nobody; a worker killed on waking, because the freeze began before the master's deadline, would have been innocent.
    pub(in crate::master) fn observe(
        &mut self,
        asleep_since: Monotonic,
        deadline: Monotonic,
        now: Monotonic,
    ) -> Option<Duration> {
        if now <= deadline.saturating_add(LATE) {
            return None;
        }
        let lasted = now.saturating_sub(asleep_since);
        if self.0.len() == REMEMBERED {
            self.0.remove(0);
        }
        self.0.push(Freeze { noticed: now, lasted });
        Some(Duration::from_nanos(lasted))
    }

    /// By how much a limit moves that runs since `start`.
    pub(in crate::master) fn since(&self, start: Monotonic) -> u64 {
        self.0.iter().filter(|freeze| freeze.noticed > start).map(|freeze| freeze.lasted).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn a_turn_in_time_or_a_little_late_moves_nothing() {
        let mut freezes = Freezes::default();
        assert_eq!(freezes.observe(0, 10 * SECOND, 3 * SECOND), None);
        assert_eq!(freezes.observe(0, 10 * SECOND, 12 * SECOND), None);
        assert_eq!(freezes.since(0), 0);
    }

    #[test]
    fn a_freeze_moves_the_limits_that_ran_and_none_that_began_later() {
        let mut freezes = Freezes::default();
        let lasted = freezes.observe(5 * SECOND, 10 * SECOND, 70 * SECOND);
        assert_eq!(lasted, Some(Duration::from_secs(65)));
        assert_eq!(freezes.since(SECOND), 65 * SECOND);
        assert_eq!(freezes.since(71 * SECOND), 0);
    }

    #[test]
    fn two_freezes_add_up_and_old_ones_are_forgotten() {
        let mut freezes = Freezes::default();
        for _ in 0..REMEMBERED + 5 {
            freezes.observe(0, 0, 10 * SECOND);
        }
        assert_eq!(freezes.since(0), 10 * SECOND * REMEMBERED as u64);
    }
}
