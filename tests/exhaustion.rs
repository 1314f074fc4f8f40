//! When there is no room: no descriptors, no places for connections, no memory for those who have gone.
mod support;

use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use nix::unistd::{Pid, SysconfVar, sysconf};
use support::{Client, Server, Setup, wait_until};

fn in_each_class(configure: impl Fn(Setup) -> Setup, check: impl Fn(&str, &Server)) {
    for (class, threads) in [("sync", 1), ("threaded", 4)] {
        let setup = Setup::new().set("worker_class", class).set("threads", threads);
        check(class, &configure(setup).start());
    }
}

/// From now on a process gets no descriptor with this number or a higher one.
fn limit_descriptors(pid: Pid, most: i32) {
    let run = Command::new("prlimit").args([format!("--pid={pid}"), format!("--nofile={most}:")]).status();
    assert!(run.expect("the program prlimit").success());
}

/// What a process has used of the processors.
fn cpu_time(pid: Pid) -> Duration {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("it lives");
    let (_, fields) = stat.rsplit_once(") ").expect("a name in parentheses");
    let ticks: u64 =
        fields.split(' ').skip(11).take(2).map(|ticks| ticks.parse::<u64>().expect("ticks")).sum();
    let a_second = sysconf(SysconfVar::CLK_TCK).ok().flatten().expect("Linux says it").unsigned_abs();
    Duration::from_millis(ticks * 1000 / a_second)
}

/// What it uses while nothing happens for a second: the scenario is the time.
fn cpu_time_of_a_second(pid: Pid) -> Duration {
    let (start, before) = (Instant::now(), cpu_time(pid));
    wait_until("a second is over", || (start.elapsed() >= Duration::from_secs(1)).then_some(()));
    cpu_time(pid).saturating_sub(before)
}

/// Memory of its own, in KiB.
fn memory(pid: Pid) -> usize {
    let smaps = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).expect("it lives");
    let rows = smaps.lines().filter_map(|line| line.strip_prefix("Private_Dirty:"));
    rows.map(|row| row.trim().trim_end_matches(" kB").parse::<usize>().expect("a number")).sum()
}

fn request(client: &mut Client) {
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").expect("the kernel takes it");
}

#[test]
fn a_worker_without_descriptors_waits_for_one_without_spinning_and_says_so_once() {
    in_each_class(
        |setup| setup.set("keepalive", 60),
        |class, server| {
            let worker = server.workers()[0];
            let mut first: Vec<Client> = (0..5).map(|_| server.client()).collect();
            for client in &mut first {
                assert_eq!(client.get("/").expect("there is room").status, 200, "{class}");
            }
            let used = server.fds(worker);
            let free = (0..).find(|number| !used.contains_key(number)).expect("not all numbers are used");
            limit_descriptors(worker, free);

            let mut others: Vec<Client> = (0..10).map(|_| server.client()).collect();
            others.iter_mut().for_each(request);
            server.wait_for_log("cannot accept connections", 1);
            let used = cpu_time_of_a_second(worker);
            assert!(used < Duration::from_millis(300), "{class}: {used:?} of a second for nothing");
            for client in &mut first {
                assert_eq!(client.get("/").expect("who is in is served").status, 200, "{class}");
            }
            assert_eq!(server.count_log("cannot accept connections"), 1, "{class}: it is said once");

            // One goes, one comes, and so on to the end.
            first.clear();
            for mut client in others {
                let response = client.answer().unwrap_or_else(|broken| panic!("{class}: {broken}"));
                assert_eq!(response.status, 200, "{class}");
            }
            assert_eq!(server.get("/").status, 200, "{class}");
            assert_eq!(server.workers(), [worker], "{class}: the worker is the same");
        },
    );
}

#[test]
fn a_full_worker_accepts_nobody_and_does_not_spin() {
    in_each_class(
        |setup| setup.set("worker_connections", 5).set("keepalive", 60),
        |class, server| {
            let worker = server.workers()[0];
            let mut first: Vec<Client> = (0..5).map(|_| server.client()).collect();
            for client in &mut first {
                assert_eq!(client.get("/").expect("there is room").status, 200, "{class}");
            }
            let full = server.fds(worker).len();
            let mut others: Vec<Client> = (0..10).map(|_| server.client()).collect();
            others.iter_mut().for_each(request);
            let used = cpu_time_of_a_second(worker);
            assert!(used < Duration::from_millis(300), "{class}: {used:?} of a second for nothing");
            assert_eq!(server.fds(worker).len(), full, "{class}: nobody was let in");
            drop(first);
            for mut client in others {
                let response = client.answer().unwrap_or_else(|broken| panic!("{class}: {broken}"));
                assert_eq!(response.status, 200, "{class}");
            }
        },
    );
}

#[test]
fn another_worker_takes_what_a_full_one_leaves() {
    let server = Setup::new().set("workers", 2).set("worker_connections", 5).set("keepalive", 60).start();
    let mut clients: Vec<Client> = (0..10).map(|_| server.client()).collect();
    let mut counts = std::collections::BTreeMap::new();
    for client in &mut clients {
        *counts.entry(client.worker()).or_insert(0) += 1;
    }
    assert_eq!(counts.into_values().collect::<Vec<_>>(), [5, 5]);
}

#[test]
fn clients_that_vanish_give_their_buffers_back() {
    in_each_class(
        |setup| setup.set("body_buffer_size", "256KiB").set("keepalive", 60),
        |class, server| {
            let worker = server.workers()[0];
            let mut kept = server.client();
            assert_eq!(kept.get("/").expect("everything lazy is made").status, 200, "{class}");
            let before = server.fds(worker).len();
            let head = "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 200000\r\n\r\n";
            let mut kept_memory = Vec::new();
            for _ in 0..6 {
                let mut clients: Vec<Client> = (0..100).map(|_| server.client()).collect();
                for client in &mut clients {
                    client.send(head).and_then(|()| client.send(vec![b'x'; 150_000])).expect("half a body");
                }
                wait_until("they are all in", || (server.fds(worker).len() >= before + 100).then_some(()));
                drop(clients);
                wait_until("they are all gone", || (server.fds(worker).len() <= before).then_some(()));
                kept_memory.push(memory(worker));
            }
            // The allocator may keep what one wave needed (25 MB), and not what six of them did.
            assert!(kept_memory[5] < 50 * 1024, "{class}: KiB after each wave: {kept_memory:?}");
            assert_eq!(server.workers(), [worker], "{class}: the worker is the same");
        },
    );
}

#[test]
fn a_handler_is_told_that_its_client_has_gone() {
    in_each_class(
        |setup| setup,
        |class, server| {
            let mut client = server.client();
            client.send("GET /cancelled HTTP/1.1\r\nHost: a\r\n\r\n").expect("a request");
            client.set_read_timeout(Duration::from_millis(100));
            assert!(client.answer().is_err(), "{class}: the handler waits");
            drop(client);
            server.wait_for_log("the call was cancelled", 1);
            assert_eq!(server.get("/").status, 200, "{class}");
        },
    );
}
