//! What is rendered from the settings table is what lies in the repository.
//!
//! After a change of the table: `UNIRS_BLESS=1 cargo test --test generated` writes the files anew.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::fs;
use std::path::Path;

use unirs::settings::render;

#[test]
fn the_sample_is_what_the_table_says() {
    is_rendered("gunicorn.toml", &render::sample());
}

#[test]
fn the_reference_page_is_what_the_table_says() {
    is_rendered("docs/settings.md", &render::reference());
}

/// Compares, or writes if `UNIRS_BLESS` is set.
fn is_rendered(name: &str, rendered: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
    if std::env::var_os("UNIRS_BLESS").is_some() {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, rendered).unwrap();
    }
    let committed = fs::read_to_string(&path).unwrap_or_default();
    let differs = committed.lines().zip(rendered.lines()).position(|(a, b)| a != b);
    let line = differs.unwrap_or_else(|| committed.lines().count().min(rendered.lines().count())) + 1;
    assert!(
        committed == rendered,
        "{name} is not what the settings table says, from line {line} on; run: UNIRS_BLESS=1 cargo test --test generated"
    );
}
