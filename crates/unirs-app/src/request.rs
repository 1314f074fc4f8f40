//! A request, as an application sees it. Not how it is parsed or answered.

use std::any::Any;
use std::borrow::Cow;
use std::cell::OnceCell;
use std::fmt;
use std::time::Duration;

use crate::abi;
use crate::host::{Exchange, lend_field};
use crate::pattern::Parts;
use crate::{Body, Error, Query, Refusal, Worker, query};

/// A request, and what a call may ask of the host while it is answered.
///
/// ```
/// # use unirs_app::{Request, Response};
/// fn describe(request: &mut Request) -> Response {
///     let name = request.query_value("name").unwrap_or("nobody".into());
///     let agent = request.header("user-agent").unwrap_or("no browser");
///     Response::text(format!("{} {} for {name}, with {agent}\n", request.method(), request.path()))
/// }
/// ```
///
/// Everything that a client sends is bytes; the functions that return text say what they do with bytes that are not, and
/// each has a companion that returns the bytes.
pub struct Request {
    exchange: Exchange,
    worker: Worker,
    /// The path as text, where it is not UTF-8.
    lossy_path: OnceCell<String>,
    /// The named parts of the pattern that matched.
    parts: Parts,
    /// What middleware left for those inside it.
    attached: Vec<Box<dyn Any>>,
}

impl Request {
    pub(crate) fn new(exchange: Exchange, worker: Worker) -> Request {
        Request {
            exchange,
            worker,
            lossy_path: OnceCell::new(),
            parts: Parts::default(),
            attached: Vec::new(),
        }
    }

    pub(crate) fn exchange(&self) -> &Exchange {
        &self.exchange
    }

    pub(crate) fn set_parts(&mut self, parts: Parts) {
        self.parts = parts;
    }

    /// The method as sent: `GET`.
    pub fn method(&self) -> &str {
        self.text(|request| request.method)
    }

    /// The path, percent-decoded once; what is not UTF-8 in it is replaced by `U+FFFD`.
    pub fn path(&self) -> &str {
        let bytes = self.path_bytes();
        match std::str::from_utf8(bytes) {
            Ok(path) => path,
            Err(_) => self.lossy_path.get_or_init(|| String::from_utf8_lossy(bytes).into_owned()),
        }
    }

    /// The path, percent-decoded once; any bytes.
    pub fn path_bytes(&self) -> &[u8] {
        self.exchange.bytes(|request| request.path)
    }

    /// The path as sent.
    pub fn raw_path(&self) -> &[u8] {
        self.exchange.bytes(|request| request.raw_path)
    }

    /// The request target as sent: path and query, or an absolute address.
    pub fn target(&self) -> &[u8] {
        self.exchange.bytes(|request| request.target)
    }

    /// What follows the first `?`, as sent; `None` when there is no `?` or when it is not UTF-8.
    pub fn query(&self) -> Option<&str> {
        std::str::from_utf8(self.query_bytes()?).ok()
    }

    /// What follows the first `?`, as sent; `None` when there is no `?`.
    pub fn query_bytes(&self) -> Option<&[u8]> {
        let missing = self.exchange.request().query.data.is_null();
        (!missing).then(|| self.exchange.bytes(|request| request.query))
    }

    /// The pairs of the query, decoded (`+` is a space), in their order.
    pub fn query_pairs(&self) -> Query<'_> {
        Query::new(self.query_bytes().unwrap_or_default())
    }

    /// The decoded value of the query's first pair with this name.
    pub fn query_value(&self, name: &str) -> Option<Cow<'_, str>> {
        self.query_pairs().find(|(other, _)| other == name).map(|(_, value)| value)
    }

    /// The decoded value of a named part of the [`Router`](crate::Router)'s pattern: `id` of `/users/{id}`. What is not
    /// UTF-8 is replaced.
    pub fn part(&self, name: &str) -> Option<Cow<'_, str>> {
        self.part_bytes(name).map(query::text)
    }

    /// The decoded value of a named part; any bytes.
    pub fn part_bytes(&self, name: &str) -> Option<Cow<'_, [u8]>> {
        self.parts.value(name, self.raw_path())
    }

    /// The value of the first header field with this name, in any case; `None` when there is none or when it is not UTF-8.
    pub fn header(&self, name: &str) -> Option<&str> {
        std::str::from_utf8(self.header_bytes(name)?).ok()
    }

    /// The value of the first header field with this name, in any case; any bytes.
    pub fn header_bytes(&self, name: &str) -> Option<&[u8]> {
        let mut fields = self.exchange.fields();
        fields.find(|(other, _)| other.eq_ignore_ascii_case(name.as_bytes())).map(|(_, value)| value)
    }

    /// The header fields in the order in which they were sent; names are lower-case.
    pub fn headers(&self) -> impl Iterator<Item = (&str, &[u8])> + Clone {
        self.exchange.fields().map(|(name, value)| (utf8(name), value))
    }

    /// The body.
    pub fn body(&self) -> Body<'_> {
        Body::new(self)
    }

    /// The body's length in bytes, where it is known before the end.
    pub fn content_length(&self) -> Option<u64> {
        u64::try_from(self.exchange.request().content_length).ok()
    }

    /// 10 for HTTP/1.0, 11 for HTTP/1.1.
    pub fn http_version(&self) -> u32 {
        self.exchange.request().http_version
    }

    /// `http` or `https`.
    pub fn scheme(&self) -> &str {
        self.text(|request| request.scheme)
    }

    /// Host and port as the client named them; may be empty.
    pub fn authority(&self) -> &str {
        self.text(|request| request.authority)
    }

    /// The path under which the application is mounted; empty at the root.
    pub fn prefix(&self) -> &str {
        self.text(|request| request.prefix)
    }

    /// The client, as trusted proxies name it.
    pub fn peer(&self) -> Endpoint<'_> {
        self.endpoint(|request| (request.peer_address, request.peer_port))
    }

    /// The other end of the connection itself: the client, or the proxy in between.
    pub fn connection(&self) -> Endpoint<'_> {
        self.endpoint(|request| (request.connection_address, request.connection_port))
    }

    /// The address at which the server was reached.
    pub fn server(&self) -> Endpoint<'_> {
        self.endpoint(|request| (request.server_address, request.server_port))
    }

    /// Which of the server's binds, counted from 0.
    pub fn listener(&self) -> u32 {
        self.exchange.request().listener
    }

    /// When its first byte was read, since 1970.
    pub fn arrived_at(&self) -> Duration {
        Duration::from_nanos(self.exchange.request().arrived_at_ns)
    }

    /// How long it waited, complete, for its call.
    pub fn queued(&self) -> Duration {
        Duration::from_nanos(self.exchange.request().queued_ns)
    }

    /// A short text that names this request in all logs.
    pub fn id(&self) -> &str {
        utf8(self.exchange.request_id())
    }

    /// The worker that answers it.
    pub fn worker(&self) -> Worker {
        self.worker
    }

    /// Whether nobody waits for the answer any more. A long call asks now and then, and gives up.
    pub fn cancelled(&self) -> bool {
        self.exchange.cancelled()
    }

    /// This call will be silent for up to `by` more: the server's `timeout` waits for so long. (Reading the body and
    /// writing a stream are not silence.) Seconds are rounded up.
    pub fn extend(&self, by: Duration) {
        self.exchange.extend(by);
    }

    /// Sends a 103 response with these fields before the answer, so that the client may fetch what it will need.
    ///
    /// ```
    /// # use unirs_app::{Error, Request, Response};
    /// # fn page(request: &mut Request) -> Result<Response, Error> {
    /// request.early_hints(&[("link", "</style.css>; rel=preload; as=style")])?;
    /// # Ok(Response::text("")) }
    /// ```
    ///
    /// # Errors
    /// A field cannot be sent, or the request is answered already. A host that does not know 103 is no error.
    pub fn early_hints(&self, fields: &[(&str, &str)]) -> Result<(), Error> {
        let lent = fields.iter().map(|(name, value)| lend_field(name.as_bytes(), value.as_bytes()));
        match self.exchange.early_hints(&lent.collect::<Vec<_>>()) {
            Err(Refusal::Unsupported) | Ok(()) => Ok(()),
            Err(refusal) => Err(refusal.into()),
        }
    }

    /// Leaves a value for those inside: middleware that has found out who the user is leaves it for the handler.
    ///
    /// ```
    /// # use unirs_app::{Request, Response};
    /// struct User { name: String }
    /// # fn middleware(request: &mut Request) {
    /// request.attach(User { name: "Ada".into() });
    /// # }
    /// # fn handler(request: &mut Request) -> Response {
    /// let name = request.attached::<User>().map_or("nobody", |user| &user.name);
    /// # Response::text(name.to_owned()) }
    /// ```
    pub fn attach<T: 'static>(&mut self, value: T) {
        self.attached.push(Box::new(value));
    }

    /// The value of this type that was attached last.
    pub fn attached<T: 'static>(&self) -> Option<&T> {
        self.attached.iter().rev().find_map(|value| value.downcast_ref())
    }

    /// The exchange itself, for what this crate does not offer: to be used with the functions of [`raw_host`](Request::raw_host), on
    /// this thread, until the call returns. Whoever answers through it returns [`Response::answered`](crate::Response::answered).
    pub fn raw_exchange(&self) -> *mut abi::Exchange {
        self.exchange.raw()
    }

    /// The host's functions; those that it does not have are `None`.
    pub fn raw_host(&self) -> &'static abi::Host {
        self.exchange.table()
    }

    fn text(&self, of: impl FnOnce(&abi::Request) -> abi::Bytes) -> &str {
        utf8(self.exchange.bytes(of))
    }

    fn endpoint(&self, of: impl Fn(&abi::Request) -> (abi::Bytes, u32)) -> Endpoint<'_> {
        let address = self.text(|request| of(request).0);
        let port = u16::try_from(of(self.exchange.request()).1).unwrap_or(0);
        Endpoint { address, port }
    }
}

/// The first line: `GET /path`.
impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.method(), self.target().escape_ascii())
    }
}

/// Text that is ASCII by the grammar of HTTP; the host has refused all else.
fn utf8(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap_or_default()
}

/// One end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Endpoint<'a> {
    /// An IP address as text; empty for a unix socket.
    pub address: &'a str,
    /// Its port; 0 for a unix socket.
    pub port: u16,
}

/// `127.0.0.1:8000`, `[::1]:8000` or `unix`.
impl fmt::Display for Endpoint<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.address {
            "" => f.write_str("unix"),
            address if address.contains(':') => write!(f, "[{address}]:{}", self.port),
            address => write!(f, "{address}:{}", self.port),
        }
    }
}
