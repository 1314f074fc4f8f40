//! What must hold of any input at all: the functions behind the fuzz targets, which `tests/fuzz_corpus.rs` calls too.
//! Each panics where something does not hold, and knows nothing of libFuzzer.
//!
//! The input of `head`, `body` and `connection` begins with four bytes of conditions (see [`Input`]); what follows is
//! what a client sends.

pub mod access_format;
pub mod body;
pub mod connection;
pub mod head;
pub mod settings_file;

/// What the fuzzer gives: the conditions, and the bytes of a client.
#[derive(Clone, Copy, Debug)]
pub struct Input<'a> {
    /// Bits that each target reads in its own way.
    pub options: u16,
    /// How the bytes are cut.
    pub seed: u16,
    /// What is sent.
    pub bytes: &'a [u8],
}

impl<'a> Input<'a> {
    /// None: not even the conditions are there.
    pub fn read(input: &'a [u8]) -> Option<Input<'a>> {
        let (conditions, bytes) = input.split_first_chunk::<4>()?;
        let [low, high, seed_low, seed_high] = *conditions;
        let (options, seed) = (u16::from_le_bytes([low, high]), u16::from_le_bytes([seed_low, seed_high]));
        Some(Input { options, seed, bytes })
    }

    /// Is this bit of the options set?
    pub fn has(&self, bit: u16) -> bool {
        self.options >> bit & 1 == 1
    }

    /// The pieces in which the bytes arrive.
    pub fn pieces(&self) -> Vec<&'a [u8]> {
        pieces(self.bytes, self.seed)
    }
}

/// No more pieces than this: a piece costs system calls.
const MOST_PIECES: usize = 150;

/// Cuts `bytes` as the seed says: in two, in small or larger pieces of any length, or one by one from somewhere on. No
/// piece is empty.
pub fn pieces(bytes: &[u8], seed: u16) -> Vec<&[u8]> {
    let (style, mut random) = (seed & 3, u64::from(seed >> 2));
    let (first, mut rest) = match style {
        0 | 1 => bytes.split_at(random as usize % (bytes.len() + 1)),
        _ => bytes.split_at(0),
    };
    let mut pieces = vec![first];
    while style != 1 && pieces.len() < MOST_PIECES {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let length = match style {
            0 => 1,
            2 => 1 + (random >> 60) as usize,
            _ => 1 + (random >> 40) as usize % (bytes.len() / 2 + 1),
        };
        let (piece, left) = rest.split_at(length.min(rest.len()));
        pieces.push(piece);
        rest = left;
    }
    pieces.push(rest);
    pieces.retain(|piece| !piece.is_empty());
    pieces
}
