//! `unirs reload`: has a running server reload, and waits for the outcome. It knows the master by its pidfile alone; what
//! a reload is, the master knows.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "this is where the command answers its user")]

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::Pid;
use serde::Deserialize;

use crate::settings::ReloadRequest;
use crate::sys::{clock, pidfd};

/// How often the outcome is looked for.
const LOOK_MILLIS: u8 = 50;
/// A pidfile has a number and an outcome a few lines; whatever is longer is neither.
const LONGEST_FILE: u64 = 64 * 1024;

/// Why nobody can say that the new generation serves.
#[derive(Debug, thiserror::Error)]
enum ReloadError {
    #[error("cannot read the pidfile {path}: {source}")]
    Unreadable { path: PathBuf, source: io::Error },
    #[error("the pidfile {path} has no process id in it")]
    NoNumber { path: PathBuf },
    #[error("the pidfile {path} is stale: no server holds it, whatever number is in it ({pid})")]
    Stale { path: PathBuf, pid: Pid },
    #[error("the pidfile {path} names pid {pid}, but pid {holder} holds it; is a server just starting?")]
    Foreign { path: PathBuf, pid: Pid, holder: i32 },
    #[error("cannot signal the master (pid {pid}): {source}")]
    Signal { pid: Pid, source: io::Error },
    #[error("reload refused: {0}")]
    Refused(String),
    #[error("the master (pid {0}) ended before the reload had an outcome; the error log says more")]
    Died(Pid),
    #[error(
        "no outcome within {} s; the reload may still succeed, and the error log will say so",
        .0.as_secs_f64()
    )]
    Overdue(Duration),
    #[error("cannot wait for the master (pid {pid}): {source}")]
    Wait { pid: Pid, source: io::Error },
}

/// Sends HUP and waits until the new generation serves (exit code 0), or it is known that it does not (1, and the reason
/// on standard error).
pub fn run(request: &ReloadRequest) -> ExitCode {
    match reload(request) {
        Ok(generation) => {
            println!("Reloaded: generation {generation} serves");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("Error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn reload(request: &ReloadRequest) -> Result<u64, ReloadError> {
    let master = Master::find(&request.pidfile)?;
    // Later than this is every configuration that is read because of our signal.
    let asked = clock::monotonic();
    master.hang_up()?;
    let outcome = master.wait_for_outcome(asked, request.patience)?;
    if outcome.result == "committed" {
        Ok(outcome.generation)
    } else {
        Err(ReloadError::Refused(outcome.reason))
    }
}

/// A running master.
struct Master {
    pid: Pid,
    /// The process itself: its number may be another's as soon as it has died.
    process: OwnedFd,
    /// Where it says how a reload ended.
    outcome: PathBuf,
}

impl Master {
    /// The process that the pidfile names, if it is one of ours: a master holds a lock on its pidfile as long as it lives.
    /// So a number that was left behind, and may be anybody's by now, is never signalled.
    fn find(path: &Path) -> Result<Master, ReloadError> {
        let unreadable = |source| ReloadError::Unreadable { path: path.to_owned(), source };
        let file = File::open(path).map_err(unreadable)?;
        let pid = read_pid(&file).map_err(unreadable)?;
        let pid = pid.ok_or_else(|| ReloadError::NoNumber { path: path.to_owned() })?;
        // First the process, then the lock: who holds it now is the process that we have.
        let process = match pidfd::open(pid) {
            Err(error) if error.raw_os_error() == Some(libc::ESRCH) => {
                return Err(ReloadError::Stale { path: path.to_owned(), pid });
            }
            process => process.map_err(|source| ReloadError::Signal { pid, source })?,
        };
        match holder(&file).map_err(|errno| unreadable(errno.into()))? {
            None => return Err(ReloadError::Stale { path: path.to_owned(), pid }),
            Some(holder) if holder != pid.as_raw() => {
                return Err(ReloadError::Foreign { path: path.to_owned(), pid, holder });
            }
            Some(_) => {}
        }
        let mut outcome = path.as_os_str().to_owned();
        outcome.push(".reload");
        Ok(Master { pid, process, outcome: outcome.into() })
    }

    fn hang_up(&self) -> Result<(), ReloadError> {
        pidfd::send_signal(&self.process, libc::SIGHUP)
            .map_err(|source| ReloadError::Signal { pid: self.pid, source })
    }

    /// The first outcome of a reload that read its configuration after `asked`.
    fn wait_for_outcome(&self, asked: u64, patience: Option<Duration>) -> Result<Outcome, ReloadError> {
        let begun = Instant::now();
        loop {
            // Looked for before the file is read: what a master wrote before it died is there.
            let has_died = self.wait_for_death()?;
            if let Some(outcome) = self.read_outcome().filter(|outcome| outcome.read_at > asked) {
                return Ok(outcome);
            }
            if has_died {
                return Err(ReloadError::Died(self.pid));
            }
            if let Some(patience) = patience.filter(|patience| begun.elapsed() >= *patience) {
                return Err(ReloadError::Overdue(patience));
            }
        }
    }

    fn wait_for_death(&self) -> Result<bool, ReloadError> {
        match poll(
            &mut [PollFd::new(self.process.as_fd(), PollFlags::POLLIN)],
            PollTimeout::from(LOOK_MILLIS),
        ) {
            Ok(ready) => Ok(ready > 0),
            Err(Errno::EINTR) => Ok(false),
            Err(errno) => Err(ReloadError::Wait { pid: self.pid, source: errno.into() }),
        }
    }

    /// What is there, if this master wrote it. It comes by rename, so that it is never half of something.
    fn read_outcome(&self) -> Option<Outcome> {
        let mut text = String::new();
        File::open(&self.outcome).ok()?.take(LONGEST_FILE).read_to_string(&mut text).ok()?;
        let outcome: Outcome = toml::from_str(&text).ok()?;
        (outcome.master == self.pid.as_raw()).then_some(outcome)
    }
}

/// How a reload ended, as the master writes it.
#[derive(Debug, Deserialize)]
struct Outcome {
    /// The pid of the master that wrote it.
    master: i32,
    /// When the configuration of the reload was read, in nanoseconds of CLOCK_MONOTONIC.
    read_at: u64,
    /// `committed`, or `refused`.
    result: String,
    /// Which generation serves now.
    #[serde(default)]
    generation: u64,
    /// Why it was refused.
    #[serde(default)]
    reason: String,
}

fn read_pid(file: &File) -> io::Result<Option<Pid>> {
    let mut text = String::new();
    file.take(LONGEST_FILE).read_to_string(&mut text)?;
    let number = text.lines().next().and_then(|line| line.trim().parse().ok());
    Ok(number.filter(|number| *number > 1).map(Pid::from_raw))
}

/// Who holds the lock of a pidfile; 0 is somebody in another pid namespace.
fn holder(file: &File) -> nix::Result<Option<i32>> {
    let small = |number: i32| libc::c_short::try_from(number).expect("the kernel's own field has 16 bits");
    let mut lock = libc::flock {
        l_type: small(libc::F_WRLCK),
        l_whence: small(libc::SEEK_SET),
        l_start: 0,
        l_len: 0,
        l_pid: 0,
    };
    fcntl(file, FcntlArg::F_GETLK(&mut lock))?;
    Ok((lock.l_type != small(libc::F_UNLCK)).then_some(lock.l_pid))
}
