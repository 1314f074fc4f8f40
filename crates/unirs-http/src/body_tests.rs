//! Tests of `BodyDecoder`: sentences first, properties after them. The raw-request corpus is in `tests/requests`.

use proptest::prelude::*;

use super::*;

/// What became of a body: its data, and where it ended, or why it was refused, or that it wants more.
#[derive(Debug, PartialEq)]
struct Outcome {
    data: Vec<u8>,
    end: Result<Option<usize>, Reject>,
}

/// Decodes `input` as if it came in pieces that end at `cuts`.
fn decode_in_pieces(mut decoder: BodyDecoder, input: &[u8], cuts: &[usize]) -> Outcome {
    let mut data = Vec::new();
    let mut at = 0;
    for end in cuts.iter().copied().chain([input.len()]) {
        loop {
            match decoder.step(&input[at..end]) {
                Err(reject) => {
                    return Outcome { data, end: Err(reject) };
                }
                Ok(step) => {
                    data.extend_from_slice(step.data);
                    at += step.consumed;
                    assert_eq!(decoder.received(), data.len() as u64);
                    assert_eq!(decoder.is_done(), step.done);
                    if step.done {
                        return Outcome { data, end: Ok(Some(at)) };
                    }
                    if step.consumed == 0 {
                        break;
                    }
                }
            }
        }
        assert_eq!(at, end, "all of the input is taken");
    }
    Outcome { data, end: Ok(None) }
}

fn chunked() -> BodyDecoder {
    BodyDecoder::new(Framing::Chunked, 100)
}

fn decode(input: &[u8]) -> Outcome {
    decode_in_pieces(chunked(), input, &[])
}

fn refusal(input: &[u8]) -> Option<Reject> {
    decode(input).end.err()
}

#[test]
fn a_body_without_bytes_is_over_at_once() {
    for framing in [Framing::None, Framing::Length(0)] {
        let mut decoder = BodyDecoder::new(framing, 0);
        assert!(decoder.is_done());
        assert_eq!(decoder.step(b"GET"), Ok(Step { consumed: 0, data: b"", done: true }));
    }
}

#[test]
fn a_body_of_a_length_ends_with_its_last_byte() {
    let mut decoder = BodyDecoder::new(Framing::Length(5), 0);
    assert_eq!(decoder.step(b""), Ok(Step { consumed: 0, data: b"", done: false }));
    assert_eq!(decoder.step(b"hel"), Ok(Step { consumed: 3, data: b"hel", done: false }));
    assert_eq!(decoder.step(b"loGET"), Ok(Step { consumed: 2, data: b"lo", done: true }));
    assert_eq!(decoder.received(), 5);
}

#[test]
fn a_step_has_one_run_of_data() {
    let mut decoder = chunked();
    let input = b"5\r\nhello\r\n1;a=b\r\n!\r\n0\r\n\r\nGET";
    assert_eq!(decoder.step(input), Ok(Step { consumed: 8, data: b"hello", done: false }));
    assert_eq!(decoder.step(&input[8..]), Ok(Step { consumed: 10, data: b"!", done: false }));
    assert_eq!(decoder.step(&input[18..]), Ok(Step { consumed: 7, data: b"", done: true }));
}

#[test]
fn valid_extensions_and_trailers_are_passed_over() {
    for line in ["0", "0000", "0;a", "0;a=b", "0 ; a = b", "0\t;a=\"b;\\\"\"", "0;a=\"\";b"] {
        let input = format!("{line}\r\n\r\n");
        assert_eq!(decode(input.as_bytes()).end, Ok(Some(input.len())), "{line}");
    }
    for trailers in ["X: y\r\n", "X: y\r\nZ:\r\n", "x_y: z\r\n"] {
        let input = format!("0\r\n{trailers}\r\n");
        assert_eq!(decode(input.as_bytes()).end, Ok(Some(input.len())), "{trailers}");
    }
}

#[test]
fn what_is_no_chunk_size_is_refused() {
    for (input, reject) in [
        ("\r\n", Reject::CHUNK_SIZE_EMPTY),
        (";ext\r\n", Reject::CHUNK_SIZE_EMPTY),
        ("6_0\r\n", Reject::CHUNK_SIZE_DIGIT),
        ("+5\r\n", Reject::CHUNK_SIZE_DIGIT),
        ("-5\r\n", Reject::CHUNK_SIZE_DIGIT),
        (" 0\r\n", Reject::CHUNK_SIZE_DIGIT),
        ("0x5\r\n", Reject::CHUNK_SIZE_DIGIT),
        ("0 \r\n", Reject::CHUNK_SIZE_SPACE),
        ("5\n", Reject::CHUNK_LINE_END),
        ("5\r;", Reject::CHUNK_LINE_END),
        ("0000000000000000000000000000000000000005\r\n", Reject::CHUNK_SIZE_TOO_LARGE),
        ("8000000000000000\r\n", Reject::CHUNK_SIZE_TOO_LARGE),
        ("5\r\nhelloXX", Reject::CHUNK_DATA_END),
        ("5\r\nhello\n", Reject::CHUNK_DATA_END),
        ("5\r\nhello\rX", Reject::CHUNK_DATA_END),
    ] {
        assert_eq!(refusal(input.as_bytes()), Some(reject), "{input:?}");
    }
    assert_eq!(refusal(b"7fffffffffffffff\r\nx"), None);
}

#[test]
fn what_is_no_extension_is_refused() {
    for line in [
        "5;",
        "5;;a",
        "5;a=",
        "5;a b",
        "5;a ",
        "5;ext=val\rue",
        "1;a=\nb",
        "1;\x01",
        "1;a=\"b",
        "1;a=\"b\"c",
        "1;a=\"b\" ",
        "1;a=\"\x07\"",
        "1;a=b=c",
        "1;a\n",
        "1 a",
        "1;a=\"\\",
    ] {
        assert!(refusal(format!("{line}\r\n").as_bytes()).is_some(), "{line:?}");
    }
}

#[test]
fn lines_extensions_and_trailers_are_bounded() {
    let long = "a".repeat(99);
    assert_eq!(refusal(format!("1;{long}").as_bytes()), Some(Reject::CHUNK_LINE_TOO_LONG));
    let many = format!("1;{}\r\nx\r\n", "a".repeat(90)).repeat(200);
    assert_eq!(refusal(many.as_bytes()), Some(Reject::CHUNK_EXTENSIONS_TOO_LARGE));
    assert_eq!(refusal(format!("0\r\nx:{long}").as_bytes()), Some(Reject::FIELD_TOO_LONG));
    let many = format!("0\r\n{}", "x: y\r\n".repeat(101));
    assert_eq!(refusal(many.as_bytes()), Some(Reject::TOO_MANY_FIELDS));
    let many = format!("0\r\n{}", format!("x: {}\r\n", "y".repeat(90)).repeat(90));
    let limits = Limits { head: 4000, ..Limits::default() };
    let decoder = BodyDecoder::with_limits(Framing::Chunked, &limits);
    let outcome = decode_in_pieces(decoder, many.as_bytes(), &[]);
    assert_eq!(outcome.end, Err(Reject::TRAILERS_TOO_LARGE));
}

#[test]
fn trailers_are_judged_like_a_heads_fields() {
    for (trailer, reject) in [
        ("Content-Length: 1", Reject::TRAILER_FORBIDDEN),
        ("HOST: a", Reject::TRAILER_FORBIDDEN),
        ("transfer-encoding: chunked", Reject::TRAILER_FORBIDDEN),
        ("Authorization: a", Reject::TRAILER_FORBIDDEN),
        ("TE: trailers", Reject::TRAILER_FORBIDDEN),
        ("Trailer: x", Reject::TRAILER_FORBIDDEN),
        ("x", Reject::FIELD_COLON),
        (": y", Reject::FIELD_NAME_EMPTY),
        ("x : y", Reject::FIELD_NAME_SPACE),
        ("x: \0", Reject::FIELD_VALUE_NUL),
        ("x: a\rb", Reject::FIELD_VALUE_CR),
        (" x: y", Reject::FIELD_INDENTED),
        ("x: y\r\n z", Reject::FIELD_FOLDED),
        ("x: y\n", Reject::BARE_LF),
    ] {
        let input = format!("0\r\n{trailer}\r\n\r\n");
        assert_eq!(refusal(input.as_bytes()), Some(reject), "{trailer:?}");
    }
}

/// A chunked body that is valid: its bytes, and its data.
fn valid_body() -> impl Strategy<Value = (Vec<u8>, Vec<u8>)> {
    let extension = prop::sample::select(vec!["", ";a", ";a=b", " ;\ta = \"b\\\"\" ; c"]);
    let chunk = (prop::collection::vec(any::<u8>(), 1..50), extension);
    let trailers = prop::sample::select(vec!["", "X: y\r\n", "X: y\r\nLong-Name: value\r\n"]);
    (prop::collection::vec(chunk, 0..6), trailers).prop_map(|(chunks, trailers)| {
        let (mut bytes, mut data) = (Vec::new(), Vec::new());
        for (chunk, extension) in chunks {
            bytes.extend_from_slice(format!("{:x}{extension}\r\n", chunk.len()).as_bytes());
            bytes.extend_from_slice(&chunk);
            bytes.extend_from_slice(b"\r\n");
            data.extend_from_slice(&chunk);
        }
        bytes.extend_from_slice(format!("0\r\n{trailers}\r\n").as_bytes());
        (bytes, data)
    })
}

/// Runs of bytes that, one after another, are nearly a chunked body.
fn pieces() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop::sample::select(vec![
        "5\r\nhello\r\n",
        "1\r\nx\r\n",
        "0\r\n",
        "\r\n",
        "0\r\n\r\n",
        "X: y\r\n",
        "a",
        "5",
        ";",
        "=",
        "\"",
        "\\",
        " ",
        "\r",
        "\n",
        ";a=\"b\"",
        "Host: a\r\n",
        "\u{e9}",
        "\0",
        "f",
    ]);
    prop::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat().into_bytes())
}

fn sorted(cuts: &[prop::sample::Index], length: usize) -> Vec<usize> {
    let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(length + 1)).collect();
    cuts.sort_unstable();
    cuts
}

proptest! {
    #[test]
    fn a_valid_body_is_decoded_however_it_is_cut(
        (bytes, data) in valid_body(),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
    ) {
        let end = Ok(Some(bytes.len()));
        let mut received = bytes;
        received.extend_from_slice(b"GET / HTTP/1.1\r\n");
        let outcome = decode_in_pieces(chunked(), &received, &sorted(&cuts, received.len()));
        prop_assert_eq!(outcome, Outcome { data, end });
    }

    #[test]
    fn how_the_bytes_are_cut_changes_nothing(
        bytes in pieces(),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
    ) {
        let whole = decode(&bytes);
        let cut = decode_in_pieces(chunked(), &bytes, &sorted(&cuts, bytes.len()));
        prop_assert_eq!(&whole, &cut);
        let each: Vec<_> = (0..bytes.len()).collect();
        prop_assert_eq!(&whole, &decode_in_pieces(chunked(), &bytes, &each));
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        decode(&bytes);
        decode(&[b"0\r\n", &bytes[..]].concat());
        decode(&[b"5;", &bytes[..]].concat());
    }
}
