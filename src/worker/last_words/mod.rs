//! What a dying worker still says: to the client of the exchange that it dies in, to the access log, and to the master by
//! the ledger. It does not keep anybody alive, but for the thread of a call that was over its time.
//!
//! All of it but [`prepare`] and [`Desk`]'s daily work runs in signal handlers, of a thread that may have been anywhere:
//! no allocation, no lock that is waited for. The calls: sendmsg, recv, shutdown, poll, write, pwritev2, fstat, fcntl,
//! ftruncate, open, read, close, clock_gettime, nanosleep, getppid, gettid, send, _exit, and the unwinder's, which was
//! primed.

mod desk;
mod page;
mod stray;

use std::cell::Cell;
use std::ffi::c_void;
use std::io;
use std::sync::OnceLock;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Release};
use std::sync::atomic::{AtomicBool, AtomicI32};
use std::time::Duration;

pub(super) use desk::{Desk, Stage, Taken};
pub(super) use page::Pages;

use crate::last_words::{Cause, Draft, EXIT_OVERTIME, Said, Writer};
use crate::sys::fault::{self, Fault, Response, Then};
use crate::sys::{altstack, process};

/// Where records go: the worker's own area.
static WRITER: OnceLock<Writer> = OnceLock::new();

/// The worker serves. What happens before and after is told in other words.
static IS_SERVING: AtomicBool = AtomicBool::new(false);

/// The thread that brings the process to its end; 0: none.
static SPEAKER: AtomicI32 = AtomicI32::new(0);

/// A thread that dies while another is speaking lets it finish, for so many moments.
const MOMENTS: u32 = 300;
const MOMENT: Duration = Duration::from_millis(10);

thread_local! {
    /// The desk of this thread, if it serves. A constant without a destructor: no access allocates.
    static DESK: Cell<Option<&'static Desk>> = const { Cell::new(None) };
    /// The record that this thread is writing.
    static DRAFT: Cell<Option<Draft>> = const { Cell::new(None) };
}

/// From here on a crash of this process, and an `exit()` in it, leave a record. Before any code of the application runs.
pub(super) fn prepare(writer: Writer) -> io::Result<()> {
    WRITER.get_or_init(|| writer);
    prepare_thread()?;
    fault::prepare(Response { first: on_fault, second: on_second_fault })?;
    process::at_exit(on_exit)
}

/// The same for one more thread: it can speak when its stack is full.
pub(super) fn prepare_thread() -> io::Result<()> {
    altstack::give()
}

/// Is an `exit()` of the application's a death, rather than a failure to boot or a part of the end?
pub(super) fn set_serving(is_serving: bool) {
    IS_SERVING.store(is_serving, Release);
}

/// The calling thread serves from this desk.
fn sit_down(desk: &'static Desk) {
    DESK.set(Some(desk));
}

fn on_fault(fault: &Fault) -> Then {
    let desk = DESK.get();
    if is_summons(fault) {
        return desk.map_or(Then::GoOn, |desk| answer_summons(desk, fault));
    }
    become_the_speaker();
    let said = desk.map_or(Said::Nothing, |desk| desk.speak_to_client(500));
    let cause = Cause::Signal { number: fault.number, code: fault.code, address: fault.address };
    record(cause, desk, said, Some(fault));
    Then::Die
}

/// Only the master speaks to a thread, and it means the exchange that it has written down. From anybody else the signal
/// means what it always means.
fn is_summons(fault: &Fault) -> bool {
    fault.number == libc::SIGABRT
        && fault.code == libc::SI_TKILL
        && fault.sender == nix::unistd::getppid().as_raw()
}

/// The master holds this thread's call to be over its time. It may have come back meanwhile.
fn answer_summons(desk: &'static Desk, fault: &Fault) -> Then {
    if !desk.is_overdue() {
        return Then::GoOn;
    }
    let said = desk.speak_to_client(504);
    if desk.engine.has_others_when_this_strays() {
        desk.take(said);
        record(Cause::Overtime, Some(desk), said, Some(fault));
        desk.lane.leave_app();
        desk.engine.say_that_it_retires();
        return Then::GoOn;
    }
    // No thread is left that could go on.
    record(Cause::Overtime, Some(desk), said, Some(fault));
    desk.say_good_bye();
    process::exit_now(EXIT_OVERTIME.into())
}

/// What was written so far has to do.
fn on_second_fault() {
    if let Some(draft) = DRAFT.take() {
        draft.publish();
        nudge(DESK.get());
    }
}

/// The application has called exit(). When this returns the process ends, as it wants.
extern "C" fn on_exit(code: i32, _: *mut c_void) {
    if !IS_SERVING.load(Acquire) {
        return;
    }
    become_the_speaker();
    let desk = DESK.get();
    let said = desk.map_or(Said::Nothing, |desk| desk.speak_to_client(500));
    record(Cause::Exit { code: Some(code) }, desk, said, None);
    if let Some(desk) = desk {
        desk.say_good_bye();
    }
}

/// The first thread to die has the word; another waits for the end that this brings.
fn become_the_speaker() {
    let thread = nix::unistd::gettid().as_raw();
    let is_first = SPEAKER.compare_exchange(0, thread, AcqRel, Acquire).is_ok_and(|before| before == 0);
    if is_first || SPEAKER.load(Acquire) == thread {
        return;
    }
    (0..MOMENTS).for_each(|_| std::thread::sleep(MOMENT));
}

/// Writes the record, what is sure first: a stack that is broken may break the walk over it.
fn record(cause: Cause, desk: Option<&'static Desk>, said: Said, fault: Option<&Fault>) {
    let Some(draft) = WRITER.get().and_then(Writer::claim) else { return nudge(desk) };
    draft.cause(cause);
    draft.thread(nix::unistd::gettid().as_raw());
    draft.said(said);
    if let Some(fault) = fault {
        draft.place(fault.pc, fault.stack_pointer);
    }
    DRAFT.set(Some(draft));
    if let Some(desk) = desk {
        desk.describe(&draft);
    }
    fault::read_pieces(c"/proc/self/maps", |piece| draft.maps(piece));
    let mut visit = |address| draft.frame(address);
    match fault {
        Some(fault) => fault::stack_from(fault, &mut visit),
        None => crate::sys::unwind::walk(&mut visit),
    }
    DRAFT.set(None);
    draft.publish();
    nudge(desk);
}

/// Wakes the master. A process that dies at once needs nobody to say so.
fn nudge(desk: Option<&'static Desk>) {
    if let Some(desk) = desk {
        desk.engine.pair.nudge();
    }
}
