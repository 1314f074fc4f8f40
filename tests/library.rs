//! Libraries that cannot be loaded, or do not start: each sentence says what was found and what was wanted. Made by
//! the C compiler on the spot; nothing is served here.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::AtomicU64;

use tempfile::TempDir;
use unirs::app::{Application, HostFacts, Level, Provenance, Running, Services, Source, StartError, builtin};

/// The interface in as much C as these tests need; written out, so that tables can be broken.
const PRELUDE: &str = r#"
#include <stddef.h>
#include <stdint.h>
#include <string.h>
typedef struct { const char *data; size_t len; } bytes;
typedef struct { uint32_t size, reserved; char *text; size_t capacity, len; } error;
typedef struct {
    uint32_t size, abi;
    bytes name, version;
    uint64_t flags, stack_size;
    const void *waiters;
    int32_t (*start)(const void *, void **, error *);
    void *before_fork, *after_fork_parent, *post_fork, *thread_start, *thread_stop, *ready;
    int32_t (*call)(void *, void *, void *);
    void *hook, *stop;
} app;
static int32_t call(void *state, void *thread, void *exchange) { return 0; }
"#;

/// A folder of its own, in which libraries are made.
struct Workshop(TempDir);

impl Workshop {
    fn new() -> Workshop {
        Workshop(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn file(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, content).unwrap();
        path
    }

    /// Runs the C compiler over the prelude and `source`.
    fn compile(&self, name: &str, flags: &[&str], source: &str) -> PathBuf {
        let (input, output) = (self.file("app.c", format!("{PRELUDE}{source}")), self.path(name));
        let run = Command::new("cc").arg("-o").arg(&output).arg(input).args(flags).output().unwrap();
        assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
        output
    }

    fn library(&self, source: &str) -> PathBuf {
        self.compile("libapp.so", &["-shared", "-fPIC"], source)
    }

    /// A library whose table is `size` and `abi`, a name, and the rest of an initializer.
    fn with_table(&self, size: &str, abi: u32, rest: &str) -> PathBuf {
        self.library(&format!(
            "static const app table = {{ {size}, {abi}, {{\"shop\", 4}}, {{\"1.2\", 3}}, {rest} }};
             const app *unirs_app(void) {{ return &table; }}"
        ))
    }
}

fn load(path: &Path) -> Result<Application, String> {
    Application::load(&Source::Library(path.to_owned()), "{}".to_owned()).map_err(|error| error.to_string())
}

/// What is said of the library, without the beginning that names it.
fn refusal(path: &Path) -> String {
    let sentence = load(path).err().expect("the library should have been refused");
    let beginning = format!("cannot load {}: ", path.display());
    sentence.strip_prefix(&beginning).unwrap_or_else(|| panic!("`{sentence}` names no path")).to_owned()
}

struct Silence;

impl Services for Silence {
    fn log(&self, _: Level, _: &str, _: &str) {}
    fn counter(&self, _: &str) -> Option<&'static AtomicU64> {
        None
    }
}

fn start(application: Application) -> Result<Running, StartError> {
    let facts = HostFacts { slot: 0, generation: 1, threads: 1, workers: 1, pid: 1 };
    application.start(facts, &Silence)
}

const WANTED: &str = "wanted a shared library (64-bit ELF, for this machine)";

#[test]
fn a_whole_library_is_loaded_through_a_link_and_says_who_it_is() {
    let workshop = Workshop::new();
    let library = workshop.with_table("sizeof(app)", 1, ".call = call");
    let link = workshop.path("current.so");
    symlink(&library, &link).unwrap();
    let application = load(&link).unwrap();
    assert_eq!((application.name(), application.version()), ("shop", "1.2"));
    let Some(Provenance::Path(origin, None)) = application.provenance() else { panic!("not from its path") };
    assert_eq!(origin.path, fs::canonicalize(&library).unwrap());
    assert_eq!(origin.size, fs::metadata(&library).unwrap().len());
    assert!(start(application).is_ok());
}

#[test]
fn a_table_that_ends_after_call_has_no_hook_and_no_stop() {
    let workshop = Workshop::new();
    let rest = ".call = call, .hook = (void *)1, .stop = (void *)1";
    let running = start(load(&workshop.with_table("offsetof(app, hook)", 1, rest)).unwrap()).unwrap();
    assert!(!running.has_request_hooks());
    running.stop();
}

#[test]
fn a_table_that_ends_within_a_field_does_not_have_that_field() {
    let workshop = Workshop::new();
    let rest = ".call = call, .hook = (void *)1";
    let running = start(load(&workshop.with_table("offsetof(app, hook) + 4", 1, rest)).unwrap()).unwrap();
    assert!(!running.has_request_hooks());
}

#[test]
fn a_table_of_the_future_may_be_longer() {
    let workshop = Workshop::new();
    assert!(load(&workshop.with_table("sizeof(app) + 64", 1, ".call = call")).is_ok());
}

#[test]
fn a_library_without_a_name_has_its_files() {
    let workshop = Workshop::new();
    let library = workshop.library(
        "static const app table = { sizeof(app), 1, .call = call };
         const app *unirs_app(void) { return &table; }",
    );
    assert_eq!(load(&library).unwrap().name(), "libapp");
}

#[test]
fn a_path_without_a_file_is_named() {
    let workshop = Workshop::new();
    assert_eq!(refusal(&workshop.path("gone.so")), "no such file");
    let dangling = workshop.path("dangling.so");
    symlink("nowhere", &dangling).unwrap();
    assert_eq!(refusal(&dangling), "no such file");
}

#[test]
fn what_is_no_library_is_called_by_its_name() {
    let workshop = Workshop::new();
    let object = workshop.compile("app.o", &["-c"], "");
    let archive = workshop.path("libapp.a");
    assert!(Command::new("ar").arg("rcs").arg(&archive).arg(&object).status().unwrap().success());
    let program = "int main(void) { return 0; }";
    let found = [
        (workshop.0.path().to_owned(), "a folder"),
        (PathBuf::from("/dev/null"), "a device, pipe or socket"),
        (workshop.file("empty", ""), "an empty file"),
        (workshop.file("app.py", "def app(): ...\n"), "a text file"),
        (workshop.file("app.sh", "#!/bin/sh\n"), "a script"),
        (workshop.file("app.bin", [0, 1, 2, 3]), "a file that is not ELF"),
        (workshop.file("app.dll", "MZ\u{1}"), "a Windows program or library"),
        (object, "an object file that was not linked yet"),
        (archive, "a static archive"),
        (workshop.compile("pie", &["-pie", "-fPIE"], program), "an executable program"),
        (workshop.compile("fixed", &["-no-pie"], program), "an executable program"),
    ];
    for (path, what) in found {
        assert_eq!(refusal(&path), format!("found {what}, {WANTED}"));
    }
}

/// A good library with two bytes of its header changed.
fn forged(workshop: &Workshop, at: usize, bytes: [u8; 2]) -> PathBuf {
    let mut image = fs::read(workshop.with_table("sizeof(app)", 1, ".call = call")).unwrap();
    image[at..at + 2].copy_from_slice(&bytes);
    workshop.file("forged.so", image)
}

#[test]
fn a_library_for_another_machine_says_both_machines() {
    let workshop = Workshop::new();
    let (other, name) = if cfg!(target_arch = "aarch64") { (62, "x86_64") } else { (183, "aarch64") };
    let sentence = format!("found a library for {name}, wanted one for {}", std::env::consts::ARCH);
    assert_eq!(refusal(&forged(&workshop, 18, [other, 0])), sentence);
    assert_eq!(refusal(&forged(&workshop, 4, [1, 1])), format!("found a 32-bit library, {WANTED}"));
    let big = format!("found a library for a big-endian machine, {WANTED}");
    assert_eq!(refusal(&forged(&workshop, 4, [2, 2])), big);
}

#[test]
fn a_library_that_is_still_being_copied_does_not_end_the_process() {
    let workshop = Workshop::new();
    let image = fs::read(workshop.with_table("sizeof(app)", 1, ".call = call")).unwrap();
    for len in [6, 64, 2000, 8000] {
        let sentence = refusal(&workshop.file("cut.so", &image[..len]));
        let beginning = format!("found the first {len} bytes of a library that has at least ");
        assert!(
            sentence.starts_with(&beginning) && sentence.ends_with(": is it still being copied?"),
            "{sentence}"
        );
    }
}

#[test]
fn a_library_that_needs_another_or_a_symbol_says_which() {
    let workshop = Workshop::new();
    let needy = workshop.library("extern void oven(void); const app *unirs_app(void) { oven(); return 0; }");
    assert_eq!(refusal(&needy), "the dynamic linker refuses it: undefined symbol: oven");
    let other = workshop.compile("libother.so", &["-shared", "-fPIC"], "void oven(void) {}");
    let needs = ["-shared", "-fPIC", "-Wl,--no-as-needed", other.to_str().unwrap()];
    let needy = workshop.compile("libneedy.so", &needs, "");
    fs::remove_file(&other).unwrap();
    let sentence = refusal(&needy);
    assert!(sentence.contains("libother.so: cannot open shared object file"), "{sentence}");
}

#[test]
fn a_library_that_is_no_application_says_what_is_missing() {
    let workshop = Workshop::new();
    let sentence = refusal(&workshop.library("int shop(void) { return 0; }"));
    assert!(
        sentence.starts_with("found a library that exports no symbol `unirs_app`, wanted an application"),
        "{sentence}"
    );
}

#[test]
fn a_table_in_the_place_of_the_function_is_not_called() {
    let workshop = Workshop::new();
    let sentence = refusal(&workshop.library("app unirs_app = { sizeof(app), 1, .call = call };"));
    assert_eq!(sentence, "found a variable `unirs_app`, wanted a function that returns the table");
}

#[test]
fn a_table_of_another_version_says_both_versions() {
    let workshop = Workshop::new();
    let sentence = refusal(&workshop.with_table("sizeof(app)", 2, ".call = call"));
    assert!(sentence.starts_with("found version 2 of the application interface, wanted 1"), "{sentence}");
}

#[test]
fn a_table_that_is_too_short_says_how_long_it_has_to_be() {
    let workshop = Workshop::new();
    let sentence = refusal(&workshop.with_table("offsetof(app, call)", 1, ".call = call"));
    assert!(
        sentence.starts_with("found a table that says it has 120 bytes, wanted at least 128"),
        "{sentence}"
    );
}

#[test]
fn what_else_is_wrong_with_a_table_is_said() {
    // A workshop each: the dynamic linker knows a path that it has loaded once.
    let returning = |table: &str| {
        let workshop = Workshop::new();
        refusal(&workshop.library(&format!("const app *unirs_app(void) {{ return (const app *){table}; }}")))
    };
    assert_eq!(returning("0"), "its table is null");
    assert_eq!(returning("0x1234567"), "its table is not aligned to 8 bytes");
    let with = |rest: &str| refusal(&Workshop::new().with_table("sizeof(app)", 1, rest));
    assert_eq!(with(".stop = 0"), "its table has no function `call`");
    assert_eq!(with(".call = call, .flags = 5"), "its table has flags that this server does not know: 0x4");
    let odd = with(".call = call, .waiters = (void *)0x1003");
    assert_eq!(odd, "its table has a counter `waiters` that is not aligned to 4 bytes");
}

#[test]
fn a_start_that_fails_is_told_in_the_applications_words() {
    let refusal_of = |body: &str| {
        let workshop = Workshop::new();
        let library = workshop.library(&format!(
            "static int32_t start(const void *host, void **state, error *error) {{ {body} return -11; }}
             static const app table = {{ sizeof(app), 1, .start = start, .call = call }};
             const app *unirs_app(void) {{ return &table; }}"
        ));
        start(load(&library).unwrap()).err().unwrap().to_string()
    };
    let said = refusal_of(r#"memcpy(error->text, "no database at db:5432\n", 23); error->len = 23;"#);
    assert_eq!(said, "the application refused to start: no database at db:5432");
    let unsaid = refusal_of("");
    assert_eq!(unsaid, "the application refused to start: its start returned -11 and did not say why");
    let absurd = refusal_of("memset(error->text, 'x', error->capacity); error->len = (size_t)-1;");
    assert_eq!(absurd, format!("the application refused to start: {}", "x".repeat(4096)));
}

#[test]
fn an_unreadable_library_is_refused_by_its_permissions() {
    let workshop = Workshop::new();
    let library = workshop.with_table("sizeof(app)", 1, ".call = call");
    fs::set_permissions(&library, fs::Permissions::from_mode(0o000)).unwrap();
    if fs::File::open(&library).is_ok() {
        return; // Root reads everything.
    }
    assert!(refusal(&library).starts_with("permission denied"));
}

#[test]
fn an_unknown_builtin_is_answered_with_the_known_ones() {
    let source = Source::Builtin("hallo".to_owned());
    let sentence = Application::load(&source, "{}".to_owned()).err().unwrap().to_string();
    assert_eq!(
        sentence,
        "there is no built-in application `hallo`: there are welcome, hello, echo, info, static"
    );
    assert_eq!(builtin::NAMES.len(), 5);
}
