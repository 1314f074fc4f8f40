//! Where the lines of a log go: a file, a pipe, a terminal, a socket. It never waits, never fails, and never forms a line.
//!
//! A line that cannot be written is lost, counted, and spoken of: once when it begins, on whatever still works, and once
//! more when writing works again. See `docs/logging.md`.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering::Relaxed};
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::stat::fstat;
use nix::unistd::ftruncate;

use super::losses::{Loss, Losses, words};
use super::pieces::{LIMIT, Piece, count_lines, pieces, whole_lines};
use super::{Level, Target, line, target};
use crate::sys::append::{self, Kind};

/// One target of lines in a process; it is shared by reference, and inherited by forked children.
pub struct Sink {
    /// Where the lines go; a path is absolute.
    target: Target,
    /// The open file; none for standard output and error, which are used under their own numbers, so that a process
    /// that becomes a daemon redirects them once for all.
    file: Option<OwnedFd>,
    /// What the descriptor leads to: an index into [`KINDS`].
    kind: AtomicU8,
    /// True if the last thing written is a part of a line.
    torn: AtomicBool,
    /// Lines that could not be written.
    losses: Losses,
    /// Which log this is.
    log: Log,
}

/// Which log a sink serves: it decides where losses are spoken of.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Log {
    /// Complains on standard error, and counts in itself.
    Error,
    /// Complains and counts in the error log.
    Access,
}

const KINDS: [Kind; 5] =
    [Kind::File { append: true }, Kind::File { append: false }, Kind::Pipe, Kind::Socket, Kind::Device];

impl Sink {
    /// Opens a target; a relative path is resolved against `dir`, now and whenever it is reopened.
    pub fn open(target: &Target, dir: &Path) -> io::Result<Sink> {
        let target = target.settled(dir);
        let file = match &target {
            Target::Stdout | Target::Stderr => None,
            Target::File(path) => Some(target::open_append(path, target::NEW_FILE_MODE)?.0.into()),
        };
        let sink = Sink {
            target,
            file,
            kind: AtomicU8::new(0),
            torn: AtomicBool::new(false),
            losses: Losses::default(),
            log: Log::Error,
        };
        sink.look_again()?;
        Ok(sink)
    }

    /// The same sink as the access log's: its losses are spoken of in the error log.
    pub fn for_access(self) -> Sink {
        Sink { log: Log::Access, ..self }
    }

    /// Where the lines go.
    pub fn target(&self) -> &Target {
        &self.target
    }

    /// Writes whole lines, now; what cannot be written now is lost and counted.
    pub fn write_lines(&self, lines: &[u8]) {
        match self.put(lines) {
            (_, None) => self.speak_of_losses(self.losses.due()),
            (taken, Some(error)) => {
                self.torn.fetch_or(whole_lines(&lines[..taken]) < taken, Relaxed);
                self.lose(&lines[taken..], &error);
            }
        }
    }

    /// Writes as many lines as the reader has room for, and returns their length. What remains is the caller's to offer
    /// again, before anything else, or to [`Sink::lose`]; it begins in mid-line only on a terminal or a socket. Lines that cannot be written for another reason are lost, and count as taken.
    pub fn offer(&self, lines: &[u8]) -> usize {
        match self.put(lines) {
            (taken, None) => {
                self.speak_of_losses(self.losses.due());
                taken
            }
            (taken, Some(error)) if error.kind() == io::ErrorKind::WouldBlock => taken,
            (taken, Some(error)) => {
                self.lose(&lines[taken..], &error);
                lines.len()
            }
        }
    }

    /// Writes whole lines and speaks of nothing: for a signal handler of a dying process. Calls write, pwritev2, send,
    /// poll, fstat, fcntl, ftruncate; allocates nothing.
    pub fn write_last(&self, lines: &[u8]) {
        let _ = self.put(lines); // nobody is left who could do anything about it
    }

    /// Counts lines as lost, and complains if these are the first.
    pub fn lose(&self, lines: &[u8], cause: &io::Error) {
        if self.losses.add(count_lines(lines), cause) {
            self.complain(cause.raw_os_error().unwrap_or_default());
        }
    }

    /// Says how many lines were lost, if that was not said yet: for a process that is about to end.
    pub fn settle_losses(&self) {
        self.speak_of_losses(self.losses.take());
    }

    /// Opens the path anew: USR1, after the file was renamed. A file that has to be made gets mode and owner of the one
    /// written until now. `None`: standard output and error are never reopened.
    pub fn reopen(&self) -> io::Result<Option<OwnedFd>> {
        let (Target::File(path), Some(file)) = (&self.target, &self.file) else {
            return Ok(None);
        };
        let old = fstat(file)?;
        let is_file = matches!(self.kind(), Kind::File { .. });
        let (file, is_new) =
            target::open_append(path, if is_file { old.st_mode & 0o777 } else { target::NEW_FILE_MODE })?;
        if is_new && is_file {
            target::make_alike(&file, &old);
        }
        Ok(Some(file.into()))
    }

    /// Goes on with another open file, under the same number. A sink of standard output or error stays as it is.
    pub fn adopt(&self, file: impl AsFd) -> io::Result<()> {
        let Some(own) = &self.file else { return Ok(()) };
        append::replace(own.as_fd(), file)?;
        self.torn.store(false, Relaxed);
        self.look_again()?;
        Ok(())
    }

    /// Waits until there may be room for more lines, at most so long. False: there is none.
    pub fn wait_for_reader(&self, patience: Duration) -> bool {
        let patience = PollTimeout::try_from(patience).unwrap_or(PollTimeout::MAX);
        poll(&mut [PollFd::new(self.as_fd(), PollFlags::POLLOUT)], patience).is_ok_and(|ready| ready > 0)
    }

    /// Learns what the descriptor leads to: for a process that has redirected its standard output or error. True:
    /// something else than before.
    pub fn look_again(&self) -> io::Result<bool> {
        let kind = Kind::of(self.as_fd())?;
        let index = KINDS.iter().position(|known| *known == kind).unwrap_or_default() as u8;
        Ok(self.kind.swap(index, Relaxed) != index)
    }

    fn kind(&self) -> Kind {
        KINDS[usize::from(self.kind.load(Relaxed))]
    }

    /// Writes what can be written now. How many bytes are done with, and why not all.
    fn put(&self, lines: &[u8]) -> (usize, Option<io::Error>) {
        match self.put_as(self.kind(), lines) {
            (taken, Some(error)) if error.kind() != io::ErrorKind::WouldBlock => {
                // Somebody may have redirected the number (a process that becomes a daemon does).
                if !self.look_again().unwrap_or(false) {
                    return (taken, Some(error));
                }
                let (more, error) = self.put_as(self.kind(), &lines[taken..]);
                (taken + more, error)
            }
            done => done,
        }
    }

    fn put_as(&self, kind: Kind, lines: &[u8]) -> (usize, Option<io::Error>) {
        if let Err(error) = self.end_torn_line(kind) {
            return (0, Some(error));
        }
        match kind {
            Kind::File { append } => self.put_file(append, lines),
            Kind::Pipe | Kind::Socket | Kind::Device => self.put_stream(kind, lines),
        }
    }

    fn end_torn_line(&self, kind: Kind) -> io::Result<()> {
        if self.torn.swap(false, Relaxed)
            && let Err(error) = append::write_now(self.as_fd(), kind, b"\n")
        {
            self.torn.store(true, Relaxed);
            return Err(error);
        }
        Ok(())
    }

    /// All lines by one write(2): with O_APPEND no other process gets between them.
    fn put_file(&self, append: bool, lines: &[u8]) -> (usize, Option<io::Error>) {
        let mut written = 0;
        while written < lines.len() {
            // A partial write is tried again at once: the second attempt tells the reason, or completes the line.
            match append::write_now(self.as_fd(), Kind::File { append }, &lines[written..]) {
                Ok(0) => return self.stop_in_file(append, &lines[..written], Errno::EIO.into()),
                Ok(count) => written += count,
                Err(error) => return self.stop_in_file(append, &lines[..written], error),
            }
        }
        (written, None)
    }

    fn stop_in_file(&self, append: bool, written: &[u8], error: io::Error) -> (usize, Option<io::Error>) {
        let whole = whole_lines(written);
        let torn = written.len() - whole;
        if torn > 0 && !(append && self.take_back(torn).is_ok()) {
            self.torn.store(true, Relaxed);
        }
        (whole, Some(error))
    }

    /// Cuts the beginning of a line off the file's end, where the disk was full. Others cannot have added anything
    /// meanwhile: the space ended at this very byte.
    fn take_back(&self, torn: usize) -> io::Result<()> {
        let size = fstat(self.as_fd())?.st_size;
        let whole = size.checked_sub_unsigned(torn as u64).filter(|whole| *whole >= 0);
        Ok(ftruncate(self.as_fd(), whole.ok_or(Errno::EINVAL)?)?)
    }

    /// Whole lines, no more at once than a pipe takes in one go.
    fn put_stream(&self, kind: Kind, lines: &[u8]) -> (usize, Option<io::Error>) {
        let (mut taken, mut space) = (0, [0; LIMIT]);
        for piece in pieces(lines) {
            let bytes = piece.bytes(&mut space);
            match append::write_now(self.as_fd(), kind, bytes) {
                Ok(count) if count == bytes.len() => taken += piece.len(),
                Ok(count) => {
                    return (taken + self.part_of(piece, count), Some(Errno::EAGAIN.into()));
                }
                Err(error) => return (taken, Some(error)),
            }
        }
        (taken, None)
    }

    /// How much of the input is done with when a socket or a terminal took so many bytes of a piece.
    fn part_of(&self, piece: Piece<'_>, count: usize) -> usize {
        match piece {
            Piece::Lines(_) => count,
            // There is no going on with a line that was cut.
            Piece::Long(line) => {
                self.torn.store(true, Relaxed);
                line.len()
            }
        }
    }

    #[cold]
    fn complain(&self, errno: i32) {
        let (name, target, why) = (self.log.name(), &self.target, words(errno));
        let sentence =
            format!("cannot write the {name} {target}: {why}; lines are lost until that is remedied");
        match self.log {
            Log::Access => tracing::error!("{sentence}"),
            Log::Error if self.target == Target::Stderr => {}
            Log::Error => say_on_stderr(&sentence),
        }
    }

    fn speak_of_losses(&self, loss: Option<Loss>) {
        let Some(loss) = loss else { return };
        let (name, target, why) = (self.log.name(), &self.target, words(loss.cause));
        let sentence = match loss.count {
            1 => format!("1 line of the {name} {target} was lost: {why}"),
            count => format!("{count} lines of the {name} {target} were lost: {why}"),
        };
        match self.log {
            Log::Access => tracing::warn!("{sentence}"),
            Log::Error => {
                if self.put(&stamped(Level::Warning, &sentence)).1.is_some() {
                    self.losses.put_back(loss);
                }
            }
        }
    }
}

impl AsFd for Sink {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match (&self.file, &self.target) {
            (Some(file), _) => file.as_fd(),
            (None, Target::Stdout) => append::stdout(),
            (None, Target::Stderr | Target::File(_)) => append::stderr(),
        }
    }
}

impl Log {
    fn name(self) -> &'static str {
        match self {
            Log::Error => "error log",
            Log::Access => "access log",
        }
    }
}

fn stamped(level: Level, sentence: &str) -> Vec<u8> {
    let mut line = Vec::with_capacity(sentence.len() + 64);
    line::begin(&mut line, level);
    line.extend_from_slice(sentence.as_bytes());
    line.push(b'\n');
    line
}

/// The last resort; if this does not work either, nobody can be told.
fn say_on_stderr(sentence: &str) {
    let stderr = append::stderr();
    let _ =
        Kind::of(stderr).and_then(|kind| append::write_now(stderr, kind, &stamped(Level::Error, sentence)));
}

#[cfg(test)]
mod tests;
