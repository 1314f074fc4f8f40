//! 503: requests that a worker has, and will not begin, because it leaves.
mod support;

use support::{Client, Server, Setup, Signal, wait_until};

fn in_each_class(check: impl Fn(&str, Setup)) {
    for (class, threads) in [("sync", 1), ("threaded", 3)] {
        let setup = Setup::new().set("worker_class", class).set("threads", threads);
        check(class, setup.set("accesslog", "access.log").set("keepalive", 60));
    }
}

/// A connection that the worker has.
fn known(server: &Server) -> Client {
    let mut client = server.client();
    assert_eq!(client.get("/").expect("a first request").status, 200);
    client
}

fn assert_turned_away(mut client: Client, scenario: &str) {
    let response = client.answer().unwrap_or_else(|broken| panic!("{scenario}: {broken}"));
    assert_eq!(response.status, 503, "{scenario}");
    assert!(response.closes(), "{scenario}: {:?}", response.fields);
    client.assert_closed(scenario);
}

#[test]
fn a_quick_end_says_503_to_requests_that_were_not_begun() {
    in_each_class(|class, setup| {
        let mut server = setup.start();
        let (mut body, mut head, mut idle) = (known(&server), known(&server), known(&server));
        body.send("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n12345").expect("half a body");
        head.send("GET /half HTTP/1.1\r\nHo").expect("half a head");
        server.signal(Signal::SIGQUIT);
        assert_turned_away(body, &format!("half a body, {class}"));
        assert_turned_away(head, &format!("half a head, {class}"));
        idle.assert_closed(&format!("an idle connection, {class}"));
        assert_eq!(server.wait_exit(), 0, "{class}");
        let access = server.read("access.log");
        let lines = access.lines().filter(|line| line.contains("\" 503 "));
        assert_eq!(lines.count(), 2, "{class}: each has its line:\n{access}");
        assert!(access.contains("\"POST /echo HTTP/1.1\" 503 "), "{class}: {access}");
    });
}

#[test]
fn a_request_that_waits_behind_a_call_at_a_quick_end_is_answered_one_way_or_the_other() {
    in_each_class(|class, setup| {
        let mut server = setup.start();
        let (mut busy, mut waiting) = (known(&server), known(&server));
        server.hold(&mut busy, "the-call");
        waiting.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").expect("a request");
        server.signal(Signal::SIGQUIT);
        server.wait_for_log("Handling signal: quit", 1);
        server.release("the-call");
        let answer = waiting.answer();
        // A call that does not end within a second costs the worker, and a busy machine may be slower than that.
        if let Ok(response) = answer {
            assert!(matches!(response.status, 200 | 503), "{class}: {}", response.status);
        }
        assert_eq!(server.wait_exit(), 0, "{class}");
    });
}

#[test]
fn an_upload_that_outlasts_graceful_timeout_is_told_before_the_worker_is_killed() {
    for (class, threads, signal) in [("sync", 1, Signal::SIGTERM), ("threaded", 3, Signal::SIGHUP)] {
        let setup = Setup::new().set("worker_class", class).set("threads", threads);
        let server = setup.set("graceful_timeout", 5).start();
        let old = server.workers();
        let mut upload = known(&server);
        upload
            .send("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n12345")
            .expect("half a body");
        server.signal(signal);
        assert_turned_away(upload, &format!("{signal}, {class}"));
        wait_until("the worker has left", || {
            (!server.workers().iter().any(|pid| old.contains(pid))).then_some(())
        });
        assert_eq!(server.count_log("is killed"), 0, "{class}, {signal}: it left by itself");
    }
}
