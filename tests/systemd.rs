//! The shipped units under a real systemd, booted for each test. Where the machine cannot do that the tests say so and
//! are counted as ignored, which only this harness can decide at run time; with `UNIRS_REQUIRE_SYSTEMD` set they fail.

#![allow(clippy::print_stderr, reason = "it says why tests are skipped")]

mod support;
mod systemd_box;

use std::fs;
use std::process::{Child, ExitCode, Output};

use libtest_mimic::{Arguments, Trial};
use support::{source_tree, wait_until};
use systemd_box::{BoxSetup, SystemdBox, obstacle, text};

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
    the_first_connection_to_an_activated_socket_is_served,
    an_instance_of_the_template_serves_as_another_user,
    the_status_line_says_why_a_reload_was_refused,
    an_upgrade_keeps_the_unit_active_with_a_new_main_pid,
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
    wait_until("systemctl ends", || command.try_wait().expect("a child can be waited for"));
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
    let systemd = started(BoxSetup::new().service("WatchdogSec=5"));
    let before = systemd.show("unirs.service", "MainPID");
    systemd.order(&["kill", "--kill-whom=main", "--signal=STOP", "unirs.service"]);
    wait_until("another master", || {
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
    systemd.order(&["stop", "unirs@shop.service"]);
    assert_eq!(systemd.show("unirs@shop.service", "Result"), "success");
}

fn the_status_line_says_why_a_reload_was_refused() {
    let mut systemd = started(BoxSetup::new());
    systemd.configure(|config| config.set("workers", "many"));
    systemd.order(&["kill", "--kill-whom=main", "--signal=HUP", "unirs.service"]);
    let line = "the last reload was refused: the configuration has errors";
    wait_until("the reason in systemctl status", || {
        systemd.status("unirs.service").contains(line).then_some(())
    });
    assert_eq!(systemd.show("unirs.service", "ActiveState"), "active");
    assert_eq!(systemd.get("/"), "a test\n");
}

fn an_upgrade_keeps_the_unit_active_with_a_new_main_pid() {
    let systemd = started(BoxSetup::new());
    let old = systemd.show("unirs.service", "MainPID");
    systemd.order(&["kill", "--kill-whom=main", "--signal=USR2", "unirs.service"]);
    wait_until("systemd names another main process", || {
        let now = systemd.show("unirs.service", "MainPID");
        (now != "0" && now != old).then_some(())
    });
    let new = systemd.show("unirs.service", "MainPID");
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
