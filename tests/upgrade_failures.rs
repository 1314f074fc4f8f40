//! USR2 to a binary that does not come up, in every way: the old master goes on alone, and says why. And WINCH.
mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use nix::unistd::{Pid, getpgid};
use support::{Server, Setup, Signal, process, wait_until, wait_within};

const FAILED: &str = "Upgrade failed, this master goes on alone: ";

/// A server whose program is the link `current` in its folder.
fn start(setup: Setup) -> Server {
    let program = setup.dir().join("current");
    let setup = setup.set("workers", 2).set("pidfile", "unirs.pid");
    setup.set("bind", vec!["127.0.0.1:0", "unix:unirs.sock"]).program(&program).start()
}

fn script(path: &Path, text: &str) {
    fs::remove_file(path).expect("the link");
    fs::write(path, format!("#!/bin/sh\n{text}\n")).expect("the temporary folder takes a file");
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("a file of our own");
}

/// USR2; the upgrade fails for this reason, and nothing else has changed.
fn assert_fails(server: &Server, reason: &str, scenario: &str) {
    let (workers, fds) = (server.workers(), server.fds(server.master()).len());
    let before = server.count_log(FAILED);
    server.signal(Signal::SIGUSR2);
    wait_within(Duration::from_secs(90), format_args!("{scenario}: the upgrade fails"), || {
        (server.count_log(FAILED) > before).then_some(())
    });
    let log = server.log();
    let line = log.lines().rfind(|line| line.contains(FAILED)).expect("the line that was waited for");
    assert!(line.contains(reason), "{scenario}: not {reason:?}: {line}");
    wait_until(format_args!("{scenario}: the workers are the same"), || {
        (server.workers() == workers).then_some(())
    });
    assert_eq!(server.get("/").status, 200, "{scenario}");
    assert_eq!(server.read("unirs.pid"), format!("{}\n", server.master()), "{scenario}");
    assert!(!server.path("unirs.pid.2").exists(), "{scenario}: no other pidfile");
    assert!(server.path("unirs.sock").exists(), "{scenario}: the socket is there");
    assert!(server.fds(server.master()).len() <= fds, "{scenario}: no descriptor more");
    wait_until(format_args!("{scenario}: the service manager hears it"), || {
        let lines = server.notify().lines();
        lines
            .iter()
            .any(|line| line.contains("the last upgrade failed") && line.contains(reason))
            .then_some(())
    });
}

/// After all that an upgrade to a good binary works.
fn assert_recovers(server: &mut Server) {
    server.signal(Signal::SIGUSR2);
    server.wait_for_log("serves beside this one", 1);
    let new = Pid::from_raw(server.read("unirs.pid.2").trim().parse().expect("a pid"));
    server.signal(Signal::SIGTERM);
    wait_until("the new master has the name", || {
        (server.read("unirs.pid") == format!("{new}\n")).then_some(())
    });
    server.adopt_daemon("unirs.pid");
    assert_eq!(server.get("/").status, 200);
}

#[test]
fn a_program_that_cannot_run_or_does_not_serve_changes_nothing() {
    let mut server = start(Setup::new());
    let program = server.path("current");
    fs::remove_file(&program).expect("the link");
    assert_fails(&server, "No such file or directory", "a program that is missing");
    fs::write(&program, "").expect("a file");
    assert_fails(&server, "Permission denied", "a program that is not executable");
    script(&program, "exit 0");
    assert_fails(&server, "it exited with code 0 before it served", "a program that ends at once");
    script(&program, "exit 7");
    assert_fails(&server, "it exited with code 7 before it served", "a program that fails");
    script(&program, "kill -9 $$");
    assert_fails(&server, "it was sent SIGKILL before it served", "a program that is killed");
    fs::remove_file(&program).expect("the script");
    std::os::unix::fs::symlink(support::unirs(), &program).expect("the good binary");
    assert_recovers(&mut server);
}

#[test]
fn a_new_master_that_refuses_or_does_not_boot_says_why() {
    let mut server = start(Setup::new());
    server.configure(|config| config.set("workers", "many"));
    assert_fails(&server, "workers", "a configuration that is refused");
    server.configure(|config| config.set("workers", 2).app("start", "error"));
    assert_fails(&server, "start with an error", "an application that does not start");
    server.configure(|config| config.app("start", "exit"));
    assert_fails(&server, "failed to boot", "an application that leaves");
    server.configure(|config| config.app("start", "ok").set("errorlog", "/nowhere/error.log"));
    assert_fails(&server, "/nowhere/error.log", "a log in no folder");
    server
        .configure(|config| config.unset("errorlog").set("bind", vec!["127.0.0.1:0", "unix:/nowhere/sock"]));
    assert_fails(&server, "/nowhere/sock", "an address that cannot be had");
    server.configure(|config| config.set("bind", vec!["127.0.0.1:0", "unix:unirs.sock"]));
    assert_recovers(&mut server);
}

#[test]
fn a_new_master_that_hangs_is_stopped() {
    // Its time is twice boot_timeout and ten seconds.
    let mut server = start(Setup::new().set("boot_timeout", 10));
    let program = server.path("current");
    script(&program, "trap '' TERM\nwhile :; do sleep 1; done");
    assert_fails(&server, "it did not serve within", "a program that hangs");
    fs::remove_file(&program).expect("the script");
    std::os::unix::fs::symlink(support::unirs(), &program).expect("the good binary");
    assert_recovers(&mut server);
}

/// Kills the group of a daemon and of what it starts, also when the test fails.
struct Group(Pid);

impl Drop for Group {
    fn drop(&mut self) {
        // Nobody left in the group is what is wanted.
        let _ = nix::sys::signal::killpg(self.0, Signal::SIGKILL);
    }
}

#[test]
fn winch_to_the_old_daemon_leaves_the_new_one_alone_and_hup_takes_it_back() {
    let setup = Setup::new().set("workers", 2).set("pidfile", "unirs.pid").set("errorlog", "error.log");
    let mut server = setup.set("daemon", true).spawn();
    assert_eq!(server.wait_exit(), 0, "the starter");
    let old = server.adopt_daemon("unirs.pid");
    let _group = Group(getpgid(Some(old)).expect("a living daemon"));
    let old_workers = server.workers();
    server.signal(Signal::SIGUSR2);
    server.wait_for_log("serves beside this one", 1);
    let new = Pid::from_raw(server.read("unirs.pid.2").trim().parse().expect("a pid"));
    server.signal(Signal::SIGWINCH);
    wait_until("the old workers leave", || {
        old_workers.iter().all(|&pid| process::is_dead(pid)).then_some(())
    });
    wait_until("the old master stays, with no other child", || {
        (process::children(old) == [new]).then_some(())
    });
    assert_eq!(server.get("/").status, 200, "the new one serves alone");
    // Fewer than none there cannot be.
    server.signal(Signal::SIGTTOU);
    server.wait_for_log("the number of workers stays 0", 1);
    server.signal(Signal::SIGTTIN);
    server.wait_workers(1);
    server.signal(Signal::SIGHUP);
    server.wait_workers(2);
    process::signal(new, Signal::SIGTERM);
    server.wait_for_log(&format!("New master (pid:{new}) is gone"), 1);
    assert_eq!(server.wait_workers(2).len(), 2);
    assert_eq!(server.get("/").status, 200, "the old one serves again");
    assert_eq!(server.read("unirs.pid"), format!("{old}\n"));
    // And forward.
    server.signal(Signal::SIGUSR2);
    server.wait_for_log("serves beside this one", 2);
    let new = Pid::from_raw(server.read("unirs.pid.2").trim().parse().expect("a pid"));
    server.signal(Signal::SIGTERM);
    wait_until("the new daemon has the name", || {
        (server.read("unirs.pid") == format!("{new}\n")).then_some(())
    });
    assert_eq!(server.adopt_daemon("unirs.pid"), new);
    assert_eq!(server.get("/").status, 200);
    server.signal(Signal::SIGTERM);
    wait_until("the daemon ends", || process::is_dead(new).then_some(()));
}

#[test]
fn winch_without_a_daemon_is_a_window_that_has_changed() {
    let server = Setup::new().set("workers", 2).set("loglevel", "debug").start();
    let workers = server.workers();
    server.signal(Signal::SIGWINCH);
    server.wait_for_log("SIGWINCH ignored. Not daemonized", 1);
    assert_eq!(server.workers(), workers);
    assert_eq!(server.get("/").status, 200);
}
