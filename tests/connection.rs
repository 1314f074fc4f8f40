//! Connections through the worker's own code within the test's process: what a client hears does not depend on how its
//! bytes are cut, and a client that falls silent is dealt with. No real server: those tests are in `serve` and `timeouts`.

use proptest::prelude::*;

#[allow(
    dead_code,
    unreachable_pub,
    reason = "a crate of its own for the fuzz targets, of which one is wanted here"
)]
#[path = "../fuzz/checks/mod.rs"]
mod checks;

#[path = "requests/case.rs"]
#[allow(dead_code, reason = "only the bytes of the cases are wanted here")]
mod case;

use checks::connection::{Conditions, End, Heard, compare, converse};

const PLAIN: Conditions = Conditions {
    tight: false,
    lenient: false,
    streaming: false,
    end: End::HalfClose,
    narrow: false,
    lazy: false,
};

fn answers(heard: &Heard) -> Vec<(u16, Vec<u8>)> {
    let answers = heard.answers().expect("whole answers");
    answers.into_iter().map(|(status, body)| (status, body.to_vec())).collect()
}

fn statuses(conditions: Conditions, said: &[u8]) -> Vec<u16> {
    answers(&converse(conditions, &[said])).into_iter().map(|(status, _)| status).collect()
}

/// A POST with its body in one of the two framings.
fn request(body: &[u8], chunks: Option<usize>) -> Vec<u8> {
    let framing = match chunks {
        Some(_) => "Transfer-Encoding: chunked".to_owned(),
        None => format!("Content-Length: {}", body.len()),
    };
    let mut bytes = format!("POST /any HTTP/1.1\r\nHost: a\r\n{framing}\r\n\r\n").into_bytes();
    let Some(size) = chunks else { return [bytes, body.to_vec()].concat() };
    for (number, chunk) in body.chunks(size).enumerate() {
        // All extensions of a body together are limited to 16 KiB.
        let extension = if number < 1000 { ";a=b" } else { "" };
        bytes.extend(format!("{:x}{extension}\r\n", chunk.len()).bytes());
        bytes.extend([chunk, b"\r\n"].concat());
    }
    bytes.extend_from_slice(b"0\r\nsum: 1\r\n\r\n");
    bytes
}

fn bodies() -> impl Strategy<Value = Vec<(Vec<u8>, Option<usize>)>> {
    let body = prop_oneof![3 => prop::collection::vec(any::<u8>(), 0..200), 1 => prop::collection::vec(any::<u8>(), 0..20_000)];
    prop::collection::vec((body, prop::option::of(1usize..5000)), 0..8)
}

fn conditions() -> impl Strategy<Value = Conditions> {
    let flags = any::<[bool; 5]>();
    (flags, prop_oneof![Just(End::HalfClose), Just(End::Silence), Just(End::Vanish)]).prop_map(
        |([tight, lenient, streaming, narrow, lazy], end)| Conditions {
            tight,
            lenient,
            streaming,
            end,
            narrow,
            lazy,
        },
    )
}

/// Parts of requests, whole and broken, in any order.
fn hostile() -> impl Strategy<Value = Vec<u8>> {
    let known = prop::sample::select(vec![
        &b"GET / HTTP/1.1\r\n"[..],
        b"POST /a%20b?c HTTP/1.1\r\n",
        b"POST / HTTP/1.0\r\n",
        b"HEAD / HTTP/1.1\r\n",
        b"post / HTTP/2.7\r\n",
        b" folded\r\n",
        b"Content_Length : 3\r\n",
        b"Host: a\r\n",
        b"Content-Length: 5\r\n",
        b"Content-Length: 200\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b"Expect: 100-continue\r\n",
        b"Connection: close\r\n",
        b"Connection: keep-alive\r\n",
        b"\r\n",
        b"\r\n\r\n",
        b"hello",
        b"5\r\nhello\r\n",
        b"80\r\n",
        b"0\r\n\r\n",
        b"0\r\n",
    ]);
    let part =
        prop_oneof![8 => known.prop_map(<[u8]>::to_vec), 1 => prop::collection::vec(any::<u8>(), 0..100)];
    prop::collection::vec(part, 0..30).prop_map(|parts| parts.concat())
}

proptest! {
    // A failure is kept by hand, in fuzz/corpus-kept.
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn pipelined_bodies_come_back_in_order_however_they_are_cut(bodies in bodies(), seed: u16, narrow: bool, lazy: bool) {
        let said: Vec<u8> = bodies.iter().flat_map(|(body, chunks)| request(body, *chunks)).collect();
        let heard = compare(Conditions { narrow, lazy, ..PLAIN }, &said, seed);
        let expected: Vec<_> = bodies.into_iter().map(|(body, _)| (200, body)).collect();
        prop_assert_eq!(heard.requests, expected.len() as u64);
        prop_assert!(answers(&heard) == expected);
    }

    #[test]
    fn whatever_is_said_is_answered_alike_in_pieces(said in hostile(), conditions in conditions(), seed: u16) {
        compare(conditions, &said, seed);
    }
}

#[test]
fn every_raw_request_is_answered_alike_in_pieces() {
    for (number, case) in case::all().into_iter().enumerate() {
        for (streaming, tight) in [(false, false), (false, true), (true, false)] {
            for seed in 4 * number as u16..4 * number as u16 + 4 {
                let conditions = Conditions { streaming, tight, lenient: !case.lenient.is_empty(), ..PLAIN };
                compare(conditions, &case.bytes, seed);
            }
        }
    }
}

#[test]
fn a_silent_client_hears_408_once_it_has_begun() {
    let silent = Conditions { end: End::Silence, ..PLAIN };
    assert_eq!(statuses(silent, b""), [0; 0]);
    assert_eq!(statuses(silent, b"GET / HT"), [408]);
    assert_eq!(statuses(silent, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nhalf"), [408]);
    assert_eq!(statuses(silent, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"), [200]);
    assert_eq!(statuses(silent, b"GET / HTTP/1.1\r\nHost: a\r\n\r\nGET"), [200, 408]);
}

#[test]
fn a_client_that_goes_before_the_end_of_its_request_hears_nothing() {
    assert_eq!(statuses(PLAIN, b"GET / HT"), [0; 0]);
    assert_eq!(statuses(PLAIN, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nhalf"), [0; 0]);
}

#[test]
fn a_body_is_too_large_even_if_what_follows_is_wrong_too() {
    let tight = Conditions { tight: true, ..PLAIN };
    let head = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
    let said =
        [head, b"50\r\n".to_vec(), vec![b'x'; 80], b"\r\n50\r\n".to_vec(), vec![b'x'; 80], b"bad".to_vec()]
            .concat();
    for seed in 0..100 {
        assert_eq!(answers(&compare(tight, &said, seed))[0].0, 413);
    }
}
