//! How a server ends: everything that was accepted is answered, newcomers are refused, nobody is held up.
mod support;

use std::net::TcpListener;
use std::time::Duration;

use support::{Client, Load, Server, Setup, Signal, Style, process, wait_until};

#[test]
fn term_under_load_answers_everything_that_was_accepted() {
    for (class, style) in [
        ("sync", Style::KeepAlive),
        ("sync", Style::Close),
        ("threaded", Style::KeepAlive),
        ("threaded", Style::Close),
    ] {
        let mut server = Setup::new().set("workers", 2).set("worker_class", class).set("threads", 4).start();
        let load = Load::start(server.address(), 8, style, "/sleep/5");
        load.wait_for(200);
        server.signal(Signal::SIGTERM);
        let tally = load.until_refused();
        let scenario = format!("TERM under load, {class}, {style:?}");
        tally.assert_no_failures(&scenario);
        assert_eq!(tally.refused, 8, "{scenario}: every client was refused in the end");
        assert_eq!(server.wait_exit(), 0, "{scenario}");
    }
}

#[test]
fn a_request_under_way_at_term_is_answered() {
    let mut server = Server::with_workers(1);
    let mut client = server.client();
    client.send("GET /sleep/1500 HTTP/1.1\r\nHost: a\r\n\r\n").expect("a request");
    server.signal(Signal::SIGTERM);
    let response = client.answer().expect("the request under way");
    assert_eq!(response.status, 200);
    assert_eq!(server.wait_exit(), 0);
}

#[test]
fn requests_that_wait_in_the_backlog_at_term_are_answered() {
    let mut server = Server::with_workers(1);
    let mut clients: Vec<Client> = (0..20).map(|_| server.client()).collect();
    for client in &mut clients {
        client.send("GET /sleep/50 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").expect("a request");
    }
    server.signal(Signal::SIGTERM);
    for (number, client) in clients.iter_mut().enumerate() {
        let response =
            client.answer().unwrap_or_else(|broken| panic!("client {number} of the backlog: {broken}"));
        assert_eq!(response.status, 200);
    }
    assert_eq!(server.wait_exit(), 0);
}

#[test]
fn idle_kept_alive_connections_do_not_hold_the_exit() {
    let mut server = Setup::new().set("keepalive", 600).set("graceful_timeout", 600).start();
    let mut idle: Vec<Client> = (0..10).map(|_| server.client()).collect();
    for client in &mut idle {
        assert_eq!(client.get("/").expect("a first request").status, 200);
    }
    let silent = server.client();
    server.signal(Signal::SIGTERM);
    assert_eq!(server.wait_exit(), 0, "beside {} idle connections", idle.len() + 1);
    drop(silent);
}

#[test]
fn newcomers_are_refused_while_a_stop_goes_on() {
    // A sync worker in a call still holds the socket: then a newcomer gets no answer at all until the call is over.
    let setup = Setup::new().set("worker_class", "threaded").set("threads", 2);
    let mut server = setup.set("graceful_timeout", 120).start();
    let address = server.address();
    let mut client = server.client();
    server.hold(&mut client, "a-request");
    server.signal(Signal::SIGTERM);
    wait_until("a newcomer is refused", || Client::tcp(address).is_err().then_some(()));
    assert!(!process::is_dead(server.master()), "the stop still goes on");
    server.release("a-request");
    assert_eq!(client.answer().expect("the request under way").status, 200);
    assert_eq!(server.wait_exit(), 0);
}

#[test]
fn a_worker_that_does_not_leave_within_graceful_timeout_is_killed() {
    let mut server = Setup::new().set("graceful_timeout", 1).start();
    let mut client = server.client();
    server.hold(&mut client, "for-ever");
    server.signal(Signal::SIGTERM);
    assert_eq!(server.wait_exit(), 0);
    assert!(client.answer().is_err());
    assert!(server.log().contains("/hold/for-ever"), "the line about the killed worker names its request");
}

#[test]
fn a_second_term_or_an_int_quickens_a_graceful_stop() {
    for second in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGQUIT] {
        let mut server = Setup::new().set("graceful_timeout", 600).set("timeout", 0).start();
        let mut client = server.client();
        client.send("GET /sleep/60000 HTTP/1.1\r\nHost: a\r\n\r\n").expect("a request");
        server.signal(Signal::SIGTERM);
        server.wait_for_log("Handling signal: term", 1);
        server.signal(second);
        assert_eq!(server.wait_exit_within(Duration::from_secs(20)), 0, "TERM, then {second}");
    }
}

#[test]
fn the_port_is_free_after_the_exit() {
    let mut server = Server::with_workers(2);
    let address = server.address();
    assert_eq!(server.get("/").status, 200);
    server.signal(Signal::SIGTERM);
    assert_eq!(server.wait_exit(), 0);
    TcpListener::bind(address).expect("the port of a server that has ended");
}

#[test]
fn a_stop_before_every_worker_is_ready_is_a_stop() {
    let server = Setup::new().set("workers", 2).configure(|config| config.app("start", "hang"));
    let mut server = server.spawn();
    server.wait_for_log("Booting worker", 1);
    server.signal(Signal::SIGTERM);
    assert_eq!(server.wait_exit_within(Duration::from_secs(25)), 0);
}

#[test]
fn the_log_of_an_ordinary_life_has_gunicorn_s_sentences_in_their_order() {
    let mut server = Server::with_workers(1);
    let worker = server.workers()[0];
    assert_eq!(server.get("/").status, 200);
    server.signal(Signal::SIGHUP);
    server.wait_replaced(&[worker], 1);
    server.signal(Signal::SIGTERM);
    assert_eq!(server.wait_exit(), 0);
    let log = server.log();
    let mut rest = log.as_str();
    for sentence in [
        "Starting unirs ",
        "Listening at: http://127.0.0.1:",
        "Using worker: sync",
        &format!("Booting worker with pid: {worker}"),
        "Handling signal: hup",
        "Hang up: Master",
        "Booting worker with pid: ",
        &format!("Worker exiting (pid: {worker})"),
        "Handling signal: term",
        "Shutting down: Master",
    ] {
        let at = rest.find(sentence).unwrap_or_else(|| panic!("{sentence:?} is missing or out of its order"));
        rest = &rest[at + sentence.len()..];
    }
}
