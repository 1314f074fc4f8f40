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
    /// From a signal handler: a call is a stray now. Is there another thread that can go on?
    pub(super) fn has_others_when_this_strays(&self) -> bool {
        self.strays.fetch_add(1, Relaxed) + 1 < self.seat.board().lanes()
    }

    /// From a signal handler: the worker is to retire. Whoever waits for events sees to it, and if nobody does, the master.
    pub(super) fn say_that_it_retires(&self) {
        self.has_strayed.store(true, Relaxed);
        self.seat.set_state(SlotState::Draining);
        let _ = self.nudge.write(1); // a full counter has woken it already
    }

    /// How many calls are strays.
    pub(in super::super) fn strays(&self) -> usize {
        self.strays.load(Relaxed)
    }

    /// A thread may not come back, so that others have to go on in this worker's place; and one that has come back has shown
    /// that it may.
    pub(in super::super) fn retire_for_strays(&self) {
        if self.has_strayed.load(Relaxed) {
            self.head_for(Heading::Reload);
        }
    }

    /// How many connections nobody is serving.
    pub(super) fn parked(&self) -> usize {
        let slot = self.seat.board().slot(self.seat.index());
        let served = (0..slot.lanes()).filter(|lane| slot.lane(*lane).exchange().is_some()).count();
        self.connections.occupied().saturating_sub(served)
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
        self.engine.retire_for_strays();
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
