//! A raw HTTP/1.1 client: bytes out, one strictly parsed response in. It forgives nothing that RFC 9112 forbids.

use std::fmt;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, recv};
use nix::unistd::Pid;

use super::DEADLINE;

/// What came of a request.
pub(crate) type Answer = Result<Response, Broken>;

/// Why there is no whole response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Broken {
    /// Nobody listens.
    Refused,
    /// The connection was reset.
    Reset,
    /// The connection ended before the first byte of a response.
    Closed,
    /// The connection ended within a response.
    Cut,
    /// No byte came within [`DEADLINE`].
    Slow,
    /// What came is not HTTP.
    Malformed(String),
    /// Another error of the socket.
    Other(String),
}

impl fmt::Display for Broken {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Broken::Refused => out.write_str("connection refused"),
            Broken::Reset => out.write_str("connection reset"),
            Broken::Closed => out.write_str("closed without a response"),
            Broken::Cut => out.write_str("closed within a response"),
            Broken::Slow => write!(out, "nothing within {DEADLINE:?}"),
            Broken::Malformed(what) => write!(out, "malformed response: {what}"),
            Broken::Other(what) => out.write_str(what),
        }
    }
}

impl From<io::Error> for Broken {
    fn from(error: io::Error) -> Broken {
        match error.kind() {
            ErrorKind::ConnectionRefused | ErrorKind::NotFound => Broken::Refused,
            ErrorKind::ConnectionReset | ErrorKind::BrokenPipe | ErrorKind::ConnectionAborted => {
                Broken::Reset
            }
            ErrorKind::WouldBlock | ErrorKind::TimedOut => Broken::Slow,
            _ => Broken::Other(error.to_string()),
        }
    }
}

/// A response, whole.
#[derive(Clone, Debug)]
pub(crate) struct Response {
    /// 10 or 11.
    pub(crate) version: u8,
    pub(crate) status: u16,
    pub(crate) reason: String,
    /// Names lower-cased, in order.
    pub(crate) fields: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    pub(crate) trailers: Vec<(String, String)>,
}

impl Response {
    /// The value of a field, by its lower-case name.
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// Whether the server said that the connection ends here.
    pub(crate) fn closes(&self) -> bool {
        match self.field("connection") {
            Some(value) => value.eq_ignore_ascii_case("close"),
            None => self.version == 10,
        }
    }

    /// The body as text.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// How the body of a response is delimited (RFC 9112 §6.3).
enum Framing {
    None,
    Length(usize),
    Chunked,
    UntilClose,
}

enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// One connection.
pub(crate) struct Client {
    stream: Stream,
    /// Received and not yet parsed.
    buffer: Vec<u8>,
}

impl Client {
    /// Connects to a TCP address.
    pub(crate) fn tcp(address: SocketAddr) -> Result<Client, Broken> {
        let stream = TcpStream::connect_timeout(&address, DEADLINE)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(DEADLINE))?;
        stream.set_write_timeout(Some(DEADLINE))?;
        Ok(Client { stream: Stream::Tcp(stream), buffer: Vec::new() })
    }

    /// Connects to a unix socket.
    pub(crate) fn unix(path: &Path) -> Result<Client, Broken> {
        let stream = UnixStream::connect(path)?;
        stream.set_read_timeout(Some(DEADLINE))?;
        stream.set_write_timeout(Some(DEADLINE))?;
        Ok(Client { stream: Stream::Unix(stream), buffer: Vec::new() })
    }

    /// Sends bytes as they are.
    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) -> Result<(), Broken> {
        match &mut self.stream {
            Stream::Tcp(stream) => stream.write_all(bytes.as_ref())?,
            Stream::Unix(stream) => stream.write_all(bytes.as_ref())?,
        }
        Ok(())
    }

    /// `GET`, and leaves the connection open.
    pub(crate) fn get(&mut self, target: &str) -> Answer {
        self.send_get(target)?;
        self.answer()
    }

    /// Sends `GET`, and reads nothing.
    pub(crate) fn send_get(&mut self, target: &str) -> Result<(), Broken> {
        self.send(format!("GET {target} HTTP/1.1\r\nHost: test\r\n\r\n"))
    }

    /// Which worker this connection belongs to: the application says its pid.
    pub(crate) fn worker(&mut self) -> Pid {
        let response = self.get("/pid").unwrap_or_else(|broken| panic!("GET /pid: {broken}"));
        Pid::from_raw(response.text().trim().parse().expect("/pid answers with a number"))
    }

    /// `GET`, and asks to close.
    pub(crate) fn last_get(&mut self, target: &str) -> Answer {
        self.send_last_get(target)?;
        self.answer()
    }

    /// Sends `GET`, asks to close, and reads nothing.
    pub(crate) fn send_last_get(&mut self, target: &str) -> Result<(), Broken> {
        self.send(format!("GET {target} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n"))
    }

    /// `POST` with a length, and leaves the connection open.
    pub(crate) fn post(&mut self, target: &str, body: &[u8]) -> Answer {
        self.send(format!("POST {target} HTTP/1.1\r\nHost: test\r\nContent-Length: {}\r\n\r\n", body.len()))?;
        self.send(body)?;
        self.answer()
    }

    /// `HEAD`, whose response has no body.
    pub(crate) fn head(&mut self, target: &str) -> Answer {
        self.send(format!("HEAD {target} HTTP/1.1\r\nHost: test\r\n\r\n"))?;
        self.read_response(true)
    }

    /// Reads the next response to anything but HEAD; an interim one (1xx) counts as one.
    pub(crate) fn answer(&mut self) -> Answer {
        self.read_response(false)
    }

    /// Reads the next response to HEAD.
    pub(crate) fn answer_to_head(&mut self) -> Answer {
        self.read_response(true)
    }

    /// Reads until `count` bytes of whatever are there, and leaves them unread.
    pub(crate) fn wait_for_bytes(&mut self, count: usize) -> Result<(), Broken> {
        while self.buffer.len() < count {
            self.fill()?;
        }
        Ok(())
    }

    /// Takes what has arrived, without waiting: false when the connection has ended.
    pub(crate) fn take_arrived(&mut self) -> bool {
        let mut piece = [0_u8; 16 * 1024];
        loop {
            match recv(self.as_fd().as_raw_fd(), &mut piece, MsgFlags::MSG_DONTWAIT) {
                Ok(0) => return false,
                Ok(count) => self.buffer.extend_from_slice(&piece[..count]),
                Err(error) => return error == Errno::EAGAIN,
            }
        }
    }

    /// What was received and not parsed.
    pub(crate) fn received(&self) -> &[u8] {
        &self.buffer
    }

    /// Throws away what was received and not parsed; how much that was.
    pub(crate) fn discard(&mut self) -> usize {
        std::mem::take(&mut self.buffer).len()
    }

    /// The server ends the connection now, and sends nothing more.
    pub(crate) fn assert_closed(&mut self, scenario: &str) {
        match self.fill() {
            Err(Broken::Closed) => {
                assert!(self.buffer.is_empty(), "{scenario}: extra bytes {:?}", self.shown());
            }
            Err(other) => panic!("{scenario}: expected the end of the connection: {other}"),
            Ok(()) => panic!("{scenario}: expected the end of the connection, got {:?}", self.shown()),
        }
    }

    /// Nothing came beyond the responses that were read.
    pub(crate) fn assert_quiet(&mut self, scenario: &str) {
        self.set_read_timeout(Duration::from_millis(50));
        let seen = self.fill();
        self.set_read_timeout(DEADLINE);
        let quiet = self.buffer.is_empty() && matches!(seen, Err(Broken::Slow | Broken::Closed));
        assert!(quiet, "{scenario}: expected nothing more, got {:?} {seen:?}", self.shown());
    }

    /// Ends the sending side.
    pub(crate) fn finish_sending(&self) {
        let done = match &self.stream {
            Stream::Tcp(stream) => stream.shutdown(Shutdown::Write),
            Stream::Unix(stream) => stream.shutdown(Shutdown::Write),
        };
        // The server may have closed first.
        let _ = done;
    }

    /// How long a read waits.
    pub(crate) fn set_read_timeout(&self, limit: Duration) {
        let done = match &self.stream {
            Stream::Tcp(stream) => stream.set_read_timeout(Some(limit)),
            Stream::Unix(stream) => stream.set_read_timeout(Some(limit)),
        };
        done.expect("a socket takes a timeout");
    }

    fn read_response(&mut self, to_head: bool) -> Answer {
        let head = self.read_head()?;
        let mut response = parse_head(&head)?;
        match framing(&response, to_head)? {
            Framing::None => {}
            Framing::Length(length) => response.body = self.take(length)?,
            Framing::Chunked => self.read_chunks(&mut response)?,
            Framing::UntilClose => response.body = self.read_to_end()?,
        }
        Ok(response)
    }

    fn read_head(&mut self) -> Result<Vec<u8>, Broken> {
        loop {
            if let Some(end) = find(&self.buffer, b"\r\n\r\n") {
                return Ok(self.buffer.drain(..end + 4).collect());
            }
            self.fill()?;
        }
    }

    fn read_chunks(&mut self, response: &mut Response) -> Result<(), Broken> {
        loop {
            let line = self.read_line()?;
            let size =
                usize::from_str_radix(&line, 16).map_err(|_| malformed(format!("chunk size {line:?}")))?;
            if size == 0 {
                break;
            }
            response.body.extend(self.take(size)?);
            if self.take(2)? != b"\r\n" {
                return Err(malformed("no CRLF after a chunk"));
            }
        }
        loop {
            let line = self.read_line()?;
            if line.is_empty() {
                return Ok(());
            }
            response.trailers.push(parse_field(&line)?);
        }
    }

    fn read_line(&mut self) -> Result<String, Broken> {
        loop {
            if let Some(end) = find(&self.buffer, b"\r\n") {
                let line = self.buffer.drain(..end + 2).take(end).collect();
                return String::from_utf8(line).map_err(|_| malformed("a line that is no text"));
            }
            self.fill_within()?;
        }
    }

    fn take(&mut self, count: usize) -> Result<Vec<u8>, Broken> {
        while self.buffer.len() < count {
            self.fill_within()?;
        }
        Ok(self.buffer.drain(..count).collect())
    }

    fn read_to_end(&mut self) -> Result<Vec<u8>, Broken> {
        loop {
            match self.fill_within() {
                Ok(()) => {}
                Err(Broken::Cut) => return Ok(std::mem::take(&mut self.buffer)),
                Err(other) => return Err(other),
            }
        }
    }

    /// Like `fill`, where the end of the connection means that a response was cut.
    fn fill_within(&mut self) -> Result<(), Broken> {
        self.fill().map_err(|broken| if broken == Broken::Closed { Broken::Cut } else { broken })
    }

    fn fill(&mut self) -> Result<(), Broken> {
        let mut piece = [0_u8; 16 * 1024];
        let count = match &mut self.stream {
            Stream::Tcp(stream) => stream.read(&mut piece)?,
            Stream::Unix(stream) => stream.read(&mut piece)?,
        };
        if count == 0 {
            return Err(if self.buffer.is_empty() { Broken::Closed } else { Broken::Cut });
        }
        self.buffer.extend_from_slice(&piece[..count]);
        Ok(())
    }

    fn shown(&self) -> String {
        String::from_utf8_lossy(&self.buffer).into_owned()
    }
}

impl AsFd for Client {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match &self.stream {
            Stream::Tcp(stream) => stream.as_fd(),
            Stream::Unix(stream) => stream.as_fd(),
        }
    }
}

fn parse_head(head: &[u8]) -> Answer {
    let text = std::str::from_utf8(head).map_err(|_| malformed("a head that is no text"))?;
    let mut lines = text.trim_end_matches("\r\n").split("\r\n");
    let (version, status, reason) = parse_status_line(lines.next().unwrap_or_default())?;
    let fields = lines.map(parse_field).collect::<Result<Vec<_>, _>>()?;
    Ok(Response { version, status, reason, fields, body: Vec::new(), trailers: Vec::new() })
}

fn parse_status_line(line: &str) -> Result<(u8, u16, String), Broken> {
    let wrong = || malformed(format!("status line {line:?}"));
    let mut parts = line.splitn(3, ' ');
    let version = match parts.next() {
        Some("HTTP/1.1") => 11,
        Some("HTTP/1.0") => 10,
        _ => return Err(wrong()),
    };
    let digits = parts.next().filter(|digits| digits.len() == 3).ok_or_else(wrong)?;
    let status = digits.parse().map_err(|_| wrong())?;
    let reason = parts.next().ok_or_else(wrong)?;
    Ok((version, status, reason.to_owned()))
}

fn parse_field(line: &str) -> Result<(String, String), Broken> {
    let (name, value) = line.split_once(':').ok_or_else(|| malformed(format!("field {line:?}")))?;
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    let clean = |byte: u8| byte == b'\t' || (byte >= b' ' && byte != 0x7f);
    if name.is_empty() || !name.bytes().all(is_token) || !value.bytes().all(clean) {
        return Err(malformed(format!("field {line:?}")));
    }
    Ok((name.to_ascii_lowercase(), value.trim().to_owned()))
}

fn framing(response: &Response, to_head: bool) -> Result<Framing, Broken> {
    let values = |name: &str| -> Vec<&str> {
        response.fields.iter().filter(|(key, _)| key == name).map(|(_, value)| value.as_str()).collect()
    };
    let (lengths, codings) = (values("content-length"), values("transfer-encoding"));
    let bodiless = to_head || response.status < 200 || matches!(response.status, 204 | 304);
    match (lengths.as_slice(), codings.as_slice()) {
        (lengths, _) if response.status < 200 && !lengths.is_empty() => Err(malformed("1xx with a length")),
        (lengths, _) if response.status == 204 && !lengths.is_empty() => Err(malformed("204 with a length")),
        (_, [_, ..]) if response.version == 10 => Err(malformed("Transfer-Encoding to HTTP/1.0")),
        (_, [_, ..]) if bodiless && !to_head && response.status != 304 => {
            Err(malformed("a coding and no body"))
        }
        ([_, ..], [_, ..]) => Err(malformed("both Content-Length and Transfer-Encoding")),
        _ if bodiless => Ok(Framing::None),
        ([length], []) => {
            length.parse().map(Framing::Length).map_err(|_| malformed(format!("Content-Length {length:?}")))
        }
        ([], ["chunked"]) => Ok(Framing::Chunked),
        ([], []) if response.closes() => Ok(Framing::UntilClose),
        _ => Err(malformed(format!("no framing: {:?}", response.fields))),
    }
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}

fn malformed(what: impl Into<String>) -> Broken {
    Broken::Malformed(what.into())
}
