//! Kinds of values: how a setting reads what stood in a source, and writes what it read. Units, addresses, users
//! and applications have files of their own.

use std::marker::PhantomData;
use std::path::{Component, Path, PathBuf};

use super::apps::Apps;
use super::value::{Form, Raw, Refused, quoted};
use super::{HeaderMap, LogLevel, LogTarget, WorkerClass};

/// One way to read a value. What `write` returns reads back as the same value.
pub(super) trait Kind {
    type Value;

    /// The value, or every fault of it.
    fn read(raw: &Raw, context: &Context<'_>) -> Result<Self::Value, Refused>;

    /// As TOML; `None`: not set.
    fn write(value: &Self::Value) -> Option<String>;

    /// What holds when no source says anything and the table has no default.
    fn absent() -> Option<Self::Value> {
        None
    }
}

/// What a value may depend on.
pub(super) struct Context<'a> {
    /// Relative paths begin here.
    pub(super) start_dir: &'a Path,
    /// The `[apps]` of the file; `None`: the file was refused as a whole, so nobody knows them.
    pub(super) apps: Option<&'a Apps>,
}

impl Context<'_> {
    /// The absolute path, without `.` in it. `..` and symbolic links stay: the kernel reads them anew each time.
    pub(super) fn absolute(&self, path: &str) -> PathBuf {
        let path = self.start_dir.join(path);
        path.components().filter(|part| !matches!(part, Component::CurDir)).collect()
    }
}

/// On or off.
pub(super) struct Switch;

impl Kind for Switch {
    type Value = bool;

    fn read(raw: &Raw, _: &Context<'_>) -> Result<bool, Refused> {
        match &raw.form {
            Form::Switch(on) => Ok(*on),
            Form::Text(text) if text == "true" => Ok(true),
            Form::Text(text) if text == "false" => Ok(false),
            _ => Err(raw.expected("true or false")),
        }
    }

    fn write(value: &bool) -> Option<String> {
        Some(value.to_string())
    }
}

/// A number from MIN to MAX.
pub(super) struct Number<T, const MIN: u64, const MAX: u64>(PhantomData<T>);

impl<T, const MIN: u64, const MAX: u64> Kind for Number<T, MIN, MAX>
where
    T: TryFrom<u64> + ToString,
{
    type Value = T;

    fn read(raw: &Raw, _: &Context<'_>) -> Result<T, Refused> {
        let number = match &raw.form {
            Form::Integer(number) => Some(*number),
            Form::Text(text) => text.trim().parse().ok(),
            Form::Float(_) | Form::Switch(_) | Form::List(_) | Form::Other(_) => None,
        };
        let number = number.and_then(|number| u64::try_from(number).ok()).filter(|n| (MIN..=MAX).contains(n));
        number
            .and_then(|n| T::try_from(n).ok())
            .ok_or_else(|| raw.expected(format!("a number from {MIN} to {MAX}")))
    }

    fn write(value: &T) -> Option<String> {
        Some(value.to_string())
    }
}

/// How many workers: a number, or as many as there are processors.
pub(super) struct Workers;

impl Workers {
    /// Each has a slot on the scoreboard; more than this is a slip of the pen.
    const MOST: u64 = 4096;
}

impl Kind for Workers {
    type Value = usize;

    fn read(raw: &Raw, context: &Context<'_>) -> Result<usize, Refused> {
        match &raw.form {
            Form::Text(text) if text.eq_ignore_ascii_case("auto") => Ok(processors()),
            Form::Integer(_) => Number::<usize, 1, { Self::MOST }>::read(raw, context),
            Form::Text(text) if text.trim().parse::<i128>().is_ok() => {
                Number::<usize, 1, { Self::MOST }>::read(raw, context)
            }
            _ => Err(raw.expected("a number or \"auto\"")),
        }
    }

    fn write(value: &usize) -> Option<String> {
        Some(value.to_string())
    }
}

/// The processors that this process may use: its affinity, and the quota of its cgroup (both versions), rounded down.
fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// A worker class by its name.
pub(super) struct Class;

impl Kind for Class {
    type Value = WorkerClass;

    fn read(raw: &Raw, _: &Context<'_>) -> Result<WorkerClass, Refused> {
        let Form::Text(text) = &raw.form else {
            return Err(raw.expected("\"sync\" or \"threaded\""));
        };
        match text.as_str() {
            "sync" => Ok(WorkerClass::Sync),
            "threaded" | "gthread" => Ok(WorkerClass::Threaded),
            "asgi" | "gevent" | "gevent_wsgi" | "gevent_pywsgi" | "eventlet" | "tornado" => {
                Err(raw.refuse(format!("expected \"sync\" or \"threaded\"; {raw} belongs to Python")))
            }
            _ => Err(raw.expected("\"sync\" or \"threaded\"")),
        }
    }

    fn write(value: &WorkerClass) -> Option<String> {
        Some(quoted(&value.to_string()))
    }
}

/// Text that is not empty and has no control characters.
pub(super) struct Text;

impl Kind for Text {
    type Value = String;

    fn read(raw: &Raw, _: &Context<'_>) -> Result<String, Refused> {
        match &raw.form {
            Form::Text(text) if !text.is_empty() && !text.contains(char::is_control) => Ok(text.clone()),
            _ => Err(raw.expected("text")),
        }
    }

    fn write(value: &String) -> Option<String> {
        Some(quoted(value))
    }
}

/// A path; relative ones begin where the server was started.
pub(super) struct FilePath;

impl Kind for FilePath {
    type Value = PathBuf;

    fn read(raw: &Raw, context: &Context<'_>) -> Result<PathBuf, Refused> {
        match &raw.form {
            Form::Text(text) if !text.is_empty() && !text.contains('\0') => Ok(context.absolute(text)),
            _ => Err(raw.expected("a path")),
        }
    }

    fn write(value: &PathBuf) -> Option<String> {
        Some(quoted(&value.display().to_string()))
    }
}

/// Where a log goes; `-` is standard output for the access log and standard error for the error log.
pub(super) struct Target<const DASH_IS_STDOUT: bool>;

impl<const DASH_IS_STDOUT: bool> Kind for Target<DASH_IS_STDOUT> {
    type Value = LogTarget;

    /// The two devices are not opened by name: behind them may be a socket or another user's pipe, which cannot be.
    fn read(raw: &Raw, context: &Context<'_>) -> Result<LogTarget, Refused> {
        match &raw.form {
            Form::Text(text) if text == "-" && DASH_IS_STDOUT => Ok(LogTarget::Stdout),
            Form::Text(text) if text == "-" => Ok(LogTarget::Stderr),
            Form::Text(text) if text == "/dev/stdout" => Ok(LogTarget::Stdout),
            Form::Text(text) if text == "/dev/stderr" => Ok(LogTarget::Stderr),
            _ => {
                FilePath::read(raw, context).map(LogTarget::File).map_err(|_| raw.expected("a path or \"-\""))
            }
        }
    }

    fn write(value: &LogTarget) -> Option<String> {
        match value {
            LogTarget::Stdout => Some(quoted(if DASH_IS_STDOUT { "-" } else { "/dev/stdout" })),
            LogTarget::Stderr => Some(quoted(if DASH_IS_STDOUT { "/dev/stderr" } else { "-" })),
            LogTarget::File(path) => FilePath::write(path),
        }
    }
}

/// A level by its name.
pub(super) struct Level;

impl Kind for Level {
    type Value = LogLevel;

    fn read(raw: &Raw, _: &Context<'_>) -> Result<LogLevel, Refused> {
        const NAMES: &str = "\"debug\", \"info\", \"warning\", \"error\" or \"critical\"";
        let Form::Text(text) = &raw.form else {
            return Err(raw.expected(NAMES));
        };
        match text.to_ascii_lowercase().as_str() {
            "debug" => Ok(LogLevel::Debug),
            "info" => Ok(LogLevel::Info),
            "warning" => Ok(LogLevel::Warning),
            "error" => Ok(LogLevel::Error),
            "critical" => Ok(LogLevel::Critical),
            _ => Err(raw.expected(NAMES)),
        }
    }

    fn write(value: &LogLevel) -> Option<String> {
        Some(quoted(&value.to_string()))
    }
}

/// What to do with underscores, by its name.
pub(super) struct Underscores;

impl Kind for Underscores {
    type Value = HeaderMap;

    fn read(raw: &Raw, _: &Context<'_>) -> Result<HeaderMap, Refused> {
        let known = [HeaderMap::Drop, HeaderMap::Refuse, HeaderMap::Dangerous];
        match &raw.form {
            Form::Text(text) => known.into_iter().find(|map| map.to_string() == text.to_ascii_lowercase()),
            _ => None,
        }
        .ok_or_else(|| raw.expected("\"drop\", \"refuse\" or \"dangerous\""))
    }

    fn write(value: &HeaderMap) -> Option<String> {
        Some(quoted(&value.to_string()))
    }
}

/// The value of a header field; the empty text is none.
pub(super) struct FieldValue;

impl Kind for FieldValue {
    type Value = Option<String>;

    /// Printable ASCII only: every client reads that the same way.
    fn read(raw: &Raw, _: &Context<'_>) -> Result<Option<String>, Refused> {
        match &raw.form {
            Form::Text(text) if text.is_empty() => Ok(None),
            Form::Text(text)
                if text.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic())
                    && text.trim() == text =>
            {
                Ok(Some(text.clone()))
            }
            _ => Err(raw.expected("printable ASCII without spaces around it, or \"\"")),
        }
    }

    fn write(value: &Option<String>) -> Option<String> {
        Some(quoted(value.as_deref().unwrap_or_default()))
    }
}

/// `NAME=VALUE` for the environment.
pub(super) struct Variable;

impl Kind for Variable {
    type Value = (String, String);

    fn read(raw: &Raw, _: &Context<'_>) -> Result<(String, String), Refused> {
        let Form::Text(text) = &raw.form else {
            return Err(raw.expected("\"NAME=VALUE\""));
        };
        match text.split_once('=') {
            Some((name, value)) if !name.is_empty() && !text.contains('\0') => {
                Ok((name.into(), value.into()))
            }
            _ => Err(raw.expected("\"NAME=VALUE\"")),
        }
    }

    fn write((name, value): &(String, String)) -> Option<String> {
        Some(quoted(&format!("{name}={value}")))
    }
}

/// A value that may be left unset; the empty text unsets what an earlier source has set.
pub(super) struct Optional<K>(PhantomData<K>);

impl<K: Kind> Kind for Optional<K> {
    type Value = Option<K::Value>;

    fn read(raw: &Raw, context: &Context<'_>) -> Result<Option<K::Value>, Refused> {
        match &raw.form {
            Form::Text(text) if text.is_empty() => Ok(None),
            _ => K::read(raw, context).map(Some),
        }
    }

    fn write(value: &Option<K::Value>) -> Option<String> {
        value.as_ref().and_then(K::write)
    }

    fn absent() -> Option<Option<K::Value>> {
        Some(None)
    }
}

/// A list; a single value stands for a list of one.
pub(super) struct Many<K>(PhantomData<K>);

impl<K: Kind> Kind for Many<K> {
    type Value = Vec<K::Value>;

    fn read(raw: &Raw, context: &Context<'_>) -> Result<Vec<K::Value>, Refused> {
        let items = match &raw.form {
            Form::List(items) => items.as_slice(),
            Form::Text(_) | Form::Integer(_) | Form::Float(_) | Form::Switch(_) | Form::Other(_) => {
                std::slice::from_ref(raw)
            }
        };
        let (mut values, mut faults) = (Vec::new(), Vec::new());
        for item in items {
            match K::read(item, context) {
                Ok(value) => values.push(value),
                Err(Refused(more)) => faults.extend(more),
            }
        }
        if faults.is_empty() { Ok(values) } else { Err(Refused(faults)) }
    }

    fn write(values: &Vec<K::Value>) -> Option<String> {
        let items: Vec<String> = values.iter().filter_map(K::write).collect();
        Some(format!("[{}]", items.join(", ")))
    }
}
