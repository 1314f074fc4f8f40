//! How the application answers.

use std::os::fd::IntoRawFd;

use super::*;
use crate::app::host::Refusal;

#[test]
fn a_whole_answer_reaches_the_host_as_slices() {
    let (result, host) = run(get("/"), |host, exchange| {
        let (fields, body) =
            ([field("content-type", "text/plain"), field("x", "")], [text("one "), NULL, text("two")]);
        let mut response = response(&fields, &body);
        (response.status, response.reason) = (418, text("Teapot"));
        ask!(host.respond(exchange, &response))
    });
    let reply = host.answer.unwrap();
    assert_eq!(
        (result, reply.status, reply.reason.as_str(), reply.text()),
        (code::OK, 418, "Teapot", "one two")
    );
    assert_eq!((reply.field("content-type"), reply.field("x")), (Some("text/plain"), Some("")));
}

#[test]
fn a_response_that_is_none_is_refused_before_the_host_sees_it() {
    let bad_name = abi::Field { name: abi::Bytes { data: ptr::null(), len: 3 }, ..field("", "") };
    let huge = abi::Bytes { data: c"".as_ptr().cast(), len: usize::MAX };
    type Change = fn(&mut abi::Response);
    let ways: [(&str, Change); 6] = [
        ("too short", |response| response.size -= 1),
        ("no size", |response| response.size = 0),
        ("a status beyond all numbers", |response| response.status = 70000),
        ("a reason that is nowhere", |response| response.reason.len = 1),
        ("fields that are nowhere", |response| (response.fields, response.field_count) = (ptr::null(), 1)),
        ("more pieces than memory", |response| response.body_count = usize::MAX / 2),
    ];
    for (what, change) in ways {
        let (result, host) = run(get("/"), move |host, exchange| {
            let mut response = response(&[], &[NULL]);
            change(&mut response);
            ask!(host.respond(exchange, &response))
        });
        assert_eq!((result, host.calls.len()), (code::INVALID, 0), "{what}");
    }
    let (results, host) = run(get("/"), move |host, exchange| {
        let odd = ptr::without_provenance(0x1001);
        [
            ask!(host.respond(exchange, ptr::null())),
            ask!(host.respond(exchange, odd)),
            ask!(host.respond(exchange, &response(&[bad_name], &[]))),
            ask!(host.respond(exchange, &response(&[], &[huge]))),
            ask!(host.begin(exchange, &response(&[bad_name], &[]), -1)),
            ask!(host.finish(exchange, &bad_name, 1)),
            ask!(host.early_hints(exchange, ptr::null(), 1)),
        ]
    });
    assert_eq!((results, host.calls.len()), ([code::INVALID; 7], 0));
}

#[test]
fn a_stream_is_begun_written_flushed_and_finished() {
    let (results, host) = run(get("/"), |host, exchange| {
        let hint = [field("link", "</a.css>")];
        [
            ask!(host.early_hints(exchange, hint.as_ptr(), 1)),
            ask!(host.begin(exchange, &response(&[], &[text("ignored")]), 5)),
            ask!(host.write(exchange, c"he".as_ptr().cast(), 2)),
            ask!(host.write(exchange, ptr::null(), 0)),
            ask!(host.flush(exchange)),
            ask!(host.write(exchange, c"llo".as_ptr().cast(), 3)),
            ask!(host.finish(exchange, [field("x-sum", "1")].as_ptr(), 1)),
        ]
    });
    let reply = host.answer.unwrap();
    assert_eq!(results, [code::OK; 7]);
    assert_eq!(host.calls, ["early_hints of 1", "begin", "write", "write", "flush", "write", "finish"]);
    assert_eq!((reply.text(), reply.length), ("hello", Some(5)));
    assert_eq!(reply.trailers, [("x-sum".to_owned(), "1".to_owned())]);
}

#[test]
fn a_stream_of_unknown_length_has_none_and_a_negative_one_is_refused() {
    let (result, host) = run(get("/"), |host, exchange| ask!(host.begin(exchange, &response(&[], &[]), -1)));
    assert_eq!((result, host.answer.unwrap().length), (code::OK, None));
    let (result, _) = run(get("/"), |host, exchange| ask!(host.begin(exchange, &response(&[], &[]), -2)));
    assert_eq!(result, code::INVALID);
}

#[test]
fn every_refusal_of_the_host_has_its_code() {
    let codes = [
        (Refusal::Gone, code::GONE),
        (Refusal::TimedOut, code::TIMED_OUT),
        (Refusal::Answered, code::ANSWERED),
        (Refusal::NotBegun, code::NOT_BEGUN),
        (Refusal::Invalid, code::INVALID),
        (Refusal::Length, code::LENGTH),
        (Refusal::Unsupported, code::UNSUPPORTED),
    ];
    for (refusal, number) in codes {
        let mut host = get("/");
        host.refusal = Some(refusal);
        let (result, _) = run(host, |host, exchange| ask!(host.respond(exchange, &response(&[], &[]))));
        assert_eq!(result, number);
    }
}

#[test]
fn a_file_is_sent_and_its_descriptor_closed() {
    let mut file = tempfile::tempfile().unwrap();
    std::io::Write::write_all(&mut file, b"0123456789").unwrap();
    let descriptor = file.into_raw_fd();
    let (result, host) = run(get("/"), move |host, exchange| {
        ask!(host.respond_file(exchange, &response(&[], &[]), descriptor, 2, 5))
    });
    let reply = host.answer.unwrap();
    assert_eq!((result, reply.text(), reply.is_file), (code::OK, "23456", true));
}

#[test]
fn a_descriptor_is_the_hosts_even_when_the_answer_is_refused() {
    let (reader, writer) = std::io::pipe().unwrap();
    let descriptor = writer.into_raw_fd();
    let (result, _) =
        run(get("/"), move |host, exchange| ask!(host.respond_file(exchange, ptr::null(), descriptor, 0, 0)));
    assert_eq!(result, code::INVALID);
    assert_eq!(std::io::read_to_string(reader).unwrap(), "", "the last writer is closed");
}

#[test]
fn a_number_that_is_no_descriptor_is_refused() {
    for descriptor in [-1, 1 << 20] {
        let (result, _) = run(get("/"), move |host, exchange| {
            ask!(host.respond_file(exchange, &response(&[], &[]), descriptor, 0, 0))
        });
        assert_eq!(result, code::INVALID);
    }
}
