//! The error log: `tracing` events as lines in Gunicorn's format. What is said is the callers' business.
//!
//! One subscriber for the life of the process and of all that it forks: it starts no thread, and the only lock, around
//! the sink, is held for the time of a pointer's copy by a process that has one thread whenever it forks.

use std::fmt::{self, Write};
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicU8, Ordering::Relaxed};
use std::sync::{Arc, PoisonError, RwLock};

use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::subscriber::set_global_default;
use tracing::{Event, Metadata, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::{Context, SubscriberExt};

use super::escape::escape_message;
use super::{Level, Sink, Target, critical, line, losses, time};

/// Why a log cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The target cannot be opened.
    #[error("cannot open the {log} {target}: {cause}")]
    Open {
        /// Which of the two logs.
        log: &'static str,
        /// Where it was to go.
        target: Target,
        /// The kernel's word for it.
        cause: String,
    },
    /// [`install`] was called twice.
    #[error("the error log of this process is installed already")]
    Installed,
}

impl LogError {
    /// The error of a log that cannot be opened, as a sentence: `log` is "error log" or "access log".
    pub fn open(log: &'static str, target: &Target, error: &io::Error) -> LogError {
        let remedy = match error.kind() {
            io::ErrorKind::NotFound => " (its folder has to exist)",
            io::ErrorKind::PermissionDenied => " (this user may not write there)",
            _ => "",
        };
        LogError::Open { log, target: target.clone(), cause: losses::cause(error) + remedy }
    }
}

/// The error log of this process and of what it forks.
#[derive(Clone)]
pub struct ErrorLog {
    shared: Arc<Shared>,
}

/// What the handle and the subscriber both hold.
struct Shared {
    /// Replaced when a reload changes `errorlog`.
    sink: RwLock<Arc<Sink>>,
    /// A [`Level`] as number.
    level: AtomicU8,
}

/// Opens the error log and makes it the destination of all `tracing` events, once in a process, before it forks.
pub fn install(target: &Target, dir: &Path, level: Level) -> Result<ErrorLog, LogError> {
    let sink = Sink::open(target, dir).map_err(|error| LogError::open("error log", target, &error))?;
    time::zone(); // read here, so that no child has to
    let log = ErrorLog::new(sink, level);
    set_global_default(log.subscriber()).map_err(|_| LogError::Installed)?;
    Ok(log)
}

impl ErrorLog {
    fn new(sink: Sink, level: Level) -> ErrorLog {
        let sink = RwLock::new(Arc::new(sink));
        ErrorLog { shared: Arc::new(Shared { sink, level: AtomicU8::new(level as u8) }) }
    }

    fn subscriber(&self) -> impl Subscriber + Send + Sync + use<> {
        tracing_subscriber::registry().with(Lines { shared: self.shared.clone() })
    }

    /// From now on lines of `level` and above are written, and no others.
    pub fn set_level(&self, level: Level) {
        self.shared.level.store(level as u8, Relaxed);
        tracing::callsite::rebuild_interest_cache();
    }

    /// What the log writes to: `sink().reopen()`, `sink().adopt(file)` at USR1.
    pub fn sink(&self) -> Arc<Sink> {
        self.shared.sink()
    }

    /// Writes to another target from now on: a reload that changes `errorlog`.
    pub fn set_sink(&self, sink: Sink) {
        *self.shared.sink.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(sink);
    }
}

/// Writes an application's message: `[time] [pid] [INFO] [target] message`. No line of unirs's own has a bracket behind
/// its level, so an application cannot pass for the server. `target` is the application's own name for the place.
pub fn application(level: Level, target: &str, message: &str) {
    let app = if target.is_empty() { "app" } else { target };
    match level {
        Level::Debug => tracing::debug!(app, "{message}"),
        Level::Info => tracing::info!(app, "{message}"),
        Level::Warning => tracing::warn!(app, "{message}"),
        Level::Error => tracing::error!(app, "{message}"),
        Level::Critical => critical!(app, "{message}"),
    }
}

impl Shared {
    fn sink(&self) -> Arc<Sink> {
        self.sink.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// The part of the subscriber that is ours: an event becomes a line.
struct Lines {
    shared: Arc<Shared>,
}

impl<S: Subscriber> Layer<S> for Lines {
    fn enabled(&self, metadata: &Metadata<'_>, _: Context<'_, S>) -> bool {
        level_of(metadata) as u8 >= self.shared.level.load(Relaxed)
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        const HINTS: [LevelFilter; 5] = [
            LevelFilter::DEBUG,
            LevelFilter::INFO,
            LevelFilter::WARN,
            LevelFilter::ERROR,
            LevelFilter::ERROR,
        ];
        HINTS.get(usize::from(self.shared.level.load(Relaxed))).copied()
    }

    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        self.shared.sink().write_lines(&render(event));
    }
}

fn level_of(metadata: &Metadata<'_>) -> Level {
    match *metadata.level() {
        tracing::Level::ERROR if metadata.fields().field("critical").is_some() => Level::Critical,
        tracing::Level::ERROR => Level::Error,
        tracing::Level::WARN => Level::Warning,
        tracing::Level::INFO => Level::Info,
        tracing::Level::DEBUG | tracing::Level::TRACE => Level::Debug,
    }
}

fn render(event: &Event<'_>) -> Vec<u8> {
    let mut said = Said::default();
    event.record(&mut said);
    let mut out = Vec::with_capacity(64 + said.app.len() + said.message.len() + said.fields.len());
    line::begin(&mut out, level_of(event.metadata()));
    if !said.app.is_empty() {
        out.push(b'[');
        escape_message(&mut out, &said.app.replace(['\n', ']'], " "));
        out.extend_from_slice(b"] ");
    }
    said.message.push_str(&said.fields);
    escape_message(&mut out, &said.message);
    out.push(b'\n');
    out
}

/// The values of an event.
#[derive(Default)]
struct Said {
    /// The sentence.
    message: String,
    /// Who says it, if it is the application.
    app: String,
    /// ` name=value` of all the others.
    fields: String,
}

impl Said {
    fn add(&mut self, field: &Field, value: fmt::Arguments<'_>) {
        // Writing to a string fails only if the value's own Display does; the rest of the line is still worth having.
        let _ = match field.name() {
            "message" => self.message.write_fmt(value),
            "app" => self.app.write_fmt(value),
            "critical" => Ok(()),
            name => write!(self.fields, " {name}={value}"),
        };
    }
}

impl Visit for Said {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.add(field, format_args!("{value}"));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.add(field, format_args!("{value:?}"));
    }
}

#[cfg(test)]
mod tests;
