//! Formats and the lines they make: every atom, every refusal, and whatever the network may send.

use proptest::prelude::*;

use super::*;

struct Pairs<'a>(&'a [(&'a str, &'a [u8])]);

impl Fields for Pairs<'_> {
    fn field(&self, name: &str) -> Option<&[u8]> {
        self.0.iter().find(|(known, _)| *known == name).map(|(_, value)| *value)
    }
}

const REQUEST: Pairs<'_> = Pairs(&[
    ("host", b"example.org"),
    ("referer", b""),
    ("user-agent", b"curl/8.5 \"quoted\" back\\slash"),
    ("authorization", b"Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="),
    ("x-forwarded-for", b"203.0.113.9"),
]);

fn record<'a>() -> AccessRecord<'a> {
    AccessRecord {
        peer: "192.0.2.1",
        method: b"GET",
        target: b"/a%20b?q=1",
        path: b"/a b",
        query: Some(b"q=1"),
        protocol: "HTTP/1.1",
        status: 200,
        body_bytes: 512,
        duration: Duration::new(3, 42_999),
        now: 1_795_341_600,
        pid: 4711,
        request: &REQUEST,
        response: &Pairs(&[("content-type", b"text/html")]),
        environ: &Pairs(&[("server_name", b"here")]),
    }
}

fn line(format: &str, record: &AccessRecord<'_>) -> String {
    let mut out = Vec::new();
    AccessFormat::compile(format).unwrap().write(&mut out, record);
    String::from_utf8(out).unwrap()
}

#[test]
fn the_default_line_is_gunicorns() {
    let line = line(DEFAULT_FORMAT, &record());
    let (before, rest) = line.split_once('[').unwrap();
    let (time, after) = rest.split_once(']').unwrap();
    assert_eq!(before, "192.0.2.1 - Aladdin ");
    assert!(jiff::fmt::strtime::parse("%d/%b/%Y:%H:%M:%S %z", time).is_ok(), "{time}");
    assert_eq!(
        after,
        " \"GET /a%20b?q=1 HTTP/1.1\" 200 512 \"\" \"curl/8.5 \\\"quoted\\\" back\\\\slash\"\n"
    );
}

#[test]
fn every_atom_has_its_value() {
    for (atom, value) in [
        ("%(h)s", "192.0.2.1"),
        ("%(l)s", "-"),
        ("%(u)s", "Aladdin"),
        ("%(r)s", "GET /a%20b?q=1 HTTP/1.1"),
        ("%(m)s", "GET"),
        ("%(U)s", "/a b"),
        ("%(q)s", "q=1"),
        ("%(H)s", "HTTP/1.1"),
        ("%(s)s", "200"),
        ("%(B)s", "512"),
        ("%(b)d", "512"),
        ("%(f)s", ""),
        ("%(a)s", r#"curl/8.5 \"quoted\" back\\slash"#),
        ("%(T)s", "3"),
        ("%(M)d", "3000"),
        ("%(D)s", "3000042"),
        ("%(L)s", "3.000042"),
        ("%(p)s", "<4711>"),
        ("%({X-Forwarded-For}i)s", "203.0.113.9"),
        ("%({x-missing}i)s", "-"),
        ("%({Content-Type}o)s", "text/html"),
        ("%({SERVER_NAME}e)s", "here"),
        ("%({HTTP_X_FORWARDED_FOR}e)s", "203.0.113.9"),
        ("%({RAW_URI}E)s", "/a%20b?q=1"),
        ("%({CONTENT_TYPE}e)s", "-"),
        ("100%% %%(h)s\tü", "100% %(h)s\tü"),
    ] {
        assert_eq!(line(atom, &record()), format!("{value}\n"), "{atom}");
    }
}

#[test]
fn what_is_missing_is_said_as_gunicorn_says_it() {
    let bare = AccessRecord { peer: "", query: None, request: &NoFields, body_bytes: 0, ..record() };
    assert_eq!(line("%(h)s|%(u)s|%(q)s|%(f)s|%(a)s|%(b)s|%(B)s", &bare), "-|-||-|-|0|0\n");
}

#[test]
fn a_bad_format_says_where_and_what_would_be_right() {
    for (format, at, sentence) in [
        ("%(h)s %(status)s", 7, "there is no %(status)s; did you mean %(s)s?"),
        ("é %(P)s", 3, "there is no %(P)s; did you mean %(p)s?"),
        ("%(user-agent)s", 1, "there is no %(user-agent)s; did you mean %(a)s?"),
        ("%(x-request-id)s", 1, "there is no %(x-request-id)s; did you mean %({x-request-id}i)s?"),
        (
            "%(?)s",
            1,
            "there is no %(?)s; there are h l u t r m U q H s B b f a T M D L p, {name}i, {name}o and {name}e",
        ),
        ("%h %l", 1, "an atom is written with parentheses and an s: %(h)s, not %h"),
        ("50%", 3, "a % stands before an atom, as in %(h)s; a percent sign itself is written %%"),
        ("%(h) %(s)s", 1, "%(h) is followed by ' '; write %(h)s"),
        ("%(h)d", 1, "%(h) is followed by 'd'; write %(h)s"),
        ("%(h)", 1, "an s is missing at the end; write %(h)s"),
        ("%(hs", 1, "the parenthesis of %(hs is never closed"),
        ("%()s", 1, "the parentheses are empty; write an atom's name, as in %(h)s"),
        ("%({host)s", 1, "the brace of {host is never closed"),
        ("%({}i)s", 1, "the braces are empty; write a field's name, as in %({host}i)s"),
        (
            "%({Host}x)s",
            1,
            "{host} has to be followed by i (request field), o (response field) or e (environ): %({host}i)s",
        ),
        (
            "a\nb",
            2,
            "a line break or another control character would tear the lines of the log; leave it out",
        ),
        (
            "%(status\n)s", // said of the break, not of a name with a break in it: a sentence is one line too
            9,
            "a line break or another control character would tear the lines of the log; leave it out",
        ),
    ] {
        let error = AccessFormat::compile(format).unwrap_err();
        assert_eq!(error, FormatError { at, sentence: sentence.to_owned() }, "{format}");
    }
}

#[test]
fn response_fields_are_asked_for_only_where_they_are_shown() {
    assert!(!AccessFormat::compile(DEFAULT_FORMAT).unwrap().needs_response_fields());
    assert!(AccessFormat::compile("%({etag}o)s").unwrap().needs_response_fields());
}

/// How many quotes of a line are not escaped.
fn bare_quotes(line: &str) -> usize {
    let mut bytes = line.bytes();
    let mut count = 0;
    while let Some(byte) = bytes.next() {
        match byte {
            b'\\' => drop(bytes.next()),
            b'"' => count += 1,
            _ => {}
        }
    }
    count
}

proptest! {
    #[test]
    fn nothing_from_the_network_ends_a_line_or_a_quote(bytes: Vec<u8>, text: String) {
        let all = [("referer", &bytes[..]), ("user-agent", &bytes), ("x", &bytes), ("authorization", &bytes)];
        let record = AccessRecord {
            peer: &text,
            method: &bytes,
            target: &bytes,
            path: &bytes,
            query: Some(&bytes),
            protocol: &text,
            request: &Pairs(&all),
            response: &Pairs(&all),
            environ: &Pairs(&all),
            ..record()
        };
        const WIDE: &str = r#""%(h)s" "%(r)s" "%(f)s" "%(a)s" "%(u)s" "%(m)s%(U)s%(q)s%(H)s" "%({x}i)s%({x}o)s%({x}e)s""#;
        let line = line(WIDE, &record);
        let body = line.strip_suffix('\n').unwrap_or_default();
        prop_assert!(body.bytes().all(|byte| (0x20..0x7f).contains(&byte)), "{line:?}");
        prop_assert_eq!(bare_quotes(body), 14);
    }

    #[test]
    fn no_format_makes_the_compiler_panic(text in "(%|\\(|\\)|\\{|\\}|[a-zA-Z]|s|i|\\PC|\n)*") {
        let _ = AccessFormat::compile(&text);
    }

    #[test]
    fn any_user_name_is_either_whole_or_a_dash(encoded in "[ -~]{0,40}") {
        let mut out = Vec::new();
        basic::write_user(&mut out, Some(format!("Basic {encoded}").as_bytes()));
        prop_assert!(!out.is_empty() && out.iter().all(|byte| (0x20..0x7f).contains(byte)));
    }
}
