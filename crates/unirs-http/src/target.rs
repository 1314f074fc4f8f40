//! The forms of a request target, authorities, and percent-decoding. No normalising: what was sent is what is seen.

use std::net::Ipv6Addr;
use std::ops::Range;

use super::field::byte_table;
use super::reject::Reject;

/// Where the parts of a target are, as places in it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) path: Range<usize>,
    /// The path has a `%`.
    pub(super) is_encoded: bool,
    pub(super) query: Option<Range<usize>>,
    pub(super) authority: Option<Range<usize>>,
}

/// How far the printable bytes reach at the start of a text, and where among them the first is that splits a target or
/// encodes it: `?`, `#` or `%`. Without one the mark is at the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Extent {
    pub(super) end: usize,
    pub(super) mark: usize,
}

impl Extent {
    pub(super) fn of(text: &[u8]) -> Extent {
        let mark = text.iter().position(|&byte| !PLAIN[usize::from(byte)]).unwrap_or(text.len());
        let printable = text[mark..].iter().position(|byte| !byte.is_ascii_graphic());
        Extent { end: printable.map_or(text.len(), |length| mark + length), mark }
    }
}

/// Printable, and no mark.
static PLAIN: [bool; 256] =
    byte_table!(byte => byte.is_ascii_graphic() && !matches!(byte, b'?' | b'#' | b'%'));

impl Target {
    /// Reads a target of printable ASCII (RFC 9112 §3.2) that is not CONNECT's; its first mark is at `mark`. A fragment,
    /// which should not be there, is left out of both path and query.
    pub(super) fn parse(target: &[u8], mark: usize, is_options: bool) -> Result<Target, Reject> {
        match target {
            [b'/', ..] => Ok(Target::split(target, 0, mark, 0, None)),
            b"*" if is_options => Ok(Target { path: 0..1, is_encoded: false, query: None, authority: None }),
            b"*" => Err(Reject::ASTERISK),
            _ => Target::parse_absolute(target),
        }
    }

    fn parse_absolute(target: &[u8]) -> Result<Target, Reject> {
        let is_https = starts_with_ignoring_case(target, b"https://");
        if !is_https && !starts_with_ignoring_case(target, b"http://") {
            return Err(Reject::TARGET_FORM);
        }
        let slashes = if is_https { 6 } else { 5 };
        let start = slashes + 2;
        let after = &target[start..];
        let length = memchr::memchr3(b'/', b'?', b'#', after).unwrap_or(after.len());
        let authority = start..start + length;
        if !is_authority(&target[authority.clone()]) {
            return Err(Reject::TARGET_AUTHORITY);
        }
        // All transports are plain so far.
        if is_https {
            return Err(Reject::TARGET_HTTPS);
        }
        let mark = authority.end + Extent::of(&target[authority.end..]).mark;
        Ok(Target::split(target, authority.end, mark, slashes, Some(authority)))
    }

    /// Splits what follows `start`, with the first mark at `mark`, at `?` and `#`. An empty path is `/` (RFC 9110 §4.2.3),
    /// for which any slash of the target serves: the one at `slash`.
    fn split(
        target: &[u8],
        start: usize,
        mark: usize,
        slash: usize,
        authority: Option<Range<usize>>,
    ) -> Target {
        let find = |from: usize, found: Option<usize>| found.map_or(target.len(), |offset| from + offset);
        let is_encoded = target.get(mark) == Some(&b'%');
        let end = if is_encoded { find(mark, memchr::memchr2(b'?', b'#', &target[mark..])) } else { mark };
        let query = (target.get(end) == Some(&b'?')).then(|| {
            let query = end + 1;
            query..find(query, memchr::memchr(b'#', &target[query..]))
        });
        let path = if end > start { start..end } else { slash..slash + 1 };
        Target { path, is_encoded, query, authority }
    }
}

fn starts_with_ignoring_case(text: &[u8], prefix: &[u8]) -> bool {
    text.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix))
}

/// Whether this is `uri-host [ ":" port ]` (RFC 9110 §7.2) with a host that is not empty, and no user name.
pub(super) fn is_authority(value: &[u8]) -> bool {
    let (host_is_valid, rest) = match value {
        [b'[', inside @ ..] => {
            let Some(close) = memchr::memchr(b']', inside) else {
                return false;
            };
            (is_ip_literal(&inside[..close]), &inside[close + 1..])
        }
        _ => {
            let length = reg_name_length(value);
            (length > 0, &value[length..])
        }
    };
    host_is_valid && is_port_part(rest)
}

/// Nothing, or a colon and a port number, which may be empty (RFC 3986 §3.2.3).
fn is_port_part(rest: &[u8]) -> bool {
    let Some((colon, digits)) = rest.split_first() else {
        return true;
    };
    let mut port = 0u32;
    for digit in digits {
        if !digit.is_ascii_digit() || port > 65_535 {
            return false;
        }
        port = port * 10 + u32::from(digit - b'0');
    }
    *colon == b':' && port <= 65_535
}

/// How much of `value`, from its start, is a name or an IPv4 address (RFC 3986 §3.2.2).
fn reg_name_length(value: &[u8]) -> usize {
    let mut rest = value;
    while let Some(at) = rest.iter().position(|&byte| !is_host_byte(byte)) {
        rest = &rest[at..];
        match rest {
            [b'%', high, low, after @ ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                rest = after;
            }
            _ => return value.len() - rest.len(),
        }
    }
    value.len()
}

#[inline]
fn is_host_byte(byte: u8) -> bool {
    HOST[usize::from(byte)]
}

/// unreserved and sub-delims of RFC 3986 §2.
static HOST: [bool; 256] = byte_table!(byte => byte.is_ascii_alphanumeric()
    || matches!(byte, b'-' | b'.' | b'_' | b'~' | b'!' | b'$' | b'&' | b'\'' | b'(' | b')')
    || matches!(byte, b'*' | b'+' | b',' | b';' | b'='));

/// What stands between `[` and `]`: an IPv6 address, or an address of a future version.
fn is_ip_literal(literal: &[u8]) -> bool {
    if let [b'v' | b'V', future @ ..] = literal {
        let Some(dot) = future.iter().position(|&byte| byte == b'.') else {
            return false;
        };
        let (version, address) = (&future[..dot], &future[dot + 1..]);
        return !version.is_empty()
            && version.iter().all(u8::is_ascii_hexdigit)
            && !address.is_empty()
            && address.iter().all(|&byte| is_host_byte(byte) || byte == b':');
    }
    str::from_utf8(literal).is_ok_and(|text| text.parse::<Ipv6Addr>().is_ok())
}

/// Appends `raw` to `out` with each `%` and two hexadecimal digits replaced by the byte that they name, once. A `%`
/// without two digits stays as it is.
///
/// ```
/// let mut path = Vec::new();
/// unirs_http::percent_decode(b"/a%20b%2525%zz", &mut path);
/// assert_eq!(path, b"/a b%25%zz");
/// ```
pub fn percent_decode(raw: &[u8], out: &mut Vec<u8>) {
    out.reserve(raw.len());
    let mut rest = raw;
    while let Some(at) = memchr::memchr(b'%', rest) {
        out.extend_from_slice(&rest[..at]);
        let decoded = match rest[at + 1..] {
            [high, low, ..] => hex_value(high).zip(hex_value(low)),
            _ => None,
        };
        let (byte, length) = decoded.map_or((b'%', 1), |(high, low)| (high << 4 | low, 3));
        out.push(byte);
        rest = &rest[at + length..];
    }
    out.extend_from_slice(rest);
}

/// The value of a hexadecimal digit.
pub(super) fn hex_value(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_with_and_without_ports_are_authorities() {
        for valid in [
            "a",
            "a.b-c_d~e",
            "127.0.0.1",
            "127.0.0.1:8000",
            "a:",
            "a:0",
            "a:65535",
            "[::1]",
            "[::1]:80",
            "a%20b",
            "a,b",
            "[v1.fe:x]",
            "xn--bcher-kva.example:00080",
        ] {
            assert!(is_authority(valid.as_bytes()), "{valid}");
        }
    }

    #[test]
    fn what_is_no_host_with_a_port_is_no_authority() {
        for invalid in [
            "",
            ":",
            ":80",
            "a:b",
            "a:65536",
            "a:99999999999999999999",
            "a b",
            "a/b",
            "a@b",
            "u:p@b",
            "[::1",
            "::1",
            "[]",
            "[::1]x",
            "[::1]80",
            "[fe80::1%25eth0]",
            "a%2",
            "a%zz",
            "a\\b",
            "a?b",
            "a#b",
            "[v1]",
            "[v.a]",
            "a:80:80",
            "\u{e9}",
            "a\"b",
            "a<b",
            "[127.0.0.1]",
        ] {
            assert!(!is_authority(invalid.as_bytes()), "{invalid}");
        }
    }

    fn parse(target: &[u8]) -> Result<Target, Reject> {
        Target::parse(target, Extent::of(target).mark, false)
    }

    #[test]
    fn an_extent_ends_with_the_printable_bytes_and_marks_what_splits_or_encodes() {
        for (text, end, mark) in
            [("/a?b#c d", 6, 2), ("/a%20?b", 7, 2), ("/a b?", 2, 2), ("", 0, 0), ("?", 1, 0)]
        {
            assert_eq!(Extent::of(text.as_bytes()), Extent { end, mark }, "{text}");
        }
        assert_eq!(Extent::of(b"/a#\xe9"), Extent { end: 3, mark: 2 });
    }

    #[test]
    fn a_target_is_split_at_the_first_question_mark() {
        let target = parse(b"/a?b?c").expect("valid");
        assert_eq!(target, Target { path: 0..2, is_encoded: false, query: Some(3..6), authority: None });
        let target = parse(b"/?").expect("valid");
        assert_eq!(target, Target { path: 0..1, is_encoded: false, query: Some(2..2), authority: None });
    }

    #[test]
    fn a_fragment_is_neither_path_nor_query() {
        let target = parse(b"/a#b?c").expect("valid");
        assert_eq!(target, Target { path: 0..2, is_encoded: false, query: None, authority: None });
        let target = parse(b"/a?b#c").expect("valid");
        assert_eq!(target, Target { path: 0..2, is_encoded: false, query: Some(3..4), authority: None });
    }

    #[test]
    fn a_path_is_encoded_when_it_has_a_percent_sign_itself() {
        for (text, path, is_encoded) in [
            ("/a%20b", 0..6, true),
            ("/a%20b?c", 0..6, true),
            ("/%#?", 0..2, true),
            ("/a?%20", 0..2, false),
            ("/a#%20", 0..2, false),
            ("http://a%20b/c?%", 12..14, false),
            ("http://a%20b/%41", 12..16, true),
        ] {
            let target = parse(text.as_bytes()).expect("valid");
            assert_eq!((target.path, target.is_encoded), (path, is_encoded), "{text}");
        }
    }

    #[test]
    fn the_absolute_form_names_its_authority_and_its_path_may_be_empty() {
        let target = parse(b"http://a:80?q").expect("valid");
        assert_eq!(
            target,
            Target { path: 5..6, is_encoded: false, query: Some(12..13), authority: Some(7..11) }
        );
        let target = parse(b"HTTP://a/b").expect("valid");
        assert_eq!(target, Target { path: 8..10, is_encoded: false, query: None, authority: Some(7..8) });
        assert_eq!(parse(b"HTTPS://a/b"), Err(Reject::TARGET_HTTPS));
        assert_eq!(parse(b"https://"), Err(Reject::TARGET_AUTHORITY));
        assert_eq!(parse(b"http://"), Err(Reject::TARGET_AUTHORITY));
        assert_eq!(parse(b"http:/a"), Err(Reject::TARGET_FORM));
    }

    #[test]
    fn percent_decoding_keeps_what_it_cannot_decode() {
        let mut out = b"kept".to_vec();
        percent_decode(b"%41%4a%4A%%41%4%", &mut out);
        assert_eq!(out, b"keptAJJ%A%4%");
    }
}
