//! What a worker does when its master dies, even while it is stuck in a call: leave the listeners, and be gone within
//! a time.
//!
//! The lifeline (end-of-file on the pair) is read by the engine, which serves what is queued and leaves. This is for a
//! worker whose engine does not turn: the signal of the death asks for itself again a moment later, and then the handler
//! leaves what the engine has not left.

use std::io;
use std::os::fd::RawFd;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU64, AtomicUsize};
use std::time::Duration;

use nix::sys::signal::{SigSet, Signal};

use super::fuse::{self, Timer};
use super::process;

/// The signal that the kernel sends when the master is dead. Nobody else uses it (it was for a coprocessor).
const DEATH_SIGNAL: Signal = Signal::SIGSTKFLT;

/// How many listeners the handler can leave; more are left by the engine alone.
const MOST_LISTENERS: usize = 64;

static EPOLL: AtomicI32 = AtomicI32::new(-1);
static NULL: AtomicI32 = AtomicI32::new(-1);
static LISTENERS: [AtomicI32; MOST_LISTENERS] = [const { AtomicI32::new(-1) }; MOST_LISTENERS];
static LISTENER_COUNT: AtomicUsize = AtomicUsize::new(0);
/// The timer that repeats the signal.
static REPEAT: AtomicUsize = AtomicUsize::new(0);
static IS_REPEATED: AtomicBool = AtomicBool::new(false);
static GRACE_MILLISECONDS: AtomicU64 = AtomicU64::new(0);

/// The engine has so long to read its lifeline.
const MOMENT: Duration = Duration::from_millis(250);

/// Asks the kernel for a signal when the parent dies, and lets it through; until [`prepare`] it kills. Changing the
/// user undoes this.
pub(crate) fn follow_parent() -> io::Result<()> {
    process::set_death_signal(Some(DEATH_SIGNAL as i32))?;
    let mut only = SigSet::empty();
    only.add(DEATH_SIGNAL);
    Ok(only.thread_unblock()?)
}

/// Makes this process ready for its master's death: `listeners` are left, and `grace` later the process is killed.
///
/// Call once, after [`fuse::prepare`].
pub(crate) fn prepare(epoll: RawFd, listeners: &[RawFd], grace: Duration) -> io::Result<()> {
    // SAFETY: the path is a C string; the descriptor stays open for the process's life, on purpose.
    let null = unsafe { libc::open(c"/dev/null".as_ptr(), libc::O_RDWR | libc::O_CLOEXEC) };
    NULL.store(null, Relaxed);
    EPOLL.store(epoll, Relaxed);
    GRACE_MILLISECONDS.store(u64::try_from(grace.as_millis()).unwrap_or(u64::MAX), Relaxed);
    for (place, listener) in LISTENERS.iter().zip(listeners) {
        place.store(*listener, Relaxed);
    }
    LISTENER_COUNT.store(listeners.len().min(MOST_LISTENERS), Release);
    REPEAT.store(Timer::new(DEATH_SIGNAL as i32)?.into_word(), Release);
    handle()
}

/// Forgets the listeners: the engine has left them, and their numbers may be somebody else's now.
pub(crate) fn forget_listeners() {
    LISTENER_COUNT.store(0, Release);
}

/// Kills this process when the time given to [`prepare`] is over.
pub(crate) fn light_fuse() {
    fuse::light(Duration::from_millis(GRACE_MILLISECONDS.load(Relaxed)));
}

fn handle() -> io::Result<()> {
    // SAFETY: all zeroes is a valid sigaction.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = orphaned as extern "C" fn(i32) as libc::sighandler_t;
    action.sa_flags = libc::SA_RESTART | libc::SA_ONSTACK;
    // SAFETY: `action` is whole, and `orphaned` makes async-signal-safe calls only.
    if unsafe { libc::sigaction(DEATH_SIGNAL as i32, &raw const action, std::ptr::null_mut()) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// The handler. Its calls: epoll_ctl (a bare system call), dup2, timer_settime. Its memory: the statics above.
extern "C" fn orphaned(_signal: i32) {
    fuse::keeping_errno(|| {
        if !IS_REPEATED.swap(true, Relaxed) {
            light_fuse();
            return Timer::from_word(REPEAT.load(Acquire)).set(MOMENT);
        }
        let (epoll, null) = (EPOLL.load(Relaxed), NULL.load(Relaxed));
        for place in &LISTENERS[..LISTENER_COUNT.load(Acquire)] {
            let listener = place.load(Relaxed);
            // SAFETY: a system call on numbers; an error is of no interest.
            unsafe { libc::epoll_ctl(epoll, libc::EPOLL_CTL_DEL, listener, std::ptr::null_mut()) };
            // SAFETY: as above. The number stays taken (by /dev/null), so that the engine, which will close it, cannot
            // close a file of the application's.
            unsafe { libc::dup2(null, listener) };
        }
    });
}
