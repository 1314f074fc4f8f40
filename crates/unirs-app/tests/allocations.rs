//! A small answer costs no allocation on its way through the door.

#![allow(clippy::unwrap_used, reason = "a test fails by it")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::ffi::c_void;
use std::ptr;

use unirs_app::{App, Error, Request, Response, Startup, abi};

thread_local! {
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

struct Counting;

// SAFETY: the system's allocator, with a count beside it.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: the caller's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        // SAFETY: the caller's.
        unsafe { System.dealloc(place, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

struct Hello;

impl App for Hello {
    fn start(_: &Startup) -> Result<Self, Error> {
        Ok(Hello)
    }

    fn call(&self, request: &mut Request) -> Response {
        assert_eq!(
            (request.method(), request.path(), request.header("host")),
            ("GET", "/", Some("localhost"))
        );
        Response::text("Hello, World!\n")
    }
}

unsafe extern "C" fn respond(_: *mut abi::Exchange, response: *const abi::Response) -> i32 {
    // SAFETY: the application lends it.
    let response = unsafe { &*response };
    assert_eq!((response.status, response.field_count, response.body_count), (200, 1, 1));
    abi::code::OK
}

fn bytes(text: &'static str) -> abi::Bytes {
    abi::Bytes { data: text.as_ptr(), len: text.len() }
}

#[test]
fn a_static_text_costs_no_allocation() {
    // SAFETY: all zeros are a host without functions, and a request without anything.
    let (mut host, mut request): (abi::Host, abi::Request) =
        unsafe { (std::mem::zeroed(), std::mem::zeroed()) };
    host.size = size_of::<abi::Host>() as u32;
    host.abi = abi::ABI_VERSION;
    host.respond = Some(respond);
    let fields = [abi::Field { name: bytes("host"), value: bytes("localhost"), known: 20, reserved: 0 }];
    request.size = size_of::<abi::Request>() as u32;
    (request.method, request.path) = (bytes("GET"), bytes("/"));
    (request.fields, request.field_count) = (fields.as_ptr(), fields.len());
    let mut exchange =
        abi::Exchange { size: size_of::<abi::Exchange>() as u32, reserved: 0, request: &request };

    let table = unirs_app::abi_table::<Hello>();
    let mut state: *mut c_void = ptr::null_mut();
    // SAFETY: a host that lives longer than the application.
    let started = unsafe { (table.start.unwrap())(&host, &mut state, ptr::null_mut()) };
    assert_eq!(started, abi::code::OK);

    let before = ALLOCATIONS.get();
    for _ in 0..100 {
        // SAFETY: the state is that of `start`; the exchange lives during the call.
        let called = unsafe { (table.call.unwrap())(state, ptr::null_mut(), &mut exchange) };
        assert_eq!(called, abi::code::OK);
    }
    assert_eq!(ALLOCATIONS.get() - before, 0);
}
