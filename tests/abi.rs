//! The binary interface as a C and a C++ compiler see it, beside what Rust makes of it; and libraries as a host finds them.

use std::ffi::{CStr, CString};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use unirs_app::abi::{self, code, field, flag, hook, level};
use unirs_app::test::Server;

/// Size, alignment, and offset and size of every field of a struct, a line each. A field that is missing here does not
/// compile; one that is missing in the header changes a size or leaves a hole.
macro_rules! layout {
    ($($rust:path => $c:literal { $($field:ident),+ $(,)? })+) => {
        fn layouts() -> Vec<Layout> {
            vec![$({
                #[allow(dead_code)]
                fn every_field(value: $rust) { let $rust { $($field: _),+ } = value; }
                fn size_of_field<S, F>(_: fn(&S) -> &F) -> usize { size_of::<F>() }
                Layout {
                    name: $c,
                    size: size_of::<$rust>(),
                    align: align_of::<$rust>(),
                    fields: vec![$((
                        stringify!($field),
                        std::mem::offset_of!($rust, $field),
                        size_of_field(|value: &$rust| &value.$field),
                    )),+],
                }
            }),+]
        }
    };
}

struct Layout {
    name: &'static str,
    size: usize,
    align: usize,
    fields: Vec<(&'static str, usize, usize)>,
}

layout! {
    abi::Bytes => "unirs_bytes" { data, len }
    abi::Field => "unirs_field" { name, value, known, reserved }
    abi::Error => "unirs_error" { size, reserved, text, capacity, len }
    abi::Worker => "unirs_worker" { size, slot, generation, threads, workers, pid, reserved }
    abi::Request => "unirs_request" {
        size, http_version, method, target, path, raw_path, query, scheme, authority, prefix, fields, field_count,
        peer_address, connection_address, server_address, peer_port, connection_port, server_port, listener,
        content_length, arrived_at_ns, queued_ns,
    }
    abi::Exchange => "unirs_exchange" { size, reserved, request }
    abi::Response => "unirs_response" { size, status, reason, fields, field_count, body, body_count }
    abi::Host => "unirs_host" {
        size, abi, software, worker, config, log, counter, field, request_id, read, body, respond, respond_file, begin,
        write, flush, finish, early_hints, on_finished, cancelled, extend, reserved,
    }
    abi::App => "unirs_application" {
        size, abi, name, version, flags, stack_size, waiters, start, before_fork, after_fork_parent, post_fork,
        thread_start, thread_stop, ready, call, hook, stop,
    }
}

/// Every constant, by its name in the header.
fn constants() -> Vec<(String, i64)> {
    let named = [
        ("ABI_VERSION", i64::from(abi::ABI_VERSION)),
        ("OK", code::OK.into()),
        ("GONE", code::GONE.into()),
        ("TOO_LARGE", code::TOO_LARGE.into()),
        ("TIMED_OUT", code::TIMED_OUT.into()),
        ("MALFORMED", code::MALFORMED.into()),
        ("WOULD_BLOCK", code::WOULD_BLOCK.into()),
        ("ANSWERED", code::ANSWERED.into()),
        ("NOT_BEGUN", code::NOT_BEGUN.into()),
        ("INVALID", code::INVALID.into()),
        ("LENGTH", code::LENGTH.into()),
        ("UNSUPPORTED", code::UNSUPPORTED.into()),
        ("FAILED", code::FAILED.into()),
        ("DEBUG", level::DEBUG.into()),
        ("INFO", level::INFO.into()),
        ("WARNING", level::WARNING.into()),
        ("ERROR", level::ERROR.into()),
        ("CRITICAL", level::CRITICAL.into()),
        ("SERIAL", flag::SERIAL.cast_signed()),
        ("REQUEST_HOOKS", flag::REQUEST_HOOKS.cast_signed()),
        ("POST_WORKER_INIT", hook::POST_WORKER_INIT.into()),
        ("PRE_REQUEST", hook::PRE_REQUEST.into()),
        ("POST_REQUEST", hook::POST_REQUEST.into()),
        ("WORKER_INT", hook::WORKER_INT.into()),
        ("WORKER_ABORT", hook::WORKER_ABORT.into()),
        ("WORKER_EXIT", hook::WORKER_EXIT.into()),
    ];
    let fields = (1..).zip(field::NAMES).map(|(number, name)| (field_constant(name), number));
    named.map(|(name, value)| (name.to_owned(), value)).into_iter().chain(fields).collect()
}

fn field_constant(name: &str) -> String {
    format!("FIELD_{}", name.to_ascii_uppercase().replace('-', "_"))
}

/// What [`probe`] prints, from Rust.
fn facts() -> String {
    let mut facts = String::new();
    for layout in layouts() {
        let Layout { name, size, align, fields } = layout;
        facts += &format!("{name} {size} {align}\n");
        for (field, offset, size) in fields {
            facts += &format!("{name}.{field} {offset} {size}\n");
        }
    }
    for (name, value) in constants() {
        facts += &format!("UNIRS_{name} {value}\n");
    }
    facts
}

/// A program that prints the same facts from the header.
fn probe() -> String {
    let mut lines = String::new();
    for Layout { name, fields, .. } in layouts() {
        lines += &format!("    {{ struct place {{ char before; {name} it; }};\n");
        lines += &format!("    put(\"{name}\", sizeof({name}), offsetof(struct place, it)); }}\n");
        for (field, ..) in fields {
            lines += &format!(
                "    put(\"{name}.{field}\", offsetof({name}, {field}), sizeof((({name} *) 0)->{field}));\n"
            );
        }
    }
    for (name, _) in constants() {
        lines += &format!("    printf(\"UNIRS_{name} %lld\\n\", (long long) UNIRS_{name});\n");
    }
    format!(
        "#include \"unirs_app.h\"\n#include <stdio.h>\n\
         static void put(const char *name, size_t a, size_t b)\n\
         {{ printf(\"%s %lu %lu\\n\", name, (unsigned long) a, (unsigned long) b); }}\n\
         int main(void)\n{{\n{lines}    return 0;\n}}\n"
    )
}

fn include() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("crates/unirs-app/include")
}

/// Compiles with the warnings that a careful user has on, as errors.
fn compile(compiler: &str, standard: &str, source: &Path, output: &Path, more: &[&str]) {
    let mut command = Command::new(compiler);
    command.args([standard, "-Wall", "-Wextra", "-Werror", "-pedantic"]).args(more);
    command.arg("-I").arg(include()).arg("-o").arg(output).arg(source);
    let done = command.output().expect("a C compiler is installed");
    assert!(done.status.success(), "{command:?}\n{}", String::from_utf8_lossy(&done.stderr));
}

fn run_probe(compiler: &str, standard: &str, file: &str) -> String {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let (source, program) = (dir.path().join(file), dir.path().join("probe"));
    fs::write(&source, probe()).expect("the probe is written");
    compile(compiler, standard, &source, &program, &[]);
    let done = Command::new(&program).output().expect("the probe runs");
    String::from_utf8(done.stdout).expect("the probe prints text")
}

#[test]
fn c_and_rust_agree_on_every_struct_and_constant() {
    assert_eq!(run_probe("cc", "-std=c99", "probe.c"), facts());
}

#[test]
fn cpp_and_rust_agree_on_every_struct_and_constant() {
    assert_eq!(run_probe("c++", "-std=c++11", "probe.cpp"), facts());
}

#[test]
fn the_header_has_no_constant_that_rust_does_not_have() {
    let header = fs::read_to_string(include().join("unirs_app.h")).expect("the header is there");
    let known: Vec<String> = constants().into_iter().map(|(name, _)| name).collect();
    for line in header.lines().filter_map(|line| line.strip_prefix("#define UNIRS_")) {
        let name = line.split([' ', '(']).next().expect("a name");
        let helper = matches!(name, "APP_H" | "EXPORT" | "HAS" | "TEXT");
        assert!(helper || known.iter().any(|other| other == name), "UNIRS_{name}");
    }
}

/// Loads a library as a host does, and calls its one symbol.
fn load(library: &Path) -> &'static abi::App {
    let path = CString::new(library.as_os_str().as_encoded_bytes()).expect("a path without a zero");
    // SAFETY: the library is one of ours; it stays loaded.
    let handle = unsafe { libc::dlopen(path.as_ptr(), libc::RTLD_NOW | libc::RTLD_LOCAL) };
    assert!(!handle.is_null(), "{}", last_error());
    let name = CString::new(abi::ENTRY_SYMBOL).expect("a name without a zero");
    // SAFETY: the handle is that of a library.
    let symbol = unsafe { libc::dlsym(handle, name.as_ptr()) };
    assert!(!symbol.is_null(), "{}", last_error());
    // SAFETY: by the contract of the interface the symbol is a function of this type; both are one pointer.
    let entry = unsafe { (&raw const symbol).cast::<abi::Entry>().read() };
    // SAFETY: the function returns a table that lives as long as the library.
    unsafe { &*entry() }
}

fn last_error() -> String {
    // SAFETY: the text lives until the next call of dlerror on this thread.
    let text = unsafe { CStr::from_ptr(libc::dlerror()) };
    text.to_string_lossy().into_owned()
}

fn text_of(bytes: abi::Bytes) -> String {
    // SAFETY: the strings of a table live as long as it does.
    let bytes = unsafe { std::slice::from_raw_parts(bytes.data, bytes.len) };
    String::from_utf8_lossy(bytes).into_owned()
}

/// Where cargo puts the libraries that a test depends on: beside the test.
fn built(library: &str) -> PathBuf {
    let test = std::env::current_exe().expect("this test is a file");
    test.with_file_name(library)
}

#[test]
fn a_rust_library_is_loaded_and_called_by_its_symbol() {
    let table = load(&built("libtest_apps.so"));
    assert_eq!((table.size as usize, table.abi), (size_of::<abi::App>(), abi::ABI_VERSION));
    assert_eq!(text_of(table.name), "test-apps");
    // SAFETY: a table that `export!` made.
    let server = unsafe { Server::of_table(table, r#"{"version": "7"}"#) }.expect("it starts");
    assert_eq!(server.get("/version").text(), "7");
    assert!(server.ready());
    assert!(server.get("/panic").is_from_host(), "a panic stays inside the library");
    let answer = server.get("/stream/3");
    assert_eq!((&*answer.text(), answer.is_complete()), ("line 0\nline 1\nline 2\n", true));
    assert_eq!(server.get("/twice").text(), "the first answer\n");
    let (_, line) = server.log().pop().expect("a line");
    assert_eq!(line, format!("result: {}", code::ANSWERED));
}

#[test]
fn a_configuration_makes_the_test_application_fail_to_start() {
    let table = load(&built("libtest_apps.so"));
    let start = |config| {
        // SAFETY: a table that `export!` made.
        let started = unsafe { Server::of_table(table, config) };
        started.err().unwrap_or_default()
    };
    assert_eq!(start(r#"{"start": "error"}"#), "the configuration says: start with an error");
    assert!(
        start(r#"{"start": "panic"}"#).starts_with("panic: the configuration says: start with a panic, at ")
    );
}

#[test]
fn the_site_in_c_is_compiled_loaded_and_called() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let library = dir.path().join("libsite.so");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/c/site.c");
    compile("cc", "-std=c99", &source, &library, &["-shared", "-fPIC", "-fvisibility=hidden"]);
    let table = load(&library);
    assert_eq!(text_of(table.name), "site-c");
    // SAFETY: the example keeps the contract of the interface.
    let site = unsafe { Server::of_table(table, "{}") }.expect("it starts");
    assert_eq!(site.log()[0].1, "the site is open");
    assert_eq!(site.get("/").header("content-type"), Some("text/html; charset=utf-8"));
    assert!(site.get("/time").text().starts_with("open for "));
    assert_eq!((site.get("/missing").status(), site.get("/missing").is_complete()), (404, true));
    let agent = site.request("GET", "/agent").header("user-agent", "a test").send();
    assert_eq!(agent.text(), "a test");
}

#[test]
fn the_parser_numbers_the_well_known_fields_as_the_interface_does() {
    assert_eq!(unirs::http::field::NAMES, unirs_app::abi::field::NAMES);
}
