//! What the application may do with an exchange during its call, and the rules of it: one answer, never more bytes
//! than declared, nothing after the end, and no wait without a limit.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::time::Duration;

use tracing::{debug, error};

use super::exchange::{Answer, Job, Received, Stream};
use super::incoming::BadBody;
use super::last_words::Stage;
use super::outgoing::Sent;
use super::rules::nanoseconds;
use crate::app::{self, FieldView, Host, Notice, ReadError, Refusal, RequestView};
use crate::http::{self, BodyFraming, Version};
use crate::sys::clock;

/// A streamed answer is sent in pieces of this size, or when the application says so ...
const PIECE: usize = 16 * 1024;

/// ... or when the application writes and nothing was sent for so long (nanoseconds).
const PATIENCE: u64 = 20_000_000;

/// More than this is never unsent while a stream goes on: the application waits for the client.
const MOST_UNSENT: usize = 64 * 1024;

/// A whole body above this goes to the socket from where it is; only what the socket does not take is copied.
const LARGEST_COPIED: u64 = 32 * 1024;

/// Its answer has content of length zero (RFC 9110 §15.3.6).
const RESET_CONTENT: u16 = 205;

impl Host for Job {
    // Always: what it makes is turned into the interface's form at once, and is not kept in between.
    #[inline(always)]
    fn request(&self) -> RequestView<'_> {
        self.view()
    }

    #[inline]
    fn request_field(&self, index: usize) -> Option<FieldView<'_>> {
        self.view_field(index)
    }

    fn read(&mut self, buffer: &mut [u8], wait: bool) -> Result<usize, ReadError> {
        if buffer.is_empty() {
            return Ok(0);
        }
        loop {
            if let Some(count) = self.take_buffered(buffer)? {
                self.return_to_application(clock::monotonic());
                return Ok(count);
            }
            match self.receive(buffer).map_err(|bad| self.stop_reading(refused_body(&bad)))? {
                Received::Direct(count) => {
                    self.return_to_application(clock::monotonic());
                    return Ok(count);
                }
                Received::Buffered => {}
                Received::End => return Err(self.stop_reading(ReadError::Gone)),
                Received::Nothing if !wait => return Err(ReadError::WouldBlock),
                Received::Nothing => self.await_input()?,
            }
        }
    }

    fn body(&mut self) -> Option<&[u8]> {
        let input = &self.wire_ref().input;
        self.incoming.as_ref().and_then(|incoming| incoming.whole(input))
    }

    fn respond(&mut self, answer: &app::Answer<'_>) -> Result<(), Refusal> {
        self.make_answer(Stage::Made, |job| job.answer_whole(answer))
    }

    fn respond_file(
        &mut self,
        answer: &app::Answer<'_>,
        file: OwnedFd,
        offset: u64,
        length: u64,
    ) -> Result<(), Refusal> {
        self.make_answer(Stage::Made, |job| job.answer_file(answer, file.into(), offset, length))
    }

    fn begin(&mut self, answer: &app::Answer<'_>, length: Option<u64>) -> Result<(), Refusal> {
        self.make_answer(Stage::Begun, |job| {
            let stream = job.begin_answer(answer, length)?;
            job.answer = Answer::Streaming(stream);
            Ok(())
        })
    }

    fn write(&mut self, data: &[u8]) -> Result<(), Refusal> {
        let stream = self.stream()?;
        if data.is_empty() {
            return Ok(());
        }
        match stream {
            Stream::Length(left) if left < data.len() as u64 => {
                return Err(self.find_fault("the application wrote more than the length it had declared"));
            }
            Stream::Length(left) => self.answer = Answer::Streaming(Stream::Length(left - data.len() as u64)),
            Stream::Chunked | Stream::UntilClose => {}
            Stream::Dropped => return Ok(()),
        }
        self.body_bytes += data.len() as u64;
        self.append(stream, data);
        let now = clock::monotonic();
        if self.outgoing.unsent() >= PIECE || now.saturating_sub(self.pushed) >= PATIENCE {
            return self.push(MOST_UNSENT);
        }
        self.return_to_application(now);
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Refusal> {
        self.stream()?;
        self.push(usize::MAX)
    }

    fn finish(&mut self, trailers: app::Fields<'_>) -> Result<(), Refusal> {
        match self.stream()? {
            Stream::Length(0) | Stream::UntilClose | Stream::Dropped => {}
            Stream::Length(left) => {
                return Err(
                    self.find_fault(&format!("the application wrote {left} bytes less than it had declared"))
                );
            }
            Stream::Chunked => http::encode_trailers(self.outgoing.bytes(), trailers)
                .map_err(|bad| self.refuse(&bad.to_string()))?,
        }
        self.answer = Answer::Finished;
        if let Some(desk) = self.desk {
            desk.finish();
        }
        Ok(())
    }

    fn early_hints(&mut self, fields: app::Fields<'_>) -> Result<(), Refusal> {
        let result = self.make_answer(Stage::Open, |job| {
            if job.version() == Version::Http10 {
                return Ok(());
            }
            http::encode_interim(job.outgoing.bytes(), 103, fields)
                .map_err(|bad| job.refuse(&bad.to_string()))?;
            job.push(usize::MAX)
        });
        // A whole interim answer leaves the way free for a final one.
        if let Some(desk) = self.desk
            && result.is_ok()
            && self.outgoing.is_empty()
        {
            desk.set(Stage::Open);
        }
        result
    }

    fn cancelled(&self) -> bool {
        self.is_over_time()
            || self.broken.is_some()
            || self.unreadable == Some(ReadError::Gone)
            || self.wire_ref().is_client_gone()
    }

    fn extend(&mut self, by: Duration) {
        if let Some(desk) = self.desk {
            desk.lane.extend(clock::monotonic().saturating_add(nanoseconds(by)));
        }
    }

    fn request_id(&mut self) -> &[u8] {
        if self.id.is_empty() {
            self.id = self.engine.next_request_id();
        }
        self.id.as_bytes()
    }

    fn on_finished(&mut self, notice: Notice) {
        self.notices.push(notice);
    }
}

impl Job {
    /// Makes an answer, or a part of one. Until it is made, and when it cannot be, a handler may still give another.
    #[inline]
    fn make_answer(
        &mut self,
        then: Stage,
        make: impl FnOnce(&mut Job) -> Result<(), Refusal>,
    ) -> Result<(), Refusal> {
        self.awaits_answer()?;
        let Some(desk) = self.desk else { return make(self) };
        if !desk.claim() {
            return Err(Refusal::TimedOut);
        }
        let result = make(self);
        desk.settle(if result.is_ok() { then } else { Stage::Open });
        result
    }

    fn answer_whole(&mut self, answer: &app::Answer<'_>) -> Result<(), Refusal> {
        let length = answer.body_len();
        let has_body = self.begin_answer(answer, Some(length))? != Stream::Dropped;
        self.answer = Answer::Finished;
        if !has_body {
            return Ok(());
        }
        self.body_bytes = length;
        if length > LARGEST_COPIED {
            return self.send_slices(answer);
        }
        answer.body().for_each(|slice| self.outgoing.bytes().extend_from_slice(slice));
        Ok(())
    }

    fn answer_file(
        &mut self,
        answer: &app::Answer<'_>,
        file: File,
        offset: u64,
        length: u64,
    ) -> Result<(), Refusal> {
        let end = offset.checked_add(length).ok_or(Refusal::Invalid)?;
        match file.metadata() {
            Ok(found) if found.is_file() && found.len() >= end => {}
            Ok(_) | Err(_) => {
                return Err(self.refuse("a file that is no regular file, or shorter than it says"));
            }
        }
        let has_body = self.begin_answer(answer, Some(length))? != Stream::Dropped;
        self.answer = Answer::Finished;
        if has_body {
            self.body_bytes = length;
            self.outgoing.set_file(file.into(), offset, length);
        }
        Ok(())
    }

    /// Was the exchange ended over the application's head?
    fn is_over_time(&self) -> bool {
        self.desk.is_some_and(|desk| desk.taken().is_some())
    }

    /// Something is sent from here on: nobody can take it back.
    fn begin_to_send(&self) {
        if let Some(desk) = self.desk {
            desk.set(Stage::Sending);
        }
    }

    fn awaits_answer(&self) -> Result<(), Refusal> {
        match (self.broken, self.answer) {
            (Some(refusal), _) => Err(refusal),
            (None, Answer::Awaited) => Ok(()),
            (None, Answer::Streaming(_) | Answer::Finished) => {
                error!("{}: the application answered twice; the first answer counts", self.title());
                Err(Refusal::Answered)
            }
        }
    }

    fn stream(&self) -> Result<Stream, Refusal> {
        let too_late = self.is_over_time().then_some(Refusal::TimedOut);
        match (too_late.or(self.broken).or(self.fault), self.answer) {
            (Some(refusal), _) => Err(refusal),
            (None, Answer::Streaming(stream)) => Ok(stream),
            (None, Answer::Awaited) => Err(Refusal::NotBegun),
            (None, Answer::Finished) => Err(Refusal::Answered),
        }
    }

    /// The stream cannot go on as it was begun: said once, and whatever else is written is refused.
    #[cold]
    fn find_fault(&mut self, found: &str) -> Refusal {
        error!("{}: {found}; the connection is cut", self.title());
        self.fault = Some(Refusal::Length);
        Refusal::Length
    }

    /// Makes the head of an answer whose body has that length, if it is known; says how the body is framed.
    fn begin_answer(&mut self, answer: &app::Answer<'_>, length: Option<u64>) -> Result<Stream, Refusal> {
        let declared = http::declared_length(answer.fields()).map_err(|bad| self.refuse(&bad.to_string()))?;
        let framing = self.framing(answer.status, length, declared)?;
        self.encode_head(answer, framing).map_err(|bad| self.refuse(&bad.to_string()))?;
        if self.head.is_head() || answer.status == RESET_CONTENT {
            return Ok(Stream::Dropped);
        }
        Ok(match framing {
            BodyFraming::Length(length) => Stream::Length(length),
            BodyFraming::Chunked => Stream::Chunked,
            BodyFraming::UntilClose => Stream::UntilClose,
            BodyFraming::None => Stream::Dropped,
        })
    }

    /// The framing of the answer's body (RFC 9112 §6.3). An answer to HEAD says what GET would be sent.
    fn framing(
        &mut self,
        status: u16,
        length: Option<u64>,
        declared: Option<u64>,
    ) -> Result<BodyFraming, Refusal> {
        if !http::may_have_body(status) {
            if length.is_some_and(|length| length > 0) {
                debug!(
                    "{}: an answer with status {status} has no body; the application's was dropped",
                    self.title()
                );
            }
            return Ok(BodyFraming::None);
        }
        if status == RESET_CONTENT {
            return Ok(BodyFraming::Length(0));
        }
        let is_head = self.head.is_head();
        match (length, declared) {
            (Some(length), Some(declared)) if length != declared && !is_head => {
                Err(self.refuse(&format!("Content-Length {declared} on a body of {length} bytes")))
            }
            (_, Some(length)) | (Some(length), None) => Ok(BodyFraming::Length(length)),
            (None, None) if self.version() == Version::Http10 => Ok(BodyFraming::UntilClose),
            (None, None) => Ok(BodyFraming::Chunked),
        }
    }

    #[cold]
    fn refuse(&self, found: &str) -> Refusal {
        error!("{}: the application's answer cannot be sent: {found}", self.title());
        Refusal::Invalid
    }

    /// Sends a large body from where it is, and keeps what the socket does not take.
    fn send_slices(&mut self, answer: &app::Answer<'_>) -> Result<(), Refusal> {
        let slices: Vec<&[u8]> = answer.body().collect();
        self.begin_to_send();
        let Ok(mut sent) = self.send_with(&slices) else { return Err(self.break_off(Refusal::Gone)) };
        for slice in slices {
            let gone = sent.min(slice.len());
            sent -= gone;
            self.outgoing.bytes().extend_from_slice(&slice[gone..]);
        }
        Ok(())
    }

    fn append(&mut self, stream: Stream, data: &[u8]) {
        let bytes = self.outgoing.bytes();
        if stream == Stream::Chunked {
            http::encode_chunk_head(bytes, data.len());
        }
        bytes.extend_from_slice(data);
        if stream == Stream::Chunked {
            bytes.extend_from_slice(http::CHUNK_END);
        }
    }

    /// Sends what the client takes, and waits for it while more than `most` is unsent.
    fn push(&mut self, most: usize) -> Result<(), Refusal> {
        self.leave_application();
        self.begin_to_send();
        let result = loop {
            match self.send() {
                Sent::All => break Ok(()),
                Sent::Enough => {}
                Sent::Gone | Sent::FileEnded => break Err(Refusal::Gone),
                Sent::Some if self.outgoing.unsent() <= most => break Ok(()),
                Sent::Some => {
                    if let Err(refusal) = self.await_client() {
                        break Err(refusal);
                    }
                }
            }
        };
        self.pushed = clock::monotonic();
        self.return_to_application(self.pushed);
        result.map_err(|refusal| self.break_off(refusal))
    }

    fn await_client(&mut self) -> Result<(), Refusal> {
        let limit = self.engine.rules.write_timeout;
        match self.wire().wait_writable(limit) {
            Ok(true) => Ok(()),
            Ok(false) => Err(Refusal::TimedOut),
            Err(_) => Err(Refusal::Gone),
        }
    }

    fn take_buffered(&mut self, buffer: &mut [u8]) -> Result<Option<usize>, ReadError> {
        if let Some(error) = self.unreadable {
            return Err(error);
        }
        Ok(self.take_decoded(buffer))
    }

    fn await_input(&mut self) -> Result<(), ReadError> {
        let limit = self.engine.rules.body_timeout;
        self.leave_application();
        let waited = self.wire().wait_readable(limit);
        self.return_to_application(clock::monotonic());
        match waited {
            Ok(true) => Ok(()),
            Ok(false) => Err(self.stop_reading(ReadError::TimedOut)),
            Err(_) => Err(self.stop_reading(ReadError::Gone)),
        }
    }

    /// Nothing more goes to this client.
    #[cold]
    fn break_off(&mut self, refusal: Refusal) -> Refusal {
        self.broken = Some(refusal);
        self.keeps_alive = false;
        refusal
    }

    /// Nothing more is read from this client; it may still be answered.
    #[cold]
    fn stop_reading(&mut self, error: ReadError) -> ReadError {
        self.unreadable = Some(error);
        self.keeps_alive = false;
        error
    }

    /// From here on the host has control, and its own limits count.
    fn leave_application(&self) {
        if let Some(desk) = self.desk {
            desk.lane.leave_app();
        }
    }

    /// From here on the application's time counts, anew.
    fn return_to_application(&self, now: u64) {
        if let Some(desk) = self.desk
            && desk.taken().is_none()
        {
            desk.lane.enter_app(now);
        }
    }
}

fn refused_body(bad: &BadBody) -> ReadError {
    match bad {
        BadBody::TooLarge => ReadError::TooLarge,
        BadBody::Malformed(_) => ReadError::Malformed,
    }
}
