//! The roll: a canary first, then one old worker for each new one, and all of it taken back when that fails. That nobody
//! is missing meanwhile is read from STATUS, which says every change.
mod support;

use std::net::TcpListener;
use std::path::Path;

use support::{Client, Config, Load, Server, Setup, Signal, Style, compile_c, process, wait_until};

/// Workers of which one at a time is exchanged. Those that wait for the file `go` do so in its folder.
fn rolling(workers: i64) -> Server {
    Setup::new().set("workers", workers).set("max_surge", 1).start()
}

/// How many workers were Ready, all generations together, each time that STATUS said so.
fn capacities(server: &Server) -> Vec<usize> {
    let lines = server.notify().lines();
    let serving = lines.iter().skip_while(|line| *line != "READY=1");
    serving.filter_map(|line| line.strip_prefix("STATUS=generation")).map(capacity).collect()
}

fn capacity(status: &str) -> usize {
    let parts = status.split("; ").filter_map(|part| part.split_once(" of ")?.0.rsplit_once(": "));
    parts.map(|(_, ready)| ready.parse::<usize>().expect("a number of workers")).sum()
}

/// It takes at least so many changes to exchange anybody.
fn assert_never_fewer(server: &Server, workers: usize) {
    let capacities = capacities(server);
    assert!(capacities.len() > 3, "{capacities:?}");
    assert!(capacities.iter().all(|&ready| ready >= workers), "never fewer than {workers}: {capacities:?}");
}

/// STATUS says so now.
fn wait_for_status(server: &Server, sentence: &str) {
    wait_until(format_args!("STATUS says {sentence:?}"), || {
        let lines = server.notify().lines();
        let last = lines.iter().rfind(|line| line.starts_with("STATUS="))?;
        last.contains(sentence).then_some(())
    });
}

/// Only this generation serves: so the server says, and so it answers.
fn wait_for_generation(server: &Server, number: u32, workers: usize) {
    wait_for_status(server, &format!("STATUS=generation {number}: {workers} of {workers} workers ready; "));
    server.wait_workers(workers);
    for _ in 0..2 * workers {
        assert_eq!(server.get("/generation").text(), number.to_string());
    }
}

fn hup(server: &mut Server, change: impl FnOnce(Config) -> Config) {
    server.configure(change);
    server.signal(Signal::SIGHUP);
}

fn go(server: &Server) {
    std::fs::write(server.path("go"), "").expect("a file");
}

#[test]
fn a_start_boots_one_worker_and_the_others_when_it_is_ready() {
    let server = Setup::new().set("workers", 3).configure(|config| config.app("ready", "file:go")).spawn();
    server.wait_for_log("Booting worker", 1);
    // The canary is asked again and again.
    wait_until("it has been loaded", || server.log().contains("Application: ").then_some(()));
    assert_eq!(server.count_log("Booting worker"), 1);
    go(&server);
    server.wait_ready();
    assert_eq!((server.workers().len(), server.count_log("Booting worker")), (3, 3));
}

#[test]
fn workers_are_exchanged_one_by_one_and_nobody_is_missing() {
    let mut server = rolling(4);
    let load = Load::start(server.address(), 8, Style::KeepAlive, "/");
    for generation in [2, 3] {
        hup(&mut server, |config| config);
        wait_for_generation(&server, generation, 4);
        load.wait_for(50);
    }
    load.finish().assert_all_answered("two rolls");
    assert_never_fewer(&server, 4);
    assert!(capacities(&server).iter().all(|&ready| ready <= 5), "{:?}", capacities(&server));
}

#[test]
fn the_number_of_workers_changes_with_a_roll() {
    let mut server = rolling(4);
    hup(&mut server, |config| config.set("workers", 2));
    wait_for_generation(&server, 2, 2);
    hup(&mut server, |config| config.set("workers", 6));
    wait_for_generation(&server, 3, 6);
    assert_never_fewer(&server, 2);
}

#[test]
fn a_canary_that_fails_leaves_the_very_same_workers_whatever_its_failure_is() {
    let mut server = Setup::new().set("workers", 2).set("boot_timeout", 5).start();
    let workers = server.workers();
    let abi = compile_c(
        server.dir(),
        "abi",
        "static int32_t call(void *s, void *t, unirs_exchange *e) \
         { (void)s; (void)t; (void)e; (void)host; return 0; }",
        ".abi = 99",
    );
    let app = |key: &'static str, value: &'static str| move |config: Config| config.app(key, value);
    let mut refused = 0;
    let mut refuse = |change: &dyn Fn(Config) -> Config, why: &str| {
        hup(&mut server, change);
        refused += 1;
        server.wait_for_log("Reload refused, generation 1 serves on: ", refused);
        let log = server.log();
        let verdict = log.lines().rfind(|line| line.contains("Reload refused")).unwrap_or_default();
        assert!(verdict.contains(why), "{why:?} in {verdict:?}");
        wait_until(format_args!("only the old workers are left: {why}"), || {
            (server.workers() == workers).then_some(())
        });
        assert_eq!(server.get("/generation").text(), "1", "{why}");
    };
    refuse(&|config| config.library(&abi), "found version 99 of the application interface");
    refuse(&|config| config.library(Path::new("/nowhere/libshop.so")), "/nowhere/libshop.so");
    refuse(&|config| config.library(&support::test_app()).app("start", "error"), "start with an error");
    refuse(&app("start", "panic"), "start with a panic");
    refuse(&app("start", "exit"), "exit");
    refuse(&app("start", "abort"), "SIGABRT");
    refuse(&app("start", "hang"), "it was not ready within boot_timeout");
    refuse(&|config| config.app("start", "ok").app("ready", "no"), "it was not ready within boot_timeout");
    hup(&mut server, |config| config.app("ready", "yes"));
    wait_until("a good reload after all of them", || (server.get("/generation").text() != "1").then_some(()));
}

#[test]
fn a_later_failure_brings_the_old_workers_back_and_nobody_is_missing() {
    // The old ones take their time to come back.
    let slow = |config: Config| config.app("start", "slow:200");
    let mut server = Setup::new().set("workers", 4).set("max_surge", 1).configure(slow).start();
    let load = Load::start(server.address(), 4, Style::Close, "/");
    hup(&mut server, |config| config.app("start", "beyond:3:error"));
    server.wait_for_log("Reload refused, generation 1 serves on: ", 1);
    wait_for_generation(&server, 1, 4);
    load.wait_for(20);
    load.finish().assert_all_answered("a reload that was taken back");
    assert_never_fewer(&server, 4);
    assert_eq!(server.log().matches("start with an error").count(), 1, "the reason is said once");
    hup(&mut server, |config| config.app("start", "ok"));
    wait_for_generation(&server, 3, 4);
    assert_never_fewer(&server, 4);
}

#[test]
fn a_worker_that_hangs_late_in_the_roll_takes_it_back_too() {
    let mut server = Setup::new().set("workers", 3).set("max_surge", 1).set("boot_timeout", 5).start();
    hup(&mut server, |config| config.app("start", "beyond:2:hang"));
    server.wait_for_log("it was not ready within boot_timeout", 1);
    wait_for_generation(&server, 1, 3);
    assert_never_fewer(&server, 3);
}

#[test]
fn hup_during_a_roll_goes_on_with_the_newest_configuration() {
    let mut server = rolling(4);
    hup(&mut server, |config| config.app("start", "beyond:2:hang"));
    wait_for_status(&server, "generation 2 arriving: 2 of 4 workers ready");
    hup(&mut server, |config| config.app("start", "ok").set("workers", 3));
    wait_for_generation(&server, 3, 3);
    assert_eq!(server.count_log("Reload refused"), 0);
    assert_never_fewer(&server, 3);
    let until_then = capacities(&server);
    let full = until_then.iter().take_while(|&&ready| ready >= 4).count();
    assert!(full > 6, "four until the new three are all Ready: {until_then:?}");
}

#[test]
fn a_stop_in_the_middle_of_a_roll_ends_both_generations() {
    for signal in [Signal::SIGTERM, Signal::SIGQUIT] {
        let mut server = rolling(3);
        hup(&mut server, |config| config.app("start", "beyond:1:hang"));
        wait_for_status(&server, "generation 2 arriving: 1 of 3 workers ready");
        let workers = server.workers();
        server.signal(signal);
        assert_eq!(server.wait_exit(), 0, "{signal}");
        assert!(workers.into_iter().all(process::is_dead), "{signal}");
    }
}

#[test]
fn a_worker_of_either_side_that_dies_in_a_roll_is_replaced_on_its_side() {
    let mut server = rolling(3);
    let old = server.workers();
    hup(&mut server, |config| config.app("start", "beyond:1:file:go"));
    wait_for_status(
        &server,
        "generation 1: 2 of 3 workers ready; generation 2 arriving: 1 of 3 workers ready",
    );
    let canary = server.workers().into_iter().find(|pid| !old.contains(pid)).expect("a new worker");
    let booted = server.count_log("Booting worker");
    process::signal(canary, Signal::SIGKILL);
    server.wait_for_log("Booting worker", booted + 1);
    let left = old.into_iter().find(|&pid| !process::is_dead(pid)).expect("an old worker");
    process::signal(left, Signal::SIGKILL);
    server.wait_for_log("Booting worker", booted + 2);
    wait_for_status(
        &server,
        "generation 1: 2 of 3 workers ready; generation 2 arriving: 1 of 3 workers ready",
    );
    go(&server);
    wait_for_generation(&server, 2, 3);
    assert_eq!(server.count_log("Reload refused"), 0);
}

#[test]
fn a_reload_whose_workers_keep_dying_is_taken_back() {
    let mut server = rolling(2);
    // The canary is Ready each time, and dies; the other one keeps the reload from its end.
    hup(&mut server, |config| config.app("dies", true).app("start", "beyond:1:hang"));
    server.wait_for_log("Reload refused, ", 1);
    wait_for_generation(&server, 1, 2);
}

#[test]
fn an_address_that_is_to_be_dropped_is_served_until_the_commit() {
    let extra = TcpListener::bind("127.0.0.1:0").expect("a free port").local_addr().expect("an address");
    let binds = vec!["127.0.0.1:0".to_owned(), extra.to_string()];
    let mut server = Setup::new().set("workers", 1).set("max_surge", 1).set("bind", binds).start();
    hup(&mut server, |config| {
        config.set("bind", vec!["127.0.0.1:0"]).set("workers", 3).app("start", "beyond:1:file:go")
    });
    wait_for_status(&server, "generation 2 arriving: 1 of 3 workers ready");
    let response = Client::tcp(extra).expect("it listens").last_get("/generation").expect("it is served");
    assert_eq!(response.text(), "1");
    go(&server);
    wait_for_generation(&server, 2, 3);
    wait_until("the dropped address refuses", || Client::tcp(extra).is_err().then_some(()));
}

#[test]
fn an_old_master_that_stops_in_a_roll_leaves_the_new_one_its_listeners() {
    let setup = Setup::new().set("workers", 2).set("max_surge", 1).set("pidfile", "unirs.pid");
    let mut server = setup.start();
    server.signal(Signal::SIGUSR2);
    server.wait_for_log("serves beside this one", 1);
    hup(&mut server, |config| config.app("start", "beyond:1:hang"));
    server.wait_for_log("Booting worker", 6);
    server.signal(Signal::SIGTERM);
    assert_eq!(server.wait_exit(), 0);
    server.wait_for_log("Master has been promoted", 1);
    let new = server.adopt_daemon("unirs.pid");
    for _ in 0..4 {
        assert_eq!(server.get("/").status, 200);
    }
    process::signal(new, Signal::SIGTERM);
    wait_until("the new master ends", || process::is_dead(new).then_some(()));
}
