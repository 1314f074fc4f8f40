//! A second as the logs write it, in local time, rendered once in a second. No clock is read here.

use std::sync::OnceLock;

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

/// How a log writes a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Style {
    /// `[2026-11-22 10:00:00 +0000]`
    Error,
    /// `[22/Nov/2026:10:00:00 +0000]`
    Access,
}

/// The text of one second, kept until another second is asked for.
#[derive(Clone, Copy)]
pub(super) struct TimeText {
    style: Style,
    /// The second that `text` says; none at first.
    second: Option<u64>,
    text: [u8; 28],
}

/// The last second of the year 9999, in any zone: what comes later is written as this.
const LAST: u64 = 253_402_207_200;

impl TimeText {
    /// Says nothing yet.
    pub(super) const fn new(style: Style) -> TimeText {
        TimeText { style, second: None, text: [b' '; 28] }
    }

    /// The text of a second since 1970.
    pub(super) fn at(&mut self, second: u64) -> &[u8] {
        if self.second != Some(second) {
            self.render(second);
        }
        match self.style {
            Style::Error => &self.text[..27],
            Style::Access => &self.text,
        }
    }

    fn render(&mut self, second: u64) {
        let instant = Timestamp::from_second(second.min(LAST).cast_signed()).unwrap_or_default();
        let offset = zone().to_offset(instant);
        let local = offset.to_datetime(instant);
        match self.style {
            Style::Error => self.render_error(local),
            Style::Access => self.render_access(local),
        }
        self.render_offset(offset.seconds());
        self.second = Some(second);
    }

    fn render_error(&mut self, local: DateTime) {
        self.text[..21].copy_from_slice(b"[0000-00-00 00:00:00 ");
        self.digits(1, 4, local.year().unsigned_abs().into());
        self.digits(6, 2, local.month().unsigned_abs().into());
        self.digits(9, 2, local.day().unsigned_abs().into());
        self.render_clock(12, local);
    }

    fn render_access(&mut self, local: DateTime) {
        const MONTHS: &[u8; 36] = b"JanFebMarAprMayJunJulAugSepOctNovDec";
        let month = usize::from(local.month().unsigned_abs() - 1) * 3;
        self.text[..22].copy_from_slice(b"[00/Jan/0000:00:00:00 ");
        self.digits(1, 2, local.day().unsigned_abs().into());
        self.text[4..7].copy_from_slice(&MONTHS[month..month + 3]);
        self.digits(8, 4, local.year().unsigned_abs().into());
        self.render_clock(13, local);
    }

    fn render_clock(&mut self, at: usize, local: DateTime) {
        self.digits(at, 2, local.hour().unsigned_abs().into());
        self.digits(at + 3, 2, local.minute().unsigned_abs().into());
        self.digits(at + 6, 2, local.second().unsigned_abs().into());
    }

    /// `+0000]` at the end, as `strftime` writes `%z`.
    fn render_offset(&mut self, seconds: i32) {
        let at = if self.style == Style::Error { 21 } else { 22 };
        let minutes = seconds.unsigned_abs() / 60;
        self.text[at] = if seconds < 0 { b'-' } else { b'+' };
        self.digits(at + 1, 2, minutes / 60);
        self.digits(at + 3, 2, minutes % 60);
        self.text[at + 5] = b']';
    }

    fn digits(&mut self, at: usize, count: usize, mut value: u32) {
        for place in self.text[at..at + count].iter_mut().rev() {
            *place = b'0' + (value % 10) as u8;
            value /= 10;
        }
    }
}

/// The zone of this machine, or of `TZ`, read once: in the master before it forks, so that a child reads no file for it.
pub(super) fn zone() -> &'static TimeZone {
    static ZONE: OnceLock<TimeZone> = OnceLock::new();
    ZONE.get_or_init(TimeZone::system)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(style: Style, offset_hours: i8, second: u64) -> String {
        let mut time = TimeText::new(style);
        let offset = jiff::tz::Offset::constant(offset_hours);
        let local = offset.to_datetime(Timestamp::from_second(second.cast_signed()).unwrap());
        match style {
            Style::Error => time.render_error(local),
            Style::Access => time.render_access(local),
        }
        time.render_offset(offset.seconds());
        time.second = Some(second);
        String::from_utf8(time.at(second).to_vec()).unwrap()
    }

    #[test]
    fn a_second_is_written_as_gunicorn_writes_it() {
        assert_eq!(text(Style::Error, 0, 1_795_341_600), "[2026-11-22 10:00:00 +0000]");
        assert_eq!(text(Style::Access, 0, 1_795_341_600), "[22/Nov/2026:10:00:00 +0000]");
    }

    #[test]
    fn another_zone_shows_its_offset() {
        assert_eq!(text(Style::Error, -5, 1_795_341_600), "[2026-11-22 05:00:00 -0500]");
        assert_eq!(text(Style::Access, 9, 1_795_341_600), "[22/Nov/2026:19:00:00 +0900]");
    }

    #[test]
    fn the_text_follows_the_second() {
        let mut time = TimeText::new(Style::Access);
        let first = time.at(1_795_341_600).to_vec();
        assert_eq!(time.at(1_795_341_600), first);
        assert_ne!(time.at(1_795_341_601), first);
    }

    #[test]
    fn a_clock_gone_mad_is_no_panic() {
        for second in [0, LAST, u64::MAX] {
            assert_eq!(TimeText::new(Style::Error).at(second).last(), Some(&b']'));
        }
    }
}
