//! The threads of a worker: mustered before it is Ready, at work until the crew is dismissed, seen off at the end.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::atomic::{AtomicBool, AtomicUsize};
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;
use std::time::Duration;

use tracing::warn;

use super::course::Heading;
use super::engine::Engine;
use super::hand::Hand;
use super::{last_words, lookout};
use crate::app::{ThreadError, ThreadState};
use crate::sys::process;

/// The stack of a thread that calls the application, if that does not ask for another.
const STACK: usize = 2 * 1024 * 1024;

/// The exit code of a worker in which a thread has panicked, as Rust's own.
const EXIT_PANIC: i32 = 101;

/// What limits threads.
const HINT: &str = "(see `threads`, TasksMax, LimitNPROC, ulimit -u)";

/// The lookout calls nobody.
const LOOKOUT_STACK: usize = 64 * 1024;

/// For so long a worker waits for threads that are in a call, if it leaves quickly or they are over their time.
const QUICK: Duration = Duration::from_millis(200);

/// A worker's threads, each with what the application has made for it.
pub(super) struct Crewed {
    engine: &'static Engine,
    main: ThreadState,
    /// Each other thread sends one word when it has left.
    left: Receiver<()>,
    others: usize,
    roll_call: Arc<RollCall>,
}

/// Who is still there, for the case that the main thread cannot see to the end: it is a stray itself.
struct RollCall {
    present: AtomicUsize,
    main_has_left: AtomicBool,
}

/// Why a worker has no threads.
pub(super) enum NoCrew {
    /// The application does not want to be on one of them.
    Refused(ThreadError),
    /// The kernel has none to give.
    NoThread(String),
}

impl Crewed {
    /// Makes the threads. All of them have been in `thread_start` when it returns.
    pub(super) fn muster(engine: &'static Engine, size: usize) -> Result<Crewed, NoCrew> {
        let main = engine.app.thread_start(0).map_err(NoCrew::Refused)?;
        let (started, all_started) = mpsc::channel();
        let (leaves, left) = mpsc::channel();
        let roll_call =
            Arc::new(RollCall { present: AtomicUsize::new(size), main_has_left: AtomicBool::new(false) });
        for number in 1..size {
            spawn(engine, number, started.clone(), leaves.clone(), roll_call.clone()).map_err(|error| {
                NoCrew::NoThread(format!("cannot make thread {number} of {size}: {error} {HINT}"))
            })?;
        }
        drop(started);
        all_started.iter().collect::<Result<(), ThreadError>>().map_err(NoCrew::Refused)?;
        if size > 1 {
            spawn_lookout(engine).map_err(|error| {
                NoCrew::NoThread(format!("cannot make the lookout's thread: {error} {HINT}"))
            })?;
        }
        Ok(Crewed { engine, main, left, others: size.saturating_sub(1), roll_call })
    }

    /// Works until the crew is dismissed and everybody has left.
    pub(super) fn work(self) {
        let main = Hand::new(self.engine, 0, self.main).work();
        self.roll_call.main_has_left.store(true, SeqCst);
        self.engine.app.thread_stop(main);
        for still_there in (1..=self.others).rev() {
            while self.left.recv_timeout(QUICK).is_err() {
                let is_quick = self.engine.heading() == Heading::Quick;
                if is_quick || self.engine.strays() >= still_there {
                    return warn!("leaving at once with {still_there} threads in the application");
                }
            }
        }
    }
}

impl RollCall {
    /// A thread other than the main one leaves. The last that can ends the process if the main thread is in a call that
    /// was over its time.
    fn leave(&self, engine: &Engine) {
        let still_there = self.present.fetch_sub(1, SeqCst) - 1;
        let strays = engine.strays();
        if strays > 0 && still_there <= strays && !self.main_has_left.load(SeqCst) {
            warn!(
                "leaving at once with {still_there} threads in the application, the main thread among them"
            );
            process::exit_now(0);
        }
    }
}

fn spawn(
    engine: &'static Engine,
    number: usize,
    started: Sender<Result<(), ThreadError>>,
    leaves: Sender<()>,
    roll_call: Arc<RollCall>,
) -> io::Result<()> {
    let stack = engine.app.stack_size().unwrap_or(STACK);
    let life = move || {
        let _guard = EndsTheProcess;
        if let Err(error) = last_words::prepare_thread() {
            warn!("thread {number} cannot speak when its stack is full: {error}");
        }
        match engine.app.thread_start(u32::try_from(number).unwrap_or(u32::MAX)) {
            Err(error) => report(&started, Err(error)),
            Ok(state) => {
                report(&started, Ok(()));
                drop(started);
                let state = Hand::new(engine, number, state).work();
                engine.app.thread_stop(state);
            }
        }
        // The main thread may have left without waiting.
        let _ = leaves.send(());
        roll_call.leave(engine);
    };
    thread::Builder::new().name(format!("unirs-{number}")).stack_size(stack).spawn(life).map(drop)
}

/// A panic of ours on one thread ends the worker: what that thread held is in no known state.
struct EndsTheProcess;

impl Drop for EndsTheProcess {
    fn drop(&mut self) {
        if thread::panicking() {
            process::exit_now(EXIT_PANIC);
        }
    }
}

fn report(started: &Sender<Result<(), ThreadError>>, result: Result<(), ThreadError>) {
    // Nobody listens any more when another thread has failed before: the worker ends.
    let _ = started.send(result);
}

fn spawn_lookout(engine: &'static Engine) -> io::Result<()> {
    let life = move || lookout::keep(engine);
    thread::Builder::new().name("unirs-lookout".to_owned()).stack_size(LOOKOUT_STACK).spawn(life).map(drop)
}
