//! The order in which a worker boots: what must be in force before the application's first line is.
mod support;

use nix::unistd::Pid;
use support::{Server, Setup, process};

/// Each step that a worker says at debug level as `boot: STEP`, in the order that makes each safe: nothing of the
/// master's is held when privileges go, nothing is privileged when the application loads, nothing is served before
/// it is ready.
const STEPS: [&str; 17] = [
    "reset handlers",
    "close descriptors",
    "keep the pair",
    "map the board",
    "drop privileges",
    "set the umask",
    "change the directory",
    "set the environment",
    "be dumpable",
    "ask for the death signal",
    "prepare for a crash",
    "load the application",
    "start the application",
    "take signals",
    "poll",
    "be ready",
    "Ready",
];

/// A worker that a mold has forked takes two parts of this: what comes before the application's first line is the mold's.
const MOLDS: [&str; 12] = [
    "reset handlers",
    "close descriptors",
    "keep the pair",
    "protect the board",
    "drop privileges",
    "set the umask",
    "change the directory",
    "set the environment",
    "be dumpable",
    "ask for the death signal",
    "load the application",
    "start the application",
];

/// And what belongs to a process alone is its own.
const FORKED: [&str; 9] = [
    "map the board",
    "be dumpable",
    "ask for the death signal",
    "prepare for a crash",
    "tell the application of the fork",
    "take signals",
    "poll",
    "be ready",
    "Ready",
];

/// A server with one worker that has said all its steps. As root its processes change their identity too; else those steps
/// are said without doing anything.
fn start(setup: Setup) -> Server {
    let setup = setup.set("loglevel", "debug").set("umask", 0o022).set("raw_env", vec!["A=b"]);
    let setup = if nix::unistd::geteuid().is_root() { setup.user("nobody") } else { setup };
    let folder = setup.dir().to_str().expect("test paths are UTF-8").to_owned();
    let server = setup.set("chdir", folder).start();
    // The last word follows the word on the board by which the server is Ready.
    server.wait_for_log("boot: Ready", 1);
    server
}

fn steps(server: &Server, pid: Pid) -> Vec<String> {
    let (log, process) = (server.log(), format!("[{pid}]"));
    let lines = log.lines().filter(|line| line.contains(&process));
    lines.filter_map(|line| line.split_once("boot: ")).map(|(_, step)| step.to_owned()).collect()
}

#[test]
fn a_worker_boots_in_the_order_of_the_design() {
    let server = start(Setup::new());
    assert_eq!(steps(&server, server.workers()[0]), STEPS);
}

#[test]
fn a_mold_and_its_workers_share_the_order_between_them() {
    let server = start(Setup::new().set("preload_app", true));
    let worker = server.workers()[0];
    let mold = process::children(server.master()).into_iter().find(|&pid| pid != worker);
    assert_eq!(steps(&server, mold.expect("a mold")), MOLDS);
    assert_eq!(steps(&server, worker), FORKED);
}
