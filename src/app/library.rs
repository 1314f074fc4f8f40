//! A library of the disk becomes a checked table of functions, or a sentence that says what was found there. Not
//! the calls themselves (`door`).
#![allow(unsafe_code)] // The design's list of places: sys, app::library, app::door.

use std::ffi::CString;
use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;
use std::{fmt, io, mem, ptr, slice};

use unirs_app::abi::{self, ABI_VERSION, ENTRY_SYMBOL, flag};

use super::image::{self, Provenance};
use super::{Fault, LoadError, elf};
use crate::sys::dynamic;
use crate::sys::image::Image;

/// A library file as it was when it was loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// Absolute, symbolic links resolved.
    pub path: PathBuf,
    /// In bytes.
    pub size: u64,
    /// When it was last written.
    pub modified: SystemTime,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let written = httpdate::fmt_http_date(self.modified);
        write!(f, "{}, {} bytes, written {written}", self.path.display(), self.size)
    }
}

/// An application's table, checked and copied: what it does not have is null.
pub(super) struct Table {
    pub(super) app: abi::App,
    pub(super) name: String,
    pub(super) version: String,
}

/// Loads the library at `path` for the rest of the process's life: nothing is ever unloaded, for threads of the
/// application may run in it.
pub(super) fn open(path: &Path) -> Result<(Table, Provenance), LoadError> {
    from_path(path, None).map_err(|fault| LoadError::Library { path: path.to_owned(), fault })
}

/// The same by way of an image, which is filled first if nobody has done so. The image stays open for the rest of the
/// process's life, too: the library is known by the number of its descriptor.
pub(super) fn open_image(path: &Path, image: &Image, limit: u64) -> Result<(Table, Provenance), LoadError> {
    from_image(path, image, limit).map_err(|fault| LoadError::Library { path: path.to_owned(), fault })
}

fn from_image(path: &Path, image: &Image, limit: u64) -> Result<(Table, Provenance), Fault> {
    let provenance = image::fill(image, path, limit)?;
    if let Provenance::Path(_, reason) = provenance {
        return from_path(path, reason);
    }
    match entry(&image.path()) {
        Ok(entry) => Ok((table(entry, path)?, provenance)),
        // A security module may forbid what the kernel allows.
        Err(Fault::Linker(said)) if said.contains(CANNOT_MAP) => from_path(path, Some(said)),
        Err(fault) => Err(fault),
    }
}

fn from_path(path: &Path, reason: Option<String>) -> Result<(Table, Provenance), Fault> {
    let origin = find(path)?;
    elf::check(&File::open(&origin.path).map_err(Fault::Unreadable)?)?;
    let table = table(entry(&origin.path)?, path)?;
    Ok((table, Provenance::Path(origin, reason)))
}

/// glibc's words for a mapping that the kernel refuses.
const CANNOT_MAP: &str = "failed to map segment";

fn table(entry: abi::Entry, path: &Path) -> Result<Table, Fault> {
    // SAFETY: the symbol's type is what the interface says; whether the library keeps to that cannot be seen.
    let table = unsafe { entry() };
    // SAFETY: what the entry returned is null, or a table that lives as long as the process.
    let mut table = unsafe { Table::read(table) }?;
    if table.name.is_empty() {
        // As it was named: the file may be gone when a later worker loads the image.
        table.name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    }
    Ok(table)
}

/// What is at `path` now, all symbolic links resolved.
pub(super) fn find(path: &Path) -> Result<Origin, Fault> {
    let path = fs::canonicalize(path).map_err(Fault::Unreadable)?;
    let metadata = fs::metadata(&path).map_err(Fault::Unreadable)?;
    if metadata.is_dir() {
        return Err(Fault::Found("a folder".into()));
    }
    if !metadata.is_file() {
        return Err(Fault::Found("a device, pipe or socket".into()));
    }
    let modified = metadata.modified().map_err(Fault::Unreadable)?;
    Ok(Origin { path, size: metadata.len(), modified })
}

/// Loads the library and finds its one symbol.
fn entry(path: &Path) -> Result<abi::Entry, Fault> {
    let name = CString::new(path.as_os_str().as_bytes())
        .map_err(|_| Fault::Unreadable(io::ErrorKind::InvalidInput.into()))?;
    let library = dynamic::Library::load(&name).map_err(|said| refused(path, &said))?;
    let symbol = CString::new(ENTRY_SYMBOL).map_err(|_| Fault::NoSymbol)?;
    let entry = library.symbol(&symbol).ok_or(Fault::NoSymbol)?;
    // Somebody exported the table itself.
    if entry.is_variable() {
        return Err(Fault::Variable);
    }
    // SAFETY: the interface says that this symbol is an `Entry`.
    Ok(unsafe { entry.function() })
}

/// The linker's refusal, without the path that our own sentence begins with.
fn refused(path: &Path, message: &str) -> Fault {
    let path = format!("{}: ", path.display());
    let message = message.strip_prefix(&path).unwrap_or(message);
    if message.contains("position-independent executable") {
        return Fault::Found("an executable program".into());
    }
    Fault::Linker(message.to_owned())
}

/// The part of a table that there must be: everything up to `call`.
pub(super) const LEAST: usize = mem::offset_of!(abi::App, call) + size_of::<usize>();

impl Table {
    /// The table of an application that is linked into this program, checked as any other.
    pub(super) fn linked(table: &'static abi::App) -> Result<Table, Fault> {
        // SAFETY: a reference to a whole table, which lives as long as the process.
        unsafe { Table::read(table) }
    }

    /// Checks the table at `found` and copies what it has.
    ///
    /// # Safety
    ///
    /// `found` is null, or a table of as many bytes as it says, which lives as long as the process.
    pub(super) unsafe fn read(found: *const abi::App) -> Result<Table, Fault> {
        if found.is_null() {
            return Err(Fault::Table("is null".into()));
        }
        if !found.is_aligned() {
            return Err(Fault::Table("is not aligned to 8 bytes".into()));
        }
        // SAFETY: every table begins with its size and the version.
        let (size, version) = unsafe { ((*found).size as usize, (*found).abi) };
        if version != ABI_VERSION {
            return Err(Fault::Version(version));
        }
        if size < LEAST {
            return Err(Fault::Short(size));
        }
        let mut app = EMPTY;
        // Whole fields only: each is a word, after the two halves of the first.
        let covered = size.min(size_of::<abi::App>()) / size_of::<usize>() * size_of::<usize>();
        // SAFETY: the table says that so many bytes are there; `app` has room for them; they do not overlap.
        unsafe { ptr::copy_nonoverlapping(found.cast::<u8>(), (&raw mut app).cast::<u8>(), covered) };
        Table::check(app)
    }

    fn check(app: abi::App) -> Result<Table, Fault> {
        let unknown = app.flags & !(flag::SERIAL | flag::REQUEST_HOOKS);
        if unknown != 0 {
            return Err(Fault::Table(format!("has flags that this server does not know: {unknown:#x}")));
        }
        if app.call.is_none() {
            return Err(Fault::Table("has no function `call`".into()));
        }
        if !app.waiters.is_aligned() {
            return Err(Fault::Table("has a counter `waiters` that is not aligned to 4 bytes".into()));
        }
        let (name, version) = (text(&app.name, "name")?, text(&app.version, "version")?);
        Ok(Table { app, name, version })
    }
}

/// A copy of a text of the table.
fn text(bytes: &abi::Bytes, what: &str) -> Result<String, Fault> {
    if bytes.len == 0 {
        return Ok(String::new());
    }
    if bytes.data.is_null() || bytes.len > 256 {
        return Err(Fault::Table(format!("has a {what} that is null or longer than 256 bytes")));
    }
    // SAFETY: not null; unirs_app.h: the table's texts live as long as the table.
    let bytes = unsafe { slice::from_raw_parts(bytes.data, bytes.len) };
    Ok(String::from_utf8_lossy(bytes).into_owned())
}

/// A table without anything.
const EMPTY: abi::App = abi::App {
    size: 0,
    abi: ABI_VERSION,
    name: abi::Bytes { data: ptr::null(), len: 0 },
    version: abi::Bytes { data: ptr::null(), len: 0 },
    flags: 0,
    stack_size: 0,
    waiters: ptr::null(),
    start: None,
    before_fork: None,
    after_fork_parent: None,
    post_fork: None,
    thread_start: None,
    thread_stop: None,
    ready: None,
    call: None,
    hook: None,
    stop: None,
};
