//! The calling thread's stack as return addresses, also from a signal handler: libgcc's unwinder goes through the frame
//! that the kernel has put there. No names.

use std::ffi::c_void;

/// The unwinder's own; only its address is ours.
enum Context {}

type Visit = extern "C" fn(*mut Context, *mut c_void) -> i32;

// Every program of Rust has them from libgcc_s (or libunwind).
unsafe extern "C" {
    fn _Unwind_Backtrace(visit: Visit, argument: *mut c_void) -> i32;
    fn _Unwind_GetIP(context: *mut Context) -> usize;
}

/// `_URC_NO_REASON`: go on.
const GO_ON: i32 = 0;
/// `_URC_END_OF_STACK`: enough.
const ENOUGH: i32 = 5;

/// Calls `visit` with each address, the innermost first, until it says false or the stack ends. Async-signal-safe once it
/// was called before: it neither allocates nor waits for a lock (glibc finds the tables with `_dl_find_object`).
pub(crate) fn walk(mut visit: &mut dyn FnMut(u64) -> bool) {
    // SAFETY: `visit` lives over the call, which is the only user of the argument; `one_frame` reads it as what it is.
    unsafe { _Unwind_Backtrace(one_frame, (&raw mut visit).cast()) };
}

extern "C" fn one_frame(context: *mut Context, argument: *mut c_void) -> i32 {
    // SAFETY: the unwinder's context, in its own callback.
    let address = unsafe { _Unwind_GetIP(context) };
    // SAFETY: `walk` has put it there, and waits for this call.
    let visit = unsafe { &mut *argument.cast::<&mut dyn FnMut(u64) -> bool>() };
    // Below the first frame of a thread there is none.
    if address != 0 && visit(address as u64) { GO_ON } else { ENOUGH }
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_stack_has_some_frames_and_the_walk_ends_when_told() {
        let (mut all, mut two) = (0, 0);
        super::walk(&mut |address| {
            assert_ne!(address, 0);
            all += 1;
            true
        });
        super::walk(&mut |_| {
            two += 1;
            two < 2
        });
        assert!(all > 4, "{all}");
        assert_eq!(two, 2);
    }
}
