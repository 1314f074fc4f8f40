//! Memory that a process shares with its forked children, and who of them may write where. What the words mean is not
//! its business.

use std::ffi::CStr;
use std::io;
use std::num::NonZeroUsize;
use std::ops::Range;
use std::os::fd::OwnedFd;
use std::ptr::NonNull;
use std::slice;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::mman::{
    MRemapFlags, MapFlags, MmapAdvise, ProtFlags, madvise, mmap, mmap_anonymous, mprotect, mremap, munmap,
};
use nix::unistd::{SysconfVar, ftruncate, sysconf};

/// Bytes of one word.
pub(crate) const WORD: usize = size_of::<AtomicU64>();

/// A word that this process reads and that another may write at any moment.
///
/// It has no store, since its page may be write-protected here. Loads are relaxed, the only kind that Rust promises to
/// work on read-only memory; who needs order adds a fence.
#[repr(transparent)]
#[derive(Debug)]
pub(crate) struct Word(AtomicU64);

impl Word {
    /// What is there now.
    #[inline]
    pub(crate) fn load(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A shared mapping, which forked children inherit at the same address.
///
/// Whoever makes it may write all of it. A child gives that up for good, for all ([`Mapping::read_only`]) or for all but
/// one range of pages ([`Mapping::claim`]). Nothing is ever mapped anew: a word that somebody still refers to stays
/// where it is, and a page outside the range faults for every writer in this process, wild pointers included.
#[derive(Debug)]
pub(crate) struct Mapping {
    /// The first word; page-aligned.
    start: NonNull<AtomicU64>,
    /// How many words there are: whole pages.
    len: usize,
    /// What this process may write. Locked over every write through the mapping and every change of its protection.
    access: Mutex<Access>,
}

/// What this process may write.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Access {
    All,
    Part(Range<usize>),
    Nothing,
}

// SAFETY: a mapping belongs to the process, not to a thread; all access is through atomics, and the lock guards the rest.
unsafe impl Send for Mapping {}
// SAFETY: as above.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// Maps at least `words` zeroed words (whole pages) of a new memfd that can neither shrink nor grow, so that no
    /// access to the mapping can ever raise SIGBUS for want of a file below it. Its descriptor is closed again: children
    /// inherit the mapping, and nobody else can reach it.
    ///
    /// `name` is what /proc/PID/maps shows behind `/memfd:`.
    pub(crate) fn create(name: &CStr, words: usize) -> io::Result<Mapping> {
        let bytes = words.checked_mul(WORD).and_then(|bytes| bytes.checked_next_multiple_of(page_size()));
        let bytes = bytes.and_then(NonZeroUsize::new).ok_or(Errno::EINVAL)?;
        let file = memory_file(name)?;
        ftruncate(&file, i64::try_from(bytes.get()).map_err(|_| Errno::EFBIG)?)?;
        let seals = SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW | SealFlag::F_SEAL_SEAL;
        fcntl(&file, FcntlArg::F_ADD_SEALS(seals))?;
        let access = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        // SAFETY: no address is asked for, so no memory that is in use is replaced.
        let start = unsafe { mmap(None, bytes, access, MapFlags::MAP_SHARED, &file, 0) }?;
        let access = Mutex::new(Access::All);
        Ok(Mapping { start: start.cast(), len: bytes.get() / WORD, access })
    }

    /// All words, for reading.
    #[inline]
    pub(crate) fn words(&self) -> &[Word] {
        // SAFETY: `len` words from `start` on are mapped, readable and initialised (a new memfd is all zeroes) until
        // `self` is dropped; Word is an AtomicU64, which others may write meanwhile.
        unsafe { slice::from_raw_parts(self.start.as_ptr().cast::<Word>(), self.len) }
    }

    /// Stores zero in every word of `range`.
    ///
    /// # Errors
    /// `PermissionDenied` when this process may not write all of it, `InvalidInput` when there is no such range.
    pub(crate) fn clear(&self, range: Range<usize>) -> io::Result<()> {
        let access = self.access();
        let writable = match &*access {
            Access::All => true,
            Access::Part(part) => part.start <= range.start && range.end <= part.end,
            Access::Nothing => false,
        };
        if !writable {
            return Err(Errno::EACCES.into());
        }
        for word in self.part(&range)? {
            word.store(0, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Stores one word.
    ///
    /// # Errors
    /// `PermissionDenied` unless this process may write all of the mapping, `InvalidInput` when there is no such word.
    pub(crate) fn store(&self, index: usize, value: u64) -> io::Result<()> {
        let access = self.access();
        if *access != Access::All {
            return Err(Errno::EACCES.into());
        }
        let word = self.part(&(index..index.saturating_add(1)))?;
        word[0].store(value, Ordering::Relaxed);
        Ok(())
    }

    /// Nobody looks for it in a core.
    pub(crate) fn leave_out_of_cores(&self) -> io::Result<()> {
        // SAFETY: whole pages of our own mapping, whose contents and protection stay as they are.
        unsafe { madvise(self.start.cast(), self.len * WORD, MmapAdvise::MADV_DONTDUMP) }?;
        Ok(())
    }

    /// From here on this process only reads.
    ///
    /// # Errors
    /// `PermissionDenied` after [`Mapping::claim`], which cannot be taken back.
    pub(crate) fn read_only(&self) -> io::Result<()> {
        let mut access = self.access();
        match *access {
            Access::Nothing => return Ok(()),
            Access::Part(_) => return Err(Errno::EACCES.into()),
            Access::All => {}
        }
        self.protect(&(0..self.len), ProtFlags::PROT_READ)?;
        *access = Access::Nothing;
        Ok(())
    }

    /// From here on this process reads everything and writes `range` alone, whose bounds have to lie between pages.
    ///
    /// It is for good, and for one range: that is what makes the words safe to hand out. A process that reads only may
    /// still claim a range; so a child that runs foreign code before it knows its range is protected meanwhile.
    ///
    /// # Errors
    /// `PermissionDenied` when another range was claimed before, `InvalidInput` for bounds inside a page or outside the
    /// mapping.
    pub(crate) fn claim(&self, range: Range<usize>) -> io::Result<&[AtomicU64]> {
        let mut access = self.access();
        let part = self.pages(&range)?;
        match &*access {
            Access::Part(before) if *before == range => return Ok(part),
            Access::Part(_) => return Err(Errno::EACCES.into()),
            Access::All | Access::Nothing => {}
        }
        self.protect(&(0..self.len), ProtFlags::PROT_READ)?;
        *access = Access::Nothing;
        self.protect(&range, ProtFlags::PROT_READ | ProtFlags::PROT_WRITE)?;
        *access = Access::Part(range);
        Ok(part)
    }

    /// The words of `range`. The caller sees to it that nothing is stored where this process may not write.
    fn part(&self, range: &Range<usize>) -> io::Result<&[AtomicU64]> {
        if range.start > range.end || range.end > self.len {
            return Err(Errno::EINVAL.into());
        }
        // SAFETY: `range` lies inside the mapping, which lives as long as `self`; see `words` for the rest.
        Ok(unsafe { slice::from_raw_parts(self.start.as_ptr().add(range.start), range.len()) })
    }

    /// As [`Mapping::part`], for whole pages only: the unit of protection.
    fn pages(&self, range: &Range<usize>) -> io::Result<&[AtomicU64]> {
        let words = page_size() / WORD;
        if !(range.start.is_multiple_of(words) && range.end.is_multiple_of(words)) {
            return Err(Errno::EINVAL.into());
        }
        self.part(range)
    }

    /// Sets what this process may do with whole pages. No `&AtomicU64` to them is out: before a claim none has been
    /// handed out, and after it nothing is protected any more.
    fn protect(&self, range: &Range<usize>, flags: ProtFlags) -> io::Result<()> {
        let start = NonNull::from(self.pages(range)?).cast();
        // SAFETY: whole pages of our own mapping, which stay readable, so no reference to a Word is broken.
        unsafe { mprotect(start, range.len() * WORD, flags) }?;
        Ok(())
    }

    fn access(&self) -> MutexGuard<'_, Access> {
        self.access.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: it was mapped by `create` with this size, and nobody borrows from `self` any more.
        let unmapped = unsafe { munmap(self.start.cast(), self.len * WORD) };
        debug_assert_eq!(unmapped, Ok(()));
    }
}

/// Private pages of zeroes that may later show a part of a shared mapping instead, at the same address. They are never
/// given back: what is lent of them has no end.
#[derive(Debug)]
pub(crate) struct StandIn {
    /// The first word; page-aligned.
    start: NonNull<AtomicU64>,
    /// How many words there are: whole pages.
    len: usize,
}

// SAFETY: the pages belong to the process, not to a thread, and all access is through atomics.
unsafe impl Send for StandIn {}
// SAFETY: as above.
unsafe impl Sync for StandIn {}

impl StandIn {
    /// Room for at least `words`.
    pub(crate) fn create(words: usize) -> io::Result<StandIn> {
        let bytes = words.checked_mul(WORD).and_then(|bytes| bytes.checked_next_multiple_of(page_size()));
        let bytes = bytes.and_then(NonZeroUsize::new).ok_or(Errno::EINVAL)?;
        let access = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        // SAFETY: no address is asked for, so no memory that is in use is replaced.
        let start = unsafe { mmap_anonymous(None, bytes, access, MapFlags::MAP_PRIVATE) }?;
        Ok(StandIn { start: start.cast(), len: bytes.get() / WORD })
    }

    /// All words.
    pub(crate) fn words(&self) -> &'static [AtomicU64] {
        // SAFETY: `len` words from `start` on are mapped for good, first by `create` and then by `show`; both kinds of pages
        // are initialised, and are written by atomics only.
        unsafe { slice::from_raw_parts(self.start.as_ptr(), self.len) }
    }

    /// From here on the words are those of `mapping` from word `first` on, which has to be the first of a page; this process
    /// has to have claimed them all. What was there is gone.
    pub(crate) fn show(&self, mapping: &Mapping, first: usize) -> io::Result<()> {
        let range = first..first.saturating_add(self.len);
        match &*mapping.access() {
            Access::Part(part) if part.start <= range.start && range.end <= part.end => {}
            Access::Part(_) | Access::All | Access::Nothing => return Err(Errno::EACCES.into()),
        }
        let source = NonNull::from(mapping.pages(&range)?).cast();
        // SAFETY: an old size of 0 makes a second view of shared pages and leaves the first; the place that it takes is this
        // value's own, of the same size, and stays readable and writable throughout.
        unsafe {
            mremap(
                source,
                0,
                self.len * WORD,
                MRemapFlags::MREMAP_MAYMOVE | MRemapFlags::MREMAP_FIXED,
                Some(self.start.cast()),
            )
        }?;
        Ok(())
    }
}

/// Bytes of one page, the unit of protection.
pub(crate) fn page_size() -> usize {
    let known = sysconf(SysconfVar::PAGE_SIZE).ok().flatten();
    known.and_then(|size| usize::try_from(size).ok()).unwrap_or(4096)
}

/// An anonymous file that nobody can execute. Kernels before 6.3 do not know that flag.
fn memory_file(name: &CStr) -> io::Result<OwnedFd> {
    let flags = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING;
    let not_executable = MFdFlags::from_bits_retain(libc::MFD_NOEXEC_SEAL);
    memfd_create(name, flags | not_executable).or_else(|_| memfd_create(name, flags)).map_err(io::Error::from)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::testing::{alone, forked};
    use nix::sys::signal::Signal;
    use nix::sys::wait::WaitStatus;

    const PAGE: usize = 4096 / WORD;

    impl Mapping {
        /// What a wild pointer does.
        pub(crate) fn write_wildly(&self, index: usize) {
            // SAFETY: none; it is the point of the tests that this faults where it should.
            unsafe { self.start.as_ptr().add(index).cast::<u64>().write_volatile(1) };
        }
    }

    fn killed_by(status: WaitStatus) -> Option<Signal> {
        match status {
            WaitStatus::Signaled(_, signal, _) => Some(signal),
            _ => None,
        }
    }

    fn exited(status: WaitStatus, code: i32) -> bool {
        matches!(status, WaitStatus::Exited(_, found) if found == code)
    }

    #[test]
    fn a_mapping_is_whole_pages_of_zeroes() {
        let mapping = Mapping::create(c"test", 1).unwrap();
        assert_eq!(mapping.words().len() * WORD, page_size());
        assert!(mapping.words().iter().all(|word| word.load() == 0));
        assert!(Mapping::create(c"test", 0).is_err());
        assert!(Mapping::create(c"test", usize::MAX / 2).is_err());
    }

    #[test]
    fn a_child_that_claims_a_page_writes_there_and_nowhere_else() {
        if !alone!() {
            return;
        }
        let mapping = Mapping::create(c"test", 3 * PAGE).unwrap();
        let status = forked(|| {
            let part = mapping.claim(PAGE..2 * PAGE).unwrap();
            part[5].store(7, Ordering::Relaxed);
            assert_eq!(mapping.words()[PAGE + 5].load(), 7);
            assert!(mapping.clear(0..1).is_err());
            assert!(mapping.read_only().is_err());
            assert!(mapping.claim(0..PAGE).is_err());
            assert!(mapping.claim(PAGE..2 * PAGE).is_ok());
            23
        });
        assert!(exited(status, 23), "{status:?}");
        assert_eq!(mapping.words()[PAGE + 5].load(), 7, "the parent sees what the child wrote");
        for elsewhere in [0, PAGE - 1, 2 * PAGE] {
            let status = forked(|| {
                mapping.claim(PAGE..2 * PAGE).unwrap();
                mapping.write_wildly(elsewhere);
                0
            });
            assert_eq!(killed_by(status), Some(Signal::SIGSEGV), "word {elsewhere}: {status:?}");
            assert_eq!(mapping.words()[elsewhere].load(), 0);
        }
    }

    #[test]
    fn a_child_that_only_reads_may_still_claim() {
        if !alone!() {
            return;
        }
        let mapping = Mapping::create(c"test", 2 * PAGE).unwrap();
        let status = forked(|| {
            mapping.read_only().unwrap();
            // Its own child, as a mold's worker is.
            let grandchild = forked(|| {
                mapping.claim(0..PAGE).unwrap()[0].store(3, Ordering::Relaxed);
                0
            });
            assert!(exited(grandchild, 0));
            mapping.write_wildly(0);
            0
        });
        assert_eq!(killed_by(status), Some(Signal::SIGSEGV));
        assert_eq!(mapping.words()[0].load(), 3);
        mapping.clear(0..2 * PAGE).unwrap();
        assert_eq!(mapping.words()[0].load(), 0, "the parent's own right to write is untouched");
    }

    #[test]
    fn a_word_is_stored_by_who_may_write_all() {
        let mapping = Mapping::create(c"test", PAGE).unwrap();
        mapping.store(3, 9).unwrap();
        assert_eq!(mapping.words()[3].load(), 9);
        assert!(mapping.store(PAGE, 1).is_err() && mapping.store(usize::MAX, 1).is_err());
        mapping.read_only().unwrap();
        assert!(mapping.store(3, 1).is_err());
    }

    #[test]
    fn bounds_inside_a_page_are_refused() {
        let mapping = Mapping::create(c"test", 2 * PAGE).unwrap();
        assert!(mapping.claim(1..PAGE).is_err());
        assert!(mapping.claim(0..3 * PAGE).is_err());
        assert!(mapping.clear(0..2 * PAGE + 1).is_err());
        mapping.clear(0..2 * PAGE).unwrap();
    }
}
