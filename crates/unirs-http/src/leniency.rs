//! What a server may be told to forgive, and how a line is mended that is forgiven. Nothing of it is on by default:
//! wherever two readers of the same bytes disagree, one of them can be lied to.
//!
//! All of this is reached only where a head would be refused otherwise; a head that needs no mercy never comes here.

use super::field::{is_token, trim};
use super::reject::Reject;
use super::request_line::{Version, check_method};

/// Gunicorn's switches for clients that get HTTP wrong.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Leniency {
    /// What becomes of field names with an underscore.
    pub underscores: Underscores,
    /// Fields may be folded over several lines (RFC 9112 §5.2); the lines are joined with one space.
    pub folded_fields: bool,
    /// White space may stand between a field's name and the colon (RFC 9112 §5.1 forbids it); it is taken out.
    pub spaces_after_names: bool,
    /// A method may be any token.
    pub unconventional_methods: bool,
    /// A version may have any two digits; what is not 1.0 or less is taken for 1.1.
    pub unconventional_versions: bool,
    /// Lower-case letters of a method are made upper-case.
    pub methods_in_any_case: bool,
}

/// What becomes of field names with an underscore. Whoever makes variables of names writes `_` for `-`, so that such a
/// field passes for another one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Underscores {
    /// The field is left out.
    #[default]
    Dropped,
    /// The request is refused.
    Refused,
    /// The application sees the field.
    Kept,
}

impl Leniency {
    /// Judges a method again that is refused by convention.
    #[cold]
    pub(super) fn admit_method(&self, method: &mut [u8]) -> Result<(), Reject> {
        if self.methods_in_any_case {
            method.make_ascii_uppercase();
        }
        match check_method(method) {
            Err(_) if self.unconventional_methods && is_token(method) => Ok(()),
            result => result,
        }
    }

    /// Judges a version that is well written and is not spoken.
    #[cold]
    pub(super) fn admit_version(&self, major: u8, minor: u8) -> Result<Version, Reject> {
        match (major, minor) {
            _ if !self.unconventional_versions => Err(Reject::VERSION_UNSUPPORTED),
            (b'0', _) => Ok(Version::Http10),
            _ => Ok(Version::Http11),
        }
    }

    /// Could [`mend`](Leniency::mend) change anything?
    pub(super) fn mends(&self) -> bool {
        self.folded_fields || self.spaces_after_names
    }

    /// Makes of a block of field lines that is refused one that says the same properly, in its place and of its length:
    /// what is too long then is filled up with spaces after the value.
    #[cold]
    pub(super) fn mend(&self, block: &mut [u8]) {
        let mut start = 0;
        while let Some(len) = memchr::memmem::find(&block[start..], b"\r\n") {
            let mut end = start + len;
            let colon = memchr::memchr(b':', &block[start..end]);
            if let Some(colon) = colon {
                if self.spaces_after_names {
                    close_up(&mut block[start..=start + colon]);
                }
                if self.folded_fields {
                    end = unfold(block, start + colon + 1, end);
                }
            }
            start = end + 2;
        }
    }
}

/// Moves the colon at the end of `name` to where the name ends.
fn close_up(name: &mut [u8]) {
    let Some((_, before)) = name.split_last() else { return };
    let kept = before.len() - before.iter().rev().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
    if kept > 0 {
        name[kept..].fill(b' ');
        name[kept] = b':';
    }
}

/// Joins the lines of the field whose value begins at `value` and whose first line ends at `end`. Returns where its
/// last one ends.
fn unfold(block: &mut [u8], value: usize, mut end: usize) -> usize {
    let mut written = value + trim_end(&block[value..end]).len();
    while let Some(b' ' | b'\t') = block.get(end + 2) {
        let next = end + 2;
        let Some(len) = memchr::memmem::find(&block[next..], b"\r\n") else { break };
        let line = trim(&block[next..next + len]);
        let (from, len_of_line) = (line.as_ptr().addr() - block.as_ptr().addr(), line.len());
        block[written] = b' ';
        block.copy_within(from..from + len_of_line, written + 1);
        written += 1 + len_of_line;
        end = next + len;
    }
    block[written..end].fill(b' ');
    end
}

fn trim_end(value: &[u8]) -> &[u8] {
    let spaces = value.iter().rev().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
    &value[..value.len() - spaces]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mended(leniency: Leniency, block: &str) -> String {
        let mut bytes = block.as_bytes().to_vec();
        leniency.mend(&mut bytes);
        assert_eq!(bytes.len(), block.len());
        String::from_utf8(bytes).expect("it was text")
    }

    #[test]
    fn folded_lines_are_joined_with_one_space() {
        let leniency = Leniency { folded_fields: true, ..Leniency::default() };
        for (block, expected) in [
            ("a: b\r\n c\r\n\r\n", "a: b c  \r\n\r\n"),
            ("a: b \t\r\n\t c \r\n\td\r\nx: y\r\n\r\n", "a: b c d        \r\nx: y\r\n\r\n"),
            ("a:\r\n b\r\n\r\n", "a: b  \r\n\r\n"),
            ("a: b\r\n \r\n\r\n", "a: b   \r\n\r\n"),
            ("a: b\r\nc: d\r\n\r\n", "a: b\r\nc: d\r\n\r\n"),
            // A name cannot be folded.
            ("a\r\n : b\r\n\r\n", "a\r\n : b\r\n\r\n"),
            ("a : b\r\n c\r\n\r\n", "a : b c  \r\n\r\n"),
        ] {
            assert_eq!(mended(leniency, block), expected, "{block:?}");
        }
    }

    #[test]
    fn spaces_before_a_colon_go_behind_it() {
        let leniency = Leniency { spaces_after_names: true, ..Leniency::default() };
        for (block, expected) in [
            ("a : b\r\n\r\n", "a:  b\r\n\r\n"),
            ("a \t :b:c\r\n\r\n", "a:   b:c\r\n\r\n"),
            ("a b : c\r\n\r\n", "a b:  c\r\n\r\n"),
            (" : c\r\n\r\n", " : c\r\n\r\n"),
            (": c\r\n\r\n", ": c\r\n\r\n"),
            ("a : b\r\n c\r\n\r\n", "a:  b\r\n c\r\n\r\n"),
        ] {
            assert_eq!(mended(leniency, block), expected, "{block:?}");
        }
    }
}
