//! The sources of settings, captured once at the start and read again at each reload: environment, file, arguments.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::apps::Apps;
use super::check;
use super::command::{self, Arguments};
use super::file::{self, Contents};
use super::kind::Context;
use super::layers::Layers;
use super::problem::{Origin, Problems};
use super::reload::{self, ReloadRequest};
use super::render;
use super::table::{Invocation, Rows, Settings};

/// The file that is read when none is named, if it exists.
const DEFAULT_FILE: &str = "gunicorn.toml";

/// Everything that settings come from, but for the file's contents.
#[derive(Clone, Debug)]
pub struct Sources {
    /// The program's name and its arguments.
    pub argv: Vec<OsString>,
    /// The environment as it was at the start.
    pub env: Vec<(OsString, OsString)>,
    /// Relative paths begin here, whatever the process changes to later.
    pub start_dir: PathBuf,
}

/// What the sources say, read, checked and resolved.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The settings.
    pub settings: Settings,
    /// Where each setting came from, by name.
    pub origins: BTreeMap<&'static str, Origin>,
    /// What else was asked for.
    pub invocation: Invocation,
    /// The file that was read, as it was named.
    pub file: Option<String>,
    apps: Apps,
}

impl Loaded {
    /// The settings as a settings file, with a comment for each that says where it came from.
    pub fn print(&self) -> String {
        render::configuration(&self.settings, &self.origins, &self.apps)
    }
}

/// The answer to a command line that asks for no start.
#[derive(Clone, Debug)]
pub struct Reply {
    /// Help, version, or what is wrong with the arguments.
    pub text: String,
    /// Whether it goes to standard error.
    pub is_error: bool,
    /// 0, or 2 for wrong arguments.
    pub exit_code: u8,
}

impl Reply {
    fn of(error: &clap::Error) -> Reply {
        let is_error = error.use_stderr();
        Reply { text: error.render().to_string(), is_error, exit_code: if is_error { 2 } else { 0 } }
    }
}

impl Sources {
    /// Those of this process.
    pub fn capture() -> io::Result<Sources> {
        Ok(Sources {
            argv: std::env::args_os().collect(),
            env: std::env::vars_os().collect(),
            start_dir: start_dir()?,
        })
    }

    /// The answer, if the arguments ask for help or the version, or cannot be understood.
    pub fn reply(&self) -> Option<Reply> {
        command::parse(self.argv.iter().cloned()).err().map(|error| Reply::of(&error))
    }

    /// The request, if the arguments are those of `unirs reload`.
    pub fn reload_request(&self) -> Option<Result<ReloadRequest, Reply>> {
        reload::is_meant(&self.argv).then(|| reload::parse(&self.argv).map_err(|error| Reply::of(&error)))
    }

    /// Reads all of them; the file anew each time.
    pub fn load(&self) -> Result<Loaded, Problems> {
        let mut problems = Problems::default();
        let cmd_args = self.cmd_args(&mut problems);
        let command_line = self.parse(self.argv.iter().cloned(), &Origin::CommandLine, &mut problems);
        let file = self.file(&cmd_args, &command_line, &mut problems);
        let contents = match &file {
            Some((path, shown)) => file::read(path, shown, &self.start_dir, &mut problems),
            None => Contents { apps: Some(Apps::new()), ..Contents::default() },
        };
        let shown = file.map(|(_, shown)| shown);
        let mut layers = Layers::new(Context { start_dir: &self.start_dir, apps: contents.apps.as_ref() });
        layers.lay_file(contents.values, shown.as_deref().unwrap_or_default(), &mut problems);
        layers.lay_arguments(cmd_args, &Origin::CmdArgs, &mut problems);
        layers.lay_arguments(command_line, &Origin::CommandLine, &mut problems);
        layers.lay_defaults(|name| self.variable(name), &mut problems);
        let (settings, invocation) = finish(&layers, contents.apps.is_some(), problems)?;
        let origins = layers.origins(&settings);
        Ok(Loaded { settings, origins, invocation, file: shown, apps: contents.apps.unwrap_or_default() })
    }

    /// A variable of the environment at the start; an empty one counts as unset.
    fn variable(&self, name: &str) -> Option<&OsStr> {
        let (_, value) = self.env.iter().find(|(key, _)| key == name)?;
        Some(value.as_os_str()).filter(|value| !value.is_empty())
    }

    fn cmd_args(&self, problems: &mut Problems) -> Arguments {
        let Some(text) = self.variable("UNIRS_CMD_ARGS") else {
            return Arguments::default();
        };
        let words = text.to_str().map(shlex::split);
        match words {
            Some(Some(words)) => {
                let words =
                    std::iter::once(OsString::from("unirs")).chain(words.into_iter().map(OsString::from));
                self.parse(words, &Origin::CmdArgs, problems)
            }
            Some(None) => {
                problems.add_usage(Origin::CmdArgs, "", "a quotation mark or a backslash has no partner");
                Arguments::default()
            }
            None => {
                problems.add_usage(Origin::CmdArgs, "", "it is not UTF-8");
                Arguments::default()
            }
        }
    }

    fn parse(
        &self,
        words: impl Iterator<Item = OsString>,
        origin: &Origin,
        problems: &mut Problems,
    ) -> Arguments {
        command::parse(words).unwrap_or_else(|error| {
            problems.add_usage(origin.clone(), "", command::one_line(&error));
            Arguments::default()
        })
    }

    /// The file to read: its path, and how it was named.
    fn file(
        &self,
        cmd_args: &Arguments,
        command_line: &Arguments,
        problems: &mut Problems,
    ) -> Option<(PathBuf, String)> {
        let of = |arguments: &Arguments, origin| arguments.config.clone().map(|named| (named, origin));
        let named = of(command_line, Origin::CommandLine).or_else(|| of(cmd_args, Origin::CmdArgs));
        let Some((named, origin)) = named else {
            let path = self.start_dir.join(DEFAULT_FILE);
            return path.exists().then(|| (path, DEFAULT_FILE.to_owned()));
        };
        if named.starts_with("python:") {
            problems.add(origin, "--config", "a Python module cannot be the settings file; unirs reads TOML");
            return None;
        }
        let path = named.strip_prefix("file:").unwrap_or(&named);
        Some((self.start_dir.join(path), path.strip_prefix("./").unwrap_or(path).to_owned()))
    }
}

/// From checked values to settings, if nothing is wrong. A file that was not read may have named the application.
fn finish(
    layers: &Layers<'_>,
    file_was_read: bool,
    mut problems: Problems,
) -> Result<(Settings, Invocation), Problems> {
    if file_was_read && !layers.has("app") {
        let sentence =
            "no application is named: give APP on the command line, or app = \"NAME\" in the settings file";
        problems.add(Origin::Default, "", sentence);
    }
    let read = || Some((Settings::read(layers)?, Invocation::read(layers)?));
    let Some((mut settings, invocation)) = read() else {
        return Err(problems);
    };
    check::settle(&mut settings);
    check::together(&settings, &|name| layers.origin(name), &mut problems);
    if problems.is_empty() { Ok((settings, invocation)) } else { Err(problems) }
}

/// The directory of the start: as the shell names it, if that is true, so that a symbolic link in it (`current`) is
/// followed anew at each reload.
fn start_dir() -> io::Result<PathBuf> {
    let actual = std::env::current_dir()?;
    let same = |a: &Path, b: &Path| -> io::Result<bool> {
        let (a, b) = (a.metadata()?, b.metadata()?);
        Ok((a.dev(), a.ino()) == (b.dev(), b.ino()))
    };
    match std::env::var_os("PWD").map(PathBuf::from) {
        Some(named) if named.is_absolute() && same(&named, &actual).unwrap_or(false) => Ok(named),
        Some(_) | None => Ok(actual),
    }
}
