//! One thread of a worker: what it owns, and its round of waiting and serving.

use super::buffers::Pool;
use super::connection::{State, Step};
use super::engine::Engine;
use super::exchange::{Exchange, Job};
use super::harvest::Event;
use super::last_words::{Desk, Taken};
use super::wire::Wire;
use crate::app::{self, CallOutcome, Hook, ThreadState};
use crate::log::AccessBuffer;
use crate::sys::claim::Claimed;
use crate::sys::clock;
use crate::sys::epoll::Room;
use crate::sys::thread::Thread;

/// How many unused exchanges a thread keeps.
const MOST_EXCHANGES: usize = 64;

/// A thread of the worker, and what only it touches.
pub(super) struct Hand {
    pub(super) engine: &'static Engine,
    pub(super) buffers: Pool,
    #[expect(clippy::vec_box, reason = "the application holds their addresses: they stay where they are")]
    pub(super) exchanges: Vec<Box<Exchange>>,
    /// When the wait ended that brought what is served now: it came no later.
    pub(super) turn: u64,
    /// The time as this thread has read it last. It has waited for nobody since, and been in no call.
    now: u64,
    pub(super) desk: &'static Desk,
    thread: ThreadState,
    /// Itself, as the kernel knows it.
    kernel_thread: Thread,
    pub(super) access: Option<AccessBuffer>,
    room: Room,
}

impl Hand {
    /// The hand of the calling thread, which is the worker's `number`th.
    pub(super) fn new(engine: &'static Engine, number: usize, thread: ThreadState) -> Hand {
        let desk = Desk::new(engine, number);
        let (kernel_thread, now) = (Thread::current(), clock::monotonic());
        desk.lane.bind_thread(kernel_thread.as_raw());
        Hand {
            engine,
            buffers: Pool::default(),
            exchanges: Vec::new(),
            turn: now,
            now,
            desk,
            thread,
            kernel_thread,
            access: engine.access_log().map(AccessBuffer::new),
            room: Room::new(super::harvest::MOST_EVENTS),
        }
    }

    /// Waits and serves until the crew is dismissed; gives back what the application made for the thread.
    pub(super) fn work(mut self) -> ThreadState {
        self.desk.show_access(self.access.as_ref());
        let crew = &self.engine.crew;
        while !crew.is_dismissed() {
            if let Some(event) = self.engine.harvest.take(self.kernel_thread) {
                self.engine.attend(&mut self, event);
            } else {
                let is_log_behind = !self.flush_log();
                if !crew.take_baton() {
                    crew.sleep(is_log_behind.then_some(AccessBuffer::RETRY));
                    self.now = clock::monotonic();
                } else if !self.engine.harvest.cursor().is_empty() {
                    // Another has filled it since it was found empty: what is in it must not be written over.
                    crew.lay_baton_down();
                } else {
                    let now = self.engine.wait(&mut self.room, is_log_behind);
                    self.begin_turn(now);
                    self.engine.do_what_is_due(&mut self);
                }
            }
        }
        if self.begins_nothing() {
            self.see_everybody_off();
        }
        self.flush_log();
        self.desk.show_access(None);
        self.thread
    }

    /// A wait has ended just now.
    pub(super) fn begin_turn(&mut self, now: u64) {
        (self.turn, self.now) = (now, now);
    }

    /// Serves the connection that an event is about.
    pub(super) fn serve(&mut self, event: Event) {
        let index = event.token.index;
        let place = self.engine.connections.place(index);
        let Some(mut held) = place.occupant.claim() else { return };
        if place.is_tenant(event.token)
            && let Some(wire) = held.wire()
        {
            wire.note(event);
            self.go_on(index, &mut held);
        }
        self.release(index, held);
    }

    /// Serves a new connection at once: most have a request on their heels.
    pub(super) fn welcome(&mut self, wire: Box<Wire>) {
        let index = wire.token.index;
        let place = self.engine.connections.place(index);
        let mut held = loop {
            match place.occupant.try_claim() {
                Some(held) => break held,
                None => std::thread::yield_now(), // a stale event is being looked at
            }
        };
        *held = State::Idle(wire);
        self.go_on(index, &mut held);
        self.release(index, held);
    }

    /// Lets go of a place; as long as it was wanted meanwhile, looks again.
    fn release(&mut self, index: u32, mut held: Claimed<'_, State>) {
        while let Some(mut again) = held.release() {
            if let Some(wire) = again.wire() {
                wire.note_anything();
                self.go_on(index, &mut again);
            }
            held = again;
        }
    }

    /// Goes on with the connection in a claimed place.
    pub(super) fn go_on(&mut self, index: u32, held: &mut State) {
        let step = self.drive(std::mem::replace(held, State::Call));
        self.settle(index, held, step);
    }

    /// Looks at a connection whose deadline may be over.
    pub(super) fn look_at_overdue(&mut self, index: u32) {
        let place = self.engine.connections.place(index);
        let Some(mut held) = place.occupant.try_claim() else { return };
        if let Some(wire) = held.wire() {
            wire.note_anything(); // what came in time, while a call went on, is not late
            self.go_on(index, &mut held);
            if self.engine.deadline(&held) <= self.turn {
                let step = self.expire(std::mem::replace(&mut *held, State::Call));
                let step = if let Step::Next(state) = step { self.drive(state) } else { step };
                self.settle(index, &mut held, step);
            }
        }
        self.release(index, held);
    }

    /// Puts a connection back in its place, watched and with its deadline, or frees the place.
    pub(super) fn settle(&mut self, index: u32, held: &mut State, step: Step) {
        let (mut state, again) = match step {
            Step::Wait(state) => (state, false),
            Step::Yield(state) | Step::Next(state) => (state, true),
            Step::Closed => (State::Vacant, false),
        };
        let watched = state.wire().map_or(Ok(()), |wire| wire.watch(&self.engine.epoll, again));
        if let Err(error) = watched {
            tracing::error!("cannot watch a connection, which is closed: {error}");
            state = State::Vacant;
        }
        let deadline = self.engine.note_deadline(&state);
        *held = state;
        match held {
            State::Vacant => self.engine.vacate(index),
            _ => self.engine.connections.place(index).set_deadline(deadline),
        }
    }

    /// An exchange for a connection on which a request arrives.
    pub(super) fn engage(&mut self, wire: Box<Wire>) -> Box<Exchange> {
        let mut exchange = self.exchanges.pop().unwrap_or_else(|| app::Exchange::new(Job::new(self.engine)));
        exchange.host.engage(wire);
        exchange
    }

    /// Calls the application. An error: the exchange was ended meanwhile, over its head.
    pub(super) fn run_application(&mut self, exchange: &mut Exchange) -> Result<CallOutcome, Taken> {
        let app = &self.engine.app;
        exchange.host.enter(self.desk, self.now);
        if app.has_request_hooks() {
            app.hook(Hook::PreRequest);
        }
        let outcome = app.call(&self.thread, exchange);
        if app.has_request_hooks() {
            app.hook(Hook::PostRequest);
        }
        let taken = exchange.host.leave();
        if self.engine.crew.is_shared() {
            self.now = clock::monotonic();
            self.engine.crew.note_call(self.now.saturating_sub(exchange.host.called));
        }
        taken.map_or(Ok(outcome), Err)
    }

    /// The answer is over: figures, access line, notices. Returns the time.
    pub(super) fn conclude(&mut self, exchange: &mut Exchange) -> u64 {
        self.exchanges.truncate(MOST_EXCHANGES);
        self.now = exchange.host.conclude(self.desk.lane, self.access.as_mut());
        self.engine.count_request();
        self.now
    }

    /// Writes the access lines of this turn: false when their reader is behind.
    fn flush_log(&mut self) -> bool {
        self.access.as_mut().is_none_or(AccessBuffer::flush)
    }
}
