//! `RequestHead`: a head in pieces is what it is as a whole, within its limits, and means one thing only.

use unirs::http::{Framing, Leniency, Limits, Reject, RequestHead, Underscores, Version};

use super::Input;

/// What came of a head.
#[derive(Debug, PartialEq)]
enum Outcome {
    Complete(usize, Seen),
    Refused(Reject),
    Incomplete,
}

/// All that a head says.
#[derive(Debug, PartialEq)]
struct Seen {
    method: Vec<u8>,
    target: Vec<u8>,
    path: Vec<u8>,
    query: Option<Vec<u8>>,
    authority: Vec<u8>,
    version: Version,
    fields: Vec<(Vec<u8>, Vec<u8>, u32)>,
    framing: Framing,
    keeps_alive: bool,
    expects_continue: bool,
    is_head: bool,
    https: Result<Option<bool>, Reject>,
}

/// Bit 0 of the options: limits that are soon reached. Bit 1: no limits but that of the head. Bits 2 to 8: what is forgiven.
pub fn check(input: &[u8]) {
    let Some(input) = Input::read(input) else { return };
    let (limits, leniency) = (limits(input), leniency(input));
    let whole = read(&mut RequestHead::with_leniency(leniency), &[input.bytes], &limits);
    let mut head = RequestHead::with_leniency(leniency);
    for round in ["for the first time", "when it is used again"] {
        let outcome = read(&mut head, &input.pieces(), &limits);
        assert_eq!(outcome, whole, "in pieces, {round}");
        head.clear();
    }
    match &whole {
        Outcome::Complete(length, seen) => {
            seen.assert_clean(*length, &limits, &leniency);
            seen.assert_unambiguous(&leniency);
        }
        Outcome::Refused(reject) => assert!((400..600).contains(&reject.status())),
        Outcome::Incomplete => assert!(input.bytes.len() < limits.head, "it waits for more than it takes"),
    }
}

fn limits(input: Input<'_>) -> Limits {
    match (input.has(0), input.has(1)) {
        (true, _) => Limits { line: 40, fields: 3, field_size: 30, head: 100 },
        (false, true) => Limits { line: 0, fields: 1000, field_size: 0, head: 4096 },
        (false, false) => Limits::default(),
    }
}

fn leniency(input: Input<'_>) -> Leniency {
    Leniency {
        folded_fields: input.has(2),
        spaces_after_names: input.has(3),
        unconventional_methods: input.has(4),
        unconventional_versions: input.has(5),
        methods_in_any_case: input.has(6),
        underscores: match (input.has(7), input.has(8)) {
            (false, false) => Underscores::Dropped,
            (true, false) => Underscores::Refused,
            (_, true) => Underscores::Kept,
        },
    }
}

fn read(head: &mut RequestHead, pieces: &[&[u8]], limits: &Limits) -> Outcome {
    let mut received = Vec::new();
    for piece in pieces {
        received.extend_from_slice(piece);
        match head.parse(&mut received, limits) {
            Ok(None) => {}
            Ok(Some(length)) => {
                assert!(
                    received[length..] == pieces.concat()[length..received.len()],
                    "it wrote behind itself"
                );
                return Outcome::Complete(length, Seen::of(head, &received));
            }
            Err(reject) => return Outcome::Refused(reject),
        }
    }
    Outcome::Incomplete
}

impl Seen {
    fn of(head: &RequestHead, bytes: &[u8]) -> Seen {
        Seen {
            method: head.method(bytes).to_vec(),
            target: head.target(bytes).to_vec(),
            path: head.path(bytes).to_vec(),
            query: head.query(bytes).map(<[u8]>::to_vec),
            authority: head.authority(bytes).to_vec(),
            version: head.version(),
            fields: head
                .fields(bytes)
                .map(|field| (field.name.to_vec(), field.value.to_vec(), field.known))
                .collect(),
            framing: head.framing(),
            keeps_alive: head.keep_alive(),
            expects_continue: head.expects_continue(),
            is_head: head.is_head(),
            https: head.forwarded_https(bytes),
        }
    }

    fn assert_clean(&self, length: usize, limits: &Limits, leniency: &Leniency) {
        assert!(length <= limits.head && self.fields.len() <= limits.fields, "beyond the limits");
        let is_visible = |byte: &u8| byte.is_ascii_graphic();
        assert!(self.method.iter().all(is_visible) && !self.method.is_empty());
        assert!(self.target.iter().all(is_visible) && !self.target.is_empty());
        let may_be_in = |byte: &u8| *byte == b'_' && leniency.underscores == Underscores::Kept;
        for (name, value, _) in &self.fields {
            let is_plain =
                |byte: &u8| is_visible(byte) && !byte.is_ascii_uppercase() && !b"_:,;\"()".contains(byte);
            let is_name = name.iter().all(|byte| is_plain(byte) || may_be_in(byte));
            assert!(is_name && !name.is_empty(), "a name: {}", name.escape_ascii());
            let is_text = |byte: &u8| *byte == b'\t' || !byte.is_ascii_control();
            assert!(value.iter().all(is_text), "a value: {}", value.escape_ascii());
            assert_eq!(value.trim_ascii(), value);
        }
        let coded = self.fields.iter().any(|(name, ..)| name == b"transfer-encoding");
        assert_eq!(coded, self.framing == Framing::Chunked);
    }

    /// Written down again, as it should be and in another layout, it says the same, with no need to forgive more than
    /// what the application sees.
    fn assert_unambiguous(&self, leniency: &Leniency) {
        let (underscores, unconventional_methods) = (leniency.underscores, leniency.unconventional_methods);
        let leniency = Leniency { underscores, unconventional_methods, ..Leniency::default() };
        let mut bytes = [&self.method[..], &self.target, self.version.as_str().as_bytes()].join(&b' ');
        for (name, value, _) in &self.fields {
            bytes.extend_from_slice(&[b"\r\n", &name[..], b": \t", value, b" "].concat());
        }
        bytes.extend_from_slice(b"\r\n\r\n");
        let limits = Limits { line: 0, fields: usize::MAX, field_size: 0, head: usize::MAX };
        let length = bytes.len();
        match read(&mut RequestHead::with_leniency(leniency), &[&bytes], &limits) {
            Outcome::Complete(end, again) => assert_eq!((end, &again), (length, self), "written down again"),
            other => panic!("written down again: {other:?}"),
        }
    }
}
