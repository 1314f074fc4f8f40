//! The binary interface between a host and an application, version 1: every struct that crosses the door.
//!
//! This is `unirs_app.h` in Rust; a test compiles the header and compares each size and offset. It only grows:
//! a struct gets new fields at its end, and whoever reads one looks at its `size` first. Elements of arrays
//! ([`Bytes`], [`Field`]) never grow. There is no policy here and no safe face: that is the rest of the crate.

use std::ffi::c_void;

/// The version of this interface. A host refuses an application that speaks another one.
pub const ABI_VERSION: u32 = 1;

/// The name of the one symbol that a library exports: a function of type [`Entry`].
pub const ENTRY_SYMBOL: &str = "unirs_app";

/// What [`ENTRY_SYMBOL`] names: returns the application's table, which lives as long as the process.
pub type Entry = unsafe extern "C" fn() -> *const App;

/// Results of the host's functions: zero or more is success, a negative number says what went wrong.
pub mod code {
    /// Done.
    pub const OK: i32 = 0;
    /// The client has gone, or the connection broke.
    pub const GONE: i32 = -1;
    /// The request's body is larger than `limit_request_body`.
    pub const TOO_LARGE: i32 = -2;
    /// The client was too slow: `body_timeout` or `write_timeout` is over.
    pub const TIMED_OUT: i32 = -3;
    /// The request's body breaks its own framing.
    pub const MALFORMED: i32 = -4;
    /// Nothing is there now (only where the call was asked not to wait).
    pub const WOULD_BLOCK: i32 = -5;
    /// This exchange has an answer already, or the answer is finished.
    pub const ANSWERED: i32 = -6;
    /// `write`, `flush` or `finish` before `begin`.
    pub const NOT_BEGUN: i32 = -7;
    /// A status, field, descriptor or argument that cannot be sent.
    pub const INVALID: i32 = -8;
    /// More bytes than were declared, or fewer at `finish`.
    pub const LENGTH: i32 = -9;
    /// This host does not do that (yet).
    pub const UNSUPPORTED: i32 = -10;
    /// An application's function failed; the text is in the [`Error`](super::Error).
    pub const FAILED: i32 = -11;
}

/// Levels of [`Host::log`].
pub mod level {
    /// For developers.
    pub const DEBUG: u32 = 0;
    /// Worth knowing.
    pub const INFO: u32 = 1;
    /// Worth a look.
    pub const WARNING: u32 = 2;
    /// Something failed.
    pub const ERROR: u32 = 3;
    /// The service is at risk.
    pub const CRITICAL: u32 = 4;
}

/// Flags of [`App::flags`]. A host refuses a flag it does not know.
pub mod flag {
    /// `call` is made by one thread at a time.
    pub const SERIAL: u64 = 1;
    /// `hook` is told of each request ([`PRE_REQUEST`](super::hook::PRE_REQUEST) and
    /// [`POST_REQUEST`](super::hook::POST_REQUEST)) too.
    pub const REQUEST_HOOKS: u64 = 2;
}

/// Kinds of [`App::hook`]. An application ignores a kind it does not know.
pub mod hook {
    /// The worker is about to become Ready.
    pub const POST_WORKER_INIT: u32 = 1;
    /// A request is about to be answered. Only with [`REQUEST_HOOKS`](super::flag::REQUEST_HOOKS).
    pub const PRE_REQUEST: u32 = 2;
    /// A request was answered. Only with [`REQUEST_HOOKS`](super::flag::REQUEST_HOOKS).
    pub const POST_REQUEST: u32 = 3;
    /// The worker leaves quickly (INT, QUIT).
    pub const WORKER_INT: u32 = 4;
    /// A call of this worker is over its time; runs on another thread than that call.
    pub const WORKER_ABORT: u32 = 5;
    /// The worker leaves; the last thing before `stop`.
    pub const WORKER_EXIT: u32 = 6;
}

/// The numbers of well-known header fields ([`Field::known`]); 0 is any other. The order is for ever.
pub mod field {
    /// Lower-case names; the number of a name is its place here plus one.
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
}

/// A run of bytes that belongs to somebody else. Never grows.
///
/// `data` may be null when `len` is 0; in [`Request::query`] null says that there was no `?` at all.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Bytes {
    /// The first byte.
    pub data: *const u8,
    /// How many there are.
    pub len: usize,
}

/// A header field. Never grows.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Field {
    /// Lower-case in requests; as it shall be sent in responses.
    pub name: Bytes,
    /// Without the white space around it.
    pub value: Bytes,
    /// Its number in [`field`], or 0. Ignored in responses.
    pub known: u32,
    /// Zero.
    pub reserved: u32,
}

/// A place for the text of an error, lent by the host; the application copies its text there.
#[repr(C)]
pub struct Error {
    /// `size_of::<Error>()` of whoever made it.
    pub size: u32,
    /// Zero.
    pub reserved: u32,
    /// Where the text goes (UTF-8, not terminated).
    pub text: *mut u8,
    /// How many bytes fit.
    pub capacity: usize,
    /// How many were written.
    pub len: usize,
}

/// Who the worker is.
#[repr(C)]
pub struct Worker {
    /// `size_of::<Worker>()` of whoever made it.
    pub size: u32,
    /// Its slot: below the number of workers, but for reloads; `u32::MAX` in a process that is no worker.
    pub slot: u32,
    /// The number of its generation; 1 is the first.
    pub generation: u64,
    /// How many threads may be in `call` at once.
    pub threads: u32,
    /// How many workers its generation is meant to have.
    pub workers: u32,
    /// Its process id.
    pub pid: i32,
    /// Zero.
    pub reserved: u32,
}

/// A request, whole but for its body. Valid until its exchange is over.
#[repr(C)]
pub struct Request {
    /// `size_of::<Request>()` of whoever made it.
    pub size: u32,
    /// 10 for HTTP/1.0, 11 for HTTP/1.1.
    pub http_version: u32,
    /// As sent; a token.
    pub method: Bytes,
    /// The request target as sent.
    pub target: Bytes,
    /// The path, percent-decoded once; any bytes.
    pub path: Bytes,
    /// The path as sent.
    pub raw_path: Bytes,
    /// What follows the first `?`; `data` is null when there is none.
    pub query: Bytes,
    /// `http` or `https`.
    pub scheme: Bytes,
    /// Host and port as the client named them; may be empty.
    pub authority: Bytes,
    /// The path under which the application is mounted; empty at the root.
    pub prefix: Bytes,
    /// The header fields in the order in which they were sent.
    pub fields: *const Field,
    /// How many.
    pub field_count: usize,
    /// The client's address as text, without a port; empty for a unix socket.
    pub peer_address: Bytes,
    /// The address of the connection itself, where a proxy stands between.
    pub connection_address: Bytes,
    /// The server's address as text.
    pub server_address: Bytes,
    /// The client's port.
    pub peer_port: u32,
    /// The port of the connection itself.
    pub connection_port: u32,
    /// The server's port.
    pub server_port: u32,
    /// Which of the server's binds, counted from 0.
    pub listener: u32,
    /// The length of the body in bytes; -1 when it is not known before the end.
    pub content_length: i64,
    /// When the request's first byte was read: nanoseconds since 1970.
    pub arrived_at_ns: u64,
    /// How long the complete request waited for its call, in nanoseconds.
    pub queued_ns: u64,
}

/// One request and its answer. What follows these fields belongs to the host.
#[repr(C)]
pub struct Exchange {
    /// `size_of::<Exchange>()` of whoever made it.
    pub size: u32,
    /// Zero.
    pub reserved: u32,
    /// The request; valid until the exchange is over.
    pub request: *const Request,
}

/// The head of an answer, and its body where that is whole. Made by the application, read during the call.
#[repr(C)]
pub struct Response {
    /// `size_of::<Response>()` of whoever made it.
    pub size: u32,
    /// 200 to 599.
    pub status: u32,
    /// Empty: the standard phrase.
    pub reason: Bytes,
    /// The header fields.
    pub fields: *const Field,
    /// How many.
    pub field_count: usize,
    /// The slices of the body, in order; only read by `respond`.
    pub body: *const Bytes,
    /// How many.
    pub body_count: usize,
}

/// What the host does for an application. It lives as long as the process; so do its strings.
#[repr(C)]
pub struct Host {
    /// `size_of::<Host>()` of whoever made it.
    pub size: u32,
    /// The interface's version.
    pub abi: u32,
    /// The host's name and version, such as `unirs/0.1.0`.
    pub software: Bytes,
    /// Who the worker is.
    pub worker: *const Worker,
    /// The application's table of the settings file, as JSON text: an object.
    pub config: Bytes,
    /// Writes a line to the error log; any thread. `target` may be empty.
    pub log: Option<
        unsafe extern "C" fn(
            level: u32,
            target: *const u8,
            target_len: usize,
            text: *const u8,
            text_len: usize,
        ),
    >,
    /// A counter by name, registered at its first mention and shared by all threads of the worker: a 64-bit word to
    /// which the application adds atomically. Null when there is no room.
    pub counter: Option<unsafe extern "C" fn(name: *const u8, name_len: usize) -> *mut u64>,
    /// The value of a request's field by its name in any case; the first one. 1 when there is one, else 0.
    pub field: Option<
        unsafe extern "C" fn(
            exchange: *mut Exchange,
            name: *const u8,
            name_len: usize,
            value: *mut Bytes,
        ) -> i32,
    >,
    /// Sixteen bytes of text or so that name the exchange in all logs.
    pub request_id: Option<unsafe extern "C" fn(exchange: *mut Exchange, id: *mut Bytes) -> i32>,
    /// Reads of the body into `buffer`: how many bytes, 0 at the end, or a code. Waits, within `body_timeout`, unless
    /// `wait` is 0.
    pub read: Option<
        unsafe extern "C" fn(exchange: *mut Exchange, buffer: *mut u8, capacity: usize, wait: u32) -> i64,
    >,
    /// The whole body as one slice, without a copy, when the host has all of it and none was read: 1, else 0.
    pub body: Option<unsafe extern "C" fn(exchange: *mut Exchange, body: *mut Bytes) -> i32>,
    /// Answers whole.
    pub respond: Option<unsafe extern "C" fn(exchange: *mut Exchange, response: *const Response) -> i32>,
    /// Answers with `length` bytes of a regular file from `offset`. The descriptor is the host's from then on, whatever
    /// the result.
    pub respond_file: Option<
        unsafe extern "C" fn(
            exchange: *mut Exchange,
            response: *const Response,
            descriptor: i32,
            offset: u64,
            length: u64,
        ) -> i32,
    >,
    /// Begins a streamed answer of `length` bytes; -1 when that is not known.
    pub begin:
        Option<unsafe extern "C" fn(exchange: *mut Exchange, response: *const Response, length: i64) -> i32>,
    /// Sends more of a streamed answer: returns when the bytes were taken over.
    pub write: Option<unsafe extern "C" fn(exchange: *mut Exchange, data: *const u8, len: usize) -> i32>,
    /// Sends what was taken over and not sent yet, as far as the client takes it.
    pub flush: Option<unsafe extern "C" fn(exchange: *mut Exchange) -> i32>,
    /// Ends a streamed answer. Trailers are sent where the answer is chunked, else dropped.
    pub finish: Option<
        unsafe extern "C" fn(exchange: *mut Exchange, trailers: *const Field, trailer_count: usize) -> i32,
    >,
    /// Sends a 103 response with these fields, before the answer; nothing to an HTTP/1.0 client.
    pub early_hints: Option<
        unsafe extern "C" fn(exchange: *mut Exchange, fields: *const Field, field_count: usize) -> i32,
    >,
    /// Asks for `notice(argument, result)` after the last byte of the answer has gone (result 0) or the connection has
    /// died (a code); on any thread, at most once, perhaps after `call` has returned.
    pub on_finished: Option<
        unsafe extern "C" fn(
            exchange: *mut Exchange,
            notice: unsafe extern "C" fn(argument: *mut c_void, result: i32),
            argument: *mut c_void,
        ) -> i32,
    >,
    /// 1 when nobody waits for the answer any more: the client has gone.
    pub cancelled: Option<unsafe extern "C" fn(exchange: *mut Exchange) -> i32>,
    /// This call will be silent for up to `seconds` more; `timeout` waits for so long.
    pub extend: Option<unsafe extern "C" fn(exchange: *mut Exchange, seconds: u32) -> i32>,
    /// Null; later: deferred answers and upgrades.
    pub reserved: [*const c_void; 8],
}

/// What a library exports: who it is and what it does. A function that is absent (null) is not called.
#[repr(C)]
pub struct App {
    /// `size_of::<App>()` of whoever made it.
    pub size: u32,
    /// [`ABI_VERSION`].
    pub abi: u32,
    /// The application's name.
    pub name: Bytes,
    /// Its version.
    pub version: Bytes,
    /// See [`flag`].
    pub flags: u64,
    /// The stack that each thread in `call` needs, in bytes; 0: the host's default.
    pub stack_size: u64,
    /// Of a library with a lock of its own: a 32-bit counter, changed atomically, of its threads that wait for it. Null:
    /// none.
    pub waiters: *const u32,
    /// Makes the application's state. `OK`, or `FAILED` with a text.
    pub start:
        Option<unsafe extern "C" fn(host: *const Host, state: *mut *mut c_void, error: *mut Error) -> i32>,
    /// In the mold, before a worker is forked.
    pub before_fork: Option<unsafe extern "C" fn(state: *mut c_void)>,
    /// In the mold, after that fork.
    pub after_fork_parent: Option<unsafe extern "C" fn(state: *mut c_void)>,
    /// In a worker that was forked from a mold: connections and threads made anew.
    pub post_fork:
        Option<unsafe extern "C" fn(state: *mut c_void, worker: *const Worker, error: *mut Error) -> i32>,
    /// First thing on each thread that will be in `call`; `thread` is given to it.
    pub thread_start:
        Option<unsafe extern "C" fn(state: *mut c_void, number: u32, thread: *mut *mut c_void) -> i32>,
    /// Last thing on such a thread.
    pub thread_stop: Option<unsafe extern "C" fn(state: *mut c_void, thread: *mut c_void)>,
    /// 1 when the application can serve, 0 when it cannot (yet).
    pub ready: Option<unsafe extern "C" fn(state: *mut c_void) -> i32>,
    /// Answers a request. Required. `OK`, or `FAILED`, which is a 500 where nothing was answered.
    pub call:
        Option<unsafe extern "C" fn(state: *mut c_void, thread: *mut c_void, exchange: *mut Exchange) -> i32>,
    /// Something happened; see [`hook`]. `facts` may be null.
    pub hook: Option<unsafe extern "C" fn(state: *mut c_void, kind: u32, facts: *const c_void)>,
    /// Last call of all.
    pub stop: Option<unsafe extern "C" fn(state: *mut c_void)>,
}
