//! Where a value came from, and what is wrong with it: the lines that an operator reads.

use std::fmt::{self, Write};

/// The source of a value, in the order in which a later one takes the place of an earlier one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The table's own default.
    Default,
    /// A variable of the environment, which stands in for the default.
    Environment(&'static str),
    /// The settings file.
    File {
        /// The path as it was given.
        path: String,
        /// The line; 0: the file as a whole.
        line: usize,
    },
    /// The arguments in `UNIRS_CMD_ARGS`.
    CmdArgs,
    /// The arguments of the start.
    CommandLine,
}

impl Origin {
    /// The same source, at another line of its file.
    pub(super) fn at_line(&self, line: usize) -> Origin {
        match self {
            Origin::File { path, .. } => Origin::File { path: path.clone(), line },
            Origin::Default | Origin::Environment(_) | Origin::CmdArgs | Origin::CommandLine => self.clone(),
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Default => f.write_str("default"),
            Origin::Environment(name) => write!(f, "environment {name}"),
            Origin::File { path, line: 0 } => f.write_str(path),
            Origin::File { path, line } => write!(f, "{path}:{line}"),
            Origin::CmdArgs => f.write_str("UNIRS_CMD_ARGS"),
            Origin::CommandLine => f.write_str("command line"),
        }
    }
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where it was found; `Default` is no place, and is not printed.
    pub origin: Origin,
    /// The setting, flag or table; may be empty.
    pub subject: String,
    /// What was expected and what was found, or what to do.
    pub sentence: String,
    /// Whether the arguments are written wrongly, which has an exit code of its own.
    pub usage: bool,
}

impl fmt::Display for Problem {
    /// `gunicorn.toml:12: workers: expected a number or "auto", found "many"`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.origin != Origin::Default {
            write!(f, "{}: ", OneLine(&self.origin.to_string()))?;
        }
        if !self.subject.is_empty() {
            write!(f, "{}: ", OneLine(&self.subject))?;
        }
        OneLine(&self.sentence).fmt(f)
    }
}

/// Text with what stood in a file, which may have been anything: control characters are shown, not sent to a terminal.
struct OneLine<'a>(&'a str);

impl fmt::Display for OneLine<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|character| match character {
            control if control.is_control() => write!(f, "{}", control.escape_default()),
            other => f.write_char(other),
        })
    }
}

/// Everything that is wrong, in the order of the sources and of the lines.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Problems {
    list: Vec<Problem>,
}

impl Problems {
    /// Adds a problem of the configuration.
    pub(super) fn add(&mut self, origin: Origin, subject: impl Into<String>, sentence: impl Into<String>) {
        self.list.push(Problem { origin, subject: subject.into(), sentence: sentence.into(), usage: false });
    }

    /// Adds a problem of the arguments.
    pub(super) fn add_usage(
        &mut self,
        origin: Origin,
        subject: impl Into<String>,
        sentence: impl Into<String>,
    ) {
        self.list.push(Problem { origin, subject: subject.into(), sentence: sentence.into(), usage: true });
    }

    /// One problem after the other.
    pub fn iter(&self) -> impl Iterator<Item = &Problem> {
        self.list.iter()
    }

    /// Whether nothing is wrong.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// 2 if an argument is written wrongly, as for every program; else 1: the configuration is refused.
    pub fn exit_code(&self) -> u8 {
        if self.list.iter().any(|problem| problem.usage) { 2 } else { 1 }
    }

    pub(super) fn push(&mut self, problem: Problem) {
        self.list.push(problem);
    }

    /// Adds those of another list.
    pub(super) fn append(&mut self, mut more: Problems) {
        self.list.append(&mut more.list);
    }

    /// Puts the problems of a file, which were found by topic, into the order of its lines.
    pub(super) fn sort_lines(&mut self) {
        self.list.sort_by_key(|problem| match problem.origin {
            Origin::File { line, .. } => line,
            Origin::Default | Origin::Environment(_) | Origin::CmdArgs | Origin::CommandLine => usize::MAX,
        });
    }
}

impl fmt::Display for Problems {
    /// A line for each.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, problem) in self.list.iter().enumerate() {
            let end = if i == 0 { "" } else { "\n" };
            write!(f, "{end}{problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

/// The known names that are most like `name`, best first; none that a reader would not have meant.
pub(super) fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let mut scored: Vec<(f64, &str)> = known
        .map(|candidate| (strsim::jaro_winkler(name, candidate), candidate))
        .filter(|(score, _)| *score > 0.8)
        .collect();
    scored.sort_by(|a, b| b.0.total_cmp(&a.0));
    scored.into_iter().map(|(_, candidate)| candidate).take(3).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_is_one_line_whatever_stood_in_the_file() {
        let origin = Origin::File { path: "a.toml".into(), line: 2 };
        let problem = Problem {
            origin,
            subject: "a\u{1b}[1m".into(),
            sentence: "found \"x\n\u{9b}\"".into(),
            usage: false,
        };
        assert_eq!(problem.to_string(), r#"a.toml:2: a\u{1b}[1m: found "x\n\u{9b}""#);
    }

    #[test]
    fn the_nearest_name_comes_first_and_a_strange_one_has_none() {
        let known = ["workers", "worker_class", "timeout"];
        assert_eq!(nearest("worker", known.into_iter()).first(), Some(&"workers"));
        assert_eq!(nearest("timout", known.into_iter()), ["timeout"]);
        assert!(nearest("xyzzy", known.into_iter()).is_empty());
    }
}
