//! The request's body on its way in: decoded in place, behind its head, and read from there.
//!
//! The buffer of an exchange is `head | decoded | raw`: what is decoded moves down over the framing that was before
//! it, and `raw` is what the decoder has not looked at, or cannot understand yet. When the body is complete, `raw` is
//! the next request.

use super::buffers::Buffer;
use crate::http::{BodyDecoder, Framing, Limits, Reject};

/// Where the parts of the body are.
#[derive(Debug)]
pub(super) struct Incoming {
    decoder: BodyDecoder,
    framing: Framing,
    head: usize,
    /// Up to here the application has read; at least `head`.
    read: usize,
    /// Up to here it is decoded; at least `read`.
    decoded: usize,
    was_read: bool,
}

/// Why a body cannot be read to its end.
#[derive(Debug)]
pub(super) enum BadBody {
    /// It is longer than allowed.
    TooLarge,
    /// It breaks its framing.
    Malformed(Reject),
}

impl From<BadBody> for Reject {
    fn from(bad: BadBody) -> Reject {
        match bad {
            BadBody::TooLarge => Reject::BODY_TOO_LARGE,
            BadBody::Malformed(reject) => reject,
        }
    }
}

impl Incoming {
    /// The body behind a head of `head` bytes. Chunked framing and trailers have the limits of a head.
    pub(super) fn new(head: usize, framing: Framing, limits: &Limits) -> Incoming {
        let decoder = BodyDecoder::with_limits(framing, limits);
        Incoming { decoder, framing, head, read: head, decoded: head, was_read: false }
    }

    /// Decodes what has arrived in `input`.
    pub(super) fn decode(&mut self, input: &mut Buffer, limit: u64) -> Result<(), BadBody> {
        let mut raw = self.decoded;
        while raw < input.len() && !self.decoder.is_done() {
            let step = self.decoder.step(&input.filled()[raw..]).map_err(BadBody::Malformed)?;
            let (consumed, data) = (step.consumed, step.data.len());
            let start = raw + consumed - data; // the run of data is what a step consumes last
            if data > 0 && start != self.decoded {
                input.copy_within(start..start + data, self.decoded);
            }
            self.decoded += data;
            raw += consumed;
            // Now, not at the end: what is wrong with the bytes behind it may or may not have arrived yet.
            if self.decoder.received() > limit {
                return Err(BadBody::TooLarge);
            }
            if consumed == 0 {
                break;
            }
        }
        if raw > self.decoded {
            input.copy_within(raw..input.len(), self.decoded);
            input.truncate(input.len() - (raw - self.decoded));
        }
        Ok(())
    }

    /// Takes note of `bytes`, which came straight from the wire to where they are wanted; see [`Incoming::direct`].
    pub(super) fn decode_direct(&mut self, bytes: &[u8]) -> Result<(), BadBody> {
        self.decoder.step(bytes).map(drop).map_err(BadBody::Malformed)
    }

    /// How many bytes may be read straight from the wire into the application's buffer: there is no framing around
    /// them, and nothing has arrived before them.
    pub(super) fn direct(&self, input: &Buffer) -> Option<u64> {
        let is_drained = self.read == self.decoded && input.len() == self.decoded;
        match self.framing {
            Framing::Length(length) if is_drained => Some(length.saturating_sub(self.decoder.received())),
            Framing::None | Framing::Length(_) | Framing::Chunked => None,
        }
    }

    /// Is all of it here, or has it been read?
    pub(super) fn is_complete(&self) -> bool {
        self.decoder.is_done()
    }

    /// How much is decoded and was not read.
    pub(super) fn buffered(&self) -> usize {
        self.decoded - self.read
    }

    /// All of it, if all of it is here and none of it was read.
    pub(super) fn whole<'b>(&self, input: &'b Buffer) -> Option<&'b [u8]> {
        (self.is_complete() && !self.was_read).then(|| &input.filled()[self.head..self.decoded])
    }

    /// Moves decoded bytes to the application's buffer: how many.
    pub(super) fn take(&mut self, input: &Buffer, target: &mut [u8]) -> usize {
        self.was_read = true;
        let count = target.len().min(self.buffered());
        target[..count].copy_from_slice(&input.filled()[self.read..self.read + count]);
        self.read += count;
        count
    }

    /// Forgets what was read, so that there is room for more.
    pub(super) fn make_room(&mut self, input: &mut Buffer) {
        let freed = self.read - self.head;
        input.copy_within(self.read..input.len(), self.head);
        input.truncate(input.len() - freed);
        self.read = self.head;
        self.decoded -= freed;
    }

    /// Where the next request begins in the buffer, once this body is complete.
    pub(super) fn end(&self) -> usize {
        self.decoded
    }
}
