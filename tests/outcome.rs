//! How a reload ended, as `<pidfile>.reload`, the log and STATUS say it.
mod support;

use std::os::unix::fs::PermissionsExt;

use support::{Server, Setup, Signal, wait_until};

const FILE: &str = "unirs.pid.reload";

fn with_pidfile(workers: i64) -> Server {
    Setup::new().set("workers", workers).set("pidfile", "unirs.pid").start()
}

/// The outcome, once it is that of the reload number `serial`.
fn outcome(server: &Server, serial: i64) -> toml::Table {
    wait_until(format_args!("the outcome of reload {serial}"), || {
        let outcome: toml::Table = server.read(FILE).parse().ok()?;
        (outcome["serial"].as_integer() == Some(serial)).then_some(outcome)
    })
}

fn text<'a>(outcome: &'a toml::Table, key: &str) -> &'a str {
    outcome[key].as_str().expect("a text")
}

fn number(outcome: &toml::Table, key: &str) -> i64 {
    outcome[key].as_integer().expect("a number")
}

/// What CLOCK_MONOTONIC says, in nanoseconds.
fn now() -> i64 {
    let time = nix::time::clock_gettime(nix::time::ClockId::CLOCK_MONOTONIC).expect("a clock");
    time.tv_sec() * 1_000_000_000 + time.tv_nsec()
}

fn assert_status(server: &Server, sentence: &str) {
    wait_until(format_args!("STATUS says {sentence:?}"), || {
        let lines = server.notify().lines();
        lines.iter().any(|line| line.starts_with("STATUS=") && line.contains(sentence)).then_some(())
    });
}

#[test]
fn a_reload_that_succeeds_says_which_generation_serves() {
    let server = with_pidfile(2);
    assert_eq!(
        number(&outcome(&server, 0), "generation"),
        1,
        "the start is no reload, and has an outcome too"
    );
    for serial in 1..=2 {
        let asked = now();
        server.reload(2);
        let outcome = outcome(&server, serial);
        assert_eq!(number(&outcome, "master"), i64::from(server.master().as_raw()));
        assert_eq!(text(&outcome, "result"), "committed");
        assert_eq!(number(&outcome, "generation"), serial + 1);
        assert_eq!(text(&outcome, "reason"), "");
        assert!((asked..now()).contains(&number(&outcome, "read_at")), "{asked}: {outcome}");
        let sentence = format!("Reloaded: generation {} serves", serial + 1);
        server.wait_for_log(&sentence, 1);
        assert_status(&server, &sentence);
    }
    let mode = server.path(FILE).metadata().expect("the outcome").permissions().mode();
    assert_eq!(mode & 0o7777, 0o644);
}

#[test]
fn a_reload_that_is_refused_says_why() {
    let mut server = with_pidfile(2);
    let mut refused = |serial: i64, why: &str, change: &dyn Fn(support::Config) -> support::Config| {
        server.configure(change);
        server.signal(Signal::SIGHUP);
        let outcome = outcome(&server, serial);
        assert_eq!(text(&outcome, "result"), "refused");
        assert_eq!(number(&outcome, "generation"), 1);
        let reason = text(&outcome, "reason").to_owned();
        assert!(reason.contains(why), "{why:?} in {reason:?}");
        let sentence = format!("Reload refused, generation 1 serves on: {reason}");
        server.wait_for_log(&sentence, 1);
        assert_status(&server, &sentence);
    };
    refused(1, "workers: expected", &|config| config.set("workers", "many"));
    refused(2, "2 errors, the first is", &|config| config.set("threads", "many"));
    let good = |config: support::Config| config.set("workers", 2).unset("threads");
    refused(3, "/nowhere/libshop.so", &|config| good(config).library("/nowhere/libshop.so".as_ref()));
    refused(4, "start with an error", &|config| config.library(&support::test_app()).app("start", "error"));
    assert_eq!(server.get("/").status, 200);
}

#[test]
fn only_the_newest_of_several_hups_has_an_outcome() {
    let mut server = with_pidfile(1);
    server.configure(|config| config.app("start", "hang"));
    server.signal(Signal::SIGHUP);
    server.wait_for_log("Booting worker", 2);
    server.configure(|config| config.app("start", "ok"));
    server.signal(Signal::SIGHUP);
    let outcome = outcome(&server, 1);
    assert_eq!((text(&outcome, "result"), number(&outcome, "generation")), ("committed", 3));
    assert_eq!(server.count_log("Reload refused"), 0);
}

#[test]
fn a_refused_reload_has_its_outcome_and_then_the_one_that_was_under_way() {
    let mut server = with_pidfile(1);
    server.configure(|config| config.app("ready", "file:go"));
    server.signal(Signal::SIGHUP);
    server.wait_for_log("Booting worker", 2);
    server.configure(|config| config.set("workers", "many"));
    server.signal(Signal::SIGHUP);
    let refused = outcome(&server, 1);
    assert_eq!((text(&refused, "result"), number(&refused, "generation")), ("refused", 1));
    std::fs::write(server.path("go"), "").expect("a file");
    let committed = outcome(&server, 2);
    assert_eq!((text(&committed, "result"), number(&committed, "generation")), ("committed", 2));
    assert!(number(&committed, "read_at") < number(&refused, "read_at"), "each has its own");
}

#[test]
fn the_outcome_goes_where_the_pidfile_goes_and_with_it() {
    let mut server = with_pidfile(1);
    server.configure(|config| config.set("pidfile", "other.pid"));
    server.reload(1);
    for name in [FILE, "other.pid.reload"] {
        wait_until(format_args!("{name} says how the reload ended"), || {
            server.read(name).contains("committed\"\ngeneration = 2").then_some(())
        });
    }
    server.signal(Signal::SIGTERM);
    assert_eq!(server.wait_exit(), 0);
    assert!(!server.path("other.pid").exists() && !server.path("other.pid.reload").exists());
}

#[test]
fn an_outcome_that_cannot_be_written_is_said_and_nothing_else_happens() {
    let server = with_pidfile(1);
    std::fs::remove_file(server.path(FILE)).expect("the outcome of the start");
    std::fs::create_dir(server.path(FILE)).expect("a folder in its place");
    server.reload(1);
    server.wait_for_log("cannot write the outcome of the reload to ", 1);
    server.wait_for_log("Reloaded: generation 2 serves", 1);
    assert_eq!(server.get("/").status, 200);
}
