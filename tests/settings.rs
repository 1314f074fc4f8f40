//! Settings as an operator meets them: files, flags and variables in, values or problems out, by the real binary. None of
//! these starts a server.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use tempfile::TempDir;
use unirs::settings::{AppSource, Loaded, Problems, Settings, Sources};

/// A directory to start in, and what the start is told.
struct Start {
    dir: TempDir,
    env: Vec<(&'static str, &'static str)>,
}

/// What came of it.
struct Outcome {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

impl Start {
    fn new() -> Start {
        Start { dir: TempDir::new().unwrap(), env: Vec::new() }
    }

    /// With a `gunicorn.toml` in the directory.
    fn with_file(text: &str) -> Start {
        let start = Start::new();
        start.write("gunicorn.toml", text);
        start
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.dir.path().join(name), text).unwrap();
    }

    fn env(mut self, name: &'static str, value: &'static str) -> Start {
        self.env.push((name, value));
        self
    }

    /// Runs the binary.
    fn run(&self, arguments: &[&str]) -> Outcome {
        let mut command = Command::new(env!("CARGO_BIN_EXE_unirs"));
        for name in ["PORT", "WEB_CONCURRENCY", "UNIRS_CMD_ARGS", "PWD"] {
            command.env_remove(name);
        }
        let Output { status, stdout, stderr } = command
            .args(arguments)
            .current_dir(self.dir.path())
            .envs(self.env.iter().copied())
            .output()
            .unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Outcome { code: status.code(), stdout: text(stdout), stderr: text(stderr) }
    }

    /// What `--print-config` says of one setting.
    fn line(&self, name: &str, arguments: &[&str]) -> String {
        let outcome = self.run(&[arguments, &["--print-config"]].concat());
        assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
        let line = outcome
            .stdout
            .lines()
            .find(|line| line.trim_start_matches("# ").starts_with(&format!("{name} ")));
        line.unwrap_or_else(|| panic!("no {name} in\n{}", outcome.stdout)).to_owned()
    }

    /// The lines of a refusal, without `Error: `, and its exit code.
    fn refused(&self, arguments: &[&str]) -> (Vec<String>, Option<i32>) {
        let outcome = self.run(arguments);
        assert_eq!(outcome.stdout, "");
        let line = |line: &str| line.strip_prefix("Error: ").unwrap_or_else(|| panic!("{line}")).to_owned();
        (outcome.stderr.lines().map(line).collect(), outcome.code)
    }

    /// The same without a process.
    fn load(&self, arguments: &[&str]) -> Result<Loaded, Problems> {
        self.sources(arguments).load()
    }

    fn sources(&self, arguments: &[&str]) -> Sources {
        Sources {
            argv: ["unirs"].iter().chain(arguments).map(Into::into).collect(),
            env: self.env.iter().map(|(name, value)| (name.into(), value.into())).collect(),
            start_dir: self.dir.path().to_owned(),
        }
    }

    fn settings(&self, arguments: &[&str]) -> Settings {
        self.load(arguments).unwrap_or_else(|problems| panic!("{problems}")).settings
    }
}

#[test]
fn all_problems_of_a_file_are_said_at_once_in_the_order_of_its_lines() {
    let start = Start::with_file(
        "workers = \"many\"\n\
         bind = [\n  \"127.0.0.1:80\",\n  \"::1\",\n  \"a:b\",\n]\n\
         worker = 3\n\
         keep-alive = 3\n\
         wsgi_app = \"shop:app\"\n\
         worker_tmp_dir = \"/dev/shm\"\n\
         statsd_host = \"localhost:8125\"\n\
         config = \"x.toml\"\n\
         timeout = 1979-05-27\n\
         [apps.a]\n\
         [apps.b]\nbuiltin = \"statik\"\n\
         [tls]\n",
    );
    let (lines, code) = start.refused(&["hello"]);
    assert_eq!(
        lines,
        [
            "gunicorn.toml:1: workers: expected a number or \"auto\", found \"many\"",
            "gunicorn.toml:4: bind: expected HOST:PORT, [V6]:PORT, unix:PATH or fd://N (an IPv6 address stands in \
             brackets: [::1]:8000), found \"::1\"",
            "gunicorn.toml:5: bind: expected HOST:PORT, [V6]:PORT, unix:PATH or fd://N (the port is no number: \
             \"b\"), found \"a:b\"",
            "gunicorn.toml:7: worker: unknown setting; did you mean `workers`?",
            "gunicorn.toml:8: keep-alive: unknown setting; the flag --keep-alive is `keepalive` in a file",
            "gunicorn.toml:9: wsgi_app: belongs to Python; name the application with `app`",
            "gunicorn.toml:10: worker_tmp_dir: not needed here, because signs of life are in shared memory, not in \
             files; remove it",
            "gunicorn.toml:11: statsd_host: not supported yet",
            "gunicorn.toml:12: config: belongs on the command line: --config",
            "gunicorn.toml:13: timeout: expected a time such as 30, \"500ms\" or \"2h\", found a date",
            "gunicorn.toml:14: apps.a: expected builtin = \"NAME\" or library = \"PATH\" in this table",
            "gunicorn.toml:16: apps.b.builtin: expected one of welcome, hello, echo, info, static, found \"statik\"; \
             did you mean static?",
            "gunicorn.toml:17: tls: unknown setting",
        ]
    );
    assert_eq!(code, Some(1));
}

#[test]
fn a_file_that_is_no_toml_is_refused_with_the_line() {
    let (lines, code) =
        Start::with_file("backlog = 1\nworkers = \n[apps.a\nbacklog = 2\n").refused(&["hello"]);
    assert!(lines.iter().any(|line| line.starts_with("gunicorn.toml:2: ")), "{lines:?}");
    assert!(lines.iter().any(|line| line.starts_with("gunicorn.toml:3: ")), "{lines:?}");
    assert_eq!(code, Some(1));
    let (lines, _) = Start::with_file("backlog 1\n").refused(&["app"]);
    assert_eq!(lines.len(), 1, "what the file may have named is no second problem: {lines:?}");
    let (lines, _) = Start::with_file("umask = 0022\n").refused(&["hello"]);
    assert_eq!(
        lines,
        ["gunicorn.toml:1: a number has no leading zero; an octal one is written 0o022 or \"0022\""]
    );
    let (lines, _) = Start::with_file("backlog = 1\nbacklog = 2\n").refused(&["hello"]);
    assert_eq!(lines, ["gunicorn.toml:2: duplicate key `backlog`"]);
}

#[test]
fn each_source_is_named_in_its_problems() {
    let start = Start::with_file("threads = 0\n").env("UNIRS_CMD_ARGS", "--timeout 1w --spew");
    let start = start.env("WEB_CONCURRENCY", "lots").env("PORT", "tcp://10.0.0.1:80");
    let (lines, code) = start.refused(&["hello", "--keep-alive", "soon", "--certfile=x"]);
    assert_eq!(
        lines,
        [
            "gunicorn.toml:1: threads: expected a number from 1 to 4096, found 0",
            "UNIRS_CMD_ARGS: --spew: belongs to Python",
            "UNIRS_CMD_ARGS: --timeout: expected a time such as 30, \"500ms\" or \"2h\" (the units are ms, s, m, h and \
             d), found \"1w\"",
            "command line: --certfile: not supported yet",
            "command line: --keep-alive: expected a time such as 30, \"500ms\" or \"2h\" (it does not begin with a \
             number), found \"soon\"",
            "environment PORT: expected a port, found \"tcp://10.0.0.1:80\"",
            "environment WEB_CONCURRENCY: expected a number or \"auto\", found \"lots\"",
        ]
    );
    assert_eq!(code, Some(2), "an argument is written wrongly");
}

#[test]
fn the_switches_for_bad_http_are_off_and_can_be_turned_on_and_off() {
    let (start, on) =
        (Start::new(), Start::with_file("header_map = \"refuse\"\ncasefold_http_method = true\n"));
    for name in [
        "permit_obsolete_folding",
        "strip_header_spaces",
        "permit_unconventional_http_method",
        "permit_unconventional_http_version",
        "casefold_http_method",
    ] {
        let flag = format!("--{}", name.replace('_', "-"));
        assert_eq!(start.line(name, &["hello"]), format!("{name} = false  # default"));
        assert_eq!(start.line(name, &["hello", &flag]), format!("{name} = true  # command line"));
    }
    assert_eq!(start.line("header_map", &["hello"]), "header_map = \"drop\"  # default");
    let line = start.line("header_map", &["hello", "--header-map", "dangerous"]);
    assert_eq!(line, "header_map = \"dangerous\"  # command line");
    assert_eq!(on.settings(&["hello"]).header_map, unirs::settings::HeaderMap::Refuse);
    assert!(!on.settings(&["hello", "--no-casefold-http-method"]).casefold_http_method);
    let (lines, code) = start.refused(&["hello", "--header-map", "keep"]);
    assert_eq!(
        lines,
        ["command line: --header-map: expected \"drop\", \"refuse\" or \"dangerous\", found \"keep\""]
    );
    assert_eq!(code, Some(2));
}

#[test]
fn the_server_field_is_text_that_a_field_can_have_or_none() {
    let start = Start::new();
    assert_eq!(start.line("server_header", &["hello"]), "server_header = \"unirs\"  # default");
    let none = start.line("server_header", &["hello", "--server-header", ""]);
    assert_eq!(none, "server_header = \"\"  # command line");
    let file = Start::with_file("server_header = \"shop/2 (edge)\"\n");
    assert_eq!(file.settings(&["hello"]).server_header.as_deref(), Some("shop/2 (edge)"));
    assert_eq!(file.settings(&["hello", "--server-header="]).server_header, None);
    for bad in ["\"a\\r\\nX: b\"", "\" a\"", "\"a \"", "\"caf\\u00e9\"", "\"a\\tb\"", "true"] {
        let file = Start::with_file(&format!("server_header = {bad}\n"));
        let (lines, _) = file.refused(&["hello"]);
        assert!(lines[0].contains("expected printable ASCII without spaces around it"), "{bad}: {lines:?}");
    }
}

#[test]
fn a_variable_that_nothing_uses_is_not_looked_at() {
    let start = Start::new().env("WEB_CONCURRENCY", "lots").env("PORT", "");
    assert_eq!(start.settings(&["hello", "-w", "3"]).workers, 3);
}

#[test]
fn exit_codes_tell_arguments_from_configuration() {
    let start = Start::new();
    for (arguments, code) in [
        (vec!["--no-such-flag", "hello"], 2),
        (vec!["hello", "world"], 2),
        (vec!["hello", "--workers"], 2),
        (vec!["hello", "--workers", "many"], 2),
        (vec!["hello", "--bind", "a:b"], 2),
        (vec!["hello", "-c", "missing.toml"], 1),
        (vec!["hello", "-c", "python:conf"], 1),
        (vec!["hello", "--user", "no-such-user-here"], 1),
        (vec!["hello", "--chdir", "missing"], 1),
        (vec!["no-such-app"], 1),
        (vec![], 1),
        (vec!["--help"], 0),
        (vec!["--version"], 0),
    ] {
        assert_eq!(start.run(&arguments).code, Some(code), "{arguments:?}");
    }
    let outcome = Start::new().env("UNIRS_CMD_ARGS", "--no-such-flag").run(&["hello"]);
    assert_eq!(outcome.code, Some(2));
    assert!(outcome.stderr.starts_with("Error: UNIRS_CMD_ARGS: unexpected argument '--no-such-flag' found"));
    let (lines, code) = Start::new().env("UNIRS_CMD_ARGS", "--name 'x").refused(&["hello"]);
    assert_eq!(lines, ["UNIRS_CMD_ARGS: a quotation mark or a backslash has no partner"]);
    assert_eq!(code, Some(2));
}

#[test]
fn a_file_that_cannot_be_read_says_why() {
    let start = Start::new();
    fs::create_dir(start.dir.path().join("folder")).unwrap();
    fs::write(start.dir.path().join("latin.toml"), b"backlog = 1\nproc_name = \"caf\xe9\"\n").unwrap();
    let said = |name| start.refused(&["hello", "-c", name]).0;
    assert_eq!(said("no.toml"), ["no.toml: cannot read the settings file: no such file or directory"]);
    assert_eq!(said("folder"), ["folder: cannot read the settings file: is a directory"]);
    assert_eq!(said("latin.toml"), ["latin.toml: cannot read the settings file: line 2 is not UTF-8"]);
    assert_eq!(
        said("conf.py"),
        ["conf.py: is Python, as Gunicorn's file is; unirs reads TOML: see gunicorn.toml"]
    );
    assert_eq!(
        said("python:conf"),
        ["command line: --config: a Python module cannot be the settings file; unirs reads TOML"]
    );
}

#[test]
fn a_later_source_takes_the_place_of_an_earlier_one() {
    let file = "workers = 3\nbacklog = 3\nthreads = 3\nbind = [\"127.0.0.1:3\", \"127.0.0.1:33\"]\n";
    let start =
        Start::with_file(file).env("UNIRS_CMD_ARGS", "--backlog 4 --threads 4").env("WEB_CONCURRENCY", "2");
    let arguments = ["hello", "--threads", "5", "-b", "127.0.0.1:5"];
    assert_eq!(start.line("worker_connections", &arguments), "worker_connections = 1000  # default");
    assert_eq!(start.line("workers", &arguments), "workers = 3  # gunicorn.toml:1");
    assert_eq!(start.line("backlog", &arguments), "backlog = 4  # UNIRS_CMD_ARGS");
    assert_eq!(start.line("threads", &arguments), "threads = 5  # command line");
    assert_eq!(start.line("bind", &arguments), "bind = [\"127.0.0.1:5\"]  # command line");
    assert_eq!(start.line("worker_class", &arguments), "worker_class = \"threaded\"  # command line");
}

#[test]
fn the_environment_stands_in_for_defaults() {
    let start = Start::new().env("PORT", "8123").env("WEB_CONCURRENCY", "7");
    assert_eq!(start.line("bind", &["hello"]), "bind = [\"0.0.0.0:8123\"]  # environment PORT");
    assert_eq!(start.line("workers", &["hello"]), "workers = 7  # environment WEB_CONCURRENCY");
}

#[test]
fn the_settings_file_is_the_named_one_or_the_one_of_the_directory() {
    let start = Start::with_file("backlog = 1\n").env("UNIRS_CMD_ARGS", "-c cmd.toml");
    start.write("cmd.toml", "backlog = 2\n");
    start.write("named.toml", "backlog = 3\n");
    let here = Start::with_file("backlog = 1\n");
    assert_eq!(here.line("backlog", &["hello"]), "backlog = 1  # gunicorn.toml:1");
    assert_eq!(start.line("backlog", &["hello"]), "backlog = 2  # cmd.toml:1");
    assert_eq!(start.line("backlog", &["hello", "-c", "./named.toml"]), "backlog = 3  # named.toml:1");
    assert_eq!(start.line("backlog", &["hello", "-c", "file:named.toml"]), "backlog = 3  # named.toml:1");
}

#[test]
fn a_reload_reads_the_file_anew_and_the_rest_as_it_was() {
    let start = Start::with_file("workers = 1\n").env("UNIRS_CMD_ARGS", "--threads 2");
    let sources = start.sources(&["hello", "-t", "7"]);
    assert_eq!(sources.load().unwrap().settings.workers, 1);
    start.write("gunicorn.toml", "workers = 9\n");
    let settings = sources.load().unwrap().settings;
    assert_eq!((settings.workers, settings.threads, settings.timeout.unwrap().as_secs()), (9, 2, 7));
    start.write("gunicorn.toml", "workers = [\n");
    assert!(sources.load().is_err());
}

#[test]
fn flags_are_gunicorns_and_the_settings_own_names() {
    let settings = Start::new().settings(&[
        "-b",
        "127.0.0.1:1",
        "--bind=127.0.0.1:2",
        "-w2",
        "-k",
        "gthread",
        "--threads",
        "4",
        "-t",
        "0",
        "--keep-alive",
        "5",
        "--limit-request-field_size",
        "0",
        "-e",
        "A=1=2",
        "--env",
        "B=",
        "-p",
        "x.pid",
        "-m",
        "0027",
        "-n",
        "shop",
        "--access-logfile",
        "-",
        "--log-file",
        "err.log",
        "--log-level",
        "WARNING",
        "--graceful",
        "3",
        "--raw-env",
        "C=3",
        "--limit-request-body",
        "0",
        "hello",
    ]);
    assert_eq!(
        settings.bind.iter().map(ToString::to_string).collect::<Vec<_>>(),
        ["127.0.0.1:1", "127.0.0.1:2"]
    );
    assert_eq!((settings.workers, settings.threads, settings.umask), (2, 4, Some(0o27)));
    assert_eq!(
        (settings.timeout, settings.limit_request_field_size, settings.limit_request_body),
        (None, 0, None)
    );
    let env = [("A", "1=2"), ("B", ""), ("C", "3")].map(|(name, value)| (name.into(), value.into()));
    assert_eq!(settings.raw_env, env);
    assert_eq!(settings.graceful_timeout.as_secs(), 3);
    assert!(settings.pidfile.unwrap().is_absolute());
}

#[test]
fn a_repeated_flag_counts_once_the_last_time() {
    assert_eq!(Start::new().settings(&["hello", "-w", "2", "-w", "3"]).workers, 3);
}

#[test]
fn a_switch_or_a_value_of_the_file_can_be_taken_back() {
    let start = Start::with_file("daemon = true\naccesslog = \"-\"\nerrorlog = \"/dev/stdout\"\n");
    assert!(start.settings(&["hello"]).daemon);
    let settings = start.settings(&["hello", "--no-daemon", "--access-logfile", ""]);
    assert!(!settings.daemon && settings.accesslog.is_none());
    assert!(start.settings(&["hello", "--no-daemon", "-D"]).daemon);
}

#[test]
fn workers_may_be_as_many_as_there_are_processors() {
    let expected = std::thread::available_parallelism().unwrap().get();
    assert_eq!(Start::with_file("workers = \"auto\"\n").settings(&["hello"]).workers, expected);
    assert_eq!(Start::new().settings(&["hello", "-w", "auto"]).workers, expected);
}

#[test]
fn values_that_only_matter_together_are_checked() {
    let bind =
        Start::with_file("bind = [\"fd://3\", \"a:1\", \"fd://3\", \"a:0\", \"a:0\"]\n").refused(&["hello"]);
    assert_eq!(bind.0, ["gunicorn.toml:1: bind: fd://3 stands in the list twice"]);
    assert_eq!(
        Start::with_file("bind = []").refused(&["hello"]).0,
        ["gunicorn.toml:1: bind: expected at least one address"]
    );
    let (lines, _) = Start::new().refused(&["hello", "--threads", "8", "--worker-connections", "4"]);
    assert_eq!(lines, ["command line: --worker-connections: 4 connections leave some of the 8 threads idle"]);
    let (lines, _) = Start::with_file("initgroups = true\nchdir = \"gone\"\n").refused(&["hello"]);
    assert_eq!(
        lines[0],
        "gunicorn.toml:1: initgroups: needs `user`, with a name that the user database knows"
    );
    assert!(lines[1].starts_with("gunicorn.toml:2: chdir: ") && lines[1].ends_with("gone is no directory"));
}

#[test]
fn an_application_is_a_name_of_the_file_a_builtin_or_a_library() {
    let start = Start::with_file(
        "app = \"shop\"\n[apps.shop]\nlibrary = \"./lib/shop.so\"\nopen = 2026-01-02\nlimits = { max = 3, rate = 0.5 }\n\
         [apps.hello]\nbuiltin = \"static\"\nroot = \"/srv\"\n",
    );
    let dir = start.dir.path();
    let app = |arguments: &[&str]| start.settings(arguments).app;
    assert_eq!(app(&[]).name, "shop");
    assert_eq!(app(&[]).source, AppSource::Library(dir.join("lib/shop.so")));
    assert_eq!(app(&[]).config, r#"{"limits":{"max":3,"rate":0.5},"open":"2026-01-02"}"#);
    assert_eq!(app(&["hello"]).source, AppSource::Builtin("static".into()));
    assert_eq!(app(&["hello"]).config, r#"{"root":"/srv"}"#);
    assert_eq!(app(&["echo"]).source, AppSource::Builtin("echo".into()));
    assert_eq!(app(&["../x.so"]).source, AppSource::Library(dir.join("../x.so")));
    let (lines, code) = start.refused(&["shopp"]);
    assert_eq!(
        lines,
        [
            "command line: APP: there is no application \"shopp\": neither [apps.shopp] in the file, nor a built-in \
          (welcome, hello, echo, info, static), nor a library; did you mean shop?"
        ]
    );
    assert_eq!(code, Some(1));
    assert!(
        start.refused(&["shop:app"]).0[0]
            .ends_with("looks like a Python application, and Python is not supported yet")
    );
    let (lines, _) = Start::new().refused(&[]);
    assert_eq!(
        lines,
        ["no application is named: give APP on the command line, or app = \"NAME\" in the settings file"]
    );
}

#[test]
fn what_print_config_prints_is_a_file_with_the_same_settings() {
    let start = Start::with_file(
        "bind = [\"[::1]:0\", \"unix:run.sock\", \"fd://7\"]\nworkers = \"auto\"\ntimeout = \"1500ms\"\nkeepalive = 0.25\n\
         limit_request_body = 0\nbody_buffer_size = \"100KB\"\nraw_env = [\"A=\\\"x\\\" 'y'\\n\\\\\", \"B=\"]\numask = 0o27\n\
         proc_name = \"it's \\\"it\\\"\"\naccesslog = \"/dev/stderr\"\nerrorlog = \"logs/e.log\"\nuser = \"root\"\n\
         [apps.shop]\nlibrary = \"shop.so\"\nat = 2026-01-02T03:04:05Z\ntext = \"\"\"a\nb\"\"\"\nf = 1.0\n\
         list = [{ a = 1 }, { b = [true] }]\n[apps.shop.\"a b\".c]\nd = 1\n[apps.\"x.y\"]\nbuiltin = \"echo\"\n",
    );
    // Another user than root may not become root; the rest of the test does not depend on it.
    if !nix::unistd::geteuid().is_root() {
        let text = fs::read_to_string(start.dir.path().join("gunicorn.toml")).unwrap();
        start.write("gunicorn.toml", &text.replace("user = \"root\"\n", ""));
    }
    let arguments = ["shop", "--threads", "4", "--log-level", "debug"];
    let outcome = start.run(&[&arguments[..], &["--print-config"]].concat());
    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
    let before = start.settings(&arguments);
    start.write("printed.toml", &outcome.stdout);
    let after = start.settings(&["-c", "printed.toml"]);
    assert_eq!(before, after, "{}", outcome.stdout);
    let again = start.load(&["-c", "printed.toml"]).unwrap().print();
    let values = |text: &str| text.parse::<toml::Table>().unwrap();
    assert_eq!(values(&outcome.stdout), values(&again));
}

#[test]
fn the_sample_file_works_as_it_is_and_names_every_default() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let sample = fs::read_to_string(root.join("gunicorn.toml")).unwrap();
    let start = Start::with_file(&sample);
    let as_it_is = start.settings(&["app"]);
    assert_eq!(as_it_is.app.source, AppSource::Builtin("welcome".into()));
    let mut unset = false;
    let mut lines = Vec::new();
    for line in sample.lines() {
        let is_setting =
            line.strip_prefix('#').filter(|line| line.starts_with(|c: char| c.is_ascii_lowercase()));
        lines.push(is_setting.filter(|line| !unset && line.contains(" = ")).unwrap_or(line));
        unset = line == "# Not set by default. For example:";
    }
    let end = lines.iter().position(|line| line.starts_with("[apps")).unwrap() + 2;
    let with_defaults = Start::with_file(&lines[..end].join("\n"));
    assert_eq!(with_defaults.settings(&["app"]), as_it_is);
    assert!(lines.iter().filter(|line| !line.starts_with('#') && line.contains(" = ")).count() > 20);
}

#[test]
fn the_example_files_load() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("config");
    let mut count = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let loaded = Start::new().load(&["-c", path.to_str().unwrap()]);
        let needs_app = fs::read_to_string(&path).unwrap().lines().all(|line| !line.starts_with("app ="));
        let loaded =
            if needs_app { Start::new().load(&["-c", path.to_str().unwrap(), "hello"]) } else { loaded };
        loaded.unwrap_or_else(|problems| panic!("{problems}"));
        count += 1;
    }
    assert!(count >= 3);
}

#[test]
fn help_and_version_go_to_standard_output() {
    let start = Start::new();
    assert_eq!(start.run(&["-v"]).stdout, format!("unirs (version {})\n", env!("CARGO_PKG_VERSION")));
    let (short, long) = (start.run(&["-h"]).stdout, start.run(&["--help"]).stdout);
    for text in [&short, &long] {
        for heading in
            ["Server socket:", "Worker processes:", "Limits of a request:", "Server mechanics:", "Logging:"]
        {
            assert!(text.contains(heading), "{text}");
        }
        assert!(!text.contains("--certfile") && !text.contains("--no-daemon"), "{text}");
    }
    assert!(long.len() > 2 * short.len());
    assert!(short.lines().chain(long.lines()).all(|line| line.chars().count() <= 100));
}

/// A library whose constructor runs `statement`, made in the directory of `start`.
fn misbehaving(start: &Start, statement: &str) -> &'static str {
    let source = format!(
        "#include <stdlib.h>\n#include <unistd.h>\n__attribute__((constructor)) static void f(void) {{ {statement} }}"
    );
    start.write("app.c", &source);
    let folder = start.dir.path();
    let made = Command::new("cc")
        .args(["-shared", "-fPIC", "-o", "libapp.so", "app.c"])
        .current_dir(folder)
        .status();
    assert!(made.unwrap().success());
    "./libapp.so"
}

#[test]
fn check_config_refuses_an_application_that_ends_its_process_whatever_its_exit_code() {
    for (statement, words) in [
        ("exit(0);", "it exited with code 0"),
        ("_exit(1);", "it exited with code 1"),
        ("abort();", "it was sent SIGABRT"),
    ] {
        let start = Start::new();
        let outcome = start.run(&["--check-config", misbehaving(&start, statement)]);
        assert_eq!(outcome.code, Some(1), "{statement}");
        assert_eq!(outcome.stderr, format!("Error: the application does not load: {words}\n"), "{statement}");
    }
}

#[test]
fn check_config_waits_for_an_application_no_longer_than_boot_timeout() {
    let start = Start::new();
    let library = misbehaving(&start, "for (;;) pause();");
    let outcome = start.run(&["--check-config", "--boot-timeout", "200ms", library]);
    assert_eq!(outcome.code, Some(1));
    let words = "Error: the application does not load: it was not ready within boot_timeout\n";
    assert_eq!(outcome.stderr, words);
}
