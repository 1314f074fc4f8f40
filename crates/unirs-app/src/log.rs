//! The host's error log, for an application.
//!
//! ```
//! use unirs_app::log;
//!
//! let table = "users";
//! log::info!("opened the table {table}");
//! log::warn!("{} rows have no name", 3);
//! ```
//!
//! A line of the application stands among those of the server, with time, process and level, and where it comes from. What
//! is below the server's `loglevel` is dropped there. Any thread may write. Before [`App::start`](crate::App::start) and
//! outside a server (in a unit test) lines go to standard error.

use std::fmt;
use std::io::{self, Write};

use crate::abi;
use crate::host::Host;

pub use crate::{__critical as critical, __debug as debug, __error as error, __info as info, __warn as warn};

/// How much a line matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// For developers.
    Debug,
    /// Worth knowing.
    Info,
    /// Worth a look.
    Warning,
    /// Something failed.
    Error,
    /// The service is at risk.
    Critical,
}

impl Level {
    fn number(self) -> u32 {
        match self {
            Level::Debug => abi::level::DEBUG,
            Level::Info => abi::level::INFO,
            Level::Warning => abi::level::WARNING,
            Level::Error => abi::level::ERROR,
            Level::Critical => abi::level::CRITICAL,
        }
    }
}

/// Writes a line. `target` says which part of the application speaks; it may be empty.
pub fn write(level: Level, target: &str, text: &str) {
    let written = Host::current().is_some_and(|host| host.log(level.number(), target, text));
    if !written {
        // Nobody is left to be told that standard error cannot be written.
        let _ = writeln!(io::stderr(), "[{level:?}] {target}: {text}");
    }
}

/// What the macros call.
#[doc(hidden)]
pub fn write_formatted(level: Level, target: &str, text: fmt::Arguments<'_>) {
    match text.as_str() {
        Some(text) => write(level, target, text),
        None => write(level, target, &text.to_string()),
    }
}

/// Logs a line for developers; written as [`format!`].
#[doc(hidden)]
#[macro_export]
macro_rules! __debug {
    ($($text:tt)+) => {
        $crate::log::write_formatted($crate::log::Level::Debug, ::core::module_path!(), ::core::format_args!($($text)+))
    };
}

/// Logs a line worth knowing; written as [`format!`].
#[doc(hidden)]
#[macro_export]
macro_rules! __info {
    ($($text:tt)+) => {
        $crate::log::write_formatted($crate::log::Level::Info, ::core::module_path!(), ::core::format_args!($($text)+))
    };
}

/// Logs a line worth a look; written as [`format!`].
#[doc(hidden)]
#[macro_export]
macro_rules! __warn {
    ($($text:tt)+) => {
        $crate::log::write_formatted($crate::log::Level::Warning, ::core::module_path!(), ::core::format_args!($($text)+))
    };
}

/// Logs that something failed; written as [`format!`].
#[doc(hidden)]
#[macro_export]
macro_rules! __error {
    ($($text:tt)+) => {
        $crate::log::write_formatted($crate::log::Level::Error, ::core::module_path!(), ::core::format_args!($($text)+))
    };
}

/// Logs that the service is at risk; written as [`format!`].
#[doc(hidden)]
#[macro_export]
macro_rules! __critical {
    ($($text:tt)+) => {
        $crate::log::write_formatted($crate::log::Level::Critical, ::core::module_path!(), ::core::format_args!($($text)+))
    };
}
