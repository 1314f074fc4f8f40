//! Files below a folder, and never outside of it, whatever their names and whoever moves folders meanwhile. Not what
//! a file may be served to whom.

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

/// Flags of every file that is opened for reading: a pipe or a device does not make us wait, a terminal does not
/// become ours.
const READ: i32 = libc::O_RDONLY | libc::O_NONBLOCK | libc::O_NOCTTY | libc::O_CLOEXEC;

/// How often a look-up is repeated that a renamed folder got in the way of.
const TRIES: usize = 16;

/// This kernel (before 5.6), or a filter of system calls, does not let us have openat2.
static NO_OPENAT2: AtomicBool = AtomicBool::new(false);

/// Opens the folder below which files are looked for. Neither read nor listed through this descriptor.
pub(crate) fn open_root(path: &Path) -> io::Result<OwnedFd> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    let flags = libc::O_PATH | libc::O_DIRECTORY | libc::O_CLOEXEC;
    // SAFETY: a terminated path that lives over the call.
    let result = unsafe { libc::open(path.as_ptr(), flags) };
    owned(result.into())
}

/// Opens `path`, a relative one, for reading below `root`. Symbolic links are followed as long as they stay below it;
/// on a kernel without openat2, not at all.
///
/// A file, a folder or anything else: the caller has to look. Errors: `EXDEV` or `ELOOP` for a path that leaves the
/// root or has a link that may not be followed.
pub(crate) fn open_beneath(root: BorrowedFd<'_>, path: &[u8]) -> io::Result<OwnedFd> {
    let name = CString::new(path)?;
    if !NO_OPENAT2.load(Ordering::Relaxed) {
        match resolve(root, &name) {
            // EPERM is also an old container runtime's word for a system call that it does not know.
            Err(error) if matches!(error.raw_os_error(), Some(libc::ENOSYS | libc::EPERM)) => {
                NO_OPENAT2.store(error.raw_os_error() == Some(libc::ENOSYS), Ordering::Relaxed);
            }
            result => return result,
        }
    }
    descend(root, path)
}

/// One system call; the kernel watches over each step.
fn resolve(root: BorrowedFd<'_>, path: &CStr) -> io::Result<OwnedFd> {
    // SAFETY: a struct of three integers, for which zero is the documented default.
    let mut how: libc::open_how = unsafe { std::mem::zeroed() };
    how.flags = READ as u64;
    how.resolve = libc::RESOLVE_BENEATH | libc::RESOLVE_NO_MAGICLINKS;
    let mut result = Err(io::Error::from_raw_os_error(libc::EAGAIN));
    for _ in 0..TRIES {
        // SAFETY: a terminated path and a struct of the size that is given, both living over the call.
        let number = unsafe {
            libc::syscall(
                libc::SYS_openat2,
                root.as_raw_fd(),
                path.as_ptr(),
                &raw const how,
                size_of_val(&how),
            )
        };
        result = owned(number);
        let is_race = |error: &io::Error| matches!(error.raw_os_error(), Some(libc::EAGAIN | libc::EINTR));
        if !result.as_ref().is_err_and(is_race) {
            break;
        }
    }
    result
}

/// A step for each component, none of which may be a symbolic link or lead upwards.
fn descend(root: BorrowedFd<'_>, path: &[u8]) -> io::Result<OwnedFd> {
    if path.starts_with(b"/") {
        return Err(io::Error::from_raw_os_error(libc::EXDEV));
    }
    let mut components =
        path.split(|byte| *byte == b'/').filter(|part| !matches!(*part, b"" | b".")).peekable();
    let mut folder = root.try_clone_to_owned()?;
    while let Some(component) = components.next() {
        if component == b".." {
            return Err(io::Error::from_raw_os_error(libc::EXDEV));
        }
        let is_last = components.peek().is_none() && !path.ends_with(b"/");
        let flags = if is_last { READ } else { libc::O_PATH | libc::O_DIRECTORY | libc::O_CLOEXEC };
        let next = step(&folder, component, flags)?;
        if is_last {
            return Ok(next);
        }
        folder = next;
    }
    step(&folder, b".", READ)
}

fn step(folder: &OwnedFd, component: &[u8], flags: i32) -> io::Result<OwnedFd> {
    let name = CString::new(component)?;
    // SAFETY: an open descriptor and a terminated name, both living over the call.
    let result = unsafe { libc::openat(folder.as_raw_fd(), name.as_ptr(), flags | libc::O_NOFOLLOW) };
    owned(result.into())
}

/// The descriptor that a system call made, or its error.
fn owned(result: libc::c_long) -> io::Result<OwnedFd> {
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just made it for us, and a descriptor fits an int.
    Ok(unsafe { OwnedFd::from_raw_fd(result as i32) })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::fs;
    use std::fs::File;
    use std::io::Read;
    use std::os::fd::AsFd;
    use std::os::unix::fs::symlink;

    use super::*;

    /// `secret` beside the folder `root`, which has `a/b/file`, and links inside, upwards and to the whole world.
    fn site() -> (tempfile::TempDir, OwnedFd) {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("root");
        fs::create_dir_all(root.join("a/b")).unwrap();
        fs::write(dir.path().join("secret"), "secret").unwrap();
        fs::write(root.join("a/b/file"), "inside").unwrap();
        symlink("a/b/file", root.join("near")).unwrap();
        symlink("../secret", root.join("up")).unwrap();
        symlink("/etc/passwd", root.join("far")).unwrap();
        symlink("a", root.join("folder")).unwrap();
        let fd = open_root(&root).unwrap();
        (dir, fd)
    }

    fn text(file: OwnedFd) -> String {
        let mut text = String::new();
        File::from(file).read_to_string(&mut text).unwrap();
        text
    }

    #[test]
    fn both_ways_find_a_file_below_the_root() {
        let (_dir, root) = site();
        assert_eq!(text(open_beneath(root.as_fd(), b"a/b/file").unwrap()), "inside");
        assert_eq!(text(descend(root.as_fd(), b"a/b/file").unwrap()), "inside");
        assert_eq!(text(descend(root.as_fd(), b"./a//b/./file").unwrap()), "inside");
    }

    #[test]
    fn both_ways_refuse_to_leave_the_root() {
        let (_dir, root) = site();
        for path in
            ["../secret", "a/../../secret", "/etc/passwd", "up", "far", "a/b/../../../secret", "a\0/b"]
        {
            assert!(open_beneath(root.as_fd(), path.as_bytes()).is_err(), "{path}");
            assert!(descend(root.as_fd(), path.as_bytes()).is_err(), "{path}");
        }
    }

    #[test]
    fn links_that_stay_below_the_root_are_followed_only_by_the_kernel_that_watches() {
        let (_dir, root) = site();
        assert_eq!(text(open_beneath(root.as_fd(), b"near").unwrap()), "inside");
        assert_eq!(text(open_beneath(root.as_fd(), b"folder/b/file").unwrap()), "inside");
        assert!(descend(root.as_fd(), b"near").is_err());
        assert!(descend(root.as_fd(), b"folder/b/file").is_err());
    }

    #[test]
    fn a_file_is_no_folder() {
        let (_dir, root) = site();
        for open in [open_beneath, descend] {
            let error = open(root.as_fd(), b"a/b/file/").unwrap_err();
            assert_eq!(error.raw_os_error(), Some(libc::ENOTDIR));
            assert!(open(root.as_fd(), b"a/b/").is_ok());
        }
    }

    #[test]
    fn a_pipe_without_a_writer_is_opened_at_once() {
        let (dir, root) = site();
        let pipe = dir.path().join("root/pipe");
        nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
        for open in [open_beneath, descend] {
            assert!(open(root.as_fd(), b"pipe").is_ok());
        }
    }
}
