//! What the integration tests stand on: a server in its own folder, raw clients, load, and a look into `/proc`.
//!
//! No test of behaviour is here. Log lines and sd_notify are the synchronisation; the only sleep of the whole suite
//! is the one in [`wait_within`].
#![allow(dead_code, reason = "each test binary uses its own part of this module")]
#![allow(unused_imports, reason = "each test binary uses its own part of this module")]
#![allow(clippy::print_stderr, reason = "a failed test shows the server's log")]

pub(crate) mod client;
pub(crate) mod config;
pub(crate) mod load;
pub(crate) mod notify;
pub(crate) mod process;
pub(crate) mod random;
pub(crate) mod server;

use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

pub(crate) use client::{Answer, Broken, Client, Response};
pub(crate) use config::Config;
pub(crate) use load::{Load, Style};
pub(crate) use nix::sys::signal::Signal;
pub(crate) use random::Random;
pub(crate) use server::{Failure, Server, Setup};

/// How long anything may take before a test gives up: generous, since the machine may be busy. No test measures time.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

/// Looks again and again until there is something to see, for [`DEADLINE`] at most.
pub(crate) fn wait_until<T>(what: impl Display, look: impl FnMut() -> Option<T>) -> T {
    wait_within(DEADLINE, what, look)
}

/// Looks again and again until there is something to see; a panic that names `what` when the time is over.
pub(crate) fn wait_within<T>(limit: Duration, what: impl Display, look: impl FnMut() -> Option<T>) -> T {
    look_within(limit, look).unwrap_or_else(|| panic!("waited {limit:?} in vain: {what}"))
}

/// Like [`wait_within`], for what may also not happen.
pub(crate) fn look_within<T>(limit: Duration, mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let end = Instant::now() + limit;
    loop {
        if let Some(seen) = look() {
            return Some(seen);
        }
        if Instant::now() >= end {
            return None;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// The program under test.
pub(crate) fn unirs() -> PathBuf {
    PathBuf::from(env!("CARGO_BIN_EXE_unirs"))
}

/// The application of the suite that misbehaves on request: Cargo puts it beside the test's own binary.
pub(crate) fn test_app() -> PathBuf {
    let binary = std::env::current_exe().expect("a test knows its own binary");
    let library = binary.parent().expect("a binary is in a folder").join("libtest_apps.so");
    assert!(
        library.exists(),
        "no {}: is `test-apps` still a dev-dependency with a cdylib?",
        library.display()
    );
    library
}

/// The top of the source tree.
pub(crate) fn source_tree() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Compiles the suite's application in C, see `stubborn.c`, into `folder`.
pub(crate) fn compile_stubborn(folder: &Path) -> PathBuf {
    let library = folder.join("libstubborn.so");
    run_cc(&source_tree().join("tests/support/stubborn.c"), &library);
    library
}

/// Compiles an application in C that stands in `tests/support`, into `folder`.
pub(crate) fn compile(folder: &Path, file: &str) -> PathBuf {
    let library = folder.join(format!("lib{}.so", file.trim_end_matches(".c")));
    run_cc(&source_tree().join("tests/support").join(file), &library);
    library
}

/// Compiles an application in C: `source` defines `call` (and may use `host`), `rows` are more rows of its table, such
/// as `.ready = ready`. The library is `folder/libNAME.so`.
pub(crate) fn compile_c(folder: &Path, name: &str, source: &str, rows: &str) -> PathBuf {
    let file = folder.join(format!("{name}.c"));
    let library = folder.join(format!("lib{name}.so"));
    let whole = format!("{C_BEFORE}{source}{}", C_AFTER.replace("ROWS", rows));
    std::fs::write(&file, whole).expect("the temporary folder takes a file");
    run_cc(&file, &library);
    library
}

fn run_cc(source: &Path, library: &Path) {
    let run = Command::new("cc")
        .args(["-std=c99", "-Wall", "-Werror", "-shared", "-fPIC", "-I"])
        .arg(source_tree().join("crates/unirs-app/include"))
        .arg("-o")
        .args([library, source])
        .output()
        .expect("a C compiler named cc");
    assert!(run.status.success(), "cc {}: {}", source.display(), String::from_utf8_lossy(&run.stderr));
}

const C_BEFORE: &str = r#"
    #define _DEFAULT_SOURCE
    #include "unirs_app.h"
    static const unirs_host *host;
"#;

const C_AFTER: &str = r#"
    static int32_t start(const unirs_host *h, void **state, unirs_error *error) {
        (void)state; (void)error;
        host = h;
        return UNIRS_OK;
    }
    static const unirs_application table =
        { .size = sizeof table, .abi = UNIRS_ABI_VERSION, .start = start, .call = call, ROWS };
    const unirs_application *unirs_app(void) { return &table; }
"#;

/// Whether this process is root. Tests that need root say so and pass without it.
pub(crate) fn is_root() -> bool {
    let root = nix::unistd::geteuid().is_root();
    if !root {
        eprintln!("skipped: this test needs root");
    }
    root
}
