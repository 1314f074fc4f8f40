//! Puts the parts together: the only file that knows both the master and the worker.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::process::ExitCode;
use std::time::Duration;

use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::pipe2;
use tracing::error;

use crate::log::{self, AccessFormat, ErrorLog};
use crate::master::{self, MasterConfig, Program, Seating};
use crate::settings::{Loaded, Settings, Sources};
use crate::sys::process::{self, Fork};
use crate::sys::title::Title;
use crate::worker::{self, Boot};

/// Serves until the server is told to stop.
pub fn run(sources: Sources, loaded: Loaded) -> ExitCode {
    let title = Title::prepare().ok();
    let error_log = match install_log(&sources, &loaded.settings) {
        Ok(error_log) => error_log,
        Err(error) => return refuse(refused(&error.to_string()), &error.to_string()),
    };
    let program = Program::new(&sources.argv, &sources.env, &sources.start_dir);
    let config = MasterConfig {
        settings: loaded.settings,
        load: Box::new(move || reload(&sources)),
        error_log,
        title,
        program,
    };
    ExitCode::from(master::run(config, be))
}

/// Does not serve, for a reason that the user was told: tells it to the master that has started this process, if one has.
pub fn refuse(code: ExitCode, reason: &str) -> ExitCode {
    master::tell_parent(reason);
    code
}

/// Says whether the server would start: the settings are good, and the application loads, in a process of its own.
pub fn check(sources: Sources, loaded: Loaded) -> ExitCode {
    let settings = loaded.settings;
    if let Err(error) = AccessFormat::compile(&settings.access_log_format) {
        return refused(&format!("access_log_format: {error}"));
    }
    if let Err(error) = install_log(&sources, &settings) {
        return refused(&error.to_string());
    }
    match load_in_a_child(&settings) {
        Ok(Trial::Loaded) => ExitCode::SUCCESS,
        Ok(Trial::Refused) => ExitCode::FAILURE,
        Ok(Trial::Overdue) => refused("the application does not load: it was not ready within boot_timeout"),
        Ok(Trial::Died(end)) => refused(&format!("the application does not load: it {end}")),
        Err(error) => refused(&format!("cannot load the application in a process of its own: {error}")),
    }
}

/// What has come of the attempt to load an application.
enum Trial {
    /// It loads.
    Loaded,
    /// It does not, and has said why.
    Refused,
    /// It took too long.
    Overdue,
    /// It ended its process, and so.
    Died(String),
}

/// The outcome comes by a pipe: an exit code proves nothing, since the application may call `exit(0)`.
fn load_in_a_child(settings: &Settings) -> io::Result<Trial> {
    let (outcome, say) = pipe2(OFlag::O_CLOEXEC)?;
    match process::fork()? {
        Fork::Parent(pid) => {
            drop(say);
            let said = hear(outcome, settings.boot_timeout);
            if matches!(said, Ok(None)) {
                process::kill(pid, libc::SIGKILL)?;
            }
            let end = waitpid(pid, None)?;
            Ok(match said? {
                None => Trial::Overdue,
                Some(LOADED) => Trial::Loaded,
                Some(REFUSED) => Trial::Refused,
                Some(_) => Trial::Died(manner(end)),
            })
        }
        Fork::Child => {
            drop(outcome);
            let result = worker::try_application(settings);
            if let Err(sentence) = &result {
                error!("{sentence}");
            }
            let word = if result.is_ok() { LOADED } else { REFUSED };
            // A parent that has gone does not want to know.
            let _gone = File::from(say).write_all(&[word]);
            process::exit_now(i32::from(result.is_err()))
        }
    }
}

const NOTHING: u8 = 0;
const LOADED: u8 = 1;
const REFUSED: u8 = 2;

/// The child's word; [`NOTHING`] if it died without one, and `None` if the time is over.
fn hear(pipe: OwnedFd, patience: Option<Duration>) -> io::Result<Option<u8>> {
    let patience = patience.and_then(|limit| PollTimeout::try_from(limit).ok()).unwrap_or(PollTimeout::NONE);
    if poll(&mut [PollFd::new(pipe.as_fd(), PollFlags::POLLIN)], patience)? == 0 {
        return Ok(None);
    }
    let mut word = [NOTHING];
    let _length = File::from(pipe).read(&mut word)?;
    Ok(Some(word[0]))
}

/// How a process ended, behind "it".
fn manner(end: WaitStatus) -> String {
    match end {
        WaitStatus::Exited(_, code) => format!("exited with code {code}"),
        WaitStatus::Signaled(_, signal, _) => format!("was sent {signal}"),
        _ => "ended its process".to_owned(),
    }
}

#[expect(clippy::print_stderr, reason = "there may be no error log yet")]
fn refused(sentence: &str) -> ExitCode {
    eprintln!("Error: {sentence}");
    ExitCode::FAILURE
}

fn install_log(sources: &Sources, settings: &Settings) -> Result<ErrorLog, log::LogError> {
    let (target, level) = (master::target(&settings.errorlog), master::level(settings.loglevel));
    log::error::install(&target, &sources.start_dir, level)
}

/// The settings as their sources are now, for HUP.
fn reload(sources: &Sources) -> Result<Settings, Vec<String>> {
    match sources.load() {
        Ok(loaded) => Ok(loaded.settings),
        Err(problems) => Err(problems.iter().map(ToString::to_string).collect()),
    }
}

/// Is what the master has forked this process for.
fn be(seating: Seating) -> i32 {
    match seating.slot {
        Some(_) => worker::run(boot(seating)),
        None => worker::cast(boot(seating)),
    }
}

/// What the master has given to a worker, in the worker's words.
fn boot(seating: Seating) -> Boot {
    Boot {
        settings: seating.settings,
        generation: seating.generation,
        slot: seating.slot.unwrap_or_default(),
        board: seating.board,
        ledger: seating.ledger,
        pair: seating.pair,
        listeners: seating.listeners,
        request_limit: seating.request_limit,
        access_log: seating.access_log,
        image: seating.image,
        error_log: seating.error_log,
        directory: seating.directory,
        title: seating.title,
        mask: seating.mask,
        master: seating.master,
    }
}
