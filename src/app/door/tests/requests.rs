//! What the application asks of the host about its request.

use super::*;
use crate::app::host::{ReadError, Refusal};

#[test]
fn the_application_reads_its_request_without_a_call() {
    let host = get("/a%20b?x=1").field("accept", "*/*");
    let (facts, _) = run(host, |_, exchange| {
        // SAFETY: the exchange of this call, and its request.
        let request = unsafe { &*(*exchange).request };
        // SAFETY: as many fields as it says.
        let fields = unsafe { sound(request.fields, request.field_count) }.unwrap();
        assert_eq!(request.size as usize, size_of::<abi::Request>());
        let fields: Vec<_> = fields.iter().map(|field| (seen(field.name), seen(field.value))).collect();
        let ports = [request.peer_port, request.connection_port, request.server_port, request.listener];
        let addresses = [request.peer_address, request.connection_address, request.server_address].map(seen);
        (seen(request.method), seen(request.raw_path), seen(request.query), fields, ports, addresses)
    });
    assert_eq!((facts.0.as_str(), facts.1.as_str(), facts.2.as_str()), ("GET", "/a%20b", "x=1"));
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    assert_eq!(facts.3, [pair("host", "example.org"), pair("accept", "*/*")]);
    assert_eq!(facts.4, [40000, 40001, 8000, 2]);
    assert_eq!(facts.5, ["192.0.2.7", "192.0.2.8", "192.0.2.9"]);
}

#[test]
fn a_missing_query_is_null_and_an_empty_one_is_not() {
    for (target, is_null) in [("/", true), ("/?", false)] {
        // SAFETY: the exchange of this call, and its request.
        let (found, _) =
            run(get(target), |_, exchange| unsafe { (*(*exchange).request).query.data.is_null() });
        assert_eq!(found, is_null, "{target}");
    }
}

#[test]
fn an_exchange_is_filled_anew_for_each_request() {
    let running = running(|_| ());
    let thread = running.thread_start(0).unwrap();
    let mut exchange = Exchange::new(get("/").field("a", "1").field("b", "2"));
    for count in [3, 1] {
        exchange.host.fields.truncate(count);
        // SAFETY: the exchange of this call, and its request.
        let answer =
            |_: &'static _, exchange: *mut abi::Exchange| unsafe { (*(*exchange).request).field_count };
        SCRIPT.set(Some(Box::new(
            move |host, exchange| {
                if answer(host, exchange) == count { 0 } else { -1 }
            },
        )));
        assert_eq!(running.call(&thread, &mut exchange), CallOutcome::Done);
    }
}

#[test]
fn the_host_tells_who_it_is() {
    let (host, _) = run(get("/"), |host, _| host);
    assert_eq!((host.size as usize, host.abi), (size_of::<abi::Host>(), 1));
    assert_eq!(seen(host.software), concat!("unirs/", env!("CARGO_PKG_VERSION")));
    assert_eq!(seen(host.config), r#"{"key": 1}"#);
    // SAFETY: lives as long as the process.
    let worker = unsafe { &*host.worker };
    assert_eq!(
        (worker.slot, worker.generation, worker.threads, worker.workers, worker.pid),
        (3, 7, 2, 4, 4711)
    );
}

#[test]
fn a_field_is_found_by_its_name_in_any_case() {
    let host = get("/").field("x-a", "first").field("x-a", "second");
    let ((found, missing, place), _) = run(host, |host, exchange| {
        let mut value = NULL;
        let found = ask!(host.field(exchange, c"X-A".as_ptr().cast(), 3, &mut value));
        let missing = ask!(host.field(exchange, c"x-b".as_ptr().cast(), 3, &mut NULL.clone()));
        let place = ask!(host.field(exchange, c"x-a".as_ptr().cast(), 3, ptr::null_mut()));
        ((found, seen(value)), missing, place)
    });
    assert_eq!((found, missing, place), ((1, "first".to_owned()), 0, code::INVALID));
}

#[test]
fn the_body_is_read_in_pieces_or_had_whole() {
    let host = FakeHost::new("POST", "/").body(b"abcde", true);
    let (seen, _) = run(host, |host, exchange| {
        let (mut buffer, mut whole) = ([0_u8; 3], NULL);
        let mut read = || ask!(host.read(exchange, buffer.as_mut_ptr(), 3, 1));
        let reads = [read(), read(), read()];
        let nothing = ask!(host.read(exchange, ptr::null_mut(), 0, 1));
        let nowhere = ask!(host.read(exchange, ptr::null_mut(), 1, 1));
        (reads, nothing, nowhere, ask!(host.body(exchange, &mut whole)), seen(whole))
    });
    assert_eq!(seen, ([3, 2, 0], 0, i64::from(code::INVALID), 1, "abcde".to_owned()));
    let host = FakeHost::new("POST", "/").body(b"abcde", false);
    let (found, _) = run(host, |host, exchange| ask!(host.body(exchange, &mut NULL.clone())));
    assert_eq!(found, 0);
}

#[test]
fn every_failure_of_reading_has_its_code() {
    let codes = [
        (ReadError::Gone, code::GONE),
        (ReadError::TooLarge, code::TOO_LARGE),
        (ReadError::TimedOut, code::TIMED_OUT),
        (ReadError::Malformed, code::MALFORMED),
    ];
    for (error, number) in codes {
        let mut host = get("/");
        host.read_error = Some(error);
        let (results, _) = run(host, |host, exchange| {
            let mut buffer = [0_u8; 8];
            [1, 0].map(|wait| ask!(host.read(exchange, buffer.as_mut_ptr(), 8, wait)))
        });
        assert_eq!(results, [number, code::WOULD_BLOCK].map(i64::from));
    }
}

#[test]
fn small_questions_are_answered() {
    let mut host = get("/");
    host.refusal = Some(Refusal::Gone);
    let (results, host) = run(host, |host, exchange| {
        let mut id = NULL;
        let results = [
            ask!(host.request_id(exchange, &mut id)),
            ask!(host.request_id(exchange, ptr::null_mut())),
            ask!(host.cancelled(exchange)),
            ask!(host.extend(exchange, 90)),
        ];
        (results, seen(id))
    });
    assert_eq!(results, ([code::OK, code::INVALID, 1, code::OK], "0123456789abcdef".to_owned()));
    assert_eq!(host.calls, ["extend by 90s"]);
}
