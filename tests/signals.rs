//! What each signal does to the master and to a worker. Reload and stop have files of their own.
mod support;

use std::time::Duration;

use support::{Broken, Server, Setup, Signal, process, wait_until};

/// A request that is under way for far longer than the test waits for anything.
const LONG: &str = "GET /sleep/60000 HTTP/1.1\r\nHost: a\r\n\r\n";

#[test]
fn ttin_adds_a_worker_and_ttou_takes_one_away() {
    let server = Server::with_workers(1);
    server.signal(Signal::SIGTTIN);
    server.wait_workers(2);
    server.signal(Signal::SIGTTIN);
    server.wait_workers(3);
    server.signal(Signal::SIGTTOU);
    server.wait_workers(2);
    assert_eq!(server.get("/").status, 200);
}

#[test]
fn ttou_never_goes_below_one_worker() {
    let mut server = Server::with_workers(2);
    for count in 1..=5 {
        server.signal(Signal::SIGTTOU);
        server.wait_for_log("Handling signal: ttou", count);
    }
    server.wait_workers(1);
    server.signal(Signal::SIGTTIN);
    server.wait_workers(2);
    assert_eq!(server.get("/").status, 200);
    server.signal(Signal::SIGTERM);
    assert_eq!(server.wait_exit(), 0);
}

#[test]
fn ttou_lets_the_worker_finish_its_request() {
    let server = Server::with_workers(2);
    let mut clients = [server.client(), server.client()];
    for client in &mut clients {
        client.send("GET /sleep/1500 HTTP/1.1\r\nHost: a\r\n\r\n").expect("a request");
    }
    server.signal(Signal::SIGTTOU);
    for client in &mut clients {
        assert_eq!(client.answer().expect("a request under way while its worker retires").status, 200);
    }
    server.wait_workers(1);
}

#[test]
fn hup_takes_the_number_of_workers_from_the_file_again() {
    let server = Server::with_workers(1);
    server.signal(Signal::SIGTTIN);
    server.wait_workers(2);
    server.reload(1);
    assert_eq!(server.get("/").status, 200);
}

#[test]
fn int_and_quit_end_the_server_without_waiting_for_a_request() {
    for signal in [Signal::SIGINT, Signal::SIGQUIT] {
        for class in ["sync", "threaded"] {
            let mut server = Setup::new().set("worker_class", class).set("threads", 2).start();
            let (mut busy, mut idle) = (server.client(), server.client());
            assert_eq!(idle.get("/").expect("a first request").status, 200);
            busy.send(LONG).expect("a request");
            server.signal(signal);
            let code = server.wait_exit_within(Duration::from_secs(20));
            assert_eq!(code, 0, "{signal}, {class}: in front of a call of a minute");
        }
    }
}

#[test]
fn a_worker_that_gets_term_finishes_its_request_and_is_replaced() {
    let server = Server::with_workers(1);
    let old = server.workers();
    let mut client = server.client();
    client.send("GET /sleep/1000 HTTP/1.1\r\nHost: a\r\n\r\n").expect("a request");
    process::signal(old[0], Signal::SIGTERM);
    assert_eq!(client.answer().expect("the request under way").status, 200);
    server.wait_replaced(&old, 1);
    assert_eq!(server.get("/").status, 200);
}

#[test]
fn a_worker_that_gets_int_or_quit_leaves_at_once_and_is_replaced() {
    for signal in [Signal::SIGINT, Signal::SIGQUIT] {
        let server = Server::with_workers(2);
        let mut client = server.client();
        let victim = client.worker();
        // In the application: one that is not begun is answered 503.
        server.hold(&mut client, "call");
        process::signal(victim, signal);
        server.wait_replaced(&[victim], 2);
        assert!(client.answer().is_err(), "{signal}: its request cannot have been answered");
        assert_eq!(server.get("/").status, 200);
    }
}

#[test]
fn usr2_and_winch_leave_a_healthy_server() {
    let mut server = Server::with_workers(2);
    let workers = server.workers();
    server.signal(Signal::SIGUSR2);
    server.wait_for_log("Handling signal: usr2", 1);
    server.signal(Signal::SIGWINCH);
    assert_eq!(server.get("/").status, 200);
    assert_eq!(server.workers(), workers);
    server.signal(Signal::SIGTERM);
    assert_eq!(server.wait_exit(), 0);
}

#[test]
fn two_hundred_mixed_signals_in_two_seconds_leave_a_healthy_server() {
    let mut server = Setup::new().set("workers", 2).set("graceful_timeout", 5).start();
    let mix = [Signal::SIGHUP, Signal::SIGTTIN, Signal::SIGUSR1, Signal::SIGTTOU, Signal::SIGCHLD];
    let mut sent = 0;
    // The pace is the scenario: one each 10 ms.
    let mut next = std::time::Instant::now();
    while sent < 200 {
        wait_until("the next signal is due", || (std::time::Instant::now() >= next).then_some(()));
        server.signal(mix[sent % mix.len()]);
        next += Duration::from_millis(10);
        sent += 1;
    }
    assert_eq!(server.get("/").status, 200, "right after the signals");
    // A reload from here ends with exactly what the file says, whatever the mixture left.
    server.reload(2);
    assert_eq!(server.get("/").status, 200, "after a last reload");
    wait_until("no zombie is left", || (process::zombies(server.master()) == 0).then_some(()));
    server.signal(Signal::SIGTERM);
    assert_eq!(server.wait_exit(), 0);
}

#[test]
fn a_signal_during_a_reload_is_not_forgotten() {
    let mut server = Setup::new().set("workers", 2).start();
    let mut slow = server.client();
    slow.send("GET /sleep/2000 HTTP/1.1\r\nHost: a\r\n\r\n").expect("a request");
    server.signal(Signal::SIGHUP);
    server.wait_for_log("Handling signal: hup", 1);
    server.signal(Signal::SIGTTIN);
    server.wait_for_log("Handling signal: ttin", 1);
    server.signal(Signal::SIGTERM);
    assert_eq!(
        slow.answer().map(|response| response.status),
        Ok::<u16, Broken>(200),
        "under reload and stop"
    );
    assert_eq!(server.wait_exit(), 0);
}
