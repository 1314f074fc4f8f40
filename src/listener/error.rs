//! Why a listener could not be had, as a sentence to an operator.

use std::io;
use std::path::Path;

use crate::settings::Bind;

/// Why a listener could not be had.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BindError {
    /// The kernel refused.
    #[error("cannot bind {bind}: {cause}{remedy}")]
    Refused {
        /// The bind as it is written.
        bind: String,
        /// The kernel's words.
        cause: String,
        /// What to do about it, behind the cause; may be empty.
        remedy: &'static str,
        /// The kernel's error, for those who decide by it.
        kind: io::ErrorKind,
    },
    /// The host has no address.
    #[error("cannot bind {bind}: the host name has no address: {cause}")]
    Unresolved {
        /// The bind as it is written.
        bind: String,
        /// The resolver's words.
        cause: String,
    },
    /// Somebody serves at the path.
    #[error("cannot bind {bind}: another server listens there; stop it, or choose another path")]
    Live {
        /// The bind as it is written.
        bind: String,
    },
    /// What is at the path must not be replaced.
    #[error("cannot bind {bind}: {path} exists and is {what}; remove it, or choose another path")]
    Occupied {
        /// The bind as it is written.
        bind: String,
        /// What is in the way.
        path: String,
        /// What kind of thing that is.
        what: &'static str,
    },
    /// The path does not fit into a socket's address.
    #[error("cannot bind {bind}: the path is too long for a socket, at most {limit} bytes")]
    TooLong {
        /// The bind as it is written.
        bind: String,
        /// How long it may be.
        limit: usize,
    },
    /// An inherited descriptor is not what it should be.
    #[error("cannot use {bind}: {what}")]
    Unusable {
        /// The bind as it is written.
        bind: String,
        /// What is wrong with it.
        what: String,
    },
}

impl BindError {
    /// A refusal of a TCP address.
    pub(super) fn tcp(bind: &Bind, error: &io::Error) -> BindError {
        let low_port = matches!(bind, Bind::Tcp { port: 1..1024, .. });
        let remedy = match error.kind() {
            io::ErrorKind::AddrInUse => " (another server listens there; stop it, or choose another port)",
            io::ErrorKind::AddrNotAvailable => " (no interface of this machine has that address)",
            io::ErrorKind::PermissionDenied if low_port => {
                " (a port below 1024 takes root, CAP_NET_BIND_SERVICE or a socket from systemd)"
            }
            _ => "",
        };
        BindError::refused(bind, error, remedy)
    }

    /// A refusal of a path.
    pub(super) fn unix(bind: &Bind, error: &io::Error) -> BindError {
        let remedy = match error.kind() {
            io::ErrorKind::NotFound => " (its folder has to exist)",
            io::ErrorKind::PermissionDenied => {
                " (this user may not write to its folder, or not connect to what is there)"
            }
            _ => "",
        };
        BindError::refused(bind, error, remedy)
    }

    /// An inherited descriptor that cannot be had.
    pub(super) fn descriptor(bind: &Bind, error: &io::Error) -> BindError {
        let what = match error.kind() {
            io::ErrorKind::InvalidInput => "it was not inherited, or is in use already".to_owned(),
            _ => format!("{}; whoever starts the server has to open it", reason(error)),
        };
        BindError::Unusable { bind: written(bind), what }
    }

    pub(super) fn occupied(bind: &Bind, path: &Path, what: &'static str) -> BindError {
        BindError::Occupied { bind: written(bind), path: path.display().to_string(), what }
    }

    pub(super) fn refused(bind: &Bind, error: &io::Error, remedy: &'static str) -> BindError {
        BindError::Refused { bind: written(bind), cause: reason(error), remedy, kind: error.kind() }
    }
}

/// The bind as it stands in a configuration.
pub(super) fn written(bind: &Bind) -> String {
    match bind {
        Bind::Tcp { host, port } if host.contains(':') && !host.starts_with('[') => {
            format!("[{host}]:{port}")
        }
        Bind::Tcp { host, port } => format!("{host}:{port}"),
        Bind::Unix(path) => format!("unix:{}", path.display()).replace('\0', "@"),
        Bind::Fd(number) => format!("fd://{number}"),
    }
}

/// The kernel's words without its number, in the middle of a sentence.
pub(super) fn reason(error: &io::Error) -> String {
    let words = error.to_string();
    let words = words.split(" (os error ").next().unwrap_or_default();
    let mut letters = words.chars();
    letters.next().map_or(String::new(), |first| first.to_lowercase().chain(letters).collect())
}
