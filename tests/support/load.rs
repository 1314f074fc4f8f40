//! Load: threads that ask the same thing until they are told to stop, and count what came of it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::client::{Broken, Client, Response};
use super::wait_until;

/// The most that one thread asks, and how long: a forgotten load ends by itself.
const MOST_REQUESTS: u64 = 500_000;
const LONGEST: Duration = Duration::from_secs(120);

/// A connection that was idle for so long may be closed at any time (at a stop; else `keepalive` counts, which is longer):
/// the next request may cross that on its way, and has to be asked again. Only a client that had to wait for its turn
/// on a busy machine is ever so late.
const IDLE: Duration = Duration::from_secs(1);

/// What happens to a connection after a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Style {
    /// It is used again, until the server says that it ends.
    KeepAlive,
    /// The client asked to close it.
    Close,
}

/// What came of a load.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// Whole responses with status 200.
    pub(crate) answered: u64,
    /// Threads that ended because nobody listens any more.
    pub(crate) refused: u64,
    /// Everything else, each with its reason.
    pub(crate) failures: Vec<String>,
}

impl Tally {
    /// No request failed, and nobody was refused.
    pub(crate) fn assert_all_answered(&self, scenario: &str) {
        self.assert_no_failures(scenario);
        assert_eq!(self.refused, 0, "{scenario}: connections were refused");
    }

    /// No request that was accepted failed.
    pub(crate) fn assert_no_failures(&self, scenario: &str) {
        let (count, first) = (self.failures.len(), self.failures.first());
        assert_eq!(
            count, 0,
            "{scenario}: {count} failed beside {} answered, first: {first:?}",
            self.answered
        );
        assert!(self.answered > 0, "{scenario}: the load did nothing");
    }
}

/// A running load.
pub(crate) struct Load {
    stop: Arc<AtomicBool>,
    answered: Arc<AtomicU64>,
    threads: Vec<JoinHandle<Tally>>,
}

impl Load {
    /// Starts `threads` clients that GET `target` and expect 200.
    pub(crate) fn start(address: SocketAddr, threads: usize, style: Style, target: &str) -> Load {
        let stop = Arc::new(AtomicBool::new(false));
        let answered = Arc::new(AtomicU64::new(0));
        let threads = (0..threads)
            .map(|_| {
                let mut asker = Asker {
                    address,
                    style,
                    target: target.to_owned(),
                    client: None,
                    last_asked: Instant::now(),
                    stop: Arc::clone(&stop),
                    answered: Arc::clone(&answered),
                };
                std::thread::spawn(move || asker.run())
            })
            .collect();
        Load { stop, answered, threads }
    }

    /// Waits until `count` more responses have come.
    pub(crate) fn wait_for(&self, count: u64) {
        let goal = self.answered.load(Ordering::Relaxed) + count;
        wait_until(format_args!("the load gets {count} more responses"), || {
            (self.answered.load(Ordering::Relaxed) >= goal
                || self.threads.iter().all(JoinHandle::is_finished))
            .then_some(())
        });
    }

    /// Lets every thread end its request, and adds up.
    pub(crate) fn finish(mut self) -> Tally {
        self.stop.store(true, Ordering::Relaxed);
        self.join()
    }

    /// Waits until every thread was refused (or ran out of its bounds), and adds up.
    pub(crate) fn until_refused(mut self) -> Tally {
        self.join()
    }

    fn join(&mut self) -> Tally {
        let mut sum = Tally::default();
        for thread in self.threads.drain(..) {
            let tally = thread.join().expect("a client thread does not panic");
            sum.answered += tally.answered;
            sum.refused += tally.refused;
            sum.failures.extend(tally.failures);
        }
        sum
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

struct Asker {
    address: SocketAddr,
    style: Style,
    target: String,
    client: Option<Client>,
    /// When the last request was sent.
    last_asked: Instant,
    stop: Arc<AtomicBool>,
    answered: Arc<AtomicU64>,
}

impl Asker {
    fn run(&mut self) -> Tally {
        let mut tally = Tally::default();
        let end = Instant::now() + LONGEST;
        while !self.stop.load(Ordering::Relaxed) && Instant::now() < end && tally.answered < MOST_REQUESTS {
            match self.ask() {
                Ok(response) if response.status == 200 => {
                    tally.answered += 1;
                    self.answered.fetch_add(1, Ordering::Relaxed);
                }
                Ok(response) => tally.failures.push(format!("status {}", response.status)),
                Err(Failed::Connect(Broken::Refused)) => {
                    tally.refused += 1;
                    break;
                }
                Err(Failed::Idle) => {}
                Err(Failed::Connect(broken)) => tally.failures.push(format!("connect: {broken}")),
                Err(Failed::Request { number, broken }) => {
                    tally.failures.push(format!("request {number} of its connection: {broken}"));
                }
            }
            if tally.failures.len() > 100 {
                break;
            }
        }
        tally
    }

    fn ask(&mut self) -> Result<Response, Failed> {
        let reused = self.client.is_some();
        let mut client = match self.client.take() {
            Some(client) => client,
            None => Client::tcp(self.address).map_err(Failed::Connect)?,
        };
        let before = std::mem::replace(&mut self.last_asked, Instant::now());
        let sent = match self.style {
            Style::KeepAlive => client.send_get(&self.target),
            Style::Close => client.send_last_get(&self.target),
        };
        let was_idle = reused && before.elapsed() >= IDLE;
        let number = if reused { "2+" } else { "1" };
        let response = sent.and_then(|()| client.answer()).map_err(|broken| match broken {
            Broken::Closed | Broken::Reset if was_idle => Failed::Idle,
            broken => Failed::Request { number, broken },
        })?;
        if !response.closes() {
            self.client = Some(client);
        }
        Ok(response)
    }
}

enum Failed {
    Connect(Broken),
    /// The connection was idle for so long that its end is nobody's fault.
    Idle,
    Request {
        number: &'static str,
        broken: Broken,
    },
}
