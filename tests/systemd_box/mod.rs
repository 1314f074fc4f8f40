//! `SystemdBox`: a real systemd in namespaces of its own, with the units of `packaging/systemd` as they are, for one test.
//! It ends with the test, however that ends; `boot.sh` beside this file says how it is made.

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Output, Stdio};
use std::time::Duration;

use nix::unistd::Pid;
use tempfile::TempDir;

use super::support::{
    Client, Config, compile_c, process, source_tree, test_app, unirs, wait_until, wait_within,
};

/// How long systemd itself may take for anything, on a machine that is overloaded: longer than any limit of a unit that
/// is not meant to be met.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// How long one look at a systemd that boots may take.
const LOOK: Duration = Duration::from_secs(10);

/// The units are as they are shipped, but for this: nothing of the rest of a system is there to be started first, and the
/// log is a file that the test can read.
const UNIT_IN_BOX: &str = "[Unit]\nDefaultDependencies=no\nWants=\nAfter=\n";
const SERVICE_IN_BOX: &str = "[Service]\nStandardOutput=append:/run/box.log\nStandardError=inherit\n";

/// Why no box can be had here; `None` when one can.
pub(crate) fn obstacle() -> Option<&'static str> {
    if !nix::unistd::geteuid().is_root() {
        return Some("it needs root");
    }
    let systemd = ["/usr/lib/systemd/systemd", "/lib/systemd/systemd"];
    if !systemd.iter().any(|path| Path::new(path).exists()) {
        return Some("it needs systemd (the package `systemd`; it does not have to run)");
    }
    // The same namespaces and mounts that a box begins with.
    let tried = Command::new("unshare")
        .args(["--mount", "--cgroup", "--pid", "--net", "--uts", "--ipc", "--fork", "sh", "-c"])
        .arg("mount --make-rprivate / && mount -t tmpfs tmpfs /mnt && mount -t cgroup2 cgroup2 /mnt && test -w /mnt")
        .stdin(Stdio::null())
        .output();
    match tried {
        Ok(output) if output.status.success() => None,
        Ok(_) => Some("it needs namespaces and a cgroup2 hierarchy that can be written to"),
        Err(_) => Some("it needs unshare and nsenter (the package `util-linux`)"),
    }
}

/// What a box is to have, before systemd boots.
pub(crate) struct BoxSetup {
    folder: TempDir,
    config: Config,
    service: String,
    /// Becomes `/srv/libapp.so`.
    library: PathBuf,
}

impl BoxSetup {
    /// The shipped units, the suite's own application, and a unix socket in `/run/unirs`.
    pub(crate) fn new() -> BoxSetup {
        let folder = tempfile::Builder::new().prefix("unirs-box-").tempdir().expect("a temporary folder");
        // Workers of another identity are to reach the library; what is mounted here is seen in the box alone.
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).expect("a folder of our own");
        let config = Config::new().library(Path::new("/srv/libapp.so"));
        let config = config.set("bind", vec!["unix:/run/unirs/unirs.sock"]);
        BoxSetup { folder, config, service: SERVICE_IN_BOX.to_owned(), library: test_app() }
    }

    /// Changes `/etc/unirs/unirs.toml`.
    pub(crate) fn configure(mut self, change: impl FnOnce(Config) -> Config) -> BoxSetup {
        self.config = change(self.config);
        self
    }

    /// One more line of a drop-in of the service.
    pub(crate) fn service(mut self, line: &str) -> BoxSetup {
        self.service += line;
        self.service += "\n";
        self
    }

    /// Another application, in C (see `support::compile_c`).
    pub(crate) fn library_in_c(mut self, name: &str, source: &str, rows: &str) -> BoxSetup {
        self.library = compile_c(self.folder.path(), name, source, rows);
        self
    }

    /// Boots systemd and waits until it takes orders. Nothing of ours is started yet.
    pub(crate) fn boot(self) -> SystemdBox {
        let units = self.folder.path().join("units");
        fs::create_dir_all(self.folder.path().join("etc")).expect("a folder");
        copy_units(&units);
        write(&units.join("box.target"), "[Unit]\nDefaultDependencies=no\n");
        for name in ["unirs.service", "unirs@.service"] {
            write(&units.join(format!("{name}.d/box.conf")), &format!("{UNIT_IN_BOX}{}", self.service));
        }
        let socket = "[Socket]\nListenStream=\nListenStream=/run/unirs.sock\n";
        write(&units.join("unirs.socket.d/box.conf"), &format!("{UNIT_IN_BOX}{socket}"));
        self.config.write(&self.folder.path().join("etc/unirs.toml"));
        SystemdBox::boot(self.folder, self.config, &self.library)
    }
}

fn copy_units(to: &Path) {
    fs::create_dir_all(to).expect("a folder");
    for entry in fs::read_dir(source_tree().join("packaging/systemd")).expect("the shipped units").flatten() {
        fs::copy(entry.path(), to.join(entry.file_name())).expect("a copy of a unit");
    }
}

fn write(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().expect("a file in a folder")).expect("a folder");
    fs::write(path, text).expect("a file");
}

/// A booted systemd.
pub(crate) struct SystemdBox {
    folder: TempDir,
    config: Config,
    /// The shell that ends the box when this is closed.
    lifeline: Option<ChildStdin>,
    shell: Child,
    /// systemd, as the machine numbers it.
    init: Pid,
}

impl SystemdBox {
    fn boot(folder: TempDir, config: Config, library: &Path) -> SystemdBox {
        let said = File::create(folder.path().join("boot.log")).expect("a file");
        let mut shell = Command::new("unshare")
            .arg("--mount")
            .arg(source_tree().join("tests/systemd_box/boot.sh"))
            .arg("outside")
            .arg(folder.path())
            .arg(unirs())
            .arg(library)
            .stdin(Stdio::piped())
            .stdout(said.try_clone().expect("a descriptor"))
            .stderr(said)
            .spawn()
            .expect("unshare");
        let lifeline = shell.stdin.take();
        let mut booting = SystemdBox { folder, config, lifeline, shell, init: Pid::from_raw(0) };
        booting.init = booting.wait_for_init();
        wait_within(PATIENCE, "systemd takes orders", || {
            // Asked in the middle of its boot it may never answer; asked again it does.
            let state = booting.run_within(LOOK, &["systemctl", "is-system-running"]);
            matches!(text(&state).as_str(), "running" | "degraded").then_some(())
        });
        booting
    }

    /// systemd is the child of `unshare`, which is the child of the shell.
    fn wait_for_init(&mut self) -> Pid {
        let outer = Pid::from_raw(i32::try_from(self.shell.id()).expect("a pid"));
        wait_within(PATIENCE, "systemd is booted", || {
            if self.shell.try_wait().expect("our child").is_some() {
                let said = fs::read_to_string(self.folder.path().join("boot.log")).unwrap_or_default();
                panic!("the box has not come up: {said}");
            }
            let inner = process::children(outer).into_iter().flat_map(process::children);
            inner.into_iter().find(|pid| Path::new(&format!("/proc/{pid}/root/run/systemd/private")).exists())
        })
    }

    /// A file of the box.
    pub(crate) fn path(&self, inside: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root{inside}", self.init))
    }

    /// Runs a command inside, as root.
    pub(crate) fn run(&self, command: &[&str]) -> Output {
        self.run_within(PATIENCE, command)
    }

    fn run_within(&self, limit: Duration, command: &[&str]) -> Output {
        let limit = limit.as_secs().to_string();
        Command::new("timeout")
            .args(["-k", "1", &limit, "nsenter", "--all", "--root", "--wd", "-t"])
            .arg(self.init.to_string())
            .args(command)
            .env("PATH", "/usr/bin:/bin:/usr/sbin:/sbin")
            .stdin(Stdio::null())
            .output()
            .expect("nsenter")
    }

    /// `systemctl` in the box, whatever comes of it.
    pub(crate) fn systemctl(&self, arguments: &[&str]) -> Output {
        self.run(&[&["systemctl", "--no-pager"], arguments].concat())
    }

    /// `systemctl` in the box, which has to succeed.
    pub(crate) fn order(&self, arguments: &[&str]) {
        let output = self.systemctl(arguments);
        assert!(output.status.success(), "systemctl {arguments:?}: {output:?}\n{}", self.log());
    }

    /// `systemctl` in the box that goes on while the test does something else.
    pub(crate) fn begin(&self, arguments: &[&str]) -> Child {
        Command::new("nsenter")
            .args(["--all", "--root", "--wd", "-t"])
            .arg(self.init.to_string())
            .arg("systemctl")
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("nsenter")
    }

    /// One property of a unit.
    pub(crate) fn show(&self, unit: &str, property: &str) -> String {
        text(&self.systemctl(&["show", "--value", "-p", property, unit]))
    }

    /// Waits until a property of a unit has this value.
    pub(crate) fn wait_for(&self, unit: &str, property: &str, value: &str) {
        wait_within(PATIENCE, format_args!("{property}={value} of {unit}"), || {
            (self.show(unit, property) == value).then_some(())
        });
    }

    /// What `systemctl status` shows.
    pub(crate) fn status(&self, unit: &str) -> String {
        text(&self.systemctl(&["status", "--full", unit]))
    }

    /// A connection to the server of `unirs.service`.
    pub(crate) fn client(&self) -> Client {
        self.client_of("/run/unirs/unirs.sock")
    }

    /// A connection to a unix socket of the box.
    pub(crate) fn client_of(&self, socket: &str) -> Client {
        wait_until(format_args!("a connection to {socket}"), || Client::unix(&self.path(socket)).ok())
    }

    /// A page of the server, as text.
    pub(crate) fn get(&self, target: &str) -> String {
        let response = self.client().last_get(target).unwrap_or_else(|broken| panic!("{target}: {broken}"));
        assert_eq!(response.status, 200, "{target}: {}", response.text());
        response.text()
    }

    /// The server's log.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.path("/run/box.log")).unwrap_or_default()
    }

    /// Waits until `count` lines of the log have this in them.
    pub(crate) fn wait_for_log(&self, sentence: &str, count: usize) {
        wait_until(format_args!("the log says {sentence:?} {count} times"), || {
            (self.log().matches(sentence).count() >= count).then_some(())
        });
    }

    /// What is in `/etc/unirs/unirs.toml`.
    pub(crate) fn config(&self) -> &Config {
        &self.config
    }

    /// Changes `/etc/unirs/unirs.toml`. Nobody is told.
    pub(crate) fn configure(&mut self, change: impl FnOnce(Config) -> Config) {
        self.config = change(self.config.clone());
        self.config.write(&self.path("/etc/unirs/unirs.toml"));
    }
}

impl Drop for SystemdBox {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = self.log();
            super::show(&format!("---- log of the server in the box ----\n{log}----"));
        }
        // The shell ends everything, then itself.
        drop(self.lifeline.take());
        let _ = self.shell.wait();
    }
}

/// What a command has said, without the line's end.
pub(crate) fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).trim_end().to_owned()
}
