//! USR2, seen from the master that gets it: starts the program once more, on the same listeners, and goes on alone
//! unless that shows that it serves. How the new one sees it is in [`promotion`].

use std::io;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::sync::Arc;
use std::time::Duration;

use nix::unistd::Pid;
use tracing::{debug, error, info, warn};

use crate::listener::Listener;
use crate::log::cause;
use crate::master::moment::{Monotonic, NEVER, after};
use crate::master::pidfile::Pidfile;
use crate::master::service::status::one_line;
use crate::master::workers::children::{Child, Doom, Life, Parting, Role};
use crate::master::{Master, Phase, signals};
use crate::pair::{self, Order, Pair, Report, Sent};
use crate::sys::fd;
use crate::sys::process::{self, Change, Fork};
use crate::sys::signal::{self, Mask};
use handover::Letter;
use main_process::Handing;

pub(in crate::master) mod handover;
pub(in crate::master) mod herald;
pub(in crate::master) mod main_process;
pub(in crate::master) mod program;
pub(in crate::master) mod promotion;

/// What the new program has beside two times `boot_timeout` (its first worker, then the others) to show that it serves.
/// It holds itself to its own settings; this is for a program that does not.
const BESIDE_BOOTING: Duration = Duration::from_secs(10);
/// Between TERM and KILL for a program that has not shown it.
const LAST_SECOND: Duration = Duration::from_secs(1);
/// The code of a child that could not run the program, as a shell has it.
const EXIT_NO_PROGRAM: i32 = 127;

/// What is known of the upgrade, beside the new master in the table of children.
#[derive(Debug, Default)]
pub(in crate::master) struct Upgrade {
    /// USR2 has come, and the program is to be started.
    is_wanted: bool,
    /// The numbers of the listeners that the new master has, too. While it boots: all that it was given.
    shared: Vec<RawFd>,
    /// Why the last one failed, until one does not.
    pub failure: Option<String>,
}

impl Master {
    /// USR2: the program is to be started once more, unless there are two masters already.
    pub(in crate::master) fn upgrade(&mut self) {
        if let Some(parent) = &self.parent {
            let pid = parent.pid();
            return warn!(
                "USR2 signal ignored. Parent exists: the old master (pid:{pid}) has to be stopped first"
            );
        }
        if let Some(child) = self.successor() {
            let pid = child.pid;
            return warn!(
                "USR2 signal ignored. Child exists: one of this and the new master (pid:{pid}) has to be stopped first"
            );
        }
        if self.phase == Phase::Starting {
            return warn!("USR2 signal ignored. The server is still starting");
        }
        self.upgrade.is_wanted = true;
    }

    /// The new master, as long as it is not reaped.
    pub(in crate::master) fn successor(&self) -> Option<&Child> {
        self.children.iter().find(|child| child.role == Role::Upgrade)
    }

    /// Starts the new master if that is wanted, and ends one that does not show that it serves.
    pub(in crate::master) fn manage_upgrade(&mut self) {
        if std::mem::take(&mut self.upgrade.is_wanted)
            && let Err(error) = self.start_successor()
        {
            self.upgrade_failed(&format!("cannot start a new master: {}", cause(&error)));
        }
        let now = self.now();
        if self.successor_deadline(now) <= now {
            self.end_successor(now);
        }
    }

    /// When [`Master::manage_upgrade`] has something to do.
    pub(in crate::master) fn upgrade_deadline(&self, now: Monotonic) -> Monotonic {
        if self.upgrade.is_wanted { now } else { self.successor_deadline(now) }
    }

    fn successor_deadline(&self, now: Monotonic) -> Monotonic {
        let Some(child) = self.successor() else { return NEVER };
        let end = match child.life {
            Life::Booting => self.boot_patience().map_or(NEVER, |limit| after(child.spawned, limit)),
            Life::Condemned { since, patience, killed: false, .. } => after(since, patience),
            Life::Condemned { killed: true, .. } | Life::Ready | Life::Retiring { .. } => NEVER,
        };
        end.saturating_add(self.freezes.since(child.spawned.min(now)))
    }

    fn boot_patience(&self) -> Option<Duration> {
        let staying = self.generations.iter().filter(|generation| generation.is_staying());
        let longest = staying.map(|generation| generation.settings.boot_timeout).max()??;
        Some(longest * 2 + BESIDE_BOOTING)
    }

    /// First gently, then not.
    fn end_successor(&mut self, now: Monotonic) {
        let Some(child) = self.children.iter_mut().find(|child| child.role == Role::Upgrade) else { return };
        let killed = matches!(child.life, Life::Condemned { .. });
        if !killed {
            warn!("New master (pid:{}) is stopped: it has not shown in time that it serves", child.pid);
        }
        // It may be dead already, and is reaped next.
        let _gone = process::kill(child.pid, if killed { libc::SIGKILL } else { libc::SIGTERM });
        child.life = Life::Condemned { since: now, patience: LAST_SECOND, doom: Doom::BootTimeout, killed };
    }

    fn start_successor(&mut self) -> io::Result<()> {
        let listeners = self.staying_listeners();
        let (ours, theirs) = pair::pair()?;
        let letter = Letter {
            master: std::process::id().cast_signed(),
            pair: theirs.as_fd().as_raw_fd(),
            passed: !self.passed.is_empty(),
            listeners: listeners.iter().map(|listener| listener.hand_over()).collect(),
        };
        let text = serde_json::to_string(&letter)?;
        let mask = signal::block_all()?;
        let side = process::fork();
        if let Ok(Fork::Child) = side {
            self.become_successor(&text, &theirs, &listeners, &mask);
        }
        // It can only fail for a mask that is no mask; and the new child has to be counted in any case.
        let _restored = signal::restore(&mask);
        if let Fork::Parent(pid) = side? {
            info!("Booting new master with pid: {pid} ({})", self.program.path().display());
            self.upgrade.shared = letter.listeners.iter().map(|handed| handed.descriptor).collect();
            self.children.push(Child::newborn(pid, Role::Upgrade, 0, Some(ours), self.now()));
        }
        Ok(())
    }

    /// Every listener of a generation that stays, once.
    fn staying_listeners(&self) -> Vec<Arc<Listener>> {
        let mut all: Vec<Arc<Listener>> = Vec::new();
        for generation in self.generations.iter().filter(|generation| !generation.is_leaving()) {
            for listener in &generation.listeners {
                if !all.iter().any(|other| Arc::ptr_eq(other, listener)) {
                    all.push(Arc::clone(listener));
                }
            }
        }
        all
    }

    /// In the child: everything but the standard streams, the listeners and the line is close-on-exec, and goes.
    fn become_successor(&self, letter: &str, line: &Pair, listeners: &[Arc<Listener>], mask: &Mask) -> ! {
        let reason = match pass_on(line, listeners, mask) {
            Ok(()) => self.program.execute(letter, &self.directory.fd),
            Err(error) => format!("cannot prepare to run {}: {error}", self.program.path().display()),
        };
        // A master that does not read has the exit code.
        let _ = line.send_report(&Report::Failed(reason));
        process::exit_now(EXIT_NO_PROGRAM)
    }

    /// The new master has shown that it serves, with these listeners of ours.
    pub(in crate::master) fn successor_serves(&mut self, pid: Pid, kept: Vec<RawFd>) {
        let now = self.now();
        let Some(child) = self.children.get_mut(pid) else { return };
        if child.role != Role::Upgrade || child.life != Life::Booting {
            return debug!("pid {pid} is no new master that boots, and says that it serves");
        }
        child.life = Life::Ready;
        child.ready_since = Some(now);
        self.upgrade.shared = kept;
        self.upgrade.failure = None;
        info!("New master (pid:{pid}) serves beside this one, which serves until it is told to stop");
        self.hand_over_main_process(pid);
    }

    /// The new master leaves, and has told the service manager that this one is the main process again.
    pub(in crate::master) fn successor_leaves(&mut self, pid: Pid) {
        let now = self.now();
        let Some(child) = self.children.get_mut(pid).filter(|child| child.role == Role::Upgrade) else {
            return;
        };
        info!(
            "New master (pid:{pid}) leaves{}",
            if self.phase == Phase::Running { "; this one goes on" } else { "" }
        );
        child.life = Life::Retiring { since: now, patience: Duration::MAX, parting: Parting::Stop };
        self.speak();
        self.is_left_alone();
    }

    /// The new master is dead.
    pub(in crate::master) fn bury_successor(&mut self, child: &Child, change: Change) {
        self.upgrade.shared.clear();
        let (pid, manner) = (child.pid, manner(change));
        match (child.life, &child.last_words) {
            (Life::Ready | Life::Retiring { .. }, _) if change == Change::Exited(0) => {
                info!("New master (pid:{pid}) is gone: it {manner}");
            }
            (Life::Ready | Life::Retiring { .. }, _) => {
                error!("New master (pid:{pid}) is dead, this one goes on: it {manner}");
            }
            (Life::Booting, Some(words)) => self.upgrade_failed(&one_line(words)),
            (Life::Booting, None) => self.upgrade_failed(&format!("it {manner} before it served")),
            (Life::Condemned { .. }, _) => {
                self.upgrade_failed("it did not serve within twice boot_timeout and 10 s");
            }
        }
        self.take_back_main_process(pid);
        self.is_left_alone();
    }

    fn upgrade_failed(&mut self, reason: &str) {
        error!("Upgrade failed, this master goes on alone: {reason}");
        self.upgrade.failure = Some(reason.to_owned());
    }

    /// Another master uses this listener, too: it can only be left.
    pub(in crate::master) fn is_shared(&self, listener: &Listener) -> bool {
        let number = listener.as_fd().as_raw_fd();
        self.upgrade.shared.contains(&number)
            || self.parent.as_ref().is_some_and(|parent| parent.has(listener))
    }

    /// Forgets that a listener that is left was shared: its number may be another's next.
    pub(in crate::master) fn forget_shared(&mut self, listener: &Listener) {
        let number = listener.as_fd().as_raw_fd();
        self.upgrade.shared.retain(|shared| *shared != number);
        if let Some(parent) = &mut self.parent {
            parent.forget(listener);
        }
    }

    /// Another master goes on with what this one leaves.
    pub(in crate::master) fn is_succeeded(&self) -> bool {
        let goes_on = |child: &Child| matches!(child.life, Life::Booting | Life::Ready);
        self.parent.as_ref().is_some_and(|parent| !parent.is_leaving())
            || self.successor().is_some_and(goes_on)
    }

    /// The other master leaves. If this one does, too, nobody goes on: idle connections wait for nothing.
    pub(in crate::master) fn is_left_alone(&mut self) {
        if matches!(self.phase, Phase::Stopping { .. }) {
            self.dissolve_all(Parting::Stop);
        }
    }

    /// The new master is to know that this one leaves.
    pub(in crate::master) fn tell_successor_of_leaving(&self) {
        let Some(child) = self.successor() else { return };
        let sent = child.pair.as_ref().map(|pair| pair.send_order(&Order::Leaving, &[]));
        if let Some(Ok(Sent::Full) | Err(_)) = sent {
            debug!("New master (pid:{}) cannot be told that this one leaves", child.pid);
        }
    }

    /// The same to the old one, which leaves, too: it does not wait for idle connections any more.
    pub(in crate::master) fn tell_parent_of_leaving(&self) {
        if let Some(parent) = &self.parent {
            parent.leaving();
        }
    }

    /// Nothing has to be waited for any more: a new master goes on by itself.
    pub(in crate::master) fn may_end(&self) -> bool {
        matches!(self.handing, Handing::Done) && self.children.iter().all(|child| child.role == Role::Upgrade)
    }

    /// The new master moves its pidfile to this one's name: until then this one stays, and there is never none.
    pub(in crate::master) fn is_inherited_by_successor(&self, pidfile: &Pidfile) -> bool {
        self.successor()
            .is_some_and(|child| !is_doomed(child) && pidfile.has_heir(promotion::SUFFIX, child.pid))
    }

    /// At the end: a new master that was on its way out does not stay behind.
    pub(in crate::master) fn leave_successor(&mut self) {
        self.upgrade.is_wanted = false;
        if let Some(child) = self.successor()
            && is_doomed(child)
        {
            // It may be dead already.
            let _gone = process::kill(child.pid, libc::SIGKILL);
        }
    }
}

fn is_doomed(child: &Child) -> bool {
    matches!(child.life, Life::Condemned { .. })
}

/// Signals, mask and descriptors as the program is to find them. Handlers first: a signal that came to this child must not
/// write to the pipe that it shares with the master.
fn pass_on(line: &Pair, listeners: &[Arc<Listener>], mask: &Mask) -> io::Result<()> {
    for signal in signals::TAKEN.into_iter().chain([libc::SIGPIPE]) {
        signal::reset(signal)?;
    }
    fd::set_cloexec(line, false)?;
    for listener in listeners {
        fd::set_cloexec(listener, false)?;
    }
    signal::restore(mask)
}

/// Behind "it".
fn manner(change: Change) -> String {
    match change {
        Change::Exited(code) => format!("exited with code {code}"),
        Change::Signaled { signal, .. } => format!("was sent {}", signal::long_name(signal)),
        Change::Stopped(_) | Change::Continued => "changed".to_owned(),
    }
}
