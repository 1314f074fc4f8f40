//! A call that is over its time: what its client is told, and what becomes of the thread and of the calls beside it. When a
//! call is over its time is in `timeouts`.
mod support;

use support::{Server, Setup, wait_until};

/// How long a call may take here. A worker that a busy machine does not let run for half of it is taken for stuck.
const TIMEOUT: i64 = 4;

fn setup(class: &str, threads: i64) -> Setup {
    let setup = Setup::new().set("worker_class", class).set("threads", threads).set("timeout", TIMEOUT);
    let library = support::compile(setup.dir(), "crashing.c");
    setup
        .set("accesslog", "access.log")
        .set("access_log_format", "%(m)s %(U)s %(s)s %(B)s")
        .configure(|config| config.library(&library))
}

/// In both classes, at once: it is the time that these tests take.
fn in_each_class(check: impl Fn(&str, &Server) + Sync) {
    std::thread::scope(|scope| {
        for (class, threads) in [("sync", 1), ("threaded", 3)] {
            let check = &check;
            scope.spawn(move || check(class, &setup(class, threads).start()));
        }
    });
}

fn wait_for_access_line(server: &Server, line: &str) {
    wait_until(format!("the access line {line}"), || {
        server.read("access.log").lines().any(|found| found.starts_with(line)).then_some(())
    });
}

#[test]
fn the_client_of_a_stuck_call_is_answered_504_and_the_line_says_so() {
    in_each_class(|class, server| {
        let mut client = server.client();
        let victim = client.worker();
        let response = client.get("/wait").unwrap_or_else(|broken| panic!("{class}: {broken}"));
        assert_eq!(response.status, 504, "{class}");
        assert!(response.closes() && response.text().contains("504"), "{class}");
        client.assert_closed(class);
        wait_for_access_line(server, &format!("GET /wait 504 {}", response.body.len()));
        server.wait_replaced(&[victim], 1);
        assert_eq!(server.get("/").status, 200, "{class}");
    });
}

#[test]
fn a_stuck_stream_is_cut_and_an_answer_that_was_whole_is_sent() {
    in_each_class(|class, server| {
        let mut client = server.client();
        let victim = client.worker();
        let broken = client.get("/streaming-stuck").expect_err("half an answer");
        assert!(!broken.to_string().contains("504"), "{class}: {broken}");
        server.wait_replaced(&[victim], 1);
        let mut client = server.client();
        let victim = client.worker();
        let response = client.get("/answered-stuck").unwrap_or_else(|broken| panic!("{class}: {broken}"));
        assert_eq!((response.status, response.text()), (201, "in time".to_owned()), "{class}");
        server.wait_replaced(&[victim], 1);
        wait_for_access_line(server, "GET /streaming-stuck 200 4");
        wait_for_access_line(server, "GET /answered-stuck 201 7");
    });
}

#[test]
fn a_worker_with_threads_finishes_its_other_calls_and_refuses_the_late_answer() {
    let server = setup("threaded", 3).set("graceful_timeout", 60).start();
    let mut stuck = server.client();
    let victim = stuck.worker();
    stuck.send_get("/late").expect("a request");
    // It is not over its time yet when the other is.
    let log = || server.log();
    let mut beside = server.client();
    assert_eq!(beside.worker(), victim, "there is one worker");
    wait_until("most of the time is over", || {
        beside.get("/").expect("a call beside a stuck one");
        log().contains("WORKER TIMEOUT").then_some(())
    });
    assert_eq!(stuck.answer().expect("an answer in the host's name").status, 504);
    std::fs::write(server.path("go-on"), "").expect("a file");
    let result =
        wait_until("the late answer", || Some(server.read("result")).filter(|text| !text.is_empty()));
    assert_eq!(result, "-3", "UNIRS_TIMED_OUT");
    server.wait_for_log("the call has come back", 1);
    drop(beside); // an idle connection would keep the old worker for its own keepalive
    server.wait_replaced(&[victim], 1);
    let lines = server.read("access.log");
    assert_eq!(lines.lines().filter(|line| line.contains("/late")).count(), 1, "{lines}");
    assert_eq!(server.count_log("Worker exiting"), 1, "it left, and was not killed");
}

#[test]
fn a_worker_does_not_wait_for_a_thread_that_is_stuck_for_ever() {
    let server = setup("threaded", 3).set("graceful_timeout", 600).start();
    let mut stuck = [server.client(), server.client()];
    let victim = stuck[0].worker();
    for client in &mut stuck {
        client.send_get("/wait").expect("a request");
    }
    for client in &mut stuck {
        assert_eq!(client.answer().expect("an answer in the host's name").status, 504);
    }
    server.wait_replaced(&[victim], 1);
    wait_until("the old worker has left", || support::process::is_dead(victim).then_some(()));
    assert_eq!(server.count_log("leaving at once"), 1);
}

#[test]
fn a_worker_whose_threads_are_all_stuck_leaves_at_once() {
    let server = setup("threaded", 3).set("graceful_timeout", 600).start();
    let mut stuck = [server.client(), server.client(), server.client()];
    let victim = stuck[0].worker();
    for client in &mut stuck {
        client.send_get("/wait").expect("a request");
    }
    for client in &mut stuck {
        assert_eq!(client.answer().expect("an answer in the host's name").status, 504);
    }
    server.wait_replaced(&[victim], 1);
    wait_until("the old worker has left", || support::process::is_dead(victim).then_some(()));
    server.wait_for_log("exited with code 124", 1);
}
