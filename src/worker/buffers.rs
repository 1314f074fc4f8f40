//! Buffers for what arrives, lent by a pool: an idle connection has none.

/// What a buffer holds at first; enough for the heads of nearly all requests.
const SMALL: usize = 8 * 1024;

/// Buffers above this are not kept for the next connection.
const LARGEST_KEPT: usize = 256 * 1024;

/// How many of each kind a thread keeps.
const MOST_SMALL: usize = 64;
const MOST_LARGE: usize = 4;

/// Bytes that have arrived, and room for more.
#[derive(Debug, Default)]
pub(super) struct Buffer {
    /// Initialised to its end; what counts is the first `filled` of it.
    bytes: Vec<u8>,
    filled: usize,
}

impl Buffer {
    /// What has arrived.
    #[inline]
    pub(super) fn filled(&self) -> &[u8] {
        &self.bytes[..self.filled]
    }

    /// What has arrived, to be changed in place.
    pub(super) fn filled_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[..self.filled]
    }

    /// How much has arrived.
    pub(super) fn len(&self) -> usize {
        self.filled
    }

    /// Has nothing arrived?
    pub(super) fn is_empty(&self) -> bool {
        self.filled == 0
    }

    /// Room for more.
    pub(super) fn room(&mut self) -> &mut [u8] {
        &mut self.bytes[self.filled..]
    }

    /// How much it holds at the most.
    pub(super) fn capacity(&self) -> usize {
        self.bytes.len()
    }

    /// `count` bytes of the room were filled.
    pub(super) fn add(&mut self, count: usize) {
        self.filled = (self.filled + count).min(self.bytes.len());
    }

    /// Keeps the first `len` bytes.
    pub(super) fn truncate(&mut self, len: usize) {
        self.filled = self.filled.min(len);
    }

    /// Drops the first `count` bytes; the rest moves to the front.
    pub(super) fn consume(&mut self, count: usize) {
        if count >= self.filled {
            self.filled = 0;
        } else {
            self.bytes.copy_within(count..self.filled, 0);
            self.filled -= count;
        }
    }

    /// Moves bytes within what has arrived.
    pub(super) fn copy_within(&mut self, source: std::ops::Range<usize>, target: usize) {
        self.bytes.copy_within(source, target);
    }
}

/// The buffers that a thread has to lend.
#[derive(Debug, Default)]
pub(super) struct Pool {
    small: Vec<Vec<u8>>,
    large: Vec<Vec<u8>>,
}

impl Pool {
    /// Gives the buffer room, if it has none at all.
    #[inline]
    pub(super) fn lend(&mut self, buffer: &mut Buffer) {
        if buffer.capacity() == 0 {
            buffer.bytes = self.small.pop().unwrap_or_else(|| vec![0; SMALL]);
        }
    }

    /// Makes room for `capacity` bytes in all, keeping what has arrived.
    pub(super) fn grow(&mut self, buffer: &mut Buffer, capacity: usize) {
        if buffer.capacity() >= capacity {
            return;
        }
        let kept = self.large.iter().position(|bytes| bytes.len() >= capacity);
        let mut bytes = kept.map_or_else(|| vec![0; capacity], |at| self.large.swap_remove(at));
        bytes[..buffer.filled].copy_from_slice(buffer.filled());
        self.keep(std::mem::replace(&mut buffer.bytes, bytes));
    }

    /// Takes the room back from a buffer in which nothing is.
    pub(super) fn take_back(&mut self, buffer: &mut Buffer) {
        if buffer.is_empty() {
            self.keep(std::mem::take(&mut buffer.bytes));
        }
    }

    fn keep(&mut self, bytes: Vec<u8>) {
        match bytes.len() {
            SMALL if self.small.len() < MOST_SMALL => self.small.push(bytes),
            SMALL => {}
            len if len > SMALL && len <= LARGEST_KEPT && self.large.len() < MOST_LARGE => {
                self.large.push(bytes)
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn growing_keeps_what_has_arrived() {
        let (mut pool, mut buffer) = (Pool::default(), Buffer::default());
        pool.lend(&mut buffer);
        buffer.room()[..3].copy_from_slice(b"abc");
        buffer.add(3);
        pool.grow(&mut buffer, 100_000);
        assert_eq!((buffer.filled(), buffer.capacity()), (&b"abc"[..], 100_000));
        buffer.consume(1);
        assert_eq!(buffer.filled(), b"bc");
    }

    #[test]
    fn a_buffer_goes_back_only_when_it_is_empty() {
        let (mut pool, mut buffer) = (Pool::default(), Buffer::default());
        pool.lend(&mut buffer);
        buffer.add(1);
        pool.take_back(&mut buffer);
        assert_eq!(buffer.capacity(), SMALL);
        buffer.truncate(0);
        pool.take_back(&mut buffer);
        assert_eq!((buffer.capacity(), pool.small.len()), (0, 1));
    }
}
