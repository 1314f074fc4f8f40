//! Panics of an application, caught at the door: what they said and where. Not the door itself.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::panic::{self, AssertUnwindSafe};
use std::sync::Once;

thread_local! {
    /// Whether this thread is inside the door, so that its panics are ours to report.
    static INSIDE: Cell<bool> = const { Cell::new(false) };
    /// Where this thread panicked last, inside the door.
    static LOCATION: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Runs a function of the application. A panic becomes its message and location.
pub(crate) fn catch<R>(function: impl FnOnce() -> R) -> Result<R, String> {
    watch();
    let outer = INSIDE.replace(true);
    let result = panic::catch_unwind(AssertUnwindSafe(function));
    INSIDE.set(outer);
    result.map_err(describe)
}

/// Notes where panics happen, once in a process. Whoever listened before is asked as before.
fn watch() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let previous = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if INSIDE.get() {
                LOCATION.set(info.location().map(ToString::to_string));
            }
            previous(info);
        }));
    });
}

fn describe(payload: Box<dyn Any + Send>) -> String {
    let message = if let Some(text) = payload.downcast_ref::<&str>() {
        (*text).to_owned()
    } else if let Some(text) = payload.downcast_ref::<String>() {
        text.clone()
    } else {
        "(no message)".to_owned()
    };
    // A payload may panic when it is dropped; that must not leave the door either. The second one is given up.
    if let Err(second) = panic::catch_unwind(AssertUnwindSafe(|| drop(payload))) {
        std::mem::forget(second);
    }
    match LOCATION.take() {
        Some(location) => format!("{message}, at {location}"),
        None => message,
    }
}
