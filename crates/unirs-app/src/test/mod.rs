//! An application without a server: call it in a test, and look at the answer.
//!
//! A [`Server`] here is a host in the process of the test. It goes through the very table that
//! [`export!`](crate::export) makes, and keeps the rules of a real host (a second answer is refused, a line break in a field
//! is refused, bytes are counted), so that what works here works there. It has no network, no threads and no time limits.
//!
//! ```
//! # use unirs_app::{App, Error, Request, Response, Startup};
//! # struct Hello;
//! # impl App for Hello {
//! #     fn start(_: &Startup) -> Result<Self, Error> { Ok(Hello) }
//! #     fn call(&self, _: &mut Request) -> Response { Response::text("Hello, World!\n") }
//! # }
//! use unirs_app::test::Server;
//!
//! let hello = Server::new::<Hello>();
//! let answer = hello.get("/");
//! assert_eq!(answer.status(), 200);
//! assert_eq!(answer.header("content-type"), Some("text/plain; charset=utf-8"));
//! assert_eq!(answer.text(), "Hello, World!\n");
//!
//! let answer = hello.request("POST", "/orders?dry=1").header("x-shop", "7").body("{}").send();
//! assert_eq!(answer.status(), 200);
//! ```

mod answer;
mod call;
mod functions;
mod host;
mod rules;

use std::ffi::c_void;
use std::sync::Arc;

use crate::abi::{self, code};
use crate::log::Level;
use crate::{App, Hook, Worker};

pub use answer::Answer;
pub use call::Call;

use host::Context;
#[cfg(test)]
pub(crate) use host::table;

/// A host of one application, in this process and on this thread.
pub struct Server {
    table: &'static abi::App,
    /// What the application's `start` made.
    state: *mut c_void,
    /// What its `thread_start` made.
    thread: *mut c_void,
    context: Arc<Context>,
}

impl Server {
    /// Starts an application with an empty configuration.
    ///
    /// # Panics
    /// When it does not start, with its own text.
    pub fn new<A: App>() -> Server {
        Server::with_config::<A>("{}")
            .unwrap_or_else(|error| panic!("the application does not start: {error}"))
    }

    /// Starts an application with a configuration: a JSON object.
    ///
    /// # Errors
    /// The text with which it refused.
    pub fn with_config<A: App>(config: &str) -> Result<Server, String> {
        // SAFETY: our own table keeps its contract.
        unsafe { Server::of_table(crate::abi_table::<A>(), config) }
    }

    /// Starts an application by its table: that of a loaded library.
    ///
    /// # Safety
    /// The functions of the table keep the contract of [`abi::App`].
    ///
    /// # Errors
    /// The text with which it refused.
    pub unsafe fn of_table(table: &'static abi::App, config: &str) -> Result<Server, String> {
        // SAFETY: the caller's.
        unsafe { Server::of_table_and_host(table, config, |_| ()) }
    }

    /// As [`of_table`](Server::of_table), with a host that was made otherwise.
    ///
    /// # Safety
    /// As there, and the host is still one.
    pub(crate) unsafe fn of_table_and_host(
        table: &'static abi::App,
        config: &str,
        change: impl FnOnce(&mut abi::Host),
    ) -> Result<Server, String> {
        let context = Context::new();
        let mut host = host::table(config);
        change(&mut host);
        let host: &'static abi::Host = Box::leak(Box::new(host)); // a host's table lives as long as the process
        let state = context.enter(|| start(table, host))?;
        let thread = context.enter(|| thread_start(table, state))?;
        Ok(Server { table, state, thread, context })
    }

    /// Sends a `GET`.
    pub fn get(&self, target: &str) -> Answer {
        self.request("GET", target).send()
    }

    /// Sends a `POST` with a body.
    pub fn post(&self, target: &str, body: impl Into<Vec<u8>>) -> Answer {
        self.request("POST", target).body(body).send()
    }

    /// Begins a request, to be [sent](Call::send) once it has what it needs. The target is a path and perhaps a query, as
    /// they are sent.
    pub fn request(&self, method: &str, target: &str) -> Call<'_> {
        Call::new(self, method, target)
    }

    /// What the application says of its readiness.
    pub fn ready(&self) -> bool {
        // SAFETY: the state is that of the table's `start`.
        self.table.ready.is_none_or(|ready| self.context.enter(|| unsafe { ready(self.state) } == 1))
    }

    /// Tells the application of an event.
    pub fn hook(&self, hook: Hook) {
        let kind = match hook {
            Hook::PostWorkerInit => abi::hook::POST_WORKER_INIT,
            Hook::PreRequest => abi::hook::PRE_REQUEST,
            Hook::PostRequest => abi::hook::POST_REQUEST,
            Hook::WorkerInt => abi::hook::WORKER_INT,
            Hook::WorkerAbort => abi::hook::WORKER_ABORT,
            Hook::WorkerExit => abi::hook::WORKER_EXIT,
        };
        if let Some(tell) = self.table.hook {
            // SAFETY: the state is that of the table's `start`.
            self.context.enter(|| unsafe { tell(self.state, kind, std::ptr::null()) });
        }
    }

    /// Does to the application what happens in a worker that was forked after `start`.
    ///
    /// # Errors
    /// The text with which it refused.
    pub fn post_fork(&self, worker: Worker) -> Result<(), String> {
        let Some(post_fork) = self.table.post_fork else {
            return Ok(());
        };
        let worker = host::worker(worker);
        with_error(|error| {
            // SAFETY: the state is that of the table's `start`; the worker lives during the call.
            self.context.enter(|| unsafe { post_fork(self.state, &worker, error) })
        })
    }

    /// The lines that the application and this crate have logged on this thread.
    pub fn log(&self) -> Vec<(Level, String)> {
        self.context.lines()
    }

    /// The value of a counter of the application.
    pub fn counter(&self, name: &str) -> u64 {
        self.context.counter_value(name)
    }

    /// Stops the application, as a worker does that leaves.
    pub fn stop(self) {
        drop(self);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let (table, state, thread) = (self.table, self.state, self.thread);
        self.context.enter(|| {
            if let Some(thread_stop) = table.thread_stop {
                // SAFETY: the state and the thread's are those of this table.
                unsafe { thread_stop(state, thread) };
            }
            if let Some(stop) = table.stop {
                // SAFETY: the state is that of the table's `start`, and this is the last call with it.
                unsafe { stop(state) };
            }
        });
    }
}

fn start(table: &abi::App, host: &'static abi::Host) -> Result<*mut c_void, String> {
    let mut state = std::ptr::null_mut();
    if let Some(start) = table.start {
        // SAFETY: the host lives as long as the process, and the places live during the call.
        with_error(|error| unsafe { start(host, &mut state, error) })?;
    }
    Ok(state)
}

fn thread_start(table: &abi::App, state: *mut c_void) -> Result<*mut c_void, String> {
    let mut thread = std::ptr::null_mut();
    if let Some(thread_start) = table.thread_start {
        // SAFETY: the state is that of the table's `start`.
        if unsafe { thread_start(state, 0, &mut thread) } != code::OK {
            return Err("thread_start failed".to_owned());
        }
    }
    Ok(thread)
}

/// Lends a place for the text of an error, and reads it.
fn with_error(function: impl FnOnce(&mut abi::Error) -> i32) -> Result<(), String> {
    let mut text = vec![0; 4096];
    let (size, capacity) = (size_of::<abi::Error>() as u32, text.len());
    let mut error = abi::Error { size, reserved: 0, text: text.as_mut_ptr(), capacity, len: 0 };
    if function(&mut error) == code::OK {
        return Ok(());
    }
    text.truncate(error.len);
    Err(String::from_utf8_lossy(&text).into_owned())
}
