//! The error of an application: any error, and the status that a client shall see. Not a list of what can go wrong.

use std::error::Error as StdError;
use std::fmt;
use std::io;

use crate::Refusal;

/// Any error, and perhaps the status that it means for the client.
///
/// `?` makes one from every [`std::error::Error`]. Without a status of its own it is answered by a 500 that says nothing to
/// the client, and its text goes to the error log. With one it is answered by that status; below 500 the client sees the
/// text.
///
/// ```
/// use unirs_app::{Error, OrStatus, Request, Response};
///
/// fn area(request: &mut Request) -> Result<Response, Error> {
///     let side = request.query_value("side").ok_or(Error::new("side is missing").status(400))?;
///     let side: f64 = side.parse().or_status(400)?;              // an error of somebody else, with our status
///     let unit = std::fs::read_to_string("/etc/unit-of-area")?;  // a 500, and a line in the log
///     Ok(Response::text(format!("{} {unit}", side * side)))
/// }
/// ```
///
/// An [`io::Error`] of a [`Body`](crate::Body) keeps its meaning on the way: 413 for a body that is too large, 408 for a client that is too slow,
/// 400 for a body that is malformed.
pub struct Error {
    /// What the client shall see; `None` is 500.
    status: Option<u16>,
    /// What went wrong.
    cause: Box<dyn StdError + Send + Sync>,
}

impl Error {
    /// An error from a text or from another error.
    pub fn new(cause: impl Into<Box<dyn StdError + Send + Sync>>) -> Error {
        Error { status: None, cause: cause.into() }
    }

    /// The same error with the status that the client shall see.
    pub fn status(mut self, status: u16) -> Error {
        self.status = Some(status);
        self
    }

    /// The status that the client will see: its own, else 500.
    pub fn status_code(&self) -> u16 {
        self.status.unwrap_or(500)
    }

    /// What went wrong, as the error that it was made from.
    pub fn cause(&self) -> &(dyn StdError + Send + Sync + 'static) {
        &*self.cause
    }
}

/// The error's text and those of its sources, each once: `cannot read the rates: permission denied`.
impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = self.cause.to_string();
        let mut source = self.cause.source();
        while let Some(error) = source {
            let more = error.to_string();
            if !text.contains(&more) {
                text.push_str(": ");
                text.push_str(&more);
            }
            source = error.source();
        }
        f.write_str(&text)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.status {
            Some(status) => write!(f, "{self} (status {status})"),
            None => write!(f, "{self}"),
        }
    }
}

impl<E: StdError + Send + Sync + 'static> From<E> for Error {
    fn from(error: E) -> Self {
        Error { status: refusal_in(&error).and_then(Refusal::status), cause: Box::new(error) }
    }
}

impl From<Error> for Box<dyn StdError + Send + Sync> {
    fn from(error: Error) -> Self {
        error.cause
    }
}

/// The host's refusal that an error is, or that it carries as an [`io::Error`].
pub(crate) fn refusal_in(error: &(dyn StdError + 'static)) -> Option<Refusal> {
    if let Some(refusal) = error.downcast_ref::<Refusal>() {
        return Some(*refusal);
    }
    error.downcast_ref::<io::Error>()?.get_ref()?.downcast_ref::<Refusal>().copied()
}

/// Gives a status to what failed or is missing.
///
/// ```
/// use unirs_app::{Error, OrStatus};
///
/// fn name_of(id: &str) -> Result<&'static str, Error> {
///     let index: usize = id.parse().or_status(400)?;
///     ["Ada", "Grace"].get(index).copied().or_status(404)
/// }
///
/// assert_eq!(name_of("1").unwrap(), "Grace");
/// assert_eq!(name_of("2").unwrap_err().status_code(), 404);
/// assert_eq!(name_of("two").unwrap_err().status_code(), 400);
/// ```
pub trait OrStatus<T> {
    /// The value, or an error with this status.
    ///
    /// # Errors
    /// What was no value.
    fn or_status(self, status: u16) -> Result<T, Error>;
}

impl<T, E: Into<Error>> OrStatus<T> for Result<T, E> {
    fn or_status(self, status: u16) -> Result<T, Error> {
        self.map_err(|error| error.into().status(status))
    }
}

impl<T> OrStatus<T> for Option<T> {
    fn or_status(self, status: u16) -> Result<T, Error> {
        self.ok_or_else(|| Error::new(crate::status::phrase(status)).status(status))
    }
}
