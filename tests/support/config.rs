//! The settings file that a test gives its server: keys and values, rendered as TOML.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use toml::Value;

/// A settings file under construction. A key that is set again is replaced.
#[derive(Clone)]
pub(crate) struct Config {
    settings: BTreeMap<String, Value>,
    app: BTreeMap<String, Value>,
    raw: String,
}

impl Config {
    /// One worker on a free port of the loopback, with the suite's own application. Idle connections stay for longer than
    /// a busy machine lets a test wait for its turn.
    pub(crate) fn new() -> Config {
        let empty = Config { settings: BTreeMap::new(), app: BTreeMap::new(), raw: String::new() };
        empty
            .set("bind", vec!["127.0.0.1:0"])
            .set("workers", 1)
            .set("keepalive", 20)
            .library(&super::test_app())
    }

    /// One setting.
    pub(crate) fn set(mut self, name: &str, value: impl Into<Value>) -> Config {
        self.settings.insert(name.to_owned(), value.into());
        self
    }

    /// Leaves a setting to its default.
    pub(crate) fn unset(mut self, name: &str) -> Config {
        self.settings.remove(name);
        self
    }

    /// One key of the application's own table.
    pub(crate) fn app(mut self, key: &str, value: impl Into<Value>) -> Config {
        self.app.insert(key.to_owned(), value.into());
        self
    }

    /// The application is a library.
    pub(crate) fn library(mut self, path: &Path) -> Config {
        self.app.remove("builtin");
        self.app("library", path.to_str().expect("test paths are UTF-8"))
    }

    /// The application is built in.
    pub(crate) fn builtin(mut self, name: &str) -> Config {
        self.app.remove("library");
        self.app("builtin", name)
    }

    /// Text that goes into the file as it is, before everything else: for files that are to be refused.
    pub(crate) fn raw(mut self, text: &str) -> Config {
        self.raw = text.to_owned();
        self
    }

    /// Writes the file by rename, so that a server never reads half of it.
    pub(crate) fn write(&self, path: &Path) {
        let new = path.with_extension("new");
        fs::write(&new, self.render()).expect("the temporary folder takes a file");
        fs::rename(&new, path).expect("a rename within a folder");
    }

    fn render(&self) -> String {
        let rows = |table: &BTreeMap<String, Value>| -> String {
            table.iter().map(|(key, value)| format!("{key} = {value}\n")).collect()
        };
        format!("{}\n{}\n[apps.app]\n{}", self.raw, rows(&self.settings), rows(&self.app))
    }
}
