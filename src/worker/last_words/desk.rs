//! A thread's desk: what its signal handlers have to know of the exchange that it is in, and who of them may answer it.
//!
//! Thread and handler take turns on one thread, so what they agree about needs no more than plain stores in the right
//! order: the thread says what it is about to do, then looks whether the handler has been there.

use std::io::IoSlice;
use std::sync::Mutex;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::sync::atomic::{AtomicU8, AtomicU64, AtomicUsize, compiler_fence};
use std::time::Duration;

use super::super::engine::Engine;
use super::super::exchange::{Answer, Job, Stream};
use crate::last_words::{Draft, Said, Subject};
use crate::log::{AccessBuffer, AccessRecord, NoFields};
use crate::scoreboard::LaneWriter;
use crate::sys::clock;
use crate::sys::lent::Lent;

/// Room for the access line of a last answer.
const LINE: usize = 32 * 1024;

/// Where a part of the request is longer than this, the line goes without the fields: it has to fit.
const LONG_PART: usize = 1024;

/// One thread's desk. There is one for each, as long as the process lives.
pub(in super::super) struct Desk {
    pub(in super::super) engine: &'static Engine,
    pub(in super::super) lane: &'static LaneWriter,
    /// The number of the lane.
    index: usize,
    stage: AtomicU8,
    /// The number of the exchange in the call.
    exchange: AtomicU64,
    /// How the handler has ended the exchange: a [`Taken`], or 0.
    taken: AtomicU8,
    job: Lent<Job>,
    access: Lent<AccessBuffer>,
    /// How many bytes of waiting access lines the handler has written.
    written: AtomicUsize,
    line: Mutex<Vec<u8>>,
}

/// How far the answer of the exchange in the call has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(in super::super) enum Stage {
    /// There is no call.
    Idle,
    /// There is no answer yet.
    Open,
    /// Nor can there be one from here: something of an earlier answer is unsent.
    Unclean,
    /// The thread is making one.
    Busy,
    /// A part of one is made, and nothing sent.
    Begun,
    /// It is whole, and nothing sent.
    Made,
    /// Something was sent, or is just being sent.
    Sending,
}

const STAGES: [Stage; 7] =
    [Stage::Idle, Stage::Open, Stage::Unclean, Stage::Busy, Stage::Begun, Stage::Made, Stage::Sending];

/// How an exchange has ended that was over its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Taken {
    /// The client has a whole answer, and the connection is half closed.
    Answered = 1,
    /// The connection is cut.
    Cut = 2,
}

impl Desk {
    /// The desk of the calling thread, which is the worker's `index`th. It stays for ever.
    pub(in super::super) fn new(engine: &'static Engine, index: usize) -> &'static Desk {
        let line = if engine.access_log().is_some() { LINE } else { 0 };
        let desk: &'static Desk = Box::leak(Box::new(Desk {
            engine,
            lane: engine.seat.lane(index),
            index,
            stage: AtomicU8::new(Stage::Idle as u8),
            exchange: AtomicU64::new(0),
            taken: AtomicU8::new(0),
            job: Lent::nothing(),
            access: Lent::nothing(),
            written: AtomicUsize::new(0),
            line: Mutex::new(Vec::with_capacity(line)),
        }));
        super::sit_down(desk);
        desk
    }

    /// Where the thread's access lines wait, until it ends; they stay where they are.
    pub(in super::super) fn show_access(&self, access: Option<&AccessBuffer>) {
        match access {
            Some(access) => self.access.lend(access),
            None => self.access.take_back(),
        }
    }

    /// The application is about to be called for `job`, which stays where it is. `is_clean`: nothing earlier is unsent.
    #[inline]
    pub(in super::super) fn begin(&self, job: *const Job, exchange: u64, is_clean: bool) {
        self.exchange.store(exchange, Relaxed);
        self.taken.store(0, Relaxed);
        self.job.lend(job);
        self.set(if is_clean { Stage::Open } else { Stage::Unclean });
    }

    /// The call is over; says how the exchange has ended meanwhile, if it has.
    #[inline]
    pub(in super::super) fn end(&self) -> Option<Taken> {
        self.set(Stage::Idle);
        self.job.take_back();
        self.taken()
    }

    /// The thread makes the application's answer. False: its time was over, and the client has another.
    #[inline]
    pub(in super::super) fn claim(&self) -> bool {
        if self.stage() != Stage::Unclean {
            self.set(Stage::Busy);
        }
        self.taken().is_none()
    }

    /// What the thread was busy with has come to this; nothing changes once something was sent.
    #[inline]
    pub(in super::super) fn settle(&self, stage: Stage) {
        if self.stage() == Stage::Busy {
            self.set(stage);
        }
    }

    /// A streamed answer is whole now.
    pub(in super::super) fn finish(&self) {
        if self.stage() == Stage::Begun {
            self.set(Stage::Made);
        }
    }

    #[inline]
    pub(in super::super) fn set(&self, stage: Stage) {
        compiler_fence(SeqCst);
        self.stage.store(stage as u8, Relaxed);
        compiler_fence(SeqCst);
    }

    #[inline]
    pub(in super::super) fn stage(&self) -> Stage {
        STAGES[usize::from(self.stage.load(Relaxed)).min(STAGES.len() - 1)]
    }

    /// How the exchange was ended over the application's head, if it was.
    #[inline]
    pub(in super::super) fn taken(&self) -> Option<Taken> {
        match self.taken.load(Relaxed) {
            0 => None,
            1 => Some(Taken::Answered),
            _ => Some(Taken::Cut),
        }
    }

    /// How many bytes of waiting access lines were written by the handler, asked once.
    pub(in super::super) fn take_written(&self) -> usize {
        self.written.swap(0, Relaxed)
    }
}

/// The handler's side.
impl Desk {
    /// Is this call what the master means, and does the application still have control? A thread that is just making its
    /// answer is not stuck.
    pub(super) fn is_overdue(&self) -> bool {
        let is_meant = self.engine.seat.summoned(self.index) == self.exchange.load(Relaxed);
        let stage = self.stage();
        is_meant
            && self.taken().is_none()
            && stage != Stage::Idle
            && stage != Stage::Busy
            && self.lane.in_app_since() != 0
    }

    /// The exchange ends here, whatever the application does.
    pub(super) fn take(&self, said: Said) {
        let taken = match said {
            Said::Answered(_) | Said::OwnAnswer => Taken::Answered,
            Said::Nothing | Said::Begun | Said::Unsent | Said::NotTaken => Taken::Cut,
        };
        self.taken.store(taken as u8, Relaxed);
        if let Some(job) = self.job.look() {
            match taken {
                Taken::Answered => job.wire_ref().shutdown_write(),
                Taken::Cut => job.wire_ref().cut(),
            }
        }
    }

    /// Gives the client an answer, if one can be given, and writes the access lines.
    pub(super) fn speak_to_client(&self, status: u16) -> Said {
        let stage = self.stage();
        let job = self.job.look().filter(|_| stage != Stage::Idle && self.taken().is_none());
        let Some(job) = job else {
            self.write_lines(None);
            return Said::Nothing;
        };
        let (said, status, bytes) = self.answer(job, stage, status);
        let age = self.age_of(job);
        self.lane.count(duration_in_nanoseconds(age), status, bytes);
        let is_answer = status != 0;
        self.write_lines(
            is_answer.then(|| AccessRecord { status, body_bytes: bytes, ..job.record(age) }).as_ref(),
        );
        said
    }

    /// What is said, and what the access log says of it.
    fn answer(&self, job: &Job, stage: Stage, status: u16) -> (Said, u16, u64) {
        match stage {
            Stage::Idle => (Said::Nothing, 0, 0),
            Stage::Unclean => (Said::Unsent, 0, 0),
            Stage::Sending => {
                // A body that ends with its connection would look whole.
                if job.answer == Answer::Streaming(Stream::UntilClose) {
                    job.wire_ref().break_at_end();
                }
                (Said::Begun, job.status, job.body_bytes)
            }
            Stage::Made if job.outgoing.is_bytes_only() => {
                let sent = job.wire_ref().say_last(&[IoSlice::new(job.outgoing.unsent_bytes())]);
                (if sent { Said::OwnAnswer } else { Said::NotTaken }, job.status, job.body_bytes)
            }
            Stage::Open | Stage::Busy | Stage::Begun | Stage::Made => {
                let page = self.engine.pages.page(status, job.version());
                let parts = page.parts(&job.date, job.head.is_head());
                let sent = job.wire_ref().say_last(&parts.map(IoSlice::new));
                let said = if sent { Said::Answered(status) } else { Said::NotTaken };
                (said, status, parts[3].len() as u64)
            }
        }
    }

    /// What waits, and the line of the exchange that ends now.
    fn write_lines(&self, record: Option<&AccessRecord<'_>>) {
        let Some(access) = self.access.look() else { return };
        let (log, pending) =
            (access.log(), access.pending().get(self.written.load(Relaxed)..).unwrap_or_default());
        log.sink().write_last(pending);
        self.written.fetch_add(pending.len(), Relaxed);
        let (Some(record), Ok(mut line)) = (record, self.line.try_lock()) else { return };
        line.clear();
        if is_long(record) {
            let cut = |bytes: &[u8]| bytes.len().min(LONG_PART);
            let (target, path) = (&record.target[..cut(record.target)], &record.path[..cut(record.path)]);
            let bare = AccessRecord {
                target,
                path,
                query: None,
                request: &NoFields,
                response: &NoFields,
                ..*record
            };
            log.format().write(&mut line, &bare);
        } else {
            log.format().write(&mut line, record);
        }
        log.sink().write_last(&line);
    }

    /// What the record says of the exchange and of the worker.
    pub(super) fn describe(&self, draft: &Draft) {
        // A worker that retires lets nobody down who waits in it.
        if self.taken().is_none() {
            draft.parked(self.engine.parked() as u64);
        }
        let Some(job) = self.job.look().filter(|_| self.stage() != Stage::Idle) else { return };
        let input = job.wire_ref().input.filled();
        let in_app = match self.lane.in_app_since() {
            0 => Duration::ZERO,
            since => Duration::from_nanos(clock::monotonic().saturating_sub(since)),
        };
        draft.exchange(&Subject {
            number: self.exchange.load(Relaxed),
            method: job.head.method(input),
            path: job.head.path(input),
            client: job.wire_ref().peer.address().as_bytes(),
            age: self.age_of(job),
            in_app,
        });
    }

    /// The process ends now: the client is to see its answer, not a reset.
    pub(super) fn say_good_bye(&self) {
        if let Some(job) = self.job.look().filter(|_| self.stage() != Stage::Idle) {
            job.wire_ref().shutdown_write();
            job.wire_ref().drop_input();
        }
    }

    fn age_of(&self, job: &Job) -> Duration {
        Duration::from_nanos(clock::monotonic().saturating_sub(job.arrived))
    }
}

fn duration_in_nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// Might the line be longer than there is room for?
fn is_long(record: &AccessRecord<'_>) -> bool {
    let fields = ["referer", "user-agent", "authorization", "x-forwarded-for", "cookie"];
    record.target.len() > LONG_PART
        || fields.iter().any(|name| record.request.field(name).is_some_and(|value| value.len() > LONG_PART))
}
