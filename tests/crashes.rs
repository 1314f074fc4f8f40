//! An application that ends its process in the middle of a request: what its client, the log and the other workers see.
mod support;

use support::{Broken, Client, Response, Server, Setup, wait_until};

/// Both classes, each with two workers and an access log.
fn in_each_class(check: impl Fn(&str, &Server)) {
    for (class, threads) in [("sync", 1), ("threaded", 3)] {
        let server = setup(class, threads).start();
        check(class, &server);
    }
}

fn setup(class: &str, threads: i64) -> Setup {
    let setup = Setup::new().set("worker_class", class).set("threads", threads).set("workers", 2);
    let library = support::compile(setup.dir(), "crashing.c");
    setup
        .set("accesslog", "access.log")
        .set("access_log_format", "%(m)s %(U)s %(s)s %(B)s")
        .configure(|config| config.library(&library))
}

/// Crashes the worker of a new connection, beside a connection to another worker, which has to stay as it is. Gives what the
/// client saw.
fn crash(server: &Server, target: &str) -> Result<Response, Broken> {
    let mut client = server.client();
    let victim = client.worker();
    let (mut neighbour, other) = neighbour(server, victim);
    let answer = client.get(target);
    server.wait_replaced(&[victim], 2);
    assert_eq!(neighbour.get("/").expect("the neighbour's connection").text(), other.to_string(), "{target}");
    assert!(server.workers().contains(&other), "{target}: the neighbour lives");
    wait_for_death(server, victim);
    answer
}

/// Waits for the line about a worker's end, which follows the record of its crash.
fn wait_for_death(server: &Server, victim: nix::unistd::Pid) {
    let name = format!("Worker (pid:{victim})");
    let is_its_end = |line: &str| line.contains(&name) && line.contains("requests served");
    wait_until(format_args!("the log says how {victim} ended"), || {
        server.log().lines().any(is_its_end).then_some(())
    });
}

fn neighbour(server: &Server, victim: nix::unistd::Pid) -> (Client, nix::unistd::Pid) {
    let mut others = Vec::new();
    wait_until("a connection to the other worker", || {
        let mut client = server.client();
        let pid = client.worker();
        if pid != victim {
            return Some((client, pid));
        }
        others.push(client);
        None
    })
}

/// Waits for the access line of a target.
fn access_line(server: &Server, path: &str) -> String {
    wait_until(format!("the access line of {path}"), || {
        let log = server.read("access.log");
        log.lines().find(|line| line.contains(&format!(" {path} "))).map(str::to_owned)
    })
}

#[test]
fn whoever_was_served_by_a_crash_is_answered_500_and_the_line_says_so() {
    in_each_class(|class, server| {
        let ways = [
            ("segv", "SIGSEGV"),
            ("jump", "SIGSEGV"),
            ("bus", "SIGBUS"),
            ("fpe", "SIGFPE"),
            ("ill", "SIGILL"),
            ("abort", "SIGABRT"),
            ("raise", "SIGSEGV"),
            ("overflow", "SIGSEGV"),
        ];
        for (number, (way, signal)) in ways.into_iter().enumerate() {
            let target = format!("/crash/{way}");
            let response = crash(server, &target).unwrap_or_else(|broken| panic!("{class} {way}: {broken}"));
            assert_eq!(response.status, 500, "{class} {way}");
            assert!(response.closes() && response.text().contains("500"), "{class} {way}");
            let line = access_line(server, &target);
            assert_eq!(line, format!("GET {target} 500 {}", response.body.len()), "{class} {way}");
            let deaths = server.log().lines().filter(|line| line.contains("was sent SIG")).count();
            assert_eq!(deaths, number + 1, "{class} {way}: one line for each death");
            let log = server.log();
            let last = log.lines().rfind(|line| line.contains("was sent SIG")).expect("the line");
            assert!(last.contains(signal), "{class} {way}: {last}");
        }
    });
}

#[test]
fn whoever_was_served_by_an_exit_is_answered_500_and_the_exit_goes_on() {
    in_each_class(|class, server| {
        for code in [0, 7] {
            let target = format!("/crash/exit{code}");
            let response = crash(server, &target).unwrap_or_else(|broken| panic!("{class}: {broken}"));
            assert_eq!(response.status, 500, "{class}");
            assert!(access_line(server, &target).contains(" 500 "), "{class}");
            assert_eq!(server.count_log(&format!("exited with code {code}")), 1, "{class}");
        }
    });
}

#[test]
fn an_answer_that_has_begun_is_cut_and_not_spoiled() {
    in_each_class(|class, server| {
        let broken = crash(server, "/streaming").expect_err("half an answer");
        let seen = broken.to_string();
        assert!(!seen.contains("500"), "{class}: {seen}");
        assert_eq!(access_line(server, "/streaming"), "GET /streaming 200 4", "{class}");
    });
}

#[test]
fn half_an_answer_that_ends_with_its_connection_does_not_look_whole() {
    in_each_class(|class, server| {
        let mut client = server.client();
        client.send("GET /streaming HTTP/1.0\r\nHost: a\r\n\r\n").expect("a request");
        let answer = client.answer();
        assert!(answer.is_err(), "{class}: {answer:?}");
    });
}

#[test]
fn an_answer_that_was_whole_before_the_crash_is_sent() {
    in_each_class(|class, server| {
        let response = crash(server, "/answered").unwrap_or_else(|broken| panic!("{class}: {broken}"));
        assert_eq!((response.status, response.text()), (201, "in time".to_owned()), "{class}");
        assert_eq!(access_line(server, "/answered"), "GET /answered 201 7", "{class}");
    });
}

#[test]
fn a_crash_of_the_host_in_the_applications_memory_is_answered_500() {
    in_each_class(|class, server| {
        let response = crash(server, "/bad-body").unwrap_or_else(|broken| panic!("{class}: {broken}"));
        assert_eq!(response.status, 500, "{class}");
    });
}

#[test]
fn a_crash_on_a_thread_of_the_applications_own_ends_the_worker_without_an_answer() {
    in_each_class(|class, server| {
        let answer = crash(server, "/crash/elsewhere");
        assert!(answer.is_err(), "{class}: nobody answers for another thread");
        assert_eq!(server.count_log("was sent SIGSEGV"), 1, "{class}");
    });
}

#[test]
fn an_application_in_rust_that_aborts_is_a_crash_like_any_other() {
    let server = Setup::new().set("workers", 2).start();
    for target in ["/abort", "/segv"] {
        let mut client = server.client();
        let victim = client.worker();
        assert_eq!(client.get(target).unwrap_or_else(|broken| panic!("{target}: {broken}")).status, 500);
        server.wait_replaced(&[victim], 2);
    }
}

#[test]
fn a_body_that_was_not_read_does_not_destroy_the_500() {
    in_each_class(|class, server| {
        let mut client = server.client();
        client
            .send(format!(
                "POST /crash/segv HTTP/1.1\r\nHost: a\r\nContent-Length: 60000\r\n\r\n{}",
                "x".repeat(60_000)
            ))
            .expect("a request");
        let answer = client.answer().unwrap_or_else(|broken| panic!("{class}: {broken}"));
        assert_eq!(answer.status, 500, "{class}");
    });
}

#[test]
fn lines_of_answers_before_the_crash_are_not_lost() {
    let server = setup("sync", 1).set("workers", 1).start();
    let mut client = server.client();
    let pipelined = "GET /first HTTP/1.1\r\nHost: a\r\n\r\nGET /crash/segv HTTP/1.1\r\nHost: a\r\n\r\n";
    client.send(pipelined).expect("two requests");
    assert_eq!(client.answer().expect("the first answer").status, 200);
    assert_eq!(client.answer().expect("the second answer").status, 500);
    assert!(access_line(&server, "/first").starts_with("GET /first 200 "));
    assert!(access_line(&server, "/crash/segv").contains(" 500 "));
}

#[test]
fn a_worker_that_comes_of_a_mold_speaks_too() {
    let server = setup("threaded", 2).set("preload_app", true).start();
    let response = crash(&server, "/crash/segv").unwrap_or_else(|broken| panic!("{broken}"));
    assert_eq!(response.status, 500);
    assert_eq!(access_line(&server, "/crash/segv"), format!("GET /crash/segv 500 {}", response.body.len()));
    let response = crash(&server, "/crash/exit7").unwrap_or_else(|broken| panic!("{broken}"));
    assert_eq!(response.status, 500);
}
