//! What the service manager is told of the server's state.

use std::fmt::Write;

use super::children::Life;
use super::generation::Fate;
use super::{Master, Phase};

impl Master {
    /// Sends the STATUS line when it has changed.
    pub(super) fn tell_status(&mut self) {
        let status = self.status_line();
        if status != self.status {
            self.notifier.send(format!("STATUS={status}"));
            self.status = status;
        }
    }

    /// `generation 1: 2 of 2 workers ready; generation 2 arriving: 0 of 2 workers ready`
    pub(super) fn status_line(&self) -> String {
        let mut line = match self.phase {
            Phase::Starting | Phase::Running => String::new(),
            Phase::Stopping { .. } => "stopping".to_owned(),
        };
        for generation in &self.generations {
            let doing = match generation.fate {
                Fate::Serving => "",
                Fate::Arriving => " arriving",
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
        if let Some(death) = self.deaths.last() {
            let _ = write!(line, "; the last death: worker (pid:{}) {}", death.pid, death.end);
        }
        if let Some(reason) = &self.refusal {
            let _ = write!(line, "; the last reload was refused: {}", one_line(reason));
        }
        line
    }
}

/// A sentence that came from elsewhere, as one line of plain text: what a terminal or a line's reader would obey is shown.
pub(super) fn one_line(text: &str) -> String {
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
}
