//! The kernel's clocks. No calendar: that is the log's and the Date field's business.

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

/// Whole seconds since 1970, up to a tick (4 ms) late, for a third of the price of [`realtime`].
pub(crate) fn realtime_coarse_seconds() -> u64 {
    read(ClockId::CLOCK_REALTIME_COARSE).as_secs()
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
    fn the_coarse_clock_agrees_with_the_fine_one() {
        let fine = realtime().as_secs();
        let coarse = realtime_coarse_seconds();
        assert!(coarse.abs_diff(fine) <= 1, "{coarse} and {fine}");
    }
}
