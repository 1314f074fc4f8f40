//! The letter that a master leaves to the binary that it starts (USR2), in the environment, and the line between the two:
//! how the new one finds out that it is one, and what it tells the old one.
//!
//! Old and new are two versions of this program. What they say to each other is this letter and three messages of
//! [`pair`](crate::pair); both may grow, and nothing in them may change its meaning.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use nix::unistd::Pid;
use serde::{Deserialize, Serialize};
use tracing::{debug, warn};

use crate::listener::Handed;
use crate::pair::{Order, Pair, Received, Report, Sent};
use crate::sys::{fd, pidfd, process, socket};

/// Where the letter is.
pub(in crate::master) const VARIABLE: &str = "UNIRS_UPGRADE";

/// What the old master writes.
#[derive(Debug, Serialize, Deserialize)]
pub(in crate::master) struct Letter {
    /// Who writes.
    pub master: i32,
    /// The new master's end of the line, inherited.
    pub pair: RawFd,
    /// The listeners are the service manager's: `bind` does not count.
    #[serde(default)]
    pub passed: bool,
    /// The listeners, inherited.
    pub listeners: Vec<Handed>,
}

/// What a new master has been given.
#[derive(Debug)]
pub(in crate::master) struct Handover {
    /// Who gave it; `None` if it has died since.
    pub parent: Option<Parent>,
    /// The listeners are the service manager's.
    pub passed: bool,
    /// What to go on with.
    pub listeners: Vec<Handed>,
}

/// The master that started this one, while it lives.
#[derive(Debug)]
pub(in crate::master) struct Parent {
    pid: Pid,
    /// Readable when it has ended. End-of-file on the pair comes too early: the lock of its pidfile may still be held.
    life: OwnedFd,
    /// `None` once it has closed its end.
    pair: Option<Pair>,
    /// The numbers of the listeners that it has, too.
    shared: Vec<RawFd>,
    /// It has said that it leaves.
    is_leaving: bool,
}

/// Why a letter is not obeyed.
#[derive(Debug, thiserror::Error)]
enum Doubt {
    #[error("it cannot be read: {0}")]
    Illegible(#[from] serde_json::Error),
    #[error("its descriptor cannot be had: {0}")]
    Line(#[from] std::io::Error),
    #[error("it is not of the process that it names")]
    Stranger,
}

/// Why this process does not even begin, for the master that has started it, if one has.
pub(crate) fn tell_parent(reason: &str) {
    if let Some(parent) = Handover::take().and_then(|handover| handover.parent) {
        parent.failed(reason);
    }
}

impl Handover {
    /// Takes the letter out of the environment, so that no child finds it. `None`: this is an ordinary start.
    pub(in crate::master) fn take() -> Option<Handover> {
        let text = std::env::var(VARIABLE).ok();
        process::forget_environment(VARIABLE);
        match Handover::read(&text?) {
            Ok(handover) => Some(handover),
            Err(doubt) => {
                warn!("{VARIABLE} is in the environment, but no master has started this one: {doubt}");
                None
            }
        }
    }

    /// Whether this descriptor came with it.
    pub(in crate::master) fn has(&self, number: RawFd) -> bool {
        let of_parent =
            self.parent.iter().flat_map(Parent::descriptors).map(|descriptor| descriptor.as_raw_fd());
        self.listeners.iter().map(|handed| handed.descriptor).chain(of_parent).any(|other| other == number)
    }

    /// The variable alone proves nothing. The kernel knows who made the pair, and it is the sender's while it lives.
    fn read(text: &str) -> Result<Handover, Doubt> {
        let letter: Letter = serde_json::from_str(text)?;
        let line = fd::inherit(letter.pair)?;
        let pid = Pid::from_raw(letter.master);
        if socket::maker_of_pair(&line)? != Some(pid) {
            return Err(Doubt::Stranger);
        }
        let shared = letter.listeners.iter().map(|handed| handed.descriptor).collect();
        let parent = match pidfd::open(pid) {
            Ok(life) => Some(Parent { pid, life, pair: Some(Pair::adopt(line)), shared, is_leaving: false }),
            Err(error) if error.raw_os_error() == Some(libc::ESRCH) => None,
            Err(error) => return Err(error.into()),
        };
        Ok(Handover { parent, passed: letter.passed, listeners: letter.listeners })
    }
}

impl Parent {
    /// Its number.
    pub(in crate::master) fn pid(&self) -> Pid {
        self.pid
    }

    /// What is to be polled for it.
    pub(in crate::master) fn descriptors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        std::iter::once(self.life.as_fd()).chain(self.pair.iter().map(Pair::as_fd))
    }

    /// Whether it has this listener, too.
    pub(in crate::master) fn has(&self, listener: impl AsFd) -> bool {
        self.shared.contains(&listener.as_fd().as_raw_fd())
    }

    /// Forgets a listener that this process leaves.
    pub(in crate::master) fn forget(&mut self, listener: impl AsFd) {
        let number = listener.as_fd().as_raw_fd();
        self.shared.retain(|shared| *shared != number);
    }

    /// Tells it that this master serves.
    pub(in crate::master) fn serving(&self) {
        self.tell(&Report::Serving(self.shared.clone()));
    }

    /// Tells it why this master does not come up.
    pub(in crate::master) fn failed(&self, reason: &str) {
        self.tell(&Report::Failed(reason.to_owned()));
    }

    /// Tells it that the service manager was told that it is the main process again.
    pub(in crate::master) fn leaving(&self) {
        self.tell(&Report::Leaving);
    }

    fn tell(&self, report: &Report) {
        let Some(pair) = &self.pair else { return };
        match pair.send_report(report) {
            // If it has gone, that is known next.
            Ok(Sent::Yes | Sent::Closed) => {}
            Ok(Sent::Full) => warn!("the old master (pid:{}) does not hear", self.pid),
            Err(error) => warn!("cannot tell the old master (pid:{}): {error}", self.pid),
        }
    }

    /// Whether it has ended.
    pub(in crate::master) fn has_ended(&self) -> bool {
        socket::wait_readable(&self.life, Some(std::time::Duration::ZERO)).unwrap_or(true)
    }

    /// Whether it has said that it leaves.
    pub(in crate::master) fn is_leaving(&self) -> bool {
        self.is_leaving
    }

    /// Reads what it has said. True: this master may speak to the service manager now.
    pub(in crate::master) fn hear(&mut self) -> bool {
        let mut may_speak = false;
        while let Some(pair) = &self.pair {
            match pair.receive_order() {
                Ok(Received::Message(Order::Speak, _)) => may_speak = true,
                Ok(Received::Message(Order::Leaving, _)) => self.is_leaving = true,
                Ok(Received::Message(order, _)) => debug!("{order:?} is for a worker"),
                Ok(Received::Nothing) => break,
                Ok(Received::Closed) => self.pair = None,
                Err(error) => {
                    warn!("cannot hear from the old master (pid:{}): {error}", self.pid);
                    self.pair = None;
                }
            }
        }
        may_speak
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pair;
    use crate::sys::testing::alone;

    fn letter(master: i32, pair: RawFd) -> String {
        serde_json::to_string(&Letter { master, pair, passed: false, listeners: Vec::new() }).unwrap()
    }

    #[test]
    fn a_letter_is_believed_only_with_the_pair_that_its_writer_has_made() {
        if !alone!() {
            return;
        }
        let (ours, theirs) = pair::pair().unwrap();
        let number = theirs.as_fd().as_raw_fd();
        let own = std::process::id().cast_signed();
        assert!(Handover::read(&letter(own, number)).is_err(), "it was not inherited");
        fd::set_cloexec(&theirs, false).unwrap();
        assert!(matches!(Handover::read(&letter(1, number)), Err(Doubt::Stranger)));
        assert!(Handover::read("no letter").is_err());
        std::mem::forget(theirs);
        let (_ours, theirs) = (ours, pair::pair().unwrap());
        let number = theirs.1.as_fd().as_raw_fd();
        fd::set_cloexec(&theirs.1, false).unwrap();
        std::mem::forget(theirs.1);
        let mut parent = Handover::read(&letter(own, number)).unwrap().parent.unwrap();
        assert!(!parent.has_ended());
        assert!(!parent.hear() && !parent.is_leaving(), "it has said nothing");
        for order in [Order::Leaving, Order::Speak] {
            assert_eq!(theirs.0.send_order(&order, &[]).unwrap(), Sent::Yes);
        }
        assert!(parent.hear() && parent.is_leaving());
        parent.serving();
        let heard = theirs.0.receive_report().unwrap();
        assert!(matches!(heard, Received::Message(Report::Serving(kept), _) if kept.is_empty()));
    }
}
