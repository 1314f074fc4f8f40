//! Closing a TCP listener: nobody who got in is reset, and newcomers are refused.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::{address, tcp};
use crate::listener::tcp::Refusal;
use crate::listener::{Listener, Options, Origin};
use crate::sys::socket::wait_readable;

/// The closing protocol of a TCP listener, against clients that connect without a pause: whoever got in is answered,
/// nobody is reset, and in the end newcomers are refused.
fn close_under_load(deferred: bool, refusal: Option<Refusal>) {
    let listener = listener(deferred, refusal);
    let target = address(&listener);
    let (answered, stop) = (AtomicUsize::new(0), AtomicBool::new(false));
    thread::scope(|scope| {
        let clients: Vec<_> =
            (0..8).map(|_| scope.spawn(|| ask_until_refused(target, &answered, &stop))).collect();
        serve_for(&listener, Duration::from_millis(300));
        listener.refuse_newcomers().unwrap();
        serve_for(&listener, listener.quiet_before_close());
        drop(listener);
        let endings: Vec<_> = clients.into_iter().map(|client| client.join().unwrap()).collect();
        stop.store(true, Ordering::Relaxed);
        assert!(endings.iter().all(|ending| *ending == ErrorKind::ConnectionRefused), "{endings:?}");
    });
    assert!(answered.load(Ordering::Relaxed) > 100, "there was load: {answered:?}");
}

/// Accepts and answers until nothing has come for `quiet`; before the filter, simply for that long.
fn serve_for(listener: &Listener, quiet: Duration) {
    let began = Instant::now();
    while wait_readable(listener, Some(quiet)).unwrap() {
        while let Ok((socket, _)) = listener.accept() {
            answer(socket);
        }
        if began.elapsed() > quiet.max(Duration::from_millis(300)) * 4 {
            return;
        }
    }
}

fn answer(socket: OwnedFd) {
    let mut stream = TcpStream::from(socket);
    stream.set_nonblocking(false).unwrap();
    let mut request = [0; 4];
    stream.read_exact(&mut request).unwrap();
    stream.write_all(b"pong").unwrap();
}

/// The kind of error that ended it, which has to come while connecting: afterwards it is a failure.
fn ask_until_refused(target: SocketAddr, answered: &AtomicUsize, stop: &AtomicBool) -> ErrorKind {
    while !stop.load(Ordering::Relaxed) {
        let mut stream = match TcpStream::connect_timeout(&target, Duration::from_secs(10)) {
            Ok(stream) => stream,
            Err(error) => return error.kind(),
        };
        stream.write_all(b"ping").expect("a connected client could not send");
        let mut reply = String::new();
        stream.read_to_string(&mut reply).expect("a connected client was reset");
        assert_eq!(reply, "pong");
        answered.fetch_add(1, Ordering::Relaxed);
    }
    ErrorKind::Other
}

#[test]
fn closing_resets_nobody_and_refuses_newcomers() {
    close_under_load(false, None);
}

#[test]
fn closing_resets_nobody_where_connections_were_deferred() {
    close_under_load(true, None);
}

#[test]
fn closing_without_the_right_to_filter_resets_nobody() {
    close_under_load(false, Some(Refusal::Hops));
    close_under_load(true, Some(Refusal::Hops));
}

#[test]
fn a_silent_client_that_was_deferred_is_not_reset_either() {
    for refusal in [None, Some(Refusal::Hops)] {
        let listener = listener(true, refusal);
        let mut silent = TcpStream::connect(address(&listener)).unwrap();
        listener.refuse_newcomers().unwrap();
        assert!(wait_readable(&listener, Some(listener.quiet_before_close())).unwrap());
        let (socket, _) = listener.accept().unwrap();
        drop(listener);
        silent.write_all(b"ping").unwrap();
        answer(socket);
        let mut reply = String::new();
        silent.read_to_string(&mut reply).unwrap();
        assert_eq!(reply, "pong");
    }
}

/// A listener that is closed as this user may, or in the way that is asked for.
fn listener(deferred: bool, wanted: Option<Refusal>) -> Listener {
    let options = Options { defer_accept: deferred, ..Options::default() };
    let mut listener = Listener::open(&tcp("127.0.0.1", 0), &options).unwrap();
    if let (Some(wanted), Origin::Tcp { refusal, .. }) = (wanted, &mut listener.origin) {
        *refusal = wanted;
    }
    listener
}
