//! Names and lines from ELF files: first the symbol tables, which are quick, then DWARF. Which files, is not its business.

use std::borrow::Cow;
use std::fs::File;

use addr2line::gimli::{self, EndianSlice, RunTimeEndian};
use addr2line::{Context, FrameIter, demangle_auto};
use object::read::ReadCache;
use object::{Object, ObjectSection, ObjectSymbol, SectionKind, SymbolKind};

use super::maps::Address;
use super::text::Function;
use crate::sys::demangle;

/// A section larger than this is not read: what it would say is not worth the memory of a dying service.
const LARGEST_SECTION: u64 = 512 * 1024 * 1024;

type Elf<'data> = object::File<'data, &'data ReadCache<File>>;
type Slice<'data> = EndianSlice<'data, RunTimeEndian>;

/// Names the frames of all modules: each time that more is known of one, `tell` hears all of it, until it says no.
pub(super) fn name_all(
    modules: Vec<(File, Vec<Address>)>,
    mut tell: impl FnMut(usize, Vec<Function>) -> bool,
) {
    let caches: Vec<_> =
        modules.into_iter().map(|(file, addresses)| (ReadCache::new(file), addresses)).collect();
    let mut parsed = Vec::new();
    for (cache, addresses) in &caches {
        let Ok(elf) = Elf::parse(cache) else { continue };
        let probes = probes(&elf, addresses);
        let names = by_symbols(&elf, &probes);
        for (probe, name) in probes.iter().zip(&names) {
            let function = Function { name: name.clone(), source: None };
            if name.is_some() && !tell(probe.frame, vec![function]) {
                return;
            }
        }
        parsed.push((elf, probes, names));
    }
    for (elf, probes, names) in &parsed {
        for (frame, functions) in by_dwarf(elf, probes, names) {
            if !tell(frame, functions) {
                return;
            }
        }
    }
}

/// An address as the file itself counts.
struct Probe {
    frame: usize,
    address: u64,
}

/// Only those in code: debug information leaves what the linker has dropped at address 0.
fn probes(elf: &Elf<'_>, addresses: &[Address]) -> Vec<Probe> {
    let probe = |one: &Address| {
        elf.sections().filter(|section| section.kind() == SectionKind::Text).find_map(|section| {
            let (start, size) = section.file_range()?;
            let inside = one.offset.checked_sub(start).filter(|inside| *inside < size)?;
            Some(Probe { frame: one.frame, address: section.address().checked_add(inside)? })
        })
    };
    addresses.iter().filter_map(probe).collect()
}

/// A symbol counts only as far as it says that it reaches: in a stripped library the nearest one is mostly another's.
fn by_symbols(elf: &Elf<'_>, probes: &[Probe]) -> Vec<Option<String>> {
    let mut names = vec![None; probes.len()];
    for symbol in elf.symbols().chain(elf.dynamic_symbols()) {
        if symbol.kind() != SymbolKind::Text {
            continue;
        }
        for (probe, name) in probes.iter().zip(&mut names) {
            let inside = probe.address.checked_sub(symbol.address());
            if name.is_none() && inside.is_some_and(|inside| inside < symbol.size()) {
                *name = symbol.name().ok().map(|name| plain_name(name.into()));
            }
        }
    }
    names
}

/// A name of Rust or C++ as its author wrote it; any other as it is.
fn plain_name(name: Cow<'_, str>) -> String {
    let name = demangle_auto(name, None);
    demangle::cpp(&name).unwrap_or_else(|| name.into_owned())
}

fn by_dwarf(elf: &Elf<'_>, probes: &[Probe], names: &[Option<String>]) -> Vec<(usize, Vec<Function>)> {
    let Some(context) = context(elf) else {
        return Vec::new();
    };
    let found = probes.iter().zip(names).filter_map(|(probe, name)| {
        let frames = context.find_frames(probe.address).skip_all_loads().ok()?;
        let mut functions = functions(frames);
        // The outermost is the one that the symbol names, and the symbol is there when DWARF has lines only.
        let outermost = functions.last_mut()?;
        outermost.name = outermost.name.take().or_else(|| name.clone());
        Some((probe.frame, functions))
    });
    found.collect()
}

fn context<'data>(elf: &Elf<'data>) -> Option<Context<Slice<'data>>> {
    let endian = if elf.is_little_endian() { RunTimeEndian::Little } else { RunTimeEndian::Big };
    let section = |id: gimli::SectionId| -> Result<Slice<'data>, gimli::Error> {
        let section = elf.section_by_name(id.name()).filter(|section| section.size() <= LARGEST_SECTION);
        let data = section.and_then(|section| section.data().ok()).unwrap_or_default();
        Ok(EndianSlice::new(data, endian))
    };
    elf.section_by_name(".debug_info")?;
    Context::from_dwarf(gimli::Dwarf::load(section).ok()?).ok()
}

fn functions(mut frames: FrameIter<'_, Slice<'_>>) -> Vec<Function> {
    let mut functions = Vec::new();
    while let Ok(Some(frame)) = frames.next() {
        let name = frame.function.and_then(|name| Some(plain_name(name.demangle().ok()?)));
        let source = frame.location.and_then(|location| {
            let line = location.line.map_or_else(String::new, |line| format!(":{line}"));
            Some(format!("{}{line}", location.file?))
        });
        functions.push(Function { name, source });
    }
    functions
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Where a function of this test binary is, as an offset in its file.
    fn offset_of(address: usize) -> u64 {
        let maps = std::fs::read("/proc/self/maps").unwrap();
        let queries = super::super::maps::Maps::parse(&maps).queries(&[address as u64]);
        queries[0].addresses[0].offset
    }

    fn names(offset: u64) -> Vec<Function> {
        let exe = File::open("/proc/self/exe").unwrap();
        let mut last = Vec::new();
        name_all(vec![(exe, vec![Address { frame: 0, offset }])], |_, functions| {
            last = functions;
            true
        });
        last
    }

    #[inline(never)]
    fn a_function_with_a_name() {
        std::hint::black_box(());
    }

    #[test]
    fn a_function_of_this_program_is_found_with_its_line() {
        let functions = names(offset_of(a_function_with_a_name as fn() as usize));
        let outermost = functions.last().unwrap();
        assert!(outermost.name.as_ref().unwrap().ends_with("a_function_with_a_name"), "{functions:?}");
        assert!(outermost.source.as_ref().unwrap().contains("elf.rs:"), "{functions:?}");
    }

    #[test]
    fn what_is_no_elf_file_or_no_code_has_no_names() {
        let text = File::open(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml")).unwrap();
        name_all(vec![(text, vec![Address { frame: 0, offset: 7 }])], |_, _| panic!("a name"));
        assert!(names(u64::MAX).is_empty());
        assert!(names(0).is_empty());
    }
}
