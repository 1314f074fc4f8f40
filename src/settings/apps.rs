//! Applications by name: the `[apps]` tables of the file, the built-ins, paths of libraries. Nothing is loaded here.

use std::collections::BTreeMap;
use std::path::Path;

use toml::de::{DeTable, DeValue};

use super::kind::{Context, Kind};
use super::problem::nearest;
use super::value::{Form, Raw, Refused, quoted};
use super::{AppSource, AppSpec};

/// The applications that unirs itself brings.
pub(super) const BUILTINS: &[&str] = &["welcome", "hello", "echo", "info", "static"];

/// The `[apps]` tables of the file, by name.
pub(super) type Apps = BTreeMap<String, App>;

/// One `[apps.NAME]`.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct App {
    pub(super) source: AppSource,
    /// Its own keys.
    pub(super) config: serde_json::Map<String, serde_json::Value>,
}

/// The setting `app`: in this order a name of the file, a built-in, a library.
pub(super) struct Application;

impl Kind for Application {
    type Value = AppSpec;

    fn read(raw: &Raw, context: &Context<'_>) -> Result<AppSpec, Refused> {
        match &raw.form {
            Form::Text(name) if !name.is_empty() && !name.contains('\0') => find(name, raw, context),
            _ => Err(raw.expected("the name of an application or the path of a library")),
        }
    }

    fn write(value: &AppSpec) -> Option<String> {
        Some(quoted(&value.name))
    }
}

fn find(name: &str, raw: &Raw, context: &Context<'_>) -> Result<AppSpec, Refused> {
    let spec = |source, config| AppSpec { name: name.to_owned(), source, config };
    if let Some(app) = context.apps.and_then(|apps| apps.get(name)) {
        let config = serde_json::Value::Object(app.config.clone()).to_string();
        return Ok(spec(app.source.clone(), config));
    }
    if BUILTINS.contains(&name) {
        return Ok(spec(AppSource::Builtin(name.to_owned()), "{}".into()));
    }
    let path = context.absolute(name);
    if is_path(name) || path.is_file() {
        return Ok(spec(AppSource::Library(path), "{}".into()));
    }
    match context.apps {
        Some(apps) => Err(raw.refuse(unknown(name, apps))),
        // The file that may name it is refused already, and with it the start.
        None => Ok(spec(AppSource::Builtin(name.to_owned()), "{}".into())),
    }
}

/// Whether the name can only be a path, so that a missing file is said by whoever loads it.
fn is_path(name: &str) -> bool {
    name.contains('/') || Path::new(name).extension().is_some_and(|extension| extension == "so")
}

/// Why there is no such application, and what was perhaps meant.
fn unknown(name: &str, apps: &Apps) -> String {
    if name.contains(':') || name.ends_with(".py") {
        return format!("{name} looks like a Python application, and Python is not supported yet");
    }
    let known = apps.keys().map(String::as_str).chain(BUILTINS.iter().copied());
    let hint = match nearest(name, known).as_slice() {
        [] => String::new(),
        names => format!("; did you mean {}?", names.join(" or ")),
    };
    format!(
        "there is no application \"{}\": neither [apps.{}] in the file, nor a built-in ({}), nor a library{hint}",
        name.escape_debug(),
        name.escape_debug(),
        BUILTINS.join(", ")
    )
}

/// Reads `[apps]`. `report` is told each fault: the offset in the file, the subject, the sentence.
pub(super) fn read(
    tables: &DeTable<'_>,
    start_dir: &Path,
    report: &mut dyn FnMut(usize, String, String),
) -> Apps {
    let mut apps = Apps::new();
    for (name, value) in tables {
        let subject = format!("apps.{}", name.get_ref());
        let DeValue::Table(table) = value.get_ref() else {
            report(
                name.span().start,
                subject,
                "expected a table: builtin = \"NAME\" or library = \"PATH\"".into(),
            );
            continue;
        };
        let mut refuse = |offset: usize, key: &str, sentence: String| {
            let subject = if key.is_empty() { subject.clone() } else { format!("{subject}.{key}") };
            report(offset, subject, sentence);
        };
        let source = source_of(table, name.span().start, start_dir, &mut refuse);
        let config = config_of(table, &mut refuse);
        // A faulty table stays known by its name, so that `app` is not a fault as well.
        let source = source.unwrap_or(AppSource::Builtin("welcome".into()));
        apps.insert(name.get_ref().to_string(), App { source, config });
    }
    apps
}

/// Exactly one of `builtin` and `library`.
fn source_of(
    table: &DeTable<'_>,
    offset: usize,
    start_dir: &Path,
    refuse: &mut dyn FnMut(usize, &str, String),
) -> Option<AppSource> {
    match (table.get_key_value("builtin"), table.get_key_value("library")) {
        (Some((key, value)), None) => {
            let name = value.get_ref().as_str().filter(|name| BUILTINS.contains(name));
            if name.is_none() {
                let found = Raw::from_toml(value.get_ref(), &|_| 0, 0);
                let hint = match value.get_ref().as_str().map(|name| nearest(name, BUILTINS.iter().copied()))
                {
                    Some(names) if !names.is_empty() => {
                        format!("; did you mean {}?", names.join(" or "))
                    }
                    _ => String::new(),
                };
                let sentence = format!("expected one of {}, found {found}{hint}", BUILTINS.join(", "));
                refuse(key.span().start, "builtin", sentence);
            }
            name.map(|name| AppSource::Builtin(name.to_owned()))
        }
        (None, Some((key, value))) => {
            let path = value.get_ref().as_str().filter(|path| !path.is_empty() && !path.contains('\0'));
            if path.is_none() {
                refuse(key.span().start, "library", "expected the path of a library".into());
            }
            let context = Context { start_dir, apps: None };
            path.map(|path| AppSource::Library(context.absolute(path)))
        }
        (Some(_), Some((key, _))) => {
            refuse(key.span().start, "library", "the table has a builtin already; keep one of them".into());
            None
        }
        (None, None) => {
            refuse(offset, "", "expected builtin = \"NAME\" or library = \"PATH\" in this table".into());
            None
        }
    }
}

/// The application's own keys.
fn config_of(
    table: &DeTable<'_>,
    refuse: &mut dyn FnMut(usize, &str, String),
) -> serde_json::Map<String, serde_json::Value> {
    let mut config = serde_json::Map::new();
    for (key, value) in table {
        let name = key.get_ref().as_ref();
        if name == "builtin" || name == "library" {
            continue;
        }
        match json(value.get_ref()) {
            Ok(json) => drop(config.insert(name.to_owned(), json)),
            Err(sentence) => refuse(key.span().start, name, sentence.into()),
        }
    }
    config
}

/// TOML as JSON: dates become text, and what JSON cannot say is refused.
fn json(value: &DeValue<'_>) -> Result<serde_json::Value, &'static str> {
    use serde_json::Value;
    Ok(match value {
        DeValue::String(text) => Value::String(text.to_string()),
        DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix())
            .map(Value::from)
            .map_err(|_| "the number does not fit into 64 bits")?,
        DeValue::Float(number) => number
            .as_str()
            .parse()
            .ok()
            .and_then(serde_json::Number::from_f64)
            .map(Value::Number)
            .ok_or("JSON, in which an application reads its table, has no such number")?,
        DeValue::Boolean(switch) => Value::Bool(*switch),
        DeValue::Datetime(date) => Value::String(date.to_string()),
        DeValue::Array(items) => {
            Value::Array(items.iter().map(|item| json(item.get_ref())).collect::<Result<_, _>>()?)
        }
        DeValue::Table(table) => {
            let pair = |(key, value): (&toml::Spanned<_>, &toml::Spanned<_>)| {
                let key: &std::borrow::Cow<'_, str> = key.get_ref();
                json(value.get_ref()).map(|value| (key.to_string(), value))
            };
            Value::Object(table.iter().map(pair).collect::<Result<_, _>>()?)
        }
    })
}

/// The `[apps]` tables as TOML; empty if there are none.
pub(super) fn write(apps: &Apps) -> String {
    let tables = apps.iter().map(|(name, app)| {
        let mut table = app.config.clone();
        let (key, value) = match &app.source {
            AppSource::Builtin(name) => ("builtin", name.clone()),
            AppSource::Library(path) => ("library", path.display().to_string()),
        };
        table.insert(key.into(), value.into());
        (name.clone(), serde_json::Value::Object(table))
    });
    let root: serde_json::Map<_, _> = tables.collect();
    if root.is_empty() {
        return String::new();
    }
    let root = serde_json::json!({ "apps": root });
    toml::to_string(&root).expect("what came from TOML goes back into it")
}
