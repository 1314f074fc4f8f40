//! The trait that an application implements, and the events it may hear of. Not how they are called: see `export`.

use crate::{Error, Request, Response, Startup, Worker};

/// An application: a value that is made once in each worker and answers requests on any of its threads.
///
/// Only [`start`](App::start) and [`call`](App::call) are required. An application is shared by all threads of its
/// worker, so what changes in it lives behind a `Mutex`, an `RwLock` or an atomic. Workers are processes: they share
/// nothing but what the application puts into a file, a database or a cache of its own.
///
/// ```
/// use std::sync::atomic::{AtomicU64, Ordering};
/// use unirs_app::{App, Error, Request, Response, Startup};
///
/// struct Visits(AtomicU64);
///
/// impl App for Visits {
///     fn start(_: &Startup) -> Result<Self, Error> {
///         Ok(Visits(AtomicU64::new(0)))
///     }
///
///     fn call(&self, _: &mut Request) -> Response {
///         let number = self.0.fetch_add(1, Ordering::Relaxed) + 1;
///         Response::text(format!("You are visitor {number} of this worker.\n"))
///     }
/// }
///
/// unirs_app::export!(Visits);
/// # let visits = unirs_app::test::Server::new::<Visits>();
/// # assert_eq!(visits.get("/").text(), "You are visitor 1 of this worker.\n");
/// ```
///
/// # Middleware
///
/// An application that holds another one is middleware. It makes the inner one in its own `start`, and does what it
/// likes before and after the inner `call`; no other machinery is needed. (It passes on the optional functions that the
/// inner one cares about, such as `ready` and `stop`.)
///
/// ```
/// # use unirs_app::{App, Error, Request, Response, Startup};
/// struct Stamped<A>(A);
///
/// impl<A: App> App for Stamped<A> {
///     fn start(startup: &Startup) -> Result<Self, Error> {
///         Ok(Stamped(A::start(startup)?))
///     }
///
///     fn call(&self, request: &mut Request) -> Response {
///         let id = request.id().to_owned();
///         self.0.call(request).header("x-request-id", id)
///     }
/// }
/// # struct Hello;
/// # impl App for Hello {
/// #     fn start(_: &Startup) -> Result<Self, Error> { Ok(Hello) }
/// #     fn call(&self, _: &mut Request) -> Response { Response::text("Hello, World!\n") }
/// # }
///
/// unirs_app::export!(Stamped<Hello>);
/// # let hello = unirs_app::test::Server::new::<Stamped<Hello>>();
/// # assert!(hello.get("/").header("x-request-id").is_some());
/// ```
pub trait App: Send + Sync + Sized + 'static {
    /// The application's name, as logs show it; empty: that of the package whose [`export!`](crate::export) this is.
    const NAME: &'static str = "";

    /// Its version, as logs show it; empty: that of the package whose [`export!`](crate::export) this is.
    const VERSION: &'static str = "";

    /// Whether `call` must be made by one thread at a time.
    const SERIAL: bool = false;

    /// Whether [`hook`](App::hook) is told of each request too: it costs two calls for each.
    const REQUEST_HOOKS: bool = false;

    /// The stack that each thread in `call` needs, in bytes; 0: the host's default.
    const STACK_SIZE: u64 = 0;

    /// Makes the application, on the worker's main thread, before the first request.
    ///
    /// With `preload_app` it runs once for all workers, in a process that forks them and serves nobody: what cannot be shared
    /// over a fork belongs into [`post_fork`](App::post_fork), and a thread that is started here is refused.
    ///
    /// # Errors
    /// The worker does not become ready; the text of the error reaches the log and whoever asked for the reload.
    fn start(startup: &Startup) -> Result<Self, Error>;

    /// Answers a request. Runs on any of the worker's threads, several at once unless [`SERIAL`](App::SERIAL) is set.
    ///
    /// A panic is caught: it becomes a 500 and a line in the error log, and the worker lives. Where `?` would read
    /// better, let a function of your own return `Result<Response, Error>` and call it here with
    /// [`into_response`](crate::IntoResponse::into_response), or let a [`Router`](crate::Router) do so.
    fn call(&self, request: &mut Request) -> Response;

    /// Whether the application can serve: asked before the first request and every few seconds later. It has to answer
    /// at once.
    fn ready(&self) -> bool {
        true
    }

    /// The worker leaves; no call is under way any more. The application is dropped afterwards. The process then ends
    /// without running destructors of statics. With `preload_app` it does not run in the process that forks the workers.
    fn stop(&self) {}

    /// First thing on each thread that will be in `call`; threads are counted from 0.
    fn thread_start(&self, number: u32) {
        let _ = number; // named for the documentation; the default needs nothing of it
    }

    /// Last thing on such a thread.
    fn thread_stop(&self) {}

    /// With `preload_app`: before a worker is forked from the process that ran `start`.
    fn before_fork(&self) {}

    /// With `preload_app`: after that fork, in the process that ran `start`.
    fn after_fork_parent(&self) {}

    /// With `preload_app`: in the new worker. Connections and threads that `start` made have to be made anew.
    ///
    /// # Errors
    /// The worker does not become ready.
    fn post_fork(&self, worker: &Worker) -> Result<(), Error> {
        let _ = worker; // named for the documentation; the default needs nothing of it
        Ok(())
    }

    /// Something happened in the worker.
    fn hook(&self, hook: Hook) {
        let _ = hook; // named for the documentation; the default needs nothing of it
    }
}

/// What [`App::hook`] is told of; the names are those of Gunicorn's server hooks.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hook {
    /// The worker is about to become ready.
    PostWorkerInit,
    /// A request is about to be answered. Only with [`REQUEST_HOOKS`](App::REQUEST_HOOKS).
    PreRequest,
    /// A request was answered. Only with [`REQUEST_HOOKS`](App::REQUEST_HOOKS).
    PostRequest,
    /// The worker leaves quickly (INT, QUIT).
    WorkerInt,
    /// A call of this worker is over its time. Runs on another thread than that call.
    WorkerAbort,
    /// The worker leaves; the last thing before [`App::stop`].
    WorkerExit,
}
