//! `limit PORT`: an epoll loop that answers whatever arrives, and looks at none of it. What no server on this machine
//! can do with less; no server itself. `benches/compare.py` runs two of them on one port.

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsRawFd;

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, SockaddrIn, bind, listen, setsockopt, socket, sockopt,
};

/// As long as what unirs answers.
const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nServer: limit\r\nDate: Sun, 22 Nov 2026 10:00:00 GMT\r\n\
Content-Length: 13\r\nContent-Type: text/plain; charset=utf-8\r\n\r\nHello, World!";

const NEWCOMER: u64 = u64::MAX;

fn main() -> io::Result<()> {
    let port = std::env::args().nth(1).and_then(|port| port.parse().ok());
    let listener = open(port.ok_or_else(|| io::Error::other("usage: limit PORT"))?)?;
    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
    epoll.add(&listener, EpollEvent::new(EpollFlags::EPOLLIN, NEWCOMER))?;
    let mut clients: Vec<Option<TcpStream>> = Vec::new();
    let mut events = [EpollEvent::empty(); 64];
    let mut bytes = [0; 8192];
    loop {
        let count = epoll.wait(&mut events, EpollTimeout::NONE)?;
        for event in &events[..count] {
            if event.data() == NEWCOMER {
                let (client, _) = listener.accept()?;
                let number = client.as_raw_fd() as usize;
                epoll.add(&client, EpollEvent::new(EpollFlags::EPOLLIN, number as u64))?;
                clients.resize_with(clients.len().max(number + 1), || None);
                clients[number] = Some(client);
                continue;
            }
            let client = &mut clients[event.data() as usize];
            let answered = client.as_mut().is_some_and(|client| {
                matches!(client.read(&mut bytes), Ok(1..)) && client.write_all(ANSWER).is_ok()
            });
            if !answered {
                *client = None;
            }
        }
    }
}

/// A listener that shares its port with another process.
fn open(port: u16) -> nix::Result<TcpListener> {
    let socket = socket(AddressFamily::Inet, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
    setsockopt(&socket, sockopt::ReusePort, &true)?;
    setsockopt(&socket, sockopt::TcpNoDelay, &true)?; // inherited by what is accepted
    bind(socket.as_raw_fd(), &SockaddrIn::new(127, 0, 0, 1, port))?;
    listen(&socket, Backlog::new(2048)?)?;
    Ok(socket.into())
}
