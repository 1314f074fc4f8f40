//! Clients that take their time hold buffers and descriptors, never a worker; and they end.
mod support;

use std::time::{Duration, Instant};

use nix::sys::socket::{setsockopt, sockopt};
use support::{Client, Server, Setup, wait_until};

/// How many there are of each kind.
const EACH: usize = 300;

/// How many that do not read: what they do not read is kept for them.
const DEAF: usize = 20;

/// What is sent of a request, again and again.
const DRIP: &str = "GET / HTTP/1.1\r\nHost: a\r\nX: abcdefghijklmnopqrstuvwxyz";

/// The slow ones, by what they do.
struct Slow {
    /// They send a byte of a head now and then.
    dripping: Vec<Client>,
    half_heads: Vec<Client>,
    half_bodies: Vec<Client>,
    /// They asked for much, and read nothing: that they are gone shows in the worker's descriptors.
    deaf: Vec<Client>,
}

impl Slow {
    fn connect(server: &Server) -> Slow {
        let many = |count: usize, bytes: &str| -> Vec<Client> {
            (0..count)
                .map(|_| {
                    let mut client = server.client();
                    setsockopt(&client, sockopt::RcvBuf, &4096).expect("a socket takes a size");
                    client.send(bytes).expect("a few bytes");
                    client
                })
                .collect()
        };
        Slow {
            dripping: many(EACH, &DRIP[..1]),
            half_heads: many(EACH, "GET / HTTP/1.1\r\nHost: a\r\n"),
            half_bodies: many(EACH, "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhalf"),
            deaf: many(DEAF, "GET /large/6000000 HTTP/1.1\r\nHost: a\r\n\r\n"),
        }
    }

    /// One more byte of each. Those that were answered may be gone.
    fn drip(&mut self, at: usize) {
        for client in &mut self.dripping {
            let _ = client.send(&DRIP[at..=at]);
        }
    }

    fn is_refused(client: &mut Client, scenario: &str) {
        match client.answer() {
            Ok(response) => assert_eq!(response.status, 408, "{scenario}"),
            Err(broken) => panic!("{scenario}: {broken}"),
        }
    }
}

#[test]
fn a_thousand_slow_clients_do_not_delay_a_normal_one_and_end_in_time() {
    for (class, threads) in [("sync", 1), ("threaded", 4)] {
        let setup = Setup::new().set("worker_class", class).set("threads", threads);
        let setup = setup.set("worker_connections", 3000).set("header_timeout", 4).set("body_timeout", 4);
        let server = setup.set("write_timeout", 4).set("keepalive", 60).start();
        let worker = server.workers()[0];
        let mut normal = server.client();
        assert_eq!(normal.get("/").expect("before the others").status, 200, "{class}");
        let before = server.fds(worker).len();

        let start = Instant::now();
        let mut slow = Slow::connect(&server);
        for round in 1..20 {
            for _ in 0..10 {
                assert_eq!(normal.get("/").expect("beside the others").status, 200, "{class}");
            }
            slow.drip(round);
        }
        let held = server.fds(worker).len() - before;
        // On a machine that is too slow for this there is nothing to see.
        let in_time = start.elapsed() < Duration::from_millis(3_500);
        assert!(!in_time || held >= 3 * EACH + DEAF, "{class}: they are all still there: {held}");

        wait_until(format_args!("{class}: all the slow ones are gone"), || {
            (server.fds(worker).len() <= before).then_some(())
        });
        for kind in [&mut slow.dripping, &mut slow.half_heads, &mut slow.half_bodies] {
            kind.iter_mut().for_each(|client| Slow::is_refused(client, class));
        }
        drop(slow.deaf);
        assert_eq!(server.get("/").status, 200, "{class}");
        assert_eq!(server.workers(), [worker], "{class}: the worker is the same");
    }
}

#[test]
fn a_head_that_comes_all_the_time_and_never_ends_is_408() {
    let server = Setup::new().set("header_timeout", 1).start();
    let mut client = server.client();
    client.send("GET / HTTP/1.1\r\nHost: a\r\nX: ").expect("a beginning");
    wait_until("the server has had enough", || match client.send("x") {
        Ok(()) => (!client.received().is_empty() || !client.take_arrived()).then_some(()),
        Err(_) => Some(()),
    });
    assert_eq!(client.answer().expect("a page").status, 408);
}

#[test]
fn a_body_that_pauses_is_waited_for_and_one_that_stops_is_408() {
    let server =
        Setup::new().set("worker_class", "threaded").set("threads", 4).set("body_timeout", 4).start();
    let address = server.address();
    let pause = |path: &str, length: usize| {
        let mut client = Client::tcp(address).expect("it listens");
        let head = format!("POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n");
        client.send(head).expect("a head");
        // The pace is the scenario: longer than the limit in all, never longer between two pieces.
        let start = Instant::now();
        for piece in 1..=5 {
            client.send(vec![b'x'; length / 6]).expect("a piece");
            wait_until("the next piece is due", || {
                (start.elapsed() >= Duration::from_millis(1000 * piece)).then_some(())
            });
        }
        assert_eq!(client.answer().expect("the sixth piece never comes").status, 408, "{path}");
        client.assert_closed(path);
    };
    std::thread::scope(|scope| {
        scope.spawn(|| pause("/echo", 6));
        scope.spawn(|| pause("/length", 300_000));
    });
}
