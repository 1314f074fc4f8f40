//! Who may use an exchange and when, what a table says, and what nobody may bring down.

use std::sync::atomic::{AtomicI32, Ordering};
use std::thread;

use unirs_app::abi::flag;

use super::*;
use crate::app::host::Level;

#[test]
fn a_line_and_a_counter_reach_the_worker() {
    let (word, _) = run(get("/"), |host, _| {
        let line = "a line from the door's tests";
        ask!(host.log(abi::level::WARNING, c"part".as_ptr().cast(), 4, line.as_ptr(), line.len()));
        ask!(host.log(77, ptr::null(), 0, c"strange level".as_ptr().cast(), 13));
        ask!(host.log(0, ptr::null(), 5, ptr::null(), 5));
        let name = |name: &'static str| ask!(host.counter(name.as_ptr(), name.len()));
        [name("counted"), name("other"), name(""), ask!(host.counter(ptr::null(), 3))]
            .map(|word| !word.is_null())
    });
    assert_eq!(LINES.find("a line from the door's tests"), Some((Level::Warning, "part".to_owned())));
    assert_eq!(LINES.find("strange level").unwrap().0, Level::Error);
    assert_eq!(word, [true, false, false, false]);
}

#[test]
fn an_exchange_is_refused_on_another_thread() {
    let (result, host) = run(get("/"), |host, exchange| {
        let (flush, address) = (host.flush.unwrap(), exchange.expose_provenance());
        // SAFETY: what is wrong with this call is what it is about.
        let stray = move || unsafe { flush(ptr::with_exposed_provenance_mut(address)) };
        thread::spawn(stray).join().unwrap()
    });
    assert_eq!((result, host.calls.len()), (code::INVALID, 0));
    assert!(LINES.find("for an exchange that is not in its call on this thread").is_some());
}

#[test]
fn an_exchange_is_refused_after_its_call_and_during_anothers() {
    let ((host, stale), _) = run(get("/"), |host, exchange| (host, exchange));
    assert_eq!(ask!(host.respond(stale, &response(&[], &[]))), code::INVALID);
    let (result, other) = run(get("/"), move |host, exchange| {
        // Were the new exchange at the old one's address, it would be this call's own.
        if stale == exchange { code::INVALID } else { ask!(host.respond(stale, &response(&[], &[]))) }
    });
    assert_eq!((result, other.calls.len()), (code::INVALID, 0));
    assert_eq!(ask!(host.flush(ptr::null_mut())), code::INVALID);
}

static NOTICED: AtomicI32 = AtomicI32::new(77);

/// Notes the result, and tries what it must not.
unsafe extern "C" fn notice(argument: *mut c_void, result: i32) {
    // SAFETY: the table lives as long as the process.
    let host = unsafe { &*HOST.get() };
    let inner = ask!(host.flush(argument.cast()));
    NOTICED.store(if inner == code::INVALID { result } else { 99 }, Ordering::Relaxed);
}

#[test]
fn a_notice_is_told_once_and_cannot_use_the_exchange() {
    let ask_for = |host: &'static abi::Host, exchange: *mut abi::Exchange| {
        ask!(host.on_finished(exchange, notice, exchange.cast()))
    };
    let (result, host) = run(get("/"), ask_for);
    assert_eq!((result, NOTICED.load(Ordering::Relaxed)), (code::OK, 77));
    host.notice.unwrap().tell(Ok(()));
    assert_eq!(NOTICED.swap(77, Ordering::Relaxed), code::OK);
    let (_, host) = run(get("/"), ask_for);
    drop(host);
    assert_eq!(
        NOTICED.swap(77, Ordering::Relaxed),
        code::GONE,
        "a notice that is forgotten is told all the same"
    );
    let mut host = get("/");
    host.panics = true;
    let (result, _) = run(host, ask_for);
    assert_eq!(
        (result, NOTICED.load(Ordering::Relaxed)),
        (code::OK, code::GONE),
        "told, so it is no refusal"
    );
}

#[test]
fn a_panic_of_the_host_does_not_reach_the_application() {
    let mut host = get("/");
    host.panics = true;
    let (results, _) =
        run(host, |host, exchange| [0; 2].map(|_| ask!(host.respond(exchange, &response(&[], &[])))));
    assert_eq!(results, [code::FAILED; 2]);
    let (level, _) = LINES.find("the host panicked in `respond`: as the test wants it").unwrap();
    assert_eq!(level, Level::Error);
}

#[test]
fn a_call_that_fails_says_so() {
    let running = running(|_| ());
    for (result, outcome) in
        [(code::OK, CallOutcome::Done), (1, CallOutcome::Done), (code::FAILED, CallOutcome::Failed)]
    {
        SCRIPT.set(Some(Box::new(move |_, _| result)));
        assert_eq!(get("/").call(&running).0, outcome);
    }
}

#[test]
fn a_thread_that_the_application_does_not_want_is_refused_with_its_code() {
    let error = running(|_| ()).thread_start(99).err().unwrap();
    assert_eq!(error.to_string(), "the application's thread_start failed for thread 99 with code -11");
}

#[test]
fn absent_functions_are_not_called() {
    let running = running(|app| (app.start, app.thread_start) = (None, None));
    let thread = running.thread_start(99).unwrap();
    running.thread_stop(thread);
    running.hook(Hook::WorkerExit);
    running.stop();
    assert!(
        running.ready() && !running.has_request_hooks() && !running.serial() && running.waiters().is_none()
    );
    assert_eq!((running.name(), running.version(), running.stack_size()), ("script", "", None));
}

#[test]
fn what_the_table_says_is_known() {
    static WAITING: AtomicU32 = AtomicU32::new(5);
    unsafe extern "C" fn not_ready(_: *mut c_void) -> i32 {
        0
    }
    let running = running(|app| {
        (app.flags, app.stack_size, app.waiters) = (flag::SERIAL, 1 << 20, WAITING.as_ptr());
        app.ready = Some(not_ready);
    });
    assert!(running.serial() && !running.ready());
    assert_eq!(running.stack_size(), Some(1 << 20));
    assert_eq!(running.waiters().unwrap().load(Ordering::Relaxed), 5);
}

#[test]
fn a_serial_application_is_called_by_one_thread_at_a_time() {
    static INSIDE: AtomicI32 = AtomicI32::new(0);
    unsafe extern "C" fn alone(_: *mut c_void, _: *mut c_void, _: *mut abi::Exchange) -> i32 {
        let others = INSIDE.fetch_add(1, Ordering::SeqCst);
        thread::yield_now();
        INSIDE.fetch_sub(1, Ordering::SeqCst);
        if others == 0 { code::OK } else { code::FAILED }
    }
    let running = running(|app| {
        app.flags = flag::SERIAL;
        app.call = Some(alone);
    });
    let work = || (0..200).all(|_| get("/").call(&running).0 == CallOutcome::Done);
    let all_alone = thread::scope(|scope| {
        let threads = [0; 4].map(|_| scope.spawn(work));
        threads.map(|thread| thread.join().unwrap())
    });
    assert_eq!(all_alone, [true; 4]);
}
