//! `unirs reload --pid FILE`: what it says and how it ends, beside a real master.
mod support;

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use support::{Server, Setup, Signal, process, unirs, wait_until};

/// `unirs reload --pid PIDFILE` with more arguments, running.
fn begin(pidfile: &Path, more: &[&str]) -> Child {
    Command::new(unirs())
        .args(["reload", "--pid"])
        .arg(pidfile)
        .args(more)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program can be run")
}

fn end(mut command: Child) -> Output {
    wait_until("unirs reload ends", || command.try_wait().expect("a child can be waited for"));
    command.wait_with_output().expect("a child's output can be read")
}

fn assert_fails(output: &Output, sentence: &str) {
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains(sentence), "it does not say {sentence:?}: {said}");
}

fn with_pidfile() -> Setup {
    Setup::new().set("pidfile", "unirs.pid")
}

/// A reload to this application that never gets ready.
fn hang_at_next_start(server: &mut Server) {
    server.configure(|config| config.app("start", "hang"));
}

#[test]
fn a_pid_that_is_not_a_master_s_is_never_signalled() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let pidfile = folder.path().join("unirs.pid");
    assert_fails(&end(begin(&pidfile, &[])), "cannot read the pidfile");
    for text in ["", "not a number\n", "-1\n", "1\n"] {
        fs::write(&pidfile, text).expect("a file");
        assert_fails(&end(begin(&pidfile, &[])), "has no process id in it");
    }
    // HUP would end it.
    let mut bystander = Command::new("sleep").arg("60").spawn().expect("sleep");
    fs::write(&pidfile, format!("{}\n", bystander.id())).expect("a file");
    assert_fails(&end(begin(&pidfile, &[])), "is stale");
    assert!(bystander.try_wait().expect("our child").is_none(), "a foreign process was signalled");
    bystander.kill().expect("our child");
    bystander.wait().expect("our child");
    assert_fails(&end(begin(&pidfile, &[])), "is stale");
}

#[test]
fn a_master_that_dies_meanwhile_is_not_waited_for() {
    let mut server = with_pidfile().start();
    hang_at_next_start(&mut server);
    let command = begin(&server.path("unirs.pid"), &["--timeout", "0"]);
    server.wait_for_log("Handling signal: hup", 1);
    server.kill_master();
    assert_fails(&end(command), "ended before the reload had an outcome");
}

#[test]
fn an_outcome_that_does_not_come_is_waited_for_no_longer_than_asked() {
    let mut server = with_pidfile().start();
    hang_at_next_start(&mut server);
    // What is there is the outcome of an earlier reload.
    let earlier = format!("serial = 1\nmaster = {}\nread_at = 1\nresult = \"committed\"\n", server.master());
    fs::write(server.path("unirs.pid.reload"), earlier).expect("a file");
    let output = end(begin(&server.path("unirs.pid"), &["--timeout", "1"]));
    assert_fails(&output, "no outcome within 1 s");
    assert_eq!(server.count_log("Handling signal: hup"), 1);
    assert!(!process::is_dead(server.master()));
}

#[test]
fn a_request_that_is_not_understood_signals_nobody() {
    let server = with_pidfile().start();
    let output = end(begin(&server.path("unirs.pid"), &["--workers", "3"]));
    assert_eq!(output.status.code(), Some(2));
    let help = end(begin(&server.path("unirs.pid"), &["--help"]));
    assert_eq!(help.status.code(), Some(0));
    assert!(String::from_utf8_lossy(&help.stdout).contains("Usage: unirs reload"), "{help:?}");
    server.signal(Signal::SIGUSR1);
    server.wait_for_log("Handling signal: usr1", 1);
    assert_eq!(server.count_log("Handling signal: hup"), 0);
}

#[test]
fn it_ends_with_0_when_the_new_generation_serves() {
    let mut server = with_pidfile().configure(|config| config.app("version", "one")).start();
    for version in ["two", "three"] {
        server.configure(|config| config.app("version", version).app("start", "slow:300"));
        let output = end(begin(&server.path("unirs.pid"), &[]));
        assert!(output.status.success(), "{output:?}");
        assert_eq!(server.get("/version").text(), version);
    }
}

#[test]
fn it_ends_with_1_and_the_reason_when_the_reload_was_refused() {
    let mut server = with_pidfile().start();
    server.configure(|config| config.set("workers", "many"));
    assert_fails(&end(begin(&server.path("unirs.pid"), &[])), "workers: expected a number");
    server.configure(|config| config.set("workers", 1).app("start", "error"));
    let output = end(begin(&server.path("unirs.pid"), &[]));
    assert_fails(&output, "the configuration says: start with an error");
    // A refusal of long ago is not the outcome of the next.
    server.configure(|config| config.app("start", "ok"));
    let output = end(begin(&server.path("unirs.pid"), &[]));
    assert!(output.status.success(), "{output:?}");
}

#[test]
fn two_at_once_have_the_outcome_of_what_they_asked_for() {
    let server = with_pidfile().set("workers", 2).start();
    let both = [(); 2].map(|()| begin(&server.path("unirs.pid"), &[]));
    for command in both {
        let output = end(command);
        assert!(output.status.success(), "{output:?}");
    }
}
