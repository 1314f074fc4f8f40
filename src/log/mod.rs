//! The two logs: what they say ([`ErrorLog`], [`AccessLog`]) and how it gets out ([`Sink`]). No setting is read here.
//!
//! Everybody else writes to the error log with `tracing::{debug, info, warn, error}!` and `log::critical!`.

pub mod access;
mod atoms;
mod backlog;
mod basic;
pub mod error;
mod escape;
pub mod format;
mod line;
mod losses;
mod pieces;
pub mod sink;
mod target;
mod time;

pub use access::{AccessBuffer, AccessLog};
pub use error::{ErrorLog, LogError};
pub use format::{AccessFormat, AccessRecord, Fields, FormatError, NoFields};
pub use losses::cause;
pub use sink::Sink;
pub use target::Target;

/// How grave a line is; a log of one level holds that level and all above it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// For whoever debugs unirs or an application.
    Debug,
    /// What an operator expects to read.
    Info,
    /// Something is odd, and was dealt with.
    Warning,
    /// Something failed.
    Error,
    /// The service, or a part of it, is in danger.
    Critical,
}

impl Level {
    /// The word in the line: `INFO`.
    pub fn word(self) -> &'static str {
        match self {
            Level::Debug => "DEBUG",
            Level::Info => "INFO",
            Level::Warning => "WARNING",
            Level::Error => "ERROR",
            Level::Critical => "CRITICAL",
        }
    }
}

/// Writes a CRITICAL line to the error log: `critical!("WORKER TIMEOUT (pid:{pid})")`.
///
/// `tracing` knows no level above ERROR, so this is an error event with a mark that the error log reads.
macro_rules! critical {
    ($($message:tt)+) => { ::tracing::error!(critical = true, $($message)+) };
}
pub(crate) use critical;
