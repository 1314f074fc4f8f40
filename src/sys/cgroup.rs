//! The control group of this process, as far as deaths are concerned: how often the kernel's OOM killer has struck in it.

use std::fs;
use std::path::{Path, PathBuf};

/// Where the kernel counts the processes of this process's cgroup that it has killed for want of memory, whoever was out
/// of it: the cgroup, one above it, or the machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct OomCount {
    /// `memory.events` of version 2, `memory.oom_control` of version 1: both have a row `oom_kill N`.
    path: PathBuf,
}

impl OomCount {
    /// The counter of this process's cgroup; `None` where nobody counts, or where /proc and /sys do not show it.
    pub(crate) fn find() -> Option<OomCount> {
        let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
        let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
        let mut counts = candidates(&groups, &mounts).into_iter().map(|path| OomCount { path });
        counts.find(|count| count.read().is_some())
    }

    /// How many there were until now.
    pub(crate) fn read(&self) -> Option<u64> {
        row(&fs::read_to_string(&self.path).ok()?)
    }
}

/// The files that may count, best first: the root of version 2 has none, and a group outside of a container is not to
/// be seen from inside it.
fn candidates(groups: &str, mounts: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for (kind, file) in [("cgroup2", "memory.events"), ("cgroup", "memory.oom_control")] {
        let Some(group) = group(groups, kind) else { continue };
        for mount in mounts.lines().filter_map(|line| mount(line, kind)) {
            let inside = Path::new(group).strip_prefix(mount.root).unwrap_or(Path::new(""));
            found.push(Path::new(mount.point).join(inside).join(file));
        }
    }
    found
}

/// The path of this process's group: of `0::/path` for version 2, of `4:memory:/path` for version 1.
fn group<'a>(groups: &'a str, kind: &str) -> Option<&'a str> {
    groups.lines().find_map(|line| {
        let (_, rest) = line.split_once(':')?;
        let (controllers, path) = rest.split_once(':')?;
        let counts = match kind {
            "cgroup2" => controllers.is_empty(),
            _ => controllers.split(',').any(|one| one == "memory"),
        };
        counts.then_some(path)
    })
}

struct Mount<'a> {
    /// What part of the hierarchy is mounted.
    root: &'a str,
    /// Where.
    point: &'a str,
}

/// `31 23 0:28 ROOT POINT rw,relatime ... - KIND SOURCE OPTIONS`, where version 1 names its controllers among the options.
fn mount<'a>(line: &'a str, kind: &str) -> Option<Mount<'a>> {
    let (place, what) = line.split_once(" - ")?;
    let mut what = what.split(' ');
    let counts = what.next() == Some(kind)
        && (kind == "cgroup2" || what.nth(1)?.split(',').any(|option| option == "memory"));
    let mut place = place.split(' ').skip(3);
    let (root, point) = (place.next()?, place.next()?);
    counts.then_some(Mount { root, point })
}

fn row(text: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix("oom_kill ")?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTS: &str = "\
        23 1 0:20 / /proc rw - proc proc rw\n\
        35 31 0:32 /docker/7 /sys/fs/cgroup/memory rw,relatime shared:3 - cgroup cgroup rw,memory\n\
        36 31 0:33 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu\n\
        41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw\n";

    fn found(groups: &str) -> Vec<String> {
        candidates(groups, MOUNTS).iter().map(|path| path.display().to_string()).collect()
    }

    #[test]
    fn the_counter_is_that_of_the_own_group_below_what_is_mounted() {
        let two = "/sys/fs/cgroup/unified/system.slice/unirs.service/memory.events";
        assert_eq!(found("0::/system.slice/unirs.service\n"), [two]);
        let one = "/sys/fs/cgroup/memory/shop/memory.oom_control";
        assert_eq!(found("5:cpu:/\n4:hugetlb,memory:/docker/7/shop\n"), [one]);
        assert_eq!(found("4:memory:/elsewhere\n"), ["/sys/fs/cgroup/memory/memory.oom_control"]);
        assert!(found("3:cpu:/\n").is_empty());
        assert!(found("no groups at all").is_empty());
    }

    #[test]
    fn both_versions_have_the_same_row() {
        assert_eq!(row("low 0\nhigh 0\nmax 12\noom 2\noom_kill 7\noom_group_kill 1\n"), Some(7));
        assert_eq!(row("oom_kill_disable 0\nunder_oom 0\noom_kill 3\n"), Some(3));
        assert_eq!(row("oom_kill_disable 0\nunder_oom 0\n"), None);
    }

    #[test]
    fn where_this_process_is_counted_the_count_can_be_read() {
        // A machine without cgroups has nothing to say, and says so.
        assert!(OomCount::find().is_none_or(|count| count.read().is_some()));
    }
}
