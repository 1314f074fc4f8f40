//! The door between the worker and an application: every call across it, in both directions, and the only place
//! where pointers of the application become slices. Not where the application comes from (`library`).
#![allow(unsafe_code)] // The design's list of places: sys, app::library, app::door.

mod answer;
mod exchange;
mod fence;
mod table;
#[cfg(test)]
#[allow(clippy::unwrap_used)] // Tests.
mod tests;

use std::ffi::c_void;
use std::ptr;
use std::sync::atomic::AtomicU32;
use std::sync::{Mutex, PoisonError};

use unirs_app::abi::{self, code, flag, hook};

pub use answer::{Answer, Body, Fields, Notice};
pub use exchange::Exchange;

use super::host::{Host, HostFacts, Services};
use super::library::Table;
use super::{StartError, ThreadError};

/// How much of an application's account of its failure is kept.
const ERROR_TEXT: usize = 4096;

/// An application that has been started, in this process.
pub struct Running {
    table: Table,
    /// What `start` made. It belongs to the application; we only hand it back.
    state: *mut c_void,
    /// Held over each call of an application that wants one thread at a time.
    turn: Option<Mutex<()>>,
}

// SAFETY: the table names functions and static memory of the application, for any thread. The state is the
// application's: by the interface, `call`, `ready` and `hook` come from any of the worker's threads at once, unless the
// flag `serial` says otherwise, which `turn` sees to.
unsafe impl Send for Running {}
// SAFETY: as above.
unsafe impl Sync for Running {}

/// What an application's `thread_start` made for one thread. It stays on that thread.
pub struct ThreadState(*mut c_void);

/// How a call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallOutcome {
    /// The application says that all went well; whether it answered, the host knows.
    Done,
    /// The application says that it failed: a 500 where nothing was answered.
    Failed,
}

/// What the application is told about, besides its calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hook {
    /// The worker is about to become Ready.
    PostWorkerInit,
    /// A request is about to be answered.
    PreRequest,
    /// A request was answered.
    PostRequest,
    /// The worker leaves quickly.
    WorkerInt,
    /// A call of this worker is over its time; told on another thread than that call's.
    WorkerAbort,
    /// The worker leaves; the last thing before `stop`.
    WorkerExit,
}

impl Running {
    /// Starts the application; on the worker's main thread. The table that it is given, and all that this names,
    /// lives as long as the process.
    pub(super) fn start(
        table: Table,
        config: String,
        facts: &HostFacts,
        services: &'static dyn Services,
    ) -> Result<Running, StartError> {
        let host = table::host(config, facts, services, &table.name);
        let mut state = ptr::null_mut();
        let mut text = [0_u8; ERROR_TEXT];
        if let Some(start) = table.app.start {
            let mut error = error_place(&mut text);
            // SAFETY: the function came from a table that was checked; `host` is 'static, `state` and `error` live
            // over the call, which is all that the application may rely on.
            let result = unsafe { start(host, &mut state, &mut error) };
            if result < code::OK {
                let len = error.len;
                return Err(StartError::Refused(error_text(&text, len, "start", result)));
            }
        }
        let turn = (table.app.flags & flag::SERIAL != 0).then(Mutex::default);
        Ok(Running { table, state, turn })
    }

    /// Before this process forks a worker.
    pub fn before_fork(&self) {
        if let Some(before_fork) = self.table.app.before_fork {
            // SAFETY: a function of the checked table, with the state that its `start` made.
            unsafe { before_fork(self.state) };
        }
    }

    /// After that fork, in the process that has forked.
    pub fn after_fork_parent(&self) {
        if let Some(after_fork_parent) = self.table.app.after_fork_parent {
            // SAFETY: as above.
            unsafe { after_fork_parent(self.state) };
        }
    }

    /// After that fork, in the worker.
    pub fn post_fork(&self, facts: &HostFacts) -> Result<(), StartError> {
        let Some(post_fork) = self.table.app.post_fork else {
            return Ok(());
        };
        let (worker, mut text) = (table::worker(facts), [0_u8; ERROR_TEXT]);
        let mut error = error_place(&mut text);
        // SAFETY: as above; `worker` and `error` live over the call.
        let result = unsafe { post_fork(self.state, &worker, &mut error) };
        if result < code::OK {
            let len = error.len;
            return Err(StartError::NotForked(error_text(&text, len, "post_fork", result)));
        }
        Ok(())
    }

    /// The application's name.
    pub fn name(&self) -> &str {
        &self.table.name
    }

    /// The application's version; may be empty.
    pub fn version(&self) -> &str {
        &self.table.version
    }

    /// The stack in bytes that each thread in a call needs; `None`: the host's default.
    pub fn stack_size(&self) -> Option<usize> {
        usize::try_from(self.table.app.stack_size).ok().filter(|size| *size > 0)
    }

    /// The application wants one call at a time. [`call`](Running::call) waits for its turn then, so a worker that
    /// knows better does not send a second thread there.
    pub fn serial(&self) -> bool {
        self.turn.is_some()
    }

    /// How many of the application's threads wait for its own lock, if it says so.
    pub fn waiters(&self) -> Option<&AtomicU32> {
        let counter = self.table.app.waiters.cast_mut();
        // SAFETY: unirs_app.h: `waiters` is a counter in the application's static memory, changed atomically
        // only. `Table` has checked its alignment.
        (!counter.is_null()).then(|| unsafe { AtomicU32::from_ptr(counter) })
    }

    /// First thing on each thread that will be in a call, the main thread in `sync` included; `number` from 0.
    pub fn thread_start(&self, number: u32) -> Result<ThreadState, ThreadError> {
        let mut thread = ptr::null_mut();
        if let Some(thread_start) = self.table.app.thread_start {
            // SAFETY: a function of the checked table, with the state that its `start` made and a place that
            // outlives the call.
            let result = unsafe { thread_start(self.state, number, &mut thread) };
            if result < code::OK {
                return Err(ThreadError { number, code: result });
            }
        }
        Ok(ThreadState(thread))
    }

    /// Last thing on such a thread.
    pub fn thread_stop(&self, thread: ThreadState) {
        if let Some(thread_stop) = self.table.app.thread_stop {
            // SAFETY: a function of the checked table; the thread's state is given back once, on its own thread,
            // since `ThreadState` is neither `Send` nor `Clone`.
            unsafe { thread_stop(self.state, thread.0) };
        }
    }

    /// The application has something to say about whether it can serve.
    pub fn has_ready(&self) -> bool {
        self.table.app.ready.is_some()
    }

    /// The application can serve. May take as long as the application likes: the caller bounds it.
    pub fn ready(&self) -> bool {
        match self.table.app.ready {
            // SAFETY: a function of the checked table, with the state that its `start` made.
            Some(ready) => unsafe { ready(self.state) > 0 },
            None => true,
        }
    }

    /// Lets the application answer one request. What it asks of the host meanwhile reaches `exchange.host`, on this
    /// thread and only until this returns.
    pub fn call<T: Host>(&self, thread: &ThreadState, exchange: &mut Exchange<T>) -> CallOutcome {
        let Some(call) = self.table.app.call else {
            return CallOutcome::Failed; // `Table` does not let it come to this.
        };
        let _turn = self.turn.as_ref().map(|turn| turn.lock().unwrap_or_else(PoisonError::into_inner));
        let entered = exchange.enter();
        // SAFETY: a function of the checked table, with the states that it made itself; the exchange stays in its
        // place, filled, until `entered` is dropped, after the call.
        let result = unsafe { call(self.state, thread.0, entered.exchange()) };
        drop(entered);
        if result < code::OK { CallOutcome::Failed } else { CallOutcome::Done }
    }

    /// The application wants to be told of each request.
    pub fn has_request_hooks(&self) -> bool {
        self.table.app.flags & flag::REQUEST_HOOKS != 0 && self.table.app.hook.is_some()
    }

    /// Tells the application.
    pub fn hook(&self, kind: Hook) {
        if let Some(hook) = self.table.app.hook {
            // SAFETY: a function of the checked table, with the state that its `start` made; null facts are allowed.
            unsafe { hook(self.state, kind.number(), ptr::null()) };
        }
    }

    /// The last call of all; on the main thread, after every thread's `thread_stop`, and once.
    pub fn stop(&self) {
        if let Some(stop) = self.table.app.stop {
            // SAFETY: a function of the checked table, with the state that its `start` made; the worker leaves after
            // it and calls nothing more.
            unsafe { stop(self.state) };
        }
    }
}

impl Hook {
    /// The number that crosses the door.
    fn number(self) -> u32 {
        match self {
            Hook::PostWorkerInit => hook::POST_WORKER_INIT,
            Hook::PreRequest => hook::PRE_REQUEST,
            Hook::PostRequest => hook::POST_REQUEST,
            Hook::WorkerInt => hook::WORKER_INT,
            Hook::WorkerAbort => hook::WORKER_ABORT,
            Hook::WorkerExit => hook::WORKER_EXIT,
        }
    }
}

/// A place for the application's account of its failure.
fn error_place(text: &mut [u8]) -> abi::Error {
    abi::Error {
        size: size_of::<abi::Error>() as u32,
        reserved: 0,
        text: text.as_mut_ptr(),
        capacity: text.len(),
        len: 0,
    }
}

/// What the application wrote there: one line or more, or our own words when it wrote none.
fn error_text(text: &[u8], len: usize, function: &str, code: i32) -> String {
    let said = String::from_utf8_lossy(&text[..len.min(text.len())]);
    match said.trim() {
        "" => format!("its {function} returned {code} and did not say why"),
        said => said.to_owned(),
    }
}
