//! The signals that end a process by its own doing, and what is done before they do. What is said then is decided
//! elsewhere.

use std::cell::Cell;
use std::ffi::{c_int, c_void};
use std::io::{self, IoSliceMut};
use std::mem;
use std::sync::OnceLock;

use nix::fcntl::{OFlag, open};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::stat::Mode;

use super::{fuse, unwind};

/// What is taken.
const SIGNALS: [Signal; 5] =
    [Signal::SIGSEGV, Signal::SIGBUS, Signal::SIGFPE, Signal::SIGILL, Signal::SIGABRT];

/// A signal that has come to the calling thread.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fault {
    /// Its number.
    pub number: i32,
    /// `si_code`: above 0 the kernel's, for what an instruction did.
    pub code: i32,
    /// Who has sent it, if `code` is not above 0.
    pub sender: i32,
    /// The address that could not be reached, if `code` is above 0.
    pub address: u64,
    /// Where the thread was.
    pub pc: u64,
    /// Its stack pointer there.
    pub stack_pointer: u64,
}

/// What comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Then {
    /// The process dies of the signal, as if nobody had taken it.
    Die,
    /// The thread goes on.
    GoOn,
}

/// What is done.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Response {
    /// When a signal comes. It makes async-signal-safe calls only.
    pub first: fn(&Fault) -> Then,
    /// When another one comes on the same thread in the middle of that; afterwards the process dies of the first.
    pub second: fn(),
}

static RESPONSE: OnceLock<Response> = OnceLock::new();

thread_local! {
    /// How deep in handlers this thread is, and in which signal's it was first. Constants, so that no access allocates.
    static DEPTH: Cell<u32> = const { Cell::new(0) };
    static FIRST: Cell<i32> = const { Cell::new(0) };
}

/// Takes the signals, for all threads of this process; those without a stack of their own for handlers
/// (altstack.rs) take them on the one that they have. Whoever took them before (Rust's own runtime takes two, to speak of
/// a full stack) does so no more.
pub(crate) fn prepare(response: Response) -> io::Result<()> {
    RESPONSE.get_or_init(|| response);
    // The first walk may allocate and open files.
    unwind::walk(&mut |_| true);
    let mut action = no_action();
    action.sa_sigaction =
        take as extern "C" fn(c_int, *mut libc::siginfo_t, *mut c_void) as libc::sighandler_t;
    // NODEFER: a second fault comes to us too, instead of killing before what is known was said.
    action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK | libc::SA_NODEFER | libc::SA_RESTART;
    for signal in SIGNALS {
        // SAFETY: `action` is whole, and `take` makes async-signal-safe calls only.
        let result = unsafe { libc::sigaction(signal as c_int, &raw const action, std::ptr::null_mut()) };
        if result != 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}

fn no_action() -> libc::sigaction {
    // SAFETY: all zeroes is a valid sigaction: the default.
    unsafe { mem::zeroed() }
}

/// The handler. Its own calls: sigaction, pthread_sigmask, tgkill.
extern "C" fn take(number: c_int, info: *mut libc::siginfo_t, context: *mut c_void) {
    fuse::keeping_errno(|| {
        let fault = describe(number, info, context);
        let depth = DEPTH.replace(DEPTH.get() + 1);
        let then = match (depth, RESPONSE.get()) {
            (0, Some(response)) => {
                FIRST.set(number);
                (response.first)(&fault)
            }
            (1, Some(response)) => {
                (response.second)();
                Then::Die
            }
            (_, _) => Then::Die,
        };
        match then {
            Then::GoOn => DEPTH.set(depth),
            Then::Die if depth == 0 => die_again(&fault),
            Then::Die => die_at_once(FIRST.get()),
        }
    });
}

/// The process dies when the handler has returned, of the instruction that it died of before, so that a core shows that.
/// What somebody has sent is sent once more, and waits until then.
fn die_again(fault: &Fault) {
    set_default(fault.number);
    if fault.code <= 0 {
        if let Ok(signal) = Signal::try_from(fault.number) {
            let mut only = SigSet::empty();
            only.add(signal);
            // The mask of before is put back by the return.
            let _ = only.thread_block();
        }
        send_to_self(fault.number);
    }
}

fn die_at_once(number: i32) {
    set_default(number);
    send_to_self(number);
}

fn set_default(number: i32) {
    let default = no_action();
    // SAFETY: the default runs no code of ours.
    unsafe { libc::sigaction(number, &raw const default, std::ptr::null_mut()) };
}

/// raise(3) would take a lock.
fn send_to_self(number: i32) {
    // SAFETY: plain numbers.
    unsafe { libc::syscall(libc::SYS_tgkill, libc::getpid(), libc::gettid(), number) };
}

fn describe(number: c_int, info: *mut libc::siginfo_t, context: *mut c_void) -> Fault {
    // SAFETY: the kernel has put both there for this handler; SA_SIGINFO passes a ucontext.
    let info = unsafe { &*info };
    // SAFETY: as above.
    let machine = unsafe { &(*context.cast::<libc::ucontext_t>()).uc_mcontext };
    let is_fault = info.si_code > 0;
    // SAFETY: what the kernel has found in an instruction has an address.
    let address = if is_fault { unsafe { info.si_addr() }.addr() as u64 } else { 0 };
    // SAFETY: what a process has sent has its sender.
    let sender = if is_fault { 0 } else { unsafe { info.si_pid() } };
    let (pc, stack_pointer) = place(machine);
    Fault { number, code: info.si_code, sender, address, pc, stack_pointer }
}

#[cfg(target_arch = "x86_64")]
fn place(machine: &libc::mcontext_t) -> (u64, u64) {
    let register = |number: i32| machine.gregs[number as usize].cast_unsigned();
    (register(libc::REG_RIP), register(libc::REG_RSP))
}

#[cfg(target_arch = "aarch64")]
fn place(machine: &libc::mcontext_t) -> (u64, u64) {
    (machine.pc, machine.sp)
}

/// The thread's stack from where the signal has found it: `visit` gets the place itself, then return addresses.
/// Async-signal-safe.
pub(crate) fn stack_from(fault: &Fault, visit: &mut dyn FnMut(u64) -> bool) {
    let (mut is_below, mut seen) = (false, false);
    unwind::walk(&mut |address| {
        is_below |= address == fault.pc;
        seen |= is_below;
        !is_below || visit(address)
    });
    // The handler's own frames are no news, but the place is known even where nothing could be unwound.
    if !seen {
        visit(fault.pc);
    }
}

/// Reads a file in pieces whose lengths, but for the last one's, are multiples of 8. Async-signal-safe: open, read, close.
pub(crate) fn read_pieces(path: &std::ffi::CStr, mut take: impl FnMut(&[u8]) -> bool) {
    let Ok(file) = open(path, OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty()) else { return };
    let mut piece = [0; 4096];
    loop {
        let mut filled = 0;
        while filled < piece.len() {
            match nix::sys::uio::readv(&file, &mut [IoSliceMut::new(&mut piece[filled..])]) {
                Ok(0) | Err(_) => break,
                Ok(count) => filled += count,
            }
        }
        if filled == 0 || !take(&piece[..filled]) || filled < piece.len() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use nix::sys::signal::raise;
    use nix::sys::wait::WaitStatus;

    use super::*;
    use crate::sys::altstack;
    use crate::sys::testing::{alone, forked};

    fn killed_by(status: WaitStatus) -> Option<Signal> {
        match status {
            WaitStatus::Signaled(_, signal, _) => Some(signal),
            _ => None,
        }
    }

    fn crash() {
        // SAFETY: none; the fault is the point.
        unsafe { std::ptr::without_provenance_mut::<u8>(64).write_volatile(1) };
    }

    fn crash_again(_: &Fault) -> Then {
        crash();
        Then::GoOn
    }

    fn fill_the_stack(depth: u64) -> u64 {
        let frame = std::hint::black_box([depth; 512]);
        if depth == u64::MAX { 0 } else { fill_the_stack(depth + 1) + frame[7] }
    }

    #[test]
    fn the_process_dies_of_what_it_would_have_died_of() {
        if !alone!() {
            return;
        }
        let prepared = |first| {
            altstack::give().unwrap();
            prepare(Response { first, second: || {} }).unwrap();
        };
        for signal in SIGNALS {
            let raised = forked(|| {
                prepared(|_| Then::Die);
                raise(signal).unwrap();
                0
            });
            assert_eq!(killed_by(raised), Some(signal), "{signal} that was sent");
            let second = forked(|| {
                prepared(crash_again);
                raise(signal).unwrap();
                0
            });
            assert_eq!(killed_by(second), Some(signal), "a fault while {signal} is handled");
        }
        let fault = forked(|| {
            prepared(|_| Then::Die);
            crash();
            0
        });
        assert_eq!(killed_by(fault), Some(Signal::SIGSEGV));
        let overflow = forked(|| {
            prepared(|_| Then::Die);
            i32::from(fill_the_stack(0) == 1)
        });
        assert_eq!(killed_by(overflow), Some(Signal::SIGSEGV), "a full stack");
        let aborted = forked(|| {
            prepared(|_| Then::Die);
            std::process::abort()
        });
        assert_eq!(killed_by(aborted), Some(Signal::SIGABRT));
    }

    #[test]
    fn a_thread_that_is_to_go_on_goes_on_and_can_be_told_again() {
        if !alone!() {
            return;
        }
        let status = forked(|| {
            prepare(Response { first: |_| Then::GoOn, second: || process_ends() }).unwrap();
            raise(Signal::SIGABRT).unwrap();
            raise(Signal::SIGABRT).unwrap();
            7
        });
        assert!(matches!(status, WaitStatus::Exited(_, 7)), "{status:?}");
    }

    fn process_ends() {
        crate::sys::process::exit_now(1)
    }
}
