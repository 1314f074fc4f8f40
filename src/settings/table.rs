//! The table: one row for each setting, from which come the struct, the keys of the file, the command line, the help,
//! `--print-config`, the reference page and the sample. A row's doc comment is its help: its first paragraph is the
//! short one, differences from Gunicorn come last.

use std::path::PathBuf;
use std::time::Duration;

use super::address::Address;
use super::apps::Application;
use super::identity::{GroupName, UserName};
use super::kind::{
    Class, Context, FieldValue, FilePath, Kind, Level, Many, Number, Optional, Switch, Target, Text,
    Underscores, Variable, Workers,
};
use super::layers::Layers;
use super::units::{Bytes, Mask, Size, SizeLimit, Time, TimeLimit};
use super::value::{Raw, Refused};
use super::{AppSpec, Bind, Group, HeaderMap, LogLevel, LogTarget, User, WorkerClass};

/// What the table says of one setting.
#[derive(Clone, Copy)]
pub struct Setting {
    /// Its key in the file; Gunicorn's where it has the setting.
    pub name: &'static str,
    /// The heading that it stands under.
    pub section: &'static str,
    /// Paragraphs, with an empty line between them.
    pub help: &'static str,
    /// As typed; the first of the long ones is its name in messages. None: it is an argument, not a flag.
    pub flags: &'static [&'static str],
    /// What stands for the value in the help; empty: on or off.
    pub value: &'static str,
    /// As TOML; `None`: not set.
    pub default: Option<&'static str>,
    /// As TOML, for the sample, where there is no default.
    pub example: &'static str,
    /// What may stand in for the default.
    pub environment: Option<Environment>,
    /// Whether the flag may be given more than once.
    pub many: bool,
    /// Whether the file may set it.
    pub in_file: bool,
    pub(super) check: fn(&Raw, &Context<'_>) -> Result<(), Refused>,
}

/// A variable that stands in for a default.
#[derive(Clone, Copy)]
pub struct Environment {
    /// Its name.
    pub name: &'static str,
    /// The setting's value, in which `{}` is the variable's.
    pub form: &'static str,
    /// For the message, if it is refused.
    pub expected: &'static str,
}

impl Setting {
    /// The long flag that names the setting in messages: `--workers`; an argument's name for an argument.
    pub fn flag(&self) -> &'static str {
        self.flags.iter().copied().find(|flag| flag.starts_with("--")).unwrap_or(self.value)
    }

    const ROW: Setting = Setting {
        name: "",
        section: "",
        help: "",
        flags: &[],
        value: "",
        default: None,
        example: "",
        environment: None,
        many: false,
        in_file: true,
        check: |_, _| Ok(()),
    };
}

/// Every row, in the order of the help.
pub fn table() -> impl Iterator<Item = &'static Setting> {
    SETTINGS.iter().chain(INVOCATION).chain([&CONFIG])
}

/// What a struct of rows can do.
pub(super) trait Rows: Sized {
    /// `None`: a value that nothing sets and that has no default, or one that was not checked.
    fn read(layers: &Layers<'_>) -> Option<Self>;

    /// Name and TOML of each; `None`: not set.
    fn write(&self) -> Vec<(&'static str, Option<String>)>;
}

/// Makes of the rows below a struct with their names, types and help, and a list of [`Setting`]s.
macro_rules! rows {
    ($(#[$about:meta])+ $vis:vis struct $Struct:ident, $ROWS:ident;
     $( in $section:literal { $( $(#[doc = $help:literal])+ $name:ident: $type:ty = $kind:ty { $($key:ident: $value:expr),* $(,)? } )+ } )+
    ) => {
        $(#[$about])+
        $vis struct $Struct {
            $($( $(#[doc = $help])+ pub $name: $type, )+)+
        }

        const $ROWS: &[Setting] = &[
            $($( Setting {
                name: stringify!($name),
                section: $section,
                help: concat!($($help, "\n"),+),
                check: |raw, context| <$kind as Kind>::read(raw, context).map(drop),
                $($key: $value,)*
                ..Setting::ROW
            }, )+)+
        ];

        impl Rows for $Struct {
            fn read(layers: &Layers<'_>) -> Option<$Struct> {
                Some($Struct { $($( $name: layers.read::<$kind>(stringify!($name))?, )+)+ })
            }

            fn write(&self) -> Vec<(&'static str, Option<String>)> {
                vec![ $($( (stringify!($name), <$kind as Kind>::write(&self.$name)), )+)+ ]
            }
        }
    };
}

rows! {
    /// Everything that was settled before the start, or at a reload.
    #[derive(Clone, Debug, PartialEq)]
    pub struct Settings, SETTINGS;

    in "Application" {
        /// The application to serve.
        ///
        /// In this order: the name of a table `[apps.NAME]` of the settings file; one of the built-ins `welcome`,
        /// `hello`, `echo`, `info` and `static`; the path of a shared library. The argument APP of the command line
        /// takes the place of this key.
        ///
        /// A table `[apps.NAME]` has either `library = "PATH"` or `builtin = "NAME"`; its other keys are handed to the
        /// application as they are. In Gunicorn this is `wsgi_app`, which names a Python object.
        app: AppSpec = Application { value: "APP", example: "\"app\"" }
    }

    in "Server socket" {
        /// An address to listen on; may be given more than once.
        ///
        /// `HOST:PORT`, `[IPV6]:PORT`, `unix:PATH`, or `fd://N` for a socket that was inherited. Without a port: 8000.
        /// Without a host (`:8000`): all IPv4 addresses. Port 0: any free one, which the log names. A list replaces the
        /// list of an earlier source. If nothing sets it and the environment has `PORT`, it is `0.0.0.0:$PORT`.
        ///
        /// Unlike in Gunicorn, `fd://N` may stand beside other addresses (Gunicorn drops those without a word), and
        /// abstract Unix sockets are not supported yet.
        bind: Vec<Bind> = Many<Address> {
            flags: &["-b", "--bind"], value: "ADDRESS", default: Some("[\"127.0.0.1:8000\"]"), many: true,
            environment: Some(Environment { name: "PORT", form: "0.0.0.0:{}", expected: "a port" }),
        }

        /// How many connections to an address may wait to be accepted.
        ///
        /// The kernel cuts it to `net.core.somaxconn`.
        backlog: u32 = Number<u32, 1, 2147483647> { flags: &["--backlog"], value: "NUMBER", default: Some("2048") }
    }

    in "Worker processes" {
        /// How many worker processes serve requests: a number, or "auto".
        ///
        /// `"auto"` is one for each processor that the server may use: its CPU affinity and the CPU quota of its
        /// cgroup, rounded down, at least one. It is counted anew at each reload. If nothing sets it and the
        /// environment has `WEB_CONCURRENCY`, it is that.
        ///
        /// Unlike in Gunicorn, 0 is refused.
        workers: usize = Workers {
            flags: &["-w", "--workers"], value: "NUMBER", default: Some("1"),
            environment: Some(Environment { name: "WEB_CONCURRENCY", form: "{}", expected: "a number or \"auto\"" }),
        }

        /// How a worker calls the application: "sync" or "threaded".
        ///
        /// `sync`: one call at a time. `threaded`: as many at a time as there are `threads`. In both classes slow
        /// clients and idle connections hold no thread. `gthread` is another name of `threaded`, and `sync` with more
        /// than one thread means `threaded`, as in Gunicorn, whose other classes belong to Python.
        worker_class: WorkerClass = Class {
            flags: &["-k", "--worker-class"], value: "CLASS", default: Some("\"sync\""),
        }

        /// How many threads of each worker call the application.
        threads: usize = Number<usize, 1, 4096> { flags: &["--threads"], value: "NUMBER", default: Some("1") }

        /// The most connections that a worker holds, idle ones included.
        ///
        /// A worker that holds so many leaves new ones to others, or to the backlog. Unlike in Gunicorn, it is heeded
        /// in every class.
        worker_connections: usize = Number<usize, 1, 1000000> {
            flags: &["--worker-connections"], value: "NUMBER", default: Some("1000"),
        }

        /// How long a call may be silent before its worker is replaced; 0: for ever.
        ///
        /// It is the time between two contacts with the server: from the call, or from the last read, write or flush.
        /// So long downloads, slow clients and idle workers are not killed. An application that is silent on purpose
        /// asks for more time. In Gunicorn it is the time since the worker last gave a sign of life.
        timeout: Option<Duration> = TimeLimit { flags: &["-t", "--timeout"], value: "TIME", default: Some("30") }

        /// How long a worker may take until it is ready to serve; 0: for ever.
        ///
        /// It covers loading and starting the application. Gunicorn has no such limit.
        boot_timeout: Option<Duration> = TimeLimit { flags: &["--boot-timeout"], value: "TIME", default: Some("60") }

        /// How many workers more than `workers` may run while a reload exchanges them; unset: a quarter, at least 1.
        ///
        /// A reload boots one new worker first. When that is ready, so many boot at a time beyond `workers`, and an old
        /// one retires for each that is ready. A worker that only finishes what it has in flight is not counted. More
        /// is faster and takes more memory. In Gunicorn a reload boots `workers` new ones at once.
        max_surge: Option<usize> = Optional<Number<usize, 1, 4096>> {
            flags: &["--max-surge"], value: "NUMBER", example: "1",
        }

        /// How long a worker that stops may go on with what is in flight.
        ///
        /// A worker that is still there then is killed.
        graceful_timeout: Duration = Time { flags: &["--graceful-timeout"], value: "TIME", default: Some("30") }

        /// How long the server goes on as before when it is asked to stop (TERM); 0: not at all.
        ///
        /// A load balancer needs a while until it sends no more newcomers: until then everybody is served as ever, and
        /// nobody is refused. Then the stop begins, and `graceful_timeout` with it. A second TERM ends the wait; INT and
        /// QUIT do not wait at all. What manages the service has to allow for both times (Kubernetes:
        /// `terminationGracePeriodSeconds`; systemd is told). Gunicorn has no such setting.
        drain_delay: Duration = Time { flags: &["--drain-delay"], value: "TIME", default: Some("0") }

        /// How long an idle connection is kept for another request; 0: not at all.
        ///
        /// Unlike in Gunicorn, `sync` keeps connections too; there, the next request on one waits for the call that
        /// its worker is busy with. A worker that has more than twice the connections of another ends some with their next
        /// answer, so that they come again and are shared evenly.
        keepalive: Duration = Time { flags: &["--keep-alive"], value: "TIME", default: Some("2") }

        /// How many requests a worker answers before it is replaced; 0: no limit.
        ///
        /// Against leaks. Unlike in Gunicorn, where the worker leaves and then gets a successor, the successor is ready
        /// before the worker leaves, one at a time; until then it serves on, so it answers a few more.
        max_requests: u64 = Number<u64, 0, 1000000000000> { flags: &["--max-requests"], value: "NUMBER", default: Some("0") }

        /// The most requests that are added to `max_requests` for a worker.
        ///
        /// Drawn by lot for each worker, so that workers that share the requests evenly are not all due at once. Without
        /// `max_requests` it means nothing.
        max_requests_jitter: u64 = Number<u64, 0, 1000000000000> {
            flags: &["--max-requests-jitter"], value: "NUMBER", default: Some("0"),
        }

        /// How long a worker serves before it is replaced; 0: for ever.
        ///
        /// The successor is ready before the worker leaves, one at a time. Gunicorn has no such setting.
        max_worker_lifetime: Option<Duration> = TimeLimit {
            flags: &["--max-worker-lifetime"], value: "TIME", default: Some("0"),
        }

        /// How much memory of its own a worker may use before it is replaced; 0: no limit.
        ///
        /// It is what the worker has allocated and written, in memory or in swap: `RssAnon` and `VmSwap` of
        /// `/proc/PID/status`. Code and mapped files do not count: they are shared and do not leak, and `ps` shows them in RSS. Looked
        /// at every 5 seconds. What is in flight is finished, and the successor is ready before the worker leaves, one at a
        /// time; so this bounds leaks, not what a single request can take. Gunicorn has no such setting.
        max_worker_memory: Option<u64> = SizeLimit {
            flags: &["--max-worker-memory"], value: "SIZE", default: Some("0"),
        }
    }

    in "Limits of a request" {
        /// The longest request line, in bytes; 0: no limit of its own.
        ///
        /// A longer one is answered with 414. The head as a whole has at most 64 KiB in any case. Unlike in Gunicorn,
        /// values above 8190 are heeded.
        limit_request_line: usize = Size<0, 1073741824> {
            flags: &["--limit-request-line"], value: "SIZE", default: Some("4094"),
        }

        /// The most header fields that a request may have.
        ///
        /// More are answered with 431.
        limit_request_fields: usize = Number<usize, 1, 32768> {
            flags: &["--limit-request-fields"], value: "NUMBER", default: Some("100"),
        }

        /// The longest header field, in bytes; 0: no limit of its own.
        ///
        /// Name, colon, value and line end count. A longer one is answered with 431. The head as a whole has at most 64 KiB in any case. Gunicorn's spelling
        /// of the flag has an underscore; both are taken.
        limit_request_field_size: usize = Size<0, 1073741824> {
            flags: &["--limit-request-field-size", "--limit-request-field_size"], value: "SIZE", default: Some("8190"),
        }

        /// The largest body of a request; 0: no limit.
        ///
        /// A larger one is answered with 413 before it is read. Gunicorn has no such limit.
        limit_request_body: Option<u64> = SizeLimit {
            flags: &["--limit-request-body"], value: "SIZE", default: Some("\"1GiB\""),
        }

        /// How long a client may take to send the head of a request; 0: for ever.
        ///
        /// It begins with the head's first byte, and on a new connection with its acceptance. A client that takes
        /// longer is answered with 408. Gunicorn has no such limit.
        header_timeout: Option<Duration> = TimeLimit {
            flags: &["--header-timeout"], value: "TIME", default: Some("15"),
        }

        /// How long the body of a request may pause; 0: for ever.
        ///
        /// It begins anew with each byte that arrives. Gunicorn has no such limit.
        body_timeout: Option<Duration> = TimeLimit { flags: &["--body-timeout"], value: "TIME", default: Some("30") }

        /// How long a client may read nothing of a response; 0: for ever.
        ///
        /// It begins anew with each byte that the client takes. Gunicorn has no such limit.
        write_timeout: Option<Duration> = TimeLimit { flags: &["--write-timeout"], value: "TIME", default: Some("30") }

        /// How much of a body is read before the application is called.
        ///
        /// The application is called when the body is complete, or when this much of it is there; the rest it then
        /// reads as it comes. So a client that sends slowly holds no thread. Gunicorn calls at once.
        body_buffer_size: usize = Size<1024, 1073741824> {
            flags: &["--body-buffer-size"], value: "SIZE", default: Some("\"128KiB\""),
        }
    }

    in "HTTP" {
        /// The Server field of every response; "": none.
        ///
        /// An application that sets the field itself has the last word. Gunicorn always sends its own name and has no
        /// such setting.
        server_header: Option<String> = FieldValue {
            flags: &["--server-header"], value: "TEXT", default: Some("\"unirs\""),
        }

        /// What becomes of header fields whose names have an underscore: "drop", "refuse" or "dangerous".
        ///
        /// `drop`: the application does not see them. `refuse`: the request is answered with 400. `dangerous`: the
        /// application gets them. Applications that make variables of field names write `_` for `-`: to them
        /// `X_Forwarded_For`, which any client can send, is the `X-Forwarded-For` that a proxy has set.
        header_map: HeaderMap = Underscores {
            flags: &["--header-map"], value: "WAY", default: Some("\"drop\""),
        }

        /// Accept header fields that are folded over several lines. Dangerous.
        ///
        /// The lines are joined with one space. HTTP has given folding up: a proxy in front that reads such a field
        /// differently can be made to let another request through than it has checked. Trailers are not folded in any
        /// case.
        permit_obsolete_folding: bool = Switch { flags: &["--permit-obsolete-folding"], default: Some("false") }

        /// Accept white space between a header field's name and the colon, and take it out. Dangerous.
        ///
        /// A proxy in front that takes `Content-Length : 5` for an unknown field and passes it on can be made to
        /// smuggle requests.
        strip_header_spaces: bool = Switch { flags: &["--strip-header-spaces"], default: Some("false") }

        /// Accept any token as a method.
        ///
        /// Else a method has 3 to 20 characters, no lower-case letters and no `#`. Methods are case-sensitive: `get`
        /// is not `GET`, and a check of the application or of a proxy that knows only `GET` does not see it. CONNECT
        /// is refused in any case.
        permit_unconventional_http_method: bool = Switch {
            flags: &["--permit-unconventional-http-method"], default: Some("false"),
        }

        /// Accept any version of the form HTTP/1.1.
        ///
        /// Else all but 1.0 and 1.1 are answered with 505. What is below 1.0 is read as 1.0, all else as 1.1, so that
        /// a client that speaks another protocol is misunderstood. Unlike in Gunicorn, 1.2 to 1.9 need it too.
        permit_unconventional_http_version: bool = Switch {
            flags: &["--permit-unconventional-http-version"], default: Some("false"),
        }

        /// Make methods upper-case.
        ///
        /// Methods are case-sensitive: a proxy in front that checks methods sees `delete` and not `DELETE`. In
        /// Gunicorn it works only beside `permit_unconventional_http_method`.
        casefold_http_method: bool = Switch { flags: &["--casefold-http-method"], default: Some("false") }
    }

    in "Server mechanics" {
        /// The directory in which the workers load the application and run.
        ///
        /// Paths of this file and of the command line do not depend on it: they begin at the directory in which the
        /// server was started. In Gunicorn they begin here.
        chdir: Option<PathBuf> = Optional<FilePath> { flags: &["--chdir"], value: "DIR", example: "\"/srv/shop\"" }

        /// Load and start the application once for each generation, in a process that then forks the workers.
        ///
        /// The workers share the memory that the application has filled at its start, and are there sooner. Its `start`
        /// runs once, in that process (the mold), its `post_fork` in each worker: connections are made there, and
        /// threads; an application that has started threads before is refused. Unlike in Gunicorn, HUP loads new code
        /// (it makes a new mold), and the master itself loads none.
        preload_app: bool = Switch { flags: &["--preload"], default: Some("false") }

        /// The largest library that is copied into memory before it is loaded, in bytes; 0: none is.
        ///
        /// The workers of a generation run that copy, so whoever overwrites, truncates or deletes the file harms
        /// nobody, and a worker that is started later runs the code of the others. It takes as much memory once, for all
        /// workers. A larger library, and one that looks for others beside itself (`$ORIGIN`), is loaded from its path:
        /// then install a new one by rename. Gunicorn has no such setting.
        image_limit: u64 = Bytes {
            flags: &["--image-limit"], value: "SIZE", default: Some("\"256MiB\""),
        }

        /// Go into the background.
        ///
        /// The starting process ends when the server serves, or exits with an error when it does not come up. Set
        /// `errorlog` to a file: standard output and error lead nowhere then. Under systemd leave it off.
        daemon: bool = Switch { flags: &["-D", "--daemon"], default: Some("false") }

        /// A variable for the environment of the workers; may be given more than once.
        ///
        /// A list replaces the list of an earlier source.
        raw_env: Vec<(String, String)> = Many<Variable> {
            flags: &["-e", "--env"], value: "NAME=VALUE", default: Some("[]"), many: true,
            example: "[\"SHOP_MODE=production\"]",
        }

        /// The file that the master's process number is written to.
        ///
        /// It is locked while the server runs, so one that was left behind does not hinder a start. Beside it, the file
        /// `PIDFILE.reload` says how the last reload ended; `unirs reload` waits for it.
        pidfile: Option<PathBuf> = Optional<FilePath> {
            flags: &["-p", "--pid"], value: "FILE", example: "\"unirs.pid\"",
        }

        /// The user that the workers run as, by name or number.
        ///
        /// It needs a server that is started as root. The master stays what it is.
        /// Supplementary groups are dropped, or set with `initgroups`; Gunicorn keeps
        /// those of root.
        user: Option<User> = Optional<UserName> { flags: &["-u", "--user"], value: "USER", example: "\"www-data\"" }

        /// The group that the workers run as, by name or number.
        ///
        /// It needs a server that is started as root. Unset, it is the primary group of `user`; in Gunicorn it is then the group of the master.
        group: Option<Group> = Optional<GroupName> {
            flags: &["-g", "--group"], value: "GROUP", example: "\"www-data\"",
        }

        /// Give the workers the supplementary groups of `user`.
        initgroups: bool = Switch { flags: &["--initgroups"], default: Some("false") }

        /// The permissions that new files of the workers, and Unix sockets, do not get.
        ///
        /// Unset, it is what the server was started with. Write it as text, in octal: `umask = "0022"`. A bare number is decimal in TOML: `umask = 22` is 0026, and
        /// `umask = 0o022` is what was meant. On the command line a leading 0 makes it octal, as in Gunicorn.
        ///
        /// Gunicorn's default is 0, which never reached its workers.
        umask: Option<u32> = Optional<Mask> { flags: &["-m", "--umask"], value: "MASK", example: "\"0022\"" }

        /// The name of the server in the titles of its processes.
        ///
        /// `ps` shows `unirs: master [NAME]` and `unirs: worker [NAME]`. Unset, it is the name of the application.
        proc_name: Option<String> = Optional<Text> { flags: &["-n", "--name"], value: "NAME", example: "\"shop\"" }
    }

    in "Logging" {
        /// The file of the access log; "-": standard output.
        ///
        /// Unset, there is no access log. The file is opened anew at USR1.
        accesslog: Option<LogTarget> = Optional<Target<true>> {
            flags: &["--access-logfile"], value: "FILE", example: "\"-\"",
        }

        /// The format of a line of the access log.
        ///
        /// Text with atoms such as `%(h)s`. h: client's address. l: "-". u: user of basic authentication. t: time. r: request line. m: method. U: path.
        /// q: query. H: protocol. s: status. B: bytes of the body. b: the same, or "-". f: referer. a: user agent.
        /// T: seconds. M: milliseconds. D: microseconds. L: seconds with fraction. p: process. `%({name}i)s`: a field
        /// of the request. `%({name}o)s`: one of the response. `%({name}e)s`: a variable of the request. `%%`: a percent
        /// sign.
        access_log_format: String = Text {
            flags: &["--access-logformat"], value: "FORMAT",
            default: Some("'%(h)s %(l)s %(u)s %(t)s \"%(r)s\" %(s)s %(b)s \"%(f)s\" \"%(a)s\"'"),
        }

        /// The file of the error log; "-": standard error.
        ///
        /// It is opened anew at USR1.
        errorlog: LogTarget = Target<false> {
            flags: &["--error-logfile", "--log-file"], value: "FILE", default: Some("\"-\""),
        }

        /// The least serious message that the error log takes.
        ///
        /// `debug`, `info`, `warning`, `error` or `critical`. Unlike in Gunicorn, another word is refused.
        loglevel: LogLevel = Level { flags: &["--log-level"], value: "LEVEL", default: Some("\"info\"") }
    }
}

rows! {
    /// What else a start may be asked for.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Invocation, INVOCATION;

    in "Command line" {
        /// Check the configuration, load the application, and exit.
        ///
        /// The application is loaded in a process of its own. The exit code is 0 if all is well.
        check_config: bool = Switch { flags: &["--check-config"], default: Some("false") }

        /// Print every setting with its value and where it came from, and exit.
        ///
        /// What is printed is itself a settings file.
        print_config: bool = Switch { flags: &["--print-config"], default: Some("false") }
    }
}

const CONFIG: Setting = Setting {
    name: "config",
    section: "Command line",
    help: " The settings file, in TOML.\n\n Unset, it is `gunicorn.toml` in the directory of the start, if that exists. \
           It is read again at each reload. `file:PATH` is the same as PATH. Gunicorn's file is Python, which unirs does \
           not run.\n",
    flags: &["-c", "--config"],
    value: "FILE",
    in_file: false,
    ..Setting::ROW
};

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn every_default_and_example_is_a_value_of_its_setting() {
        let context = Context { start_dir: Path::new("/"), apps: None };
        for setting in table().filter(|setting| setting.in_file) {
            if let Some(default) = setting.default {
                assert_eq!((setting.check)(&Raw::toml(default), &context), Ok(()), "{}", setting.name);
            }
            // Whether there is such a user or application depends on the machine and the file.
            let example = Raw::toml(setting.default.unwrap_or(setting.example));
            let malformed =
                (setting.check)(&example, &context).err().is_some_and(|Refused(faults)| faults[0].malformed);
            assert!(!malformed, "{}", setting.name);
        }
    }

    #[test]
    fn every_row_is_complete() {
        for setting in table() {
            assert!(!setting.help.contains("///"), "{}", setting.name);
            assert!(setting.help.trim().ends_with('.'), "{}", setting.name);
            assert!(!setting.section.is_empty() && !setting.flag().is_empty(), "{}", setting.name);
            assert!(
                setting.default.is_some() || !setting.example.is_empty() || !setting.in_file,
                "{}",
                setting.name
            );
        }
    }
}
