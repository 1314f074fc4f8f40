//! The body of a request: whole, or as a reader. Not its framing: the host has undone that.

use std::borrow::Cow;
use std::io::{self, Read};

use crate::host::Exchange;
use crate::{Error, Refusal, Request};

/// The body of a request; from [`Request::body`].
///
/// It is read once. Small ones are in memory before the application is called, and [`bytes`](Body::bytes) does not copy
/// them; a large one is read as it comes from the client. The server's `limit_request_body` holds for all of them.
///
/// ```
/// # use unirs_app::{Error, Request, Response};
/// use std::io::Read;
///
/// fn count_lines(request: &mut Request) -> Result<Response, Error> {
///     let (mut body, mut lines) = (request.body(), 0);
///     let mut buffer = [0; 8192];
///     loop {
///         match body.read(&mut buffer)? {
///             0 => break,
///             n => lines += buffer[..n].iter().filter(|&&byte| byte == b'\n').count(),
///         }
///     }
///     Ok(Response::text(format!("{lines}\n")))
/// }
/// ```
pub struct Body<'r> {
    request: &'r Request,
    /// How many bytes may still come; one more is an error.
    left: u64,
}

impl<'r> Body<'r> {
    pub(crate) fn new(request: &'r Request) -> Body<'r> {
        Body { request, left: u64::MAX }
    }

    /// The same body, which may not be larger than `bytes`: reading more is a 413.
    ///
    /// ```
    /// # use unirs_app::{Error, Request, Response};
    /// # fn name(request: &mut Request) -> Result<Response, Error> {
    /// let name = request.body().limit(100).text()?;
    /// # Ok(Response::text(name.into_owned())) }
    /// ```
    pub fn limit(mut self, bytes: u64) -> Body<'r> {
        self.left = bytes;
        self
    }

    /// All of it; without a copy where the server has it in memory.
    ///
    /// # Errors
    /// With the status that fits: 413 over a limit, 408 when the client is too slow, 400 when it has gone or its body is
    /// malformed.
    pub fn bytes(mut self) -> Result<Cow<'r, [u8]>, Error> {
        let exchange: &'r Exchange = self.request.exchange();
        if let Some(whole) = exchange.body() {
            self.count(whole.len())?;
            return Ok(Cow::Borrowed(whole));
        }
        let mut bytes = Vec::new();
        self.read_to_end(&mut bytes)?;
        Ok(Cow::Owned(bytes))
    }

    /// All of it as text.
    ///
    /// # Errors
    /// As [`bytes`](Body::bytes), and 400 when it is not UTF-8.
    pub fn text(self) -> Result<Cow<'r, str>, Error> {
        Ok(match self.bytes()? {
            Cow::Borrowed(bytes) => Cow::Borrowed(std::str::from_utf8(bytes).map_err(not_text)?),
            Cow::Owned(bytes) => Cow::Owned(String::from_utf8(bytes).map_err(not_text)?),
        })
    }

    /// All of it, read from JSON into a type of the application.
    ///
    /// # Errors
    /// As [`bytes`](Body::bytes), and 400 when it is not JSON or does not fit the type; the text says where.
    #[cfg(feature = "serde")]
    pub fn json<T: serde::de::DeserializeOwned>(self) -> Result<T, Error> {
        let bytes = self.bytes()?;
        serde_json::from_slice(&bytes).map_err(|error| Error::from(error).status(400))
    }

    /// Reads what is there already; `None` when nothing is, but more will come. Zero is the end.
    ///
    /// # Errors
    /// As [`bytes`](Body::bytes), inside an [`io::Error`].
    pub fn read_available(&mut self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        match self.read_some(buffer, false) {
            Err(Refusal::WouldBlock) => Ok(None),
            other => Ok(Some(other?)),
        }
    }

    fn read_some(&mut self, buffer: &mut [u8], wait: bool) -> Result<usize, Refusal> {
        let count = self.request.exchange().read(buffer, wait)?;
        self.count(count)?;
        Ok(count)
    }

    fn count(&mut self, count: usize) -> Result<(), Refusal> {
        self.left = self.left.checked_sub(count as u64).ok_or(Refusal::TooLarge)?;
        Ok(())
    }
}

impl Read for Body<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        Ok(self.read_some(buffer, true)?)
    }
}

fn not_text(error: impl Into<Error>) -> Error {
    error.into().status(400)
}
