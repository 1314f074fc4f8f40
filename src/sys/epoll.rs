//! epoll: which descriptors are ready.

use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};

/// Bytes, or the end, can be read.
pub(crate) const READABLE: u32 = libc::EPOLLIN as u32;
/// Bytes can be written.
pub(crate) const WRITABLE: u32 = libc::EPOLLOUT as u32;
/// The other side has closed its half, or the connection broke.
pub(crate) const HUNG_UP: u32 = (libc::EPOLLRDHUP | libc::EPOLLHUP | libc::EPOLLERR) as u32;
/// Told once for each change, not as long as it lasts.
pub(crate) const EDGE: u32 = libc::EPOLLET as u32;

/// What happened to a descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Readiness {
    /// The bits above.
    pub bits: u32,
    /// As given when the descriptor was added.
    pub token: u64,
}

/// A set of watched descriptors.
#[derive(Debug)]
pub(crate) struct Epoll(OwnedFd);

impl Epoll {
    /// An empty set.
    pub(crate) fn new() -> io::Result<Epoll> {
        // SAFETY: no memory is passed.
        let descriptor = check(unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) })?;
        // SAFETY: the kernel has just made it, and nobody else knows it.
        Ok(Epoll(unsafe { OwnedFd::from_raw_fd(descriptor) }))
    }

    /// Watches `descriptor` for `bits` (of [`HUNG_UP`], only what the kernel does not always tell).
    pub(crate) fn add(&self, descriptor: impl AsFd, bits: u32, token: u64) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_ADD, descriptor.as_fd().as_raw_fd(), bits, token)
    }

    /// Watches a watched descriptor for other bits; none at all: only for a hang-up.
    pub(crate) fn modify(&self, descriptor: impl AsFd, bits: u32, token: u64) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_MOD, descriptor.as_fd().as_raw_fd(), bits, token)
    }

    /// Stops watching.
    pub(crate) fn remove(&self, descriptor: impl AsFd) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_DEL, descriptor.as_fd().as_raw_fd(), 0, 0)
    }

    fn control(&self, operation: i32, descriptor: RawFd, bits: u32, token: u64) -> io::Result<()> {
        let mut event = libc::epoll_event { events: bits, u64: token };
        // SAFETY: `event` is read during the call only.
        check(unsafe { libc::epoll_ctl(self.0.as_raw_fd(), operation, descriptor, &raw mut event) }).map(drop)
    }

    /// Waits until something is ready, or for `timeout_ms` (-1: for ever), or a signal; returns what is ready.
    pub(crate) fn wait<'r>(
        &self,
        room: &'r mut Room,
        timeout_ms: i32,
    ) -> impl Iterator<Item = Readiness> + 'r {
        let capacity = i32::try_from(room.0.len()).unwrap_or(i32::MAX);
        // SAFETY: the room holds `capacity` events, and the kernel writes at most so many.
        let ready =
            unsafe { libc::epoll_wait(self.0.as_raw_fd(), room.0.as_mut_ptr(), capacity, timeout_ms) };
        let ready = usize::try_from(ready).unwrap_or(0); // -1 is EINTR: nothing is ready yet
        room.0[..ready].iter().map(|event| Readiness { bits: event.events, token: event.u64 })
    }

    /// Is something ready that nobody has fetched?
    pub(crate) fn is_ready(&self) -> bool {
        let mut poll = libc::pollfd { fd: self.0.as_raw_fd(), events: libc::POLLIN, revents: 0 };
        // SAFETY: one pollfd, which outlives the call.
        unsafe { libc::poll(&raw mut poll, 1, 0) > 0 }
    }

    /// Its number, for a signal handler.
    pub(crate) fn as_raw(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

/// Room for what one wait returns.
#[derive(Debug)]
pub(crate) struct Room(Vec<libc::epoll_event>);

impl Room {
    /// Room for `capacity` events.
    pub(crate) fn new(capacity: usize) -> Room {
        Room(vec![libc::epoll_event { events: 0, u64: 0 }; capacity])
    }
}

fn check(result: i32) -> io::Result<i32> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}
