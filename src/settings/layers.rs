//! The values in force: each source lays its values over those of the earlier ones, and each value is checked when it
//! is laid, so that a fault is reported even if a later source hides it.

use std::collections::BTreeMap;
use std::ffi::OsStr;

use super::command::Arguments;
use super::kind::{Context, Kind};
use super::problem::{Origin, Problem, Problems};
use super::table::{Environment, Rows, Setting, Settings, table};
use super::value::{Raw, Refused};

/// The values by name, the last source's on top.
pub(super) struct Layers<'a> {
    context: Context<'a>,
    found: BTreeMap<&'static str, (Raw, Origin)>,
}

impl<'a> Layers<'a> {
    pub(super) fn new(context: Context<'a>) -> Layers<'a> {
        Layers { context, found: BTreeMap::new() }
    }

    /// The values of the file that was named `path`.
    pub(super) fn lay_file(
        &mut self,
        values: Vec<(&'static Setting, Raw)>,
        path: &str,
        problems: &mut Problems,
    ) {
        for (setting, raw) in values {
            let origin = Origin::File { path: path.to_owned(), line: raw.line };
            self.lay(setting, raw, origin, setting.name, problems);
        }
        problems.sort_lines();
    }

    /// The arguments of one source.
    pub(super) fn lay_arguments(&mut self, arguments: Arguments, origin: &Origin, problems: &mut Problems) {
        for foreign in arguments.foreign {
            problems.add_usage(origin.clone(), foreign.flag(), foreign.answer.to_string());
        }
        for (setting, raw) in arguments.values {
            self.lay(setting, raw, origin.clone(), setting.flag(), problems);
        }
    }

    /// Defaults for what nothing has set. The environment stands in for a default, so it is looked at only here: a
    /// platform sets such variables for other programs too.
    pub(super) fn lay_defaults<'e>(
        &mut self,
        variable: impl Fn(&str) -> Option<&'e OsStr>,
        problems: &mut Problems,
    ) {
        for setting in table().filter(|setting| setting.in_file) {
            if self.has(setting.name) {
                continue;
            }
            let found =
                setting.environment.and_then(|environment| Some((environment, variable(environment.name)?)));
            match (found, setting.default) {
                (Some((environment, text)), _) => self.lay_variable(setting, environment, text, problems),
                (None, Some(default)) => {
                    drop(self.found.insert(setting.name, (Raw::toml(default), Origin::Default)))
                }
                (None, None) => {}
            }
        }
    }

    fn lay_variable(
        &mut self,
        setting: &'static Setting,
        environment: Environment,
        text: &OsStr,
        problems: &mut Problems,
    ) {
        let origin = Origin::Environment(environment.name);
        let text = text.to_string_lossy();
        let raw = Raw::text(environment.form.replace("{}", &text));
        if (setting.check)(&raw, &self.context).is_err() {
            let Refused(faults) = Raw::text(text).expected(environment.expected);
            faults.into_iter().for_each(|fault| problems.add(origin.clone(), "", fault.sentence));
        }
        self.found.insert(setting.name, (raw, origin));
    }

    fn lay(
        &mut self,
        setting: &'static Setting,
        raw: Raw,
        origin: Origin,
        subject: &str,
        problems: &mut Problems,
    ) {
        let is_argument = matches!(origin, Origin::CmdArgs | Origin::CommandLine);
        if let Err(Refused(faults)) = (setting.check)(&raw, &self.context) {
            for fault in faults {
                problems.push(Problem {
                    origin: origin.at_line(fault.line),
                    subject: subject.to_owned(),
                    sentence: fault.sentence,
                    usage: is_argument && fault.malformed,
                });
            }
        }
        self.found.insert(setting.name, (raw, origin));
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.found.contains_key(name)
    }

    pub(super) fn origin(&self, name: &str) -> Origin {
        self.found.get(name).map_or(Origin::Default, |(_, origin)| origin.clone())
    }

    /// The value of a setting; `None` if it is not set and cannot be unset, or if it is refused.
    pub(super) fn read<K: Kind>(&self, name: &str) -> Option<K::Value> {
        match self.found.get(name) {
            Some((raw, _)) => K::read(raw, &self.context).ok(),
            None => K::absent(),
        }
    }

    /// Where each setting came from. With several threads the class follows from them.
    pub(super) fn origins(&self, settings: &Settings) -> BTreeMap<&'static str, Origin> {
        let mut origins: BTreeMap<_, _> =
            settings.write().into_iter().map(|(name, _)| (name, self.origin(name))).collect();
        if settings.threads > 1 && self.origin("worker_class") == Origin::Default {
            origins.insert("worker_class", self.origin("threads"));
        }
        origins
    }
}
