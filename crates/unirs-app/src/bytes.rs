//! Bytes of an answer: a body or a field's value. Not a buffer: nothing is appended.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

/// What an answer is made of: text or bytes that are static, owned, or shared with the application.
///
/// One never names it; it is what [`Response::text`](crate::Response::text), [`Response::header`](crate::Response::header)
/// and their like accept: `&'static str`, `String`, `&'static [u8]`, `Vec<u8>`, `Cow` of both, and `Arc<[u8]>`, `Arc<str>`
/// for what is kept in memory and sent many times. None of them is copied before the host takes it.
///
/// ```
/// # use unirs_app::Response;
/// let fixed = Response::text("allocates nothing\n");
/// let made = Response::text(format!("{} bytes\n", 17));
///
/// let picture: std::sync::Arc<[u8]> = vec![0; 1 << 20].into();   // read once, in `start`
/// let shared = Response::bytes(picture.clone());                  // a reference, not a copy
/// ```
#[derive(Clone)]
pub struct Bytes(Kind);

/// Who owns them.
#[derive(Clone)]
enum Kind {
    /// Nobody.
    Static(&'static [u8]),
    /// We do.
    Owned(Vec<u8>),
    /// We and the application.
    Shared(Arc<[u8]>),
}

impl Bytes {
    /// No bytes.
    pub const EMPTY: Bytes = Bytes(Kind::Static(&[]));

    /// The bytes.
    pub fn as_slice(&self) -> &[u8] {
        match &self.0 {
            Kind::Static(bytes) => bytes,
            Kind::Owned(bytes) => bytes,
            Kind::Shared(bytes) => bytes,
        }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.as_slice().len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.as_slice().is_empty()
    }
}

impl fmt::Debug for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.as_slice().escape_ascii())
    }
}

impl From<&'static str> for Bytes {
    fn from(text: &'static str) -> Self {
        Bytes(Kind::Static(text.as_bytes()))
    }
}

impl From<String> for Bytes {
    fn from(text: String) -> Self {
        Bytes(Kind::Owned(text.into_bytes()))
    }
}

impl From<Cow<'static, str>> for Bytes {
    fn from(text: Cow<'static, str>) -> Self {
        match text {
            Cow::Borrowed(text) => text.into(),
            Cow::Owned(text) => text.into(),
        }
    }
}

impl From<Arc<str>> for Bytes {
    fn from(text: Arc<str>) -> Self {
        Bytes(Kind::Shared(text.into()))
    }
}

impl From<&'static [u8]> for Bytes {
    fn from(bytes: &'static [u8]) -> Self {
        Bytes(Kind::Static(bytes))
    }
}

impl<const N: usize> From<&'static [u8; N]> for Bytes {
    fn from(bytes: &'static [u8; N]) -> Self {
        Bytes(Kind::Static(bytes))
    }
}

impl From<Vec<u8>> for Bytes {
    fn from(bytes: Vec<u8>) -> Self {
        Bytes(Kind::Owned(bytes))
    }
}

impl From<Cow<'static, [u8]>> for Bytes {
    fn from(bytes: Cow<'static, [u8]>) -> Self {
        match bytes {
            Cow::Borrowed(bytes) => bytes.into(),
            Cow::Owned(bytes) => bytes.into(),
        }
    }
}

impl From<Arc<[u8]>> for Bytes {
    fn from(bytes: Arc<[u8]>) -> Self {
        Bytes(Kind::Shared(bytes))
    }
}
