//! The table of a test's host, and what it keeps of a server. Not the rules of an exchange: see `functions`.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io::{self, Write};
use std::slice;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::functions;
use crate::Worker;
use crate::abi;
use crate::host::lend;
use crate::log::Level;

/// What a server of a test keeps beside its application. The host's functions that have no exchange find it by the thread.
#[derive(Default)]
pub(super) struct Context {
    log: Mutex<Vec<(Level, String)>>,
    counters: Mutex<BTreeMap<String, &'static AtomicU64>>,
}

thread_local! {
    /// That of the server whose application runs on this thread.
    static CURRENT: RefCell<Option<Arc<Context>>> = const { RefCell::new(None) };
}

impl Context {
    pub(super) fn new() -> Arc<Context> {
        Arc::default()
    }

    /// Runs a function of the application.
    pub(super) fn enter<R>(self: &Arc<Context>, function: impl FnOnce() -> R) -> R {
        let outer = CURRENT.replace(Some(Arc::clone(self)));
        let result = function();
        CURRENT.set(outer);
        result
    }

    pub(super) fn lines(&self) -> Vec<(Level, String)> {
        lock(&self.log).clone()
    }

    pub(super) fn counter_value(&self, name: &str) -> u64 {
        lock(&self.counters).get(name).map_or(0, |word| word.load(Ordering::Relaxed))
    }

    fn counter(&self, name: &str) -> &'static AtomicU64 {
        let mut counters = lock(&self.counters);
        counters.entry(name.to_owned()).or_insert_with(|| Box::leak(Box::default()))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A host's table; what it points to is leaked, since a host's strings live as long as the process.
pub(crate) fn table(config: &str) -> abi::Host {
    let config: &'static str = config.to_owned().leak();
    let worker =
        Worker { slot: 0, generation: 1, threads: 1, workers: 1, pid: std::process::id().cast_signed() };
    abi::Host {
        size: size_of::<abi::Host>() as u32,
        abi: abi::ABI_VERSION,
        software: lend(b"unirs-app test"),
        worker: Box::leak(Box::new(self::worker(worker))),
        config: lend(config.as_bytes()),
        log: Some(log),
        counter: Some(counter),
        field: Some(functions::field),
        request_id: Some(functions::request_id),
        read: Some(functions::read),
        body: Some(functions::body),
        respond: Some(functions::respond),
        respond_file: Some(functions::respond_file),
        begin: Some(functions::begin),
        write: Some(functions::write),
        flush: Some(functions::flush),
        finish: Some(functions::finish),
        early_hints: Some(functions::early_hints),
        on_finished: Some(functions::on_finished),
        cancelled: Some(functions::cancelled),
        extend: Some(functions::extend),
        reserved: [std::ptr::null(); 8],
    }
}

pub(super) fn worker(worker: Worker) -> abi::Worker {
    abi::Worker {
        size: size_of::<abi::Worker>() as u32,
        slot: worker.slot,
        generation: worker.generation,
        threads: worker.threads,
        workers: worker.workers,
        pid: worker.pid,
        reserved: 0,
    }
}

unsafe extern "C" fn log(
    level: u32,
    _target: *const u8,
    _target_len: usize,
    text: *const u8,
    text_len: usize,
) {
    // SAFETY: the application lends the text for the call.
    let text = String::from_utf8_lossy(unsafe { slice::from_raw_parts(text, text_len) });
    let level = match level {
        abi::level::DEBUG => Level::Debug,
        abi::level::INFO => Level::Info,
        abi::level::WARNING => Level::Warning,
        abi::level::ERROR => Level::Error,
        _ => Level::Critical,
    };
    CURRENT.with_borrow(|context| match context {
        Some(context) => lock(&context.log).push((level, text.into_owned())),
        // A thread of the application's own: whose line it is cannot be told, and standard error is the last resort.
        None => drop(writeln!(io::stderr(), "[{level:?}] {text}")),
    });
}

unsafe extern "C" fn counter(name: *const u8, name_len: usize) -> *mut u64 {
    // SAFETY: the application lends the name for the call.
    let name = String::from_utf8_lossy(unsafe { slice::from_raw_parts(name, name_len) });
    CURRENT.with_borrow(|context| match context {
        Some(context) => context.counter(&name).as_ptr(),
        None => std::ptr::null_mut(),
    })
}
