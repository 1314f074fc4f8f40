//! The access log: one line for each response, collected by each thread and written in batches. It judges nothing.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::backlog::Backlog;
use super::time::{Style, TimeText};
use super::{AccessFormat, AccessRecord, Sink};

/// The access log of a process: how a line looks and where it goes. Its threads share it.
pub struct AccessLog {
    format: AccessFormat,
    sink: Sink,
    /// What the reader of a pipe had no room for.
    backlog: Backlog,
}

impl AccessLog {
    /// Joins the two. From now on the sink's losses are spoken of in the error log.
    pub fn new(format: AccessFormat, sink: Sink) -> AccessLog {
        AccessLog { format, sink: sink.for_access(), backlog: Backlog::default() }
    }

    /// How a line looks.
    pub fn format(&self) -> &AccessFormat {
        &self.format
    }

    /// Where the lines go: `sink().reopen()` and `sink().adopt(file)` at USR1.
    pub fn sink(&self) -> &Sink {
        &self.sink
    }

    /// The process ends, and its threads have flushed: gives a reader that is behind so much time. What it does not take
    /// is lost, and the loss is spoken of.
    pub fn finish(&self, patience: Duration) {
        let end = Instant::now() + patience;
        while !self.backlog.write(&self.sink, b"") {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() || !self.sink.wait_for_reader(left) {
                break;
            }
        }
        self.backlog.give_up(&self.sink);
        self.sink.settle_losses();
    }

    /// From a signal handler of a dying process: what waits for the reader, then `lines` (of [`AccessBuffer::pending`]).
    pub fn write_last(&self, lines: &[u8]) {
        self.backlog.write_last(&self.sink);
        self.sink.write_last(lines);
    }
}

/// One thread's lines that are not written yet: [`append`](AccessBuffer::append) where a response ends,
/// [`flush`](AccessBuffer::flush) before the thread sleeps.
pub struct AccessBuffer {
    log: Arc<AccessLog>,
    /// Whole lines.
    lines: Vec<u8>,
    /// The time of the last line.
    time: TimeText,
}

/// So many bytes are written without being told.
const BATCH: usize = 64 << 10;

impl AccessBuffer {
    /// How soon some thread has to call [`AccessBuffer::flush`] again after it has returned false.
    pub const RETRY: Duration = Duration::from_millis(100);

    /// An empty buffer.
    pub fn new(log: Arc<AccessLog>) -> AccessBuffer {
        AccessBuffer { log, lines: Vec::new(), time: TimeText::new(Style::Access) }
    }

    /// The log whose lines these are.
    pub fn log(&self) -> &Arc<AccessLog> {
        &self.log
    }

    /// Adds the line of one exchange; writes when the batch is full.
    pub fn append(&mut self, record: &AccessRecord<'_>) {
        self.log.format.write_with(&mut self.lines, &mut self.time, record);
        if self.lines.len() >= BATCH {
            self.flush();
        }
    }

    /// Writes what is there. False: the reader of a pipe is behind, and lines of this process wait for it; any thread's
    /// next flush writes them, and one has to come within [`AccessBuffer::RETRY`] even if nobody has anything else to do.
    pub fn flush(&mut self) -> bool {
        let all_written = self.log.backlog.write(&self.log.sink, &self.lines);
        self.lines.clear();
        self.lines.shrink_to(2 * BATCH); // one enormous line must not stay in memory for the rest of the thread's life
        all_written
    }

    /// The first so many bytes of [`AccessBuffer::pending`] were written by a signal handler.
    pub fn forget(&mut self, written: usize) {
        self.lines.drain(..written.min(self.lines.len()));
    }

    /// The lines that are not written yet, for [`AccessLog::write_last`].
    pub fn pending(&self) -> &[u8] {
        &self.lines
    }
}

impl Drop for AccessBuffer {
    fn drop(&mut self) {
        self.flush();
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{File, OpenOptions};
    use std::io::{ErrorKind, Read};
    use std::os::unix::fs::OpenOptionsExt;
    use std::path::Path;

    use nix::sys::stat::Mode;
    use nix::unistd::mkfifo;
    use tempfile::tempdir;

    use super::*;
    use crate::log::{NoFields, Target};

    fn log_to(path: &Path) -> Arc<AccessLog> {
        let sink = Sink::open(&Target::File(path.to_owned()), Path::new("/")).unwrap();
        Arc::new(AccessLog::new(AccessFormat::compile("%(U)s %(s)s").unwrap(), sink))
    }

    fn pipe_log(dir: &Path) -> (File, Arc<AccessLog>) {
        let path = dir.join("pipe");
        mkfifo(&path, Mode::S_IRWXU).unwrap();
        let reader = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(&path).unwrap();
        (reader, log_to(&path))
    }

    fn drain(mut reader: &File) -> String {
        let mut text = Vec::new();
        if let Err(error) = reader.read_to_end(&mut text) {
            assert_eq!(error.kind(), ErrorKind::WouldBlock);
        }
        String::from_utf8(text).unwrap()
    }

    fn append(buffer: &mut AccessBuffer, path: &str) {
        buffer.append(&AccessRecord {
            peer: "",
            method: b"GET",
            target: b"",
            path: path.as_bytes(),
            query: None,
            protocol: "HTTP/1.1",
            status: 200,
            body_bytes: 0,
            duration: Duration::ZERO,
            now: 0,
            pid: 1,
            request: &NoFields,
            response: &NoFields,
            environ: &NoFields,
        });
    }

    #[test]
    fn lines_are_written_when_told_or_when_there_are_many() {
        let dir = tempdir().unwrap();
        let path = dir.path().join("log");
        let mut buffer = AccessBuffer::new(log_to(&path));
        let size = || std::fs::metadata(&path).unwrap().len();
        append(&mut buffer, "/1");
        assert_eq!((size(), buffer.pending()), (0, &b"/1 200\n"[..]));
        assert!(buffer.flush());
        assert_eq!((size(), buffer.pending()), (7, &b""[..]));
        append(&mut buffer, &"x".repeat(BATCH));
        assert_eq!(size(), 7 + BATCH as u64 + 5);
        append(&mut buffer, "/2");
        drop(buffer);
        assert!(std::fs::read_to_string(&path).unwrap().ends_with("\n/2 200\n"));
    }

    #[test]
    fn a_reader_that_is_behind_gets_all_lines_in_order_from_whichever_thread_flushes() {
        let dir = tempdir().unwrap();
        let (reader, log) = pipe_log(dir.path());
        let (mut buffer, mut other) = (AccessBuffer::new(log.clone()), AccessBuffer::new(log));
        let mut expected = String::new();
        for number in 0..30_000 {
            append(&mut buffer, &format!("/{number}"));
            expected += &format!("/{number} 200\n");
        }
        assert!(!buffer.flush());
        drop(buffer);
        let mut received = String::new();
        while !other.flush() {
            received += &drain(&reader);
        }
        assert!(received + &drain(&reader) == expected);
    }

    #[test]
    fn more_than_a_backlog_is_lost_and_the_last_of_it_waits_no_longer_than_asked() {
        let dir = tempdir().unwrap();
        let (reader, log) = pipe_log(dir.path());
        let mut buffer = AccessBuffer::new(log.clone());
        for number in 0..20_000 {
            append(&mut buffer, &format!("/{number}/{}", "x".repeat(100)));
        }
        assert!(!buffer.flush());
        let begin = Instant::now();
        log.finish(Duration::from_millis(50));
        assert!(begin.elapsed() >= Duration::from_millis(50));
        assert!(buffer.flush());
        assert!(
            drain(&reader).lines().enumerate().all(|(number, line)| line.starts_with(&format!("/{number}/")))
        );
    }

    #[test]
    fn last_words_come_after_what_waits() {
        let dir = tempdir().unwrap();
        let (reader, log) = pipe_log(dir.path());
        let mut buffer = AccessBuffer::new(log.clone());
        for number in 0..12_000 {
            append(&mut buffer, &format!("/{number}"));
        }
        assert!(!buffer.flush());
        append(&mut buffer, "/last");
        let received = drain(&reader);
        log.write_last(buffer.pending());
        let received = received + &drain(&reader);
        assert!(received.ends_with("/11999 200\n/last 200\n"));
        assert_eq!(received.lines().count(), 12_001);
    }
}
