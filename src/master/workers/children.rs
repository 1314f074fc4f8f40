//! The children: one table for all roles, kept by the master alone. Nothing in it comes from shared memory.

use std::num::NonZeroU64;
use std::time::Duration;

use nix::unistd::Pid;

use super::recycling::Outdated;
use crate::last_words::Cause;
use crate::master::moment::{Monotonic, elapsed};
use crate::pair::{Farewell, Order, Pair};

/// One forked process.
#[derive(Debug)]
pub(in crate::master) struct Child {
    /// The kernel's number for it; ours to signal until it is reaped.
    pub pid: Pid,
    /// What it is for.
    pub role: Role,
    /// The number of the generation that it belongs to.
    pub generation: u64,
    /// Our end of its pair; `None` since it has closed its own.
    pub pair: Option<Pair>,
    /// When it was forked.
    pub spawned: Monotonic,
    /// When it first said that it is Ready.
    pub ready_since: Option<Monotonic>,
    /// Where it is in its life.
    pub life: Life,
    /// Since when a signal has it stopped.
    pub stopped_since: Option<Monotonic>,
    /// Since when its pair is closed, although it lives.
    pub deaf_since: Option<Monotonic>,
    /// When it was last asked for a turn.
    pub pinged: Option<Monotonic>,
    /// Its calls that were told that they are over their time, at most one for each lane.
    pub summons: Vec<Summons>,
    /// Orders that its queue has had no room for.
    pub owed: Owed,
    /// Why it came, or comes, to its end, as it said itself.
    pub spoke: Option<Cause>,
    /// How many records it has left.
    pub records: usize,
    /// Why it could not boot, in its own words.
    pub last_words: Option<String>,
    /// After so many requests it is to be replaced; none: any number.
    pub request_limit: Option<NonZeroU64>,
    /// Why it is to be replaced, once it is.
    pub outdated: Option<Outdated>,
}

/// What a child is for. (The status worker will stand here.)
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::master) enum Role {
    /// Serves, from one slot of its generation's board.
    Worker {
        /// Its place on the board.
        slot: usize,
    },
    /// Has started its generation's application, and forks its workers.
    Mold,
    /// The next master, which belongs to no generation of this one.
    Upgrade,
    /// Looks up the names of a stack, writes its record, and leaves.
    Symbolizer,
}

/// A call that was told that it is over its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::master) struct Summons {
    /// On which lane.
    pub lane: usize,
    /// The number of the exchange on it.
    pub exchange: u64,
    /// When.
    pub since: Monotonic,
}

/// Where a child is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::master) enum Life {
    /// Forked, not Ready.
    Booting,
    /// Serves.
    Ready,
    /// Was asked to leave.
    Retiring {
        /// When.
        since: Monotonic,
        /// How long it may take.
        patience: Duration,
        /// How it was asked.
        parting: Parting,
    },
    /// Has been signalled to death, gently or not.
    Condemned {
        /// When.
        since: Monotonic,
        /// How long it may take before it is killed.
        patience: Duration,
        /// Why.
        doom: Doom,
        /// SIGKILL was sent: no more can be done.
        killed: bool,
    },
}

/// How a worker is asked to leave; a later one hurries an earlier one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::master) enum Parting {
    /// Others serve on: idle connections may stay until their own time is over.
    Reload,
    /// The server ends: what was accepted is answered.
    Stop,
    /// The server ends now.
    Quick,
}

impl Parting {
    /// The order that says so.
    pub(in crate::master) fn order(self) -> Order {
        match self {
            Parting::Reload => Order::Retire(Farewell::Reload),
            Parting::Stop => Order::Retire(Farewell::Stop),
            Parting::Quick => Order::Quick,
        }
    }

    /// The signal that says so to a worker whose pair is lost.
    pub(in crate::master) fn signal(self) -> i32 {
        match self {
            Parting::Reload | Parting::Stop => libc::SIGTERM,
            Parting::Quick => libc::SIGQUIT,
        }
    }
}

/// Why a child was condemned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::master) enum Doom {
    /// A call took longer than `timeout`, and its thread did not end it when it was told to.
    Timeout {
        /// On which lane.
        lane: usize,
    },
    /// It was not Ready within `boot_timeout`.
    BootTimeout,
    /// It was stopped by a signal for `timeout`.
    Stopped,
    /// Its engine did not come round, not even when asked.
    Silent,
    /// It was asked to leave, and stayed longer than it may.
    Overstayed {
        /// As which it was asked last.
        parting: Parting,
    },
    /// It closed its end of the pair, and lived on.
    Deaf,
    /// Its slot holds what no worker writes.
    Absurd,
    /// It was not Ready, and is not wanted any more.
    Dismissed,
}

impl Doom {
    /// The first signal. SIGABRT leaves a core where those are kept, and an application can catch it. None: it gets an
    /// order, since a signal may reach it when it has just begun to serve.
    pub(in crate::master) fn signal(self) -> Option<i32> {
        match self {
            Doom::BootTimeout | Doom::Silent | Doom::Absurd => Some(libc::SIGABRT),
            Doom::Deaf => Some(libc::SIGTERM),
            // Its thread was told already, and did not react.
            Doom::Timeout { .. } | Doom::Stopped | Doom::Overstayed { .. } => Some(libc::SIGKILL),
            Doom::Dismissed => None,
        }
    }

    /// For the line about the death.
    pub(in crate::master) fn reason(self) -> &'static str {
        match self {
            Doom::Timeout { .. } => "a request was longer than timeout in the application",
            Doom::BootTimeout => "it was not ready within boot_timeout",
            Doom::Stopped => "it was stopped for longer than timeout",
            Doom::Silent => "its engine did not answer within timeout",
            Doom::Overstayed { parting: Parting::Quick } => "it had not left a second after a quick stop",
            Doom::Overstayed { parting: Parting::Reload | Parting::Stop } => {
                "it had not left within graceful_timeout"
            }
            Doom::Deaf => "it had closed its line to the master",
            Doom::Absurd => "its slot of the scoreboard was overwritten",
            Doom::Dismissed => "it was not ready yet and is not wanted any more",
        }
    }
}

/// Orders that wait for room in a child's queue. They name what is wanted, so that the newest takes the place of what it overrules.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::master) struct Owed {
    /// To leave.
    pub parting: Option<Parting>,
    /// To open the logs anew.
    pub reopen: bool,
    /// To show a turn.
    pub ping: bool,
}

impl Owed {
    /// True when nothing waits.
    pub(in crate::master) fn is_nothing(&self) -> bool {
        *self == Owed::default()
    }
}

impl Child {
    /// One that was just forked. `generation` is 0 if it belongs to none.
    pub(in crate::master) fn newborn(
        pid: Pid,
        role: Role,
        generation: u64,
        pair: Option<Pair>,
        now: Monotonic,
    ) -> Child {
        Child {
            pid,
            role,
            generation,
            pair,
            spawned: now,
            ready_since: None,
            life: Life::Booting,
            stopped_since: None,
            deaf_since: None,
            pinged: None,
            summons: Vec::new(),
            owed: Owed::default(),
            spoke: None,
            records: 0,
            last_words: None,
            request_limit: None,
            outdated: None,
        }
    }

    /// Its slot, if it is a worker.
    pub(in crate::master) fn slot(&self) -> Option<usize> {
        match self.role {
            Role::Worker { slot } => Some(slot),
            Role::Mold => None,
            Role::Upgrade => None,
            Role::Symbolizer => None,
        }
    }

    /// Its death is what was asked of it, and no misfortune.
    pub(in crate::master) fn is_expected_to_go(&self) -> bool {
        match self.life {
            Life::Booting | Life::Ready => false,
            Life::Retiring { .. } => true,
            Life::Condemned { doom, .. } => matches!(doom, Doom::Dismissed | Doom::Overstayed { .. }),
        }
    }

    /// How long it was, or has been, Ready.
    pub(in crate::master) fn ready_for(&self, now: Monotonic) -> Duration {
        self.ready_since.map_or(Duration::ZERO, |since| elapsed(since, now))
    }
}

/// All children, oldest first.
#[derive(Debug, Default)]
pub(in crate::master) struct Children(Vec<Child>);

impl Children {
    /// Adds the youngest.
    pub(in crate::master) fn push(&mut self, child: Child) {
        self.0.push(child);
    }

    /// The one with this pid.
    pub(in crate::master) fn get_mut(&mut self, pid: Pid) -> Option<&mut Child> {
        self.0.iter_mut().find(|child| child.pid == pid)
    }

    /// Takes out the one with this pid.
    pub(in crate::master) fn remove(&mut self, pid: Pid) -> Option<Child> {
        let index = self.0.iter().position(|child| child.pid == pid)?;
        Some(self.0.remove(index))
    }

    /// All, oldest first.
    pub(in crate::master) fn iter(&self) -> impl Iterator<Item = &Child> {
        self.0.iter()
    }

    /// All, oldest first.
    pub(in crate::master) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Child> {
        self.0.iter_mut()
    }

    /// The workers of one generation, oldest first.
    pub(in crate::master) fn of(&self, generation: u64) -> impl Iterator<Item = &Child> {
        self.all_of(generation).filter(|child| child.slot().is_some())
    }

    /// Everybody of one generation, oldest first.
    pub(in crate::master) fn all_of(&self, generation: u64) -> impl Iterator<Item = &Child> {
        self.0.iter().filter(move |child| child.generation == generation)
    }

    /// The pids, oldest first, for whoever changes the table while walking it.
    pub(in crate::master) fn pids(&self) -> Vec<Pid> {
        self.0.iter().map(|child| child.pid).collect()
    }

    /// How many there are.
    pub(in crate::master) fn len(&self) -> usize {
        self.0.len()
    }
}
