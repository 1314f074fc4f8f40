//! Where a log goes, and how such a place is opened. Nothing is written here.

use std::fmt;
use std::fs::File;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use nix::sys::stat::{FileStat, Mode, fchmod};

/// Where a log goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// Descriptor 1.
    Stdout,
    /// Descriptor 2.
    Stderr,
    /// A file, or whatever the path names: a named pipe, a terminal, `/dev/null`.
    File(PathBuf),
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Target::Stdout => f.write_str("standard output"),
            Target::Stderr => f.write_str("standard error"),
            Target::File(path) => path.display().fmt(f),
        }
    }
}

/// A new log is readable by all, as Gunicorn's, unless the umask says otherwise.
pub(super) const NEW_FILE_MODE: u32 = 0o644;

impl Target {
    /// With an absolute path, and with standard output called by its name: opening `/dev/stdout` fails where it is a
    /// socket, as under systemd.
    pub(super) fn settled(&self, dir: &Path) -> Target {
        match self {
            Target::Stdout | Target::Stderr => self.clone(),
            Target::File(path) => match path.to_str() {
                Some("/dev/stdout" | "/dev/fd/1" | "/proc/self/fd/1") => Target::Stdout,
                Some("/dev/stderr" | "/dev/fd/2" | "/proc/self/fd/2") => Target::Stderr,
                _ => Target::File(dir.join(path)),
            },
        }
    }
}

/// Opens a path to append to it, and says whether the file is new. O_NONBLOCK is for a named pipe, which would make the
/// opener wait for a reader; the open file is ours alone, so it may stay on.
pub(super) fn open_append(path: &Path, mode: u32) -> io::Result<(File, bool)> {
    let mut options = File::options();
    options.append(true).mode(mode).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY);
    match options.clone().create_new(true).open(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            Ok((options.create(true).open(path)?, false))
        }
        file => Ok((file?, true)),
    }
}

/// Gives a new file mode and owner of the old one, as far as this process may.
pub(super) fn make_alike(new: &File, old: &FileStat) {
    // The owner first: chown clears mode bits. A process that may not give files away keeps it.
    let _ = std::os::unix::fs::fchown(new, Some(old.st_uid), Some(old.st_gid));
    // If this fails the file is less open than the old one, never more: it was made with the old mode.
    let _ = fchmod(new, Mode::from_bits_truncate(old.st_mode & 0o777));
}
