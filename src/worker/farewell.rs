//! What a worker still says to those whose requests it has and will not begin: 503, and that the connection ends. Such a
//! request can be sent again, to whoever serves then; a connection that is only cut leaves that open.

use std::time::Duration;

use super::connection::{State, Step};
use super::course::Heading;
use super::exchange::Exchange;
use super::hand::Hand;
use super::rules::nanoseconds;
use crate::http::Reject;
use crate::sys::clock;

/// For so long a worker that leaves at once waits for clients to take their answers.
const LAST_WORDS: Duration = Duration::from_millis(100);

/// How often it looks meanwhile.
const LOOK: Duration = Duration::from_millis(5);

impl Hand {
    /// The worker leaves now: nothing more is begun, and everybody who waits for something hears so.
    pub(super) fn see_everybody_off(&mut self) {
        let end = clock::monotonic().saturating_add(nanoseconds(LAST_WORDS));
        loop {
            self.turn = clock::monotonic();
            let waiting = self.see_off();
            if waiting == 0 || self.turn >= end {
                return;
            }
            std::thread::sleep(LOOK);
        }
    }

    /// One round: how many still have to take what was said to them.
    fn see_off(&mut self) -> usize {
        let mut waiting = 0;
        for (index, place) in self.engine.connections.places() {
            // Who is in a call is its thread's.
            let Some(mut held) = place.occupant.try_claim() else { continue };
            let Some(wire) = held.wire() else { continue };
            wire.note_anything();
            self.go_on(index, &mut held);
            let step = match std::mem::take(&mut *held) {
                State::Vacant => continue,
                State::Idle(_) => Step::Closed,
                State::Head(exchange) | State::Body(exchange) => self.turn_away(exchange),
                state @ (State::Call | State::Write(_) | State::Lingering { .. }) => Step::Wait(state),
            };
            let step = if let Step::Next(state) = step { self.drive(state) } else { step };
            self.settle(index, &mut held, step);
            waiting += usize::from(!matches!(*held, State::Vacant));
        }
        waiting
    }

    /// Whether a request that is complete now will not be begun.
    pub(super) fn begins_nothing(&self) -> bool {
        self.engine.heading() == Heading::Quick
    }

    /// Answers a request that is not begun.
    #[cold]
    pub(super) fn turn_away(&mut self, mut exchange: Box<Exchange>) -> Step {
        exchange.host.answer_with_refusal(Reject::STOPPING);
        exchange.host.wire().since = self.turn;
        Step::Next(State::Write(exchange))
    }
}
