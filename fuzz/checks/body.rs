//! `BodyDecoder`: a body in pieces is what it is as a whole, and ends at the same byte.

use unirs::http::{BodyDecoder, Framing, Limits, Reject};

use super::Input;

/// The data, and where the body ended, or why it was refused; `None`: it wants more.
#[derive(Debug, PartialEq)]
struct Outcome {
    data: Vec<u8>,
    end: Result<Option<usize>, Reject>,
}

/// Bit 0 of the options: limits that are soon reached. Bit 1: a length instead of chunks, of the other bits together.
pub fn check(input: &[u8]) {
    let Some(input) = Input::read(input) else { return };
    let whole = decode(decoder(input), &[input.bytes]);
    assert_eq!(decode(decoder(input), &input.pieces()), whole, "in pieces");
    assert!(whole.data.len() <= input.bytes.len());
    if let (Framing::Length(length), Ok(Some(end))) = (framing(input), whole.end) {
        assert_eq!((whole.data.len(), end as u64), (end, length));
    }
}

fn framing(input: Input<'_>) -> Framing {
    if input.has(1) { Framing::Length(u64::from(input.options >> 2)) } else { Framing::Chunked }
}

fn decoder(input: Input<'_>) -> BodyDecoder {
    let limits = Limits { line: 0, fields: 2, field_size: 20, head: 64 };
    let limits = if input.has(0) { limits } else { Limits::default() };
    BodyDecoder::with_limits(framing(input), &limits)
}

fn decode(mut decoder: BodyDecoder, pieces: &[&[u8]]) -> Outcome {
    let (mut data, mut taken, mut received) = (Vec::new(), 0, Vec::new());
    for piece in pieces {
        received.extend_from_slice(piece);
        while !decoder.is_done() {
            let step = match decoder.step(&received[taken..]) {
                Ok(step) => step,
                Err(reject) => return Outcome { data, end: Err(reject) },
            };
            data.extend_from_slice(step.data);
            taken += step.consumed;
            assert!(taken <= received.len() && step.data.len() <= step.consumed, "more than there was");
            assert_eq!((decoder.received(), decoder.is_done()), (data.len() as u64, step.done));
            if step.consumed == 0 && !step.done {
                assert_eq!(taken, received.len(), "it leaves bytes behind that it cannot judge");
                break;
            }
        }
    }
    Outcome { data, end: Ok(decoder.is_done().then_some(taken)) }
}
