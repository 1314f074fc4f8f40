//! What is rendered from the table: `--print-config`, the commented sample, the reference page. Text out; the test
//! `generated` compares the files with it.

use std::collections::BTreeMap;

use super::apps::{self, Apps};
use super::foreign::{FOREIGN, Foreign};
use super::problem::Origin;
use super::table::{Rows, Setting, Settings, table};

/// The width of the sample's prose.
const WIDTH: usize = 100;

/// The settings in force as a settings file.
pub(super) fn configuration(
    settings: &Settings,
    origins: &BTreeMap<&'static str, Origin>,
    apps: &Apps,
) -> String {
    let values: BTreeMap<&str, Option<String>> = settings.write().into_iter().collect();
    let mut text =
        format!("# unirs {}: the settings in force, and where each came from\n", env!("CARGO_PKG_VERSION"));
    let mut section = "";
    for setting in table() {
        let Some(value) = values.get(setting.name) else {
            continue;
        };
        if setting.section != section {
            section = setting.section;
            text += &format!("\n# {section}\n");
        }
        let origin = origins.get(setting.name).unwrap_or(&Origin::Default);
        text += &match value {
            Some(value) => format!("{} = {value}  # {origin}\n", setting.name),
            None => format!("# {} is not set  # {origin}\n", setting.name),
        };
    }
    match apps::write(apps) {
        tables if tables.is_empty() => text,
        tables => format!("{text}\n{tables}"),
    }
}

/// The commented `gunicorn.toml`.
pub fn sample() -> String {
    let mut text = String::from(include_str!("sample.head.toml"));
    let mut section = "";
    for setting in table().filter(|setting| setting.in_file) {
        if setting.section != section {
            section = setting.section;
            text += &format!("\n# == {section} ==\n");
        }
        text += &commented(setting);
    }
    text + include_str!("sample.tail.toml")
}

/// One setting of the sample: its help, and its line.
fn commented(setting: &Setting) -> String {
    let mut paragraphs = paragraphs(setting.help);
    if setting.default.is_none() {
        paragraphs.push("Not set by default. For example:".into());
    }
    let lines: Vec<String> = paragraphs.iter().map(|paragraph| wrap(paragraph, "# ")).collect();
    let value = setting.default.unwrap_or(setting.example);
    format!("\n{}#{} = {value}\n", lines.join("#\n"), setting.name)
}

/// The reference page.
pub fn reference() -> String {
    let mut text = String::from(include_str!("reference.head.md"));
    let mut section = "";
    for setting in table() {
        if setting.section != section {
            section = setting.section;
            text += &format!("## {section}\n\n");
        }
        text += &described(setting);
    }
    text += "## What else Gunicorn has\n\n\
             These are known by name, in a file and on the command line, and answered with a sentence.\n\n\
             | setting | flag | answer |\n|---|---|---|\n";
    FOREIGN.iter().for_each(|foreign| text += &answered(foreign));
    text
}

/// One setting of the reference page.
fn described(setting: &Setting) -> String {
    let mut facts = Vec::new();
    let flags = setting.flags.iter().map(|flag| match (setting.value, flag.starts_with("--")) {
        ("", _) => format!("`{flag}`"),
        (value, true) => format!("`{flag} {value}`"),
        (_, false) => format!("`{flag}`"),
    });
    match setting.flags {
        [] => facts.push(format!("argument: `{}`", setting.value)),
        _ => facts.push(format!("flags: {}", flags.collect::<Vec<_>>().join(", "))),
    }
    facts.push(match setting.default {
        Some(default) => format!("default: `{default}`"),
        None => "not set by default".into(),
    });
    if let Some(environment) = setting.environment {
        facts.push(format!("environment: `{}`", environment.name));
    }
    if !setting.in_file {
        facts.push("not in a file".into());
    }
    format!(
        "### `{}`\n\n{}\n\n{}\n\n",
        setting.name,
        facts.join(" · "),
        paragraphs(setting.help).join("\n\n")
    )
}

fn answered(foreign: &Foreign) -> String {
    let flags: Vec<String> = foreign.flags.iter().map(|flag| format!("`{flag}`")).collect();
    format!("| `{}` | {} | {} |\n", foreign.name, flags.join(", "), foreign.answer)
}

/// The paragraphs of a help text, each in one line.
pub(super) fn paragraphs(help: &str) -> Vec<String> {
    let mut paragraphs = vec![Vec::new()];
    for line in help.lines().map(str::trim) {
        match paragraphs.last_mut() {
            Some(last) if !line.is_empty() => last.push(line),
            Some(_) | None => paragraphs.push(Vec::new()),
        }
    }
    paragraphs.iter().filter(|lines| !lines.is_empty()).map(|lines| lines.join(" ")).collect()
}

/// Lines of at most `WIDTH` characters, each with the prefix.
fn wrap(paragraph: &str, prefix: &str) -> String {
    let mut text = String::new();
    let mut line = String::from(prefix.trim_end());
    for word in paragraph.split(' ') {
        if line.len() + 1 + word.len() > WIDTH {
            text += &format!("{line}\n");
            line = prefix.trim_end().to_owned();
        }
        line += &format!(" {word}");
    }
    format!("{text}{line}\n")
}
