//! The receiving end of sd_notify: a datagram socket as systemd has it, and what came in.

use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use super::wait_until;

/// Collects every message, so that the sender never finds its queue full.
pub(crate) struct Notify {
    path: PathBuf,
    messages: Arc<Mutex<Vec<String>>>,
    stop: Arc<AtomicBool>,
    reader: Option<JoinHandle<()>>,
}

impl Notify {
    /// Binds `path` and starts to collect.
    pub(crate) fn bind(path: &Path) -> Notify {
        let socket = UnixDatagram::bind(path).expect("the temporary folder takes a socket");
        socket.set_read_timeout(Some(Duration::from_millis(50))).expect("a socket takes a timeout");
        let messages = Arc::new(Mutex::new(Vec::new()));
        let stop = Arc::new(AtomicBool::new(false));
        let reader = std::thread::spawn({
            let (messages, stop) = (Arc::clone(&messages), Arc::clone(&stop));
            move || collect(&socket, &messages, &stop)
        });
        Notify { path: path.to_owned(), messages, stop, reader: Some(reader) }
    }

    /// The value for `NOTIFY_SOCKET`.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Every line of every message so far.
    pub(crate) fn lines(&self) -> Vec<String> {
        let messages = self.messages.lock().expect("the collector does not panic");
        messages.iter().flat_map(|message| message.lines()).map(str::to_owned).collect()
    }

    /// Whether a line of some message begins so.
    pub(crate) fn has(&self, prefix: &str) -> bool {
        self.lines().iter().any(|line| line.starts_with(prefix))
    }

    /// Waits for a line that begins so.
    pub(crate) fn wait_for(&self, prefix: &str) {
        wait_until(format_args!("sd_notify says {prefix}"), || self.has(prefix).then_some(()));
    }
}

impl Drop for Notify {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(reader) = self.reader.take() {
            // A panic of the collector was already seen where its lock was taken.
            let _ = reader.join();
        }
    }
}

fn collect(socket: &UnixDatagram, messages: &Mutex<Vec<String>>, stop: &AtomicBool) {
    let mut buffer = [0_u8; 4096];
    while !stop.load(Ordering::Relaxed) {
        if let Ok(length) = socket.recv(&mut buffer) {
            let message = String::from_utf8_lossy(&buffer[..length]).into_owned();
            messages.lock().expect("nobody panics with this lock").push(message);
        }
    }
}
