//! The order in which a worker boots: what must be in force before the application's first line is.
mod support;

use support::Setup;

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

#[test]
fn a_worker_boots_in_the_order_of_the_design() {
    // As root the workers change their identity too; else those steps are said without doing anything.
    let setup = Setup::new().set("loglevel", "debug").set("umask", 0o022).set("raw_env", vec!["A=b"]);
    let setup = if nix::unistd::geteuid().is_root() { setup.user("nobody") } else { setup };
    let folder = setup.dir().to_str().expect("test paths are UTF-8").to_owned();
    let server = setup.set("chdir", folder).start();
    let worker = format!("[{}]", server.workers()[0]);
    // The last word follows the word on the board by which the server is Ready.
    server.wait_for_log("boot: Ready", 1);
    let log = server.log();
    let said: Vec<&str> = log
        .lines()
        .filter(|line| line.contains(&worker))
        .filter_map(|line| line.split_once("boot: "))
        .map(|(_, step)| step)
        .collect();
    assert_eq!(said, STEPS);
}
