//! What systemd is told (sd_notify) and what it gives (LISTEN_FDS), by its protocol, without systemd itself.
mod support;

use std::net::TcpListener;

use support::{Client, Server, Setup, Signal, compile_c, wait_until};

/// An application whose first two workers are Ready at once, and the others when the file `go` exists.
const LATE: &str = r#"
    #include <unistd.h>
    static int32_t ready(void *state) {
        (void)state;
        return host->worker->slot < 2 || access("go", F_OK) == 0;
    }
    static int32_t call(void *state, void *thread, unirs_exchange *exchange) {
        (void)state; (void)thread;
        return unirs_text(host, exchange, 200, "served");
    }
"#;

#[test]
fn ready_is_said_once_and_only_when_every_worker_is_ready() {
    let setup = Setup::new().set("workers", 3);
    let library = compile_c(setup.dir(), "late", LATE, ".ready = ready");
    let server = setup.configure(|config| config.library(&library)).spawn();
    server.wait_for_log("Booting worker", 3);
    assert_eq!(server.get("/").status, 200, "the first workers serve already");
    assert!(!server.notify().has("READY=1"), "READY=1 while one of three is not Ready");
    std::fs::write(server.path("go"), "").expect("a file");
    server.notify().wait_for("READY=1");
    server.notify().wait_for("STATUS=");
    let said = || server.notify().lines().iter().filter(|line| *line == "READY=1").count();
    assert_eq!(said(), 1, "READY=1 is said once");
    server.reload(3);
    let began = server.notify().has("RELOADING=1");
    wait_until("READY=1 follows RELOADING=1", || (!began || said() == 2).then_some(()));
}

#[test]
fn stopping_is_said_when_a_stop_begins() {
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGQUIT] {
        let mut server = Server::with_workers(1);
        assert!(!server.notify().has("STOPPING=1"));
        server.signal(signal);
        server.notify().wait_for("STOPPING=1");
        assert_eq!(server.wait_exit(), 0);
    }
}

#[test]
fn the_status_says_how_a_reload_ended() {
    let mut server = Server::with_workers(1);
    let statuses =
        |server: &Server| server.notify().lines().iter().filter(|line| line.starts_with("STATUS=")).count();
    let before = statuses(&server);
    server.reload(1);
    wait_until("a new STATUS", || (statuses(&server) > before).then_some(()));
    let before = statuses(&server);
    server.configure(|config| config.set("workers", "many"));
    server.signal(Signal::SIGHUP);
    wait_until("a new STATUS", || (statuses(&server) > before).then_some(()));
}

#[test]
fn no_worker_inherits_what_systemd_says_to_the_master() {
    let server = Setup::new().env("WATCHDOG_USEC", "60000000").env("WATCHDOG_PID", "1").start();
    for name in ["NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"] {
        let status = server.get(&format!("/env/{name}")).status;
        assert_eq!(status, 404, "{name}: an application cannot speak for the server");
    }
    assert!(!server.notify().has("WATCHDOG=1"), "the watchdog is another's");
}

#[test]
fn a_watchdog_hears_of_the_master_again_and_again() {
    let server = Setup::new().env("WATCHDOG_USEC", "400000").start();
    let signs = || server.notify().lines().iter().filter(|line| *line == "WATCHDOG=1").count();
    wait_until("four signs of life", || (signs() >= 4).then_some(()));
}

#[test]
fn a_reload_says_when_it_began_and_that_it_is_over_whether_it_was_refused_or_not() {
    let mut server = Server::with_workers(1);
    let said = |server: &Server, line: &str| {
        server.notify().lines().iter().filter(|said| said.starts_with(line)).count()
    };
    for (number, workers) in [(1, "1"), (2, "many")] {
        server.configure(|config| config.set("workers", workers));
        server.signal(Signal::SIGHUP);
        wait_until("READY=1 after the reload", || (said(&server, "READY=1") == number + 1).then_some(()));
        assert_eq!(said(&server, "RELOADING=1"), number);
        assert_eq!(said(&server, "MONOTONIC_USEC="), number, "Type=notify-reload wants it");
    }
}

#[test]
fn the_status_has_workers_requests_and_the_generation() {
    let server = Server::with_workers(2);
    for _ in 0..3 {
        assert_eq!(server.get("/").status, 200);
    }
    server.reload(2);
    server.notify().wait_for("STATUS=generation 2: 2 of 2 workers ready; 0 busy; 3 requests");
}

#[test]
fn a_socket_of_systemd_is_served_instead_of_the_settings_binds() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("an address");
    let inherited = listener.try_clone().expect("a second descriptor").into();
    let mut server = Setup::new().inherit(inherited, true).set("workers", 2).start();
    assert_eq!(server.addresses(), [address.to_string()], "only the socket that systemd gave");
    assert_eq!(Client::tcp(address).expect("systemd's port").get("/").expect("served").status, 200);
    for name in ["LISTEN_FDS", "LISTEN_PID"] {
        assert_eq!(server.get(&format!("/env/{name}")).status, 404, "{name} is not passed on");
    }
    server.reload(2);
    assert_eq!(Client::tcp(address).expect("systemd's port").get("/").expect("served").status, 200);
    server.signal(Signal::SIGTERM);
    assert_eq!(server.wait_exit(), 0);
    Client::tcp(address).expect("systemd still listens");
}

#[test]
fn connections_that_wait_in_systemd_s_socket_survive_a_restart() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("an address");
    let inherit = || listener.try_clone().expect("a second descriptor").into();
    let mut first = Setup::new().inherit(inherit(), true).start();
    assert_eq!(Client::tcp(address).expect("systemd's port").get("/").expect("served").status, 200);
    first.signal(Signal::SIGTERM);
    assert_eq!(first.wait_exit(), 0);
    let mut between = Client::tcp(address).expect("systemd still listens");
    between.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").expect("the kernel takes it");
    let _second = Setup::new().inherit(inherit(), true).start();
    assert_eq!(between.answer().expect("the next server answers").status, 200);
}

#[test]
fn sockets_that_were_meant_for_another_process_are_left_alone() {
    let server = Setup::new().env("LISTEN_FDS", "1").env("LISTEN_PID", "1").start();
    assert_eq!(server.get("/").status, 200, "the settings' bind is served");
}
