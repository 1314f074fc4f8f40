//! A timer that kills this process, whatever it does then: the end of a worker whose engine does not turn.

use std::io;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::{Acquire, Release};
use std::time::Duration;

use signal_hook::low_level;

/// The fuse; 0 before [`prepare`] (and also the number of the first timer of a process, which is the same).
static FUSE: AtomicUsize = AtomicUsize::new(0);

/// Makes the fuse, unlit. Its signal is KILL: no application can have changed what that does.
pub(crate) fn prepare() -> io::Result<()> {
    FUSE.store(Timer::new(libc::SIGKILL)?.into_word(), Release);
    Ok(())
}

/// Kills this process after `time`. Async-signal-safe: its one call is timer_settime.
pub(crate) fn light(time: Duration) {
    Timer::from_word(FUSE.load(Acquire)).set(time);
}

/// A timer of the kernel's that sends a signal to this process. It lasts as long as the process.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Timer(libc::timer_t);

impl Timer {
    /// A timer that is not set yet.
    pub(crate) fn new(signal: i32) -> io::Result<Timer> {
        // SAFETY: all zeroes is a valid sigevent.
        let mut event: libc::sigevent = unsafe { std::mem::zeroed() };
        event.sigev_notify = libc::SIGEV_SIGNAL;
        event.sigev_signo = signal;
        let mut timer: libc::timer_t = std::ptr::null_mut();
        // SAFETY: both pointers are to locals that outlive the call.
        if unsafe { libc::timer_create(libc::CLOCK_MONOTONIC, &raw mut event, &raw mut timer) } != 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(Timer(timer))
    }

    /// Sends the signal once, after `time`. Async-signal-safe: its one call is timer_settime.
    pub(crate) fn set(self, time: Duration) {
        // Zero would switch the timer off. The fields hold what the clock can count on the platforms we know.
        let time = time.max(Duration::from_nanos(1));
        let value = libc::timespec {
            tv_sec: time.as_secs() as libc::time_t,
            tv_nsec: libc::c_long::from(time.subsec_nanos()),
        };
        let once =
            libc::itimerspec { it_interval: libc::timespec { tv_sec: 0, tv_nsec: 0 }, it_value: value };
        // SAFETY: `once` is read during the call. A timer that was never made is an error, not a fault.
        unsafe { libc::timer_settime(self.0, 0, &raw const once, std::ptr::null_mut()) };
    }

    /// For a static, which a signal handler can read.
    pub(crate) fn into_word(self) -> usize {
        self.0 as usize
    }

    /// Of such a static.
    pub(crate) fn from_word(word: usize) -> Timer {
        Timer(word as libc::timer_t)
    }
}

/// Lights the fuse whenever `signal` comes, beside whatever else is done about it.
pub(crate) fn light_at(signal: i32, time: Duration) -> io::Result<()> {
    // SAFETY: the action is async-signal-safe, as `light` says, and keeps errno.
    unsafe { low_level::register(signal, move || keeping_errno(|| light(time))) }.map(drop)
}

/// For signal handlers: whoever was interrupted finds errno as it was.
pub(crate) fn keeping_errno(work: impl FnOnce()) {
    // SAFETY: errno's place is the thread's own.
    let errno = unsafe { *libc::__errno_location() };
    work();
    // SAFETY: as above.
    unsafe { *libc::__errno_location() = errno };
}
