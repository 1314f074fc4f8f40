//! An application that misbehaves by path and by configuration, for the tests that start the real server. Not an example.
//!
//! Its table of the settings file: `start` = "ok", "error", "panic", "exit", "hang", "abort", "slow:MS", "file:PATH" (as soon
//! as that exists) or "beyond:N:HOW" (ok in the slots below N); `ready` = "yes", "no", "after:MS" or "file:PATH"; `dies` =
//! true: soon after it is ready; `version` = a text that `/version` answers; `tell` = true: whatever is asked, the answer
//! is what was understood of it; `sign` = true: each answer has the worker's pid in the field `x-worker`.

mod answers;
mod process;
mod raw;
mod told;

use std::thread;
use std::time::{Duration, Instant};

use serde::Deserialize;
use unirs_app::{App, Counter, Error, IntoResponse, OrStatus, Request, Response, Router, Startup};

/// The application.
pub struct TestApp {
    config: Config,
    /// Its table of the settings file, as the host gave it.
    config_text: String,
    started: Instant,
    calls: Counter,
    routes: Router<TestApp>,
}

#[derive(Deserialize)]
#[serde(default)]
struct Config {
    start: String,
    ready: String,
    version: String,
    tell: bool,
    sign: bool,
    dies: bool,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            start: "ok".into(),
            ready: "yes".into(),
            version: "1".into(),
            tell: false,
            sign: false,
            dies: false,
        }
    }
}

impl App for TestApp {
    fn start(startup: &Startup) -> Result<Self, Error> {
        let config: Config = startup.config()?;
        start_as(&config.start, startup.worker().slot)?;
        Ok(TestApp {
            config,
            config_text: startup.config_text().to_owned(),
            started: Instant::now(),
            calls: startup.counter("test_calls"),
            routes: raw::routes(process::routes(answers::routes(routes()))),
        })
    }

    fn call(&self, request: &mut Request) -> Response {
        if self.config.tell {
            return told::tell(request).into_response();
        }
        let response = self.routes.call(self, request);
        if self.config.sign { response.header("x-worker", std::process::id().to_string()) } else { response }
    }

    fn ready(&self) -> bool {
        if self.config.dies {
            thread::spawn(|| -> () {
                thread::sleep(Duration::from_millis(20));
                std::process::abort()
            });
        }
        match self.config.ready.strip_prefix("after:") {
            Some(after) => self.started.elapsed() >= millis(after).unwrap_or_default(),
            None => match self.config.ready.strip_prefix("file:") {
                Some(name) => std::path::Path::new(name).exists(),
                None => self.config.ready == "yes",
            },
        }
    }
}

unirs_app::export!(TestApp);

fn start_as(how: &str, slot: u32) -> Result<(), Error> {
    match how {
        "ok" => {}
        "error" => return Err(Error::new("the configuration says: start with an error")),
        "panic" => panic!("the configuration says: start with a panic"),
        "exit" => process::leave(),
        "hang" => hang(),
        "abort" => std::process::abort(),
        other if other.starts_with("beyond:") => {
            let (slots, how) = other["beyond:".len()..].split_once(':').or_status(500)?;
            if slot >= slots.parse()? {
                start_as(how, slot)?;
            }
        }
        other if other.starts_with("file:") => {
            while !std::path::Path::new(&other["file:".len()..]).exists() {
                thread::sleep(Duration::from_millis(5));
            }
        }
        other => {
            let slow = other.strip_prefix("slow:").ok_or(Error::new(format!("no such start: {other}")))?;
            thread::sleep(millis(slow)?);
        }
    }
    Ok(())
}

fn routes() -> Router<TestApp> {
    Router::new()
        .get("/", |_, _| "a test\n")
        .get("/version", |app: &TestApp, _| app.config.version.clone())
        .get("/config", |app: &TestApp, _| Response::json_text(app.config_text.clone()))
        .get("/generation", |_, request| request.worker().generation.to_string())
        .get("/slot", |_, request| request.worker().slot.to_string())
        .get("/hang", |_, _| -> Response { hang() })
        .any("/sleep/{ms}", sleep)
        .get("/hold/{name}", hold)
        .get("/extend/{ms}", extend)
        .get("/counter", count)
        .get("/cancelled", wait_until_cancelled)
        .get("/log/{text}", log)
}

/// Sleeps for ever.
fn hang() -> ! {
    loop {
        thread::sleep(Duration::from_secs(3600));
    }
}

fn sleep(_: &TestApp, request: &mut Request) -> Result<Response, Error> {
    let time = millis(&part(request, "ms")?)?;
    thread::sleep(time);
    Ok(Response::text(format!("slept for {} ms\n", time.as_millis())))
}

/// Makes the file NAME.held in the working directory, and answers when there is a file NAME.
fn hold(_: &TestApp, request: &mut Request) -> Result<&'static str, Error> {
    let name = part(request, "name")?;
    std::fs::write(format!("{name}.held"), "")?;
    let end = Instant::now() + Duration::from_secs(120);
    while !std::path::Path::new(&name).exists() && Instant::now() < end {
        thread::sleep(Duration::from_millis(5));
    }
    Ok("held\n")
}

/// As `sleep`, but says before that it may be so long, and longer: nobody wakes up on the dot.
fn extend(app: &TestApp, request: &mut Request) -> Result<Response, Error> {
    request.extend(millis(&part(request, "ms")?)? + Duration::from_secs(60));
    sleep(app, request)
}

fn count(app: &TestApp, _: &mut Request) -> Response {
    app.calls.add(1);
    Response::text(app.calls.value().to_string())
}

fn wait_until_cancelled(_: &TestApp, request: &mut Request) -> &'static str {
    let end = Instant::now() + Duration::from_secs(10);
    while Instant::now() < end {
        if request.cancelled() {
            unirs_app::log::info!("the call was cancelled");
            return "cancelled\n";
        }
        thread::sleep(Duration::from_millis(10));
    }
    unirs_app::log::info!("the call was not cancelled");
    "not cancelled\n"
}

fn log(_: &TestApp, request: &mut Request) -> Result<&'static str, Error> {
    unirs_app::log::info!("{}", part(request, "text")?);
    Ok("logged\n")
}

/// A named part of the path.
fn part(request: &Request, name: &str) -> Result<String, Error> {
    Ok(request.part(name).or_status(404)?.into_owned())
}

fn millis(text: &str) -> Result<Duration, Error> {
    Ok(Duration::from_millis(text.parse().or_status(400)?))
}

#[cfg(test)]
mod tests {
    use unirs_app::test::Server;

    use super::*;

    #[test]
    fn what_is_asked_of_the_process_is_answered() {
        let app = Server::new::<TestApp>();
        assert!(app.get("/ids").text().starts_with("uid="));
        assert!(app.get("/fds").text().starts_with("0 "));
        assert_eq!(app.get("/umask").text().len(), 4);
        assert_eq!(app.get("/pid").text(), std::process::id().to_string());
        assert_eq!(app.get("/env/NO_SUCH_NAME").status(), 404);
        for path in ["/cwd", "/threads", "/burn/1", "/sleep/1", "/counter", "/generation", "/leak-threads/1"]
        {
            assert_eq!(app.get(path).status(), 200, "{path}");
        }
    }

    #[test]
    fn answers_are_wrong_in_the_ways_they_promise() {
        let app = Server::new::<TestApp>();
        for path in ["/panic", "/never", "/bad-status", "/crlf", "/bad-name", "/bad-descriptor"] {
            assert!(app.get(path).is_from_host(), "{path}");
        }
        for path in ["/stream-short", "/stream-long", "/stream-panic", "/unfinished"] {
            assert!(!app.get(path).is_complete(), "{path}");
        }
        for path in ["/early-hints", "/trailers", "/stream/3", "/twice", "/after-finish", "/write-first"] {
            assert!(app.get(path).is_complete(), "{path}");
        }
        assert_eq!(app.get("/file?path=/proc/version").status(), 200);
        assert_eq!(app.request("POST", "/echo-stream").body("abc").unbuffered().send().text(), "abc");
        assert_eq!(app.post("/length", "abc").text(), "3");
    }

    #[test]
    fn readiness_follows_the_configuration() {
        let ready = |config| Server::with_config::<TestApp>(config).expect("it starts").ready();
        assert!(ready("{}"));
        assert!(!ready(r#"{"ready": "no"}"#));
        assert!(!ready(r#"{"ready": "after:60000"}"#));
        assert!(ready(r#"{"ready": "after:0"}"#));
    }
}
