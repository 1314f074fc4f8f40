//! What an application knows when it starts: its configuration, its worker, the host's counters.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::host::Host;
use crate::{abi, log};

/// What [`App::start`](crate::App::start) is given.
///
/// ```no_run
/// use unirs_app::{App, Counter, Error, Request, Response, Startup};
///
/// #[derive(serde::Deserialize)]
/// #[serde(default)]
/// struct Config { greeting: String }
///
/// impl Default for Config {
///     fn default() -> Self { Config { greeting: "Hello".into() } }
/// }
///
/// struct Greeter { config: Config, greeted: Counter }
///
/// impl App for Greeter {
///     fn start(startup: &Startup) -> Result<Self, Error> {
///         unirs_app::log::info!("greeting from slot {}", startup.worker().slot);
///         Ok(Greeter { config: startup.config()?, greeted: startup.counter("greeted") })
///     }
///
///     fn call(&self, _: &mut Request) -> Response {
///         self.greeted.add(1);
///         Response::text(self.config.greeting.clone())
///     }
/// }
/// ```
pub struct Startup {
    host: &'static Host,
}

impl Startup {
    pub(crate) fn new(host: &'static Host) -> Startup {
        Startup { host }
    }

    /// The application's own table of the settings file (`[apps.NAME]`), as JSON text: an object.
    pub fn config_text(&self) -> &str {
        self.host.config()
    }

    /// The application's own table of the settings file, read into a type of the application.
    ///
    /// # Errors
    /// The table does not fit the type; the text says where.
    #[cfg(feature = "serde")]
    pub fn config<T: serde::de::DeserializeOwned>(&self) -> Result<T, crate::Error> {
        serde_json::from_str(self.config_text()).map_err(|error| {
            // Nobody has written the JSON in which the error has its line and column: it was a table of the settings.
            let error = error.to_string();
            let what = error.split(" at line ").next().unwrap_or_default();
            crate::Error::new(format!("the application's configuration is not valid: {what}"))
        })
    }

    /// Who the worker is.
    pub fn worker(&self) -> Worker {
        self.host.worker()
    }

    /// The host's name and version, such as `unirs/0.1.0`.
    pub fn software(&self) -> &str {
        self.host.software()
    }

    /// Writes a line to the error log; the macros of [`log`](mod@crate::log) are shorter.
    pub fn log(&self, level: log::Level, text: &str) {
        log::write(level, "", text);
    }

    /// A counter that the host publishes under this name, shared by all threads of the worker. Where the host has no room
    /// for it, it counts nothing.
    pub fn counter(&self, name: &str) -> Counter {
        Counter { word: self.host.counter(name) }
    }
}

/// A number that only grows, published by the host; from [`Startup::counter`]. Any thread may add to it.
#[derive(Clone, Copy, Debug)]
pub struct Counter {
    /// Where the host keeps it; `None` when it had no room.
    word: Option<&'static AtomicU64>,
}

impl Counter {
    /// Adds to it.
    pub fn add(&self, by: u64) {
        if let Some(word) = self.word {
            word.fetch_add(by, Ordering::Relaxed);
        }
    }

    /// Its value in this worker.
    pub fn value(&self) -> u64 {
        self.word.map_or(0, |word| word.load(Ordering::Relaxed))
    }
}

/// Who a worker is.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Worker {
    /// Its slot: below the number of workers, but for reloads. `u32::MAX` in the process that runs `start` with
    /// `preload_app`: that is no worker yet, and [`App::post_fork`](crate::App::post_fork) is told which one it becomes.
    pub slot: u32,
    /// The number of its generation: 1 at the start, one more with each reload.
    pub generation: u64,
    /// How many threads may be in [`App::call`](crate::App::call) at once.
    pub threads: u32,
    /// How many workers its generation is meant to have; it shares nothing with the others.
    pub workers: u32,
    /// Its process id.
    pub pid: i32,
}

impl From<&abi::Worker> for Worker {
    fn from(worker: &abi::Worker) -> Self {
        Worker {
            slot: worker.slot,
            generation: worker.generation,
            threads: worker.threads,
            workers: worker.workers,
            pid: worker.pid,
        }
    }
}

impl fmt::Display for Worker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "worker {} of generation {} (pid {})", self.slot, self.generation, self.pid)
    }
}
