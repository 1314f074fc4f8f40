//! How a worker begins and ends: from the fork to Ready, and from its last exchange to `_exit`.

use std::ffi::CString;
use std::fmt::Display;
use std::io;
use std::num::NonZeroU64;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use nix::unistd::Pid;
use tracing::{debug, error, info};

use super::application;
use super::course::Heading;
use super::doors::Doors;
use super::engine::{Engine, FIRST_DOOR, Parts};
use super::last_words;
use super::rules::Rules;
use super::threads::{self, NoCrew};
use crate::app::{Hook, Running};
use crate::last_words::Ledger;
use crate::listener::Listener;
use crate::log::{AccessLog, ErrorLog};
use crate::pair::{Pair, Report, Sent};
use crate::scoreboard::{Scoreboard, Seat, SlotState};
use crate::settings::Settings;
use crate::sys::identity::{self, Groups};
use crate::sys::image::Image;
use crate::sys::signal::{self, Mask, SignalPipe};
use crate::sys::title::Title;
use crate::sys::{clock, fuse, orphan, process};

/// The exit code of a worker that could not boot.
pub(super) const EXIT_BOOT: u8 = 3;

/// The exit code of a worker whose application could not be loaded or started.
pub(super) const EXIT_APPLICATION: u8 = 4;

/// How often an application that is not ready is asked again.
const READY_POLL: Duration = Duration::from_millis(100);

/// How long a worker may take that was told to leave quickly.
const QUICK: Duration = Duration::from_secs(1);

/// For so long the last access lines wait for a reader that is behind.
const SLOW_READER: Duration = Duration::from_secs(1);

/// How many slots above twice the number of workers are looked at for workers that TTIN has added.
const SPARE_SLOTS: usize = 8;

/// What a worker is given when it is forked.
pub(crate) struct Boot {
    /// Its generation's settings.
    pub settings: Arc<Settings>,
    /// Its generation's number.
    pub generation: u64,
    /// Its slot on the board; a mold has none, and it is of no meaning there.
    pub slot: usize,
    /// Its generation's board.
    pub board: Scoreboard,
    /// Its generation's ledger of last words.
    pub ledger: Ledger,
    /// Its end of the pair.
    pub pair: Pair,
    /// Where to accept.
    pub listeners: Vec<Arc<Listener>>,
    /// After so many requests the master is told to look at the slot.
    pub request_limit: Option<NonZeroU64>,
    /// The access log, if there is one.
    pub access_log: Option<Arc<AccessLog>>,
    /// The generation's image of the application's library, if it has one.
    pub image: Option<Arc<Image>>,
    /// The error log.
    pub error_log: ErrorLog,
    /// The directory of the start.
    pub directory: Arc<OwnedFd>,
    /// The name that `ps` shows.
    pub title: Option<Title>,
    /// The signal mask to put back.
    pub mask: Mask,
    /// The parent.
    pub master: Pid,
}

/// Why a worker does not come up: its exit code, and a sentence.
pub(super) struct Failure {
    code: u8,
    sentence: String,
}

impl Failure {
    pub(super) fn boot(what: &str, error: impl Display) -> Failure {
        Failure { code: EXIT_BOOT, sentence: format!("cannot {what}: {error}") }
    }

    pub(super) fn application(error: impl Display) -> Failure {
        Failure { code: EXIT_APPLICATION, sentence: error.to_string() }
    }
}

/// Lives a worker's life, and ends the process.
pub(crate) fn run(boot: Boot) -> ! {
    let code = live(boot);
    info!("Worker exiting (pid: {})", std::process::id());
    process::exit_now(i32::from(code))
}

fn live(mut boot: Boot) -> u8 {
    match prepare(&mut boot) {
        Ok((seat, app)) => begin(boot, seat, app),
        Err(failure) => fail(&boot.pair, &failure),
    }
}

pub(super) fn fail(pair: &Pair, failure: &Failure) -> u8 {
    // The master says it, with what follows from it. One that does not read has the exit code.
    match pair.send_report(&Report::Failed(failure.sentence.clone())) {
        Ok(Sent::Yes) => debug!("{}", failure.sentence),
        Ok(Sent::Full | Sent::Closed) | Err(_) => error!("{}", failure.sentence),
    }
    failure.code
}

/// Everything up to the application's `start`.
fn prepare(boot: &mut Boot) -> Result<(&'static Seat, Running), Failure> {
    let seat = boot.board.take_seat(boot.slot).map_err(|error| Failure::boot("map the scoreboard", error))?;
    let seat: &'static Seat = Box::leak(Box::new(seat));
    let words = boot.ledger.take_area(boot.slot).map_err(|error| Failure::boot("map the ledger", error))?;
    debug!("boot: map the board");
    become_one_of_ours(boot)?;
    set_title(boot);
    last_words::prepare(words).map_err(|error| Failure::boot("prepare for a crash", error))?;
    debug!("boot: prepare for a crash");
    let app = application::start(boot, seat).map_err(Failure::application)?;
    Ok((seat, app))
}

/// What whoever loads the application does before: it has no right that the application is not to have.
pub(super) fn become_one_of_ours(boot: &Boot) -> Result<(), Failure> {
    become_the_user(&boot.settings).map_err(|error| Failure::boot("change the identity", error))?;
    enter_directory(boot).map_err(|error| Failure::boot("enter the directory", error))?;
    set_environment(&boot.settings);
    follow_master(boot.master).map_err(|error| Failure::boot("watch the master", error))
}

pub(super) fn become_the_user(settings: &Settings) -> io::Result<()> {
    let (user, group) = (settings.user.as_ref(), settings.group.as_ref());
    if user.is_some() || group.is_some() {
        let uid = user.map_or_else(|| nix::unistd::geteuid().as_raw(), |user| user.uid);
        let own_group = user.and_then(|user| user.gid);
        let gid =
            group.map(|group| group.gid).or(own_group).unwrap_or_else(|| nix::unistd::getegid().as_raw());
        let name = user.and_then(|user| user.name.clone()).filter(|_| settings.initgroups);
        match name.map(CString::new).transpose().map_err(io::Error::other)? {
            Some(name) => identity::drop_privileges(uid, gid, Groups::Of(&name))?,
            None => identity::drop_privileges(uid, gid, Groups::Exactly(&[]))?,
        }
    }
    debug!("boot: drop privileges");
    if let Some(umask) = settings.umask {
        identity::set_umask(umask);
    }
    debug!("boot: set the umask");
    Ok(())
}

fn enter_directory(boot: &Boot) -> io::Result<()> {
    match &boot.settings.chdir {
        Some(path) => identity::chdir(path)
            .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))?,
        None => identity::chdir_to(&boot.directory)?,
    }
    debug!("boot: change the directory");
    Ok(())
}

pub(super) fn set_environment(settings: &Settings) {
    for (name, value) in &settings.raw_env {
        process::set_environment(name, value);
    }
    debug!("boot: set the environment");
}

/// From here on this process does not outlive its master by accident.
pub(super) fn follow_master(master: Pid) -> io::Result<()> {
    identity::set_dumpable()?;
    debug!("boot: be dumpable");
    orphan::follow_parent()?;
    if nix::unistd::getppid() != master {
        return Err(io::Error::other("it died while this worker was forked"));
    }
    debug!("boot: ask for the death signal");
    Ok(())
}

pub(super) fn set_title(boot: &Boot) {
    let name = boot.settings.proc_name.as_deref().unwrap_or(&boot.settings.app.name);
    if let Some(title) = &boot.title {
        title.set(&format!("unirs: worker [{name}]"));
    }
}

/// From the application's start to the end of the worker.
pub(super) fn begin(boot: Boot, seat: &'static Seat, app: Running) -> u8 {
    let (settings, mask) = (boot.settings.clone(), boot.mask);
    let engine: &'static Engine = match make_engine(boot, seat, app) {
        Ok(engine) => Box::leak(Box::new(engine)),
        Err(error) => {
            error!("cannot set up the engine: {error}");
            return EXIT_BOOT;
        }
    };
    match serve(engine, &settings, &mask) {
        Ok(()) => 0,
        Err(failure) => fail(&engine.pair, &failure),
    }
}

/// From the signal pipe to the end of the last exchange.
fn serve(engine: &'static Engine, settings: &Settings, mask: &Mask) -> Result<(), Failure> {
    debug!("boot: take signals");
    signal::restore(mask).map_err(|error| Failure::boot("open the signal mask", error))?;
    prepare_to_be_killed().map_err(|error| Failure::boot("prepare for a quick end", error))?;
    orphan::prepare(engine.epoll.as_raw(), &engine.listening_descriptors(), settings.graceful_timeout)
        .map_err(|error| Failure::boot("prepare for the master's death", error))?;
    debug!("boot: poll");
    let crew = threads::Crewed::muster(engine, settings.threads).map_err(|error| match error {
        NoCrew::Refused(error) => Failure::application(error),
        NoCrew::NoThread(sentence) => Failure { code: EXIT_BOOT, sentence },
    })?;
    engine.app.hook(Hook::PostWorkerInit);
    if await_readiness(engine) {
        engine.seat.turn(clock::monotonic());
        // Before the doors are opened: other threads poll already, and would serve for a worker that is said to boot.
        engine.seat.set_state(SlotState::Ready);
        engine.open().map_err(|error| Failure::boot("watch the listeners", error))?;
        engine.report(&Report::Ready);
        debug!("boot: Ready");
        last_words::set_serving(true);
        crew.work();
        last_words::set_serving(false);
    }
    engine.app.hook(Hook::WorkerExit);
    engine.app.stop();
    if let Some(access_log) = engine.access_log() {
        access_log.finish(SLOW_READER);
    }
    Ok(())
}

/// A worker that is told to leave quickly, and is in a call that does not end, is killed in the end by its own timer.
fn prepare_to_be_killed() -> io::Result<()> {
    fuse::prepare()?;
    fuse::light_at(libc::SIGINT, QUICK)?;
    fuse::light_at(libc::SIGQUIT, QUICK)
}

fn make_engine(boot: Boot, seat: &'static Seat, app: Running) -> io::Result<Engine> {
    let signals = SignalPipe::new(&[libc::SIGTERM, libc::SIGINT, libc::SIGQUIT, libc::SIGUSR1])?;
    Engine::new(Parts {
        app,
        rules: Rules::new(&boot.settings),
        seat,
        doors: Doors::new(boot.listeners, FIRST_DOOR),
        pair: boot.pair,
        signals,
        error_log: boot.error_log,
        access_log: boot.access_log,
        threads: boot.settings.threads,
        request_limit: boot.request_limit,
        slots: boot.settings.workers * 2 + SPARE_SLOTS,
    })
}

/// Asks the application until it says yes: false when this worker was told to go before. How long that may take is
/// the master's matter (`boot_timeout`).
fn await_readiness(engine: &'static Engine) -> bool {
    loop {
        if engine.heading() != Heading::Serving {
            return false;
        }
        let is_ready = engine.app.ready();
        engine.seat.set_ready(is_ready, clock::monotonic());
        // The last look before the doors are opened: who is not wanted any more must not serve.
        engine.wait_for_orders(if is_ready { Duration::ZERO } else { READY_POLL });
        if is_ready && engine.heading() == Heading::Serving {
            debug!("boot: be ready");
            return true;
        }
    }
}
