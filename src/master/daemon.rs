//! Daemon mode: two forks, a session of its own, and a pipe through which the starter learns whether the server came up.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;

use nix::fcntl::OFlag;

use crate::sys::process::{self, Fork};

/// What [`daemonize`] has made of this process.
#[derive(Debug)]
pub(super) enum Daemonized {
    /// The process that the operator started; it has waited for the outcome and leaves with this code.
    Starter(u8),
    /// The daemon.
    Daemon(Starter),
}

/// The daemon's line to the process that started it.
#[derive(Debug)]
pub(super) struct Starter(File);

/// Forks twice, so that the daemon is no session leader and never gets a terminal. The starter waits, without a limit of
/// its own: booting is bounded by the daemon.
///
/// Standard input, output and error of the daemon are `/dev/null` at once, as Gunicorn's are: a starter whose output is
/// a pipe would otherwise be waited for as long as the server lives. What an operator has to know comes by the pipe.
pub(super) fn daemonize() -> io::Result<Daemonized> {
    let (read, write) = nix::unistd::pipe2(OFlag::O_CLOEXEC)?;
    match process::fork()? {
        Fork::Parent(middle) => {
            drop(write);
            process::wait_for(middle)?;
            Ok(Daemonized::Starter(outcome(read)))
        }
        Fork::Child => {
            drop(read);
            let mut starter = Starter(File::from(write));
            match leave_the_terminal() {
                Ok(()) => Ok(Daemonized::Daemon(starter)),
                Err(error) => {
                    starter.tell(1, &format!("cannot become a daemon: {error}"));
                    process::exit_now(1)
                }
            }
        }
    }
}

fn leave_the_terminal() -> io::Result<()> {
    process::new_session()?;
    if let Fork::Parent(_) = process::fork()? {
        process::exit_now(0);
    }
    process::replace_stdio(OpenOptions::new().read(true).write(true).open("/dev/null")?)
}

impl Starter {
    /// The server is up: the starter leaves with 0.
    pub(super) fn came_up(mut self) {
        self.tell(0, "");
    }

    /// The server did not come up: the starter says why and leaves with `code`.
    pub(super) fn failed(mut self, code: u8, reason: &str) {
        self.tell(code, reason);
    }

    fn tell(&mut self, code: u8, reason: &str) {
        let mut message = vec![code];
        message.extend_from_slice(reason.as_bytes());
        // The starter may have been killed; then nobody is left who wants to know.
        let _gone = self.0.write_all(&message);
    }
}

/// Waits for the daemon's word; a daemon that died without one failed.
fn outcome(pipe: OwnedFd) -> u8 {
    let mut message = Vec::new();
    let read = File::from(pipe).read_to_end(&mut message);
    let (code, reason) = match (read, message.split_first()) {
        (Ok(_), Some((&0, _))) => return 0,
        (Ok(_), Some((&code, reason))) => (code, String::from_utf8_lossy(reason).into_owned()),
        (Ok(_), None) => (1, "it died before it was ready; see its error log".to_owned()),
        (Err(error), _) => (1, format!("cannot hear from it: {error}")),
    };
    // Standard error may be closed; the code says the same.
    let _closed = writeln!(io::stderr(), "unirs: the server did not come up: {reason}");
    code
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(tell: impl FnOnce(Starter)) -> u8 {
        let (read, write) = nix::unistd::pipe().unwrap();
        tell(Starter(File::from(write)));
        outcome(read)
    }

    #[test]
    fn the_starter_leaves_with_what_the_daemon_says() {
        assert_eq!(told(Starter::came_up), 0);
        assert_eq!(told(|starter| starter.failed(4, "no such library")), 4);
    }

    #[test]
    fn a_daemon_that_dies_silently_has_failed() {
        assert_eq!(told(drop), 1);
    }
}
