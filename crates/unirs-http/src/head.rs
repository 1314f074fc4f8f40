//! The head of a request: what its bytes say, as places in them. Not the body, and not the buffer that holds them.

use super::field;
use super::fields::{Facts, FieldBlock};
use super::framing::Framing;
use super::leniency::Leniency;
use super::reject::Reject;
use super::request_line::{RequestLine, Version};
use super::scan::{FieldScan, Limits, LineScan};

/// A run of bytes of a head. 32 bits are enough: a head is never larger (`RequestHead::parse`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Span {
    start: u32,
    len: u32,
}

impl Span {
    pub(super) fn new(start: usize, len: usize) -> Span {
        Span { start: start as u32, len: len as u32 }
    }

    /// `range` of a part that begins at `base`.
    pub(super) fn within(base: usize, range: std::ops::Range<usize>) -> Span {
        Span::new(base + range.start, range.len())
    }

    #[inline]
    pub(super) fn of(self, bytes: &[u8]) -> &[u8] {
        let start = self.start as usize;
        &bytes[start..start + self.len as usize]
    }

    #[inline]
    pub(super) fn of_mut(self, bytes: &mut [u8]) -> &mut [u8] {
        let start = self.start as usize;
        &mut bytes[start..start + self.len as usize]
    }
}

/// A header field of a request, borrowed from its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FieldView<'a> {
    /// Lower-case.
    pub name: &'a [u8],
    /// Without the white space around it; any bytes but controls.
    pub value: &'a [u8],
    /// Its number in [`field::NAMES`](super::field::NAMES) plus one, or 0.
    pub known: u32,
}

/// The head of one request after another: it keeps its allocations, and only places in the bytes that it was given.
///
/// Whoever owns the bytes gives the same ones to [`parse`](RequestHead::parse) and to every question after it; after
/// other bytes the answers are nonsense or a panic, never undefined.
#[derive(Debug, Default)]
pub struct RequestHead {
    stage: Stage,
    line: RequestLine,
    fields: FieldBlock,
    facts: Facts,
    framing: Framing,
    /// Stays when all else is cleared.
    leniency: Leniency,
}

/// How far a head has been read.
#[derive(Clone, Copy, Debug)]
enum Stage {
    /// The request line is looked for.
    Line(LineScan),
    /// The request line is valid, and the fields that begin at `start` are looked for.
    Fields { start: usize, scan: FieldScan },
    /// The head is this long.
    Complete(usize),
}

impl Default for Stage {
    fn default() -> Stage {
        Stage::Line(LineScan::default())
    }
}

/// Beyond this many fields `clear` gives memory back.
const KEPT_FIELDS: usize = 128;

impl RequestHead {
    /// Ready for the first head.
    pub fn new() -> RequestHead {
        RequestHead::default()
    }

    /// The same, for heads that are forgiven some faults.
    ///
    /// ```
    /// use unirs_http::{Leniency, Limits, RequestHead};
    ///
    /// let mut received = b"get / HTTP/1.1\r\nHost: a\r\n\r\n".to_vec();
    /// let mut head = RequestHead::with_leniency(Leniency { methods_in_any_case: true, ..Leniency::default() });
    /// assert!(head.parse(&mut received, &Limits::default())?.is_some());
    /// assert_eq!(head.method(&received), b"GET");
    /// # Ok::<(), unirs_http::Reject>(())
    /// ```
    pub fn with_leniency(leniency: Leniency) -> RequestHead {
        RequestHead { leniency, ..RequestHead::default() }
    }

    /// Forgets the head: ready for the next one. Needed after every head, complete, refused or given up.
    pub fn clear(&mut self) {
        self.fields.clear(KEPT_FIELDS);
        self.stage = Stage::default();
        self.line = RequestLine::default();
        self.facts = Facts::default();
        self.framing = Framing::default();
    }

    /// Reads a head. `bytes` is everything received from its first byte on; `Ok(None)` means that the head is not all
    /// there yet, `Ok(Some(n))` that it is valid and `n` bytes long (an empty line before it included).
    ///
    /// It remembers how far it has looked, so a head that comes byte by byte costs no more than its length. What is
    /// refused, and why, does not depend on how the bytes were cut. Field names are made lower-case in place, and what a
    /// [`Leniency`] forgives is mended in place.
    ///
    /// # Errors
    /// The first thing that is wrong, at the first byte that shows it; only field lines are judged when the head is
    /// complete (but for their lengths, ends and number).
    pub fn parse(&mut self, bytes: &mut [u8], limits: &Limits) -> Result<Option<usize>, Reject> {
        let max = limits.head.min(u32::MAX as usize);
        let seen = bytes.len().min(max);
        if let Stage::Line(scan) = &mut self.stage {
            let Some((line, start)) = find_request_line(scan, &mut bytes[..seen], limits, &self.leniency)?
            else {
                return not_yet(bytes, max);
            };
            self.line = line;
            let scan = FieldScan::starting_at(start, self.leniency.folded_fields);
            self.stage = Stage::Fields { start, scan };
        }
        if let Stage::Fields { start, scan } = &mut self.stage {
            let Some(end) = scan.end(&bytes[..seen], limits)? else {
                return not_yet(bytes, max);
            };
            self.fields.read(&mut bytes[..end], *start, scan.count, &self.leniency)?;
            self.facts.read(&self.fields, bytes)?;
            self.framing = self.facts.check(bytes, &self.line)?;
            self.stage = Stage::Complete(end);
        }
        match self.stage {
            Stage::Complete(end) => Ok(Some(end)),
            Stage::Line(_) | Stage::Fields { .. } => Ok(None),
        }
    }

    /// As sent, a token in upper case; unless a [`Leniency`] has it otherwise.
    pub fn method<'a>(&self, bytes: &'a [u8]) -> &'a [u8] {
        self.line.method.of(bytes)
    }

    /// The request target as sent.
    pub fn target<'a>(&self, bytes: &'a [u8]) -> &'a [u8] {
        self.line.target.of(bytes)
    }

    /// The path as sent, not decoded: begins with `/`, or is `*`.
    pub fn path<'a>(&self, bytes: &'a [u8]) -> &'a [u8] {
        self.line.path.of(bytes)
    }

    /// Whether the path has a `%`: to decode it would change it, or leave a mistake of the client's as it is.
    pub fn is_path_encoded(&self) -> bool {
        self.line.is_encoded
    }

    /// What follows the first `?`; `None` when there is none.
    pub fn query<'a>(&self, bytes: &'a [u8]) -> Option<&'a [u8]> {
        self.line.query.map(|query| query.of(bytes))
    }

    /// Host and port as the client named them: of an absolute target, else of the Host field, else (HTTP/1.0) empty.
    pub fn authority<'a>(&self, bytes: &'a [u8]) -> &'a [u8] {
        self.line.authority.or(self.facts.host).map_or(&[], |authority| authority.of(bytes))
    }

    /// How many fields there are.
    pub fn field_count(&self) -> usize {
        self.fields.len()
    }

    /// The field at `index`, in the order in which they were sent.
    ///
    /// # Panics
    /// When there are no more than `index` fields.
    pub fn field<'a>(&self, index: usize, bytes: &'a [u8]) -> FieldView<'a> {
        self.fields.view(index, bytes)
    }

    /// All fields in the order in which they were sent.
    pub fn fields<'a>(&self, bytes: &'a [u8]) -> impl ExactSizeIterator<Item = FieldView<'a>> {
        (0..self.fields.len()).map(move |index| self.fields.view(index, bytes))
    }

    /// The value of the first field of this name, which may be in any case.
    pub fn find<'a>(&self, name: &str, bytes: &'a [u8]) -> Option<&'a [u8]> {
        self.fields(bytes)
            .find(|field| field.name.eq_ignore_ascii_case(name.as_bytes()))
            .map(|field| field.value)
    }

    /// The value of the first field with this number (see [`field::known`](super::field::known)).
    pub fn find_known<'a>(&self, known: u32, bytes: &'a [u8]) -> Option<&'a [u8]> {
        self.fields.find_known(known).map(|index| self.fields.view(index, bytes).value)
    }

    /// The version that the client speaks.
    pub fn version(&self) -> Version {
        self.line.version
    }

    /// How the body's end is found.
    pub fn framing(&self) -> Framing {
        self.framing
    }

    /// Whether the client wants to use the connection again (RFC 9112 §9.3).
    pub fn keep_alive(&self) -> bool {
        let asked = match self.line.version {
            Version::Http10 => self.facts.wants_keep_alive,
            Version::Http11 => true,
        };
        asked && !self.facts.wants_close
    }

    /// Whether the client waits for a `100 Continue` before it sends the body; never without a body to come
    /// (RFC 9110 §10.1.1).
    pub fn expects_continue(&self) -> bool {
        self.facts.expects_continue && !matches!(self.framing, Framing::None | Framing::Length(0))
    }

    /// Whether the method is HEAD: the response has no body.
    pub fn is_head(&self) -> bool {
        self.line.is_head
    }

    /// What a proxy that is trusted says about the client's scheme, in Gunicorn's three fields (`X-Forwarded-Proto:
    /// https`, `X-Forwarded-Protocol: ssl`, `X-Forwarded-Ssl: on`): `Some(true)` is https, `None` that it says nothing.
    ///
    /// # Errors
    /// When they contradict each other.
    pub fn forwarded_https(&self, bytes: &[u8]) -> Result<Option<bool>, Reject> {
        let mut said = None;
        for field in self.fields(bytes) {
            let secure: &[u8] = match field.name {
                b"x-forwarded-proto" => b"https",
                b"x-forwarded-protocol" => b"ssl",
                b"x-forwarded-ssl" => b"on",
                _ => continue,
            };
            let is_https = field.value.eq_ignore_ascii_case(secure);
            if said.is_some_and(|before| before != is_https) {
                return Err(Reject::FORWARDED_SCHEME);
            }
            said = Some(is_https);
        }
        Ok(said)
    }
}

/// The request line and the place after it, or `None` when it is not all there yet.
fn find_request_line(
    scan: &mut LineScan,
    window: &mut [u8],
    limits: &Limits,
    leniency: &Leniency,
) -> Result<Option<(RequestLine, usize)>, Reject> {
    if scan.start == 0 && !skip_empty_line(scan, window)? {
        return Ok(None);
    }
    let start = scan.start;
    match window.get(start) {
        Some(&byte) if field::is_token_byte(byte) => {}
        Some(b'\n') => return Err(Reject::BARE_LF),
        Some(b'\r') => return Err(Reject::EMPTY_LINES),
        Some(_) => return Err(Reject::NOT_HTTP),
        None => return Ok(None),
    }
    let Some(end) = scan.next(window, limits.line_max(), Reject::LINE_TOO_LONG)? else {
        return Ok(None);
    };
    let line = RequestLine::parse(window, start, end, leniency)?;
    Ok(Some((line, scan.start)))
}

/// Passes one CRLF, which some clients send after a body (RFC 9112 §2.2). False: more bytes are needed to tell.
fn skip_empty_line(scan: &mut LineScan, window: &[u8]) -> Result<bool, Reject> {
    match window {
        [] | [b'\r'] => return Ok(false),
        [b'\r', b'\n', ..] => *scan = LineScan::starting_at(2),
        [b'\r', ..] => return Err(Reject::BARE_CR),
        _ => {}
    }
    Ok(true)
}

/// Nothing yet, unless there is no room left for the rest.
fn not_yet(bytes: &[u8], max: usize) -> Result<Option<usize>, Reject> {
    if bytes.len() >= max { Err(Reject::HEAD_TOO_LARGE) } else { Ok(None) }
}

#[cfg(test)]
#[path = "head_tests.rs"]
mod tests;
