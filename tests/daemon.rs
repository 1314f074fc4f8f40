//! Daemon mode: the starter tells the truth about whether the server came up.
mod support;

use std::net::TcpListener;
use std::time::Duration;

use nix::unistd::{getpgid, getsid};
use support::{Setup, Signal, process, wait_until};

fn daemon() -> Setup {
    Setup::new().set("daemon", true).set("pidfile", "unirs.pid").set("errorlog", "error.log")
}

#[test]
fn the_starter_ends_with_0_when_the_server_serves() {
    let mut server = daemon().set("workers", 2).spawn();
    assert_eq!(server.wait_exit(), 0, "the starter");
    let master = server.adopt_daemon("unirs.pid");
    assert_eq!(server.get("/").status, 200, "right after the starter has ended");
    assert_eq!(server.workers().len(), 2);
    assert_ne!(getsid(Some(master)), getsid(None), "a session of its own");
    assert_ne!(getpgid(Some(master)), getpgid(None), "a group of its own");
    server.signal(Signal::SIGTERM);
    wait_until("the daemon ends", || process::is_dead(master).then_some(()));
    assert!(!server.path("unirs.pid").exists());
}

#[test]
fn a_daemon_holds_neither_the_terminal_nor_the_starter_s_output() {
    let mut server = daemon().spawn();
    assert_eq!(server.wait_exit(), 0);
    let master = server.adopt_daemon("unirs.pid");
    for pid in [master, server.workers()[0]] {
        let fds = server.fds(pid);
        for number in 0..=2 {
            assert_eq!(
                fds.get(&number).map(String::as_str),
                Some("/dev/null"),
                "descriptor {number} of {pid}"
            );
        }
        assert!(!fds.values().any(|what| what.ends_with("stderr.log")), "{fds:?}");
    }
}

#[test]
fn the_starter_ends_with_1_and_says_why_when_the_port_is_in_use() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = taken.local_addr().expect("an address").to_string();
    let failure = daemon().set("bind", vec![address.clone()]).fail();
    failure.assert(1, &format!("cannot bind {address}"), "a daemon whose port is in use");
}

#[test]
fn the_starter_passes_on_3_and_4() {
    let no_library =
        daemon().configure(|config| config.library(std::path::Path::new("./libabsent.so"))).fail();
    no_library.assert(4, "libabsent.so", "a daemon without its library");
    let no_boot = daemon().configure(|config| config.app("start", "exit")).fail();
    assert_eq!(no_boot.code, 3, "a daemon whose worker does not boot: {}", no_boot.log);
}

#[test]
fn a_second_daemon_with_the_same_pidfile_is_refused() {
    let mut first = daemon().spawn();
    assert_eq!(first.wait_exit(), 0);
    let master = first.adopt_daemon("unirs.pid");
    let pidfile = first.path("unirs.pid").to_str().expect("test paths are UTF-8").to_owned();
    let failure = daemon().set("pidfile", pidfile).fail();
    failure.assert(1, &master.to_string(), "a second daemon");
    assert_eq!(first.get("/").status, 200);
}

#[test]
fn the_starter_waits_no_longer_than_the_boot_may_take() {
    let mut server = daemon().set("boot_timeout", 1).configure(|config| config.app("start", "hang")).spawn();
    assert_eq!(server.wait_exit_within(Duration::from_secs(25)), 3, "a daemon that hangs at its start");
    assert!(!server.path("unirs.pid").exists(), "its pidfile is gone");
}
