//! What the server answers in its own name, and what it takes before it does: the pages, and that a client can read
//! them whatever it is sending.
mod support;

use support::{Broken, Client, Response, Server, Setup};

fn in_each_class(configure: impl Fn(Setup) -> Setup, check: impl Fn(&str, &Server)) {
    for (class, threads) in [("sync", 1), ("threaded", 4)] {
        let setup = Setup::new().set("worker_class", class).set("threads", threads);
        check(class, &configure(setup).start());
    }
}

fn ask(client: &mut Client, bytes: impl AsRef<[u8]>) -> Response {
    client.send(bytes).expect("the server takes a request");
    client.answer().expect("an answer")
}

/// Would run in a browser, if a page showed it as it came.
const MARK: &str = "<script>mark()</script>";

#[test]
fn every_page_of_the_server_s_own_is_short_and_dated_and_closes_and_shows_nothing_of_the_request() {
    let setup = || Setup::new().set("limit_request_body", 1_000);
    // Whoever is not to be late has all the time that a busy machine needs.
    let patient = setup().start();
    let hasty = setup().set("header_timeout", "500ms").set("body_timeout", "500ms").start();
    let mark = MARK.replace(['<', '>'], "%");
    let long = "x".repeat(9_000);
    for (status, request) in [
        (400, format!("GET /{MARK} {MARK}\r\n\r\n")),
        (400, format!("GET / HTTP/1.1\r\nHost: {MARK}\r\n\r\n")),
        (400, format!("GET / HTTP/1.1\r\nHost: a\r\n{MARK}: b\r\n\r\n")),
        (408, format!("GET / HTTP/1.1\r\nX: {MARK}\r\n")),
        (408, format!("POST /echo HTTP/1.1\r\nHost: a\r\nX: {MARK}\r\nContent-Length: 99\r\n\r\n{MARK}")),
        (413, format!("POST /echo HTTP/1.1\r\nHost: a\r\nX: {MARK}\r\nContent-Length: 1001\r\n\r\n")),
        (414, format!("GET /{mark}{long} HTTP/1.1\r\nHost: a\r\n\r\n")),
        (417, format!("GET / HTTP/1.1\r\nHost: a\r\nExpect: {MARK}\r\n\r\n")),
        (421, format!("GET https://a/{mark} HTTP/1.1\r\nHost: a\r\n\r\n")),
        (431, format!("GET / HTTP/1.1\r\nHost: a\r\nX: {MARK}{long}\r\n\r\n")),
        (500, format!("GET /never?{mark} HTTP/1.1\r\nHost: a\r\nX: {MARK}\r\n\r\n")),
        (500, format!("GET /crlf?{mark} HTTP/1.1\r\nHost: a\r\nX: {MARK}\r\n\r\n")),
        (501, format!("CONNECT {mark}:1 HTTP/1.1\r\nHost: a\r\n\r\n")),
        (501, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: script, chunked\r\n\r\n".to_owned()),
        (505, format!("GET /{mark} HTTP/2.0\r\nHost: a\r\n\r\n")),
    ] {
        let mut client = if status == 408 { hasty.client() } else { patient.client() };
        let page = ask(&mut client, &request);
        let shown = format!("{request:.80}: {page:?}");
        assert_eq!(page.status, status, "{shown}");
        assert!(page.closes() && page.field("connection") == Some("close"), "{shown}");
        assert!(page.field("date").is_some() && page.field("server") == Some("unirs"), "{shown}");
        assert_eq!(page.field("content-type"), Some("text/html; charset=utf-8"), "{shown}");
        assert!(page.body.len() < 500 && page.text().contains(&status.to_string()), "{shown}");
        assert!(!page.text().contains("script") && !page.reason.contains("script"), "{shown}");
        client.assert_closed(&shown);
    }
    assert_eq!(patient.get("/").status, 200, "the worker is well");
}

#[test]
fn a_refusal_has_the_version_of_the_client_and_no_body_for_head() {
    let server = Server::with_workers(1);
    let mut client = server.client();
    let page = ask(&mut client, "GET / HTTP/1.0\r\nHost: a b\r\n\r\n");
    assert_eq!((page.status, page.version), (400, 10));
    let mut client = server.client();
    client.send("HEAD / HTTP/1.1\r\nX: no host\r\n\r\n").expect("a request");
    assert_eq!(client.answer_to_head().expect("a page's head").status, 400);
    client.assert_closed("a page for HEAD has no body");
}

#[test]
fn a_413_is_read_by_a_client_that_sends_20_mb_before_it_looks() {
    in_each_class(
        |setup| setup.set("limit_request_body", 1_000),
        |class, server| {
            let response = server
                .client()
                .post("/echo", &vec![b'x'; 20_000_000])
                .unwrap_or_else(|b| panic!("{class}: {b}"));
            assert_eq!((response.status, response.closes()), (413, true), "{class}");
            assert_eq!(server.get("/").status, 200, "{class}");
        },
    );
}

#[test]
fn an_answer_without_reading_is_read_by_a_client_that_sends_20_mb_before_it_looks() {
    in_each_class(
        |setup| setup,
        |class, server| {
            let response = server
                .client()
                .post("/unread", &vec![b'x'; 20_000_000])
                .unwrap_or_else(|b| panic!("{class}: {b}"));
            assert_eq!((response.status, response.closes()), (200, true), "{class}");
        },
    );
}

#[test]
fn a_last_answer_is_not_destroyed_by_requests_that_are_on_their_way() {
    in_each_class(
        |setup| setup.set("keepalive", 0),
        |class, server| {
            let request = "GET /large/6000000 HTTP/1.1\r\nHost: a\r\n\r\n";
            let mut client = server.client();
            client.send(request).expect("a request");
            client.wait_for_bytes(1).expect("its answer begins");
            // More than the sockets hold is still to come, and the server has looked at no other request.
            client.send(request.repeat(3)).expect("requests that come too late");
            let response = client.answer().unwrap_or_else(|broken| panic!("{class}: {broken}"));
            assert_eq!((response.status, response.body.len()), (200, 6_000_000), "{class}");
            assert!(response.closes(), "{class}");
            assert_eq!(client.answer().expect_err("it was the last"), Broken::Closed, "{class}");
        },
    );
}

#[test]
fn hop_by_hop_fields_of_an_application_are_dropped_and_the_connection_goes_on() {
    let server = Server::with_workers(1);
    let mut client = server.client();
    for _ in 0..2 {
        let response = client.get("/hop-by-hop").expect("an answer");
        assert_eq!((response.text().as_str(), response.field("x-kept")), ("hopped\n", Some("yes")));
        for name in
            ["connection", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade"]
        {
            assert_eq!(response.field(name), None, "{name}: {:?}", response.fields);
        }
    }
}

#[test]
fn a_205_has_no_content_and_the_connection_goes_on() {
    let server = Server::with_workers(1);
    let mut client = server.client();
    let response = client.get("/status/205").expect("an answer");
    assert_eq!((response.status, response.field("content-length")), (205, Some("0")));
    assert_eq!(client.get("/").expect("the next one").status, 200);
}

#[test]
fn a_wrong_method_is_405_and_says_which_are_right() {
    let response = Server::with_workers(1).client().post("/", b"").expect("an answer");
    assert_eq!(response.status, 405);
    assert!(response.field("allow").is_some_and(|allow| allow.contains("GET")), "{:?}", response.fields);
}
