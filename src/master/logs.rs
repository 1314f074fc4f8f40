//! The logs as the master keeps them: opened for a generation, switched when it is committed, opened anew at USR1.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;

use tracing::error;

use crate::log::{AccessFormat, AccessLog, ErrorLog, FormatError, Level, LogError, Sink, Target, cause};
use crate::pair::{Order, Pair, Sent};
use crate::settings::{LogLevel, LogTarget, Settings};

/// Where one generation writes.
pub(super) struct Logs {
    /// The access log, if there is one.
    pub access: Option<Arc<AccessLog>>,
    level: Level,
    /// An error log other than the one in use; it is taken when the generation is committed, and by its workers at once.
    next_error: Option<Sink>,
}

/// Why a generation cannot write its logs.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LogsError {
    /// The format of the access log is none.
    #[error("access_log_format: {0}")]
    Format(#[from] FormatError),
    /// A file cannot be opened.
    #[error(transparent)]
    Open(#[from] LogError),
}

impl Logs {
    /// Opens what the settings name and is not open yet.
    pub(super) fn open(settings: &Settings, current: &ErrorLog, directory: &Path) -> Result<Logs, LogsError> {
        let error_target = target(&settings.errorlog);
        let next_error = if *current.sink().target() == error_target {
            None
        } else {
            Some(open("error log", error_target, directory)?)
        };
        let access = match &settings.accesslog {
            None => None,
            Some(access) => {
                let format = AccessFormat::compile(&settings.access_log_format)?;
                let sink = open("access log", target(access), directory)?;
                Some(Arc::new(AccessLog::new(format, sink)))
            }
        };
        Ok(Logs { access, level: level(settings.loglevel), next_error })
    }

    /// This process writes here from now on: the master when the generation is committed, or a worker of it.
    pub(super) fn take_effect(&mut self, error_log: &ErrorLog) {
        error_log.set_level(self.level);
        if let Some(sink) = self.next_error.take() {
            error_log.set_sink(sink);
        }
    }

    /// Opens the generation's own files anew under the same names, after they were moved away.
    pub(super) fn reopen(&self) {
        for sink in self.next_error.iter().chain(self.access.iter().map(|access| access.sink())) {
            reopen(sink);
        }
    }

    /// Sends a worker the files as they are under their names now.
    pub(super) fn send_to(&self, pair: &Pair, error_log: &ErrorLog) -> io::Result<Sent> {
        let errorlog = match &self.next_error {
            Some(sink) => opened_anew(sink),
            None => opened_anew(&error_log.sink()),
        };
        let accesslog = self.access.as_ref().and_then(|access| opened_anew(access.sink()));
        let order = Order::Reopen { errorlog: errorlog.is_some(), accesslog: accesslog.is_some() };
        let files: Vec<BorrowedFd<'_>> = errorlog.iter().chain(&accesslog).map(OwnedFd::as_fd).collect();
        pair.send_order(&order, &files)
    }
}

/// Opens the file of a log anew under its name.
pub(super) fn reopen(sink: &Sink) {
    let outcome = match sink.reopen() {
        Ok(Some(file)) => sink.adopt(file),
        Ok(None) => Ok(()),
        Err(error) => Err(error),
    };
    if let Err(error) = outcome {
        error!("cannot reopen the log {}: {}; the open file is written on", sink.target(), cause(&error));
    }
}

/// The file of a log, opened anew for a worker; without it the worker goes on with what it has.
fn opened_anew(sink: &Sink) -> Option<OwnedFd> {
    sink.reopen().unwrap_or_else(|error| {
        error!(
            "cannot reopen the log {} for a worker: {}; its open file is written on",
            sink.target(),
            cause(&error)
        );
        None
    })
}

fn open(log: &'static str, target: Target, directory: &Path) -> Result<Sink, LogError> {
    Sink::open(&target, directory).map_err(|error| LogError::open(log, &target, &error))
}

/// The log's own word for a target of the settings.
pub(crate) fn target(target: &LogTarget) -> Target {
    match target {
        LogTarget::Stdout => Target::Stdout,
        LogTarget::Stderr => Target::Stderr,
        LogTarget::File(path) => Target::File(path.clone()),
    }
}

/// The log's own word for a level of the settings.
pub(crate) fn level(level: LogLevel) -> Level {
    match level {
        LogLevel::Debug => Level::Debug,
        LogLevel::Info => Level::Info,
        LogLevel::Warning => Level::Warning,
        LogLevel::Error => Level::Error,
        LogLevel::Critical => Level::Critical,
    }
}
