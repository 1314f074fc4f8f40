//! What the two ends of a pair promise each other.

use std::fs::File;
use std::io::{Read, Write};

use nix::fcntl::{FcntlArg, FdFlag, fcntl};

use super::*;

const REOPEN: Order = Order::Reopen { errorlog: true, accesslog: true };

fn message<T>(received: io::Result<Received<T>>) -> (T, Vec<OwnedFd>) {
    match received.unwrap() {
        Received::Message(message, descriptors) => (message, descriptors),
        Received::Nothing => panic!("nothing came"),
        Received::Closed => panic!("closed"),
    }
}

fn send(pair: &Pair, order: Order) -> Sent {
    pair.send_order(&order, &[]).unwrap()
}

#[test]
fn orders_and_reports_arrive_as_they_were_sent() {
    let (master, child) = pair().unwrap();
    let orders = [
        Order::Retire(Farewell::Reload),
        Order::Retire(Farewell::Stop),
        Order::Quick,
        Order::Ping,
        Order::Reopen { errorlog: false, accesslog: false },
        Order::Speak,
        Order::Leaving,
    ];
    for order in orders {
        assert_eq!(send(&master, order), Sent::Yes);
    }
    for order in orders {
        assert_eq!(message(child.receive_order()).0, order);
    }
    assert!(matches!(child.receive_order(), Ok(Received::Nothing)));
    let failed = ["no such file", ""].map(|text| Report::Failed(text.into()));
    let serving = [vec![], vec![3], vec![3, 1023]].map(Report::Serving);
    let mold =
        [Report::Forked { slot: 3, pid: 4711 }, Report::NotForked { slot: u32::MAX, error: libc::EAGAIN }];
    let all =
        [Report::Look, Report::Ready, Report::Leaving].into_iter().chain(failed).chain(serving).chain(mold);
    for report in all {
        assert_eq!(child.send_report(&report).unwrap(), Sent::Yes);
        assert_eq!(message(master.receive_report()).0, report);
    }
}

#[test]
fn a_long_report_is_cut_between_two_characters() {
    let (master, child) = pair().unwrap();
    let text = format!("x{}", "ä".repeat(MAX_TEXT));
    assert_eq!(child.send_report(&Report::Failed(text.clone())).unwrap(), Sent::Yes);
    let (Report::Failed(received), _) = message(master.receive_report()) else { panic!() };
    assert_eq!(received, text[..MAX_TEXT - 1]);
}

#[test]
fn reopen_brings_its_descriptors_and_they_are_close_on_exec() {
    let (master, child) = pair().unwrap();
    let (mut errors, mut accesses) = (tempfile::tempfile().unwrap(), tempfile::tempfile().unwrap());
    let sent = master.send_order(&REOPEN, &[errors.as_fd(), accesses.as_fd()]);
    assert_eq!(sent.unwrap(), Sent::Yes);
    let (order, descriptors) = message(child.receive_order());
    assert_eq!(order, REOPEN);
    for (descriptor, text) in descriptors.into_iter().zip(["error", "access"]) {
        let flags = FdFlag::from_bits_retain(fcntl(&descriptor, FcntlArg::F_GETFD).unwrap());
        assert!(flags.contains(FdFlag::FD_CLOEXEC));
        File::from(descriptor).write_all(text.as_bytes()).unwrap();
    }
    for (file, text) in [(&mut errors, "error"), (&mut accesses, "access")] {
        let mut found = String::new();
        std::io::Seek::rewind(file).unwrap();
        file.read_to_string(&mut found).unwrap();
        assert_eq!(found, text);
    }
}

#[test]
fn an_order_to_fork_brings_the_new_workers_end() {
    let (master, mold) = pair().unwrap();
    let (ours, workers) = pair().unwrap();
    let fork = Order::Fork { slot: 7, request_limit: 1 << 40 };
    assert_eq!(master.send_order(&fork, &[workers.as_fd()]).unwrap(), Sent::Yes);
    drop(workers);
    let (order, mut descriptors) = message(mold.receive_order());
    assert_eq!(order, fork);
    let workers = Pair::from(descriptors.remove(0));
    assert_eq!(workers.send_report(&Report::Look).unwrap(), Sent::Yes);
    assert_eq!(message(ours.receive_report()).0, Report::Look);
}

#[test]
fn an_order_is_not_sent_with_another_number_of_descriptors() {
    let (master, child) = pair().unwrap();
    let file = tempfile::tempfile().unwrap();
    assert!(master.send_order(&REOPEN, &[file.as_fd()]).is_err());
    assert!(master.send_order(&Order::Quick, &[file.as_fd()]).is_err());
    assert!(matches!(child.receive_order(), Ok(Received::Nothing)));
}

#[test]
fn what_is_no_message_is_an_error_and_the_next_one_is_received() {
    let (master, child) = pair().unwrap();
    let file = tempfile::tempfile().unwrap();
    let too_many = vec![file.as_fd(); packet::MAX_DESCRIPTORS];
    for bytes in [&b""[..], b"R", b"Rx", b"O4", b"L", b"Q", &[0xff; 9000]] {
        packet::send(&master, bytes, &[]).unwrap();
    }
    packet::send(&master, b"Q.", &too_many).unwrap();
    packet::send(&master, b"O3", &[]).unwrap();
    assert_eq!(send(&master, Order::Ping), Sent::Yes);
    for _ in 0..9 {
        assert_eq!(child.receive_order().unwrap_err().kind(), io::ErrorKind::InvalidData);
    }
    assert_eq!(message(child.receive_order()).0, Order::Ping);
}

#[test]
fn a_full_queue_is_no_error_and_loses_nothing() {
    let (master, child) = pair().unwrap();
    let mut sent = 0;
    while send(&master, Order::Ping) == Sent::Yes {
        sent += 1;
    }
    assert!(sent > 0);
    let mut received = 0;
    while let Received::Message(..) = child.receive_order().unwrap() {
        received += 1;
    }
    assert_eq!(received, sent);
    assert_eq!(send(&master, Order::Quick), Sent::Yes);
}

#[test]
fn the_end_of_one_is_seen_by_the_other() {
    let (master, child) = pair().unwrap();
    drop(child);
    assert!(matches!(master.receive_report(), Ok(Received::Closed)));
    assert!(matches!(master.receive_report(), Ok(Received::Closed)), "and stays so");
    assert_eq!(send(&master, Order::Quick), Sent::Closed);
}

#[test]
fn the_last_words_of_a_child_that_never_read_are_received() {
    let (master, child) = pair().unwrap();
    assert_eq!(send(&master, Order::Ping), Sent::Yes);
    let last = Report::Failed("cannot load".into());
    assert_eq!(child.send_report(&last).unwrap(), Sent::Yes);
    drop(child);
    assert_eq!(message(master.receive_report()).0, last);
    assert!(matches!(master.receive_report(), Ok(Received::Closed)));
}
