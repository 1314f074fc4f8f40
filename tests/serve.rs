//! HTTP as a client meets it: connections, bodies, framing, limits and time limits of the head. Not the strictness of
//! the parser, which has a corpus of raw requests of its own.
mod support;

use std::time::{Duration, SystemTime};

use support::{Broken, Client, Server, Setup, wait_until};

/// Both worker classes promise the same here.
fn in_each_class(configure: impl Fn(Setup) -> Setup, check: impl Fn(&str, &Server)) {
    for (class, threads) in [("sync", 1), ("threaded", 4)] {
        let setup = Setup::new().set("worker_class", class).set("threads", threads);
        check(class, &configure(setup).start());
    }
}

/// What `/stream/1000` sends.
fn thousand_lines() -> String {
    (0..1000).map(|number| format!("line {number}\n")).collect()
}

fn ask(client: &mut Client, bytes: &str) -> support::Response {
    client.send(bytes).expect("the server takes a request");
    client.answer().unwrap_or_else(|broken| panic!("{bytes:?}: {broken}"))
}

#[test]
fn a_kept_alive_connection_serves_many_requests() {
    in_each_class(
        |setup| setup,
        |class, server| {
            let mut client = server.client();
            for number in 0..100 {
                let response =
                    client.get("/").unwrap_or_else(|broken| panic!("{class}, request {number}: {broken}"));
                assert_eq!(response.status, 200, "{class}, request {number}");
                assert!(!response.closes(), "{class}, request {number}: the connection was to stay");
            }
            client.assert_quiet(class);
        },
    );
}

#[test]
fn pipelined_requests_are_answered_in_their_order() {
    in_each_class(
        |setup| setup,
        |class, server| {
            let mut client = server.client();
            let bodies: Vec<String> = (0..50).map(|number| format!("body {number}")).collect();
            let requests: String = bodies
                .iter()
                .map(|body| {
                    format!("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{body}", body.len())
                })
                .collect();
            client.send(&requests).expect("the server takes pipelined requests");
            for body in &bodies {
                let response = client.answer().unwrap_or_else(|broken| panic!("{class}, {body}: {broken}"));
                assert_eq!((response.status, &response.text()), (200, body), "{class}");
            }
            client.assert_quiet(class);
        },
    );
}

#[test]
fn a_request_that_comes_byte_by_byte_is_answered() {
    let server = Server::with_workers(1);
    let mut client = server.client();
    for byte in b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc" {
        client.send([*byte]).expect("the server takes a byte");
    }
    assert_eq!(client.answer().expect("a slow writer is answered").text(), "abc");
}

#[test]
fn a_body_with_a_length_comes_back_whole_whatever_its_size() {
    in_each_class(
        |setup| setup,
        |class, server| {
            let mut client = server.client();
            for size in [0, 1, 1_000, 70_000, 3_000_000] {
                let body: Vec<u8> = (0..size).map(|at: u32| at.to_le_bytes()[0]).collect();
                // The whole body is sent before the answer is read, so the application may not echo as it reads.
                let response =
                    client.post("/echo", &body).unwrap_or_else(|broken| panic!("{class}, {size}: {broken}"));
                assert_eq!(response.status, 200, "{class}, {size} bytes");
                assert!(response.body == body, "{class}: {size} bytes came back different");
            }
        },
    );
}

#[test]
fn a_chunked_request_body_reaches_the_application_as_its_data_alone() {
    in_each_class(
        |setup| setup,
        |class, server| {
            let mut client = server.client();
            let response = ask(
                &mut client,
                "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n\
                 5\r\nHello\r\n7;x=y\r\n, World\r\n0\r\nX-Trailer: t\r\n\r\n",
            );
            assert_eq!(response.text(), "Hello, World", "{class}");
            assert_eq!(client.get("/").expect("the connection goes on").status, 200, "{class}");
        },
    );
}

#[test]
fn a_stream_of_unknown_length_is_chunked_and_the_connection_goes_on() {
    in_each_class(
        |setup| setup,
        |class, server| {
            let mut client = server.client();
            let response = client.get("/stream/1000").expect("a stream");
            assert_eq!(response.field("transfer-encoding"), Some("chunked"), "{class}");
            assert_eq!(response.text(), thousand_lines(), "{class}");
            assert_eq!(client.get("/").expect("the connection goes on").status, 200, "{class}");
        },
    );
}

#[test]
fn a_stream_of_unknown_length_to_http_1_0_ends_with_the_connection() {
    let server = Server::with_workers(1);
    let mut client = server.client();
    let response = ask(&mut client, "GET /stream/1000 HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    assert_eq!(response.field("transfer-encoding"), None);
    assert_eq!(response.text(), thousand_lines());
    client.assert_closed("a response without a length to HTTP/1.0");
}

#[test]
fn a_client_that_expects_100_continue_gets_it_before_it_sends_the_body() {
    in_each_class(
        |setup| setup,
        |class, server| {
            let mut client = server.client();
            let head = "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n";
            assert_eq!(ask(&mut client, head).status, 100, "{class}");
            assert_eq!(ask(&mut client, "body").text(), "body", "{class}");
        },
    );
}

#[test]
fn a_client_that_expects_100_continue_and_is_too_large_gets_only_413() {
    let server = Setup::new().set("limit_request_body", 10).start();
    let mut client = server.client();
    let head = "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 11\r\nExpect: 100-continue\r\n\r\n";
    assert_eq!(ask(&mut client, head).status, 413);
}

#[test]
fn head_has_the_length_of_get_and_no_body() {
    in_each_class(
        |setup| setup,
        |class, server| {
            let mut client = server.client();
            let length = client.get("/").expect("GET").field("content-length").map(str::to_owned);
            let head = client.head("/").expect("HEAD");
            assert_eq!(head.field("content-length").map(str::to_owned), length, "{class}");
            assert!(length.is_some(), "{class}: GET / has a length");
            assert_eq!(client.get("/").expect("nothing of a body is in the way").status, 200, "{class}");
        },
    );
}

#[test]
fn responses_204_and_304_have_no_body_and_keep_the_connection() {
    let server = Server::with_workers(1);
    let mut client = server.client();
    for status in [204, 304] {
        let response = client.get(&format!("/status/{status}")).expect("a response without a body");
        assert_eq!(response.status, status);
        client.assert_quiet("after a status without a body");
    }
    assert_eq!(client.get("/").expect("the connection goes on").status, 200);
}

#[test]
fn http_1_0_closes_unless_it_asks_to_be_kept() {
    let server = Server::with_workers(1);
    let mut closing = server.client();
    let response = ask(&mut closing, "GET / HTTP/1.0\r\n\r\n");
    assert!(response.closes(), "{:?}", response.fields);
    closing.assert_closed("HTTP/1.0");

    let mut kept = server.client();
    for _ in 0..3 {
        let response = ask(&mut kept, "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
        assert_eq!(response.field("connection").map(str::to_ascii_lowercase).as_deref(), Some("keep-alive"));
    }
}

#[test]
fn a_client_that_asks_to_close_is_told_and_closed() {
    in_each_class(
        |setup| setup,
        |class, server| {
            let mut client = server.client();
            let response = client.last_get("/").expect("a last request");
            assert_eq!(response.field("connection"), Some("close"), "{class}");
            client.assert_closed(class);
        },
    );
}

#[test]
fn every_response_has_a_date_and_the_server_s_name() {
    let server = Setup::new().set("limit_request_line", 100).start();
    for target in ["/".to_owned(), "/status/404".to_owned(), format!("/{}", "long".repeat(100))] {
        let response = server.get(&target);
        let date = response.field("date").unwrap_or_else(|| panic!("{target}: no Date"));
        assert!(httpdate::parse_http_date(date).is_ok(), "{target}: Date: {date}");
        assert_eq!(response.field("server"), Some("unirs"), "{target}");
    }
}

#[test]
fn the_date_is_that_of_the_answer_and_not_of_the_call() {
    in_each_class(
        |setup| setup,
        |class, server| {
            let start = SystemTime::now();
            let response = server.get("/sleep/2100");
            let date = httpdate::parse_http_date(response.field("date").expect("a Date")).expect("a date");
            assert!(date > start + Duration::from_secs(1), "{class}: called at {start:?}, {date:?}");
        },
    );
}

#[test]
fn the_server_s_name_is_a_setting_that_a_reload_changes_and_the_empty_one_is_not_sent() {
    let mut server = Setup::new().set("server_header", "shop/2").start();
    for name in [Some("shop/2"), None, Some("another")] {
        server.configure(|config| config.set("server_header", name.unwrap_or_default()));
        server.reload(1);
        assert_eq!(server.get("/").field("server"), name, "of an answer of the application");
        assert_eq!(server.get("/panic").field("server"), name, "of a 500 of the server's own");
        let refused = ask(&mut server.client(), "GET / HTTP/1.1\r\n\r\n");
        assert_eq!((refused.status, refused.field("server")), (400, name), "of a refusal");
    }
}

#[test]
fn keepalive_zero_closes_after_each_response() {
    let server = Setup::new().set("keepalive", 0).start();
    let mut client = server.client();
    assert!(client.get("/").expect("a response").closes());
    client.assert_closed("keepalive = 0");
}

#[test]
fn an_idle_connection_is_closed_after_keepalive_without_a_word() {
    let server = Setup::new().set("keepalive", 1).start();
    let mut client = server.client();
    assert!(!client.get("/").expect("a response").closes());
    client.assert_closed("an idle connection after its keepalive");
}

#[test]
fn a_request_line_over_its_limit_is_414() {
    let server = Setup::new().set("limit_request_line", 200).start();
    let response = server.get(&format!("/{}", "x".repeat(300)));
    assert_eq!(response.status, 414);
    assert!(response.closes());
}

#[test]
fn too_many_fields_and_a_field_too_long_are_431() {
    let server = Setup::new().set("limit_request_fields", 10).set("limit_request_field_size", 100).start();
    let many = "X-A: b\r\n".repeat(11);
    let long = format!("X-A: {}\r\n", "b".repeat(200));
    for fields in [many, long] {
        let response = ask(&mut server.client(), &format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n"));
        assert_eq!(response.status, 431, "{fields}");
        assert!(response.closes());
    }
}

#[test]
fn trailers_and_chunk_lines_have_the_limits_of_a_head() {
    let server = Setup::new().set("limit_request_fields", 3).set("limit_request_field_size", 100).start();
    let head = "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    let long = "x".repeat(100);
    for (rest, status) in [
        (format!("0\r\n{}\r\n", "X-A: b\r\n".repeat(3)), 200),
        (format!("0\r\n{}\r\n", "X-A: b\r\n".repeat(4)), 431),
        (format!("0\r\nX-A: {long}\r\n\r\n"), 431),
        (format!("0;a={long}\r\n\r\n"), 400),
    ] {
        let response = ask(&mut server.client(), &format!("{head}{rest}"));
        assert_eq!(response.status, status, "{rest}");
    }
}

#[test]
fn a_head_that_never_ends_is_431_and_not_kept_in_memory() {
    let server = Setup::new().set("limit_request_fields", 30_000).set("limit_request_field_size", 0).start();
    let mut client = server.client();
    // The server may close while this is still being sent.
    let _ = client.send(format!("GET / HTTP/1.1\r\nHost: a\r\nX-A: {}", "b".repeat(200_000)));
    match client.answer() {
        Ok(response) => assert_eq!(response.status, 431),
        Err(broken) => panic!("a head of 200 kB: {broken}"),
    }
}

#[test]
fn a_413_can_be_read_while_the_client_still_sends() {
    in_each_class(
        |setup| setup.set("limit_request_body", 1_000),
        |class, server| {
            let mut client = server.client();
            let body = vec![b'x'; 200_000];
            let response = client.post("/echo", &body).unwrap_or_else(|broken| panic!("{class}: {broken}"));
            assert_eq!(response.status, 413, "{class}");
            assert!(response.closes(), "{class}");
        },
    );
}

#[test]
fn a_chunked_body_over_its_limit_is_413_too() {
    let server = Setup::new().set("limit_request_body", 1_000).start();
    let mut client = server.client();
    client.send("POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n").expect("a head");
    client.send(format!("800\r\n{}\r\n0\r\n\r\n", "x".repeat(0x800))).expect("a chunk");
    assert_eq!(client.answer().expect("an answer").status, 413);
}

#[test]
fn a_head_that_does_not_come_in_time_is_408() {
    in_each_class(
        |setup| setup.set("header_timeout", "500ms"),
        |class, server| {
            let mut client = server.client();
            client.send("GET / HTTP/1.1\r\nHost: a\r\n").expect("half a head");
            assert_eq!(
                client.answer().unwrap_or_else(|broken| panic!("{class}: {broken}")).status,
                408,
                "{class}"
            );
            client.assert_closed(class);
        },
    );
}

#[test]
fn a_body_that_stops_coming_ends_the_request_and_not_the_worker() {
    let server = Setup::new().set("body_timeout", "500ms").start();
    let workers = server.workers();
    let mut client = server.client();
    client.send("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhalf").expect("half a body");
    match client.answer() {
        Ok(response) => assert_eq!(response.status, 408, "a body that stops"),
        Err(broken) => assert_eq!(broken, Broken::Closed, "a body that stops"),
    }
    assert_eq!(server.get("/").status, 200);
    assert_eq!(server.workers(), workers, "the worker is the same");
}

#[test]
fn a_client_that_does_not_read_is_dropped_after_write_timeout_and_holds_nobody() {
    in_each_class(
        |setup| setup.set("workers", 2).set("write_timeout", "1s"),
        |class, server| {
            let mut deaf = server.client();
            let worker = deaf.worker();
            let before = server.fds(worker).len();
            deaf.send("GET /stream-for-ever HTTP/1.1\r\nHost: a\r\n\r\n").expect("a request");
            assert_eq!(server.get("/").status, 200, "{class}");
            wait_until(format_args!("{class}: the deaf client's connection is closed"), || {
                (server.fds(worker).len() < before).then_some(())
            });
            assert!(deaf.answer().is_err(), "{class}: a stream without an end cannot be whole");
        },
    );
}

#[test]
fn a_client_that_ends_its_sending_side_still_gets_its_answer() {
    let server = Server::with_workers(1);
    let mut client = server.client();
    client.send("GET /sleep/200 HTTP/1.1\r\nHost: a\r\n\r\n").expect("a request");
    client.finish_sending();
    assert_eq!(client.answer().expect("the answer to a half-closed client").status, 200);
}

#[test]
fn a_client_that_leaves_without_a_word_harms_nobody() {
    in_each_class(
        |setup| setup,
        |class, server| {
            let workers = server.workers();
            for request in ["", "GET / HT", "GET /stream-for-ever HTTP/1.1\r\nHost: a\r\n\r\n"] {
                for _ in 0..20 {
                    server.client().send(request).expect("a few bytes");
                }
            }
            assert_eq!(server.get("/").status, 200, "{class}");
            assert_eq!(server.workers(), workers, "{class}: the worker is the same");
        },
    );
}

#[test]
fn a_big_file_comes_whole_and_its_connection_goes_on() {
    let bytes: Vec<u8> = (0..5_000_000_u32).map(|at| at.to_le_bytes()[0]).collect();
    in_each_class(
        |setup| {
            let folder = setup.dir().join("www");
            std::fs::create_dir(&folder).expect("a folder");
            std::fs::write(folder.join("big.bin"), &bytes).expect("a file");
            let root = folder.to_str().expect("test paths are UTF-8").to_owned();
            setup.configure(|config| config.builtin("static").app("root", root))
        },
        |class, server| {
            let mut client = server.client();
            for _ in 0..3 {
                let response = client.get("/big.bin").unwrap_or_else(|broken| panic!("{class}: {broken}"));
                assert_eq!(response.body.len(), 5_000_000, "{class}");
                assert!(response.body == bytes, "{class}: what came is not the file");
            }
            let head = client.head("/big.bin").expect("HEAD of a file");
            assert_eq!(head.field("content-length"), Some("5000000"), "{class}");
        },
    );
}

#[test]
fn thread_workers_serve_slow_calls_side_by_side() {
    let server = Setup::new().set("worker_class", "threaded").set("threads", 8).start();
    let mut slow: Vec<Client> = (0..7).map(|_| server.client()).collect();
    for (number, client) in slow.iter_mut().enumerate() {
        server.hold(client, &format!("call-{number}"));
    }
    let mut quick = server.client();
    assert_eq!(quick.get("/").expect("the eighth thread is free").status, 200);
    for (number, client) in slow.iter_mut().enumerate() {
        server.release(&format!("call-{number}"));
        assert_eq!(client.answer().expect("a slow call ends").status, 200);
    }
}

#[test]
fn a_busy_worker_leaves_new_connections_to_an_idle_one() {
    let server = Server::with_workers(2);
    let mut stuck = server.client();
    server.hold(&mut stuck, "a-call");
    for _ in 0..20 {
        assert_eq!(server.get("/").status, 200);
    }
    server.release("a-call");
    assert_eq!(stuck.answer().expect("the slow call ends").status, 200);
}

#[test]
fn worker_connections_bounds_what_a_worker_accepts() {
    let server = Setup::new().set("worker_connections", 10).start();
    let mut idle: Vec<Client> = Vec::new();
    for _ in 0..10 {
        let mut client = server.client();
        assert_eq!(client.get("/").expect("within the limit").status, 200);
        idle.push(client);
    }
    let mut waiting = server.client();
    waiting.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").expect("the kernel takes it");
    idle.clear();
    let status =
        wait_until("a connection over the limit is served when others have gone", || waiting.answer().ok());
    assert_eq!(status.status, 200);
}
