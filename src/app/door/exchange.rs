//! One request on its way through the application: the structs that it reads, and who may use them when. Not what
//! the host does for it (`table` finds that here).

use std::cell::Cell;
use std::marker::PhantomData;
use std::ptr;

use unirs_app::abi;

use crate::app::host::{Host, RequestView};

/// What the application holds a pointer to, and what the host keeps behind that. Reused from request to request.
///
/// An application that remembers its address is refused by the door, which looks into no exchange but the one in its
/// call on the calling thread. Two things cannot be seen: that an exchange is used again, at the same address, in a
/// later call on the same thread; and what the application itself reads through `request` after its call.
#[repr(C)]
pub struct Exchange<T: Host> {
    frame: Frame,
    /// What the worker does for this exchange.
    pub host: T,
}

/// The part of an exchange that does not depend on the host's type.
#[repr(C)]
pub(super) struct Frame {
    /// First, for the application's pointer is ours.
    exchange: abi::Exchange,
    request: abi::Request,
    /// What `request.fields` points to; its allocation is kept.
    pub(super) fields: Vec<abi::Field>,
}

// SAFETY: the raw pointers in the frame are written by `enter` and followed only until `Entered` is dropped, on one
// thread; between calls they mean nothing.
unsafe impl<T: Host + Send> Send for Exchange<T> {}

thread_local! {
    /// The exchange whose call runs on this thread. None outside of calls, and while the host works for it: so an
    /// exchange that is used from another thread, after its call, or from within a notice, is refused unseen.
    static CURRENT: Cell<Option<Current>> = const { Cell::new(None) };
}

/// An exchange in its call.
#[derive(Clone, Copy)]
pub(super) struct Current {
    pub(super) frame: *mut Frame,
    pub(super) host: *mut dyn Host,
}

impl Current {
    /// # Safety
    ///
    /// Only within [`lend`], and once: while it lends, nobody else comes to the exchange, for `CURRENT` is empty, the
    /// exchange is in its call on this thread, and `Running::call` itself waits.
    pub(super) unsafe fn host_mut<'a>(self) -> &'a mut dyn Host {
        // SAFETY: points into the `Exchange` that `Running::call` holds by `&mut` over the call.
        unsafe { &mut *self.host }
    }
}

/// Marks the exchange as the one in its call, for as long as it lives.
pub(super) struct Entered<'a> {
    exchange: *mut abi::Exchange,
    /// A call within a call, as in the tests.
    outer: Option<Current>,
    _exchange: PhantomData<&'a mut abi::Exchange>,
}

impl<T: Host> Exchange<T> {
    /// An exchange for requests to come.
    pub fn new(host: T) -> Box<Exchange<T>> {
        let frame = Frame { exchange: NO_EXCHANGE, request: NO_REQUEST, fields: Vec::with_capacity(16) };
        Box::new(Exchange { frame, host })
    }

    /// Fills the structs for the request that the host holds now, and opens the door for it on this thread.
    pub(super) fn enter(&mut self) -> Entered<'_> {
        self.fill();
        let this: *mut Exchange<T> = self;
        // SAFETY: `this` comes from a reference that lives over `Entered`; no reference is made.
        let host: *mut dyn Host = unsafe { &raw mut (*this).host };
        let current = Current { frame: this.cast(), host };
        Entered { exchange: this.cast(), outer: CURRENT.replace(Some(current)), _exchange: PhantomData }
    }

    fn fill(&mut self) {
        let fields = &mut self.frame.fields;
        fields.clear();
        while let Some(field) = self.host.request_field(fields.len()) {
            let (name, value) = (bytes(field.name), bytes(field.value));
            fields.push(abi::Field { name, value, known: field.known, reserved: 0 });
        }
        self.frame.request = request(&self.host.request(), fields);
        self.frame.exchange.request = &raw const self.frame.request;
    }
}

impl Entered<'_> {
    /// What the application is given.
    pub(super) fn exchange(&self) -> *mut abi::Exchange {
        self.exchange
    }
}

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        CURRENT.set(self.outer);
    }
}

/// The host's side of `exchange`, lent to `work`, if that exchange is in its call on this thread.
///
/// Compares addresses only: nothing behind `exchange` is read before it is known to be ours.
pub(super) fn lend<R>(exchange: *mut abi::Exchange, work: impl FnOnce(Current) -> R) -> Option<R> {
    let current = CURRENT.take();
    let result = match current {
        Some(lent) if ptr::eq(lent.frame.cast(), exchange) => Some(work(lent)),
        _ => None,
    };
    CURRENT.set(current);
    result
}

const NO_EXCHANGE: abi::Exchange =
    abi::Exchange { size: size_of::<abi::Exchange>() as u32, reserved: 0, request: ptr::null() };

const NO_BYTES: abi::Bytes = abi::Bytes { data: ptr::null(), len: 0 };

const NO_REQUEST: abi::Request = abi::Request {
    size: size_of::<abi::Request>() as u32,
    http_version: 0,
    method: NO_BYTES,
    target: NO_BYTES,
    path: NO_BYTES,
    raw_path: NO_BYTES,
    query: NO_BYTES,
    scheme: NO_BYTES,
    authority: NO_BYTES,
    prefix: NO_BYTES,
    fields: ptr::null(),
    field_count: 0,
    peer_address: NO_BYTES,
    connection_address: NO_BYTES,
    server_address: NO_BYTES,
    peer_port: 0,
    connection_port: 0,
    server_port: 0,
    listener: 0,
    content_length: 0,
    arrived_at_ns: 0,
    queued_ns: 0,
};

fn request(view: &RequestView<'_>, fields: &[abi::Field]) -> abi::Request {
    abi::Request {
        size: size_of::<abi::Request>() as u32,
        http_version: view.http_version,
        method: bytes(view.method),
        target: bytes(view.target),
        path: bytes(view.path),
        raw_path: bytes(view.raw_path),
        query: view.query.map_or(NO_BYTES, bytes),
        scheme: bytes(view.scheme.as_bytes()),
        authority: bytes(view.authority),
        prefix: bytes(view.prefix),
        fields: fields.as_ptr(),
        field_count: fields.len(),
        peer_address: bytes(view.peer_address.as_bytes()),
        connection_address: bytes(view.connection_address.as_bytes()),
        server_address: bytes(view.server_address.as_bytes()),
        peer_port: view.peer_port.into(),
        connection_port: view.connection_port.into(),
        server_port: view.server_port.into(),
        listener: view.listener,
        content_length: view.content_length.map_or(-1, |length| i64::try_from(length).unwrap_or(i64::MAX)),
        arrived_at_ns: view.arrived_at_ns,
        queued_ns: view.queued_ns,
    }
}

/// A slice as it crosses the door. Never null, for null in `query` says that there is none.
pub(super) fn bytes(slice: &[u8]) -> abi::Bytes {
    abi::Bytes { data: slice.as_ptr(), len: slice.len() }
}
