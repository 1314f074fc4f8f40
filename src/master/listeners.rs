//! Which listeners a generation has: those that stay keep their sockets, new ones are bound. How dropped ones are closed
//! is not here.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Arc;

use tracing::{info, warn};

use crate::listener::{self, BindError, Listener, Options};
use crate::settings::{Bind, Settings};
use crate::sys::process;

use super::Master;
use super::reload::generation::Generation;

/// Why the sockets of the service manager cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PassedError {
    /// One that was promised is not there.
    #[error("cannot use the sockets that LISTEN_FDS promises: {0}")]
    Missing(#[source] io::Error),
    /// One is no listening socket.
    #[error(transparent)]
    Unusable(#[from] BindError),
}

impl Master {
    /// The listeners that `settings` name, bound where they are not there yet.
    pub(super) fn listeners_for(&self, settings: &Settings) -> Result<Vec<Arc<Listener>>, BindError> {
        if !self.passed.is_empty() {
            return Ok(self.passed.clone());
        }
        let mut listeners = Vec::with_capacity(settings.bind.len());
        for bind in &settings.bind {
            match self.listener_for(bind, settings) {
                Ok(listener) => listeners.push(listener),
                Err(error) => {
                    self.abandon(&listeners);
                    return Err(error);
                }
            }
        }
        Ok(listeners)
    }

    fn listener_for(&self, bind: &Bind, settings: &Settings) -> Result<Arc<Listener>, BindError> {
        let mut there = self.generations.iter().filter(|generation| !generation.is_leaving());
        let handed = || self.handed.iter().find(|listener| listener.bind() == bind).cloned();
        match there.find_map(|generation| having(generation, bind)).or_else(handed) {
            Some(listener) => Ok(listener),
            None => Ok(Arc::new(Listener::open(bind, &options(bind, settings))?)),
        }
    }

    /// Takes back what was bound for a generation that cannot arrive: a unix socket leaves no path behind.
    pub(super) fn abandon(&self, listeners: &[Arc<Listener>]) {
        for listener in listeners {
            if self.is_shared(listener) || self.generations.iter().any(|generation| has(generation, listener))
            {
                continue;
            }
            if let Err(error) = listener.unlink() {
                warn!("cannot remove {}: {error}", listener.address());
            }
        }
    }
}

/// What the service manager has passed to this process; the variables that say so are taken out of the environment.
pub(super) fn passed() -> Result<Vec<Arc<Listener>>, PassedError> {
    let [pid, fds] = ["LISTEN_PID", "LISTEN_FDS"].map(|name| std::env::var(name).ok());
    for name in ["LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"] {
        process::forget_environment(name);
    }
    let sockets = listener::systemd_listeners(pid.as_deref(), fds.as_deref(), std::process::id());
    let adopt = |socket: OwnedFd| {
        let bind = Bind::Fd(socket.as_raw_fd());
        Ok(Arc::new(Listener::adopt(socket, bind)?))
    };
    sockets.map_err(PassedError::Missing)?.into_iter().map(adopt).collect()
}

/// Says where a generation listens, in one line as Gunicorn does.
pub(super) fn say_where(listeners: &[Arc<Listener>]) {
    let addresses: Vec<String> = listeners.iter().map(|listener| listener.address().to_string()).collect();
    info!("Listening at: {} ({})", addresses.join(","), std::process::id());
}

fn having(generation: &Generation, bind: &Bind) -> Option<Arc<Listener>> {
    generation.listeners.iter().find(|listener| listener.bind() == bind).cloned()
}

fn has(generation: &Generation, listener: &Arc<Listener>) -> bool {
    generation.listeners.iter().any(|other| Arc::ptr_eq(other, listener))
}

fn options(bind: &Bind, settings: &Settings) -> Options {
    let owner = match (&settings.user, &settings.group) {
        (None, None) => None,
        (user, group) => {
            let uid = user.as_ref().map_or_else(|| nix::unistd::geteuid().as_raw(), |user| user.uid);
            let of_user = user.as_ref().and_then(|user| user.gid);
            let gid = group.as_ref().map(|group| group.gid).or(of_user);
            Some((uid, gid.unwrap_or_else(|| nix::unistd::getegid().as_raw())))
        }
    };
    Options {
        backlog: settings.backlog,
        defer_accept: true,
        umask: settings.umask,
        owner,
        v6_only: listener::needs_v6_only(bind, &settings.bind),
    }
}
