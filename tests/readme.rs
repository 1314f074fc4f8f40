//! The README is true: its commands run, its own application builds, and each of its promises has a test.
mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use support::{Server, Setup, source_tree, unirs};

/// Each promise of the README, beginning as it does there, and a test that would fail if it were broken.
const PROMISES: [(&str, &str, &str); 22] = [
    ("A reload loses no request", "reload", "no_request_fails_over_reloads_under_load"),
    ("A reload that cannot work", "reload", "hup_keeps_the_old_workers_when_the_new_library_does_not_load"),
    (
        "The library may be overwritten",
        "image",
        "what_becomes_of_the_file_harms_nobody_and_hup_brings_what_is_there",
    ),
    (
        "With `preload_app` the application",
        "preload",
        "the_application_starts_once_and_every_worker_is_told_that_it_was_forked",
    ),
    ("New workers are ready", "reload", "a_request_under_way_is_answered_by_the_worker_that_began_it"),
    ("Another binary takes", "upgrade", "no_request_is_lost_while_the_new_master_takes_the_old_ones_place"),
    (
        "Another binary that does not",
        "upgrade_failures",
        "a_program_that_cannot_run_or_does_not_serve_changes_nothing",
    ),
    ("A stop answers everything", "stop", "term_under_load_answers_everything_that_was_accepted"),
    ("A worker that dies", "deaths", "a_killed_worker_is_replaced_and_the_others_are_not_disturbed"),
    ("A request over `timeout`", "stuck", "the_client_is_answered_504_and_the_record_names_the_function"),
    ("A crash (SIGSEGV", "crashes", "whoever_was_served_by_a_crash_is_answered_500_and_the_line_says_so"),
    (
        "Kept-alive connections are shared",
        "shares",
        "a_worker_that_was_added_gets_its_share_of_those_who_are_there",
    ),
    ("Slow clients", "timeouts", "an_idle_worker_a_slow_client_and_a_long_download_are_not_over_time"),
    ("A port in use", "binds", "a_port_in_use_is_named_and_exit_1"),
    ("A daemon's starter", "daemon", "the_starter_ends_with_1_and_says_why_when_the_port_is_in_use"),
    ("When the master is killed", "orphans", "a_request_in_flight_is_answered_after_the_master_was_killed"),
    ("What an application does wrong", "mistakes", "a_panic_is_a_500_and_a_line_with_its_message_and_place"),
    ("One whole access line", "logs", "under_load_over_hup_and_over_usr1_each_response_has_one_whole_line"),
    (
        "A log that cannot be written",
        "logs",
        "a_log_that_cannot_be_written_never_stops_the_server_and_is_said_once",
    ),
    ("`READY=1` is said", "systemd_protocol", "ready_is_said_once_and_only_when_every_worker_is_ready"),
    (
        "A worker that has served enough",
        "recycling",
        "a_worker_is_replaced_after_max_requests_and_serves_until_its_successor_does",
    ),
    ("Between TERM and the stop", "drain_delay", "nobody_is_refused_or_cut_until_the_delay_is_over"),
];

/// Commands that this test does not run, and what does.
const ELSEWHERE: [(&str, &str); 7] = [
    ("cargo test", "the last step of .ci/run"),
    ("cargo test --workspace", "the last step of .ci/run"),
    ("cargo build --release", ".ci/run builds it by its first step"),
    (".ci/run", "it runs this"),
    ("kill -USR2 $(cat unirs.pid)", "tests/upgrade.rs"),
    ("kill -TERM $(cat unirs.pid)", "tests/upgrade.rs"),
    ("kill -TERM $(cat unirs.pid.2)", "tests/upgrade.rs"),
];

fn readme() -> String {
    fs::read_to_string(source_tree().join("README.md")).expect("README.md")
}

/// The text of each fenced block in a language.
fn blocks(language: &str) -> Vec<String> {
    let text = readme();
    let fence = format!("```{language}\n");
    text.split(&fence).skip(1).map(|rest| rest.split("```").next().unwrap_or_default().to_owned()).collect()
}

/// A line of a block as this test runs it: debug builds, which the suite has made already, and no comment.
fn command_of(line: &str) -> String {
    let line = line.split("  #").next().unwrap_or_default().trim();
    let built = unirs().parent().expect("a binary is in a folder").display().to_string();
    line.replace("target/release", &built)
}

fn run_in_shell(command: &str, folder: &Path) -> String {
    let output = Command::new("sh").arg("-c").arg(command).current_dir(folder).output().expect("a shell");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success(),
        "{command}: {}\n{text}{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    text
}

/// The target folder of this build, for a Cargo that a test starts.
fn target_folder() -> PathBuf {
    let profile = unirs().parent().expect("a binary is in a folder").to_owned();
    profile.parent().expect("a profile is in a folder").to_owned()
}

/// Runs a server command of the README in the source tree, on a free port.
fn serve(arguments: &str) -> Server {
    let mut arguments: Vec<String> = arguments.split_whitespace().map(str::to_owned).collect();
    let app = arguments.pop().expect("an application");
    arguments.extend(["-b".to_owned(), "127.0.0.1:0".to_owned(), app]);
    Setup::new().command_line(arguments, source_tree()).start()
}

fn run_block(block: &str) {
    let mut server = None;
    for command in block.lines().map(command_of).filter(|command| !command.is_empty()) {
        if ELSEWHERE.iter().any(|(elsewhere, _)| *elsewhere == command) {
            continue;
        }
        if let Some(arguments) = command.strip_prefix("cargo run --release -- ") {
            let answers_and_ends = ["--help", "--print-config", "--check-config"];
            if answers_and_ends.iter().any(|flag| arguments.contains(flag)) {
                run_in_shell(&format!("{} {arguments}", unirs().display()), source_tree());
            } else {
                server = Some(serve(arguments));
            }
        } else if let Some(arguments) = command.strip_prefix("curl ") {
            let server = server.as_ref().expect("a server was started before curl");
            let arguments = arguments.replace("127.0.0.1:8000", &server.address().to_string());
            let page = run_in_shell(&format!("curl -sS --fail {arguments}"), source_tree());
            assert!(!page.is_empty(), "{command}: an empty page");
        } else if let Some(arguments) = command.strip_prefix("cargo build --release ") {
            let cargo = format!("cargo build --quiet --target-dir {} {arguments}", target_folder().display());
            run_in_shell(&cargo, source_tree());
        } else if command.starts_with("make ") {
            run_in_shell(&command, source_tree());
        } else {
            panic!("README.md has a command that no test runs: {command}");
        }
    }
}

#[test]
fn every_command_of_the_readme_runs() {
    let blocks = blocks("sh");
    assert!(blocks.len() >= 5, "README.md has its commands in sh blocks");
    for block in blocks {
        run_block(&block);
    }
}

#[test]
fn the_readme_s_own_application_builds_and_serves() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let manifest = blocks("toml").remove(0).replace("../unirs", source_tree().to_str().expect("UTF-8"));
    fs::create_dir(folder.path().join("src")).expect("a folder");
    // A workspace of its own, whatever lies above it, with the very dependencies that this build has.
    fs::write(folder.path().join("Cargo.toml"), format!("{manifest}\n[workspace]\n")).expect("a file");
    fs::write(folder.path().join("src/lib.rs"), blocks("rust").remove(0)).expect("a file");
    fs::copy(source_tree().join("Cargo.lock"), folder.path().join("Cargo.lock")).expect("a copy");
    let target = folder.path().join("target");
    run_in_shell(&format!("cargo build --quiet --offline --target-dir {}", target.display()), folder.path());
    let library = target.join("debug/libshop.so");
    let server = Setup::new().configure(|config| config.library(&library).app("currency", "EUR")).start();
    assert_eq!(server.get("/").text(), "Open for business.\n");
}

#[test]
fn the_readme_s_settings_are_accepted() {
    let settings = blocks("toml").remove(1);
    let folder = tempfile::tempdir().expect("a temporary folder");
    fs::write(folder.path().join("shop.toml"), settings).expect("a file");
    let command = format!("{} -c shop.toml --print-config shop", unirs().display());
    let printed = run_in_shell(&command, folder.path());
    assert!(printed.contains("threads = 8"), "{printed}");
}

#[test]
fn every_promise_of_the_readme_has_a_test() {
    let text = readme();
    let section = text.split("## What it promises").nth(1).and_then(|rest| rest.split("\n## ").next());
    let lines: Vec<&str> =
        section.expect("the promises").lines().filter_map(|line| line.strip_prefix("- ")).collect();
    for line in &lines {
        assert!(
            PROMISES.iter().any(|(promise, _, _)| line.starts_with(promise)),
            "no test is named for: {line}"
        );
    }
    for (promise, file, test) in PROMISES {
        assert!(lines.iter().any(|line| line.starts_with(promise)), "README.md does not promise: {promise}");
        let path = source_tree().join("tests").join(file).with_extension("rs");
        let source = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        assert!(source.contains(&format!("#[test]\nfn {test}()")), "{}: no test {test}", path.display());
    }
}

#[test]
fn every_link_of_the_documents_leads_somewhere() {
    for document in ["README.md", "docs/architecture.md", "packaging/README.md", "CHANGELOG.md"] {
        let path = source_tree().join(document);
        let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{document}: {error}"));
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let target = path
                .parent()
                .expect("a document is in a folder")
                .join(link.split('#').next().unwrap_or(link));
            assert!(link.starts_with("http") || target.exists(), "{document}: {link} leads nowhere");
        }
    }
}
