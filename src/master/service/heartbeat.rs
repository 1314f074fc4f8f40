//! What the service manager hears again and again: that the master is alive (WATCHDOG), that it is still at it
//! (EXTEND_TIMEOUT_USEC), and figures. Only when each is due: what is said is put together elsewhere.
//!
//! Nobody is woken for it where no service manager listens.

use std::time::Duration;

use crate::master::moment::{Monotonic, NEVER, after, elapsed};

/// How often the figures of the STATUS line are looked at.
const FIGURES: Duration = Duration::from_secs(10);
/// How often a start or a stop that goes on says so.
const EXTENSION: Duration = Duration::from_secs(5);
/// For so long the manager is asked to wait for the next such word; a busy machine may delay it.
const PATIENCE: Duration = Duration::from_secs(20);

/// What is due when.
#[derive(Debug, Default)]
pub(in crate::master) struct Heartbeat {
    watchdog: Option<Beat>,
    figures: Option<Beat>,
    /// While a start or a stop goes on, and until when it may.
    extension: Option<(Beat, Monotonic)>,
}

/// Something regular.
#[derive(Clone, Copy, Debug)]
struct Beat {
    every: Duration,
    due: Monotonic,
}

impl Beat {
    fn new(every: Duration, now: Monotonic) -> Beat {
        Beat { every, due: now }
    }

    /// True when it is time; then the next time is set.
    fn take(&mut self, now: Monotonic) -> bool {
        let is_due = now >= self.due;
        if is_due {
            self.due = after(now, self.every);
        }
        is_due
    }
}

impl Heartbeat {
    /// For a service manager that listens, and wants a word within `watchdog`, if at all.
    pub(in crate::master) fn begin(watchdog: Option<Duration>, now: Monotonic) -> Heartbeat {
        Heartbeat {
            watchdog: watchdog.map(|limit| Beat::new(limit / 2, now)),
            figures: Some(Beat::new(FIGURES, now)),
            extension: None,
        }
    }

    /// What goes on may last until `end`; said again, no longer than before.
    pub(in crate::master) fn extend_until(&mut self, end: Monotonic, now: Monotonic) {
        if self.figures.is_some() {
            let before = self.extension.map_or(NEVER, |(_, before)| before);
            self.extension = Some((Beat::new(EXTENSION, now), end.min(before)));
        }
    }

    /// Nothing goes on that needs more time.
    pub(in crate::master) fn stop_extending(&mut self) {
        self.extension = None;
    }

    /// When something is due next.
    pub(in crate::master) fn next(&self) -> Monotonic {
        let extension = self.extension.as_ref().map(|(beat, _)| beat);
        let beats = [self.watchdog.as_ref(), self.figures.as_ref(), extension];
        beats.into_iter().flatten().map(|beat| beat.due).min().unwrap_or(NEVER)
    }

    /// A sign of life is due.
    pub(in crate::master) fn is_watchdog_due(&mut self, now: Monotonic) -> bool {
        self.watchdog.as_mut().is_some_and(|beat| beat.take(now))
    }

    /// The figures are to be looked at.
    pub(in crate::master) fn are_figures_due(&mut self, now: Monotonic) -> bool {
        self.figures.as_mut().is_some_and(|beat| beat.take(now))
    }

    /// For how long the manager is to be asked to wait, if that is due.
    pub(in crate::master) fn due_extension(&mut self, now: Monotonic) -> Option<Duration> {
        let (beat, end) = self.extension.as_mut()?;
        if now >= *end {
            self.extension = None;
            return None;
        }
        beat.take(now).then(|| elapsed(now, *end).min(PATIENCE))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Monotonic = 1_000_000_000;

    #[test]
    fn without_a_manager_nothing_is_ever_due() {
        let mut heartbeat = Heartbeat::default();
        heartbeat.extend_until(100 * SECOND, SECOND);
        assert_eq!(heartbeat.next(), NEVER);
        assert!(!heartbeat.is_watchdog_due(NEVER) && !heartbeat.are_figures_due(NEVER));
        assert_eq!(heartbeat.due_extension(SECOND), None);
    }

    #[test]
    fn a_sign_of_life_is_given_at_once_and_at_half_of_the_limit() {
        let mut heartbeat = Heartbeat::begin(Some(Duration::from_secs(10)), SECOND);
        assert!(heartbeat.is_watchdog_due(SECOND));
        assert!(!heartbeat.is_watchdog_due(5 * SECOND));
        assert_eq!(heartbeat.next(), SECOND, "the figures");
        assert!(heartbeat.are_figures_due(SECOND));
        assert_eq!(heartbeat.next(), 6 * SECOND);
        assert!(heartbeat.is_watchdog_due(6 * SECOND));
    }

    #[test]
    fn more_time_is_asked_for_again_and_again_but_never_beyond_the_end() {
        let mut heartbeat = Heartbeat::begin(None, 0);
        heartbeat.extend_until(30 * SECOND, 0);
        assert_eq!(heartbeat.due_extension(0), Some(PATIENCE));
        assert_eq!(heartbeat.due_extension(4 * SECOND), None);
        assert_eq!(heartbeat.due_extension(22 * SECOND), Some(Duration::from_secs(8)));
        assert_eq!(heartbeat.due_extension(30 * SECOND), None);
        assert_eq!(heartbeat.due_extension(31 * SECOND), None);
    }

    #[test]
    fn a_stop_that_is_quickened_asks_for_less() {
        let mut heartbeat = Heartbeat::begin(None, 0);
        heartbeat.extend_until(30 * SECOND, 0);
        heartbeat.extend_until(5 * SECOND, SECOND);
        assert_eq!(heartbeat.due_extension(SECOND), Some(Duration::from_secs(4)));
        heartbeat.extend_until(60 * SECOND, 2 * SECOND);
        assert_eq!(heartbeat.due_extension(6 * SECOND), None);
        heartbeat.stop_extending();
        assert_eq!(heartbeat.due_extension(7 * SECOND), None);
    }
}
