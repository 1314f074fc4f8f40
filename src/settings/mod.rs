//! Settings: one table, values with units, the sources they come from, and what is rendered from the table.
//! Decided here once; nobody reads a setting by name after the start, and nothing here serves or forks.

mod address;
mod apps;
mod check;
mod command;
mod file;
mod foreign;
mod identity;
mod kind;
mod layers;
mod problem;
mod reload;
pub mod render;
mod sources;
mod table;
mod units;
mod value;

use std::fmt;
use std::path::PathBuf;

pub use foreign::{Answer as ForeignAnswer, FOREIGN, Foreign};
pub use problem::{Origin, Problem, Problems};
pub use reload::ReloadRequest;
pub use sources::{Loaded, Reply, Sources};
pub use table::{Environment, Invocation, Setting, Settings, table};

/// Where to listen.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Bind {
    /// A TCP address.
    Tcp {
        /// A name or a literal address, in lower case, without brackets.
        host: String,
        /// 0: any free one.
        port: u16,
    },
    /// The absolute path of a Unix socket.
    Unix(PathBuf),
    /// An inherited descriptor.
    Fd(i32),
}

impl fmt::Display for Bind {
    /// As in the settings file, so that it reads back as the same.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Bind::Tcp { host, port } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Bind::Tcp { host, port } => write!(f, "{host}:{port}"),
            Bind::Unix(path) => write!(f, "unix:{}", path.display()),
            Bind::Fd(number) => write!(f, "fd://{number}"),
        }
    }
}

/// How a worker calls the application.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WorkerClass {
    /// One call at a time.
    Sync,
    /// As many calls at a time as there are `threads`.
    Threaded,
}

impl fmt::Display for WorkerClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            WorkerClass::Sync => "sync",
            WorkerClass::Threaded => "threaded",
        })
    }
}

/// The user that the workers run as.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// Its number.
    pub uid: u32,
    /// The primary group of the user, if the user is in the database.
    pub gid: Option<u32>,
    /// Its name, if it is in the database.
    pub name: Option<String>,
}

/// The group that the workers run as.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// Its number.
    pub gid: u32,
    /// Its name, if it is in the database.
    pub name: Option<String>,
}

/// Where a log goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogTarget {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
    /// The absolute path of a file, which lines are appended to.
    File(PathBuf),
}

/// The least serious message that the error log takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    /// Everything.
    Debug,
    /// What an operator wants to read.
    Info,
    /// What may need a look.
    Warning,
    /// What failed.
    Error,
    /// What ends a worker or the server.
    Critical,
}

impl fmt::Display for LogLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            LogLevel::Debug => "debug",
            LogLevel::Info => "info",
            LogLevel::Warning => "warning",
            LogLevel::Error => "error",
            LogLevel::Critical => "critical",
        })
    }
}

/// What becomes of header fields whose names have an underscore.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeaderMap {
    /// They are left out.
    Drop,
    /// The request is refused.
    Refuse,
    /// The application gets them.
    Dangerous,
}

impl fmt::Display for HeaderMap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            HeaderMap::Drop => "drop",
            HeaderMap::Refuse => "refuse",
            HeaderMap::Dangerous => "dangerous",
        })
    }
}

/// Which application, and what it is told.
#[derive(Clone, Debug, PartialEq)]
pub struct AppSpec {
    /// As on the command line.
    pub name: String,
    /// Where its code is.
    pub source: AppSource,
    /// Its table of the settings file, as JSON text: an object.
    pub config: String,
}

/// Where an application's code is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AppSource {
    /// The name of one of the applications that unirs itself brings.
    Builtin(String),
    /// The absolute path of a shared library.
    Library(PathBuf),
}
