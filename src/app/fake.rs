//! A host in memory, for the tests of the door and of the built-ins. Not a worker: it enforces no rules.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::sync::Mutex;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use super::{
    Answer, Application, CallOutcome, Exchange, FieldView, Fields, Host, HostFacts, Level, Notice, ReadError,
    Refusal, RequestView, Running, Services, Source,
};

/// A request, and what the application did with it.
pub(super) struct FakeHost {
    pub(super) method: String,
    pub(super) raw_path: String,
    pub(super) path: Vec<u8>,
    pub(super) query: Option<String>,
    pub(super) fields: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
    /// The body is here as a whole, so that it can be had without a copy.
    pub(super) is_whole: bool,
    /// How much of the body was read.
    pub(super) read: usize,
    pub(super) answer: Option<Reply>,
    /// The names of all calls but reads, in order.
    pub(super) calls: Vec<String>,
    /// The next call is refused so.
    pub(super) refusal: Option<Refusal>,
    pub(super) read_error: Option<ReadError>,
    /// The next call panics.
    pub(super) panics: bool,
    pub(super) notice: Option<Notice>,
}

/// What was answered.
#[derive(Debug, Default)]
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) reason: String,
    pub(super) fields: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
    pub(super) length: Option<u64>,
    /// The body came by `respond_file`.
    pub(super) is_file: bool,
    pub(super) trailers: Vec<(String, String)>,
}

impl Reply {
    pub(super) fn field(&self, name: &str) -> Option<&str> {
        self.fields
            .iter()
            .find(|(other, _)| other.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    pub(super) fn text(&self) -> &str {
        str::from_utf8(&self.body).unwrap()
    }
}

impl FakeHost {
    /// A request for `target`, in which the path has nothing to decode.
    pub(super) fn new(method: &str, target: &str) -> FakeHost {
        let (raw_path, query) = match target.split_once('?') {
            Some((path, query)) => (path, Some(query.to_owned())),
            None => (target, None),
        };
        FakeHost {
            method: method.to_owned(),
            raw_path: raw_path.to_owned(),
            path: raw_path.as_bytes().to_vec(),
            query,
            fields: vec![("host".to_owned(), "example.org".to_owned())],
            body: Vec::new(),
            is_whole: true,
            read: 0,
            answer: None,
            calls: Vec::new(),
            refusal: None,
            read_error: None,
            panics: false,
            notice: None,
        }
    }

    pub(super) fn field(mut self, name: &str, value: &str) -> FakeHost {
        self.fields.push((name.to_owned(), value.to_owned()));
        self
    }

    pub(super) fn body(mut self, body: &[u8], is_whole: bool) -> FakeHost {
        self.body = body.to_vec();
        self.is_whole = is_whole;
        self
    }

    /// Lets `running` answer this request, on a thread state of its own.
    pub(super) fn call(self, running: &Running) -> (CallOutcome, FakeHost) {
        let thread = running.thread_start(0).unwrap();
        let mut exchange = Exchange::new(self);
        let outcome = running.call(&thread, &mut exchange);
        running.thread_stop(thread);
        (outcome, exchange.host)
    }

    fn note(&mut self, call: &str) -> Result<(), Refusal> {
        assert!(!self.panics, "as the test wants it");
        self.calls.push(call.to_owned());
        self.refusal.take().map_or(Ok(()), Err)
    }

    fn reply(&mut self, answer: &Answer<'_>) -> &mut Reply {
        self.answer.insert(Reply {
            status: answer.status,
            reason: String::from_utf8_lossy(answer.reason).into_owned(),
            fields: pairs(answer.fields()),
            ..Reply::default()
        })
    }
}

fn pairs(fields: Fields<'_>) -> Vec<(String, String)> {
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    fields.map(|(name, value)| (text(name), text(value))).collect()
}

impl Host for FakeHost {
    fn request(&self) -> RequestView<'_> {
        RequestView {
            http_version: 11,
            method: self.method.as_bytes(),
            target: self.raw_path.as_bytes(),
            path: &self.path,
            raw_path: self.raw_path.as_bytes(),
            query: self.query.as_deref().map(str::as_bytes),
            scheme: "http",
            authority: b"example.org",
            prefix: b"",
            peer_address: "192.0.2.7",
            peer_port: 40000,
            connection_address: "192.0.2.8",
            connection_port: 40001,
            server_address: "192.0.2.9",
            server_port: 8000,
            listener: 2,
            content_length: Some(self.body.len() as u64),
            arrived_at_ns: 1_000,
            queued_ns: 5,
        }
    }

    fn request_field(&self, index: usize) -> Option<FieldView<'_>> {
        let (name, value) = self.fields.get(index)?;
        Some(FieldView { name: name.as_bytes(), value: value.as_bytes(), known: 0 })
    }

    fn read(&mut self, buffer: &mut [u8], wait: bool) -> Result<usize, ReadError> {
        if let Some(error) = self.read_error {
            return if wait { Err(error) } else { Err(ReadError::WouldBlock) };
        }
        let rest = &self.body[self.read..];
        let count = rest.len().min(buffer.len());
        buffer[..count].copy_from_slice(&rest[..count]);
        self.read += count;
        Ok(count)
    }

    fn body(&mut self) -> Option<&[u8]> {
        self.is_whole.then_some(&self.body)
    }

    fn respond(&mut self, answer: &Answer<'_>) -> Result<(), Refusal> {
        self.note("respond")?;
        assert_eq!(answer.body_len(), answer.body().map(|piece| piece.len() as u64).sum::<u64>());
        let body = answer.body().flatten().copied().collect();
        self.reply(answer).body = body;
        Ok(())
    }

    fn respond_file(
        &mut self,
        answer: &Answer<'_>,
        file: OwnedFd,
        offset: u64,
        length: u64,
    ) -> Result<(), Refusal> {
        self.note("respond_file")?;
        let mut body = vec![0; length as usize];
        File::from(file).read_exact_at(&mut body, offset).unwrap();
        let reply = self.reply(answer);
        (reply.body, reply.is_file) = (body, true);
        Ok(())
    }

    fn begin(&mut self, answer: &Answer<'_>, length: Option<u64>) -> Result<(), Refusal> {
        self.note("begin")?;
        self.reply(answer).length = length;
        Ok(())
    }

    fn write(&mut self, data: &[u8]) -> Result<(), Refusal> {
        self.note("write")?;
        self.answer.as_mut().ok_or(Refusal::NotBegun)?.body.extend_from_slice(data);
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Refusal> {
        self.note("flush")
    }

    fn finish(&mut self, trailers: Fields<'_>) -> Result<(), Refusal> {
        self.note("finish")?;
        self.answer.as_mut().ok_or(Refusal::NotBegun)?.trailers = pairs(trailers);
        Ok(())
    }

    fn early_hints(&mut self, fields: Fields<'_>) -> Result<(), Refusal> {
        self.note(&format!("early_hints of {}", fields.len()))
    }

    fn cancelled(&self) -> bool {
        self.refusal == Some(Refusal::Gone)
    }

    fn extend(&mut self, by: Duration) {
        self.calls.push(format!("extend by {by:?}"));
    }

    fn request_id(&mut self) -> &[u8] {
        b"0123456789abcdef"
    }

    fn on_finished(&mut self, notice: Notice) {
        assert!(!self.panics, "as the test wants it");
        self.notice = Some(notice);
    }
}

/// Keeps all lines of all tests of the process.
pub(super) struct Lines(Mutex<Vec<(Level, String, String)>>);

/// The services of every test.
pub(super) static LINES: Lines = Lines(Mutex::new(Vec::new()));

static COUNTED: AtomicU64 = AtomicU64::new(0);

impl Lines {
    /// The level and target of the first line that contains `text`.
    pub(super) fn find(&self, text: &str) -> Option<(Level, String)> {
        let lines = self.0.lock().unwrap();
        lines.iter().find(|line| line.2.contains(text)).map(|(level, target, _)| (*level, target.clone()))
    }
}

impl Services for Lines {
    fn log(&self, level: Level, target: &str, text: &str) {
        self.0.lock().unwrap().push((level, target.to_owned(), text.to_owned()));
    }

    fn counter(&self, name: &str) -> Option<&'static AtomicU64> {
        (name == "counted").then_some(&COUNTED)
    }
}

/// The worker of every test.
pub(super) const FACTS: HostFacts = HostFacts { slot: 3, generation: 7, threads: 2, workers: 4, pid: 4711 };

/// A built-in, started with this configuration.
pub(super) fn builtin(name: &str, config: &str) -> Running {
    let application = Application::load(&Source::Builtin(name.to_owned()), config.to_owned()).unwrap();
    application.start(FACTS, &LINES).unwrap()
}
