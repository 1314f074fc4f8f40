//! Access lines that a pipe's reader had no room for, of all threads of a process. A file never has any.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use nix::errno::Errno;

use super::Sink;
use super::pieces::whole_lines;

/// Bytes kept for the reader: some thousand lines, where the pipe itself holds some hundred.
const ROOM: usize = 1 << 20;

/// Whole lines that wait, in the order in which each thread wrote them.
#[derive(Default)]
pub(super) struct Backlog {
    /// Locked only while the reader is behind, and never across a wait.
    lines: Mutex<Vec<u8>>,
    /// True while there are lines. A thread that has put lines here sees it until they are written, so that its next
    /// lines do not overtake them.
    waiting: AtomicBool,
}

impl Backlog {
    /// Writes what waits, then `new`, as far as the reader has room; the rest waits. True: nothing waits.
    pub(super) fn write(&self, sink: &Sink, new: &[u8]) -> bool {
        let mut rest = new;
        if !self.waiting.load(Ordering::Acquire) {
            // Nothing new is no proof that writing works again, so the sink is not asked.
            if !new.is_empty() {
                rest = &new[sink.offer(new)..];
            }
            if rest.is_empty() {
                return true;
            }
        }
        let mut lines = self.lock();
        keep(&mut lines, rest, sink);
        let taken = sink.offer(&lines);
        lines.drain(..taken);
        self.settle(lines)
    }

    /// What still waits is lost: the process ends.
    pub(super) fn give_up(&self, sink: &Sink) {
        let mut lines = self.lock();
        if !lines.is_empty() {
            sink.lose(&lines, &Errno::EAGAIN.into());
            lines.clear();
        }
        self.settle(lines);
    }

    /// Writes what waits from a signal handler, unless the lock is held by the thread that was interrupted.
    pub(super) fn write_last(&self, sink: &Sink) {
        if let Ok(lines) = self.lines.try_lock() {
            sink.write_last(&lines);
        }
    }

    fn settle(&self, mut lines: MutexGuard<'_, Vec<u8>>) -> bool {
        self.waiting.store(!lines.is_empty(), Ordering::Release);
        if lines.is_empty() {
            *lines = Vec::new(); // a mebibyte is not kept for the next time
        }
        lines.is_empty()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<u8>> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The newest lines are lost where there is no room: what the reader gets is in order, with one gap.
fn keep(lines: &mut Vec<u8>, new: &[u8], sink: &Sink) {
    let room = ROOM.saturating_sub(lines.len());
    let kept = if new.len() <= room { new.len() } else { whole_lines(&new[..room]) };
    lines.extend_from_slice(&new[..kept]);
    if kept < new.len() {
        sink.lose(&new[kept..], &Errno::EAGAIN.into());
    }
}
