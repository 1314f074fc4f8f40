//! The command line, made from the table: arguments in, raw values out.

use clap::error::ErrorKind;
use clap::{Arg, ArgAction, ArgMatches, Command};

use super::foreign::{FOREIGN, Foreign};
use super::table::{Setting, table};
use super::value::Raw;

/// What stood on a command line, in the order of the table.
#[derive(Default)]
pub(super) struct Arguments {
    pub(super) config: Option<String>,
    pub(super) values: Vec<(&'static Setting, Raw)>,
    /// Flags that are known and not supported.
    pub(super) foreign: Vec<&'static Foreign>,
}

/// Reads arguments; the first is the name of the program.
pub(super) fn parse(arguments: impl Iterator<Item = std::ffi::OsString>) -> Result<Arguments, clap::Error> {
    let matches = command().try_get_matches_from(arguments)?;
    let mut found = Arguments::default();
    for setting in table() {
        let Some(raw) = raw(setting, &matches) else {
            continue;
        };
        match setting.name {
            "config" => found.config = matches.get_one::<String>("config").cloned(),
            _ => found.values.push((setting, raw)),
        }
    }
    found.foreign = FOREIGN
        .iter()
        .filter(|foreign| !foreign.flags.is_empty() && matches.contains_id(foreign.name))
        .collect();
    Ok(found)
}

fn raw(setting: &Setting, matches: &ArgMatches) -> Option<Raw> {
    if setting.value.is_empty() {
        let said = |id: &str| matches.get_flag(id);
        return match (said(setting.name), said(&negated(setting))) {
            (true, _) => Some(Raw::text("true")),
            (false, true) => Some(Raw::text("false")),
            (false, false) => None,
        };
    }
    let mut values = matches.get_many::<String>(setting.name)?;
    if setting.many { Some(Raw::list(values.cloned())) } else { values.next_back().map(Raw::text) }
}

/// In one line, for a source that is no terminal.
pub(super) fn one_line(error: &clap::Error) -> String {
    if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) {
        return "--help and --version belong on the command line".into();
    }
    let text = error.render().to_string();
    let lines = text.lines().map(str::trim).take_while(|line| !line.starts_with("Usage:"));
    let said: Vec<&str> = lines.filter(|line| !line.is_empty() && !line.starts_with("For more")).collect();
    said.join("; ").trim_start_matches("error: ").to_owned()
}

/// The command line as clap knows it.
pub(super) fn command() -> Command {
    Command::new("unirs")
        .version(concat!("(version ", env!("CARGO_PKG_VERSION"), ")"))
        .about("A pre-fork HTTP application server for Linux, in Gunicorn's language")
        .override_usage("unirs [OPTIONS] [APP]\n       unirs reload --pid FILE")
        .after_help(AFTER)
        .max_term_width(100)
        .infer_long_args(true)
        .allow_negative_numbers(true)
        .args_override_self(true)
        .disable_version_flag(true)
        .disable_help_flag(true)
        .args(table().map(argument))
        .args(table().filter(|setting| setting.value.is_empty()).map(negation))
        .args(FOREIGN.iter().filter(|foreign| !foreign.flags.is_empty()).map(hidden))
        .args(about_itself())
}

const AFTER: &str = "A later source takes the place of an earlier one: defaults, the settings file, the variable \
UNIRS_CMD_ARGS (arguments, as in a shell), the command line. TIME is seconds or has a unit: 30, 500ms, 2h. SIZE is \
bytes or has a unit: 8190, 64KiB, 512MB.\n\n\
unirs reload --pid FILE reloads a running server and waits for the outcome; -h behind it says more.";

fn about_itself() -> [Arg; 2] {
    let help = Arg::new("help").short('h').long("help").action(ArgAction::Help);
    let version = Arg::new("version").short('v').long("version").short_alias('V').action(ArgAction::Version);
    [
        help.help("Print this help; -h prints less of it").help_heading("Command line"),
        version.help("Print the version").help_heading("Command line"),
    ]
}

fn argument(setting: &'static Setting) -> Arg {
    let (short, long) = help(setting);
    let mut argument = named(Arg::new(setting.name), setting.flags).help(short).long_help(long);
    argument = argument.help_heading(setting.section);
    if !setting.flags.is_empty() {
        argument = argument.aliases(own_name(setting));
    }
    if setting.value.is_empty() {
        return argument.action(ArgAction::SetTrue);
    }
    let action = if setting.many { ArgAction::Append } else { ArgAction::Set };
    argument.value_name(setting.value).action(action)
}

/// Turns off what the file or `UNIRS_CMD_ARGS` turned on.
fn negation(setting: &'static Setting) -> Arg {
    let id = negated(setting);
    Arg::new(id.clone()).long(id).action(ArgAction::SetTrue).overrides_with(setting.name).hide(true)
}

fn negated(setting: &Setting) -> String {
    format!("no-{}", setting.name.replace('_', "-"))
}

/// Every setting is also a flag under its own name.
fn own_name(setting: &Setting) -> Option<String> {
    let own = setting.name.replace('_', "-");
    let taken = setting.flags.iter().any(|flag| flag.strip_prefix("--") == Some(own.as_str()));
    (!taken).then_some(own)
}

fn named(argument: Arg, flags: &'static [&'static str]) -> Arg {
    let mut longs = flags.iter().filter_map(|flag| flag.strip_prefix("--"));
    let short = flags.iter().find(|flag| !flag.starts_with("--")).and_then(|flag| flag.chars().nth(1));
    let argument = match longs.next() {
        Some(long) => argument.long(long).visible_aliases(longs.collect::<Vec<_>>()),
        None => argument,
    };
    match short {
        Some(short) => argument.short(short),
        None => argument,
    }
}

/// A flag that is known, so that its answer can be given instead of "unexpected argument".
fn hidden(foreign: &'static Foreign) -> Arg {
    let argument = named(Arg::new(foreign.name), foreign.flags).hide(true);
    if foreign.takes_value {
        argument.num_args(0..=1).default_missing_value("").action(ArgAction::Append)
    } else {
        argument.num_args(0).default_missing_value("").action(ArgAction::Append)
    }
}

/// The short help, which fits into a line or two, and the long one.
fn help(setting: &Setting) -> (String, String) {
    let mut paragraphs = super::render::paragraphs(setting.help);
    let first = paragraphs[0].trim_end_matches('.').to_owned();
    let short = match setting.default {
        Some(default) if !setting.value.is_empty() && default != "[]" && default.len() < 40 => {
            format!("{first} [default: {}]", default.trim_matches(['[', ']', '"']))
        }
        Some(_) | None => first,
    };
    paragraphs[0] = short.clone();
    (short, paragraphs.join("\n\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        command().debug_assert();
    }

    #[test]
    fn no_flag_stands_for_two_settings() {
        let ours =
            table().flat_map(|setting| setting.flags).chain(FOREIGN.iter().flat_map(|foreign| foreign.flags));
        let mut flags: Vec<&str> = ours.copied().chain(["-h", "--help", "-v", "--version", "-V"]).collect();
        let all = flags.len();
        flags.sort_unstable();
        flags.dedup();
        assert_eq!(all, flags.len());
    }
}
