//! A listening socket: bound or inherited, accepted from, and closed without a reset. It does not know who accepts when,
//! and logs nothing.

use std::fmt::{self, Write};
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::time::Duration;

use arrayvec::ArrayString;
use serde::{Deserialize, Serialize};

use crate::settings::Bind;
use crate::sys::{fd, socket};

mod error;
mod handover;
mod inherited;
mod tcp;
mod unix;

pub(crate) use error::BindError;
pub(crate) use handover::Handed;
pub(crate) use inherited::systemd_listeners;

/// How a listener is opened.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    /// How many connections may wait to be accepted; the kernel cuts it at net.core.somaxconn.
    pub backlog: u32,
    /// On TCP listeners of our own: accept a connection only when its request has begun to come, or after a second.
    pub defer_accept: bool,
    /// Permission bits that a unix socket does not get. `None`: as with 0, anybody may connect, which is Gunicorn's
    /// default and what a proxy under another user needs.
    pub umask: Option<u32>,
    /// User and group that a unix socket is given to.
    pub owner: Option<(u32, u32)>,
    /// An IPv6 listener leaves IPv4 peers to others; see [`needs_v6_only`].
    pub v6_only: bool,
}

impl Default for Options {
    fn default() -> Options {
        Options { backlog: 2048, defer_accept: false, umask: None, owner: None, v6_only: false }
    }
}

/// Whether `bind` has to be opened with [`Options::v6_only`], so that it goes together with another of `all`.
///
/// `[::]:80` alone serves IPv4 peers too (the kernel's default, and Gunicorn's); beside `0.0.0.0:80` it would be refused
/// as a used address, or take it away, by the order in which they stand.
pub(crate) fn needs_v6_only(bind: &Bind, all: &[Bind]) -> bool {
    let Bind::Tcp { host, port } = bind else {
        return false;
    };
    tcp::is_v6_literal(host)
        && all.iter().any(|other| {
            matches!(other, Bind::Tcp { host, port: its } if its == port && !tcp::is_v6_literal(host))
        })
}

/// A listening socket. It is closed when dropped, and nothing else: a path is unlinked by [`Listener::unlink`], since a
/// forked child drops its copy too.
#[derive(Debug)]
pub(crate) struct Listener {
    /// Non-blocking, close-on-exec.
    socket: OwnedFd,
    /// What was asked for.
    bind: Bind,
    /// What became of it: a port 0 is a real port here.
    address: Address,
    /// The address as a request's server address, made once.
    server_host: String,
    /// Whose it is and what has to be undone at the end.
    origin: Origin,
}

/// Where a listener comes from. The next binary of the server reads it in [`Handed`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Origin {
    /// Bound by this server; whether TCP_DEFER_ACCEPT is on, and how it will be closed.
    Tcp { deferred: bool, refusal: tcp::Refusal },
    /// Bound by this server, at a path.
    Unix(unix::Entry),
    /// Bound by this server, in the abstract namespace.
    Abstract,
    /// Somebody else's, who may go on using it.
    Inherited,
}

/// Where a listener listens, as Gunicorn prints it: `http://127.0.0.1:8000`, `http://[::1]:80`, `unix:/run/x.sock`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Address {
    /// IPv4 or IPv6.
    Tcp(SocketAddr),
    /// A path; `@name` for the abstract namespace.
    Unix(PathBuf),
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Tcp(address) => write!(f, "http://{address}"),
            Address::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl Listener {
    /// Binds and listens, or takes over the descriptor that `bind` names.
    ///
    /// A host name is resolved here; its first IPv4 address is used, or else its first one.
    pub(crate) fn open(bind: &Bind, options: &Options) -> Result<Listener, BindError> {
        match bind {
            Bind::Tcp { host, port } => tcp::open(bind, host, *port, options),
            Bind::Unix(path) => unix::open(bind, path, options),
            Bind::Fd(number) => {
                let socket = fd::inherit(*number).map_err(|error| BindError::descriptor(bind, &error))?;
                Listener::adopt(socket, bind.clone())
            }
        }
    }

    /// Takes over a socket that somebody else bound: it has to be a listening stream socket. It is made non-blocking for
    /// everybody who has it.
    pub(crate) fn adopt(socket: OwnedFd, bind: Bind) -> Result<Listener, BindError> {
        inherited::adopt(socket, bind)
    }

    fn new(socket: OwnedFd, bind: &Bind, address: Address, origin: Origin) -> Listener {
        let server_host = match &address {
            Address::Tcp(address) => address.ip().to_string(),
            Address::Unix(path) => path.display().to_string(),
        };
        Listener { socket, bind: bind.clone(), address, server_host, origin }
    }

    /// What was asked for.
    pub(crate) fn bind(&self) -> &Bind {
        &self.bind
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> &Address {
        &self.address
    }

    /// Address without the port, and port, as text for a request; for a unix socket its path and 0.
    pub(crate) fn server_address(&self) -> (&str, u16) {
        let port = match &self.address {
            Address::Tcp(address) => address.port(),
            Address::Unix(_) => 0,
        };
        (&self.server_host, port)
    }

    /// Whether somebody else bound it: it is never filtered, deferred or unlinked then.
    pub(crate) fn is_inherited(&self) -> bool {
        self.origin == Origin::Inherited
    }

    /// How long the queue has to have been empty after [`Listener::refuse_newcomers`] until closing resets nobody. An
    /// inherited listener is not closed for everybody, only left: no time at all.
    pub(crate) fn quiet_before_close(&self) -> Duration {
        match self.origin {
            Origin::Tcp { deferred: true, .. } => tcp::QUIET_DEFERRED,
            Origin::Tcp { deferred: false, .. } => tcp::QUIET,
            Origin::Unix(_) | Origin::Abstract => unix::QUIET,
            Origin::Inherited => Duration::ZERO,
        }
    }

    /// Takes one connection off the queue: non-blocking, close-on-exec.
    ///
    /// # Errors
    /// `WouldBlock` when the queue is empty; EMFILE, ENFILE, ENOMEM when there is no room for another connection, which
    /// stays in the queue.
    pub(crate) fn accept(&self) -> io::Result<(OwnedFd, Peer)> {
        let (socket, address) = socket::accept4(&self.socket)?;
        if let Origin::Tcp { refusal, .. } = &self.origin {
            refusal.free(&socket, self.is_v6())?;
        }
        Ok((socket, Peer::new(address)))
    }

    /// The first step of closing: nobody new gets in, and whoever has connected is still to be accepted, until the queue
    /// has been empty for [`Listener::quiet_before_close`].
    ///
    /// It goes for all processes that have this socket, so only when this server is its only user; an inherited one is
    /// left alone. In the process that opened it, the master: a worker may have given up the right to.
    pub(crate) fn refuse_newcomers(&self) -> io::Result<()> {
        match &self.origin {
            Origin::Tcp { deferred, refusal } => {
                refusal.begin(&self.socket, self.is_v6())?;
                if *deferred { socket::set_defer_accept(&self.socket, 0) } else { Ok(()) }
            }
            Origin::Unix(entry) => entry.unlink(),
            Origin::Abstract | Origin::Inherited => Ok(()),
        }
    }

    fn is_v6(&self) -> bool {
        matches!(self.address, Address::Tcp(SocketAddr::V6(_)))
    }

    /// Removes the path of a unix socket that this server bound, if it still is that very socket. For a master that stops
    /// and leaves the socket to nobody.
    pub(crate) fn unlink(&self) -> io::Result<()> {
        match &self.origin {
            Origin::Unix(entry) => entry.unlink(),
            Origin::Tcp { .. } | Origin::Abstract | Origin::Inherited => Ok(()),
        }
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// The longest text of an address: an IPv6 one in full.
const ADDRESS_TEXT: usize = 45;

/// Who connected. Its text is made once, without an allocation.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Peer {
    /// `None` for a unix socket.
    address: Option<SocketAddr>,
    text: ArrayString<ADDRESS_TEXT>,
}

impl Peer {
    /// A peer at this address. One that reached an IPv6 listener over IPv4 is shown as the IPv4 address that it is.
    pub(crate) fn new(address: Option<SocketAddr>) -> Peer {
        let address = address.map(|address| SocketAddr::new(address.ip().to_canonical(), address.port()));
        let mut text = ArrayString::new();
        if let Some(address) = address {
            // No address is longer than the text.
            let _ = write!(text, "{}", address.ip());
        }
        Peer { address, text }
    }

    /// The address as text, without the port; empty for a unix socket.
    pub(crate) fn address(&self) -> &str {
        &self.text
    }

    /// The port; 0 for a unix socket.
    pub(crate) fn port(&self) -> u16 {
        self.address.map_or(0, |address| address.port())
    }
}

#[cfg(test)]
mod tests;
