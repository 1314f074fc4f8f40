//! What kind of file this is, before the dynamic linker sees it: its own answer to all of these is "invalid ELF
//! header". Not a parser of ELF.

use std::fs::File;
use std::os::unix::fs::FileExt;

use super::Fault;

/// What is read of a file: the ELF header and, right behind it in every library that a linker has made, the table of
/// segments.
const HEAD: usize = 4096;

/// The length of the header of a 64-bit ELF file.
const HEADER: usize = 64;

/// `e_machine` of this process, and its name.
const NATIVE: (u16, &str) = if cfg!(target_arch = "aarch64") { (183, "aarch64") } else { (62, "x86_64") };

/// Finds that the file is a shared library for this machine, or what it is instead.
pub(super) fn check(file: &File) -> Result<(), Fault> {
    let mut head = vec![0; HEAD];
    let size = file.metadata().map_err(Fault::Unreadable)?.len();
    let read = file.read_at(&mut head, 0).map_err(Fault::Unreadable)?;
    head.truncate(read);
    judge(&head)?;
    match wanted_size(&head) {
        wanted if wanted > size => Err(Fault::CutShort { found: size, wanted }),
        _ => Ok(()),
    }
}

fn judge(head: &[u8]) -> Result<(), Fault> {
    if !head.starts_with(b"\x7fELF") {
        return Err(Fault::Found(stranger(head).into()));
    }
    if head.len() < HEADER {
        return Err(Fault::CutShort { found: head.len() as u64, wanted: HEADER as u64 });
    }
    let (class, order) = (head[4], head[5]);
    if class != 2 {
        return Err(Fault::Found("a 32-bit library".into()));
    }
    if order != 1 {
        return Err(Fault::Found("a library for a big-endian machine".into()));
    }
    let (kind, machine) =
        (u16::from_le_bytes([head[16], head[17]]), u16::from_le_bytes([head[18], head[19]]));
    if machine != NATIVE.0 {
        return Err(Fault::Machine { found: machine_name(machine), wanted: NATIVE.1 });
    }
    match kind {
        3 => Ok(()),
        1 => Err(Fault::Found("an object file that was not linked yet".into())),
        2 => Err(Fault::Found("an executable program".into())),
        4 => Err(Fault::Found("a core dump".into())),
        other => Err(Fault::Found(format!("an ELF file of the unknown type {other}"))),
    }
}

/// Where the table of segments ends, or the last of those that are loaded from the file, or the table of sections, which
/// comes last in what a linker has made. The linker maps what is not there without a word, and the process dies of SIGBUS
/// when it touches it: so ends a library that is still being copied.
fn wanted_size(head: &[u8]) -> u64 {
    const LOAD: u64 = 1;
    let word = |at: usize, len: usize| {
        let bytes = head.get(at..at.checked_add(len)?)?;
        Some(bytes.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte)))
    };
    let number = |at, len| word(at, len).unwrap_or(0);
    let (first, each, count) = (number(32, 8) as usize, number(54, 2) as usize, number(56, 2) as usize);
    let segments = (0..count).map(|index| first.saturating_add(index * each));
    let loaded = segments.filter(|at| word(*at, 4) == Some(LOAD));
    let ends =
        loaded.map(|at| number(at.saturating_add(8), 8).saturating_add(number(at.saturating_add(32), 8)));
    let sections = number(40, 8).saturating_add(number(58, 2) * number(60, 2));
    ends.max().unwrap_or(0).max(first.saturating_add(count * each) as u64).max(sections)
}

/// What a file is that is not ELF.
fn stranger(head: &[u8]) -> &'static str {
    const MAGIC: [(&[u8], &str); 8] = [
        (b"!<arch>\n", "a static archive"),
        (b"!<thin>\n", "a static archive"),
        (b"#!", "a script"),
        (b"MZ", "a Windows program or library"),
        (b"\xcf\xfa\xed\xfe", "a macOS library"),
        (b"\xca\xfe\xba\xbe", "a macOS library"),
        (b"PK\x03\x04", "a zip archive"),
        (b"\x1f\x8b", "a gzip archive"),
    ];
    if head.is_empty() {
        return "an empty file";
    }
    let known = MAGIC.iter().find(|(magic, _)| head.starts_with(magic));
    known.map_or_else(
        || {
            if is_text(head) { "a text file" } else { "a file that is not ELF" }
        },
        |(_, name)| name,
    )
}

fn is_text(head: &[u8]) -> bool {
    let is_control = |byte: &u8| byte.is_ascii_control() && !byte.is_ascii_whitespace();
    // The head may end within a character.
    let is_utf8 = str::from_utf8(head).map_or_else(|error| error.error_len().is_none(), |_| true);
    is_utf8 && !head.iter().any(is_control)
}

fn machine_name(machine: u16) -> String {
    let name = match machine {
        3 => "i386",
        20 => "powerpc",
        21 => "powerpc64",
        22 => "s390x",
        40 => "arm",
        62 => "x86_64",
        183 => "aarch64",
        243 => "riscv",
        258 => "loongarch",
        other => return format!("machine {other}"),
    };
    name.to_owned()
}
