//! Records of dying workers on their way to the error log: one symbolizer at a time, a few that wait, and the plain
//! record for all that is too much or too slow.

use std::collections::VecDeque;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use nix::unistd::Pid;
use tracing::{error, warn};

use super::record::headline;
use crate::last_words::LastWords;
use crate::log::cause;
use crate::master::Master;
use crate::master::moment::{Monotonic, NEVER, after};
use crate::master::reload::generation::Generation;
use crate::master::workers::children::{Child, Doom, Life, Role};
use crate::settings::{AppSource, Settings};
use crate::symbolizer::{self, Case, Errand, Identity};
use crate::sys::process::{self, Change, Fork};
use crate::sys::signal::{self, Mask};

/// What a symbolizer has before it is killed, and the master writes the record itself.
const PATIENCE: Duration = Duration::from_secs(5);
/// So many records wait for a symbolizer; what is more is written without names. So a crash loop costs one process of low
/// priority at a time, whatever its debug information weighs.
const MOST_WAITING: usize = 4;
/// So many records of one worker are believed: its threads may be too long in requests one by one before it has gone. One
/// that writes more writes over what it should leave alone, or means to fill the log.
const MOST_RECORDS: usize = 64;
/// Nobody, where there is no better user to become.
const NOBODY: u32 = 65534;

/// Records that are being made.
#[derive(Debug, Default)]
pub(in crate::master) struct Symbolizing {
    waiting: VecDeque<Errand>,
    at_work: Option<AtWork>,
}

#[derive(Debug)]
struct AtWork {
    pid: Pid,
    since: Monotonic,
    /// Kept, in case that it fails.
    case: Case,
    /// SIGKILL was sent.
    killed: bool,
}

/// What a forked symbolizer takes with it.
pub(in crate::master) struct Summary {
    errand: Errand,
    mask: Mask,
}

impl Master {
    /// Reads what a worker has said in the face of death, and has it written.
    pub(in crate::master) fn hear_last_words(&mut self, pid: Pid) {
        let Some(child) = self.children.get_mut(pid) else { return };
        let doom = doom(child);
        let generation = self.generations.iter().find(|generation| generation.number == child.generation);
        let (Some(generation), Some(slot)) = (generation, child.slot()) else { return };
        let mut heard = generation.ledger.read(slot);
        heard.truncate(MOST_RECORDS.saturating_sub(child.records));
        child.records += heard.len();
        child.spoke = heard.last().map(|words| words.cause).or(child.spoke);
        let errands: Vec<Errand> = heard
            .into_iter()
            .map(|words| {
                let headline = headline(pid, &words, doom);
                errand(generation, headline, words)
            })
            .collect();
        for errand in errands {
            self.symbolizing.enqueue(errand);
        }
    }

    /// Starts the next symbolizer when none is at work. In the child it returns that one's errand.
    pub(in crate::master) fn symbolize_next(&mut self) -> Option<Box<Summary>> {
        self.hurry_symbolizer();
        while self.symbolizing.at_work.is_none() {
            let errand = self.symbolizing.waiting.pop_front()?;
            match fork() {
                Ok((Fork::Parent(pid), _)) => self.has_symbolizer(pid, errand),
                Ok((Fork::Child, mask)) => return Some(Box::new(Summary { errand, mask })),
                Err(error) => {
                    warn!("cannot start a symbolizer: {}", cause(&error));
                    error!("{}", symbolizer::bare(&errand.case));
                }
            }
        }
        None
    }

    fn has_symbolizer(&mut self, pid: Pid, errand: Errand) {
        let now = self.now();
        self.children.push(Child::newborn(pid, Role::Symbolizer, 0, None, now));
        self.symbolizing.at_work = Some(AtWork { pid, since: now, case: errand.case, killed: false });
    }

    /// When the one at work has to be killed.
    pub(in crate::master) fn symbolizer_deadline(&self) -> Monotonic {
        match &self.symbolizing.at_work {
            Some(AtWork { since, killed: false, .. }) => after(*since, PATIENCE),
            Some(AtWork { killed: true, .. }) | None => NEVER,
        }
    }

    fn hurry_symbolizer(&mut self) {
        let now = self.now();
        if now < self.symbolizer_deadline() {
            return;
        }
        if let Some(late) = &mut self.symbolizing.at_work {
            late.killed = true;
            // It may be dead already, and is reaped next.
            let _gone = process::kill(late.pid, libc::SIGKILL);
        }
    }

    /// A symbolizer has ended. If it has not done its work, the record is written without names.
    pub(in crate::master) fn bury_symbolizer(&mut self, pid: Pid, change: Change) {
        let Some(done) = self.symbolizing.at_work.take_if(|at_work| at_work.pid == pid) else { return };
        if change != Change::Exited(0) {
            error!("{}", symbolizer::bare(&done.case));
        }
    }
}

impl Symbolizing {
    fn enqueue(&mut self, errand: Errand) {
        if self.waiting.len() < MOST_WAITING {
            self.waiting.push_back(errand);
        } else {
            error!("{}", symbolizer::bare(&errand.case));
        }
    }
}

impl Summary {
    /// In the child, with the master gone: nothing returns from here, not even a panic.
    pub(in crate::master) fn run(self) -> ! {
        // It can only fail for a mask that is no mask. The handlers of the master's signals do nothing any more.
        let _restored = signal::restore(&self.mask);
        let outcome = catch_unwind(AssertUnwindSafe(|| symbolizer::run(self.errand)));
        match outcome {
            Ok(Ok(record)) => {
                error!("{record}");
                process::exit_now(0)
            }
            Ok(Err(error)) => {
                warn!("cannot look for the names of a stack: {}", cause(&error));
                process::exit_now(1)
            }
            Err(_) => process::exit_now(1),
        }
    }
}

/// Why the master has signalled a child, if it has.
fn doom(child: &Child) -> Option<Doom> {
    match child.life {
        Life::Condemned { doom, .. } => Some(doom),
        Life::Booting | Life::Ready | Life::Retiring { .. } => None,
    }
}

fn errand(generation: &Generation, headline: String, words: LastWords) -> Errand {
    let settings = &generation.settings;
    let library = match &settings.app.source {
        AppSource::Library(path) => Some(path.clone()),
        AppSource::Builtin(_) => None,
    };
    let application =
        library.as_ref().and_then(|path| Some(path.file_name()?.to_string_lossy().into_owned()));
    let case = Case { headline, frames: words.frames, maps: words.maps, application };
    let image = generation.image.file();
    let library = if image.is_none() { library } else { None };
    Errand { case, image, library, identity: identity(settings) }
}

/// The workers' user; a master that is root and has set none still has nobody.
fn identity(settings: &Settings) -> Identity {
    let (user, group) = (settings.user.as_ref(), settings.group.as_ref());
    let own = if nix::unistd::geteuid().is_root() {
        (NOBODY, NOBODY)
    } else {
        (nix::unistd::geteuid().as_raw(), nix::unistd::getegid().as_raw())
    };
    let gid = group.map(|group| group.gid).or(user.and_then(|user| user.gid));
    Identity { uid: user.map_or(own.0, |user| user.uid), gid: gid.unwrap_or(own.1) }
}

/// No pair: its errand is in its memory, and what it says is its exit code.
fn fork() -> io::Result<(Fork, Mask)> {
    let mask = signal::block_all()?;
    let side = process::fork();
    if !matches!(side, Ok(Fork::Child)) {
        // As above.
        let _restored = signal::restore(&mask);
    }
    Ok((side?, mask))
}
