//! The pidfile: a lock that says who serves, and a number for operators to read. The lock decides, never the number.

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use nix::errno::Errno;
use nix::fcntl::{AtFlags, FcntlArg, OFlag, fcntl, openat, renameat};
use nix::sys::stat::{FileStat, Mode, SFlag, fchmod, fstat, fstatat};
use nix::unistd::{Pid, UnlinkatFlags, ftruncate, unlinkat};

/// How often a file that somebody else keeps replacing is opened anew.
const ATTEMPTS: usize = 16;

/// A pidfile that this process has locked and written.
///
/// The lock is POSIX's (`F_SETLK`): it belongs to the process, so that a worker that outlives its master does not hold it,
/// and it is lost when the process closes *any* descriptor of the file. So nobody may open the file a second time.
#[derive(Debug)]
pub(super) struct Pidfile {
    file: OwnedFd,
    directory: Arc<OwnedFd>,
    path: PathBuf,
}

/// Why there is no pidfile.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PidfileError {
    /// Another process holds the lock.
    #[error(
        "already running: the pidfile {path} is locked by pid {pid}; stop that one, or choose another pidfile"
    )]
    Held {
        /// The file.
        path: String,
        /// The holder, as the kernel names it (0: in another pid namespace).
        pid: i32,
    },
    /// The path names something that cannot be a pidfile.
    #[error("cannot use the pidfile {path}: it is not a regular file; remove it, or choose another path")]
    NotAFile {
        /// The file.
        path: String,
    },
    /// The system says no.
    #[error("cannot {verb} the pidfile {path}: {cause}")]
    Io {
        /// What was tried.
        verb: &'static str,
        /// The file.
        path: String,
        /// Why not.
        cause: String,
    },
}

impl Pidfile {
    /// Locks `path` (seen from `directory`) and writes this process's pid. Call it after the last fork of a daemon.
    pub(super) fn acquire(directory: &Arc<OwnedFd>, path: &Path) -> Result<Pidfile, PidfileError> {
        for _ in 0..ATTEMPTS {
            let file = open(directory, path)?;
            lock(&file, path)?;
            let pidfile = Pidfile { file, directory: Arc::clone(directory), path: path.to_owned() };
            // Its former owner may have unlinked it between our open and our lock.
            if pidfile.is_at(path) {
                return match pidfile.write() {
                    Ok(()) => Ok(pidfile),
                    Err(error) => {
                        // It names nobody, so nobody shall find it; the error says what matters.
                        let _ = pidfile.remove();
                        Err(error)
                    }
                };
            }
        }
        Err(failed("lock", path, Errno::EBUSY))
    }

    /// True when `path` is this very file, under whatever spelling.
    pub(super) fn is_at(&self, path: &Path) -> bool {
        let there = fstatat(&self.directory, path, AtFlags::AT_SYMLINK_NOFOLLOW);
        matches!((fstat(&self.file), there), (Ok(ours), Ok(there)) if same(&ours, &there))
    }

    /// Where it is, seen from the directory of the start.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Unlinks the file if it is still ours, and lets go of the lock. Dropping it instead keeps the file, which is what
    /// a forked child has to do.
    pub(super) fn remove(self) -> Result<(), PidfileError> {
        if !self.is_at(&self.path) {
            return Ok(());
        }
        unlinkat(&self.directory, &self.path, UnlinkatFlags::NoRemoveDir)
            .map_err(|errno| failed("remove", &self.path, errno))
    }

    /// Moves the file from `NAME` + `suffix` to `NAME`, over what a master that has ended left there.
    pub(super) fn promote(&mut self, suffix: &str) -> Result<(), PidfileError> {
        let Some(name) = self.path.to_str().and_then(|path| path.strip_suffix(suffix)).map(PathBuf::from)
        else {
            return Ok(());
        };
        if !self.is_at(&self.path) {
            return Err(failed("move", &self.path, Errno::ESTALE));
        }
        // A third server may have taken the name since; it is another file than ours, and may be opened.
        if let Ok(there) = openat(&self.directory, &name, LOOK, Mode::empty()) {
            lock(&there, &name)?;
        }
        renameat(&self.directory, &self.path, &self.directory, &name)
            .map_err(|errno| failed("move", &self.path, errno))?;
        self.path = name;
        Ok(())
    }

    /// Whether the file of this name + `suffix` is of process `pid`.
    pub(super) fn has_heir(&self, suffix: &str, pid: Pid) -> bool {
        let mut name = self.path.clone().into_os_string();
        name.push(suffix);
        let mut text = [0; 16];
        let read = openat(&self.directory, Path::new(&name), LOOK, Mode::empty())
            .and_then(|file| nix::unistd::read(file, &mut text));
        read.is_ok_and(|length| text[..length] == *format!("{pid}\n").as_bytes())
    }

    /// First the new number, then the cut: a reader never sees an empty file, and its first line is a pid at all times.
    fn write(&self) -> Result<(), PidfileError> {
        let text = format!("{}\n", Pid::this());
        nix::sys::uio::pwrite(&self.file, text.as_bytes(), 0)
            .and_then(|_| ftruncate(&self.file, i64::try_from(text.len()).unwrap_or(0)))
            .and_then(|()| fchmod(&self.file, Mode::from_bits_truncate(0o644)))
            .map_err(|errno| failed("write", &self.path, errno))
    }
}

/// How a file that is another's is opened: not through a link, and without waiting for a FIFO's other end.
const LOOK: OFlag = OFlag::O_RDWR.union(OFlag::O_CLOEXEC).union(OFlag::O_NOFOLLOW).union(OFlag::O_NONBLOCK);

/// Opens without following a link and without waiting for a FIFO's other end: in a directory that others can write
/// to, a planted file must not lead elsewhere.
fn open(directory: &OwnedFd, path: &Path) -> Result<OwnedFd, PidfileError> {
    let flags = OFlag::O_RDWR
        | OFlag::O_CREAT
        | OFlag::O_CLOEXEC
        | OFlag::O_NOFOLLOW
        | OFlag::O_NONBLOCK
        | OFlag::O_NOCTTY;
    let file = match openat(directory, path, flags, Mode::from_bits_truncate(0o644)) {
        Ok(file) => file,
        Err(Errno::ELOOP) => return Err(PidfileError::NotAFile { path: text(path) }),
        Err(errno) => return Err(failed("open", path, errno)),
    };
    let kind = fstat(&file).map_err(|errno| failed("open", path, errno))?.st_mode;
    if kind & SFlag::S_IFMT.bits() != SFlag::S_IFREG.bits() {
        return Err(PidfileError::NotAFile { path: text(path) });
    }
    Ok(file)
}

fn lock(file: &impl AsFd, path: &Path) -> Result<(), PidfileError> {
    match fcntl(file, FcntlArg::F_SETLK(&whole_file())) {
        Ok(_) => Ok(()),
        Err(Errno::EAGAIN | Errno::EACCES) => {
            let mut holder = whole_file();
            let asked = fcntl(file, FcntlArg::F_GETLK(&mut holder));
            let pid = if asked.is_ok() { holder.l_pid } else { 0 };
            Err(PidfileError::Held { path: text(path), pid })
        }
        Err(errno) => Err(failed("lock", path, errno)),
    }
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "the constants of flock are small; libc types them wider"
)]
fn whole_file() -> libc::flock {
    libc::flock {
        l_type: libc::F_WRLCK as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: 0,
        l_len: 0,
        l_pid: 0,
    }
}

fn same(a: &FileStat, b: &FileStat) -> bool {
    (a.st_dev, a.st_ino) == (b.st_dev, b.st_ino)
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

fn failed(verb: &'static str, path: &Path, errno: Errno) -> PidfileError {
    let remedy = match errno {
        Errno::ENOENT => " (its folder has to exist)",
        Errno::EACCES | Errno::EPERM => " (this user may not write there)",
        _ => "",
    };
    PidfileError::Io { verb, path: text(path), cause: errno.desc().to_lowercase() + remedy }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};
    use std::io::{self, BufRead, BufReader, Read, Write};
    use std::os::unix::fs::{MetadataExt, symlink};
    use std::process::{Child, Command, Stdio};

    use super::*;
    use crate::sys::testing::directory;

    /// Names the folder to the process that [`holder`] starts.
    const HOLD: &str = "UNIRS_TEST_HOLD_PIDFILE_IN";

    /// Another process that has acquired `pid` in `folder`, until its standard input is closed. It is this test program
    /// once more, running [`hold`] alone.
    fn holder(folder: &Path) -> Child {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["master::pidfile::tests::hold", "--exact", "--nocapture"])
            .env(HOLD, folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.as_mut().unwrap()).lines();
        assert!(lines.any(|line| line.unwrap().ends_with("held")));
        child
    }

    #[test]
    fn hold() {
        let Some(folder) = std::env::var_os(HOLD) else {
            return;
        };
        let folder = Arc::new(OwnedFd::from(File::open(folder).unwrap()));
        let _pidfile = Pidfile::acquire(&folder, Path::new("pid")).unwrap();
        writeln!(io::stdout(), "held").unwrap();
        io::stdin().read_to_end(&mut Vec::new()).unwrap();
    }

    #[test]
    fn a_new_masters_file_takes_the_name_when_nobody_holds_it() {
        let (temp, fd) = directory();
        let mut next = Pidfile::acquire(&fd, Path::new("pid.2")).unwrap();
        let mut old = holder(temp.path());
        assert!(matches!(next.promote(".2"), Err(PidfileError::Held { .. })));
        assert!(temp.path().join("pid.2").exists());
        old.kill().unwrap();
        old.wait().unwrap();
        next.promote(".2").unwrap();
        let text = fs::read_to_string(temp.path().join("pid")).unwrap();
        assert_eq!(text, format!("{}\n", Pid::this()));
        assert!(next.is_at(Path::new("pid")) && !temp.path().join("pid.2").exists());
        next.promote(".2").unwrap();
        assert!(next.is_at(Path::new("pid")), "there is nothing to move any more");
    }

    #[test]
    fn an_heir_is_who_its_file_names() {
        let (temp, fd) = directory();
        let pidfile = Pidfile::acquire(&fd, Path::new("pid")).unwrap();
        assert!(!pidfile.has_heir(".2", Pid::from_raw(7)));
        fs::write(temp.path().join("pid.2"), "7\n").unwrap();
        assert!(pidfile.has_heir(".2", Pid::from_raw(7)));
        assert!(!pidfile.has_heir(".2", Pid::from_raw(77)));
    }

    #[test]
    fn it_holds_this_pid_with_mode_0644_and_goes_away_when_removed() {
        let (temp, fd) = directory();
        let path = temp.path().join("pid");
        let pidfile = Pidfile::acquire(&fd, Path::new("pid")).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), format!("{}\n", std::process::id()));
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o644);
        pidfile.remove().unwrap();
        assert!(!path.exists());
    }

    #[test]
    fn stale_empty_and_garbage_files_are_overtaken() {
        let (temp, fd) = directory();
        let path = temp.path().join("pid");
        for content in ["", "1\n", "4194304999\n", "not a pid at all\n\0\n"] {
            fs::write(&path, content).unwrap();
            let pidfile = Pidfile::acquire(&fd, Path::new("pid")).unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), format!("{}\n", std::process::id()));
            pidfile.remove().unwrap();
        }
    }

    #[test]
    fn a_file_that_a_living_process_has_locked_is_refused_and_left_alone() {
        let (temp, fd) = directory();
        let path = temp.path().join("pid");
        let mut child = holder(temp.path());
        let before = fs::read_to_string(&path).unwrap();
        let refused = Pidfile::acquire(&fd, Path::new("pid")).unwrap_err();
        assert!(matches!(refused, PidfileError::Held { pid, .. } if u32::try_from(pid) == Ok(child.id())));
        assert!(refused.to_string().starts_with("already running: the pidfile pid is locked by"));
        assert_eq!(fs::read_to_string(&path).unwrap(), before);
        // Killed, it leaves the file behind, and the lock is free.
        child.kill().unwrap();
        child.wait().unwrap();
        Pidfile::acquire(&fd, Path::new("pid")).unwrap().remove().unwrap();
    }

    #[test]
    fn somebody_elses_file_under_our_name_is_not_removed() {
        let (temp, fd) = directory();
        let path = temp.path().join("pid");
        let pidfile = Pidfile::acquire(&fd, Path::new("pid")).unwrap();
        fs::rename(&path, temp.path().join("moved")).unwrap();
        fs::write(&path, "99\n").unwrap();
        pidfile.remove().unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "99\n");
    }

    #[test]
    fn a_link_or_a_directory_is_no_pidfile() {
        let (temp, fd) = directory();
        fs::write(temp.path().join("target"), "x").unwrap();
        symlink("target", temp.path().join("link")).unwrap();
        nix::unistd::mkfifo(&temp.path().join("fifo"), Mode::S_IRWXU).unwrap();
        for name in ["link", "fifo"] {
            let refused = Pidfile::acquire(&fd, Path::new(name)).unwrap_err();
            assert!(matches!(refused, PidfileError::NotAFile { .. }), "{name}: {refused}");
        }
        assert!(Pidfile::acquire(&fd, Path::new("missing/pid")).is_err());
        assert_eq!(fs::read_to_string(temp.path().join("target")).unwrap(), "x");
    }

    #[test]
    fn the_same_file_is_known_under_another_spelling() {
        let (_temp, fd) = directory();
        let pidfile = Pidfile::acquire(&fd, Path::new("pid")).unwrap();
        assert!(pidfile.is_at(Path::new("./pid")));
        assert!(!pidfile.is_at(Path::new("other")));
    }
}
