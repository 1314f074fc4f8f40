//! Whole messages with descriptors beside them, over a SOCK_SEQPACKET socket. What a message means is the caller's.

use std::io::{self, IoSlice};
use std::mem;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::ptr;

use libc::{c_int, c_void, cmsghdr, msghdr};
use nix::errno::Errno;
use nix::sys::socket::{self as net, ControlMessage, MsgFlags};

use super::retry;

/// The most descriptors that one message carries.
pub(crate) const MAX_DESCRIPTORS: usize = 16;

/// One message as it came.
#[derive(Debug)]
pub(crate) struct Packet {
    /// How many bytes of the buffer it filled. 0: an empty message, or the other end is closed.
    pub length: usize,
    /// The buffer or the room for descriptors was too small, or this process may not have so many of them.
    pub truncated: bool,
    /// The descriptors that came with it, all close-on-exec.
    pub descriptors: Vec<OwnedFd>,
}

/// Sends one whole message, or nothing, without waiting and without SIGPIPE.
///
/// # Errors
/// `WouldBlock` when the queue is full; `BrokenPipe`, `ConnectionReset`, `NotConnected` when the other end is closed;
/// `InvalidInput` for more than [`MAX_DESCRIPTORS`].
pub(crate) fn send(socket: impl AsFd, bytes: &[u8], descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
    if descriptors.len() > MAX_DESCRIPTORS {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let raw: Vec<RawFd> = descriptors.iter().map(|descriptor| descriptor.as_raw_fd()).collect();
    let rights = [ControlMessage::ScmRights(&raw)];
    let control: &[ControlMessage<'_>] = if raw.is_empty() { &[] } else { &rights };
    let flags = MsgFlags::MSG_NOSIGNAL | MsgFlags::MSG_DONTWAIT;
    let socket = socket.as_fd().as_raw_fd();
    retry(|| net::sendmsg::<()>(socket, &[IoSlice::new(bytes)], control, flags, None))?;
    Ok(())
}

/// Room for the header of one control message and its descriptors, aligned as the kernel wants it.
#[repr(C, align(8))]
struct Control([u8; CONTROL_SIZE]);

/// Twice what fits: a sender with one descriptor too many is seen and refused, its surplus closed.
const CONTROL_SIZE: usize = 2 * MAX_DESCRIPTORS * mem::size_of::<RawFd>() + 64;

/// Receives one message, without waiting. nix's own recvmsg would leak the descriptors of a truncated message.
///
/// # Errors
/// `WouldBlock` when nothing is there; `ConnectionReset` once, when the other end was closed with messages unread (those
/// that it sent can still be received after that).
pub(crate) fn receive(socket: impl AsFd, buffer: &mut [u8]) -> io::Result<Packet> {
    let mut control = Control([0; CONTROL_SIZE]);
    let mut slice = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
    // SAFETY: all-zero bytes are a valid msghdr: null pointers and zero lengths.
    let mut message: msghdr = unsafe { mem::zeroed() };
    message.msg_iov = ptr::from_mut(&mut slice);
    message.msg_iovlen = 1;
    message.msg_control = control.0.as_mut_ptr().cast::<c_void>();
    message.msg_controllen = CONTROL_SIZE as _;
    let flags = libc::MSG_DONTWAIT | libc::MSG_CMSG_CLOEXEC;
    let socket = socket.as_fd().as_raw_fd();
    let length = retry(|| {
        // SAFETY: `message` names one live buffer and one live control area with their true sizes.
        Errno::result(unsafe { libc::recvmsg(socket, &mut message, flags) })
    })?;
    Ok(Packet {
        length: length.unsigned_abs().min(buffer.len()),
        truncated: message.msg_flags & (libc::MSG_TRUNC | libc::MSG_CTRUNC) != 0,
        descriptors: take_descriptors(&message),
    })
}

/// Becomes the owner of every descriptor in the control area, of which the kernel has just written the first
/// `msg_controllen` bytes.
fn take_descriptors(message: &msghdr) -> Vec<OwnedFd> {
    let mut taken = Vec::new();
    // SAFETY: `message` describes a live control area that the kernel has filled.
    let mut header = unsafe { libc::CMSG_FIRSTHDR(message) };
    while !header.is_null() {
        // SAFETY: what CMSG_FIRSTHDR and CMSG_NXTHDR return is null or a whole header inside the control area.
        let kind = unsafe { header.read_unaligned() };
        if kind.cmsg_level == libc::SOL_SOCKET && kind.cmsg_type == libc::SCM_RIGHTS {
            take_rights(header, kind.cmsg_len as usize, &mut taken);
        }
        // SAFETY: `header` is one of this very message.
        header = unsafe { libc::CMSG_NXTHDR(message, header) };
    }
    taken
}

fn take_rights(header: *const cmsghdr, length: usize, taken: &mut Vec<OwnedFd>) {
    // SAFETY: plain arithmetic on the size of a header.
    let overhead = unsafe { libc::CMSG_LEN(0) } as usize;
    // SAFETY: the data of a control message begins behind its header, inside the same area.
    let data = unsafe { libc::CMSG_DATA(header) }.cast::<c_int>();
    for index in 0..length.saturating_sub(overhead) / mem::size_of::<c_int>() {
        // SAFETY: the kernel's `length` covers this number; it need not be aligned.
        let raw = unsafe { data.add(index).read_unaligned() };
        // SAFETY: the kernel has just installed this descriptor for us, so nobody else owns it.
        taken.push(unsafe { OwnedFd::from_raw_fd(raw) });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::fd::open_descriptors;
    use crate::sys::socket::seqpacket_pair;
    use crate::sys::testing::alone;

    #[test]
    fn a_message_and_its_descriptors_arrive_together() {
        let (one, other) = seqpacket_pair().unwrap();
        send(&one, b"", &[one.as_fd()]).unwrap();
        send(&one, b"text", &[]).unwrap();
        let mut buffer = [0; 8];
        let first = receive(&other, &mut buffer).unwrap();
        assert_eq!((first.length, first.descriptors.len(), first.truncated), (0, 1, false));
        let second = receive(&other, &mut buffer).unwrap();
        assert_eq!((second.length, second.descriptors.len()), (4, 0));
        assert_eq!(receive(&other, &mut buffer).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        assert!(send(&one, b"", &[one.as_fd(); MAX_DESCRIPTORS + 1]).is_err());
    }

    #[test]
    fn a_flood_of_descriptors_is_cut_and_none_stays_open() {
        if !alone!() {
            return;
        }
        let (one, other) = seqpacket_pair().unwrap();
        let flood = vec![one.as_raw_fd(); 200];
        let before = open_descriptors();
        let rights = [ControlMessage::ScmRights(&flood)];
        let (text, flags) = ([IoSlice::new(b"x")], MsgFlags::empty());
        net::sendmsg::<()>(one.as_raw_fd(), &text, &rights, flags, None).unwrap();
        let packet = receive(&other, &mut [0; 8]).unwrap();
        assert!(packet.truncated);
        assert!(packet.descriptors.len() > MAX_DESCRIPTORS);
        drop(packet);
        assert_eq!(open_descriptors(), before);
    }
}
