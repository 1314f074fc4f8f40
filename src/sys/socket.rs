//! Sockets, one system call at a time: no buffers, no protocol, no policy.
//!
//! Everything here is non-blocking and close-on-exec from birth, and retries a call that a signal interrupted.

use std::io::{self, IoSlice};
use std::mem::{self, MaybeUninit};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use libc::{c_int, c_void, sockaddr_storage, socklen_t};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::socket::{
    self as net, AddressFamily, MsgFlags, Shutdown, SockFlag, SockType, SockaddrStorage, UnixAddr, sockopt,
};
use nix::sys::time::TimeSpec;
use nix::unistd::Pid;

mod newcomers;
pub(crate) mod packet;

pub(crate) use newcomers::{attach_drop_syn_filter, demand_hops, may_attach_filter};

/// Takes one connection off the listener's queue. The socket is non-blocking and close-on-exec; the address is `None`
/// for a peer that has none (unix sockets).
///
/// # Errors
/// `WouldBlock` when the queue is empty. A connection that was reset while it waited is passed over.
pub(crate) fn accept4(listener: impl AsFd) -> io::Result<(OwnedFd, Option<SocketAddr>)> {
    let listener = listener.as_fd();
    let mut address = MaybeUninit::<sockaddr_storage>::zeroed();
    loop {
        let mut length = size::<sockaddr_storage>();
        // SAFETY: the kernel writes at most `length` bytes to `address`, which is that large; both outlive the call.
        let raw = unsafe {
            libc::accept4(
                listener.as_raw_fd(),
                address.as_mut_ptr().cast(),
                &mut length,
                libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC,
            )
        };
        match Errno::result(raw) {
            Err(Errno::EINTR | Errno::ECONNABORTED) => continue,
            Err(error) => return Err(error.into()),
            Ok(raw) => {
                // SAFETY: accept4 has just made this descriptor, so nobody else owns it.
                let socket = unsafe { OwnedFd::from_raw_fd(raw) };
                return Ok((socket, internet_address(&address)));
            }
        }
    }
}

/// The address in `storage` if it is an IPv4 or IPv6 one. The storage was zeroed before the kernel wrote to it.
fn internet_address(storage: &MaybeUninit<sockaddr_storage>) -> Option<SocketAddr> {
    // SAFETY: all bytes are initialised (zeroed, then written by the kernel), and any bytes make a sockaddr_storage.
    let storage = unsafe { storage.assume_init_ref() };
    let pointer: *const sockaddr_storage = storage;
    match c_int::from(storage.ss_family) {
        libc::AF_INET => {
            // SAFETY: the storage is larger than a sockaddr_in, aligned for it, and its family says that it holds one.
            let v4 = unsafe { pointer.cast::<libc::sockaddr_in>().read() };
            let ip = Ipv4Addr::from(u32::from_be(v4.sin_addr.s_addr));
            Some(SocketAddrV4::new(ip, u16::from_be(v4.sin_port)).into())
        }
        libc::AF_INET6 => {
            // SAFETY: as above, for a sockaddr_in6.
            let v6 = unsafe { pointer.cast::<libc::sockaddr_in6>().read() };
            let ip = Ipv6Addr::from(v6.sin6_addr.s6_addr);
            let port = u16::from_be(v6.sin6_port);
            Some(SocketAddrV6::new(ip, port, v6.sin6_flowinfo, v6.sin6_scope_id).into())
        }
        _ => None,
    }
}

/// Receives what is there, without waiting. 0: the peer has finished sending (or `buffer` is empty).
///
/// # Errors
/// `WouldBlock` when nothing is there; `ConnectionReset` and its kind when the connection is dead.
#[inline]
pub(crate) fn recv(socket: impl AsFd, buffer: &mut [u8]) -> io::Result<usize> {
    let raw = socket.as_fd().as_raw_fd();
    retry(|| net::recv(raw, buffer, MsgFlags::MSG_DONTWAIT))
}

/// Sends what fits, without waiting and without SIGPIPE. `more`: another send follows at once, so a small segment may
/// be kept back for it.
///
/// # Errors
/// `WouldBlock` when nothing fits; `BrokenPipe`, `ConnectionReset` when the peer is gone.
#[inline]
pub(crate) fn send(socket: impl AsFd, bytes: &[u8], more: bool) -> io::Result<usize> {
    let raw = socket.as_fd().as_raw_fd();
    retry(|| net::send(raw, bytes, send_flags(more)))
}

/// As [`send`], for several slices in one call. At most 1024 of them (IOV_MAX), else `InvalidInput`.
#[inline]
pub(crate) fn send_vectored(socket: impl AsFd, slices: &[IoSlice<'_>], more: bool) -> io::Result<usize> {
    let raw = socket.as_fd().as_raw_fd();
    retry(|| net::sendmsg::<()>(raw, slices, &[], send_flags(more), None))
}

fn send_flags(more: bool) -> MsgFlags {
    let flags = MsgFlags::MSG_NOSIGNAL | MsgFlags::MSG_DONTWAIT;
    let more = if more { libc::MSG_MORE } else { 0 };
    flags | MsgFlags::from_bits_retain(more)
}

/// Sends up to `length` bytes of `file` from `offset`, and moves `offset` past what was sent. 0: the file ends there.
///
/// The socket has to be non-blocking by its own flag, and the process has to ignore SIGPIPE: sendfile(2) takes no flag
/// for either.
pub(crate) fn sendfile(
    socket: impl AsFd,
    file: impl AsFd,
    offset: &mut u64,
    length: usize,
) -> io::Result<usize> {
    let mut position = i64::try_from(*offset).map_err(|_| Errno::EOVERFLOW)?;
    let (socket, file) = (socket.as_fd().as_raw_fd(), file.as_fd().as_raw_fd());
    let sent = retry(|| {
        // SAFETY: both descriptors are borrowed over the call, and `position` is a live off_t.
        Errno::result(unsafe { libc::sendfile(socket, file, &mut position, length) })
    })?;
    *offset = position.unsigned_abs();
    Ok(sent.unsigned_abs())
}

/// Tells the peer that nothing more will be sent; receiving goes on.
pub(crate) fn shutdown_write(socket: impl AsFd) -> io::Result<()> {
    Ok(net::shutdown(socket.as_fd().as_raw_fd(), Shutdown::Write)?)
}

/// When the last descriptor of it is closed, the other side sees a reset and not an end.
pub(crate) fn reset_at_close(socket: impl AsFd) -> io::Result<()> {
    let at_once = libc::linger { l_onoff: 1, l_linger: 0 };
    Ok(net::setsockopt(&socket.as_fd(), sockopt::Linger, &at_once)?)
}

/// Ends both directions, for every process that has the socket.
pub(crate) fn shutdown_both(socket: impl AsFd) -> io::Result<()> {
    Ok(net::shutdown(socket.as_fd().as_raw_fd(), Shutdown::Both)?)
}

/// Waits until the socket is readable (or at its end, or broken). False: `timeout` passed first; `None` is for ever.
pub(crate) fn wait_readable(socket: impl AsFd, timeout: Option<Duration>) -> io::Result<bool> {
    wait(socket, PollFlags::POLLIN, timeout)
}

/// Waits until the socket takes bytes (or is broken). False: `timeout` passed first; `None` is for ever.
pub(crate) fn wait_writable(socket: impl AsFd, timeout: Option<Duration>) -> io::Result<bool> {
    wait(socket, PollFlags::POLLOUT, timeout)
}

fn wait(socket: impl AsFd, events: PollFlags, timeout: Option<Duration>) -> io::Result<bool> {
    let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
    loop {
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        let mut fds = [PollFd::new(socket.as_fd(), events)];
        match ppoll(&mut fds, left.map(TimeSpec::from_duration), None) {
            Err(Errno::EINTR) => continue,
            other => return Ok(other? > 0),
        }
    }
}

/// Whether the peer has closed its end or the connection is dead. It looks, and takes nothing off the stream.
///
/// A client that only half-closed after its request counts as gone too: TCP does not tell the two apart.
pub(crate) fn peer_gone(socket: impl AsFd) -> bool {
    let half_closed = PollFlags::from_bits_retain(libc::POLLRDHUP);
    let mut fds = [PollFd::new(socket.as_fd(), half_closed)];
    matches!(ppoll(&mut fds, Some(TimeSpec::from_duration(Duration::ZERO)), None), Ok(n) if n > 0)
}

/// The process that made a connected pair of unix sockets, as the kernel has noted it; `None`: in another pid namespace.
pub(crate) fn maker_of_pair(socket: impl AsFd) -> io::Result<Option<Pid>> {
    let pid = net::getsockopt(&socket.as_fd(), sockopt::PeerCredentials)?.pid();
    Ok((pid > 0).then(|| Pid::from_raw(pid)))
}

/// A stream socket of the family of `address`.
pub(crate) fn tcp_socket(address: &SocketAddr) -> io::Result<OwnedFd> {
    let family = if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    Ok(net::socket(family, SockType::Stream, born(), None)?)
}

/// A unix stream socket.
pub(crate) fn unix_socket() -> io::Result<OwnedFd> {
    Ok(net::socket(AddressFamily::Unix, SockType::Stream, born(), None)?)
}

/// Two unix sockets joined to each other, which keep the bounds of messages and know when the other end is closed.
pub(crate) fn seqpacket_pair() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(net::socketpair(AddressFamily::Unix, SockType::SeqPacket, None, born())?)
}

fn born() -> SockFlag {
    SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK
}

/// Binds to an internet address; port 0 is any free one.
pub(crate) fn bind_tcp(socket: impl AsFd, address: &SocketAddr) -> io::Result<()> {
    Ok(net::bind(socket.as_fd().as_raw_fd(), &SockaddrStorage::from(*address))?)
}

/// Binds to a path, which must not exist yet. At most 107 bytes, else `InvalidFilename` (ENAMETOOLONG).
pub(crate) fn bind_unix(socket: impl AsFd, path: &Path) -> io::Result<()> {
    Ok(net::bind(socket.as_fd().as_raw_fd(), &UnixAddr::new(path)?)?)
}

/// Binds to a name of Linux's abstract namespace, which is gone with its last socket.
pub(crate) fn bind_abstract(socket: impl AsFd, name: &[u8]) -> io::Result<()> {
    Ok(net::bind(socket.as_fd().as_raw_fd(), &UnixAddr::new_abstract(name)?)?)
}

/// Connects to a path without waiting. `WouldBlock` means that a listener is there and its queue is full.
pub(crate) fn connect_unix(socket: impl AsFd, path: &Path) -> io::Result<()> {
    let address = UnixAddr::new(path)?;
    retry(|| net::connect(socket.as_fd().as_raw_fd(), &address))
}

/// Starts listening, or changes the backlog of a listener. The kernel cuts `backlog` at net.core.somaxconn.
pub(crate) fn listen(socket: impl AsFd, backlog: u32) -> io::Result<()> {
    let backlog = c_int::try_from(backlog).unwrap_or(c_int::MAX);
    // SAFETY: no pointers; the descriptor is open for as long as it is borrowed.
    let result = unsafe { libc::listen(socket.as_fd().as_raw_fd(), backlog) };
    Errno::result(result)?;
    Ok(())
}

/// Lets a listener take an address whose old connections still linger in TIME_WAIT.
pub(crate) fn set_reuse_address(socket: impl AsFd) -> io::Result<()> {
    Ok(net::setsockopt(&socket.as_fd(), sockopt::ReuseAddr, &true)?)
}

/// Sends small segments at once. Accepted sockets inherit it from their listener.
pub(crate) fn set_nodelay(socket: impl AsFd) -> io::Result<()> {
    Ok(net::setsockopt(&socket.as_fd(), sockopt::TcpNoDelay, &true)?)
}

/// Whether an IPv6 socket leaves IPv4 peers alone. Has to be said before the bind.
pub(crate) fn set_v6_only(socket: impl AsFd, only: bool) -> io::Result<()> {
    Ok(net::setsockopt(&socket.as_fd(), sockopt::Ipv6V6Only, &only)?)
}

/// A listener with it shows a connection only when its first bytes have come, or about `seconds` have passed (0: off).
pub(crate) fn set_defer_accept(listener: impl AsFd, seconds: u32) -> io::Result<()> {
    let seconds = c_int::try_from(seconds).unwrap_or(c_int::MAX);
    set_option(listener, libc::IPPROTO_TCP, libc::TCP_DEFER_ACCEPT, &seconds)
}

/// Sets an option whose value is a plain C `int` or struct, as the caller knows from the option's manual.
fn set_option<T: Copy>(socket: impl AsFd, level: c_int, name: c_int, value: &T) -> io::Result<()> {
    let value: *const T = value;
    // SAFETY: the kernel reads `size_of::<T>()` bytes of a live T, and, for a filter, the program that it points to,
    // which the only caller with one keeps alive over this call.
    let result = unsafe {
        libc::setsockopt(socket.as_fd().as_raw_fd(), level, name, value.cast::<c_void>(), size::<T>())
    };
    Errno::result(result)?;
    Ok(())
}

/// Whether it is a stream socket on which listen(2) was called. `NotASocket` (ENOTSOCK) for anything else than a socket.
pub(crate) fn is_listening(socket: impl AsFd) -> io::Result<bool> {
    let socket = socket.as_fd();
    let stream = net::getsockopt(&socket, sockopt::SockType)? == SockType::Stream;
    Ok(stream && net::getsockopt(&socket, sockopt::AcceptConn)?)
}

/// What a socket is bound to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum LocalAddress {
    /// IPv4 or IPv6.
    Internet(SocketAddr),
    /// The path that was given at the bind: a rename since then does not show.
    Path(PathBuf),
    /// A name of the abstract namespace.
    Abstract(Vec<u8>),
    /// A unix socket without a name, or another family altogether.
    Other,
}

/// What the socket is bound to.
pub(crate) fn local_address(socket: impl AsFd) -> io::Result<LocalAddress> {
    let name: SockaddrStorage = net::getsockname(socket.as_fd().as_raw_fd())?;
    if let Some(v4) = name.as_sockaddr_in() {
        return Ok(LocalAddress::Internet(SocketAddrV4::from(*v4).into()));
    }
    if let Some(v6) = name.as_sockaddr_in6() {
        return Ok(LocalAddress::Internet(SocketAddrV6::from(*v6).into()));
    }
    let unix = name.as_unix_addr();
    let path = unix.and_then(|unix| unix.path()).map(|path| LocalAddress::Path(path.into()));
    let name = unix.and_then(|unix| unix.as_abstract()).map(|name| LocalAddress::Abstract(name.into()));
    Ok(path.or(name).unwrap_or(LocalAddress::Other))
}

fn size<T>() -> socklen_t {
    mem::size_of::<T>() as socklen_t
}

#[inline]
fn retry<T>(mut call: impl FnMut() -> nix::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(Errno::EINTR) => continue,
            other => return Ok(other?),
        }
    }
}

#[cfg(test)]
mod tests;
