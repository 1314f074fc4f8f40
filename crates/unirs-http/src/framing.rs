//! How a request's body is framed: Content-Length and Transfer-Encoding. Not the decoding: `body.rs`.

use super::field;
use super::reject::Reject;

/// How the end of a request's body is found (RFC 9112 §6.3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Framing {
    /// No body.
    #[default]
    None,
    /// So many bytes; at most 2^63 - 1.
    Length(u64),
    /// Chunks, the last of which is empty.
    Chunked,
}

/// Reads a Content-Length: one or more digits, nothing else.
pub(super) fn parse_length(value: &[u8]) -> Result<u64, Reject> {
    if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
        return Err(Reject::CONTENT_LENGTH_INVALID);
    }
    let length = value
        .iter()
        .fold(0u64, |length, digit| length.saturating_mul(10).saturating_add(u64::from(digit - b'0')));
    if length > MAX_LENGTH { Err(Reject::CONTENT_LENGTH_TOO_LARGE) } else { Ok(length) }
}

/// The interface with applications counts in signed 64 bits.
pub(super) const MAX_LENGTH: u64 = i64::MAX as u64;

/// What the Transfer-Encoding fields of a head say, all of them as one list (RFC 9110 §5.3).
#[derive(Debug, Default)]
pub(super) struct Codings {
    is_present: bool,
    /// The last coding so far is `chunked`.
    is_chunked: bool,
    /// There is a coding that is not understood here.
    is_foreign: bool,
    /// The first thing that no list of codings may have.
    fault: Option<Reject>,
}

impl Codings {
    pub(super) fn is_present(&self) -> bool {
        self.is_present
    }

    /// Takes in another field's value.
    pub(super) fn add(&mut self, value: &[u8]) {
        self.is_present = true;
        for coding in field::elements(value) {
            let fault = self.add_coding(coding).err();
            self.fault = self.fault.or(fault);
        }
    }

    fn add_coding(&mut self, coding: &[u8]) -> Result<(), Reject> {
        let is_chunked = coding.eq_ignore_ascii_case(b"chunked");
        if coding.eq_ignore_ascii_case(b"identity") {
            return Err(Reject::CODING_IDENTITY);
        }
        if !field::is_token(coding) {
            return Err(Reject::CODING_MALFORMED);
        }
        if self.is_chunked {
            return Err(if is_chunked { Reject::CODING_CHUNKED_TWICE } else { Reject::CODING_NOT_FINAL });
        }
        self.is_chunked = is_chunked;
        self.is_foreign |= !is_chunked;
        Ok(())
    }

    /// RFC 9112 §6.3: without a final `chunked` the length is unknown, 400; with codings before it that are not
    /// understood, §6.1 has 501.
    pub(super) fn framing(&self) -> Result<Framing, Reject> {
        match self.fault {
            Some(fault) => Err(fault),
            None if !self.is_chunked => Err(Reject::CODING_NOT_FINAL),
            None if self.is_foreign => Err(Reject::CODING_UNKNOWN),
            None => Ok(Framing::Chunked),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn framing(values: &[&str]) -> Result<Framing, Reject> {
        let mut codings = Codings::default();
        values.iter().for_each(|value| codings.add(value.as_bytes()));
        codings.framing()
    }

    #[test]
    fn a_length_is_digits_only() {
        assert_eq!(parse_length(b"0"), Ok(0));
        assert_eq!(parse_length(b"0003"), Ok(3));
        assert_eq!(parse_length(b"9223372036854775807"), Ok(MAX_LENGTH));
        for invalid in ["", "-1", "+1", "0_1", "0x3", "3 1", "3, 3", "\u{b2}"] {
            assert_eq!(parse_length(invalid.as_bytes()), Err(Reject::CONTENT_LENGTH_INVALID), "{invalid}");
        }
        for large in ["9223372036854775808", "18446744073709551616", "99999999999999999999999999999999999999"]
        {
            assert_eq!(parse_length(large.as_bytes()), Err(Reject::CONTENT_LENGTH_TOO_LARGE), "{large}");
        }
    }

    #[test]
    fn only_a_single_chunked_is_understood() {
        assert_eq!(framing(&["chunked"]), Ok(Framing::Chunked));
        assert_eq!(framing(&["ChunKed"]), Ok(Framing::Chunked));
        assert_eq!(framing(&["gzip, chunked"]), Err(Reject::CODING_UNKNOWN));
        assert_eq!(framing(&["gzip", "chunked"]), Err(Reject::CODING_UNKNOWN));
        assert_eq!(framing(&["chunked, chunked"]), Err(Reject::CODING_CHUNKED_TWICE));
        assert_eq!(framing(&["chunked", "chunked"]), Err(Reject::CODING_CHUNKED_TWICE));
        assert_eq!(framing(&["chunked", "gzip"]), Err(Reject::CODING_NOT_FINAL));
        assert_eq!(framing(&["chunked, identity"]), Err(Reject::CODING_IDENTITY));
        assert_eq!(framing(&["identity", "chunked"]), Err(Reject::CODING_IDENTITY));
        assert_eq!(framing(&["xchunked"]), Err(Reject::CODING_NOT_FINAL));
        for malformed in ["", "chunked,", ",chunked", "\"chunked\"", "chunked;a=b", "chun ked"] {
            assert_eq!(framing(&[malformed]), Err(Reject::CODING_MALFORMED), "{malformed}");
        }
    }
}
