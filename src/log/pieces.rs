//! Lines in pieces that a pipe takes whole. Nothing is written here.

use memchr::{memchr, memrchr};

/// What a pipe takes in one go, whoever else writes to it (pipe(7)).
pub(super) const LIMIT: usize = libc::PIPE_BUF;

/// The end of a line that was longer than [`LIMIT`].
pub(super) const CUT_MARK: &[u8] = b" [cut]\n";

/// A part of some lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Piece<'a> {
    /// Whole lines, together no longer than [`LIMIT`].
    Lines(&'a [u8]),
    /// One line that is longer.
    Long(&'a [u8]),
}

impl<'a> Piece<'a> {
    /// How many bytes of the input it covers.
    pub(super) fn len(self) -> usize {
        let (Piece::Lines(bytes) | Piece::Long(bytes)) = self;
        bytes.len()
    }

    /// The bytes to write: those of the input, or in `space` a line that was cut and says so.
    pub(super) fn bytes<'b>(self, space: &'b mut [u8; LIMIT]) -> &'b [u8]
    where
        'a: 'b,
    {
        match self {
            Piece::Lines(bytes) => bytes,
            Piece::Long(line) => {
                let kept = whole_characters(&line[..LIMIT - CUT_MARK.len()]);
                let end = kept.len() + CUT_MARK.len();
                space[..kept.len()].copy_from_slice(kept);
                space[kept.len()..end].copy_from_slice(CUT_MARK);
                &space[..end]
            }
        }
    }
}

/// `bytes` without the beginning of a UTF-8 character at their end.
fn whole_characters(bytes: &[u8]) -> &[u8] {
    let tail = bytes.len().saturating_sub(3);
    match bytes[tail..].iter().rposition(|&byte| byte >= 0xc0) {
        Some(lead) if is_cut(&bytes[tail + lead..]) => &bytes[..tail + lead],
        Some(_) | None => bytes,
    }
}

fn is_cut(character: &[u8]) -> bool {
    std::str::from_utf8(character).is_err_and(|error| error.error_len().is_none())
}

/// Parts `lines` into pieces. The last line may lack its newline.
pub(super) fn pieces(lines: &[u8]) -> impl Iterator<Item = Piece<'_>> {
    let mut rest = lines;
    std::iter::from_fn(move || {
        let (piece, left) = split(rest)?;
        rest = left;
        Some(piece)
    })
}

fn split(lines: &[u8]) -> Option<(Piece<'_>, &[u8])> {
    if lines.is_empty() {
        return None;
    }
    if lines.len() <= LIMIT {
        return Some((Piece::Lines(lines), &[]));
    }
    if let Some(end) = memrchr(b'\n', &lines[..LIMIT]) {
        let (piece, rest) = lines.split_at(end + 1);
        return Some((Piece::Lines(piece), rest));
    }
    let end = memchr(b'\n', lines).map_or(lines.len(), |end| end + 1);
    let (line, rest) = lines.split_at(end);
    Some((Piece::Long(line), rest))
}

/// How many bytes of `bytes` are whole lines.
pub(super) fn whole_lines(bytes: &[u8]) -> usize {
    memrchr(b'\n', bytes).map_or(0, |end| end + 1)
}

/// How many lines there are; the last one counts without its newline too.
pub(super) fn count_lines(lines: &[u8]) -> u64 {
    let unended = !lines.is_empty() && !lines.ends_with(b"\n");
    (memchr::memchr_iter(b'\n', lines).count() + usize::from(unended)) as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn lines(lengths: &[usize]) -> Vec<u8> {
        lengths.iter().flat_map(|&length| [vec![b'x'; length], vec![b'\n']].concat()).collect()
    }

    #[test]
    fn a_line_that_is_too_long_is_cut_and_marked() {
        let text = lines(&[3, LIMIT, 3]);
        let parts: Vec<_> = pieces(&text).collect();
        assert_eq!(parts, [Piece::Lines(b"xxx\n"), Piece::Long(&text[4..LIMIT + 5]), Piece::Lines(b"xxx\n")]);
        let mut space = [0; LIMIT];
        let cut = parts[1].bytes(&mut space);
        assert_eq!(cut.len(), LIMIT);
        assert!(cut.ends_with(b"x [cut]\n"));
    }

    #[test]
    fn a_line_is_not_cut_within_a_character() {
        for pad in 0..4 {
            let text = ["x".repeat(pad), "\u{1f980}".repeat(LIMIT)].concat();
            let mut space = [0; LIMIT];
            let cut = Piece::Long(text.as_bytes()).bytes(&mut space);
            assert!(std::str::from_utf8(cut).is_ok_and(|cut| cut.ends_with("\u{1f980} [cut]\n")));
        }
    }

    proptest! {
        #[test]
        fn pieces_are_all_the_lines_and_each_fits(lengths in prop::collection::vec(0usize..9000, 0..9)) {
            let text = lines(&lengths);
            let (mut covered, mut space) = (0, [0; LIMIT]);
            for piece in pieces(&text) {
                covered += piece.len();
                let bytes = piece.bytes(&mut space);
                prop_assert!(bytes.len() <= LIMIT && bytes.ends_with(b"\n"));
            }
            prop_assert_eq!(covered, text.len());
            prop_assert_eq!(count_lines(&text), lengths.len() as u64);
        }
    }
}
