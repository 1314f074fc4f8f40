//! The request line: method, target and version, checked. Not the forms of the target: `target.rs`.

use std::ops::RangeInclusive;

use super::field::{byte_table, is_token_byte};
use super::head::Span;
use super::leniency::Leniency;
use super::reject::Reject;
use super::target::{Extent, Target};

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
    /// The path has a `%`.
    pub(super) is_encoded: bool,
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
        let method_end = find_method_end(line, leniency)?;
        let (method, after) = line.split_at(method_end);
        let after = after.get(1..).ok_or(Reject::LINE_PARTS)?;
        let extent = find_target(after)?;
        let (target, after) = after.split_at(extent.end);
        let version = after.get(1..).ok_or(Reject::LINE_PARTS)?;
        let version = parse_version(version, leniency)?;
        if method == b"CONNECT" {
            return Err(Reject::CONNECT);
        }
        let parts = Target::parse(target, extent.mark, method == b"OPTIONS")?;
        let target_at = start + method_end + 1;
        Ok(RequestLine {
            method: Span::new(start, method.len()),
            target: Span::new(target_at, target.len()),
            is_encoded: parts.is_encoded,
            path: Span::within(target_at, parts.path),
            query: parts.query.map(|query| Span::within(target_at, query)),
            authority: parts.authority.map(|authority| Span::within(target_at, authority)),
            version,
            is_head: method == b"HEAD",
        })
    }
}

/// Where the method of a line ends. One in lower case may be changed.
fn find_method_end(line: &mut [u8], leniency: &Leniency) -> Result<usize, Reject> {
    let end = method_length(line);
    if LENGTHS.contains(&end) && line.get(end) == Some(&b' ') {
        return Ok(end);
    }
    let end = memchr::memchr(b' ', line).unwrap_or(line.len());
    let method = &mut line[..end];
    if check_method(method).is_err() {
        leniency.admit_method(method)?;
    }
    Ok(end)
}

pub(super) fn check_method(method: &[u8]) -> Result<(), Reject> {
    let is_valid = LENGTHS.contains(&method.len()) && method_length(method) == method.len();
    if is_valid { Ok(()) } else { Err(explain_method(method)) }
}

/// Of methods, in bytes.
const LENGTHS: RangeInclusive<usize> = 3..=20;

/// How many bytes at the start of `text` may stand in a method.
fn method_length(text: &[u8]) -> usize {
    text.iter().position(|&byte| !METHOD[usize::from(byte)]).unwrap_or(text.len())
}

/// What methods are made of: a token's bytes, but for `#` and lower case.
static METHOD: [bool; 256] =
    byte_table!(byte => is_token_byte(byte) && byte != b'#' && !byte.is_ascii_lowercase());

/// Why this is no method: its characters first, as far as a method can reach.
#[cold]
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

/// The target at the start of `text`: it ends at a space, or with the text.
fn find_target(text: &[u8]) -> Result<Extent, Reject> {
    let extent = Extent::of(text);
    match text.get(extent.end) {
        Some(b' ') | None if extent.end == 0 => Err(Reject::TARGET_EMPTY),
        Some(b' ') | None => Ok(extent),
        Some(_) => Err(Reject::TARGET_BYTES),
    }
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
