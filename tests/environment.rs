//! What an application finds around it: identity, umask, folder, environment, title; in force before it is loaded.
mod support;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;

use support::{Server, Setup, compile_c, is_root, process, wait_until};

/// Writes down what it sees when the dynamic linker runs its constructor: before any function of the interface.
const WITNESS: &str = r#"
    #include <stdio.h>
    #include <stdlib.h>
    #include <grp.h>
    #include <sys/stat.h>
    #include <sys/types.h>
    #include <unistd.h>

    __attribute__((constructor)) static void look(void) {
        char folder[4096];
        mode_t mask = umask(0);
        umask(mask);
        FILE *facts = fopen("FACTS", "w");
        if (!facts) abort();
        fprintf(facts, "uid=%d\neuid=%d\ngid=%d\negid=%d\n", getuid(), geteuid(), getgid(), getegid());
        fprintf(facts, "umask=%03o\nfolder=%s\n", mask, getcwd(folder, sizeof folder));
        fprintf(facts, "colour=%s\n", getenv("COLOUR") ? getenv("COLOUR") : "-");
        gid_t groups[64];
        int count = getgroups(64, groups);
        fprintf(facts, "groups=");
        for (int at = 0; at < count; at++) fprintf(facts, "%d ", groups[at]);
        fprintf(facts, "\n");
        fclose(facts);
    }

    static int32_t call(void *state, void *thread, unirs_exchange *exchange) {
        (void)state; (void)thread;
        return unirs_text(host, exchange, 200, "seen");
    }
"#;

/// Starts with the witness as the application, in a folder where anybody may write.
fn witnessed(configure: impl FnOnce(Setup) -> Setup) -> (Server, BTreeMap<String, String>) {
    let setup = Setup::new();
    fs::set_permissions(setup.dir(), fs::Permissions::from_mode(0o777)).expect("a folder of our own");
    let facts = setup.dir().join("facts");
    let library =
        compile_c(setup.dir(), "witness", &WITNESS.replace("FACTS", facts.to_str().expect("UTF-8")), "");
    let server = configure(setup.configure(|config| config.library(&library))).start();
    let rows = server.read("facts").lines().filter_map(|line| line.split_once('=')).map(own).collect();
    (server, rows)
}

fn own((key, value): (&str, &str)) -> (String, String) {
    (key.to_owned(), value.trim().to_owned())
}

#[test]
fn umask_folder_and_environment_are_in_force_before_the_application_loads() {
    let other = tempfile::tempdir().expect("a temporary folder");
    let path = other.path().to_str().expect("UTF-8").to_owned();
    let (_server, facts) = witnessed(|setup| {
        setup.set("umask", 0o027).set("chdir", path.clone()).set("raw_env", vec!["COLOUR=green"])
    });
    assert_eq!(facts["umask"], "027");
    assert_eq!(facts["folder"], path);
    assert_eq!(facts["colour"], "green");
}

#[test]
fn without_a_umask_setting_the_starter_s_umask_stays() {
    let (server, facts) = witnessed(|setup| setup);
    let own = process::status_row(nix::unistd::getpid(), "Umask").expect("a umask");
    let workers = process::status_row(server.workers()[0], "Umask").expect("a umask");
    assert_eq!(own, workers);
    assert_eq!(facts["folder"], server.dir().to_str().expect("UTF-8"));
}

#[test]
fn user_and_group_are_in_force_before_the_application_loads_and_root_s_groups_are_gone() {
    if !is_root() {
        return;
    }
    let (server, facts) = witnessed(|setup| setup.set("user", "nobody").set("group", "nogroup"));
    let nobody = nix::unistd::User::from_name("nobody").expect("a user database").expect("nobody");
    let nogroup = nix::unistd::Group::from_name("nogroup").expect("a group database").expect("nogroup");
    for (key, id) in [("uid", nobody.uid.as_raw()), ("euid", nobody.uid.as_raw())] {
        assert_eq!(facts[key], id.to_string(), "{key}");
    }
    for key in ["gid", "egid"] {
        assert_eq!(facts[key], nogroup.gid.to_string(), "{key}");
    }
    assert!(facts["groups"].is_empty() || facts["groups"] == nogroup.gid.to_string(), "{}", facts["groups"]);
    let uids = process::status_row(server.master(), "Uid").expect("a status");
    assert!(uids.split_whitespace().all(|uid| uid == "0"), "the master stays root: {uids}");
    assert_eq!(server.get("/").status, 200);
}

#[test]
fn numeric_users_work_and_unknown_ones_are_exit_1() {
    if !is_root() {
        return;
    }
    let (_server, facts) = witnessed(|setup| setup.set("user", 65_534).set("group", 65_534));
    assert_eq!((facts["uid"].as_str(), facts["gid"].as_str()), ("65534", "65534"));
    Setup::new().set("user", "no-such-user").fail().assert(1, "no-such-user", "an unknown user");
}

#[test]
fn a_worker_without_privileges_dies_with_its_master_all_the_same() {
    if !is_root() {
        return;
    }
    let mut server = Setup::new().user("nobody").set("graceful_timeout", 1).set("timeout", 0).start();
    let mut client = server.client();
    let worker = client.worker();
    client.send("GET /burn/120000 HTTP/1.1\r\nHost: a\r\n\r\n").expect("a request");
    server.kill_master();
    wait_until("the stuck worker is gone", || process::is_dead(worker).then_some(()));
}

#[test]
fn the_application_sees_no_ignored_and_no_blocked_signals() {
    let server = Server::with_workers(1);
    let worker = server.workers()[0];
    let blocked = process::status_row(worker, "SigBlk").expect("a status");
    assert_eq!(u64::from_str_radix(&blocked, 16), Ok(0), "blocked in a worker: {blocked}");
}

#[test]
fn titles_say_who_is_who() {
    let server = Setup::new().set("proc_name", "shop").start();
    let worker = server.workers()[0];
    wait_until("the master's title", || {
        process::title(server.master()).contains("unirs: master [shop]").then_some(())
    });
    wait_until("the worker's title", || {
        process::title(worker).contains("unirs: worker [shop]").then_some(())
    });
}

#[test]
fn environment_of_an_earlier_configuration_is_gone_after_a_reload() {
    let mut server = Setup::new().set("raw_env", vec!["COLOUR=red", "SIZE=big"]).start();
    assert_eq!(server.get("/env/SIZE").text().trim(), "big");
    server.configure(|config| config.set("raw_env", vec!["COLOUR=blue"]));
    server.reload(1);
    assert_eq!(server.get("/env/COLOUR").text().trim(), "blue");
    assert_eq!(server.get("/env/SIZE").status, 404);
}
