//! The request line: method, target and version, checked. Not the forms of the target: `target.rs`.

use super::field::{byte_table, is_token_byte};
use super::head::Span;
use super::leniency::Leniency;
use super::reject::Reject;
use super::target::Target;

/// The version of HTTP that a request speaks, and that its response says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Version {
    /// HTTP/1.0: no chunks, closes unless asked not to.
    Http10,
    /// HTTP/1.1.
    #[default]
    Http11,
}

impl Version {
    /// As it is written: `HTTP/1.1`.
    pub fn as_str(self) -> &'static str {
        match self {
            Version::Http10 => "HTTP/1.0",
            Version::Http11 => "HTTP/1.1",
        }
    }
}

/// The parts of a valid request line.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct RequestLine {
    pub(super) method: Span,
    pub(super) target: Span,
    pub(super) path: Span,
    pub(super) query: Option<Span>,
    /// Of the absolute form.
    pub(super) authority: Option<Span>,
    pub(super) version: Version,
    pub(super) is_head: bool,
}

impl RequestLine {
    /// Reads `bytes[start..end]`, a line without its CRLF. A method in lower case may be changed.
    pub(super) fn parse(
        bytes: &mut [u8],
        start: usize,
        end: usize,
        leniency: &Leniency,
    ) -> Result<RequestLine, Reject> {
        let line = &mut bytes[start..end];
        let method_end = memchr::memchr(b' ', line).unwrap_or(line.len());
        if check_method(&line[..method_end]).is_err() {
            leniency.admit_method(&mut line[..method_end])?;
        }
        let line = &bytes[start..end];
        let method = &line[..method_end];

        let after = line.get(method_end + 1..).ok_or(Reject::LINE_PARTS)?;
        let target_end = memchr::memchr(b' ', after).unwrap_or(after.len());
        let target = &after[..target_end];
        check_target_bytes(target)?;

        let version = after.get(target_end + 1..).ok_or(Reject::LINE_PARTS)?;
        let version = parse_version(version, leniency)?;
        if method == b"CONNECT" {
            return Err(Reject::CONNECT);
        }
        let parts = Target::parse(target, method == b"OPTIONS")?;
        let target_at = start + method_end + 1;
        Ok(RequestLine {
            method: Span::new(start, method.len()),
            target: Span::new(target_at, target.len()),
            path: Span::within(target_at, parts.path),
            query: parts.query.map(|query| Span::within(target_at, query)),
            authority: parts.authority.map(|authority| Span::within(target_at, authority)),
            version,
            is_head: method == b"HEAD",
        })
    }
}

pub(super) fn check_method(method: &[u8]) -> Result<(), Reject> {
    let is_valid = (3..=20).contains(&method.len()) && method.iter().all(|&byte| METHOD[usize::from(byte)]);
    if is_valid { Ok(()) } else { Err(explain_method(method)) }
}

/// What methods are made of: a token's bytes, but for `#` and lower case.
static METHOD: [bool; 256] =
    byte_table!(byte => is_token_byte(byte) && byte != b'#' && !byte.is_ascii_lowercase());

/// Why this is no method: its characters first, as far as a method can reach.
fn explain_method(method: &[u8]) -> Reject {
    let seen = &method[..method.len().min(21)];
    if seen.iter().any(|&byte| !is_token_byte(byte) || byte == b'#') {
        Reject::METHOD_TOKEN
    } else if seen.iter().any(u8::is_ascii_lowercase) {
        Reject::METHOD_CASE
    } else {
        Reject::METHOD_LENGTH
    }
}

fn check_target_bytes(target: &[u8]) -> Result<(), Reject> {
    if target.is_empty() {
        return Err(Reject::TARGET_EMPTY);
    }
    // Without a way out of the loop, so that the compiler can make it wide.
    let strange = target.iter().fold(false, |strange, byte| strange | !byte.is_ascii_graphic());
    if strange { Err(Reject::TARGET_BYTES) } else { Ok(()) }
}

fn parse_version(version: &[u8], leniency: &Leniency) -> Result<Version, Reject> {
    match version {
        b"HTTP/1.1" => Ok(Version::Http11),
        b"HTTP/1.0" => Ok(Version::Http10),
        [b'H', b'T', b'T', b'P', b'/', major @ b'0'..=b'9', b'.', minor @ b'0'..=b'9'] => {
            leniency.admit_version(*major, *minor)
        }
        _ if version.contains(&b' ') => Err(Reject::LINE_PARTS),
        _ => Err(Reject::VERSION_MALFORMED),
    }
}
