//! Field names and values: which bytes they may have, and the numbers of the well-known names. Not a field block:
//! `fields.rs`.

use super::word;

/// The well-known names, lower-case; the number of a name is its place here plus one, and 0 is any other. The order is
/// that of the interface crate, for ever (a test compares them): `http` imports nothing of it.
pub const NAMES: [&str; 40] = [
    "accept",
    "accept-charset",
    "accept-encoding",
    "accept-language",
    "authorization",
    "cache-control",
    "connection",
    "content-disposition",
    "content-encoding",
    "content-language",
    "content-length",
    "content-type",
    "cookie",
    "date",
    "dnt",
    "etag",
    "expect",
    "forwarded",
    "from",
    "host",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "if-range",
    "if-unmodified-since",
    "keep-alive",
    "origin",
    "pragma",
    "range",
    "referer",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "upgrade-insecure-requests",
    "user-agent",
    "via",
    "x-forwarded-for",
    "x-forwarded-proto",
    "x-request-id",
];

pub(super) const AUTHORIZATION: u32 = number("authorization");
pub(super) const CONNECTION: u32 = number("connection");
pub(super) const CONTENT_LENGTH: u32 = number("content-length");
pub(super) const CONTENT_TYPE: u32 = number("content-type");
pub(super) const EXPECT: u32 = number("expect");
pub(super) const HOST: u32 = number("host");
pub(super) const TE: u32 = number("te");
pub(super) const TRAILER: u32 = number("trailer");
pub(super) const TRANSFER_ENCODING: u32 = number("transfer-encoding");

/// The number of a lower-case name, or 0.
///
/// ```
/// use unirs_http::field::{NAMES, known};
///
/// assert_eq!(known(b"accept"), 1);
/// assert_eq!(NAMES[known(b"host") as usize - 1], "host");
/// assert_eq!(known(b"x-anything"), 0);
/// ```
pub fn known(name: &[u8]) -> u32 {
    let number = NUMBERS[place(name)];
    match NAMES.get(usize::from(number).wrapping_sub(1)) {
        Some(candidate) if candidate.as_bytes() == name => u32::from(number),
        _ => 0,
    }
}

/// Whether this is a token (RFC 9110 §5.6.2): what names, methods and codings are made of.
pub fn is_token(text: &[u8]) -> bool {
    // Without a way out of the loop: a name is short, and hardly ever no token.
    !text.is_empty() && text.iter().fold(true, |all, &byte| all & is_token_byte(byte))
}

/// Whether every byte may stand in a field's value (RFC 9110 §5.5): no control but TAB.
pub fn is_value(value: &[u8]) -> bool {
    let (eights, rest) = value.as_chunks::<8>();
    let has_control = eights.iter().any(|eight| {
        let word = u64::from_le_bytes(*eight);
        // A TAB is below, and allowed: so the bytes are asked one by one then.
        (word::has_below(word, b' ') || word::has(word, 0x7f)) && !eight.iter().all(is_value_byte)
    });
    !has_control && rest.iter().all(is_value_byte)
}

fn is_value_byte(byte: &u8) -> bool {
    (*byte >= b' ' || *byte == b'\t') && *byte != 0x7f
}

/// Whether the byte may stand in a token.
#[inline]
pub const fn is_token_byte(byte: u8) -> bool {
    TOKEN[byte as usize]
}

/// Without the spaces and tabs around it.
pub fn trim(mut value: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] = value {
        value = rest;
    }
    while let [rest @ .., b' ' | b'\t'] = value {
        value = rest;
    }
    value
}

/// The elements of a list (RFC 9110 §5.6.1), empty ones too, without the white space around them.
pub(super) fn elements(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|&byte| byte == b',').map(trim)
}

/// A table of the bytes for which `$is` says true, made at compile time: one load decides about a byte.
macro_rules! byte_table {
    ($byte:ident => $is:expr) => {{
        let mut table = [false; 256];
        let mut index = 0;
        while index < 256 {
            let $byte = index as u8;
            table[index] = $is;
            index += 1;
        }
        table
    }};
}
pub(super) use byte_table;

static TOKEN: [bool; 256] = byte_table!(byte => byte.is_ascii_alphanumeric()
    || matches!(byte, b'!' | b'#' | b'$' | b'%' | b'&' | b'\'' | b'*' | b'+' | b'-' | b'.')
    || matches!(byte, b'^' | b'_' | b'`' | b'|' | b'~'));

/// Each known name has a place of its own here: the compiler checks that no two meet.
const PLACES: [u8; 128] = {
    let mut numbers = [0; 128];
    let mut index = 0;
    while index < NAMES.len() {
        let place = place(NAMES[index].as_bytes());
        assert!(numbers[place] == 0, "two names meet: other factors are needed");
        index += 1;
        numbers[place] = index as u8;
    }
    numbers
};

static NUMBERS: [u8; 128] = PLACES;

/// A perfect hash of the known names from length, first and last byte.
#[inline]
const fn place(name: &[u8]) -> usize {
    let (first, last) = match name {
        [] => (0, 0),
        [first, .., last] => (*first as usize, *last as usize),
        [only] => (*only as usize, *only as usize),
    };
    (name.len() + first * 3 + last * 57) & 127
}

/// The number of a name that is known to be known, at compile time.
const fn number(name: &str) -> u32 {
    let number = PLACES[place(name.as_bytes())];
    assert!(number != 0, "no well-known name");
    number as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_well_known_name_has_its_own_number() {
        for (index, name) in NAMES.iter().enumerate() {
            assert_eq!(known(name.as_bytes()) as usize, index + 1, "{name}");
        }
    }

    #[test]
    fn other_names_have_number_zero() {
        for name in ["", "a", "hosts", "hast", "Host", "accepT", "x-forwarded-port", "content-lengtj"] {
            assert_eq!(known(name.as_bytes()), 0, "{name}");
        }
    }

    #[test]
    fn constants_name_what_they_say() {
        assert_eq!(NAMES[HOST as usize - 1], "host");
        assert_eq!(NAMES[TE as usize - 1], "te");
        assert_eq!(NAMES[TRANSFER_ENCODING as usize - 1], "transfer-encoding");
    }

    #[test]
    fn every_byte_of_a_value_is_judged_wherever_it_stands() {
        for byte in 0..=255u8 {
            let may_stand = byte == b'\t' || byte >= b' ' && byte != 0x7f;
            for at in 0..20 {
                let mut value = *b"text/plain; charset=";
                value[at] = byte;
                assert_eq!(is_value(&value), may_stand, "{byte} at {at}");
            }
        }
    }

    #[test]
    fn trimming_takes_spaces_and_tabs_only() {
        assert_eq!(trim(b" \t a b\t "), b"a b");
        assert_eq!(trim(b"\x0ba"), b"\x0ba");
        assert_eq!(trim(b" \t"), b"");
    }
}
