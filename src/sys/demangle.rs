//! Names of C++ as their authors wrote them. The C++ runtime of the machine knows how: where an application is in C++, it
//! is there.

use std::ffi::{CStr, CString, c_char, c_int};
use std::ptr;
use std::sync::OnceLock;

use super::dynamic::Library;

/// The runtimes that there are: GNU's and LLVM's.
const RUNTIMES: [&CStr; 2] = [c"libstdc++.so.6", c"libc++abi.so.1"];

/// `abi::__cxa_demangle` of the Itanium C++ ABI, §3.4. Without a buffer it allocates the result, for free(3); null: the
/// name is none, or there is no memory.
type Demangle = unsafe extern "C" fn(
    name: *const c_char,
    buffer: *mut c_char,
    length: *mut usize,
    status: *mut c_int,
) -> *mut c_char;

/// What `mangled` names. `None`: it is no name of C++, or the machine has no C++ runtime.
///
/// The first call loads the runtime, which stays: for a process that lives shortly.
pub(crate) fn cpp(mangled: &str) -> Option<String> {
    static DEMANGLE: OnceLock<Option<Demangle>> = OnceLock::new();
    if !mangled.starts_with("_Z") {
        return None;
    }
    let demangle = (*DEMANGLE.get_or_init(find))?;
    let mangled = CString::new(mangled).ok()?;
    // SAFETY: a terminated string; by the ABI the buffer, its length and the status may be null.
    let text = unsafe { demangle(mangled.as_ptr(), ptr::null_mut(), ptr::null_mut(), ptr::null_mut()) };
    if text.is_null() {
        return None;
    }
    // SAFETY: by the ABI the result is a terminated string.
    let plain = unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned();
    // SAFETY: by the ABI it was allocated with malloc, and is ours.
    unsafe { libc::free(text.cast()) };
    Some(plain)
}

fn find() -> Option<Demangle> {
    let library = RUNTIMES.iter().find_map(|name| Library::load(name).ok())?;
    // SAFETY: the ABI says what the function is.
    Some(unsafe { library.symbol(c"__cxa_demangle")?.function() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_cpp_are_made_plain_and_others_are_not_touched() {
        assert_eq!(cpp("_ZN4cart4lockEi").as_deref(), Some("cart::lock(int)"));
        assert_eq!(
            cpp("_ZNSt6vectorIiSaIiEE4sizeEv").as_deref(),
            Some("std::vector<int, std::allocator<int> >::size()")
        );
        for other in ["lock_the_cart", "_Z", "_ZN4cart", "", "_Zx\0y"] {
            assert_eq!(cpp(other), None, "{other:?}");
        }
    }
}
