//! The settings file: TOML in, known keys with their lines out. What a value means is its setting's affair.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use toml::de::{DeTable, DeValue};

use super::apps::{self, Apps};
use super::foreign::foreign;
use super::problem::{Origin, Problems, nearest};
use super::table::{Setting, table};
use super::value::Raw;

/// A settings file is written by hand; a larger one is another file.
const LARGEST: u64 = 4 << 20;

/// What stood in the file.
#[derive(Default)]
pub(super) struct Contents {
    pub(super) values: Vec<(&'static Setting, Raw)>,
    /// `None`: the file was refused as a whole.
    pub(super) apps: Option<Apps>,
}

/// Reads the file at `path`; `shown` is how it was named. Whatever is wrong goes to `problems`.
pub(super) fn read(path: &Path, shown: &str, start_dir: &Path, problems: &mut Problems) -> Contents {
    let origin = |line| Origin::File { path: shown.to_owned(), line };
    if path.extension().is_some_and(|extension| extension == "py") {
        problems.add(origin(0), "", "is Python, as Gunicorn's file is; unirs reads TOML: see gunicorn.toml");
        return Contents::default();
    }
    match text_of(path) {
        Ok(text) => parse(&text, &origin, start_dir, problems),
        Err(why) => {
            problems.add(origin(0), "", format!("cannot read the settings file: {why}"));
            Contents::default()
        }
    }
}

fn text_of(path: &Path) -> Result<String, String> {
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(LARGEST + 1).read_to_end(&mut bytes))
        .map_err(|why| reason(&why))?;
    if bytes.len() as u64 > LARGEST {
        return Err("it is larger than 4 MiB".into());
    }
    String::from_utf8(bytes).map_err(|why| {
        let line =
            1 + why.as_bytes()[..why.utf8_error().valid_up_to()].iter().filter(|b| **b == b'\n').count();
        format!("line {line} is not UTF-8")
    })
}

/// The system's words without its number.
pub(super) fn reason(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(number) => nix::errno::Errno::from_raw(number).desc().to_lowercase(),
        None => error.to_string(),
    }
}

fn parse(
    text: &str,
    origin: &dyn Fn(usize) -> Origin,
    start_dir: &Path,
    problems: &mut Problems,
) -> Contents {
    let line_at =
        |offset: usize| 1 + text.as_bytes().iter().take(offset).filter(|byte| **byte == b'\n').count();
    let (document, errors) = DeTable::parse_recoverable(text);
    let mut found = Problems::default();
    for error in &errors {
        let line = error.span().map_or(0, |span| line_at(span.start));
        found.add(origin(line), "", syntax(error, text));
    }
    if !errors.is_empty() {
        // What the parser made of the rest may not be what its author meant.
        found.sort_lines();
        problems.append(found);
        return Contents::default();
    }
    let mut contents = Contents { values: Vec::new(), apps: Some(Apps::new()) };
    for (key, value) in document.get_ref() {
        let (name, line) = (key.get_ref().as_ref(), line_at(key.span().start));
        match (name, value.get_ref()) {
            ("apps", DeValue::Table(tables)) => {
                contents.apps = Some(apps::read(tables, start_dir, &mut |offset, subject, sentence| {
                    found.add(origin(line_at(offset)), subject, sentence);
                }));
            }
            ("apps", _) => found.add(origin(line), "apps", "expected tables: [apps.NAME]"),
            _ => match table().find(|setting| setting.name == name && setting.in_file) {
                Some(setting) => {
                    contents.values.push((setting, Raw::from_toml(value.get_ref(), &line_at, line)))
                }
                None => found.add(origin(line), name, unknown(name)),
            },
        }
    }
    found.sort_lines();
    problems.append(found);
    contents
}

/// What the parser says, where it helps with what it leaves out.
fn syntax(error: &toml::de::Error, text: &str) -> String {
    let message = error.message().replace('\n', ", ");
    let there = error.span().and_then(|span| text.get(span)).unwrap_or_default();
    match message.as_str() {
        "duplicate key" => format!("duplicate key `{there}`"),
        _ if message.contains("leading zero") => {
            "a number has no leading zero; an octal one is written 0o022 or \"0022\"".into()
        }
        _ => message,
    }
}

/// What is said of a key that is no setting of ours.
fn unknown(name: &str) -> String {
    if let Some(foreign) = foreign(name) {
        return foreign.answer.to_string();
    }
    if let Some(setting) = table().find(|setting| setting.name == name) {
        return format!("belongs on the command line: {}", setting.flag());
    }
    let flag = format!("--{}", name.replace('_', "-"));
    if let Some(setting) = table().find(|setting| setting.in_file && setting.flags.contains(&flag.as_str())) {
        return format!("unknown setting; the flag {flag} is `{}` in a file", setting.name);
    }
    let plain = name.replace('-', "_").to_lowercase();
    let known = table().filter(|setting| setting.in_file).map(|setting| setting.name).chain(["apps"]);
    match nearest(&plain, known).first() {
        Some(name) => format!("unknown setting; did you mean `{name}`?"),
        None => "unknown setting".into(),
    }
}
