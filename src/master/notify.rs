//! What the service manager hears (sd_notify): one datagram for each message, over a socket that never blocks.

use std::collections::VecDeque;
use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

use tracing::{debug, warn};

use crate::sys::process;

/// So many messages wait for a manager that does not read; more push out the oldest.
const MOST_WAITING: usize = 16;

/// Speaks to the service manager, when there is one.
#[derive(Debug)]
pub(super) struct Notifier {
    to: Option<(UnixDatagram, SocketAddr)>,
    /// Messages that found the manager's queue full, oldest first.
    waiting: VecDeque<String>,
}

impl Notifier {
    /// Takes `NOTIFY_SOCKET` out of the environment, so that no child speaks in the master's name.
    pub(super) fn from_environment() -> Notifier {
        let address = std::env::var_os("NOTIFY_SOCKET");
        process::forget_environment("NOTIFY_SOCKET");
        match address.as_deref().map(connect) {
            None => Notifier::silent(),
            Some(Ok(to)) => Notifier { to: Some(to), waiting: VecDeque::new() },
            Some(Err(error)) => {
                warn!("cannot speak to the service manager at NOTIFY_SOCKET: {error}");
                Notifier::silent()
            }
        }
    }

    /// Has nobody to speak to.
    pub(super) fn silent() -> Notifier {
        Notifier { to: None, waiting: VecDeque::new() }
    }

    /// Sends `message` (lines of `NAME=value`) after those that wait, now or at a later [`flush`](Self::flush).
    pub(super) fn send(&mut self, message: impl Into<String>) {
        if self.to.is_none() {
            return;
        }
        if self.waiting.len() == MOST_WAITING {
            self.waiting.pop_front();
        }
        self.waiting.push_back(message.into());
        self.flush();
    }

    /// Sends what waits, as far as the manager takes it.
    pub(super) fn flush(&mut self) {
        let Some((socket, address)) = &self.to else {
            return;
        };
        while let Some(message) = self.waiting.front() {
            match socket.send_to_addr(message.as_bytes(), address) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) => debug!("the service manager does not listen: {error}"),
                Ok(_) => {}
            }
            self.waiting.pop_front();
        }
    }

    /// True when something waits for a [`flush`](Self::flush).
    pub(super) fn is_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }
}

fn connect(name: &OsStr) -> io::Result<(UnixDatagram, SocketAddr)> {
    let address = match name.as_bytes() {
        [b'@', rest @ ..] => SocketAddr::from_abstract_name(rest)?,
        _ => SocketAddr::from_pathname(name)?,
    };
    let socket = UnixDatagram::unbound()?;
    socket.set_nonblocking(true)?;
    Ok((socket, address))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(socket: &UnixDatagram) -> String {
        let mut buffer = [0; 256];
        let n = socket.recv(&mut buffer).unwrap();
        String::from_utf8(buffer[..n].to_vec()).unwrap()
    }

    #[test]
    fn a_manager_at_a_path_or_an_abstract_name_is_heard() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("notify");
        let abstract_name = format!("unirs-notify-test-{}", std::process::id());
        let at_path = UnixDatagram::bind(&path).unwrap();
        let address = SocketAddr::from_abstract_name(&abstract_name).unwrap();
        let at_name = UnixDatagram::bind_addr(&address).unwrap();
        for (name, manager) in
            [(path.to_str().unwrap().to_owned(), at_path), (format!("@{abstract_name}"), at_name)]
        {
            let to = connect(OsStr::new(&name)).unwrap();
            let mut notifier = Notifier { to: Some(to), waiting: VecDeque::new() };
            notifier.send("READY=1");
            assert_eq!(read(&manager), "READY=1");
        }
    }

    #[test]
    fn a_manager_that_does_not_read_delays_the_newest_messages_and_blocks_nobody() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("notify");
        let manager = UnixDatagram::bind(&path).unwrap();
        let to = connect(path.as_os_str()).unwrap();
        let mut notifier = Notifier { to: Some(to), waiting: VecDeque::new() };
        let mut sent = 0;
        while !notifier.is_waiting() {
            notifier.send(format!("STATUS={sent}"));
            sent += 1;
        }
        for _ in 0..sent - 1 {
            read(&manager);
        }
        notifier.flush();
        assert!(!notifier.is_waiting());
        assert_eq!(read(&manager), format!("STATUS={}", sent - 1));
    }
}
