//! The files that maps name: those that were opened with privileges, and those that anybody may read.

use std::fs::{File, OpenOptions};
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Opens modules by the names that the kernel shows for them.
pub(super) struct Files {
    /// What is open already, by the same kind of name.
    trusted: Vec<(PathBuf, File)>,
}

impl Files {
    /// With these, and what can be opened.
    pub(super) fn new(trusted: Vec<File>) -> Files {
        let named = trusted.into_iter().filter_map(|file| Some((name(&file)?, file)));
        Files { trusted: named.collect() }
    }

    /// The file of a mapping, if it is still there: the name of one that was replaced ends in ` (deleted)`, and names of
    /// another's lines would mislead.
    pub(super) fn open(&mut self, path: &Path) -> Option<File> {
        if let Some(known) = self.trusted.iter().position(|(name, _)| name == path) {
            return Some(self.trusted.swap_remove(known).1);
        }
        let name = path.to_str()?;
        if !name.starts_with('/') || name.ends_with(" (deleted)") {
            return None;
        }
        // Neither a pipe nor a device may hold this process, or be touched by it.
        let file =
            OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY).open(path).ok()?;
        file.metadata().ok()?.is_file().then_some(file)
    }
}

/// As `/proc/PID/maps` would show it.
fn name(file: &File) -> Option<PathBuf> {
    std::fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd())).ok()
}
