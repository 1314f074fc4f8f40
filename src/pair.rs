//! The socket pair between the master and one child: orders down, reports up, and the end of one seen by the other. It
//! does not decide what is sent when, and does not log.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd, RawFd};

use crate::sys::socket::{self, packet};

/// The longest text of a report, in bytes; a longer one is cut.
pub(crate) const MAX_TEXT: usize = 4096;

/// How [`Report::Look`] is sent.
const LOOK: &[u8] = b"L";

/// One end. It is closed when dropped, which the other end sees.
#[derive(Debug)]
pub(crate) struct Pair {
    /// Non-blocking, close-on-exec, SOCK_SEQPACKET: a message is whole or not there.
    socket: OwnedFd,
}

/// What the master tells a child.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    /// Leave the listeners, finish what is in flight, and go.
    Retire(Farewell),
    /// Go at once.
    Quick,
    /// Take a turn, so that the slot shows that you can.
    Ping,
    /// Go on writing to the log files that come with it: the error log's first, then the access log's, each only if it
    /// is named here.
    Reopen {
        /// Whether the error log's comes.
        errorlog: bool,
        /// Whether the access log's comes.
        accesslog: bool,
    },
    /// To a new master, from the one that started it: the service manager listens to you now.
    Speak,
    /// To a new master, from the one that started it: it leaves.
    Leaving,
    /// To a mold: fork a worker. The worker's end of its own pair comes with it.
    Fork {
        /// The worker's slot on the board.
        slot: u32,
        /// How many requests it may answer; 0: any number.
        request_limit: u64,
    },
}

/// Why a child retires: it decides how long idle connections stay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Farewell {
    /// Others go on in its place.
    Reload,
    /// The whole server stops.
    Stop,
}

/// What a child tells the master.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Report {
    /// Look at my slot.
    Look,
    /// A worker serves, or a mold has started the application and can fork workers. A worker's slot says so too, but the
    /// application may have written over it by the time somebody looks.
    Ready,
    /// Open the log files anew, for me: I was told to, and have no right to the directory.
    WantsLogs,
    /// Why it cannot boot.
    Failed(String),
    /// Of a new master, to the one that started it: all its workers are Ready, and it has kept the listeners with these
    /// numbers of those that it was handed.
    Serving(Vec<RawFd>),
    /// Of a new master, to the one that started it: it leaves, and the service manager listens to the old one again.
    Leaving,
    /// A mold has forked a worker.
    Forked {
        /// For which slot.
        slot: u32,
        /// As the mold says; the kernel is asked before it is believed.
        pid: i32,
    },
    /// A mold could not fork a worker.
    NotForked {
        /// For which slot.
        slot: u32,
        /// The kernel's error number.
        error: i32,
    },
}

/// What came of receiving.
#[derive(Debug)]
pub(crate) enum Received<T> {
    /// A message and its descriptors, as many as it says.
    Message(T, Vec<OwnedFd>),
    /// Nothing there now.
    Nothing,
    /// The other end is closed, and everything that it had sent was received.
    Closed,
}

/// What came of sending.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(crate) enum Sent {
    /// It is in the other's queue.
    Yes,
    /// The queue is full; the other does not read.
    Full,
    /// The other end is closed.
    Closed,
}

/// Two ends: the master's and the child's.
pub(crate) fn pair() -> io::Result<(Pair, Pair)> {
    let (master, child) = socket::seqpacket_pair()?;
    Ok((Pair { socket: master }, Pair { socket: child }))
}

impl Pair {
    /// An end that was inherited over an `exec`.
    pub(crate) fn adopt(socket: OwnedFd) -> Pair {
        Pair { socket }
    }

    /// Sends an order, with the descriptors that it names.
    ///
    /// # Errors
    /// `InvalidInput` when there are more or fewer descriptors than it names.
    pub(crate) fn send_order(&self, order: &Order, descriptors: &[BorrowedFd<'_>]) -> io::Result<Sent> {
        if descriptors.len() != order.descriptors() {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        self.send(&order.encode(), descriptors)
    }

    /// Sends a report.
    pub(crate) fn send_report(&self, report: &Report) -> io::Result<Sent> {
        self.send(&report.encode(), &[])
    }

    /// Sends [`Report::Look`], if there is room. Async-signal-safe: send.
    pub(crate) fn nudge(&self) {
        // A master that has not read the others will look anyway.
        let _ = socket::send(&self.socket, LOOK, false);
    }

    /// Receives one order.
    ///
    /// # Errors
    /// `InvalidData` for what is no order: it is gone from the queue, and its descriptors are closed.
    pub(crate) fn receive_order(&self) -> io::Result<Received<Order>> {
        self.receive(Order::decode, Order::descriptors)
    }

    /// Receives one report.
    ///
    /// # Errors
    /// `InvalidData` for what is no report: it is gone from the queue, and its descriptors are closed.
    pub(crate) fn receive_report(&self) -> io::Result<Received<Report>> {
        self.receive(Report::decode, |_| 0)
    }

    fn send(&self, bytes: &[u8], descriptors: &[BorrowedFd<'_>]) -> io::Result<Sent> {
        match packet::send(&self.socket, bytes, descriptors) {
            Ok(()) => Ok(Sent::Yes),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(Sent::Full),
            Err(error) if is_closed(&error) => Ok(Sent::Closed),
            Err(error) => Err(error),
        }
    }

    fn receive<T>(
        &self,
        decode: fn(&[u8]) -> Option<T>,
        descriptors: fn(&T) -> usize,
    ) -> io::Result<Received<T>> {
        let mut buffer = [0; MAX_TEXT + 1];
        let packet = match self.receive_packet(&mut buffer) {
            Ok(packet) => packet,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                return Ok(Received::Nothing);
            }
            Err(error) if is_closed(&error) => return Ok(Received::Closed),
            Err(error) => return Err(error),
        };
        if packet.length == 0 && packet.descriptors.is_empty() && socket::peer_gone(&self.socket) {
            return Ok(Received::Closed);
        }
        let message = decode(&buffer[..packet.length]).filter(|_| !packet.truncated);
        match message.filter(|message| descriptors(message) == packet.descriptors.len()) {
            Some(message) => Ok(Received::Message(message, packet.descriptors)),
            None => Err(io::Error::new(io::ErrorKind::InvalidData, "not a message of this program")),
        }
    }

    /// A peer that was closed with our messages unread says so once; what it sent before that is still in the queue.
    fn receive_packet(&self, buffer: &mut [u8]) -> io::Result<packet::Packet> {
        match packet::receive(&self.socket, buffer) {
            Err(error) if is_closed(&error) => packet::receive(&self.socket, buffer),
            other => other,
        }
    }
}

/// An end that came by an order.
impl From<OwnedFd> for Pair {
    fn from(socket: OwnedFd) -> Pair {
        Pair { socket }
    }
}

impl AsFd for Pair {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

fn is_closed(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionReset, NotConnected};
    matches!(error.kind(), BrokenPipe | ConnectionReset | NotConnected)
}

impl Order {
    /// One byte that names it, and more that say more where there is more.
    fn encode(self) -> Vec<u8> {
        match self {
            Order::Retire(Farewell::Reload) => b"Rr".to_vec(),
            Order::Retire(Farewell::Stop) => b"Rs".to_vec(),
            Order::Quick => b"Q.".to_vec(),
            Order::Ping => b"P.".to_vec(),
            Order::Reopen { errorlog, accesslog } => {
                vec![b'O', b'0' + u8::from(errorlog) + 2 * u8::from(accesslog)]
            }
            Order::Fork { slot, request_limit } => {
                [b"F".as_slice(), &slot.to_le_bytes(), &request_limit.to_le_bytes()].concat()
            }
            Order::Speak => b"S.".to_vec(),
            Order::Leaving => b"L.".to_vec(),
        }
    }

    fn decode(bytes: &[u8]) -> Option<Order> {
        match bytes {
            b"Rr" => Some(Order::Retire(Farewell::Reload)),
            b"Rs" => Some(Order::Retire(Farewell::Stop)),
            b"Q." => Some(Order::Quick),
            b"P." => Some(Order::Ping),
            b"S." => Some(Order::Speak),
            b"L." => Some(Order::Leaving),
            [b'O', bits @ b'0'..=b'3'] => {
                Some(Order::Reopen { errorlog: bits & 1 != 0, accesslog: bits & 2 != 0 })
            }
            [b'F', rest @ ..] => {
                let (slot, limit) = rest.split_first_chunk()?;
                let request_limit = u64::from_le_bytes(limit.try_into().ok()?);
                Some(Order::Fork { slot: u32::from_le_bytes(*slot), request_limit })
            }
            _ => None,
        }
    }

    /// How many descriptors come with it.
    fn descriptors(&self) -> usize {
        match self {
            Order::Retire(_) | Order::Quick | Order::Ping | Order::Speak | Order::Leaving => 0,
            Order::Reopen { errorlog, accesslog } => usize::from(*errorlog) + usize::from(*accesslog),
            Order::Fork { .. } => 1,
        }
    }
}

impl Report {
    fn encode(&self) -> Vec<u8> {
        match self {
            Report::Look => LOOK.to_vec(),
            Report::Ready => b"R".to_vec(),
            Report::WantsLogs => b"U".to_vec(),
            Report::Failed(text) => {
                let text = &text[..text.floor_char_boundary(MAX_TEXT)];
                [b"F", text.as_bytes()].concat()
            }
            Report::Serving(kept) => {
                let kept: Vec<String> = kept.iter().map(ToString::to_string).collect();
                format!("S{}", kept.join(",")).into_bytes()
            }
            Report::Leaving => b"V".to_vec(),
            Report::Forked { slot, pid } => two(b"B", *slot, *pid),
            Report::NotForked { slot, error } => two(b"N", *slot, *error),
        }
    }

    fn decode(bytes: &[u8]) -> Option<Report> {
        match bytes {
            LOOK => Some(Report::Look),
            b"R" => Some(Report::Ready),
            b"U" => Some(Report::WantsLogs),
            b"V" => Some(Report::Leaving),
            [b'S', kept @ ..] => {
                let numbers = str::from_utf8(kept).ok()?.split_terminator(',');
                Some(Report::Serving(numbers.map(|number| number.parse().ok()).collect::<Option<_>>()?))
            }
            [b'F', text @ ..] => Some(Report::Failed(String::from_utf8_lossy(text).into_owned())),
            [b'B', rest @ ..] => both(rest).map(|(slot, pid)| Report::Forked { slot, pid }),
            [b'N', rest @ ..] => both(rest).map(|(slot, error)| Report::NotForked { slot, error }),
            _ => None,
        }
    }
}

/// A name, a slot and a number.
fn two(name: &[u8], slot: u32, number: i32) -> Vec<u8> {
    [name, &slot.to_le_bytes(), &number.to_le_bytes()].concat()
}

fn both(bytes: &[u8]) -> Option<(u32, i32)> {
    let (slot, number) = bytes.split_first_chunk()?;
    Some((u32::from_le_bytes(*slot), i32::from_le_bytes(number.try_into().ok()?)))
}

#[cfg(test)]
mod tests;
