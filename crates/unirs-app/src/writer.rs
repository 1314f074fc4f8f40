//! The writer of a streamed answer. Not a buffer: the host has one.

use std::borrow::Cow;
use std::io;
use std::time::Duration;

use crate::host::{Exchange, lend_field};
use crate::{Bytes, Refusal};

/// Writes a streamed answer; given to the function of [`Response::stream`](crate::Response::stream).
///
/// The server takes what is written into a bounded buffer, and sends it when that is full, when the writer is flushed, and
/// at the end. Writing waits while the client is slower, and fails with [`io::ErrorKind::BrokenPipe`] once it has gone.
pub struct Writer {
    exchange: Exchange,
    trailers: Vec<(Cow<'static, str>, Bytes)>,
}

impl Writer {
    pub(crate) fn new(exchange: Exchange) -> Writer {
        Writer { exchange, trailers: Vec::new() }
    }

    /// Adds a field after the body; it is sent where the answer is chunked.
    pub fn trailer(&mut self, name: impl Into<Cow<'static, str>>, value: impl Into<Bytes>) {
        self.trailers.push((name.into(), value.into()));
    }

    /// Whether the client has gone.
    pub fn cancelled(&self) -> bool {
        self.exchange.cancelled()
    }

    /// Nothing will be written for up to `by`; see [`Request::extend`](crate::Request::extend).
    pub fn extend(&self, by: Duration) {
        self.exchange.extend(by);
    }

    /// Ends the answer.
    pub(crate) fn finish(self) -> Result<(), Refusal> {
        let lent = self.trailers.iter().map(|(name, value)| lend_field(name.as_bytes(), value.as_slice()));
        self.exchange.finish(&lent.collect::<Vec<_>>())
    }
}

impl io::Write for Writer {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        if !data.is_empty() {
            self.exchange.write(data)?;
        }
        Ok(data.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(self.exchange.flush()?)
    }
}
