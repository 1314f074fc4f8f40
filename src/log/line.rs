//! The beginning of an error log line: `[2026-11-22 10:00:00 +0000] [4711] [INFO] `. No event is seen here.

use std::cell::Cell;

use super::Level;
use super::time::{Style, TimeText};
use crate::sys::clock;

thread_local! {
    /// The text of the last second that this thread logged in.
    static TIME: Cell<TimeText> = const { Cell::new(TimeText::new(Style::Error)) };
}

/// Appends time, pid and level. The pid is read at each line, so that it is right after a fork.
pub(super) fn begin(out: &mut Vec<u8>, level: Level) {
    let mut time = TIME.try_with(Cell::get).unwrap_or(TimeText::new(Style::Error));
    out.extend_from_slice(time.at(clock::realtime().as_secs()));
    // A thread that is ending has no cache any more, and needs none.
    let _ = TIME.try_with(|cache| cache.set(time));
    out.extend_from_slice(b" [");
    out.extend_from_slice(itoa::Buffer::new().format(std::process::id()).as_bytes());
    out.extend_from_slice(b"] [");
    out.extend_from_slice(level.word().as_bytes());
    out.extend_from_slice(b"] ");
}
