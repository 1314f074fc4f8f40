//! A file in memory that is written once, sealed, and executed: what a generation keeps of its application's library.
//! What is copied into it, and when, is not decided here.

use std::ffi::CStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::path::PathBuf;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::resource::{Resource, getrlimit};

/// Its number is at least this, or half of what a process may have: out of the way of applications that close or count
/// what they hold from the bottom, and below what `select` can name.
const HIGH: u64 = 900;

/// What nobody can undo: it neither shrinks nor grows nor changes any more.
const SEALS: SealFlag = SealFlag::F_SEAL_WRITE
    .union(SealFlag::F_SEAL_SHRINK)
    .union(SealFlag::F_SEAL_GROW)
    .union(SealFlag::F_SEAL_SEAL);

/// A file in memory, shared with all children that hold it. While its last descriptor is open its number is not used
/// again, which is what the dynamic linker and every backtrace rely on: to both it is known as [`Image::path`].
#[derive(Debug)]
pub(crate) struct Image {
    file: File,
}

impl Image {
    /// An empty one. `name` is what `/proc/PID/maps` shows behind `/memfd:`.
    ///
    /// # Errors
    /// A kernel that is told to run nothing from memory (`vm.memfd_noexec=2`) says `PermissionDenied`.
    pub(crate) fn create(name: &CStr) -> io::Result<Image> {
        let flags = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING;
        let executable = MFdFlags::from_bits_retain(libc::MFD_EXEC);
        let low = match memfd_create(name, flags | executable) {
            // Kernels before 6.3 do not know the flag, and execute every one.
            Err(Errno::EINVAL) => memfd_create(name, flags),
            other => other,
        }?;
        Ok(Image { file: File::from(moved_high(&low)?) })
    }

    /// Keeps other processes from filling it, for as long as the value lives; waits for those that do. It ends with the
    /// process, too, in whatever state the file is then.
    pub(crate) fn lock(&self) -> io::Result<Locked<'_>> {
        self.set_lock(libc::F_WRLCK)?;
        Ok(Locked { image: self })
    }

    /// Nobody can change it any more.
    pub(crate) fn is_sealed(&self) -> bool {
        let seals = fcntl(&self.file, FcntlArg::F_GET_SEALS).map(SealFlag::from_bits_retain);
        seals.is_ok_and(|seals| seals.contains(SEALS))
    }

    /// For reading; it has one position for all processes that hold it, so read at offsets.
    pub(crate) fn file(&self) -> &File {
        &self.file
    }

    /// The path by which this process, and no other, can open it.
    pub(crate) fn path(&self) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}", self.file.as_raw_fd()))
    }

    /// A lock of the kind that belongs to a process: the descriptor's own kinds are shared with every child.
    fn set_lock(&self, kind: libc::c_int) -> io::Result<()> {
        // SAFETY: plain numbers, for which zero is a value.
        let mut lock: libc::flock = unsafe { std::mem::zeroed() };
        lock.l_type = kind as libc::c_short;
        lock.l_whence = libc::SEEK_SET as libc::c_short;
        loop {
            match fcntl(&self.file, FcntlArg::F_SETLKW(&lock)) {
                Err(Errno::EINTR) => {}
                other => return Ok(other.map(drop)?),
            }
        }
    }
}

impl AsFd for Image {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

/// An image that no other process fills meanwhile.
#[derive(Debug)]
pub(crate) struct Locked<'a> {
    image: &'a Image,
}

impl Locked<'_> {
    /// Makes it empty: somebody may have died while filling it.
    pub(crate) fn clear(&self) -> io::Result<()> {
        self.image.file.set_len(0)
    }

    /// Makes it what it is for good.
    ///
    /// # Errors
    /// `ResourceBusy` when somebody has mapped it for writing.
    pub(crate) fn seal(&self) -> io::Result<()> {
        fcntl(&self.image.file, FcntlArg::F_ADD_SEALS(SEALS))?;
        Ok(())
    }
}

impl Drop for Locked<'_> {
    fn drop(&mut self) {
        // It can only fail for a descriptor that is none; the end of the process frees it in any case.
        let _ = self.image.set_lock(libc::F_UNLCK);
    }
}

fn moved_high(low: &OwnedFd) -> io::Result<OwnedFd> {
    let (soft, _) = getrlimit(Resource::RLIMIT_NOFILE)?;
    let lowest = i32::try_from(HIGH.min(soft / 2)).map_err(|_| Errno::EMFILE)?;
    let raw = fcntl(low, FcntlArg::F_DUPFD_CLOEXEC(lowest))?;
    // SAFETY: the kernel has just made it, and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(raw) })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt;

    use nix::sys::wait::WaitStatus;

    use super::*;
    use crate::sys::testing::{alone, forked};

    #[test]
    fn a_sealed_image_never_changes_again() {
        let image = Image::create(c"test").unwrap();
        assert!(image.as_fd().as_raw_fd() >= 100 && !image.is_sealed());
        image.file().write_all_at(b"code", 0).unwrap();
        image.lock().unwrap().seal().unwrap();
        assert!(image.is_sealed());
        assert!(image.file().write_all_at(b"x", 0).is_err());
        assert!(image.file().set_len(1).is_err());
        assert!(std::fs::OpenOptions::new().write(true).open(image.path()).unwrap().set_len(0).is_err());
        assert_eq!(std::fs::read(image.path()).unwrap(), b"code");
    }

    #[test]
    fn one_process_at_a_time_fills_it_and_a_death_frees_it() {
        if !alone!() {
            return;
        }
        let image = Image::create(c"test").unwrap();
        let status = forked(|| {
            std::mem::forget(image.lock().unwrap());
            image.file().write_all_at(b"half", 0).unwrap();
            7
        });
        assert!(matches!(status, WaitStatus::Exited(_, 7)), "{status:?}");
        let locked = image.lock().unwrap();
        locked.clear().unwrap();
        let waits = forked(|| {
            // SAFETY: plain numbers, for which zero is a value.
            let mut lock: libc::flock = unsafe { std::mem::zeroed() };
            lock.l_type = libc::F_WRLCK as libc::c_short;
            i32::from(fcntl(image.file(), FcntlArg::F_SETLK(&lock)).is_err())
        });
        assert!(matches!(waits, WaitStatus::Exited(_, 1)), "{waits:?}");
        assert_eq!(image.file().metadata().unwrap().len(), 0);
    }
}
