//! Eight bytes at once, in a word of the processor: what is asked of each of them.

/// A word of eight times `byte`.
pub(super) const fn each(byte: u8) -> u64 {
    u64::from_le_bytes([byte; 8])
}

/// Whether one of the eight bytes is `byte`.
#[inline]
pub(super) fn has(word: u64, byte: u8) -> bool {
    has_below(word ^ each(byte), 1)
}

/// Whether one of the eight bytes is less than `limit`, which is 0x80 at the most: to take that from the byte borrows its
/// upper bit, which it did not have.
#[inline]
pub(super) fn has_below(word: u64, limit: u8) -> bool {
    word.wrapping_sub(each(limit)) & !word & each(0x80) != 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_is_seen_wherever_it_stands() {
        for at in 0..8 {
            for byte in 0..=255 {
                let mut eight = [0xa0; 8];
                eight[at] = byte;
                let word = u64::from_le_bytes(eight);
                assert_eq!(has_below(word, b' '), byte < b' ', "{byte} at {at}");
                assert_eq!(has_below(word, 0x80), byte < 0x80, "{byte} at {at}");
                for wanted in [0, b'_', 0x7f, 0xff] {
                    assert_eq!(has(word, wanted), byte == wanted, "{byte} at {at}");
                }
            }
        }
    }
}
