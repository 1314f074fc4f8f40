//! Listeners at an internet address.

use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::os::fd::OwnedFd;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::error::{reason, written};
use super::{Address, BindError, Listener, Options, Origin};
use crate::settings::Bind;
use crate::sys::socket::{self, LocalAddress};

/// How newcomers are kept away while a listener is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Refusal {
    /// By a filter, which nobody else notices.
    Filter,
    /// By their hop count, where this user may attach no filter. Every accepted socket has to be freed of that, in
    /// whatever process and at any time, since a process does not know when another has begun to close.
    Hops,
}

/// More than any host sends with, but for a few next door.
const UNREACHABLE_HOPS: u8 = 255;

impl Refusal {
    pub(super) fn begin(self, listener: &OwnedFd, is_v6: bool) -> io::Result<()> {
        match self {
            Refusal::Filter => socket::attach_drop_syn_filter(listener),
            Refusal::Hops => socket::demand_hops(listener, is_v6, UNREACHABLE_HOPS),
        }
    }

    pub(super) fn free(self, accepted: &OwnedFd, is_v6: bool) -> io::Result<()> {
        match self {
            Refusal::Filter => Ok(()),
            Refusal::Hops => socket::demand_hops(accepted, is_v6, 0),
        }
    }
}

/// How long a deferred connection waits for its first byte, in seconds: the kernel's smallest.
const DEFER_SECONDS: u32 = 1;

/// Handshakes that were under way when the filter came are completed in this time.
pub(super) const QUIET: Duration = Duration::from_millis(100);

/// The same where connections were deferred: one that was held back comes when its client's acknowledgement is asked for
/// again, a second later.
pub(super) const QUIET_DEFERRED: Duration = Duration::from_millis(1100);

pub(super) fn open(bind: &Bind, host: &str, port: u16, options: &Options) -> Result<Listener, BindError> {
    let address = resolve(host, port)
        .map_err(|error| BindError::Unresolved { bind: written(bind), cause: reason(&error) })?;
    let (socket, bound) = listen(address, options).map_err(|error| BindError::tcp(bind, &error))?;
    let refusal = if socket::may_attach_filter(&socket) { Refusal::Filter } else { Refusal::Hops };
    let origin = Origin::Tcp { deferred: options.defer_accept, refusal };
    Ok(Listener::new(socket, bind, Address::Tcp(bound), origin))
}

/// Whether `host` is an IPv6 address as such, with or without brackets.
pub(super) fn is_v6_literal(host: &str) -> bool {
    bare(host).parse::<Ipv6Addr>().is_ok()
}

fn bare(host: &str) -> &str {
    host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host)
}

/// One address of the host. A name that has both kinds is bound at its IPv4 address, as by Gunicorn.
fn resolve(host: &str, port: u16) -> io::Result<SocketAddr> {
    if host.is_empty() {
        return Ok(SocketAddr::from(([0, 0, 0, 0], port)));
    }
    if let Ok(ip) = bare(host).parse::<IpAddr>() {
        return Ok(SocketAddr::new(ip, port));
    }
    let addresses: Vec<SocketAddr> = (host, port).to_socket_addrs()?.collect();
    let chosen = addresses.iter().find(|address| address.is_ipv4()).or(addresses.first());
    chosen.copied().ok_or_else(|| io::Error::other("the resolver knows none"))
}

fn listen(address: SocketAddr, options: &Options) -> io::Result<(OwnedFd, SocketAddr)> {
    let socket = socket::tcp_socket(&address)?;
    socket::set_reuse_address(&socket)?;
    if address.is_ipv6() {
        socket::set_v6_only(&socket, options.v6_only)?;
    }
    socket::bind_tcp(&socket, &address)?;
    socket::set_nodelay(&socket)?;
    if options.defer_accept {
        socket::set_defer_accept(&socket, DEFER_SECONDS)?;
    }
    socket::listen(&socket, options.backlog)?;
    match socket::local_address(&socket)? {
        LocalAddress::Internet(bound) => Ok((socket, bound)),
        LocalAddress::Path(_) | LocalAddress::Abstract(_) | LocalAddress::Other => Ok((socket, address)),
    }
}
