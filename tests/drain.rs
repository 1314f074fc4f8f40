//! Zero failed requests: 32 clients, on connections that they keep and on new ones, while workers come and go in every way
//! that an operator knows.
mod support;

use std::time::{Duration, Instant};

use support::{Load, Server, Setup, Signal, Style, wait_until};

const CLIENTS: usize = 32;

/// A server and its load, for each class and style.
fn in_each_way(check: impl Fn(&str, Setup, Style)) {
    for class in ["sync", "threaded"] {
        for style in [Style::KeepAlive, Style::Close] {
            check(&format!("{class}, {style:?}"), setup(class), style);
        }
    }
}

/// Connections that are busy never wait for `keepalive` to be over, however slow this machine is.
fn setup(class: &str) -> Setup {
    let threads = if class == "sync" { 1 } else { 4 };
    Setup::new().set("workers", 3).set("worker_class", class).set("threads", threads).set("keepalive", 30)
}

fn hups_each_second(class: &str, style: Style) {
    let server = setup(class).start();
    let load = Load::start(server.address(), CLIENTS, style, "/");
    load.wait_for(100);
    // The pace is the scenario; whether a reload is over by then is not.
    let start = Instant::now();
    for second in 1..=10 {
        server.signal(Signal::SIGHUP);
        wait_until("a second is over", || (start.elapsed() >= Duration::from_secs(second)).then_some(()));
    }
    let old = server.workers();
    server.signal(Signal::SIGHUP);
    server.wait_replaced(&old, 3);
    load.wait_for(100);
    load.finish().assert_all_answered(&format!("HUP each second, {class}, {style:?}"));
}

#[test]
fn no_request_fails_over_a_hup_each_second_sync_kept_alive() {
    hups_each_second("sync", Style::KeepAlive);
}

#[test]
fn no_request_fails_over_a_hup_each_second_sync_closing() {
    hups_each_second("sync", Style::Close);
}

#[test]
fn no_request_fails_over_a_hup_each_second_threaded_kept_alive() {
    hups_each_second("threaded", Style::KeepAlive);
}

#[test]
fn no_request_fails_over_a_hup_each_second_threaded_closing() {
    hups_each_second("threaded", Style::Close);
}

#[test]
fn term_answers_what_was_accepted_and_refuses_newcomers() {
    in_each_way(|scenario, setup, style| {
        let mut server = setup.start();
        let load = Load::start(server.address(), CLIENTS, style, "/sleep/2");
        load.wait_for(200);
        server.signal(Signal::SIGTERM);
        let tally = load.until_refused();
        tally.assert_no_failures(&format!("TERM, {scenario}"));
        assert_eq!(tally.refused, CLIENTS as u64, "TERM, {scenario}: every client was refused in the end");
        assert_eq!(server.wait_exit(), 0, "{scenario}");
    });
}

/// TTIN or TTOU, and waits until the log says what is wanted now.
fn change(server: &Server, signal: Signal, wanted: usize) {
    let sentence = format!("{wanted} workers are wanted");
    let said = server.count_log(&sentence);
    server.signal(signal);
    server.wait_for_log(&sentence, said + 1);
}

#[test]
fn no_request_fails_while_workers_are_taken_away_and_added() {
    in_each_way(|scenario, setup, style| {
        let server = setup.start();
        let load = Load::start(server.address(), CLIENTS, style, "/");
        for _ in 0..4 {
            for wanted in [2, 1] {
                change(&server, Signal::SIGTTOU, wanted);
                load.wait_for(50);
            }
            server.wait_workers(1);
            for wanted in [2, 3, 4] {
                change(&server, Signal::SIGTTIN, wanted);
                load.wait_for(50);
            }
            server.wait_workers(4);
            change(&server, Signal::SIGTTOU, 3);
        }
        load.finish().assert_all_answered(&format!("TTOU and TTIN, {scenario}"));
    });
}

#[test]
fn no_request_fails_while_workers_are_recycled() {
    in_each_way(|scenario, setup, style| {
        let server = setup.set("max_requests", 50).set("max_requests_jitter", 10).start();
        let load = Load::start(server.address(), CLIENTS, style, "/");
        server.wait_for_log("(max_requests)", 12);
        server.wait_for_log("Worker exiting", 10);
        load.finish().assert_all_answered(&format!("recycling, {scenario}"));
        assert_eq!(server.get("/").status, 200, "{scenario}");
    });
}
