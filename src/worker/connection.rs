//! A connection's life as states and the steps between them. A step takes a state and returns the next one; which
//! deadline runs is computed from the state.

use tracing::{error, warn};

use super::exchange::{Answer, Exchange};
use super::hand::Hand;
use super::outgoing::Sent;
use super::rules::{LINGERING, LINGERING_BYTES, Rules, after};
use super::table::NEVER;
use super::wire::{Arrival, Wire};
use crate::app::{ReadError, Refusal};
use crate::http::Reject;
use crate::sys::clock;

/// Where a connection stands. Everything it owns is in here.
#[derive(Default)]
pub(super) enum State {
    /// There is none: the place is free.
    #[default]
    Vacant,
    /// Not a byte of a request is here. It costs a descriptor and an address.
    Idle(Box<Wire>),
    /// A head is arriving.
    Head(Box<Exchange>),
    /// The head is complete, the body is arriving.
    Body(Box<Exchange>),
    /// A thread has it.
    Call,
    /// The answer is on its way.
    Write(Box<Exchange>),
    /// All is said; what still comes is read and dropped, so that the client can see the answer (RFC 9112 §9.6).
    Lingering {
        /// The connection.
        wire: Box<Wire>,
        /// How many more bytes are dropped before it is cut.
        left: u64,
    },
}

/// What a step leads to.
pub(super) enum Step {
    /// Another step, at once.
    Next(State),
    /// The client's turn.
    Wait(State),
    /// Others' turn: this one could go on for ever.
    Yield(State),
    /// The connection is closed.
    Closed,
}

impl State {
    /// The connection, where there is one that no thread has.
    #[inline]
    pub(super) fn wire(&mut self) -> Option<&mut Wire> {
        match self {
            State::Vacant | State::Call => None,
            State::Idle(wire) | State::Lingering { wire, .. } => Some(wire),
            State::Head(exchange) | State::Body(exchange) | State::Write(exchange) => {
                Some(exchange.host.wire())
            }
        }
    }

    /// When something has to be done about it if nothing happens.
    pub(super) fn deadline(&self, rules: &Rules, idle: impl Fn(u64) -> u64) -> u64 {
        match self {
            State::Vacant | State::Call => NEVER,
            State::Idle(wire) if wire.served == 0 => idle(wire.since.saturating_add(rules.header_timeout)),
            State::Idle(wire) => idle(wire.since.saturating_add(rules.keepalive)),
            State::Head(exchange) => exchange.host.wire_ref().since.saturating_add(rules.header_timeout),
            State::Body(exchange) => after(exchange.host.wire_ref().since, rules.body_timeout),
            State::Write(exchange) => after(exchange.host.wire_ref().since, rules.write_timeout),
            State::Lingering { wire, .. } => after(wire.since, Some(LINGERING)),
        }
    }
}

impl Hand {
    /// Goes on with a connection until it is somebody else's turn.
    pub(super) fn drive(&mut self, mut state: State) -> Step {
        for _ in 0..MOST_STEPS {
            match self.step(state) {
                Step::Next(next) => state = next,
                end @ (Step::Wait(_) | Step::Yield(_) | Step::Closed) => return end,
            }
        }
        Step::Yield(state)
    }

    fn step(&mut self, state: State) -> Step {
        match state {
            State::Vacant | State::Call => Step::Closed,
            State::Idle(wire) => self.await_request(wire),
            State::Head(exchange) => self.read_head(exchange),
            State::Body(exchange) => self.read_body(exchange),
            State::Write(exchange) => self.write(exchange),
            State::Lingering { wire, left } => self.linger(wire, left),
        }
    }

    fn await_request(&mut self, mut wire: Box<Wire>) -> Step {
        if wire.input.is_empty() {
            self.buffers.lend(&mut wire.input);
            match wire.read() {
                Arrival::Bytes(_) => {}
                Arrival::Nothing => {
                    self.buffers.take_back(&mut wire.input);
                    return Step::Wait(State::Idle(wire));
                }
                Arrival::End => return self.close(*wire),
            }
        }
        wire.since = self.turn;
        Step::Next(State::Head(self.engage(wire)))
    }

    fn read_head(&mut self, mut exchange: Box<Exchange>) -> Step {
        match exchange.host.parse() {
            Ok(true) => return self.begin_body(exchange),
            Ok(false) => {}
            Err(reject) => return self.reject(exchange, reject),
        }
        let wire = exchange.host.wire();
        if wire.input.room().is_empty() {
            let twice = wire.input.capacity() * 2;
            self.buffers.grow(&mut wire.input, twice);
        }
        match wire.read() {
            Arrival::Bytes(_) => Step::Next(State::Head(exchange)),
            Arrival::Nothing => Step::Wait(State::Head(exchange)),
            Arrival::End => self.drop_exchange(exchange),
        }
    }

    fn begin_body(&mut self, mut exchange: Box<Exchange>) -> Step {
        let job = &mut exchange.host;
        match job.decode() {
            Ok(true) => return self.call(exchange),
            Ok(false) => {}
            Err(bad) => return self.reject(exchange, bad.into()),
        }
        job.wire().since = self.turn;
        if job.awaits_permission() {
            job.outgoing.bytes().extend_from_slice(b"HTTP/1.1 100 Continue\r\n\r\n");
            if job.send() == Sent::Gone {
                return self.drop_exchange(exchange);
            }
        }
        Step::Next(State::Body(exchange))
    }

    fn read_body(&mut self, mut exchange: Box<Exchange>) -> Step {
        let job = &mut exchange.host;
        match job.decode() {
            Ok(true) => return self.call(exchange),
            Ok(false) => {}
            Err(bad) => return self.reject(exchange, bad.into()),
        }
        // A permission that the socket did not take is what the client waits for.
        if !job.outgoing.is_empty() && job.send() == Sent::Gone {
            return self.drop_exchange(exchange);
        }
        let wanted = job.wanted_room();
        let wire = job.wire();
        self.buffers.grow(&mut wire.input, wanted);
        match wire.read() {
            Arrival::Bytes(_) => {
                wire.since = clock::monotonic();
                Step::Next(State::Body(exchange))
            }
            Arrival::Nothing => Step::Wait(State::Body(exchange)),
            Arrival::End => self.drop_exchange(exchange),
        }
    }

    fn call(&mut self, mut exchange: Box<Exchange>) -> Step {
        if self.begins_nothing() {
            return self.turn_away(exchange);
        }
        if !exchange.host.has_room_to_read() {
            let wanted = exchange.host.wanted_room();
            self.buffers.grow(&mut exchange.host.wire().input, wanted);
        }
        let outcome = match self.run_application(&mut exchange) {
            Ok(outcome) => outcome,
            Err(taken) => return self.end_stray(exchange, taken),
        };
        let job = &mut exchange.host;
        match (job.answer, job.unreadable) {
            (Answer::Finished, _) => {}
            (Answer::Streaming(_), _) => job.cut_off(),
            (Answer::Awaited, Some(ReadError::Gone)) => return self.drop_exchange(exchange),
            (Answer::Awaited, Some(ReadError::TimedOut)) => job.answer_with_refusal(Reject::BODY_TIMED_OUT),
            (Answer::Awaited, Some(ReadError::TooLarge)) => job.answer_with_refusal(Reject::BODY_TOO_LARGE),
            (Answer::Awaited, Some(ReadError::Malformed)) => {
                job.answer_with_page(400, "the body breaks its own framing");
            }
            (Answer::Awaited, None | Some(ReadError::WouldBlock)) => job.answer_for_application(outcome),
        }
        Step::Next(State::Write(exchange))
    }

    fn write(&mut self, mut exchange: Box<Exchange>) -> Step {
        let job = &mut exchange.host;
        let sent = if job.broken.is_some() { Sent::Gone } else { job.send_rest() };
        match sent {
            Sent::All => self.end_exchange(exchange),
            Sent::Some => {
                job.begin_to_wait();
                Step::Wait(State::Write(exchange))
            }
            Sent::Enough => Step::Yield(State::Write(exchange)),
            Sent::Gone => self.break_off(exchange, Refusal::Gone),
            Sent::FileEnded => {
                error!("{}: the file became shorter while it was sent; the connection is cut", job.title());
                self.break_off(exchange, Refusal::Length)
            }
        }
    }

    fn end_exchange(&mut self, mut exchange: Box<Exchange>) -> Step {
        let now = self.conclude(&mut exchange);
        let job = &mut exchange.host;
        let (keeps_alive, cuts_off) = (job.keeps_alive, job.cuts_off);
        let was_last = job.has_drained_input() && !job.head.keep_alive();
        let Some(mut wire) = job.disengage() else { return Step::Closed };
        self.exchanges.push(exchange);
        wire.since = now;
        wire.served += 1;
        if keeps_alive {
            return Step::Next(State::Idle(wire));
        }
        // Bytes that come to a closed socket destroy the answer on its way: only who said that this was his last
        // request, and sent all of it, sends nothing more.
        if cuts_off || was_last && wire.input.is_empty() {
            return self.close(*wire);
        }
        wire.shutdown_write();
        Step::Next(State::Lingering { wire, left: LINGERING_BYTES })
    }

    fn linger(&mut self, mut wire: Box<Wire>, mut left: u64) -> Step {
        self.buffers.lend(&mut wire.input);
        for _ in 0..MOST_READS {
            wire.input.truncate(0);
            match wire.read() {
                Arrival::Bytes(count) if count as u64 <= left => left -= count as u64,
                Arrival::Bytes(_) | Arrival::End => return self.close(*wire),
                Arrival::Nothing => {
                    self.buffers.take_back(&mut wire.input);
                    return Step::Wait(State::Lingering { wire, left });
                }
            }
        }
        wire.input.truncate(0);
        Step::Yield(State::Lingering { wire, left })
    }

    /// The deadline of a connection is over, and it had its chance to get on.
    #[cold]
    pub(super) fn expire(&mut self, state: State) -> Step {
        match state {
            State::Vacant | State::Call => Step::Closed,
            State::Idle(wire) | State::Lingering { wire, .. } => self.close(*wire),
            State::Head(exchange) | State::Body(exchange) if self.engine.last_call() <= self.turn => {
                self.turn_away(exchange)
            }
            State::Head(exchange) => self.reject(exchange, Reject::HEAD_TIMED_OUT),
            State::Body(exchange) => self.reject(exchange, Reject::BODY_TIMED_OUT),
            State::Write(exchange) => self.break_off(exchange, Refusal::TimedOut),
        }
    }

    #[cold]
    fn reject(&mut self, mut exchange: Box<Exchange>, reject: Reject) -> Step {
        warn!("Invalid request from ip={}: {reject}", exchange.host.wire_ref().peer.address());
        exchange.host.answer_with_refusal(reject);
        exchange.host.wire().since = self.turn;
        Step::Next(State::Write(exchange))
    }

    /// The answer cannot be sent to its end.
    #[cold]
    fn break_off(&mut self, mut exchange: Box<Exchange>, refusal: Refusal) -> Step {
        exchange.host.broken.get_or_insert(refusal);
        self.conclude(&mut exchange);
        self.drop_exchange(exchange)
    }

    /// Closes the connection of an exchange that has no answer, or no more.
    #[cold]
    fn drop_exchange(&mut self, mut exchange: Box<Exchange>) -> Step {
        exchange.host.abandon();
        let wire = exchange.host.disengage();
        self.exchanges.push(exchange);
        wire.map_or(Step::Closed, |wire| self.close(*wire))
    }

    fn close(&mut self, mut wire: Wire) -> Step {
        wire.input.truncate(0);
        self.buffers.take_back(&mut wire.input);
        Step::Closed
    }
}

/// Steps on one connection before others get their turn; a request takes four or five.
const MOST_STEPS: usize = 40;

/// Reads of what is dropped, before others get their turn.
const MOST_READS: usize = 32;
