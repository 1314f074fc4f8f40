//! The clients of the chaos test: they ask all the time, know which worker they talk to, and write down what came of
//! each request. What may have failed is judged elsewhere.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::unistd::Pid;

use crate::support::{Broken, Client, Random, Response, Style, wait_until};

/// A request that was answered as it had to be.
pub(crate) struct Answered {
    pub(crate) id: String,
    pub(crate) worker: Pid,
}

/// A request that was not.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) id: String,
    /// Who had the connection, where an earlier answer has said so.
    pub(crate) worker: Option<Pid>,
    /// When the one before it was begun.
    pub(crate) before: Instant,
    /// When the request, or the connection for it, was begun.
    pub(crate) from: Instant,
    /// When it had failed.
    pub(crate) to: Instant,
    pub(crate) what: String,
}

/// What came of all requests.
#[derive(Default)]
pub(crate) struct Books {
    pub(crate) answered: Vec<Answered>,
    pub(crate) failed: Vec<Failure>,
}

/// Clients that run.
pub(crate) struct Crowd {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<Books>>,
}

impl Crowd {
    /// Half of `count` clients keep their connections, the others ask once on each.
    pub(crate) fn start(address: SocketAddr, count: usize, random: &mut Random) -> Crowd {
        let stop = Arc::new(AtomicBool::new(false));
        let threads = (0..count).map(|number| {
            let style = if number % 2 == 0 { Style::KeepAlive } else { Style::Close };
            let (random, books) = (random.fork(), Books::default());
            let mut asker =
                Asker { address, number, style, random, kept: None, asked: Instant::now(), books };
            let stop = Arc::clone(&stop);
            std::thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    asker.ask();
                }
                asker.books
            })
        });
        let threads = threads.collect();
        Crowd { stop, threads }
    }

    /// Lets every client end its request; the books of all.
    pub(crate) fn finish(mut self) -> Books {
        self.stop.store(true, Ordering::Relaxed);
        let mut all = Books::default();
        for thread in self.threads.drain(..) {
            let books = thread.join().expect("a client does not panic");
            all.answered.extend(books.answered);
            all.failed.extend(books.failed);
        }
        all
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// What is asked, and what has to come back.
struct Question {
    request: String,
    expected: Option<String>,
}

impl Question {
    fn any(id: &str, style: Style, random: &mut Random) -> Question {
        let connection = if style == Style::Close { "Connection: close\r\n" } else { "" };
        let get = |path: &str, expected: Option<String>| Question {
            request: format!("GET {path}?{id} HTTP/1.1\r\nHost: a\r\n{connection}\r\n"),
            expected,
        };
        match random.below(10) {
            0 => get("/stream/3", Some("line 0\nline 1\nline 2\n".to_owned())),
            1 => get(&format!("/sleep/{}", random.below(30)), None),
            2 => {
                let body = format!("{id} ").repeat(random.below(2_000));
                let length = body.len();
                let head = format!(
                    "POST /echo?{id} HTTP/1.1\r\nHost: a\r\n{connection}Content-Length: {length}\r\n\r\n"
                );
                Question { request: head + &body, expected: Some(body) }
            }
            _ => get("/", Some("a test\n".to_owned())),
        }
    }
}

struct Asker {
    address: SocketAddr,
    number: usize,
    style: Style,
    random: Random,
    /// The connection, and whose it is.
    kept: Option<(Client, Pid)>,
    /// When the last question was asked.
    asked: Instant,
    books: Books,
}

impl Asker {
    fn ask(&mut self) {
        let id = format!("{}-{}", self.number, self.books.answered.len() + self.books.failed.len());
        let question = Question::any(&id, self.style, &mut self.random);
        let (from, kept) = (Instant::now(), self.kept.take());
        let before = std::mem::replace(&mut self.asked, from);
        let worker = kept.as_ref().map(|(_, worker)| *worker);
        match self.exchange(kept, &question) {
            Ok(worker) => self.books.answered.push(Answered { id, worker }),
            Err(what) => {
                self.books.failed.push(Failure { id, worker, before, from, to: Instant::now(), what });
            }
        }
        self.pause();
    }

    /// One request and its answer; who has answered.
    fn exchange(&mut self, kept: Option<(Client, Pid)>, question: &Question) -> Result<Pid, String> {
        let mut client = match kept {
            Some((client, _)) => client,
            None => Client::tcp(self.address).map_err(|broken| format!("connect: {broken}"))?,
        };
        let answer = client.send(&question.request).and_then(|()| client.answer());
        let response = answer.map_err(|broken: Broken| broken.to_string())?;
        let worker = check(&response, question)?;
        // Now and then a client goes while its connection is parked.
        if self.style == Style::KeepAlive && !response.closes() && self.random.below(100) > 0 {
            self.kept = Some((client, worker));
        }
        Ok(worker)
    }

    /// A few milliseconds, so that there are parked connections too, and time for those who cause the chaos.
    fn pause(&mut self) {
        let end = Instant::now() + Duration::from_millis(self.random.below(20) as u64);
        wait_until("the pause is over", || (Instant::now() >= end).then_some(()));
    }
}

/// The connection has ended before the answer, or within it.
pub(crate) fn is_cut(what: &str) -> bool {
    what.contains("reset") || what.contains("closed")
}

/// The right answer, and who gave it.
fn check(response: &Response, question: &Question) -> Result<Pid, String> {
    if response.status != 200 {
        return Err(format!("status {}", response.status));
    }
    if question.expected.as_ref().is_some_and(|expected| *expected != response.text()) {
        return Err(format!("a wrong answer of {} bytes", response.body.len()));
    }
    let worker = response.field("x-worker").and_then(|worker| worker.parse().ok());
    worker.map(Pid::from_raw).ok_or_else(|| "an answer that nobody has signed".to_owned())
}
