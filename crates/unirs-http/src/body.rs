//! The body of a request, taken out of its framing. Not the reading, and no buffer: data is handed on where it lies.

use super::chunk::ChunkLine;
use super::fields::check_trailers;
use super::framing::Framing;
use super::reject::Reject;
use super::scan::{FieldScan, Limits};

/// What one step of a [`BodyDecoder`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step<'a> {
    /// How many bytes of the input are done with, those of `data` included.
    pub consumed: usize,
    /// A run of the body; may be empty.
    pub data: &'a [u8],
    /// The body is over: the next byte of the input belongs to the next request.
    pub done: bool,
}

/// Takes a body out of its framing, step by step, however its bytes are cut.
///
/// ```
/// use unirs_http::{BodyDecoder, Framing};
///
/// let mut input = &b"5\r\nhello\r\n0\r\n\r\nGET"[..];
/// let mut body = Vec::new();
/// let mut decoder = BodyDecoder::new(Framing::Chunked, 8190);
/// while !decoder.is_done() {
///     let step = decoder.step(input)?;
///     body.extend_from_slice(step.data);
///     input = &input[step.consumed..];
/// }
/// assert_eq!((&body[..], input), (&b"hello"[..], &b"GET"[..]));
/// # Ok::<(), unirs_http::Reject>(())
/// ```
#[derive(Debug)]
pub struct BodyDecoder {
    state: State,
    /// Bytes of data so far.
    received: u64,
    /// Bytes of chunk extensions so far.
    extensions: usize,
    limits: Limits,
}

#[derive(Debug)]
enum State {
    /// So many bytes are to come.
    Length(u64),
    /// The line with a chunk's size.
    Size(ChunkLine),
    /// So many bytes of a chunk are to come.
    Data(u64),
    /// The CRLF after a chunk's data; its CR has come, or not.
    DataEnd {
        cr: bool,
    },
    /// After the last chunk: trailers, or the empty line.
    Trailers(Trailers),
    Done,
}

/// Trailers so far, kept until they are complete: they are judged as a whole, like a head's fields.
#[derive(Debug, Default)]
struct Trailers {
    bytes: Vec<u8>,
    scan: FieldScan,
}

impl BodyDecoder {
    /// `max_line` limits the line of a chunk's size and each trailer (`limit_request_field_size`; 0: its default);
    /// trailers have a head's other limits at their defaults.
    pub fn new(framing: Framing, max_line: usize) -> BodyDecoder {
        BodyDecoder::with_limits(framing, &Limits { field_size: max_line, ..Limits::default() })
    }

    /// Trailers are limited as a head's fields are.
    pub fn with_limits(framing: Framing, limits: &Limits) -> BodyDecoder {
        let state = match framing {
            Framing::None | Framing::Length(0) => State::Done,
            Framing::Length(length) => State::Length(length),
            Framing::Chunked => State::Size(ChunkLine::default()),
        };
        let mut limits = *limits;
        if limits.field_size == 0 {
            limits.field_size = Limits::default().field_size;
        }
        BodyDecoder { state, received: 0, extensions: 0, limits }
    }

    /// Looks at `input`, the bytes after those that were consumed. A step has at most one run of data; one that
    /// consumes nothing and is not done wants more input.
    ///
    /// # Errors
    /// The first thing that is wrong. Nobody knows where the body ends then: the connection has to be closed.
    pub fn step<'a>(&mut self, input: &'a [u8]) -> Result<Step<'a>, Reject> {
        let mut at = 0;
        loop {
            let rest = &input[at..];
            if rest.is_empty() && !self.is_done() {
                return Ok(Step { consumed: at, data: &[], done: false });
            }
            match &mut self.state {
                State::Done => {
                    return Ok(Step { consumed: at, data: &[], done: true });
                }
                State::Length(_) | State::Data(_) => {
                    let data = self.take_data(rest);
                    return Ok(Step { consumed: at + data.len(), data, done: self.is_done() });
                }
                State::Size(line) => {
                    let (consumed, size) = line.step(rest, self.limits.field_size, &mut self.extensions)?;
                    at += consumed;
                    match size {
                        Some(0) => self.state = State::Trailers(Trailers::default()),
                        Some(size) => self.state = State::Data(size),
                        None => {}
                    }
                }
                State::DataEnd { cr } => {
                    match (*cr, rest[0]) {
                        (false, b'\r') => *cr = true,
                        (true, b'\n') => self.state = State::Size(ChunkLine::default()),
                        _ => return Err(Reject::CHUNK_DATA_END),
                    }
                    at += 1;
                }
                State::Trailers(trailers) => {
                    let (consumed, complete) = trailers.step(rest, &self.limits)?;
                    at += consumed;
                    if complete {
                        self.state = State::Done;
                    }
                }
            }
        }
    }

    /// Bytes of the body so far, without its framing.
    pub fn received(&self) -> u64 {
        self.received
    }

    /// Whether the body is over.
    pub fn is_done(&self) -> bool {
        matches!(self.state, State::Done)
    }
}

impl BodyDecoder {
    /// As much of `input` as belongs to the run of data under way.
    fn take_data<'a>(&mut self, input: &'a [u8]) -> &'a [u8] {
        let (State::Length(left) | State::Data(left)) = &mut self.state else {
            return &[];
        };
        let length = usize::try_from(*left).map_or(input.len(), |left| left.min(input.len()));
        *left -= length as u64;
        self.received += length as u64;
        match self.state {
            State::Length(0) => self.state = State::Done,
            State::Data(0) => self.state = State::DataEnd { cr: false },
            _ => {}
        }
        &input[..length]
    }
}

impl Trailers {
    /// How many bytes of `input` were taken, and whether the trailers are complete and valid.
    fn step(&mut self, input: &[u8], limits: &Limits) -> Result<(usize, bool), Reject> {
        if self.bytes.is_empty() && input.starts_with(b"\r\n") {
            return Ok((2, true));
        }
        // A line at a time: what follows the trailers is not copied.
        let line = memchr::memchr(b'\n', input).map_or(input, |end| &input[..=end]);
        let taken = line.len().min(limits.head - self.bytes.len());
        self.bytes.extend_from_slice(&line[..taken]);
        if let Some(end) = self.scan.end(&self.bytes, limits)? {
            check_trailers(&self.bytes[..end], self.scan.count)?;
            return Ok((taken, true));
        }
        if self.bytes.len() >= limits.head {
            return Err(Reject::TRAILERS_TOO_LARGE);
        }
        Ok((taken, false))
    }
}

#[cfg(test)]
#[path = "body_tests.rs"]
mod tests;
