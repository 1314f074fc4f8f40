//! What the calls promise, on real sockets.

use std::io::{ErrorKind, IoSlice, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixListener;
use std::thread;

use nix::fcntl::{FcntlArg, FdFlag, OFlag, fcntl};

use super::*;
use crate::sys::testing::has_ipv6;

fn listener(address: &str) -> OwnedFd {
    let address = address.parse().unwrap();
    let socket = tcp_socket(&address).unwrap();
    set_reuse_address(&socket).unwrap();
    bind_tcp(&socket, &address).unwrap();
    listen(&socket, 64).unwrap();
    socket
}

fn address_of(socket: &OwnedFd) -> SocketAddr {
    match local_address(socket).unwrap() {
        LocalAddress::Internet(address) => address,
        other => panic!("{other:?}"),
    }
}

fn loopbacks() -> &'static [&'static str] {
    let all = &["127.0.0.1:0", "[::1]:0"];
    if has_ipv6() { all } else { &all[..1] }
}

/// The server's end and the client's.
fn connection() -> (OwnedFd, TcpStream) {
    let listener = listener("127.0.0.1:0");
    let client = TcpStream::connect(address_of(&listener)).unwrap();
    (accept4(&listener).unwrap().0, client)
}

#[test]
fn an_accepted_socket_is_ours_alone_and_knows_its_peer() {
    for address in loopbacks() {
        let listener = listener(address);
        assert_eq!(accept4(&listener).unwrap_err().kind(), ErrorKind::WouldBlock);
        let client = TcpStream::connect(address_of(&listener)).unwrap();
        let (socket, peer) = accept4(&listener).unwrap();
        assert_eq!(peer, Some(client.local_addr().unwrap()));
        let flags = FdFlag::from_bits_retain(fcntl(&socket, FcntlArg::F_GETFD).unwrap());
        assert!(flags.contains(FdFlag::FD_CLOEXEC));
        let status = OFlag::from_bits_retain(fcntl(&socket, FcntlArg::F_GETFL).unwrap());
        assert!(status.contains(OFlag::O_NONBLOCK));
    }
}

#[test]
fn nothing_waits_and_the_end_is_seen() {
    let (socket, mut client) = connection();
    let mut buffer = [0; 16];
    assert_eq!(recv(&socket, &mut buffer).unwrap_err().kind(), ErrorKind::WouldBlock);
    assert!(!wait_readable(&socket, Some(Duration::from_millis(5))).unwrap());
    assert!(!peer_gone(&socket));
    client.write_all(b"hello").unwrap();
    assert!(wait_readable(&socket, None).unwrap());
    assert_eq!(recv(&socket, &mut buffer).unwrap(), 5);
    assert_eq!(send(&socket, b"HE", true).unwrap(), 2);
    let slices = [IoSlice::new(b"L"), IoSlice::new(b""), IoSlice::new(b"LO")];
    assert_eq!(send_vectored(&socket, &slices, false).unwrap(), 3);
    client.read_exact(&mut buffer[..5]).unwrap();
    assert_eq!(&buffer[..5], b"HELLO");
    shutdown_write(&socket).unwrap();
    assert_eq!(client.read(&mut buffer).unwrap(), 0);
    client.write_all(b"last").unwrap();
    drop(client);
    assert!(wait_readable(&socket, None).unwrap());
    assert!(peer_gone(&socket), "and its last bytes are still there:");
    assert_eq!(recv(&socket, &mut buffer).unwrap(), 4);
    assert_eq!(recv(&socket, &mut buffer).unwrap(), 0);
}

#[test]
fn a_full_socket_and_a_dead_peer_are_errors_and_no_signal() {
    let (socket, client) = connection();
    let block = vec![b'x'; 1 << 20];
    let full = loop {
        match send(&socket, &block, false) {
            Ok(_) => continue,
            Err(error) => break error,
        }
    };
    assert_eq!(full.kind(), ErrorKind::WouldBlock);
    assert!(!wait_writable(&socket, Some(Duration::from_millis(5))).unwrap());
    drop(client);
    assert!(wait_writable(&socket, None).unwrap());
    let dead = send(&socket, &block, false).unwrap_err().kind();
    assert!(matches!(dead, ErrorKind::ConnectionReset | ErrorKind::BrokenPipe), "{dead:?}");
    assert_eq!(send(&socket, &block, false).unwrap_err().kind(), ErrorKind::BrokenPipe);
}

#[test]
fn sendfile_goes_on_where_it_stopped() {
    let (socket, mut client) = connection();
    let mut file = tempfile::tempfile().unwrap();
    let content: Vec<u8> = (0..3_000_000u32).map(|number| number as u8).collect();
    file.write_all(&content).unwrap();
    let reader = thread::spawn(move || {
        let mut received = Vec::new();
        client.read_to_end(&mut received).unwrap();
        received
    });
    let mut offset = 10;
    loop {
        match sendfile(&socket, &file, &mut offset, 1 << 30) {
            Ok(0) => break,
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                assert!(wait_writable(&socket, None).unwrap());
            }
            Err(error) => panic!("{error}"),
        }
    }
    assert_eq!(offset, content.len() as u64);
    drop(socket);
    assert!(reader.join().unwrap() == content[10..], "the bytes differ");
    let (socket, _client) = connection();
    let mut beyond = u64::MAX;
    assert!(sendfile(&socket, &file, &mut beyond, 1).is_err());
}

#[test]
fn a_filter_keeps_newcomers_out_and_lets_the_connected_go_on() {
    if may_attach_filter(listener("127.0.0.1:0")) {
        loopbacks()
            .iter()
            .for_each(|address| refuse(address, |listener, _| attach_drop_syn_filter(listener)));
    }
}

#[test]
fn a_demand_of_hops_keeps_newcomers_out_and_lets_the_connected_go_on() {
    loopbacks()
        .iter()
        .for_each(|address| refuse(address, |listener, is_v6| demand_hops(listener, is_v6, 255)));
}

fn refuse(address: &str, begin: fn(&OwnedFd, bool) -> io::Result<()>) {
    let listener = listener(address);
    let bound = address_of(&listener);
    let mut before = TcpStream::connect(bound).unwrap();
    begin(&listener, bound.is_ipv6()).unwrap();
    let newcomer = TcpStream::connect_timeout(&bound, Duration::from_millis(300));
    assert_eq!(newcomer.unwrap_err().kind(), ErrorKind::TimedOut, "{address}");
    let (socket, _) = accept4(&listener).unwrap();
    drop(listener);
    before.write_all(b"still here").unwrap();
    assert!(wait_readable(&socket, None).unwrap());
    assert_eq!(recv(&socket, &mut [0; 16]).unwrap(), 10);
    send(&socket, b"me too", false).unwrap();
    drop(socket);
    let mut answer = String::new();
    before.read_to_string(&mut answer).unwrap();
    assert_eq!(answer, "me too");
    assert_eq!(TcpStream::connect(bound).unwrap_err().kind(), ErrorKind::ConnectionRefused);
}

#[test]
fn a_deferred_connection_is_shown_when_it_speaks() {
    let listener = listener("127.0.0.1:0");
    set_defer_accept(&listener, 1).unwrap();
    let mut client = TcpStream::connect(address_of(&listener)).unwrap();
    assert!(!wait_readable(&listener, Some(Duration::from_millis(100))).unwrap());
    client.write_all(b"GET").unwrap();
    assert!(wait_readable(&listener, Some(Duration::from_secs(5))).unwrap());
    set_defer_accept(&listener, 0).unwrap();
    let _silent = TcpStream::connect(address_of(&listener)).unwrap();
    accept4(&listener).unwrap();
    assert!(wait_readable(&listener, Some(Duration::from_secs(5))).unwrap());
}

#[test]
fn a_socket_says_what_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s");
    let unix = OwnedFd::from(UnixListener::bind(&path).unwrap());
    assert!(is_listening(&unix).unwrap());
    assert_eq!(local_address(&unix).unwrap(), LocalAddress::Path(path.clone()));
    let _client = connect(&path);
    assert_eq!(accept4(&unix).unwrap().1, None);
    let idle = unix_socket().unwrap();
    assert!(!is_listening(&idle).unwrap());
    assert_eq!(local_address(&idle).unwrap(), LocalAddress::Other);
    bind_abstract(&idle, format!("unirs-{}", std::process::id()).as_bytes()).unwrap();
    assert!(matches!(local_address(&idle).unwrap(), LocalAddress::Abstract(_)));
    assert!(is_listening(listener("127.0.0.1:0")).unwrap());
    let file = tempfile::tempfile().unwrap();
    assert_eq!(is_listening(&file).unwrap_err().raw_os_error(), Some(libc::ENOTSOCK));
}

fn connect(path: &Path) -> OwnedFd {
    let client = unix_socket().unwrap();
    connect_unix(&client, path).unwrap();
    client
}
