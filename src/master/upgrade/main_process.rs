//! Which of two masters the service manager takes for the main process of the service. It listens to that one alone
//! (`NotifyAccess=main`), so the one that is names the other, and the other is silent until that was read.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use nix::unistd::Pid;
use tracing::{debug, warn};

use crate::master::moment::{Monotonic, NEVER, after};
use crate::master::{Master, Phase};
use crate::pair::{Order, Sent};

/// How long the service manager may take to read. Without its answer the others go on as if it had.
const LONGEST: Duration = Duration::from_secs(5);
/// How soon a message is offered again to a service manager that has not read.
const PAUSE: Duration = Duration::from_millis(100);

/// On its way from one master to the other.
#[derive(Debug, Default)]
pub(in crate::master) enum Handing {
    /// It is not.
    #[default]
    Done,
    /// `MAINPID=` is said or waits to be said; the barrier behind it is not.
    Named { to: Pid, since: Monotonic },
    /// The barrier is said: the other end of this pipe is closed when the service manager has read all before it.
    Awaited { to: Pid, since: Monotonic, read: OwnedFd },
}

impl Handing {
    /// What becomes readable when the service manager has read.
    pub(in crate::master) fn barrier(&self) -> Option<BorrowedFd<'_>> {
        match self {
            Handing::Awaited { read, .. } => Some(read.as_fd()),
            Handing::Done | Handing::Named { .. } => None,
        }
    }
}

impl Master {
    /// From now on `pid` is the main process, which may speak as soon as the service manager knows.
    pub(in crate::master) fn hand_over_main_process(&mut self, pid: Pid) {
        self.notifier.send(format!("MAINPID={pid}"));
        self.notifier.mute();
        self.handing = Handing::Named { to: pid, since: self.now() };
        self.advance_handing();
    }

    /// Goes as far as it can without waiting.
    pub(in crate::master) fn advance_handing(&mut self) {
        let now = self.now();
        let (to, since) = match &self.handing {
            Handing::Done => return,
            Handing::Named { to, since } | Handing::Awaited { to, since, .. } => (*to, *since),
        };
        if now >= after(since, LONGEST) {
            warn!("the service manager has not read in time that pid {to} is the main process");
            return self.handed_over(to);
        }
        if matches!(self.handing, Handing::Awaited { .. }) {
            return;
        }
        self.notifier.flush();
        match self.notifier.barrier() {
            Ok(Some(read)) => self.handing = Handing::Awaited { to, since, read },
            // There is no service manager.
            Ok(None) => self.handed_over(to),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(error) => {
                debug!("the service manager does not listen: {error}");
                self.handed_over(to);
            }
        }
    }

    /// The service manager has read who is the main process.
    pub(in crate::master) fn barrier_is_passed(&mut self) {
        if let Handing::Awaited { to, .. } = &self.handing {
            self.handed_over(*to);
        }
    }

    fn handed_over(&mut self, to: Pid) {
        self.handing = Handing::Done;
        if let Some(parent) = &self.parent {
            return parent.leaving();
        }
        let Some(child) = self.children.get_mut(to) else { return };
        let sent = child.pair.as_ref().map(|pair| pair.send_order(&Order::Speak, &[]));
        if let Some(Ok(Sent::Full) | Err(_)) = sent {
            warn!("New master (pid:{to}) cannot be told that the service manager listens to it");
        }
    }

    /// A master that was started by another and stops leaves the service to that one.
    pub(in crate::master) fn hand_back_main_process(&mut self) {
        if let Some(parent) = &self.parent
            && !self.notifier.is_muted()
        {
            self.hand_over_main_process(parent.pid());
        }
    }

    /// The new master has died. If the service manager took it for the main process it does not listen to this one, but
    /// with `NotifyAccess=all`.
    pub(in crate::master) fn take_back_main_process(&mut self, from: Pid) {
        self.forget_handing();
        if self.notifier.is_muted() && self.phase == Phase::Running {
            debug!("pid {from} was the main process");
            self.speak_as(std::process::id());
        }
    }

    fn speak_as(&mut self, pid: u32) {
        self.notifier.unmute();
        self.notifier.send(format!("MAINPID={pid}"));
        // The watchdog looks at this process from now on.
        self.begin_heartbeat();
        self.heartbeat.stop_extending();
        self.say_ready();
    }

    /// This is the main process now, and the service manager knows.
    pub(in crate::master) fn speak(&mut self) {
        if !self.notifier.is_muted() {
            return;
        }
        match self.phase {
            Phase::Starting => self.notifier.unmute(),
            Phase::Running => self.speak_as(std::process::id()),
            // The one that stops has nothing to say any more.
            Phase::Draining { .. } | Phase::Stopping { .. } => {}
        }
    }

    /// There is nobody to hand it to.
    pub(in crate::master) fn forget_handing(&mut self) {
        self.handing = Handing::Done;
    }

    /// When [`Master::advance_handing`] has something to do.
    pub(in crate::master) fn handing_deadline(&self, now: Monotonic) -> Monotonic {
        match &self.handing {
            Handing::Done => NEVER,
            Handing::Named { .. } => after(now, PAUSE),
            Handing::Awaited { since, .. } => after(*since, LONGEST),
        }
    }
}
