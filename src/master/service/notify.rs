//! What the service manager hears (sd_notify): one datagram for each message, over a socket that never blocks.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::process::id as process_id;
use std::time::Duration;

use nix::fcntl::OFlag;
use tracing::{debug, warn};

use crate::sys::process;
use crate::sys::socket::packet;

/// So many messages wait for a manager that does not read; more push out the oldest.
const MOST_WAITING: usize = 16;

/// Speaks to the service manager, when there is one.
#[derive(Debug)]
pub(in crate::master) struct Notifier {
    to: Option<(UnixDatagram, SocketAddr)>,
    /// Messages that found the manager's queue full, oldest first.
    waiting: VecDeque<String>,
    /// It wants a sign of life within so long.
    watchdog: Option<Duration>,
    /// Another process speaks for the service.
    is_muted: bool,
}

impl Notifier {
    /// Takes what the service manager has said out of the environment, so that no child speaks in the master's name.
    pub(in crate::master) fn from_environment() -> Notifier {
        let address = take_variable("NOTIFY_SOCKET");
        let limit = take_variable("WATCHDOG_USEC");
        let watched = take_variable("WATCHDOG_PID");
        let watchdog = watchdog(limit.as_deref(), watched.as_deref(), process_id());
        match address.as_deref().map(connect) {
            None => Notifier::silent(),
            Some(Ok(to)) => Notifier { to: Some(to), watchdog, ..Notifier::silent() },
            Some(Err(error)) => {
                warn!("cannot speak to the service manager at NOTIFY_SOCKET: {error}");
                Notifier::silent()
            }
        }
    }

    /// Has nobody to speak to.
    pub(in crate::master) fn silent() -> Notifier {
        Notifier { to: None, waiting: VecDeque::new(), watchdog: None, is_muted: false }
    }

    /// There is somebody to speak to.
    pub(in crate::master) fn is_heard(&self) -> bool {
        self.to.is_some()
    }

    /// Within so long the service manager wants to hear `WATCHDOG=1`, again and again.
    pub(in crate::master) fn watchdog(&self) -> Option<Duration> {
        self.watchdog
    }

    /// What is sent from now on is dropped; what waits is not.
    pub(in crate::master) fn mute(&mut self) {
        self.is_muted = true;
    }

    /// Speaks again.
    pub(in crate::master) fn unmute(&mut self) {
        self.is_muted = false;
    }

    /// Whether another process speaks.
    pub(in crate::master) fn is_muted(&self) -> bool {
        self.is_muted
    }

    /// Sends `BARRIER=1` behind everything that was sent. What is returned is readable as soon as the manager has read
    /// that; it is `None` when there is nobody to speak to.
    ///
    /// # Errors
    /// `WouldBlock` while something waits: [`flush`](Self::flush), and try again.
    pub(in crate::master) fn barrier(&mut self) -> io::Result<Option<OwnedFd>> {
        let Some((_, address)) = &self.to else {
            return Ok(None);
        };
        if self.is_waiting() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let (read, write) = nix::unistd::pipe2(OFlag::O_CLOEXEC)?;
        // sd_notify(3): the manager closes the descriptor when it has come so far. It has to be alone in its message.
        let socket = UnixDatagram::unbound()?;
        socket.connect_addr(address)?;
        packet::send(&socket, b"BARRIER=1", &[write.as_fd()])?;
        Ok(Some(read))
    }

    /// Sends `message` (lines of `NAME=value`) after those that wait, now or at a later [`flush`](Self::flush).
    pub(in crate::master) fn send(&mut self, message: impl Into<String>) {
        if self.to.is_none() || self.is_muted {
            return;
        }
        if self.waiting.len() == MOST_WAITING {
            self.waiting.pop_front();
        }
        self.waiting.push_back(message.into());
        self.flush();
    }

    /// Sends `message` if that can be done now, after all that waits.
    pub(in crate::master) fn says_now(&mut self, message: &str) -> bool {
        self.flush();
        let is_free = self.waiting.is_empty() && !self.is_muted;
        self.to
            .iter()
            .any(|(socket, address)| is_free && socket.send_to_addr(message.as_bytes(), address).is_ok())
    }

    /// Its own descriptors.
    pub(in crate::master) fn descriptors(&self) -> Vec<RawFd> {
        self.to.iter().map(|(socket, _)| socket.as_raw_fd()).collect()
    }

    /// Sends what waits, as far as the manager takes it.
    pub(in crate::master) fn flush(&mut self) {
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
    pub(in crate::master) fn is_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }
}

fn take_variable(name: &str) -> Option<OsString> {
    let value = std::env::var_os(name);
    process::forget_environment(name);
    value
}

/// What systemd's `WATCHDOG_USEC` asks of this process, unless `WATCHDOG_PID` names another (sd_watchdog_enabled(3)).
fn watchdog(limit: Option<&OsStr>, watched: Option<&OsStr>, own_pid: u32) -> Option<Duration> {
    let is_other = watched.is_some_and(|pid| pid.to_str().and_then(|pid| pid.parse().ok()) != Some(own_pid));
    let microseconds = limit?.to_str()?.parse().ok().filter(|microseconds| *microseconds > 0)?;
    (!is_other).then(|| Duration::from_micros(microseconds))
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
            let mut notifier = Notifier { to: Some(to), ..Notifier::silent() };
            notifier.send("READY=1");
            assert_eq!(read(&manager), "READY=1");
        }
    }

    #[test]
    fn a_watchdog_counts_when_it_is_meant_for_this_process() {
        let asked =
            |limit: &str, pid: Option<&str>| watchdog(Some(OsStr::new(limit)), pid.map(OsStr::new), 77);
        assert_eq!(asked("3000000", None), Some(Duration::from_secs(3)));
        assert_eq!(asked("3000000", Some("77")), Some(Duration::from_secs(3)));
        for (limit, pid) in [("3000000", Some("78")), ("3000000", Some("")), ("0", None), ("soon", None)] {
            assert_eq!(asked(limit, pid), None, "{limit} {pid:?}");
        }
        assert_eq!(watchdog(None, None, 77), None);
    }

    #[test]
    fn a_manager_that_does_not_read_delays_the_newest_messages_and_blocks_nobody() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("notify");
        let manager = UnixDatagram::bind(&path).unwrap();
        let to = connect(path.as_os_str()).unwrap();
        let mut notifier = Notifier { to: Some(to), ..Notifier::silent() };
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
