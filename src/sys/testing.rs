//! For unit tests: a process of their own where they change it, children of it, folders. Not part of the server.

use std::env;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::Command;
use std::sync::Arc;

use nix::fcntl::{FcntlArg, fcntl};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, fork};

const ALONE: &str = "UNIRS_TEST_ALONE";

/// True in a copy of the test binary that runs only the test in which it stands; its main thread only waits for it.
/// Elsewhere it runs such a copy, fails if that fails, and says false: the test returns.
macro_rules! alone {
    () => {{
        fn here() {}
        $crate::sys::testing::is_alone(std::any::type_name_of_val(&here))
    }};
}
pub(crate) use alone;

/// `here` is the full name of a function inside of the test.
pub(crate) fn is_alone(here: &str) -> bool {
    let (_crate, inside) = here.split_once("::").expect("a path");
    let test = inside.strip_suffix("::here").expect("the function of `alone`");
    if env::var_os(ALONE).is_some_and(|name| name == *test) {
        return true;
    }
    let binary = env::current_exe().expect("the test binary");
    let mut copy = Command::new(binary);
    copy.args(["--exact", test, "--test-threads=1", "--nocapture"]).env(ALONE, test);
    let output = copy.output().expect("a copy of the test binary");
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}\n{text}\n{errors}", output.status);
    assert!(text.contains("1 passed"), "there is no test {test}:\n{text}");
    false
}

/// A new folder, and the descriptor by which the server keeps one.
pub(crate) fn directory() -> (tempfile::TempDir, Arc<OwnedFd>) {
    let temp = tempfile::tempdir().expect("a folder");
    let descriptor = Arc::new(File::open(temp.path()).expect("the folder").into());
    (temp, descriptor)
}

/// Whether this machine has IPv6, which many containers have not.
pub(crate) fn has_ipv6() -> bool {
    std::net::TcpListener::bind("[::1]:0").is_ok()
}

/// Runs `body` in a forked child, which ends with the code that it gives (101 after a panic), and waits for that.
pub(crate) fn forked(body: impl FnOnce() -> i32) -> WaitStatus {
    // SAFETY: the child ends in _exit below and returns into nobody's frames; glibc keeps malloc usable in it, and no
    // other lock is held by a thread that is gone, since only tests that are alone in their process come here.
    match unsafe { fork() }.expect("fork") {
        ForkResult::Parent { child } => waitpid(child, None).expect("waitpid"),
        ForkResult::Child => {
            let code = catch_unwind(AssertUnwindSafe(body)).unwrap_or(101);
            // SAFETY: it only ends the process.
            unsafe { libc::_exit(code) }
        }
    }
}

/// Makes `number` a copy of `descriptor` that is inherited over an exec, as a starter of this program does. It closes
/// what was there, so only for tests that are alone.
pub(crate) fn install(descriptor: OwnedFd, number: RawFd) {
    // SAFETY: the caller knows that nobody uses the number.
    let result = unsafe { libc::dup2(descriptor.as_raw_fd(), number) };
    assert_eq!(result, number);
}

/// Another descriptor for the same file, numbered `lowest` or higher.
pub(crate) fn duplicate_above(from: impl AsFd, lowest: RawFd) -> io::Result<OwnedFd> {
    let raw = fcntl(from.as_fd(), FcntlArg::F_DUPFD_CLOEXEC(lowest))?;
    // SAFETY: the kernel has just made it, and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(raw) })
}
