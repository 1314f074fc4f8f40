//! What the service manager is told of the server's state: the STATUS line, and the words that go with it.

use std::fmt::Write;
use std::time::Duration;

use super::heartbeat::Heartbeat;
use crate::master::moment::after;
use crate::master::reload::generation::{Fate, Generation};
use crate::master::workers::children::{Child, Life};
use crate::master::{Master, Phase};

/// The STATUS line: what is said at once when it changes, and the figures, which change with every request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::master) struct Status {
    state: String,
    figures: Figures,
    /// What has happened last, if anything has: the last death, and how the last reload ended.
    misfortunes: String,
}

/// What the workers do, all together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Figures {
    /// Workers that have an exchange in flight.
    busy: usize,
    /// Exchanges that have ended, of all workers that ever were.
    requests: u64,
}

impl Status {
    fn message(&self) -> String {
        let Figures { busy, requests } = self.figures;
        format!("STATUS={}; {busy} busy; {requests} requests{}", self.state, self.misfortunes)
    }
}

impl Master {
    /// The service manager gets a sign of life in time, and may be asked for more of it, from now on.
    pub(in crate::master) fn begin_heartbeat(&mut self) {
        if !self.notifier.is_heard() {
            return;
        }
        let now = self.now();
        self.heartbeat = Heartbeat::begin(self.notifier.watchdog(), now);
        // The first worker boots alone, the others after it.
        let boot_timeout = self.generations.first().and_then(|generation| generation.settings.boot_timeout);
        if let Some(boot_timeout) = boot_timeout {
            self.heartbeat.extend_until(after(now, 2 * boot_timeout), now);
        }
    }

    /// Tells the service manager what is due: signs of life, and a STATUS line that has changed.
    pub(in crate::master) fn tell_manager(&mut self) {
        if !self.notifier.is_heard() {
            return;
        }
        let now = self.now();
        if self.heartbeat.is_watchdog_due(now) {
            self.notifier.send("WATCHDOG=1");
        }
        if let Some(time) = self.heartbeat.due_extension(now) {
            self.notifier.send(extension(time));
        }
        let are_figures_due = self.heartbeat.are_figures_due(now);
        let has_changed =
            || self.misfortunes() != self.status.misfortunes || self.state_line() != self.status.state;
        if are_figures_due || has_changed() {
            self.tell_status();
        }
    }

    fn tell_status(&mut self) {
        let status = self.status();
        if status != self.status {
            self.notifier.send(status.message());
            self.status = status;
        }
    }

    /// The service manager waits for this word, at the start and after each reload, refused or not; not any more once it has
    /// heard of a stop.
    pub(in crate::master) fn say_ready(&mut self) {
        match self.phase {
            Phase::Starting | Phase::Running => {
                self.status = self.status();
                self.notifier.send(format!("READY=1\n{}", self.status.message()));
            }
            Phase::Draining { .. } | Phase::Stopping { .. } => self.tell_status(),
        }
    }

    /// A stop was asked for, or is quickened.
    pub(in crate::master) fn say_stopping(&mut self) {
        self.status = self.status();
        self.notifier.send(format!("STOPPING=1\n{}", self.status.message()));
    }

    fn status(&self) -> Status {
        Status { state: self.state_line(), figures: self.figures(), misfortunes: self.misfortunes() }
    }

    /// `generation 1: 2 of 2 workers ready; generation 2 arriving: 0 of 2 workers ready`
    fn state_line(&self) -> String {
        let mut line = match self.phase {
            Phase::Starting | Phase::Running => String::new(),
            Phase::Draining { .. } => "draining".to_owned(),
            Phase::Stopping { .. } => "stopping".to_owned(),
        };
        for generation in &self.generations {
            let doing = match generation.fate {
                Fate::Serving => "",
                Fate::Arriving => " arriving",
                Fate::Withdrawn => " withdrawn",
                Fate::Leaving(_) => " leaving",
            };
            let children = self.children.of(generation.number);
            let (ready, all) = children.fold((0, 0), |(ready, all), child| {
                (ready + usize::from(child.life == Life::Ready), all + 1)
            });
            let of = if generation.is_staying() { generation.wanted } else { all };
            let separator = if line.is_empty() { "" } else { "; " };
            // Writing to a String cannot fail.
            let _ = write!(
                line,
                "{separator}generation {}{doing}: {ready} of {of} workers ready",
                generation.number
            );
        }
        line
    }

    fn misfortunes(&self) -> String {
        let mut line = String::new();
        if let Some(death) = self.deaths.last() {
            let _ = write!(line, "; the last death: worker (pid:{}) {}", death.pid, death.end);
        }
        if let Some(verdict) = &self.verdict {
            let _ = write!(line, "; {verdict}");
        }
        if let Some(reason) = &self.upgrade.failure {
            let _ = write!(line, "; the last upgrade failed: {}", one_line(reason));
        }
        line
    }

    fn figures(&self) -> Figures {
        let mut figures = Figures { busy: 0, requests: self.departed.requests };
        for generation in &self.generations {
            for child in self.children.of(generation.number) {
                let (is_busy, requests) = work(child, generation);
                figures.busy += usize::from(is_busy);
                figures.requests = figures.requests.saturating_add(requests);
            }
        }
        figures
    }
}

/// Whether a child has an exchange in flight, and how many it has had.
fn work(child: &Child, generation: &Generation) -> (bool, u64) {
    let Some(slot) = child.slot().map(|slot| generation.board.slot(slot)) else {
        return (false, 0);
    };
    let is_busy = (0..slot.lanes()).any(|lane| slot.lane(lane).exchange().is_some());
    (is_busy, slot.requests())
}

/// systemd takes microseconds.
fn extension(time: Duration) -> String {
    format!("EXTEND_TIMEOUT_USEC={}", time.as_micros())
}

/// A sentence that came from elsewhere, as one line of plain text: what a terminal or a line's reader would obey is shown.
pub(in crate::master) fn one_line(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for letter in text.chars() {
        if letter.is_control() { line.extend(letter.escape_default()) } else { line.push(letter) }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sentence_is_one_line_and_keeps_its_quotation_marks() {
        assert_eq!(one_line("the worker's \"app\"\n\u{1b}[31m"), "the worker's \"app\"\\n\\u{1b}[31m");
    }

    #[test]
    fn the_status_has_state_figures_and_misfortunes() {
        let state = "generation 1: 2 of 2 workers ready".to_owned();
        let mut status =
            Status { state, figures: Figures { busy: 1, requests: 12 }, misfortunes: String::new() };
        let usual = "STATUS=generation 1: 2 of 2 workers ready; 1 busy; 12 requests";
        assert_eq!(status.message(), usual);
        status.misfortunes = "; Reload refused, generation 1 serves on: no way".to_owned();
        assert_eq!(status.message(), format!("{usual}; Reload refused, generation 1 serves on: no way"));
    }
}
