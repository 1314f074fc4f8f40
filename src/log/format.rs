//! How an access line looks: a format compiled once, and the line of a record by it. Nothing is written to a file here.

use std::time::Duration;

use super::atoms::{self, Piece};
use super::basic;
use super::escape::escape;
use super::time::{Style, TimeText};

pub use super::atoms::FormatError;

/// Gunicorn's default, which is the "combined" format of Apache.
pub const DEFAULT_FORMAT: &str = r#"%(h)s %(l)s %(u)s %(t)s "%(r)s" %(s)s %(b)s "%(f)s" "%(a)s""#;

/// An access log format, compiled.
///
/// ```
/// use unirs::log::AccessFormat;
///
/// assert!(AccessFormat::compile(r#"%(h)s "%(r)s" %(s)s %({x-request-id}i)s"#).is_ok());
/// let error = AccessFormat::compile("%(h)s %(status)s").err().unwrap();
/// assert_eq!(error.to_string(), "at character 7: there is no %(status)s; did you mean %(s)s?");
/// ```
#[derive(Debug)]
pub struct AccessFormat {
    pieces: Vec<Piece>,
}

/// Header fields, or the environ, by name.
pub trait Fields {
    /// The value of the field; `name` is lower-case.
    fn field(&self, name: &str) -> Option<&[u8]>;
}

/// No fields at all.
pub struct NoFields;

impl Fields for NoFields {
    fn field(&self, _name: &str) -> Option<&[u8]> {
        None
    }
}

/// What an access line may tell about one exchange. Nothing in it is trusted.
pub struct AccessRecord<'a> {
    /// The peer's address as text, without port; empty on a unix socket.
    pub peer: &'a str,
    /// As sent.
    pub method: &'a [u8],
    /// As sent.
    pub target: &'a [u8],
    /// Percent-decoded.
    pub path: &'a [u8],
    /// Without the `?`.
    pub query: Option<&'a [u8]>,
    /// `HTTP/1.1`
    pub protocol: &'a str,
    /// The status that was sent.
    pub status: u16,
    /// Bytes of the body that were sent, without framing.
    pub body_bytes: u64,
    /// From the request's arrival to the response's end.
    pub duration: Duration,
    /// The time of the line in seconds since 1970 (`clock::realtime_coarse_seconds`).
    pub now: u64,
    /// The worker's.
    pub pid: u32,
    /// The request's header fields.
    pub request: &'a dyn Fields,
    /// The response's header fields; asked only if [`AccessFormat::needs_response_fields`].
    pub response: &'a dyn Fields,
    /// What `%({name}e)s` may ask beside the request's own (`remote_port`, `server_name`, `wsgi.url_scheme`).
    pub environ: &'a dyn Fields,
}

impl AccessFormat {
    /// Compiles a format, or says what is wrong with it and where.
    pub fn compile(text: &str) -> Result<AccessFormat, FormatError> {
        Ok(AccessFormat { pieces: atoms::compile(text)? })
    }

    /// True if a line of this format shows fields of the response.
    pub fn needs_response_fields(&self) -> bool {
        self.pieces.iter().any(|piece| matches!(piece, Piece::ResponseField(_)))
    }

    /// Appends the line of `record`, newline included.
    pub fn write(&self, out: &mut Vec<u8>, record: &AccessRecord<'_>) {
        self.write_with(out, &mut TimeText::new(Style::Access), record);
    }

    /// The same with a time text that is rendered once in a second.
    pub(super) fn write_with(&self, out: &mut Vec<u8>, time: &mut TimeText, record: &AccessRecord<'_>) {
        for piece in &self.pieces {
            write_piece(out, piece, time, record);
        }
        out.push(b'\n');
    }
}

fn write_piece(out: &mut Vec<u8>, piece: &Piece, time: &mut TimeText, record: &AccessRecord<'_>) {
    match piece {
        Piece::Text(text) => out.extend_from_slice(text),
        Piece::Peer if record.peer.is_empty() => out.push(b'-'),
        Piece::Peer => escape(out, record.peer.as_bytes()),
        Piece::User => basic::write_user(out, record.request.field("authorization")),
        Piece::Time => out.extend_from_slice(time.at(record.now)),
        Piece::Request => write_request(out, record),
        Piece::Method => escape(out, record.method),
        Piece::Target => escape(out, record.target),
        Piece::Path => escape(out, record.path),
        Piece::Query => escape(out, record.query.unwrap_or_default()),
        Piece::Protocol => escape(out, record.protocol.as_bytes()),
        Piece::Status => write_number(out, record.status.into()),
        Piece::Bytes => write_number(out, record.body_bytes),
        Piece::Seconds => write_number(out, record.duration.as_secs()),
        Piece::Milliseconds => write_number(out, micros(record.duration) / 1000),
        Piece::Microseconds => write_number(out, micros(record.duration)),
        Piece::Decimal => write_decimal(out, record.duration),
        Piece::Pid => write_pid(out, record.pid),
        Piece::RequestField(name) => write_field(out, record.request, name),
        Piece::ResponseField(name) => write_field(out, record.response, name),
        Piece::Environ(name) => write_field(out, record.environ, name),
    }
}

fn write_request(out: &mut Vec<u8>, record: &AccessRecord<'_>) {
    escape(out, record.method);
    out.push(b' ');
    escape(out, record.target);
    out.push(b' ');
    escape(out, record.protocol.as_bytes());
}

/// A field that is missing is `-`; one that is empty is empty, as in Gunicorn.
fn write_field(out: &mut Vec<u8>, fields: &dyn Fields, name: &str) {
    match fields.field(name) {
        Some(value) => escape(out, value),
        None => out.push(b'-'),
    }
}

fn write_number(out: &mut Vec<u8>, number: u64) {
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

/// `1.000042`
fn write_decimal(out: &mut Vec<u8>, duration: Duration) {
    write_number(out, duration.as_secs());
    // A leading 1 keeps the zeros that follow it.
    let mut digits = itoa::Buffer::new();
    let digits = digits.format(1_000_000 + duration.subsec_micros());
    out.push(b'.');
    out.extend_from_slice(&digits.as_bytes()[1..]);
}

fn write_pid(out: &mut Vec<u8>, pid: u32) {
    out.push(b'<');
    write_number(out, pid.into());
    out.push(b'>');
}

fn micros(duration: Duration) -> u64 {
    duration.as_secs().saturating_mul(1_000_000).saturating_add(duration.subsec_micros().into())
}

#[cfg(test)]
mod tests;
