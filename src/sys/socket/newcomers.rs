//! Two ways to keep new connections away from a TCP listener while handshakes under way are completed. For all processes
//! that have the socket: it cannot be had for one alone.
//!
//! A client that tries meanwhile hears nothing, tries again a second later, and is refused once the listener is closed.

use std::io;
use std::os::fd::AsFd;

use libc::{c_int, c_ushort, sock_filter, sock_fprog};

use super::set_option;

const RETURN: u32 = libc::BPF_RET | libc::BPF_K;
const WHOLE_SEGMENT: u32 = u32::MAX;

/// Drops every segment with the SYN flag that comes for this listener, by a classic BPF filter. It costs accepted
/// connections nothing.
///
/// # Errors
/// `PermissionDenied` where [`may_attach_filter`] says no.
pub(crate) fn attach_drop_syn_filter(listener: impl AsFd) -> io::Result<()> {
    const FLAGS_OFFSET: u32 = 13; // RFC 9293 §3.1; the kernel shows a TCP filter the segment from its TCP header on
    const SYN: u32 = 0x02;
    attach(
        listener,
        &mut [
            instruction(libc::BPF_LD | libc::BPF_B | libc::BPF_ABS, 0, 0, FLAGS_OFFSET),
            instruction(libc::BPF_JMP | libc::BPF_JSET | libc::BPF_K, 0, 1, SYN),
            instruction(RETURN, 0, 0, 0),
            instruction(RETURN, 0, 0, WHOLE_SEGMENT),
        ],
    )
}

/// Whether this process may attach a filter. Most kernels let everybody; some want CAP_NET_ADMIN, which root in a
/// container does not have. It leaves the socket without a filter.
pub(crate) fn may_attach_filter(socket: impl AsFd) -> bool {
    let everything = &mut [instruction(RETURN, 0, 0, WHOLE_SEGMENT)];
    let attached = attach(socket.as_fd(), everything);
    let nothing: c_int = 0;
    let detached =
        attached.and_then(|()| set_option(socket, libc::SOL_SOCKET, libc::SO_DETACH_FILTER, &nothing));
    detached.is_ok()
}

fn instruction(code: u32, if_true: u8, if_false: u8, operand: u32) -> sock_filter {
    sock_filter { code: code as u16, jt: if_true, jf: if_false, k: operand }
}

fn attach(socket: impl AsFd, program: &mut [sock_filter]) -> io::Result<()> {
    let program = sock_fprog { len: program.len() as c_ushort, filter: program.as_mut_ptr() };
    set_option(socket, libc::SOL_SOCKET, libc::SO_ATTACH_FILTER, &program)
}

/// Drops segments that come with a smaller hop count (TTL) than `hops`; 0 takes them all. Everybody may.
///
/// With 255 on a listener all but its closest neighbours' SYNs are dropped, since hosts send with 64 or 128, while the
/// kernel hands the end of a handshake to the half-open connection and does not ask. But that connection has the limit
/// from its listener and hears nothing until it is set to 0 after accept; what its client sent meanwhile comes again
/// after a retransmission timeout, 0.2 s or a little more.
pub(crate) fn demand_hops(socket: impl AsFd, is_v6: bool, hops: u8) -> io::Result<()> {
    let hops = c_int::from(hops);
    if is_v6 {
        set_option(&socket, libc::IPPROTO_IPV6, libc::IPV6_MINHOPCOUNT, &hops)?;
    }
    // On an IPv6 socket as well: IPv4 peers reach it too.
    set_option(&socket, libc::IPPROTO_IP, libc::IP_MINTTL, &hops)
}
