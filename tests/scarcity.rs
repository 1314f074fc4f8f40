//! When the machine has nothing left to give: no processes, no disk, no /proc, no right to the pidfile's folder, no time.
mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::time::{Duration, Instant};

use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit};
use nix::sys::signal::killpg;
use nix::unistd::Pid;
use support::{Server, Setup, Signal, is_root, process, unirs, wait_until};

const NOBODY: [&str; 3] = ["--reuid=65534", "--regid=65534", "--clear-groups"];

/// A server that a script starts, which ends in `exec`.
fn started_by(setup: Setup, script: &str) -> Setup {
    let path = setup.dir().join("start");
    let setup = setup.program(&path);
    fs::remove_file(&path).expect("the link to the program");
    fs::write(&path, format!("#!/bin/sh\nset -e\n{script} \"$@\"\n")).expect("a file");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("a file of our own");
    setup
}

/// A server of its own mount namespace, in which `mounts` is done first. Only root can have that.
fn with_mounts(setup: Setup, mounts: &str) -> Setup {
    let inner = format!("{mounts} && exec {} \"$@\"", unirs().display());
    started_by(setup, &format!("exec unshare --mount --propagation private sh -c '{inner}' sh"))
}

/// The server as somebody without privileges: neither the limit of processes nor the mode of a folder holds for root.
fn as_nobody(setup: Setup) -> Setup {
    if !nix::unistd::geteuid().is_root() {
        return setup;
    }
    let setup = setup.user("nobody").configure(|config| config.unset("user"));
    // The build folder may be in root's home.
    let binary = setup.dir().join("unirs");
    fs::copy(unirs(), &binary).expect("a copy of the binary");
    let nobody = NOBODY.join(" ");
    started_by(setup, &format!("chmod 777 . notify.sock\nexec setpriv {nobody} {}", binary.display()))
}

fn limit_processes(pid: Pid, most: &str) {
    let limit = ["prlimit", &format!("--pid={pid}"), &format!("--nproc={most}:")].map(str::to_owned);
    let run = match nix::unistd::geteuid().is_root() {
        // As the process's own user: even root may lack the right to another's limits.
        true => Command::new("setpriv").args(NOBODY).args(limit).status(),
        false => Command::new(&limit[0]).args(&limit[1..]).status(),
    };
    assert!(run.expect("the program prlimit").success());
}

#[test]
fn a_fork_that_fails_is_tried_again_after_a_pause_while_the_others_serve() {
    let server = as_nobody(Setup::new().set("workers", 2)).start();
    let workers = server.workers();
    limit_processes(server.master(), "1");
    process::signal(workers[0], Signal::SIGKILL);
    for pause in ["1s", "2s"] {
        server.wait_for_log(&format!("tries again in {pause}"), 1);
        assert_eq!(server.get("/pid").text(), workers[1].to_string(), "the other worker serves on");
    }
    assert!(server.log().contains("the limit of processes is reached"), "the log says what to look at");
    let (_, most) = getrlimit(Resource::RLIMIT_NPROC).expect("a limit, or none");
    let most = if most == RLIM_INFINITY { "unlimited".to_owned() } else { most.to_string() };
    limit_processes(server.master(), &most);
    server.wait_workers(2);
    wait_until("the new worker serves", || {
        (server.get("/pid").text() != workers[1].to_string()).then_some(())
    });
    assert_eq!(server.count_log("tries again in 1s"), 1, "each pause is said once");
}

#[test]
fn descriptors_of_the_master_that_are_gone_keep_nobody_from_being_served() {
    let server = Server::with_workers(2);
    let workers = server.workers();
    let used = server.fds(server.master());
    let free = (0..).find(|number| !used.contains_key(number)).expect("not all numbers are used");
    let limit = |most: &str| {
        let arguments = [format!("--pid={}", server.master()), format!("--nofile={most}:")];
        assert!(Command::new("prlimit").args(arguments).status().expect("prlimit").success());
    };
    // One number comes free with the pair of the worker that dies, and a pair takes two.
    limit(&free.to_string());
    process::signal(workers[0], Signal::SIGKILL);
    server.wait_for_log("cannot start a worker: too many open files", 1);
    assert_eq!(server.get("/pid").text(), workers[1].to_string(), "the other worker serves on");
    limit("1024");
    server.wait_workers(2);
}

#[test]
fn a_full_disk_under_the_logs_stops_nobody_and_the_logs_go_on_when_there_is_room() {
    if !is_root() {
        return;
    }
    let setup = Setup::new()
        .set("errorlog", "disk/error.log")
        .set("accesslog", "disk/access.log")
        .set("loglevel", "info");
    let setup = with_mounts(
        setup,
        "mkdir disk; mount -t tmpfs -o size=64k none disk; head -c 57344 /dev/zero >disk/filler",
    );
    let server = setup.spawn();
    server.wait_ready();
    let disk = format!("/proc/{}/root{}", server.master(), server.path("disk").display());
    let read = |name: &str| fs::read_to_string(format!("{disk}/{name}")).unwrap_or_default();
    let listening = wait_until("the log says where it listens", || {
        let log = read("error.log");
        let rest = log.split("Listening at: http://").nth(1)?;
        Some(rest.split(' ').next()?.parse().expect("an address"))
    });
    let get = || support::Client::tcp(listening).and_then(|mut client| client.last_get("/"));
    for number in 0..400 {
        assert_eq!(get().unwrap_or_else(|broken| panic!("request {number}: {broken}")).status, 200);
    }
    let kept = read("access.log").lines().count();
    assert!(kept < 400, "the disk is full after {kept} lines");
    fs::remove_file(format!("{disk}/filler")).expect("the filler");
    for _ in 0..10 {
        assert_eq!(get().expect("an answer").status, 200);
    }
    wait_until("the log goes on", || (read("access.log").lines().count() >= kept + 10).then_some(()));
    let torn: Vec<String> = read("access.log")
        .lines()
        .filter(|line| !line.starts_with("127.0.0.1 - - ["))
        .map(str::to_owned)
        .collect();
    assert!(torn.is_empty(), "no line is torn: {torn:?}");
}

#[test]
fn standard_error_that_nobody_reads_stops_nobody() {
    let (_reader, writer) = std::io::pipe().expect("a pipe");
    let setup = Setup::new().set("bind", vec!["unix:unirs.sock"]).set("loglevel", "debug");
    let mut server = setup.stderr(writer).start();
    let socket = server.path("unirs.sock");
    for _ in 0..30 {
        let old = server.workers();
        server.signal(Signal::SIGHUP);
        server.wait_replaced(&old, 1);
        let mut client = support::Client::unix(&socket).expect("the server listens");
        assert_eq!(client.get(&format!("/log/{}", "x".repeat(3000))).expect("an answer").status, 200);
    }
    server.signal(Signal::SIGTERM);
    assert_eq!(server.wait_exit(), 0);
}

#[test]
fn a_pidfile_that_cannot_be_removed_is_said_and_the_exit_is_a_good_one() {
    let setup = Setup::new().set("pidfile", "run/unirs.pid");
    let run = setup.dir().join("run");
    fs::create_dir(&run).expect("a folder");
    fs::set_permissions(&run, fs::Permissions::from_mode(0o777)).expect("a folder of our own");
    let mut server = as_nobody(setup).start();
    fs::set_permissions(&run, fs::Permissions::from_mode(0o555)).expect("a folder of our own");
    server.signal(Signal::SIGTERM);
    assert_eq!(server.wait_exit(), 0);
    assert!(server.log().contains("cannot remove"), "it is said");
    fs::set_permissions(&run, fs::Permissions::from_mode(0o755)).expect("so that the folder can be removed");
}

#[test]
fn a_server_without_proc_serves_reloads_and_says_what_it_cannot_do() {
    if !is_root() {
        return;
    }
    let setup = Setup::new().set("workers", 2).set("max_worker_memory", "1GiB").set("proc_name", "blind");
    let mut server = with_mounts(setup, "mount -t tmpfs none /proc").start();
    assert_eq!(server.get("/").status, 200);
    // Without /proc no process has a title, by which tests know the workers.
    server.signal(Signal::SIGHUP);
    server.wait_for_log("Reloaded: generation 2 serves", 1);
    server.wait_for_log("max_worker_memory has no effect", 1);
    let victim = server.get("/pid").text().trim().parse().expect("a pid");
    process::signal(Pid::from_raw(victim), Signal::SIGKILL);
    server.wait_for_log("Booting worker", 5);
    assert_eq!(server.get("/").status, 200);
    server.signal(Signal::SIGTERM);
    assert_eq!(server.wait_exit(), 0);
    assert_eq!(server.count_log("max_worker_memory has no effect"), 1, "it is said once");
}

#[test]
fn a_machine_that_was_frozen_for_longer_than_every_limit_murders_nobody() {
    for (class, threads) in [("sync", 1), ("threaded", 2)] {
        let setup = Setup::new().set("workers", 2).set("worker_class", class).set("threads", threads);
        let server = setup.set("timeout", 4).start();
        let workers = server.workers();
        let mut client = server.client();
        client.send("GET /burn/300 HTTP/1.1\r\nHost: a\r\n\r\n").expect("a request");
        // The whole machine, as far as the server is concerned, for longer than `timeout`.
        killpg(server.master(), Signal::SIGSTOP).expect("the group of the server");
        let frozen = Instant::now();
        wait_until("the time is over", || (frozen.elapsed() > Duration::from_secs(6)).then_some(()));
        killpg(server.master(), Signal::SIGCONT).expect("the group of the server");
        assert_eq!(client.answer().expect("the request goes on").status, 200, "{class}");
        assert_eq!(server.get("/").status, 200, "{class}");
        server.wait_for_log("every time limit moves by that", 1);
        assert_eq!(server.workers(), workers, "{class}: nobody was replaced");
        assert_eq!(server.count_log("WORKER TIMEOUT"), 0, "{class}");
    }
}
