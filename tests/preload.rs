//! `preload_app`: one start for each generation, in a mold that forks the workers, and HUP loads new code all the same.
mod support;

use std::fs;
use std::path::{Path, PathBuf};

use nix::unistd::Pid;
use support::{Load, Server, Setup, Signal, Style, compile_c, process, wait_until};

/// An application in C that says where it was started and forked, and answers `TEXT SLOT`.
fn application(folder: &Path, name: &str, text: &str) -> PathBuf {
    let source = r#"
        #include <stdio.h>
        #include <unistd.h>
        static unsigned slot;
        static int32_t post_fork(void *state, const unirs_worker *worker, unirs_error *error) {
            (void)state; (void)error;
            slot = worker->slot;
            fprintf(stderr, "app: TEXT forked into slot %u, %s\n", slot, worker->pid == getpid() ? "itself" : "another");
            return UNIRS_OK;
        }
        __attribute__((constructor)) static void loaded(void) { fprintf(stderr, "app: TEXT loaded\n"); }
        static int32_t call(void *state, void *thread, unirs_exchange *exchange) {
            (void)state; (void)thread;
            char answer[64];
            snprintf(answer, sizeof answer, "TEXT %u", slot);
            return unirs_text(host, exchange, 200, answer);
        }
    "#;
    compile_c(folder, name, &source.replace("TEXT", text), ".post_fork = post_fork")
}

fn preloading(workers: i64) -> Setup {
    Setup::new().set("workers", workers).set("preload_app", true)
}

/// A server whose library `libshop.so` says `old`, and another library that says `new`.
fn shop(workers: i64) -> (Server, PathBuf, PathBuf) {
    let setup = preloading(workers);
    let (old, new) = (application(setup.dir(), "old", "old"), application(setup.dir(), "new", "new"));
    let shop = setup.dir().join("libshop.so");
    fs::copy(&old, &shop).expect("a copy");
    (setup.configure(|config| config.library(&shop)).start(), shop, new)
}

/// The children of the master by what they call themselves.
fn titled(server: &Server, title: &str) -> Vec<Pid> {
    let mut children = process::children(server.master());
    children
        .retain(|&pid| !process::is_dead(pid) && process::title(pid).starts_with(&format!("unirs: {title}")));
    children.sort();
    children
}

fn wait_workers(server: &Server, count: usize, not: &[Pid]) -> Vec<Pid> {
    wait_until(format_args!("there are {count} workers beside none of {not:?}"), || {
        let workers = titled(server, "worker");
        (workers.len() == count && !workers.iter().any(|pid| not.contains(pid))).then_some(workers)
    })
}

fn wait_mold(server: &Server, not: Pid) -> Pid {
    wait_until(format_args!("there is one mold, and it is not {not}"), || {
        let molds = titled(server, "mold");
        (molds.len() == 1 && molds[0] != not).then(|| molds[0])
    })
}

const NOBODY: Pid = Pid::from_raw(0);

#[test]
fn the_application_starts_once_and_every_worker_is_told_that_it_was_forked() {
    let (server, ..) = shop(3);
    wait_workers(&server, 3, &[]);
    assert_eq!(server.count_log("app: old loaded"), 1, "one load for three workers");
    for slot in 0..3 {
        assert_eq!(server.count_log(&format!("app: old forked into slot {slot}, itself")), 1);
    }
    assert!(server.get("/").text().starts_with("old "));
    let mold = wait_mold(&server, NOBODY);
    let maps = |pid: Pid| fs::read_to_string(format!("/proc/{pid}/maps")).expect("maps");
    assert!(maps(mold).contains("memfd:libshop.so"), "the mold has the library");
    assert!(!maps(server.master()).contains("libshop"), "the master has not");
    assert_eq!(process::status_row(mold, "PPid"), Some(server.master().to_string()));
}

#[test]
fn hup_makes_a_new_mold_of_the_new_code() {
    let (server, shop, new) = shop(2);
    let (mold, workers) = (wait_mold(&server, NOBODY), wait_workers(&server, 2, &[]));
    fs::rename(&new, &shop).expect("mv");
    server.signal(Signal::SIGHUP);
    wait_mold(&server, mold);
    wait_workers(&server, 2, &workers);
    assert!(server.get("/").text().starts_with("new "));
    assert_eq!(server.count_log("app: new loaded"), 1);
    wait_until("the old mold is gone", || process::is_dead(mold).then_some(()));
}

#[test]
fn a_worker_that_is_killed_is_forked_anew_from_the_old_code() {
    let (server, shop, new) = shop(2);
    fs::rename(&new, &shop).expect("mv");
    let workers = wait_workers(&server, 2, &[]);
    process::signal(workers[0], Signal::SIGKILL);
    wait_workers(&server, 2, &workers[..1]);
    process::signal(workers[1], Signal::SIGKILL);
    wait_workers(&server, 2, &workers);
    assert!(server.get("/").text().starts_with("old "));
    assert_eq!(server.count_log("app: old loaded"), 1);
    assert_eq!(server.count_log("app: new loaded"), 0);
}

#[test]
fn a_mold_that_dies_is_made_anew_while_its_workers_serve() {
    let (server, shop, new) = shop(2);
    fs::rename(&new, &shop).expect("mv");
    let workers = wait_workers(&server, 2, &[]);
    let mut mold = wait_mold(&server, NOBODY);
    for signal in [Signal::SIGKILL, Signal::SIGTERM] {
        process::signal(mold, signal);
        mold = wait_mold(&server, mold);
        assert_eq!(wait_workers(&server, 2, &[]), workers, "its workers are not touched");
    }
    for worker in &workers {
        process::signal(*worker, Signal::SIGKILL);
    }
    wait_workers(&server, 2, &workers);
    assert!(server.get("/").text().starts_with("old "), "the image is that of the generation");
}

#[test]
fn a_mold_that_is_killed_with_its_workers_is_back_with_them() {
    let (server, ..) = shop(3);
    let all = [wait_workers(&server, 3, &[]), vec![wait_mold(&server, NOBODY)]].concat();
    for pid in &all {
        process::signal(*pid, Signal::SIGKILL);
    }
    wait_workers(&server, 3, &all);
    assert!(server.get("/").text().starts_with("old "));
    wait_until("no zombie is left", || (process::zombies(server.master()) == 0).then_some(()));
}

/// An application that has a thread when `start` returns.
fn threaded_application(folder: &Path) -> PathBuf {
    let source = r#"
        #include <pthread.h>
        #include <unistd.h>
        static void *idle(void *nothing) { for (;;) pause(); return nothing; }
        __attribute__((constructor)) static void begin(void) {
            pthread_t thread;
            pthread_create(&thread, 0, idle, 0);
        }
        static int32_t call(void *state, void *thread, unirs_exchange *exchange) {
            (void)state; (void)thread;
            return unirs_text(host, exchange, 200, "threads");
        }
    "#;
    compile_c(folder, "threads", source, ".before_fork = 0")
}

const THREADS: &str = "the application has started 1 threads, which its workers would not have";

#[test]
fn an_application_with_threads_is_refused() {
    let setup = preloading(2);
    let library = threaded_application(setup.dir());
    let failure = setup.configure(|config| config.library(&library)).fail();
    failure.assert(4, THREADS, "at the start");

    let setup = preloading(2).arg("--check-config");
    let library = threaded_application(setup.dir());
    let failure = setup.configure(|config| config.library(&library)).fail();
    failure.assert(1, THREADS, "when the configuration is checked");

    let (mut server, ..) = shop(2);
    let workers = wait_workers(&server, 2, &[]);
    let library = threaded_application(server.dir());
    server.configure(|config| config.library(&library));
    server.signal(Signal::SIGHUP);
    server.wait_for_log("Reload refused", 1);
    assert_eq!(server.count_log(THREADS), 1);
    assert_eq!(wait_workers(&server, 2, &[]), workers, "a refused reload");
    server.configure(|config| config.set("preload_app", false));
    server.signal(Signal::SIGHUP);
    wait_workers(&server, 2, &workers);
    assert_eq!(server.get("/").text(), "threads");
    wait_until("nobody needs a mold", || titled(&server, "mold").is_empty().then_some(()));
}

#[test]
fn a_start_that_fails_in_the_mold_ends_the_server_as_in_a_worker() {
    for (at_start, code, why) in [
        ("error", 4, "start with an error"),
        ("panic", 4, "start with a panic"),
        ("exit", 3, "exited with code 7"),
        ("abort", 3, "SIGABRT"),
    ] {
        let failure = preloading(2).configure(|config| config.app("start", at_start)).fail();
        failure.assert(code, why, at_start);
    }
}

#[test]
fn a_post_fork_that_fails_is_a_worker_that_does_not_boot() {
    let doing = |body: &str| {
        let setup = preloading(2);
        let source = format!(
            "#include <unistd.h>
             static int32_t post_fork(void *state, const unirs_worker *worker, unirs_error *error) {{
                 (void)state; (void)worker; (void)error;
                 {body}
             }}
             static void after_fork_parent(void *state) {{ (void)state; usleep(200000); }}
             static int32_t call(void *state, void *thread, unirs_exchange *exchange) {{
                 (void)state; (void)thread; (void)exchange;
                 return UNIRS_FAILED;
             }}"
        );
        let rows = ".post_fork = post_fork, .after_fork_parent = after_fork_parent";
        let library = compile_c(setup.dir(), "forked", &source, rows);
        setup.configure(|config| config.library(&library)).fail()
    };
    let refused = doing("return unirs_fail(error, \"no database\");");
    refused.assert(4, "refused to go on in a forked worker: no database", "an error");
    // It is dead before the mold says that it lives, unless the machine is very busy.
    doing("_exit(9);").assert(3, "exited with code 9", "a death at once");
}

#[test]
fn a_mold_that_does_not_answer_is_replaced() {
    let server = preloading(2).set("boot_timeout", 2).start();
    let workers = wait_workers(&server, 2, &[]);
    let mold = wait_mold(&server, NOBODY);
    process::signal(mold, Signal::SIGSTOP);
    process::signal(workers[0], Signal::SIGKILL);
    wait_mold(&server, mold);
    wait_workers(&server, 2, &workers[..1]);
    assert_eq!(server.get("/").status, 200);
}

#[test]
fn workers_that_have_served_enough_are_forked_anew() {
    let server =
        preloading(1).set("worker_class", "threaded").set("threads", 2).set("max_requests", 5).start();
    let workers = wait_workers(&server, 1, &[]);
    for _ in 0..5 {
        assert_eq!(server.get("/").status, 200);
    }
    wait_workers(&server, 1, &workers);
    assert_eq!(server.count_log("Booting mold"), 1);
}

#[test]
fn a_forked_worker_crashes_as_any_other() {
    let server = preloading(2).set("timeout", 1).start();
    for (target, status) in [("/segv", 500), ("/abort", 500), ("/exit", 500), ("/hang", 504)] {
        let workers = wait_workers(&server, 2, &[]);
        assert_eq!(server.get(target).status, status, "{target}");
        wait_until(format_args!("its worker is replaced after {target}"), || {
            let now = titled(&server, "worker");
            (now.len() == 2 && now != workers).then_some(())
        });
        assert_eq!(server.get("/").status, 200);
    }
    assert_eq!(server.count_log("Booting mold"), 1, "the mold has not noticed");
}

/// An application each of whose answers leaves a process behind that has no parent and ends when there is a file `go`.
const LEAVES_ORPHANS: &str = r#"
    #include <stdio.h>
    #include <sys/wait.h>
    #include <unistd.h>
    static int32_t call(void *state, void *thread, unirs_exchange *exchange) {
        (void)state; (void)thread;
        char text[16] = "";
        int line[2];
        if (pipe(line) != 0) return UNIRS_FAILED;
        pid_t between = fork();
        if (between == 0) {
            if (fork() == 0) {
                snprintf(text, sizeof text, "%d", getpid());
                if (write(line[1], text, sizeof text) < 0) _exit(1);
                close(line[0]);
                close(line[1]);
                while (access("go", F_OK) != 0) usleep(10000);
            }
            _exit(0);
        }
        waitpid(between, 0, 0);
        if (read(line[0], text, sizeof text) <= 0) return UNIRS_FAILED;
        close(line[0]);
        close(line[1]);
        return unirs_text(host, exchange, 200, text);
    }
"#;

#[test]
fn an_orphan_of_the_application_is_reaped_and_never_signalled() {
    let setup = preloading(1);
    let library = compile_c(setup.dir(), "orphans", LEAVES_ORPHANS, ".stop = 0");
    let mut server = setup.configure(|config| config.library(&library)).start();
    let orphan = || Pid::from_raw(server.get("/").text().parse().expect("a pid"));
    let (first, go) = (orphan(), server.path("go"));
    assert_eq!(process::status_row(first, "PPid"), Some(server.master().to_string()), "the master has it");
    fs::write(&go, "").expect("a file");
    wait_until("it is reaped", || process::state(first).is_none().then_some(()));
    fs::remove_file(&go).expect("rm");
    let second = orphan();
    server.signal(Signal::SIGTERM);
    assert_eq!(server.wait_exit(), 0);
    assert!(!process::is_dead(second), "a server that stops leaves it alone");
    fs::write(&go, "").expect("a file");
    wait_until("it has ended by itself", || process::is_dead(second).then_some(()));
}

#[test]
fn a_reload_whose_mold_hangs_is_refused() {
    let mut server = preloading(1).set("boot_timeout", 2).start();
    let workers = wait_workers(&server, 1, &[]);
    server.configure(|config| config.app("start", "hang"));
    server.signal(Signal::SIGHUP);
    server.wait_for_log("Reload refused", 1);
    assert_eq!(wait_workers(&server, 1, &[]), workers);
    assert_eq!(server.get("/").status, 200);
}

#[test]
fn no_request_fails_over_reloads_and_between_the_two_ways() {
    let mut server = preloading(2).start();
    let load = Load::start(server.address(), 4, Style::KeepAlive, "/");
    for preload in [true, false, true] {
        load.wait_for(50);
        server.configure(|config| config.set("preload_app", preload));
        let old = titled(&server, "worker");
        server.signal(Signal::SIGHUP);
        wait_workers(&server, 2, &old);
    }
    load.wait_for(50);
    load.finish().assert_all_answered("three reloads with and without preloading");
}

#[test]
fn a_stop_ends_workers_and_mold() {
    for signal in [Signal::SIGTERM, Signal::SIGQUIT] {
        let (mut server, ..) = shop(2);
        let all = [wait_workers(&server, 2, &[]), vec![wait_mold(&server, NOBODY)]].concat();
        server.signal(signal);
        assert_eq!(server.wait_exit(), 0);
        assert!(all.iter().all(|&pid| process::is_dead(pid)), "{signal}");
    }
}

#[test]
fn nobody_outlives_a_master_that_is_killed() {
    let (mut server, ..) = shop(2);
    let all = [wait_workers(&server, 2, &[]), vec![wait_mold(&server, NOBODY)]].concat();
    server.kill_master();
    wait_until("workers and mold are gone", || all.iter().all(|&pid| process::is_dead(pid)).then_some(()));
}

#[test]
fn a_worker_that_is_forked_after_a_rotation_writes_to_the_new_log() {
    let server = preloading(1).set("accesslog", "access.log").start();
    let workers = wait_workers(&server, 1, &[]);
    server.get("/before");
    wait_until("the first line", || server.read("access.log").contains("/before").then_some(()));
    fs::rename(server.path("access.log"), server.path("access.1")).expect("mv");
    server.signal(Signal::SIGUSR1);
    wait_until("a new file", || server.path("access.log").exists().then_some(()));
    let mold = wait_mold(&server, NOBODY);
    let is_new = |what: &String| what.ends_with("/access.log");
    wait_until("the mold has the new file", || server.fds(mold).values().any(is_new).then_some(()));
    process::signal(workers[0], Signal::SIGKILL);
    wait_workers(&server, 1, &workers);
    server.get("/after");
    wait_until("the line in the new file", || server.read("access.log").contains("/after").then_some(()));
}

#[test]
fn counters_that_were_made_at_the_start_count_in_every_worker() {
    let server = preloading(1).start();
    let mut client = server.client();
    let mut count = || client.get("/counter").expect("an answer").text();
    assert_eq!([count(), count(), count()], ["1", "2", "3"]);
}

#[test]
fn the_mold_has_the_rights_of_a_worker() {
    if !support::is_root() {
        return;
    }
    let server = preloading(1).user("nobody").start();
    let worker = wait_workers(&server, 1, &[])[0];
    let mold = wait_mold(&server, NOBODY);
    for row in ["Uid", "Gid", "Groups"] {
        assert_eq!(process::status_row(mold, row), process::status_row(worker, row), "{row}");
    }
    assert_ne!(process::status_row(mold, "Uid"), process::status_row(server.master(), "Uid"));
    assert_eq!(server.get("/").status, 200);
}

#[test]
fn a_worker_holds_nothing_of_the_mold() {
    let server = preloading(2).set("accesslog", "access.log").start();
    let workers = wait_workers(&server, 2, &[]);
    let sockets = |pid| {
        let fds = server.fds(pid).into_values();
        fds.filter(|what| what.starts_with("socket:")).collect::<std::collections::BTreeSet<_>>()
    };
    let mold = wait_mold(&server, NOBODY);
    let listeners = wait_until("a worker shares the listener alone", || {
        let shared = &sockets(workers[0]) & &sockets(server.master());
        (shared.len() == 1).then_some(shared)
    });
    for (one, other) in [(workers[0], workers[1]), (workers[0], mold), (workers[1], mold)] {
        assert_eq!(&sockets(one) & &sockets(other), listeners);
    }
    assert_eq!(&sockets(mold) & &sockets(server.master()), listeners);
}

/// A row of `/proc/PID/smaps_rollup`, in KiB.
fn pss(pid: Pid) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).expect("smaps_rollup");
    let row = text.lines().find_map(|line| line.strip_prefix("Pss:")).expect("a row Pss");
    row.trim().trim_end_matches(" kB").parse().expect("a number")
}

#[test]
fn workers_share_what_the_application_has_built_at_its_start() {
    const TABLE: u64 = 20 * 1024;
    let total = |preload: bool| {
        let setup = Setup::new().set("workers", 4).set("preload_app", preload);
        let library = compile_c(
            setup.dir(),
            "table",
            r#"
            #include <stdlib.h>
            static char *table_of_data;
            __attribute__((constructor)) static void build(void) {
                table_of_data = malloc(20 << 20);
                if (table_of_data) memset(table_of_data, 7, 20 << 20);
            }
            static int32_t call(void *state, void *thread, unirs_exchange *exchange) {
                (void)state; (void)thread;
                return unirs_text(host, exchange, 200, table_of_data[12345] == 7 ? "shared" : "broken");
            }
            "#,
            ".hook = 0",
        );
        let server = setup.configure(|config| config.library(&library)).start();
        assert_eq!(server.get("/").text(), "shared");
        wait_workers(&server, 4, &[]).into_iter().map(pss).sum::<u64>()
    };
    let (apart, together) = (total(false), total(true));
    assert!(apart > 4 * TABLE, "each has its own: {apart} KiB");
    assert!(together < 2 * TABLE, "all have one: {together} KiB beside {apart}");
}
