//! Chaos: for a while everything happens to a server at once, at random, under the load of 32 clients; then its books have
//! to balance. `UNIRS_CHAOS_SEED` repeats a run as far as a seed can, `UNIRS_CHAOS_SECONDS` makes it longer or shorter.
#![allow(clippy::print_stdout, reason = "the numbers of a run, for whoever asks for them")]
mod support;

#[path = "chaos/clients.rs"]
mod clients;
#[path = "chaos/deeds.rs"]
mod deeds;

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use clients::{Books, Crowd, Failure, is_cut};
use deeds::{Chaos, Loss, PIDFILE, VERDICTS};
use nix::unistd::Pid;
use support::{DEADLINE, Random, Server, Setup, Signal, look_within, process, test_app, wait_until};

const WORKERS: usize = 4;
const CLIENTS: usize = 32;

/// Without `UNIRS_CHAOS_SECONDS`.
const SECONDS: u64 = 40;

/// So many answers are at most lost to the access log with a worker: those of the last turn of its loop. A client asks
/// again no sooner than it has its answer, which may be in the same turn still.
const LAST_TURN: usize = 2 * CLIENTS;

#[test]
fn nothing_is_lost_but_with_a_worker_that_was_killed() {
    let mut random = Random::seeded("UNIRS_CHAOS_SEED");
    let mut chaos = Chaos::new(start(), WORKERS, random.fork());
    // Whatever an upgrade and a reload make for the first time is made.
    chaos.upgrade();
    chaos.end(WORKERS);
    wait_for_rest(&chaos.server);
    let before = kinds(&chaos.server);
    let crowd = Crowd::start(chaos.server.address(), CLIENTS, &mut random);
    let given = std::env::var("UNIRS_CHAOS_SECONDS").ok().and_then(|seconds| seconds.parse().ok());
    let end = Instant::now() + Duration::from_secs(given.unwrap_or(SECONDS));
    while Instant::now() < end {
        chaos.do_anything();
        check_count(&chaos);
    }
    chaos.end(WORKERS);
    let books = crowd.finish();
    println!("{} answered, {} failed, {:?}", books.answered.len(), books.failed.len(), chaos.done);
    check_processes(&chaos, &before);
    judge_failures(&books, &chaos);
    let lines = judge_access_log(&books, &chaos);
    stop(&mut chaos);
    judge_deaths(&chaos, lines);
}

fn start() -> Server {
    let setup = Setup::new().set("workers", WORKERS as i64).set("keepalive", 60).set("pidfile", PIDFILE);
    let library = setup.dir().join("libapp.so");
    std::fs::copy(test_app(), &library).expect("a copy of the library");
    let setup = setup.set("accesslog", "access.log").set("access_log_format", "%(p)s %(s)s %(U)s %(q)s");
    setup.configure(|config| config.library(&library).app("sign", true).app("version", "0")).start()
}

/// As many workers as the log says are wanted, sooner or later: somebody may be dead, retiring or booting.
fn check_count(chaos: &Chaos) {
    let server = &chaos.server;
    wait_until(format_args!("{} workers are there", chaos.wanted), || {
        (server.workers().len() >= chaos.wanted).then_some(())
    });
    assert!(!process::is_dead(server.master()), "the master lives");
}

/// One generation is left, all its workers are ready, and the service manager knows it.
fn wait_for_rest(server: &Server) {
    let expected = format!(": {WORKERS} of {WORKERS} workers ready; ");
    wait_until(format_args!("the status is of one generation{expected}"), || {
        let status = last_status(server);
        (status.contains(&expected) && status.matches(" workers ready").count() == 1).then_some(())
    });
}

fn last_status(server: &Server) -> String {
    let lines = server.notify().lines();
    lines.into_iter().rfind(|line| line.starts_with("STATUS=")).unwrap_or_default()
}

/// What the master has open, by kind.
fn kinds(server: &Server) -> BTreeMap<String, usize> {
    let mut kinds = BTreeMap::new();
    for what in server.fds(server.master()).into_values() {
        let kind = what.split(":[").next().unwrap_or_default().to_owned();
        *kinds.entry(kind).or_default() += 1;
    }
    kinds
}

/// Nothing is left over: no process, no descriptor.
fn check_processes(chaos: &Chaos, before: &BTreeMap<String, usize>) {
    let server = &chaos.server;
    wait_for_rest(server);
    // The names of the last crashes may still be looked up, by one child of low priority after another; who waits for that
    // holds the image of its generation.
    wait_until("every child is a worker, and none a zombie", || {
        (process::children(server.master()).len() == WORKERS).then_some(())
    });
    let _settled = look_within(DEADLINE, || (kinds(server) == *before).then_some(()));
    assert_eq!(kinds(server), *before, "what the master has open, and had before");
    let verdicts: usize = VERDICTS.iter().map(|verdict| server.count_log(verdict)).sum();
    assert_eq!(verdicts, chaos.hups, "each HUP has one verdict");
    // Only who was never to be ready was over its time.
    let log = server.log();
    let is_wrong = |line: &&str| line.contains("WORKER TIMEOUT") && !line.contains("boot_timeout");
    assert_eq!(log.lines().find(is_wrong), None);
}

/// A request may fail when its worker was killed, or could have been, or when its connection had been idle for a second
/// while a master stopped: not for any other reason.
fn judge_failures(books: &Books, chaos: &Chaos) {
    let is_right = |failure: &&Failure| {
        let is_lost = chaos.losses.iter().any(|loss| has_died_of(failure, loss));
        let is_late = chaos.stops.iter().any(|stop| has_crossed(failure, stop));
        is_cut(&failure.what) && (is_lost || is_late)
    };
    let wrong: Vec<&Failure> = books.failed.iter().filter(|failure| !is_right(failure)).collect();
    assert!(wrong.is_empty(), "{} requests failed for no reason: {wrong:#?}", wrong.len());
    assert!(books.failed.len() <= chaos.losses.len() * CLIENTS, "more than were in flight");
    assert!(books.answered.len() > 100, "the load did nothing");
}

fn has_died_of(failure: &Failure, loss: &Loss) -> bool {
    let was_meanwhile = loss.from <= failure.to;
    match failure.worker {
        Some(worker) => worker == loss.worker && was_meanwhile,
        None => was_meanwhile && failure.from <= loss.to,
    }
}

/// A master that stops lets an idle connection stay for a second. Only a client that had to wait for its turn on a busy
/// machine is so late.
fn has_crossed(failure: &Failure, stop: &(Instant, Instant)) -> bool {
    let was_idle = failure.from.duration_since(failure.before) >= Duration::from_secs(1);
    failure.worker.is_some() && was_idle && failure.before <= stop.1 && stop.0 <= failure.to
}

/// Each answer has its line, but for the last turns of the workers that were lost; and each line its answer.
fn judge_access_log(books: &Books, chaos: &Chaos) -> usize {
    let mut text = chaos.server.read("access.log");
    for number in 1..=chaos.moved_logs {
        text += &chaos.server.read(&format!("access.log.{number}"));
    }
    let mut ids = BTreeSet::new();
    for line in text.lines() {
        let fields: Vec<&str> = line.split(' ').collect();
        let [_, _, _, id] = fields[..] else { panic!("a torn line: {line}") };
        assert!(id.is_empty() || ids.insert(id.to_owned()), "two lines for one request: {line}");
    }
    let mut missing: BTreeMap<Pid, usize> = BTreeMap::new();
    for answered in books.answered.iter().filter(|answered| !ids.remove(&answered.id)) {
        *missing.entry(answered.worker).or_default() += 1;
    }
    for (worker, count) in &missing {
        let is_lost = chaos.losses.iter().any(|loss| loss.worker == *worker);
        assert!(is_lost, "{count} answers of worker {worker}, which nobody has killed, have no line");
        assert!(*count <= LAST_TURN, "{count} answers of worker {worker} have no line");
    }
    let failed: BTreeSet<&String> = books.failed.iter().map(|failure| &failure.id).collect();
    let unknown: Vec<&String> = ids.iter().filter(|id| !failed.contains(id)).collect();
    assert!(unknown.is_empty(), "lines of requests that nobody has made: {unknown:?}");
    println!("{} lines, {} lost with workers", text.lines().count(), missing.values().sum::<usize>());
    text.lines().count()
}

fn stop(chaos: &mut Chaos) {
    let master = chaos.server.master();
    chaos.server.signal(Signal::SIGTERM);
    wait_until("the server ends", || process::is_dead(master).then_some(()));
    assert!(!chaos.server.path(PIDFILE).exists(), "the pidfile goes with its master");
}

/// Each worker that was ever born has one line about its death, and together they have served what the access log says.
fn judge_deaths(chaos: &Chaos, lines: usize) {
    let log = chaos.server.log();
    let pid_after = |line: &str, text: &str| -> Option<String> {
        let (_, rest) = line.split_once(text)?;
        Some(rest.chars().take_while(char::is_ascii_digit).collect())
    };
    let mut born: Vec<String> =
        log.lines().filter_map(|line| pid_after(line, "Booting worker with pid: ")).collect();
    let deaths: Vec<&str> = log.lines().filter(|line| line.contains(" requests served, ")).collect();
    let mut dead: Vec<String> = deaths.iter().filter_map(|line| pid_after(line, "Worker (pid:")).collect();
    born.sort();
    dead.sort();
    assert_eq!(born, dead, "each worker has one line about its death");
    let served = |line: &&str| -> usize {
        let (before, _) = line.split_once(" requests served, ").expect("it was looked for");
        before.rsplit(' ').next().and_then(|count| count.parse().ok()).expect("a number")
    };
    let served: usize = deaths.iter().map(served).sum();
    println!("{} workers, {} of them lost, have served {served}", born.len(), chaos.losses.len());
    // An exchange is counted and written down one after the other: what is between them is lost with a worker.
    let slack = chaos.losses.len() * LAST_TURN;
    assert!(served.abs_diff(lines) <= slack, "{served} requests served, {lines} lines in the access log");
    assert_eq!(log.matches("panicked").count(), 0, "nobody panicked");
}
