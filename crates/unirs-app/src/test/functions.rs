//! The functions of a test's host that have an exchange: pointers become slices here. Not the rules: see `rules`.

use std::ffi::c_void;
use std::fs::File;
use std::os::fd::{BorrowedFd, FromRawFd, OwnedFd};
use std::slice;
use std::time::Duration;

use super::rules::{Exchange, Notice, Ruling, Stage, bytes, fields, raw_bytes};
use crate::abi::{self, code};
use crate::host::lend;

/// # Safety
/// `raw` is what [`Server::call`](super::Server) passed, and that call has not returned.
unsafe fn ours<'a>(raw: *mut abi::Exchange) -> &'a mut Exchange<'a> {
    // SAFETY: the caller's: ours begins with the interface's.
    unsafe { &mut *raw.cast::<Exchange<'a>>() }
}

fn code_of(ruling: Ruling) -> i32 {
    ruling.err().unwrap_or(code::OK)
}

// The functions of the table. The application keeps, by the contract of `abi::Host`: the exchange is that of the call under
// way, on its thread, and what it lends is valid during the function.

pub(super) unsafe extern "C" fn field(
    exchange: *mut abi::Exchange,
    name: *const u8,
    name_len: usize,
    value: *mut abi::Bytes,
) -> i32 {
    // SAFETY: the application's contract, above.
    let request = unsafe { &*ours(exchange).head.request };
    // SAFETY: as above.
    let wanted = unsafe { raw_bytes(name, name_len) };
    for at in 0..request.field_count {
        // SAFETY: the request has so many fields.
        let field = unsafe { &*request.fields.add(at) };
        // SAFETY: the request's own bytes.
        if unsafe { bytes(field.name) }.eq_ignore_ascii_case(wanted) {
            // SAFETY: the application's place for the result.
            unsafe { value.write(field.value) };
            return 1;
        }
    }
    0
}

pub(super) unsafe extern "C" fn request_id(exchange: *mut abi::Exchange, id: *mut abi::Bytes) -> i32 {
    // SAFETY: the application's contract, above.
    let exchange = unsafe { ours(exchange) };
    // SAFETY: the application's place for the result.
    unsafe { id.write(lend(exchange.call.id.as_bytes())) };
    code::OK
}

pub(super) unsafe extern "C" fn read(
    exchange: *mut abi::Exchange,
    buffer: *mut u8,
    capacity: usize,
    _wait: u32,
) -> i64 {
    // SAFETY: the application's contract, above.
    let exchange = unsafe { ours(exchange) };
    // SAFETY: the application's buffer, of that capacity.
    let buffer = unsafe { slice::from_raw_parts_mut(buffer, capacity) };
    match exchange.read_body(buffer) {
        Ok(count) => count as i64,
        Err(code) => i64::from(code),
    }
}

pub(super) unsafe extern "C" fn body(exchange: *mut abi::Exchange, body: *mut abi::Bytes) -> i32 {
    // SAFETY: the application's contract, above.
    let exchange = unsafe { ours(exchange) };
    if !exchange.call.buffered || exchange.read > 0 {
        return 0;
    }
    exchange.read = exchange.call.body.len();
    // SAFETY: the application's place for the result.
    unsafe { body.write(lend(&exchange.call.body)) };
    1
}

pub(super) unsafe extern "C" fn respond(exchange: *mut abi::Exchange, response: *const abi::Response) -> i32 {
    // SAFETY: the application's contract, above.
    let exchange = unsafe { ours(exchange) };
    // SAFETY: as above.
    let response = unsafe { &*response };
    if let Err(code) = exchange.open().and_then(|()| exchange.set_head(response)) {
        return code;
    }
    for at in 0..response.body_count {
        // SAFETY: the application lends so many slices.
        let part = unsafe { *response.body.add(at) };
        // SAFETY: and their bytes.
        exchange.put(unsafe { bytes(part) });
    }
    exchange.stage = Stage::Done;
    code::OK
}

pub(super) unsafe extern "C" fn respond_file(
    exchange: *mut abi::Exchange,
    response: *const abi::Response,
    descriptor: i32,
    offset: u64,
    length: u64,
) -> i32 {
    if descriptor < 0 {
        return code::INVALID;
    }
    // SAFETY: not negative; a number that is no descriptor is found out here, before it is owned.
    let borrowed = unsafe { BorrowedFd::borrow_raw(descriptor) };
    if borrowed.try_clone_to_owned().is_err() {
        return code::INVALID;
    }
    // SAFETY: a descriptor, and ours from now on.
    let file = File::from(unsafe { OwnedFd::from_raw_fd(descriptor) });
    // SAFETY: the application's contract, above.
    let exchange = unsafe { ours(exchange) };
    // SAFETY: as above.
    let response = unsafe { &*response };
    code_of(exchange.answer_file(response, file, offset, length))
}

pub(super) unsafe extern "C" fn begin(
    exchange: *mut abi::Exchange,
    response: *const abi::Response,
    length: i64,
) -> i32 {
    // SAFETY: the application's contract, above.
    let exchange = unsafe { ours(exchange) };
    // SAFETY: as above.
    let response = unsafe { &*response };
    let ruling = exchange.open().and_then(|()| exchange.set_head(response));
    if ruling.is_ok() {
        exchange.stage = Stage::Begun(u64::try_from(length).ok());
    }
    code_of(ruling)
}

pub(super) unsafe extern "C" fn write(exchange: *mut abi::Exchange, data: *const u8, len: usize) -> i32 {
    // SAFETY: the application's contract, above.
    let exchange = unsafe { ours(exchange) };
    // SAFETY: as above.
    code_of(exchange.write_more(unsafe { raw_bytes(data, len) }))
}

pub(super) unsafe extern "C" fn flush(exchange: *mut abi::Exchange) -> i32 {
    // SAFETY: the application's contract, above.
    code_of(unsafe { ours(exchange) }.begun().map(|_| ()))
}

pub(super) unsafe extern "C" fn finish(
    exchange: *mut abi::Exchange,
    trailers: *const abi::Field,
    trailer_count: usize,
) -> i32 {
    // SAFETY: the application's contract, above.
    let exchange = unsafe { ours(exchange) };
    // SAFETY: as above.
    let trailers = unsafe { fields(trailers, trailer_count) };
    code_of(trailers.and_then(|trailers| exchange.end(trailers)))
}

pub(super) unsafe extern "C" fn early_hints(
    exchange: *mut abi::Exchange,
    hints: *const abi::Field,
    hint_count: usize,
) -> i32 {
    // SAFETY: the application's contract, above.
    let exchange = unsafe { ours(exchange) };
    // SAFETY: as above.
    let hints = exchange.open().and_then(|()| unsafe { fields(hints, hint_count) });
    code_of(hints.map(|hints| exchange.answer.early_hints.extend(hints)))
}

pub(super) unsafe extern "C" fn on_finished(
    exchange: *mut abi::Exchange,
    notice: Notice,
    argument: *mut c_void,
) -> i32 {
    // SAFETY: the application's contract, above.
    let exchange = unsafe { ours(exchange) };
    if exchange.stage == Stage::Done || exchange.notice.is_some() {
        return code::ANSWERED;
    }
    exchange.notice = Some((notice, argument));
    code::OK
}

pub(super) unsafe extern "C" fn cancelled(exchange: *mut abi::Exchange) -> i32 {
    // SAFETY: the application's contract, above.
    i32::from(unsafe { ours(exchange) }.call.gone)
}

pub(super) unsafe extern "C" fn extend(exchange: *mut abi::Exchange, seconds: u32) -> i32 {
    // SAFETY: the application's contract, above.
    let exchange = unsafe { ours(exchange) };
    exchange.answer.extended += Duration::from_secs(u64::from(seconds));
    code::OK
}
