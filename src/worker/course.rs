//! Which way a worker is going: serving, retiring for some reason, gone at once. It only goes forward.

use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed};
use std::sync::atomic::{AtomicU8, AtomicU64};
use std::time::Duration;

use super::rules::{Rules, nanoseconds};
use super::table::NEVER;

/// So long before a retiring worker's time is over it gives up requests that have not come to their end.
const LAST_CALL: Duration = Duration::from_secs(1);

/// The way, in the order in which one may follow another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(super) enum Heading {
    /// Requests are welcome.
    Serving,
    /// Others go on in this worker's place: it leaves the listeners, and idle connections stay their time.
    Reload,
    /// The server stops: what is in the queues is accepted, and idle connections stay a second at the most.
    Stop,
    /// The master is dead: what is in flight or queued is finished, and idle connections stay as at a stop.
    Orphaned,
    /// Now.
    Quick,
}

const HEADINGS: [Heading; 5] =
    [Heading::Serving, Heading::Reload, Heading::Stop, Heading::Orphaned, Heading::Quick];

/// The worker's way, shared by its threads.
#[derive(Debug, Default)]
pub(super) struct Course {
    heading: AtomicU8,
    since: AtomicU64,
}

impl Course {
    /// Where it goes.
    pub(super) fn heading(&self) -> Heading {
        HEADINGS[usize::from(self.heading.load(Acquire)).min(HEADINGS.len() - 1)]
    }

    /// Since when.
    pub(super) fn since(&self) -> u64 {
        self.since.load(Relaxed)
    }

    /// Turns, if that is forward: true when it did.
    pub(super) fn turn_to(&self, heading: Heading, now: u64) -> bool {
        let is_forward = self.heading() < heading;
        if is_forward {
            self.since.store(now, Relaxed);
        }
        is_forward && self.heading.fetch_max(heading as u8, AcqRel) < heading as u8
    }

    /// When a request that is still on its way is turned away: a little before the master kills who has not left.
    pub(super) fn last_call(&self, rules: &Rules) -> u64 {
        match self.heading() {
            Heading::Serving => NEVER,
            Heading::Reload | Heading::Stop | Heading::Orphaned => {
                let margin = nanoseconds(LAST_CALL).min(rules.graceful / 4);
                self.since().saturating_add(rules.graceful - margin)
            }
            Heading::Quick => 0,
        }
    }

    /// When an idle connection has to go that could otherwise stay until `deadline`.
    pub(super) fn idle_deadline(&self, deadline: u64, rules: &Rules) -> u64 {
        match self.heading() {
            Heading::Serving | Heading::Reload => deadline,
            // An orphan may have accepted somebody whose request is still on its way, as at a stop.
            Heading::Stop | Heading::Orphaned => {
                deadline.min(self.since().saturating_add(rules.keepalive_at_stop))
            }
            Heading::Quick => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_only_goes_forward() {
        let course = Course::default();
        assert!(course.turn_to(Heading::Stop, 1));
        assert!(!course.turn_to(Heading::Reload, 2) && !course.turn_to(Heading::Stop, 3));
        assert_eq!((course.heading(), course.since()), (Heading::Stop, 1));
        assert!(course.turn_to(Heading::Quick, 4));
    }
}
