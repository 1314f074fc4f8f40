//! The settings file: whatever stands in it is settings or problems, each problem with a line of the file; and settings
//! that were printed read back as the same.

use std::ffi::OsString;
use std::fs;

use tempfile::TempDir;
use unirs::settings::{Loaded, Origin, Problems, Sources};

/// The input is the text of the file.
pub fn check(input: &[u8]) {
    thread_local!(static DIR: TempDir = TempDir::new().expect("room for a folder"));
    DIR.with(|dir| match load(dir, input, &["echo"]) {
        Ok(loaded) => {
            let printed = loaded.print();
            match load(dir, printed.as_bytes(), &[]) {
                Ok(again) => assert_eq!(again.settings, loaded.settings, "{printed}"),
                Err(problems) => panic!("what was printed is refused: {problems}\n{printed}"),
            }
        }
        Err(problems) => assert_true_to(&problems, input),
    });
}

fn load(dir: &TempDir, text: &[u8], arguments: &[&str]) -> Result<Loaded, Problems> {
    fs::write(dir.path().join("fuzz.toml"), text).expect("room for a file");
    let argv = ["unirs", "-c", "fuzz.toml"].iter().chain(arguments).map(OsString::from).collect();
    Sources { argv, env: Vec::new(), start_dir: dir.path().to_owned() }.load()
}

fn assert_true_to(problems: &Problems, text: &[u8]) {
    assert!(!problems.is_empty());
    let lines = 1 + text.iter().filter(|byte| **byte == b'\n').count();
    for problem in problems.iter() {
        if let Origin::File { line, .. } = problem.origin {
            assert!(line <= lines, "line {line} of {lines}: {problem}");
        }
        assert!(!problem.to_string().contains(char::is_control), "{problem:?}");
    }
}
