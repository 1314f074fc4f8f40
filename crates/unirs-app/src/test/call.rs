//! A request of a test: built, sent, answered. Not a client: there is no connection.

use std::ptr;

use super::rules::Exchange;
use super::{Answer, Server};
use crate::abi;
use crate::host::{lend, lend_field};
use crate::{Refusal, query};

/// A request that a test is about to send; from [`Server::request`].
pub struct Call<'s> {
    server: &'s Server,
    pub(super) method: String,
    target: String,
    http_version: u32,
    headers: Vec<(String, Vec<u8>)>,
    peer: (String, u16),
    pub(super) id: String,
    pub(super) body: Vec<u8>,
    /// Whether the application may have the body as one slice.
    pub(super) buffered: bool,
    /// How the body ends, when it is not with its last byte.
    pub(super) broken: Option<Refusal>,
    /// Whether the client has gone.
    pub(super) gone: bool,
}

impl<'s> Call<'s> {
    pub(super) fn new(server: &'s Server, method: &str, target: &str) -> Call<'s> {
        Call {
            server,
            method: method.to_owned(),
            target: target.to_owned(),
            http_version: 11,
            headers: vec![("host".to_owned(), b"localhost".to_vec())],
            peer: ("127.0.0.1".to_owned(), 50_000),
            id: "test-1".to_owned(),
            body: Vec::new(),
            buffered: true,
            broken: None,
            gone: false,
        }
    }

    /// Adds a header field.
    pub fn header(mut self, name: &str, value: impl Into<Vec<u8>>) -> Self {
        self.headers.push((name.to_ascii_lowercase(), value.into()));
        self
    }

    /// Sets the body.
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    /// Sets the body to a value as JSON, with its content type.
    ///
    /// # Panics
    /// When the value cannot be written as JSON.
    #[cfg(feature = "serde")]
    pub fn json<T: serde::Serialize + ?Sized>(self, value: &T) -> Self {
        let json = serde_json::to_vec(value).expect("a test's value can be written as JSON");
        self.header("content-type", "application/json").body(json)
    }

    /// Sets the HTTP version: 10 or 11.
    pub fn http_version(mut self, version: u32) -> Self {
        self.http_version = version;
        self
    }

    /// Sets the client's address and port.
    pub fn peer(mut self, address: &str, port: u16) -> Self {
        self.peer = (address.to_owned(), port);
        self
    }

    /// The body comes piece by piece and its length is not known before the end, as that of a large upload.
    pub fn unbuffered(mut self) -> Self {
        self.buffered = false;
        self
    }

    /// The body breaks off after its bytes: the client is too slow, has gone, and so on.
    pub fn broken_by(mut self, refusal: Refusal) -> Self {
        self.broken = Some(refusal);
        self.unbuffered()
    }

    /// The client has gone before it is answered.
    pub fn gone(mut self) -> Self {
        self.gone = true;
        self
    }

    /// Calls the application.
    pub fn send(self) -> Answer {
        let fields: Vec<_> = self.headers.iter().map(|(name, value)| numbered(name, value)).collect();
        let (raw_path, query) = match self.target.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (&*self.target, None),
        };
        let path = query::decode(raw_path.as_bytes(), false);
        let request = self.request(&fields, &path, raw_path.as_bytes(), query);
        let mut exchange = Exchange::new(&self, &request);
        let failed = self.server.call(&mut exchange);
        self.server.context.enter(|| exchange.into_answer(failed))
    }

    fn request(
        &self,
        fields: &[abi::Field],
        path: &[u8],
        raw_path: &[u8],
        query: Option<&str>,
    ) -> abi::Request {
        let no_query = abi::Bytes { data: ptr::null(), len: 0 };
        let server = lend(b"127.0.0.1");
        let peer = lend(self.peer.0.as_bytes());
        let length = if self.buffered { self.body.len() as i64 } else { -1 };
        abi::Request {
            size: size_of::<abi::Request>() as u32,
            http_version: self.http_version,
            method: lend(self.method.as_bytes()),
            target: lend(self.target.as_bytes()),
            path: lend(path),
            raw_path: lend(raw_path),
            query: query.map_or(no_query, |query| lend(query.as_bytes())),
            scheme: lend(b"http"),
            authority: lend(b"localhost"),
            prefix: lend(b""),
            fields: fields.as_ptr(),
            field_count: fields.len(),
            peer_address: peer,
            connection_address: peer,
            server_address: server,
            peer_port: u32::from(self.peer.1),
            connection_port: u32::from(self.peer.1),
            server_port: 8000,
            listener: 0,
            content_length: length,
            arrived_at_ns: 1_700_000_000_000_000_000,
            queued_ns: 0,
        }
    }
}

/// A field of a request, with the number of its name.
fn numbered(name: &str, value: &[u8]) -> abi::Field {
    let place = abi::field::NAMES.iter().position(|other| *other == name);
    let known = place.map_or(0, |place| place as u32 + 1);
    abi::Field { known, ..lend_field(name.as_bytes(), value) }
}

impl Server {
    /// Whether the application's `call` failed, or gave no answer.
    fn call(&self, exchange: &mut Exchange<'_>) -> bool {
        let Some(call) = self.table.call else {
            return true;
        };
        let raw = ptr::from_mut(exchange).cast::<abi::Exchange>();
        // SAFETY: the state and the thread's are those of this table; the exchange lives during the call.
        self.context.enter(|| unsafe { call(self.state, self.thread, raw) }) < 0
    }
}
