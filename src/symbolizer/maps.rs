//! `/proc/self/maps` of a process that may have been broken: which file is where. Nothing in it is believed.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

/// The mappings of a process that have a name, in order of address.
#[derive(Clone, Debug, Default)]
pub(super) struct Maps(Vec<Mapping>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Mapping {
    start: u64,
    end: u64,
    /// Where in the file it begins.
    offset: u64,
    /// As the kernel shows it.
    name: PathBuf,
}

/// What is asked of one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Query {
    /// As the kernel shows it.
    pub path: PathBuf,
    pub addresses: Vec<Address>,
}

/// An address of a frame, as an offset in its file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Address {
    /// Which frame.
    pub frame: usize,
    /// Where in the file.
    pub offset: u64,
}

/// An address as a human's tools want it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Spot {
    /// The file's name without its folder.
    pub module: String,
    /// From where the file's first byte is mapped.
    pub offset: u64,
}

impl Maps {
    /// Lines that are none are left out.
    pub(super) fn parse(text: &[u8]) -> Maps {
        Maps(text.split(|&byte| byte == b'\n').filter_map(mapping).collect())
    }

    /// Which module an address lies in.
    pub(super) fn spot(&self, address: u64) -> Option<Spot> {
        let mapping = self.at(address)?;
        let mut same =
            self.0.iter().filter(|other| other.name == mapping.name && other.start <= mapping.start);
        // A file that was mapped twice begins anew.
        let first = same.rfind(|other| other.offset == 0).unwrap_or(mapping);
        Some(Spot { module: module(&mapping.name), offset: address - first.start })
    }

    /// What is to be asked of which file, so that each is opened once. A return address is behind its call, and may be the
    /// first one of the next line or function: all but the innermost are asked for one byte earlier.
    pub(super) fn queries(&self, frames: &[u64]) -> Vec<Query> {
        let mut queries: Vec<Query> = Vec::new();
        for (frame, &address) in frames.iter().enumerate() {
            let address = if frame == 0 { address } else { address.saturating_sub(1) };
            let Some(mapping) = self.at(address) else { continue };
            let offset = (address - mapping.start).saturating_add(mapping.offset);
            let address = Address { frame, offset };
            match queries.iter_mut().find(|query| query.path == mapping.name) {
                Some(query) => query.addresses.push(address),
                None => queries.push(Query { path: mapping.name.clone(), addresses: vec![address] }),
            }
        }
        queries
    }

    fn at(&self, address: u64) -> Option<&Mapping> {
        self.0.iter().find(|mapping| (mapping.start..mapping.end).contains(&address))
    }
}

/// `7f0c00000000-7f0c00021000 r-xp 00001000 08:02 135522    /usr/lib/libc.so.6`
fn mapping(line: &[u8]) -> Option<Mapping> {
    let mut fields = line.splitn(6, |&byte| byte == b' ');
    let mut field = || std::str::from_utf8(fields.next()?).ok();
    let (start, end) = field()?.split_once('-')?;
    let _protection = field()?;
    let offset = field()?;
    let (_device, _inode) = (field()?, field()?);
    let name = fields.next()?.trim_ascii_start();
    let number = |digits: &str| u64::from_str_radix(digits, 16).ok();
    let (start, end, offset) = (number(start)?, number(end)?, number(offset)?);
    (start < end && !name.is_empty()).then(|| Mapping {
        start,
        end,
        offset,
        name: PathBuf::from(OsStr::from_bytes(name)),
    })
}

/// `/usr/lib/libc.so.6` is `libc.so.6`; `/memfd:libshop.so (deleted)` is `libshop.so`.
fn module(name: &std::path::Path) -> String {
    let name = name.to_string_lossy();
    let name = name.strip_suffix(" (deleted)").unwrap_or(&name);
    let last = name.rsplit('/').next().unwrap_or(name);
    last.strip_prefix("memfd:").unwrap_or(last).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAPS: &str = "\
        55d0a0000000-55d0a0010000 r--p 00000000 08:02 1 /usr/bin/unirs\n\
        55d0a0010000-55d0a0020000 r-xp 00010000 08:02 1 /usr/bin/unirs\n\
        55d0a0100000-55d0a0200000 rw-p 00000000 00:00 0 \n\
        7f0000000000-7f0000001000 r--p 00000000 00:01 2 /memfd:libshop.so (deleted)\n\
        7f0000001000-7f0000002000 r-xp 00003000 00:01 2 /memfd:libshop.so (deleted)\n\
        7ffc00000000-7ffc00001000 r-xp 00000000 00:00 0 [vdso]\n\
        nonsense\n\
        9-1 r-xp 0 0 0 backwards\n\
        ffffffffff600000-ffff";

    fn maps() -> Maps {
        Maps::parse(MAPS.as_bytes())
    }

    #[test]
    fn an_address_is_a_module_and_an_offset_from_its_beginning() {
        let spot = |address| maps().spot(address).map(|spot| (spot.module, spot.offset));
        assert_eq!(spot(0x55d0_a001_0042), Some(("unirs".to_owned(), 0x1_0042)));
        assert_eq!(spot(0x7f00_0000_1139), Some(("libshop.so".to_owned(), 0x1139)));
        assert_eq!(spot(0x7ffc_0000_0010), Some(("[vdso]".to_owned(), 0x10)));
        assert_eq!(spot(0x55d0_a010_0000), None, "memory without a name");
        assert_eq!(spot(0), None);
    }

    #[test]
    fn a_file_is_asked_for_offsets_within_it_and_for_calls_not_for_returns() {
        let queries = maps().queries(&[0x7f00_0000_1139, 1, 0x55d0_a001_0042, 0x7f00_0000_1200]);
        let [shop, server] = queries.as_slice() else { panic!("{queries:?}") };
        assert_eq!(shop.path.to_str(), Some("/memfd:libshop.so (deleted)"));
        let address = |frame, offset| Address { frame, offset };
        assert_eq!(shop.addresses, [address(0, 0x3139), address(3, 0x31ff)]);
        assert_eq!(server.addresses, [address(2, 0x1_0041)]);
    }

    #[test]
    fn what_is_no_line_is_left_out() {
        assert_eq!(maps().0.len(), 5);
        assert!(Maps::parse(b"\xff\xfe\n\n -\n").0.is_empty());
        let edge = Maps::parse(b"0-ffffffffffffffff r-xp ffffffffffffffff 0:0 1 /x");
        assert_eq!(edge.queries(&[7])[0].addresses[0].offset, u64::MAX);
    }
}
