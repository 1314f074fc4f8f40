//! How clients are shared among the workers: evenly where they are kept alive, and never behind a worker that cannot
//! serve them.
mod support;

use std::collections::BTreeMap;

use nix::unistd::Pid;
use support::{Client, Server, Setup, Signal, process, wait_until};

/// In a worker whose class is `threaded`.
const THREADS: usize = 4;

/// A client that keeps its connection as long as the server lets it, and comes again when that ends.
struct Regular<'s> {
    server: &'s Server,
    client: Option<Client>,
}

impl Regular<'_> {
    /// Asks once more; who has answered. None: the connection broke, as it does when a worker is killed.
    fn ask(&mut self) -> Option<Pid> {
        let client = self.client.get_or_insert_with(|| self.server.client());
        let answer = client.get("/pid");
        if answer.as_ref().map_or(true, |response| response.closes()) {
            self.client = None;
        }
        let response = answer.ok()?;
        assert_eq!(response.status, 200);
        Some(Pid::from_raw(response.text().trim().parse().expect("/pid answers with a number")))
    }
}

fn regulars(server: &Server, count: usize) -> Vec<Regular<'_>> {
    let mut regulars: Vec<Regular<'_>> = (0..count).map(|_| Regular { server, client: None }).collect();
    ask_all(&mut regulars);
    regulars
}

/// How many each worker has answered.
fn ask_all(regulars: &mut [Regular<'_>]) -> BTreeMap<Pid, usize> {
    let mut shares = BTreeMap::new();
    for worker in regulars.iter_mut().filter_map(Regular::ask) {
        *shares.entry(worker).or_default() += 1;
    }
    shares
}

/// Asks again and again until the workers are as wanted; who they are then.
fn ask_until(regulars: &mut [Regular<'_>], what: &str, are_so: impl Fn(&[Pid]) -> bool) -> Vec<Pid> {
    wait_until(what, || {
        ask_all(regulars);
        let workers = regulars.first()?.server.workers();
        are_so(&workers).then_some(workers)
    })
}

/// Asks again and again until exactly these workers answer, and none of them more than twice as many as another.
fn wait_for_even_shares(scenario: &str, regulars: &mut [Regular<'_>], workers: &[Pid]) {
    let mut seen = BTreeMap::new();
    wait_until(format_args!("{scenario}: even shares of {workers:?}"), || {
        seen = ask_all(regulars);
        let (most, least) = (seen.values().max()?, seen.values().min()?);
        (seen.keys().eq(workers) && *most <= 2 * least).then_some(())
    });
}

fn start(class: &str, workers: i64) -> Server {
    let threads = if class == "threaded" { THREADS } else { 1 };
    let setup =
        Setup::new().set("workers", workers).set("worker_class", class).set("threads", threads as i64);
    setup.set("keepalive", 60).set("timeout", 60).start()
}

#[test]
fn kept_alive_connections_are_shared_evenly() {
    for class in ["sync", "threaded"] {
        for count in [2, 4] {
            let server = start(class, count);
            let mut regulars = regulars(&server, 64);
            wait_for_even_shares(class, &mut regulars, &server.workers());
        }
    }
}

#[test]
fn a_worker_that_was_added_gets_its_share_of_those_who_are_there() {
    let server = start("sync", 2);
    let mut regulars = regulars(&server, 36);
    server.signal(Signal::SIGTTIN);
    let workers = server.wait_workers(3);
    wait_for_even_shares("TTIN", &mut regulars, &workers);
}

#[test]
fn the_clients_of_a_worker_that_is_taken_away_are_shared_among_the_others() {
    let server = start("sync", 3);
    let mut regulars = regulars(&server, 36);
    server.signal(Signal::SIGTTOU);
    let workers = ask_until(&mut regulars, "one has left", |workers| workers.len() == 2);
    wait_for_even_shares("TTOU", &mut regulars, &workers);
}

#[test]
fn the_successor_of_a_dead_worker_gets_its_share() {
    let server = start("threaded", 2);
    let mut regulars = regulars(&server, 24);
    let old = server.workers();
    process::signal(old[0], Signal::SIGKILL);
    let workers = ask_until(&mut regulars, "there is a successor", |workers| {
        workers.len() == 2 && !workers.contains(&old[0])
    });
    wait_for_even_shares("a death", &mut regulars, &workers);
}

#[test]
fn after_a_reload_the_new_workers_have_even_shares() {
    let server = start("sync", 2);
    let mut regulars = regulars(&server, 24);
    let old = server.workers();
    server.signal(Signal::SIGHUP);
    let workers = ask_until(&mut regulars, "all workers are new", |workers| {
        workers.len() == 2 && !workers.iter().any(|pid| old.contains(pid))
    });
    wait_for_even_shares("HUP", &mut regulars, &workers);
}

#[test]
fn nobody_waits_behind_a_worker_whose_threads_are_all_in_calls() {
    for (class, threads) in [("sync", 1), ("threaded", THREADS)] {
        let server = start(class, 2);
        let mut busy = vec![server.client()];
        let blocked = busy[0].worker();
        for number in 0..threads {
            while busy[number].worker() != blocked {
                busy[number] = server.client();
            }
            server.hold(&mut busy[number], &format!("call-{number}"));
            busy.push(server.client());
        }
        for _ in 0..32 {
            assert_ne!(server.client().worker(), blocked, "{class}");
        }
        (0..threads).for_each(|number| server.release(&format!("call-{number}")));
        for client in &mut busy[..threads] {
            assert_eq!(client.answer().expect("an answer, now that it may").status, 200);
        }
    }
}

#[test]
fn nobody_waits_behind_a_worker_that_is_stopped() {
    let server = start("threaded", 2);
    let stopped = server.workers()[0];
    process::signal(stopped, Signal::SIGSTOP);
    wait_until("it has stopped", || (process::state(stopped) == Some('T')).then_some(()));
    let mut regulars = regulars(&server, 32);
    for _ in 0..20 {
        assert_eq!(ask_all(&mut regulars).into_keys().collect::<Vec<_>>(), [server.workers()[1]]);
    }
    process::signal(stopped, Signal::SIGCONT);
    wait_for_even_shares("it goes on", &mut regulars, &server.workers());
}

#[test]
fn nobody_waits_behind_a_worker_that_retires() {
    let server = start("threaded", 2);
    let mut slow = server.client();
    let retiring = slow.worker();
    server.hold(&mut slow, "call");
    let listeners = server.listeners(retiring);
    process::signal(retiring, Signal::SIGTERM);
    wait_until("it leaves them", || server.sockets(retiring).is_disjoint(&listeners).then_some(()));
    for _ in 0..32 {
        assert_ne!(server.client().worker(), retiring);
    }
    server.release("call");
    assert_eq!(slow.answer().expect("what is under way is answered").status, 200);
}
