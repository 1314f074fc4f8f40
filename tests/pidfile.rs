//! The pidfile: who may own it, what is in it, and that it never stands in the way of a server that may start.
mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use nix::unistd::Pid;
use support::{Failure, Server, Setup, Signal, process, wait_until};

fn with_pidfile(path: &Path) -> Setup {
    Setup::new().set("pidfile", path.to_str().expect("test paths are UTF-8"))
}

/// A second server with the same pidfile.
fn rival(path: &Path) -> Failure {
    with_pidfile(path).fail()
}

#[test]
fn the_pidfile_names_the_master_is_readable_by_all_and_goes_at_the_exit() {
    let mut server = Setup::new().set("pidfile", "unirs.pid").start();
    let path = server.path("unirs.pid");
    assert_eq!(server.read("unirs.pid"), format!("{}\n", server.master()));
    let mode = fs::metadata(&path).expect("a pidfile").permissions().mode();
    assert_eq!(mode & 0o7777, 0o644);
    server.signal(Signal::SIGTERM);
    assert_eq!(server.wait_exit(), 0);
    assert!(!path.exists(), "the pidfile of a server that has ended");
}

#[test]
fn a_reader_never_sees_an_empty_pidfile_over_reloads() {
    let server = Setup::new().set("pidfile", "unirs.pid").start();
    let expected = server.read("unirs.pid");
    let old = server.workers();
    server.signal(Signal::SIGHUP);
    wait_until("the reload is over", || {
        assert_eq!(server.read("unirs.pid"), expected, "the pidfile during a reload");
        let workers = server.workers();
        (workers.len() == 1 && workers != old).then_some(())
    });
}

#[test]
fn a_live_pidfile_is_refused_with_a_sentence_and_exit_1() {
    let mut server = Setup::new().set("pidfile", "unirs.pid").start();
    let path = server.path("unirs.pid");
    let failure = rival(&path);
    failure.assert(1, &server.master().to_string(), "a second server with the same pidfile");
    assert!(failure.log.contains("unirs.pid"), "the sentence names the file: {}", failure.log);
    assert_eq!(
        server.read("unirs.pid"),
        format!("{}\n", server.master()),
        "the first one's file is untouched"
    );
    assert_eq!(server.get("/").status, 200);
    server.signal(Signal::SIGTERM);
    assert_eq!(server.wait_exit(), 0);
}

#[test]
fn a_stale_garbage_or_empty_pidfile_is_overtaken() {
    // The test's own pid is alive and no unirs: gunicorn would refuse it for ever.
    let living = format!("{}\n", std::process::id());
    for old in ["999999999\n", "not a number", "", "-1\n", "0", living.as_str()] {
        let setup = Setup::new().set("pidfile", "unirs.pid");
        fs::write(setup.dir().join("unirs.pid"), old).expect("an old pidfile");
        let server = setup.start();
        assert_eq!(server.read("unirs.pid"), format!("{}\n", server.master()), "over {old:?}");
    }
}

#[test]
fn a_pidfile_that_is_another_s_by_now_is_not_removed() {
    let mut server = Setup::new().set("pidfile", "unirs.pid").start();
    let path = server.path("unirs.pid");
    fs::remove_file(&path).expect("the pidfile");
    fs::write(&path, "somebody else's").expect("another file");
    server.signal(Signal::SIGTERM);
    assert_eq!(server.wait_exit(), 0);
    assert_eq!(server.read("unirs.pid"), "somebody else's");
}

#[test]
fn a_pidfile_in_a_folder_that_is_absent_is_exit_1_with_its_path() {
    let failure = with_pidfile(Path::new("/nowhere/unirs.pid")).fail();
    failure.assert(1, "/nowhere/unirs.pid", "a pidfile in no folder");
}

#[test]
fn a_master_that_was_killed_does_not_block_a_new_one_while_its_workers_drain() {
    let mut server = Setup::new().set("pidfile", "unirs.pid").set("graceful_timeout", 120).start();
    let path = server.path("unirs.pid");
    let worker = server.workers()[0];
    let mut client = server.client();
    server.hold(&mut client, "a-request");
    server.kill_master();
    let next = with_pidfile(&path).start();
    assert!(!process::is_dead(worker), "the worker of the killed master is still in its request");
    server.release("a-request");
    let named: i32 = fs::read_to_string(&path).expect("a pidfile").trim().parse().expect("a pid");
    assert_eq!(Pid::from_raw(named), next.master());
    assert_eq!(client.answer().expect("the request of the killed master's worker").status, 200);
}

#[test]
fn a_second_server_never_disturbs_the_first_one_s_pidfile_when_it_fails_later() {
    let server: Server = Setup::new().set("pidfile", "unirs.pid").start();
    let path = server.path("unirs.pid");
    for _ in 0..3 {
        assert_eq!(rival(&path).code, 1);
        assert_eq!(server.read("unirs.pid"), format!("{}\n", server.master()));
    }
}
