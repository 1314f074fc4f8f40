//! The master: one thread that binds, forks, watches, reloads and stops. It runs no application code and sees no byte of a
//! client.
//!
//! It is one sentence, [`Master::serve`]: wait, handle, reap, murder, manage. A handler changes what is *wanted* and never waits;
//! only [`wait`] blocks; only [`manage`] spawns and retires, one step a turn. What decides (`reload::reconcile`, and limits,
//! respawn and freeze in `workers`) is pure.

use std::os::fd::{OwnedFd, RawFd};
use std::path::PathBuf;
use std::sync::Arc;

use crate::listener::Listener;
use crate::log::ErrorLog;
use crate::scoreboard::Totals;
use crate::settings::Settings;
use crate::sys::clock;
use crate::sys::process;
use crate::sys::signal::SignalPipe;
use crate::sys::title::Title;

mod closing;
mod daemon;
mod deaths;
mod listeners;
mod logs;
mod manage;
mod moment;
mod pidfile;
mod reload;
mod service;
mod signals;
mod start;
mod stop;
mod upgrade;
mod wait;
mod workers;

pub(crate) use logs::{level, target};
pub(crate) use start::run;
pub(crate) use upgrade::handover::tell_parent;
pub(crate) use upgrade::program::Program;
pub(crate) use workers::seating::Seating;

use closing::Closing;
use daemon::Starter;
use deaths::OomWatch;
use deaths::obituary::Deaths;
use deaths::symbolize::{Summary, Symbolizing};
use moment::Monotonic;
use pidfile::Pidfile;
use reload::generation::Generation;
use service::heartbeat::Heartbeat;
use service::notify::Notifier;
use service::status::Status;
use upgrade::Upgrade;
use upgrade::handover::Parent;
use upgrade::main_process::Handing;
use wait::Event;
use workers::children::Children;
use workers::freeze::Freezes;
use workers::recycling::MemoryWatch;

/// A worker that failed to boot ended the master.
pub(crate) const EXIT_BOOT: u8 = 3;
/// A worker whose application failed to load ended the master.
pub(crate) const EXIT_APPLICATION: u8 = 4;

/// Reads the configuration anew, from all that it was read from at the start. An error is a list of sentences.
pub(crate) type Load = Box<dyn FnMut() -> Result<Settings, Vec<String>>>;

/// What a master is made of.
pub(crate) struct MasterConfig {
    /// As they were read at the start.
    pub settings: Settings,
    /// Reads them again, for HUP.
    pub load: Load,
    /// The error log of this process, installed already.
    pub error_log: ErrorLog,
    /// The name that `ps` shows, if it can be set.
    pub title: Option<Title>,
    /// What was started, for USR2.
    pub program: Program,
}

/// The master process. Dropping it closes all that it holds and changes nothing outside of the process: that is how a
/// forked child lets go of it.
pub(crate) struct Master {
    phase: Phase,
    /// Oldest first; never empty until the master ends.
    generations: Vec<Generation>,
    /// The number of the newest generation; a number is never used again.
    newest: u64,
    children: Children,
    /// Exits of children that a mold may have forked and not named yet.
    unnamed: Vec<process::Status>,
    signals: SignalPipe,
    pidfile: Option<Pidfile>,
    notifier: Notifier,
    /// Whoever started the daemon and waits for its word.
    starter: Option<Starter>,
    /// Why the server did not come up.
    failure: Option<String>,
    error_log: ErrorLog,
    load: Load,
    /// Where the program was started: relative paths begin here.
    directory: StartDirectory,
    /// What the service manager passed; then the `bind` of the settings does not count.
    passed: Vec<Arc<Listener>>,
    /// Listeners that no generation is to have any more.
    closing: Vec<Closing>,
    freezes: Freezes,
    memory_watch: MemoryWatch,
    /// The figures of all workers that are gone.
    departed: Totals,
    /// The last workers that nobody had asked to go.
    deaths: Deaths,
    oom: OomWatch,
    symbolizing: Symbolizing,
    /// How the last reload ended, as a sentence.
    verdict: Option<String>,
    /// How many reloads have ended.
    reloads: u64,
    /// The last STATUS that the service manager heard.
    status: Status,
    /// What the service manager hears again and again.
    heartbeat: Heartbeat,
    title: Option<Title>,
    /// What USR2 starts.
    program: Program,
    /// The settings of the start said `daemon`.
    is_daemon: bool,
    upgrade: Upgrade,
    /// The main process of the service, on its way to another master.
    handing: Handing,
    /// The master that started this one, while it lives.
    parent: Option<Parent>,
    /// Its listeners, until the first generation has taken its own among them.
    handed: Vec<Arc<Listener>>,
    /// Descriptors that were open before the server opened any: not ours to close or to complain about.
    foreign: Vec<RawFd>,
}

/// The working directory of the start, as a descriptor and as a name.
#[derive(Clone, Debug)]
struct StartDirectory {
    fd: Arc<OwnedFd>,
    path: PathBuf,
}

/// What the master as a whole is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// The first generation has not been Ready yet.
    Starting,
    /// A generation serves.
    Running,
    /// A stop was asked for and does not begin yet (`drain_delay`): as Running, but for reloads.
    Draining {
        /// When it begins.
        until: Monotonic,
    },
    /// Everybody is to leave.
    Stopping {
        /// What the process leaves with.
        exit_code: u8,
    },
}

/// How a process leaves the loop.
enum Leave {
    /// As the master that has stopped.
    Stopped,
    /// As a worker that was just forked.
    Seated(Box<Seating>),
    /// As a symbolizer that was just forked.
    Symbolizing(Box<Summary>),
}

impl Master {
    /// The loop. It ends in the master when all children are gone after a stop, and in each forked child at once.
    fn serve(&mut self) -> Leave {
        while let Some(deadline) = self.next_deadline() {
            for event in self.wait(deadline) {
                self.handle(event);
            }
            self.end_the_delay();
            self.reap_workers();
            self.murder_workers();
            self.mark_outdated();
            self.watch_closing_listeners();
            self.manage_upgrade();
            self.advance_handing();
            if let Some(seating) = self.manage_workers() {
                return Leave::Seated(seating);
            }
            if let Some(summary) = self.symbolize_next() {
                return Leave::Symbolizing(summary);
            }
            self.tell_manager();
        }
        Leave::Stopped
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Signal(signal) => self.handle_signal(signal),
            Event::Report(pid) => self.read_reports(pid),
            Event::Room(pid) => self.pay(pid),
            Event::Parent => self.hear_parent(),
            Event::Barrier => self.barrier_is_passed(),
        }
    }

    fn exit_code(&self) -> u8 {
        match self.phase {
            Phase::Stopping { exit_code } => exit_code,
            Phase::Starting | Phase::Running | Phase::Draining { .. } => 0,
        }
    }

    fn generation(&mut self, number: u64) -> Option<&mut Generation> {
        self.generations.iter_mut().find(|generation| generation.number == number)
    }

    fn now(&self) -> Monotonic {
        clock::monotonic()
    }
}
