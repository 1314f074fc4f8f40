//! What an application answered, for a test to look at. Not bytes of HTTP.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

/// The answer of an application; from [`Call::send`](super::Call::send).
#[derive(Clone, Default)]
pub struct Answer {
    pub(super) status: u16,
    pub(super) reason: String,
    pub(super) headers: Vec<(String, Vec<u8>)>,
    pub(super) body: Vec<u8>,
    pub(super) trailers: Vec<(String, Vec<u8>)>,
    pub(super) early_hints: Vec<(String, Vec<u8>)>,
    pub(super) extended: Duration,
    pub(super) complete: bool,
    pub(super) from_host: bool,
}

impl Answer {
    /// The status. An application that failed before it answered has a 500, made by the host; where the client had gone
    /// it is 0.
    pub fn status(&self) -> u16 {
        self.status
    }

    /// The reason phrase of its own; empty: the standard one.
    pub fn reason(&self) -> &str {
        &self.reason
    }

    /// The first header field with this name, in any case. The fields that a server adds are not there.
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(other, _)| other.eq_ignore_ascii_case(name));
        std::str::from_utf8(&found?.1).ok()
    }

    /// The header fields in their order.
    pub fn headers(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.headers.iter().map(|(name, value)| (&**name, &**value))
    }

    /// The body's bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.body
    }

    /// The body as text; what is not UTF-8 is replaced.
    pub fn text(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.body)
    }

    /// The body, read from JSON.
    ///
    /// # Panics
    /// When it is not JSON or does not fit the type.
    #[cfg(feature = "serde")]
    pub fn json<T: serde::de::DeserializeOwned>(&self) -> T {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error} in {self:?}"))
    }

    /// The fields after the body.
    pub fn trailers(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.trailers.iter().map(|(name, value)| (&**name, &**value))
    }

    /// The fields of early hints before the answer.
    pub fn early_hints(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.early_hints.iter().map(|(name, value)| (&**name, &**value))
    }

    /// For how long the application asked to be silent, in all.
    pub fn extended(&self) -> Duration {
        self.extended
    }

    /// Whether it was finished. One that was not is a connection that breaks off.
    pub fn is_complete(&self) -> bool {
        self.complete
    }

    /// Whether the application gave no answer, and this 500 is the host's.
    pub fn is_from_host(&self) -> bool {
        self.from_host
    }
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: {:?}", self.status, self.reason, self.text())
    }
}
