//! The listeners of a worker: accepting, in fair shares and never in vain, and leaving.
//!
//! All workers wait on the same sockets. A worker that has more connections than one that is free to take the next
//! leaves it to that one, for a tick; then it takes it after all. So connections spread evenly, and none waits behind
//! a worker that is busy, stuck or dead.

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use tracing::error;

use super::harvest::Token;
use super::rules::nanoseconds;
use super::table::NEVER;
use crate::listener::{Listener, Peer};
use crate::log::cause;
use crate::sys::epoll::{self, Epoll};
use crate::sys::orphan;

/// For so long a connection is left to a worker that has fewer.
const TICK: u64 = 1_000_000;

/// An exhaustion that is over for so long is over; the next one is spoken of again.
const QUIET_SPELL: u64 = 10_000_000_000;

/// For so long nothing is accepted when there are no descriptors left.
const OUT_OF_DESCRIPTORS: u64 = 100_000_000;

/// One listener.
#[derive(Debug)]
pub(super) struct Door {
    /// None once it is left.
    listener: RwLock<Option<Arc<Listener>>>,
    address: String,
    port: u16,
    bind_index: u32,
    quiet: Duration,
}

/// All listeners of a worker.
#[derive(Debug)]
pub(super) struct Doors {
    doors: Vec<Door>,
    first_token: u32,
    is_open: AtomicBool,
    /// Until when no listener is watched: 0 while they are, [`NEVER`] while there is no room for connections.
    closed_until: AtomicU64,
    /// The next connection is taken whatever the shares are: it waited for a tick.
    takes_any: AtomicBool,
    last_accept: AtomicU64,
    /// When descriptors were last found to be exhausted.
    last_exhausted: AtomicU64,
}

impl Door {
    fn new(listener: Arc<Listener>, index: usize) -> Door {
        let (address, port) = listener.server_address();
        Door {
            address: address.to_owned(),
            port,
            bind_index: u32::try_from(index).unwrap_or(u32::MAX),
            quiet: listener.quiet_before_close(),
            listener: RwLock::new(Some(listener)),
        }
    }

    /// The server's address as text.
    pub(super) fn address(&self) -> &str {
        &self.address
    }

    /// The server's port; 0 for a unix socket.
    pub(super) fn port(&self) -> u16 {
        self.port
    }

    /// Which of the settings' binds it is.
    pub(super) fn bind_index(&self) -> u32 {
        self.bind_index
    }

    /// Out of epoll first, then closed.
    fn leave(&self, epoll: &Epoll) {
        if let Some(listener) = self.listener.write().unwrap_or_else(PoisonError::into_inner).take() {
            // It fails only for a listener that the handler of the master's death has left.
            let _ = epoll.remove(&*listener);
        }
    }

    fn with<R>(&self, work: impl FnOnce(&Listener) -> R) -> Option<R> {
        self.listener.read().unwrap_or_else(PoisonError::into_inner).as_deref().map(work)
    }
}

impl Doors {
    /// The doors, not watched yet. Events of the first one are to carry `first_token`, and so on upwards.
    pub(super) fn new(listeners: Vec<Arc<Listener>>, first_token: u32) -> Doors {
        let doors =
            listeners.into_iter().enumerate().map(|(index, listener)| Door::new(listener, index)).collect();
        Doors {
            doors,
            first_token,
            is_open: AtomicBool::new(true),
            closed_until: AtomicU64::new(0),
            takes_any: AtomicBool::new(false),
            last_accept: AtomicU64::new(0),
            last_exhausted: AtomicU64::new(0),
        }
    }

    /// The door that connections with this number came through.
    pub(super) fn door(&self, number: usize) -> &Door {
        &self.doors[number]
    }

    /// The number of the door whose events carry this token's index.
    pub(super) fn number_of(&self, token: Token) -> Option<usize> {
        let number = token.index.checked_sub(self.first_token)? as usize;
        (number < self.doors.len()).then_some(number)
    }

    /// The numbers of the sockets, for the handler of the master's death.
    pub(super) fn descriptors(&self) -> Vec<RawFd> {
        self.doors.iter().filter_map(|door| door.with(|listener| listener.as_fd().as_raw_fd())).collect()
    }

    /// Watches all doors.
    pub(super) fn watch(&self, epoll: &Epoll) -> io::Result<()> {
        for (number, door) in self.doors.iter().enumerate() {
            let word = self.token(number).to_word();
            door.with(|listener| epoll.add(listener, epoll::READABLE, word)).unwrap_or(Ok(()))?;
        }
        Ok(())
    }

    /// Accepts a connection, if there is one and it is this worker's turn.
    pub(super) fn accept(&self, number: usize, now: u64, may_accept: impl FnOnce() -> bool) -> Accepted {
        if !self.takes_any.load(Relaxed) && !may_accept() {
            return Accepted::Left;
        }
        let Some(result) = self.doors[number].with(Listener::accept) else { return Accepted::Nothing };
        match result {
            Ok((socket, peer)) => {
                self.takes_any.store(false, Relaxed);
                self.last_accept.store(now, Relaxed);
                Accepted::Connection(socket, peer)
            }
            Err(error) => self.judge(&error, now),
        }
    }

    fn judge(&self, error: &io::Error, now: u64) -> Accepted {
        let is_exhausted =
            matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM));
        match error.kind() {
            io::ErrorKind::WouldBlock => {
                self.takes_any.store(false, Relaxed);
                Accepted::Nothing
            }
            // The client gave up before it was accepted, or the like: the next one is another.
            _ if !is_exhausted => Accepted::Nothing,
            _ => {
                if now.saturating_sub(self.last_exhausted.swap(now, Relaxed)) > QUIET_SPELL {
                    let (cause, hint) = (cause(error), remedy(error));
                    error!("cannot accept connections: {cause}; trying again every 100 ms (see {hint})");
                }
                Accepted::Exhausted
            }
        }
    }

    /// Looks away until `until`; those who connect meanwhile are others' or wait.
    pub(super) fn look_away(&self, epoll: &Epoll, until: u64) {
        self.closed_until.store(until, Relaxed);
        self.watch_for(epoll, 0);
    }

    /// Leaves the next connection to a worker that has fewer, for a tick.
    pub(super) fn leave_to_others(&self, epoll: &Epoll, now: u64) {
        self.takes_any.store(true, Relaxed);
        self.look_away(epoll, now + TICK);
    }

    /// There are no descriptors, or no memory, for another connection.
    pub(super) fn rest(&self, epoll: &Epoll, now: u64) {
        self.look_away(epoll, now + OUT_OF_DESCRIPTORS);
    }

    /// Looks again when the time has come, or when there is room again.
    pub(super) fn look_again(&self, epoll: &Epoll, now: u64, has_room: bool) {
        let until = self.closed_until.load(Relaxed);
        let is_time = if until == NEVER { has_room } else { until != 0 && until <= now };
        if is_time && self.is_open() {
            self.closed_until.store(0, Relaxed);
            self.watch_for(epoll, epoll::READABLE);
        }
    }

    /// When to look again; [`NEVER`] where nothing is to be waited for.
    pub(super) fn next_look(&self) -> u64 {
        match self.closed_until.load(Relaxed) {
            0 => NEVER,
            until => until,
        }
    }

    /// Are connections left alone until another one is closed?
    pub(super) fn await_room(&self) -> bool {
        self.closed_until.load(Relaxed) == NEVER
    }

    fn watch_for(&self, epoll: &Epoll, bits: u32) {
        for (number, door) in self.doors.iter().enumerate() {
            let word = self.token(number).to_word();
            // It fails only for a listener that the handler of the master's death has left.
            let _ = door.with(|listener| epoll.modify(listener, bits, word));
        }
    }

    /// Leaves all listeners.
    pub(super) fn leave(&self, epoll: &Epoll) {
        orphan::forget_listeners();
        self.doors.iter().for_each(|door| door.leave(epoll));
        self.is_open.store(false, Release);
    }

    /// Leaves a listener that was shut down: nobody will come through it any more.
    pub(super) fn leave_one(&self, epoll: &Epoll, number: usize) {
        self.doors[number].leave(epoll);
        if self.doors.iter().all(|door| door.with(|_| ()).is_none()) {
            self.leave(epoll);
        }
    }

    /// Are there listeners still?
    pub(super) fn is_open(&self) -> bool {
        self.is_open.load(Acquire)
    }

    /// When, at a stop that began at `start`, nobody can be left in the queues: newcomers are refused since then.
    pub(super) fn quiet_at(&self, start: u64) -> u64 {
        let longest = self.doors.iter().map(|door| door.quiet).max().unwrap_or_default();
        start.max(self.last_accept.load(Relaxed)).saturating_add(nanoseconds(longest))
    }

    fn token(&self, number: usize) -> Token {
        Token { index: self.first_token + number as u32, tenure: 0 }
    }
}

/// Where to look when connections cannot be accepted.
fn remedy(error: &io::Error) -> &'static str {
    match error.raw_os_error() {
        Some(libc::EMFILE) => "LimitNOFILE, ulimit -n",
        Some(libc::ENFILE) => "the sysctl fs.file-max",
        _ => "the memory of the machine, and of its sockets: net.ipv4.tcp_mem",
    }
}

/// What came of an accept.
#[derive(Debug)]
pub(super) enum Accepted {
    /// A connection.
    Connection(OwnedFd, Peer),
    /// Nobody is there (any more).
    Nothing,
    /// It is for a worker with fewer connections.
    Left,
    /// No descriptors, or no memory.
    Exhausted,
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    /// What is made of an error of the kernel.
    fn judge(doors: &Doors, errno: i32, now: u64) -> Accepted {
        doors.judge(&io::Error::from_raw_os_error(errno), now)
    }

    #[test]
    fn whatever_runs_out_the_doors_are_left_alone_for_a_while_and_looked_at_again() {
        let epoll = Epoll::new().expect("an epoll");
        for errno in [libc::EMFILE, libc::ENFILE, libc::ENOBUFS, libc::ENOMEM] {
            let doors = Doors::new(Vec::new(), 0);
            assert!(matches!(judge(&doors, errno, SECOND), Accepted::Exhausted), "{errno}");
            doors.rest(&epoll, SECOND);
            assert_eq!(doors.next_look(), SECOND + OUT_OF_DESCRIPTORS, "{errno}");
            doors.look_again(&epoll, SECOND + OUT_OF_DESCRIPTORS - 1, true);
            assert_ne!(doors.next_look(), NEVER, "{errno}: not yet");
            doors.look_again(&epoll, SECOND + OUT_OF_DESCRIPTORS, true);
            assert_eq!(doors.next_look(), NEVER, "{errno}: they are watched again");
        }
    }

    #[test]
    fn an_exhaustion_is_one_as_long_as_it_comes_again_within_ten_seconds() {
        let doors = Doors::new(Vec::new(), 0);
        let is_new = |now: u64| {
            let before = doors.last_exhausted.load(Relaxed);
            judge(&doors, libc::ENFILE, now);
            now.saturating_sub(before) > QUIET_SPELL
        };
        assert!(is_new(60 * SECOND));
        assert!(!is_new(61 * SECOND) && !is_new(70 * SECOND) && !is_new(79 * SECOND));
        assert!(is_new(90 * SECOND));
    }

    #[test]
    fn a_client_that_gave_up_is_no_exhaustion() {
        for errno in [libc::ECONNABORTED, libc::EPERM, libc::EPROTO, libc::EAGAIN] {
            let accepted = judge(&Doors::new(Vec::new(), 0), errno, SECOND);
            assert!(matches!(accepted, Accepted::Nothing), "{errno}");
        }
    }
}
