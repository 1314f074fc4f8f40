//! The program as it was started: what USR2 starts once more. It is found out once, and nothing is started here.

use std::ffi::{OsStr, OsString};
use std::fs::{self, Metadata};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::handover;
use crate::sys::{identity, process};

/// Variables that were meant for the process that was started, by its number, and for no other.
const FOR_THIS_PROCESS: [&str; 3] = ["LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"];

/// What was started, how, and where.
#[derive(Clone, Debug)]
pub(crate) struct Program {
    /// Its path, absolute, its symbolic links unresolved: they may lead to the next version by now.
    path: PathBuf,
    /// Its name and its arguments.
    arguments: Vec<OsString>,
    /// The environment of the start, without what was for that process alone.
    environment: Vec<(OsString, OsString)>,
    /// The working directory of the start, as the shell named it: a symbolic link in it is followed anew as well.
    directory: PathBuf,
}

impl Program {
    /// This program, by what it was started with.
    pub(crate) fn new(
        arguments: &[OsString],
        environment: &[(OsString, OsString)],
        directory: &Path,
    ) -> Program {
        let search = environment.iter().find(|(name, _)| name == "PATH").map(|(_, value)| value.as_os_str());
        let itself = fs::read_link("/proc/self/exe");
        let is_itself = |path: &Path| is_same(path.metadata(), Path::new("/proc/self/exe").metadata());
        let named = arguments.first().and_then(|name| find(name, search, directory, is_itself));
        let path = named.or(itself.ok()).unwrap_or_else(|| PathBuf::from("/proc/self/exe"));
        let is_kept =
            |name: &OsStr| name != handover::VARIABLE && FOR_THIS_PROCESS.iter().all(|other| name != *other);
        Program {
            path,
            arguments: arguments.to_vec(),
            environment: environment.iter().filter(|(name, _)| is_kept(name)).cloned().collect(),
            directory: directory.to_owned(),
        }
    }

    /// Where it is.
    pub(in crate::master) fn path(&self) -> &Path {
        &self.path
    }

    /// Makes this process the program, which finds `letter` in its environment. `start` is the working directory of the
    /// start, for when its name has gone. It returns when that fails, with the reason.
    pub(in crate::master) fn execute(&self, letter: &str, start: impl AsFd) -> String {
        if let Err(error) = identity::chdir(&self.directory).or_else(|_| identity::chdir_to(start)) {
            return format!("cannot enter {}: {error}", self.directory.display());
        }
        let mut environment = self.environment.clone();
        environment.push((handover::VARIABLE.into(), letter.into()));
        watch_this_process(&mut environment);
        match process::execute(&self.path, &self.arguments, &environment) {
            Ok(never) => match never {},
            Err(error) => format!("cannot run {}: {error}", self.path.display()),
        }
    }
}

/// The service manager's watchdog looks at the main process, which the new one is to become.
fn watch_this_process(environment: &mut [(OsString, OsString)]) {
    if let Some((_, pid)) = environment.iter_mut().find(|(name, _)| name == "WATCHDOG_PID") {
        *pid = std::process::id().to_string().into();
    }
}

/// The file that `name` meant to whoever started it: a path, or the first of that name in `search`, if it is this program.
fn find(
    name: &OsStr,
    search: Option<&OsStr>,
    directory: &Path,
    is_itself: impl Fn(&Path) -> bool,
) -> Option<PathBuf> {
    let folders = if name.as_bytes().contains(&b'/') {
        vec![PathBuf::new()]
    } else {
        std::env::split_paths(search.unwrap_or_default()).collect()
    };
    folders.into_iter().map(|folder| directory.join(folder).join(name)).find(|path| is_itself(path))
}

fn is_same(one: io::Result<Metadata>, other: io::Result<Metadata>) -> bool {
    matches!((one, other), (Ok(one), Ok(other)) if (one.dev(), one.ino()) == (other.dev(), other.ino()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(name: &str, search: &str, itself: &str) -> Option<PathBuf> {
        find(OsStr::new(name), Some(OsStr::new(search)), Path::new("/srv/current"), |path| {
            path == Path::new(itself)
        })
    }

    #[test]
    fn a_name_with_a_slash_is_a_path_seen_from_the_start_and_another_is_searched() {
        assert_eq!(found("/opt/unirs", "/bin", "/opt/unirs"), Some("/opt/unirs".into()));
        assert_eq!(
            found("bin/unirs", "/bin", "/srv/current/bin/unirs"),
            Some("/srv/current/bin/unirs".into())
        );
        assert_eq!(found("unirs", "/bin:/usr/bin", "/usr/bin/unirs"), Some("/usr/bin/unirs".into()));
        assert_eq!(
            found("unirs", "/bin:tools", "/srv/current/tools/unirs"),
            Some("/srv/current/tools/unirs".into())
        );
    }

    #[test]
    fn a_name_that_is_only_a_name_is_not_believed() {
        assert_eq!(found("web", "/bin:/usr/bin", "/opt/unirs"), None);
        let itself = Program::new(&["web".into()], &[], Path::new("/"));
        assert_eq!(itself.path, std::env::current_exe().unwrap());
    }

    #[test]
    fn what_was_for_one_process_is_not_passed_on() {
        let variables = ["PATH", "LISTEN_PID", "LISTEN_FDS", "NOTIFY_SOCKET", handover::VARIABLE];
        let environment = variables.map(|name| (OsString::from(name), OsString::from("x")));
        let program = Program::new(&["unirs".into()], &environment, Path::new("/"));
        let names: Vec<_> = program.environment.iter().map(|(name, _)| name.to_str().unwrap()).collect();
        assert_eq!(names, ["PATH", "NOTIFY_SOCKET"]);
    }
}
