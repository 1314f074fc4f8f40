//! What the settings mean to a worker, in the units in which it asks.

use std::time::Duration;

use crate::http::{Leniency, Limits, ServerField, Underscores};
use crate::settings::{HeaderMap, Settings};

/// A head is never larger than this, whatever the limits of its parts say.
const LARGEST_HEAD: usize = 64 * 1024;

/// How long the host reads on from a connection that it has ended, so that the client sees the answer.
pub(super) const LINGERING: Duration = Duration::from_secs(2);

/// How much it reads on: what a client on a fast network sends before it looks for an answer.
pub(super) const LINGERING_BYTES: u64 = 64 * 1024 * 1024;

/// At a stop, an idle connection stays no longer than this.
const IDLE_AT_STOP: Duration = Duration::from_secs(1);

/// Limits in bytes and nanoseconds; what is switched off is `u64::MAX`.
#[derive(Debug)]
pub(super) struct Rules {
    /// Of the head.
    pub head: Limits,
    /// What is forgiven of a head.
    pub leniency: Leniency,
    /// The Server field, if there is one.
    pub server: Option<ServerField>,
    /// The longest body.
    pub body: u64,
    /// Up to this, a body is complete before the application is called.
    pub body_buffer: usize,
    /// From the first byte of a head, or from the accept, to its end.
    pub header_timeout: u64,
    /// Between two reads of a body.
    pub body_timeout: Option<Duration>,
    /// Since the client took the last byte of an answer.
    pub write_timeout: Option<Duration>,
    /// From an answer to the next request; zero: one request for each connection.
    pub keepalive: u64,
    /// The same, once the server stops.
    pub keepalive_at_stop: u64,
    /// How long a worker may take that retires.
    pub graceful: u64,
    /// The most connections at once.
    pub connections: usize,
}

impl Rules {
    /// Of the settings.
    pub(super) fn new(settings: &Settings) -> Rules {
        let keepalive = nanoseconds(settings.keepalive);
        Rules {
            head: Limits {
                line: settings.limit_request_line,
                fields: settings.limit_request_fields,
                field_size: settings.limit_request_field_size,
                head: LARGEST_HEAD,
            },
            leniency: leniency(settings),
            server: settings.server_header.as_deref().and_then(ServerField::new),
            body: settings.limit_request_body.unwrap_or(u64::MAX),
            body_buffer: settings.body_buffer_size,
            header_timeout: settings.header_timeout.map_or(u64::MAX, nanoseconds),
            body_timeout: settings.body_timeout,
            write_timeout: settings.write_timeout,
            keepalive,
            keepalive_at_stop: keepalive.min(nanoseconds(IDLE_AT_STOP)),
            graceful: nanoseconds(settings.graceful_timeout),
            connections: settings.worker_connections,
        }
    }
}

fn leniency(settings: &Settings) -> Leniency {
    Leniency {
        underscores: match settings.header_map {
            HeaderMap::Drop => Underscores::Dropped,
            HeaderMap::Refuse => Underscores::Refused,
            HeaderMap::Dangerous => Underscores::Kept,
        },
        folded_fields: settings.permit_obsolete_folding,
        spaces_after_names: settings.strip_header_spaces,
        unconventional_methods: settings.permit_unconventional_http_method,
        unconventional_versions: settings.permit_unconventional_http_version,
        methods_in_any_case: settings.casefold_http_method,
    }
}

/// A duration as the clock counts.
pub(super) fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// When `limit` after `start` is over; never, where there is no limit.
pub(super) fn after(start: u64, limit: Option<Duration>) -> u64 {
    limit.map_or(u64::MAX, |limit| start.saturating_add(nanoseconds(limit)))
}
