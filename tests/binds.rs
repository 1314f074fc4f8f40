//! Where a server listens: ports in use, several addresses, IPv6, unix sockets, inherited descriptors.
mod support;

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixListener;

use support::{Client, Server, Setup, Signal, wait_until};

fn on_unix_socket() -> Setup {
    Setup::new().set("bind", vec!["unix:unirs.sock"])
}

fn get_over(server: &Server, socket: &str) -> u16 {
    let mut client = Client::unix(&server.path(socket)).unwrap_or_else(|broken| panic!("{socket}: {broken}"));
    client.last_get("/").unwrap_or_else(|broken| panic!("{socket}: {broken}")).status
}

#[test]
fn a_port_in_use_is_named_and_exit_1() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = taken.local_addr().expect("an address").to_string();
    let failure = Setup::new().set("bind", vec![address.clone()]).set("pidfile", "unirs.pid").fail();
    failure.assert(1, &format!("cannot bind {address}"), "a port in use");
    assert!(!failure.log.contains("Booting worker"), "no worker was started: {}", failure.log);
}

#[test]
fn a_port_that_another_unirs_serves_is_refused() {
    let server = Server::with_workers(1);
    let address = server.address().to_string();
    let failure = Setup::new().set("bind", vec![address.clone()]).fail();
    failure.assert(1, &format!("cannot bind {address}"), "a port of another unirs");
    assert_eq!(server.get("/").status, 200);
}

#[test]
fn one_bind_of_two_that_fails_leaves_nothing_behind() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = taken.local_addr().expect("an address").to_string();
    let setup = Setup::new().set("bind", vec!["unix:unirs.sock".to_owned(), address]);
    let socket = setup.dir().join("unirs.sock");
    let mut server = setup.spawn();
    assert_eq!(server.wait_exit(), 1);
    assert!(!socket.exists(), "the socket of a server that did not come up");
}

#[test]
fn several_binds_are_all_listed_and_all_served() {
    let server = Setup::new().set("bind", vec!["127.0.0.1:0", "unix:unirs.sock", "127.0.0.2:0"]).start();
    let addresses = server.addresses();
    assert_eq!(addresses.len(), 3, "{addresses:?}");
    for address in addresses.iter().filter_map(|text| text.parse().ok()) {
        assert_eq!(Client::tcp(address).expect("a listed address").get("/").expect("served").status, 200);
    }
    assert_eq!(get_over(&server, "unirs.sock"), 200);
}

#[test]
fn the_command_line_s_binds_replace_the_file_s() {
    let server = Setup::new().set("bind", vec!["unix:file.sock"]).arg("-b").arg("127.0.0.1:0").start();
    assert_eq!(server.get("/").status, 200);
    assert!(!server.path("file.sock").exists());
}

#[test]
fn ipv6_is_served_and_printed_with_brackets() {
    if TcpListener::bind("[::1]:0").is_err() {
        return; // A machine without IPv6.
    }
    let server = Setup::new().set("bind", vec!["[::1]:0"]).start();
    assert!(server.log().contains("Listening at: http://[::1]:"));
    assert_eq!(server.get("/").status, 200);
}

#[test]
fn a_unix_socket_is_served_and_removed_at_the_exit() {
    let mut server = on_unix_socket().set("workers", 2).start();
    let listening = format!("Listening at: unix:{}", server.path("unirs.sock").display());
    assert!(server.log().contains(&listening), "the log says {listening}");
    assert_eq!(get_over(&server, "unirs.sock"), 200);
    server.reload(2);
    assert_eq!(get_over(&server, "unirs.sock"), 200);
    server.signal(Signal::SIGTERM);
    assert_eq!(server.wait_exit(), 0);
    assert!(!server.path("unirs.sock").exists());
}

#[test]
fn a_unix_socket_that_is_served_is_refused_and_left_alone() {
    let first = on_unix_socket().start();
    let path = first.path("unirs.sock");
    let inode = fs::metadata(&path).expect("a socket").ino();
    let failure = Setup::new().set("bind", vec![format!("unix:{}", path.display())]).fail();
    failure.assert(1, "unirs.sock", "a unix socket that another server serves");
    assert_eq!(fs::metadata(&path).expect("still there").ino(), inode);
    assert_eq!(get_over(&first, "unirs.sock"), 200);
}

#[test]
fn a_stale_unix_socket_is_replaced() {
    let setup = on_unix_socket();
    let path = setup.dir().join("unirs.sock");
    drop(UnixListener::bind(&path).expect("a socket that nobody will serve"));
    assert!(path.exists());
    let server = setup.start();
    assert_eq!(get_over(&server, "unirs.sock"), 200);
}

#[test]
fn a_file_that_is_no_socket_is_refused_and_left_alone() {
    let setup = on_unix_socket();
    let path = setup.dir().join("unirs.sock");
    fs::write(&path, "a letter").expect("a file");
    let mut server = setup.spawn();
    assert_eq!(server.wait_exit(), 1);
    assert_eq!(server.read("unirs.sock"), "a letter");
    assert!(server.log().contains("unirs.sock"), "the sentence names the path");
}

#[test]
fn a_unix_socket_that_is_another_s_by_now_is_not_removed() {
    let mut server = on_unix_socket().start();
    let path = server.path("unirs.sock");
    fs::remove_file(&path).expect("the socket");
    let other = UnixListener::bind(&path).expect("another's socket");
    server.signal(Signal::SIGTERM);
    assert_eq!(server.wait_exit(), 0);
    assert!(fs::metadata(&path).expect("still there").file_type().is_socket());
    drop(other);
}

#[test]
fn the_umask_of_the_settings_decides_who_may_connect_to_a_unix_socket() {
    let server = on_unix_socket().set("umask", 0o117).start();
    let mode = fs::metadata(server.path("unirs.sock")).expect("a socket").permissions().mode();
    assert_eq!(mode & 0o777, 0o660);
}

#[test]
fn an_inherited_listener_is_served_by_its_number_and_never_closed_for_others() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("an address");
    let inherited = listener.try_clone().expect("a second descriptor").into();
    let mut server = Setup::new().set("bind", vec!["fd://3"]).inherit(inherited, false).start();
    assert_eq!(Client::tcp(address).expect("the inherited port").get("/").expect("served").status, 200);
    server.reload(1);
    assert_eq!(Client::tcp(address).expect("the inherited port").get("/").expect("served").status, 200);
    server.signal(Signal::SIGTERM);
    assert_eq!(server.wait_exit(), 0);
    listener.set_nonblocking(true).expect("a listener");
    let mut late = Client::tcp(address).expect("the listener is still whole in its owner's hands");
    late.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").expect("the kernel takes it");
    wait_until("its owner can accept", || listener.accept().ok());
}

#[test]
fn a_descriptor_that_is_no_listener_is_refused() {
    let failure = Setup::new().set("bind", vec!["fd://77"]).fail();
    failure.assert(1, "fd://77", "a descriptor that is not open");
}
