//! `AccessFormat`: whatever the format and whatever a client sent, a record is one line without a control character.

use std::time::Duration;

use unirs::log::{AccessFormat, AccessRecord, Fields};

/// Parts the input into the format and the values: the only byte that cannot be part of one.
const PARTER: u8 = 0xfe;

/// The input: the format, then what a client may choose, parted by 0xfe.
pub fn check(input: &[u8]) {
    let parts: Vec<&[u8]> = input.split(|byte| *byte == PARTER).collect();
    let part = |index: usize| parts.get(index).copied().unwrap_or_default();
    let Ok(format) = str::from_utf8(part(0)) else { return };
    let compiled = match AccessFormat::compile(format) {
        Ok(compiled) => compiled,
        Err(error) => {
            assert!((1..=format.chars().count()).contains(&error.at), "{error:?}");
            assert!(!error.to_string().contains(is_refused), "{error:?}");
            return;
        }
    };
    assert!(!format.contains(is_refused), "it should have been refused");
    let numbers = part(7).iter().fold(0u64, |all, byte| all << 8 | u64::from(*byte));
    let fields = Values(&parts);
    let record = AccessRecord {
        peer: str::from_utf8(part(1)).unwrap_or_default(),
        method: part(2),
        target: part(3),
        path: part(4),
        query: parts.get(5).copied(),
        protocol: str::from_utf8(part(6)).unwrap_or_default(),
        status: numbers as u16,
        body_bytes: numbers,
        duration: Duration::new(numbers, (numbers % 1_000_000_000) as u32),
        now: numbers >> 24, // until the year 36812 or so
        pid: numbers as u32,
        request: &fields,
        response: &fields,
        environ: &fields,
    };
    let mut line = b"the line before\n".to_vec();
    let before = line.len();
    compiled.write(&mut line, &record);
    assert_one_line(&line[before..], format);
}

/// A tab is harmless.
fn is_refused(character: char) -> bool {
    character.is_control() && character != '\t'
}

fn assert_one_line(line: &[u8], format: &str) {
    let (end, text) = line.split_last().expect("at least its end");
    assert_eq!(*end, b'\n');
    // What a client sent is ASCII now; what the operator wrote stays as it is.
    let is_fine = |byte: &u8| match byte {
        b'\t' => format.contains('\t'),
        0x80.. => !format.is_ascii(),
        byte => !byte.is_ascii_control(),
    };
    assert!(text.iter().all(is_fine), "{}", text.escape_ascii());
    assert!(str::from_utf8(text).is_ok());
}

/// A field for each name, but for one in five.
struct Values<'a>(&'a [&'a [u8]]);

impl Fields for Values<'_> {
    fn field(&self, name: &str) -> Option<&[u8]> {
        let number = name.bytes().map(usize::from).sum::<usize>();
        if number % 5 == 0 {
            return None;
        }
        self.0.get(8 + number % 3).or(self.0.last()).copied()
    }
}
