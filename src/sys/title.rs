//! The name under which `ps` and /proc/PID/cmdline show a process. What it says is the caller's.

use std::env;
use std::ffi::{CString, OsString};
use std::fs;
use std::io;
use std::ptr::NonNull;

use nix::sys::prctl;

/// The kernel's limit for the short name of a thread, without its final NUL.
const SHORT_NAME: usize = 15;

/// The memory in which the kernel put this program's arguments and environment, now free for a title.
///
/// Belongs to one thread (it is neither Send nor Sync); a forked child uses its copy of it.
#[derive(Debug)]
pub(crate) struct Title {
    /// Where the first argument began.
    start: NonNull<u8>,
    /// Bytes up to the end of the environment. The last one always stays NUL.
    len: usize,
}

impl Title {
    /// Moves the environment to the heap and takes over the memory of the arguments.
    ///
    /// Once, at the start of the program, after everybody has read the arguments: [`env::args`] yields pieces of titles
    /// as soon as [`Title::set`] was called.
    ///
    /// # Errors
    /// When other threads run (the environment may only be changed without them), or /proc does not say where the
    /// arguments are. The program goes on under its own name then.
    pub(crate) fn prepare() -> io::Result<Title> {
        if fs::read_dir("/proc/self/task")?.count() != 1 {
            return Err(io::Error::other("the title has to be prepared before threads are started"));
        }
        let area = Area::read()
            .ok_or_else(|| io::Error::other("/proc/self/stat does not say where the arguments are"))?;
        move_environment();
        Ok(Title { start: area.start, len: area.len })
    }

    /// Shows `text` from now on, cut at the room there is, and its beginning up to ` [` as the short name.
    pub(crate) fn set(&self, text: &str) {
        let text = text.replace('\0', " ");
        let shown = &text.as_bytes()[..text.len().min(self.len - 1)];
        for index in 0..self.len {
            let byte = shown.get(index).copied().unwrap_or(0);
            // SAFETY: `index` is inside the area, which is ours alone since `prepare`: see `Area::read`.
            unsafe { self.start.add(index).write_volatile(byte) };
        }
        let short = text.split(" [").next().unwrap_or_default();
        let short = &short.as_bytes()[..short.len().min(SHORT_NAME)];
        if let Ok(short) = CString::new(short) {
            // The long name is the one that matters; a kernel without this call loses nothing else.
            let _ = prctl::set_name(&short);
        }
    }
}

struct Area {
    start: NonNull<u8>,
    len: usize,
}

impl Area {
    /// Where the kernel says that arguments and environment are (proc_pid_stat(5), fields 48 to 51). They lie on the
    /// main thread's stack, above all frames, so nothing else uses them once the environment has moved.
    fn read() -> Option<Area> {
        let stat = fs::read_to_string("/proc/self/stat").ok()?;
        // The name in field 2 may hold anything, parentheses and blanks too; the fields after it do not.
        let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_ascii_whitespace().collect();
        let field = |number: usize| fields.get(number - 3)?.parse::<usize>().ok();
        let (arguments, arguments_end) = (field(48)?, field(49)?);
        let (environment, environment_end) = (field(50)?, field(51)?);
        let end = if environment == arguments_end { environment_end } else { arguments_end };
        let len = end.checked_sub(arguments).filter(|len| *len > 1)?;
        let start = NonNull::new(std::ptr::with_exposed_provenance_mut(arguments))?;
        Some(Area { start, len })
    }
}

/// Builds the environment anew, on the heap. Only while no other thread runs.
fn move_environment() {
    let mut seen: Vec<(OsString, OsString)> = Vec::new();
    for (name, value) in env::vars_os() {
        // Of two with one name everybody sees the first.
        if !seen.iter().any(|(other, _)| *other == name) {
            seen.push((name, value));
        }
    }
    // SAFETY: `prepare` has seen that this is the only thread. It forgets the array; the strings stay where they are.
    if unsafe { nix::env::clearenv() }.is_err() {
        return;
    }
    for (name, value) in seen {
        // SAFETY: as above. The name came out of an environment, so it is not empty and has no `=`.
        unsafe { env::set_var(name, value) };
    }
}

#[cfg(test)]
mod tests {
    use std::process;

    use nix::sys::wait::WaitStatus;

    use super::*;
    use crate::sys::testing::{alone, forked};

    fn command_line() -> String {
        let bytes = fs::read(format!("/proc/{}/cmdline", process::id())).unwrap();
        String::from_utf8_lossy(&bytes).trim_end_matches('\0').to_owned()
    }

    fn short_name() -> String {
        fs::read_to_string("/proc/self/comm").unwrap().trim_end().to_owned()
    }

    fn ps() -> Option<String> {
        let id = process::id().to_string();
        let shown = process::Command::new("ps").args(["-o", "args=", "-p", &id]).output().ok()?;
        Some(String::from_utf8_lossy(&shown.stdout).trim_end().to_owned())
    }

    #[test]
    fn the_title_is_shown_cut_and_taken_along_over_a_fork() {
        if !alone!() {
            return;
        }
        // A forked child has one thread, unlike the test binary.
        let status = forked(|| {
            let before: Vec<_> = env::vars_os().collect();
            let title = Title::prepare().unwrap();
            title.set("unirs: master [a b]");
            assert_eq!(command_line(), "unirs: master [a b]");
            assert_eq!(short_name(), "unirs: master");
            assert_eq!(ps().as_deref().unwrap_or("unirs: master [a b]"), "unirs: master [a b]");
            let worker = forked(|| {
                title.set("unirs: worker [a b]");
                assert_eq!(command_line(), "unirs: worker [a b]");
                7
            });
            assert!(matches!(worker, WaitStatus::Exited(_, 7)), "{worker:?}");
            assert_eq!(command_line(), "unirs: master [a b]");
            title.set("x");
            assert_eq!(command_line(), "x", "nothing is left of a longer one");
            title.set(&"long ".repeat(100_000));
            assert!(command_line().starts_with("long long "));
            assert!(command_line().len() < 500_000);
            let after: Vec<_> = env::vars_os().collect();
            assert_eq!(after, before, "the environment is as it was");
            7
        });
        assert!(matches!(status, WaitStatus::Exited(_, 7)), "{status:?}");
    }

    #[test]
    fn it_is_not_prepared_beside_other_threads() {
        std::thread::scope(|scope| {
            let (release, wait) = std::sync::mpsc::channel::<()>();
            scope.spawn(move || wait.recv());
            let refused = Title::prepare();
            drop(release);
            assert!(refused.is_err());
        });
    }
}
