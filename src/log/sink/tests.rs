//! The sink against real files, pipes, and disks that are full.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::Read;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use tempfile::{TempDir, tempdir};

use super::*;

fn file_sink(dir: &TempDir, name: &str) -> Sink {
    Sink::open(&Target::File(PathBuf::from(name)), dir.path()).unwrap()
}

fn text(dir: &TempDir, name: &str) -> String {
    fs::read_to_string(dir.path().join(name)).unwrap()
}

/// A named pipe, its reading end, and a sink that writes to it.
fn pipe_sink(dir: &TempDir) -> (File, Sink) {
    let path = dir.path().join("pipe");
    mkfifo(&path, Mode::S_IRWXU).unwrap();
    let reader = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(&path).unwrap();
    (reader, file_sink(dir, "pipe"))
}

/// All that is in the pipe now.
fn drain(mut reader: &File) -> String {
    let mut bytes = Vec::new();
    match reader.read_to_end(&mut bytes) {
        Ok(_) => {}
        Err(error) => assert_eq!(error.kind(), io::ErrorKind::WouldBlock),
    }
    String::from_utf8(bytes).unwrap()
}

/// Some lines that can be told apart, `count` times about 100 bytes.
fn numbered(writer: usize, count: usize) -> Vec<String> {
    (0..count).map(|number| format!("writer {writer} line {number} {}\n", "x".repeat(number % 150))).collect()
}

#[test]
fn lines_go_to_the_end_of_a_file_in_the_given_directory() {
    let dir = tempdir().unwrap();
    fs::write(dir.path().join("log"), "before\n").unwrap();
    let sink = file_sink(&dir, "log");
    sink.write_lines(b"one\ntwo\n");
    sink.write_lines(b"three\n");
    assert_eq!(text(&dir, "log"), "before\none\ntwo\nthree\n");
    assert_eq!(sink.target(), &Target::File(dir.path().join("log")));
}

#[test]
fn a_renamed_file_is_reopened_under_the_same_number_with_the_same_mode() {
    let dir = tempdir().unwrap();
    let sink = file_sink(&dir, "log");
    let (path, number) = (dir.path().join("log"), sink.as_fd().as_raw_fd());
    fs::set_permissions(&path, Permissions::from_mode(0o620)).unwrap();
    sink.write_lines(b"old\n");
    fs::rename(&path, dir.path().join("log.1")).unwrap();
    sink.write_lines(b"still old\n");
    let opened = sink.reopen().unwrap().unwrap();
    sink.adopt(&opened).unwrap();
    sink.write_lines(b"new\n");
    assert_eq!(text(&dir, "log.1"), "old\nstill old\n");
    assert_eq!(text(&dir, "log"), "new\n");
    assert_eq!(sink.as_fd().as_raw_fd(), number);
    assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o620);
}

#[test]
fn a_file_that_somebody_else_made_is_reopened_as_it_is() {
    let dir = tempdir().unwrap();
    let sink = file_sink(&dir, "log");
    let path = dir.path().join("log");
    fs::rename(&path, dir.path().join("log.1")).unwrap();
    fs::write(&path, "logrotate was here\n").unwrap();
    fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
    sink.adopt(sink.reopen().unwrap().unwrap()).unwrap();
    sink.write_lines(b"new\n");
    assert_eq!(text(&dir, "log"), "logrotate was here\nnew\n");
    assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
}

#[test]
fn standard_output_is_never_reopened_whatever_it_is_called() {
    for (target, settled) in [
        (Target::Stderr, Target::Stderr),
        (Target::File("/dev/stdout".into()), Target::Stdout),
        (Target::File("/proc/self/fd/2".into()), Target::Stderr),
    ] {
        let sink = Sink::open(&target, Path::new("/")).unwrap();
        assert_eq!(sink.target(), &settled);
        assert!(sink.reopen().unwrap().is_none());
        sink.adopt(tempfile::tempfile().unwrap()).unwrap();
    }
}

#[test]
fn what_cannot_be_opened_is_an_error() {
    let dir = tempdir().unwrap();
    let open = |name: &str| Sink::open(&Target::File(name.into()), dir.path()).err().unwrap();
    assert_eq!(open("no/such/log").kind(), io::ErrorKind::NotFound);
    assert_eq!(open(".").kind(), io::ErrorKind::IsADirectory);
    mkfifo(&dir.path().join("pipe"), Mode::S_IRWXU).unwrap();
    assert_eq!(open("pipe").raw_os_error(), Some(libc::ENXIO));
}

#[test]
fn a_pipe_that_nobody_empties_makes_nobody_wait_and_no_line_is_torn() {
    let dir = tempdir().unwrap();
    let (reader, sink) = pipe_sink(&dir);
    let lines = numbered(1, 3000);
    let begin = Instant::now();
    for line in &lines {
        sink.write_lines(line.as_bytes());
    }
    assert!(begin.elapsed() < Duration::from_secs(60));
    let received = drain(&reader);
    let count = received.lines().count();
    assert_eq!(received, lines[..count].concat());
    sink.settle_losses();
    let lost = lines.len() - count;
    let said = drain(&reader);
    assert!(said.contains("[WARNING]"), "{said}");
    assert!(said.contains(&format!("] {lost} lines of the error log ")), "{said}");
    assert!(said.ends_with("pipe were lost: its reader is behind\n"), "{said}");
}

#[test]
fn what_a_reader_has_no_room_for_is_kept_when_it_is_offered() {
    let dir = tempdir().unwrap();
    let (reader, sink) = pipe_sink(&dir);
    let lines = numbered(1, 3000).concat();
    let mut received = String::new();
    let mut rest = lines.as_bytes();
    while !rest.is_empty() {
        rest = &rest[sink.offer(rest)..];
        received += &drain(&reader);
    }
    assert_eq!(received, lines);
    assert_eq!(sink.losses.take(), None);
}

#[test]
fn a_terminal_that_stands_still_makes_nobody_wait() {
    let terminal = nix::pty::openpty(None, None).unwrap();
    let name = nix::unistd::ttyname(&terminal.slave).unwrap();
    let screen = File::from(terminal.master);
    nix::fcntl::fcntl(&screen, nix::fcntl::FcntlArg::F_SETFL(nix::fcntl::OFlag::O_NONBLOCK)).unwrap();
    let sink = Sink::open(&Target::File(name), Path::new("/")).unwrap();
    let lines = numbered(1, 1000).concat();
    let (mut rest, mut received) = (lines.as_bytes(), String::new());
    while !rest.is_empty() {
        rest = &rest[sink.offer(rest)..];
        received += &drain(&screen);
    }
    assert!(received.replace("\r\n", "\n") == lines);
    while sink.losses.take().is_none() {
        sink.write_lines(lines.as_bytes());
    }
    drop(terminal.slave);
}

#[test]
fn a_line_longer_than_a_pipe_takes_at_once_is_cut_and_marked() {
    let dir = tempdir().unwrap();
    let (reader, sink) = pipe_sink(&dir);
    let long = "x".repeat(LIMIT + 1);
    sink.write_lines(format!("before\n{long}\nafter\n").as_bytes());
    let received = drain(&reader);
    let lines: Vec<_> = received.lines().collect();
    assert_eq!((lines[0], lines[2]), ("before", "after"));
    assert!(lines[1].ends_with("xxx [cut]") && lines[1].len() == LIMIT - 1);
}

#[test]
fn a_pipe_whose_reader_left_and_a_full_device_lose_lines_and_no_more() {
    let dir = tempdir().unwrap();
    let (reader, broken) = pipe_sink(&dir);
    drop(reader);
    let full = Sink::open(&Target::File("/dev/full".into()), dir.path()).unwrap();
    for (sink, cause) in [(broken, libc::EPIPE), (full, libc::ENOSPC)] {
        sink.write_lines(b"one\ntwo\n");
        assert_eq!(sink.offer(b"three\n"), 6);
        assert_eq!(sink.losses.take(), Some(Loss { count: 3, cause }));
    }
}

/// Runs itself again in a process that may write no more than 4 KiB to a file.
#[test]
fn a_disk_that_is_full_leaves_whole_lines() {
    const SELF: &str = "log::sink::tests::a_disk_that_is_full_leaves_whole_lines";
    if let Some(dir) = std::env::var_os("UNIRS_TEST_SMALL_DISK") {
        fill(&Sink::open(&Target::File("log".into()), Path::new(&dir)).unwrap());
        return;
    }
    let dir = tempdir().unwrap();
    let script = format!("trap '' XFSZ; ulimit -f 8; exec \"$0\" --exact {SELF}");
    let mut child = Command::new("sh");
    child.arg("-c").arg(script).arg(std::env::current_exe().unwrap());
    let output = child.env("UNIRS_TEST_SMALL_DISK", dir.path()).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let written = text(&dir, "log");
    assert!((3900..=4096).contains(&written.len()) && written.ends_with('\n'), "{}", written.len());
    assert!(written.lines().all(|line| line == "y".repeat(99)));
}

fn fill(sink: &Sink) {
    let line = format!("{}\n", "y".repeat(99));
    sink.write_lines(line.repeat(30).as_bytes());
    sink.write_lines(line.repeat(30).as_bytes());
    sink.write_lines(line.as_bytes());
    assert_eq!(sink.losses.take(), Some(Loss { count: 21, cause: libc::EFBIG }));
    assert!(!sink.torn.load(Relaxed));
}

#[test]
fn a_line_that_was_torn_is_ended_before_the_next() {
    let dir = tempdir().unwrap();
    let sink = file_sink(&dir, "log");
    fs::write(dir.path().join("log"), "torn").unwrap();
    sink.torn.store(true, Relaxed);
    sink.write_lines(b"whole\n");
    assert_eq!(text(&dir, "log"), "torn\nwhole\n");
}

/// Each writer has its own open file, as processes have that opened it by themselves.
fn write_from_many(dir: &TempDir, name: &str) {
    std::thread::scope(|scope| {
        for writer in 0..8 {
            scope.spawn(move || {
                let sink = file_sink(dir, name);
                for batch in numbered(writer, 2000).chunks(1 + writer * 7) {
                    sink.write_lines(batch.concat().as_bytes());
                }
                sink.losses.take(); // or the last lines would be spoken of
            });
        }
    });
}

/// Every line is one that was written, and each writer's come in its order.
fn assert_whole(received: &str) -> usize {
    let mut next = HashMap::new();
    for line in received.lines() {
        let words: Vec<_> = line.split(' ').collect();
        let [_, writer, _, number, fill] = words[..] else { panic!("torn: {line:?}") };
        let number: usize = number.parse().unwrap();
        assert_eq!(fill.len(), number % 150, "torn: {line:?}");
        let least = next.insert(writer, number + 1).unwrap_or(0);
        assert!(number >= least, "out of order: {line:?}");
    }
    received.lines().count()
}

#[test]
fn many_writers_of_a_file_tear_no_line_and_lose_none() {
    let dir = tempdir().unwrap();
    write_from_many(&dir, "log");
    assert_eq!(assert_whole(&text(&dir, "log")), 8 * 2000);
}

#[test]
fn many_writers_of_a_pipe_tear_no_line() {
    let dir = tempdir().unwrap();
    let (reader, _sink) = pipe_sink(&dir);
    let received = std::thread::scope(|scope| {
        let writers = scope.spawn(|| write_from_many(&dir, "pipe"));
        let mut received = String::new();
        while !writers.is_finished() {
            received += &drain(&reader);
        }
        received + &drain(&reader)
    });
    assert!(assert_whole(&received) > 0);
}
