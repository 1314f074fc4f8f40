//! An answer's bytes on their way out: what the socket has not taken yet, and a file behind them.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use super::wire::Wire;

/// One turn sends no more than this of one answer, so that others get theirs.
const MOST_A_TURN: usize = 2 * 1024 * 1024;

/// Larger room is given back when an answer is over.
const LARGEST_KEPT: usize = 64 * 1024;

/// What is to be sent, in order: bytes, then a part of a file.
#[derive(Debug, Default)]
pub(super) struct Outgoing {
    bytes: Vec<u8>,
    sent: usize,
    file: Option<FilePart>,
}

#[derive(Debug)]
struct FilePart {
    file: OwnedFd,
    offset: u64,
    left: u64,
}

/// How far sending got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sent {
    /// Everything.
    All,
    /// As much as the socket takes for now.
    Some,
    /// As much as one turn may; the socket would take more.
    Enough,
    /// The client has gone.
    Gone,
    /// The file is shorter than it was said to be.
    FileEnded,
}

impl Outgoing {
    /// Where to append bytes.
    pub(super) fn bytes(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// How many bytes are unsent, those of the file not counted.
    pub(super) fn unsent(&self) -> usize {
        self.bytes.len() - self.sent
    }

    /// What is unsent, as bytes.
    pub(super) fn unsent_bytes(&self) -> &[u8] {
        &self.bytes[self.sent..]
    }

    /// Is nothing left to send?
    pub(super) fn is_empty(&self) -> bool {
        self.unsent() == 0 && self.file.is_none()
    }

    /// Is there no file behind the bytes?
    pub(super) fn is_bytes_only(&self) -> bool {
        self.file.is_none()
    }

    /// Appends `length` bytes of a file from `offset`.
    pub(super) fn set_file(&mut self, file: OwnedFd, offset: u64, length: u64) {
        self.file = (length > 0).then_some(FilePart { file, offset, left: length });
    }

    /// Sends what the socket takes. `closes`: the connection is closed next, so that the last bytes can go with the end
    /// of it in one segment.
    pub(super) fn send(&mut self, wire: &mut Wire, closes: bool) -> Sent {
        let mut budget = MOST_A_TURN;
        while !self.is_empty() {
            if budget == 0 {
                return Sent::Enough;
            }
            if !wire.is_writable() {
                return Sent::Some;
            }
            match self.send_once(wire, budget, closes) {
                Ok(0) if self.unsent() == 0 => return Sent::FileEnded,
                Ok(count) => budget = budget.saturating_sub(count),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Sent::Some,
                Err(_) => return Sent::Gone,
            }
        }
        self.bytes.clear();
        self.sent = 0;
        Sent::All
    }

    /// Sends what is unsent and then `slices`, in one call: how much of the slices went. What did not has to be
    /// appended by the caller.
    pub(super) fn send_with(&mut self, wire: &mut Wire, slices: &[&[u8]]) -> io::Result<usize> {
        let parts: Vec<_> = std::iter::once(self.unsent_bytes())
            .chain(slices.iter().copied())
            .map(io::IoSlice::new)
            .collect();
        let unsent = self.unsent();
        let count = match wire.write_vectored(&parts) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
            result => result?,
        };
        self.sent += count.min(unsent);
        Ok(count.saturating_sub(unsent))
    }

    fn send_once(&mut self, wire: &mut Wire, budget: usize, closes: bool) -> io::Result<usize> {
        if self.unsent() > 0 {
            let end = self.bytes.len().min(self.sent + budget);
            let more = end < self.bytes.len() || self.file.is_some() || closes;
            let count = wire.write(&self.bytes[self.sent..end], more)?;
            self.sent += count;
            return Ok(count);
        }
        let Some(part) = &mut self.file else { return Ok(0) };
        let most = usize::try_from(part.left).unwrap_or(usize::MAX).min(budget);
        let count = wire.send_file(part.file.as_fd(), &mut part.offset, most)?;
        part.left = part.left.saturating_sub(count as u64);
        if part.left == 0 {
            self.file = None;
        }
        Ok(count)
    }

    /// Forgets what was to be sent: how many bytes those were.
    #[inline]
    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.sent = 0;
        self.file = None;
        self.bytes.shrink_to(LARGEST_KEPT);
    }
}
