//! What the scoreboard costs each request: begin, enter, leave and end of one exchange, without the clock.

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use unirs::scoreboard::Scoreboard;

fn exchange(criterion: &mut Criterion) {
    let board = Scoreboard::create(2, 1).expect("a board");
    let seat = board.take_seat(0).expect("a seat");
    let lane = seat.lane(0);
    let mut now = 1;
    for (name, path) in
        [("hello", &b"/"[..]), ("long path", &b"/api/v1/customers/0815/orders/4711/positions"[..])]
    {
        criterion.bench_function(&format!("exchange, {name}"), |bencher| {
            bencher.iter(|| {
                now += 50_000;
                lane.begin(black_box(now), black_box(b"GET"), black_box(path));
                lane.enter_app(black_box(now + 1_000));
                lane.leave_app();
                lane.leave();
                lane.count(black_box(40_000), black_box(200), black_box(13));
            });
        });
    }
    criterion.bench_function("a turn", |bencher| {
        bencher.iter(|| {
            now += 50_000;
            seat.set_polling(true);
            seat.set_polling(false);
            seat.turn(black_box(now));
        });
    });
    criterion.bench_function("a reader's look", |bencher| {
        lane.begin(now, b"GET", b"/api/v1/customers/0815/orders/4711/positions");
        bencher.iter(|| black_box(board.slot(0).lane(0).exchange()));
    });
    criterion.bench_function("a reader's totals", |bencher| {
        bencher.iter(|| black_box(board.slot(0).totals()));
    });
}

criterion_group!(benches, exchange);
criterion_main!(benches);
