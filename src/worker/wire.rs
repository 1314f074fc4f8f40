//! The transport of a connection: plain bytes over a socket, without blocking, and what is known of its readiness.
//!
//! TLS would be a second one of this shape.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use super::buffers::Buffer;
use super::harvest::{Event, Token};
use crate::listener::Peer;
use crate::sys::epoll::{self, Epoll};
use crate::sys::{clock, socket};

/// Reads of a connection whose process ends.
const MOST_DROPPED: usize = 256;

/// A client's connection, as far as it is bytes.
#[derive(Debug)]
pub(super) struct Wire {
    socket: OwnedFd,
    /// Its place in the table.
    pub token: Token,
    /// Who is on the other side.
    pub peer: Peer,
    /// Which of the worker's listeners it came from.
    pub listener: usize,
    /// What has arrived and was not used yet.
    pub input: Buffer,
    /// When the present state of the connection began, or last got on: what its deadline counts from.
    pub since: u64,
    /// How many requests were answered.
    pub served: u64,
    /// A read may bring something: cleared by the read that finds the socket empty.
    readable: bool,
    /// A write may take something: cleared by the write that finds the socket full.
    writable: bool,
    /// The other side has closed its half: reads go on until they find the end.
    hung_up: bool,
    /// The client has taken bytes since the deadline was last moved.
    has_progressed: bool,
    watch: Watch,
}

/// What epoll watches the socket for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Watch {
    Nothing,
    Reads,
    ReadsAndWrites,
}

/// What a read has brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Arrival {
    /// So many bytes.
    Bytes(usize),
    /// Nothing, for now.
    Nothing,
    /// The client has closed its side, or the connection is broken.
    End,
}

impl Wire {
    /// A connection that was just accepted.
    pub(super) fn new(socket: OwnedFd, peer: Peer, listener: usize, token: Token, now: u64) -> Wire {
        Wire {
            socket,
            token,
            peer,
            listener,
            input: Buffer::default(),
            since: now,
            served: 0,
            readable: true,
            writable: true,
            hung_up: false,
            has_progressed: false,
            watch: Watch::Nothing,
        }
    }

    /// Takes note of what epoll has told.
    pub(super) fn note(&mut self, event: Event) {
        self.readable |= event.readable | event.hung_up;
        self.writable |= event.writable | event.hung_up;
        self.hung_up |= event.hung_up;
    }

    /// Something was told while the connection was claimed: look everywhere.
    pub(super) fn note_anything(&mut self) {
        (self.readable, self.writable, self.hung_up) = (true, true, true);
    }

    /// Reads into the input's room, of which there must be some.
    #[inline]
    pub(super) fn read(&mut self) -> Arrival {
        if self.readable { self.fill_input() } else { Arrival::Nothing }
    }

    fn fill_input(&mut self) -> Arrival {
        let room = self.input.room();
        let wanted = room.len();
        let result = socket::recv(&self.socket, room);
        let arrival = self.judge(result, wanted);
        if let Arrival::Bytes(count) = arrival {
            self.input.add(count);
        }
        arrival
    }

    /// Reads past the input, straight to where the bytes are wanted.
    pub(super) fn read_into(&mut self, room: &mut [u8]) -> Arrival {
        if !self.readable {
            return Arrival::Nothing;
        }
        let result = socket::recv(&self.socket, room);
        self.judge(result, room.len())
    }

    /// A read that was short has emptied the socket, and the next bytes will be told; but a half that was closed is
    /// told once, and has to be read to its end.
    #[inline]
    fn judge(&mut self, result: io::Result<usize>, wanted: usize) -> Arrival {
        match result {
            Ok(0) => Arrival::End,
            Ok(count) => {
                self.readable = count == wanted || self.hung_up;
                Arrival::Bytes(count)
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                (self.readable, self.hung_up) = (false, false);
                Arrival::Nothing
            }
            Err(_) => Arrival::End,
        }
    }

    /// Writes what the socket takes: how many bytes. `more` says that something follows at once.
    pub(super) fn write(&mut self, bytes: &[u8], more: bool) -> io::Result<usize> {
        self.outgoing(|socket| socket::send(socket, bytes, more))
    }

    /// Writes what the socket takes of several slices.
    pub(super) fn write_vectored(&mut self, slices: &[io::IoSlice<'_>]) -> io::Result<usize> {
        self.outgoing(|socket| socket::send_vectored(socket, slices, false))
    }

    /// Sends what the socket takes of a file, from `offset` on, which moves.
    pub(super) fn send_file(
        &mut self,
        file: BorrowedFd<'_>,
        offset: &mut u64,
        most: usize,
    ) -> io::Result<usize> {
        self.outgoing(|socket| socket::sendfile(socket, file, offset, most))
    }

    fn outgoing(&mut self, write: impl FnOnce(BorrowedFd<'_>) -> io::Result<usize>) -> io::Result<usize> {
        let result = write(self.socket.as_fd());
        match &result {
            Ok(_) => self.has_progressed = true,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.writable = false,
            Err(_) => {}
        }
        result
    }

    /// The client has to take more: its time counts from the last byte that it took, or, where it has taken none, from
    /// now if that was before `earliest`.
    pub(super) fn begin_to_wait(&mut self, earliest: u64) {
        if self.has_progressed || self.since <= earliest {
            self.since = clock::monotonic();
            self.has_progressed = false;
        }
    }

    /// May a write take something?
    pub(super) fn is_writable(&self) -> bool {
        self.writable
    }

    /// Blocks until a read may bring something: false when `limit` is over.
    pub(super) fn wait_readable(&mut self, limit: Option<Duration>) -> io::Result<bool> {
        self.readable = self.readable || socket::wait_readable(&self.socket, limit)?;
        Ok(self.readable)
    }

    /// Blocks until a write may take something: false when `limit` is over.
    pub(super) fn wait_writable(&mut self, limit: Option<Duration>) -> io::Result<bool> {
        self.writable = self.writable || socket::wait_writable(&self.socket, limit)?;
        Ok(self.writable)
    }

    /// Has the client gone?
    pub(super) fn is_client_gone(&self) -> bool {
        socket::peer_gone(&self.socket)
    }

    /// Has epoll tell what this connection waits for: reads always, writes once one was refused. `again` asks to be
    /// told at once of what is ready already: a socket that can be written to is.
    pub(super) fn watch(&mut self, epoll: &Epoll, again: bool) -> io::Result<()> {
        if again {
            self.writable = false;
        }
        let wanted = match (self.watch, self.writable) {
            (Watch::ReadsAndWrites, _) | (_, false) => Watch::ReadsAndWrites,
            (Watch::Nothing | Watch::Reads, true) => Watch::Reads,
        };
        if wanted == self.watch && !again {
            return Ok(());
        }
        let (bits, word) = (wanted.bits(), self.token.to_word());
        match self.watch {
            Watch::Nothing => epoll.add(&self.socket, bits, word)?,
            Watch::Reads | Watch::ReadsAndWrites => epoll.modify(&self.socket, bits, word)?,
        }
        self.watch = wanted;
        Ok(())
    }

    /// Sends all of it at once, or fails. Async-signal-safe: sendmsg.
    pub(super) fn say_last(&self, slices: &[io::IoSlice<'_>]) -> bool {
        let length: usize = slices.iter().map(|slice| slice.len()).sum();
        socket::send_vectored(&self.socket, slices, false).is_ok_and(|sent| sent == length)
    }

    /// Drops what has come and was not read, up to a bounded amount: to close a socket with unread bytes destroys the answer
    /// on its way. Async-signal-safe: recv.
    pub(super) fn drop_input(&self) {
        let mut room = [0; 4096];
        for _ in 0..MOST_DROPPED {
            if !socket::recv(&self.socket, &mut room).is_ok_and(|count| count > 0) {
                return;
            }
        }
    }

    /// The end of the process is no end of an answer. Async-signal-safe: setsockopt.
    pub(super) fn break_at_end(&self) {
        let _ = socket::reset_at_close(&self.socket); // a unix socket knows no reset
    }

    /// The client sees the connection break. Async-signal-safe: shutdown.
    pub(super) fn cut(&self) {
        let _ = socket::shutdown_both(&self.socket); // a client that has gone sees it already
    }

    /// Nothing more will be written: the client sees the end of it.
    pub(super) fn shutdown_write(&self) {
        // A client that has gone needs no end.
        let _ = socket::shutdown_write(&self.socket);
    }
}

impl Watch {
    fn bits(self) -> u32 {
        let writes = if self == Watch::ReadsAndWrites { epoll::WRITABLE } else { 0 };
        epoll::READABLE | epoll::HUNG_UP | epoll::EDGE | writes
    }
}
