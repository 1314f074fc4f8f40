//! Listeners that somebody else has bound: descriptors by number, and systemd's.

use std::io;
use std::ops::Range;
use std::os::fd::{OwnedFd, RawFd};
use std::path::PathBuf;

use super::error::{reason, written};
use super::{Address, BindError, Listener, Origin};
use crate::settings::Bind;
use crate::sys::fd;
use crate::sys::socket::{self, LocalAddress};

/// sd_listen_fds(3): the first descriptor that systemd passes.
const FIRST: RawFd = 3;

/// More sockets than anybody passes; a larger number is a mistake.
const MOST: RawFd = 1024;

pub(super) fn adopt(socket: OwnedFd, bind: Bind) -> Result<Listener, BindError> {
    let unusable = |what: &str| BindError::Unusable { bind: written(&bind), what: what.to_owned() };
    match socket::is_listening(&socket) {
        Ok(true) => {}
        Ok(false) => return Err(unusable("it is not a listening stream socket")),
        Err(error) if error.raw_os_error() == Some(libc::ENOTSOCK) => {
            return Err(unusable("it is not a socket"));
        }
        Err(error) => return Err(unusable(&reason(&error))),
    }
    let address = prepare(&socket).map_err(|error| unusable(&reason(&error)))?;
    let address = address.ok_or_else(|| unusable("it is neither an internet nor a unix socket"))?;
    Ok(Listener::new(socket, &bind, address, Origin::Inherited))
}

/// Makes it as our own are, and says where it listens. `None`: a family that is not served.
fn prepare(socket: &OwnedFd) -> io::Result<Option<Address>> {
    fd::set_cloexec(socket, true)?;
    fd::set_nonblocking(socket)?;
    Ok(match socket::local_address(socket)? {
        LocalAddress::Internet(address) => {
            socket::set_nodelay(socket)?;
            Some(Address::Tcp(address))
        }
        LocalAddress::Path(path) => Some(Address::Unix(path)),
        LocalAddress::Abstract(name) => {
            Some(Address::Unix(PathBuf::from(format!("@{}", String::from_utf8_lossy(&name)))))
        }
        LocalAddress::Other => None,
    })
}

/// The sockets that systemd has passed to this very process, by the values of LISTEN_PID and LISTEN_FDS and our own pid.
/// None, when they are unset or meant for another process. Each is close-on-exec now, so a second call finds none.
///
/// # Errors
/// When a descriptor that was promised is not there.
pub(crate) fn systemd_listeners(
    listen_pid: Option<&str>,
    listen_fds: Option<&str>,
    pid: u32,
) -> io::Result<Vec<OwnedFd>> {
    promised(listen_pid, listen_fds, pid).map(fd::inherit).collect()
}

/// The numbers of the descriptors that the two variables promise to process `pid`.
pub(super) fn promised(listen_pid: Option<&str>, listen_fds: Option<&str>, pid: u32) -> Range<RawFd> {
    let ours = listen_pid.and_then(|value| value.parse::<u32>().ok()) == Some(pid);
    let count = listen_fds.and_then(|value| value.parse::<RawFd>().ok()).unwrap_or(0);
    let count = if ours { count.clamp(0, MOST) } else { 0 };
    FIRST..FIRST + count
}
