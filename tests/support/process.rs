//! Processes as `/proc` shows them: children, states, descriptors, credentials. Signals by id, never by name.

use std::collections::BTreeMap;
use std::fs;

use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::{Pid, getpgid};

/// The direct children of a process.
pub(crate) fn children(pid: Pid) -> Vec<Pid> {
    let Ok(tasks) = fs::read_dir(format!("/proc/{pid}/task")) else {
        return Vec::new();
    };
    tasks
        .flatten()
        .filter_map(|task| fs::read_to_string(task.path().join("children")).ok())
        .flat_map(|list| list.split_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<i32>>())
        .map(Pid::from_raw)
        .collect()
}

/// The state letter of a process (`R`, `S`, `T`, `Z`, ...), or None when there is no such process.
pub(crate) fn state(pid: Pid) -> Option<char> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(')')?.1.trim_start().chars().next()
}

/// Whether a process runs no more: gone, or dead and not yet reaped.
pub(crate) fn is_dead(pid: Pid) -> bool {
    matches!(state(pid), None | Some('Z' | 'X'))
}

/// How many children are dead and not reaped.
pub(crate) fn zombies(pid: Pid) -> usize {
    children(pid).into_iter().filter(|&child| state(child) == Some('Z')).count()
}

/// The open descriptors of a process and what they are (`socket:[1234]`, `/dev/null`, ...).
pub(crate) fn fds(pid: Pid) -> BTreeMap<i32, String> {
    let Ok(folder) = fs::read_dir(format!("/proc/{pid}/fd")) else {
        return BTreeMap::new();
    };
    folder
        .flatten()
        .filter_map(|entry| {
            let number = entry.file_name().to_str()?.parse().ok()?;
            Some((number, fs::read_link(entry.path()).ok()?.to_string_lossy().into_owned()))
        })
        .collect()
}

/// A row of `/proc/PID/status`, such as `Uid` or `SigBlk`, without its name.
pub(crate) fn status_row(pid: Pid, name: &str) -> Option<String> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let row = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    Some(row.trim().to_owned())
}

/// The title of a process as `ps` shows it.
pub(crate) fn title(pid: Pid) -> String {
    let bytes = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    String::from_utf8_lossy(&bytes).replace('\0', " ").trim_end().to_owned()
}

/// Sends a signal; a process that is gone already is no error.
pub(crate) fn signal(pid: Pid, signal: Signal) {
    match kill(pid, signal) {
        Ok(()) | Err(nix::errno::Errno::ESRCH) => {}
        Err(error) => panic!("cannot send {signal} to {pid}: {error}"),
    }
}

/// Kills a process and its whole group, unless that is the group of the test.
pub(crate) fn kill_group(pid: Pid) {
    let own = getpgid(None).ok();
    let group = getpgid(Some(pid)).unwrap_or(pid);
    if Some(group) != own {
        // Nobody left in the group is what is wanted.
        let _ = killpg(group, Signal::SIGKILL);
    }
    if !is_dead(pid) {
        let _ = kill(pid, Signal::SIGKILL);
    }
}
