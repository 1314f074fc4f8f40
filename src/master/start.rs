//! The start: from a configuration to the loop, in daemon mode in a process of its own.

use std::io;
use std::os::fd::{OwnedFd, RawFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;

use tracing::{debug, info, warn};

use crate::listener::BindError;
use crate::log::critical;
use crate::scoreboard::Totals;
use crate::settings::Settings;
use crate::sys::signal::SignalPipe;
use crate::sys::{clock, fd, process};

use super::daemon::{self, Daemonized};
use super::deaths::OomWatch;
use super::deaths::obituary::Deaths;
use super::deaths::symbolize::Symbolizing;
use super::listeners::PassedError;
use super::reload::{GenerationError, raise_limits};
use super::service::heartbeat::Heartbeat;
use super::service::notify::Notifier;
use super::service::status::Status;
use super::upgrade::Upgrade;
use super::upgrade::handover::Handover;
use super::upgrade::main_process::Handing;
use super::upgrade::promotion::SUFFIX;
use super::workers::children::Children;
use super::workers::freeze::Freezes;
use super::workers::recycling::MemoryWatch;
use super::workers::seating::{self, Seating};
use super::{EXIT_BOOT, Leave, Master, MasterConfig, Phase, StartDirectory, listeners, signals};

/// Why no master came up; its text is a sentence to the operator, and the exit code is 1.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StartError {
    /// The working directory is gone or closed to us.
    #[error("cannot open the working directory: {0}")]
    Directory(#[source] io::Error),
    /// The signals cannot be taken.
    #[error("cannot take signals: {0}")]
    Signals(#[source] io::Error),
    /// What the service manager has passed cannot be used.
    #[error(transparent)]
    Passed(#[from] PassedError),
    /// A listener of the master that started this one cannot be used.
    #[error(transparent)]
    Handed(#[from] BindError),
    /// Address, log, pidfile or board.
    #[error(transparent)]
    Generation(#[from] GenerationError),
}

/// Runs a master to its end, and returns the exit code of the process: 0, 1 (address, pidfile, log), 3 or 4 (a worker that could
/// not boot, an application that could not be loaded). In each worker `work` is called and must not return.
///
/// The process has one thread, and an installed error log. In daemon mode this returns in the process that was started,
/// too, when the server is up or has failed.
pub(crate) fn run<W: FnOnce(Seating) -> i32>(config: MasterConfig, work: W) -> u8 {
    let handover = Handover::take();
    // Who was started by a daemon is one.
    let starter = if config.settings.daemon && handover.is_none() {
        match daemon::daemonize() {
            Ok(Daemonized::Starter(code)) => return code,
            Ok(Daemonized::Daemon(starter)) => Some(starter),
            Err(error) => {
                critical!("cannot become a daemon: {error}");
                return 1;
            }
        }
    } else {
        None
    };
    match Master::new(config, handover) {
        Ok(mut master) => {
            master.starter = starter;
            master.run(work)
        }
        Err(error) => {
            critical!("{error}");
            if let Some(starter) = starter {
                starter.failed(1, &error.to_string());
            }
            1
        }
    }
}

impl Master {
    /// Takes everything that a server needs before its first worker: pidfile, listeners, signals.
    fn new(config: MasterConfig, handover: Option<Handover>) -> Result<Master, StartError> {
        let foreign = foreign(handover.as_ref());
        info!("Starting unirs {}", env!("CARGO_PKG_VERSION"));
        let mut master = Master {
            phase: Phase::Starting,
            generations: Vec::new(),
            newest: 0,
            children: Children::default(),
            unnamed: Vec::new(),
            signals: SignalPipe::new(&signals::TAKEN).map_err(StartError::Signals)?,
            pidfile: None,
            notifier: Notifier::from_environment(),
            starter: None,
            failure: None,
            error_log: config.error_log,
            load: config.load,
            directory: StartDirectory::open().map_err(StartError::Directory)?,
            passed: listeners::passed()?,
            closing: Vec::new(),
            freezes: Freezes::default(),
            memory_watch: MemoryWatch::default(),
            departed: Totals::default(),
            deaths: Deaths::default(),
            oom: OomWatch::new(),
            symbolizing: Symbolizing::default(),
            verdict: None,
            reloads: 0,
            status: Status::default(),
            heartbeat: Heartbeat::default(),
            title: config.title,
            program: config.program,
            is_daemon: config.settings.daemon,
            upgrade: Upgrade::default(),
            handing: Handing::default(),
            parent: None,
            handed: Vec::new(),
            foreign,
        };
        master
            .begin(config.settings, handover)
            .inspect_err(|error| master.tell_parent(&error.to_string()))?;
        master.begin_heartbeat();
        Ok(master)
    }

    fn begin(&mut self, settings: Settings, handover: Option<Handover>) -> Result<(), StartError> {
        if let Some(Handover { parent, passed, listeners }) = handover {
            if parent.is_some() {
                self.notifier.mute();
            }
            self.parent = parent;
            self.take_handed(listeners, passed)?;
        }
        self.first_generation(settings)?;
        self.keep_handed();
        Ok(())
    }

    /// Tells the master that started this one why it does not come up.
    pub(super) fn tell_parent(&self, reason: &str) {
        if let Some(parent) = &self.parent {
            parent.failed(reason);
        }
    }

    fn first_generation(&mut self, settings: Settings) -> Result<(), GenerationError> {
        raise_limits(&settings);
        let mut generation = self.arrival(settings, clock::monotonic())?;
        self.newest = generation.number;
        // There is nothing to go back to: the pidfile is the master's from the start.
        self.pidfile = generation.next_pidfile.take();
        if !self.passed.is_empty() {
            info!("Using the sockets that the service manager has passed; `bind` does not count");
        }
        listeners::say_where(&generation.listeners);
        info!("Using worker: {}", generation.settings.worker_class);
        self.generations.push(generation);
        self.show_title();
        Ok(())
    }

    /// Runs to the end. In each worker `work` is called; what it returns is the exit code of that process.
    pub(crate) fn run<W: FnOnce(Seating) -> i32>(mut self, work: W) -> u8 {
        match self.serve() {
            Leave::Stopped => self.close(),
            Leave::Seated(seating) => {
                self.let_go();
                be_worker(*seating, work)
            }
            Leave::Symbolizing(summary) => {
                if let Some(title) = &self.title {
                    title.set("unirs: symbolizer");
                }
                self.let_go();
                summary.run()
            }
        }
    }

    /// The first generation serves.
    pub(super) fn came_up(&mut self) {
        debug!("all workers are ready");
        self.heartbeat.stop_extending();
        self.say_ready();
        if let Some(starter) = self.starter.take() {
            starter.came_up();
        }
        if let Some(parent) = &self.parent {
            parent.serving();
        }
    }

    pub(super) fn show_title(&self) {
        let Some(title) = &self.title else { return };
        if let Some(generation) = self.generations.iter().find(|generation| generation.is_staying()) {
            let settings = &generation.settings;
            let name = settings.proc_name.as_deref().unwrap_or(&settings.app.name);
            let suffix = if self.parent.is_some() { SUFFIX } else { "" };
            title.set(&format!("unirs: master [{name}{suffix}]"));
        }
    }
}

/// In the child, with the master gone: nothing returns from here, not even a panic.
fn be_worker<W: FnOnce(Seating) -> i32>(seating: Seating, work: W) -> ! {
    seating::check(&seating);
    let outcome = catch_unwind(AssertUnwindSafe(|| work(seating)));
    if outcome.is_err() {
        warn!("Worker (pid:{}) ended by a panic of the server's own code", std::process::id());
    }
    process::exit_now(outcome.unwrap_or(i32::from(EXIT_BOOT)))
}

/// The descriptors that are not the server's; those that another master has handed over are.
fn foreign(handover: Option<&Handover>) -> Vec<RawFd> {
    let mut open = fd::open_descriptors();
    open.retain(|number| !handover.is_some_and(|handover| handover.has(*number)));
    open
}

impl StartDirectory {
    fn open() -> io::Result<StartDirectory> {
        let file = std::fs::File::open(".")?;
        let path = std::env::current_dir().unwrap_or_else(|_| PathBuf::from("."));
        Ok(StartDirectory { fd: Arc::new(OwnedFd::from(file)), path })
    }
}
