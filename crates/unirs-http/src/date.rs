//! The Date field: the text of a second, made once for it. Not a clock.

use std::io::Write;
use std::time::{Duration, UNIX_EPOCH};

use httpdate::HttpDate;

/// A second as an HTTP date (RFC 9110 §5.6.7), kept as text.
///
/// ```
/// use unirs_http::Date;
///
/// let mut date = Date::at(784_111_777);
/// assert_eq!(date.as_bytes(), b"Sun, 06 Nov 1994 08:49:37 GMT");
/// date.refresh(784_111_778);
/// assert_eq!(date.as_bytes(), b"Sun, 06 Nov 1994 08:49:38 GMT");
/// ```
#[derive(Clone, Debug)]
pub struct Date {
    unix_seconds: u64,
    /// The whole field with its CRLF.
    line: [u8; LINE.len()],
}

const LINE: &[u8] = b"Date: Thu, 01 Jan 1970 00:00:00 GMT\r\n";

/// Where the date itself is in [`Date::line`].
const TEXT: std::ops::Range<usize> = 6..LINE.len() - 2;

/// The last second of the year 9999: the form has four digits.
const LAST_SECOND: u64 = 253_402_300_799;

impl Date {
    /// The date of a second since 1970.
    pub fn at(unix_seconds: u64) -> Date {
        let mut date = Date { unix_seconds: 0, line: [0; LINE.len()] };
        date.line.copy_from_slice(LINE);
        date.refresh(unix_seconds);
        date
    }

    /// Changes to another second; the same one costs nothing.
    #[inline]
    pub fn refresh(&mut self, unix_seconds: u64) {
        if self.unix_seconds != unix_seconds {
            self.change(unix_seconds);
        }
    }

    #[cold]
    fn change(&mut self, unix_seconds: u64) {
        self.unix_seconds = unix_seconds;
        let time = UNIX_EPOCH + Duration::from_secs(unix_seconds.min(LAST_SECOND));
        // The text of a year of four digits is exactly as long as its place, so nothing can fail.
        let _ = write!(&mut self.line[TEXT], "{}", HttpDate::from(time));
    }

    /// As in `Sun, 06 Nov 1994 08:49:37 GMT`.
    pub fn as_bytes(&self) -> &[u8] {
        &self.line[TEXT]
    }

    /// The whole field with its CRLF.
    pub(super) fn line(&self) -> &[u8] {
        &self.line
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_fits_its_place_at_the_ends_of_time() {
        for (second, text) in [
            (0, "Thu, 01 Jan 1970 00:00:00 GMT"),
            (951_782_400, "Tue, 29 Feb 2000 00:00:00 GMT"),
            (LAST_SECOND, "Fri, 31 Dec 9999 23:59:59 GMT"),
            (u64::MAX, "Fri, 31 Dec 9999 23:59:59 GMT"),
        ] {
            assert_eq!(Date::at(second).as_bytes(), text.as_bytes());
            assert_eq!(Date::at(second).line(), format!("Date: {text}\r\n").as_bytes());
        }
    }
}
