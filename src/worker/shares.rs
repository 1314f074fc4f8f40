//! How the workers of a generation share their clients, by what the scoreboard says of the others. No worker may have more
//! than twice another's connections, and nobody waits for one that is busy while another is free.
//!
//! A newcomer is left to a worker that has clearly fewer, if that is free to take it. But connections are kept alive: a
//! worker that was made later (TTIN, a death), or was busy when they came, would never have its share of them. So a
//! worker that has far more than another lets some go with their next answer (`Connection: close`, RFC 9112 §9.6);
//! their clients come again, and are newcomers.

use std::sync::Mutex;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use crate::scoreboard::{Seat, Slot, SlotState};

/// A worker that turned within this time is free ...
const FREE_SINCE: u64 = 2_000_000;

/// ... and also one that turned within this time and has a thread outside of a call: that is woken when the one that
/// polled is in a long call, and may have to wait for a processor.
const FREE_SOON: u64 = 10_000_000;

/// So many connections more are no matter.
const FEW: u64 = 2;

/// From one comparison to the next, as long as what was let go came to others ...
const INTERVAL: u64 = 250_000_000;

/// ... and twice as long each time when it did not, up to this.
const LONGEST_INTERVAL: u64 = 64_000_000_000;

/// What a worker makes of the others' figures.
#[derive(Debug)]
pub(super) struct Shares {
    seat: &'static Seat,
    /// How many slots of the board may have a worker.
    slots: usize,
    next_look: AtomicU64,
    /// Held by the thread that compares.
    balance: Mutex<Balance>,
    /// How many connections are to go with their next answer.
    surplus: AtomicU64,
}

/// How far letting go has come.
#[derive(Debug)]
struct Balance {
    /// From this comparison to the next.
    interval: u64,
    /// How many connections the others had accepted when some were last let go to them; none: nothing is let go.
    accepted: Option<u64>,
}

/// Another worker.
#[derive(Clone, Copy, Debug)]
struct Other {
    connections: u64,
    is_free: bool,
}

impl Shares {
    /// The shares as seen from this worker's seat; the first `slots` of the board are workers'.
    pub(super) fn new(seat: &'static Seat, slots: usize) -> Shares {
        Shares {
            seat,
            slots,
            next_look: AtomicU64::new(0),
            balance: Mutex::new(Balance { interval: INTERVAL, accepted: None }),
            surplus: AtomicU64::new(0),
        }
    }

    /// Is a worker free that has clearly fewer connections than this one's `mine`?
    pub(super) fn others_have_fewer(&self, mine: u64, now: u64) -> bool {
        self.others().any(|slot| {
            let theirs = slot.connections();
            // A slot that was overwritten says anything.
            theirs.saturating_add(theirs / 8) < mine && is_free(&slot, now)
        })
    }

    /// Compares, if it is time, what this worker has with what others have.
    pub(super) fn look(&self, mine: u64, now: u64) {
        if self.next_look.load(Relaxed) > now {
            return;
        }
        let Ok(mut balance) = self.balance.try_lock() else { return };
        let others =
            self.others().map(|slot| Other { connections: slot.connections(), is_free: is_free(&slot, now) });
        let accepted = self.others().fold(0, |sum: u64, slot| sum.wrapping_add(slot.accepts()));
        self.surplus.store(balance.weigh(mine, others, accepted), Relaxed);
        self.next_look.store(now + balance.interval, Relaxed);
    }

    /// Is the connection whose answer is made now one of those to let go?
    pub(super) fn let_one_go(&self) -> bool {
        self.surplus.load(Relaxed) > 0
            && self.surplus.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(1)).is_ok()
    }

    fn others(&self) -> impl Iterator<Item = Slot<'static>> {
        let (board, own) = (self.seat.board(), self.seat.index());
        (0..self.slots.min(board.slots()))
            .filter(move |index| *index != own)
            .map(move |index| board.slot(index))
            .filter(|slot| slot.state() == Some(SlotState::Ready))
    }
}

impl Balance {
    /// How many of `mine` to let go, and when to ask again.
    fn weigh(&mut self, mine: u64, others: impl Iterator<Item = Other>, accepted: u64) -> u64 {
        let surplus = surplus(mine, others, self.accepted.is_some());
        let was_in_vain = self.accepted == Some(accepted);
        self.interval = if was_in_vain { LONGEST_INTERVAL.min(self.interval * 2) } else { INTERVAL };
        self.accepted = (surplus > 0).then_some(accepted);
        surplus
    }
}

/// What a worker has above the average, if it has more than twice what one has that is free; and once it has begun to let
/// some go, whenever it has more than the average.
fn surplus(mine: u64, others: impl Iterator<Item = Other>, has_begun: bool) -> u64 {
    let (mut workers, mut sum, mut fewest) = (1, mine, None::<u64>);
    for other in others {
        workers += 1;
        sum = sum.saturating_add(other.connections);
        if other.is_free {
            fewest = Some(fewest.map_or(other.connections, |fewest| fewest.min(other.connections)));
        }
    }
    let (Some(fewest), average) = (fewest, sum / workers) else { return 0 };
    let most = if has_begun { average } else { fewest.saturating_mul(2) };
    if mine > most.saturating_add(FEW) { mine.saturating_sub(average) } else { 0 }
}

fn is_free(slot: &Slot<'_>, now: u64) -> bool {
    let idle_for = now.saturating_sub(slot.last_turn());
    slot.polling() || idle_for < FREE_SINCE || idle_for < FREE_SOON && slot.has_idle_lane()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What to let go of `mine`, beside workers with so many, of which those with a false are not free.
    fn first_surplus(mine: u64, others: &[(u64, bool)]) -> u64 {
        surplus(mine, others.iter().map(|&(connections, is_free)| Other { connections, is_free }), false)
    }

    #[test]
    fn only_who_has_more_than_twice_what_a_free_one_has_lets_some_go() {
        assert_eq!(first_surplus(64, &[]), 0);
        assert_eq!(first_surplus(64, &[(31, true)]), 0);
        assert_eq!(first_surplus(64, &[(30, true)]), 17);
        assert_eq!(first_surplus(64, &[(0, false)]), 0, "nobody is sent to one who is stuck");
        assert_eq!(
            first_surplus(64, &[(64, true), (0, true)]),
            22,
            "and 22 of the other's: each has a third"
        );
        assert_eq!(first_surplus(2, &[(0, true)]), 0, "a few are no matter");
        assert_eq!(first_surplus(10, &[(u64::MAX, true), (0, true)]), 0, "an absurd slot costs nobody");
    }

    #[test]
    fn who_has_begun_goes_on_to_the_average() {
        let other = |connections| [Other { connections, is_free: true }].into_iter();
        let mut balance = Balance { interval: INTERVAL, accepted: None };
        assert_eq!(balance.weigh(60, other(4), 4), 28);
        assert_eq!(balance.weigh(40, other(24), 24), 8);
        assert_eq!(balance.weigh(33, other(31), 31), 0);
        assert_eq!(balance.weigh(40, other(24), 31), 0, "it would have to begin anew");
    }

    #[test]
    fn letting_go_is_rarer_while_nobody_takes_them() {
        let stopped = || [Other { connections: 0, is_free: true }].into_iter();
        let mut balance = Balance { interval: INTERVAL, accepted: None };
        let intervals = [(); 11].map(|()| {
            balance.weigh(64, stopped(), 0);
            balance.interval / INTERVAL
        });
        assert_eq!(intervals, [1, 2, 4, 8, 16, 32, 64, 128, 256, 256, 256]);
        balance.weigh(64, stopped(), 1);
        assert_eq!(balance.interval, INTERVAL, "somebody came");
    }
}
