//! What a listener promises to clients and to operators, on real sockets.

use std::io::ErrorKind;
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsRawFd;
use std::os::unix::net::{UnixListener, UnixStream};

use super::*;
use crate::sys::testing::{alone, has_ipv6};

mod closing;
mod paths;

fn tcp(host: &str, port: u16) -> Bind {
    Bind::Tcp { host: host.to_owned(), port }
}

fn open(bind: &Bind) -> Listener {
    Listener::open(bind, &Options::default()).unwrap_or_else(|error| panic!("{error}"))
}

fn refusal(bind: &Bind) -> BindError {
    Listener::open(bind, &Options::default()).expect_err("it was bound")
}

fn address(listener: &Listener) -> SocketAddr {
    match listener.address() {
        Address::Tcp(address) => *address,
        Address::Unix(path) => panic!("{}", path.display()),
    }
}

#[test]
fn addresses_are_shown_as_gunicorn_shows_them() {
    let shown = |address: &str| Address::Tcp(address.parse().unwrap()).to_string();
    assert_eq!(shown("127.0.0.1:8000"), "http://127.0.0.1:8000");
    assert_eq!(shown("[::1]:80"), "http://[::1]:80");
    assert_eq!(Address::Unix("/run/x.sock".into()).to_string(), "unix:/run/x.sock");
}

#[test]
fn port_0_is_a_real_port_afterwards_and_a_name_is_an_ipv4_address() {
    for host in ["127.0.0.1", "localhost"] {
        let listener = open(&tcp(host, 0));
        let port = address(&listener).port();
        assert_ne!(port, 0);
        assert_eq!(listener.server_address(), ("127.0.0.1", port));
        assert_eq!(listener.bind(), &tcp(host, 0));
        assert!(!listener.is_inherited());
    }
    for host in ["::1", "[::1]"].into_iter().filter(|_| has_ipv6()) {
        let listener = open(&tcp(host, 0));
        assert_eq!(listener.server_address().0, "::1");
    }
    assert_eq!(open(&tcp("", 0)).server_address().0, "0.0.0.0");
}

#[test]
fn a_peer_is_known_by_address_and_port() {
    let listener = open(&tcp("127.0.0.1", 0));
    assert_eq!(listener.accept().unwrap_err().kind(), ErrorKind::WouldBlock);
    let client = TcpStream::connect(address(&listener)).unwrap();
    let (_socket, peer) = listener.accept().unwrap();
    assert_eq!((peer.address(), peer.port()), ("127.0.0.1", client.local_addr().unwrap().port()));
    let peer = |address: &str| Peer::new(Some(address.parse().unwrap()));
    assert_eq!(peer("[::ffff:10.0.0.7]:5").address(), "10.0.0.7");
    let longest = "1111:2222:3333:4444:5555:6666:7777:8888";
    assert_eq!(peer(&format!("[{longest}]:65535")).address(), longest);
    assert_eq!((Peer::new(None).address(), Peer::new(None).port()), ("", 0));
}

#[test]
fn an_ipv6_wildcard_serves_ipv4_too_unless_it_stands_beside_one() {
    if !has_ipv6() {
        return;
    }
    let both = open(&tcp("::", 0));
    let port = address(&both).port();
    let client = TcpStream::connect(("127.0.0.1", port)).unwrap();
    assert_eq!(both.accept().unwrap().1.address(), "127.0.0.1");
    drop((both, client));

    let all = [tcp("[::]", port), tcp("0.0.0.0", port), tcp("::", port + 1)];
    assert_eq!(all.each_ref().map(|bind| needs_v6_only(bind, &all)), [true, false, false]);
    let options = Options { v6_only: true, ..Options::default() };
    let v6 = Listener::open(&all[0], &options).unwrap();
    let v4 = open(&all[1]);
    let _clients =
        (TcpStream::connect(("127.0.0.1", port)).unwrap(), TcpStream::connect(("::1", port)).unwrap());
    assert_eq!((v4.accept().unwrap().1.address(), v6.accept().unwrap().1.address()), ("127.0.0.1", "::1"));
}

#[test]
fn a_used_port_is_named_with_its_address_and_a_remedy() {
    let first = open(&tcp("127.0.0.1", 0));
    let port = address(&first).port();
    let error = refusal(&tcp("127.0.0.1", port));
    assert_eq!(
        error.to_string(),
        format!(
            "cannot bind 127.0.0.1:{port}: address already in use \
             (another server listens there; stop it, or choose another port)"
        )
    );
    drop(first);
    open(&tcp("127.0.0.1", port));
}

#[test]
fn what_cannot_be_bound_says_why() {
    let error = refusal(&tcp("192.0.2.1", 80)).to_string();
    assert!(error.starts_with("cannot bind 192.0.2.1:80: cannot assign requested address ("), "{error}");
    // A label of a name has at most 63 letters, so nobody is asked for it.
    let error = refusal(&tcp(&"x".repeat(64), 80)).to_string();
    assert!(error.contains("x:80: the host name has no address: "), "{error}");
    let used = BindError::tcp(&tcp("::1", 80), &ErrorKind::AddrInUse.into()).to_string();
    assert!(used.starts_with("cannot bind [::1]:80: address in use ("), "{used}");
    let denied = BindError::tcp(&tcp("0.0.0.0", 80), &ErrorKind::PermissionDenied.into()).to_string();
    assert!(
        denied.ends_with("(a port below 1024 takes root, CAP_NET_BIND_SERVICE or a socket from systemd)"),
        "{denied}"
    );
}

#[test]
fn an_inherited_listener_is_used_and_left_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s");
    let foreign = UnixListener::bind(&path).unwrap();
    let listener = Listener::adopt(foreign.into(), Bind::Fd(3)).unwrap();
    assert!(listener.is_inherited());
    assert_eq!(listener.address(), &Address::Unix(path.clone()));
    listener.refuse_newcomers().unwrap();
    listener.unlink().unwrap();
    let _client = UnixStream::connect(&path).unwrap();
    listener.accept().unwrap();
    assert_eq!(listener.accept().unwrap_err().kind(), ErrorKind::WouldBlock);
}

#[test]
fn a_descriptor_that_is_no_listener_is_refused() {
    let adopt = |socket: OwnedFd| Listener::adopt(socket, Bind::Fd(7)).unwrap_err().to_string();
    let (one, _other) = UnixStream::pair().unwrap();
    assert_eq!(adopt(one.into()), "cannot use fd://7: it is not a listening stream socket");
    let file = tempfile::tempfile().unwrap();
    assert_eq!(adopt(file.into()), "cannot use fd://7: it is not a socket");
    let error = refusal(&Bind::Fd(9999)).to_string();
    assert_eq!(error, "cannot use fd://9999: bad file descriptor; whoever starts the server has to open it");
    let ours = open(&tcp("127.0.0.1", 0));
    let error = refusal(&Bind::Fd(ours.as_fd().as_raw_fd())).to_string();
    assert!(error.ends_with(": it was not inherited, or is in use already"), "{error}");
}

#[test]
fn systemd_passes_its_sockets_to_the_process_that_it_means() {
    let promised = |pid, fds| inherited::promised(pid, fds, 77);
    assert_eq!(promised(Some("77"), Some("2")), 3..5);
    for (pid, fds) in [
        (None, Some("1")),
        (Some("78"), Some("1")),
        (Some("77"), None),
        (Some("77"), Some("many")),
        (Some("77"), Some("-1")),
        (Some(" 77"), Some("1")),
    ] {
        assert_eq!(promised(pid, fds), 3..3, "{pid:?} {fds:?}");
    }
    assert_eq!(promised(Some("77"), Some("99999")), 3..1027);
}

#[test]
fn systemds_sockets_are_taken_once() {
    if !alone!() {
        return;
    }
    // As systemd does it: from descriptor 3 on, open over an exec.
    let listener = crate::sys::testing::duplicate_above(open(&tcp("127.0.0.1", 0)), 100).unwrap();
    for number in [3, 4] {
        let copy = crate::sys::testing::duplicate_above(&listener, 100).unwrap();
        crate::sys::testing::install(copy, number);
    }
    let sockets = systemd_listeners(Some("5"), Some("2"), 5).unwrap();
    assert_eq!(sockets.iter().map(AsRawFd::as_raw_fd).collect::<Vec<_>>(), [3, 4]);
    assert!(systemd_listeners(Some("5"), Some("2"), 5).is_err(), "a second time there are none");
    for socket in sockets {
        assert!(Listener::adopt(socket, Bind::Fd(3)).unwrap().is_inherited());
    }
}
