//! A thread of this process, seen by another one: whether it could run, and for how long it has run.
//! Beside it, what all of them have run.

use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

/// A thread, by the kernel's number for it. One that has ended answers nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Thread(i32);

/// The kernel's way to write "what a thread has run, to the nanosecond" as the lower bits of a clock's number.
const RUN_TIME_OF_A_THREAD: i32 = 0b110;

impl Thread {
    /// The one that asks.
    pub(crate) fn current() -> Thread {
        Thread(nix::unistd::gettid().as_raw())
    }

    /// The one with that number.
    pub(crate) fn from_raw(id: i32) -> Thread {
        Thread(id)
    }

    /// The number.
    pub(crate) fn as_raw(self) -> i32 {
        self.0
    }

    /// For how long it has had a processor, since it began.
    pub(crate) fn run_time(self) -> Option<Duration> {
        let clock = ClockId::from_raw(!self.0 << 3 | RUN_TIME_OF_A_THREAD);
        clock_gettime(clock).ok().map(Duration::from)
    }

    /// Does it run, or would it if it had a processor? It waits for nothing else, then. Needs /proc.
    pub(crate) fn is_runnable(self) -> Option<bool> {
        let stat = std::fs::read(format!("/proc/self/task/{}/stat", self.0)).ok()?;
        // `12 (name) S ...`: the name may have any characters, also these.
        let end_of_name = memchr::memrchr(b')', &stat)?;
        Some(*stat.get(end_of_name + 2)? == b'R')
    }
}

/// For how long the threads of this process have had a processor, added up.
pub(crate) fn run_time_of_all() -> Duration {
    clock_gettime(ClockId::CLOCK_PROCESS_CPUTIME_ID).map_or(Duration::ZERO, Duration::from)
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::thread;

    use super::*;

    #[test]
    fn a_thread_that_computes_is_runnable_and_has_run() {
        let this = Thread::current();
        let (before, mut sum) = (this.run_time().expect("it exists"), 0u64);
        while this.run_time().expect("it exists") < before + Duration::from_millis(2) {
            sum = std::hint::black_box(sum + 1);
        }
        let seen = thread::spawn(move || this.run_time()).join().expect("no panic");
        assert!(seen.is_some_and(|seen| seen >= before + Duration::from_millis(2)), "{before:?}, {seen:?}");
        assert!(run_time_of_all() >= before + Duration::from_millis(2));
        assert_eq!(this.is_runnable(), Some(true));
    }

    #[test]
    fn a_thread_that_waits_is_not_runnable_and_one_that_has_ended_is_unknown() {
        let (tell, told) = mpsc::channel();
        let (release, released) = mpsc::channel::<()>();
        let waits = thread::Builder::new().name("a ) R name".to_owned()).spawn(move || {
            tell.send(Thread::current()).expect("somebody listens");
            assert!(released.recv().is_err());
        });
        let thread = told.recv().expect("it says its number");
        while thread.is_runnable() != Some(false) {
            thread::yield_now();
        }
        drop(release);
        waits.expect("there are threads").join().expect("no panic");
        while thread.is_runnable().is_some() {
            thread::yield_now(); // the kernel forgets it a moment after it was joined
        }
        assert_eq!(thread.run_time(), None);
    }
}
