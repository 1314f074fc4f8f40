//! The threads of a worker: mustered before it is Ready, at work until the crew is dismissed, seen off at the end.

use std::io;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;
use std::time::Duration;

use tracing::warn;

use super::course::Heading;
use super::engine::Engine;
use super::hand::Hand;
use super::last_words;
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
        for number in 1..size {
            spawn(engine, number, started.clone(), leaves.clone()).map_err(|error| {
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
        Ok(Crewed { engine, main, left, others: size.saturating_sub(1) })
    }

    /// Works until the crew is dismissed and everybody has left.
    pub(super) fn work(self) {
        let main = Hand::new(self.engine, 0, self.main).work();
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

fn spawn(
    engine: &'static Engine,
    number: usize,
    started: Sender<Result<(), ThreadError>>,
    leaves: Sender<()>,
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
    let life = move || engine.keep_lookout();
    thread::Builder::new().name("unirs-lookout".to_owned()).stack_size(LOOKOUT_STACK).spawn(life).map(drop)
}
