//! The host as safe calls: its table, and the exchange of one call. Not a policy: what the host refuses comes back as a
//! [`Refusal`], and a function that it does not have is [`Refusal::Unsupported`].

use std::ffi::c_void;
use std::mem::MaybeUninit;
use std::ptr;
use std::slice;
use std::sync::atomic::{AtomicPtr, AtomicU64, Ordering};
use std::time::Duration;

use crate::{Refusal, Worker, abi, log, panics};

/// The host of this library: the one that called `start` last. There is one for each process but in tests.
static CURRENT: AtomicPtr<Host> = AtomicPtr::new(ptr::null_mut());

/// A host: our copy of its table, in which a function that it does not have is `None`.
pub(crate) struct Host {
    table: abi::Host,
    worker: Worker,
    config: String,
    software: String,
}

// SAFETY: the table is only read; what it points to lives as long as the process, and its functions that take no exchange
// may be called on any thread (abi::Host).
unsafe impl Send for Host {}
// SAFETY: as above.
unsafe impl Sync for Host {}

impl Host {
    /// Takes over the host's table, for as long as the process lives.
    ///
    /// # Safety
    /// `host` is null or a host's table: its first `size` bytes can be read, and what they point to lives as long as the
    /// process.
    pub(crate) unsafe fn adopt(host: *const abi::Host) -> Option<&'static Host> {
        if host.is_null() {
            return None;
        }
        // SAFETY: the caller's.
        let table = unsafe { copy_table(host) };
        let worker = if table.worker.is_null() {
            Worker::default()
        } else {
            // SAFETY: not null, so it is a worker of the host; version 1 has all of the fields.
            Worker::from(unsafe { &*table.worker })
        };
        // SAFETY: the table's strings live as long as the process.
        let config = unsafe { slice(table.config) };
        // SAFETY: as above.
        let software = unsafe { slice(table.software) };
        let (config, software) = (String::from_utf8_lossy(config), String::from_utf8_lossy(software));
        let (config, software) = (config.into_owned(), software.into_owned());
        let host = Box::leak(Box::new(Host { table, worker, config, software }));
        CURRENT.store(host, Ordering::Release);
        Some(host)
    }

    pub(crate) fn current() -> Option<&'static Host> {
        // SAFETY: null, or a host that `adopt` has leaked.
        unsafe { CURRENT.load(Ordering::Acquire).as_ref() }
    }

    pub(crate) fn abi_version(&self) -> u32 {
        self.table.abi
    }

    pub(crate) fn worker(&self) -> Worker {
        self.worker
    }

    pub(crate) fn config(&self) -> &str {
        &self.config
    }

    pub(crate) fn software(&self) -> &str {
        &self.software
    }

    /// Whether the host took the line.
    pub(crate) fn log(&self, level: u32, target: &str, text: &str) -> bool {
        let Some(log) = self.table.log else {
            return false;
        };
        // SAFETY: the host's function; both strings live during the call.
        unsafe { log(level, target.as_ptr(), target.len(), text.as_ptr(), text.len()) };
        true
    }

    pub(crate) fn counter(&self, name: &str) -> Option<&'static AtomicU64> {
        let counter = self.table.counter?;
        // SAFETY: the host's function; the name lives during the call.
        let word = unsafe { counter(name.as_ptr(), name.len()) };
        // SAFETY: null, or a word that lives as long as the process and is only changed atomically (abi::Host::counter).
        unsafe { word.cast::<AtomicU64>().as_ref() }
    }
}

/// The part of the table that its size covers; the rest is null, which is absent.
///
/// # Safety
/// The first `size` bytes of `host` can be read.
unsafe fn copy_table(host: *const abi::Host) -> abi::Host {
    // SAFETY: every struct that crosses begins with its size; the caller's.
    let size = unsafe { host.cast::<u32>().read() } as usize;
    // A pointer that is covered only in part would be garbage.
    let covered = size.min(size_of::<abi::Host>()) / size_of::<usize>() * size_of::<usize>();
    let mut table = MaybeUninit::<abi::Host>::zeroed();
    // SAFETY: `covered` is no more than either side has.
    unsafe { ptr::copy_nonoverlapping(host.cast::<u8>(), table.as_mut_ptr().cast::<u8>(), covered) };
    // SAFETY: all zeros are a table (no function, no bytes), and so is the host's.
    unsafe { table.assume_init() }
}

/// The bytes that the other side means.
///
/// # Safety
/// They can be read for `'a`, and nobody changes them meanwhile.
unsafe fn slice<'a>(bytes: abi::Bytes) -> &'a [u8] {
    if bytes.data.is_null() || bytes.len == 0 {
        return &[];
    }
    // SAFETY: the caller's.
    unsafe { slice::from_raw_parts(bytes.data, bytes.len) }
}

/// Our bytes, for the other side.
pub(crate) fn lend(bytes: &[u8]) -> abi::Bytes {
    abi::Bytes { data: bytes.as_ptr(), len: bytes.len() }
}

/// A header field of ours, for the other side.
pub(crate) fn lend_field(name: &[u8], value: &[u8]) -> abi::Field {
    abi::Field { name: lend(name), value: lend(value), known: 0, reserved: 0 }
}

/// Whom [`Exchange::on_finished`] tells.
pub(crate) type Notice = Box<dyn FnOnce(Result<(), Refusal>) + Send>;

/// The head of an answer.
#[derive(Clone, Copy)]
pub(crate) struct Head<'a> {
    pub(crate) status: u16,
    pub(crate) reason: &'a str,
    pub(crate) fields: &'a [abi::Field],
}

impl Head<'_> {
    fn with_body(&self, body: &[abi::Bytes]) -> abi::Response {
        abi::Response {
            size: size_of::<abi::Response>() as u32,
            status: u32::from(self.status),
            reason: lend(self.reason.as_bytes()),
            fields: self.fields.as_ptr(),
            field_count: self.fields.len(),
            body: body.as_ptr(),
            body_count: body.len(),
        }
    }
}

/// The exchange of a call: one request and its answer. It is the call's thread's, hence neither `Send` nor `Sync`.
#[derive(Clone, Copy)]
pub(crate) struct Exchange {
    host: &'static Host,
    /// Valid until the call returns: whoever made this value promised that it is not used for longer.
    raw: *mut abi::Exchange,
    /// The exchange's request; checked to be there and large enough.
    request: *const abi::Request,
}

impl Exchange {
    /// `None` when what the host passes is not an exchange.
    ///
    /// # Safety
    /// `raw` is null or the exchange of a call of this host, and the value is not used after that call.
    pub(crate) unsafe fn new(host: &'static Host, raw: *mut abi::Exchange) -> Option<Exchange> {
        // SAFETY: the caller's.
        let request = unsafe { raw.as_ref() }?.request;
        if request.is_null() {
            return None;
        }
        // SAFETY: not null; every struct that crosses begins with its size.
        let size = unsafe { request.cast::<u32>().read() } as usize;
        (size >= size_of::<abi::Request>()).then_some(Exchange { host, raw, request })
    }

    pub(crate) fn raw(&self) -> *mut abi::Exchange {
        self.raw
    }

    pub(crate) fn table(&self) -> &'static abi::Host {
        &self.host.table
    }

    pub(crate) fn request(&self) -> &abi::Request {
        // SAFETY: checked in `new`, and valid until the exchange is over.
        unsafe { &*self.request }
    }

    /// Bytes of the request, picked out of it.
    pub(crate) fn bytes(&self, of: impl FnOnce(&abi::Request) -> abi::Bytes) -> &[u8] {
        // SAFETY: what the request points to is valid and unchanged until the exchange is over.
        unsafe { slice(of(self.request())) }
    }

    /// The request's header fields.
    pub(crate) fn fields(&self) -> impl Iterator<Item = (&[u8], &[u8])> + Clone {
        let request = self.request();
        let fields = match request.field_count {
            0 => &[],
            // SAFETY: so many fields are there until the exchange is over.
            count => unsafe { slice::from_raw_parts(request.fields, count) },
        };
        fields.iter().map(|field| {
            // SAFETY: valid and unchanged until the exchange is over.
            let name = unsafe { slice(field.name) };
            // SAFETY: as above.
            let value = unsafe { slice(field.value) };
            (name, value)
        })
    }

    pub(crate) fn request_id(&self) -> &[u8] {
        let Some(request_id) = self.host.table.request_id else {
            return &[];
        };
        let mut id = lend(&[]);
        // SAFETY: the host's function, its exchange, and a place for the result.
        let code = unsafe { request_id(self.raw, &mut id) };
        // SAFETY: the host's bytes are valid until the exchange is over.
        if code >= 0 { unsafe { slice(id) } } else { &[] }
    }

    /// Reads of the body; 0 is its end.
    pub(crate) fn read(&self, buffer: &mut [u8], wait: bool) -> Result<usize, Refusal> {
        let read = self.host.table.read.ok_or(Refusal::Unsupported)?;
        // SAFETY: the host's function and its exchange; it writes no more than the buffer has.
        let result = unsafe { read(self.raw, buffer.as_mut_ptr(), buffer.len(), u32::from(wait)) };
        match usize::try_from(result) {
            Ok(count) => Ok(count.min(buffer.len())),
            Err(_) => Err(Refusal::from_code(i32::try_from(result).unwrap_or(i32::MIN))),
        }
    }

    /// The whole body, where the host has it.
    pub(crate) fn body(&self) -> Option<&[u8]> {
        let body = self.host.table.body?;
        let mut bytes = lend(&[]);
        // SAFETY: the host's function, its exchange, and a place for the result.
        let found = unsafe { body(self.raw, &mut bytes) } == 1;
        // SAFETY: the host's bytes are valid until the exchange is over.
        found.then(|| unsafe { slice(bytes) })
    }

    pub(crate) fn respond(&self, head: Head<'_>, body: &[u8]) -> Result<(), Refusal> {
        let respond = self.host.table.respond.ok_or(Refusal::Unsupported)?;
        let body = [lend(body)];
        let response = head.with_body(&body);
        // SAFETY: the host's function and its exchange; the response lives during the call.
        Refusal::check(unsafe { respond(self.raw, &response) })
    }

    /// The descriptor is the host's from now on.
    pub(crate) fn respond_file(
        &self,
        head: Head<'_>,
        descriptor: i32,
        offset: u64,
        length: u64,
    ) -> Result<(), Refusal> {
        let respond_file = self.host.table.respond_file.ok_or(Refusal::Unsupported)?;
        let response = head.with_body(&[]);
        // SAFETY: the host's function and its exchange; the response lives during the call.
        Refusal::check(unsafe { respond_file(self.raw, &response, descriptor, offset, length) })
    }

    pub(crate) fn can_respond_file(&self) -> bool {
        self.host.table.respond_file.is_some()
    }

    pub(crate) fn begin(&self, head: Head<'_>, length: Option<u64>) -> Result<(), Refusal> {
        let begin = self.host.table.begin.ok_or(Refusal::Unsupported)?;
        let length = match length {
            Some(length) => i64::try_from(length).map_err(|_| Refusal::Invalid)?,
            None => -1,
        };
        let response = head.with_body(&[]);
        // SAFETY: the host's function and its exchange; the response lives during the call.
        Refusal::check(unsafe { begin(self.raw, &response, length) })
    }

    pub(crate) fn write(&self, data: &[u8]) -> Result<(), Refusal> {
        let write = self.host.table.write.ok_or(Refusal::Unsupported)?;
        // SAFETY: the host's function and its exchange; the data lives during the call.
        Refusal::check(unsafe { write(self.raw, data.as_ptr(), data.len()) })
    }

    pub(crate) fn flush(&self) -> Result<(), Refusal> {
        let flush = self.host.table.flush.ok_or(Refusal::Unsupported)?;
        // SAFETY: the host's function and its exchange.
        Refusal::check(unsafe { flush(self.raw) })
    }

    pub(crate) fn finish(&self, trailers: &[abi::Field]) -> Result<(), Refusal> {
        let finish = self.host.table.finish.ok_or(Refusal::Unsupported)?;
        // SAFETY: the host's function and its exchange; the trailers live during the call.
        Refusal::check(unsafe { finish(self.raw, trailers.as_ptr(), trailers.len()) })
    }

    pub(crate) fn early_hints(&self, fields: &[abi::Field]) -> Result<(), Refusal> {
        let early_hints = self.host.table.early_hints.ok_or(Refusal::Unsupported)?;
        // SAFETY: the host's function and its exchange; the fields live during the call.
        Refusal::check(unsafe { early_hints(self.raw, fields.as_ptr(), fields.len()) })
    }

    pub(crate) fn on_finished(&self, notice: Notice) -> Result<(), Refusal> {
        let on_finished = self.host.table.on_finished.ok_or(Refusal::Unsupported)?;
        let argument = Box::into_raw(Box::new(notice));
        // SAFETY: the host's function and its exchange; `tell` is made for this argument.
        let result = Refusal::check(unsafe { on_finished(self.raw, tell, argument.cast()) });
        if result.is_err() {
            // SAFETY: the host refused, so it will not tell, and the box is ours again.
            drop(unsafe { Box::from_raw(argument) });
        }
        result
    }

    pub(crate) fn cancelled(&self) -> bool {
        let Some(cancelled) = self.host.table.cancelled else {
            return false;
        };
        // SAFETY: the host's function and its exchange.
        unsafe { cancelled(self.raw) == 1 }
    }

    /// Asks for silence, in seconds rounded up. A host without time limits has nothing to extend.
    pub(crate) fn extend(&self, by: Duration) {
        let Some(extend) = self.host.table.extend else {
            return;
        };
        let seconds = by.as_secs().saturating_add(u64::from(by.subsec_nanos() > 0));
        let seconds = u32::try_from(seconds).unwrap_or(u32::MAX);
        // SAFETY: the host's function and its exchange.
        unsafe { extend(self.raw, seconds) };
    }
}

/// What the host calls when an answer has gone.
///
/// # Safety
/// `argument` is what [`Exchange::on_finished`] passed, and this is the only call with it.
unsafe extern "C" fn tell(argument: *mut c_void, result: i32) {
    // SAFETY: the caller's.
    let notice = unsafe { Box::from_raw(argument.cast::<Notice>()) };
    if let Err(panic) = panics::catch(|| notice(Refusal::check(result))) {
        log::error!("panic in the notice of a finished answer: {panic}");
    }
}
