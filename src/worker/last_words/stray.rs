//! Strays: calls that go on after their exchange was ended over their heads. Their worker retires; it does not wait for
//! them, and what they still have to say is refused.

use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use tracing::warn;

use super::super::connection::{State, Step};
use super::super::course::Heading;
use super::super::engine::Engine;
use super::super::exchange::Exchange;
use super::super::hand::Hand;
use super::super::rules::LINGERING_BYTES;
use super::Taken;
use crate::scoreboard::SlotState;
use crate::sys::clock;

impl Engine {
    /// From a signal handler: a call is a stray now. The worker is to retire: whoever waits for events sees to it, and if
    /// nobody does, the master.
    pub(super) fn let_stray(&self) {
        self.strays.fetch_add(1, Relaxed);
        self.seat.set_state(SlotState::Draining);
        let _ = self.nudge.write(1); // a full counter has woken it already
    }

    /// How many calls are strays.
    pub(in super::super) fn strays(&self) -> usize {
        self.strays.load(Relaxed)
    }

    /// A thread may not come back, so that others have to go on in this worker's place.
    pub(in super::super) fn retire_for_strays(&self) {
        if self.strays() > 0 {
            self.head_for(Heading::Reload);
        }
    }
}

impl Hand {
    /// A stray has come back.
    pub(in super::super) fn end_stray(&mut self, mut exchange: Box<Exchange>, taken: Taken) -> Step {
        let now = clock::monotonic();
        let job = &mut exchange.host;
        let after = Duration::from_nanos(now.saturating_sub(job.called)).as_secs_f64();
        let fate = match taken {
            Taken::Answered => "its client was answered",
            Taken::Cut => "its connection was cut",
        };
        warn!("{}: the call has come back after {after:.1} s, but it was over its time: {fate}", job.title());
        if let Some(access) = &mut self.access {
            access.forget(self.desk.take_written());
        }
        self.engine.strays.fetch_sub(1, Relaxed);
        job.abandon();
        let wire = job.disengage();
        self.exchanges.push(exchange);
        match (wire, taken) {
            (Some(mut wire), Taken::Answered) => {
                wire.since = now;
                Step::Next(State::Lingering { wire, left: LINGERING_BYTES })
            }
            (Some(_) | None, _) => Step::Closed,
        }
    }
}
