//! Whether a library looks for other libraries beside itself: then it has to be loaded from where it is. A file that makes
//! no sense here names nothing: what is wrong with it is the dynamic linker's to say.

use std::fs::File;

use object::LittleEndian;
use object::elf::{DT_RPATH, DT_RUNPATH, DT_STRSZ, DT_STRTAB, FileHeader64};
use object::read::elf::{Dyn, FileHeader, ProgramHeader};
use object::read::{ReadCache, Result};

/// No table of strings is read further.
const MOST: u64 = 1 << 20;

/// The ways to write what the linker replaces by the library's own folder.
const ORIGIN: [&[u8]; 2] = [b"$ORIGIN", b"${ORIGIN}"];

/// The path on which this library looks for others begins where it lies itself.
///
/// It reads by this very descriptor, whose position it moves: to close another one of the same file would give up the
/// process's lock of it (fcntl(2)).
pub(super) fn names_origin(library: &File) -> bool {
    paths(library).is_ok_and(|paths| paths.iter().any(|path| has_origin(path)))
}

fn has_origin(path: &[u8]) -> bool {
    ORIGIN.iter().any(|origin| path.windows(origin.len()).any(|part| part == *origin))
}

/// DT_RPATH and DT_RUNPATH. By the segments, as the linker finds them: a library may have lost its sections.
fn paths(file: &File) -> Result<Vec<Vec<u8>>> {
    let cache = ReadCache::new(file);
    let head = FileHeader64::<LittleEndian>::parse(&cache)?;
    let order = head.endian()?;
    let segments = head.program_headers(order, &cache)?;
    let mut dynamic: &[_] = &[];
    for segment in segments {
        dynamic = segment.dynamic(order, &cache)?.unwrap_or(dynamic);
    }
    let value = |tag| dynamic.iter().find(|entry| entry.tag(order) == tag).map(|entry| entry.val(order));
    let (Some(address), Some(size)) = (value(DT_STRTAB), value(DT_STRSZ)) else {
        return Ok(Vec::new());
    };
    let strings = segments
        .iter()
        .find_map(|segment| segment.data_range(order, &cache, address, size.min(MOST)).ok()?)
        .unwrap_or_default();
    let wanted = dynamic.iter().filter(|entry| [DT_RPATH, DT_RUNPATH].contains(&entry.tag(order)));
    Ok(wanted.filter_map(|entry| text(strings, entry.val(order))).collect())
}

fn text(strings: &[u8], at: u64) -> Option<Vec<u8>> {
    let rest = strings.get(usize::try_from(at).ok()?..)?;
    Some(rest.split(|byte| *byte == 0).next().unwrap_or_default().to_vec())
}
