//! What is known of a worker's death: a value, the sentence about it, and the last few of them. Pure.

use std::collections::VecDeque;
use std::fmt;
use std::time::{Duration, SystemTime};

use nix::unistd::Pid;

use crate::last_words::{Cause, EXIT_OVERTIME};
use crate::master::workers::children::{Doom, Life};
use crate::sys::process::Change;
use crate::sys::signal;

/// So many deaths are remembered.
const REMEMBERED: usize = 32;

/// The death of a worker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::master) struct Death {
    /// Who has died; the number may be somebody else's by now.
    pub pid: Pid,
    /// Its place on the board.
    pub slot: usize,
    /// Whose worker it was.
    pub generation: u64,
    /// When it was reaped.
    pub at: SystemTime,
    /// How it came.
    pub end: End,
    /// From its fork until now.
    pub age: Duration,
    /// How many requests it had answered.
    pub served: u64,
    /// The requests that died with it, as a sentence.
    pub in_flight: String,
    /// Its largest resident size, in bytes.
    pub peak_memory: u64,
}

/// How a worker came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::master) enum End {
    /// It has left with this code.
    Exited(i32),
    /// Its application has called `exit()` with this code.
    ExitedByApplication(i32),
    /// It has left with this code, since its only thread was too long in a request.
    ExitedOvertime(i32),
    /// A signal, of its own doing or somebody else's.
    Signaled {
        /// Its number.
        signal: i32,
        /// A core was dumped.
        core: bool,
    },
    /// SIGKILL, by the master.
    Killed(Doom),
    /// SIGKILL, by the kernel, in all likelihood: it has killed in this control group for want of memory.
    OutOfMemory,
    /// SIGKILL, and not by the kernel for want of memory.
    Slain,
    /// SIGKILL, and nobody knows whose.
    SlainByUnknown,
}

impl End {
    /// From what the kernel says of a child, what the master had done to it, what it said itself, and whether the kernel has
    /// killed for want of memory meanwhile (`None`: nobody counts that here). A child that lives has no end.
    pub(in crate::master) fn new(
        change: Change,
        life: Life,
        spoke: Option<Cause>,
        oom: Option<bool>,
    ) -> Option<End> {
        match (change, life, oom) {
            (Change::Stopped(_) | Change::Continued, _, _) => None,
            (Change::Exited(code), _, _) => Some(match spoke {
                Some(Cause::Exit { .. }) => End::ExitedByApplication(code),
                Some(Cause::Overtime) if code == i32::from(EXIT_OVERTIME) => End::ExitedOvertime(code),
                Some(Cause::Overtime | Cause::Signal { .. }) | None => End::Exited(code),
            }),
            (
                Change::Signaled { signal: libc::SIGKILL, .. },
                Life::Condemned { doom, killed: true, .. },
                _,
            ) => Some(End::Killed(doom)),
            (Change::Signaled { signal: libc::SIGKILL, .. }, _, oom) => Some(match oom {
                Some(true) => End::OutOfMemory,
                Some(false) => End::Slain,
                None => End::SlainByUnknown,
            }),
            (Change::Signaled { signal, core }, _, _) => Some(End::Signaled { signal, core }),
        }
    }
}

/// Behind "Worker (pid:7) ". Gunicorn's words, where it has any.
impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            End::Exited(code) => write!(f, "exited with code {code}."),
            End::ExitedByApplication(code) => {
                write!(f, "exited with code {code}: its application called exit().")
            }
            End::ExitedOvertime(code) => {
                write!(f, "exited with code {code}: a request was longer than timeout in the application.")
            }
            End::Signaled { signal, core } => {
                let core = if *core { " (core dumped)" } else { "" };
                write!(f, "was sent {}!{core}", signal::long_name(*signal))
            }
            End::Killed(doom) => write!(f, "was sent SIGKILL by the master: {}.", doom.reason()),
            End::OutOfMemory => f.write_str(
                "was sent SIGKILL! Out of memory: the kernel has killed a process of this control group for that.",
            ),
            End::Slain => f.write_str(
                "was sent SIGKILL! Not by the master, and not for want of memory, as the control group says.",
            ),
            End::SlainByUnknown => f.write_str("was sent SIGKILL! Perhaps out of memory?"),
        }
    }
}

/// `Worker (pid:7) exited with code 1. (slot 0, ...)`
impl fmt::Display for Death {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Worker (pid:{}) {} (slot {}, generation {}, up {:.1} s, {} requests served, {}, peak memory {} MiB)",
            self.pid,
            self.end,
            self.slot,
            self.generation,
            self.age.as_secs_f64(),
            self.served,
            self.in_flight,
            self.peak_memory / 1024 / 1024,
        )
    }
}

/// The last deaths that nobody had asked for, oldest first.
#[derive(Clone, Debug, Default)]
pub(in crate::master) struct Deaths(VecDeque<Death>);

impl Deaths {
    /// One more; the oldest is forgotten when there are too many.
    pub(in crate::master) fn push(&mut self, death: Death) {
        if self.0.len() == REMEMBERED {
            self.0.pop_front();
        }
        self.0.push_back(death);
    }

    /// The newest.
    pub(in crate::master) fn last(&self) -> Option<&Death> {
        self.0.back()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KILLED: Change = Change::Signaled { signal: libc::SIGKILL, core: false };

    fn condemned(killed: bool) -> Life {
        Life::Condemned { since: 0, patience: Duration::ZERO, doom: Doom::Silent, killed }
    }

    fn death(pid: i32) -> Death {
        Death {
            pid: Pid::from_raw(pid),
            slot: 2,
            generation: 3,
            at: SystemTime::UNIX_EPOCH,
            end: End::Exited(1),
            age: Duration::from_millis(1234),
            served: 5,
            in_flight: "no request in flight".to_owned(),
            peak_memory: 9 << 20,
        }
    }

    #[test]
    fn sigkill_is_the_masters_if_it_has_sent_it_else_the_kernels_if_that_has_killed() {
        let end = |life, oom| End::new(KILLED, life, None, oom);
        assert_eq!(end(condemned(true), Some(true)), Some(End::Killed(Doom::Silent)));
        assert_eq!(end(condemned(false), Some(true)), Some(End::OutOfMemory));
        assert_eq!(end(Life::Ready, Some(true)), Some(End::OutOfMemory));
        assert_eq!(end(Life::Ready, Some(false)), Some(End::Slain));
        assert_eq!(end(Life::Ready, None), Some(End::SlainByUnknown));
        assert_eq!(End::new(Change::Continued, Life::Ready, None, None), None);
    }

    #[test]
    fn an_exit_has_the_reason_that_the_worker_gave() {
        let end = |code, spoke| End::new(Change::Exited(code), Life::Ready, spoke, None);
        let overtime = i32::from(EXIT_OVERTIME);
        assert_eq!(end(7, Some(Cause::Exit { code: Some(7) })), Some(End::ExitedByApplication(7)));
        assert_eq!(end(overtime, Some(Cause::Overtime)), Some(End::ExitedOvertime(overtime)));
        assert_eq!(
            end(0, Some(Cause::Overtime)),
            Some(End::Exited(0)),
            "its other calls were finished first"
        );
        assert_eq!(end(overtime, None), Some(End::Exited(overtime)));
    }

    #[test]
    fn the_line_has_all_that_is_known() {
        let line = "Worker (pid:7) exited with code 1. (slot 2, generation 3, up 1.2 s, 5 requests served, no request in \
                    flight, peak memory 9 MiB)";
        assert_eq!(death(7).to_string(), line);
    }

    #[test]
    fn only_the_last_deaths_are_remembered() {
        let mut deaths = Deaths::default();
        for pid in 0..40 {
            deaths.push(death(pid));
        }
        assert_eq!(deaths.last().map(|death| death.pid.as_raw()), Some(39));
        assert_eq!((deaths.0.len(), deaths.0[0].pid.as_raw()), (REMEMBERED, 8));
    }
}
