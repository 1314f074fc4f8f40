//! A listener's way to the next binary of the server: what has to be said of a descriptor that goes over an `exec`. How
//! the letter travels is the master's business.

use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::{Address, BindError, Listener, Origin, inherited};
use crate::settings::Bind;
use crate::sys::fd;

/// A listener on its way. It is read by another version of this program: fields and names may be added, none may change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Handed {
    /// The same number in both programs.
    pub descriptor: RawFd,
    /// What was asked for. The kernel cannot say it: it knows no port 0, and of a path only the name that the socket had
    /// before it was moved there.
    #[serde(with = "WrittenBind")]
    bind: Bind,
    /// Whose it is: not the service manager's, only because it was inherited.
    origin: Origin,
}

/// [`Bind`] as it is written in the letter.
#[derive(Serialize, Deserialize)]
#[serde(remote = "Bind", rename_all = "snake_case")]
enum WrittenBind {
    Tcp { host: String, port: u16 },
    Unix(PathBuf),
    Fd(i32),
}

impl Listener {
    /// What the next program has to know to go on with this listener. Its descriptor has to be inherited.
    pub(crate) fn hand_over(&self) -> Handed {
        Handed {
            descriptor: self.socket.as_fd().as_raw_fd(),
            bind: self.bind.clone(),
            origin: self.origin.clone(),
        }
    }

    /// Goes on with a listener that the program before this one has handed over, as if this one had bound it.
    pub(crate) fn take_over(handed: Handed) -> Result<Listener, BindError> {
        let Handed { descriptor, bind, origin } = handed;
        let socket = fd::inherit(descriptor).map_err(|error| BindError::descriptor(&bind, &error))?;
        let adopted = inherited::adopt(socket, bind.clone())?;
        let address = match (&origin, &bind) {
            (Origin::Unix(_), Bind::Unix(path)) => Address::Unix(path.clone()),
            _ => adopted.address,
        };
        Ok(Listener::new(adopted.socket, &bind, address, origin))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::listener::Options;
    use crate::sys::socket;
    use crate::sys::testing::alone;

    fn over_an_exec(listener: Listener) -> Listener {
        let text = serde_json::to_string(&listener.hand_over()).unwrap();
        fd::set_cloexec(&listener, false).unwrap();
        // The program that bound it is replaced, and drops nothing.
        std::mem::forget(listener);
        Listener::take_over(serde_json::from_str(&text).unwrap()).unwrap()
    }

    #[test]
    fn a_listener_goes_over_an_exec_with_all_that_is_known_of_it() {
        if !alone!() {
            return;
        }
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("sock");
        for bind in [Bind::Tcp { host: "127.0.0.1".into(), port: 0 }, Bind::Unix(path.clone())] {
            let before =
                Listener::open(&bind, &Options { defer_accept: true, ..Options::default() }).unwrap();
            let (address, origin) = (before.address().clone(), before.origin.clone());
            let quiet = before.quiet_before_close();
            let after = over_an_exec(before);
            assert_eq!((after.bind(), after.address(), &after.origin), (&bind, &address, &origin));
            assert_eq!(after.quiet_before_close(), quiet);
            assert!(!after.is_inherited());
            after.unlink().unwrap();
        }
        assert!(!path.exists(), "the path is its own to remove");
    }

    #[test]
    fn a_socket_of_the_service_manager_stays_the_service_managers() {
        if !alone!() {
            return;
        }
        let socket = socket::unix_socket().unwrap();
        socket::bind_abstract(&socket, format!("unirs-handover-{}", std::process::id()).as_bytes()).unwrap();
        socket::listen(&socket, 1).unwrap();
        let number = socket.as_raw_fd();
        let after = over_an_exec(Listener::adopt(socket, Bind::Fd(number)).unwrap());
        assert!(after.is_inherited());
        assert_eq!(after.bind(), &Bind::Fd(number));
    }
}
