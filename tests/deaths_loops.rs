//! Crash loops: workers that die again and again are replaced more and more slowly, and the others serve on.
mod support;

use std::time::{Duration, Instant};

use nix::unistd::Pid;
use support::{Server, Setup, Signal, process, wait_until};

fn pause(deaths: usize, pause: &str) -> String {
    format!("has lost {deaths} workers in a row; the next starts in {pause}")
}

/// The one worker beside `known`.
fn the_other(server: &Server, known: Pid) -> Pid {
    wait_until("there is another worker", || server.workers().into_iter().find(|&pid| pid != known))
}

#[test]
fn workers_that_cannot_boot_are_tried_more_and_more_rarely_and_each_pause_is_said_once() {
    let setup = Setup::new().set("workers", 2);
    let switch = setup.dir().join("broken");
    let server = setup.stubborn().start();
    let workers = server.workers();
    std::fs::write(&switch, "").expect("a file");
    process::signal(workers[0], Signal::SIGKILL);
    for (deaths, length) in [(2, "100ms"), (3, "200ms"), (4, "400ms"), (5, "800ms"), (6, "1.6s")] {
        server.wait_for_log(&pause(deaths, length), 1);
        assert_eq!(server.get("/pid").text().trim(), workers[1].to_string(), "the other worker serves on");
    }
    let log = server.log();
    let pauses: Vec<&str> = log.lines().filter(|line| line.contains("workers in a row")).collect();
    assert!(pauses.len() <= 6, "each pause is said once: {pauses:?}");
    std::fs::remove_file(&switch).expect("the file");
    server.wait_workers(2);
    wait_until("the new worker serves", || {
        (server.get("/pid").text().trim() != workers[1].to_string()).then_some(())
    });
}

#[test]
fn a_worker_that_crashes_soon_is_replaced_after_a_pause_and_five_good_seconds_end_the_row() {
    let server = Server::with_workers(2);
    let other = server.workers()[1];
    let start = Instant::now();
    for deaths in 1..=3 {
        let victim = the_other(&server, other);
        wait_until("it serves, so that it does not die of its start", || {
            (server.get("/pid").text() == victim.to_string()).then_some(())
        });
        process::signal(victim, Signal::SIGKILL);
        wait_until("it is dead", || process::is_dead(victim).then_some(()));
        if start.elapsed() > Duration::from_secs(4) {
            return; // this machine is so slow that a worker may have had its five seconds
        }
        if deaths > 1 {
            server.wait_for_log(&pause(deaths, if deaths == 2 { "100ms" } else { "200ms" }), 1);
        }
    }
    let survivor = the_other(&server, other);
    wait_until("it serves", || (server.get("/pid").text() == survivor.to_string()).then_some(()));
    let ready = Instant::now();
    wait_until("it has been ready for five seconds", || {
        (ready.elapsed() > Duration::from_secs(5)).then_some(())
    });
    process::signal(survivor, Signal::SIGKILL);
    server.wait_replaced(&[survivor], 2);
    assert_eq!(server.count_log("workers in a row"), 2, "the row had ended: there is no pause");
    assert!(server.workers().contains(&other), "the other worker never noticed");
}
