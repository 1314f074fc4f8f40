//! A process by descriptor: a signal through it reaches that process or none, whoever has its number by then.

use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};

use nix::unistd::Pid;

/// A descriptor of the process that has this number now. It is readable once the process has died.
pub(crate) fn open(pid: Pid) -> io::Result<OwnedFd> {
    // SAFETY: pidfd_open(2) takes plain numbers.
    let result = unsafe { libc::syscall(libc::SYS_pidfd_open, pid.as_raw(), 0) };
    let number = i32::try_from(result).map_err(|_| io::Error::from(io::ErrorKind::InvalidData))?;
    if number < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just made it for us, close-on-exec, and nobody else knows of it.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// Sends a signal to that very process.
pub(crate) fn send_signal(process: impl AsFd, signal: i32) -> io::Result<()> {
    let nothing: *const libc::siginfo_t = std::ptr::null();
    let descriptor = process.as_fd().as_raw_fd();
    // SAFETY: pidfd_send_signal(2) takes plain numbers and, for the siginfo, nothing.
    let result = unsafe { libc::syscall(libc::SYS_pidfd_send_signal, descriptor, signal, nothing, 0) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_living_process_can_be_signalled_and_one_that_was_reaped_cannot() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let pid = Pid::from_raw(i32::try_from(child.id()).unwrap());
        let descriptor = open(pid).unwrap();
        send_signal(&descriptor, libc::SIGKILL).unwrap();
        child.wait().unwrap();
        assert_eq!(send_signal(&descriptor, 0).unwrap_err().raw_os_error(), Some(libc::ESRCH));
        assert_eq!(open(Pid::from_raw(-1)).unwrap_err().raw_os_error(), Some(libc::EINVAL));
    }
}
