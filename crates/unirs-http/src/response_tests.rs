//! Tests of what is sent: sentences first, properties after them.

use proptest::prelude::*;

use super::*;

type Fields<'a> = Vec<(&'a [u8], &'a [u8])>;

fn fields<'a>(pairs: &[(&'a str, &'a str)]) -> Fields<'a> {
    pairs.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())).collect()
}

fn head(date: &Date) -> ResponseHead<'_> {
    ResponseHead {
        version: Version::Http11,
        status: 200,
        reason: b"",
        body: BodyFraming::None,
        connection: Connection::KeepAlive,
        date,
        server: Some(&ServerField::UNIRS),
    }
}

fn encoded(head: &ResponseHead<'_>, pairs: &[(&str, &str)]) -> Result<String, BadResponse> {
    let mut out = b"before".to_vec();
    let result = encode_head(&mut out, head, fields(pairs).into_iter());
    let text = String::from_utf8(out).expect("text went in").split_off(6);
    assert!(result.is_ok() || text.is_empty(), "a refused head leaves nothing");
    result.map(|()| text)
}

const DATE: &str = "Date: Thu, 01 Jan 1970 00:00:00 GMT\r\n";

#[test]
fn the_framing_is_said_as_the_host_decided() {
    let date = Date::at(0);
    for (version, body, connection, lines) in [
        (Version::Http11, BodyFraming::Length(7), Connection::KeepAlive, "Content-Length: 7\r\n"),
        (
            Version::Http11,
            BodyFraming::Chunked,
            Connection::Close,
            "Connection: close\r\nTransfer-Encoding: chunked\r\n",
        ),
        (
            Version::Http10,
            BodyFraming::Length(0),
            Connection::KeepAlive,
            "Connection: keep-alive\r\nContent-Length: 0\r\n",
        ),
        (Version::Http10, BodyFraming::UntilClose, Connection::Close, "Connection: close\r\n"),
    ] {
        let head = ResponseHead { version, body, connection, ..head(&date) };
        let expected = format!("{} 200 OK\r\nServer: unirs\r\n{DATE}{lines}\r\n", version.as_str());
        assert_eq!(encoded(&head, &[]), Ok(expected));
    }
}

#[test]
fn interim_and_204_never_say_a_length() {
    let date = Date::at(0);
    for body in [BodyFraming::Length(3), BodyFraming::Chunked, BodyFraming::None] {
        let head = ResponseHead { status: 204, body, ..head(&date) };
        let expected = format!("HTTP/1.1 204 No Content\r\nServer: unirs\r\n{DATE}\r\n");
        assert_eq!(encoded(&head, &[]), Ok(expected));
    }
}

#[test]
fn an_applications_server_and_date_replace_the_hosts() {
    let date = Date::at(0);
    let own = encoded(&head(&date), &[("a", "b"), ("server", "mine"), ("dAtE", "then")]);
    assert_eq!(own.as_deref(), Ok("HTTP/1.1 200 OK\r\na: b\r\nserver: mine\r\ndAtE: then\r\n\r\n"));
    let own = encoded(&head(&date), &[("Server", "mine")]);
    assert_eq!(own, Ok(format!("HTTP/1.1 200 OK\r\n{DATE}Server: mine\r\n\r\n")));
}

#[test]
fn an_applications_hop_by_hop_fields_and_length_are_dropped() {
    let date = Date::at(0);
    let dropped = [
        "Connection",
        "Keep-Alive",
        "Proxy-Connection",
        "TE",
        "Trailer",
        "Transfer-Encoding",
        "Upgrade",
        "Content-Length",
        "content-length",
    ];
    for name in dropped {
        let head = ResponseHead { server: None, ..head(&date) };
        assert_eq!(encoded(&head, &[(name, "x")]), Ok(format!("HTTP/1.1 200 OK\r\n{DATE}\r\n")));
    }
}

#[test]
fn reasons_are_the_standard_ones_unless_given() {
    let date = Date::at(0);
    for (status, reason, line) in [
        (404, "", "HTTP/1.1 404 Not Found"),
        (299, "", "HTTP/1.1 299 Unknown"),
        (200, "Fine by me", "HTTP/1.1 200 Fine by me"),
    ] {
        let head = ResponseHead { status, reason: reason.as_bytes(), server: None, ..head(&date) };
        assert_eq!(encoded(&head, &[]), Ok(format!("{line}\r\n{DATE}\r\n")));
    }
}

#[test]
fn what_would_break_the_stream_is_refused() {
    let date = Date::at(0);
    for status in [0, 99, 100, 101, 199, 600, 999] {
        let head = ResponseHead { status, ..head(&date) };
        assert_eq!(encoded(&head, &[]), Err(BadResponse::Status(status)));
    }
    let bad_reason = ResponseHead { reason: b"OK\r\nX: y", ..head(&date) };
    assert_eq!(encoded(&bad_reason, &[]), Err(BadResponse::Reason));
    for name in ["", "a b", "a:", "a\r\nb", "\u{e9}", "a\0"] {
        let name_error = BadResponse::FieldName(name.as_bytes().escape_ascii().to_string());
        assert_eq!(encoded(&head(&date), &[("ok", "ok"), (name, "x")]), Err(name_error));
    }
    for value in ["a\r\nb: c", "\r", "\n", "a\0", "\x07", "\x7f"] {
        let value_error = BadResponse::FieldValue("name".into());
        assert_eq!(encoded(&head(&date), &[("name", value)]), Err(value_error));
    }
    assert!(encoded(&head(&date), &[("name", " \u{e9}\ttext ")]).is_ok());
}

#[test]
fn a_declared_length_is_a_single_number() {
    let declared = |pairs: &[(&str, &str)]| declared_length(fields(pairs).into_iter());
    assert_eq!(declared(&[("a", "1")]), Ok(None));
    assert_eq!(declared(&[("Content-Length", " 12 ")]), Ok(Some(12)));
    assert_eq!(declared(&[("content-length", "1"), ("Content-Length", "1")]), Ok(Some(1)));
    let two = declared(&[("content-length", "1"), ("content-length", "2")]);
    assert_eq!(two, Err(BadResponse::TwoLengths));
    assert_eq!(declared(&[("content-length", "-1")]), Err(BadResponse::Length));
}

#[test]
fn chunks_are_framed_in_hexadecimal() {
    for len in [1, 9, 10, 15, 16, 255, 256, 65_536, usize::MAX] {
        let mut out = Vec::new();
        encode_chunk_head(&mut out, len);
        assert_eq!(out, format!("{len:x}\r\n").as_bytes());
    }
}

#[test]
fn trailers_end_the_body_without_what_trailers_cannot_have() {
    let mut out = Vec::new();
    let pairs = [("X", "y"), ("Content-Length", "3"), ("set-cookie", "a"), ("date", "now")];
    encode_trailers(&mut out, fields(&pairs).into_iter()).expect("valid");
    assert_eq!(out, b"0\r\nX: y\r\n\r\n");
    let refused = encode_trailers(&mut out, fields(&[("X", "a\nb")]).into_iter());
    assert_eq!(refused, Err(BadResponse::FieldValue("X".into())));
    assert_eq!(out.len(), 11);
}

#[test]
fn interim_responses_are_100_102_and_103() {
    let mut out = Vec::new();
    encode_interim(&mut out, 100, [].into_iter()).expect("valid");
    encode_interim(&mut out, 103, fields(&[("link", "<a>")]).into_iter()).expect("valid");
    assert_eq!(out, b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: <a>\r\n\r\n");
    for status in [101, 200, 99] {
        let refused = encode_interim(&mut out, status, [].into_iter());
        assert_eq!(refused, Err(BadResponse::InterimStatus(status)));
    }
}

proptest! {
    #[test]
    fn what_is_encoded_is_parsed_as_it_was_meant(
        status in 200..=599u16,
        length in any::<u64>(),
        pairs in prop::collection::vec(("[!#$%&'*+.^_`|~0-9A-Za-z-]{1,20}", "[ \t!-~\u{80}-\u{ff}]{0,40}"), 0..8),
    ) {
        let date = Date::at(0);
        let head = ResponseHead { status, body: BodyFraming::Length(length), ..head(&date) };
        let mut out = Vec::new();
        let sent = pairs.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes()));
        encode_head(&mut out, &head, sent.clone()).expect("valid");

        let mut headers = [httparse::EMPTY_HEADER; 16];
        let mut response = httparse::Response::new(&mut headers);
        prop_assert_eq!(response.parse(&out), Ok(httparse::Status::Complete(out.len())));
        prop_assert_eq!(response.code, Some(status));
        prop_assert_eq!(response.reason, Some(reason_phrase(status)));
        let parsed: Vec<_> = response.headers.iter().map(|header| (header.name.as_bytes(), header.value)).collect();
        let kept: Vec<_> = sent.filter(|(name, _)| Kind::of(name) != Kind::Hosts).map(|(name, value)| (name, trim(value))).collect();
        prop_assert!(parsed.ends_with(&kept));
    }

    #[test]
    fn no_fields_make_it_panic_or_break_the_head(
        pairs in prop::collection::vec((prop::collection::vec(any::<u8>(), 0..4), prop::collection::vec(any::<u8>(), 0..6)), 0..4),
        reason in prop::collection::vec(any::<u8>(), 0..6),
    ) {
        let date = Date::at(0);
        let mut out = Vec::new();
        let fields = pairs.iter().map(|(name, value)| (&name[..], &value[..]));
        let head = ResponseHead { reason: &reason, ..head(&date) };
        match encode_head(&mut out, &head, fields) {
            Ok(()) => prop_assert_eq!(memchr::memmem::find(&out, b"\r\n\r\n"), Some(out.len() - 4)),
            Err(_) => prop_assert!(out.is_empty()),
        }
    }
}
