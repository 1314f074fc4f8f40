//! What the threads of a worker share: its connections, its listeners, its way; and what is done for each event.

use std::num::NonZeroU64;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::Ordering::{AcqRel, Relaxed};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize};

use nix::sys::eventfd::{EfdFlags, EventFd};
use tracing::debug;

use super::connection::State;
use super::course::{Course, Heading};
use super::crew::Crew;
use super::doors::{Accepted, Door, Doors};
use super::hand::Hand;
use super::harvest::{Event, Harvest, Token};
use super::last_words::Pages;
use super::rules::{Rules, nanoseconds};
use super::shares::Shares;
use super::table::{NEVER, Table};
use super::wire::Wire;
use crate::app::Running;
use crate::log::{AccessBuffer, AccessLog, ErrorLog};
use crate::pair::{Pair, Report};
use crate::scoreboard::Seat;
use crate::sys::clock::{self, WallClock};
use crate::sys::epoll::{self, Epoll, Room};
use crate::sys::signal::SignalPipe;

/// The tokens of what is no connection; listeners have those from `FIRST_DOOR` on.
const PAIR: Token = Token { index: 0xffff_0000, tenure: 0 };
const SIGNALS: Token = Token { index: 0xffff_0001, tenure: 0 };
const NUDGE: Token = Token { index: 0xffff_0002, tenure: 0 };
pub(super) const FIRST_DOOR: u32 = 0xffff_0003;

/// Overdue connections are looked for no more often than this.
const SWEEP: u64 = 50_000_000;

/// While another thread is busy, its connection's next deadline is not known; so a wait is no longer than this.
const LONGEST_WAIT_BESIDE_OTHERS: u64 = 1_000_000_000;

/// How many connections one event of a listener brings in at the most.
const MOST_ACCEPTS: usize = 16;

/// An orphan serves what is queued, for so long.
const LAST_LOOK: u64 = 50_000_000;

/// How often the application is asked whether it is ready, once it was.
const READY_INTERVAL: u64 = 5_000_000_000;

/// A worker's engine. There is one in the process, and it lives as long as that.
pub(super) struct Engine {
    /// The application, started.
    pub(super) app: Running,
    /// What the settings say.
    pub(super) rules: Rules,
    /// Where this worker's figures go.
    pub(super) seat: &'static Seat,
    /// Everything that is waited for.
    pub(super) epoll: Epoll,
    /// What the last wait has brought in.
    pub(super) harvest: Harvest,
    /// Who waits, who serves, who sleeps.
    pub(super) crew: Crew,
    /// Everybody who is connected.
    pub(super) connections: Table<State>,
    /// This process.
    pub(super) pid: u32,
    /// Where they come from.
    pub(super) doors: Doors,
    /// Serving, or on the way out.
    pub(super) course: Course,
    /// Orders come here; its end is the master's.
    pub(super) pair: Pair,
    /// The operator's door.
    pub(super) signals: SignalPipe,
    /// Wakes the thread that waits for events.
    pub(super) nudge: EventFd,
    /// For new log files.
    pub(super) error_log: ErrorLog,
    /// None: there is no access log.
    pub(super) access_log: Option<Arc<AccessLog>>,
    /// Who has how many of them.
    shares: Shares,
    /// When a connection may be overdue.
    pub(super) next_sweep: AtomicU64,
    /// When the application is asked again whether it is ready.
    next_ready: AtomicU64,
    /// Held by the thread that looks for overdue connections, and its list of them.
    sweep: Mutex<Vec<u32>>,
    /// What people call the times of the monotonic clock.
    pub(super) wall_clock: WallClock,
    /// The next one's number.
    request_ids: AtomicU64,
    /// How many requests are left before the master is told that there were enough; none: nobody counts.
    requests_left: Option<AtomicU64>,
    /// What is answered where no answer can be made any more.
    pub(super) pages: Pages,
    /// Calls that go on although their exchange has ended: they were over their time.
    pub(super) strays: AtomicUsize,
    /// There was one.
    pub(super) has_strayed: AtomicBool,
}

/// What an engine is made of.
pub(super) struct Parts {
    /// The application, started.
    pub app: Running,
    /// What the settings say.
    pub rules: Rules,
    /// Where this worker's figures go.
    pub seat: &'static Seat,
    /// Its listeners.
    pub doors: Doors,
    /// Its end of the pair.
    pub pair: Pair,
    /// The operator's door.
    pub signals: SignalPipe,
    /// The logs.
    pub error_log: ErrorLog,
    /// None: no access log.
    pub access_log: Option<Arc<AccessLog>>,
    /// How many threads call the application.
    pub threads: usize,
    /// How many slots may have a worker.
    pub slots: usize,
    /// After so many requests the master is told to look.
    pub request_limit: Option<NonZeroU64>,
}

impl Engine {
    /// An engine that watches nothing but its orders yet.
    pub(super) fn new(parts: Parts) -> std::io::Result<Engine> {
        let epoll = Epoll::new()?;
        epoll.add(&parts.pair, epoll::READABLE, PAIR.to_word())?;
        epoll.add(&parts.signals, epoll::READABLE, SIGNALS.to_word())?;
        let nudge = EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?;
        epoll.add(&nudge, epoll::READABLE, NUDGE.to_word())?;
        let pages = Pages::new(parts.rules.server.as_ref());
        Ok(Engine {
            connections: Table::new(parts.rules.connections),
            app: parts.app,
            rules: parts.rules,
            seat: parts.seat,
            epoll,
            harvest: Harvest::new(),
            crew: Crew::new(parts.threads),
            pid: std::process::id(),
            doors: parts.doors,
            course: Course::default(),
            pair: parts.pair,
            signals: parts.signals,
            nudge,
            error_log: parts.error_log,
            access_log: parts.access_log,
            shares: Shares::new(parts.seat, parts.slots),
            next_sweep: AtomicU64::new(NEVER),
            next_ready: AtomicU64::new(clock::monotonic() + READY_INTERVAL),
            sweep: Mutex::default(),
            wall_clock: WallClock::new(),
            request_ids: AtomicU64::new(clock::realtime().as_nanos() as u64),
            pages,
            strays: AtomicUsize::new(0),
            has_strayed: AtomicBool::new(false),
            requests_left: parts.request_limit.map(|limit| AtomicU64::new(limit.get())),
        })
    }

    /// Opens the doors: from now on connections are accepted.
    pub(super) fn open(&self) -> std::io::Result<()> {
        self.doors.watch(&self.epoll)
    }

    /// The listeners' descriptors.
    pub(super) fn listening_descriptors(&self) -> Vec<i32> {
        self.doors.descriptors()
    }

    /// Tells the master.
    pub(super) fn report(&self, what: &Report) {
        if let Err(error) = self.pair.send_report(what) {
            debug!("cannot report to the master: {error}");
        }
    }

    /// One more request is over, and its figures are in the slot. The one that makes it enough tells the master, which has
    /// this worker replaced; until the successor is there it serves on.
    pub(super) fn count_request(&self) {
        if let Some(left) = &self.requests_left
            && left.fetch_sub(1, AcqRel) == 1
        {
            self.report(&Report::Look);
        }
    }

    /// Waits for events, as the holder of the baton, and lays it down. Returns the time.
    pub(super) fn wait(&self, room: &mut Room, is_log_behind: bool) -> u64 {
        let timeout = self.longest_wait(clock::monotonic(), is_log_behind);
        self.seat.set_polling(true);
        self.crew.begin_wait();
        let ready = self.epoll.wait(room, timeout);
        self.seat.set_polling(false);
        let now = clock::monotonic();
        let brought = self.harvest.fill(ready, now);
        self.seat.turn(now);
        self.crew.end_wait(brought);
        now
    }

    /// In milliseconds; -1 is for ever.
    fn longest_wait(&self, now: u64, is_log_behind: bool) -> i32 {
        let due = [
            self.next_sweep.load(Relaxed),
            self.doors.next_look(),
            if self.app.has_ready() { self.next_ready.load(Relaxed) } else { NEVER },
            if self.crew.others_are_busy() { now + LONGEST_WAIT_BESIDE_OTHERS } else { NEVER },
            if is_log_behind { now + nanoseconds(AccessBuffer::RETRY) } else { NEVER },
            self.retirement_is_due(),
        ];
        match due.into_iter().min() {
            None | Some(NEVER) => -1,
            Some(due) => i32::try_from(due.saturating_sub(now).div_ceil(1_000_000)).unwrap_or(i32::MAX),
        }
    }

    /// When a retiring worker has to take the next step.
    pub(super) fn retirement_is_due(&self) -> u64 {
        match self.course.heading() {
            Heading::Stop if self.doors.is_open() => self.doors.quiet_at(self.course.since()),
            Heading::Orphaned if self.doors.is_open() => self.course.since() + LAST_LOOK,
            Heading::Serving | Heading::Reload | Heading::Stop | Heading::Orphaned | Heading::Quick => NEVER,
        }
    }

    /// Serves what an event is about.
    pub(super) fn attend(&'static self, hand: &mut Hand, event: Event) {
        hand.turn = event.at;
        match event.token {
            PAIR => self.take_orders(),
            SIGNALS => self.take_signals(),
            NUDGE => self.take_nudge(),
            token => match self.doors.number_of(token) {
                Some(number) if event.hung_up => self.doors.leave_one(&self.epoll, number),
                Some(number) => self.let_in(hand, number),
                None => hand.serve(event),
            },
        }
    }

    /// What the clock brings, not an event.
    pub(super) fn do_what_is_due(&'static self, hand: &mut Hand) {
        let now = hand.turn;
        if self.next_sweep.load(Relaxed) <= now {
            self.look_for_overdue(hand);
        }
        self.wall_clock.follow(now);
        self.doors.look_again(&self.epoll, now, !self.connections.is_full());
        self.shares.look(self.connections.occupied() as u64, now);
        self.ask_whether_ready(now);
        if self.course.heading() != Heading::Serving {
            self.retire_further(now);
        }
    }

    fn ask_whether_ready(&self, now: u64) {
        if self.app.has_ready() && self.next_ready.load(Relaxed) <= now {
            self.next_ready.store(now + READY_INTERVAL, Relaxed);
            self.seat.set_ready(self.app.ready(), clock::monotonic());
        }
    }

    fn let_in(&'static self, hand: &mut Hand, number: usize) {
        for _ in 0..MOST_ACCEPTS {
            let now = hand.turn;
            // A place first: from the accept on somebody is there for whoever asks whether this worker may end.
            let Some(token) = self.connections.enter() else { return self.wait_for_room() };
            match self.doors.accept(number, now, || self.may_accept(now)) {
                Accepted::Connection(socket, peer) => {
                    self.seat.accepted();
                    self.publish_connections();
                    hand.welcome(Box::new(Wire::new(socket, peer, number, token, now)));
                    continue;
                }
                Accepted::Nothing => {}
                Accepted::Left => self.doors.leave_to_others(&self.epoll, now),
                Accepted::Exhausted => self.doors.rest(&self.epoll, now),
            }
            return self.vacate(token.index);
        }
    }

    /// Nobody is let in until somebody has gone, which may have happened before that could be known.
    fn wait_for_room(&self) {
        self.doors.look_away(&self.epoll, NEVER);
        self.doors.look_again(&self.epoll, 0, !self.connections.is_full());
    }

    /// At a stop everybody takes what is left; before, nobody takes more than a fair share. The place for the one to come
    /// is taken already.
    fn may_accept(&self, now: u64) -> bool {
        self.course.heading() != Heading::Serving
            || !self.shares.others_have_fewer(self.connections.occupied() as u64 - 1, now)
    }

    /// Gives a place back. The caller holds its claim, and has emptied it.
    pub(super) fn vacate(&self, index: u32) {
        self.connections.leave(index);
        self.publish_connections();
        if self.course.heading() != Heading::Serving {
            self.retire_further(clock::monotonic());
        } else if self.doors.await_room() {
            self.doors.look_again(&self.epoll, 0, true);
        }
    }

    fn publish_connections(&self) {
        self.seat.set_connections(self.connections.occupied() as u64);
    }

    /// When something has to be done about a connection in this state.
    pub(super) fn deadline(&self, state: &State) -> u64 {
        let deadline = state.deadline(&self.rules, |idle| self.course.idle_deadline(idle, &self.rules));
        match state {
            State::Head(_) | State::Body(_) => deadline.min(self.last_call()),
            State::Vacant | State::Idle(_) | State::Call | State::Write(_) | State::Lingering { .. } => {
                deadline
            }
        }
    }

    /// When a request that is still on its way is turned away.
    pub(super) fn last_call(&self) -> u64 {
        self.course.last_call(&self.rules)
    }

    /// The same, and sees to it that somebody looks then.
    pub(super) fn note_deadline(&self, state: &State) -> u64 {
        let deadline = self.deadline(state);
        if deadline < self.next_sweep.load(Relaxed) {
            self.next_sweep.fetch_min(deadline, Relaxed);
        }
        deadline
    }

    /// Looks at every connection whose deadline is over. One thread at a time; it holds nothing while it does more
    /// than look.
    fn look_for_overdue(&'static self, hand: &mut Hand) {
        let Ok(mut overdue) = self.sweep.try_lock() else { return };
        let now = hand.turn;
        self.next_sweep.store(NEVER, Relaxed);
        let mut next = NEVER;
        overdue.clear();
        for (index, place) in self.connections.places() {
            match place.deadline() {
                deadline if deadline <= now => overdue.push(index),
                deadline => next = next.min(deadline),
            }
        }
        let found = std::mem::take(&mut *overdue);
        self.next_sweep.fetch_min(next.max(now + SWEEP), Relaxed);
        drop(overdue);
        for index in &found {
            hand.look_at_overdue(*index);
        }
        if let Ok(mut overdue) = self.sweep.try_lock() {
            *overdue = found; // its allocation is kept
        }
    }

    /// The door that a connection came through.
    pub(super) fn door(&self, number: usize) -> &Door {
        self.doors.door(number)
    }

    /// May another request follow on a connection?
    pub(super) fn keeps_connections(&self) -> bool {
        self.rules.keepalive > 0 && self.course.heading() == Heading::Serving
    }

    /// Is a connection to go to another worker with the answer that is made now?
    pub(super) fn lets_one_go(&self) -> bool {
        self.shares.let_one_go()
    }

    /// Does a line of the access log show fields of the answer?
    pub(super) fn logs_response_fields(&self) -> bool {
        self.access_log.as_ref().is_some_and(|log| log.format().needs_response_fields())
    }

    /// Sixteen digits that no other exchange of this machine has had.
    pub(super) fn next_request_id(&self) -> String {
        let number = self.request_ids.fetch_add(1, Relaxed);
        format!("{:08x}{:08x}", self.pid, number as u32)
    }

    /// Where the worker is going.
    pub(super) fn heading(&self) -> Heading {
        self.course.heading()
    }

    /// Do threads wait for a lock of the application's own? One more would only wait with them.
    pub(super) fn someone_waits_inside(&self) -> bool {
        self.app.waiters().is_some_and(|waiters| waiters.load(Relaxed) > 0)
    }

    pub(super) fn access_log(&self) -> Option<Arc<AccessLog>> {
        self.access_log.clone()
    }
}
