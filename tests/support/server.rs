//! `Server`: the real binary in its own folder, on its own port, in its own process group, killed by id when the test
//! ends, its log shown when the test fails.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, OpenOptions};
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use nix::sys::signal::Signal;
use nix::unistd::Pid;
use tempfile::TempDir;

use super::client::{Answer, Client, Response};
use super::config::Config;
use super::notify::Notify;
use super::{DEADLINE, compile_stubborn, process, test_app, unirs, wait_until, wait_within};

/// A server that is not started yet.
pub(crate) struct Setup {
    dir: TempDir,
    config: Config,
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
    app: String,
    /// Given to the server as descriptors 3, 4, ...: the first of them; with LISTEN_FDS when `activated`.
    inherited: Option<OwnedFd>,
    activated: bool,
    stderr: Option<Stdio>,
    stdout: Option<Stdio>,
    /// Another path of the program.
    program: PathBuf,
    /// The whole command line and its folder, where a test gives them as they are.
    as_written: Option<(Vec<String>, PathBuf)>,
}

impl Setup {
    /// The application `app` of the file: the suite's own library; one worker, a free port.
    pub(crate) fn new() -> Setup {
        let dir = tempfile::Builder::new().prefix("unirs-").tempdir().expect("a temporary folder");
        Setup {
            dir,
            config: Config::new(),
            arguments: Vec::new(),
            environment: Vec::new(),
            app: "app".to_owned(),
            inherited: None,
            activated: false,
            stderr: None,
            stdout: None,
            program: unirs(),
            as_written: None,
        }
    }

    /// One setting of the file.
    pub(crate) fn set(mut self, name: &str, value: impl Into<toml::Value>) -> Setup {
        self.config = self.config.set(name, value);
        self
    }

    /// Changes the file in any other way.
    pub(crate) fn configure(mut self, change: impl FnOnce(Config) -> Config) -> Setup {
        self.config = change(self.config);
        self
    }

    /// A built-in application instead of the library.
    pub(crate) fn builtin(self, name: &str) -> Setup {
        self.configure(|config| config.builtin(name))
    }

    /// The suite's application in C (`stubborn.c`) instead of the one in Rust.
    pub(crate) fn stubborn(self) -> Setup {
        let library = compile_stubborn(self.dir());
        self.configure(|config| config.library(&library))
    }

    /// The program under another path, which is a symbolic link that a test can change.
    pub(crate) fn program(mut self, path: &Path) -> Setup {
        std::os::unix::fs::symlink(unirs(), path).expect("the temporary folder takes a link");
        path.clone_into(&mut self.program);
        self
    }

    /// One more command-line argument, before the application's name.
    pub(crate) fn arg(mut self, argument: impl Into<String>) -> Setup {
        self.arguments.push(argument.into());
        self
    }

    /// The command line as it is, in this folder; the file of this helper is not named.
    pub(crate) fn command_line(mut self, arguments: Vec<String>, folder: &Path) -> Setup {
        self.as_written = Some((arguments, folder.to_owned()));
        self
    }

    /// Another APP on the command line.
    pub(crate) fn app(mut self, name: &str) -> Setup {
        self.app = name.to_owned();
        self
    }

    /// One environment variable.
    pub(crate) fn env(mut self, name: &str, value: impl Into<String>) -> Setup {
        self.environment.push((name.to_owned(), value.into()));
        self
    }

    /// A descriptor that the server inherits as number 3; with `LISTEN_FDS=1` and `LISTEN_PID` when activated.
    pub(crate) fn inherit(mut self, descriptor: OwnedFd, activated: bool) -> Setup {
        self.inherited = Some(descriptor);
        self.activated = activated;
        self
    }

    /// Another standard error; [`Server::log`] then has only `errorlog`.
    pub(crate) fn stderr(mut self, stderr: impl Into<Stdio>) -> Setup {
        self.stderr = Some(stderr.into());
        self
    }

    /// Another standard output.
    pub(crate) fn stdout(mut self, stdout: impl Into<Stdio>) -> Setup {
        self.stdout = Some(stdout.into());
        self
    }

    /// Workers of another identity, which can read the folder and the library in it, and write nothing.
    pub(crate) fn user(self, name: &str) -> Setup {
        let library = self.dir().join("libapp.so");
        fs::copy(test_app(), &library).expect("a copy of the library");
        fs::set_permissions(self.dir(), fs::Permissions::from_mode(0o755)).expect("a folder of our own");
        self.set("user", name).configure(|config| config.library(&library))
    }

    /// The folder of this server: also its working directory.
    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Starts, and waits until every worker is Ready (sd_notify says so).
    pub(crate) fn start(self) -> Server {
        let server = self.spawn();
        server.wait_ready();
        server
    }

    /// Starts, and waits for nothing.
    pub(crate) fn spawn(mut self) -> Server {
        let notify = Notify::bind(&self.dir.path().join("notify.sock"));
        self.config.write(&self.dir.path().join(CONFIG));
        let (stdout, stderr) = (self.stdout.take(), self.stderr.take());
        let mut command = self.command();
        command.env("NOTIFY_SOCKET", notify.path());
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command.stderr(stderr.unwrap_or_else(|| append(&self.dir.path().join(STDERR)).into()));
        command.stdout(stdout.unwrap_or_else(|| append(&self.dir.path().join(STDOUT)).into()));
        let child = command.spawn().expect("the server's binary can be run");
        let master = Pid::from_raw(i32::try_from(child.id()).expect("a pid"));
        Server { dir: self.dir, config: self.config, notify, child, master, exit: None }
    }

    /// Starts, expects that the server gives up by itself, and says how.
    pub(crate) fn fail(self) -> Failure {
        let mut server = self.spawn();
        let code = server.wait_exit();
        Failure { code, log: server.log() }
    }

    /// A shell puts an inherited descriptor in its place and knows its own pid, which the server then has.
    fn command(&mut self) -> Command {
        let mut command = match self.inherited.take() {
            None => Command::new(&self.program),
            Some(descriptor) => {
                let activation = if self.activated { "export LISTEN_PID=$$ LISTEN_FDS=1;" } else { "" };
                let mut shell = Command::new("sh");
                shell
                    .arg("-c")
                    .arg(format!("exec 3<&0 0</dev/null; {activation} exec \"$0\" \"$@\""))
                    .arg(&self.program);
                shell.stdin(Stdio::from(descriptor));
                shell
            }
        };
        command.process_group(0);
        for name in ["PORT", "WEB_CONCURRENCY", "UNIRS_CMD_ARGS", "LISTEN_FDS", "LISTEN_PID"] {
            command.env_remove(name);
        }
        match &self.as_written {
            Some((arguments, folder)) => command.current_dir(folder).args(arguments),
            None => command
                .current_dir(self.dir.path())
                .arg("-c")
                .arg(CONFIG)
                .args(&self.arguments)
                .arg(&self.app),
        };
        command
    }
}

const CONFIG: &str = "unirs.toml";
const STDERR: &str = "stderr.log";
const STDOUT: &str = "stdout.log";

/// How a server gave up.
pub(crate) struct Failure {
    pub(crate) code: i32,
    pub(crate) log: String,
}

impl Failure {
    /// The exit code and something that the log says.
    pub(crate) fn assert(&self, code: i32, sentence: &str, scenario: &str) {
        assert_eq!(self.code, code, "{scenario}: exit code; the log:\n{}", self.log);
        assert!(self.log.contains(sentence), "{scenario}: the log does not say {sentence:?}:\n{}", self.log);
    }
}

/// A server that was started.
pub(crate) struct Server {
    dir: TempDir,
    config: Config,
    notify: Notify,
    /// What was started: the master, or in daemon mode its starter.
    child: Child,
    master: Pid,
    exit: Option<ExitStatus>,
}

impl Server {
    /// A server with `workers` workers and the suite's application.
    pub(crate) fn with_workers(workers: i64) -> Server {
        Setup::new().set("workers", workers).start()
    }

    /// The folder of this server.
    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// A path in that folder.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The master's process id; in daemon mode after [`Server::adopt_daemon`].
    pub(crate) fn master(&self) -> Pid {
        self.master
    }

    /// What the server has said by sd_notify.
    pub(crate) fn notify(&self) -> &Notify {
        &self.notify
    }

    /// The whole log so far: standard error, and `error.log` where a test has set it so.
    pub(crate) fn log(&self) -> String {
        let mut text = self.read(STDERR);
        text += &self.read("error.log");
        text
    }

    /// A file of the folder as text; empty when there is none.
    pub(crate) fn read(&self, name: &str) -> String {
        fs::read(self.path(name))
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
            .unwrap_or_default()
    }

    /// How many lines of the log have this in them.
    pub(crate) fn count_log(&self, text: &str) -> usize {
        self.log().lines().filter(|line| line.contains(text)).count()
    }

    /// Waits until `count` lines of the log have this in them.
    pub(crate) fn wait_for_log(&self, text: &str, count: usize) {
        wait_until(format_args!("the log says {text:?} {count} times"), || {
            (self.count_log(text) >= count).then_some(())
        });
    }

    /// Waits until every worker is Ready.
    pub(crate) fn wait_ready(&self) {
        wait_until("READY=1, or the end of the server", || {
            (self.notify.has("READY=1") || process::is_dead(self.master)).then_some(())
        });
        assert!(self.notify.has("READY=1"), "the server did not come up");
    }

    /// Every address that a line `Listening at: http://127.0.0.1:8000 (PID)` has named, without `http://`.
    pub(crate) fn addresses(&self) -> Vec<String> {
        wait_until("the log says where the server listens", || {
            let mut all: Vec<String> = Vec::new();
            for line in self.log().lines() {
                let Some((_, rest)) = line.split_once("Listening at: ") else {
                    continue;
                };
                let (list, _pid) = rest.rsplit_once(" (")?;
                let bare = list.split(',').map(|url| url.trim().trim_start_matches("http://").to_owned());
                all.extend(bare.filter(|address| !all.contains(address)).collect::<Vec<_>>());
            }
            (!all.is_empty()).then_some(all)
        })
    }

    /// The first TCP address.
    pub(crate) fn address(&self) -> SocketAddr {
        let all = self.addresses();
        all.iter()
            .find_map(|text| text.parse().ok())
            .unwrap_or_else(|| panic!("no TCP address among {all:?}"))
    }

    /// A new connection to the first TCP address.
    pub(crate) fn client(&self) -> Client {
        Client::tcp(self.address()).unwrap_or_else(|broken| panic!("cannot connect to the server: {broken}"))
    }

    /// One request on a connection of its own.
    pub(crate) fn try_get(&self, target: &str) -> Answer {
        Client::tcp(self.address())?.last_get(target)
    }

    /// One request on a connection of its own that has to be answered.
    pub(crate) fn get(&self, target: &str) -> Response {
        self.try_get(target).unwrap_or_else(|broken| panic!("GET {target}: {broken}"))
    }

    /// Sends a request that the suite's application does not answer before [`Server::release`], and waits until it is
    /// in the application. Each name once.
    pub(crate) fn hold(&self, client: &mut Client, name: &str) {
        client.send(format!("GET /hold/{name} HTTP/1.1\r\nHost: a\r\n\r\n")).expect("a request");
        let held = self.path(&format!("{name}.held"));
        wait_until(format_args!("the request {name} is in the application"), || held.exists().then_some(()));
    }

    /// Lets the request be answered that [`Server::hold`] has sent.
    pub(crate) fn release(&self, name: &str) {
        fs::write(self.path(name), "").expect("the temporary folder takes a file");
    }

    /// Sends a signal to the master.
    pub(crate) fn signal(&self, signal: Signal) {
        process::signal(self.master, signal);
    }

    /// The workers: every living child of the master that calls itself one. A child that was forked a moment ago, and
    /// those that are there for something else, do not.
    pub(crate) fn workers(&self) -> Vec<Pid> {
        let mut workers = process::children(self.master);
        workers.retain(|&pid| process::title(pid).starts_with("unirs: worker") && !process::is_dead(pid));
        workers.sort();
        workers
    }

    /// Waits until there are exactly `count` workers.
    pub(crate) fn wait_workers(&self, count: usize) -> Vec<Pid> {
        wait_until(format_args!("there are {count} workers"), || {
            let workers = self.workers();
            (workers.len() == count).then_some(workers)
        })
    }

    /// Waits until there are `count` workers and none of them is one of `old`.
    pub(crate) fn wait_replaced(&self, old: &[Pid], count: usize) -> Vec<Pid> {
        wait_until(format_args!("there are {count} workers beside none of {old:?}"), || {
            let workers = self.workers();
            (workers.len() == count && !workers.iter().any(|pid| old.contains(pid))).then_some(workers)
        })
    }

    /// Changes the settings file. Nobody is told.
    pub(crate) fn configure(&mut self, change: impl FnOnce(Config) -> Config) {
        self.config = change(self.config.clone());
        self.config.write(&self.path(CONFIG));
    }

    /// The settings file as it is.
    pub(crate) fn config(&self) -> Config {
        self.config.clone()
    }

    /// HUP, and waits until `count` new workers have taken over from all the old ones.
    pub(crate) fn reload(&self, count: usize) -> Vec<Pid> {
        let old = self.workers();
        self.signal(Signal::SIGHUP);
        self.wait_replaced(&old, count)
    }

    /// Waits for the end of what was started; its exit code.
    pub(crate) fn wait_exit(&mut self) -> i32 {
        self.wait_exit_within(DEADLINE)
    }

    /// Waits for the end of what was started; its exit code. A death by a signal fails the test.
    pub(crate) fn wait_exit_within(&mut self, limit: Duration) -> i32 {
        let child = &mut self.child;
        let status = *self.exit.get_or_insert_with(|| {
            wait_within(limit, "the server ends", || child.try_wait().expect("a child can be waited for"))
        });
        status.code().unwrap_or_else(|| panic!("the server died of signal {:?}", status.signal()))
    }

    /// Kills the master as the kernel would, and reaps it.
    pub(crate) fn kill_master(&mut self) {
        process::signal(self.master, Signal::SIGKILL);
        let status = self.child.wait().expect("a child can be waited for");
        self.exit = Some(status);
    }

    /// In daemon mode: the pidfile says who the master is.
    pub(crate) fn adopt_daemon(&mut self, pidfile: &str) -> Pid {
        self.master = wait_until(format_args!("{pidfile} names the master"), || {
            self.read(pidfile).trim().parse().ok().map(Pid::from_raw)
        });
        self.master
    }

    /// The open descriptors of a process.
    pub(crate) fn fds(&self, pid: Pid) -> BTreeMap<i32, String> {
        process::fds(pid)
    }

    /// The sockets of a process.
    pub(crate) fn sockets(&self, pid: Pid) -> BTreeSet<String> {
        self.fds(pid).into_values().filter(|what| what.starts_with("socket:")).collect()
    }

    /// The listeners of a worker: the sockets that it shares with the master.
    pub(crate) fn listeners(&self, worker: Pid) -> BTreeSet<String> {
        let shared = &self.sockets(worker) & &self.sockets(self.master);
        assert!(!shared.is_empty(), "worker {worker} shares no socket with the master");
        shared
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("---- log of the server in {} ----\n{}----", self.dir.path().display(), self.log());
        }
        for worker in process::children(self.master) {
            process::signal(worker, Signal::SIGKILL);
        }
        if self.exit.is_none() || self.master.as_raw().cast_unsigned() != self.child.id() {
            process::kill_group(self.master);
        }
        // Workers that outlive a killed master are still in the group of what was started.
        process::kill_group(Pid::from_raw(self.child.id().cast_signed()));
        // It was killed, or had ended: the wait only reaps it.
        let _ = self.child.wait();
    }
}

fn append(path: &Path) -> File {
    OpenOptions::new().create(true).append(true).open(path).expect("the temporary folder takes a file")
}
