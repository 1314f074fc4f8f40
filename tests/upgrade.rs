//! USR2: another binary on the same sockets, which takes the old one's place. How one fails is in `upgrade_failures.rs`.
mod support;

use std::net::TcpListener;
use std::path::Path;

use nix::unistd::Pid;
use support::{Client, Load, Server, Setup, Signal, Style, process, wait_until};

const PIDFILE: &str = "unirs.pid";
const NEW_PIDFILE: &str = "unirs.pid.2";
const SERVES: &str = "serves beside this one";
const PROMOTED: &str = "Master has been promoted";

fn setup() -> Setup {
    Setup::new().set("workers", 2).set("pidfile", PIDFILE)
}

fn named(server: &Server, pidfile: &str) -> Option<Pid> {
    server.read(pidfile).trim().parse().ok().map(Pid::from_raw)
}

/// USR2, and waits until the new master serves; its pid.
fn upgrade(server: &Server) -> Pid {
    let before = server.count_log(SERVES);
    server.signal(Signal::SIGUSR2);
    server.wait_for_log(SERVES, before + 1);
    named(server, NEW_PIDFILE).expect("the new master has its pidfile")
}

/// Waits until the new master has the old one's place.
fn wait_promoted(server: &mut Server, new: Pid) {
    wait_until("the pidfile names the new master", || (named(server, PIDFILE) == Some(new)).then_some(()));
    assert_eq!(server.adopt_daemon(PIDFILE), new);
    wait_until("the other name is gone", || (!server.path(NEW_PIDFILE).exists()).then_some(()));
}

fn retire_old(server: &mut Server, new: Pid, signal: Signal) {
    let old = server.master();
    server.signal(signal);
    wait_until("the old master ends", || {
        assert!(named(server, PIDFILE).is_some(), "there is a pidfile at all times");
        process::is_dead(old).then_some(())
    });
    assert!(named(server, PIDFILE).is_some(), "there is a pidfile at all times");
    wait_promoted(server, new);
}

fn stop(server: &Server) {
    let master = server.master();
    server.signal(Signal::SIGTERM);
    wait_until("the server ends", || process::is_dead(master).then_some(()));
    assert!(!server.path(PIDFILE).exists(), "the pidfile goes with its master");
}

fn get_unix(path: &Path) -> u16 {
    Client::unix(path).expect("somebody listens").last_get("/").expect("an answer").status
}

#[test]
fn no_request_is_lost_while_the_new_master_takes_the_old_ones_place() {
    for style in [Style::KeepAlive, Style::Close] {
        let mut server = setup().start();
        let old = server.master();
        let load = Load::start(server.address(), 8, style, "/");
        load.wait_for(50);
        let new = upgrade(&server);
        assert_ne!(new, old);
        assert_eq!(named(&server, PIDFILE), Some(old), "the old one has its pidfile while it lives");
        load.wait_for(50);
        retire_old(&mut server, new, Signal::SIGTERM);
        load.wait_for(50);
        load.finish().assert_all_answered("USR2, then TERM to the old master");
        stop(&server);
    }
}

#[test]
fn five_upgrades_in_a_row_leave_no_descriptor_and_no_zombie_behind() {
    let mut server = setup().set("bind", vec!["127.0.0.1:0", "unix:unirs.sock"]).start();
    let old = upgrade(&server);
    retire_old(&mut server, old, Signal::SIGTERM);
    server.wait_workers(2);
    let master = server.fds(server.master()).len();
    for _ in 0..4 {
        let new = upgrade(&server);
        retire_old(&mut server, new, Signal::SIGQUIT);
        server.wait_workers(2);
    }
    wait_until("the fifth master holds what the first one held", || {
        (server.fds(server.master()).len() <= master).then_some(())
    });
    wait_until("everybody who has ended is reaped", || {
        (process::zombies(server.master()) == 0).then_some(())
    });
    assert_eq!(server.get("/").status, 200);
    assert_eq!(get_unix(&server.path("unirs.sock")), 200);
    assert!(!server.log().contains("which has no use for it"), "a worker has a descriptor of the upgrade");
    stop(&server);
    assert!(!server.path("unirs.sock").exists(), "the last master removes the socket");
}

#[test]
fn a_reload_keeps_the_sockets_that_were_handed_over() {
    let mut server = setup().set("bind", vec!["127.0.0.1:0", "unix:unirs.sock"]).start();
    let address = server.address();
    let new = upgrade(&server);
    retire_old(&mut server, new, Signal::SIGTERM);
    server.wait_workers(2);
    server.reload(2);
    assert_eq!(server.addresses().len(), 2, "no other port was taken: {:?}", server.addresses());
    assert_eq!(Client::tcp(address).expect("the first port").last_get("/").expect("an answer").status, 200);
    assert_eq!(get_unix(&server.path("unirs.sock")), 200);
}

#[test]
fn the_new_binary_is_what_the_path_of_the_start_leads_to_now() {
    let setup = setup();
    let (program, next) = (setup.dir().join("current"), setup.dir().join("next"));
    let mut server = setup.program(&program).start();
    std::fs::copy(support::unirs(), &next).expect("a copy of the binary");
    std::fs::remove_file(&program).expect("the link");
    std::os::unix::fs::symlink("next", &program).expect("another link");
    let new = upgrade(&server);
    let runs = std::fs::read_link(format!("/proc/{new}/exe")).expect("a living process");
    assert_eq!(runs.file_name(), next.file_name());
    retire_old(&mut server, new, Signal::SIGTERM);
    assert_eq!(server.get("/").status, 200);
}

#[test]
fn the_new_master_serves_its_own_configuration() {
    let mut server = setup().set("bind", vec!["127.0.0.1:0", "unix:dropped.sock"]).start();
    let address = server.address();
    server.configure(|config| config.set("bind", vec!["127.0.0.1:0", "unix:added.sock"]).set("workers", 1));
    let new = upgrade(&server);
    assert_eq!(process::children(new).len(), 1);
    for path in ["dropped.sock", "added.sock"] {
        assert_eq!(get_unix(&server.path(path)), 200, "{path}, while both serve");
    }
    retire_old(&mut server, new, Signal::SIGTERM);
    assert!(
        !server.path("dropped.sock").exists(),
        "nobody else has the dropped socket: the old one removes it"
    );
    assert_eq!(get_unix(&server.path("added.sock")), 200);
    assert_eq!(Client::tcp(address).expect("the port").last_get("/").expect("an answer").status, 200);
    stop(&server);
    assert!(!server.path("added.sock").exists());
}

#[test]
fn term_to_the_new_master_leaves_everything_to_the_old_one() {
    let server = setup().set("bind", vec!["127.0.0.1:0", "unix:unirs.sock"]).start();
    let load = Load::start(server.address(), 4, Style::Close, "/");
    for count in 1..=2 {
        let new = upgrade(&server);
        process::signal(new, Signal::SIGTERM);
        server.wait_for_log(&format!("New master (pid:{new}) is gone"), 1);
        assert!(!server.path(NEW_PIDFILE).exists(), "rollback {count}");
        assert_eq!(named(&server, PIDFILE), Some(server.master()));
        assert_eq!(get_unix(&server.path("unirs.sock")), 200);
    }
    load.finish().assert_all_answered("two upgrades, both taken back");
    stop(&server);
    assert!(!server.path("unirs.sock").exists());
}

/// An old master and a new one, and clients of either that keep their connections for ten minutes.
fn two_with_idle_clients() -> (Server, [Pid; 2], Vec<Client>) {
    let server = setup().set("keepalive", 600).set("graceful_timeout", 600).start();
    let clients = |server: &Server| {
        let mut clients: Vec<Client> = (0..8).map(|_| server.client()).collect();
        clients.iter_mut().for_each(|client| assert_eq!(client.get("/").expect("an answer").status, 200));
        clients
    };
    let mut idle = clients(&server);
    let masters = [server.master(), upgrade(&server)];
    idle.extend(clients(&server));
    (server, masters, idle)
}

fn wait_for_the_end_of(masters: [Pid; 2]) {
    wait_until("both masters end", || masters.iter().all(|&pid| process::is_dead(pid)).then_some(()));
}

#[test]
fn two_masters_that_are_both_stopped_wait_for_no_idle_connection() {
    for (old_first, at_once) in [(true, true), (false, true), (true, false), (false, false)] {
        let (server, masters, _idle) = two_with_idle_clients();
        let [first, second] = if old_first { masters } else { [masters[1], masters[0]] };
        process::signal(first, Signal::SIGTERM);
        if !at_once {
            server.wait_for_log("Shutting down: Master", 1);
        }
        process::signal(second, Signal::SIGTERM);
        wait_for_the_end_of(masters);
    }
}

#[test]
fn an_old_master_that_stops_waits_for_no_idle_connection_when_the_new_one_is_killed() {
    let (server, masters, _idle) = two_with_idle_clients();
    process::signal(masters[0], Signal::SIGTERM);
    server.wait_for_log("Shutting down: Master", 1);
    process::signal(masters[1], Signal::SIGKILL);
    wait_for_the_end_of(masters);
}

#[test]
fn a_new_master_that_is_killed_leaves_the_old_one_as_it_was() {
    let server = setup().set("bind", vec!["127.0.0.1:0", "unix:unirs.sock"]).start();
    let new = upgrade(&server);
    process::signal(new, Signal::SIGKILL);
    server.wait_for_log(&format!("New master (pid:{new}) is dead, this one goes on"), 1);
    assert_eq!(get_unix(&server.path("unirs.sock")), 200);
    // The stale `.2` is in nobody's way.
    let new = upgrade(&server);
    process::signal(new, Signal::SIGTERM);
    server.wait_for_log(&format!("New master (pid:{new}) is gone"), 1);
    stop(&server);
    assert!(!server.path("unirs.sock").exists());
}

#[test]
fn an_old_master_that_is_killed_is_succeeded() {
    let mut server = setup().set("bind", vec!["127.0.0.1:0", "unix:unirs.sock"]).start();
    let new = upgrade(&server);
    let mut orphans = server.workers();
    orphans.retain(|&pid| pid != new);
    server.kill_master();
    server.wait_for_log(PROMOTED, 1);
    wait_promoted(&mut server, new);
    // They accept what is queued, and hang up on who has not asked yet.
    wait_until("the orphans leave", || orphans.iter().all(|&pid| process::is_dead(pid)).then_some(()));
    assert_eq!(server.get("/").status, 200);
    assert_eq!(get_unix(&server.path("unirs.sock")), 200);
    let again = upgrade(&server);
    retire_old(&mut server, again, Signal::SIGTERM);
    stop(&server);
    assert!(!server.path("unirs.sock").exists());
}

#[test]
fn a_third_master_is_refused_with_a_sentence() {
    let mut server = setup().start();
    let new = upgrade(&server);
    server.signal(Signal::SIGUSR2);
    server.wait_for_log("USR2 signal ignored. Child exists", 1);
    process::signal(new, Signal::SIGUSR2);
    server.wait_for_log("USR2 signal ignored. Parent exists", 1);
    retire_old(&mut server, new, Signal::SIGTERM);
    let third = upgrade(&server);
    retire_old(&mut server, third, Signal::SIGTERM);
}

#[test]
fn both_masters_obey_while_both_serve() {
    let mut server = setup().start();
    let new = upgrade(&server);
    let new_workers = process::children(new);
    for (master, others) in [(server.master(), new_workers.clone()), (new, Vec::new())] {
        let workers = |count: usize| {
            wait_until(format_args!("{master} has {count} workers"), || {
                let alive = process::children(master).into_iter().filter(|&pid| !process::is_dead(pid));
                let workers: Vec<Pid> = alive.filter(|&pid| pid != new).collect();
                (workers.len() == count).then_some(workers)
            })
        };
        process::signal(master, Signal::SIGTTIN);
        workers(3);
        process::signal(master, Signal::SIGTTOU);
        let before = workers(2);
        process::signal(master, Signal::SIGHUP);
        wait_until(format_args!("{master} has reloaded"), || {
            let now = workers(2);
            now.iter().all(|pid| !before.contains(pid)).then_some(())
        });
        assert!(others.iter().all(|&pid| !process::is_dead(pid)), "the other one's workers serve on");
    }
    assert_eq!(named(&server, NEW_PIDFILE), Some(new), "a reload does not promote");
    retire_old(&mut server, new, Signal::SIGTERM);
    server.reload(2);
    assert_eq!(named(&server, PIDFILE), Some(new));
    stop(&server);
}

#[test]
fn term_to_the_old_master_before_the_new_one_serves_loses_nobody() {
    let mut server = setup().set("bind", vec!["127.0.0.1:0", "unix:unirs.sock"]).start();
    let load = Load::start(server.address(), 4, Style::Close, "/");
    load.wait_for(20);
    server.configure(|config| config.app("start", "slow:1500"));
    server.signal(Signal::SIGUSR2);
    let new = wait_until("the new master boots", || named(&server, NEW_PIDFILE));
    retire_old(&mut server, new, Signal::SIGTERM);
    load.wait_for(20);
    load.finish().assert_all_answered("TERM before the new one serves");
    assert_eq!(get_unix(&server.path("unirs.sock")), 200);
    stop(&server);
    assert!(!server.path("unirs.sock").exists());
}

#[test]
fn sockets_of_the_service_manager_stay_its_own() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("an address");
    let inherited = listener.try_clone().expect("a second descriptor").into();
    let mut server = setup().inherit(inherited, true).start();
    for _ in 0..2 {
        let new = upgrade(&server);
        retire_old(&mut server, new, Signal::SIGTERM);
        assert_eq!(server.addresses(), [address.to_string()]);
        assert_eq!(Client::tcp(address).expect("the port").last_get("/").expect("an answer").status, 200);
        assert_eq!(server.get("/env/LISTEN_FDS").status, 404);
        assert_eq!(server.get("/env/UNIRS_UPGRADE").status, 404);
    }
    stop(&server);
    Client::tcp(address).expect("the service manager still listens");
}

#[test]
fn a_bind_by_number_goes_over_to_the_new_master() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("an address");
    let mut server = setup().set("bind", vec!["fd://3"]).inherit(listener.into(), false).start();
    for _ in 0..2 {
        let new = upgrade(&server);
        retire_old(&mut server, new, Signal::SIGTERM);
        assert_eq!(Client::tcp(address).expect("the port").last_get("/").expect("an answer").status, 200);
    }
    stop(&server);
}

#[test]
fn the_service_manager_hears_who_the_main_process_is() {
    let mut server = setup().start();
    let said =
        |server: &Server, line: &str| server.notify().lines().iter().filter(|said| *said == line).count();
    let ready = said(&server, "READY=1");
    let new = upgrade(&server);
    server.notify().wait_for(&format!("MAINPID={new}"));
    server.notify().wait_for("BARRIER=1");
    wait_until("the new master speaks", || (said(&server, "READY=1") > ready).then_some(()));
    process::signal(new, Signal::SIGTERM);
    server.notify().wait_for(&format!("MAINPID={}", server.master()));
    server.wait_for_log(&format!("New master (pid:{new}) is gone"), 1);
    assert!(!server.notify().has("STOPPING=1"), "the service does not stop");
    let new = upgrade(&server);
    server.notify().wait_for(&format!("MAINPID={new}"));
    retire_old(&mut server, new, Signal::SIGTERM);
    assert!(!server.notify().has("STOPPING=1"), "the service does not stop");
    // The manager looks anew whose child it is only when the pid changes: a child of a moment is named in between.
    wait_until("a herald names the promoted master", || {
        let lines = server.notify().lines();
        let named: Vec<_> = lines.iter().filter_map(|line| line.strip_prefix("MAINPID=")).collect();
        let [.., herald, last] = named[..] else { return None };
        (herald != last && last == new.to_string()).then_some(())
    });
    stop(&server);
    server.notify().wait_for("STOPPING=1");
}
