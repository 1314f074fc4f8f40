//! What is done to the server in the chaos test, at random. Each deed waits for what the server has to say to it.

use std::collections::BTreeMap;
use std::fs;
use std::net::TcpListener;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::unistd::Pid;

use crate::support::{Config, Random, Server, Signal, process, test_app, wait_until};

/// A worker that the test has killed, or made to crash, and within which time it has died.
#[derive(Debug)]
pub(crate) struct Loss {
    pub(crate) worker: Pid,
    pub(crate) from: Instant,
    pub(crate) to: Instant,
}

/// What a reload came to, as the log says it. Each accepted HUP comes to one of them.
pub(crate) const VERDICTS: [&str; 3] = ["Reloaded: generation", "Reload refused", "makes way for a newer"];

/// What the old master says of the new one.
const SERVES: &str = "serves beside this one";

/// The name of the pidfile.
pub(crate) const PIDFILE: &str = "unirs.pid";

/// The server, and what is known of it.
pub(crate) struct Chaos {
    pub(crate) server: Server,
    pub(crate) losses: Vec<Loss>,
    /// From when to when a master stopped.
    pub(crate) stops: Vec<(Instant, Instant)>,
    /// How often each deed was done.
    pub(crate) done: BTreeMap<&'static str, usize>,
    /// How many workers are wanted.
    pub(crate) wanted: usize,
    /// How many HUPs were sent.
    pub(crate) hups: usize,
    /// Access logs that were moved away.
    pub(crate) moved_logs: usize,
    random: Random,
    /// What the application that serves says to `/version`.
    version: usize,
    /// The newest version that any configuration had.
    newest: usize,
    /// Those who let stopped workers go on: nobody else can while a deed waits.
    waking: Vec<JoinHandle<()>>,
}

impl Chaos {
    pub(crate) fn new(server: Server, workers: usize, random: Random) -> Chaos {
        Chaos {
            server,
            losses: Vec::new(),
            stops: Vec::new(),
            done: BTreeMap::new(),
            wanted: workers,
            hups: 0,
            moved_logs: 0,
            random,
            version: 0,
            newest: 0,
            waking: Vec::new(),
        }
    }

    /// Any deed, and a moment of rest.
    pub(crate) fn do_anything(&mut self) {
        let (name, deed): (&'static str, fn(&mut Chaos)) = *self.random.one_of(&[
            ("kill -9", Chaos::kill as fn(&mut Chaos)),
            ("kill -9", Chaos::kill),
            ("kill -9", Chaos::kill),
            ("stop, continue", Chaos::stop),
            ("stop, continue", Chaos::stop),
            ("crash", Chaos::crash),
            ("HUP", Chaos::reload),
            ("HUP", Chaos::reload),
            ("two HUPs", Chaos::reload_twice),
            ("HUP, kill -9", Chaos::reload_and_kill),
            ("HUP, broken", Chaos::reload_what_is_broken),
            ("HUP, broken", Chaos::reload_what_is_broken),
            ("library truncated, kill -9, HUP", Chaos::truncate_library),
            ("TTIN", Chaos::add_worker),
            ("TTIN", Chaos::add_worker),
            ("TTOU", Chaos::take_worker),
            ("TTOU", Chaos::take_worker),
            ("USR1", Chaos::rotate),
            ("USR2, TERM to the old one", Chaos::upgrade),
            ("USR2, TERM to the new one", Chaos::roll_back),
        ]);
        *self.done.entry(name).or_default() += 1;
        deed(self);
        let rest = Instant::now() + Duration::from_millis(self.random.below(250) as u64);
        wait_until("the rest is over", || (Instant::now() >= rest).then_some(()));
    }

    /// Nobody is stopped, and the configuration of the beginning serves.
    pub(crate) fn end(&mut self, workers: usize) {
        for waking in self.waking.drain(..) {
            waking.join().expect("a signal can be sent");
        }
        self.reload_with(workers, "sync");
        self.server.wait_workers(workers);
    }

    fn any_worker(&mut self) -> Pid {
        let workers = wait_until("there is a worker", || {
            let workers = self.server.workers();
            (!workers.is_empty()).then_some(workers)
        });
        *self.random.one_of(&workers)
    }

    fn kill(&mut self) {
        let (worker, from) = (self.any_worker(), Instant::now());
        process::signal(worker, Signal::SIGKILL);
        self.lose(worker, from);
    }

    fn lose(&mut self, worker: Pid, from: Instant) {
        wait_until(format_args!("worker {worker} is dead"), || process::is_dead(worker).then_some(()));
        self.losses.push(Loss { worker, from, to: Instant::now() });
    }

    fn stop(&mut self) {
        let worker = self.any_worker();
        let end = Instant::now() + Duration::from_millis(self.random.below(2_000) as u64);
        process::signal(worker, Signal::SIGSTOP);
        self.waking.push(std::thread::spawn(move || {
            wait_until("it was stopped long enough", || (Instant::now() >= end).then_some(()));
            process::signal(worker, Signal::SIGCONT);
        }));
    }

    /// A request that costs its worker.
    fn crash(&mut self) {
        let target = *self.random.one_of(&["/segv", "/abort", "/exit"]);
        let mut client = self.server.client();
        let (worker, from) = (client.worker(), Instant::now());
        // An error or a 500: what counts is that there is an end.
        let _ = client.get(target);
        self.lose(worker, from);
    }

    /// How many reloads have come to anything.
    fn verdicts(&self) -> usize {
        VERDICTS.iter().map(|verdict| self.server.count_log(verdict)).sum()
    }

    /// Writes a configuration, sends HUP, and waits until the master has it.
    fn hang_up(&mut self, change: impl FnOnce(Config) -> Config) {
        self.hups += 1;
        self.server.configure(change);
        self.server.signal(Signal::SIGHUP);
        self.server.wait_for_log("Handling signal: hup", self.hups);
    }

    fn wait_for_verdicts(&self) {
        wait_until(format_args!("{} HUPs have a verdict", self.hups), || {
            (self.verdicts() >= self.hups).then_some(())
        });
    }

    fn reload(&mut self) {
        let (workers, class) = (3 + self.random.below(3), *self.random.one_of(&["sync", "threaded"]));
        self.reload_with(workers, class);
    }

    fn reload_with(&mut self, workers: usize, class: &str) {
        let done = self.server.count_log(VERDICTS[0]);
        self.begin_reload(workers, class);
        self.wait_for_verdicts();
        assert_eq!(self.server.count_log(VERDICTS[0]), done + 1, "a good reload is not refused");
        self.adopt(workers);
    }

    fn begin_reload(&mut self, workers: usize, class: &str) {
        self.newest += 1;
        let (version, class) = (self.newest.to_string(), class.to_owned());
        let threads = if class == "sync" { 1 } else { 4 };
        self.hang_up(|config| {
            let config = config.set("workers", workers as i64).set("worker_class", class);
            config.set("threads", threads).app("version", version)
        });
    }

    /// The newest configuration serves.
    fn adopt(&mut self, workers: usize) {
        (self.wanted, self.version) = (workers, self.newest);
        self.wait_for_version();
    }

    /// A worker of another one may serve until it has heard that it retires.
    fn wait_for_version(&self) {
        wait_until(format_args!("version {} serves", self.version), || {
            (self.server.get("/version").text() == self.version.to_string()).then_some(())
        });
    }

    /// The second one comes while the first one's workers boot, or roll.
    fn reload_twice(&mut self) {
        self.begin_reload(2, "threaded");
        let moment = Instant::now() + Duration::from_millis(self.random.below(300) as u64);
        wait_until("the first is under way", || (Instant::now() >= moment).then_some(()));
        self.begin_reload(4, "sync");
        self.wait_for_verdicts();
        self.adopt(4);
    }

    /// A worker that was never Ready takes the reload with it, and those of its generation that were; any other is
    /// replaced.
    fn reload_and_kill(&mut self) {
        let done = self.server.count_log(VERDICTS[0]);
        self.begin_reload(4, "threaded");
        let moment = Instant::now() + Duration::from_millis(self.random.below(300) as u64);
        wait_until("it is under way", || (Instant::now() >= moment).then_some(()));
        self.kill();
        self.wait_for_verdicts();
        if self.server.count_log(VERDICTS[0]) > done {
            self.adopt(4);
        } else {
            self.wait_for_version();
        }
    }

    fn expect_old_version(&self) {
        assert_eq!(self.server.get("/version").text(), self.version.to_string(), "the old code serves");
    }

    fn reload_what_is_broken(&mut self) {
        let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = taken.local_addr().expect("an address").to_string();
        let good = self.server.config();
        let text = self.server.path("libtext.so");
        fs::write(&text, "this is no library").expect("a file");
        let broken = match self.random.below(9) {
            0 => good.clone().set("wrokers", 2),
            1 => good.clone().raw("this is no TOML"),
            2 => good.clone().set("bind", vec!["127.0.0.1:0".to_owned(), address]),
            3 => good.clone().library(std::path::Path::new("/nowhere/libshop.so")),
            4 => good.clone().library(&text),
            5 => good.clone().app("ready", "no").set("boot_timeout", 1),
            6 => good.clone().app("start", "exit"),
            7 => good.clone().app("start", "abort"),
            _ => good.clone().app("start", "error"),
        };
        self.refuse(broken, good);
    }

    fn refuse(&mut self, broken: Config, good: Config) {
        let refused = self.server.count_log(VERDICTS[1]);
        self.hang_up(|_| broken);
        self.wait_for_verdicts();
        assert_eq!(self.server.count_log(VERDICTS[1]), refused + 1, "a broken configuration is refused");
        self.expect_old_version();
        self.server.configure(|_| good);
    }

    /// USR2 with a configuration of its own; the new master, which serves beside the old one.
    fn start_successor(&mut self, workers: usize) -> Pid {
        self.newest += 1;
        let version = self.newest.to_string();
        self.server.configure(|config| config.set("workers", workers as i64).app("version", version));
        let before = self.server.count_log(SERVES);
        self.server.signal(Signal::SIGUSR2);
        self.server.wait_for_log(SERVES, before + 1);
        let new = self.server.read("unirs.pid.2").trim().parse().expect("the new master has its pidfile");
        Pid::from_raw(new)
    }

    /// The new master takes the old one's place.
    pub(crate) fn upgrade(&mut self) {
        let (workers, old) = (3 + self.random.below(3), self.server.master());
        let new = self.start_successor(workers);
        let from = Instant::now();
        self.server.signal(Signal::SIGTERM);
        wait_until("the old master ends", || process::is_dead(old).then_some(()));
        self.stops.push((from, Instant::now()));
        wait_until("the pidfile names the new master", || {
            (self.server.adopt_daemon(PIDFILE) == new).then_some(())
        });
        self.adopt(workers);
    }

    /// The new master goes, and leaves everything to the old one.
    fn roll_back(&mut self) {
        let new = self.start_successor(2);
        let from = Instant::now();
        process::signal(new, Signal::SIGTERM);
        self.server.wait_for_log(&format!("New master (pid:{new}) is gone"), 1);
        self.stops.push((from, Instant::now()));
        self.expect_old_version();
    }

    /// The library's file is broken under its users: whoever is born before the next reload has the code of its generation.
    fn truncate_library(&mut self) {
        let library = self.server.path("libapp.so");
        let size = fs::metadata(&library).expect("the library").len();
        let file = fs::OpenOptions::new().write(true).open(&library).expect("the library");
        file.set_len(size / 2).expect("a truncation");
        self.kill();
        self.expect_old_version();
        let config = self.server.config();
        self.refuse(config.clone(), config);
        fs::copy(test_app(), &library).expect("a copy of the library");
    }

    fn add_worker(&mut self) {
        if self.wanted < 6 {
            self.change(Signal::SIGTTIN, self.wanted + 1);
        }
    }

    fn take_worker(&mut self) {
        if self.wanted > 2 {
            self.change(Signal::SIGTTOU, self.wanted - 1);
        }
    }

    fn change(&mut self, signal: Signal, wanted: usize) {
        let sentence = format!("{wanted} workers are wanted");
        let said = self.server.count_log(&sentence);
        self.server.signal(signal);
        self.server.wait_for_log(&sentence, said + 1);
        self.wanted = wanted;
    }

    fn rotate(&mut self) {
        self.moved_logs += 1;
        let (log, moved) = (self.server.path("access.log"), format!("access.log.{}", self.moved_logs));
        fs::rename(&log, self.server.path(&moved)).expect("a rotation");
        self.server.signal(Signal::SIGUSR1);
        wait_until("there is a new access log", || log.exists().then_some(()));
    }
}
