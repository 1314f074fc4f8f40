//! Numbers that differ from run to run, and that a run can be given again.

use std::time::{SystemTime, UNIX_EPOCH};

/// A generator (xorshift): no good for secrets.
pub(crate) struct Random(u64);

impl Random {
    /// From a seed that the environment variable `name` may give; what the run has is printed.
    pub(crate) fn seeded(name: &str) -> Random {
        let given = std::env::var(name).ok().and_then(|seed| seed.parse().ok());
        let seed = given.unwrap_or_else(|| {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is after 1970");
            now.as_nanos() as u64 | 1
        });
        eprintln!("{name}={seed} repeats this run");
        Random(seed)
    }

    /// Another generator, whose numbers have nothing to do with what this one yields next.
    pub(crate) fn fork(&mut self) -> Random {
        Random(self.next().wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// Less than `bound`; 0 when that is 0.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound.max(1) as u64) as usize
    }

    /// One of them.
    pub(crate) fn one_of<'a, T>(&mut self, choices: &'a [T]) -> &'a T {
        &choices[self.below(choices.len())]
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}
