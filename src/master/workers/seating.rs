//! What a forked worker takes with it, and the last steps before it is its own: everything else of the master is dropped.

use std::num::NonZeroU64;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::sync::Arc;

use nix::unistd::Pid;
use tracing::{debug, warn};

use crate::last_words::Ledger;
use crate::listener::Listener;
use crate::log::{AccessLog, ErrorLog};
use crate::master::Master;
use crate::pair::Pair;
use crate::scoreboard::Scoreboard;
use crate::settings::Settings;
use crate::sys::image::Image;
use crate::sys::signal::Mask;
use crate::sys::title::Title;
use crate::sys::{fd, signal};

/// A new worker's belongings.
///
/// All signals but the faults are blocked until the worker restores [`mask`](Seating::mask), which it does when its own signal
/// pipe stands. Until then HUP, INT, QUIT, TERM, USR1, USR2, WINCH, TTIN and TTOU are taken by handlers that do nothing,
/// so that an operator's `pkill -HUP unirs` kills no worker; the worker takes those it wants over with a
/// [`SignalPipe`](crate::sys::signal::SignalPipe) of its own. CHLD is at its default.
pub(crate) struct Seating {
    /// The generation's settings.
    pub settings: Arc<Settings>,
    /// The generation's number.
    pub generation: u64,
    /// The worker's slot on the board; a mold has none.
    pub slot: Option<usize>,
    /// The generation's board, still writable as a whole: [`Scoreboard::take_seat`] comes next.
    pub board: Scoreboard,
    /// Where its last words go: [`Ledger::take_area`].
    pub ledger: Ledger,
    /// The worker's end: orders come here, and its end-of-file is the master's death.
    pub pair: Pair,
    /// Where to accept.
    pub listeners: Vec<Arc<Listener>>,
    /// After so many requests the worker tells the master to look at its slot.
    pub request_limit: Option<NonZeroU64>,
    /// Where to write the access log, if there is one.
    pub access_log: Option<Arc<AccessLog>>,
    /// The generation's image of the application's library, if it has one.
    pub image: Option<Arc<Image>>,
    /// The process's error log: the generation's, at the generation's level.
    pub error_log: ErrorLog,
    /// The working directory of the start, from which relative paths are resolved.
    pub directory: Arc<OwnedFd>,
    /// The name that `ps` shows.
    pub title: Option<Title>,
    /// The mask to put back.
    pub mask: Mask,
    /// The master; when it is not the parent any more it died during the fork.
    pub master: Pid,
    pub(in crate::master) foreign: Vec<RawFd>,
}

impl Seating {
    /// The descriptors that a worker holds when it begins: its pair, its generation's listeners, image and logs, the start
    /// directory, and what was open before the server started.
    pub(crate) fn descriptors(&self) -> Vec<RawFd> {
        let mut listed = self.foreign.clone();
        listed.push(self.pair.as_fd().as_raw_fd());
        listed.push(self.directory.as_raw_fd());
        listed.push(self.error_log.sink().as_fd().as_raw_fd());
        listed.extend(self.access_log.iter().map(|log| log.sink().as_fd().as_raw_fd()));
        listed.extend(self.image.iter().map(|image| image.as_fd().as_raw_fd()));
        listed.extend(self.listeners.iter().map(|listener| listener.as_fd().as_raw_fd()));
        listed
    }
}

impl Master {
    /// In the child: lets go of the master. The signal pipe first, so that no signal of the worker's ever wakes the master;
    /// then, by being dropped, the other children's pairs, the pidfile and its lock's descriptor, the notify socket, the
    /// starter's pipe, and the listeners, boards and logs of other generations.
    pub(in crate::master) fn let_go(self) {
        drop(self.signals);
        if let Err(error) = signal::reset(libc::SIGCHLD) {
            warn!("cannot put SIGCHLD back to its default: {error}");
        }
        debug!("boot: reset handlers");
    }
}

/// Says which steps were taken, and complains about a descriptor that nobody meant to pass on.
pub(in crate::master) fn check(seating: &Seating) {
    for descriptor in fd::unlisted(&seating.descriptors()) {
        warn!("descriptor {descriptor} is open in a worker, which has no use for it");
    }
    debug!("boot: close descriptors");
    debug!("boot: keep the pair");
}
