//! The floors of the house: who may import whom, and where unsafe code may be. A new arrow changes the list below in
//! the same commit, with a reason.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Who may import whom. The crates `unirs_app` and `unirs_http` (which is seen as `http`) are floors too.
const FLOORS: [(&str, &[&str]); 17] = [
    ("http", &[]),
    ("sys", &[]),
    ("settings", &[]),
    ("log", &["sys"]),
    ("scoreboard", &["sys"]),
    ("last_words", &["sys"]),
    ("listener", &["sys", "settings"]),
    ("pair", &["sys"]),
    ("symbolizer", &["sys"]),
    ("app", &["unirs_app", "sys", "scoreboard"]),
    (
        "worker",
        &[
            "http",
            "app",
            "unirs_app",
            "log",
            "listener",
            "scoreboard",
            "last_words",
            "pair",
            "settings",
            "sys",
        ],
    ),
    ("master", &["listener", "scoreboard", "last_words", "symbolizer", "pair", "log", "settings", "sys"]),
    (
        "server",
        &[
            "master",
            "worker",
            "app",
            "http",
            "last_words",
            "listener",
            "log",
            "pair",
            "scoreboard",
            "settings",
            "sys",
            "unirs_app",
        ],
    ),
    ("reload_command", &["settings", "sys"]),
    ("cli", &["settings"]),
    ("main", &["cli", "server", "reload_command"]),
    ("lib", &[]),
];

/// The only files with unsafe code, beside everything in `src/sys/`. Each of them is the door between host and
/// application, seen from one side; the interface crate's `test` is a host within a test.
const UNSAFE: [&str; 6] = [
    "src/app/library.rs",
    "src/app/door",
    "crates/unirs-app/src/abi",
    "crates/unirs-app/src/export",
    "crates/unirs-app/src/host",
    "crates/unirs-app/src/test/",
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every Rust file under a folder of the tree, as (path from the root, text without comments).
fn sources(folder: &str) -> Vec<(String, String)> {
    let mut pending: Vec<PathBuf> = vec![root().join(folder)];
    let mut found = Vec::new();
    while let Some(path) = pending.pop() {
        if path.is_dir() {
            pending
                .extend(fs::read_dir(&path).expect("a folder").map(|entry| entry.expect("an entry").path()));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).expect("a source file");
            let name =
                path.strip_prefix(root()).expect("a file of the tree").to_str().expect("UTF-8").to_owned();
            found.push((name, without_comments(&text)));
        }
    }
    found
}

fn without_comments(text: &str) -> String {
    text.lines().map(|line| line.split("//").next().unwrap_or_default()).collect::<Vec<_>>().join("\n")
}

/// `src/log/sink.rs` and `src/log.rs` belong to the floor `log`.
fn floor_of(path: &str) -> &str {
    let inside = path.trim_start_matches("src/");
    inside.split('/').next().unwrap_or(inside).trim_end_matches(".rs")
}

/// The prefixes by which a file reaches the top of the crate: `crate::`, and as many `super::` as it is deep.
fn ways_up(path: &str) -> Vec<String> {
    let depth =
        path.trim_start_matches("src/").matches('/').count() + usize::from(!path.ends_with("/mod.rs"));
    vec!["crate::".to_owned(), "unirs::".to_owned(), "super::".repeat(depth.max(1))]
}

/// What a file names at the top of the crate: `crate::log::Sink`, `use crate::{log, sys::fd}`.
fn imports(path: &str, text: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for way in ways_up(path) {
        for (at, _) in text.match_indices(&way) {
            let before = text[..at].chars().next_back();
            if before.is_none_or(|c| !(c.is_alphanumeric() || c == '_' || c == ':')) {
                names.extend(names_at(&text[at + way.len()..]));
            }
        }
    }
    if text.contains("unirs_app::") {
        names.insert("unirs_app".to_owned());
    }
    names
}

/// The first name of each path of a group, or of the one path that stands here.
fn names_at(rest: &str) -> Vec<String> {
    let Some(group) = rest.strip_prefix('{') else {
        return vec![first_name(rest)];
    };
    let (mut depth, mut names, mut start) = (0, Vec::new(), 0);
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth > 0 => depth -= 1,
            ',' | '}' if depth == 0 => {
                names.push(first_name(group[start..at].trim_start()));
                start = at + 1;
                if c == '}' {
                    break;
                }
            }
            _ => {}
        }
    }
    names
}

fn first_name(path: &str) -> String {
    path.chars().take_while(|&c| c.is_alphanumeric() || c == '_').collect()
}

#[test]
fn every_import_goes_down() {
    let mut wrong = Vec::new();
    for (path, text) in sources("src") {
        let floor = floor_of(&path);
        let row = FLOORS.iter().find(|(name, _)| *name == floor);
        let Some((_, allowed)) = row else {
            wrong.push(format!("{path}: the floor `{floor}` is not on the list"));
            continue;
        };
        let known = |name: &str| name == "unirs_app" || FLOORS.iter().any(|(floor, _)| *floor == name);
        for name in imports(&path, &text) {
            if known(&name) && name != floor && !allowed.contains(&name.as_str()) {
                wrong.push(format!("{path}: `{floor}` may not import `{name}`"));
            }
        }
    }
    assert!(wrong.is_empty(), "arrows that are not on the list:\n{}", wrong.join("\n"));
}

#[test]
fn the_crates_below_know_nothing_of_the_server_nor_of_each_other() {
    let ours = ["unirs", "unirs-app", "unirs-http"];
    for below in &ours[1..] {
        let manifest = root().join("crates").join(below).join("Cargo.toml");
        let manifest: toml::Table = fs::read_to_string(manifest).expect("a manifest").parse().expect("TOML");
        for table in ["dependencies", "dev-dependencies", "build-dependencies"] {
            for name in ours {
                let has = manifest.get(table).and_then(|table| table.get(name)).is_some();
                assert!(!has, "{below} depends on {name} in [{table}]");
            }
        }
    }
}

#[test]
fn unsafe_code_is_only_where_the_design_says() {
    let mut wrong = Vec::new();
    let folders = ["src", "crates/unirs-app/src", "crates/unirs-http/src"];
    for (path, text) in folders.into_iter().flat_map(sources) {
        let allowed = path.starts_with("src/sys/") || UNSAFE.iter().any(|start| path.starts_with(start));
        let words = text.split(|c: char| !(c.is_alphanumeric() || c == '_' || c == '-'));
        if !allowed && words.into_iter().any(|word| word == "unsafe") {
            wrong.push(path);
        }
    }
    assert!(wrong.is_empty(), "unsafe code outside sys/ and the door: {wrong:?}");
}

#[test]
fn the_root_denies_unsafe_code_and_only_the_allowed_files_lift_that() {
    let root_file = fs::read_to_string(root().join("src/lib.rs")).expect("the crate's root");
    assert!(root_file.contains("#![deny(unsafe_code)]"), "src/lib.rs denies unsafe code");
    for (path, text) in sources("src") {
        let allowed = path.starts_with("src/sys/")
            || path == "src/app/mod.rs"
            || UNSAFE.iter().any(|start| path.starts_with(start));
        assert!(allowed || !text.contains("allow(unsafe_code"), "{path} lifts the ban on unsafe code");
    }
}

#[test]
fn every_file_says_first_what_it_is() {
    let mut wrong = Vec::new();
    for folder in ["src", "crates", "examples", "tests", "benches", "fuzz/checks", "fuzz/fuzz_targets"] {
        if !root().join(folder).exists() {
            continue;
        }
        for (path, _) in sources(folder) {
            let text = fs::read_to_string(root().join(&path)).expect("a source file");
            if !text.starts_with("//!") {
                wrong.push(path);
            }
        }
    }
    assert!(wrong.is_empty(), "files without a first line `//!`: {wrong:?}");
}
