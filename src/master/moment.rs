//! Moments of the monotonic clock as the master reckons with them: sums and differences that never wrap. Not where they come
//! from: that is `sys::clock`.

use std::time::Duration;

pub(in crate::master) use crate::scoreboard::Monotonic;

/// Later than all others.
pub(in crate::master) const NEVER: Monotonic = Monotonic::MAX;

/// `start` plus `by`, never past the end of time.
pub(in crate::master) fn after(start: Monotonic, by: Duration) -> Monotonic {
    start.saturating_add(u64::try_from(by.as_nanos()).unwrap_or(u64::MAX))
}

/// The time from `start` to `now`.
pub(in crate::master) fn elapsed(start: Monotonic, now: Monotonic) -> Duration {
    Duration::from_nanos(now.saturating_sub(start))
}
