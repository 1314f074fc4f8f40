//! A child of a moment, which tells the service manager that the promoted master is the main process, once more.
//!
//! systemd waits at a stop only for a main process that is its own child, and notes whether it is when the pid changes. The
//! new master was its parent's child then, and has been the manager's only since that has ended; without this,
//! `systemctl stop` would kill it a moment after TERM (seen with systemd 252, `KillMode=mixed`). To name the same pid again
//! changes nothing. So the master names this child, which may speak from then on, and it names the master.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::time::Duration;

use nix::fcntl::OFlag;
use nix::unistd::Pid;
use tracing::debug;

use crate::master::Master;
use crate::sys::process::{self, Fork};
use crate::sys::{fd, signal, socket};

/// How long it may take until the service manager has read.
const LONGEST: Duration = Duration::from_secs(5);
/// How soon a message is offered again.
const PAUSE: Duration = Duration::from_millis(50);

impl Master {
    /// The service manager is to know this process as its child.
    pub(in crate::master) fn affirm_main_process(&mut self) {
        if self.notifier.is_heard()
            && let Err(error) = self.send_herald()
        {
            debug!("the service manager takes this master for another's child: {error}");
        }
    }

    fn send_herald(&mut self) -> io::Result<()> {
        let master = Pid::this();
        let (wait, go) = nix::unistd::pipe2(OFlag::O_CLOEXEC)?;
        let mask = signal::block_all()?;
        let side = process::fork();
        if let Ok(Fork::Child) = side {
            drop(go);
            self.be_herald(master, File::from(wait));
        }
        // It can only fail for a mask that is no mask.
        let _restored = signal::restore(&mask);
        if let Fork::Parent(herald) = side? {
            // A herald that is not named hears the end of the pipe, and leaves.
            if self.notifier.says_now(&format!("MAINPID={herald}")) {
                File::from(go).write_all(b"!")?;
            }
        }
        Ok(())
    }

    /// In the child, which closes whatever it does not need, and drops nothing.
    fn be_herald(&mut self, master: Pid, mut wait: File) -> ! {
        let needed = [wait.as_raw_fd(), self.error_log.sink().as_fd().as_raw_fd()];
        fd::close_all_but(&[&needed[..], &self.notifier.descriptors()].concat());
        if matches!(wait.read(&mut [0]), Ok(1)) {
            self.notifier.send(format!("MAINPID={master}"));
            self.wait_for_manager();
        }
        process::exit_now(0)
    }

    /// The manager looks up who has spoken when it reads.
    fn wait_for_manager(&mut self) {
        for _ in 0..LONGEST.as_millis() / PAUSE.as_millis() {
            self.notifier.flush();
            match self.notifier.barrier() {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => std::thread::sleep(PAUSE),
                Ok(Some(read)) => {
                    // Whether it was read or took too long, nothing more is to be done.
                    let _ = socket::wait_readable(&read, Some(LONGEST));
                    return;
                }
                Ok(None) | Err(_) => return,
            }
        }
    }
}
