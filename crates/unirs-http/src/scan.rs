//! Where the lines of a head end, and the limits on them. Not what the lines say.

use super::reject::Reject;

/// What a head may measure. Numbers of bytes but for `fields`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The request line without its CRLF; 0: only `head` limits it.
    pub line: usize,
    /// How many field lines; those that are dropped count too.
    pub fields: usize,
    /// One field line with its CRLF; 0: only `head` limits it.
    pub field_size: usize,
    /// The head as a whole.
    pub head: usize,
}

impl Default for Limits {
    /// Gunicorn's defaults, and 64 KiB for the head as a whole.
    fn default() -> Limits {
        Limits { line: 4094, fields: 100, field_size: 8190, head: 64 * 1024 }
    }
}

impl Limits {
    pub(super) fn line_max(&self) -> usize {
        if self.line == 0 { usize::MAX } else { self.line }
    }

    /// Of a field line without its CRLF.
    fn field_max(&self) -> usize {
        if self.field_size == 0 { usize::MAX } else { self.field_size.saturating_sub(2) }
    }
}

/// Finds line after line and remembers how far it has looked, so that bytes which come one by one are looked at once.
///
/// Its refusals come at the first byte that earns them, however the bytes are cut: what is refused does not depend on
/// how the network delivered it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct LineScan {
    /// Where the line begins that is looked for.
    pub(super) start: usize,
    /// Up to here there is no LF since `start`.
    seen: usize,
}

impl LineScan {
    pub(super) fn starting_at(start: usize) -> LineScan {
        LineScan { start, seen: start }
    }

    /// Where the next line ends (exclusive, without its CRLF), or `None` when it is not all there yet. A line of more
    /// than `max` bytes is `too_long`, with or without its end.
    pub(super) fn next(
        &mut self,
        bytes: &[u8],
        max: usize,
        too_long: Reject,
    ) -> Result<Option<usize>, Reject> {
        let found = memchr::memchr(b'\n', &bytes[self.seen..]);
        let end = found.map_or(bytes.len(), |offset| self.seen + offset);
        let line = &bytes[self.start..end];
        let has_cr = line.last() == Some(&b'\r');
        if line.len() - usize::from(has_cr) > max {
            return Err(too_long);
        }
        if found.is_none() {
            self.seen = end;
            return Ok(None);
        }
        if !has_cr {
            return Err(Reject::BARE_LF);
        }
        *self = LineScan::starting_at(end + 1);
        Ok(Some(end - 1))
    }
}

/// Finds the empty line after a block of field lines: a head's, or the trailers'.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct FieldScan {
    lines: LineScan,
    /// How many fields were passed.
    pub(super) count: usize,
    /// Where the last of them begins.
    last: usize,
    /// A field may have more than one line.
    may_fold: bool,
}

impl FieldScan {
    pub(super) fn starting_at(start: usize, may_fold: bool) -> FieldScan {
        FieldScan { lines: LineScan::starting_at(start), count: 0, last: start, may_fold }
    }

    /// The place after the empty line, or `None` when it is not there yet.
    pub(super) fn end(&mut self, bytes: &[u8], limits: &Limits) -> Result<Option<usize>, Reject> {
        loop {
            let start = self.lines.start;
            if matches!(bytes.get(start), Some(b' ' | b'\t')) {
                match self.go_on_with_field(bytes, start, limits)? {
                    true => continue,
                    false => return Ok(None),
                }
            }
            match self.lines.next(bytes, limits.field_max(), Reject::FIELD_TOO_LONG)? {
                None => return Ok(None),
                Some(end) if end == start => return Ok(Some(self.lines.start)),
                Some(_) if self.count == limits.fields => return Err(Reject::TOO_MANY_FIELDS),
                Some(_) => (self.count, self.last) = (self.count + 1, start),
            }
        }
    }

    /// Passes a line that folds the field before it: false when it is not all there yet. The lines of a field have the
    /// limit of one.
    #[cold]
    fn go_on_with_field(&mut self, bytes: &[u8], start: usize, limits: &Limits) -> Result<bool, Reject> {
        if self.count == 0 {
            return Err(Reject::FIELD_INDENTED);
        }
        if !self.may_fold {
            return Err(Reject::FIELD_FOLDED);
        }
        let left = limits.field_max().saturating_sub(start - self.last);
        Ok(self.lines.next(bytes, left, Reject::FIELD_TOO_LONG)?.is_some())
    }
}
