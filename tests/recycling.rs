//! Workers that have served enough: replaced one at a time, and never before the successor is ready.
mod support;

use nix::unistd::Pid;
use support::{Server, Setup, Signal, compile_c, look_within, wait_until};

/// Asks until the worker `old` does not answer any more; every request has to be answered.
fn ask_until_replaced(server: &Server, old: Pid) -> usize {
    let mut asked = 0;
    wait_until(format_args!("worker {old} is replaced"), || {
        asked += 1;
        (server.get("/pid").text() != old.to_string()).then_some(())
    });
    asked
}

#[test]
fn a_worker_is_replaced_after_max_requests_and_serves_until_its_successor_does() {
    for (class, threads) in [("sync", 1), ("threaded", 4)] {
        let setup = Setup::new().set("worker_class", class).set("threads", threads);
        let server = setup.set("max_requests", 20).start();
        let old = server.workers()[0];
        let asked = ask_until_replaced(&server, old);
        assert!(asked > 20, "{class}: replaced after {asked} requests");
        server.wait_for_log(&format!("Worker exiting (pid: {old})"), 1);
        let log = server.log();
        // How many more it has answered when the master looks is the master's turn to say.
        let reason = format!("Worker (pid:{old}) is to be replaced: it has answered ");
        let line = |text: &str| log.find(text).unwrap_or_else(|| panic!("{class}: the log says {text:?}"));
        let (reason, exit) = (line(&reason), line(&format!("Worker exiting (pid: {old})")));
        let successor = reason + log[reason..].find("Booting worker").expect("a successor");
        assert!(successor < exit, "{class}: the successor comes first");
        assert_eq!(
            server.count_log(&format!("(pid:{old}) is to be replaced")),
            1,
            "{class}: it is said once"
        );
    }
}

#[test]
fn idle_connections_of_a_replaced_worker_are_answered_and_told_to_close() {
    let server = Setup::new().set("max_requests", 5).set("keepalive", 60).start();
    let mut idle = server.client();
    let old = idle.worker();
    ask_until_replaced(&server, old);
    // Its successor serves before it knows that it is to leave.
    wait_until("it is told to leave, and tells its client to close", || {
        let response = idle.get("/pid").expect("it outlives the replacement");
        assert_eq!(response.text(), old.to_string(), "the old worker answers");
        response.closes().then_some(())
    });
    server.wait_replaced(&[old], 1);
}

#[test]
fn the_jitter_is_added_by_lot() {
    let server = Setup::new().set("max_requests", 5).set("max_requests_jitter", 1_000_000_000).start();
    let workers = server.workers();
    for _ in 0..50 {
        assert_eq!(server.get("/").status, 200);
    }
    // One run in twenty million would draw less.
    assert_eq!(server.count_log("is to be replaced"), 0);
    assert_eq!(server.workers(), workers);
}

#[test]
fn workers_that_are_due_together_are_replaced_one_after_the_other() {
    let server =
        Setup::new().set("workers", 3).set("max_worker_lifetime", 1).set("loglevel", "debug").start();
    let old = server.workers();
    server.wait_for_log("it has served for", 3);
    server.wait_for_log("is ready after", 6);
    let log = server.log();
    let steps = log.lines().filter(|line| line.contains("Booting worker") || line.contains("is ready after"));
    let later: Vec<bool> = steps.skip(6).take(6).map(|line| line.contains("Booting worker")).collect();
    assert_eq!(later, [true, false, true, false, true, false], "boot, ready, boot, ready, ...");
    wait_until("the first three are gone", || {
        (!server.workers().iter().any(|pid| old.contains(pid))).then_some(())
    });
}

#[test]
fn a_worker_that_has_grown_is_replaced_and_one_that_has_not_stays() {
    let setup = Setup::new().set("workers", 1).set("max_worker_memory", "128MiB");
    let library = compile_c(
        setup.dir(),
        "hoard",
        r#"
        #include <stdlib.h>
        #include <string.h>
        static int32_t call(void *state, void *thread, unirs_exchange *exchange) {
            (void)state; (void)thread;
            char *hoard = malloc(16 << 20);
            memset(hoard, 1, 16 << 20);
            return unirs_text(host, exchange, 200, hoard[5] ? "hoarded" : "");
        }
        "#,
        "",
    );
    let server = setup.configure(|config| config.library(&library)).start();
    let old = server.workers();
    assert_eq!(server.get("/").status, 200);
    let replaced = look_within(std::time::Duration::from_secs(7), || {
        (server.count_log("is to be replaced") > 0).then_some(())
    });
    assert_eq!(replaced, None, "16 MiB are not too much");
    for _ in 0..10 {
        assert_eq!(server.get("/").status, 200);
    }
    server.wait_for_log("MiB of memory (max_worker_memory)", 1);
    server.wait_replaced(&old, 1);
    assert_eq!(server.get("/").status, 200);
}

#[test]
fn a_successor_that_cannot_boot_leaves_the_outdated_worker_in_its_place() {
    let setup = Setup::new().set("max_requests", 10);
    let switch = setup.dir().join("broken");
    let server = setup.stubborn().start();
    let old = server.workers()[0];
    std::fs::write(&switch, "").expect("a file");
    for _ in 0..20 {
        assert_eq!(server.get("/pid").text().trim(), old.to_string());
    }
    server.wait_for_log("workers in a row", 2);
    assert_eq!(server.get("/pid").text().trim(), old.to_string(), "it serves on");
    std::fs::remove_file(&switch).expect("the file");
    wait_until("the successor serves", || {
        (server.get("/pid").text().trim() != old.to_string()).then_some(())
    });
    server.wait_replaced(&[old], 1);
}

#[test]
fn a_reload_changes_the_limits() {
    let mut server = Setup::new().set("max_requests", 10).start();
    server.configure(|config| config.unset("max_requests"));
    let workers = server.reload(1);
    for _ in 0..30 {
        assert_eq!(server.get("/").status, 200);
    }
    assert_eq!(server.workers(), workers);
    server.configure(|config| config.set("max_requests", 10));
    let worker = server.reload(1)[0];
    server.signal(Signal::SIGTTIN);
    server.wait_workers(2);
    server.signal(Signal::SIGTTOU);
    wait_until("the worker is replaced", || {
        assert_eq!(server.get("/").status, 200);
        server.workers().iter().all(|&pid| pid != worker).then_some(())
    });
}
