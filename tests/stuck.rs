//! A call that is stuck in an application in C: what the record has of it, with and without names, and of a worker that does
//! not hear. What the client sees is in `overtime.rs`, what is no time limit's business in `timeouts.rs`.
mod support;

use std::path::Path;
use std::process::Command;

use nix::unistd::Pid;
use support::{Broken, Client, Server, Setup, compile_c, process, wait_until};

const STUCK: &str = include_str!("support/stuck.c");

/// A server with one worker that runs `stuck.c`, after `change` of the library.
fn start(class: &str, change: impl Fn(&Path)) -> Server {
    let setup = Setup::new()
        .set("worker_class", class)
        .set("threads", 4)
        .set("timeout", 2)
        .set("graceful_timeout", 5);
    let library = compile_c(setup.dir(), "cart", STUCK, "");
    change(&library);
    setup.configure(|config| config.library(&library)).start()
}

fn in_each_class(change: impl Fn(&Path), check: impl Fn(&str, Server)) {
    for class in ["sync", "threaded"] {
        check(class, start(class, &change));
    }
}

fn as_it_is(_: &Path) {}

/// Sends a request that will be stuck; who serves it.
fn stick(client: &mut Client, path: &str) -> Pid {
    let victim = client.worker();
    client.send(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n")).expect("a request");
    victim
}

/// The record of a worker whose call was over its time: a headline and the lines that belong to it.
fn record(server: &Server, worker: Pid) -> String {
    let headline = format!("[ERROR] Worker (pid:{worker}) was too long in a request");
    wait_until("the record", || {
        let log = server.log();
        let start = log.find(&headline)?;
        let end = log[start..].find("\n[").map_or(log.len(), |end| start + end);
        Some(log[start..end].to_owned())
    })
}

#[test]
fn the_client_is_answered_504_and_the_record_names_the_function() {
    in_each_class(as_it_is, |class, server| {
        let mut client = server.client();
        let victim = stick(&mut client, "/stuck");
        let response = client.answer().unwrap_or_else(|broken| panic!("{class}: {broken}"));
        assert_eq!((response.status, response.closes()), (504, true), "{class}");
        let record = record(&server, victim);
        for part in ["| GET /stuck |", "| client 127.0.0.1", "| age ", "the client was answered 504"] {
            assert!(record.contains(part), "{class}: {part:?} is not in {record}");
        }
        let frames: Vec<&str> = record.lines().filter(|line| line.starts_with("    #")).collect();
        assert!(
            frames.iter().any(|frame| frame.contains("lock_the_cart (libcart.so+0x")),
            "{class}: {record}"
        );
        assert_eq!(server.count_log(&format!("WORKER TIMEOUT (pid:{victim})")), 1, "{class}");
        server.wait_replaced(&[victim], 1);
    });
}

#[test]
fn a_function_of_cpp_is_named_as_its_author_wrote_it() {
    let server = start("sync", as_it_is);
    let victim = stick(&mut server.client(), "/stuck-in-cpp");
    let record = record(&server, victim);
    assert!(record.contains(" cart::lock(int) (libcart.so+0x"), "{record}");
}

#[test]
fn a_stripped_library_has_modules_and_offsets() {
    let strip = |library: &Path| {
        let done = Command::new("strip").arg(library).status().expect("strip, which comes with the compiler");
        assert!(done.success());
    };
    in_each_class(strip, |class, server| {
        let victim = stick(&mut server.client(), "/stuck");
        let record = record(&server, victim);
        assert!(record.contains("libcart.so+0x"), "{class}: {record}");
        assert!(!record.contains("lock_the_cart"), "{class}: {record}");
    });
}

#[test]
fn an_answer_that_has_begun_is_cut() {
    in_each_class(as_it_is, |class, server| {
        let mut client = server.client();
        let victim = stick(&mut client, "/begun");
        let end = client.answer().map(|response| response.status);
        assert!(matches!(end, Err(Broken::Cut | Broken::Reset)), "{class}: {end:?}");
        let record = record(&server, victim);
        assert!(record.contains("the connection was cut"), "{class}: {record}");
        server.wait_replaced(&[victim], 1);
    });
}

#[test]
fn whoever_does_not_hear_is_killed_a_second_later_with_a_record_from_outside() {
    for path in ["/ignored", "/blocked"] {
        in_each_class(as_it_is, |class, server| {
            let mut client = server.client();
            let victim = stick(&mut client, path);
            assert!(client.answer().is_err(), "{class}: nobody could answer");
            let record = record(&server, victim);
            for part in ["did not react within a second", &format!("| GET {path} |"), "| age ", "| no stack"]
            {
                assert!(record.contains(part), "{class}: {part:?} is not in {record}");
            }
            server.wait_for_log(&format!("Worker (pid:{victim}) was sent SIGKILL by the master"), 1);
            server.wait_replaced(&[victim], 1);
        });
    }
}

#[test]
fn the_other_calls_of_a_threaded_worker_are_answered_by_it() {
    let server = start("threaded", as_it_is);
    let mut others: Vec<Client> = (0..2).map(|_| server.client()).collect();
    for other in &mut others {
        other.send("GET /wait HTTP/1.1\r\nHost: a\r\n\r\n").expect("a request");
    }
    wait_until("both calls are under way", || server.path("waiting-2").exists().then_some(()));
    let mut client = server.client();
    let victim = stick(&mut client, "/stuck");
    assert_eq!(client.answer().expect("the call over its time").status, 504);
    // A worker serves in its place before it has gone.
    wait_until("another worker serves", || {
        let pid = server.try_get("/pid").ok()?.text();
        (pid != victim.to_string()).then_some(())
    });
    assert!(!process::is_dead(victim), "it has not gone before its other calls have ended");
    std::fs::write(server.path("release"), "").expect("a file");
    for other in &mut others {
        let response = other.answer().expect("a call beside one that was over its time");
        assert_eq!((response.status, response.text()), (200, victim.to_string()));
    }
    wait_until("then it goes", || process::is_dead(victim).then_some(()));
    server.wait_for_log(&format!("Worker (pid:{victim})"), 2);
}
