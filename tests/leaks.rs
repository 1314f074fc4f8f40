//! Descriptors and zombies: nothing is left over, and no process holds what is not its own.
mod support;

use std::collections::BTreeSet;

use nix::unistd::Pid;
use support::{Load, Server, Setup, Signal, Style, process, wait_until};

/// Waits until a process holds no more than `most` descriptors: some may still be on their way out.
fn wait_for_fds(server: &Server, pid: Pid, most: usize, scenario: &str) {
    wait_until(format_args!("{pid} holds {most} descriptors at most, {scenario}"), || {
        (server.fds(pid).len() <= most).then_some(())
    });
}

#[test]
fn two_thousand_connections_leave_no_descriptor_behind() {
    for class in ["sync", "threaded"] {
        let server = Setup::new().set("worker_class", class).set("threads", 4).start();
        let worker = server.workers()[0];
        assert_eq!(server.get("/").status, 200, "everything lazy is made");
        let before = server.fds(worker).len();
        let load = Load::start(server.address(), 4, Style::Close, "/");
        load.wait_for(2_000);
        load.finish().assert_all_answered(class);
        wait_for_fds(&server, worker, before, class);
        for _ in 0..100 {
            // Half a request, and gone.
            server.client().send("GET / HTTP/1.1\r\n").expect("a few bytes");
        }
        wait_for_fds(&server, worker, before, class);
    }
}

#[test]
fn fifty_reloads_leave_neither_descriptors_nor_zombies_behind() {
    let server = Setup::new().set("workers", 2).set("pidfile", "unirs.pid").start();
    let (master, worker) = (server.fds(server.master()).len(), server.fds(server.workers()[0]).len());
    for _ in 0..50 {
        server.reload(2);
    }
    wait_for_fds(&server, server.master(), master, "the master after fifty reloads");
    wait_for_fds(&server, server.workers()[0], worker, "a worker after fifty reloads");
    wait_until("no zombie is left", || (process::zombies(server.master()) == 0).then_some(()));
    assert_eq!(server.get("/").status, 200);
}

#[test]
fn refused_reloads_leave_neither_descriptors_nor_zombies_behind() {
    let mut server = Server::with_workers(2);
    let (workers, before) = (server.workers(), server.fds(server.master()).len());
    server.configure(|config| config.app("start", "error").set("bind", vec!["127.0.0.1:0", "127.0.0.2:0"]));
    for count in 1..=5 {
        server.signal(Signal::SIGHUP);
        server.wait_for_log("Reload refused", count);
    }
    wait_until("only the old workers are left", || (server.workers() == workers).then_some(()));
    wait_for_fds(&server, server.master(), before, "after five refused reloads");
    wait_until("no zombie is left", || (process::zombies(server.master()) == 0).then_some(()));
}

#[test]
fn deaths_leave_neither_descriptors_nor_zombies_behind() {
    let server = Server::with_workers(2);
    let before = server.fds(server.master()).len();
    for _ in 0..10 {
        let victim = server.wait_workers(2)[0];
        process::signal(victim, Signal::SIGKILL);
        server.wait_replaced(&[victim], 2);
    }
    wait_for_fds(&server, server.master(), before, "after ten deaths");
    wait_until("no zombie is left", || (process::zombies(server.master()) == 0).then_some(()));
}

#[test]
fn a_worker_shares_no_socket_with_anybody_but_the_listeners() {
    let server = Setup::new().set("workers", 3).set("bind", vec!["127.0.0.1:0", "unix:unirs.sock"]).start();
    // A worker of the start, one that was forked later, and one of a later generation hold the same.
    let victim = server.workers()[1];
    process::signal(victim, Signal::SIGKILL);
    server.wait_replaced(&[victim], 3);
    assert_shares_listeners_only(&server, 2, "after a death");
    server.reload(3);
    assert_shares_listeners_only(&server, 2, "after a reload");
}

fn assert_shares_listeners_only(server: &Server, listeners: usize, scenario: &str) {
    // A worker that was forked a moment ago has not closed yet what is not its own.
    let shared = || {
        let mut holders: Vec<BTreeSet<String>> =
            server.workers().into_iter().map(|pid| server.sockets(pid)).collect();
        holders.push(server.sockets(server.master()));
        let common = holders.iter().cloned().reduce(|a, b| &a & &b).expect("there are processes");
        let pairs =
            holders.iter().enumerate().flat_map(|(at, a)| holders[at + 1..].iter().map(move |b| a & b));
        (common.len() == listeners && pairs.into_iter().all(|pair| pair == common)).then_some(())
    };
    wait_until(format_args!("{scenario}: any two processes share the {listeners} listeners alone"), shared);
}

#[test]
fn a_worker_holds_no_pidfile_and_no_folder_and_no_epoll_of_the_master() {
    let server =
        Setup::new().set("workers", 2).set("pidfile", "unirs.pid").set("accesslog", "access.log").start();
    for worker in server.workers() {
        let fds = server.fds(worker);
        let polls = fds.values().filter(|what| what.contains("eventpoll")).count();
        assert_eq!(polls, 1, "one epoll for each worker: {fds:?}");
        for what in fds.values() {
            let known = ["socket:", "pipe:", "anon_inode:", "/memfd:", "/dev/null"];
            let log = what.ends_with(".log");
            assert!(
                log || known.iter().any(|start| what.starts_with(start)),
                "{worker} holds {what}: {fds:?}"
            );
        }
    }
}

#[test]
fn a_child_of_the_application_inherits_nothing_of_the_server() {
    let server = Setup::new().set("accesslog", "access.log").set("pidfile", "unirs.pid").stubborn().start();
    let list = server.get("/child-fds").text();
    let fds: Vec<&str> = list.split_whitespace().collect();
    // What the test itself inherited (from a terminal, a CI runner) passes through the server, as through any program.
    let foreign = descriptors_of_a_child();
    assert!(
        fds.iter().all(|number| foreign.iter().any(|other| other == number)),
        "{fds:?} beside {foreign:?}"
    );
}

fn descriptors_of_a_child() -> Vec<String> {
    let script = "for fd in /proc/self/fd/*; do [ -e $fd ] && echo ${fd##*/}; done; true";
    let output = std::process::Command::new("sh").arg("-c").arg(script).output().expect("a shell");
    String::from_utf8_lossy(&output.stdout).split_whitespace().map(str::to_owned).collect()
}
