//! The generation's image of a library: filled by the first process that loads it, before any code of the application has
//! run, then sealed. Not who makes it and who gets it, which is the master's matter.

use std::fs::{self, File, Metadata};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, SystemTime};

use super::library::{Origin, find};
use super::{Fault, elf, run_path};
use crate::sys::image::{Image, Locked};

/// A library that is being written is looked at so often.
const TRIES: u32 = 50;

/// With so long in between.
const PAUSE: Duration = Duration::from_millis(100);

/// The clock of file times ticks as slowly as this: a younger file may have changed again without a trace.
const TICK: Duration = Duration::from_millis(20);

/// How a library came into this process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Provenance {
    /// From the image, which this process has made of that file; with the file's CRC-32.
    Made(Origin, u32),
    /// From the image, which another process had made.
    Image,
    /// From its path; and why not from the image, if there was one to fill.
    Path(Origin, Option<String>),
}

/// What a file system says of a file that moves when the file is written to or replaced.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Stamp {
    file: (u64, u64),
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

/// Sees to it that `image` is the library at `path`, if that can be.
pub(super) fn fill(image: &Image, path: &Path, limit: u64) -> Result<Provenance, Fault> {
    let unfit = |reason: String| Ok(Provenance::Path(find(path)?, Some(reason)));
    if !image.path().exists() {
        return unfit("/proc is not mounted".to_owned());
    }
    let locked = match image.lock() {
        Ok(locked) => locked,
        Err(error) => return unfit(no_image(&error)),
    };
    if image.is_sealed() {
        return Ok(Provenance::Image);
    }
    let filled = settle(image, &locked, path, limit);
    if !matches!(filled, Ok(Provenance::Made(..))) {
        // The memory would be kept for nothing as long as somebody holds the image.
        let _ = locked.clear();
    }
    filled
}

/// Copies until the file has not moved meanwhile.
fn settle(image: &Image, locked: &Locked<'_>, path: &Path, limit: u64) -> Result<Provenance, Fault> {
    for tries in 0..TRIES {
        if tries > 0 {
            sleep(PAUSE);
        }
        let origin = find(path)?;
        if origin.size > limit {
            let reason = format!("it has {} bytes, and image_limit is {limit}", origin.size);
            return Ok(Provenance::Path(origin, Some(reason)));
        }
        let source = File::open(&origin.path).map_err(Fault::Unreadable)?;
        let before = stamp(&source.metadata().map_err(Fault::Unreadable)?);
        let copied = match copy(&source, locked, image, before.size) {
            Ok(copied) => copied,
            Err(CopyError::Read(error)) => return Err(Fault::Unreadable(error)),
            Err(CopyError::Write(error)) => return Ok(Provenance::Path(origin, Some(no_image(&error)))),
        };
        // By its name too: it may have been replaced by another file.
        let after = fs::metadata(path).map(|metadata| stamp(&metadata));
        if is_old_enough(&origin) && copied.size == before.size && after.is_ok_and(|after| after == before) {
            return seal(image, locked, origin, copied.checksum);
        }
    }
    Err(Fault::Moving)
}

fn seal(image: &Image, locked: &Locked<'_>, origin: Origin, checksum: u32) -> Result<Provenance, Fault> {
    elf::check(image.file())?;
    if run_path::names_origin(image.file()) {
        let reason = "it looks for other libraries beside itself ($ORIGIN)".to_owned();
        return Ok(Provenance::Path(origin, Some(reason)));
    }
    match locked.seal() {
        Ok(()) => Ok(Provenance::Made(origin, checksum)),
        Err(error) => Ok(Provenance::Path(origin, Some(no_image(&error)))),
    }
}

/// What was copied.
struct Copied {
    size: u64,
    checksum: u32,
}

/// Which side of a copy failed.
enum CopyError {
    Read(io::Error),
    Write(io::Error),
}

/// Copies at most `size` bytes, and one more if there is one: then the file has grown.
fn copy(source: &File, locked: &Locked<'_>, image: &Image, size: u64) -> Result<Copied, CopyError> {
    locked.clear().map_err(CopyError::Write)?;
    let mut buffer = vec![0; 256 * 1024];
    let (mut at, mut hasher) = (0, crc32fast::Hasher::new());
    while at <= size {
        let read = match source.read_at(&mut buffer, at) {
            Ok(0) => break,
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(CopyError::Read(error)),
        };
        hasher.update(&buffer[..read]);
        image.file().write_all_at(&buffer[..read], at).map_err(CopyError::Write)?;
        at += read as u64;
    }
    Ok(Copied { size: at, checksum: hasher.finalize() })
}

fn stamp(metadata: &Metadata) -> Stamp {
    Stamp {
        file: (metadata.dev(), metadata.ino()),
        size: metadata.size(),
        modified: (metadata.mtime(), metadata.mtime_nsec()),
        changed: (metadata.ctime(), metadata.ctime_nsec()),
    }
}

/// A file from the future is old enough: the clock was set back.
fn is_old_enough(origin: &Origin) -> bool {
    SystemTime::now().duration_since(origin.modified).map_or(true, |age| age >= TICK)
}

fn no_image(error: &io::Error) -> String {
    format!("no image of it can be made in memory: {error}")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // Tests.
mod tests {
    use std::io::Write;
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    const LIMIT: u64 = 1 << 30;

    /// Any library will do: this one is part of every system that runs the tests.
    fn some_library(folder: &Path) -> std::path::PathBuf {
        let maps = fs::read_to_string("/proc/self/maps").unwrap();
        let libc =
            maps.lines().find_map(|line| Some(&line[line.find("/")?..]).filter(|p| p.contains("libc.so")));
        let path = folder.join("libshop.so");
        fs::copy(libc.unwrap(), &path).unwrap();
        path
    }

    fn image() -> Image {
        Image::create(c"test").unwrap()
    }

    #[test]
    fn the_first_fills_and_seals_and_the_next_finds_it_whatever_became_of_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let (path, image) = (some_library(folder.path()), image());
        let bytes = fs::read(&path).unwrap();
        let Ok(Provenance::Made(origin, checksum)) = fill(&image, &path, LIMIT) else { panic!() };
        assert_eq!((origin.size, checksum), (bytes.len() as u64, crc32fast::hash(&bytes)));
        assert!(image.is_sealed());
        fs::remove_file(&path).unwrap();
        assert_eq!(fill(&image, &path, LIMIT).unwrap(), Provenance::Image);
        assert_eq!(fs::read(image.path()).unwrap(), bytes);
    }

    #[test]
    fn what_somebody_left_behind_in_the_middle_is_filled_anew() {
        let folder = tempfile::tempdir().unwrap();
        let (path, image) = (some_library(folder.path()), image());
        image.file().write_all_at(&vec![7; 1 << 24], 0).unwrap();
        assert!(matches!(fill(&image, &path, LIMIT), Ok(Provenance::Made(..))));
        assert_eq!(fs::read(image.path()).unwrap(), fs::read(&path).unwrap());
    }

    #[test]
    fn a_library_above_the_limit_stays_where_it_is_and_costs_no_memory() {
        let folder = tempfile::tempdir().unwrap();
        let (path, image) = (some_library(folder.path()), image());
        let Ok(Provenance::Path(_, Some(reason))) = fill(&image, &path, 1000) else { panic!() };
        assert!(reason.ends_with("and image_limit is 1000"), "{reason}");
        assert!(!image.is_sealed());
        assert_eq!(image.file().metadata().unwrap().len(), 0);
    }

    #[test]
    fn what_is_no_library_is_refused_and_fills_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let (path, image) = (folder.path().join("text"), image());
        fs::write(&path, "no library").unwrap();
        assert!(matches!(fill(&image, &path, LIMIT), Err(Fault::Found(_))));
        assert!(!image.is_sealed());
    }

    #[test]
    fn a_library_that_is_being_written_is_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let (path, image) = (some_library(folder.path()), image());
        let whole = fs::read(&path).unwrap();
        let is_open = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let mut file = File::create(&path).unwrap();
                is_open.store(true, Ordering::SeqCst);
                for part in whole.chunks(whole.len() / 20) {
                    file.write_all(part).unwrap();
                    sleep(Duration::from_millis(10));
                }
            });
            while !is_open.load(Ordering::SeqCst) {
                std::thread::yield_now();
            }
            // On a machine that lets the writer sleep for long the file rests meanwhile, and is found cut short.
            match fill(&image, &path, LIMIT) {
                Ok(Provenance::Made(..)) => assert_eq!(fs::read(image.path()).unwrap(), whole),
                other => assert!(matches!(other, Err(Fault::CutShort { .. } | Fault::Found(_))), "{other:?}"),
            }
        });
    }
}
