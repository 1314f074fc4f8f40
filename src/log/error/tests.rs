//! What a line of the error log looks like, and which lines there are.

use std::fs;
use std::path::PathBuf;

use tempfile::{TempDir, tempdir};
use tracing::subscriber::with_default;

use super::*;
use crate::log::{AccessBuffer, AccessFormat, AccessLog, AccessRecord, NoFields};

fn error_log(dir: &TempDir, level: Level) -> ErrorLog {
    ErrorLog::new(Sink::open(&Target::File("error".into()), dir.path()).unwrap(), level)
}

fn text(dir: &TempDir) -> String {
    fs::read_to_string(dir.path().join("error")).unwrap()
}

/// What is logged by `say`, without its time and pid.
fn logged(level: Level, say: impl FnOnce()) -> String {
    let dir = tempdir().unwrap();
    with_default(error_log(&dir, level).subscriber(), say);
    let stamp = format!("] [{}] ", std::process::id());
    let lines = text(&dir);
    lines
        .lines()
        .map(|line| line.split_once(&stamp).map_or(line, |(_, rest)| rest).to_owned() + "\n")
        .collect()
}

fn one_of_each_level() {
    tracing::debug!("d");
    tracing::info!("i");
    tracing::warn!("w");
    tracing::error!("e");
    critical!("WORKER TIMEOUT (pid:{})", 7);
}

#[test]
fn a_line_is_gunicorns() {
    let dir = tempdir().unwrap();
    with_default(error_log(&dir, Level::Info).subscriber(), || {
        tracing::info!("Booting worker with pid: {}", 7)
    });
    let line = text(&dir);
    let (time, rest) = line.split_at(27);
    assert!(jiff::fmt::strtime::parse("[%Y-%m-%d %H:%M:%S %z]", time).is_ok(), "{time}");
    assert_eq!(rest, format!(" [{}] [INFO] Booting worker with pid: 7\n", std::process::id()));
}

#[test]
fn each_level_shows_itself_and_what_is_above_it() {
    let all =
        ["[DEBUG] d\n", "[INFO] i\n", "[WARNING] w\n", "[ERROR] e\n", "[CRITICAL] WORKER TIMEOUT (pid:7)\n"];
    let levels = [Level::Debug, Level::Info, Level::Warning, Level::Error, Level::Critical];
    for (hidden, level) in levels.into_iter().enumerate() {
        assert_eq!(logged(level, one_of_each_level), all[hidden..].concat());
    }
}

#[test]
fn the_level_can_be_changed_while_the_log_is_open() {
    let dir = tempdir().unwrap();
    let log = error_log(&dir, Level::Critical);
    with_default(log.subscriber(), || {
        for level in [Level::Critical, Level::Debug, Level::Warning] {
            log.set_level(level);
            tracing::info!("seen at {level:?}");
        }
    });
    assert!(text(&dir).ends_with("[INFO] seen at Debug\n"));
    assert_eq!(text(&dir).lines().count(), 1);
}

#[test]
fn an_applications_lines_carry_its_name_for_the_place() {
    let lines = logged(Level::Info, || {
        application(Level::Debug, "shop", "hidden");
        application(
            Level::Warning,
            "shop::cart",
            "it is\n  empty\n[2026-11-22 10:00:00 +0000] [1] [INFO] forged\n",
        );
        application(Level::Critical, "", "\x1b[2Jgone");
        application(Level::Info, "a] [b\nc", "odd");
    });
    let expected = [
        "[WARNING] [shop::cart] it is\n",
        "      empty\n",
        "    [2026-11-22 10:00:00 +0000] [1] [INFO] forged\n",
        "[CRITICAL] [app] \\x1b[2Jgone\n",
        "[INFO] [a  [b c] odd\n",
    ];
    assert_eq!(lines, expected.concat());
}

#[test]
fn other_values_of_an_event_follow_its_sentence() {
    let lines = logged(Level::Info, || tracing::info!(slot = 3, path = "/a\r\nb", "went"));
    assert_eq!(lines, "[INFO] went slot=3 path=/a\n    b\n");
}

#[test]
fn a_reload_can_move_the_log() {
    let (dir, other) = (tempdir().unwrap(), tempdir().unwrap());
    let log = error_log(&dir, Level::Info);
    with_default(log.subscriber(), || {
        tracing::info!("here");
        log.set_sink(Sink::open(&Target::File("error".into()), other.path()).unwrap());
        tracing::info!("there");
    });
    assert!(text(&dir).ends_with("[INFO] here\n"));
    assert!(text(&other).ends_with("[INFO] there\n"));
}

#[test]
fn a_log_that_cannot_be_opened_says_which_and_why() {
    let target = Target::File(PathBuf::from("/no/such/log"));
    let error = install(&target, std::path::Path::new("/"), Level::Info).err().unwrap();
    assert_eq!(
        error.to_string(),
        "cannot open the error log /no/such/log: no such file or directory (its folder has to exist)"
    );
}

#[test]
fn the_error_log_speaks_once_of_the_access_logs_losses() {
    let record = AccessRecord {
        peer: "",
        method: b"GET",
        target: b"/",
        path: b"/",
        query: None,
        protocol: "HTTP/1.1",
        status: 200,
        body_bytes: 0,
        duration: std::time::Duration::ZERO,
        now: 0,
        pid: 1,
        request: &NoFields,
        response: &NoFields,
        environ: &NoFields,
    };
    let lines = logged(Level::Info, || {
        let full = Sink::open(&Target::File("/dev/full".into()), std::path::Path::new("/")).unwrap();
        let format = AccessFormat::compile("%(s)s").unwrap();
        let log = Arc::new(AccessLog::new(format, full));
        let mut buffer = AccessBuffer::new(log.clone());
        for _ in 0..5 {
            buffer.append(&record);
            assert!(buffer.flush());
        }
        log.finish(std::time::Duration::ZERO);
    });
    let expected = [
        "[ERROR] cannot write the access log /dev/full: no space left on device; lines are lost until that is remedied\n",
        "[WARNING] 5 lines of the access log /dev/full were lost: no space left on device\n",
    ];
    assert_eq!(lines, expected.concat());
}
