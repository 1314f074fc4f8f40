//! What applications of all kinds look like from the host's side of the door.

#![allow(clippy::unwrap_used, reason = "a test fails by it")]

use std::fs::File;
use std::io::{Read, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use unirs_app::log::Level;
use unirs_app::test::Server;
use unirs_app::{
    App, Error, Hook, IntoResponse, OrStatus, Refusal, Request, Response, Router, Startup, Worker,
};

/// An application that is one function.
macro_rules! app {
    ($function:expr) => {{
        struct Function;
        impl App for Function {
            fn start(_: &Startup) -> Result<Self, Error> {
                Ok(Function)
            }
            fn call(&self, request: &mut Request) -> Response {
                let function: fn(&mut Request) -> _ = $function;
                function(request).into_response()
            }
        }
        Server::new::<Function>()
    }};
}

fn errors(server: &Server) -> Vec<String> {
    server.log().into_iter().filter(|(level, _)| *level == Level::Error).map(|(_, line)| line).collect()
}

#[test]
fn a_panic_is_a_500_and_a_line_with_message_and_location() {
    let app = app!(|request| -> Response { panic!("no {}", request.path()) });
    let answer = app.get("/a?b");
    assert!(answer.status() == 500 && answer.is_from_host());
    let [line] = &errors(&app)[..] else { panic!("{:?}", app.log()) };
    assert!(line.starts_with("panic in GET /a?b: no /a, at ") && line.contains("tests/door.rs:"), "{line}");
    assert_eq!(app.get("/again").status(), 500);
}

#[test]
fn a_panic_whose_payload_panics_stays_inside() {
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            panic!("again");
        }
    }
    let app = app!(|_| -> Response { std::panic::panic_any(Bomb) });
    assert_eq!(app.get("/").status(), 500);
    assert!(errors(&app)[0].contains("(no message)"));
}

#[test]
fn a_panic_hook_of_the_application_is_asked_as_before() {
    static SEEN: AtomicU64 = AtomicU64::new(0);
    struct Hooked;
    impl App for Hooked {
        fn start(_: &Startup) -> Result<Self, Error> {
            let previous = std::panic::take_hook();
            std::panic::set_hook(Box::new(move |info| {
                SEEN.fetch_add(1, Ordering::Relaxed);
                previous(info);
            }));
            Ok(Hooked)
        }
        fn call(&self, _: &mut Request) -> Response {
            panic!("seen")
        }
    }
    let app = Server::new::<Hooked>();
    app.get("/");
    assert!(SEEN.load(Ordering::Relaxed) >= 1);
    assert!(errors(&app)[0].contains("tests/door.rs:"));
}

#[test]
fn an_error_is_a_500_that_says_nothing_and_a_line_that_says_all() {
    let app = app!(|_| -> Result<Response, Error> {
        let text = std::fs::read_to_string("/no/such/file")?;
        Ok(Response::text(text))
    });
    let answer = app.get("/x");
    assert_eq!((answer.status(), &*answer.text()), (500, "500 Internal Server Error\n"));
    assert!(!answer.is_from_host());
    assert_eq!(errors(&app), ["GET /x: No such file or directory (os error 2)"]);
}

#[test]
fn an_error_with_a_status_is_answered_by_it() {
    let app = app!(|_| -> Result<Response, Error> { Err(Error::new("the shop is closed").status(403)) });
    let answer = app.get("/");
    assert_eq!((answer.status(), &*answer.text()), (403, "the shop is closed\n"));
    assert!(errors(&app).is_empty());
}

#[test]
fn a_body_keeps_its_own_failures() {
    let app = app!(|request| -> Result<String, Error> { Ok(request.body().limit(4).text()?.into_owned()) });
    assert_eq!(app.post("/", "1234").text(), "1234");
    assert_eq!(app.post("/", "12345").status(), 413);
    assert_eq!(app.request("POST", "/").body("12345").unbuffered().send().status(), 413);
    assert_eq!(app.post("/", b"\xff").status(), 400);
    let broken = |refusal| app.request("POST", "/").body("12").broken_by(refusal).send().status();
    assert_eq!(broken(Refusal::TimedOut), 408);
    assert_eq!(broken(Refusal::TooLarge), 413);
    assert_eq!(broken(Refusal::Malformed), 400);
}

#[test]
fn a_body_is_a_reader() {
    let app = app!(|request| -> Result<String, Error> {
        let (mut first, mut rest) = ([0; 2], String::new());
        let mut body = request.body();
        body.read_exact(&mut first)?;
        body.read_to_string(&mut rest)?;
        Ok(format!("{}|{rest}", first.escape_ascii()))
    });
    assert_eq!(app.post("/", "abcd").text(), "ab|cd");
    assert_eq!(app.request("POST", "/").body("abcd").unbuffered().send().text(), "ab|cd");
}

#[test]
fn a_request_is_safe_for_bytes() {
    let app = app!(|request| {
        assert_eq!(request.path_bytes(), b"/\xff/\xc3\xa4");
        assert_eq!(request.raw_path(), b"/%FF/%c3%a4");
        assert_eq!(request.header("x-bytes"), None);
        assert_eq!(request.header_bytes("X-Bytes"), Some(&b"\xfe"[..]));
        assert_eq!(request.query_value("q").as_deref(), Some("\u{fffd}"));
        request.path().to_owned()
    });
    let answer = app.request("GET", "/%FF/%c3%a4?q=%ff").header("X-Bytes", b"\xfe").send();
    assert_eq!((answer.status(), &*answer.text()), (200, "/\u{fffd}/ä"));
}

#[test]
fn a_request_knows_its_client_and_its_worker() {
    let app = app!(|request| {
        let worker = request.worker();
        let has_query = request.query_bytes().is_some();
        format!("{} {} {} {has_query} {}", request.peer(), request.server(), worker.generation, request.id())
    });
    let answer = app.request("GET", "/?").peer("::1", 7).send();
    assert_eq!(answer.text(), "[::1]:7 127.0.0.1:8000 1 true test-1");
    assert_eq!(app.request("GET", "/").peer("", 0).send().text(), "unix 127.0.0.1:8000 1 false test-1");
}

#[test]
fn a_header_that_would_split_the_answer_is_refused() {
    let app = app!(|_| Response::text("x").header("location", "/\r\nset-cookie: a=b"));
    let answer = app.get("/");
    assert!(answer.is_from_host() && answer.header("set-cookie").is_none());
    assert_eq!(errors(&app), ["GET /: the answer has a status or a header field that cannot be sent"]);
}

#[test]
fn many_fields_arrive_in_their_order() {
    let app = app!(|_| {
        (0..20).fold(Response::text("x").header("Content-Type", "a/b"), |answer, n| {
            answer.header("set-cookie", format!("c{n}=1"))
        })
    });
    let answer = app.get("/");
    let fields: Vec<_> = answer.headers().collect();
    assert_eq!(fields[0], ("Content-Type", &b"a/b"[..]));
    assert_eq!((fields.len(), fields[20]), (21, ("set-cookie", &b"c19=1"[..])));
}

#[test]
fn a_file_is_sent_whole_or_in_part() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(b"0123456789").unwrap();
    static PATH: Mutex<String> = Mutex::new(String::new());
    *PATH.lock().unwrap() = file.path().display().to_string();
    let app = app!(|request| -> Result<Response, Error> {
        let answer = Response::file(File::open(&*PATH.lock().unwrap())?);
        Ok(if request.path() == "/part" { answer.range(3, 4) } else { answer })
    });
    assert_eq!(app.get("/").text(), "0123456789");
    assert_eq!(app.get("/part").text(), "3456");
    assert_eq!(app.request("HEAD", "/").send().text(), "");
}

#[test]
fn a_stream_is_written_while_the_request_is_read() {
    let app = app!(|_| Response::stream_with(|request, writer| {
        std::io::copy(&mut request.body(), writer)?;
        writer.trailer("x-sum", "7");
        Ok(())
    }));
    let answer = app.post("/", "a long body");
    assert_eq!((&*answer.text(), answer.is_complete()), ("a long body", true));
    assert_eq!(answer.trailers().next(), Some(("x-sum", &b"7"[..])));
}

#[test]
fn a_stream_that_fails_is_left_unfinished() {
    let fails = app!(|_| Response::stream(|writer| {
        writer.write_all(b"a part")?;
        Err(Error::new("no more"))
    }));
    let panics = app!(|_| Response::stream(|writer| {
        writer.write_all(b"a part")?;
        panic!("no more")
    }));
    for app in [fails, panics] {
        let answer = app.get("/");
        assert_eq!((answer.status(), &*answer.text(), answer.is_complete()), (200, "a part", false));
        assert!(errors(&app)[0].contains("no more"));
    }
}

#[test]
fn a_stream_that_is_not_as_long_as_declared_is_left_unfinished() {
    let long = app!(|_| Response::stream(|writer| Ok(writer.write_all(b"four and more")?)).length(4));
    let short = app!(|_| Response::stream(|writer| Ok(writer.write_all(b"four")?)).length(5));
    for app in [long, short] {
        assert!(!app.get("/").is_complete());
        assert_eq!(errors(&app), ["GET /: the answer's body is not as long as was declared"]);
    }
}

#[test]
fn a_client_that_has_gone_is_no_error_of_the_application() {
    let app = app!(|request| {
        assert!(request.cancelled());
        Response::stream(|writer| Ok(writer.write_all(b"for nobody")?))
    });
    assert!(!app.request("GET", "/").gone().send().is_complete());
    assert!(errors(&app).is_empty());
}

#[test]
fn a_notice_tells_how_an_answer_ended() {
    static OUTCOMES: Mutex<Vec<Result<(), Refusal>>> = Mutex::new(Vec::new());
    let app = app!(|_| Response::text("x").on_finished(|outcome| {
        OUTCOMES.lock().unwrap().push(outcome);
        panic!("in the notice");
    }));
    app.get("/");
    app.request("GET", "/").gone().send();
    assert_eq!(*OUTCOMES.lock().unwrap(), [Ok(()), Err(Refusal::Gone)]);
}

#[test]
fn hints_go_before_and_silence_is_announced() {
    let app = app!(|request| -> Result<&'static str, Error> {
        request.early_hints(&[("link", "</a.css>; rel=preload")])?;
        request.extend(Duration::from_millis(1500));
        Ok("done")
    });
    let answer = app.get("/");
    assert_eq!(answer.early_hints().next(), Some(("link", &b"</a.css>; rel=preload"[..])));
    assert_eq!(answer.extended(), Duration::from_secs(2));
}

#[test]
fn an_answer_that_is_none_is_a_500() {
    let app = app!(|_| Response::answered());
    assert!(app.get("/").is_from_host());
}

#[test]
fn shared_bytes_are_sent_without_a_copy_of_ours() {
    let page: Arc<[u8]> = b"a page".as_slice().into();
    let answer = Response::bytes(Arc::clone(&page));
    assert!(std::ptr::eq(answer.body().unwrap(), &*page));
}

/// An application that writes down what happens to it.
struct Witness(Arc<Mutex<Vec<String>>>);

static WITNESSED: Mutex<Vec<String>> = Mutex::new(Vec::new());

impl Witness {
    fn note(&self, what: impl Into<String>) {
        self.0.lock().unwrap().push(what.into());
    }
}

impl App for Witness {
    fn start(startup: &Startup) -> Result<Self, Error> {
        let witness = Witness(Arc::default());
        witness.note(format!("start {}", startup.config_text()));
        startup.counter("calls").add(3);
        Ok(witness)
    }
    fn call(&self, request: &mut Request) -> Response {
        Response::text(request.worker().slot.to_string())
    }
    fn ready(&self) -> bool {
        panic!("never ready")
    }
    fn stop(&self) {
        self.note("stop");
    }
    fn thread_start(&self, number: u32) {
        self.note(format!("thread {number}"));
    }
    fn thread_stop(&self) {
        self.note("thread stops");
    }
    fn post_fork(&self, worker: &Worker) -> Result<(), Error> {
        self.note(format!("slot {}", worker.slot));
        Err(Error::new("not today"))
    }
    fn hook(&self, hook: Hook) {
        self.note(format!("{hook:?}"));
    }
}

impl Drop for Witness {
    fn drop(&mut self) {
        self.note("dropped");
        WITNESSED.lock().unwrap().append(&mut self.0.lock().unwrap());
    }
}

#[test]
fn an_application_lives_from_start_to_drop() {
    let witness = Server::with_config::<Witness>(r#"{"a":1}"#).unwrap();
    assert_eq!(witness.counter("calls"), 3);
    assert!(!witness.ready());
    let mut worker = Worker::default();
    worker.slot = 5;
    assert_eq!(witness.post_fork(worker), Err("not today".to_owned()));
    assert_eq!(witness.get("/").text(), "5");
    witness.hook(Hook::WorkerExit);
    witness.stop();
    let expected = ["start {\"a\":1}", "thread 0", "slot 5", "WorkerExit", "thread stops", "stop", "dropped"];
    assert_eq!(*WITNESSED.lock().unwrap(), expected);
}

#[test]
fn an_application_that_does_not_start_says_why() {
    #[derive(Debug, serde::Deserialize)]
    struct Config {
        size: u8,
    }
    struct Picky;
    impl App for Picky {
        fn start(startup: &Startup) -> Result<Self, Error> {
            let config: Config = startup.config()?;
            assert!(config.size < 10, "{} is too large", config.size);
            Ok(Picky)
        }
        fn call(&self, _: &mut Request) -> Response {
            Response::new(204)
        }
    }
    let why = |config| Server::with_config::<Picky>(config).err().unwrap_or_default();
    assert_eq!(why(r#"{"size": 9}"#), "");
    assert!(why("{}").starts_with("the application's configuration is not valid: missing field `size`"));
    assert!(why(r#"{"size": 11}"#).starts_with("panic: 11 is too large, at "));
}

#[test]
fn a_router_answers_what_its_functions_do_not() {
    struct Routed(Router<Routed>);
    impl App for Routed {
        fn start(_: &Startup) -> Result<Self, Error> {
            let router = Router::new()
                .get("/u/{id}", |_, request| request.part("id").unwrap_or_default().into_owned())
                .get("/u/me", |_, _| "it is me")
                .delete("/u/{id}", |_, _| Response::new(204))
                .any("/any/{*rest}", |_, request| {
                    request.part("rest").or_status(404).map(|rest| rest.into_owned())
                });
            Ok(Routed(router))
        }
        fn call(&self, request: &mut Request) -> Response {
            self.0.call(self, request)
        }
    }
    let app = Server::new::<Routed>();
    assert_eq!(app.get("/u/a%2Fb%ff").text(), "a/b\u{fffd}");
    assert_eq!(app.get("/u/me").text(), "it is me");
    assert_eq!(app.request("DELETE", "/u/me").send().status(), 204);
    assert_eq!(app.request("HEAD", "/u/me").send().status(), 200);
    assert_eq!(app.request("PURGE", "/any/a/b").send().text(), "a/b");
    assert_eq!(app.get("/nothing").status(), 404);
    let refused = app.post("/u/1", "");
    assert_eq!((refused.status(), refused.header("allow")), (405, Some("DELETE, GET, HEAD, OPTIONS")));
    let options = app.request("OPTIONS", "/u/1").send();
    assert_eq!((options.status(), options.header("allow")), (204, Some("DELETE, GET, HEAD, OPTIONS")));
}

#[test]
fn what_middleware_attaches_is_found_inside() {
    let app = app!(|request| {
        request.attach(7_u32);
        request.attach("name");
        request.attach(8_u32);
        format!(
            "{:?} {:?} {:?}",
            request.attached::<u32>(),
            request.attached::<&str>(),
            request.attached::<u8>()
        )
    });
    assert_eq!(app.get("/").text(), "Some(8) Some(\"name\") None");
}
