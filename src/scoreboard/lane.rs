//! One thread's lane: the exchange in flight and the figures of those that have ended. Written by that thread alone, read
//! by anybody.

use std::fmt::{self, Write};
use std::hint;
use std::sync::atomic::{AtomicU64, Ordering, fence};

use super::Monotonic;
use super::totals::{BUCKETS, Histogram, Totals};
use crate::sys::memory::Word;

// The words of a lane. The lane's thread writes all of them.

/// Odd while the words up to the end of [`TEXT`] change, even when they belong together.
const SEQUENCE: usize = 0;
/// The number of the exchange: the first one of a thread is 1.
const NUMBER: usize = 1;
/// When it began; 0 when there is none. The end of an exchange stores it alone, without the sequence.
const STARTED: usize = 2;
/// Since when the application has control; 0 while the host has it. Stored alone.
const IN_APP_SINCE: usize = 3;
/// Until when the application may be silent; 0: it has not asked. Stored alone.
const EXTENSION: usize = 4;
/// The kernel's id of the thread.
const THREAD: usize = 5;
/// Bytes of [`TEXT`] that are in use.
const TEXT_LENGTH: usize = 6;
/// Method, blank, path, cut at 128 bytes.
const TEXT: usize = 8;
const TEXT_WORDS: usize = REQUEST_LINE / 8;
/// Ended exchanges by class of status; 0 is for those without an answer.
const CLASSES: usize = 32;
/// Bytes of bodies sent.
const BYTES: usize = 38;
/// Nanoseconds of all ended exchanges.
const DURATION: usize = 39;
/// The buckets of the histogram.
const LATENCY: usize = 48;

/// Words of one lane: whole lines of 128 bytes, since processors fetch lines of 64 in pairs.
pub(super) const WORDS: usize = 176;

const _: () = assert!(WORDS.is_multiple_of(16) && LATENCY + BUCKETS <= WORDS && TEXT + TEXT_WORDS <= CLASSES);

/// The longest request line that a lane shows.
pub const REQUEST_LINE: usize = 128;

/// How often a reader looks before it gives up on a writer that is in the middle of a change, or dead there.
const TRIES: usize = 16;

/// What a thread is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InFlight {
    /// The number of the exchange on its thread.
    pub number: u64,
    /// When it began.
    pub started: Monotonic,
    /// Since when the application has control; 0: the host has it.
    pub in_app_since: Monotonic,
    /// Until when the application may be silent; 0: it has not asked.
    pub extension: Monotonic,
    /// Method and path.
    pub request: RequestLine,
}

/// Method and path of a request, at most 128 bytes, as text: `GET /path`. Shown with all control characters escaped.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct RequestLine {
    bytes: [u8; REQUEST_LINE],
    length: usize,
}

impl RequestLine {
    /// The bytes as they came from the network.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

impl fmt::Display for RequestLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for byte in self.as_bytes() {
            match byte {
                b'\\' | b'"' | 0..0x20 | 0x7f.. => write!(f, "\\x{byte:02x}")?,
                _ => f.write_char(char::from(*byte))?,
            }
        }
        Ok(())
    }
}

impl fmt::Debug for RequestLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}

/// A lane, to read.
#[derive(Clone, Copy, Debug)]
pub struct Lane<'a> {
    words: &'a [Word],
}

impl<'a> Lane<'a> {
    pub(super) fn new(words: &'a [Word]) -> Lane<'a> {
        Lane { words }
    }

    /// The exchange in flight. `None`: there is none, or it could not be read whole (the thread died while it wrote, or
    /// the words are absurd).
    pub fn exchange(&self) -> Option<InFlight> {
        for _ in 0..TRIES {
            let before = self.words[SEQUENCE].load();
            // What is read below was written no earlier than the sequence that was read above ...
            fence(Ordering::Acquire);
            let exchange = self.read_exchange();
            // ... and no later than the one that is read now, unless that is another.
            fence(Ordering::Acquire);
            if before.is_multiple_of(2) && self.words[SEQUENCE].load() == before {
                return Some(exchange).filter(|exchange| exchange.started != 0);
            }
            hint::spin_loop();
        }
        None
    }

    fn read_exchange(&self) -> InFlight {
        let mut bytes = [0; REQUEST_LINE];
        for (piece, word) in bytes.chunks_exact_mut(8).zip(&self.words[TEXT..]) {
            piece.copy_from_slice(&word.load().to_le_bytes());
        }
        let length =
            usize::try_from(self.words[TEXT_LENGTH].load()).unwrap_or(REQUEST_LINE).min(REQUEST_LINE);
        bytes[length..].fill(0);
        InFlight {
            number: self.words[NUMBER].load(),
            started: self.words[STARTED].load(),
            in_app_since: self.words[IN_APP_SINCE].load(),
            extension: self.words[EXTENSION].load(),
            request: RequestLine { bytes, length },
        }
    }

    /// The kernel's id of the thread; `None` before it has started, or when the word is none.
    pub fn thread_id(&self) -> Option<i32> {
        i32::try_from(self.words[THREAD].load()).ok().filter(|id| *id > 0)
    }

    /// How many exchanges have ended here.
    pub fn requests(&self) -> u64 {
        let classes = &self.words[CLASSES..CLASSES + 6];
        classes.iter().fold(0, |sum, class| sum.saturating_add(class.load()))
    }

    /// The figures of all exchanges that have ended here. They are read one by one: those of an exchange that ends
    /// meanwhile may be there in part.
    pub fn totals(&self) -> Totals {
        let classes: [u64; 6] = std::array::from_fn(|class| self.words[CLASSES + class].load());
        let [_, responses @ ..] = classes;
        Totals {
            requests: classes.iter().fold(0, |sum, count| sum.saturating_add(*count)),
            responses,
            bytes_sent: self.words[BYTES].load(),
            duration: self.words[DURATION].load(),
            latency: Histogram { buckets: std::array::from_fn(|bucket| self.words[LATENCY + bucket].load()) },
        }
    }
}

/// A lane, to write: for the one thread that it was given to. From several threads at once it would lose figures, no
/// more.
#[derive(Debug)]
pub struct LaneWriter {
    words: &'static [AtomicU64; WORDS],
}

impl LaneWriter {
    pub(super) fn new(words: &'static [AtomicU64; WORDS]) -> LaneWriter {
        LaneWriter { words }
    }

    /// Says which thread writes here. That thread, first thing.
    pub fn bind_thread(&self, id: i32) {
        self.store(THREAD, u64::from(id.unsigned_abs()));
    }

    /// One exchange starts. Gives its number.
    #[inline]
    pub fn begin(&self, now: Monotonic, method: &[u8], path: &[u8]) -> u64 {
        let number = self.load(NUMBER).wrapping_add(1);
        let changing = self.load(SEQUENCE) | 1;
        self.store(SEQUENCE, changing);
        // Nobody sees any store below without the odd sequence above ...
        fence(Ordering::Release);
        self.store(NUMBER, number);
        self.store(STARTED, now);
        self.store(IN_APP_SINCE, 0);
        self.store(EXTENSION, 0);
        let length = write_request(&self.words[TEXT..TEXT + TEXT_WORDS], method, path);
        self.store(TEXT_LENGTH, length as u64);
        // ... nor the even one without all of them.
        self.words[SEQUENCE].store(changing.wrapping_add(1), Ordering::Release);
        number
    }

    /// The application gets control: it is called, or a call of its own into the host returns.
    #[inline]
    pub fn enter_app(&self, now: Monotonic) {
        self.store(IN_APP_SINCE, now);
    }

    /// The host has control again.
    #[inline]
    pub fn leave_app(&self) {
        self.store(IN_APP_SINCE, 0);
    }

    /// Since when the application has control; 0: the host has it.
    pub fn in_app_since(&self) -> Monotonic {
        self.load(IN_APP_SINCE)
    }

    /// The application may be silent until then; it goes for this exchange.
    #[inline]
    pub fn extend(&self, until: Monotonic) {
        self.store(EXTENSION, until);
    }

    /// The call is over; its answer may still be on its way.
    #[inline]
    pub fn leave(&self) {
        self.store(STARTED, 0);
        self.store(IN_APP_SINCE, 0);
    }

    /// An exchange is over: answered with `status` and `bytes` of body in `duration` nanoseconds, or without an answer
    /// (0). It need not have been called on this thread.
    #[inline]
    pub fn count(&self, duration: u64, status: u16, bytes: u64) {
        let class = match usize::from(status / 100) {
            class @ 1..=5 => class,
            _ => 0,
        };
        self.add(CLASSES + class, 1);
        self.add(BYTES, bytes);
        self.add(DURATION, duration);
        self.add(LATENCY + Histogram::bucket(duration), 1);
    }

    fn load(&self, word: usize) -> u64 {
        self.words[word].load(Ordering::Relaxed)
    }

    #[inline]
    fn store(&self, word: usize, value: u64) {
        self.words[word].store(value, Ordering::Relaxed);
    }

    /// Not atomic, since nobody else adds: a locked instruction would cost more than all the rest.
    #[inline]
    fn add(&self, word: usize, value: u64) {
        self.store(word, self.load(word).wrapping_add(value));
    }
}

/// Writes `METHOD PATH`, cut where there is no more room, and says how long it is. Behind it the last word has zeroes,
/// and the others what they had.
#[inline]
fn write_request(words: &[AtomicU64], method: &[u8], path: &[u8]) -> usize {
    let method = &method[..method.len().min(REQUEST_LINE - 1)];
    let path = &path[..path.len().min(REQUEST_LINE - 1 - method.len())];
    let mut text = Packer { words, next: 0, pending: 0, bits: 0 };
    text.push_bytes(method);
    text.push(u64::from(b' '), 8);
    text.push_bytes(path);
    text.finish();
    method.len() + 1 + path.len()
}

/// Puts bytes together into words, in registers: to build the text in memory first and to load words from there would
/// make each load wait for several smaller stores, and doubled the cost of an exchange.
struct Packer<'a> {
    words: &'a [AtomicU64],
    /// The word that is being filled.
    next: usize,
    /// Its lower `bits` bits.
    pending: u64,
    bits: u32,
}

impl Packer<'_> {
    #[inline]
    fn push_bytes(&mut self, bytes: &[u8]) {
        let (whole, rest) = bytes.as_chunks::<8>();
        for piece in whole {
            self.push(u64::from_le_bytes(*piece), 64);
        }
        let rest = rest.iter().rfold(0, |word, byte| word << 8 | u64::from(*byte));
        self.push(rest, (bytes.len() % 8) as u32 * 8);
    }

    /// Appends the lower `bits` (at most 64) of `piece`, whose others are zero.
    #[inline]
    fn push(&mut self, piece: u64, bits: u32) {
        let joined = u128::from(piece) << self.bits | u128::from(self.pending);
        self.bits += bits;
        self.pending = joined as u64;
        if self.bits >= 64 {
            self.finish();
            self.pending = (joined >> 64) as u64;
            self.bits -= 64;
            self.next += 1;
        }
    }

    /// Stores the word that is being filled.
    #[inline]
    fn finish(&self) {
        if let Some(word) = self.words.get(self.next) {
            word.store(self.pending, Ordering::Relaxed);
        }
    }
}
