//! `timeout`: what it ends, what its line says, and all that it must leave alone.
mod support;

use std::time::{Duration, Instant};

use support::{Client, Setup, Signal, look_within, process, wait_until};

/// How long a call may take here. A worker that a busy machine does not let run for half of it is taken for stuck.
const TIMEOUT: i64 = 3;

/// Longer than that.
const LONGER: Duration = Duration::from_secs(7);

/// Both classes at once: the time is what these tests are about.
fn in_each_class(check: impl Fn(&str, Setup) + Sync) {
    std::thread::scope(|scope| {
        for (class, threads) in [("sync", 1), ("threaded", 2)] {
            let setup = Setup::new().set("worker_class", class).set("threads", threads);
            let check = &check;
            scope.spawn(move || check(class, setup.set("timeout", TIMEOUT)));
        }
    });
}

#[test]
fn a_call_over_its_time_costs_its_worker_and_the_line_names_the_request() {
    in_each_class(|class, setup| {
        let server = setup.start();
        let mut client = server.client();
        let victim = client.worker();
        client.send("GET /sleep/60000 HTTP/1.1\r\nHost: a\r\n\r\n").expect("a request");
        server.wait_replaced(&[victim], 1);
        if let Ok(response) = client.answer() {
            assert!(response.status >= 500, "{class}: {}", response.status);
        }
        let log = server.log();
        let line = log.lines().find(|line| line.contains("WORKER TIMEOUT")).expect("the line");
        assert!(line.contains(&format!("(pid:{victim})")), "{class}: {line}");
        assert!(log.contains("GET /sleep"), "{class}: the log names the request");
        assert_eq!(server.get("/").status, 200, "{class}");
    });
}

#[test]
fn a_call_that_ignores_signals_is_killed_a_second_later() {
    in_each_class(|class, setup| {
        let server = setup.stubborn().start();
        let mut client = server.client();
        let victim = client.worker();
        client.send("GET /deaf HTTP/1.1\r\nHost: a\r\n\r\n").expect("a request");
        server.wait_replaced(&[victim], 1);
        assert!(client.answer().is_err(), "{class}: nobody could answer");
        assert_eq!(server.get("/").status, 200, "{class}");
    });
}

#[test]
fn other_workers_never_notice() {
    let server = Setup::new().set("timeout", TIMEOUT).set("workers", 3).start();
    let mut client = server.client();
    let victim = client.worker();
    let others: Vec<_> = server.workers().into_iter().filter(|&pid| pid != victim).collect();
    let load = support::Load::start(server.address(), 2, support::Style::Close, "/");
    load.wait_for(20);
    client.send("GET /sleep/60000 HTTP/1.1\r\nHost: a\r\n\r\n").expect("a request");
    server.wait_replaced(&[victim], 3);
    load.wait_for(20);
    load.finish().assert_no_failures("beside a worker that was killed over its time");
    let now = server.workers();
    assert!(others.iter().all(|pid| now.contains(pid)), "{others:?} are among {now:?}");
}

#[test]
fn a_stopped_worker_is_replaced() {
    let server = Setup::new().set("timeout", TIMEOUT).set("workers", 2).start();
    let victim = server.workers()[0];
    process::signal(victim, Signal::SIGSTOP);
    server.wait_replaced(&[victim], 2);
    assert_eq!(server.get("/").status, 200);
}

#[test]
fn a_worker_that_is_stopped_for_a_moment_lives() {
    let server = Setup::new().set("timeout", 5).start();
    let worker = server.workers()[0];
    process::signal(worker, Signal::SIGSTOP);
    wait_until("it is stopped", || (process::state(worker) == Some('T')).then_some(()));
    process::signal(worker, Signal::SIGCONT);
    assert_eq!(server.get("/").status, 200);
    assert_eq!(server.workers(), [worker]);
}

#[test]
fn an_idle_worker_a_slow_client_and_a_long_download_are_not_over_time() {
    in_each_class(|class, setup| {
        let server = setup.stubborn().set("workers", 2).set("keepalive", 60).start();
        let workers = server.workers();
        // A head that comes slowly, an idle connection, a stream that writes all the time.
        let (mut slow, mut idle, mut stream) = (server.client(), server.client(), server.client());
        slow.send("GET / HTTP/1.1\r\n").expect("half a head");
        assert_eq!(idle.get("/").expect("a first request").status, 200);
        stream.send("GET /drip HTTP/1.1\r\nHost: a\r\n\r\n").expect("a request");
        assert_eq!(
            stream.answer().unwrap_or_else(|broken| panic!("{class}: {broken}")).body.len(),
            80_000,
            "{class}"
        );
        slow.send("Host: a\r\n\r\n").expect("the other half");
        assert_eq!(slow.answer().expect("the slow client").status, 200, "{class}");
        assert_eq!(idle.get("/").expect("the idle client").status, 200, "{class}");
        assert_eq!(server.workers(), workers, "{class}: nobody was replaced");
        assert_eq!(server.count_log("WORKER TIMEOUT"), 0, "{class}");
    });
}

#[test]
fn a_slow_upload_is_not_over_time() {
    in_each_class(|class, setup| {
        let server = setup.start();
        let workers = server.workers();
        let mut client = server.client();
        client.send("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 30\r\n\r\n").expect("a head");
        // The pace is the scenario: never long between two bytes, too long in all.
        let start = Instant::now();
        for sent in 1..=30 {
            wait_until("the next byte is due", || (start.elapsed() >= LONGER * sent / 30).then_some(()));
            client.send("x").expect("a byte");
        }
        assert_eq!(
            client.answer().unwrap_or_else(|broken| panic!("{class}: {broken}")).body.len(),
            30,
            "{class}"
        );
        assert_eq!(server.workers(), workers, "{class}: nobody was replaced");
    });
}

#[test]
fn a_client_that_does_not_read_is_write_timeout_s_and_not_timeout_s() {
    let server =
        Setup::new().set("timeout", TIMEOUT).set("write_timeout", 60).set("worker_class", "threaded").start();
    let workers = server.workers();
    let mut deaf = server.client();
    deaf.send("GET /stream-for-ever HTTP/1.1\r\nHost: a\r\n\r\n").expect("a request");
    let killed = look_within(LONGER, || (server.workers() != workers).then_some(()));
    assert_eq!(killed, None, "a thread that waits for its client is not over time");
}

#[test]
fn an_application_may_ask_for_more_time() {
    in_each_class(|class, setup| {
        let server = setup.start();
        let workers = server.workers();
        assert_eq!(server.get(&format!("/extend/{}", LONGER.as_millis())).status, 200, "{class}");
        assert_eq!(server.workers(), workers, "{class}");
    });
}

#[test]
fn timeout_zero_means_none() {
    let server = Setup::new().set("timeout", 0).start();
    let workers = server.workers();
    assert_eq!(server.get("/sleep/3000").status, 200);
    assert_eq!(server.workers(), workers);
}

#[test]
fn a_threaded_worker_finishes_its_other_calls_or_its_clients_see_an_end() {
    let server =
        Setup::new().set("timeout", TIMEOUT).set("worker_class", "threaded").set("threads", 4).start();
    let mut clients: Vec<Client> = (0..3).map(|_| server.client()).collect();
    let victim = clients[0].worker();
    clients[0].send("GET /sleep/60000 HTTP/1.1\r\nHost: a\r\n\r\n").expect("a request");
    for client in &mut clients[1..] {
        client.send("GET /sleep/500 HTTP/1.1\r\nHost: a\r\n\r\n").expect("a request");
    }
    for client in &mut clients[1..] {
        assert_eq!(client.answer().expect("a short call beside a stuck one").status, 200);
    }
    server.wait_replaced(&[victim], 1);
}
