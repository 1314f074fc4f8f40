//! The kernel's clocks. No calendar: that is the log's and the Date field's business.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use nix::sys::time::TimeSpec;
use nix::time::{ClockId, clock_gettime};

/// Nanoseconds of CLOCK_MONOTONIC: the only clock for durations and deadlines.
#[inline]
pub(crate) fn monotonic() -> u64 {
    let now = read(ClockId::CLOCK_MONOTONIC);
    now.as_secs() * 1_000_000_000 + u64::from(now.subsec_nanos())
}

/// The time since 1970: for what people read in logs, never for a duration.
pub(crate) fn realtime() -> Duration {
    read(ClockId::CLOCK_REALTIME)
}

/// Whole seconds since 1970, up to a tick (4 ms) late, and much cheaper than [`realtime`].
pub(crate) fn realtime_coarse_seconds() -> u64 {
    // SAFETY: without a place for the result there is none but the returned one.
    let now = unsafe { libc::time(std::ptr::null_mut()) };
    u64::try_from(now).unwrap_or(0) // before 1970
}

/// A clock that was set is followed no later than this, in nanoseconds.
const LOOK_INTERVAL: u64 = 1_000_000_000;

/// What the time on the wall is, or was, at a time of the monotonic clock.
///
/// The wall's clock may be set, by NTP or after a suspend, so now and then somebody has to [`follow`](WallClock::follow).
#[derive(Debug)]
pub(crate) struct WallClock {
    /// When the monotonic clock was at zero, in nanoseconds since 1970.
    zero: AtomicU64,
    next_look: AtomicU64,
}

impl WallClock {
    /// As it goes now.
    pub(crate) fn new() -> WallClock {
        let clock = WallClock { zero: AtomicU64::new(0), next_look: AtomicU64::new(0) };
        clock.follow(monotonic());
        clock
    }

    /// Looks whether it was set; not more than once in [`LOOK_INTERVAL`]. `now` is of the monotonic clock.
    pub(crate) fn follow(&self, now: u64) {
        if self.next_look.load(Relaxed) <= now {
            self.next_look.store(now + LOOK_INTERVAL, Relaxed);
            let wall = realtime().as_nanos() as u64;
            self.zero.store(wall.saturating_sub(monotonic()), Relaxed);
        }
    }

    /// Nanoseconds since 1970 at the time `monotonic`.
    pub(crate) fn at(&self, monotonic: u64) -> u64 {
        self.zero.load(Relaxed).saturating_add(monotonic)
    }
}

#[inline]
fn read(clock: ClockId) -> Duration {
    let now: TimeSpec = clock_gettime(clock).expect("Linux has had these clocks since 2.6.32");
    now.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn monotonic_never_goes_back() {
        let first = monotonic();
        assert!(monotonic() >= first);
    }

    #[test]
    fn a_wall_clock_that_was_set_is_followed() {
        let (clock, start) = (WallClock::new(), monotonic());
        clock.zero.store(0, Relaxed);
        clock.follow(start);
        assert_eq!(clock.at(start), start, "it was looked at just now");
        clock.follow(start + LOOK_INTERVAL);
        let error = Duration::from_nanos(clock.at(monotonic())).abs_diff(realtime());
        assert!(error < Duration::from_secs(1), "{error:?}");
    }

    #[test]
    fn the_coarse_clock_agrees_with_the_fine_one() {
        let fine = realtime().as_secs();
        let coarse = realtime_coarse_seconds();
        assert!(coarse.abs_diff(fine) <= 1, "{coarse} and {fine}");
    }
}
