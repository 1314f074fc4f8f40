//! The mold: a process that starts the application once for its generation and forks the workers on the master's order. It
//! serves nobody. A worker that comes of it goes on in `boot`.

use std::fs;
use std::io;
use std::num::NonZeroU64;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::Pid;
use tracing::{debug, error, info};

use super::application::{self, ForkedServices};
use super::boot::{self, Boot, Failure};
use super::last_words;
use super::orders;
use crate::app::{Application, Running};
use crate::pair::{Order, Pair, Received, Report};
use crate::scoreboard::Seat;
use crate::sys::process::{self, Offspring};
use crate::sys::signal::{self, SignalPipe};

/// How often a worker looks whether it has come to its master.
const MOMENT: Duration = Duration::from_millis(1);

/// A process that forks workers.
struct Mold {
    /// What it was given; it passes all but the pair and the slot on.
    boot: Boot,
    /// Started, and never called here.
    app: Running,
    services: &'static ForkedServices,
    /// The operator's door to this process.
    signals: SignalPipe,
}

/// What a worker is born with.
struct Birth {
    slot: usize,
    request_limit: Option<NonZeroU64>,
    pair: Pair,
    /// Its parent, which is about to end: then the master is.
    middle: Pid,
}

/// What to do after an order or a signal.
enum Next {
    Wait,
    Leave,
    /// In a new process.
    BeBorn(Birth),
}

/// Lives a mold's life, or that of a worker that was forked from it, and ends the process. `boot.slot` is of no meaning.
pub(crate) fn cast(mut boot: Boot) -> ! {
    let code = match prepare(&mut boot) {
        Ok((app, services, signals)) => Mold { boot, app, services, signals }.live(),
        Err(failure) => boot::fail(&boot.pair, &failure),
    };
    process::exit_now(i32::from(code))
}

/// What a worker does up to the application's `start`, but for what belongs to a slot.
fn prepare(boot: &mut Boot) -> Result<(Running, &'static ForkedServices, SignalPipe), Failure> {
    boot.board.read_only().map_err(|error| Failure::boot("protect the scoreboard", error))?;
    boot.ledger.read_only().map_err(|error| Failure::boot("protect the ledger", error))?;
    debug!("boot: protect the board");
    boot::become_one_of_ours(boot)?;
    set_title(boot);
    let services = ForkedServices::new().map_err(|error| Failure::boot("make room for counters", error))?;
    let app = start(boot, services).map_err(Failure::application)?;
    let signals = SignalPipe::new(&[libc::SIGTERM, libc::SIGINT, libc::SIGQUIT, libc::SIGUSR1])
        .and_then(|signals| signal::restore(&boot.mask).map(|()| signals))
        .map_err(|error| Failure::boot("take signals", error))?;
    Ok((app, services, signals))
}

fn set_title(boot: &Boot) {
    let name = boot.settings.proc_name.as_deref().unwrap_or(&boot.settings.app.name);
    if let Some(title) = &boot.title {
        title.set(&format!("unirs: mold [{name}]"));
    }
}

fn start(boot: &Boot, services: &'static ForkedServices) -> Result<Running, String> {
    let app: Application =
        application::load(&boot.settings, boot.image.clone()).map_err(|error| error.to_string())?;
    debug!("boot: load the application");
    let facts = application::mold_facts(&boot.settings, boot.generation);
    let running = app.start(facts, services).map_err(|error| error.to_string())?;
    check_threads()?;
    debug!("boot: start the application");
    Ok(running)
}

/// A fork takes one thread along; the locks of the others stay locked for ever.
pub(super) fn check_threads() -> Result<(), String> {
    match fs::read_dir("/proc/self/task").map(Iterator::count) {
        Ok(threads @ 2..) => Err(format!(
            "preload_app: the application has started {} threads, which its workers would not have: start them in \
             `post_fork`, or do without preload_app",
            threads - 1
        )),
        Ok(_) => Ok(()),
        Err(error) => {
            debug!("cannot count the threads of this process: {error}");
            Ok(())
        }
    }
}

impl Mold {
    fn live(mut self) -> u8 {
        self.report(&Report::Ready);
        loop {
            self.wait();
            match self.next() {
                Next::Wait => {}
                Next::Leave => {
                    info!("Mold exiting (pid: {})", std::process::id());
                    return 0;
                }
                Next::BeBorn(birth) => return self.be_born(birth),
            }
        }
    }

    fn wait(&self) {
        let mut doors = [
            PollFd::new(self.boot.pair.as_fd(), PollFlags::POLLIN),
            PollFd::new(self.signals.as_fd(), PollFlags::POLLIN),
        ];
        // A signal ends it early, and is looked for in any case.
        let _ = poll(&mut doors, PollTimeout::NONE);
    }

    fn next(&mut self) -> Next {
        for signal in self.signals.pending() {
            match signal {
                libc::SIGUSR1 => self.report(&Report::WantsLogs),
                _ => return Next::Leave,
            }
        }
        match self.boot.pair.receive_order() {
            Ok(Received::Message(Order::Fork { slot, request_limit }, ends)) => {
                return self.fork(slot, request_limit, ends);
            }
            Ok(Received::Message(Order::Retire(_) | Order::Quick, _)) => return Next::Leave,
            Ok(Received::Message(Order::Ping, _)) => self.report(&Report::Look),
            Ok(Received::Message(Order::Speak | Order::Leaving, _)) => {
                debug!("a mold has nobody to speak to but its master")
            }
            Ok(Received::Message(Order::Reopen { errorlog, accesslog }, files)) => {
                let access_log = self.boot.access_log.as_deref();
                orders::adopt_logs(&self.boot.error_log, access_log, errorlog, accesslog, files);
            }
            Ok(Received::Nothing) => {}
            // The master is gone.
            Ok(Received::Closed) => return Next::Leave,
            Err(error) => error!("an order of the master cannot be read: {error}"),
        }
        Next::Wait
    }

    /// Says so whatever comes of it: the master waits for the answer, and has nobody else to ask.
    fn fork(&mut self, slot: u32, request_limit: u64, ends: Vec<OwnedFd>) -> Next {
        let Some(pair) = ends.into_iter().next().map(Pair::from) else {
            return Next::Wait; // the pair checks their number
        };
        match self.fork_beyond() {
            Ok(Offspring::Born { middle }) => {
                let request_limit = NonZeroU64::new(request_limit);
                return Next::BeBorn(Birth { slot: slot as usize, request_limit, pair, middle });
            }
            Ok(Offspring::Parent(pid)) => self.report(&Report::Forked { slot, pid: pid.as_raw() }),
            Err(error) => {
                let error = error.raw_os_error().unwrap_or(libc::ECANCELED);
                self.report(&Report::NotForked { slot, error });
            }
        }
        Next::Wait
    }

    /// With all signals blocked across it, and the application told.
    fn fork_beyond(&self) -> io::Result<Offspring> {
        self.app.before_fork();
        let result = signal::block_all().and_then(|mask| {
            let result = process::fork_beyond();
            if !matches!(result, Ok(Offspring::Born { .. })) {
                // It can only fail for a mask that is no mask; and the answer has to be given in any case.
                let _restored = signal::restore(&mask);
            }
            result
        });
        if !matches!(result, Ok(Offspring::Born { .. })) {
            self.app.after_fork_parent();
        }
        result
    }

    fn report(&self, report: &Report) {
        // A master that is gone closes the pair, which is seen next.
        if let Err(error) = self.boot.pair.send_report(report) {
            error!("cannot report to the master: {error}");
        }
    }

    /// In the worker: everything that a worker has of its own, then its life.
    fn be_born(self, birth: Birth) -> u8 {
        let Mold { mut boot, app, services, signals } = self;
        // Its handlers do nothing from here on, until the worker takes them over.
        drop(signals);
        boot.slot = birth.slot;
        boot.request_limit = birth.request_limit;
        boot.pair = birth.pair;
        let code = match settle(&boot, &app, services, birth.middle) {
            Ok(seat) => boot::begin(boot, seat, app),
            Err(failure) => boot::fail(&boot.pair, &failure),
        };
        info!("Worker exiting (pid: {})", std::process::id());
        code
    }
}

/// What a worker has of its own beside what its mold had; the rights are the mold's, which has dropped the others.
fn settle(
    boot: &Boot,
    app: &Running,
    services: &'static ForkedServices,
    middle: Pid,
) -> Result<&'static Seat, Failure> {
    let seat = services
        .take_seat(&boot.board, boot.slot)
        .map_err(|error| Failure::boot("map the scoreboard", error))?;
    let words = boot.ledger.take_area(boot.slot).map_err(|error| Failure::boot("map the ledger", error))?;
    debug!("boot: map the board");
    // The middle process ends at once; a death signal that is asked for before would be its death's.
    while nix::unistd::getppid() == middle {
        std::thread::sleep(MOMENT);
    }
    boot::follow_master(boot.master).map_err(|error| Failure::boot("watch the master", error))?;
    boot::set_title(boot);
    last_words::prepare(words).map_err(|error| Failure::boot("prepare for a crash", error))?;
    debug!("boot: prepare for a crash");
    let facts = application::facts(&boot.settings, boot.slot, boot.generation);
    app.post_fork(&facts).map_err(Failure::application)?;
    debug!("boot: tell the application of the fork");
    Ok(seat)
}
