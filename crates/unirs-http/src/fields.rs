//! A block of field lines: a head's or the trailers'. Parsed by httparse; what it is lax about is checked here.

use httparse::Header;

use super::field;
use super::framing::{Codings, Framing, parse_length};
use super::head::{FieldView, Span};
use super::leniency::{Leniency, Underscores};
use super::reject::Reject;
use super::request_line::{RequestLine, Version};
use super::target::is_authority;
use super::word::{self, each};

/// One field, as places in the bytes.
#[derive(Clone, Copy, Debug)]
struct Field {
    name: Span,
    value: Span,
    known: u32,
}

/// The fields of a head.
#[derive(Debug, Default)]
pub(super) struct FieldBlock {
    fields: Vec<Field>,
}

impl FieldBlock {
    pub(super) fn clear(&mut self, kept: usize) {
        self.fields.clear();
        self.fields.shrink_to(kept);
    }

    #[cfg(test)]
    pub(super) fn capacity(&self) -> usize {
        self.fields.capacity()
    }

    pub(super) fn len(&self) -> usize {
        self.fields.len()
    }

    #[inline]
    pub(super) fn view<'a>(&self, index: usize, bytes: &'a [u8]) -> FieldView<'a> {
        let field = &self.fields[index];
        FieldView { name: field.name.of(bytes), value: field.value.of(bytes), known: field.known }
    }

    pub(super) fn find_known(&self, known: u32) -> Option<usize> {
        self.fields.iter().position(|field| field.known == known)
    }

    /// Reads the `count` field lines of `bytes[start..]`, which ends with their empty line.
    pub(super) fn read(
        &mut self,
        bytes: &mut [u8],
        start: usize,
        count: usize,
        leniency: &Leniency,
    ) -> Result<(), Reject> {
        self.fields.reserve(count);
        match self.find(bytes, start, count) {
            Err(_) if leniency.mends() => {
                leniency.mend(&mut bytes[start..]);
                self.find(bytes, start, count)?;
            }
            result => result?,
        }
        let keeps_all = leniency.underscores == Underscores::Kept;
        self.fields.retain_mut(|field| lower_case(field.name.of_mut(bytes)) || keeps_all);
        if self.fields.len() < count && leniency.underscores == Underscores::Refused {
            return Err(Reject::FIELD_NAME_UNDERSCORE);
        }
        for field in &mut self.fields {
            field.known = field::known(field.name.of(bytes));
        }
        Ok(())
    }

    /// Takes note of where the fields are.
    fn find(&mut self, bytes: &[u8], start: usize, count: usize) -> Result<(), Reject> {
        let base = bytes.as_ptr().addr();
        with_parsed(&bytes[start..], count, |header| {
            let name = Span::new(header.name.as_ptr().addr() - base, header.name.len());
            let value = Span::new(header.value.as_ptr().addr() - base, header.value.len());
            self.fields.push(Field { name, value, known: 0 });
        })
    }
}

/// Makes a name lower-case. False when it has an underscore.
///
/// A name is ASCII, so eight bytes go at once: names are most of what is not a value.
fn lower_case(name: &mut [u8]) -> bool {
    let (eights, rest) = name.as_chunks_mut::<8>();
    let mut has_underscore = false;
    for eight in eights {
        let word = u64::from_le_bytes(*eight);
        has_underscore |= word::has(word, b'_');
        *eight = (word | upper_case_bytes(word) >> 2).to_le_bytes();
    }
    for byte in rest {
        has_underscore |= *byte == b'_';
        *byte = byte.to_ascii_lowercase();
    }
    !has_underscore
}

/// 0x80 for the letters A to Z of eight ASCII bytes: those to which 0x80 - A adds up to 0x80, and 0x80 - Z - 1 does not.
fn upper_case_bytes(word: u64) -> u64 {
    let from_a = word + each(0x80 - b'A');
    let beyond_z = word + each(0x80 - b'Z' - 1);
    (from_a ^ beyond_z) & each(0x80)
}

/// Gives each header of `block`, which has `count` lines and ends with the empty one, to `each`.
pub(super) fn with_parsed<'a>(
    block: &'a [u8],
    count: usize,
    each: impl FnMut(&Header<'a>),
) -> Result<(), Reject> {
    // Most heads have few fields, so little is cleared for them.
    if count <= 4 {
        parse_into(block, &mut [httparse::EMPTY_HEADER; 4], each)
    } else if count <= 16 {
        parse_into(block, &mut [httparse::EMPTY_HEADER; 16], each)
    } else if count <= 128 {
        parse_into(block, &mut [httparse::EMPTY_HEADER; 128], each)
    } else {
        parse_into(block, &mut vec![httparse::EMPTY_HEADER; count], each)
    }
}

fn parse_into<'a>(
    block: &'a [u8],
    headers: &mut [Header<'a>],
    each: impl FnMut(&Header<'a>),
) -> Result<(), Reject> {
    match httparse::parse_headers(block, headers) {
        Ok(httparse::Status::Complete((length, headers))) if length == block.len() => {
            headers.iter().for_each(each);
            Ok(())
        }
        // Fewer or more bytes than the scan found cannot be, as every line of the block ends in CRLF; if it were, two
        // readers of the same bytes would disagree, and that is refused.
        Ok(_) => Err(Reject::FIELD_MALFORMED),
        Err(_) => Err(explain(block)),
    }
}

/// Why a block of field lines is refused: the first thing that is wrong with it.
#[cold]
fn explain(block: &[u8]) -> Reject {
    let mut rest = block;
    while let Some(end) = memchr::memmem::find(rest, b"\r\n") {
        if let Some(reject) = explain_line(&rest[..end]) {
            return reject;
        }
        rest = &rest[end + 2..];
    }
    Reject::FIELD_MALFORMED
}

fn explain_line(line: &[u8]) -> Option<Reject> {
    if line.is_empty() {
        return None;
    }
    let Some(colon) = memchr::memchr(b':', line) else {
        return Some(Reject::FIELD_COLON);
    };
    explain_name(&line[..colon]).or_else(|| explain_value(&line[colon + 1..]))
}

fn explain_name(name: &[u8]) -> Option<Reject> {
    match name {
        [] => Some(Reject::FIELD_NAME_EMPTY),
        [before @ .., b' ' | b'\t'] if field::is_token(field::trim(before)) => Some(Reject::FIELD_NAME_SPACE),
        _ if !field::is_token(name) => Some(Reject::FIELD_NAME_TOKEN),
        _ => None,
    }
}

fn explain_value(value: &[u8]) -> Option<Reject> {
    let bad = value.iter().find(|&&byte| !field::is_value(&[byte]))?;
    Some(match bad {
        b'\r' => Reject::FIELD_VALUE_CR,
        0 => Reject::FIELD_VALUE_NUL,
        _ => Reject::FIELD_VALUE_CONTROL,
    })
}

/// What the fields of a head say about the message itself.
#[derive(Debug, Default)]
pub(super) struct Facts {
    pub(super) host: Option<Span>,
    pub(super) wants_close: bool,
    pub(super) wants_keep_alive: bool,
    pub(super) expects_continue: bool,
    expects_else: bool,
    has_content_type: bool,
    length: Option<Span>,
    codings: Codings,
}

impl Facts {
    /// Takes note of what the fields of `block` say, one after the other.
    pub(super) fn read(&mut self, block: &FieldBlock, bytes: &[u8]) -> Result<(), Reject> {
        let mut known = block.fields.iter().filter(|field| field.known != 0);
        known.try_for_each(|field| self.note(field.known, field.value, bytes))
    }

    fn note(&mut self, known: u32, span: Span, bytes: &[u8]) -> Result<(), Reject> {
        let value = span.of(bytes);
        match known {
            field::HOST => only_once(&mut self.host, span, Reject::HOST_TWICE)?,
            field::CONTENT_LENGTH => only_once(&mut self.length, span, Reject::CONTENT_LENGTH_TWICE)?,
            field::CONTENT_TYPE if self.has_content_type => return Err(Reject::CONTENT_TYPE_TWICE),
            field::CONTENT_TYPE => self.has_content_type = true,
            field::TRANSFER_ENCODING => self.codings.add(value),
            field::CONNECTION => self.note_connection(value),
            field::EXPECT => self.note_expect(value),
            _ => {}
        }
        Ok(())
    }

    fn note_connection(&mut self, value: &[u8]) {
        for option in field::elements(value) {
            self.wants_close |= option.eq_ignore_ascii_case(b"close");
            self.wants_keep_alive |= option.eq_ignore_ascii_case(b"keep-alive");
        }
    }

    fn note_expect(&mut self, value: &[u8]) {
        for expectation in field::elements(value) {
            let is_continue = expectation.eq_ignore_ascii_case(b"100-continue");
            self.expects_continue |= is_continue;
            self.expects_else |= !is_continue;
        }
    }

    /// Judges them together: host, framing, expectation, in this order.
    pub(super) fn check(&mut self, bytes: &[u8], line: &RequestLine) -> Result<Framing, Reject> {
        self.check_host(bytes, line)?;
        let length = self.length.map(|length| length.of(bytes));
        let framing = match (self.codings.is_present(), length) {
            (false, None) => Framing::None,
            (false, Some(length)) => Framing::Length(parse_length(length)?),
            (true, _) if line.version == Version::Http10 => return Err(Reject::CODING_IN_HTTP10),
            (true, Some(_)) => return Err(Reject::CODING_AND_LENGTH),
            (true, None) => self.codings.framing()?,
        };
        match line.version {
            // RFC 9110 §10.1.1: an expectation in HTTP/1.0 is ignored.
            Version::Http10 => self.expects_continue = false,
            Version::Http11 if self.expects_else => return Err(Reject::EXPECTATION),
            Version::Http11 => {}
        }
        Ok(framing)
    }

    /// RFC 9112 §3.2. An empty value is only for targets without an authority; an http address has one, so it is
    /// accepted where the target brings its own, and from HTTP/1.0, which need not name a host.
    fn check_host(&self, bytes: &[u8], line: &RequestLine) -> Result<(), Reject> {
        let is_1_1 = line.version == Version::Http11;
        match self.host.map(|host| host.of(bytes)) {
            None if is_1_1 => Err(Reject::HOST_MISSING),
            Some([]) if is_1_1 && line.authority.is_none() => Err(Reject::HOST_EMPTY),
            None | Some([]) => Ok(()),
            Some(host) if is_authority(host) => Ok(()),
            Some(_) => Err(Reject::HOST_INVALID),
        }
    }
}

fn only_once(place: &mut Option<Span>, span: Span, twice: Reject) -> Result<(), Reject> {
    match place.replace(span) {
        None => Ok(()),
        Some(_) => Err(twice),
    }
}

/// Checks trailers, which are dropped: `block` has `count` lines and ends with the empty one.
pub(super) fn check_trailers(block: &[u8], count: usize) -> Result<(), Reject> {
    let mut is_forbidden = false;
    with_parsed(block, count, |header| {
        let name = header.name.to_ascii_lowercase();
        is_forbidden |= FORBIDDEN_TRAILERS.contains(&field::known(name.as_bytes()));
    })?;
    if is_forbidden { Err(Reject::TRAILER_FORBIDDEN) } else { Ok(()) }
}

/// Framing, routing and authentication (RFC 9110 §6.5.1).
const FORBIDDEN_TRAILERS: [u32; 6] = [
    field::AUTHORIZATION,
    field::CONTENT_LENGTH,
    field::HOST,
    field::TE,
    field::TRAILER,
    field::TRANSFER_ENCODING,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_ascii_byte_is_made_lower_case_wherever_it_stands() {
        for byte in 0..128u8 {
            for at in 0..20 {
                let mut name = *b"AZ-az09@[`{-content-";
                name[at] = byte;
                let expected = name.to_ascii_lowercase();
                assert_eq!(lower_case(&mut name), byte != b'_', "{byte} at {at}");
                assert_eq!(name, expected[..], "{byte} at {at}");
            }
        }
    }
}
