//! Each rule of the door, told to an application that keeps it and to one that does not. The applications here are
//! made of the bare table, since the interface crate does not let anyone break these rules.

/// Calls a function of the host's table.
macro_rules! ask {
    ($host:ident . $function:ident ( $($argument:expr),* )) => {
        // SAFETY: what these tests pass is what they are about.
        unsafe { $host.$function.unwrap()($($argument),*) }
    };
}

mod answers;
mod limits;
mod requests;

use std::cell::{Cell, RefCell};
use std::ffi::c_void;
use std::ptr;

use unirs_app::abi::{self, code};

use super::answer::sound;
use super::*;
use crate::app::fake::{FACTS, FakeHost, LINES};

/// What the application does in its call: it has the host's table and its exchange.
type Script = Box<dyn FnOnce(&'static abi::Host, *mut abi::Exchange) -> i32>;

thread_local! {
    static SCRIPT: RefCell<Option<Script>> = const { RefCell::new(None) };
    static HOST: Cell<*const abi::Host> = const { Cell::new(ptr::null()) };
}

unsafe extern "C" fn start(host: *const abi::Host, state: *mut *mut c_void, _: *mut abi::Error) -> i32 {
    HOST.set(host);
    // SAFETY: the host's place for the state.
    unsafe { state.write(ptr::without_provenance_mut(17)) };
    code::OK
}

unsafe extern "C" fn call(state: *mut c_void, thread: *mut c_void, exchange: *mut abi::Exchange) -> i32 {
    let Some(script) = SCRIPT.take() else {
        return code::FAILED;
    };
    if state.addr() != 17 || thread.addr() != 23 {
        return code::FAILED;
    }
    // SAFETY: the table lives as long as the process.
    script(unsafe { &*HOST.get() }, exchange)
}

unsafe extern "C" fn thread_start(_: *mut c_void, number: u32, thread: *mut *mut c_void) -> i32 {
    // SAFETY: the host's place for the thread's state.
    unsafe { thread.write(ptr::without_provenance_mut(23)) };
    if number == 99 { code::FAILED } else { code::OK }
}

const NAME: &str = "script";

fn table(change: impl FnOnce(&mut abi::App)) -> Table {
    // SAFETY: all zeros are a table without anything.
    let mut app: abi::App = unsafe { std::mem::zeroed() };
    app.size = size_of::<abi::App>() as u32;
    app.abi = abi::ABI_VERSION;
    app.name = text(NAME);
    app.start = Some(start);
    app.call = Some(call);
    app.thread_start = Some(thread_start);
    change(&mut app);
    // SAFETY: a whole table, whose texts are static.
    unsafe { Table::read(&app) }.unwrap()
}

fn running(change: impl FnOnce(&mut abi::App)) -> Running {
    Running::start(table(change), r#"{"key": 1}"#.to_owned(), &FACTS, &LINES).unwrap()
}

/// Runs `script` in a call for `host`; what the script returns, and the host afterwards.
fn run<R: 'static>(
    host: FakeHost,
    script: impl FnOnce(&'static abi::Host, *mut abi::Exchange) -> R + 'static,
) -> (R, FakeHost) {
    let place = std::rc::Rc::new(Cell::new(None));
    let result = place.clone();
    let running = running(|_| ());
    SCRIPT.set(Some(Box::new(move |host, exchange| {
        result.set(Some(script(host, exchange)));
        code::OK
    })));
    let (outcome, host) = host.call(&running);
    assert_eq!(outcome, CallOutcome::Done);
    (place.take().unwrap(), host)
}

fn get(target: &str) -> FakeHost {
    FakeHost::new("GET", target)
}

fn text(text: &'static str) -> abi::Bytes {
    abi::Bytes { data: text.as_ptr(), len: text.len() }
}

const NULL: abi::Bytes = abi::Bytes { data: ptr::null(), len: 0 };

fn response(fields: &[abi::Field], body: &[abi::Bytes]) -> abi::Response {
    abi::Response {
        size: size_of::<abi::Response>() as u32,
        status: 200,
        reason: NULL,
        fields: fields.as_ptr(),
        field_count: fields.len(),
        body: body.as_ptr(),
        body_count: body.len(),
    }
}

fn field(name: &'static str, value: &'static str) -> abi::Field {
    abi::Field { name: text(name), value: text(value), known: 0, reserved: 0 }
}

/// The text of bytes that the host gave.
fn seen(bytes: abi::Bytes) -> String {
    // SAFETY: the host's bytes, in their call.
    let bytes = unsafe { sound(bytes.data, bytes.len) }.unwrap();
    String::from_utf8(bytes.to_vec()).unwrap()
}
