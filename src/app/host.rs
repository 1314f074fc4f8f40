//! What a worker does for an application during a call, in safe types. Not how that crosses the door (`door`).

use std::os::fd::OwnedFd;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use unirs_app::abi::{code, level};

use super::door::{Answer, Fields, Notice};

/// The worker's side of one exchange; implemented by `worker::exchange`, and in memory by the tests.
///
/// The door has checked sizes and pointers; the implementor enforces the rules of an exchange: one answer, never
/// more bytes than declared, nothing after the end.
///
/// # What the implementor promises
///
/// The slices handed out by [`request`](Host::request), [`request_field`](Host::request_field),
/// [`body`](Host::body) and [`request_id`](Host::request_id) stay where they are, unchanged, until the call has
/// returned, whatever else is called meanwhile: the application holds pointers into them.
pub trait Host: 'static {
    /// The request, but for its header fields.
    fn request(&self) -> RequestView<'_>;

    /// The header field at `index`, in the order in which they were sent; `None` past the last.
    fn request_field(&self, index: usize) -> Option<FieldView<'_>>;

    /// Reads of the body: how many bytes, 0 at its end.
    fn read(&mut self, buffer: &mut [u8], wait: bool) -> Result<usize, ReadError>;

    /// The whole body, when all of it is here and none of it was read.
    fn body(&mut self) -> Option<&[u8]>;

    /// Answers whole.
    fn respond(&mut self, answer: &Answer<'_>) -> Result<(), Refusal>;

    /// Answers with a part of a file, which is an open descriptor of whatever kind: the host looks at it.
    fn respond_file(
        &mut self,
        answer: &Answer<'_>,
        file: OwnedFd,
        offset: u64,
        length: u64,
    ) -> Result<(), Refusal>;

    /// Begins a streamed answer of `length` bytes, or of a number that is not known yet.
    fn begin(&mut self, answer: &Answer<'_>, length: Option<u64>) -> Result<(), Refusal>;

    /// Takes over more bytes of a streamed answer.
    fn write(&mut self, data: &[u8]) -> Result<(), Refusal>;

    /// Sends what was taken over, as far as the client takes it.
    fn flush(&mut self) -> Result<(), Refusal>;

    /// Ends a streamed answer.
    fn finish(&mut self, trailers: Fields<'_>) -> Result<(), Refusal>;

    /// Sends a 103 response with these fields.
    fn early_hints(&mut self, fields: Fields<'_>) -> Result<(), Refusal>;

    /// Nobody waits for the answer any more.
    fn cancelled(&self) -> bool;

    /// The call will be silent for so much longer.
    fn extend(&mut self, by: Duration);

    /// The text that names the exchange in all logs.
    fn request_id(&mut self) -> &[u8];

    /// Keeps `notice` until the last byte of the answer has gone or the connection has died, then tells it.
    fn on_finished(&mut self, notice: Notice);
}

/// A request, whole but for its header fields and its body.
#[derive(Clone, Copy, Debug)]
pub struct RequestView<'a> {
    /// 10 for HTTP/1.0, 11 for HTTP/1.1.
    pub http_version: u32,
    /// As sent; a token.
    pub method: &'a [u8],
    /// The request target as sent.
    pub target: &'a [u8],
    /// The path, percent-decoded once; the same slice as `raw_path` when there is nothing to decode.
    pub path: &'a [u8],
    /// The path as sent.
    pub raw_path: &'a [u8],
    /// What follows the first `?`; `None` when there is none.
    pub query: Option<&'a [u8]>,
    /// `http` or `https`.
    pub scheme: &'a str,
    /// Host and port as the client named them; may be empty.
    pub authority: &'a [u8],
    /// The path under which the application is mounted; empty at the root.
    pub prefix: &'a [u8],
    /// The client's address, after trusted proxies; empty for a unix socket.
    pub peer_address: &'a str,
    /// The client's port; 0 for a unix socket.
    pub peer_port: u16,
    /// The address of the connection itself.
    pub connection_address: &'a str,
    /// The port of the connection itself.
    pub connection_port: u16,
    /// The server's address, or the path of its unix socket.
    pub server_address: &'a str,
    /// The server's port; 0 for a unix socket.
    pub server_port: u16,
    /// Which of the server's binds, counted from 0.
    pub listener: u32,
    /// The length of the body in bytes; `None` when it is not known before the end. 0 when there is no body.
    pub content_length: Option<u64>,
    /// When the request's first byte was read, since 1970.
    pub arrived_at_ns: u64,
    /// How long the complete request waited for its call.
    pub queued_ns: u64,
}

/// A header field of a request.
#[derive(Clone, Copy, Debug)]
pub struct FieldView<'a> {
    /// Lower-case.
    pub name: &'a [u8],
    /// Without the white space around it.
    pub value: &'a [u8],
    /// Its number in `unirs_app::abi::field`, or 0.
    pub known: u32,
}

/// Why the body cannot be read further.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadError {
    /// The client has gone.
    Gone,
    /// The body is larger than `limit_request_body`.
    TooLarge,
    /// The client was slower than `body_timeout` allows.
    TimedOut,
    /// The body breaks its own framing.
    Malformed,
    /// Nothing is there now, and the call was not to wait.
    WouldBlock,
}

impl ReadError {
    /// The number that crosses the door.
    pub fn code(self) -> i32 {
        match self {
            ReadError::Gone => code::GONE,
            ReadError::TooLarge => code::TOO_LARGE,
            ReadError::TimedOut => code::TIMED_OUT,
            ReadError::Malformed => code::MALFORMED,
            ReadError::WouldBlock => code::WOULD_BLOCK,
        }
    }
}

/// Why the host does not do what the application asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The client has gone.
    Gone,
    /// The client was slower than `write_timeout` allows.
    TimedOut,
    /// There is an answer already, or it is finished.
    Answered,
    /// `write`, `flush` or `finish` before `begin`.
    NotBegun,
    /// A status, field, descriptor or argument that cannot be sent.
    Invalid,
    /// More bytes than were declared, or fewer at the end.
    Length,
    /// This host does not do that.
    Unsupported,
}

impl Refusal {
    /// The number that crosses the door.
    pub fn code(self) -> i32 {
        match self {
            Refusal::Gone => code::GONE,
            Refusal::TimedOut => code::TIMED_OUT,
            Refusal::Answered => code::ANSWERED,
            Refusal::NotBegun => code::NOT_BEGUN,
            Refusal::Invalid => code::INVALID,
            Refusal::Length => code::LENGTH,
            Refusal::Unsupported => code::UNSUPPORTED,
        }
    }
}

/// What a worker does for its application at any time, on any thread.
pub trait Services: Sync {
    /// Writes a line to the error log. `target` is the application's word for the part that speaks, or its name.
    fn log(&self, level: Level, target: &str, text: &str);

    /// The counter of that name, made at its first mention; `None` when there is no room for another.
    fn counter(&self, name: &str) -> Option<&'static AtomicU64>;
}

/// How grave a line of the application is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// For developers.
    Debug,
    /// Worth knowing.
    Info,
    /// Worth a look.
    Warning,
    /// Something failed.
    Error,
    /// The service is at risk.
    Critical,
}

impl Level {
    /// Of the number that crossed the door; one that this version does not know is an error, so that it is seen.
    pub fn of(number: u32) -> Level {
        match number {
            level::DEBUG => Level::Debug,
            level::INFO => Level::Info,
            level::WARNING => Level::Warning,
            level::CRITICAL => Level::Critical,
            _ => Level::Error,
        }
    }
}

/// Who the worker is, as the application is told at its start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HostFacts {
    /// The worker's slot.
    pub slot: u32,
    /// The number of its generation; 1 is the first.
    pub generation: u64,
    /// How many threads may be in a call at once.
    pub threads: u32,
    /// How many workers the generation is meant to have.
    pub workers: u32,
    /// The worker's process id.
    pub pid: i32,
}
