//! The raw-request corpus, given to `unirs-http` directly: whole, byte by byte, and in two pieces.

use unirs::http::Reject;

#[path = "requests/case.rs"]
mod case;
#[path = "requests/reader.rs"]
mod reader;

use case::{Block, Case, Verdict};
use reader::{observe, said};

#[test]
fn every_raw_request_has_the_outcome_that_stands_beside_it() {
    let cases = case::all();
    assert!(cases.len() >= 300, "only {} cases", cases.len());
    let wrong: Vec<_> = cases.iter().filter_map(|case| difference(case, &observe(case, &[]))).collect();
    assert!(wrong.is_empty(), "{} cases:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn the_outcome_is_the_same_byte_by_byte_and_in_two_pieces() {
    for case in case::all() {
        let whole = observe(&case, &[]);
        let length = case.bytes.len();
        let each: Vec<_> = (1..length).collect();
        assert_eq!(observe(&case, &each), whole, "{} byte by byte", case.name);
        // All places of short cases, and at most about a hundred of long ones.
        for cut in (1..length).step_by(1 + length / 100) {
            assert_eq!(observe(&case, &[cut]), whole, "{} cut at {cut}", case.name);
        }
    }
}

#[test]
fn every_refusal_of_a_request_has_a_raw_request() {
    // The host's own refusals need a clock, a setting or the end of the server, and two need a proxy or a disagreement of two parsers.
    let elsewhere = [
        Reject::HEAD_TIMED_OUT,
        Reject::BODY_TIMED_OUT,
        Reject::BODY_TOO_LARGE,
        Reject::STOPPING,
        Reject::FORWARDED_SCHEME,
        Reject::FIELD_MALFORMED,
    ];
    let lines: Vec<_> =
        case::all().into_iter().flat_map(|case| case.blocks).flat_map(|block| block.0).collect();
    for reject in Reject::ALL.iter().filter(|reject| !elsewhere.contains(reject)) {
        let said = said(*reject);
        assert!(lines.iter().any(|line| line.ends_with(&said)), "no case has: {said}");
    }
}

#[test]
fn nothing_is_expected_of_what_follows_a_refusal() {
    for case in case::all() {
        let Some((last, before)) = case.blocks.split_last() else {
            continue;
        };
        for block in before {
            let goes_on = block.verdict() == Verdict::Accept && block.body_reject().is_none();
            assert!(goes_on, "{}: {block}", case.name);
        }
        if let Verdict::Reject(status) = last.verdict() {
            assert_eq!(last.0.len(), 1, "{}: {last}", case.name);
            assert!((400..600).contains(&status), "{}: {last}", case.name);
        }
    }
}

/// Why the outcome is not the expected one.
fn difference(case: &Case, observed: &[Block]) -> Option<String> {
    let holds = |expected: &Block, observed: &Block| {
        expected.0[0] == observed.0[0] && expected.0.iter().all(|line| observed.0.contains(line))
    };
    let is_same = case.blocks.len() == observed.len()
        && case.blocks.iter().zip(observed).all(|(expected, observed)| holds(expected, observed));
    let text = |blocks: &[Block]| blocks.iter().map(Block::to_string).collect::<Vec<_>>().join("\n");
    (!is_same)
        .then(|| format!("{}\n  expected:\n{}  observed:\n{}", case.name, text(&case.blocks), text(observed)))
}
