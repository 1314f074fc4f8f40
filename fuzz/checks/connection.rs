//! A whole connection: the worker's own code from the socket to the application `echo` and back. However its bytes are
//! cut, what a client hears is the same, the connection holds no more than its limits allow, and it ends.

use std::cell::RefCell;
use std::ffi::OsString;
use std::fmt;
use std::io::{self, Read};
use std::net::Shutdown;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, send, setsockopt, sockopt};
use unirs::log::{AccessFormat, AccessLog, ErrorLog, Level, Sink, Target, error};
use unirs::settings::{HeaderMap, Settings, Sources};
use unirs::trial::Trial;

use super::{Input, pieces};

/// Under which a connection is served.
#[derive(Clone, Copy, Debug)]
pub struct Conditions {
    /// Limits that are soon reached.
    pub tight: bool,
    /// Gunicorn's switches are on, all of them.
    pub lenient: bool,
    /// The application is called before the body is complete, and reads it while it comes.
    pub streaming: bool,
    /// How the client's side ends.
    pub end: End,
    /// The sockets take little at a time.
    pub narrow: bool,
    /// The client reads only when nothing else goes on.
    pub lazy: bool,
}

/// What a client does when it has said all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// It closes its half, and listens.
    HalfClose,
    /// Nothing: the server's patience ends it.
    Silence,
    /// It goes away.
    Vanish,
}

/// What a client has heard, without what may differ: dates, and permission to send a body.
#[derive(Clone, PartialEq, Eq)]
pub struct Heard {
    bytes: Vec<u8>,
    /// How many exchanges the server counted.
    pub requests: u64,
}

/// Bits of the options: 0 tight, 1 streaming, 2 silence, 3 vanish, 4 narrow, 5 lazy, 6 lenient.
pub fn check(input: &[u8]) {
    let Some(input) = Input::read(input) else { return };
    let end = match (input.has(2), input.has(3)) {
        (false, false) => End::HalfClose,
        (true, false) => End::Silence,
        (_, true) => End::Vanish,
    };
    let conditions = Conditions {
        tight: input.has(0),
        streaming: input.has(1),
        end,
        narrow: input.has(4),
        lazy: input.has(5),
        lenient: input.has(6),
    };
    compare(conditions, input.bytes, input.seed);
}

/// Says `bytes` at once, and then in pieces: the outcome has to be the same.
pub fn compare(conditions: Conditions, bytes: &[u8], seed: u16) -> Heard {
    let whole = converse(conditions, &[bytes]);
    let split = converse(conditions, &pieces(bytes, seed));
    if conditions.end == End::Vanish {
        return whole; // how much of it was heard is chance
    }
    let may_have_head = may_have_head(bytes);
    if !may_have_head {
        whole.answers().expect("whole answers, one after another");
    }
    match conditions.streaming {
        false => assert_eq!(split, whole, "in pieces"),
        // Who finds a fault in a body, the server or the application, depends on when it arrives.
        true if !may_have_head => assert_eq!(split.answers_in_short(), whole.answers_in_short(), "in pieces"),
        true => {}
    }
    whole
}

/// Serves a connection on which the pieces arrive one after another, each when the one before has been dealt with.
pub fn converse(conditions: Conditions, pieces: &[&[u8]]) -> Heard {
    thread_local!(static TRIALS: RefCell<[Option<Trial>; 8]> = const { RefCell::new([const { None }; 8]) });
    TRIALS.with_borrow_mut(|trials| {
        let place = [conditions.tight, conditions.streaming, conditions.lenient];
        let place = place.into_iter().fold(0, |place, is_so| place * 2 + usize::from(is_so));
        let trial = trials[place].get_or_insert_with(|| trial(&settings(conditions)));
        let before = trial.totals().requests;
        let mut bytes = if conditions.streaming {
            in_streams(trial, conditions, pieces)
        } else {
            in_turns(trial, conditions, pieces)
        };
        assert_eq!(trial.connections(), 0);
        mask(&mut bytes, may_have_head(&pieces.concat()));
        Heard { bytes, requests: trial.totals().requests - before }
    })
}

/// One thread is both sides, so that nothing is left to chance.
fn in_turns(trial: &mut Trial, conditions: Conditions, pieces: &[&[u8]]) -> Vec<u8> {
    let (mut client, server) = sockets(conditions);
    assert!(trial.connect(server.into()), "there is room for one");
    let most = most_held(conditions);
    for piece in pieces {
        let make_room = |socket: &UnixStream, heard: &mut Vec<u8>| {
            settle(trial, most);
            drain(socket, heard);
        };
        if !client.say(piece, make_room) {
            break;
        }
        turn(trial, most);
        if !conditions.lazy {
            client.listen();
        }
    }
    match conditions.end {
        End::HalfClose => client.half_close(),
        End::Silence => {}
        End::Vanish => client.vanish(),
    }
    for _ in 0..MOST_ROUNDS {
        settle(trial, most);
        if trial.connections() == 0 {
            client.listen();
            return client.heard;
        }
        let is_quiet = client.listen() == 0 && trial.turn() == 0;
        if is_quiet {
            assert_eq!(conditions.end, End::Silence, "the client has gone, and the connection stays");
            assert!(trial.pass_time(), "a silent client has no deadline");
        }
    }
    panic!("the connection does not end");
}

/// The client is another thread, since the application waits for it.
fn in_streams(trial: &mut Trial, conditions: Conditions, pieces: &[&[u8]]) -> Vec<u8> {
    let (mut client, server) = sockets(conditions);
    let speaker = client.socket.as_ref().and_then(|socket| socket.try_clone().ok());
    let mut speaker = Client { socket: speaker, heard: Vec::new() };
    thread::scope(|scope| {
        let speaking = scope.spawn(move || {
            for piece in pieces {
                if !speaker.say(piece, |_, _| thread::park_timeout(PAUSE)) {
                    break;
                }
                thread::park_timeout(PAUSE); // so that it arrives alone
            }
            speaker.half_close();
        });
        assert!(trial.connect(server.into()), "there is room for one");
        let start = Instant::now();
        while trial.connections() > 0 {
            trial.turn_within(PAUSE * 100);
            assert_fair(trial, most_held(conditions));
            client.listen();
            speaking.thread().unpark();
            assert!(start.elapsed() < PATIENCE, "the connection does not end");
        }
    });
    client.listen();
    client.heard
}

/// Serves what is ready: how much that was.
fn turn(trial: &mut Trial, most: usize) -> usize {
    let served = trial.turn();
    assert_fair(trial, most);
    served
}

fn assert_fair(trial: &Trial, most: usize) {
    assert!(trial.held() <= most, "{} bytes are held, and {most} are allowed", trial.held());
}

/// Serves until nothing is ready any more.
fn settle(trial: &mut Trial, most: usize) {
    let turns = (0..MOST_TURNS).take_while(|_| turn(trial, most) > 0).count();
    assert!(turns < MOST_TURNS, "the engine turns and turns");
}

/// A client's side.
struct Client {
    /// None once it has gone.
    socket: Option<UnixStream>,
    heard: Vec<u8>,
}

impl Client {
    /// Sends all of `bytes`; where the server's side is full, `meanwhile` makes room. False: the server has closed.
    fn say(&mut self, mut bytes: &[u8], mut meanwhile: impl FnMut(&UnixStream, &mut Vec<u8>)) -> bool {
        let Some(socket) = &self.socket else { return false };
        let mut start = None;
        while !bytes.is_empty() {
            match send(socket.as_raw_fd(), bytes, MsgFlags::MSG_NOSIGNAL) {
                Ok(count) => bytes = &bytes[count..],
                Err(Errno::EAGAIN) => {
                    meanwhile(socket, &mut self.heard);
                    assert!(start.get_or_insert_with(Instant::now).elapsed() < PATIENCE, "nobody reads");
                }
                Err(Errno::EPIPE | Errno::ECONNRESET) => return false,
                Err(error) => panic!("a client cannot send: {error}"),
            }
        }
        true
    }

    /// Reads what is there: how many bytes.
    fn listen(&mut self) -> usize {
        let before = self.heard.len();
        if let Some(socket) = &self.socket {
            drain(socket, &mut self.heard);
        }
        self.heard.len() - before
    }

    fn half_close(&self) {
        if let Some(socket) = &self.socket {
            // It fails where the server has gone already.
            let _ = socket.shutdown(Shutdown::Write);
        }
    }

    fn vanish(&mut self) {
        self.socket = None;
    }
}

fn drain(mut socket: &UnixStream, heard: &mut Vec<u8>) {
    match socket.read_to_end(heard) {
        Ok(_) => {}
        Err(error) => {
            let expected = [io::ErrorKind::WouldBlock, io::ErrorKind::ConnectionReset];
            assert!(expected.contains(&error.kind()), "a client cannot read: {error}");
        }
    }
}

fn sockets(conditions: Conditions) -> (Client, UnixStream) {
    let (client, server) = UnixStream::pair().expect("two descriptors");
    for socket in [&client, &server] {
        socket.set_nonblocking(true).expect("sockets can be so");
        if conditions.narrow {
            setsockopt(socket, sockopt::SndBuf, &1).expect("the kernel takes its least for that");
        }
    }
    (Client { socket: Some(client), heard: Vec::new() }, server)
}

fn trial(settings: &Settings) -> Trial {
    static ERROR_LOG: OnceLock<ErrorLog> = OnceLock::new();
    let nowhere = Target::File(PathBuf::from("/dev/null"));
    let install = || error::install(&nowhere, Path::new("/"), Level::Debug).expect("nobody else did");
    let error_log = ERROR_LOG.get_or_init(install).clone();
    let format =
        AccessFormat::compile(r#"%(h)s %(u)s %(t)s "%(r)s" %(s)s %(b)s %({content-type}o)s %(U)s "%(a)s""#);
    let sink = Sink::open(&nowhere, Path::new("/")).expect("there is a /dev/null");
    let access_log = AccessLog::new(format.expect("a format"), sink);
    Trial::new(settings, error_log, Some(Arc::new(access_log))).expect("an engine")
}

fn settings(conditions: Conditions) -> Settings {
    let argv = ["unirs", "echo"].map(OsString::from).to_vec();
    let sources = Sources { argv, env: Vec::new(), start_dir: PathBuf::from("/") };
    let mut settings = sources.load().expect("the defaults and a built-in").settings;
    if conditions.tight {
        settings.limit_request_line = 60;
        settings.limit_request_fields = 4;
        settings.limit_request_field_size = 60;
    }
    if conditions.lenient {
        settings.header_map = HeaderMap::Dangerous;
        settings.permit_obsolete_folding = true;
        settings.strip_header_spaces = true;
        settings.permit_unconventional_http_method = true;
        settings.permit_unconventional_http_version = true;
        settings.casefold_http_method = true;
    }
    let (body, buffer) = sizes(conditions);
    settings.limit_request_body = Some(body as u64);
    settings.body_buffer_size = buffer;
    settings
}

/// The largest body, and how much of it is read before the call. The whole, where one thread is both sides: it could
/// not say what it waits for.
fn sizes(conditions: Conditions) -> (usize, usize) {
    let largest = if conditions.tight { 100 } else { 32 * 1024 };
    (largest, if conditions.streaming { largest / 10 } else { largest + 1 })
}

/// The largest head, the body, the same body as an answer, and what is read at once beyond them.
fn most_held(conditions: Conditions) -> usize {
    let (body, buffer) = sizes(conditions);
    64 * 1024 + body + buffer + 32 * 1024
}

impl Heard {
    /// The status and the body of each answer, if they are whole and nothing is between them. An answer to HEAD would
    /// be taken for one that is cut off.
    pub fn answers(&self) -> Result<Vec<(u16, &[u8])>, String> {
        let mut answers = Vec::new();
        let mut rest = &self.bytes[..];
        while !rest.is_empty() {
            let wrong = |what: &str| format!("{what}: {:?}", self);
            let end =
                find(rest, END_OF_HEAD).ok_or_else(|| wrong("a head without an end"))? + END_OF_HEAD.len();
            let head = String::from_utf8_lossy(&rest[..end]);
            let status = head.strip_prefix("HTTP/1.").and_then(|text| text.get(2..5)?.parse().ok());
            let length = content_length(&rest[..end]).ok_or_else(|| wrong("no length"))?;
            let body = rest[end..].get(..length);
            let body = body.ok_or_else(|| wrong("a body that is cut off"))?;
            answers.push((status.ok_or_else(|| wrong("no status"))?, body));
            rest = &rest[end + body.len()..];
        }
        Ok(answers)
    }

    /// The same without the words of refusals.
    fn answers_in_short(&self) -> Vec<(u16, &[u8])> {
        let answers = self.answers().expect("whole answers, one after another");
        answers.into_iter().map(|(status, body)| (status, if status < 400 { body } else { b"" })).collect()
    }
}

impl fmt::Debug for Heard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} requests, \"{}\"", self.requests, self.bytes.escape_ascii())
    }
}

/// Takes out what may differ from one time to the next: dates, and whether the client was told to go on. Where that
/// stands in what is echoed it stays.
fn mask(bytes: &mut Vec<u8>, may_have_head: bool) {
    const DATE: &[u8] = b"\r\nDate: ";
    const GO_ON: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";
    let mut at = 0;
    while let Some(length) = find(&bytes[at..], END_OF_HEAD) {
        if bytes[at..].starts_with(GO_ON) {
            bytes.drain(at..at + GO_ON.len());
            continue;
        }
        let end = at + length + END_OF_HEAD.len();
        let head = &mut bytes[at..end];
        if let Some(date) = find(head, DATE) {
            let date = &mut head[date + DATE.len()..];
            let length = find(date, b"\r\n").unwrap_or_default();
            date[..length].fill(b'-');
        }
        let body = content_length(head).unwrap_or_default();
        let has_none = may_have_head && bytes[end..].starts_with(b"HTTP/1.");
        at = if has_none { end } else { bytes.len().min(end.saturating_add(body)) };
    }
}

fn content_length(head: &[u8]) -> Option<usize> {
    let head = String::from_utf8_lossy(head); // a field may have any bytes above ASCII
    head.lines().find_map(|line| line.strip_prefix("Content-Length: ")?.parse().ok())
}

/// Might one of the requests be HEAD? Then nobody knows which answers have a body.
fn may_have_head(bytes: &[u8]) -> bool {
    find(&bytes.to_ascii_uppercase(), b"HEAD").is_some()
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}

const END_OF_HEAD: &[u8] = b"\r\n\r\n";

/// More turns or rounds than any connection needs.
const MOST_TURNS: usize = 10_000;
const MOST_ROUNDS: usize = 10_000;

/// How long a client waits for the server between two pieces, when that is in the application.
const PAUSE: Duration = Duration::from_micros(100);

/// Nothing takes so long but what never ends.
const PATIENCE: Duration = Duration::from_secs(20);
