//! Tests of `RequestHead`: sentences first, properties after them. The raw-request corpus is in `tests/requests`.

use proptest::prelude::*;

use super::*;

/// What reading a head came to; equal outcomes are the same to whoever asks.
#[derive(Debug, PartialEq)]
enum Outcome {
    NotYet,
    Refused(Reject),
    Head { length: usize, bytes: Vec<u8>, says: String },
}

/// Gives `head` the first `cuts[0]` bytes, then the first `cuts[1]`, and so on, and at last all of them.
fn read_in_pieces(head: &mut RequestHead, received: &[u8], cuts: &[usize], limits: &Limits) -> Outcome {
    let mut bytes = received.to_vec();
    for end in cuts.iter().copied().chain([bytes.len()]) {
        match head.parse(&mut bytes[..end], limits) {
            Ok(None) => {}
            Ok(Some(length)) => {
                bytes.truncate(length);
                let says = format!("{head:?}");
                return Outcome::Head { length, bytes, says };
            }
            Err(reject) => return Outcome::Refused(reject),
        }
    }
    Outcome::NotYet
}

fn read(received: &[u8]) -> Outcome {
    read_in_pieces(&mut RequestHead::new(), received, &[], &Limits::default())
}

/// Every switch that is not about underscores.
const FORGIVING: Leniency = Leniency {
    underscores: crate::Underscores::Dropped,
    folded_fields: true,
    spaces_after_names: true,
    unconventional_methods: true,
    unconventional_versions: true,
    methods_in_any_case: true,
};

fn parsed(received: &[u8]) -> (RequestHead, Vec<u8>) {
    let (mut head, mut bytes) = (RequestHead::new(), received.to_vec());
    let length = head.parse(&mut bytes, &Limits::default()).expect("valid").expect("complete");
    bytes.truncate(length);
    (head, bytes)
}

#[test]
fn a_head_is_not_there_before_its_empty_line() {
    let whole = b"\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n";
    for end in 0..whole.len() {
        assert_eq!(read(&whole[..end]), Outcome::NotYet, "{end}");
    }
    assert!(matches!(read(whole), Outcome::Head { length: 29, .. }));
}

#[test]
fn names_are_lower_case_and_values_stay_as_they_are() {
    let (head, bytes) = parsed(b"GET / HTTP/1.1\r\nHOST: A\r\nX-Odd:\t Va lue \t\r\nEmpty:  \r\n\r\n");
    let fields: Vec<_> = head.fields(&bytes).map(|field| (field.name, field.value)).collect();
    assert_eq!(fields, [(&b"host"[..], &b"A"[..]), (b"x-odd", b"Va lue"), (b"empty", b"")]);
    assert_eq!(head.field(0, &bytes).known, field::known(b"host"));
    assert_eq!(head.find("hOsT", &bytes), Some(&b"A"[..]));
    assert_eq!(head.find_known(field::known(b"host"), &bytes), Some(&b"A"[..]));
    assert_eq!(head.find("cookie", &bytes), None);
}

#[test]
fn any_number_of_fields_within_the_limit_is_read() {
    for count in [1, 2, 15, 16, 17, 127, 128, 129, 1000] {
        let mut bytes = b"GET / HTTP/1.1\r\nHost: a\r\n".to_vec();
        (1..count).for_each(|i| bytes.extend_from_slice(format!("x-{i}: {i}\r\n").as_bytes()));
        bytes.extend_from_slice(b"\r\n");
        let mut head = RequestHead::new();
        let limits = Limits { fields: count, ..Limits::default() };
        assert_eq!(head.parse(&mut bytes, &limits), Ok(Some(bytes.len())));
        assert_eq!(head.field_count(), count);
        let last = head.field(count - 1, &bytes).value;
        assert!(count == 1 || last == (count - 1).to_string().as_bytes());
        let limits = Limits { fields: count - 1, ..limits };
        assert_eq!(RequestHead::new().parse(&mut bytes, &limits), Err(Reject::TOO_MANY_FIELDS));
    }
}

#[test]
fn every_byte_in_a_name_or_value_is_judged_wherever_it_stands() {
    for byte in 0..=255u8 {
        for at in 0..40 {
            let mut text = [b'a'; 40];
            text[at] = byte;
            let name = [b"GET / HTTP/1.1\r\nHost: a\r\n", &text[..], b": v\r\n\r\n"].concat();
            let is_name = field::is_token_byte(byte) || byte == b':' && at > 0;
            assert_eq!(matches!(read(&name), Outcome::Head { .. }), is_name, "{byte} at {at}");
            let value = [b"GET / HTTP/1.1\r\nHost: a\r\nx:", &text[..], b"\r\n\r\n"].concat();
            let is_value = field::is_value(&[byte]);
            assert_eq!(matches!(read(&value), Outcome::Head { .. }), is_value, "{byte} at {at}");
        }
    }
}

#[test]
fn every_byte_in_a_target_is_judged_wherever_it_stands() {
    for byte in 0..=255u8 {
        for at in 1..40 {
            let mut text = [b'/'; 40];
            text[at] = byte;
            let line = [b"GET ", &text[..], b" HTTP/1.1\r\nHost: a\r\n\r\n"].concat();
            let is_head = matches!(read(&line), Outcome::Head { .. });
            assert_eq!(is_head, byte.is_ascii_graphic(), "{byte} at {at}");
        }
    }
}

#[test]
fn the_connection_goes_on_as_the_version_and_its_options_say() {
    for (version, connection, expected) in [
        ("1.1", "", true),
        ("1.1", "Connection: close\r\n", false),
        ("1.1", "Connection: TE, CLOSE\r\n", false),
        ("1.1", "Connection: keep-alive, close\r\n", false),
        ("1.1", "Connection: te\r\nConnection: close\r\n", false),
        ("1.1", "Connection: closed\r\n", true),
        ("1.0", "", false),
        ("1.0", "Connection: Keep-Alive\r\n", true),
        ("1.0", "Connection: keep-alive, close\r\n", false),
    ] {
        let (head, _) = parsed(format!("GET / HTTP/{version}\r\nHost: a\r\n{connection}\r\n").as_bytes());
        assert_eq!(head.keep_alive(), expected, "{version} {connection}");
    }
}

#[test]
fn a_continue_is_expected_only_for_a_body_to_come() {
    let expects = |fields: &str| {
        let text = format!("POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-Continue\r\n{fields}\r\n");
        parsed(text.as_bytes()).0.expects_continue()
    };
    assert!(expects("Content-Length: 1\r\n"));
    assert!(expects("Transfer-Encoding: chunked\r\n"));
    assert!(!expects("Content-Length: 0\r\n"));
    assert!(!expects(""));
}

#[test]
fn a_trusted_proxy_that_contradicts_itself_is_refused() {
    let scheme = |fields: &str| {
        let (head, bytes) = parsed(format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n").as_bytes());
        head.forwarded_https(&bytes)
    };
    assert_eq!(scheme(""), Ok(None));
    assert_eq!(scheme("X-Forwarded-Proto: https\r\n"), Ok(Some(true)));
    assert_eq!(scheme("X-Forwarded-Proto: http\r\nX-Forwarded-Ssl: off\r\n"), Ok(Some(false)));
    let contradiction = scheme("X-Forwarded-Proto: https\r\nX-Forwarded-Ssl: off\r\n");
    assert_eq!(contradiction, Err(Reject::FORWARDED_SCHEME));
}

#[test]
fn a_limit_of_zero_leaves_line_and_field_to_the_limit_of_the_head() {
    let limits = Limits { line: 0, field_size: 0, ..Limits::default() };
    let long = "a".repeat(30_000);
    let text = format!("GET /{long} HTTP/1.1\r\nHost: a\r\nx: {long}\r\n\r\n");
    let mut bytes = text.into_bytes();
    assert_eq!(RequestHead::new().parse(&mut bytes, &limits), Ok(Some(bytes.len())));
    let limits = Limits { head: bytes.len() - 1, ..limits };
    assert_eq!(RequestHead::new().parse(&mut bytes, &limits), Err(Reject::HEAD_TOO_LARGE));
}

#[test]
fn memory_of_a_head_with_very_many_fields_is_given_back() {
    let mut bytes = b"GET / HTTP/1.1\r\nHost: a\r\n".to_vec();
    (0..5000).for_each(|_| bytes.extend_from_slice(b"x: y\r\n"));
    bytes.extend_from_slice(b"\r\n");
    let mut head = RequestHead::new();
    let limits = Limits { fields: 6000, ..Limits::default() };
    assert_eq!(head.parse(&mut bytes, &limits), Ok(Some(bytes.len())));
    head.clear();
    assert!(head.fields.capacity() <= 2 * KEPT_FIELDS);
}

/// Runs of bytes that, one after another, are nearly a request.
fn pieces() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        8 => prop::sample::select(vec![
            "GET / HTTP/1.1\r\n", "POST /a?b HTTP/1.1\r\n", "OPTIONS * HTTP/1.0\r\n",
            "GET http://h:1/p HTTP/1.1\r\n", "GET /", "HTTP/1.1", "CONNECT a:1 HTTP/1.1\r\n",
            "GET / HTTP/2.0\r\n", "get / HTTP/1.1\r\n",
        ]),
        16 => prop::sample::select(vec![
            "Host: a\r\n", "Content-Length: 5\r\n", "Transfer-Encoding: chunked\r\n",
            "Transfer-Encoding: gzip\r\n", "Connection: close\r\n", "Expect: 100-continue\r\n",
            "Expect: x\r\n", "Content-Type: t\r\n", "X_Y: z\r\n", "x:\r\n", "Host:\r\n",
            "Authorization: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n",
        ]),
        6 => prop::sample::select(vec![
            "\r\n", "\r", "\n", " ", "\t", ":", "a", "A", "\0", "\u{7f}", "/", "\r\n\r\n", "x: y",
            " folded\r\n", "\u{e9}",
        ]),
    ];
    prop::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat().into_bytes())
}

/// A request line, a Host and then pieces: valid more often than not.
fn nearly_valid() -> impl Strategy<Value = Vec<u8>> {
    pieces().prop_map(|mut rest| {
        let mut bytes = b"GET / HTTP/1.1\r\nHost: a\r\n".to_vec();
        bytes.append(&mut rest);
        bytes.extend_from_slice(b"\r\n\r\n");
        bytes
    })
}

fn limits() -> impl Strategy<Value = Limits> {
    let small = (0..60usize, 0..8usize, 0..70usize, 1..300usize)
        .prop_map(|(line, fields, field_size, head)| Limits { line, fields, field_size, head });
    prop_oneof![Just(Limits::default()), small]
}

proptest! {
    #[test]
    fn how_the_bytes_are_cut_changes_nothing(
        bytes in prop_oneof![pieces(), nearly_valid()],
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..4),
        limits in limits(),
    ) {
        let whole = read_in_pieces(&mut RequestHead::new(), &bytes, &[], &limits);
        let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
        cuts.sort_unstable();
        let cut = read_in_pieces(&mut RequestHead::new(), &bytes, &cuts, &limits);
        prop_assert_eq!(&whole, &cut);
        let each: Vec<_> = (0..bytes.len()).collect();
        let each = read_in_pieces(&mut RequestHead::new(), &bytes, &each, &limits);
        prop_assert_eq!(&whole, &each);
    }

    #[test]
    fn how_the_bytes_are_cut_changes_nothing_where_much_is_forgiven(
        bytes in prop_oneof![pieces(), nearly_valid()],
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..4),
        limits in limits(),
    ) {
        let forgiving = || RequestHead::with_leniency(FORGIVING);
        let whole = read_in_pieces(&mut forgiving(), &bytes, &[], &limits);
        let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
        cuts.sort_unstable();
        prop_assert_eq!(&whole, &read_in_pieces(&mut forgiving(), &bytes, &cuts, &limits));
        let each: Vec<_> = (0..bytes.len()).collect();
        prop_assert_eq!(&whole, &read_in_pieces(&mut forgiving(), &bytes, &each, &limits));
    }

    #[test]
    fn forgiving_changes_nothing_of_what_needs_no_forgiveness(bytes in prop_oneof![pieces(), nearly_valid()]) {
        let strict = |bytes: &[u8]| {
            let (mut head, mut bytes) = (RequestHead::new(), bytes.to_vec());
            head.parse(&mut bytes, &Limits::default()).ok().flatten().map(|length| (length, bytes))
        };
        if let Some(read) = strict(&bytes) {
            let (mut head, mut bytes) = (RequestHead::with_leniency(FORGIVING), bytes);
            let length = head.parse(&mut bytes, &Limits::default());
            prop_assert_eq!((length, bytes), (Ok(Some(read.0)), read.1));
        }
    }

    #[test]
    fn nothing_is_left_of_the_head_before(first in nearly_valid(), second in nearly_valid()) {
        let mut head = RequestHead::new();
        read_in_pieces(&mut head, &first, &[], &Limits::default());
        head.clear();
        let second_after_first = read_in_pieces(&mut head, &second, &[], &Limits::default());
        prop_assert_eq!(second_after_first, read(&second));
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        read(&bytes);
        read(&[b"GET / HTTP/1.1\r\nHost: a\r\n", &bytes[..], b"\r\n\r\n"].concat());
        read(&[b"GET ", &bytes[..], b" HTTP/1.1\r\nHost: a\r\n\r\n"].concat());
        read(&[b"GET / HTTP/1.1\r\nHost: ", &bytes[..], b"\r\n\r\n"].concat());
    }

    #[test]
    fn a_refusal_of_fields_always_has_a_reason(bytes in prop_oneof![pieces(), nearly_valid()]) {
        prop_assert_ne!(read(&bytes), Outcome::Refused(Reject::FIELD_MALFORMED));
    }
}
