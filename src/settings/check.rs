//! What only shows when the settings are looked at together.

use std::path::Path;

use nix::unistd::{getegid, geteuid};

use super::problem::{Origin, Problems};
use super::table::table;
use super::{Bind, Settings, WorkerClass};

/// `sync` with several threads means `threaded`, as in Gunicorn.
pub(super) fn settle(settings: &mut Settings) {
    if settings.threads > 1 {
        settings.worker_class = WorkerClass::Threaded;
    }
}

/// Reports values that are right alone and wrong together, or on this machine.
pub(super) fn together(settings: &Settings, origin: &dyn Fn(&str) -> Origin, problems: &mut Problems) {
    let mut refuse = |name: &'static str, sentence: String| {
        let origin = origin(name);
        problems.add(origin.clone(), subject(name, &origin), sentence);
    };
    addresses(&settings.bind, &mut refuse);
    identity(settings, Who::now(), &mut refuse);
    if settings.worker_class == WorkerClass::Threaded && settings.worker_connections < settings.threads {
        let (connections, threads) = (settings.worker_connections, settings.threads);
        refuse(
            "worker_connections",
            format!("{connections} connections leave some of the {threads} threads idle"),
        );
    }
    if let Some(directory) = settings.chdir.as_deref().filter(|directory| !directory.is_dir()) {
        refuse("chdir", format!("{} is no directory", Path::display(directory)));
    }
}

/// A setting as its source calls it: `--chdir` on a command line, `chdir` in a file.
fn subject(name: &'static str, origin: &Origin) -> &'static str {
    match origin {
        Origin::CmdArgs | Origin::CommandLine => {
            table().find(|setting| setting.name == name).map_or(name, |setting| setting.flag())
        }
        Origin::Default | Origin::Environment(_) | Origin::File { .. } => name,
    }
}

fn addresses(binds: &[Bind], refuse: &mut dyn FnMut(&'static str, String)) {
    if binds.is_empty() {
        refuse("bind", "expected at least one address".into());
    }
    for (i, bind) in binds.iter().enumerate() {
        let any_port = matches!(bind, Bind::Tcp { port: 0, .. });
        if !any_port && binds[..i].contains(bind) {
            refuse("bind", format!("{bind} stands in the list twice"));
        }
    }
}

/// Who the master is.
#[derive(Clone, Copy)]
struct Who {
    uid: u32,
    gid: u32,
}

impl Who {
    fn now() -> Who {
        Who { uid: geteuid().as_raw(), gid: getegid().as_raw() }
    }
}

fn identity(settings: &Settings, who: Who, refuse: &mut dyn FnMut(&'static str, String)) {
    let named = |name: &Option<String>, number: u32| name.clone().unwrap_or_else(|| number.to_string());
    let cannot = |name: String| {
        format!("cannot become {name}: only root can; start the server as root, or remove the setting")
    };
    if let Some(user) = settings.user.as_ref().filter(|user| who.uid != 0 && user.uid != who.uid) {
        refuse("user", cannot(named(&user.name, user.uid)));
    }
    if let Some(group) = settings.group.as_ref().filter(|group| who.uid != 0 && group.gid != who.gid) {
        refuse("group", cannot(named(&group.name, group.gid)));
    }
    if let Some(user) = settings.user.as_ref().filter(|user| user.gid.is_none() && settings.group.is_none()) {
        refuse(
            "user",
            format!("the user {} has no primary group in the database; set `group` as well", user.uid),
        );
    }
    if settings.initgroups && settings.user.as_ref().is_none_or(|user| user.name.is_none()) {
        refuse("initgroups", "needs `user`, with a name that the user database knows".into());
    }
}

#[cfg(test)]
mod tests {
    use super::super::Sources;
    use super::*;

    /// What is said of a start by `who` with these arguments.
    fn said(who: Who, arguments: &[&str]) -> Vec<String> {
        let argv = ["unirs", "hello"].iter().map(Into::into).collect();
        let start = Sources { argv, env: Vec::new(), start_dir: "/nowhere".into() };
        let mut settings = start.load().expect("the defaults are right").settings;
        for argument in arguments {
            match argument.split_once('=') {
                Some(("user", uid)) => settings.user = Some(user(uid)),
                Some(("group", gid)) => {
                    settings.group =
                        Some(super::super::Group { gid: gid.parse().expect("a number"), name: None });
                }
                _ => settings.initgroups = true,
            }
        }
        let mut said = Vec::new();
        identity(&settings, who, &mut |name, sentence| said.push(format!("{name}: {sentence}")));
        said
    }

    /// A user without an entry, or `NUMBER:NAME`, whose primary group has the same number.
    fn user(text: &str) -> super::super::User {
        let (number, name) =
            text.split_once(':').map_or((text, None), |(number, name)| (number, Some(name.to_owned())));
        let uid = number.parse().expect("a number");
        super::super::User { uid, gid: name.as_ref().map(|_| uid), name }
    }

    #[test]
    fn only_root_becomes_another() {
        let (root, somebody) = (Who { uid: 0, gid: 0 }, Who { uid: 7, gid: 7 });
        assert_eq!(said(root, &["user=33:www", "group=44", "initgroups"]), [""; 0]);
        assert_eq!(said(somebody, &["user=7:me", "group=7"]), [""; 0]);
        assert_eq!(
            said(somebody, &["user=33:www", "group=44"]),
            [
                "user: cannot become www: only root can; start the server as root, or remove the setting",
                "group: cannot become 44: only root can; start the server as root, or remove the setting",
            ]
        );
    }

    #[test]
    fn a_user_that_the_database_does_not_know_needs_a_group() {
        let root = Who { uid: 0, gid: 0 };
        assert_eq!(said(root, &["user=1234", "group=1234"]), [""; 0]);
        assert_eq!(
            said(root, &["user=1234", "initgroups"]),
            [
                "user: the user 1234 has no primary group in the database; set `group` as well",
                "initgroups: needs `user`, with a name that the user database knows",
            ]
        );
    }
}
