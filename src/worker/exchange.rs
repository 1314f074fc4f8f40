//! One request and its answer, from the complete head to the answer's last byte. What the application may do with it
//! is in `answering`; when which step is taken is in `connection`.

use std::io;
use std::time::Duration;

use super::engine::Engine;
use super::incoming::{BadBody, Incoming};
use super::last_words::{Desk, Taken};
use super::outgoing::{Outgoing, Sent};
use super::record::SentHead;
use super::wire::{Arrival, Wire};
use tracing::error;

use crate::app::{self, CallOutcome, Notice, ReadError, Refusal};
use crate::http::{
    self, BodyFraming, Connection, Date, ErrorPage, Framing, Reject, RequestHead, ResponseHead, Version,
};
use crate::log::AccessBuffer;
use crate::scoreboard::LaneWriter;
use crate::sys::clock;

/// The struct that crosses the door, and the job behind it.
pub(super) type Exchange = app::Exchange<Job>;

/// The least room for the body while the application reads it as it comes.
pub(super) const LEAST_ROOM: usize = 16 * 1024;

/// What the worker keeps for one exchange. It is used again for the next one: its allocations stay.
pub(super) struct Job {
    pub(super) engine: &'static Engine,
    /// The desk of the thread that is in the call; none outside of it.
    pub(super) desk: Option<&'static Desk>,
    wire: Option<Box<Wire>>,
    pub(super) head: RequestHead,
    /// None before the head is complete: a head that was refused has no body that we could know of.
    pub(super) incoming: Option<Incoming>,
    /// The path, where decoding changes it.
    path: Vec<u8>,
    pub(super) answer: Answer,
    pub(super) outgoing: Outgoing,
    /// Of the answer; 0 before there is one.
    pub(super) status: u16,
    /// Bytes of the answer's body that were handed over, without framing.
    pub(super) body_bytes: u64,
    /// Another request may follow on this connection.
    pub(super) keeps_alive: bool,
    /// The answer is not whole and never will be: the client has to see the connection break.
    pub(super) cuts_off: bool,
    /// Why nothing more of the body can be read.
    pub(super) unreadable: Option<ReadError>,
    /// Why nothing more can be sent.
    pub(super) broken: Option<Refusal>,
    /// What the application did wrong in a streamed answer.
    pub(super) fault: Option<Refusal>,
    /// The answer's head, where the access log wants to see it.
    pub(super) sent_head: SentHead,
    /// When a streamed answer was last sent as far as it was there.
    pub(super) pushed: u64,
    pub(super) id: String,
    pub(super) notices: Vec<Notice>,
    pub(super) date: Date,
    /// When the first byte was read, and when the application was called: of the monotonic clock.
    pub(super) arrived: u64,
    pub(super) called: u64,
}

/// Where the answer stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// There is none.
    Awaited,
    /// Its head was made, and its body comes in pieces.
    Streaming(Stream),
    /// It is whole.
    Finished,
}

/// How the pieces of a streamed body are framed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stream {
    /// So many bytes are still to come.
    Length(u64),
    /// In chunks.
    Chunked,
    /// The end of the connection is the end of the body.
    UntilClose,
    /// Not at all: this answer has no body.
    Dropped,
}

impl Job {
    /// A job for requests to come.
    pub(super) fn new(engine: &'static Engine) -> Job {
        Job {
            engine,
            desk: None,
            wire: None,
            head: RequestHead::with_leniency(engine.rules.leniency),
            incoming: None,
            path: Vec::new(),
            answer: Answer::Awaited,
            outgoing: Outgoing::default(),
            status: 0,
            body_bytes: 0,
            keeps_alive: false,
            cuts_off: false,
            unreadable: None,
            broken: None,
            fault: None,
            sent_head: SentHead::default(),
            pushed: 0,
            id: String::new(),
            notices: Vec::new(),
            date: Date::at(0),
            arrived: 0,
            called: 0,
        }
    }

    /// Takes a connection, on which a head is arriving.
    pub(super) fn engage(&mut self, wire: Box<Wire>) {
        self.arrived = wire.since;
        self.called = self.arrived;
        self.pushed = self.arrived;
        self.wire = Some(wire);
        self.head.clear();
        self.incoming = None;
        self.path.clear();
        self.answer = Answer::Awaited;
        self.status = 0;
        self.body_bytes = 0;
        self.keeps_alive = false;
        self.cuts_off = false;
        self.unreadable = None;
        self.broken = None;
        self.fault = None;
        self.sent_head.0.clear();
        self.id.clear();
    }

    /// Gives the connection back; what is left in its input is the next request.
    pub(super) fn disengage(&mut self) -> Option<Box<Wire>> {
        let mut wire = self.wire.take()?;
        self.outgoing.clear();
        wire.input.consume(self.incoming.as_ref().map_or(usize::MAX, Incoming::end));
        Some(wire)
    }

    /// The connection.
    pub(super) fn wire(&mut self) -> &mut Wire {
        self.wire.as_mut().expect("`engage` put it there, and `disengage` ends the exchange")
    }

    /// The connection, to look at.
    pub(super) fn wire_ref(&self) -> &Wire {
        self.wire.as_ref().expect("`engage` put it there, and `disengage` ends the exchange")
    }

    /// Looks for the end of the head in what has arrived: false when it is not there yet.
    pub(super) fn parse(&mut self) -> Result<bool, Reject> {
        let wire = self.wire.as_mut().expect("`engage` put it there");
        let Some(len) = self.head.parse(wire.input.filled_mut(), &self.engine.rules.head)? else {
            return Ok(false);
        };
        if self.head.is_path_encoded() {
            http::percent_decode(self.head.path(wire.input.filled()), &mut self.path);
        }
        self.incoming = Some(Incoming::new(len, self.head.framing(), &self.engine.rules.head));
        self.keeps_alive = self.head.keep_alive();
        Ok(true)
    }

    /// Decodes what has arrived of the body: true when the application can be called.
    #[inline]
    pub(super) fn decode(&mut self) -> Result<bool, BadBody> {
        let wire = self.wire.as_mut().expect("`engage` put it there");
        let Some(incoming) = &mut self.incoming else { return Ok(false) };
        if incoming.is_complete() {
            return Ok(true);
        }
        let limit = self.engine.rules.body;
        if matches!(self.head.framing(), Framing::Length(length) if length > limit) {
            return Err(BadBody::TooLarge);
        }
        incoming.decode(&mut wire.input, limit)?;
        Ok(incoming.is_complete() || incoming.buffered() >= self.engine.rules.body_buffer)
    }

    /// How much room the buffer should have in all, so that the body can go on arriving; one byte more than the body
    /// has, so that the read that brings its end is a short one and shows that the socket is empty.
    pub(super) fn wanted_room(&self) -> usize {
        let here = self.wire_ref().input.len();
        let expected = match self.head.framing() {
            Framing::Length(length) => usize::try_from(length).unwrap_or(usize::MAX),
            Framing::None | Framing::Chunked => here.max(LEAST_ROOM),
        };
        let head = self.incoming.as_ref().map_or(0, |incoming| incoming.end() - incoming.buffered());
        head + expected.min(self.engine.rules.body_buffer).max(here - head).max(LEAST_ROOM) + 1
    }

    /// The client waits for permission to send its body.
    pub(super) fn awaits_permission(&self) -> bool {
        self.head.expects_continue()
            && self.wire_ref().input.len() <= self.incoming.as_ref().map_or(0, Incoming::end)
    }

    /// Reads more of the body from the wire, into `direct` where that is possible: how many bytes went there.
    pub(super) fn receive(&mut self, direct: &mut [u8]) -> Result<Received, BadBody> {
        let limit = self.engine.rules.body;
        let wire = self.wire.as_mut().expect("`engage` put it there");
        let Some(incoming) = &mut self.incoming else { return Ok(Received::End) };
        if let Some(most) = incoming.direct(&wire.input) {
            let most = usize::try_from(most).unwrap_or(usize::MAX).min(direct.len());
            let arrival = wire.read_into(&mut direct[..most]);
            if let Arrival::Bytes(count) = arrival {
                incoming.decode_direct(&direct[..count])?;
            }
            return Ok(Received::of(arrival, true));
        }
        incoming.make_room(&mut wire.input);
        let arrival = wire.read();
        incoming.decode(&mut wire.input, limit)?;
        Ok(Received::of(arrival, false))
    }

    /// Moves what is decoded of the body to the application's buffer: how many bytes. None: more has to be read first.
    pub(super) fn take_decoded(&mut self, buffer: &mut [u8]) -> Option<usize> {
        let wire = self.wire.as_ref().expect("`engage` put it there");
        let Some(incoming) = &mut self.incoming else { return Some(0) };
        let is_over = incoming.is_complete() && incoming.buffered() == 0;
        (is_over || incoming.buffered() > 0).then(|| incoming.take(&wire.input, buffer))
    }

    /// Can the application read on without the head being moved under its eyes?
    pub(super) fn has_room_to_read(&self) -> bool {
        let input = &self.wire_ref().input;
        self.has_drained_input() || input.capacity() - input.len() >= LEAST_ROOM
    }

    /// Sends what is unsent and then `slices`: how much of the slices the socket took.
    pub(super) fn send_with(&mut self, slices: &[&[u8]]) -> io::Result<usize> {
        let wire = self.wire.as_mut().expect("`engage` put it there");
        self.outgoing.send_with(wire, slices)
    }

    /// The application is called `now`, on the thread of `desk`.
    pub(super) fn enter(&mut self, desk: &'static Desk, now: u64) {
        self.called = now;
        let input = self.wire_ref().input.filled();
        let number = desk.lane.begin(self.arrived, self.head.method(input), self.head.path(input));
        desk.begin(self, number, self.outgoing.is_empty());
        desk.lane.enter_app(self.called);
        self.desk = Some(desk);
    }

    /// The client has to take what is unsent: its time counts from the last byte that it took, or from the call.
    pub(super) fn begin_to_wait(&mut self) {
        let called = self.called;
        self.wire().begin_to_wait(called);
    }

    /// The call is over. Says how the exchange has ended meanwhile, if it has.
    pub(super) fn leave(&mut self) -> Option<Taken> {
        let desk = self.desk.take()?;
        let taken = desk.end();
        desk.lane.leave();
        taken
    }

    /// Answers in the host's own name, behind whatever interim answers there were, and ends the connection.
    #[cold]
    pub(super) fn answer_with_page(&mut self, status: u16, sentence: &str) {
        self.date.refresh(clock::realtime_coarse_seconds());
        let page = ErrorPage {
            status,
            sentence,
            server: self.engine.rules.server.as_ref(),
            head_only: self.head.is_head(),
            ..ErrorPage::new(&self.date, self.version())
        };
        let start = self.outgoing.bytes().len();
        page.encode(self.outgoing.bytes());
        let page = &self.outgoing.bytes()[start..];
        self.body_bytes =
            memchr::memmem::find(page, b"\r\n\r\n").map_or(0, |end| page.len() - end - 4) as u64;
        self.status = status;
        self.answer = Answer::Finished;
        self.keeps_alive = false;
    }

    /// The same for a request that is refused.
    pub(super) fn answer_with_refusal(&mut self, reject: Reject) {
        self.answer_with_page(reject.status(), reject.sentence());
    }

    /// The same in place of an application that did not answer.
    #[cold]
    pub(super) fn answer_for_application(&mut self, outcome: CallOutcome) {
        match outcome {
            CallOutcome::Done => error!("{}: the application returned without an answer", self.title()),
            CallOutcome::Failed => error!("{}: the application failed", self.title()),
        }
        self.answer_with_page(500, "the application failed to answer this request");
    }

    /// The application has left a streamed answer unfinished: the client has to see that. Somebody is to blame, unless
    /// that was said already, or it is the client, who left or was too slow.
    #[cold]
    pub(super) fn cut_off(&mut self) {
        if self.broken.is_none() && self.fault.is_none() && self.unreadable.is_none() {
            error!("{}: the application did not finish its answer; the connection is cut", self.title());
        }
        self.keeps_alive = false;
        self.cuts_off = true;
    }

    /// Makes the answer's head.
    pub(super) fn encode_head(
        &mut self,
        answer: &app::Answer<'_>,
        body: BodyFraming,
    ) -> Result<(), http::BadResponse> {
        self.date.refresh(clock::realtime_coarse_seconds());
        self.keeps_alive = self.keeps_alive && body != BodyFraming::UntilClose && self.may_keep_alive();
        let head = ResponseHead {
            version: self.version(),
            status: answer.status,
            reason: answer.reason,
            body,
            connection: if self.keeps_alive { Connection::KeepAlive } else { Connection::Close },
            date: &self.date,
            server: self.engine.rules.server.as_ref(),
        };
        let start = self.outgoing.unsent();
        http::encode_head(self.outgoing.bytes(), &head, answer.fields())?;
        if self.engine.logs_response_fields() {
            self.sent_head.0.extend_from_slice(&self.outgoing.unsent_bytes()[start..]);
        }
        self.status = answer.status;
        Ok(())
    }

    /// A body that was not read to its end would be taken for the next request; and whoever has sent that already is not
    /// sent away.
    fn may_keep_alive(&self) -> bool {
        let Some(incoming) = self.incoming.as_ref().filter(|incoming| incoming.is_complete()) else {
            return false;
        };
        let has_next = self.wire_ref().input.len() > incoming.end();
        self.engine.keeps_connections() && (has_next || !self.engine.lets_one_go())
    }

    /// Sends what the socket takes.
    pub(super) fn send(&mut self) -> Sent {
        let wire = self.wire.as_mut().expect("`engage` put it there");
        self.outgoing.send(wire, false)
    }

    /// The same at the end of the answer, after which the connection may be closed.
    pub(super) fn send_rest(&mut self) -> Sent {
        let closes = !self.keeps_alive;
        let wire = self.wire.as_mut().expect("`engage` put it there");
        self.outgoing.send(wire, closes)
    }

    /// What the client speaks, as far as it was understood; HTTP/1.1 until then.
    pub(super) fn version(&self) -> Version {
        self.head.version()
    }

    /// Writes the figures and the access line, and tells whoever asked to be told.
    pub(super) fn conclude(&mut self, lane: &LaneWriter, access: Option<&mut AccessBuffer>) -> u64 {
        let now = clock::monotonic();
        let duration = now.saturating_sub(self.arrived);
        self.outgoing.clear();
        lane.count(duration, self.status, self.body_bytes);
        if let Some(access) = access {
            access.append(&self.record(Duration::from_nanos(duration)));
        }
        let result = self.broken.map_or(Ok(()), Err);
        self.notices.drain(..).for_each(|notice| notice.tell(result));
        now
    }

    /// Gives the exchange up without an answer: there is nothing to log.
    pub(super) fn abandon(&mut self) {
        self.notices.drain(..).for_each(|notice| notice.tell(Err(Refusal::Gone)));
    }

    /// Has everything been read that the client has sent of this request, as far as we know?
    pub(super) fn has_drained_input(&self) -> bool {
        self.incoming.as_ref().is_some_and(Incoming::is_complete)
    }

    #[inline]
    pub(super) fn decoded_path(&self) -> &[u8] {
        if self.path.is_empty() { self.head.path(self.wire_ref().input.filled()) } else { &self.path }
    }

    /// What the error log calls this exchange.
    #[cold]
    pub(super) fn title(&self) -> String {
        let input = self.wire_ref().input.filled();
        if self.incoming.is_none() {
            return "a request that was not understood".to_owned();
        }
        let (method, path) = (self.head.method(input), self.head.path(input));
        format!("{} {}", method.escape_ascii(), path.escape_ascii())
    }
}

/// What a read for the application has brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Received {
    /// So many bytes, where they are wanted.
    Direct(usize),
    /// Bytes in the buffer.
    Buffered,
    /// Nothing, for now.
    Nothing,
    /// The client has gone.
    End,
}

impl Received {
    fn of(arrival: Arrival, is_direct: bool) -> Received {
        match arrival {
            Arrival::Bytes(count) if is_direct => Received::Direct(count),
            Arrival::Bytes(_) => Received::Buffered,
            Arrival::Nothing => Received::Nothing,
            Arrival::End => Received::End,
        }
    }
}
