//! The door: an [`App`] as the table of C functions that a host calls. Not what an application may do: see `app`.
//!
//! Nothing unwinds out of a function of this file, whatever the application does.

use std::ffi::c_void;
use std::marker::PhantomData;
use std::sync::OnceLock;

use crate::abi::{self, code};
use crate::host::{Exchange, Host};
use crate::panics::catch;
use crate::send::send;
use crate::{App, Error, Hook, Request, Startup, Worker, log};

/// Makes a library of an application: exports the one symbol that a host looks for.
///
/// It stands once in a crate whose `Cargo.toml` says `[lib] crate-type = ["cdylib"]`. Name and version of the application
/// are those of the package, unless the [`App`] has its own.
///
/// ```
/// # use unirs_app::{App, Error, Request, Response, Startup};
/// # struct Hello;
/// # impl App for Hello {
/// #     fn start(_: &Startup) -> Result<Self, Error> { Ok(Hello) }
/// #     fn call(&self, _: &mut Request) -> Response { Response::text("Hello, World!\n") }
/// # }
/// unirs_app::export!(Hello);
/// # fn main() {}
/// ```
#[macro_export]
macro_rules! export {
    ($app:ty) => {
        const _: () = {
            struct ThisPackage;

            impl $crate::Package for ThisPackage {
                const NAME: &'static str = ::core::env!("CARGO_PKG_NAME");
                const VERSION: &'static str = ::core::env!("CARGO_PKG_VERSION");
            }

            #[unsafe(no_mangle)]
            extern "C" fn unirs_app() -> *const $crate::abi::App {
                $crate::abi_table_of::<$app, ThisPackage>()
            }
        };
    };
}

/// The package that an application is built from; [`export!`](crate::export) makes one.
pub trait Package {
    /// The package's name.
    const NAME: &'static str;
    /// The package's version.
    const VERSION: &'static str;
}

/// An application's table, as [`export!`](crate::export) returns it, for one that is linked into its host.
///
/// ```
/// # use unirs_app::{App, Error, Request, Response, Startup};
/// # struct Hello;
/// # impl App for Hello {
/// #     const NAME: &'static str = "hello";
/// #     fn start(_: &Startup) -> Result<Self, Error> { Ok(Hello) }
/// #     fn call(&self, _: &mut Request) -> Response { Response::text("Hello, World!\n") }
/// # }
/// let table = unirs_app::abi_table::<Hello>();
/// assert_eq!(table.abi, unirs_app::abi::ABI_VERSION);
/// assert_eq!(table.name.len, "hello".len());
/// ```
pub fn abi_table<A: App>() -> &'static abi::App {
    abi_table_of::<A, Nameless>()
}

/// As [`abi_table`], for an application that takes its name and version from a package.
pub fn abi_table_of<A: App, P: Package>() -> &'static abi::App {
    Table::<A, P>::TABLE
}

/// No package: the application's own name and version, or none.
struct Nameless;

impl Package for Nameless {
    const NAME: &'static str = "";
    const VERSION: &'static str = "";
}

/// Where the table of an application is made, while it is compiled.
struct Table<A, P>(PhantomData<(A, P)>);

impl<A: App, P: Package> Table<A, P> {
    const TABLE: &'static abi::App = &abi::App {
        size: size_of::<abi::App>() as u32,
        abi: abi::ABI_VERSION,
        name: named(A::NAME, P::NAME),
        version: named(A::VERSION, P::VERSION),
        flags: if A::SERIAL { abi::flag::SERIAL } else { 0 }
            | if A::REQUEST_HOOKS { abi::flag::REQUEST_HOOKS } else { 0 },
        stack_size: A::STACK_SIZE,
        waiters: std::ptr::null(),
        start: Some(start::<A>),
        before_fork: Some(before_fork::<A>),
        after_fork_parent: Some(after_fork_parent::<A>),
        post_fork: Some(post_fork::<A>),
        thread_start: Some(thread_start::<A>),
        thread_stop: Some(thread_stop::<A>),
        ready: Some(ready::<A>),
        call: Some(call::<A>),
        hook: Some(hook::<A>),
        stop: Some(stop::<A>),
    };
}

/// The application's own name, or its package's.
const fn named(own: &'static str, package: &'static str) -> abi::Bytes {
    let text = if own.is_empty() { package } else { own };
    abi::Bytes { data: text.as_ptr(), len: text.len() }
}

/// What `start` makes and the host passes to every other function.
struct State<A> {
    app: A,
    host: &'static Host,
    /// Who the worker is, once it was forked from the process that ran `start`.
    forked: OnceLock<Worker>,
}

impl<A> State<A> {
    /// # Safety
    /// `state` was made by `start::<A>`, and `stop::<A>` was not called with it.
    unsafe fn of<'a>(state: *mut c_void) -> &'a State<A> {
        // SAFETY: the caller's. All access is shared.
        unsafe { &*state.cast::<State<A>>() }
    }

    fn worker(&self) -> Worker {
        self.forked.get().copied().unwrap_or_else(|| self.host.worker())
    }
}

// The functions of the table. For all of them the host keeps, by the contract of `abi::App`: `state` is what `start` made,
// and nothing is called with it after `stop`.

unsafe extern "C" fn start<A: App>(
    host: *const abi::Host,
    place: *mut *mut c_void,
    error: *mut abi::Error,
) -> i32 {
    // SAFETY: the host's table is valid for the life of the process.
    let host = unsafe { Host::adopt(host) };
    let started = catch(|| start_with::<A>(host)).unwrap_or_else(|panic| Err(panicked(panic)));
    match started {
        Ok(state) => {
            // SAFETY: the host's place for the state.
            unsafe { place.write(Box::into_raw(state).cast()) };
            code::OK
        }
        Err(reason) => {
            // SAFETY: null or the host's place for a text.
            unsafe { put_error(error, &reason) };
            code::FAILED
        }
    }
}

fn start_with<A: App>(host: Option<&'static Host>) -> Result<Box<State<A>>, Error> {
    let host = host.ok_or(Error::new("the host passed no table"))?;
    if host.abi_version() != abi::ABI_VERSION {
        let found = host.abi_version();
        let wanted = abi::ABI_VERSION;
        return Err(Error::new(format!(
            "the host speaks version {found} of the interface, this application {wanted}"
        )));
    }
    let app = A::start(&Startup::new(host))?;
    Ok(Box::new(State { app, host, forked: OnceLock::new() }))
}

fn panicked(panic: String) -> Error {
    Error::new(format!("panic: {panic}"))
}

/// Copies the text of an error into the host's place for it, as much of it as fits.
///
/// # Safety
/// `place` is null or valid, and as large as its size and capacity say.
unsafe fn put_error(place: *mut abi::Error, error: &Error) {
    // SAFETY: the caller's.
    let Some(place) = (unsafe { place.as_mut() }) else {
        return;
    };
    let text = error.to_string();
    let len = text.floor_char_boundary(place.capacity);
    if !place.text.is_null() {
        // SAFETY: `len` is no more than either side has.
        unsafe { place.text.copy_from_nonoverlapping(text.as_ptr(), len) };
        place.len = len;
    }
}

unsafe extern "C" fn call<A: App>(
    state: *mut c_void,
    _thread: *mut c_void,
    exchange: *mut abi::Exchange,
) -> i32 {
    // SAFETY: the host's contract, above.
    let state = unsafe { State::<A>::of(state) };
    // SAFETY: the exchange of this call; no copy of it outlives the request below.
    let Some(exchange) = (unsafe { Exchange::new(state.host, exchange) }) else {
        return code::INVALID;
    };
    let mut request = Request::new(exchange, state.worker());
    match catch(|| send(state.app.call(&mut request), &mut request)) {
        Ok(Ok(())) => code::OK,
        Ok(Err(())) => code::FAILED,
        Err(panic) => {
            log::error!("panic in {request:?}: {panic}");
            code::FAILED
        }
    }
}

unsafe extern "C" fn ready<A: App>(state: *mut c_void) -> i32 {
    // SAFETY: the host's contract, above.
    let state = unsafe { State::<A>::of(state) };
    i32::from(guarded("ready", || state.app.ready()).unwrap_or(false))
}

unsafe extern "C" fn before_fork<A: App>(state: *mut c_void) {
    // SAFETY: the host's contract, above.
    let state = unsafe { State::<A>::of(state) };
    guarded("before_fork", || state.app.before_fork());
}

unsafe extern "C" fn after_fork_parent<A: App>(state: *mut c_void) {
    // SAFETY: the host's contract, above.
    let state = unsafe { State::<A>::of(state) };
    guarded("after_fork_parent", || state.app.after_fork_parent());
}

unsafe extern "C" fn post_fork<A: App>(
    state: *mut c_void,
    worker: *const abi::Worker,
    error: *mut abi::Error,
) -> i32 {
    // SAFETY: the host's contract, above.
    let state = unsafe { State::<A>::of(state) };
    // SAFETY: null or a worker of the host; version 1 has all of the fields.
    let worker = unsafe { worker.as_ref() }.map_or_else(|| state.host.worker(), Worker::from);
    let worker = *state.forked.get_or_init(|| worker);
    match catch(|| state.app.post_fork(&worker)).unwrap_or_else(|panic| Err(panicked(panic))) {
        Ok(()) => code::OK,
        Err(reason) => {
            // SAFETY: null or the host's place for a text.
            unsafe { put_error(error, &reason) };
            code::FAILED
        }
    }
}

unsafe extern "C" fn thread_start<A: App>(state: *mut c_void, number: u32, thread: *mut *mut c_void) -> i32 {
    // SAFETY: the host's contract, above.
    let state = unsafe { State::<A>::of(state) };
    if !thread.is_null() {
        // SAFETY: the host's place for the thread's state, of which a Rust application has none.
        unsafe { thread.write(std::ptr::null_mut()) };
    }
    match guarded("thread_start", || state.app.thread_start(number)) {
        Some(()) => code::OK,
        None => code::FAILED,
    }
}

unsafe extern "C" fn thread_stop<A: App>(state: *mut c_void, _thread: *mut c_void) {
    // SAFETY: the host's contract, above.
    let state = unsafe { State::<A>::of(state) };
    guarded("thread_stop", || state.app.thread_stop());
}

unsafe extern "C" fn hook<A: App>(state: *mut c_void, kind: u32, _facts: *const c_void) {
    // SAFETY: the host's contract, above.
    let state = unsafe { State::<A>::of(state) };
    if let Some(hook) = hook_of(kind) {
        guarded("hook", || state.app.hook(hook));
    }
}

/// `None` for a kind that came later than this crate.
fn hook_of(kind: u32) -> Option<Hook> {
    Some(match kind {
        abi::hook::POST_WORKER_INIT => Hook::PostWorkerInit,
        abi::hook::PRE_REQUEST => Hook::PreRequest,
        abi::hook::POST_REQUEST => Hook::PostRequest,
        abi::hook::WORKER_INT => Hook::WorkerInt,
        abi::hook::WORKER_ABORT => Hook::WorkerAbort,
        abi::hook::WORKER_EXIT => Hook::WorkerExit,
        _ => return None,
    })
}

unsafe extern "C" fn stop<A: App>(state: *mut c_void) {
    // SAFETY: what `start` made; the last call with it, and no other is under way.
    let state = unsafe { Box::from_raw(state.cast::<State<A>>()) };
    guarded("stop", || state.app.stop());
    guarded("drop", || drop(state));
}

/// Runs a function of the application that returns no error. A panic is logged; then there is no result.
fn guarded<R>(name: &str, function: impl FnOnce() -> R) -> Option<R> {
    match catch(function) {
        Ok(result) => Some(result),
        Err(panic) => {
            log::error!("panic in {name}: {panic}");
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test::Server;
    use crate::{Refusal, Response};

    /// Asks the host for everything.
    struct Greedy;

    impl App for Greedy {
        fn start(startup: &Startup) -> Result<Self, Error> {
            startup.counter("greed").add(1);
            Ok(Greedy)
        }

        fn call(&self, request: &mut Request) -> Response {
            request.extend(std::time::Duration::from_secs(1));
            assert!(!request.cancelled() && request.id().is_empty());
            assert!(request.early_hints(&[("link", "</a>")]).is_ok());
            assert!(request.body().bytes().is_err());
            match request.path() {
                "/stream" => Response::stream(|_| Ok(())),
                "/file" => Response::file(std::fs::File::open("/dev/null").expect("there is one")),
                "/notice" => Response::text("x").on_finished(|_: Result<(), Refusal>| ()),
                _ => Response::text("x"),
            }
        }
    }

    fn greedy(change: impl FnOnce(&mut abi::Host)) -> Server {
        // SAFETY: our own table keeps its contract, and a host may lack any function.
        unsafe { Server::of_table_and_host(abi_table::<Greedy>(), "{}", change) }.expect("it starts")
    }

    #[test]
    fn a_host_whose_table_ends_early_is_asked_for_nothing_beyond() {
        let greedy = greedy(|host| host.size = std::mem::offset_of!(abi::Host, counter) as u32 + 4);
        for path in ["/", "/stream", "/file", "/notice"] {
            assert!(greedy.get(path).is_from_host(), "{path}");
        }
        let (_, line) = greedy.log().pop().expect("a line");
        assert_eq!(line, "GET /notice: the server does not support that");
    }

    #[test]
    fn a_host_that_cannot_send_files_is_given_their_bytes() {
        let greedy = greedy(|host| {
            (host.respond_file, host.read, host.body, host.request_id) = (None, None, None, None);
        });
        assert!(greedy.get("/file").is_complete());
    }

    #[test]
    fn a_host_of_another_version_is_refused_with_a_sentence() {
        // SAFETY: our own table keeps its contract, and refuses this host before it asks for anything.
        let refused = unsafe { Server::of_table_and_host(abi_table::<Greedy>(), "{}", |host| host.abi = 2) };
        let sentence = "the host speaks version 2 of the interface, this application 1";
        assert_eq!(refused.err().as_deref(), Some(sentence));
    }

    #[test]
    fn what_is_no_exchange_is_refused() {
        let greedy = abi_table::<Greedy>();
        let host = Box::leak(Box::new(crate::test::table("{}")));
        let mut state = std::ptr::null_mut();
        let start = greedy.start.expect("there is one");
        // SAFETY: a host that lives as long as the process.
        let started = unsafe { start(host, &mut state, std::ptr::null_mut()) };
        assert_eq!(started, code::OK);
        let call = greedy.call.expect("there is one");
        // SAFETY: the state is that of `start`; a null exchange is what is tried.
        let refused = unsafe { call(state, std::ptr::null_mut(), std::ptr::null_mut()) };
        assert_eq!(refused, code::INVALID);
    }

    #[test]
    fn a_text_that_does_not_fit_is_cut_between_characters() {
        let mut place = [0; 4];
        let mut error =
            abi::Error { size: 0, reserved: 0, text: place.as_mut_ptr(), capacity: place.len(), len: 0 };
        // SAFETY: a place of that capacity.
        unsafe { put_error(&mut error, &Error::new("naïve")) };
        assert_eq!(&place[..error.len], "naï".as_bytes());
    }
}
