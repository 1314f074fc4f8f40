//! The one place where the master blocks: poll over the signal pipe and all pairs.

use std::os::fd::AsFd;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout};
use nix::unistd::Pid;
use tracing::{info, warn};

use crate::sys::clock;

use super::Master;
use super::moment::Monotonic;

/// What the master wakes up for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// A signal has come.
    Signal(i32),
    /// A child has said something, or has closed its end.
    Report(Pid),
    /// A child's queue has room again.
    Room(Pid),
    /// The master that started this one has said something, or has ended.
    Parent,
    /// The service manager has read what it was told.
    Barrier,
}

impl Master {
    /// Sleeps until something happens, no longer than until `deadline`.
    pub(super) fn wait(&mut self, deadline: Monotonic) -> Vec<Event> {
        let asleep_since = clock::monotonic();
        let events = self.poll(deadline.saturating_sub(asleep_since));
        let now = clock::monotonic();
        if let Some(frozen) = self.freezes.observe(asleep_since, deadline.max(asleep_since), now) {
            info!("nothing ran for {:.1} s; every time limit moves by that", frozen.as_secs_f64());
        }
        events
    }

    fn poll(&self, nanoseconds: u64) -> Vec<Event> {
        let listening = self.children.iter().filter_map(interest).chain(self.upgrade_interests());
        let (sources, readable): (Vec<Event>, Vec<PollFd<'_>>) = listening.unzip();
        let mut fds = vec![PollFd::new(self.signals.as_fd(), PollFlags::POLLIN)];
        fds.extend(readable);
        match nix::poll::poll(&mut fds, round_up(nanoseconds)) {
            Ok(0) | Err(nix::errno::Errno::EINTR) => return Vec::new(),
            Ok(_) => {}
            Err(errno) => {
                warn!("cannot wait for children and signals: {errno}");
                return Vec::new();
            }
        }
        let signals = self.signals.pending().into_iter().map(Event::Signal);
        let reports = sources.iter().zip(&fds[1..]).filter_map(|(&source, fd)| event(source, fd));
        signals.chain(reports).collect()
    }

    fn upgrade_interests(&self) -> impl Iterator<Item = (Event, PollFd<'_>)> {
        let parent = self.parent.iter().flat_map(|parent| parent.descriptors()).map(|fd| (Event::Parent, fd));
        let barrier = self.handing.barrier().map(|fd| (Event::Barrier, fd));
        parent.chain(barrier).map(|(source, fd)| (source, PollFd::new(fd, PollFlags::POLLIN)))
    }
}

fn interest(child: &super::workers::children::Child) -> Option<(Event, PollFd<'_>)> {
    let pair = child.pair.as_ref()?;
    let flags =
        if child.owed.is_nothing() { PollFlags::POLLIN } else { PollFlags::POLLIN | PollFlags::POLLOUT };
    Some((Event::Report(child.pid), PollFd::new(pair.as_fd(), flags)))
}

/// A closed end is readable too; whoever reads learns of it.
fn event(source: Event, fd: &PollFd<'_>) -> Option<Event> {
    let got = fd.revents().filter(|got| !got.is_empty())?;
    Some(match source {
        Event::Report(pid) if got == PollFlags::POLLOUT => Event::Room(pid),
        source => source,
    })
}

/// Milliseconds, never less than asked: waking early would only mean to sleep again.
fn round_up(nanoseconds: u64) -> PollTimeout {
    let milliseconds = nanoseconds.div_ceil(Duration::from_millis(1).as_nanos() as u64);
    PollTimeout::try_from(milliseconds).unwrap_or(PollTimeout::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_is_rounded_up_and_bounded() {
        let millis = |nanoseconds| round_up(nanoseconds).as_millis();
        assert_eq!(millis(0), Some(0));
        assert_eq!(millis(1), Some(1));
        assert_eq!(millis(1_000_001), Some(2));
        assert_eq!(millis(u64::MAX), Some(i32::MAX as u32));
    }
}
