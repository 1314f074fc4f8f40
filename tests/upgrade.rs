//! USR2: another binary on the same sockets, proved before it counts, and back again. WINCH, which belongs to it.
mod support;

use nix::unistd::Pid;
use support::{Load, Server, Setup, Signal, Style, process, wait_until};

const PIDFILE: &str = "unirs.pid";
const NEW_PIDFILE: &str = "unirs.pid.2";
const SERVES: &str = "serves beside this one";
const PROMOTED: &str = "Master has been promoted";

fn setup() -> Setup {
    Setup::new().set("workers", 2).set("pidfile", PIDFILE)
}

fn named(server: &Server, pidfile: &str) -> Option<Pid> {
    server.read(pidfile).trim().parse().ok().map(Pid::from_raw)
}

/// USR2, and waits until the new master serves; its pid.
fn upgrade(server: &Server) -> Pid {
    let before = server.count_log(SERVES);
    server.signal(Signal::SIGUSR2);
    server.wait_for_log(SERVES, before + 1);
    named(server, NEW_PIDFILE).expect("the new master has its pidfile")
}

/// Stops the old master, and waits until the new one has its place.
fn retire_old(server: &mut Server, new: Pid, signal: Signal) {
    let old = server.master();
    let before = server.count_log(PROMOTED);
    server.signal(signal);
    wait_until("the old master ends", || process::is_dead(old).then_some(()));
    server.wait_for_log(PROMOTED, before + 1);
    wait_until("the pidfile names the new master", || (named(server, PIDFILE) == Some(new)).then_some(()));
    assert_eq!(server.adopt_daemon(PIDFILE), new);
    wait_until("the other name is gone", || (!server.path(NEW_PIDFILE).exists()).then_some(()));
}

#[test]
fn no_request_is_lost_while_the_new_master_takes_the_old_ones_place() {
    for style in [Style::KeepAlive, Style::Close] {
        let mut server = setup().start();
        let old = server.master();
        let load = Load::start(server.address(), 8, style, "/");
        load.wait_for(50);
        let new = upgrade(&server);
        assert_ne!(new, old);
        assert_eq!(named(&server, PIDFILE), Some(old), "the old one has its pidfile while it lives");
        load.wait_for(50);
        retire_old(&mut server, new, Signal::SIGTERM);
        load.wait_for(50);
        load.finish().assert_all_answered("USR2, then TERM to the old master");
        server.signal(Signal::SIGTERM);
        wait_until("the new master ends", || process::is_dead(new).then_some(()));
        assert!(!server.path(PIDFILE).exists(), "its pidfile is gone");
    }
}
