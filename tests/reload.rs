//! HUP: new code and new configuration with no request lost, and nothing changed when the new one is no good.
mod support;

use std::net::TcpListener;
use std::path::Path;

use support::{Client, Load, Server, Setup, Signal, Style, compile_c, process, wait_until};

/// A reload that is to be refused: the file is changed, HUP sent, and the log has to say `why`, while the very same
/// workers go on. The master's verdict is its last word on a reload; a worker's own words come before it.
fn assert_refused(server: &mut Server, change: impl FnOnce(support::Config) -> support::Config, why: &str) {
    let workers = server.workers();
    let (said, refused) = (server.count_log(why), server.count_log("Reload refused"));
    server.configure(change);
    server.signal(Signal::SIGHUP);
    server.wait_for_log("Reload refused", refused + 1);
    assert!(server.count_log(why) > said, "the log says {why}");
    assert_eq!(server.get("/").status, 200, "a refused reload: {why}");
    wait_until("only the old workers are left", || (server.workers() == workers).then_some(()));
}

/// An application in C that answers everything with `text`.
fn answering(folder: &Path, name: &str, text: &str) -> std::path::PathBuf {
    let source = r#"
        static int32_t call(void *state, void *thread, unirs_exchange *exchange) {
            (void)state; (void)thread;
            return unirs_text(host, exchange, 200, "TEXT");
        }
    "#;
    compile_c(folder, name, &source.replace("TEXT", text), "")
}

#[test]
fn hup_replaces_every_worker_and_serves_on() {
    let server = Server::with_workers(3);
    let old = server.workers();
    let new = server.reload(3);
    let served: i32 = server.get("/pid").text().trim().parse().expect("/pid answers with a number");
    assert!(
        new.iter().any(|pid| pid.as_raw() == served),
        "{served} is one of the new {new:?}, not of {old:?}"
    );
}

#[test]
fn hup_takes_new_settings_from_the_file() {
    let mut server = Setup::new().set("raw_env", vec!["COLOUR=red"]).start();
    assert_eq!(server.get("/env/COLOUR").text().trim(), "red");
    server.configure(|config| config.set("workers", 3).set("raw_env", vec!["COLOUR=blue"]));
    server.reload(3);
    assert_eq!(server.get("/env/COLOUR").text().trim(), "blue");
    server.configure(|config| config.set("workers", 1));
    server.reload(1);
    assert_eq!(server.get("/").status, 200);
}

#[test]
fn hup_loads_the_new_code_under_the_same_path() {
    let setup = Setup::new();
    let one = answering(setup.dir(), "one", "the first");
    let two = answering(setup.dir(), "two", "the second");
    let path = setup.dir().join("libshop.so");
    std::fs::copy(&one, &path).expect("a copy");
    let server = setup.configure(|config| config.library(&path)).start();
    assert_eq!(server.get("/").text(), "the first");
    std::fs::rename(&two, &path).expect("a rename over the old library");
    server.reload(1);
    assert_eq!(server.get("/").text(), "the second");
}

#[test]
fn hup_with_a_file_that_is_refused_keeps_everything_and_names_the_line() {
    let mut server = Server::with_workers(2);
    assert_refused(&mut server, |config| config.set("workers", "many"), "unirs.toml:");
    assert!(server.log().contains("workers"), "the log names the setting");
    assert_refused(&mut server, |config| config.set("workers", 2).set("wrokers", 2), "wrokers");
    assert_refused(&mut server, |config| config.raw("this is no TOML"), "unirs.toml:1");
}

#[test]
fn hup_without_a_file_keeps_everything() {
    let server = Server::with_workers(1);
    let workers = server.workers();
    std::fs::remove_file(server.path("unirs.toml")).expect("the settings file");
    server.signal(Signal::SIGHUP);
    server.wait_for_log("[ERROR]", 1);
    assert_eq!(server.get("/").status, 200);
    assert_eq!(server.workers(), workers);
}

#[test]
fn hup_whose_bind_fails_keeps_everything_and_names_the_address() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = taken.local_addr().expect("an address").to_string();
    let mut server = Server::with_workers(2);
    let binds = vec!["127.0.0.1:0".to_owned(), address.clone()];
    assert_refused(&mut server, |config| config.set("bind", binds), &address);
    drop(taken);
    server.reload(2);
    let mut client = Client::tcp(address.parse().expect("an address")).expect("the new bind is served");
    assert_eq!(client.get("/").expect("the new bind is served").status, 200);
}

#[test]
fn hup_keeps_the_old_workers_when_the_new_library_does_not_load() {
    let mut server = Server::with_workers(2);
    assert_refused(
        &mut server,
        |config| config.library(Path::new("/nowhere/libshop.so")),
        "/nowhere/libshop.so",
    );
    let text = server.path("libtext.so");
    std::fs::write(&text, "this is no library").expect("a file");
    assert_refused(&mut server, |config| config.library(&text), "libtext.so");
}

#[test]
fn hup_keeps_the_old_workers_when_the_new_application_does_not_start() {
    let mut server = Server::with_workers(3);
    assert_refused(&mut server, |config| config.app("start", "error"), "start with an error");
    server.configure(|config| config.app("start", "ok"));
    server.reload(3);
    assert_eq!(server.get("/").status, 200, "a good reload after a refused one");
}

#[test]
fn hup_keeps_the_old_workers_when_the_new_application_dies_or_hangs_at_its_start() {
    let mut server = Server::with_workers(2);
    // Only who hangs has little time: the workers of the start have all that a busy machine needs.
    for (at_start, boot_timeout) in [("exit", 60), ("abort", 60), ("hang", 2)] {
        let change =
            |config: support::Config| config.app("start", at_start).set("boot_timeout", boot_timeout);
        assert_refused(&mut server, change, "Worker failed to boot.");
    }
}

#[test]
fn no_request_fails_over_reloads_under_load() {
    for (class, style) in [
        ("sync", Style::KeepAlive),
        ("sync", Style::Close),
        ("threaded", Style::KeepAlive),
        ("threaded", Style::Close),
    ] {
        let server = Setup::new().set("workers", 2).set("worker_class", class).set("threads", 4).start();
        let load = Load::start(server.address(), 4, style, "/");
        load.wait_for(100);
        for _ in 0..5 {
            server.reload(2);
            load.wait_for(100);
        }
        load.finish().assert_all_answered(&format!("five reloads, {class}, {style:?}"));
    }
}

#[test]
fn no_request_fails_over_refused_reloads_under_load() {
    let mut server = Server::with_workers(2);
    let load = Load::start(server.address(), 4, Style::Close, "/");
    for _ in 0..3 {
        assert_refused(&mut server, |config| config.app("start", "error"), "start with an error");
        load.wait_for(50);
    }
    load.finish().assert_all_answered("three refused reloads");
}

#[test]
fn a_request_under_way_is_answered_by_the_worker_that_began_it() {
    let server = Server::with_workers(1);
    let mut client = server.client();
    let old = client.worker();
    client.send("GET /sleep/2000 HTTP/1.1\r\nHost: a\r\n\r\n").expect("a request");
    server.signal(Signal::SIGHUP);
    // Each of its requests is answered, and from the one that comes after the order to retire it is told to close.
    wait_until("its worker has been told to retire", || {
        let response = client.get("/").expect("a kept-alive connection outlives a reload");
        assert_eq!(response.status, 200);
        response.closes().then_some(())
    });
    server.wait_replaced(&[old], 1);
}

#[test]
fn an_idle_kept_alive_connection_is_answered_after_a_reload_and_told_to_close() {
    let server = Server::with_workers(1);
    let mut client = server.client();
    let old = client.worker();
    let listeners = server.listeners(old);
    server.signal(Signal::SIGHUP);
    // The new worker serves before the old one knows that it retires.
    wait_until("the old worker has left the listener", || {
        listeners.is_disjoint(&server.sockets(old)).then_some(())
    });
    let response = client.get("/").expect("a kept-alive connection outlives a reload");
    assert_eq!(response.status, 200);
    assert!(response.closes(), "its worker retires: {:?}", response.fields);
    server.wait_replaced(&[old], 1);
}

#[test]
fn an_address_that_stays_keeps_its_very_socket() {
    let server = Server::with_workers(1);
    let address = server.address();
    let listeners = || -> Vec<String> {
        let all = server.fds(server.master()).into_values();
        all.filter(|what| what.starts_with("socket:")).collect()
    };
    let before = listeners();
    server.reload(1);
    let after = listeners();
    assert!(
        before.iter().any(|socket| after.contains(socket)),
        "{before:?} and {after:?} share the listener"
    );
    assert_eq!(server.address(), address);
    assert_eq!(server.get("/").status, 200);
}

#[test]
fn binds_can_be_added_and_dropped() {
    let mut server = Setup::new().set("workers", 2).start();
    let first = server.address();
    let extra = TcpListener::bind("127.0.0.1:0").expect("a free port").local_addr().expect("an address");
    let unix = server.path("extra.sock");
    let binds = vec!["127.0.0.1:0".to_owned(), extra.to_string(), format!("unix:{}", unix.display())];
    server.configure(|config| config.set("bind", binds));
    server.reload(2);
    assert_eq!(Client::tcp(first).expect("the old bind").get("/").expect("the old bind").status, 200);
    assert_eq!(Client::tcp(extra).expect("the added port").get("/").expect("the added port").status, 200);
    assert_eq!(
        Client::unix(&unix).expect("the added socket").get("/").expect("the added socket").status,
        200
    );

    server.configure(|config| config.set("bind", vec!["127.0.0.1:0"]));
    server.reload(2);
    assert_eq!(Client::tcp(first).expect("the old bind").get("/").expect("the old bind").status, 200);
    wait_until("the dropped port refuses", || Client::tcp(extra).is_err().then_some(()));
    wait_until("the dropped unix socket is gone", || (!unix.exists()).then_some(()));
}

#[test]
fn a_bind_that_is_dropped_under_load_resets_nobody() {
    let mut server = Setup::new().set("workers", 2).start();
    let extra = TcpListener::bind("127.0.0.1:0").expect("a free port").local_addr().expect("an address");
    server.configure(|config| config.set("bind", vec!["127.0.0.1:0".to_owned(), extra.to_string()]));
    server.reload(2);
    let load = Load::start(extra, 4, Style::Close, "/");
    load.wait_for(50);
    server.configure(|config| config.set("bind", vec!["127.0.0.1:0"]));
    server.reload(2);
    let tally = load.until_refused();
    tally.assert_no_failures("a bind dropped by a reload");
    assert_eq!(tally.refused, 4, "every client saw the end of the bind");
}

#[test]
fn the_newest_of_many_hups_wins() {
    let mut server = Server::with_workers(1);
    for workers in [2, 3, 4] {
        let handled = server.count_log("Handling signal: hup");
        server.configure(|config| config.set("workers", workers));
        server.signal(Signal::SIGHUP);
        server.wait_for_log("Handling signal: hup", handled + 1);
    }
    server.wait_workers(4);
    assert_eq!(server.get("/").status, 200);
}

#[test]
fn a_worker_that_dies_during_a_reload_does_not_spoil_it() {
    let server = Server::with_workers(2);
    let old = server.workers();
    server.signal(Signal::SIGHUP);
    process::signal(old[0], Signal::SIGKILL);
    server.wait_replaced(&old, 2);
    assert_eq!(server.get("/").status, 200);
}
