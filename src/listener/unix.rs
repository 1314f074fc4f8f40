//! Listeners at a path. A path that is served keeps being served while a new socket takes its place.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, lchown};
use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{fs, process};

use serde::{Deserialize, Serialize};

use super::error::written;
use super::{Address, BindError, Listener, Options, Origin};
use crate::settings::Bind;
use crate::sys::socket;

/// The longest path in a socket's address, less its NUL (unix(7)).
const LONGEST_PATH: usize = 107;

/// Clients that hung in connect, because the queue was full, are in the queue after this time.
pub(super) const QUIET: Duration = Duration::from_millis(100);

/// Our socket's place in the file system.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Entry {
    /// Absolute, so that it stays true when the working directory changes.
    path: PathBuf,
    /// The file system that the socket is on.
    device: u64,
    /// Its number there, by which it is told from a socket that another server has put in its place.
    inode: u64,
}

impl Entry {
    fn of(socket: &Path, path: &Path) -> io::Result<Entry> {
        let metadata = fs::symlink_metadata(socket)?;
        let path = std::path::absolute(path)?;
        Ok(Entry { path, device: metadata.dev(), inode: metadata.ino() })
    }

    /// Removes the path if it still leads to our socket. Gone already, or another's: nothing to do.
    pub(super) fn unlink(&self) -> io::Result<()> {
        let there = match fs::symlink_metadata(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            other => other?,
        };
        if (there.dev(), there.ino()) == (self.device, self.inode) {
            remove(&self.path)?;
        }
        Ok(())
    }
}

pub(super) fn open(bind: &Bind, path: &Path, options: &Options) -> Result<Listener, BindError> {
    let refused = |error: io::Error| BindError::unix(bind, &error);
    if let Some(name) = path.as_os_str().as_bytes().strip_prefix(b"\0") {
        return open_abstract(bind, name, options).map_err(|error| BindError::refused(bind, &error, ""));
    }
    let suffix = format!(".{}", process::id());
    let room = LONGEST_PATH - suffix.len();
    if path.as_os_str().len() > room {
        return Err(BindError::TooLong { bind: written(bind), limit: room });
    }
    let mut beside = path.as_os_str().to_owned();
    beside.push(&suffix);
    let beside = PathBuf::from(beside);
    expect_free(bind, path)?;
    expect_free(bind, &beside)?;
    let (socket, temporary) = Temporary::bind(beside).map_err(refused)?;
    temporary.dress(&socket, options).map_err(refused)?;
    let entry = temporary.settle(path).map_err(refused)?;
    Ok(Listener::new(socket, bind, Address::Unix(path.to_owned()), Origin::Unix(entry)))
}

fn open_abstract(bind: &Bind, name: &[u8], options: &Options) -> io::Result<Listener> {
    let socket = socket::unix_socket()?;
    socket::bind_abstract(&socket, name)?;
    socket::listen(&socket, options.backlog)?;
    let shown = PathBuf::from(format!("@{}", String::from_utf8_lossy(name)));
    Ok(Listener::new(socket, bind, Address::Unix(shown), Origin::Abstract))
}

/// Nothing is at the path, or a socket that nobody listens to any more.
fn expect_free(bind: &Bind, path: &Path) -> Result<(), BindError> {
    let there = match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other.map_err(|error| BindError::unix(bind, &error))?,
    };
    if !there.file_type().is_socket() {
        return Err(BindError::occupied(bind, path, kind_of(there.file_type())));
    }
    match socket::unix_socket().and_then(|probe| socket::connect_unix(probe, path)) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        // A full queue: whoever listens is only busy.
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
            Err(BindError::Live { bind: written(bind) })
        }
        Err(error) if error.raw_os_error() == Some(libc::EPROTOTYPE) => {
            Err(BindError::occupied(bind, path, "a socket of another kind, in use"))
        }
        Err(error) => Err(BindError::unix(bind, &error)),
        Ok(()) => Err(BindError::Live { bind: written(bind) }),
    }
}

fn kind_of(file: fs::FileType) -> &'static str {
    if file.is_dir() {
        "a folder"
    } else if file.is_symlink() {
        "a symbolic link"
    } else if file.is_file() {
        "a file"
    } else {
        "no socket"
    }
}

/// The name under which a socket is made ready before it is moved to its path: `PATH.PID`. Removed when it was not
/// moved.
struct Temporary {
    path: PathBuf,
    moved: bool,
}

impl Temporary {
    /// Binds a new socket there, over what a server with our number may have left behind.
    fn bind(path: PathBuf) -> io::Result<(OwnedFd, Temporary)> {
        remove(&path)?;
        let socket = socket::unix_socket()?;
        socket::bind_unix(&socket, &path)?;
        let moved = false;
        Ok((socket, Temporary { path, moved }))
    }

    /// Gives the socket its rights and its owner, and only then listens: nobody gets in before.
    fn dress(&self, socket: &OwnedFd, options: &Options) -> io::Result<()> {
        let mode = 0o777 & !options.umask.unwrap_or(0);
        fs::set_permissions(&self.path, fs::Permissions::from_mode(mode))?;
        if let Some((user, group)) = options.owner {
            lchown(&self.path, Some(user), Some(group))?;
        }
        socket::listen(socket, options.backlog)
    }

    /// Moves the socket to its path, over what is there.
    fn settle(mut self, path: &Path) -> io::Result<Entry> {
        let entry = Entry::of(&self.path, path)?;
        fs::rename(&self.path, path)?;
        self.moved = true;
        Ok(entry)
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if !self.moved {
            // What cannot be removed now is removed by a later start.
            let _ = remove(&self.path);
        }
    }
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}
