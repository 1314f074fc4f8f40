//! One generation's scoreboard: what each worker is doing, in memory that it shares with the master. It decides nothing,
//! and nobody who reads it may trust it: the writer may be broken, or dead in the middle of a word.
//!
//! A board has slots, one for each worker; a slot has lanes, one for each thread. Every word has one writer, named
//! where the word is; writers use plain loads and stores, on cache lines that no other thread writes.

use std::io;
use std::sync::Arc;

use crate::sys::memory::{self, Mapping, Word};

mod draft;
mod lane;
mod seat;
mod slot;
mod totals;

pub use draft::Draft;
pub use lane::{InFlight, Lane, LaneWriter, REQUEST_LINE, RequestLine};
pub use seat::Seat;
pub use slot::{COUNTERS, Readiness, Slot, SlotState};
pub use totals::{BUCKETS, Histogram, Totals};

/// CLOCK_MONOTONIC in nanoseconds; 0 means "never".
pub type Monotonic = u64;

/// One generation's board. Clones are the same board.
#[derive(Clone, Debug)]
pub struct Scoreboard {
    /// The shared words: whole pages for each slot.
    mapping: Arc<Mapping>,
    /// The master's words: for each lane the number of the exchange that is over its time. Workers only read them.
    summons: Arc<Mapping>,
    /// How many slots.
    slots: usize,
    /// How many lanes each slot has.
    lanes: usize,
    /// Words from one slot to the next: whole pages.
    stride: usize,
}

impl Scoreboard {
    /// A board with every slot free. The process that makes it may write all of it, and children that it forks inherit
    /// that until they say [`Scoreboard::read_only`] or [`Scoreboard::take_seat`].
    pub fn create(slots: usize, lanes: usize) -> io::Result<Scoreboard> {
        let too_large = || io::Error::from(io::ErrorKind::InvalidInput);
        let used = lanes.checked_mul(lane::WORDS).and_then(|words| words.checked_add(slot::HEADER_WORDS));
        let words_per_page = memory::page_size() / memory::WORD;
        let stride =
            used.and_then(|words| words.checked_next_multiple_of(words_per_page)).ok_or_else(too_large)?;
        let words = stride.checked_mul(slots).ok_or_else(too_large)?;
        let mapping = Arc::new(Mapping::create(c"unirs-scoreboard", words)?);
        let summons = Arc::new(Mapping::create(c"unirs-summons", slots.saturating_mul(lanes.max(1)))?);
        Ok(Scoreboard { mapping, summons, slots, lanes, stride })
    }

    /// How many slots there are.
    pub fn slots(&self) -> usize {
        self.slots
    }

    /// How many lanes each slot has.
    pub fn lanes(&self) -> usize {
        self.lanes
    }

    /// A slot, to read. `index` is below [`Scoreboard::slots`], else it panics.
    pub fn slot(&self, index: usize) -> Slot<'_> {
        assert!(index < self.slots, "slot {index} of {}", self.slots);
        let words: &[Word] = &self.mapping.words()[self.range(index)];
        Slot::new(words, self.lanes)
    }

    /// Makes a slot as new: free, all figures zero. The master does so before it spawns into the slot, and after it has
    /// folded the figures of the one before. In a process that may not write the slot nothing happens.
    pub fn reset(&self, index: usize) {
        assert!(index < self.slots, "slot {index} of {}", self.slots);
        // Only a process that gave up its right to write is refused, and it has nothing to reset.
        let _ = self.mapping.clear(self.range(index));
        let _ = self.summons.clear(index * self.lanes..(index + 1) * self.lanes);
    }

    /// In the master: says to one thread of a worker that this exchange of it is over its time. The signal that makes it
    /// look is the caller's to send. Nothing happens where there is no such lane.
    pub fn summon(&self, slot: usize, lane: usize, exchange: u64) {
        if slot < self.slots && lane < self.lanes {
            // Only a process that gave up its right to write is refused, and it is no master.
            let _ = self.summons.store(slot * self.lanes + lane, exchange);
        }
    }

    fn summoned(&self, slot: usize, lane: usize) -> u64 {
        self.summons.words().get(slot * self.lanes + lane).map_or(0, Word::load)
    }

    /// From here on this process only reads the board. For a forked child: the boards of other generations, and its own
    /// until it knows its slot. After [`Scoreboard::take_seat`] it is an error.
    pub fn read_only(&self) -> io::Result<()> {
        self.summons.read_only()?;
        self.mapping.read_only()
    }

    /// In the child, once: from here on this process reads the whole board and writes this slot alone, which is
    /// `Booting` now. The memory stays where it was, so clones of the board and what they lent go on to be valid; a
    /// write to another slot faults.
    pub fn take_seat(&self, index: usize) -> io::Result<Seat> {
        if index >= self.slots {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        // A seat is for the life of the process, and what it lends (counters, lanes) has to be as well.
        let board: &'static Scoreboard = Box::leak(Box::new(self.clone()));
        board.summons.read_only()?;
        let words = board.mapping.claim(board.range(index))?;
        Ok(Seat::new(board, index, words))
    }

    /// As [`Scoreboard::take_seat`]; whatever was handed out by the draft is the seat's from here on, at the same address.
    pub fn take_drafted_seat(&self, index: usize, draft: &Draft) -> io::Result<Seat> {
        let seat = self.take_seat(index)?;
        draft.pages().show(&self.mapping, self.range(index).start)?;
        seat.adopt(draft.names());
        Ok(seat)
    }

    fn range(&self, index: usize) -> std::ops::Range<usize> {
        index * self.stride..(index + 1) * self.stride
    }
}

#[cfg(test)]
impl Scoreboard {
    /// What a wild pointer into another's slot does.
    fn write_wildly(&self, slot: usize) {
        self.mapping.write_wildly(slot * self.stride);
    }
}

#[cfg(test)]
mod tests;
