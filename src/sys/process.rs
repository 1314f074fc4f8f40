//! Processes: fork, exit, wait, kill, and the process's own marks. Who is forked and why is decided elsewhere.

use std::convert::Infallible;
use std::ffi::{CString, OsString};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use nix::unistd::{ForkResult, Pid};

/// Which side of a [`fork`] this is.
#[derive(Debug)]
pub(crate) enum Fork {
    /// The new process.
    Child,
    /// The old one, with the new one's pid.
    Parent(Pid),
}

/// Forks. The process must have one thread: locks that another thread holds would stay locked in the child for ever.
pub(crate) fn fork() -> io::Result<Fork> {
    // SAFETY: the callers (master, mold, daemonizing start) have one thread, so that the child's memory is as
    // consistent as the parent's.
    match unsafe { nix::unistd::fork() }? {
        ForkResult::Child => Ok(Fork::Child),
        ForkResult::Parent { child } => Ok(Fork::Parent(child)),
    }
}

/// Which side of a [`fork_beyond`] this is.
#[derive(Debug)]
pub(crate) enum Offspring {
    /// The new process. Its parent is still `middle`, or already who adopts orphans.
    Born {
        /// The process between the two, which is about to end.
        middle: Pid,
    },
    /// The old one, with the new one's pid. It is not the parent: that has ended by now.
    Parent(Pid),
}

/// Forks a process that is no child of this one, but of the nearest ancestor that has said [`adopt_orphans`]. The process
/// must have one thread, as for [`fork`].
///
/// # Errors
/// `Interrupted` when the process between the two was killed: then nobody knows whether there is a new one.
pub(crate) fn fork_beyond() -> io::Result<Offspring> {
    let (hear, say) = nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC)?;
    match fork()? {
        Fork::Parent(middle) => {
            drop(say);
            let mut said = [0; 8];
            let heard = File::from(hear).read_exact(&mut said);
            wait_for(middle)?;
            heard.map_err(|_| io::Error::from_raw_os_error(libc::EINTR))?;
            let ([pid, error], _) = said.as_chunks::<4>() else {
                return Err(io::Error::from_raw_os_error(libc::EINTR)); // eight bytes are two numbers
            };
            match i32::from_ne_bytes(*error) {
                0 => Ok(Offspring::Parent(Pid::from_raw(i32::from_ne_bytes(*pid)))),
                error => Err(io::Error::from_raw_os_error(error)),
            }
        }
        Fork::Child => {
            drop(hear);
            let middle = Pid::this();
            let (pid, error) = match fork() {
                Ok(Fork::Child) => return Ok(Offspring::Born { middle }),
                Ok(Fork::Parent(pid)) => (pid.as_raw(), 0),
                Err(error) => (0, error.raw_os_error().unwrap_or(libc::EINTR)),
            };
            // A parent that is gone does not want to know.
            let _gone = File::from(say).write_all(&[pid.to_ne_bytes(), error.to_ne_bytes()].concat());
            exit_now(0)
        }
    }
}

/// Leaves at once: no destructors, no `atexit`, no flushing of the parent's buffers.
pub(crate) fn exit_now(code: i32) -> ! {
    // SAFETY: _exit(2) has no preconditions and does not return.
    unsafe { libc::_exit(code) }
}

/// Makes this process the program at `path`, with these arguments (the first is its name) and nothing in its environment
/// but these variables. It returns only when that fails.
pub(crate) fn execute(
    path: &Path,
    arguments: &[OsString],
    environment: &[(OsString, OsString)],
) -> io::Result<Infallible> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    let arguments =
        arguments.iter().map(|word| CString::new(word.as_bytes())).collect::<Result<Vec<_>, _>>()?;
    let variable = |(name, value): &(OsString, OsString)| {
        CString::new([name.as_bytes(), b"=", value.as_bytes()].concat())
    };
    let environment = environment.iter().map(variable).collect::<Result<Vec<_>, _>>()?;
    Ok(nix::unistd::execve(&path, &arguments, &environment)?)
}

/// Has `hook` called with its code when somebody in this process calls exit(3), after the hooks that were set later.
pub(crate) fn at_exit(hook: extern "C" fn(i32, *mut std::ffi::c_void)) -> io::Result<()> {
    type Hook = extern "C" fn(i32, *mut std::ffi::c_void);
    // glibc's; atexit(3) does not tell the code.
    unsafe extern "C" {
        fn on_exit(hook: Hook, argument: *mut std::ffi::c_void) -> i32;
    }
    // SAFETY: the hook has the signature that glibc asks for, and lives as long as the process.
    let result = unsafe { on_exit(hook, std::ptr::null_mut()) };
    if result == 0 { Ok(()) } else { Err(io::ErrorKind::OutOfMemory.into()) }
}

/// What [`wait_any`] has learned about a child.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Status {
    /// The child.
    pub pid: Pid,
    /// What has become of it.
    pub change: Change,
    /// Its largest resident size, in bytes (0 unless it has died).
    pub peak_memory: u64,
}

/// What can become of a child.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// It has left with this code.
    Exited(i32),
    /// A signal has killed it.
    Signaled {
        /// Its number.
        signal: i32,
        /// A core was dumped.
        core: bool,
    },
    /// A signal has stopped it.
    Stopped(i32),
    /// It goes on.
    Continued,
}

/// One child that has changed, of any pid; `None` when none has. Never blocks.
pub(crate) fn wait_any() -> Option<Status> {
    loop {
        let mut status = 0;
        // SAFETY: rusage is plain integers, for which zero is a value.
        let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
        let flags = libc::WNOHANG | libc::WUNTRACED | libc::WCONTINUED;
        // SAFETY: both pointers are to live locals of the right types.
        let pid = unsafe { libc::wait4(-1, &raw mut status, flags, &raw mut usage) };
        match pid {
            0 => return None,
            1.. => return Some(decode(pid, status, &usage)),
            _ if io::Error::last_os_error().kind() == io::ErrorKind::Interrupted => {}
            // ECHILD: there is no child at all.
            _ => return None,
        }
    }
}

fn decode(pid: i32, status: i32, usage: &libc::rusage) -> Status {
    let change = if libc::WIFEXITED(status) {
        Change::Exited(libc::WEXITSTATUS(status))
    } else if libc::WIFSIGNALED(status) {
        Change::Signaled { signal: libc::WTERMSIG(status), core: libc::WCOREDUMP(status) }
    } else if libc::WIFSTOPPED(status) {
        Change::Stopped(libc::WSTOPSIG(status))
    } else {
        Change::Continued
    };
    let dead = matches!(change, Change::Exited(_) | Change::Signaled { .. });
    let kilobytes = if dead { u64::try_from(usage.ru_maxrss).unwrap_or(0) } else { 0 };
    Status { pid: Pid::from_raw(pid), change, peak_memory: kilobytes * 1024 }
}

/// Sends a signal. Pids that could mean a group or everybody are refused.
pub(crate) fn kill(pid: Pid, signal: i32) -> io::Result<()> {
    if pid.as_raw() <= 1 {
        return Err(io::Error::from(io::ErrorKind::InvalidInput));
    }
    // SAFETY: kill(2) takes plain numbers.
    let result = unsafe { libc::kill(pid.as_raw(), signal) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Sends a signal to one thread of a process. The kernel checks that it is that process's.
pub(crate) fn kill_thread(pid: Pid, thread: i32, signal: i32) -> io::Result<()> {
    if pid.as_raw() <= 1 || thread <= 0 {
        return Err(io::Error::from(io::ErrorKind::InvalidInput));
    }
    // SAFETY: tgkill(2) takes plain numbers.
    let result = unsafe { libc::syscall(libc::SYS_tgkill, pid.as_raw(), thread, signal) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Lets everybody else run first, and be spared first when memory is short. What cannot be had is done without.
pub(crate) fn yield_to_others() {
    // SAFETY: nice(2) takes a plain number; more of it needs no right.
    let _priority = unsafe { libc::nice(10) };
    let _score = std::fs::write("/proc/self/oom_score_adj", "1000");
}

/// The signal that the kernel sends to this process when its parent dies. setuid clears it.
pub(crate) fn set_death_signal(signal: Option<i32>) -> io::Result<()> {
    set_process_mark(libc::PR_SET_PDEATHSIG, signal.unwrap_or(0))
}

/// From here on whatever this process's descendants leave behind becomes its child, to be reaped. Children do not inherit
/// that.
pub(crate) fn adopt_orphans() -> io::Result<()> {
    set_process_mark(libc::PR_SET_CHILD_SUBREAPER, 1)
}

/// True when `pid` is a child of this process, alive or dead and not yet reaped.
pub(crate) fn is_child(pid: Pid) -> bool {
    if pid.as_raw() <= 0 {
        return false;
    }
    let flags = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
    // SAFETY: all zeroes are a siginfo, and the call fills it without taking anything.
    let mut seen: libc::siginfo_t = unsafe { std::mem::zeroed() };
    // SAFETY: `seen` is a live local.
    unsafe { libc::waitid(libc::P_PID, pid.as_raw().cast_unsigned(), &raw mut seen, flags) == 0 }
}

fn set_process_mark(mark: i32, value: i32) -> io::Result<()> {
    let value = libc::c_ulong::try_from(value).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
    // SAFETY: the marks used here take one integer; the unused arguments are zero, as prctl(2) asks.
    let result = unsafe { libc::prctl(mark, value, 0, 0, 0) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Becomes the leader of a new session, without a terminal.
pub(crate) fn new_session() -> io::Result<()> {
    nix::unistd::setsid()?;
    Ok(())
}

/// Waits until the child `pid` has died; for a child that is known to be on its way out.
pub(crate) fn wait_for(pid: Pid) -> io::Result<()> {
    loop {
        match nix::sys::wait::waitpid(pid, None) {
            Err(nix::errno::Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
            Ok(_) => return Ok(()),
        }
    }
}

/// Makes standard input, output and error the given file, usually `/dev/null`.
pub(crate) fn replace_stdio(with: impl AsFd) -> io::Result<()> {
    nix::unistd::dup2_stdin(&with)?;
    nix::unistd::dup2_stdout(&with)?;
    nix::unistd::dup2_stderr(&with)?;
    Ok(())
}

/// Removes a variable from the environment. The process must have one thread.
pub(crate) fn forget_environment(name: &str) {
    // SAFETY: the master has one thread, so nobody reads the environment meanwhile.
    unsafe { std::env::remove_var(name) }
}

/// Changes or adds a variable of the environment. The process must have one thread.
pub(crate) fn set_environment(name: &str, value: &str) {
    // SAFETY: as above.
    unsafe { std::env::set_var(name, value) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kill_never_means_a_group_or_everybody() {
        for pid in [-1, 0, 1, -77] {
            assert!(kill(Pid::from_raw(pid), 0).is_err());
        }
        assert!(kill(Pid::this(), 0).is_ok());
    }

    #[test]
    fn a_thread_is_signalled_only_as_one_of_its_process() {
        let own = nix::unistd::gettid().as_raw();
        assert!(kill_thread(Pid::this(), own, 0).is_ok());
        for thread in [-1, 0] {
            assert!(kill_thread(Pid::this(), thread, 0).is_err());
        }
        let foreign = kill_thread(Pid::parent(), own, 0).unwrap_err();
        assert_eq!(foreign.raw_os_error(), Some(libc::ESRCH));
        assert!(kill_thread(Pid::from_raw(-1), own, 0).is_err());
    }

    #[test]
    fn only_children_are_children() {
        for pid in [-1, 0, 1, Pid::this().as_raw()] {
            assert!(!is_child(Pid::from_raw(pid)), "{pid}");
        }
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let pid = Pid::from_raw(child.id().cast_signed());
        assert!(is_child(pid));
        child.wait().unwrap();
        assert!(!is_child(pid));
    }

    #[test]
    fn a_wait_status_is_decoded() {
        // SAFETY: rusage is plain integers, for which zero is a value.
        let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
        usage.ru_maxrss = 3;
        let status = decode(9, 0x0300, &usage);
        assert_eq!((status.change, status.peak_memory), (Change::Exited(3), 3072));
        assert_eq!(decode(9, 9, &usage).change, Change::Signaled { signal: 9, core: false });
        assert_eq!(decode(9, 0x137f, &usage).change, Change::Stopped(19));
        assert_eq!(decode(9, 0xffff, &usage).change, Change::Continued);
    }
}
