//! Descriptors: which are open, under which number, inherited by whom.

use std::fs;
use std::io;
use std::os::fd::{AsFd, FromRawFd, OwnedFd, RawFd};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, FdFlag, OFlag, fcntl};
use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// The highest number that a probe looks at when /proc cannot be read.
const PROBE_LIMIT: u64 = 1 << 20;

/// Raises the number of descriptors that this process may have to `wanted`, or as far as it may, and says what it is
/// now. It never lowers it.
///
/// Beyond the hard limit it takes CAP_SYS_RESOURCE; without it the soft limit becomes the hard one.
pub(crate) fn raise_nofile(wanted: u64) -> io::Result<u64> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    if soft >= wanted {
        return Ok(soft);
    }
    if hard < wanted && setrlimit(Resource::RLIMIT_NOFILE, wanted, wanted).is_ok() {
        return Ok(wanted);
    }
    let reachable = wanted.min(hard);
    setrlimit(Resource::RLIMIT_NOFILE, reachable, hard)?;
    Ok(reachable)
}

/// The numbers of all open descriptors, in order.
pub(crate) fn open_descriptors() -> Vec<RawFd> {
    let mut open = listed().unwrap_or_else(probed);
    open.sort_unstable();
    open
}

/// By /proc; `None` when it is not mounted.
fn listed() -> Option<Vec<RawFd>> {
    let entries = fs::read_dir("/proc/self/fd").ok()?;
    let numbers = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let mut numbers: Vec<RawFd> = numbers.collect();
    // The listing has seen its own descriptor, which is closed by now.
    numbers.retain(|&raw| is_open(raw));
    Some(numbers)
}

/// By asking for each number below the limit.
fn probed() -> Vec<RawFd> {
    let limit = getrlimit(Resource::RLIMIT_NOFILE).map_or(1024, |(soft, _)| soft);
    let limit = RawFd::try_from(limit.min(PROBE_LIMIT)).unwrap_or(RawFd::MAX);
    (0..limit).filter(|&raw| is_open(raw)).collect()
}

fn is_open(raw: RawFd) -> bool {
    descriptor_flags(raw).is_ok()
}

fn descriptor_flags(raw: RawFd) -> io::Result<FdFlag> {
    // SAFETY: F_GETFD takes any number and changes nothing.
    let flags = Errno::result(unsafe { libc::fcntl(raw, libc::F_GETFD) })?;
    Ok(FdFlag::from_bits_retain(flags))
}

/// The open descriptors above standard error that are not in `listed`: what a child should not have.
pub(crate) fn unlisted(listed: &[RawFd]) -> Vec<RawFd> {
    let mut open = open_descriptors();
    open.retain(|raw| *raw > libc::STDERR_FILENO && !listed.contains(raw));
    open
}

/// Closes every descriptor above standard error but `kept`, whoever owns it: for a forked child that drops nothing and
/// ends with [`exit_now`](super::process::exit_now).
pub(crate) fn close_all_but(kept: &[RawFd]) {
    for raw in unlisted(kept) {
        // SAFETY: close(2) takes any number; the owners, copies of the parent's, are never used or dropped in this process.
        unsafe { libc::close(raw) };
    }
}

/// Whether a new program inherits it: not, when `cloexec`.
pub(crate) fn set_cloexec(descriptor: impl AsFd, cloexec: bool) -> io::Result<()> {
    let flags = if cloexec { FdFlag::FD_CLOEXEC } else { FdFlag::empty() };
    fcntl(descriptor, FcntlArg::F_SETFD(flags))?;
    Ok(())
}

/// Makes every call on it return at once. It belongs to the open file, so other processes that share it are affected.
pub(crate) fn set_nonblocking(descriptor: impl AsFd) -> io::Result<()> {
    let flags = OFlag::from_bits_retain(fcntl(&descriptor, FcntlArg::F_GETFL)?);
    fcntl(&descriptor, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK))?;
    Ok(())
}

/// Becomes the owner of descriptor `raw`, which was inherited when this program was started. It is close-on-exec
/// afterwards, and that is how it is told from the program's own, which are so from birth: none can be taken twice.
///
/// # Errors
/// EBADF when it is not open; `InvalidInput` when it was not inherited, was taken before, or is a standard stream.
pub(crate) fn inherit(raw: RawFd) -> io::Result<OwnedFd> {
    let flags = descriptor_flags(raw)?;
    if flags.contains(FdFlag::FD_CLOEXEC) || raw <= libc::STDERR_FILENO {
        return Err(Errno::EINVAL.into());
    }
    // SAFETY: it is open, and nothing in this process owns it: whatever unirs opens is close-on-exec.
    let owned = unsafe { OwnedFd::from_raw_fd(raw) };
    set_cloexec(&owned, true)?;
    Ok(owned)
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd;

    use super::*;
    use crate::sys::testing::{alone, duplicate_above, install};

    fn is_cloexec(descriptor: impl AsFd) -> bool {
        descriptor_flags(descriptor.as_fd().as_raw_fd()).unwrap().contains(FdFlag::FD_CLOEXEC)
    }

    #[test]
    fn what_is_open_is_listed_with_and_without_proc() {
        if !alone!() {
            return;
        }
        let file = duplicate_above(tempfile::tempfile().unwrap(), 200).unwrap();
        let number = file.as_raw_fd();
        assert!(number >= 200);
        assert!(open_descriptors().contains(&number));
        assert_eq!(open_descriptors(), probed());
        let listed = [open_descriptors(), vec![0, 1, 2]].concat();
        assert!(unlisted(&listed).is_empty());
        drop(file);
        assert!(!open_descriptors().contains(&number));
    }

    #[test]
    fn only_what_was_inherited_is_taken_and_only_once() {
        if !alone!() {
            return;
        }
        install(duplicate_above(tempfile::tempfile().unwrap(), 100).unwrap(), 77);
        let taken = inherit(77).unwrap();
        assert!(is_cloexec(&taken));
        assert_eq!(inherit(77).unwrap_err().kind(), io::ErrorKind::InvalidInput);
        assert_eq!(inherit(1).unwrap_err().kind(), io::ErrorKind::InvalidInput);
        assert_eq!(inherit(-1).unwrap_err().raw_os_error(), Some(libc::EBADF));
        drop(taken);
        assert_eq!(inherit(77).unwrap_err().raw_os_error(), Some(libc::EBADF));
    }

    #[test]
    fn the_limit_of_descriptors_is_raised_as_far_as_it_goes() {
        if !alone!() {
            return;
        }
        setrlimit(Resource::RLIMIT_NOFILE, 100, 300).unwrap();
        assert_eq!(raise_nofile(50).unwrap(), 100, "it never lowers");
        assert_eq!(raise_nofile(200).unwrap(), 200);
        let privileged = nix::unistd::geteuid().is_root();
        let reached = raise_nofile(400).unwrap();
        assert!(reached == 300 || privileged && reached == 400, "{reached}");
        assert_eq!(getrlimit(Resource::RLIMIT_NOFILE).unwrap().0, reached);
    }
}
