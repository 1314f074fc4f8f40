//! Both logs: what a line says, that it is whole, that it is in the right file, and that no log stops the server.
mod support;

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt;
use std::thread;
use std::time::{Duration, Instant};

use support::{Client, Load, Server, Setup, Signal, Style, is_root, process, wait_until};

fn with_access_log(format: &str) -> Setup {
    Setup::new().set("accesslog", "access.log").set("access_log_format", format)
}

/// Waits for `count` lines in a log and returns them.
fn lines(server: &Server, name: &str, count: usize) -> Vec<String> {
    wait_until(format_args!("{name} has {count} lines"), || {
        let lines: Vec<String> = server.read(name).lines().map(str::to_owned).collect();
        (lines.len() >= count).then_some(lines)
    })
}

/// The line that says where the server listens may be in a file that was moved away.
fn get_twenty_times(address: SocketAddr) {
    for number in 1..=20 {
        let answer = Client::tcp(address).and_then(|mut client| client.last_get("/"));
        let response = answer.unwrap_or_else(|broken| panic!("request {number} after a rotation: {broken}"));
        assert_eq!(response.status, 200);
    }
}

#[test]
fn the_default_access_line_is_gunicorn_s() {
    let server = Setup::new().set("accesslog", "access.log").start();
    let mut client = server.client();
    client
        .send("GET /?a=b HTTP/1.1\r\nHost: a\r\nReferer: http://here/\r\nUser-Agent: test/1\r\n\r\n")
        .expect("a request");
    let length = client.answer().expect("an answer").body.len();
    let line = lines(&server, "access.log", 1).remove(0);
    let size = if length == 0 { "-".to_owned() } else { length.to_string() };
    let (before, after) = line.split_once(" [").expect("a time in brackets");
    assert_eq!(before, "127.0.0.1 - -");
    let (time, rest) = after.split_once("] ").expect("a time in brackets");
    assert_eq!(time.len(), "22/Nov/2026:10:00:00 +0000".len(), "{time}");
    assert_eq!(rest, format!("\"GET /?a=b HTTP/1.1\" 200 {size} \"http://here/\" \"test/1\""));
}

/// A thread that is woken for what another's wait has brought knows when that was.
#[test]
fn a_request_is_no_older_than_its_arrival_whichever_thread_serves_it() {
    let server = with_access_log("%(D)s").set("worker_class", "threaded").set("threads", 8).start();
    thread::sleep(Duration::from_secs(2));
    let began = Instant::now();
    let load = Load::start(server.address(), 16, Style::KeepAlive, "/sleep/5");
    load.wait_for(400);
    load.finish().assert_all_answered("sixteen clients");
    let longest = began.elapsed().as_micros();
    for line in lines(&server, "access.log", 400) {
        let duration: u128 = line.parse().expect("microseconds");
        assert!(duration <= longest, "{duration} us, but the first request came {longest} us ago");
    }
}

#[test]
fn every_atom_of_gunicorn_has_its_value() {
    let atoms = "h l u m U q H s B b f a r";
    let format: Vec<String> = atoms.split(' ').map(|atom| format!("{atom}=%({atom})s")).collect();
    let server = with_access_log(&format!(
        "{}|p=%(p)s|T=%(T)s|M=%(M)s|D=%(D)s|L=%(L)s|i=%({{x-one}}i)s|o=%({{server}}o)s|none=%({{x-two}}i)s|%%",
        format.join("|")
    ))
    .start();
    let mut client = server.client();
    let worker = client.worker();
    client
        .send(
            "POST /echo?x=1&y=2 HTTP/1.1\r\nHost: a\r\nX-One: eins\r\nAuthorization: Basic dXNlcjpwYXNz\r\n\
             Referer: r\r\nUser-Agent: u\r\nContent-Length: 5\r\n\r\nhello",
        )
        .expect("a request");
    assert_eq!(client.answer().expect("an answer").text(), "hello");
    let line = lines(&server, "access.log", 2).remove(1);
    let expected = "h=127.0.0.1|l=-|u=user|m=POST|U=/echo|q=x=1&y=2|H=HTTP/1.1|s=200|B=5|b=5|f=r|a=u|\
                    r=POST /echo?x=1&y=2 HTTP/1.1|";
    let rest = line.strip_prefix(expected).unwrap_or_else(|| panic!("{line}\nis not\n{expected}..."));
    let fields: Vec<&str> = rest.split('|').collect();
    assert_eq!(fields[0], format!("p=<{worker}>"));
    for (field, name) in fields[1..5].iter().zip(["T=", "M=", "D=", "L="]) {
        let number = field.strip_prefix(name).unwrap_or_else(|| panic!("{field} is {name}"));
        assert!(number.parse::<f64>().is_ok(), "{field} is a number");
    }
    assert_eq!(&fields[5..], ["i=eins", "o=unirs", "none=-", "%"]);
}

#[test]
fn an_atom_that_does_not_exist_is_an_error_of_the_settings() {
    let failure = with_access_log("%(h)s %(zz)s").fail();
    failure.assert(1, "access_log_format", "an unknown atom");
}

#[test]
fn each_response_has_exactly_one_line_whoever_made_it() {
    let server = Setup::new().set("accesslog", "access.log").set("limit_request_line", 100).start();
    let statuses =
        [("/", 200), ("/status/404", 404), ("/panic", 500), (&*format!("/{}", "x".repeat(200)), 414)];
    for (target, status) in statuses {
        assert_eq!(server.get(target).status, status, "{target}");
    }
    let mut bad = server.client();
    bad.send("GET / HTTP/1.1\r\n\r\n").expect("a request without a Host");
    assert_eq!(bad.answer().expect("an answer").status, 400);
    let seen = lines(&server, "access.log", 5);
    for (line, status) in seen.iter().zip([200, 404, 500, 414, 400]) {
        assert!(line.contains(&format!("\" {status} ")), "{status}: {line}");
    }
    assert_eq!(seen.len(), 5, "{seen:?}");
    assert!(seen[3].contains("\"GET /xxxx"), "what was refused is shown as it came: {}", seen[3]);
    assert!(seen[4].contains("\"GET / HTTP/1.1\" 400 "), "{}", seen[4]);
}

#[test]
fn a_client_that_leaves_within_its_response_has_a_line_too() {
    let server = Setup::new().set("accesslog", "access.log").start();
    let mut client = server.client();
    client.send("GET /stream-for-ever HTTP/1.1\r\nHost: a\r\n\r\n").expect("a request");
    client.wait_for_bytes(1).expect("the response begins");
    drop(client);
    lines(&server, "access.log", 1);
}

#[test]
fn nothing_from_the_network_can_forge_a_line() {
    let server = Setup::new().set("accesslog", "access.log").start();
    let mut client = server.client();
    client
        .send("GET /a%0d%0ab HTTP/1.1\r\nHost: a\r\nUser-Agent: a\" 200 \\ \t\u{80}\r\n\r\n")
        .expect("a request");
    client.answer().expect("an answer");
    let seen = lines(&server, "access.log", 1);
    assert_eq!(seen.len(), 1, "{seen:?}");
    assert!(seen[0].contains(r#"a\" 200 "#), "a quote is escaped: {}", seen[0]);
    assert!(!seen[0].contains('\t'), "a control character is escaped: {}", seen[0]);
}

#[test]
fn under_load_over_hup_and_over_usr1_each_response_has_one_whole_line() {
    for class in ["sync", "threaded"] {
        let format = "begin %(m)s %(U)s %(s)s end";
        let server =
            with_access_log(format).set("workers", 2).set("worker_class", class).set("threads", 4).start();
        let load = Load::start(server.address(), 4, Style::KeepAlive, "/");
        load.wait_for(300);
        server.reload(2);
        load.wait_for(300);
        fs::rename(server.path("access.log"), server.path("access.log.1")).expect("a rotation");
        server.signal(Signal::SIGUSR1);
        wait_until("the new file is there", || server.path("access.log").exists().then_some(()));
        load.wait_for(300);
        server.reload(2);
        load.wait_for(300);
        let tally = load.finish();
        tally.assert_all_answered(class);
        let all = || format!("{}{}", server.read("access.log.1"), server.read("access.log"));
        wait_until(format_args!("{class}: {} lines", tally.answered), || {
            (all().lines().count() as u64 >= tally.answered).then_some(())
        });
        let text = all();
        assert_eq!(text.lines().count() as u64, tally.answered, "{class}: one line for each response");
        for line in text.lines() {
            assert_eq!(line, "begin GET / 200 end", "{class}: a torn line");
        }
    }
}

#[test]
fn usr1_moves_both_logs_to_new_files_and_leaves_the_old_ones_alone() {
    let server =
        Setup::new().set("workers", 2).set("accesslog", "access.log").set("errorlog", "error.log").start();
    let address = server.address();
    assert_eq!(server.get("/").status, 200);
    lines(&server, "access.log", 1);
    fs::rename(server.path("access.log"), server.path("access.log.1")).expect("a rotation");
    fs::rename(server.path("error.log"), server.path("error.log.1")).expect("a rotation");
    server.signal(Signal::SIGUSR1);
    wait_until("nobody holds the old files", || {
        let holds_old = |pid| server.fds(pid).values().any(|what| what.ends_with(".1"));
        (!holds_old(server.master()) && !server.workers().into_iter().any(holds_old)).then_some(())
    });
    let (old_access, old_error) = (server.read("access.log.1"), server.read("error.log.1"));
    get_twenty_times(address);
    lines(&server, "access.log", 20);
    server.reload(2);
    wait_until("the new error log is used", || {
        server.read("error.log").contains("Booting worker").then_some(())
    });
    assert_eq!(server.read("access.log.1"), old_access, "the old access log");
    assert_eq!(server.read("error.log.1"), old_error, "the old error log");
}

#[test]
fn usr1_to_a_worker_reopens_that_worker_s_logs() {
    let server = Setup::new().set("accesslog", "access.log").start();
    fs::rename(server.path("access.log"), server.path("access.log.1")).expect("a rotation");
    fs::write(server.path("access.log"), "").expect("the next file");
    let worker = server.workers()[0];
    process::signal(worker, Signal::SIGUSR1);
    wait_until("the worker does not hold the old file", || {
        (!server.fds(worker).values().any(|what| what.ends_with(".1"))).then_some(())
    });
    assert_eq!(server.get("/").status, 200);
    lines(&server, "access.log", 1);
}

#[test]
fn logs_go_on_after_usr1_when_the_workers_may_not_write_to_the_folder() {
    if !is_root() {
        return;
    }
    let server = Setup::new()
        .user("nobody")
        .set("workers", 2)
        .set("accesslog", "access.log")
        .set("errorlog", "error.log")
        .start();
    let address = server.address();
    assert_eq!(server.get("/").status, 200);
    lines(&server, "access.log", 1);
    for name in ["access.log", "error.log"] {
        fs::rename(server.path(name), server.path(&format!("{name}.1"))).expect("a rotation");
    }
    server.signal(Signal::SIGUSR1);
    wait_until("nobody holds the old files", || {
        let holds_old = |pid| server.fds(pid).values().any(|what| what.ends_with(".1"));
        (!holds_old(server.master()) && !server.workers().into_iter().any(holds_old)).then_some(())
    });
    get_twenty_times(address);
    lines(&server, "access.log", 20);
    let folder = fs::metadata(server.dir()).expect("the folder");
    assert_eq!(
        (folder.uid(), folder.mode() & 0o777),
        (0, 0o755),
        "the folder is root's, as the scenario wants it"
    );
}

#[test]
fn a_log_that_cannot_be_written_never_stops_the_server_and_is_said_once() {
    let server = Setup::new().set("accesslog", "/dev/full").start();
    for _ in 0..50 {
        assert_eq!(server.get("/").status, 200);
    }
    server.wait_for_log("/dev/full", 1);
    assert_eq!(server.count_log("/dev/full"), 1, "said once");
}

#[test]
fn an_error_log_that_cannot_be_written_never_stops_the_server() {
    let notified = Setup::new().set("errorlog", "/dev/full").set("bind", vec!["unix:unirs.sock"]);
    let mut server = notified.start();
    let mut client = Client::unix(&server.path("unirs.sock")).expect("the server listens");
    assert_eq!(client.get("/").expect("an answer").status, 200);
    server.reload(1);
    server.signal(Signal::SIGTERM);
    assert_eq!(server.wait_exit(), 0);
}

#[test]
fn a_log_whose_reader_has_gone_never_stops_the_server() {
    let (reader, writer) = std::io::pipe().expect("a pipe");
    let server = Setup::new().set("accesslog", "-").stdout(writer).start();
    assert_eq!(server.get("/").status, 200);
    drop(reader);
    let workers = server.workers();
    for _ in 0..50 {
        assert_eq!(server.get("/").status, 200);
    }
    assert_eq!(server.workers(), workers);
}

#[test]
fn a_log_that_nobody_reads_never_blocks_the_server() {
    let (_reader, writer) = std::io::pipe().expect("a pipe");
    let server = Setup::new().set("accesslog", "-").stdout(writer).start();
    let mut client = server.client();
    for number in 0..2_000 {
        let response = client.get("/").unwrap_or_else(|broken| panic!("request {number}: {broken}"));
        assert_eq!(response.status, 200, "request {number}");
    }
}

#[test]
fn error_lines_have_gunicorn_s_shape_and_the_pid_of_who_wrote_them() {
    let server = Server::with_workers(1);
    let log = server.log();
    let worker = server.workers()[0];
    for line in log.lines() {
        let (time, rest) = line.strip_prefix('[').and_then(|rest| rest.split_once("] [")).expect(line);
        assert_eq!(time.len(), "2026-11-22 10:00:00 +0000".len(), "{line}");
        let (pid, rest) = rest.split_once("] [").expect(line);
        assert!(pid == server.master().to_string() || pid == worker.to_string(), "{line}");
        let (level, _) = rest.split_once("] ").expect(line);
        assert!(["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"].contains(&level), "{line}");
    }
    let booting = format!("[INFO] Booting worker with pid: {worker}");
    assert!(log.contains(&booting), "{log}");
}

#[test]
fn loglevel_leaves_out_what_is_less() {
    let server = Setup::new().set("loglevel", "warning").set("bind", vec!["unix:unirs.sock"]).start();
    assert_eq!(server.log(), "", "an ordinary start at loglevel warning");
}

#[test]
fn a_bad_request_is_said_with_its_peer() {
    let server = Server::with_workers(1);
    let mut client = server.client();
    client.send("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n").expect("a request");
    assert_eq!(client.answer().expect("an answer").status, 400);
    server.wait_for_log("Invalid request from ip=127.0.0.1: ", 1);
}
