//! Applications as the worker sees them: found, loaded, started, called. Not the interface itself, which is the
//! crate `unirs-app`, and nothing of HTTP.
//!
//! A built-in is written against `unirs-app` exactly as a user's application is, and reached through the very same
//! table: there is one way to call an application.

pub mod builtin;
pub mod door;
mod elf;
#[cfg(test)]
#[allow(clippy::unwrap_used)] // Tests.
mod fake;
pub mod host;
mod image;
pub mod library;
mod run_path;

use std::io;
use std::path::PathBuf;

pub use door::{Answer, Body, CallOutcome, Exchange, Fields, Hook, Notice, Running, ThreadState};
pub use host::{FieldView, Host, HostFacts, Level, ReadError, Refusal, RequestView, Services};
pub use image::Provenance;
pub use library::Origin;

use crate::sys::image::Image;
use library::Table;
use unirs_app::abi::{ABI_VERSION, ENTRY_SYMBOL};

/// Where an application comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// One of [`builtin::NAMES`].
    Builtin(String),
    /// A shared library.
    Library(PathBuf),
}

/// An application that is in this process and has not been started.
pub struct Application {
    table: Table,
    config: String,
    provenance: Option<Provenance>,
}

impl Application {
    /// Finds and loads the application, a library from its path; none of its functions but the entry has run then.
    /// `config` is its table of the settings file: a JSON object as text.
    pub fn load(source: &Source, config: String) -> Result<Application, LoadError> {
        let (table, provenance) = match source {
            Source::Builtin(name) => (builtin::table(name)?, None),
            Source::Library(path) => library::open(path).map(|(table, way)| (table, Some(way)))?,
        };
        Ok(Application { table, config, provenance })
    }

    /// The same; a library that is no larger than `limit` bytes by way of the image, which is filled first if nobody has
    /// done so, and has to stay open as long as the process lives. The process must not have loaded another.
    pub(crate) fn load_image(
        source: &Source,
        config: String,
        image: &Image,
        limit: u64,
    ) -> Result<Application, LoadError> {
        let Source::Library(path) = source else {
            return Application::load(source, config);
        };
        let (table, provenance) = library::open_image(path, image, limit)?;
        Ok(Application { table, config, provenance: Some(provenance) })
    }

    /// The application's own name for itself; of a library without one, its file's.
    pub fn name(&self) -> &str {
        &self.table.name
    }

    /// The application's version; may be empty.
    pub fn version(&self) -> &str {
        &self.table.version
    }

    /// How its code came into this process; none for a built-in.
    pub fn provenance(&self) -> Option<&Provenance> {
        self.provenance.as_ref()
    }

    /// Starts it, on the process's main thread. The first start of a process settles whom its log lines and counters
    /// go to.
    pub fn start(self, host: HostFacts, services: &'static dyn Services) -> Result<Running, StartError> {
        Running::start(self.table, self.config, &host, services)
    }
}

/// Why an application could not be loaded: what was found, and what was wanted.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// No built-in has this name.
    #[error("there is no built-in application `{0}`: there are {names}", names = builtin::NAMES.join(", "))]
    NoSuchBuiltin(String),
    /// A built-in has a table that no library could have: a mistake of ours.
    #[error("cannot load the built-in application `{name}`: {fault}")]
    Builtin {
        /// Its name.
        name: String,
        /// What is wrong.
        fault: Fault,
    },
    /// The library, and what is wrong with it.
    #[error("cannot load {}: {fault}", path.display())]
    Library {
        /// As it was named, not as it was resolved.
        path: PathBuf,
        /// What is wrong.
        fault: Fault,
    },
}

/// What is wrong with a library: what was found, and what was wanted.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// The file cannot be opened or read.
    #[error("{}", unreadable(.0))]
    Unreadable(io::Error),
    /// Something else than a shared library.
    #[error("found {0}, wanted a shared library (64-bit ELF, for this machine)")]
    Found(String),
    /// A library for another kind of processor.
    #[error("found a library for {found}, wanted one for {wanted}")]
    Machine {
        /// The kind it is for.
        found: String,
        /// The kind of this process.
        wanted: &'static str,
    },
    /// Less of a library than its header says.
    #[error(
        "found the first {found} bytes of a library that has at least {wanted}: is it still being copied?"
    )]
    CutShort {
        /// In bytes.
        found: u64,
        /// In bytes.
        wanted: u64,
    },
    /// It is not at rest.
    #[error("it kept changing while it was read: is it still being copied?")]
    Moving,
    /// The dynamic linker refuses it.
    #[error("the dynamic linker refuses it: {0}")]
    Linker(String),
    /// A library, but no application.
    #[error(
        "found a library that exports no symbol `{ENTRY_SYMBOL}`, wanted an application: in Rust \
         `unirs_app::export!` makes the symbol, in C `unirs_app.h` says how"
    )]
    NoSymbol,
    /// A symbol of the right name that is no function.
    #[error("found a variable `{ENTRY_SYMBOL}`, wanted a function that returns the table")]
    Variable,
    /// Another version of the interface.
    #[error(
        "found version {0} of the application interface, wanted {ABI_VERSION}: build it against the interface of \
         this server"
    )]
    Version(u32),
    /// A table of so many bytes.
    #[error(
        "found a table that says it has {0} bytes, wanted at least {least}: `size` is the size of the whole table",
        least = library::LEAST
    )]
    Short(usize),
    /// What else is wrong with its table.
    #[error("its table {0}")]
    Table(String),
}

fn unreadable(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "no such file".to_owned(),
        io::ErrorKind::PermissionDenied => {
            "permission denied: the worker's user must be able to read it".to_owned()
        }
        _ => format!("it cannot be read: {error}"),
    }
}

/// Why an application did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Its own words.
    #[error("the application refused to start: {0}")]
    Refused(String),
    /// Its own words, in a worker that was forked after its start.
    #[error("the application refused to go on in a forked worker: {0}")]
    NotForked(String),
}

/// Why a thread cannot call an application.
#[derive(Debug, thiserror::Error)]
#[error("the application's thread_start failed for thread {number} with code {code}")]
pub struct ThreadError {
    /// The thread's number, from 0.
    pub number: u32,
    /// What the application returned.
    pub code: i32,
}
