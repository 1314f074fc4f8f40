//! The master's death: its workers notice at once, finish what is in flight and free the port.
mod support;

use std::net::TcpListener;

use support::{Client, Server, Setup, process, wait_until};

#[test]
fn idle_workers_leave_when_their_master_was_killed() {
    let mut server = Server::with_workers(3);
    let (workers, address) = (server.workers(), server.address());
    server.kill_master();
    wait_until("every worker has left", || workers.iter().all(|&pid| process::is_dead(pid)).then_some(()));
    TcpListener::bind(address).expect("the port is free");
}

#[test]
fn a_request_in_flight_is_answered_after_the_master_was_killed() {
    for class in ["sync", "threaded"] {
        let mut server = Setup::new().set("worker_class", class).set("threads", 2).start();
        let mut client = server.client();
        let worker = client.worker();
        client.send("GET /sleep/1500 HTTP/1.1\r\nHost: a\r\n\r\n").expect("a request");
        server.kill_master();
        assert_eq!(
            client.answer().unwrap_or_else(|broken| panic!("{class}: {broken}")).status,
            200,
            "{class}"
        );
        wait_until("the worker has left", || process::is_dead(worker).then_some(()));
    }
}

#[test]
fn newcomers_are_refused_while_an_orphan_finishes_its_request() {
    let mut server = Setup::new().set("graceful_timeout", 60).start();
    let address = server.address();
    let mut client = server.client();
    server.hold(&mut client, "a-request"); // what only waits in the queue is not in flight
    server.kill_master();
    wait_until("a newcomer is refused", || Client::tcp(address).is_err().then_some(()));
    server.release("a-request");
    assert_eq!(client.answer().expect("the request in flight").status, 200);
}

#[test]
fn a_stuck_orphan_frees_the_port_within_graceful_timeout() {
    for class in ["sync", "threaded"] {
        let mut server = Setup::new()
            .set("worker_class", class)
            .set("threads", 2)
            .set("graceful_timeout", 1)
            .set("timeout", 0)
            .start();
        let address = server.address();
        let mut client = server.client();
        let worker = client.worker();
        client.send("GET /burn/120000 HTTP/1.1\r\nHost: a\r\n\r\n").expect("a request");
        server.kill_master();
        wait_until(format_args!("the port is free, {class}"), || TcpListener::bind(address).ok());
        wait_until(format_args!("the stuck worker is gone, {class}"), || {
            process::is_dead(worker).then_some(())
        });
    }
}

#[test]
fn a_worker_whose_master_dies_during_its_boot_leaves() {
    let setup = Setup::new().set("graceful_timeout", 1);
    let mut server = setup.configure(|config| config.app("start", "hang")).spawn();
    let worker = server.wait_workers(1)[0];
    server.wait_for_log("Booting worker", 1);
    server.kill_master();
    wait_until("the worker has left", || process::is_dead(worker).then_some(()));
}
