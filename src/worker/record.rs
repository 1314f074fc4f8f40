//! What an exchange shows of itself: to the application as a request, to the access log as a record.

use std::time::Duration;

use super::exchange::Job;
use crate::app::{FieldView, RequestView};
use crate::http::{Framing, Version};
use crate::log::{AccessRecord, Fields, NoFields};
use crate::sys::clock;

impl Job {
    #[inline(always)]
    pub(super) fn view(&self) -> RequestView<'_> {
        let input = self.wire_ref().input.filled();
        let (peer, door) = (&self.wire_ref().peer, self.engine.door(self.wire_ref().listener));
        RequestView {
            http_version: if self.head.version() == Version::Http10 { 10 } else { 11 },
            method: self.head.method(input),
            target: self.head.target(input),
            path: self.decoded_path(),
            raw_path: self.head.path(input),
            query: self.head.query(input),
            scheme: "http",
            authority: self.head.authority(input),
            prefix: b"",
            peer_address: peer.address(),
            peer_port: peer.port(),
            connection_address: peer.address(),
            connection_port: peer.port(),
            server_address: door.address(),
            server_port: door.port(),
            listener: door.bind_index(),
            content_length: match self.head.framing() {
                Framing::None => Some(0),
                Framing::Length(length) => Some(length),
                Framing::Chunked => None,
            },
            arrived_at_ns: self.engine.wall_clock.at(self.arrived),
            queued_ns: self.called.saturating_sub(self.arrived),
        }
    }

    pub(super) fn view_field(&self, index: usize) -> Option<FieldView<'_>> {
        if index >= self.head.field_count() {
            return None;
        }
        let field = self.head.field(index, self.wire_ref().input.filled());
        Some(FieldView { name: field.name, value: field.value, known: field.known })
    }

    /// The line of the access log, for an answer that took so long.
    pub(super) fn record(&self, duration: Duration) -> AccessRecord<'_> {
        let input = self.wire_ref().input.filled();
        let (method, target, path, query) = match self.incoming {
            Some(_) => {
                let head = &self.head;
                (head.method(input), head.target(input), self.decoded_path(), head.query(input))
            }
            None => {
                let (method, target) = as_received(input);
                (method, target, target, None)
            }
        };
        AccessRecord {
            peer: self.wire_ref().peer.address(),
            method,
            target,
            path,
            query,
            protocol: if self.version() == Version::Http10 { "HTTP/1.0" } else { "HTTP/1.1" },
            status: self.status,
            body_bytes: self.body_bytes,
            duration,
            now: clock::realtime_coarse_seconds(),
            pid: self.engine.pid,
            request: self,
            response: &self.sent_head,
            environ: &NoFields,
        }
    }
}

impl Fields for Job {
    fn field(&self, name: &str) -> Option<&[u8]> {
        let input = self.wire_ref().input.filled();
        self.incoming.as_ref().and_then(|_| self.head.find(name, input))
    }
}

/// The head of an answer as it was sent, for the access log.
#[derive(Debug, Default)]
pub(super) struct SentHead(pub(super) Vec<u8>);

impl Fields for SentHead {
    fn field(&self, name: &str) -> Option<&[u8]> {
        let lines = self.0.split(|byte| *byte == b'\n').skip(1);
        let mut fields = lines.filter_map(|line| {
            let colon = memchr::memchr(b':', line)?;
            Some((&line[..colon], line[colon + 1..].trim_ascii()))
        });
        fields.find(|(found, _)| found.eq_ignore_ascii_case(name.as_bytes())).map(|(_, value)| value)
    }
}

/// What the access log shows where there is nothing.
const UNKNOWN: &[u8] = b"-";

/// No more than this is shown of a method, or of a target, that was refused.
const LONGEST_METHOD: usize = 32;
const LONGEST_TARGET: usize = 1024;

/// The first two words of a request that was refused, as far as they have come: whoever reads the log wants to know what
/// somebody tried. The log escapes them.
fn as_received(input: &[u8]) -> (&[u8], &[u8]) {
    let mut lines = input.split(|byte| matches!(byte, b'\r' | b'\n')).filter(|line| !line.is_empty());
    let mut words =
        lines.next().unwrap_or_default().split(|byte| *byte == b' ').filter(|word| !word.is_empty());
    let mut word = |longest: usize| match words.next() {
        Some(word) => &word[..word.len().min(longest)],
        None => UNKNOWN,
    };
    (word(LONGEST_METHOD), word(LONGEST_TARGET))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_request_is_shown_as_far_as_it_came() {
        let shown = |input: &str| {
            let (method, target) = as_received(input.as_bytes());
            format!("{} {}", method.escape_ascii(), target.escape_ascii())
        };
        assert_eq!(shown("GET /a?b HTTP/2.0\r\nHost: a\r\n\r\n"), "GET /a?b");
        assert_eq!(shown("\r\nget  /a"), "get /a");
        assert_eq!(shown("\u{16}\u{3}\u{1}"), "\\x16\\x03\\x01 -");
        assert_eq!(shown("\r\n"), "- -");
        assert_eq!(shown(""), "- -");
        assert_eq!(as_received(&[b'x'; 5000]).0.len(), LONGEST_METHOD);
    }
}
