//! Listeners that are being closed: nobody new gets in, who is in is still accepted, then listening ends for all who have
//! the socket, also for a worker that is stuck in a call and cannot close its copy.

use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::sync::Arc;
use std::time::Duration;

use nix::sys::socket::{Shutdown, shutdown};
use tracing::{debug, info};

use crate::listener::Listener;
use crate::sys::socket;

use super::moment::{Monotonic, after, elapsed};
use super::reload::generation::Generation;
use super::{Master, Phase};

/// How often a queue is looked at.
const LOOK: Duration = Duration::from_millis(50);
/// A queue has been empty for so long, at least, before it counts as quiet.
const QUIET: Duration = Duration::from_millis(100);
/// Workers that are not stuck close their own copies before the master ends the socket.
const AFTER_THE_WORKERS: Duration = Duration::from_millis(500);
/// A queue that does not empty holds up a reload for so long: its workers are all stuck.
const LONGEST: Duration = Duration::from_secs(5);

/// A listener on its way out, and how quiet it is.
#[derive(Debug)]
pub(super) struct Closing {
    listener: Arc<Listener>,
    since: Monotonic,
    /// When somebody was last seen waiting in its queue.
    busy_at: Monotonic,
}

impl Closing {
    fn begin(listener: Arc<Listener>, now: Monotonic) -> Closing {
        if let Err(error) = listener.refuse_newcomers() {
            debug!("cannot turn newcomers away from {}: {error}", listener.address());
        }
        Closing { listener, since: now, busy_at: now }
    }

    fn look(&mut self, now: Monotonic) {
        // A listener that cannot be looked at has nobody waiting.
        if socket::wait_readable(&*self.listener, Some(Duration::ZERO)).unwrap_or(false) {
            self.busy_at = now;
        }
    }

    /// Nobody can be left in the queue, or nobody takes them.
    fn is_quiet(&self, now: Monotonic) -> bool {
        elapsed(self.busy_at, now) >= self.quiet() || elapsed(self.since, now) >= LONGEST
    }

    fn is_over(&self, now: Monotonic) -> bool {
        elapsed(self.busy_at, now) >= self.quiet() + AFTER_THE_WORKERS
    }

    fn quiet(&self) -> Duration {
        self.listener.quiet_before_close().max(QUIET)
    }

    fn end(&self) -> io::Result<()> {
        Ok(shutdown(self.listener.as_fd().as_raw_fd(), Shutdown::Both)?)
    }
}

impl Master {
    /// Takes the listeners from generations that are leaving. Those that nobody else has begin to close; one that the
    /// service manager or another master goes on using is only let go.
    pub(super) fn close_left_listeners(&mut self, now: Monotonic) {
        for listener in self.take_left_listeners() {
            if self.is_used(&listener)
                || self.closing.iter().any(|other| Arc::ptr_eq(&other.listener, &listener))
            {
                continue;
            }
            if self.phase == Phase::Running {
                info!("Not listening any more at: {}", listener.address());
            }
            if self.is_shared(&listener) {
                self.forget_shared(&listener);
            } else if !listener.is_inherited() {
                self.closing.push(Closing::begin(listener, now));
            }
        }
    }

    /// Each once, although two generations may have had it: what is decided for one must not be decided again.
    fn take_left_listeners(&mut self) -> Vec<Arc<Listener>> {
        let leaving = self.generations.iter_mut().filter(|generation| generation.is_leaving());
        let mut left: Vec<Arc<Listener>> = Vec::new();
        for listener in leaving.flat_map(|generation| std::mem::take(&mut generation.listeners)) {
            if !left.iter().any(|other| Arc::ptr_eq(other, &listener)) {
                left.push(listener);
            }
        }
        left
    }

    fn is_used(&self, listener: &Arc<Listener>) -> bool {
        let has =
            |generation: &Generation| generation.listeners.iter().any(|other| Arc::ptr_eq(other, listener));
        self.generations.iter().any(has)
    }

    /// Looks at the queues, and ends the listeners that are done.
    pub(super) fn watch_closing_listeners(&mut self) {
        let now = self.now();
        let is_needed = self.generations.iter().any(|generation| generation.is_leaving());
        self.closing.retain_mut(|closing| {
            closing.look(now);
            let goes_on = is_needed && !closing.is_over(now);
            if !goes_on && let Err(error) = closing.end() {
                debug!("cannot end listening at {}: {error}", closing.listener.address());
            }
            goes_on
        });
    }

    /// True while workers of a reloaded generation still have to accept from a listener that was dropped.
    pub(super) fn is_holding(&self, now: Monotonic) -> bool {
        self.closing.iter().any(|closing| !closing.is_quiet(now))
    }

    /// When the queues are to be looked at again.
    pub(super) fn next_look(&self, now: Monotonic) -> Option<Monotonic> {
        (!self.closing.is_empty()).then(|| after(now, LOOK))
    }
}
