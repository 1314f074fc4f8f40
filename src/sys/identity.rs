//! Who a process is: user, groups, umask, directory. When that changes is the caller's order of things.

use std::ffi::CStr;
use std::io;
use std::os::fd::AsFd;
use std::path::Path;

use nix::sys::prctl;
use nix::sys::stat::{Mode, umask};
use nix::unistd::{
    self, Gid, Uid, fchdir, getgroups, getresgid, getresuid, initgroups, setgroups, setresgid, setresuid,
};

/// The supplementary groups that go with a new identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Groups<'a> {
    /// Exactly these; an empty slice drops them all.
    Exactly(&'a [u32]),
    /// Those of this user in the group database, and the new primary group.
    Of(&'a CStr),
}

/// Becomes `uid` and `gid` for good: real, effective and saved, in all threads, and looks afterwards whether that is so.
///
/// Nothing happens when the process is that user and group already. It clears "dumpable" and PR_SET_PDEATHSIG, as the
/// kernel does at any such change; see [`set_dumpable`].
///
/// # Errors
/// `PermissionDenied` without CAP_SETUID and CAP_SETGID. After any error the process is in between and has to end.
pub(crate) fn drop_privileges(uid: u32, gid: u32, groups: Groups<'_>) -> io::Result<()> {
    let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
    if is_identity(uid, gid)? {
        return Ok(());
    }
    match groups {
        Groups::Exactly(list) => set_groups(list)?,
        Groups::Of(user) => initgroups(user, gid).map_err(during("set the user's groups"))?,
    }
    setresgid(gid, gid, gid).map_err(during("set the group"))?;
    setresuid(uid, uid, uid).map_err(during("set the user"))?;
    verify(uid, gid)
}

fn is_identity(uid: Uid, gid: Gid) -> io::Result<bool> {
    let (user, group) = (getresuid()?, getresgid()?);
    let same_user = [user.real, user.effective, user.saved] == [uid; 3];
    let same_group = [group.real, group.effective, group.saved] == [gid; 3];
    Ok(same_user && same_group)
}

fn set_groups(list: &[u32]) -> io::Result<()> {
    let list: Vec<Gid> = list.iter().copied().map(Gid::from_raw).collect();
    setgroups(&list).map_err(during("set the supplementary groups"))?;
    let held = getgroups()?;
    if held.iter().any(|group| !list.contains(group)) {
        return Err(io::Error::other("supplementary groups are left that were dropped"));
    }
    Ok(())
}

/// A kernel or a security module that says yes and does nothing must not leave a worker with root's rights.
fn verify(uid: Uid, gid: Gid) -> io::Result<()> {
    if !is_identity(uid, gid)? {
        return Err(io::Error::other("the user or group is not what was set"));
    }
    if !uid.is_root() && unistd::setuid(Uid::from_raw(0)).is_ok() {
        return Err(io::Error::other("root's rights can be taken back"));
    }
    Ok(())
}

/// Says what was tried, in front of the kernel's reason.
fn during(what: &'static str) -> impl Fn(nix::Error) -> io::Error {
    move |error| {
        let kind = io::Error::from(error).kind();
        io::Error::new(kind, format!("cannot {what}: {}", error.desc().to_lowercase()))
    }
}

/// Sets the bits that new files do not get, and says which they were.
pub(crate) fn set_umask(mask: u32) -> u32 {
    umask(Mode::from_bits_truncate(mask)).bits()
}

/// Changes the working directory.
pub(crate) fn chdir(path: &Path) -> io::Result<()> {
    Ok(unistd::chdir(path)?)
}

/// Changes the working directory to an open one, whatever its path is by now.
pub(crate) fn chdir_to(directory: impl AsFd) -> io::Result<()> {
    Ok(fchdir(directory)?)
}

/// Lets the process dump core and be read through /proc by its own user again, which a change of user forbids.
pub(crate) fn set_dumpable() -> io::Result<()> {
    Ok(prctl::set_dumpable(true)?)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use nix::sys::wait::WaitStatus;
    use nix::unistd::{getegid, geteuid};

    use super::*;
    use crate::sys::testing::{alone, forked};

    #[test]
    fn to_become_who_one_is_changes_nothing_and_takes_no_right() {
        let (uid, gid) = (geteuid().as_raw(), getegid().as_raw());
        let before = getgroups().unwrap();
        drop_privileges(uid, gid, Groups::Exactly(&[4711])).unwrap();
        assert_eq!(getgroups().unwrap(), before);
    }

    #[test]
    fn root_is_left_for_good_and_its_groups_too() {
        if !alone!() || !geteuid().is_root() {
            return;
        }
        for (groups, left) in [(&[][..], &[][..]), (&[4711, 4712], &[4711, 4712])] {
            let status = forked(|| {
                drop_privileges(65534, 65533, Groups::Exactly(groups)).unwrap();
                let held: Vec<u32> = getgroups().unwrap().iter().map(|group| group.as_raw()).collect();
                assert_eq!(held, left);
                assert!(setresuid(Uid::from_raw(0), Uid::from_raw(0), Uid::from_raw(0)).is_err());
                let status = fs::read_to_string("/proc/thread-self/status").unwrap();
                assert!(status.contains("Uid:\t65534\t65534\t65534\t65534"), "{status}");
                assert!(status.contains("Gid:\t65533\t65533\t65533\t65533"), "{status}");
                assert!(status.contains("CapEff:\t0000000000000000"), "{status}");
                assert!(!prctl::get_dumpable().unwrap());
                set_dumpable().unwrap();
                assert!(prctl::get_dumpable().unwrap());
                let error = drop_privileges(1, 1, Groups::Exactly(&[])).unwrap_err();
                assert_eq!(error.kind(), io::ErrorKind::PermissionDenied);
                let text = "cannot set the supplementary groups: operation not permitted";
                assert_eq!(error.to_string(), text);
                7
            });
            assert!(matches!(status, WaitStatus::Exited(_, 7)), "{status:?}");
        }
    }

    #[test]
    fn the_groups_of_a_user_come_from_the_database() {
        if !alone!() || !geteuid().is_root() {
            return;
        }
        let status = forked(|| {
            drop_privileges(1, 1, Groups::Of(c"daemon")).unwrap();
            assert!(getgroups().unwrap().contains(&Gid::from_raw(1)));
            assert!(!getgroups().unwrap().contains(&Gid::from_raw(0)));
            7
        });
        assert!(matches!(status, WaitStatus::Exited(_, 7)), "{status:?}");
    }

    #[test]
    fn umask_and_directory_are_set() {
        if !alone!() {
            return;
        }
        set_umask(0o027);
        assert_eq!(set_umask(0o022), 0o027);
        let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let open = fs::File::open(one.path()).unwrap();
        chdir(other.path()).unwrap();
        assert_eq!(std::env::current_dir().unwrap(), other.path().canonicalize().unwrap());
        chdir_to(&open).unwrap();
        assert_eq!(std::env::current_dir().unwrap(), one.path().canonicalize().unwrap());
    }
}
