//! What a ledger promises to the master, also when the worker is broken.

use nix::sys::signal::Signal;
use nix::sys::wait::WaitStatus;

use super::*;
use crate::sys::testing::{alone, forked};

fn spoken(path: &[u8]) -> Subject<'_> {
    Subject {
        number: 7,
        method: b"GET",
        path,
        client: b"192.0.2.1",
        age: Duration::from_millis(1500),
        in_app: Duration::from_millis(1400),
    }
}

/// A record of everything that there is.
fn speak(writer: &Writer, number: i32) {
    let draft = writer.claim().expect("a free record");
    draft.cause(Cause::Signal { number, code: -6, address: u64::MAX });
    draft.thread(4242);
    draft.exchange(&spoken(b"/slow"));
    draft.said(Said::Answered(500));
    draft.parked(3);
    draft.place(0x1000, 0x2000);
    assert!(draft.frame(0x1000) && draft.frame(0x1001));
    assert!(draft.maps(b"0000-ffff r-xp 1") && draft.maps(b" /lib"));
    draft.publish();
}

#[test]
fn what_was_published_is_read_once() {
    let ledger = Ledger::create(3).unwrap();
    let writer = ledger.take_area(1).unwrap();
    assert!(ledger.read(1).is_empty() && ledger.read(3).is_empty());
    let _unfinished = writer.claim().unwrap();
    speak(&writer, 11);
    let [words] = &ledger.read(1)[..] else { panic!("one record") };
    assert_eq!(words.cause, Cause::Signal { number: 11, code: -6, address: u64::MAX });
    assert_eq!((words.thread, words.said, words.parked), (4242, Said::Answered(500), 3));
    assert_eq!((words.pc, words.stack_pointer), (0x1000, 0x2000));
    assert_eq!(words.frames, [0x1000, 0x1001]);
    assert_eq!(words.maps, b"0000-ffff r-xp 1 /lib");
    let exchange = words.exchange.as_ref().unwrap();
    assert_eq!((exchange.number, &exchange.method_and_path[..]), (7, "GET /slow"));
    assert_eq!((&exchange.client[..], exchange.age), ("192.0.2.1", Duration::from_millis(1500)));
    assert!(ledger.read(0).is_empty(), "the neighbour has said nothing");
}

#[test]
fn every_cause_and_answer_comes_over() {
    let ledger = Ledger::create(1).unwrap();
    let writer = ledger.take_area(0).unwrap();
    let causes = [Cause::Overtime, Cause::Exit { code: None }, Cause::Exit { code: Some(-1) }];
    for cause in causes {
        writer.claim().inspect(|draft| draft.cause(cause)).unwrap().publish();
    }
    // The test's process has claimed the area, so nobody gives the places back.
    assert_eq!(ledger.read(0).iter().map(|words| words.cause).collect::<Vec<_>>(), causes);
    let all =
        [Said::Nothing, Said::Answered(504), Said::Begun, Said::Unsent, Said::NotTaken, Said::OwnAnswer];
    for said in all {
        assert_eq!(Said::from_word(said.to_word()), said);
    }
}

#[test]
fn there_is_room_for_a_few_and_the_master_makes_it_again() {
    if !alone!() {
        return;
    }
    let ledger = Ledger::create(2).unwrap();
    let full = || {
        let writer = ledger.take_area(1).unwrap();
        (0..RECORDS).for_each(|_| speak(&writer, 6));
        assert!(writer.claim().is_none());
        0
    };
    for _ in 0..2 {
        assert!(matches!(forked(full), WaitStatus::Exited(_, 0)));
        assert_eq!(ledger.read(1).len(), RECORDS);
        assert!(ledger.read(1).is_empty());
    }
    assert!(matches!(forked(full), WaitStatus::Exited(_, 0)));
    ledger.clear(1);
    assert!(ledger.read(1).is_empty());
}

#[test]
fn a_worker_reaches_no_others_area() {
    if !alone!() {
        return;
    }
    let ledger = Ledger::create(2).unwrap();
    let status = forked(|| {
        ledger.take_area(1).unwrap();
        ledger.mapping.write_wildly(0);
        0
    });
    assert!(matches!(status, WaitStatus::Signaled(_, Signal::SIGSEGV, _)), "{status:?}");
}

#[test]
fn absurd_records_are_bounded() {
    let ledger = Ledger::create(1).unwrap();
    let writer = ledger.take_area(0).unwrap();
    speak(&writer, 11);
    let head = &ledger.mapping.claim(ledger.area(0)).unwrap()[..RECORD_WORDS];
    for word in [FRAME_COUNT, MAPS_LENGTH, REQUEST_LENGTH, CLIENT_LENGTH, SAID, THREAD, SIGNAL] {
        head[word].store(u64::MAX - 7, Relaxed);
    }
    let [words] = &ledger.read(0)[..] else { panic!("one record") };
    assert_eq!((words.frames.len(), words.maps.len()), (MOST_FRAMES, MAPS_BYTES));
    assert_eq!(words.exchange.as_ref().map(|exchange| exchange.client.len()), Some(CLIENT.len() * WORD));
    assert_eq!((words.said, words.thread), (Said::Nothing, -8));
    head[CAUSE].store(99, Relaxed);
    assert!(ledger.read(0).is_empty());
}

#[test]
fn long_texts_and_deep_stacks_are_cut() {
    let ledger = Ledger::create(1).unwrap();
    let draft = ledger.take_area(0).unwrap().claim().unwrap();
    draft.cause(Cause::Overtime);
    draft.exchange(&spoken(&[b'x'; 10_000]));
    while draft.frame(5) {}
    while draft.maps(&[b'm'; 4096]) {}
    draft.publish();
    let [words] = &ledger.read(0)[..] else { panic!("one record") };
    assert_eq!(words.exchange.as_ref().map(|exchange| exchange.method_and_path.len()), Some(256));
    assert_eq!((words.frames.len(), words.maps.len()), (MOST_FRAMES, MAPS_BYTES));
}
