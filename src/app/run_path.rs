//! Whether a library looks for other libraries beside itself: then it has to be loaded from where it is. Not a parser of
//! ELF, and never trusted for more: a file that makes no sense to it names nothing.

use std::fs::File;
use std::os::unix::fs::FileExt;

/// No table that is read here is larger.
const MOST: u64 = 1 << 20;

/// Kinds of segments (`p_type`).
const LOAD: u64 = 1;
const DYNAMIC: u64 = 2;

/// Kinds of entries of the dynamic segment (`d_tag`).
const STRING_TABLE: u64 = 5;
const STRING_TABLE_SIZE: u64 = 10;
const RPATH: u64 = 15;
const RUNPATH: u64 = 29;

/// The ways to write what the linker replaces by the library's own folder.
const ORIGIN: [&[u8]; 2] = [b"$ORIGIN", b"${ORIGIN}"];

/// The path on which this library looks for others begins where it lies itself.
pub(super) fn names_origin(file: &File) -> bool {
    paths(file)
        .unwrap_or_default()
        .iter()
        .any(|path| ORIGIN.iter().any(|origin| path.windows(origin.len()).any(|part| part == *origin)))
}

/// A segment, as far as it matters here.
struct Segment {
    kind: u64,
    offset: u64,
    address: u64,
    size: u64,
}

/// DT_RPATH and DT_RUNPATH.
fn paths(file: &File) -> Option<Vec<Vec<u8>>> {
    let segments = segments(file)?;
    let dynamic = segments.iter().find(|segment| segment.kind == DYNAMIC)?;
    let table = read(file, dynamic.offset, dynamic.size)?;
    let entries: Vec<(u64, u64)> =
        table.chunks_exact(16).filter_map(|entry| Some((word(entry, 0, 8)?, word(entry, 8, 8)?))).collect();
    let value = |wanted| entries.iter().find(|(tag, _)| *tag == wanted).map(|(_, value)| *value);
    let strings = read(file, place(&segments, value(STRING_TABLE)?)?, value(STRING_TABLE_SIZE)?)?;
    let wanted = entries.iter().filter(|(tag, _)| [RPATH, RUNPATH].contains(tag));
    Some(wanted.filter_map(|(_, at)| text(&strings, *at)).collect())
}

fn segments(file: &File) -> Option<Vec<Segment>> {
    let head = read(file, 0, 64)?;
    let (first, each, count) = (word(&head, 32, 8)?, word(&head, 54, 2)?, word(&head, 56, 2)?);
    let table = read(file, first, each * count)?;
    let rows = table.chunks_exact(usize::try_from(each).ok().filter(|each| *each > 0)?);
    rows.map(|row| {
        Some(Segment {
            kind: word(row, 0, 4)?,
            offset: word(row, 8, 8)?,
            address: word(row, 16, 8)?,
            size: word(row, 32, 8)?,
        })
    })
    .collect()
}

/// Where in the file the bytes for an address are.
fn place(segments: &[Segment], address: u64) -> Option<u64> {
    let loaded = segments.iter().filter(|segment| segment.kind == LOAD);
    let holds = |segment: &&Segment| {
        address.checked_sub(segment.address).is_some_and(|distance| distance < segment.size)
    };
    let segment = loaded.into_iter().find(holds)?;
    segment.offset.checked_add(address - segment.address)
}

fn text(strings: &[u8], at: u64) -> Option<Vec<u8>> {
    let rest = strings.get(usize::try_from(at).ok()?..)?;
    Some(rest.split(|byte| *byte == 0).next().unwrap_or_default().to_vec())
}

fn read(file: &File, at: u64, size: u64) -> Option<Vec<u8>> {
    let mut bytes = vec![0; usize::try_from(size.min(MOST)).ok()?];
    file.read_exact_at(&mut bytes, at).ok()?;
    Some(bytes)
}

/// A little-endian number.
fn word(bytes: &[u8], at: usize, len: usize) -> Option<u64> {
    let bytes = bytes.get(at..at.checked_add(len)?)?;
    Some(bytes.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte)))
}
