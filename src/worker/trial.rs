//! A worker's engine within the calling process, driven by hand: for tests and fuzz targets that want the real code
//! between a socket and an application, and the same outcome each time. No fork, no master, no threads, and no clock:
//! time passes when it is told to.
//!
//! What it leaves out is what the worker's loop does beside connections: accepting, orders, signals, recycling.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use super::application;
use super::connection::State;
use super::doors::Doors;
use super::engine::{Engine, FIRST_DOOR, Parts};
use super::hand::Hand;
use super::harvest::MOST_EVENTS;
use super::rules::Rules;
use super::table::NEVER;
use super::wire::Wire;
use crate::app::{Application, Level, Services};
use crate::listener::{self, Listener, Peer};
use crate::log::{AccessLog, ErrorLog};
use crate::pair::{self, Pair};
use crate::scoreboard::{Scoreboard, Seat, Totals};
use crate::settings::{Bind, Settings};
use crate::sys::clock;
use crate::sys::epoll::Room;
use crate::sys::signal::SignalPipe;
use crate::sys::thread::Thread;

/// An engine with one thread, the caller's. What it is made of stays until the process ends.
pub struct Trial {
    engine: &'static Engine,
    hand: Hand,
    room: Room,
    /// An engine whose master is gone retires.
    _master: Pair,
}

impl Trial {
    /// An engine that runs the settings' application under the settings' limits, with a listener that nobody knows.
    ///
    /// # Errors
    /// The application does not load or start, or the kernel refuses a descriptor.
    pub fn new(
        settings: &Settings,
        error_log: ErrorLog,
        access_log: Option<Arc<AccessLog>>,
    ) -> io::Result<Trial> {
        let (master, own) = pair::pair()?;
        let app = Application::load(&application::source(&settings.app.source), settings.app.config.clone());
        let app = app.map_err(io::Error::other)?;
        let app = app.start(application::facts(settings, 0, 1), &Silent).map_err(io::Error::other)?;
        let seat: &'static Seat = Box::leak(Box::new(Scoreboard::create(1, 1)?.take_seat(0)?));
        let engine: &'static Engine = Box::leak(Box::new(Engine::new(Parts {
            app,
            rules: Rules::new(settings),
            seat,
            doors: Doors::new(vec![Arc::new(unknown_listener()?)], FIRST_DOOR),
            pair: own,
            signals: SignalPipe::new(&[libc::SIGWINCH])?, // of some signal: a pipe that nobody writes to is hung up
            error_log,
            access_log,
            threads: 1,
            slots: 1,
            request_limit: None,
        })?));
        let thread = engine.app.thread_start(0).map_err(io::Error::other)?;
        Ok(Trial {
            engine,
            hand: Hand::new(engine, 0, thread),
            room: Room::new(MOST_EVENTS),
            _master: master,
        })
    }

    /// Gives the engine a connection, which has to be a non-blocking stream socket, as if it had been accepted, and
    /// serves what has come on it already. False: the engine has no room for it, and it is closed.
    pub fn connect(&mut self, socket: OwnedFd) -> bool {
        let Some(token) = self.engine.connections.enter() else { return false };
        self.hand.begin_turn(clock::monotonic());
        self.hand.welcome(Box::new(Wire::new(socket, Peer::new(None), 0, token, self.hand.turn)));
        true
    }

    /// Serves what is ready, and never waits for it: how many events there were.
    ///
    /// It waits where a worker's thread does: in a call that reads a body which is not here, or writes more than the
    /// client takes.
    pub fn turn(&mut self) -> usize {
        self.turn_within(Duration::ZERO)
    }

    /// The same, but waits until something is ready, or until `limit` is over (rounded down to milliseconds).
    pub fn turn_within(&mut self, limit: Duration) -> usize {
        let timeout = i32::try_from(limit.as_millis()).unwrap_or(i32::MAX);
        let ready = self.engine.epoll.wait(&mut self.room, timeout);
        self.hand.begin_turn(clock::monotonic());
        let brought = self.engine.harvest.fill(ready, self.hand.turn);
        while let Some(event) = self.engine.harvest.take(Thread::current()) {
            self.engine.attend(&mut self.hand, event);
        }
        brought
    }

    /// Lets time pass until the next deadline of a connection, and does what is due then. False: there is no deadline.
    pub fn pass_time(&mut self) -> bool {
        let deadlines = self.engine.connections.places().map(|(index, place)| (place.deadline(), index));
        let Some((deadline, index)) = deadlines.min().filter(|(deadline, _)| *deadline != NEVER) else {
            return false;
        };
        self.hand.turn = deadline;
        self.hand.look_at_overdue(index);
        true
    }

    /// How many connections there are.
    pub fn connections(&self) -> usize {
        self.engine.connections.occupied()
    }

    /// How many bytes the connections hold for what has arrived, and for what was not sent yet.
    pub fn held(&self) -> usize {
        let claims = self.engine.connections.places().filter_map(|(_, place)| place.occupant.try_claim());
        claims.map(|mut state| held_by(&mut state)).sum()
    }

    /// The figures of all exchanges so far.
    pub fn totals(&self) -> Totals {
        self.engine.seat.board().slot(0).totals()
    }
}

fn held_by(state: &mut State) -> usize {
    let unsent = match state {
        State::Vacant | State::Call | State::Idle(_) | State::Lingering { .. } => 0,
        State::Head(exchange) | State::Body(exchange) | State::Write(exchange) => {
            exchange.host.outgoing.unsent()
        }
    };
    unsent + state.wire().map_or(0, |wire| wire.input.capacity())
}

/// Connections have come through some listener, and applications may ask for its address.
fn unknown_listener() -> io::Result<Listener> {
    let bind = Bind::Tcp { host: "127.0.0.1".to_owned(), port: 0 };
    Listener::open(&bind, &listener::Options::default()).map_err(io::Error::other)
}

/// Nobody listens to the application.
struct Silent;

impl Services for Silent {
    fn log(&self, _level: Level, _target: &str, _text: &str) {}

    fn counter(&self, _name: &str) -> Option<&'static AtomicU64> {
        None
    }
}
