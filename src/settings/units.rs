//! Times and sizes with units, and octal masks: from a source and back. Which setting takes which range is the table's
//! affair.

use std::time::Duration;

use super::kind::{Context, Kind};
use super::value::{Form, Raw, Refused, quoted};

/// Beyond a year a time limit is a mistake, and sums of times cannot overflow.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 3600);

const TIMES: &[(&str, u64)] = &[("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];

const SIZES: &[(&str, u64)] = &[
    ("B", 1),
    ("KB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("TB", 1_000_000_000_000),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
];

/// A time; a bare number is seconds.
pub(super) struct Time;

impl Kind for Time {
    type Value = Duration;

    fn read(raw: &Raw, _: &Context<'_>) -> Result<Duration, Refused> {
        measure(raw, "a time such as 30, \"500ms\" or \"2h\"", parse_time)
    }

    fn write(value: &Duration) -> Option<String> {
        Some(write_time(*value))
    }
}

/// A time limit; 0: off.
pub(super) struct TimeLimit;

impl Kind for TimeLimit {
    type Value = Option<Duration>;

    fn read(raw: &Raw, context: &Context<'_>) -> Result<Option<Duration>, Refused> {
        Time::read(raw, context).map(|time| Some(time).filter(|time| !time.is_zero()))
    }

    fn write(value: &Option<Duration>) -> Option<String> {
        Some(write_time(value.unwrap_or_default()))
    }
}

/// A size from MIN to MAX bytes.
pub(super) struct Size<const MIN: u64, const MAX: u64>;

impl<const MIN: u64, const MAX: u64> Kind for Size<MIN, MAX> {
    type Value = usize;

    fn read(raw: &Raw, _: &Context<'_>) -> Result<usize, Refused> {
        let size = read_size(raw)?;
        let size = usize::try_from(size).ok().filter(|_| (MIN..=MAX).contains(&size));
        let range = || format!("a size from {} to {}", bare(MIN), bare(MAX));
        size.ok_or_else(|| raw.expected(range()))
    }

    fn write(value: &usize) -> Option<String> {
        Some(write_size(*value as u64))
    }
}

/// A number of bytes.
pub(super) struct Bytes;

impl Kind for Bytes {
    type Value = u64;

    fn read(raw: &Raw, _: &Context<'_>) -> Result<u64, Refused> {
        read_size(raw)
    }

    fn write(value: &u64) -> Option<String> {
        Some(write_size(*value))
    }
}

/// A limit in bytes; 0: none.
pub(super) struct SizeLimit;

impl Kind for SizeLimit {
    type Value = Option<u64>;

    fn read(raw: &Raw, _: &Context<'_>) -> Result<Option<u64>, Refused> {
        read_size(raw).map(|size| Some(size).filter(|size| *size > 0))
    }

    fn write(value: &Option<u64>) -> Option<String> {
        Some(write_size(value.unwrap_or(0)))
    }
}

fn read_size(raw: &Raw) -> Result<u64, Refused> {
    measure(raw, "a size such as 8190, \"64KiB\" or \"512MB\"", parse_size)
}

/// A number, or text with a number and a unit.
fn measure<T>(raw: &Raw, what: &str, parse: fn(&str) -> Result<T, &'static str>) -> Result<T, Refused> {
    let text = match &raw.form {
        Form::Text(text) => text.clone(),
        Form::Integer(number) => number.to_string(),
        Form::Float(number) => number.to_string(),
        Form::Switch(_) | Form::List(_) | Form::Other(_) => return Err(raw.expected(what)),
    };
    parse(&text).map_err(|why| raw.expected(format!("{what} ({why})")))
}

/// A size for a message.
fn bare(size: u64) -> String {
    write_size(size).replace('"', "")
}

/// The mode bits that a worker's new files do not get.
pub(super) struct Mask;

impl Kind for Mask {
    type Value = u32;

    fn read(raw: &Raw, _: &Context<'_>) -> Result<u32, Refused> {
        let mask = match &raw.form {
            Form::Text(text) => parse_mask(text).ok(),
            Form::Integer(number) => u32::try_from(*number).ok(),
            Form::Float(_) | Form::Switch(_) | Form::List(_) | Form::Other(_) => None,
        };
        mask.filter(|mask| *mask <= 0o777).ok_or_else(|| raw.expected("a mask from \"0000\" to \"0777\""))
    }

    fn write(value: &u32) -> Option<String> {
        Some(quoted(&format!("{value:04o}")))
    }
}

/// `30`, `1.5`, `30s`, `500ms`, `2h`; without a unit: seconds. Whole milliseconds.
pub(super) fn parse_time(text: &str) -> Result<Duration, &'static str> {
    let (number, unit) = split(text)?;
    let unit = if unit.is_empty() { "s" } else { unit };
    let (_, millis) =
        TIMES.iter().find(|(name, _)| *name == unit).ok_or("the units are ms, s, m, h and d")?;
    let time = Duration::from_millis(scaled(number, *millis)?);
    if time > LONGEST { Err("the longest time is 365d") } else { Ok(time) }
}

/// The shortest text that `parse_time` reads as the same time.
fn write_time(time: Duration) -> String {
    match time.as_millis() {
        millis if millis.is_multiple_of(1000) => format!("{}", millis / 1000),
        millis => format!("\"{millis}ms\""),
    }
}

/// `8190`, `64KiB`, `512MB`; without a unit: bytes. The case of the unit does not matter.
fn parse_size(text: &str) -> Result<u64, &'static str> {
    let (number, unit) = split(text)?;
    let unit = if unit.is_empty() { "B" } else { unit };
    let (_, bytes) = SIZES
        .iter()
        .find(|(name, _)| name.eq_ignore_ascii_case(unit))
        .ok_or("the units are B, KB, MB, GB, TB (powers of 1000) and KiB, MiB, GiB, TiB (powers of 1024)")?;
    scaled(number, *bytes)
}

/// The shortest text that `parse_size` reads as the same size.
fn write_size(size: u64) -> String {
    let exact = |(_, bytes): &&(&str, u64)| size >= *bytes && size.is_multiple_of(*bytes);
    match SIZES.iter().rev().take(4).find(exact) {
        Some((unit, bytes)) => format!("\"{}{unit}\"", size / bytes),
        None => size.to_string(),
    }
}

/// As Python reads a number in source, and in the old octal form: `0022` and `0o22` octal, `0x12`, `0b10010`, `18`.
fn parse_mask(text: &str) -> Result<u32, &'static str> {
    let (digits, radix) = match text.as_bytes() {
        [b'0', b'o' | b'O', ..] => (&text[2..], 8),
        [b'0', b'x' | b'X', ..] => (&text[2..], 16),
        [b'0', b'b' | b'B', ..] => (&text[2..], 2),
        [b'0', _, ..] => (&text[1..], 8),
        _ => (text, 10),
    };
    if !digits.bytes().all(|b| b.is_ascii_alphanumeric()) {
        return Err("it is no number");
    }
    u32::from_str_radix(digits, radix).map_err(|_| "it is no number")
}

const NO_NUMBER: &str = "it does not begin with a number";

/// The number and the unit behind it; blanks between them are allowed.
fn split(text: &str) -> Result<(&str, &str), &'static str> {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    if end == 0 { Err(NO_NUMBER) } else { Ok((&text[..end], text[end..].trim_start())) }
}

/// `number`, which may have a fraction, times `unit`; only if that is whole.
fn scaled(number: &str, unit: u64) -> Result<u64, &'static str> {
    const TOO_LARGE: &str = "the number is too large";
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    if whole.is_empty() || fraction.is_empty() || fraction.contains('.') {
        return Err(NO_NUMBER);
    }
    let whole: u64 = whole.parse().map_err(|_| TOO_LARGE)?;
    let fraction = fraction.trim_end_matches('0');
    let digits = u32::try_from(fraction.len()).map_err(|_| TOO_LARGE)?;
    let divisor = 10u128.checked_pow(digits).ok_or("the fraction is too fine")?;
    let parts = if fraction.is_empty() { 0 } else { fraction.parse::<u128>().map_err(|_| TOO_LARGE)? };
    let parts = parts.checked_mul(u128::from(unit)).ok_or("the fraction is too fine")?;
    if !parts.is_multiple_of(divisor) {
        return Err("the fraction is too fine");
    }
    let parts = u64::try_from(parts / divisor).map_err(|_| TOO_LARGE)?;
    whole.checked_mul(unit).and_then(|n| n.checked_add(parts)).ok_or(TOO_LARGE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_seconds_or_has_a_unit() {
        let millis = |text| parse_time(text).map(|time| time.as_millis());
        for (text, expected) in [
            ("30", 30_000),
            ("0", 0),
            ("0.5", 500),
            ("1.5m", 90_000),
            ("500ms", 500),
            ("30s", 30_000),
            ("2 h", 7_200_000),
            ("1d", 86_400_000),
            (" 7 ", 7_000),
        ] {
            assert_eq!(millis(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn a_time_that_is_none_is_refused_with_its_reason() {
        for (text, why) in [
            ("", "it does not begin with a number"),
            ("s", "it does not begin with a number"),
            ("-1", "it does not begin with a number"),
            (".5", "it does not begin with a number"),
            ("1.", "it does not begin with a number"),
            ("1.2.3", "it does not begin with a number"),
            ("NaN", "it does not begin with a number"),
            ("10 parsecs", "the units are ms, s, m, h and d"),
            ("1M", "the units are ms, s, m, h and d"),
            ("0.0005", "the fraction is too fine"),
            ("0.5ms", "the fraction is too fine"),
            ("366d", "the longest time is 365d"),
            ("99999999999999999999", "the number is too large"),
            ("18446744073709551615d", "the number is too large"),
        ] {
            assert_eq!(parse_time(text), Err(why), "{text}");
        }
    }

    #[test]
    fn a_size_is_bytes_or_has_a_unit() {
        for (text, expected) in [
            ("0", 0),
            ("8190", 8190),
            ("64KiB", 65_536),
            ("64kib", 65_536),
            ("512MB", 512_000_000),
            ("1.5 GiB", 1_610_612_736),
            ("7B", 7),
        ] {
            assert_eq!(parse_size(text), Ok(expected), "{text}");
        }
        for text in ["", "KiB", "-1", "64K", "1.5", "1e3", "99999999TiB", "0x10"] {
            assert!(parse_size(text).is_err(), "{text}");
        }
    }

    #[test]
    fn what_is_written_reads_back() {
        for millis in [0, 1, 999, 1000, 1500, 30_000, 86_400_000] {
            let time = Duration::from_millis(millis);
            assert_eq!(parse_time(write_time(time).trim_matches('"')), Ok(time));
        }
        for size in [0, 1, 1023, 1024, 8190, 65_536, 65_537, 1 << 30, 1_000_000, u64::MAX] {
            assert_eq!(parse_size(write_size(size).trim_matches('"')), Ok(size));
        }
    }

    #[test]
    fn a_mask_reads_as_in_gunicorn() {
        for (text, expected) in [
            ("0", 0),
            ("0022", 0o22),
            ("022", 0o22),
            ("0o22", 0o22),
            ("18", 18),
            ("22", 22),
            ("0x12", 18),
            ("0b10", 2),
        ] {
            assert_eq!(parse_mask(text), Ok(expected), "{text}");
        }
        for text in ["", "-1", "+2", "0o", "0o+2", "rwx", "09", "4294967296"] {
            assert!(parse_mask(text).is_err(), "{text}");
        }
    }
}
