//! Unix sockets: how they come to their path, and how they leave it.

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use super::{open, refusal};
use crate::listener::{BindError, Listener, Options};
use crate::settings::Bind;
use crate::sys::socket;

fn within(folder: &tempfile::TempDir, name: &str) -> (PathBuf, Bind) {
    let path = folder.path().join(name);
    (path.clone(), Bind::Unix(path))
}

#[test]
fn a_unix_socket_has_its_mode_and_is_unlinked_once() {
    let folder = tempfile::tempdir().unwrap();
    let (path, bind) = within(&folder, "a.sock");
    for (umask, mode) in [(None, 0o777), (Some(0o117), 0o660)] {
        let owner = Some((nix::unistd::getuid().as_raw(), nix::unistd::getgid().as_raw()));
        let listener = Listener::open(&bind, &Options { umask, owner, ..Options::default() }).unwrap();
        let metadata = fs::symlink_metadata(&path).unwrap();
        assert!(metadata.file_type().is_socket());
        assert_eq!(metadata.permissions().mode() & 0o7777, mode);
        assert_eq!(listener.server_address(), (path.to_str().unwrap(), 0));
        assert_eq!(listener.address().to_string(), format!("unix:{}", path.display()));
        let _client = UnixStream::connect(&path).unwrap();
        assert_eq!(listener.accept().unwrap().1.address(), "");
        listener.refuse_newcomers().unwrap();
        assert!(!path.exists());
        listener.unlink().unwrap();
    }
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 0, "no other name is left behind");
}

#[test]
fn only_our_own_socket_is_unlinked() {
    let folder = tempfile::tempdir().unwrap();
    let (path, bind) = within(&folder, "a.sock");
    let ours = open(&bind);
    fs::remove_file(&path).unwrap();
    let _theirs = UnixListener::bind(&path).unwrap();
    ours.unlink().unwrap();
    UnixStream::connect(&path).expect("the other server's socket is still there");
}

#[test]
fn a_live_socket_is_refused_and_stays() {
    let folder = tempfile::tempdir().unwrap();
    let (path, bind) = within(&folder, "a.sock");
    let first = open(&bind);
    let error = refusal(&bind);
    assert_eq!(
        error.to_string(),
        format!(
            "cannot bind unix:{}: another server listens there; stop it, or choose another path",
            path.display()
        )
    );
    let mut waiting = Vec::new();
    while let Ok(probe) = socket::unix_socket()
        && socket::connect_unix(&probe, &path).is_ok()
    {
        waiting.push(probe);
    }
    assert!(matches!(refusal(&bind), BindError::Live { .. }), "a full queue is alive too");
    drop((first, waiting));
    open(&bind);
}

#[test]
fn what_is_no_dead_stream_socket_is_never_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let (path, bind) = within(&folder, "a");
    fs::write(&path, "precious").unwrap();
    let error = refusal(&bind).to_string();
    assert!(error.ends_with("a exists and is a file; remove it, or choose another path"), "{error}");
    assert_eq!(fs::read(&path).unwrap(), b"precious");
    fs::remove_file(&path).unwrap();
    let _datagrams = UnixDatagram::bind(&path).unwrap();
    let error = refusal(&bind).to_string();
    assert!(error.contains("is a socket of another kind, in use"), "{error}");
    let (beside, bind) = within(&folder, "b");
    let taken = format!("{}.{}", beside.display(), std::process::id());
    let _live = UnixListener::bind(&taken).unwrap();
    assert!(matches!(refusal(&bind), BindError::Live { .. }), "not even under the passing name");
    UnixStream::connect(&taken).expect("it is still there");
}

#[test]
fn a_missing_folder_and_a_long_path_are_said() {
    let folder = tempfile::tempdir().unwrap();
    let (_, bind) = within(&folder, "no/such/folder");
    let error = refusal(&bind).to_string();
    assert!(error.ends_with(": no such file or directory (its folder has to exist)"), "{error}");
    let (_, bind) = within(&folder, &"x".repeat(100));
    let error = refusal(&bind).to_string();
    assert!(error.contains("the path is too long for a socket, at most "), "{error}");
}

#[test]
fn what_died_is_replaced_without_a_gap() {
    let folder = tempfile::tempdir().unwrap();
    let (path, bind) = within(&folder, "a.sock");
    drop(open(&bind)); // as after kill -9: the path stays, nobody listens
    let stale = fs::symlink_metadata(&path).unwrap().ino();
    let beside = format!("{}.{}", path.display(), std::process::id());
    drop(UnixListener::bind(&beside).unwrap());
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let watcher = scope.spawn(|| watch(&path, &done));
        let listener = open(&bind);
        assert_ne!(fs::symlink_metadata(&path).unwrap().ino(), stale);
        done.store(true, Ordering::Release);
        watcher.join().unwrap();
        drop(listener);
    });
    assert!(!Path::new(&beside).exists());
}

/// There is a socket at the path at every moment.
fn watch(path: &Path, done: &AtomicBool) {
    while !done.load(Ordering::Acquire) {
        assert!(fs::symlink_metadata(path).expect("the path was gone").file_type().is_socket());
    }
}

#[test]
fn an_abstract_name_is_bound_and_leaves_no_file() {
    let name = format!("\0unirs-test-{}", std::process::id());
    let listener = open(&Bind::Unix(name.clone().into()));
    assert_eq!(listener.address().to_string(), format!("unix:@{}", &name[1..]));
    let error = refusal(&Bind::Unix(name.clone().into())).to_string();
    assert_eq!(error, format!("cannot bind unix:@{}: address already in use", &name[1..]));
}
