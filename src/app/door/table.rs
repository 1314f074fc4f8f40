//! The host's table: the functions that an application calls. Each checks its pointers and lengths, finds the
//! exchange, asks its `Host` and returns a number; no panic leaves it. The rules of an exchange are the host's.

use std::ffi::c_void;
use std::os::fd::{BorrowedFd, FromRawFd, OwnedFd};
use std::time::Duration;
use std::{ptr, slice, str};

use unirs_app::abi::{self, code};

use super::answer::{Answer, Fields, Notice, sound};
use super::exchange::bytes;
use super::fence::{self, fenced, lent, on, process};
use crate::app::host::{HostFacts, Level, ReadError, Refusal, Services};

/// The name and version by which applications know this host.
const SOFTWARE: &str = concat!("unirs/", env!("CARGO_PKG_VERSION"));

/// Makes the table for an application; it lives as long as the process.
pub(super) fn host(
    config: String,
    facts: &HostFacts,
    services: &'static dyn Services,
    name: &str,
) -> &'static abi::Host {
    fence::settle(services, name);
    let worker = Box::leak(Box::new(worker(facts)));
    Box::leak(Box::new(abi::Host {
        size: size_of::<abi::Host>() as u32,
        abi: abi::ABI_VERSION,
        software: bytes(SOFTWARE.as_bytes()),
        worker,
        config: bytes(config.leak().as_bytes()),
        log: Some(log),
        counter: Some(counter),
        field: Some(field),
        request_id: Some(request_id),
        read: Some(read),
        body: Some(body),
        respond: Some(respond),
        respond_file: Some(respond_file),
        begin: Some(begin),
        write: Some(write),
        flush: Some(flush),
        finish: Some(finish),
        early_hints: Some(early_hints),
        on_finished: Some(on_finished),
        cancelled: Some(cancelled),
        extend: Some(extend),
        reserved: [ptr::null(); 8],
    }))
}

/// Who the worker is, in the interface's form.
pub(super) fn worker(facts: &HostFacts) -> abi::Worker {
    abi::Worker {
        size: size_of::<abi::Worker>() as u32,
        slot: facts.slot,
        generation: facts.generation,
        threads: facts.threads,
        workers: facts.workers,
        pid: facts.pid,
        reserved: 0,
    }
}

unsafe extern "C" fn log(level: u32, target: *const u8, target_len: usize, text: *const u8, text_len: usize) {
    let _ = fenced("log", || {
        let process = process()?;
        // SAFETY: unirs_app.h: pointer and length name bytes that are valid over the call.
        let target = unsafe { sound(target, target_len) }?;
        // SAFETY: as above.
        let text = unsafe { sound(text, text_len) }?;
        let target =
            if target.is_empty() { process.name.as_str().into() } else { String::from_utf8_lossy(target) };
        process.services.log(Level::of(level), &target, &String::from_utf8_lossy(text));
        Some(())
    });
}

unsafe extern "C" fn counter(name: *const u8, name_len: usize) -> *mut u64 {
    let counter = fenced("counter", || {
        // SAFETY: unirs_app.h: pointer and length name bytes that are valid over the call.
        let name = str::from_utf8(unsafe { sound(name, name_len) }?).ok()?;
        let is_named = !name.is_empty();
        is_named.then(|| process()?.services.counter(name)).flatten()
    });
    let word = counter.flatten();
    word.map_or(ptr::null_mut(), |word| word.as_ptr())
}

unsafe extern "C" fn field(
    exchange: *mut abi::Exchange,
    name: *const u8,
    name_len: usize,
    value: *mut abi::Bytes,
) -> i32 {
    on("field", exchange, |current| {
        // SAFETY: unirs_app.h: pointer and length name bytes that are valid over the call.
        let name = unsafe { sound(name, name_len) }.ok_or(Refusal::Invalid)?;
        // SAFETY: `lend` found that this is the frame of the exchange in its call, which only this thread uses.
        let fields = unsafe { &(*current.frame).fields };
        // SAFETY: the names were made of slices of the host's, which stay until the call has returned (`Host`).
        let is_named = |field: &&abi::Field| unsafe { slice_of(&field.name) }.eq_ignore_ascii_case(name);
        let found = fields.iter().find(is_named).map(|field| field.value);
        // SAFETY: `value` is null or the application's place for the result.
        unsafe { put(value, found) }
    })
}

unsafe extern "C" fn request_id(exchange: *mut abi::Exchange, id: *mut abi::Bytes) -> i32 {
    on("request_id", exchange, |current| {
        // SAFETY: see `Current::host_mut`.
        let text = bytes(unsafe { current.host_mut() }.request_id());
        // SAFETY: `id` is null or the application's place for the result.
        unsafe { put(id, Some(text)) }.map(|_| code::OK)
    })
}

unsafe extern "C" fn read(exchange: *mut abi::Exchange, buffer: *mut u8, capacity: usize, wait: u32) -> i64 {
    let result = lent("read", exchange, |current| {
        if capacity == 0 {
            return 0;
        }
        if buffer.is_null() || capacity > isize::MAX as usize {
            return code::INVALID.into();
        }
        // SAFETY: the application lends `capacity` bytes at `buffer` for this call, to be written.
        let buffer = unsafe { slice::from_raw_parts_mut(buffer, capacity) };
        // SAFETY: see `Current::host_mut`.
        match unsafe { current.host_mut() }.read(buffer, wait != 0) {
            Ok(count) if count <= capacity => count as i64,
            Ok(_) => code::FAILED.into(),
            Err(error) => ReadError::code(error).into(),
        }
    });
    result.unwrap_or_else(i64::from)
}

unsafe extern "C" fn body(exchange: *mut abi::Exchange, body: *mut abi::Bytes) -> i32 {
    on("body", exchange, |current| {
        // SAFETY: see `Current::host_mut`.
        let whole = unsafe { current.host_mut() }.body().map(bytes);
        // SAFETY: `body` is null or the application's place for the result.
        unsafe { put(body, whole) }
    })
}

unsafe extern "C" fn respond(exchange: *mut abi::Exchange, response: *const abi::Response) -> i32 {
    on("respond", exchange, |current| {
        // SAFETY: unirs_app.h: the application keeps its response over the call.
        let answer = unsafe { Answer::read(response) }.ok_or(Refusal::Invalid)?;
        // SAFETY: see `Current::host_mut`.
        unsafe { current.host_mut() }.respond(&answer).map(|()| code::OK)
    })
}

unsafe extern "C" fn respond_file(
    exchange: *mut abi::Exchange,
    response: *const abi::Response,
    descriptor: i32,
    offset: u64,
    length: u64,
) -> i32 {
    // Before anything else, for the descriptor is ours whatever the result.
    let file = adopt(descriptor);
    on("respond_file", exchange, |current| {
        let file = file.ok_or(Refusal::Invalid)?;
        // SAFETY: unirs_app.h: the application keeps its response over the call.
        let answer = unsafe { Answer::read(response) }.ok_or(Refusal::Invalid)?.head_only();
        // SAFETY: see `Current::host_mut`.
        unsafe { current.host_mut() }.respond_file(&answer, file, offset, length).map(|()| code::OK)
    })
}

unsafe extern "C" fn begin(exchange: *mut abi::Exchange, response: *const abi::Response, length: i64) -> i32 {
    on("begin", exchange, |current| {
        let length = match length {
            -1 => None,
            length => Some(u64::try_from(length).map_err(|_| Refusal::Invalid)?),
        };
        // SAFETY: unirs_app.h: the application keeps its response over the call.
        let answer = unsafe { Answer::read(response) }.ok_or(Refusal::Invalid)?.head_only();
        // SAFETY: see `Current::host_mut`.
        unsafe { current.host_mut() }.begin(&answer, length).map(|()| code::OK)
    })
}

unsafe extern "C" fn write(exchange: *mut abi::Exchange, data: *const u8, len: usize) -> i32 {
    on("write", exchange, |current| {
        // SAFETY: unirs_app.h: pointer and length name bytes that are valid over the call.
        let data = unsafe { sound(data, len) }.ok_or(Refusal::Invalid)?;
        // SAFETY: see `Current::host_mut`.
        unsafe { current.host_mut() }.write(data).map(|()| code::OK)
    })
}

unsafe extern "C" fn flush(exchange: *mut abi::Exchange) -> i32 {
    on("flush", exchange, |current| {
        // SAFETY: see `Current::host_mut`.
        unsafe { current.host_mut() }.flush().map(|()| code::OK)
    })
}

unsafe extern "C" fn finish(
    exchange: *mut abi::Exchange,
    trailers: *const abi::Field,
    trailer_count: usize,
) -> i32 {
    on("finish", exchange, |current| {
        // SAFETY: unirs_app.h: the application keeps its trailers over the call.
        let trailers = unsafe { Fields::read(trailers, trailer_count) }.ok_or(Refusal::Invalid)?;
        // SAFETY: see `Current::host_mut`.
        unsafe { current.host_mut() }.finish(trailers).map(|()| code::OK)
    })
}

unsafe extern "C" fn early_hints(
    exchange: *mut abi::Exchange,
    fields: *const abi::Field,
    field_count: usize,
) -> i32 {
    on("early_hints", exchange, |current| {
        // SAFETY: unirs_app.h: the application keeps its fields over the call.
        let fields = unsafe { Fields::read(fields, field_count) }.ok_or(Refusal::Invalid)?;
        // SAFETY: see `Current::host_mut`.
        unsafe { current.host_mut() }.early_hints(fields).map(|()| code::OK)
    })
}

unsafe extern "C" fn on_finished(
    exchange: *mut abi::Exchange,
    notice: unsafe extern "C" fn(argument: *mut c_void, result: i32),
    argument: *mut c_void,
) -> i32 {
    on("on_finished", exchange, |current| {
        // Once the notice is made the application will be told, so this is a success even if the host panics: after
        // a refusal the application would let go of what it is about to be told with.
        let _ = fenced("on_finished", || {
            // SAFETY: see `Current::host_mut`.
            unsafe { current.host_mut() }.on_finished(Notice::new(notice, argument));
        });
        Ok(code::OK)
    })
}

unsafe extern "C" fn cancelled(exchange: *mut abi::Exchange) -> i32 {
    on("cancelled", exchange, |current| {
        // SAFETY: see `Current::host_mut`.
        Ok(unsafe { current.host_mut() }.cancelled().into())
    })
}

unsafe extern "C" fn extend(exchange: *mut abi::Exchange, seconds: u32) -> i32 {
    on("extend", exchange, |current| {
        // SAFETY: see `Current::host_mut`.
        unsafe { current.host_mut() }.extend(Duration::from_secs(seconds.into()));
        Ok(code::OK)
    })
}

/// Takes over an open descriptor; `None` for a number that is none.
fn adopt(descriptor: i32) -> Option<OwnedFd> {
    if descriptor < 0 {
        return None;
    }
    // SAFETY: borrowed for one call of fcntl, which fails cleanly where the descriptor is not open.
    let borrowed = unsafe { BorrowedFd::borrow_raw(descriptor) };
    nix::fcntl::fcntl(borrowed, nix::fcntl::FcntlArg::F_GETFD).ok()?;
    // SAFETY: unirs_app.h: the descriptor is the host's from this call on; it is open, as was just seen.
    Some(unsafe { OwnedFd::from_raw_fd(descriptor) })
}

/// Stores a result in the application's place for it: 1 when there is one, else 0.
///
/// # Safety
///
/// `place` is null, or the application lends it for this call.
unsafe fn put(place: *mut abi::Bytes, found: Option<abi::Bytes>) -> Result<i32, Refusal> {
    if place.is_null() || !place.is_aligned() {
        return Err(Refusal::Invalid);
    }
    let Some(found) = found else { return Ok(0) };
    // SAFETY: checked above, but for the caller's promise.
    unsafe { place.write(found) };
    Ok(1)
}

/// # Safety
///
/// The bytes were made by [`bytes`] of a slice that is still there.
unsafe fn slice_of<'a>(bytes: &abi::Bytes) -> &'a [u8] {
    // SAFETY: the caller's promise.
    unsafe { slice::from_raw_parts(bytes.data, bytes.len) }
}
