//! Figures that only grow: of a lane, of a worker, of all that ever served. Adding up only, no rates.

use std::time::Duration;

/// How many buckets a histogram has.
pub const BUCKETS: usize = 120;

/// Each power of two is cut into this many buckets.
const PARTS: usize = 4;
const PARTS_SHIFT: u32 = PARTS.ilog2();

/// Figures of one or more lanes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Exchanges that have ended, answered or not.
    pub requests: u64,
    /// Those of them whose answer had a status of class 1xx to 5xx, by class less one.
    pub responses: [u64; 5],
    /// Bytes of response bodies that were sent.
    pub bytes_sent: u64,
    /// Time from the first byte of a request to its end, summed up, in nanoseconds.
    pub duration: u64,
    /// The same time, sorted by size.
    pub latency: Histogram,
}

impl Totals {
    /// Adds another's figures to these. Absurd ones stop at the top, they do not wrap around.
    pub fn add(&mut self, other: &Totals) {
        self.requests = self.requests.saturating_add(other.requests);
        for (mine, theirs) in self.responses.iter_mut().zip(other.responses) {
            *mine = mine.saturating_add(theirs);
        }
        self.bytes_sent = self.bytes_sent.saturating_add(other.bytes_sent);
        self.duration = self.duration.saturating_add(other.duration);
        self.latency.add(&other.latency);
    }
}

/// How many durations fell into which bucket. Buckets grow with the duration: four for each power of two of a
/// microsecond, so that a bucket is at most a quarter wider than where it begins, from 1 µs to about 36 minutes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Histogram {
    /// Counts, in order.
    pub buckets: [u64; BUCKETS],
}

impl Default for Histogram {
    fn default() -> Histogram {
        Histogram { buckets: [0; BUCKETS] }
    }
}

impl Histogram {
    /// The bucket of a duration in nanoseconds. What is longer than all is in the last one.
    #[inline]
    pub fn bucket(nanoseconds: u64) -> usize {
        let micros = nanoseconds / 1000;
        if micros < PARTS as u64 {
            return micros as usize;
        }
        let power = micros.ilog2();
        let part = (micros >> (power - PARTS_SHIFT)) as usize - PARTS;
        let bucket = (power - PARTS_SHIFT + 1) as usize * PARTS + part;
        bucket.min(BUCKETS - 1)
    }

    /// Where a bucket ends: all its durations are shorter, and those of the next are not. The last one has no end in
    /// truth.
    pub fn upper_bound(bucket: usize) -> Duration {
        let next = bucket + 1;
        let micros = match next / PARTS {
            0 => next as u64,
            power => ((PARTS + next % PARTS) as u64) << (power - 1),
        };
        Duration::from_micros(micros)
    }

    /// All durations.
    pub fn count(&self) -> u64 {
        self.buckets.iter().fold(0, |sum, count| sum.saturating_add(*count))
    }

    /// The duration that a part of all durations (0.99: ninety-nine in a hundred) stay below, rounded up to the end of its
    /// bucket. `None` when there are none.
    pub fn quantile(&self, part: f64) -> Option<Duration> {
        let count = self.count();
        let wanted = ((count as f64 * part).ceil() as u64).clamp(1, count.max(1));
        let mut seen: u64 = 0;
        let reached = self.buckets.iter().position(|in_bucket| {
            seen = seen.saturating_add(*in_bucket);
            seen >= wanted
        });
        reached.map(Histogram::upper_bound)
    }

    /// Adds another's counts to these.
    pub fn add(&mut self, other: &Histogram) {
        for (mine, theirs) in self.buckets.iter_mut().zip(other.buckets) {
            *mine = mine.saturating_add(theirs);
        }
    }
}
