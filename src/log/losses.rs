//! How many lines a sink of this process lost, why, and whether it was said. Nothing is said here.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU32, AtomicU64, Ordering::Relaxed};

use nix::errno::Errno;

use crate::sys::clock;

/// The lines that one sink lost since that was last said. Written on the path of failure only; any thread.
#[derive(Default)]
pub(super) struct Losses {
    /// Whose losses these are: a forked child starts from nothing.
    pid: AtomicU32,
    /// Lines.
    count: AtomicU64,
    /// Why the last of them was lost, as an errno.
    cause: AtomicI32,
    /// True from the complaint to the line that says how many were lost.
    complained: AtomicBool,
    /// When one of the two was last said, in nanoseconds of the monotonic clock.
    said_at: AtomicU64,
}

/// What there is to say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Loss {
    /// Lines.
    pub(super) count: u64,
    /// As an errno.
    pub(super) cause: i32,
}

/// The time between the complaint and the count, so that a reader who is always a little behind does not get two lines
/// of complaint for each that it reads.
const PAUSE_NANOS: u64 = 10_000_000_000;

impl Losses {
    /// Counts lines that are lost. True: complain now.
    pub(super) fn add(&self, lines: u64, cause: &io::Error) -> bool {
        self.belong_to(std::process::id());
        self.count.fetch_add(lines, Relaxed);
        self.cause.store(cause.raw_os_error().unwrap_or_default(), Relaxed);
        let first = !self.complained.swap(true, Relaxed);
        if first {
            self.said_at.store(clock::monotonic(), Relaxed);
        }
        first
    }

    fn belong_to(&self, pid: u32) {
        if self.pid.swap(pid, Relaxed) != pid {
            self.count.store(0, Relaxed);
            self.complained.store(false, Relaxed);
        }
    }

    /// What is to be said now that writing works; nothing if it is too soon after the complaint.
    pub(super) fn due(&self) -> Option<Loss> {
        if self.count.load(Relaxed) == 0 {
            return None;
        }
        let since = clock::monotonic().saturating_sub(self.said_at.load(Relaxed));
        if since < PAUSE_NANOS { None } else { self.take() }
    }

    /// All that was not said yet; it counts as said.
    pub(super) fn take(&self) -> Option<Loss> {
        self.belong_to(std::process::id());
        let count = self.count.swap(0, Relaxed);
        self.complained.store(false, Relaxed);
        (count > 0).then(|| Loss { count, cause: self.cause.load(Relaxed) })
    }

    /// What was taken could not be said after all.
    pub(super) fn put_back(&self, loss: Loss) {
        self.count.fetch_add(loss.count, Relaxed);
        self.complained.store(true, Relaxed);
    }
}

/// The words for an errno, to stand after a colon: `no space left on device`.
pub(super) fn words(errno: i32) -> String {
    match Errno::from_raw(errno) {
        Errno::EAGAIN => "its reader is behind".to_owned(),
        Errno::EPIPE => "nobody reads it any more".to_owned(),
        Errno::ENXIO => "nobody reads it".to_owned(),
        known => known.desc().to_lowercase(),
    }
}

/// The same for an error of the kernel.
pub fn cause(error: &io::Error) -> String {
    error.raw_os_error().map_or_else(|| error.to_string(), words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn losses_are_complained_of_once_and_counted_once() {
        let losses = Losses::default();
        let full = io::Error::from(Errno::ENOSPC);
        assert_eq!(losses.take(), None);
        assert!(losses.add(2, &full));
        assert!(!losses.add(3, &full));
        assert_eq!(losses.due(), None);
        assert_eq!(losses.take(), Some(Loss { count: 5, cause: libc::ENOSPC }));
        assert_eq!(losses.take(), None);
        assert!(losses.add(1, &full));
    }

    #[test]
    fn the_count_comes_some_time_after_the_complaint() {
        let losses = Losses::default();
        losses.add(2, &io::Error::from(Errno::EIO));
        losses.said_at.store(clock::monotonic().saturating_sub(PAUSE_NANOS), Relaxed);
        assert_eq!(losses.due(), Some(Loss { count: 2, cause: libc::EIO }));
    }

    #[test]
    fn a_child_does_not_report_its_parents_losses() {
        let losses = Losses::default();
        losses.add(7, &io::Error::from(Errno::EPIPE));
        losses.pid.store(1, Relaxed);
        assert_eq!(losses.take(), None);
    }

    #[test]
    fn causes_read_as_part_of_a_sentence() {
        assert_eq!(cause(&io::Error::from(Errno::ENOSPC)), "no space left on device");
        assert_eq!(cause(&io::Error::from(Errno::EAGAIN)), "its reader is behind");
    }
}
