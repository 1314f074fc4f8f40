//! What a worker is told, by its master and by signals, and how it goes when it is told to go.

use std::os::fd::OwnedFd;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use tracing::{debug, error, info};

use super::course::Heading;
use super::engine::Engine;
use crate::app::Hook;
use crate::log::{AccessLog, ErrorLog};
use crate::pair::{Farewell, Order, Received, Report};
use crate::scoreboard::SlotState;
use crate::sys::{clock, orphan, socket};

impl Engine {
    /// Waits for orders or signals, before there are connections.
    pub(super) fn wait_for_orders(&self, limit: Duration) {
        if matches!(socket::wait_readable(&self.pair, Some(limit)), Ok(true)) {
            self.take_orders();
        }
        self.take_signals();
    }

    pub(super) fn take_orders(&self) {
        loop {
            match self.pair.receive_order() {
                Ok(Received::Message(Order::Retire(Farewell::Reload), _)) => self.head_for(Heading::Reload),
                Ok(Received::Message(Order::Retire(Farewell::Stop), _)) => self.head_for(Heading::Stop),
                Ok(Received::Message(Order::Quick, _)) => self.head_for(Heading::Quick),
                // A worker has nobody to speak to but its master.
                Ok(Received::Message(Order::Ping | Order::Speak | Order::Leaving, _)) => {}
                Ok(Received::Message(Order::Fork { .. }, _)) => debug!("a worker does not fork"),
                Ok(Received::Message(Order::Reopen { errorlog, accesslog }, files)) => {
                    let access_log = self.access_log.as_deref();
                    adopt_logs(&self.error_log, access_log, errorlog, accesslog, files);
                }
                Ok(Received::Nothing) => return,
                Ok(Received::Closed) => return self.become_orphan(),
                Err(error) => {
                    error!("an order of the master cannot be read: {error}");
                    return;
                }
            }
        }
    }

    pub(super) fn take_signals(&self) {
        for signal in self.signals.pending() {
            match signal {
                libc::SIGTERM => self.head_for(Heading::Stop),
                libc::SIGINT | libc::SIGQUIT => self.head_for(Heading::Quick),
                libc::SIGUSR1 => self.ask_for_logs(),
                other => debug!("signal {other} is not for a worker"),
            }
        }
    }

    fn become_orphan(&self) {
        if self.course.heading() < Heading::Orphaned {
            info!("Parent changed, shutting down: the master is gone");
            orphan::light_fuse();
        }
        // The pair is readable for ever now; the worker lives on for what is in flight.
        let _ = self.epoll.remove(&self.pair);
        self.head_for(Heading::Orphaned);
    }

    pub(super) fn head_for(&self, heading: Heading) {
        let now = clock::monotonic();
        if !self.course.turn_to(heading, now) {
            return;
        }
        self.seat.set_state(SlotState::Draining);
        self.report(&Report::Look);
        match heading {
            Heading::Serving => {}
            Heading::Reload => self.doors.leave(&self.epoll),
            Heading::Stop | Heading::Orphaned => self.doors.look_again(&self.epoll, now, true),
            Heading::Quick => {
                self.app.hook(Hook::WorkerInt);
                self.doors.leave(&self.epoll);
                return self.dismiss();
            }
        }
        self.reconsider_deadlines();
        self.retire_further(now);
    }

    /// The way has changed, and so may have the time of those who are idle. Whoever is being served gets a second look,
    /// since its deadline may have been computed for the old way.
    fn reconsider_deadlines(&self) {
        for (_, place) in self.connections.places() {
            if let Some(held) = place.occupant.claim() {
                place.set_deadline(self.note_deadline(&held));
                // Whoever wanted it meanwhile was told no: the edge is not told again, so look at it soon.
                if held.release().is_some() {
                    place.set_deadline(0);
                    self.next_sweep.store(0, Relaxed);
                }
            }
        }
        self.wake_poller();
    }

    /// Leaves the listeners once they are quiet, and ends when nobody is left.
    pub(super) fn retire_further(&self, now: u64) {
        if self.doors.is_open() && self.retirement_is_due() <= now {
            self.doors.leave(&self.epoll);
        }
        if !self.doors.is_open() && self.connections.occupied() <= self.strays() {
            self.dismiss();
        }
    }

    /// The end: every thread comes out of its wait, and none begins another.
    fn dismiss(&self) {
        self.crew.dismiss();
        self.wake_poller();
    }

    fn wake_poller(&self) {
        // A full counter has woken it already.
        let _ = self.nudge.write(1);
    }

    pub(super) fn take_nudge(&self) {
        if !self.crew.is_dismissed() {
            let _ = self.nudge.read(); // empty: another thread has taken it
        }
        self.retire_for_strays();
    }

    /// The operator told this worker alone; only the master has the right to the directory.
    fn ask_for_logs(&self) {
        if let Err(error) = self.pair.send_report(&Report::WantsLogs) {
            error!("cannot ask the master for new log files: {error}");
        }
    }
}

/// Goes on with the log files that the master has opened: the error log's first, each only if it came.
pub(super) fn adopt_logs(
    error_log: &ErrorLog,
    access_log: Option<&AccessLog>,
    errorlog: bool,
    accesslog: bool,
    files: Vec<OwnedFd>,
) {
    let mut files = files.into_iter();
    let adopted = [
        errorlog.then(|| files.next()).flatten().map(|file| error_log.sink().adopt(file)),
        accesslog
            .then(|| files.next())
            .flatten()
            .and_then(|file| access_log.map(|log| log.sink().adopt(file))),
    ];
    for result in adopted.into_iter().flatten() {
        if let Err(error) = result {
            error!("cannot go on with a log file that the master has opened: {error}");
        }
    }
}
