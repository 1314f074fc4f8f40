//! `drain_delay`: between TERM and the stop everybody is served as before.
mod support;

use support::{Client, Load, Server, Setup, Signal, Style, process, wait_until};

/// Longer than any test waits: only a second signal ends it.
const FOR_EVER: i64 = 3600;

fn draining(workers: i64, delay: i64) -> Server {
    let server = Setup::new().set("workers", workers).set("drain_delay", delay).set("keepalive", 600).start();
    server.signal(Signal::SIGTERM);
    server.notify().wait_for("STOPPING=1");
    server
}

#[test]
fn newcomers_are_served_during_the_delay_and_keep_their_connections() {
    let mut server = draining(1, FOR_EVER);
    let mut client = server.client();
    for _ in 0..3 {
        let response = client.get("/").expect("served during the delay");
        assert_eq!((response.status, response.closes()), (200, false));
    }
    assert_eq!(server.count_log("Shutting down: Master"), 0);
    assert!(server.notify().has("STATUS=draining"), "the status says so");
    server.signal(Signal::SIGTERM);
    assert_eq!(server.wait_exit(), 0);
}

#[test]
fn nobody_is_refused_or_cut_until_the_delay_is_over() {
    let mut server = Setup::new().set("workers", 2).set("drain_delay", 1).start();
    let load = Load::start(server.address(), 8, Style::Close, "/");
    load.wait_for(100);
    server.signal(Signal::SIGTERM);
    server.notify().wait_for("STOPPING=1");
    load.wait_for(100);
    let tally = load.until_refused();
    tally.assert_no_failures("TERM with a delay, under load");
    assert_eq!(server.wait_exit(), 0);
    let log = server.log();
    let begun = log.find("Draining for 1 s (drain_delay)").expect("the log says that the delay begins");
    let over = log.find("Shutting down: Master").expect("the log says that the stop begins");
    assert!(begun < over);
}

#[test]
fn a_second_signal_ends_the_delay() {
    for second in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGQUIT] {
        let mut server = draining(1, FOR_EVER);
        server.signal(second);
        assert_eq!(server.wait_exit(), 0, "TERM, then {second}");
    }
}

#[test]
fn int_does_not_wait() {
    let mut server = Setup::new().set("drain_delay", FOR_EVER).start();
    server.signal(Signal::SIGINT);
    assert_eq!(server.wait_exit(), 0);
}

#[test]
fn a_second_term_ends_the_delay_and_cuts_nobody() {
    let mut server = draining(1, FOR_EVER);
    let mut client = server.client();
    client.send("GET /sleep/1000 HTTP/1.1\r\nHost: a\r\n\r\n").expect("a request");
    server.signal(Signal::SIGTERM);
    assert_eq!(client.answer().expect("the request under way").status, 200);
    assert_eq!(server.wait_exit(), 0);
}

#[test]
fn a_worker_that_dies_during_the_delay_is_replaced_and_a_reload_is_not_begun() {
    let mut server = draining(2, FOR_EVER);
    let before = server.wait_workers(2);
    process::signal(before[0], Signal::SIGKILL);
    wait_until("the dead worker is replaced", || {
        let now = server.workers();
        (now.len() == 2 && !now.contains(&before[0])).then_some(())
    });
    server.signal(Signal::SIGHUP);
    server.wait_for_log("nothing is done: the server is stopping", 1);
    assert_eq!(Client::tcp(server.address()).expect("it listens").get("/").expect("served").status, 200);
    server.signal(Signal::SIGTERM);
    assert_eq!(server.wait_exit(), 0);
}

#[test]
fn the_service_manager_is_asked_to_wait_while_the_delay_lasts() {
    let mut server = draining(1, FOR_EVER);
    server.notify().wait_for("EXTEND_TIMEOUT_USEC=");
    server.signal(Signal::SIGTERM);
    assert_eq!(server.wait_exit(), 0);
    let said = |line: &str| server.notify().lines().iter().filter(|said| *said == line).count();
    assert_eq!(said("READY=1"), 1, "a server that stops is not ready again");
}
