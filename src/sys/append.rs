//! Writing to a log's descriptor without ever waiting for its reader. No policy: what is lost is the sink's business.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{MsgFlags, send};
use nix::sys::stat::{SFlag, fstat};
use nix::unistd::write;

/// What a descriptor leads to, as far as writing without waiting differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A regular file: it never makes a writer wait for somebody else.
    File {
        /// True if every write goes to the end, whoever else writes.
        append: bool,
    },
    /// A pipe, named or not.
    Pipe,
    /// A socket: systemd's journal is one.
    Socket,
    /// A terminal, `/dev/null`, and the like.
    Device,
}

impl Kind {
    /// Looks at an open descriptor.
    pub(crate) fn of(fd: BorrowedFd<'_>) -> io::Result<Kind> {
        let mode = SFlag::from_bits_truncate(fstat(fd)?.st_mode) & SFlag::S_IFMT;
        Ok(match mode {
            SFlag::S_IFREG => Kind::File { append: flags(fd)?.contains(OFlag::O_APPEND) },
            SFlag::S_IFIFO => Kind::Pipe,
            SFlag::S_IFSOCK => Kind::Socket,
            _ => Kind::Device,
        })
    }
}

fn flags(fd: BorrowedFd<'_>) -> io::Result<OFlag> {
    Ok(OFlag::from_bits_retain(fcntl(fd, FcntlArg::F_GETFL)?))
}

/// One write. `WouldBlock`: the reader is behind, and nothing was written. Allocates nothing, and may be called in a
/// signal handler (write, pwritev2, send, poll).
///
/// The descriptor may be shared with strangers (standard output), so its O_NONBLOCK is left alone: a pipe is written
/// with RWF_NOWAIT (Linux 6.4), a socket with MSG_DONTWAIT. For a device, and for a pipe of an older kernel, `poll`
/// has to do, and another process that takes the room between the two calls can make this one wait for the reader.
pub(crate) fn write_now(fd: BorrowedFd<'_>, kind: Kind, bytes: &[u8]) -> io::Result<usize> {
    loop {
        let written = match kind {
            Kind::File { .. } => write(fd, bytes),
            Kind::Pipe => write_pipe(fd, bytes),
            Kind::Socket => send(fd.as_raw_fd(), bytes, MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL),
            Kind::Device => write_polled(fd, bytes),
        };
        match written {
            Err(Errno::EINTR) => continue,
            other => return Ok(other?),
        }
    }
}

fn write_pipe(fd: BorrowedFd<'_>, bytes: &[u8]) -> nix::Result<usize> {
    match write_nowait(fd, bytes) {
        Err(Errno::EOPNOTSUPP | Errno::ENOSYS) => write_polled(fd, bytes),
        other => other,
    }
}

fn write_nowait(fd: BorrowedFd<'_>, bytes: &[u8]) -> nix::Result<usize> {
    let slice = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
    // The system call itself: older C libraries lack the function. Offset -1 means "where the file stands".
    let (low, high): (libc::c_long, libc::c_long) = (-1, -1);
    // SAFETY: one iovec is passed, it covers `bytes`, which outlives the call, and the kernel only reads from it.
    let written = unsafe {
        libc::syscall(
            libc::SYS_pwritev2,
            fd.as_raw_fd(),
            &raw const slice,
            1 as libc::c_ulong,
            low,
            high,
            libc::RWF_NOWAIT,
        )
    };
    Errno::result(written).map(libc::c_long::cast_unsigned).map(|count| count as usize)
}

fn write_polled(fd: BorrowedFd<'_>, bytes: &[u8]) -> nix::Result<usize> {
    let mut wanted = [PollFd::new(fd, PollFlags::POLLOUT)];
    match poll(&mut wanted, PollTimeout::ZERO)? {
        0 => Err(Errno::EAGAIN),
        _ => write(fd, bytes),
    }
}

/// Descriptor 1, without the lock and the buffer of `std::io::stdout`.
pub(crate) fn stdout() -> BorrowedFd<'static> {
    // SAFETY: the number is not -1. Whoever closes it makes our writes fail or go elsewhere, as with any program.
    unsafe { BorrowedFd::borrow_raw(libc::STDOUT_FILENO) }
}

/// Descriptor 2.
pub(crate) fn stderr() -> BorrowedFd<'static> {
    // SAFETY: as for descriptor 1.
    unsafe { BorrowedFd::borrow_raw(libc::STDERR_FILENO) }
}

/// Makes the number of `onto` lead to the open file of `from`, at once: no other thread ever finds it closed.
pub(crate) fn replace(onto: BorrowedFd<'_>, from: impl AsFd) -> io::Result<()> {
    let (from, onto) = (from.as_fd().as_raw_fd(), onto.as_raw_fd());
    // SAFETY: both are open descriptors, borrowed for this call; the owner of `onto` goes on owning the same number.
    let number = unsafe { libc::dup3(from, onto, libc::O_CLOEXEC) };
    Errno::result(number)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;
    use std::os::unix::net::UnixStream;

    #[test]
    fn a_full_pipe_or_socket_would_block_and_takes_nothing() {
        let (_reader, pipe) = std::io::pipe().unwrap();
        let (_peer, socket) = UnixStream::pair().unwrap();
        for (fd, kind) in [(pipe.as_fd(), Kind::Pipe), (socket.as_fd(), Kind::Socket)] {
            assert_eq!(Kind::of(fd).unwrap(), kind);
            let refused = loop {
                if let Err(error) = write_now(fd, kind, &[b'x'; 4096]) {
                    break error;
                }
            };
            assert_eq!(refused.kind(), io::ErrorKind::WouldBlock);
        }
    }

    #[test]
    fn a_pipe_without_a_reader_is_broken() {
        let (reader, pipe) = std::io::pipe().unwrap();
        drop(reader);
        let error = write_now(pipe.as_fd(), Kind::Pipe, b"x\n").unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
    }

    #[test]
    fn polling_tells_a_full_pipe_too() {
        let (mut reader, pipe) = std::io::pipe().unwrap();
        while write_polled(pipe.as_fd(), &[b'x'; 4096]).is_ok() {}
        let mut page = [0; 4096];
        reader.read_exact(&mut page).unwrap();
        assert_eq!(write_polled(pipe.as_fd(), &[b'x'; 4096]), Ok(4096));
    }

    #[test]
    fn a_replaced_number_leads_elsewhere() {
        let (mut reader, pipe) = std::io::pipe().unwrap();
        let file = tempfile::tempfile().unwrap();
        replace(file.as_fd(), &pipe).unwrap();
        assert_eq!(Kind::of(file.as_fd()).unwrap(), Kind::Pipe);
        write_now(file.as_fd(), Kind::Pipe, b"hi").unwrap();
        let mut text = [0; 2];
        reader.read_exact(&mut text).unwrap();
        assert_eq!(&text, b"hi");
    }
}
