//! What an application does wrong costs one request, never the worker, and never a corrupt stream.
mod support;

use support::{Broken, Client, Server, Setup};

/// A mistake, asked for on a kept-alive connection of a server with one worker.
fn provoke(server: &Server, target: &str) -> (support::Answer, Client) {
    let mut client = server.client();
    assert_eq!(client.get("/").expect("a first request").status, 200);
    let answer = client.get(target);
    (answer, client)
}

fn assert_alive(server: &Server, workers: &[nix::unistd::Pid], scenario: &str) {
    assert_eq!(server.get("/").status, 200, "{scenario}");
    assert_eq!(server.workers(), workers, "{scenario}: the worker is the same");
}

#[test]
fn a_panic_is_a_500_and_a_line_with_its_message_and_place() {
    for class in ["sync", "threaded"] {
        let server = Setup::new().set("worker_class", class).set("threads", 4).start();
        let workers = server.workers();
        for count in 1..=20 {
            let (answer, _) = provoke(&server, "/panic");
            assert_eq!(answer.unwrap_or_else(|broken| panic!("{class}: {broken}")).status, 500, "{class}");
            server.wait_for_log("the request asked for a panic, at ", count);
        }
        let log = server.log();
        let line =
            log.lines().find(|line| line.contains("the request asked for a panic, at ")).expect("the line");
        assert!(line.contains("[ERROR]"), "{line}");
        assert!(line.contains(".rs:"), "the line names the place: {line}");
        assert_alive(&server, &workers, class);
    }
}

#[test]
fn an_error_of_the_application_is_a_500_with_the_error_in_the_log_alone() {
    let server = Server::with_workers(1);
    let workers = server.workers();
    let (answer, _) = provoke(&server, "/error");
    let response = answer.expect("an answer");
    assert_eq!(response.status, 500);
    assert!(!response.text().contains("asked for"), "the client learns nothing: {}", response.text());
    server.wait_for_log("the request asked for an error", 1);
    assert_alive(&server, &workers, "an error");
}

#[test]
fn a_response_that_cannot_be_sent_is_a_500_with_a_line_and_nothing_of_it_is_sent() {
    let server = Server::with_workers(1);
    let workers = server.workers();
    for target in
        ["/status/99", "/status/1000", "/crlf", "/bad-name", "/never", "/bad-status", "/bad-descriptor"]
    {
        let before = server.count_log("[ERROR]");
        let (answer, mut client) = provoke(&server, target);
        let response = answer.unwrap_or_else(|broken| panic!("{target}: {broken}"));
        assert_eq!(response.status, 500, "{target}");
        assert_eq!(response.field("x-injected"), None, "{target}");
        client.assert_quiet(target);
        server.wait_for_log("[ERROR]", before + 1);
        assert_alive(&server, &workers, target);
    }
}

#[test]
fn a_body_shorter_than_its_length_ends_the_connection_with_a_line() {
    let server = Server::with_workers(1);
    let workers = server.workers();
    let (answer, _) = provoke(&server, "/stream-short");
    assert_eq!(answer.expect_err("a body that is too short cannot look whole"), Broken::Cut);
    server.wait_for_log("[ERROR]", 1);
    assert_alive(&server, &workers, "a short body");
}

#[test]
fn a_body_longer_than_its_length_never_runs_into_the_next_response() {
    let server = Server::with_workers(1);
    let workers = server.workers();
    let (answer, mut client) = provoke(&server, "/stream-long");
    match answer {
        Ok(response) => {
            assert_eq!(response.body.len().to_string(), response.field("content-length").unwrap_or("?"))
        }
        Err(broken) => assert!(matches!(broken, Broken::Cut | Broken::Closed), "{broken}"),
    }
    client.assert_quiet("after a body that was too long");
    server.wait_for_log("[ERROR]", 1);
    assert_alive(&server, &workers, "a long body");
}

#[test]
fn a_second_answer_is_refused_and_the_first_one_stands() {
    let server = Server::with_workers(1);
    let workers = server.workers();
    let (answer, mut client) = provoke(&server, "/twice");
    assert_eq!(answer.expect("the first answer").status, 200);
    client.assert_quiet("after an answer that was given twice");
    assert_alive(&server, &workers, "two answers");
}

#[test]
fn a_panic_within_a_stream_cuts_it_and_does_not_end_it_as_if_it_were_whole() {
    let server = Server::with_workers(1);
    let workers = server.workers();
    let (answer, _) = provoke(&server, "/stream-panic");
    assert!(answer.is_err(), "a stream that broke looks whole: {answer:?}");
    assert_alive(&server, &workers, "a panic in a stream");
}

#[test]
fn an_unread_body_is_never_taken_for_the_next_request() {
    let server = Server::with_workers(1);
    let mut client = server.client();
    // `/unread` does not read its body, which looks like a request.
    let body = "GET /panic HTTP/1.1\r\nHost: a\r\n\r\n";
    client
        .send(format!("POST /unread HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{body}", body.len()))
        .expect("a request");
    let first = client.answer().expect("the answer");
    if !first.closes() {
        assert_eq!(client.get("/").expect("the connection goes on").status, 200);
    }
    client.assert_quiet("after a body that nobody read");
    assert_eq!(server.count_log("asked for a panic"), 0);
}

#[test]
fn an_application_that_closes_descriptors_that_are_not_its_own_costs_a_worker_at_most() {
    let server = Setup::new().set("workers", 2).set("timeout", 2).start();
    // Whatever this request sees: the service goes on.
    let worker = server.workers()[0];
    let epoll = server.fds(worker).into_iter().find(|(_, what)| what.contains("eventpoll"));
    let (number, _) = epoll.expect("a worker polls");
    let _ = server.try_get(&format!("/close-fd/{number}"));
    support::wait_until("two requests in a row are answered", || {
        (server.try_get("/").is_ok_and(|r| r.status == 200)
            && server.try_get("/").is_ok_and(|r| r.status == 200))
        .then_some(())
    });
}
