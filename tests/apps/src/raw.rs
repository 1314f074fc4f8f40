//! Answers that only the binary interface lets an application give: two, none, one from a thread of its own. Their second
//! results are logged as `result: CODE`.

use std::thread;

use unirs_app::{Request, Response, Router, abi, log};

use crate::TestApp;

pub(crate) fn routes(router: Router<TestApp>) -> Router<TestApp> {
    router
        .get("/never", |_, _| Response::answered())
        .get("/twice", twice)
        .get("/after-finish", after_finish)
        .get("/write-first", write_first)
        .get("/unfinished", unfinished)
        .get("/from-thread", from_thread)
        .get("/bad-descriptor", bad_descriptor)
}

/// An exchange and the host's functions for it. They are not tied to the call's thread, which is what `/from-thread` tries.
#[derive(Clone, Copy)]
struct Raw {
    host: &'static abi::Host,
    exchange: *mut abi::Exchange,
}

// SAFETY: a breach of the interface on purpose: only `from_thread` sends it, and its call waits for that thread.
unsafe impl Send for Raw {}

impl Raw {
    fn of(request: &Request) -> Raw {
        Raw { host: request.raw_host(), exchange: request.raw_exchange() }
    }

    fn respond(self, text: &str) -> i32 {
        let body = [abi::Bytes { data: text.as_ptr(), len: text.len() }];
        let respond = self.host.respond.expect("the host can respond");
        // SAFETY: the host's function and its exchange; the response lives during the call.
        unsafe { respond(self.exchange, &head(&body)) }
    }

    fn respond_file(self, descriptor: i32) -> i32 {
        let respond_file = self.host.respond_file.expect("the host can send files");
        // SAFETY: the host's function and its exchange; the response lives during the call.
        unsafe { respond_file(self.exchange, &head(&[]), descriptor, 0, 10) }
    }

    fn begin(self) -> i32 {
        let begin = self.host.begin.expect("the host can stream");
        // SAFETY: the host's function and its exchange; the response lives during the call.
        unsafe { begin(self.exchange, &head(&[]), -1) }
    }

    fn write(self, text: &str) -> i32 {
        let write = self.host.write.expect("the host can stream");
        // SAFETY: the host's function and its exchange; the text lives during the call.
        unsafe { write(self.exchange, text.as_ptr(), text.len()) }
    }

    fn finish(self) -> i32 {
        let finish = self.host.finish.expect("the host can stream");
        // SAFETY: the host's function and its exchange; there are no trailers.
        unsafe { finish(self.exchange, std::ptr::null(), 0) }
    }
}

fn head(body: &[abi::Bytes]) -> abi::Response {
    abi::Response {
        size: size_of::<abi::Response>() as u32,
        status: 200,
        reason: abi::Bytes { data: std::ptr::null(), len: 0 },
        fields: std::ptr::null(),
        field_count: 0,
        body: body.as_ptr(),
        body_count: body.len(),
    }
}

fn twice(_: &TestApp, request: &mut Request) -> Response {
    let raw = Raw::of(request);
    raw.respond("the first answer\n");
    log::info!("result: {}", raw.respond("the second answer\n"));
    Response::answered()
}

fn after_finish(_: &TestApp, request: &mut Request) -> Response {
    let raw = Raw::of(request);
    raw.begin();
    raw.write("all of it\n");
    raw.finish();
    log::info!("result: {} {}", raw.write("more\n"), raw.finish());
    Response::answered()
}

fn write_first(_: &TestApp, request: &mut Request) -> Response {
    log::info!("result: {}", Raw::of(request).write("too early\n"));
    Response::text("written after all\n")
}

fn unfinished(_: &TestApp, request: &mut Request) -> Response {
    let raw = Raw::of(request);
    raw.begin();
    raw.write("a part of it\n");
    Response::answered()
}

fn from_thread(_: &TestApp, request: &mut Request) -> Response {
    let raw = Raw::of(request);
    let answered = thread::scope(|scope| {
        // All of `raw` is moved, not its fields.
        scope.spawn(move || { raw }.respond("from another thread\n")).join()
    });
    log::info!("result: {}", answered.unwrap_or(i32::MIN));
    Response::answered()
}

/// Answers with a descriptor that is none.
fn bad_descriptor(_: &TestApp, request: &mut Request) -> Response {
    log::info!("result: {}", Raw::of(request).respond_file(9999));
    Response::answered()
}
