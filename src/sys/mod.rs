//! The kernel, and all other unsafe code: safe signatures, no policy, no logging.
#![allow(unsafe_code)]

pub(crate) mod altstack;
pub(crate) mod append;
pub(crate) mod beneath;
pub(crate) mod cgroup;
pub(crate) mod claim;
pub(crate) mod clock;
pub(crate) mod demangle;
pub(crate) mod dynamic;
pub(crate) mod epoll;
pub(crate) mod fault;
pub(crate) mod fd;
pub(crate) mod fuse;
pub(crate) mod identity;
pub(crate) mod image;
pub(crate) mod lent;
pub(crate) mod memory;
pub(crate) mod orphan;
pub(crate) mod pidfd;
pub(crate) mod process;
pub(crate) mod signal;
pub(crate) mod socket;
#[cfg(test)]
pub(crate) mod testing;
pub(crate) mod thread;
pub(crate) mod title;
pub(crate) mod unwind;
