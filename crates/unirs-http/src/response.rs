//! Response heads, chunks and trailers as bytes. Not a body, and no decision: what is said was decided before.

use super::date::Date;
use super::field::{self, trim};
use super::framing::parse_length;
use super::request_line::Version;
use super::server::ServerField;
use super::status::{may_have_length, reason_phrase, status_line};

/// The head of a response but for the application's fields.
#[derive(Clone, Copy, Debug)]
pub struct ResponseHead<'a> {
    /// Said in the status line: the request's version, as Gunicorn does.
    pub version: Version,
    /// 200 to 599.
    pub status: u16,
    /// Empty: the standard phrase.
    pub reason: &'a [u8],
    /// How the end of the body is found.
    pub body: BodyFraming,
    /// What happens to the connection afterwards.
    pub connection: Connection,
    /// Now.
    pub date: &'a Date,
    /// The Server field; `None` sends none.
    pub server: Option<&'a ServerField>,
}

/// How a client finds the end of a response's body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyFraming {
    /// So many bytes; also of a response to HEAD, which does not have them. Not said with 1xx and 204.
    Length(u64),
    /// Chunks: never to HTTP/1.0.
    Chunked,
    /// The connection closes.
    UntilClose,
    /// There is none, and its length is not said either.
    None,
}

/// Whether the connection goes on after a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Connection {
    /// It closes, and that is said.
    Close,
    /// It goes on; said to HTTP/1.0 only, as it goes without saying in 1.1.
    KeepAlive,
}

/// A response that cannot be sent as it is.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadResponse {
    /// The status.
    #[error("the status {0} is not between 200 and 599")]
    Status(u16),
    /// The status of an interim response.
    #[error("the status {0} is not one of an interim response (100, 102 or 103)")]
    InterimStatus(u16),
    /// The reason phrase.
    #[error("the reason phrase has a control character")]
    Reason,
    /// A field's name, escaped.
    #[error("the name of the header field \"{0}\" is not a token")]
    FieldName(String),
    /// The value of the named field.
    #[error("the value of the header field {0} has a control character")]
    FieldValue(String),
    /// A Content-Length that is no number.
    #[error("the Content-Length is not a number of decimal digits only")]
    Length,
    /// Two that differ.
    #[error("there are two Content-Length fields that differ")]
    TwoLengths,
}

/// What follows the data of a chunk.
pub const CHUNK_END: &[u8] = b"\r\n";

/// The end of a chunked body without trailers.
pub const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

/// Appends the whole head of a response: status line, Server, Date, Connection, framing, the application's fields and
/// the empty line.
///
/// The application's own Server or Date replaces the host's. Its hop-by-hop fields and Content-Length are dropped: how
/// the message is framed is the host's own. Values go without the white space around them.
///
/// # Errors
/// What would break the stream is refused, and `out` is as before.
///
/// ```
/// use unirs_http::{BodyFraming, Connection, Date, ResponseHead, ServerField, Version, encode_head};
///
/// let head = ResponseHead {
///     version: Version::Http11,
///     status: 200,
///     reason: b"",
///     body: BodyFraming::Length(5),
///     connection: Connection::KeepAlive,
///     date: &Date::at(784_111_777),
///     server: Some(&ServerField::UNIRS),
/// };
/// let mut out = Vec::new();
/// encode_head(&mut out, &head, [(&b"content-type"[..], &b"text/plain"[..])].into_iter())?;
/// assert_eq!(
///     str::from_utf8(&out)?,
///     "HTTP/1.1 200 OK\r\nServer: unirs\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n\
///      Content-Length: 5\r\ncontent-type: text/plain\r\n\r\n"
/// );
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn encode_head<'f>(
    out: &mut Vec<u8>,
    head: &ResponseHead<'_>,
    fields: impl Iterator<Item = (&'f [u8], &'f [u8])>,
) -> Result<(), BadResponse> {
    or_as_before(out, |out| {
        out.reserve(256);
        put_status_line(out, head)?;
        let server_at = out.len();
        out.extend_from_slice(head.server.map_or(&[], ServerField::line));
        let date_at = out.len();
        out.extend_from_slice(head.date.line());
        let date_end = out.len();
        put_connection(out, head);
        put_framing(out, head);

        let (mut own_server, mut own_date) = (false, false);
        for (name, value) in fields {
            match Kind::of(name) {
                Kind::Hosts => continue,
                Kind::Server => own_server = true,
                Kind::Date => own_date = true,
                Kind::Other => {}
            }
            put_field(out, name, value)?;
        }
        // Taken out afterwards, as hardly anybody brings his own and the fields can be walked only once.
        if own_date {
            out.drain(date_at..date_end);
        }
        if own_server {
            out.drain(server_at..date_at);
        }
        out.extend_from_slice(b"\r\n");
        Ok(())
    })
}

/// The length that an application declares in a Content-Length field, if any.
///
/// # Errors
/// When it is no number, or when there are two that differ.
pub fn declared_length<'f>(
    fields: impl Iterator<Item = (&'f [u8], &'f [u8])>,
) -> Result<Option<u64>, BadResponse> {
    let mut declared = None;
    for (name, value) in fields {
        if name.len() != 14 || !name.eq_ignore_ascii_case(b"content-length") {
            continue;
        }
        let length = parse_length(trim(value)).map_err(|_| BadResponse::Length)?;
        if declared.replace(length).is_some_and(|before| before != length) {
            return Err(BadResponse::TwoLengths);
        }
    }
    Ok(declared)
}

/// Appends what stands before the data of a chunk. `len` is never 0: an empty chunk would end the body.
pub fn encode_chunk_head(out: &mut Vec<u8>, len: usize) {
    debug_assert!(len > 0, "an empty chunk ends the body");
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let count = (usize::BITS - len.leading_zeros()).div_ceil(4).max(1) as usize;
    let mut line = [0; 18];
    for (index, place) in line[..count].iter_mut().enumerate() {
        *place = DIGITS[len >> (4 * (count - 1 - index)) & 15];
    }
    line[count..count + 2].copy_from_slice(b"\r\n");
    out.extend_from_slice(&line[..count + 2]);
}

/// Appends the end of a chunked body with trailers: in place of [`LAST_CHUNK`], the last chunk included. Fields that
/// trailers cannot have are dropped.
///
/// # Errors
/// As [`encode_head`].
pub fn encode_trailers<'f>(
    out: &mut Vec<u8>,
    fields: impl Iterator<Item = (&'f [u8], &'f [u8])>,
) -> Result<(), BadResponse> {
    or_as_before(out, |out| {
        out.extend_from_slice(b"0\r\n");
        for (name, value) in fields {
            if Kind::of(name) == Kind::Other && !is_never_a_trailer(name) {
                put_field(out, name, value)?;
            }
        }
        out.extend_from_slice(b"\r\n");
        Ok(())
    })
}

/// Appends an interim response: 100, 102 or 103. Never sent to HTTP/1.0.
///
/// # Errors
/// As [`encode_head`].
pub fn encode_interim<'f>(
    out: &mut Vec<u8>,
    status: u16,
    fields: impl Iterator<Item = (&'f [u8], &'f [u8])>,
) -> Result<(), BadResponse> {
    or_as_before(out, |out| {
        let line = match status {
            100 | 102 | 103 => status_line(status),
            _ => None,
        };
        out.extend_from_slice(line.ok_or(BadResponse::InterimStatus(status))?);
        for (name, value) in fields {
            if Kind::of(name) == Kind::Other {
                put_field(out, name, value)?;
            }
        }
        out.extend_from_slice(b"\r\n");
        Ok(())
    })
}

/// Whose a response's field is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Hop-by-hop, or framing: dropped.
    Hosts,
    Server,
    Date,
    Other,
}

impl Kind {
    fn of(name: &[u8]) -> Kind {
        let is = |other: &[u8]| name.eq_ignore_ascii_case(other);
        match name.len() {
            2 if is(b"te") => Kind::Hosts,
            4 if is(b"date") => Kind::Date,
            6 if is(b"server") => Kind::Server,
            7 if is(b"trailer") || is(b"upgrade") => Kind::Hosts,
            10 if is(b"connection") || is(b"keep-alive") => Kind::Hosts,
            14 if is(b"content-length") => Kind::Hosts,
            16 if is(b"proxy-connection") => Kind::Hosts,
            17 if is(b"transfer-encoding") => Kind::Hosts,
            _ => Kind::Other,
        }
    }
}

/// RFC 9110 §6.5.1, of fields that responses have.
fn is_never_a_trailer(name: &[u8]) -> bool {
    [&b"content-encoding"[..], b"content-range", b"content-type", b"set-cookie", b"www-authenticate"]
        .iter()
        .any(|other| name.eq_ignore_ascii_case(other))
}

fn or_as_before(
    out: &mut Vec<u8>,
    encode: impl FnOnce(&mut Vec<u8>) -> Result<(), BadResponse>,
) -> Result<(), BadResponse> {
    let before = out.len();
    let result = encode(out);
    if result.is_err() {
        out.truncate(before);
    }
    result
}

fn put_status_line(out: &mut Vec<u8>, head: &ResponseHead<'_>) -> Result<(), BadResponse> {
    if !(200..=599).contains(&head.status) {
        return Err(BadResponse::Status(head.status));
    }
    let start = out.len();
    match status_line(head.status) {
        Some(line) if head.reason.is_empty() => out.extend_from_slice(line),
        _ => put_unusual_status_line(out, head.status, head.reason)?,
    }
    out[start..start + 8].copy_from_slice(head.version.as_str().as_bytes());
    Ok(())
}

#[cold]
fn put_unusual_status_line(out: &mut Vec<u8>, status: u16, reason: &[u8]) -> Result<(), BadResponse> {
    if !field::is_value(reason) {
        return Err(BadResponse::Reason);
    }
    out.extend_from_slice(b"HTTP/1.1 ");
    out.extend_from_slice(itoa::Buffer::new().format(status).as_bytes());
    out.push(b' ');
    out.extend_from_slice(if reason.is_empty() { reason_phrase(status).as_bytes() } else { reason });
    out.extend_from_slice(b"\r\n");
    Ok(())
}

fn put_connection(out: &mut Vec<u8>, head: &ResponseHead<'_>) {
    match (head.connection, head.version) {
        (Connection::Close, _) => out.extend_from_slice(b"Connection: close\r\n"),
        (Connection::KeepAlive, Version::Http10) => out.extend_from_slice(b"Connection: keep-alive\r\n"),
        (Connection::KeepAlive, Version::Http11) => {}
    }
}

fn put_framing(out: &mut Vec<u8>, head: &ResponseHead<'_>) {
    match head.body {
        BodyFraming::Length(length) if may_have_length(head.status) => {
            out.extend_from_slice(b"Content-Length: ");
            out.extend_from_slice(itoa::Buffer::new().format(length).as_bytes());
            out.extend_from_slice(b"\r\n");
        }
        BodyFraming::Chunked if may_have_length(head.status) => {
            debug_assert_eq!(head.version, Version::Http11, "HTTP/1.0 has no chunks");
            out.extend_from_slice(b"Transfer-Encoding: chunked\r\n");
        }
        BodyFraming::Length(_) | BodyFraming::Chunked | BodyFraming::UntilClose | BodyFraming::None => {}
    }
}

fn put_field(out: &mut Vec<u8>, name: &[u8], value: &[u8]) -> Result<(), BadResponse> {
    if !field::is_token(name) {
        return Err(BadResponse::FieldName(name.escape_ascii().to_string()));
    }
    if !field::is_value(value) {
        return Err(BadResponse::FieldValue(name.escape_ascii().to_string()));
    }
    out.extend_from_slice(name);
    out.extend_from_slice(b": ");
    out.extend_from_slice(trim(value));
    out.extend_from_slice(b"\r\n");
    Ok(())
}

#[cfg(test)]
#[path = "response_tests.rs"]
mod tests;
