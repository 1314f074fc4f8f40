//! Where the words of a record are. Each has one writer, the worker's thread that has claimed the record; but for the
//! state, which the master puts back to [`FREE`].

use std::ops::Range;

use crate::sys::memory::WORD;

/// How many records an area has: so many threads can speak before the master has looked.
pub(crate) const RECORDS: usize = 8;
/// How many return addresses a record has.
pub(crate) const MOST_FRAMES: usize = 64;

/// One of the three below.
pub(super) const STATE: usize = 0;
/// Nobody's.
pub(super) const FREE: u64 = 0;
/// A thread writes it.
pub(super) const CLAIMED: u64 = 1;
/// The master may read it.
pub(super) const PUBLISHED: u64 = 2;

/// One of the four below.
pub(super) const CAUSE: usize = 1;
pub(super) const CAUSE_SIGNAL: u64 = 1;
pub(super) const CAUSE_OVERTIME: u64 = 2;
pub(super) const CAUSE_EXIT: u64 = 3;
pub(super) const CAUSE_EXIT_WITH: u64 = 4;
/// Of a signal.
pub(super) const SIGNAL: usize = 2;
/// Of a signal or an exit.
pub(super) const CODE: usize = 3;
/// Of a fault.
pub(super) const ADDRESS: usize = 4;
/// Program counter.
pub(super) const PC: usize = 5;
/// Stack pointer.
pub(super) const STACK_POINTER: usize = 6;
/// The kernel's id of the thread.
pub(super) const THREAD: usize = 7;
/// Of the exchange; 0: there is none.
pub(super) const NUMBER: usize = 8;
/// In nanoseconds.
pub(super) const AGE: usize = 9;
/// In nanoseconds.
pub(super) const IN_APP: usize = 10;
/// What the client was told.
pub(super) const SAID: usize = 11;
/// Connections that nobody was serving.
pub(super) const PARKED: usize = 12;
/// How many of [`FRAMES`] there are.
pub(super) const FRAME_COUNT: usize = 13;
/// Bytes of the maps.
pub(super) const MAPS_LENGTH: usize = 14;
/// Bytes of [`REQUEST`].
pub(super) const REQUEST_LENGTH: usize = 15;
/// Bytes of [`CLIENT`].
pub(super) const CLIENT_LENGTH: usize = 16;
/// Method, blank, path; cut.
pub(super) const REQUEST: Range<usize> = 18..50;
/// The client's address; cut.
pub(super) const CLIENT: Range<usize> = 50..60;
/// Return addresses.
pub(super) const FRAMES: Range<usize> = 60..60 + MOST_FRAMES;

/// Words of one record but for its maps.
pub(super) const RECORD_WORDS: usize = 128;
/// Room for the maps of one record. Nobody pays for pages that were never touched.
pub(super) const MAPS_BYTES: usize = 128 * 1024;

const _: () = assert!(FRAMES.end <= RECORD_WORDS);

/// Where the maps of a record are: behind all records.
pub(super) fn maps_of(record: usize) -> Range<usize> {
    let start = RECORDS * RECORD_WORDS + record * (MAPS_BYTES / WORD);
    start..start + MAPS_BYTES / WORD
}
