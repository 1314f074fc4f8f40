//! Workers that die, at any time and in any way, and what the master makes of it.
mod support;

use support::{Server, Setup, Signal, process, wait_until};

#[test]
fn a_killed_worker_is_replaced_and_the_others_are_not_disturbed() {
    let server = Server::with_workers(4);
    let workers = server.workers();
    let mut client = server.client();
    let busy = client.worker();
    client.send("GET /sleep/1500 HTTP/1.1\r\nHost: a\r\n\r\n").expect("a request");
    let victim = *workers.iter().find(|&&pid| pid != busy).expect("another worker");
    process::signal(victim, Signal::SIGKILL);
    server.wait_replaced(&[victim], 4);
    let after = server.workers();
    assert!(
        workers.iter().filter(|&&pid| pid != victim).all(|pid| after.contains(pid)),
        "{workers:?} {after:?}"
    );
    assert_eq!(client.answer().expect("another worker's request").status, 200);
    let death = format!("Worker (pid:{victim})");
    server.wait_for_log(&death, 1);
}

#[test]
fn twenty_kills_in_a_second_are_all_made_good() {
    let server = Server::with_workers(4);
    for _ in 0..20 {
        let victim = wait_until("there is a worker to kill", || server.workers().pop());
        process::signal(victim, Signal::SIGKILL);
        wait_until("it is dead", || process::is_dead(victim).then_some(()));
    }
    server.wait_workers(4);
    assert_eq!(server.get("/").status, 200);
    wait_until("no zombie is left", || (process::zombies(server.master()) == 0).then_some(()));
}

#[test]
fn an_application_that_does_not_load_ends_the_server_with_4_and_without_a_pidfile() {
    for workers in [1, 4] {
        let setup = Setup::new().set("workers", workers).set("pidfile", "unirs.pid");
        let pidfile = setup.dir().join("unirs.pid");
        let mut server =
            setup.configure(|config| config.library(std::path::Path::new("./libabsent.so"))).spawn();
        assert_eq!(server.wait_exit(), 4, "a library that is absent, {workers} workers");
        assert!(server.log().contains("libabsent.so"), "the log names the library");
        assert!(!pidfile.exists(), "the pidfile is gone, {workers} workers");
    }
}

#[test]
fn an_application_that_refuses_to_start_ends_the_server_with_4_and_its_own_message() {
    for workers in [1, 4] {
        let failure =
            Setup::new().set("workers", workers).configure(|config| config.app("start", "error")).fail();
        failure.assert(
            4,
            "the configuration says: start with an error",
            &format!("start fails, {workers} workers"),
        );
    }
}

#[test]
fn a_worker_that_does_not_boot_ends_the_server_with_3_and_without_a_pidfile() {
    for (workers, at_start) in [(1, "exit"), (4, "exit"), (1, "abort"), (4, "abort")] {
        let setup = Setup::new().set("workers", workers).set("pidfile", "unirs.pid");
        let pidfile = setup.dir().join("unirs.pid");
        let mut server = setup.configure(|config| config.app("start", at_start)).spawn();
        assert_eq!(server.wait_exit(), 3, "start: {at_start}, {workers} workers");
        assert!(!pidfile.exists(), "the pidfile is gone: {at_start}, {workers} workers");
        assert!(!server.notify().has("READY=1"), "READY=1 was never said: {at_start}");
    }
}

#[test]
fn an_application_that_hangs_at_its_start_ends_the_server_with_3_after_boot_timeout() {
    let setup = Setup::new().set("boot_timeout", 1).set("workers", 2);
    let failure = setup.configure(|config| config.app("start", "hang")).fail();
    assert_eq!(failure.code, 3, "{}", failure.log);
}

#[test]
fn exit_codes_3_and_4_of_a_worker_that_was_ready_are_deaths_like_any_other() {
    let server = Setup::new().set("workers", 2).stubborn().start();
    for code in [3, 4] {
        let mut client = server.client();
        let victim = client.worker();
        assert!(client.get(&format!("/exit/{code}")).is_err(), "a worker that left cannot answer");
        server.wait_replaced(&[victim], 2);
    }
    assert_eq!(server.get("/").status, 200);
}

#[test]
fn a_worker_that_crashes_in_a_request_takes_only_its_own_requests_with_it() {
    for crash in ["/abort", "/segv"] {
        let server = Server::with_workers(2);
        let (mut client, mut bystander) = (server.client(), server.client());
        let victim = client.worker();
        let other = wait_until("a connection to the other worker", || {
            let pid = bystander.worker();
            if pid == victim {
                bystander = server.client();
            }
            (pid != victim).then_some(pid)
        });
        bystander.send("GET /sleep/1000 HTTP/1.1\r\nHost: a\r\n\r\n").expect("a request");
        // An error or a 500: what counts is that there is an end.
        let _ = client.get(crash);
        server.wait_replaced(&[victim], 2);
        assert_eq!(bystander.answer().expect("the other worker's request").status, 200, "{crash}");
        assert!(server.workers().contains(&other), "{crash}: the other worker lives");
        server.wait_for_log(&format!("Worker (pid:{victim})"), 1);
    }
}

#[test]
fn workers_that_cannot_boot_after_the_start_are_tried_again_while_the_others_serve() {
    let setup = Setup::new().set("workers", 2);
    let switch = setup.dir().join("broken");
    let server = setup.stubborn().start();
    let workers = server.workers();
    std::fs::write(&switch, "").expect("a file");
    process::signal(workers[0], Signal::SIGKILL);
    server.wait_for_log("Booting worker", 5);
    assert_eq!(server.get("/").status, 200, "the other worker serves on");
    assert!(server.workers().contains(&workers[1]));
    std::fs::remove_file(&switch).expect("the file");
    // Connections that stay, since whoever has fewer of them takes the next.
    let mut clients = Vec::new();
    let after = wait_until("two workers serve again", || {
        clients.push(server.client());
        let served = clients.last_mut()?.worker();
        (served != workers[1]).then_some(served)
    });
    assert!(server.workers().contains(&after));
}

#[test]
fn a_ttin_whose_worker_cannot_boot_leaves_the_server_up() {
    let setup = Setup::new();
    let switch = setup.dir().join("broken");
    let server = setup.stubborn().start();
    std::fs::write(&switch, "").expect("a file");
    server.signal(Signal::SIGTTIN);
    server.wait_for_log("Booting worker", 3);
    assert_eq!(server.get("/").status, 200);
    std::fs::remove_file(&switch).expect("the file");
    server.wait_workers(2);
}

#[test]
fn a_death_has_one_line_with_all_that_is_known_of_it_and_the_status_names_it() {
    let server = Server::with_workers(2);
    let mut client = server.client();
    // A request is counted once its answer is on its way: that of the first surely when the second has one.
    let victim = client.worker();
    assert_eq!(client.worker(), victim);
    process::signal(victim, Signal::SIGKILL);
    server.wait_replaced(&[victim], 2);
    server.wait_for_log(&format!("Worker (pid:{victim}) was sent SIGKILL!"), 1);
    let line = one_line_of(&server, &format!("Worker (pid:{victim})"));
    for part in ["(slot ", "generation 1", "up ", "no request in flight", "peak memory "] {
        assert!(line.contains(part), "{part:?} in {line}");
    }
    assert!(["1", "2"].iter().any(|served| line.contains(&format!(" {served} requests served"))), "{line}");
    // What this machine counts it says; where nobody counts, Gunicorn's guess is all there is.
    let who = ["Not by the master, and not for want of memory", "Perhaps out of memory?"];
    assert!(who.iter().any(|who| line.contains(who)), "{line}");
    let status = format!("the last death: worker (pid:{victim}) was sent SIGKILL!");
    wait_until("the status names the dead", || {
        server.notify().lines().iter().any(|line| line.contains(&status)).then_some(())
    });
}

fn one_line_of(server: &Server, part: &str) -> String {
    let log = server.log();
    let lines: Vec<&str> = log.lines().filter(|line| line.contains(part)).collect();
    let [line] = lines.as_slice() else { panic!("one line with {part:?}, not {}", lines.len()) };
    (*line).to_owned()
}
