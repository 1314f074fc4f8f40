//! Why the host would not do what it was asked: the codes of the binary interface as a type.

use std::fmt;
use std::io;

use crate::abi::code;

/// Why the host refused: the client has gone, the body is too large, and so on.
///
/// It reaches an application inside an [`io::Error`] from a [`Body`](crate::Body) or a [`Writer`](crate::Writer), inside an
/// [`Error`](crate::Error), or as the outcome that [`Response::on_finished`](crate::Response::on_finished) tells.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The client has gone, or the connection broke.
    Gone,
    /// The request's body is larger than allowed.
    TooLarge,
    /// The client was too slow.
    TimedOut,
    /// The request's body breaks its own framing.
    Malformed,
    /// Nothing is there now, and the call was asked not to wait.
    WouldBlock,
    /// There is an answer already.
    Answered,
    /// The answer was not begun.
    NotBegun,
    /// A status, a field or an argument that cannot be sent.
    Invalid,
    /// More bytes than were declared, or fewer.
    Length,
    /// This host does not do that.
    Unsupported,
    /// A code that this version of the crate does not know.
    Other(i32),
}

impl Refusal {
    /// Reads a result of the host: what is not negative is success.
    pub(crate) fn check(result: i32) -> Result<(), Refusal> {
        if result >= 0 { Ok(()) } else { Err(Refusal::from_code(result)) }
    }

    /// What a negative code means.
    pub(crate) fn from_code(result: i32) -> Refusal {
        match result {
            code::GONE => Refusal::Gone,
            code::TOO_LARGE => Refusal::TooLarge,
            code::TIMED_OUT => Refusal::TimedOut,
            code::MALFORMED => Refusal::Malformed,
            code::WOULD_BLOCK => Refusal::WouldBlock,
            code::ANSWERED => Refusal::Answered,
            code::NOT_BEGUN => Refusal::NotBegun,
            code::INVALID => Refusal::Invalid,
            code::LENGTH => Refusal::Length,
            code::UNSUPPORTED => Refusal::Unsupported,
            other => Refusal::Other(other),
        }
    }

    /// Its code.
    pub(crate) fn code(self) -> i32 {
        match self {
            Refusal::Gone => code::GONE,
            Refusal::TooLarge => code::TOO_LARGE,
            Refusal::TimedOut => code::TIMED_OUT,
            Refusal::Malformed => code::MALFORMED,
            Refusal::WouldBlock => code::WOULD_BLOCK,
            Refusal::Answered => code::ANSWERED,
            Refusal::NotBegun => code::NOT_BEGUN,
            Refusal::Invalid => code::INVALID,
            Refusal::Length => code::LENGTH,
            Refusal::Unsupported => code::UNSUPPORTED,
            Refusal::Other(other) => other,
        }
    }

    /// The status that tells a client of it, where the refusal is the client's doing.
    pub(crate) fn status(self) -> Option<u16> {
        match self {
            Refusal::Gone | Refusal::Malformed => Some(400),
            Refusal::TooLarge => Some(413),
            Refusal::TimedOut => Some(408),
            Refusal::WouldBlock
            | Refusal::Answered
            | Refusal::NotBegun
            | Refusal::Invalid
            | Refusal::Length
            | Refusal::Unsupported
            | Refusal::Other(_) => None,
        }
    }

    fn io_kind(self) -> io::ErrorKind {
        match self {
            Refusal::Gone => io::ErrorKind::BrokenPipe,
            Refusal::TooLarge => io::ErrorKind::FileTooLarge,
            Refusal::TimedOut => io::ErrorKind::TimedOut,
            Refusal::Malformed => io::ErrorKind::InvalidData,
            Refusal::WouldBlock => io::ErrorKind::WouldBlock,
            Refusal::Invalid | Refusal::Length => io::ErrorKind::InvalidInput,
            Refusal::Unsupported => io::ErrorKind::Unsupported,
            Refusal::Answered | Refusal::NotBegun | Refusal::Other(_) => io::ErrorKind::Other,
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Refusal::Gone => "the client has gone",
            Refusal::TooLarge => "the request's body is too large",
            Refusal::TimedOut => "the client was too slow",
            Refusal::Malformed => "the request's body is malformed",
            Refusal::WouldBlock => "nothing is there yet",
            Refusal::Answered => "the request is answered already",
            Refusal::NotBegun => "the answer was not begun",
            Refusal::Invalid => "the answer has a status or a header field that cannot be sent",
            Refusal::Length => "the answer's body is not as long as was declared",
            Refusal::Unsupported => "the server does not support that",
            Refusal::Other(code) => return write!(f, "the server refused with code {code}"),
        })
    }
}

impl std::error::Error for Refusal {}

impl From<Refusal> for io::Error {
    fn from(refusal: Refusal) -> Self {
        io::Error::new(refusal.io_kind(), refusal)
    }
}
