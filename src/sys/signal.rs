//! Signals: a pipe that brings them into the loop, the mask that fork needs, and their dispositions. What a signal
//! means is decided elsewhere.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::Arc;

use nix::fcntl::OFlag;
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, SigmaskHow, Signal};
use signal_hook::SigId;
use signal_hook::low_level;

/// Signals that are raised by the faulting instruction itself; to block them would only hide a crash from its handler.
const FAULTS: [Signal; 7] = [
    Signal::SIGSEGV,
    Signal::SIGBUS,
    Signal::SIGFPE,
    Signal::SIGILL,
    Signal::SIGTRAP,
    Signal::SIGABRT,
    Signal::SIGSYS,
];

/// Brings signals into a poll loop: readable when one has come.
///
/// Each delivery is one byte in a pipe, so order and number survive a busy loop; only what the kernel itself merges
/// is merged. When it is dropped its handlers do nothing any more, but stay: a signal that it took no longer kills
/// the process, and an `execve` puts the default back.
#[derive(Debug)]
pub(crate) struct SignalPipe {
    read: OwnedFd,
    registered: Vec<SigId>,
}

impl SignalPipe {
    /// Takes `signals` (their numbers). Those that signal-hook forbids (KILL, STOP, faults) are an error.
    pub(crate) fn new(signals: &[i32]) -> io::Result<SignalPipe> {
        let (read, write) = nix::unistd::pipe2(OFlag::O_CLOEXEC | OFlag::O_NONBLOCK)?;
        let write = Arc::new(write);
        let mut pipe = SignalPipe { read, registered: Vec::with_capacity(signals.len()) };
        for &signal in signals {
            pipe.registered.push(register(signal, Arc::clone(&write))?);
        }
        Ok(pipe)
    }

    /// What has come since the last time, oldest first. Never blocks.
    pub(crate) fn pending(&self) -> Vec<i32> {
        let mut signals = Vec::new();
        let mut buffer = [0u8; 256];
        // An interrupted or empty read ends the harvest; whatever is left makes the pipe readable again.
        while let Ok(n @ 1..) = nix::unistd::read(&self.read, &mut buffer) {
            signals.extend(buffer[..n].iter().map(|&byte| i32::from(byte)));
        }
        signals
    }
}

impl AsFd for SignalPipe {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.read.as_fd()
    }
}

impl Drop for SignalPipe {
    fn drop(&mut self) {
        for id in self.registered.drain(..) {
            low_level::unregister(id);
        }
    }
}

fn register(signal: i32, write: Arc<OwnedFd>) -> io::Result<SigId> {
    let Ok(byte) = u8::try_from(signal) else {
        return Err(io::Error::from(io::ErrorKind::InvalidInput));
    };
    if low_level_forbids(signal) {
        return Err(io::Error::from(io::ErrorKind::InvalidInput));
    }
    // SAFETY: the action runs in a signal handler; it calls write(2) and touches errno, both async-signal-safe, and
    // allocates nothing. The descriptor lives as long as the action, which owns a reference to it.
    unsafe { low_level::register(signal, move || put_byte(write.as_raw_fd(), byte)) }
}

fn low_level_forbids(signal: i32) -> bool {
    signal_hook::consts::FORBIDDEN.contains(&signal)
}

/// Runs in a signal handler. Calls write(2) only. A full pipe (65,536 unread signals) loses the signal.
fn put_byte(fd: RawFd, byte: u8) {
    // SAFETY: errno's address is valid for the calling thread as long as it runs.
    let errno = unsafe { libc::__errno_location() };
    // SAFETY: as above; a plain read of the thread's own word.
    let before = unsafe { *errno };
    // SAFETY: one byte of our own stack is read; the descriptor is open while the action is registered.
    let _full_is_lost = unsafe { libc::write(fd, (&raw const byte).cast(), 1) };
    // SAFETY: as above; the interrupted code must not see our errno.
    unsafe { *errno = before };
}

/// A thread's signal mask, to be put back by [`restore`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mask(SigSet);

/// Blocks every signal but the faults in this thread, and returns the mask that was.
pub(crate) fn block_all() -> io::Result<Mask> {
    let mut all = SigSet::all();
    for fault in FAULTS {
        all.remove(fault);
    }
    Ok(Mask(all.thread_swap_mask(SigmaskHow::SIG_SETMASK)?))
}

/// Puts back a mask that [`block_all`] returned; pending signals are delivered now.
pub(crate) fn restore(mask: &Mask) -> io::Result<()> {
    Ok(mask.0.thread_set_mask()?)
}

/// Puts a signal's disposition back to the default, behind signal-hook's back: only for signals that this process
/// will not take through a [`SignalPipe`] again.
pub(crate) fn reset(signal: i32) -> io::Result<()> {
    let default = SigAction::new(SigHandler::SigDfl, SaFlags::empty(), SigSet::empty());
    let signal = Signal::try_from(signal)?;
    // SAFETY: SIG_DFL runs no code of ours.
    unsafe { nix::sys::signal::sigaction(signal, &default) }?;
    Ok(())
}

/// `hup` for 1, as operators write it; the bare number for a signal without a name.
pub(crate) fn short_name(signal: i32) -> String {
    long_name(signal).trim_start_matches("SIG").to_ascii_lowercase()
}

/// `SIGHUP` for 1; the bare number for a signal without a name.
pub(crate) fn long_name(signal: i32) -> String {
    Signal::try_from(signal).map_or_else(|_| signal.to_string(), |signal| signal.as_str().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_and_number_of_signals_survive_a_busy_loop() {
        let pipe = SignalPipe::new(&[libc::SIGWINCH, libc::SIGURG]).unwrap();
        for signal in [Signal::SIGWINCH, Signal::SIGURG, Signal::SIGWINCH] {
            // raise(3) in a thread of the test runner: the handler runs before it returns.
            nix::sys::signal::raise(signal).unwrap();
        }
        assert_eq!(pipe.pending(), [libc::SIGWINCH, libc::SIGURG, libc::SIGWINCH]);
        assert_eq!(pipe.pending(), [0; 0]);
    }

    #[test]
    fn a_fault_is_not_taken() {
        assert!(SignalPipe::new(&[libc::SIGSEGV]).is_err());
    }

    #[test]
    fn names() {
        assert_eq!(short_name(libc::SIGHUP), "hup");
        assert_eq!(long_name(libc::SIGKILL), "SIGKILL");
        assert_eq!(long_name(64), "64");
    }
}
