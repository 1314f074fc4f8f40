//! What a board promises to those who read it, also when the writer is broken.

use std::hint;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use nix::sys::wait::WaitStatus;

use super::*;
use crate::sys::testing::{alone, forked};

/// A seat on a board of this process's own.
fn seat(lanes: usize) -> Seat {
    Scoreboard::create(3, lanes).unwrap().take_seat(1).unwrap()
}

#[test]
fn a_new_board_is_free_everywhere() {
    let board = Scoreboard::create(4, 3).unwrap();
    assert_eq!((board.slots(), board.lanes()), (4, 3));
    for index in 0..4 {
        let slot = board.slot(index);
        assert_eq!(slot.state(), Some(SlotState::Free));
        assert_eq!((slot.last_turn(), slot.connections(), slot.accepts()), (0, 0, 0));
        assert!(!slot.polling());
        assert_eq!(slot.readiness(), None);
        assert!(slot.counters().is_empty());
        assert_eq!(slot.totals(), Totals::default());
        assert_eq!(slot.lane(2).exchange(), None);
        assert_eq!(slot.lane(2).thread_id(), None);
    }
}

#[test]
fn impossible_sizes_are_errors() {
    assert!(Scoreboard::create(0, 1).is_err());
    assert!(Scoreboard::create(1, usize::MAX / 8).is_err());
    assert!(Scoreboard::create(usize::MAX / 8, 1).is_err());
    assert!(Scoreboard::create(1, 1).unwrap().take_seat(1).is_err());
}

#[test]
fn slots_share_no_page_and_lanes_no_cache_lines() {
    let board = Scoreboard::create(2, 5).unwrap();
    assert!((board.stride * memory::WORD).is_multiple_of(memory::page_size()));
    assert!((slot::HEADER_WORDS * memory::WORD).is_multiple_of(128));
    assert!((lane::WORDS * memory::WORD).is_multiple_of(128));
}

#[test]
fn the_slot_shows_what_the_seat_says() {
    let seat = seat(1);
    let slot = seat.board().slot(seat.index());
    assert_eq!(slot.state(), Some(SlotState::Booting));
    seat.set_state(SlotState::Ready);
    seat.turn(17);
    seat.set_polling(true);
    seat.set_connections(3);
    seat.accepted();
    seat.accepted();
    seat.set_ready(false, 5);
    assert_eq!(slot.state(), Some(SlotState::Ready));
    assert_eq!((slot.last_turn(), slot.connections(), slot.accepts()), (17, 3, 2));
    assert!(slot.polling());
    assert_eq!(slot.readiness(), Some(Readiness { ready: false, at: 5 }));
    seat.set_ready(true, 6);
    assert_eq!(slot.readiness(), Some(Readiness { ready: true, at: 6 }));
    assert_eq!(seat.board().slot(0).state(), Some(SlotState::Free), "the neighbour is untouched");
}

#[test]
fn an_exchange_is_seen_from_begin_to_end() {
    let seat = seat(2);
    let (writer, lane) = (seat.lane(1), seat.board().slot(1).lane(1));
    writer.bind_thread(77);
    assert_eq!(lane.thread_id(), Some(77));
    assert_eq!(writer.begin(1_000, b"GET", b"/users/7"), 1);
    let begun = lane.exchange().unwrap();
    assert_eq!((begun.number, begun.started, begun.in_app_since, begun.extension), (1, 1_000, 0, 0));
    assert_eq!(begun.request.to_string(), "GET /users/7");
    writer.enter_app(2_000);
    writer.extend(9_000);
    let inside = lane.exchange().unwrap();
    assert_eq!((inside.in_app_since, inside.extension), (2_000, 9_000));
    writer.leave_app();
    assert_eq!(lane.exchange().unwrap().in_app_since, 0);
    writer.leave();
    writer.count(5_000_000, 404, 20);
    assert_eq!(lane.exchange(), None);
    assert_eq!(writer.begin(6_000_000, b"POST", b"/"), 2);
    let second = lane.exchange().unwrap();
    assert_eq!((second.number, second.extension), (2, 0), "an extension goes for its exchange");
    assert_eq!(second.request.as_bytes(), b"POST /", "nothing of the longer one before is left");
}

#[test]
fn totals_count_by_class_and_add_lanes_up() {
    let seat = seat(2);
    for (lane, status, bytes) in [(0, 200, 10), (0, 204, 0), (1, 503, 5), (1, 0, 0), (1, 999, 0)] {
        seat.lane(lane).begin(1, b"GET", b"/");
        seat.lane(lane).leave();
        seat.lane(lane).count(3_000_000, status, bytes);
    }
    let totals = seat.board().slot(1).totals();
    assert_eq!(totals.requests, 5);
    assert_eq!(totals.responses, [0, 2, 0, 0, 1]);
    assert_eq!(totals.bytes_sent, 15);
    assert_eq!(totals.duration, 15_000_000);
    assert_eq!(totals.latency.count(), 5);
    assert_eq!(totals.latency.quantile(0.5), Some(Duration::from_micros(3072)));
}

#[test]
fn a_request_line_is_cut_and_shown_without_control_characters() {
    let seat = seat(1);
    let lane = seat.board().slot(1).lane(0);
    seat.lane(0).begin(1, b"GET", "/".repeat(500).as_bytes());
    assert_eq!(lane.exchange().unwrap().request.as_bytes().len(), REQUEST_LINE);
    seat.lane(0).begin(1, "X".repeat(500).as_bytes(), b"/");
    assert_eq!(lane.exchange().unwrap().request.as_bytes().len(), REQUEST_LINE);
    seat.lane(0).begin(1, b"GET", b"/a\r\n\x1b\"\\\xff");
    let shown = lane.exchange().unwrap().request.to_string();
    assert_eq!(shown, r"GET /a\x0d\x0a\x1b\x22\x5c\xff");
    seat.lane(0).begin(1, b"", b"");
    assert_eq!(lane.exchange().unwrap().request.as_bytes(), b" ");
}

#[test]
fn counters_have_names_and_there_are_sixteen() {
    let seat = seat(1);
    let longest = "x".repeat(56);
    seat.counter("orders").unwrap().fetch_add(3, Ordering::Relaxed);
    seat.counter(&longest).unwrap().fetch_add(1, Ordering::Relaxed);
    seat.counter("orders").unwrap().fetch_add(1, Ordering::Relaxed);
    assert_eq!(seat.board().slot(1).counters(), [("orders".to_owned(), 4), (longest.clone(), 1)]);
    assert!(seat.counter("").is_none());
    assert!(seat.counter(&"x".repeat(57)).is_none());
    assert!(seat.counter("a\0b").is_none());
    for index in 2..COUNTERS {
        assert!(seat.counter(&format!("number {index}")).is_some());
    }
    assert!(seat.counter("one too many").is_none());
    assert!(seat.counter("orders").is_some(), "those that are there stay");
    assert_eq!(seat.board().slot(1).counters().len(), COUNTERS);
}

#[test]
fn absurd_words_are_never_believed() {
    let board = Scoreboard::create(1, 1).unwrap();
    let words = board.mapping.claim(0..board.stride).unwrap();
    for garbage in [u64::MAX, 1 << 63, 0x4141_4141_4141_4141] {
        words.iter().for_each(|word| word.store(garbage, Ordering::Relaxed));
        let slot = board.slot(0);
        assert_eq!(slot.state(), None);
        assert!(!slot.polling());
        assert_eq!(slot.readiness(), None);
        assert_eq!(slot.lane(0).exchange().is_some(), garbage.is_multiple_of(2));
        assert_eq!(slot.lane(0).thread_id(), None);
        assert_eq!(slot.totals().requests, u64::MAX);
        assert_eq!(slot.counters().len(), COUNTERS);
        let _ = slot.totals().latency.quantile(0.99);
    }
    let seat = board.take_seat(0).unwrap();
    seat.lane(0).begin(1, b"GET", b"/");
    seat.lane(0).leave();
    seat.lane(0).count(1, 200, u64::MAX);
    seat.accepted();
    assert_eq!(board.slot(0).lane(0).exchange(), None, "a writer recovers on garbage");
}

#[test]
fn a_reader_gives_up_on_a_writer_that_died_in_the_middle() {
    let board = Scoreboard::create(1, 1).unwrap();
    let seat = board.take_seat(0).unwrap();
    seat.lane(0).begin(1, b"GET", b"/");
    let words = board.mapping.claim(0..board.stride).unwrap();
    let sequence = &words[slot::HEADER_WORDS];
    sequence.fetch_add(1, Ordering::Relaxed);
    assert_eq!(board.slot(0).lane(0).exchange(), None);
    sequence.fetch_add(1, Ordering::Relaxed);
    assert!(board.slot(0).lane(0).exchange().is_some());
}

/// All words of one exchange are made from its number, so a mixture of two shows. The exchanges are short enough that
/// many looks meet a change, and long enough that some do not.
#[test]
fn a_reader_never_sees_a_mixture_of_two_exchanges() {
    let seat: &'static Seat = Box::leak(Box::new(seat(1)));
    thread::scope(|scope| {
        let reader = scope.spawn(|| read_many(seat.board()));
        let mut number = 0;
        while !reader.is_finished() {
            number += 1;
            let path = [letter_of(number); 124];
            let path = &path[..length_of(number)];
            assert_eq!(seat.lane(0).begin(number, b"GET", path), number);
            (0..number % 64).for_each(|_| hint::spin_loop());
            seat.lane(0).leave();
            seat.lane(0).count(0, 200, 0);
        }
        assert!(reader.join().unwrap() > 0, "the reader saw nothing");
        assert_eq!(seat.board().slot(1).totals().requests, number);
    });
}

fn letter_of(number: u64) -> u8 {
    b'a' + (number % 26) as u8
}

fn length_of(number: u64) -> usize {
    (number % 124 + 1) as usize
}

/// Sees 50,000 different exchanges, or as many as there are in two seconds: on a single processor few.
fn read_many(board: &Scoreboard) -> usize {
    let began = Instant::now();
    let (mut seen, mut last) = (0, 0);
    while seen < 50_000 && began.elapsed() < Duration::from_secs(2) {
        let Some(exchange) = board.slot(1).lane(0).exchange() else {
            continue;
        };
        let path = &exchange.request.as_bytes()[4..];
        assert_eq!(exchange.started, exchange.number);
        assert_eq!(path.len(), length_of(exchange.number));
        assert!(path.iter().all(|byte| *byte == letter_of(exchange.number)));
        seen += usize::from(exchange.number != last);
        last = exchange.number;
    }
    seen
}

#[test]
fn the_master_sees_its_child_and_a_child_cannot_reach_its_neighbour() {
    if !alone!() {
        return;
    }
    let board = Scoreboard::create(3, 2).unwrap();
    let status = forked(|| {
        let seat = board.take_seat(1).unwrap();
        seat.set_state(SlotState::Ready);
        seat.lane(1).begin(1, b"GET", b"/stuck");
        seat.board().reset(0); // it may not, and says nothing
        9
    });
    assert!(matches!(status, WaitStatus::Exited(_, 9)), "{status:?}");
    let slot = board.slot(1);
    assert_eq!(slot.state(), Some(SlotState::Ready));
    assert_eq!(slot.lane(1).exchange().unwrap().request.to_string(), "GET /stuck");
    for neighbour in [0, 2] {
        let status = forked(|| {
            let _seat = board.take_seat(1).unwrap();
            board.write_wildly(neighbour);
            0
        });
        assert!(matches!(status, WaitStatus::Signaled(_, Signal::SIGSEGV, _)), "{status:?}");
        assert_eq!(board.slot(neighbour).state(), Some(SlotState::Free));
    }
    board.reset(1);
    assert_eq!(board.slot(1).state(), Some(SlotState::Free));
    assert_eq!(board.slot(1).lane(1).exchange(), None);
}

#[test]
fn a_child_of_another_generation_only_reads() {
    if !alone!() {
        return;
    }
    let board = Scoreboard::create(1, 1).unwrap();
    let status = forked(|| {
        board.read_only().unwrap();
        assert_eq!(board.slot(0).state(), Some(SlotState::Free));
        board.write_wildly(0);
        0
    });
    assert!(matches!(status, WaitStatus::Signaled(_, Signal::SIGSEGV, _)), "{status:?}");
}

#[test]
fn buckets_follow_each_other_without_a_gap() {
    assert_eq!(Histogram::bucket(0), 0);
    assert_eq!(Histogram::bucket(u64::MAX), BUCKETS - 1);
    for bucket in 0..BUCKETS - 1 {
        let end = Histogram::upper_bound(bucket).as_nanos() as u64;
        assert_eq!(Histogram::bucket(end - 1), bucket, "just below {end} ns");
        assert_eq!(Histogram::bucket(end), bucket + 1, "at {end} ns");
    }
}

#[test]
fn quantiles_are_the_end_of_their_bucket() {
    let mut histogram = Histogram::default();
    assert_eq!(histogram.quantile(0.5), None);
    histogram.buckets[Histogram::bucket(1_000_000)] = 99;
    histogram.buckets[Histogram::bucket(1_000_000_000)] = 1;
    assert_eq!(histogram.quantile(0.0), Some(Duration::from_micros(1024)));
    assert_eq!(histogram.quantile(0.99), Some(Duration::from_micros(1024)));
    assert_eq!(histogram.quantile(1.0), Some(Duration::from_micros(1 << 20)));
}

#[test]
fn a_summons_reaches_the_lane_that_it_is_for() {
    if !alone!() {
        return;
    }
    let board = Scoreboard::create(2, 3).unwrap();
    board.summon(1, 2, 77);
    board.summon(2, 0, 5);
    board.summon(0, 3, 6);
    let status = forked(|| {
        let seat = board.take_seat(1).unwrap();
        assert_eq!([0, 1, 2].map(|lane| seat.summoned(lane)), [0, 0, 77]);
        board.summon(1, 2, 78);
        assert_eq!(seat.summoned(2), 77, "a worker summons nobody");
        board.summons.write_wildly(5);
        0
    });
    assert!(matches!(status, WaitStatus::Signaled(_, Signal::SIGSEGV, _)), "{status:?}");
    board.reset(1);
    assert_eq!(board.summoned(1, 2), 0);
}

#[test]
fn counters_of_a_draft_become_those_of_the_seat_at_the_same_address() {
    if !alone!() {
        return;
    }
    let board = Scoreboard::create(3, 2).unwrap();
    let draft = Draft::create().unwrap();
    let (visits, orders) = (draft.counter("visits").unwrap(), draft.counter("orders").unwrap());
    visits.fetch_add(5, Ordering::Relaxed);
    let status = forked(|| {
        board.read_only().unwrap();
        let seat = board.take_drafted_seat(1, &draft).unwrap();
        assert_eq!(visits.load(Ordering::Relaxed), 0, "before the fork it counted for nobody");
        visits.fetch_add(2, Ordering::Relaxed);
        orders.fetch_add(3, Ordering::Relaxed);
        assert_eq!(seat.counter("orders").unwrap().load(Ordering::Relaxed), 3);
        seat.counter("later").unwrap().fetch_add(4, Ordering::Relaxed);
        7
    });
    assert!(matches!(status, WaitStatus::Exited(_, 7)), "{status:?}");
    let counters: Vec<(String, u64)> = board.slot(1).counters();
    let expected = [("visits", 2), ("orders", 3), ("later", 4)];
    assert_eq!(counters, expected.map(|(name, value)| (name.to_owned(), value)));
    assert_eq!(visits.load(Ordering::Relaxed), 5, "the parent's own memory");
}
