//! The shipped units under a real systemd, booted for each test. Where the machine cannot do that the tests say so and
//! are counted as ignored, which only this harness can decide at run time; with `UNIRS_REQUIRE_SYSTEMD` set they fail.

#![allow(clippy::print_stderr, reason = "it says why tests are skipped")]

mod support;
mod systemd_box;

use std::fs;
use std::path::Path;
use std::process::{Child, ExitCode, Output};

use libtest_mimic::{Arguments, Trial};
use support::{Config, source_tree, wait_until, wait_within};
use systemd_box::{BoxSetup, PATIENCE, SystemdBox, obstacle, text};

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let obstacle = if arguments.list { None } else { obstacle() };
    let is_required = std::env::var_os("UNIRS_REQUIRE_SYSTEMD").is_some();
    if let Some(why) = obstacle {
        eprintln!("skipped: the tests under a real systemd: {why}");
    }
    let is_skipped = obstacle.is_some() && !is_required;
    let trial = |&(name, test): &(&str, fn())| {
        let run = move || match obstacle {
            Some(why) => {
                Err(format!("UNIRS_REQUIRE_SYSTEMD is set, and there is no systemd to be had: {why}").into())
            }
            None => {
                test();
                Ok(())
            }
        };
        Trial::test(name, run).with_ignored_flag(is_skipped)
    };
    libtest_mimic::run(&arguments, TESTS.iter().map(trial).collect()).exit_code()
}

/// Makes a list of tests of functions without arguments.
macro_rules! tests {
    ($($name:ident),+ $(,)?) => { &[$((stringify!($name), $name as fn())),+] };
}

const TESTS: &[(&str, fn())] = tests![
    the_template_is_the_service_but_for_the_names,
    the_units_are_sound,
    a_start_waits_for_ready_and_the_status_line_is_shown,
    a_stop_lets_a_request_of_three_seconds_finish,
    a_refused_configuration_is_not_tried_again,
    a_master_that_hangs_is_killed_by_the_watchdog_and_started_again,
    a_worker_that_crashes_leaves_the_unit_active,
    a_worker_that_the_kernel_kills_for_want_of_memory_leaves_the_unit_active,
    the_first_connection_to_an_activated_socket_is_served,
    an_instance_of_the_template_serves_as_another_user,
    a_reload_returns_when_the_new_generation_serves_and_fails_when_it_was_refused,
    notify_reload_is_what_the_drop_in_says,
    an_upgrade_keeps_the_unit_active_with_a_new_main_pid,
    a_stop_while_there_are_two_masters_cuts_nobody,
];

fn show(text: &str) {
    eprintln!("{text}");
}

fn started(setup: BoxSetup) -> SystemdBox {
    let systemd = setup.boot();
    systemd.order(&["start", "unirs.service"]);
    systemd
}

fn end(mut command: Child) -> Output {
    wait_within(PATIENCE, "systemctl ends", || command.try_wait().expect("a child can be waited for"));
    command.wait_with_output().expect("a child's output can be read")
}

fn the_template_is_the_service_but_for_the_names() {
    let read = |name: &str| {
        fs::read_to_string(source_tree().join("packaging/systemd").join(name)).expect("a shipped unit")
    };
    let settings = |text: String| -> Vec<String> {
        let is_setting = |line: &&str| !line.starts_with('#') && !line.starts_with("Description=");
        text.lines().filter(is_setting).map(str::to_owned).collect()
    };
    let service = read("unirs.service").replace("/etc/unirs/unirs.toml", "/etc/unirs/%i.toml");
    let service =
        service.replace("/run/unirs/", "/run/unirs-%i/").replace("Directory=unirs\n", "Directory=unirs-%i\n");
    assert_eq!(settings(read("unirs@.service")), settings(service));
}

fn the_units_are_sound() {
    let systemd = BoxSetup::new().boot();
    for unit in ["unirs.service", "unirs@shop.service", "unirs.socket"] {
        let output = systemd.run(&["systemd-analyze", "verify", unit]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let about_ours: Vec<&str> = said.lines().filter(|line| line.contains("unirs")).collect();
        assert!(output.status.success() && about_ours.is_empty(), "{unit}: {said}");
    }
    // From 0 (safe) to 100 (exposed). What is left is a master that keeps its identity, and the network.
    let output = systemd.run(&["systemd-analyze", "security", "--threshold=30", "unirs.service"]);
    assert!(output.status.success(), "{}", text(&output));
}

/// An application that is Ready when there is a file `/run/unirs/go`.
const LATE: &str = r#"
    #include <unistd.h>
    static int32_t ready(void *state) { (void)state; return access("/run/unirs/go", F_OK) == 0; }
    static int32_t call(void *state, void *thread, unirs_exchange *exchange) {
        (void)state; (void)thread;
        return unirs_text(host, exchange, 200, "served");
    }
"#;

fn a_start_waits_for_ready_and_the_status_line_is_shown() {
    let systemd = BoxSetup::new()
        .configure(|config| config.set("workers", 2))
        .library_in_c("late", LATE, ".ready = ready")
        .boot();
    systemd.order(&["start", "--no-block", "unirs.service"]);
    systemd.wait_for_log("Booting worker", 1);
    assert_eq!(systemd.show("unirs.service", "ActiveState"), "activating");
    fs::write(systemd.path("/run/unirs/go"), "").expect("a file in the box");
    systemd.wait_for("unirs.service", "ActiveState", "active");
    assert_eq!(systemd.get("/"), "served");
    let line = "Status: \"generation 1: 2 of 2 workers ready; 0 busy;";
    wait_until("the STATUS line of systemctl status", || {
        systemd.status("unirs.service").contains(line).then_some(())
    });
}

fn a_stop_lets_a_request_of_three_seconds_finish() {
    let systemd = started(BoxSetup::new());
    let mut client = systemd.client();
    client.send("GET /sleep/3000 HTTP/1.1\r\nHost: a\r\n\r\n").expect("a request");
    let stop = systemd.begin(&["stop", "unirs.service"]);
    let response = client.answer().expect("the request under way");
    assert_eq!((response.status, response.text().as_str()), (200, "slept for 3000 ms\n"));
    assert!(end(stop).status.success());
    assert_eq!(systemd.show("unirs.service", "ActiveState"), "inactive");
    assert_eq!(systemd.show("unirs.service", "Result"), "success");
}

fn a_refused_configuration_is_not_tried_again() {
    let systemd = BoxSetup::new().configure(|config| config.set("workers", "many")).boot();
    assert!(!systemd.systemctl(&["start", "unirs.service"]).status.success());
    systemd.wait_for("unirs.service", "ActiveState", "failed");
    assert_eq!(systemd.show("unirs.service", "ExecMainStatus"), "1");
    assert_eq!(systemd.show("unirs.service", "NRestarts"), "0");
}

fn a_master_that_hangs_is_killed_by_the_watchdog_and_started_again() {
    let systemd = started(BoxSetup::new().service("WatchdogSec=10"));
    let before = systemd.show("unirs.service", "MainPID");
    systemd.order(&["kill", "--kill-whom=main", "--signal=STOP", "unirs.service"]);
    wait_within(PATIENCE, "another master", || {
        let now = systemd.show("unirs.service", "MainPID");
        (now != "0" && now != before).then_some(())
    });
    systemd.wait_for("unirs.service", "ActiveState", "active");
    assert_ne!(systemd.show("unirs.service", "NRestarts"), "0");
    assert_eq!(systemd.get("/"), "a test\n");
}

fn a_worker_that_crashes_leaves_the_unit_active() {
    let systemd = started(BoxSetup::new().configure(|config| config.set("workers", 2)));
    let master = systemd.show("unirs.service", "MainPID");
    for (number, death) in ["kill", "/segv", "/abort"].into_iter().enumerate() {
        let worker = systemd.get("/pid");
        match death {
            "kill" => {
                let kill = systemd.run(&["bash", "-c", &format!("kill -KILL {worker}")]);
                assert!(kill.status.success(), "{kill:?}");
            }
            // Whatever is answered: that is another test's business.
            page => drop(systemd.client().last_get(page)),
        }
        // Two at the start, and one in the place of each.
        systemd.wait_for_log("Booting worker", number + 3);
        wait_until("a worker serves", || systemd.client().last_get("/pid").ok());
    }
    assert_eq!(systemd.show("unirs.service", "ActiveState"), "active");
    assert_eq!(systemd.show("unirs.service", "MainPID"), master);
}

/// An application that takes more and more memory when there is a file `/run/unirs/eat`.
const GREEDY: &str = r#"
    #include <stdlib.h>
    #include <string.h>
    #include <unistd.h>
    static int32_t call(void *state, void *thread, unirs_exchange *exchange) {
        (void)state; (void)thread;
        for (int piece = 0; access("/run/unirs/eat", F_OK) == 0 && piece < 4096; piece++) {
            char *memory = malloc(1 << 20);
            if (memory) memset(memory, 1, 1 << 20);
        }
        return unirs_text(host, exchange, 200, "served");
    }
"#;

fn a_worker_that_the_kernel_kills_for_want_of_memory_leaves_the_unit_active() {
    let systemd = BoxSetup::new().library_in_c("greedy", GREEDY, ".ready = NULL").boot();
    systemd.order(&["start", "unirs.service"]);
    let master = systemd.show("unirs.service", "MainPID");
    let Some(_limit) = MemoryLimit::set(&systemd) else {
        return eprintln!("not shown: no controller of memory is to be had here");
    };
    fs::write(systemd.path("/run/unirs/eat"), "").expect("a file in the box");
    assert!(systemd.client().last_get("/").is_err(), "the worker is killed in the middle of its call");
    fs::remove_file(systemd.path("/run/unirs/eat")).expect("a file in the box");
    systemd.wait_for_log("was sent SIGKILL", 1);
    wait_until("another worker serves", || systemd.client().last_get("/").ok());
    assert_eq!(systemd.show("unirs.service", "ActiveState"), "active");
    assert_eq!(systemd.show("unirs.service", "MainPID"), master);
}

/// A limit of memory: the service's own where systemd has the controller, else, on a machine with the older hierarchy
/// of cgroups, one around the workers that there are.
struct MemoryLimit<'a>(&'a SystemdBox);

impl MemoryLimit<'_> {
    fn set(systemd: &SystemdBox) -> Option<MemoryLimit<'_>> {
        let script = r#"
            if grep -qw memory /sys/fs/cgroup/cgroup.controllers; then
                systemctl set-property --runtime unirs.service MemoryMax=96M MemorySwapMax=0
            else
                mkdir -p /run/memory && mount -t cgroup -o memory cgroup /run/memory && mkdir "$2" &&
                echo 96M >"$2/memory.limit_in_bytes" && for worker in $(cat /proc/$1/task/$1/children); do
                    echo "$worker" >"$2/cgroup.procs" || exit 1
                done
            fi"#;
        let master = systemd.show("unirs.service", "MainPID");
        let limited = systemd.run(&["bash", "-c", script, "bash", &master, &Self::folder()]);
        let limit = MemoryLimit(systemd);
        limited.status.success().then_some(limit)
    }

    fn folder() -> String {
        format!("/run/memory/unirs-test-{}", std::process::id())
    }
}

impl Drop for MemoryLimit<'_> {
    fn drop(&mut self) {
        // A worker that was not killed would keep the cgroup.
        let script = r#"[[ ! -d $1 ]] || { kill -KILL $(cat "$1/cgroup.procs"); for try in {1..100}; do rmdir "$1" && break; sleep 0.1; done; }"#;
        self.0.run(&["bash", "-c", script, "bash", &Self::folder()]);
    }
}

fn the_first_connection_to_an_activated_socket_is_served() {
    let systemd = BoxSetup::new().boot();
    systemd.order(&["start", "unirs.socket"]);
    assert_eq!(systemd.show("unirs.service", "ActiveState"), "inactive");
    let mut client = systemd.client_of("/run/unirs.sock");
    let response = client.last_get("/").expect("the first, queued connection is served");
    assert_eq!(response.status, 200);
    systemd.wait_for("unirs.service", "ActiveState", "active");
    assert!(systemd.log().contains("the sockets that the service manager has passed"));
}

fn an_instance_of_the_template_serves_as_another_user() {
    let systemd = BoxSetup::new()
        .configure(|config| config.set("user", "nobody").set("bind", vec!["unix:/run/unirs-shop/unirs.sock"]))
        .boot();
    fs::rename(systemd.path("/etc/unirs/unirs.toml"), systemd.path("/etc/unirs/shop.toml"))
        .expect("a file of the box");
    systemd.order(&["start", "unirs@shop.service"]);
    let socket = "/run/unirs-shop/unirs.sock";
    let ids = systemd.client_of(socket).last_get("/ids").expect("served").text();
    assert!(ids.starts_with("uid=65534"), "{ids}");
    let log = systemd.log();
    assert!(!log.contains("[WARNING]") && !log.contains("[ERROR]"), "something is kept from it: {log}");
    // The handlers of a dying worker can do their work, too.
    let crash = systemd.client_of(socket).last_get("/segv").expect("an answer for the client of a crash");
    assert_eq!(crash.status, 500);
    systemd.wait_for_log("crashed: SIGSEGV", 1);
    systemd.order(&["stop", "unirs@shop.service"]);
    assert_eq!(systemd.show("unirs@shop.service", "Result"), "success");
}

fn a_reload_returns_when_the_new_generation_serves_and_fails_when_it_was_refused() {
    let mut systemd = started(BoxSetup::new().configure(|config| config.app("version", "one")));
    assert_eq!(systemd.get("/version"), "one");
    systemd.configure(|config| config.app("version", "two").app("start", "slow:500"));
    systemd.order(&["reload", "unirs.service"]);
    assert_eq!(systemd.get("/version"), "two");

    let mut refused = |change: fn(Config) -> Config, reason: &str| {
        let before = systemd.config().clone();
        systemd.configure(change);
        assert!(!systemd.systemctl(&["reload", "unirs.service"]).status.success(), "{reason}");
        wait_until("the reason in systemctl status", || {
            let status = systemd.status("unirs.service");
            (status.contains("Reload refused") && status.contains(reason)).then_some(())
        });
        assert_eq!(systemd.show("unirs.service", "ActiveState"), "active");
        assert_eq!(systemd.get("/version"), "two");
        systemd.configure(|_| before);
    };
    refused(|config| config.set("workers", "many"), "workers: expected a number");
    refused(|config| config.library(Path::new("/srv/none.so")), "/srv/none.so");
    refused(|config| config.app("start", "abort"), "SIGABRT");
    systemd.order(&["reload", "unirs.service"]);
    assert!(!systemd.status("unirs.service").contains("refused"));
}

/// The drop-in wants systemd 253; before, systemd says so and goes on with what it knows.
fn notify_reload_is_what_the_drop_in_says() {
    let systemd = BoxSetup::new().boot();
    let version = text(&systemd.systemctl(&["--version"]));
    let version = version.split_whitespace().nth(1).and_then(|number| number.parse::<u32>().ok());
    if version.is_none_or(|version| version < 253) {
        return eprintln!("not shown: this systemd ({version:?}) does not know Type=notify-reload");
    }
    let folder = systemd.path("/etc/systemd/system/unirs.service.d");
    fs::copy(systemd.path("/etc/systemd/system/notify-reload.conf"), folder.join("notify-reload.conf"))
        .expect("a copy");
    systemd.order(&["daemon-reload"]);
    systemd.order(&["start", "unirs.service"]);
    systemd.order(&["reload", "unirs.service"]);
    systemd.wait_for_log("generation 2 serves", 1);
    assert_eq!(systemd.show("unirs.service", "ActiveState"), "active");
}

fn an_upgrade_keeps_the_unit_active_with_a_new_main_pid() {
    let systemd = started(BoxSetup::new());
    let (old, new) = upgrade(&systemd);
    let term = systemd.run(&["bash", "-c", &format!("kill -TERM {old}")]);
    assert!(term.status.success(), "{term:?}");
    wait_until("the old master has gone", || (!systemd.path(&format!("/proc/{old}")).exists()).then_some(()));
    assert_eq!(systemd.get("/"), "a test\n");
    assert_eq!(systemd.show("unirs.service", "ActiveState"), "active");
    assert_eq!(systemd.show("unirs.service", "MainPID"), new);
    assert_eq!(systemd.show("unirs.service", "NRestarts"), "0");
    // systemd has not started this one, and would not wait for it.
    let mut client = systemd.client();
    client.send("GET /sleep/2000 HTTP/1.1\r\nHost: a\r\n\r\n").expect("a request");
    let stop = systemd.begin(&["stop", "unirs.service"]);
    assert_eq!(client.answer().expect("the request under way").status, 200);
    assert!(end(stop).status.success());
    assert_eq!(systemd.show("unirs.service", "Result"), "success");
}

fn a_stop_while_there_are_two_masters_cuts_nobody() {
    let systemd = started(BoxSetup::new());
    upgrade(&systemd);
    // Each of the two workers has one of them: who is in a call takes no other.
    let mut clients = [(); 2].map(|()| systemd.client());
    for client in &mut clients {
        client.send("GET /sleep/2000 HTTP/1.1\r\nHost: a\r\n\r\n").expect("a request");
    }
    let stop = systemd.begin(&["stop", "unirs.service"]);
    for client in &mut clients {
        assert_eq!(client.answer().expect("the request under way").status, 200);
    }
    assert!(end(stop).status.success());
    assert_eq!(systemd.show("unirs.service", "ActiveState"), "inactive");
}

/// USR2; the main process before, and the one that systemd names when the new master serves beside it.
fn upgrade(systemd: &SystemdBox) -> (String, String) {
    let old = systemd.show("unirs.service", "MainPID");
    systemd.order(&["kill", "--kill-whom=main", "--signal=USR2", "unirs.service"]);
    let new = wait_within(PATIENCE, "systemd names another main process", || {
        let now = systemd.show("unirs.service", "MainPID");
        (now != "0" && now != old).then_some(now)
    });
    (old, new)
}
