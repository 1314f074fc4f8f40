//! The arguments of `unirs reload`, the one command beside serving. What it does is said elsewhere.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::time::Duration;

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};

use super::units;

/// What `unirs reload` was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReloadRequest {
    /// Names the master.
    pub pidfile: PathBuf,
    /// How long to wait for the outcome; `None`: for ever.
    pub patience: Option<Duration>,
}

/// Whether these arguments (the first is the program's name) are meant for it: the first word is `reload`, and a pidfile
/// is named behind it. So `unirs reload` alone serves an application of that name, as any other word would.
pub(super) fn is_meant(argv: &[OsString]) -> bool {
    let is_pidfile = |word: &OsString| {
        let word = word.as_encoded_bytes();
        word == b"--pid"
            || word.starts_with(b"--pid=")
            || (word.starts_with(b"-p") && !word.starts_with(b"--"))
    };
    match argv {
        [_, command, rest @ ..] if command == OsStr::new("reload") => rest.iter().any(is_pidfile),
        _ => false,
    }
}

/// Reads the arguments behind `unirs reload`.
pub(super) fn parse(argv: &[OsString]) -> Result<ReloadRequest, clap::Error> {
    let matches = command().try_get_matches_from(argv.iter().skip(1))?;
    Ok(ReloadRequest {
        pidfile: matches.get_one::<PathBuf>("pid").cloned().unwrap_or_default(),
        patience: patience(&matches),
    })
}

fn patience(matches: &ArgMatches) -> Option<Duration> {
    matches.get_one::<Duration>("timeout").copied().filter(|time| !time.is_zero())
}

fn command() -> Command {
    let pid = Arg::new("pid").short('p').long("pid").value_name("FILE").required(true);
    let timeout = Arg::new("timeout").short('t').long("timeout").value_name("TIME").default_value("5m");
    Command::new("unirs reload")
        .about("Reloads a running server and waits until the new generation serves")
        .override_usage("unirs reload --pid FILE [--timeout TIME]")
        .after_help(AFTER)
        .max_term_width(100)
        .disable_help_flag(true)
        .arg(
            pid.value_parser(value_parser!(PathBuf))
                .help("The pidfile of the server, as its setting `pidfile` names it"),
        )
        .arg(
            timeout
                .value_parser(units::parse_time)
                .help("How long to wait for the outcome; 0: for ever. The reload goes on in any case"),
        )
        .arg(Arg::new("help").short('h').long("help").action(ArgAction::Help).help("Print this help"))
}

const AFTER: &str = "Exit code 0: the new generation serves. 1: the reload was refused, and everything is as it was; \
there is no such server; it ended; or the time is over. The reason is on standard error.";

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<OsString> {
        line.split(' ').map(OsString::from).collect()
    }

    #[test]
    fn an_application_named_reload_is_still_one() {
        for line in
            ["unirs reload", "unirs -c x reload", "unirs --pid f reload", "unirs reload -w 2", "unirs"]
        {
            assert!(!is_meant(&words(line)), "{line}");
        }
        for line in
            ["unirs reload --pid f", "unirs reload --pid=f", "unirs reload -pf", "unirs reload -t 3 -p f"]
        {
            assert!(is_meant(&words(line)), "{line}");
        }
    }

    #[test]
    fn the_pidfile_and_the_patience_are_read() {
        let asked = |line| parse(&words(line));
        let default = asked("unirs reload --pid /run/x.pid").unwrap();
        assert_eq!(default.pidfile, PathBuf::from("/run/x.pid"));
        assert_eq!(default.patience, Some(Duration::from_secs(300)));
        assert_eq!(asked("unirs reload -p f --timeout 0").unwrap().patience, None);
        assert_eq!(asked("unirs reload -p f -t 500ms").unwrap().patience, Some(Duration::from_millis(500)));
        for line in ["unirs reload -p f app", "unirs reload -p f -t soon", "unirs reload -p f -w 3"] {
            assert_eq!(asked(line).unwrap_err().exit_code(), 2, "{line}");
        }
    }

    #[test]
    fn the_command_line_is_sound() {
        command().debug_assert();
    }
}
