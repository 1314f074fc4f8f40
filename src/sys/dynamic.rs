//! Shared libraries that are loaded while the program runs, and stay as long as it does. Not what their functions are for.

use std::ffi::{CStr, c_void};
use std::mem::{self, MaybeUninit};
use std::ptr::{self, NonNull};

/// A library that was loaded. It is never unloaded: threads may run in it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Library(NonNull<c_void>);

/// What a library has under a name.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Symbol(NonNull<c_void>);

impl Library {
    /// Loads the library at a path, or of a name that the dynamic linker knows, with all that it needs; its constructors run
    /// here. Nobody else sees its symbols.
    ///
    /// # Errors
    /// What the linker says.
    pub(crate) fn load(name: &CStr) -> Result<Library, String> {
        // SAFETY: a terminated string. Constructors may do anything; that is what loading means.
        let handle = unsafe { libc::dlopen(name.as_ptr(), libc::RTLD_NOW | libc::RTLD_LOCAL) };
        NonNull::new(handle).map(Library).ok_or_else(last_message)
    }

    /// What it has under that name.
    pub(crate) fn symbol(self, name: &CStr) -> Option<Symbol> {
        // SAFETY: the handle of a library that stays, and a terminated string.
        NonNull::new(unsafe { libc::dlsym(self.0.as_ptr(), name.as_ptr()) }).map(Symbol)
    }
}

impl Symbol {
    /// It is data, as far as the linker knows. To call it would end the process.
    pub(crate) fn is_variable(self) -> bool {
        /// `RTLD_DL_SYMENT` of glibc's dlfcn.h: the symbol's entry is wanted beside its name.
        const SYMBOL_ENTRY: i32 = 1;
        /// `STT_OBJECT` of elf.h.
        const OBJECT: u8 = 1;
        let mut info = MaybeUninit::<libc::Dl_info>::uninit();
        let mut entry = ptr::null_mut::<c_void>();
        // SAFETY: both places are the linker's to fill; an address that it does not know is answered by 0.
        let found = unsafe { libc::dladdr1(self.0.as_ptr(), info.as_mut_ptr(), &mut entry, SYMBOL_ENTRY) };
        if found == 0 || entry.is_null() {
            return false;
        }
        // SAFETY: the linker's own entry of this symbol, which lives as long as the library.
        let kind = unsafe { (*entry.cast::<libc::Elf64_Sym>()).st_info } & 0xf;
        kind == OBJECT
    }

    /// The function that it is.
    ///
    /// # Safety
    ///
    /// It is a function, and `F` is the type of a pointer to it.
    pub(crate) unsafe fn function<F: Copy>(self) -> F {
        const { assert!(size_of::<F>() == size_of::<*mut c_void>(), "no pointer to a function") };
        // SAFETY: a pointer and a pointer to a function have the same form on every target of unirs; the rest is the caller's.
        unsafe { mem::transmute_copy(&self.0) }
    }
}

/// What the dynamic linker says about its last failure on this thread.
fn last_message() -> String {
    // SAFETY: no arguments; the string is this thread's until the next call of the linker.
    let message = unsafe { libc::dlerror() };
    if message.is_null() {
        return "the dynamic linker gives no reason".to_owned();
    }
    // SAFETY: terminated, and copied at once.
    unsafe { CStr::from_ptr(message) }.to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_and_variables_of_a_library_are_told_apart() {
        let libc = Library::load(c"libc.so.6").expect("this program uses it");
        let labs = libc.symbol(c"labs").expect("C has it");
        assert!(!labs.is_variable());
        // SAFETY: C11 §7.22.6.1.
        let labs = unsafe { labs.function::<extern "C" fn(libc::c_long) -> libc::c_long>() };
        assert_eq!(labs(-3), 3);
        assert!(libc.symbol(c"environ").expect("POSIX has it").is_variable());
        assert!(libc.symbol(c"no_such_thing").is_none());
    }

    #[test]
    fn the_linker_says_why_there_is_no_library() {
        let said = Library::load(c"/no/such/library.so").expect_err("there is none");
        assert!(said.contains("/no/such/library.so"), "{said}");
    }
}
