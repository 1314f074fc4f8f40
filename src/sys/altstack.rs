//! A stack of its own for the signal handlers of a thread, so that they run when the thread's own stack is full.

use std::io;
use std::num::NonZeroUsize;

use nix::sys::mman::{MapFlags, ProtFlags, mmap_anonymous, mprotect};

use super::memory::page_size;

/// Unwinding needs some 10 KiB, and the registers of a large processor some more.
const SIZE: usize = 64 * 1024;

/// Gives the calling thread such a stack, below which is a page that faults. It stays until the process ends: a signal may
/// come until then.
pub(crate) fn give() -> io::Result<()> {
    let guard = page_size();
    let bytes = NonZeroUsize::new(SIZE + guard).ok_or(io::ErrorKind::InvalidInput)?;
    let access = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
    // SAFETY: no address is asked for, so no memory that is in use is replaced.
    let start = unsafe { mmap_anonymous(None, bytes, access, MapFlags::MAP_PRIVATE | MapFlags::MAP_STACK) }?;
    // SAFETY: the first page of the mapping that was just made, which nobody uses.
    unsafe { mprotect(start, guard, ProtFlags::PROT_NONE) }?;
    // SAFETY: the guard page lies inside the mapping.
    let bottom = unsafe { start.byte_add(guard) };
    let stack = libc::stack_t { ss_sp: bottom.as_ptr(), ss_flags: 0, ss_size: SIZE };
    // SAFETY: the memory is ours, large enough, and never unmapped.
    let result = unsafe { libc::sigaltstack(&raw const stack, std::ptr::null_mut()) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
