//! How a reload ended: said in the error log, to the service manager, and in the file `<pidfile>.reload`, where whoever has
//! asked for the reload finds it. What a reload is, is not known here.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use nix::errno::Errno;
use nix::fcntl::{OFlag, openat, renameat};
use nix::sys::stat::{Mode, fchmod};
use nix::unistd::{UnlinkatFlags, unlinkat};
use serde::Serialize;
use tracing::{debug, error, info, warn};

use super::generation::Fate;
use crate::log::cause;
use crate::master::moment::Monotonic;
use crate::master::service::status::one_line;
use crate::master::workers::children::Life;
use crate::master::{Master, Phase};

/// The file: one reload, that which ended last.
#[derive(Debug, Serialize)]
struct Outcome {
    /// Counts the finished reloads of this master; the start is none.
    serial: u64,
    /// The pid of the master that wrote it.
    master: u32,
    /// When the configuration of this reload was read, in nanoseconds of CLOCK_MONOTONIC. An outcome that is older than
    /// one's own HUP in this sense is the outcome of another.
    read_at: Monotonic,
    /// How it ended.
    result: Verdict,
    /// The generation that serves now; 0: none does yet.
    generation: u64,
    /// Why it was refused.
    reason: String,
}

/// How a reload ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Verdict {
    Committed,
    Refused,
}

/// Where an outcome is written: beside a pidfile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::master) struct Place {
    path: PathBuf,
}

impl Place {
    /// The one for this pidfile.
    pub(in crate::master) fn beside(pidfile: &Path) -> Place {
        let mut path = pidfile.as_os_str().to_owned();
        path.push(".reload");
        Place { path: path.into() }
    }

    /// By rename, so that nobody reads half of it, and into a file of our own making: in a folder that others can write to,
    /// a planted one must not lead elsewhere.
    fn write(&self, directory: &Arc<OwnedFd>, text: &str) -> io::Result<()> {
        let mut draft = self.path.clone().into_os_string();
        draft.push(format!(".{}", std::process::id()));
        let draft = PathBuf::from(draft);
        // Only a former process of the same number can have left one.
        let _ = unlinkat(directory, &draft, UnlinkatFlags::NoRemoveDir);
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let mut file = File::from(openat(directory, &draft, flags, Mode::from_bits_truncate(0o644))?);
        let written = fchmod(&file, Mode::from_bits_truncate(0o644))
            .map_err(io::Error::from)
            .and_then(|()| file.write_all(text.as_bytes()))
            .and_then(|()| Ok(renameat(directory, &draft, directory, &self.path)?));
        if written.is_err() {
            // The error that counts is the first.
            let _ = unlinkat(directory, &draft, UnlinkatFlags::NoRemoveDir);
        }
        written
    }

    /// Nobody will be told anything here any more.
    pub(in crate::master) fn remove(&self, directory: &Arc<OwnedFd>) {
        match unlinkat(directory, &self.path, UnlinkatFlags::NoRemoveDir) {
            Ok(()) | Err(Errno::ENOENT) => {}
            Err(errno) => debug!("cannot remove {}: {}", self.path.display(), errno.desc()),
        }
    }
}

impl Master {
    /// The generation `number` serves. Who has asked for it may have read the place of the former pidfile.
    pub(in crate::master) fn conclude(&mut self, number: u64, former: Option<Place>) {
        let Some(generation) = self.generations.iter().find(|generation| generation.number == number) else {
            return;
        };
        let read_at = generation.read_at;
        // The start is the first generation's, and a reload that came before it had ended the later one's.
        if number > 1 {
            let verdict = format!("Reloaded: generation {number} serves");
            info!("{verdict}");
            self.verdict = Some(verdict);
            self.reloads += 1;
        }
        let place = self.place();
        let former = former.filter(|former| Some(former) != place.as_ref());
        for place in place.into_iter().chain(former) {
            self.write_outcome(&place, Verdict::Committed, read_at, "");
        }
    }

    /// Whoever serves goes on; says so, and why. The configuration that is refused was read at `read_at`.
    pub(in crate::master) fn refuse(&mut self, reason: &str, read_at: Monotonic) {
        let reason = one_line(reason);
        let verdict = format!("Reload refused, {}: {reason}", self.who_goes_on());
        error!("{verdict}");
        self.verdict = Some(verdict);
        self.reloads += 1;
        if let Some(place) = self.place() {
            self.write_outcome(&place, Verdict::Refused, read_at, &reason);
        }
        if self.phase != Phase::Starting {
            self.say_ready();
        }
    }

    fn who_goes_on(&self) -> String {
        if self.phase == Phase::Starting {
            return "the start goes on as it began".to_owned();
        }
        let ready_of = |fate: Fate| {
            let mut of_fate = self.generations.iter().filter(move |generation| generation.fate == fate);
            of_fate
                .any(|generation| self.children.of(generation.number).any(|child| child.life == Life::Ready))
        };
        let number = self.serving();
        if ready_of(Fate::Serving) {
            format!("generation {number} serves on")
        } else if ready_of(Fate::Withdrawn) {
            format!("generation {number} is brought back")
        } else {
            format!("generation {number} goes on without a worker that is ready")
        }
    }

    fn serving(&self) -> u64 {
        let serving = self.generations.iter().find(|generation| generation.fate == Fate::Serving);
        serving.map_or(0, |generation| generation.number)
    }

    /// Where the outcomes of reloads are written, if anywhere.
    pub(in crate::master) fn place(&self) -> Option<Place> {
        self.pidfile.as_ref().map(|pidfile| Place::beside(pidfile.path()))
    }

    /// The pidfile has another name than it had when `former` was its place.
    pub(in crate::master) fn move_outcome(&self, former: Option<Place>) {
        let (Some(former), Some(place)) = (former, self.place()) else {
            return;
        };
        if let Err(errno) = renameat(&self.directory.fd, &former.path, &self.directory.fd, &place.path) {
            debug!("cannot rename {}: {}", former.path.display(), errno.desc());
        }
    }

    fn write_outcome(&self, place: &Place, result: Verdict, read_at: Monotonic, reason: &str) {
        let outcome = Outcome {
            serial: self.reloads,
            master: std::process::id(),
            read_at,
            result,
            generation: self.serving(),
            reason: reason.to_owned(),
        };
        let written = toml::to_string(&outcome)
            .map_err(io::Error::other)
            .and_then(|text| place.write(&self.directory.fd, &text));
        if let Err(error) = written {
            let path = place.path.display();
            warn!("cannot write the outcome of the reload to {path}: {}", cause(&error));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt, symlink};

    use super::*;
    use crate::sys::testing::directory;

    #[test]
    fn the_file_is_toml_whatever_the_reason_is() {
        let outcome = Outcome {
            serial: 3,
            master: 4711,
            read_at: 123_456_789,
            result: Verdict::Refused,
            generation: 4,
            reason: "gunicorn.toml:3: \"quoted\" 'and' \\ = [x]".to_owned(),
        };
        let text = toml::to_string(&outcome).unwrap();
        let read: toml::Table = text.parse().unwrap();
        assert!(text.starts_with("serial = 3\nmaster = 4711\nread_at = 123456789\nresult = \"refused\"\n"));
        assert_eq!(read["reason"].as_str(), Some(outcome.reason.as_str()));
    }

    #[test]
    fn it_comes_whole_takes_the_place_of_what_is_there_and_leaves_nothing_beside_it() {
        let (temp, fd) = directory();
        let place = Place::beside(Path::new("pid"));
        symlink("elsewhere", temp.path().join("pid.reload")).unwrap();
        for text in ["one", "two"] {
            place.write(&fd, text).unwrap();
            let path = temp.path().join("pid.reload");
            assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
            assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o7777, 0o644);
        }
        assert_eq!(std::fs::read_dir(temp.path()).unwrap().count(), 1);
        place.remove(&fd);
        place.remove(&fd);
        assert_eq!(std::fs::read_dir(temp.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_folder_that_is_gone_is_an_error_and_no_more() {
        let (_temp, fd) = directory();
        assert!(Place::beside(Path::new("nowhere/pid")).write(&fd, "x").is_err());
    }
}
