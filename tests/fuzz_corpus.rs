//! The checks of the fuzz targets as ordinary tests, over the corpus that fuzzing has left. Not the fuzzing itself, which
//! is in `fuzz/`.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

#[allow(unreachable_pub, reason = "a crate of its own for the fuzz targets")]
#[path = "../fuzz/checks/mod.rs"]
mod checks;

/// Gives every kept input of a target to its check.
fn replay(target: &str, check: impl Fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus-kept").join(target);
    let entries = fs::read_dir(&folder).expect("each target has a folder");
    let mut count = 0;
    for entry in entries {
        let path = entry.expect("an entry").path();
        let input = fs::read(&path).expect("a file");
        let result = catch_unwind(AssertUnwindSafe(|| check(&input)));
        assert!(result.is_ok(), "the panic above is about {}", path.display());
        count += 1;
    }
    assert!(count > 0, "nothing was kept of {target}");
}

#[test]
fn no_kept_head_means_something_else_in_pieces() {
    replay("head", checks::head::check);
}

#[test]
fn no_kept_body_ends_elsewhere_in_pieces() {
    replay("body", checks::body::check);
}

#[test]
fn no_kept_connection_is_answered_differently_in_pieces() {
    replay("connection", checks::connection::check);
}

#[test]
fn no_kept_record_is_more_than_a_line() {
    replay("access_format", checks::access_format::check);
}

#[test]
fn no_kept_settings_file_is_misread() {
    replay("settings_file", checks::settings_file::check);
}
