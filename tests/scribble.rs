//! A worker that writes over what it shares with the master: whatever the master reads there, it signals nobody else's
//! process, loses no other worker, and goes on watching.
mod support;

use std::process::{Child, Command, Stdio};

use nix::unistd::Pid;
use support::{Client, Server, Setup, Signal, compile_c, process, wait_until};

const SCRIBBLER: &str = include_str!("support/scribbler.c");

/// A worker that boots takes this file from the server's folder, waits until it is there again, makes its state absurd as soon
/// as that is Ready, and takes the file again.
const HASTY: &str = "hasty";

/// A server with two workers, of which the test spoils one, and a process that has nothing to do with it.
struct Scene {
    server: Server,
    bystander: Child,
}

impl Scene {
    fn new(class: &str) -> Scene {
        let setup = Setup::new();
        let hasty = setup.dir().join(HASTY).display().to_string();
        let setup = setup
            .env("HASTY", hasty)
            .set("worker_class", class)
            .set("threads", 2)
            .set("workers", 2)
            .set("timeout", 2)
            .set("graceful_timeout", 5);
        let library = compile_c(setup.dir(), "scribbler", SCRIBBLER, "");
        let server = setup.configure(|config| config.library(&library)).start();
        let bystander = Command::new("sleep").arg("1000").stdin(Stdio::null()).spawn().expect("sleep");
        Scene { server, bystander }
    }

    /// The bystander lives, the server serves, and a call that is stuck is still found out.
    fn assert_watched(&mut self, scenario: &str) {
        let ended = self.bystander.try_wait().expect("a child can be waited for");
        assert_eq!(ended, None, "{scenario}: a foreign process was signalled");
        wait_until(format_args!("{scenario}: a stuck call is found out"), || self.find_out().then_some(()));
        assert_eq!(self.server.get("/").status, 200, "{scenario}");
    }

    /// Whether a worker with a stuck call has died of that. The worker may also be one whose slot is found broken first.
    fn find_out(&self) -> bool {
        let Ok(mut client) = Client::tcp(self.server.address()) else { return false };
        let Ok(pid) = client.get("/pid").map(|response| response.text()) else { return false };
        let stuck = Pid::from_raw(pid.trim().parse().expect("/pid answers with a number"));
        if client.send("GET /stuck HTTP/1.1\r\nHost: a\r\n\r\n").is_err() {
            return false;
        }
        wait_until("the stuck worker is gone", || process::is_dead(stuck).then_some(()));
        self.server.count_log(&format!("WORKER TIMEOUT (pid:{stuck})")) > 0
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        // It may have been killed by what the test found.
        let _ = self.bystander.kill();
        let _ = self.bystander.wait();
    }
}

#[test]
fn words_of_any_value_in_a_slot_harm_nobody_else() {
    for class in ["sync", "threaded"] {
        let mut scene = Scene::new(class);
        for value in ["0", "-1", "1", "2", "3", "9223372036854775807"] {
            // The worker may answer, or be replaced before it can.
            let _ = scene.server.try_get(&format!("/fill/{value}"));
        }
        scene.assert_watched(class);
    }
}

#[test]
fn a_worker_that_spoils_its_state_before_the_master_has_looked_is_watched_all_the_same() {
    for class in ["sync", "threaded"] {
        let mut scene = Scene::new(class);
        let hasty = scene.server.dir().join(HASTY);
        let write = || std::fs::write(&hasty, "").expect("the folder takes a file");
        let wait_taken = |when: &str| wait_until(when, || (!hasty.exists()).then_some(()));
        write();
        process::signal(scene.server.workers()[0], Signal::SIGKILL);
        wait_taken("the next worker boots");
        process::signal(scene.server.master(), Signal::SIGSTOP);
        write();
        wait_taken("its state is spoilt");
        process::signal(scene.server.master(), Signal::SIGCONT);
        scene.server.wait_for_log("is replaced: its slot of the scoreboard was overwritten", 1);
        scene.assert_watched(class);
    }
}

#[test]
fn a_worker_that_never_stops_to_scribble_is_no_danger_to_others() {
    for class in ["sync", "threaded"] {
        let mut scene = Scene::new(class);
        let mut client = scene.server.client();
        let scribbler = client.worker();
        let other = *scene.server.workers().iter().find(|&&pid| pid != scribbler).expect("two workers");
        // Words that make sense by chance are as good as right: it may live on, or be replaced.
        let _ = client.get("/for-ever");
        scene.assert_watched(class);
        process::signal(scribbler, Signal::SIGKILL);
        wait_until("the scribbler is dead", || process::is_dead(scribbler).then_some(()));
        let lives = !process::is_dead(other) || scene.server.count_log(&format!("(pid:{other})")) > 0;
        assert!(lives, "{class}: the other worker has gone without a word");
    }
}

#[test]
fn a_foreign_process_that_a_lane_names_as_its_thread_is_not_signalled() {
    for class in ["sync", "threaded"] {
        let mut scene = Scene::new(class);
        let mut client = scene.server.client();
        let liar = client.worker();
        let foreign = scene.bystander.id();
        client.send(format!("GET /foreign/{foreign} HTTP/1.1\r\nHost: a\r\n\r\n")).expect("a request");
        scene.server.wait_for_log(&format!("worker (pid:{liar}) names a thread for lane"), 1);
        scene.server.wait_replaced(&[liar], 2);
        scene.assert_watched(class);
    }
}
