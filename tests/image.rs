//! The image: what becomes of the library's file on disk harms nobody, and a generation runs the code that it began with.
mod support;

use std::fs::{self, File, OpenOptions};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::unistd::Pid;
use support::{Load, Server, Setup, Signal, Style, compile_c, process, source_tree};

/// An application in C that answers everything with `text`.
fn answering(folder: &Path, name: &str, text: &str) -> PathBuf {
    let source = r#"
        static int32_t call(void *state, void *thread, unirs_exchange *exchange) {
            (void)state; (void)thread;
            return unirs_text(host, exchange, 200, "TEXT");
        }
    "#;
    compile_c(folder, name, &source.replace("TEXT", text), "")
}

/// A server with two workers whose library `libshop.so` answers `old`, and another library that answers `new`.
fn shop(change: impl FnOnce(Setup) -> Setup) -> (Server, PathBuf, PathBuf) {
    let setup = Setup::new().set("workers", 2);
    let (old, new) = (answering(setup.dir(), "old", "old"), answering(setup.dir(), "new", "new"));
    let shop = setup.dir().join("libshop.so");
    fs::copy(&old, &shop).expect("a copy");
    let server = change(setup.configure(|config| config.library(&shop))).start();
    (server, shop, new)
}

fn maps(pid: Pid) -> String {
    fs::read_to_string(format!("/proc/{pid}/maps")).unwrap_or_default()
}

/// Kills every worker, waits for others, and asks them.
fn assert_respawned_workers_answer(server: &Server, text: &str, scenario: &str) {
    let old = server.workers();
    for pid in &old {
        process::signal(*pid, Signal::SIGKILL);
    }
    server.wait_replaced(&old, 2);
    for _ in 0..4 {
        assert_eq!(server.get("/").text(), text, "{scenario}");
    }
}

#[test]
fn what_becomes_of_the_file_harms_nobody_and_hup_brings_what_is_there() {
    let (server, shop, new) = shop(|setup| setup);
    let harms: [(&str, &dyn Fn()); 4] = [
        ("another was copied over it", &|| assert!(fs::copy(&new, &shop).expect("cp") > 0)),
        ("it was truncated", &|| drop(File::create(&shop).expect("a truncation"))),
        ("it was deleted", &|| fs::remove_file(&shop).expect("rm")),
        ("another was renamed over it", &|| {
            let fresh = shop.with_extension("fresh");
            fs::copy(&new, &fresh).expect("cp");
            fs::rename(&fresh, &shop).expect("mv");
        }),
    ];
    let load = Load::start(server.address(), 4, Style::KeepAlive, "/");
    for (scenario, harm) in harms {
        load.wait_for(50);
        harm();
        load.wait_for(50);
        assert_respawned_workers_answer(&server, "old", scenario);
    }
    load.wait_for(50);
    let tally = load.finish();
    // Each of four clients had at most one request in each of the eight workers that were killed.
    assert!(tally.failures.len() <= 32, "{:?}", tally.failures);
    let killed = |failure: &String| failure.contains("reset") || failure.contains("closed");
    assert!(tally.failures.iter().all(killed), "{:?}", tally.failures);
    assert_eq!(tally.refused, 0);
    assert_eq!(server.count_log("SIGBUS") + server.count_log("SIGSEGV"), 0, "nobody crashed");

    server.reload(2);
    assert_eq!(server.get("/").text(), "new");
}

#[test]
fn hup_refuses_a_file_that_is_harmed_and_the_old_code_serves_on() {
    let (server, shop, new) = shop(|setup| setup);
    let whole = fs::read(&new).expect("a library");
    fs::write(&shop, &whole[..whole.len() / 2]).expect("half a library");
    server.signal(Signal::SIGHUP);
    server.wait_for_log("Reload refused", 1);
    assert_respawned_workers_answer(&server, "old", "after a refused reload");
    fs::write(&shop, &whole).expect("the library");
    server.reload(2);
    assert_eq!(server.get("/").text(), "new");
}

#[test]
fn workers_map_a_sealed_copy_and_the_master_maps_nothing() {
    let (server, shop, _) = shop(|setup| setup);
    for pid in server.workers() {
        let (maps, path) = (maps(pid), shop.to_str().expect("UTF-8"));
        assert!(maps.contains("/memfd:libshop.so") && !maps.contains(path), "{maps}");
        let fds = server.fds(pid);
        let (number, _) = fds.iter().find(|(_, what)| what.contains("memfd:libshop.so")).expect("its image");
        assert!(*number >= 256, "out of the application's way: {fds:?}");
        if let Ok(image) = OpenOptions::new().write(true).open(format!("/proc/{pid}/fd/{number}")) {
            let seals = fcntl(image.as_fd(), FcntlArg::F_GET_SEALS).map(SealFlag::from_bits_retain);
            assert!(seals.expect("seals").contains(SealFlag::F_SEAL_WRITE | SealFlag::F_SEAL_SHRINK));
            assert!(image.set_len(0).is_err(), "it cannot be truncated");
        }
    }
    assert!(!maps(server.master()).contains("libshop"), "{}", maps(server.master()));
}

#[test]
fn what_was_loaded_is_said_once_for_each_generation() {
    let (server, shop, new) = shop(|setup| setup);
    let line = format!("Application: {}, ", fs::canonicalize(&shop).expect("a path").display());
    assert_eq!(server.count_log(&line), 1, "two workers");
    assert_respawned_workers_answer(&server, "old", "respawned");
    assert_eq!(server.count_log(&line), 1, "respawned workers");
    let sum = format!("CRC-32 {:08x}", crc32fast::hash(&fs::read(&new).expect("a library")));
    fs::rename(&new, &shop).expect("mv");
    server.reload(2);
    assert_eq!(server.count_log(&line), 2);
    assert_eq!(server.count_log(&sum), 1, "{sum}");
}

#[test]
fn symbolic_links_are_resolved_anew_at_each_reload() {
    let setup = Setup::new();
    let (one, two) = (answering(setup.dir(), "one", "one"), answering(setup.dir(), "two", "two"));
    let current = setup.dir().join("current.so");
    std::os::unix::fs::symlink(&one, &current).expect("ln");
    let server = setup.configure(|config| config.library(&current)).start();
    assert_eq!(server.get("/").text(), "one");
    fs::remove_file(&current).expect("rm");
    std::os::unix::fs::symlink(&two, &current).expect("ln");
    server.reload(1);
    assert_eq!(server.get("/").text(), "two");
    assert_eq!(server.count_log(two.to_str().expect("UTF-8")), 1, "the log names the file");
}

/// The server serves, from the path, and the log says why, once.
fn assert_loaded_from_its_path(server: &Server, library: &Path, why: &str) {
    assert_eq!(server.get("/").status, 200);
    let path = fs::canonicalize(library).expect("a path");
    let maps = maps(server.workers()[0]);
    assert!(maps.contains(path.to_str().expect("UTF-8")), "{maps}");
    let image = server.fds(server.master()).into_values().find(|what| what.contains("lib"));
    assert_eq!(image, None, "nobody keeps a copy");
    server.wait_for_log(why, 1);
}

#[test]
fn a_library_above_the_limit_is_loaded_from_its_path() {
    let (server, shop, new) = shop(|setup| setup.set("image_limit", 1000));
    assert_loaded_from_its_path(&server, &shop, "bytes, and image_limit is 1000");
    fs::rename(&new, &shop).expect("mv");
    server.reload(2);
    assert_eq!(server.get("/").text(), "new");
}

#[test]
fn a_limit_of_nothing_turns_images_off_without_a_word() {
    let (server, shop, _) = shop(|setup| setup.set("image_limit", 0));
    assert_loaded_from_its_path(&server, &shop, "");
    assert_eq!(server.count_log("Application: "), 0);
}

#[test]
fn a_library_that_looks_beside_itself_is_loaded_from_its_path() {
    let setup = Setup::new();
    let beside = setup.dir().join("beside");
    fs::create_dir(&beside).expect("a folder");
    let source = setup.dir().join("text.c");
    fs::write(&source, "const char *text(void) { return \"from beside\"; }").expect("a file");
    let text = beside.join("libtext.so");
    cc(&["-shared", "-fPIC"], &text, &source);
    let shop = compile_c(
        setup.dir(),
        "shop",
        "extern const char *text(void);
         static int32_t call(void *state, void *thread, unirs_exchange *exchange) {
             (void)state; (void)thread;
             return unirs_text(host, exchange, 200, text());
         }",
        "",
    );
    let text = text.to_str().expect("UTF-8");
    cc(&["-shared", "-fPIC", text, "-Wl,-rpath,$ORIGIN/beside"], &shop, &setup.dir().join("shop.c"));
    let server = setup.configure(|config| config.library(&shop)).start();
    assert_loaded_from_its_path(&server, &shop, "($ORIGIN)");
    assert_eq!(server.get("/").text(), "from beside");
}

fn cc(flags: &[&str], output: &Path, source: &Path) {
    let mut command = Command::new("cc");
    command.arg("-I").arg(source_tree().join("crates/unirs-app/include")).arg("-o").arg(output).arg(source);
    let run = command.args(flags).output().expect("a C compiler named cc");
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
}

#[test]
fn an_application_can_still_be_looked_into_from_inside() {
    let server = Setup::new().start();
    let trace = server.get("/backtrace").text();
    assert!(trace.contains("test_apps::"), "names of its functions: {trace}");

    let setup = Setup::new();
    let library = compile_c(
        setup.dir(),
        "looker",
        r#"
        #include <stdio.h>
        typedef struct { const char *dli_fname; void *base; const char *name; void *address; } Dl_info;
        extern int dladdr(const void *, Dl_info *);
        static int32_t call(void *state, void *thread, unirs_exchange *exchange) {
            (void)state; (void)thread;
            Dl_info info;
            char magic[5] = "";
            if (!dladdr((void *)&host, &info)) return -1;
            FILE *file = fopen(info.dli_fname, "r");
            if (file == NULL || fread(magic, 1, 4, file) != 4) return -1;
            fclose(file);
            return unirs_text(host, exchange, 200, magic + 1);
        }
        "#,
        "",
    );
    let server = setup.configure(|config| config.library(&library)).start();
    assert_eq!(server.get("/").text(), "ELF");
}

#[test]
fn a_refused_library_is_named_as_its_user_names_it() {
    let setup = Setup::new();
    let library = compile_c(
        setup.dir(),
        "needy",
        "extern void oven(void);
         static int32_t call(void *state, void *thread, unirs_exchange *exchange) {
             (void)state; (void)thread; (void)exchange;
             oven();
             return 0;
         }",
        "",
    );
    let sentence =
        format!("cannot load {}: the dynamic linker refuses it: undefined symbol: oven", library.display());
    let failure = setup.configure(|config| config.library(&library)).fail();
    failure.assert(4, &sentence, "a library that misses a symbol");
    assert!(!failure.log.contains("/proc/self"), "{}", failure.log);
}

#[test]
fn check_config_goes_the_same_way() {
    let setup = Setup::new().arg("--check-config");
    let shop = answering(setup.dir(), "shop", "shop");
    let good = setup.configure(|config| config.library(&shop)).fail();
    good.assert(0, "CRC-32", "a good library");
}
