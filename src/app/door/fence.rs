//! The fence around each function of the host's table: the exchange has to be in its call on this thread, and no panic
//! gets out. Not what the functions do.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use unirs_app::abi::{self, code};

use super::exchange::{Current, lend};
use crate::app::host::{Level, Refusal, Services};

/// Whom the table's functions without an exchange ask: nothing else leads from them to the worker. Set by
/// the first start of the process, which runs one application.
static PROCESS: OnceLock<Process> = OnceLock::new();

/// See [`PROCESS`].
pub(super) struct Process {
    pub(super) services: &'static dyn Services,
    /// The application's name, the target of its lines that name none.
    pub(super) name: String,
}

/// Settles whom the functions without an exchange ask; the first start of the process does.
pub(super) fn settle(services: &'static dyn Services, name: &str) {
    PROCESS.get_or_init(|| Process { services, name: name.to_owned() });
}

/// Whom the functions without an exchange ask; none before the first start.
pub(super) fn process() -> Option<&'static Process> {
    PROCESS.get()
}

/// Runs a function of the table for its exchange, and turns what comes of it into the number that crosses.
pub(super) fn on(
    what: &'static str,
    exchange: *mut abi::Exchange,
    work: impl FnOnce(Current) -> Result<i32, Refusal>,
) -> i32 {
    let result = lent(what, exchange, |current| work(current).unwrap_or_else(Refusal::code));
    result.unwrap_or_else(|code| code)
}

/// Runs `work` if the exchange is in its call on this thread; else, or when it panics, the code that says so.
pub(super) fn lent<R>(
    what: &'static str,
    exchange: *mut abi::Exchange,
    work: impl FnOnce(Current) -> R,
) -> Result<R, i32> {
    match lend(exchange, |current| fenced(what, || work(current))) {
        Some(result) => result.ok_or(code::FAILED),
        None => {
            let _ = fenced(what, || report_stray(what));
            Err(code::INVALID)
        }
    }
}

/// Runs `work` and stops a panic there: `None`, and a line in the log.
pub(super) fn fenced<R>(what: &'static str, work: impl FnOnce() -> R) -> Option<R> {
    let panic = match catch_unwind(AssertUnwindSafe(work)) {
        Ok(result) => return Some(result),
        Err(panic) => panic,
    };
    // The log itself may be what panicked; there is nobody left to tell then.
    let _ = catch_unwind(AssertUnwindSafe(|| {
        let text = panic_text(panic.as_ref());
        say(Level::Error, &format!("the host panicked in `{what}`: {text}"));
    }));
    None
}

/// Says once in a process that an application uses exchanges that it must not touch, and then no more: it may do so
/// with each request.
fn report_stray(what: &str) {
    static SAID: AtomicBool = AtomicBool::new(false);
    if !SAID.swap(true, Ordering::Relaxed) {
        let text = format!(
            "the application called `{what}` for an exchange that is not in its call on this thread: refused, as all \
             such calls after this one. An exchange may be used only by the thread that was called, until it returns"
        );
        say(Level::Warning, &text);
    }
}

fn say(level: Level, text: &str) {
    if let Some(process) = PROCESS.get() {
        process.services.log(level, &process.name, text);
    }
}

fn panic_text(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message")
}
