//! `info`: what the server knows of a request, as a page, or as JSON for those who ask for it. It shows all that the
//! client sent, cookies too, to that same client; nothing of the machine but the worker.

use std::fmt::Write;

use serde::Serialize;
use unirs_app::{App, Error, Request, Response, Startup};

use super::accept;
use super::page::{self, Part};

/// Answers what it was asked.
pub(super) struct Info {
    /// The server's name and version.
    software: String,
}

impl App for Info {
    const NAME: &'static str = "info";
    const VERSION: &'static str = super::VERSION;

    fn start(startup: &Startup) -> Result<Self, Error> {
        Ok(Info { software: startup.software().to_owned() })
    }

    fn call(&self, request: &mut Request) -> Response {
        let facts = Facts::of(request, &self.software);
        if request.header("accept").is_some_and(accept::prefers_json) {
            return Response::json(&facts).header("cache-control", "no-store").header("vary", "accept");
        }
        html(&facts).header("vary", "accept")
    }
}

/// A request as JSON says it. Bytes that are no UTF-8 are replaced.
#[derive(Serialize)]
struct Facts {
    method: String,
    target: String,
    path: String,
    query: Option<String>,
    http_version: &'static str,
    scheme: String,
    authority: String,
    prefix: String,
    /// Pairs, for a name may come more than once.
    headers: Vec<(String, String)>,
    content_length: Option<u64>,
    peer: String,
    connection: String,
    server: String,
    listener: u32,
    id: String,
    queued_us: u128,
    software: String,
    worker: Worker,
}

#[derive(Serialize)]
struct Worker {
    pid: i32,
    slot: u32,
    generation: u64,
    threads: u32,
    workers: u32,
}

impl Facts {
    fn of(request: &Request, software: &str) -> Facts {
        let worker = request.worker();
        Facts {
            method: request.method().to_owned(),
            target: text(request.target()),
            path: request.path().to_owned(),
            query: request.query_bytes().map(text),
            http_version: if request.http_version() == 10 { "1.0" } else { "1.1" },
            scheme: request.scheme().to_owned(),
            authority: request.authority().to_owned(),
            prefix: request.prefix().to_owned(),
            headers: request.headers().map(|(name, value)| (name.to_owned(), text(value))).collect(),
            content_length: request.content_length(),
            peer: request.peer().to_string(),
            connection: request.connection().to_string(),
            server: request.server().to_string(),
            listener: request.listener(),
            id: request.id().to_owned(),
            queued_us: request.queued().as_micros(),
            software: software.to_owned(),
            worker: Worker {
                pid: worker.pid,
                slot: worker.slot,
                generation: worker.generation,
                threads: worker.threads,
                workers: worker.workers,
            },
        }
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn html(facts: &Facts) -> Response {
    let headers = facts.headers.iter();
    let headers = headers.map(|(name, value)| (name.as_str(), value.clone()));
    let tables = [
        table("Request", facts.of_the_request()),
        table("Header fields", headers),
        table("Connection and worker", facts.of_the_server()),
    ];
    page::render(TEMPLATE, &[("tables", Part::Html(&tables.concat()))])
}

impl Facts {
    fn of_the_request(&self) -> [(&'static str, String); 10] {
        let body = self.content_length.map(|length| format!("{length} bytes"));
        [
            ("method", self.method.clone()),
            ("target", self.target.clone()),
            ("path", self.path.clone()),
            ("query", or_none(self.query.as_deref().unwrap_or_default())),
            ("version", format!("HTTP/{}", self.http_version)),
            ("scheme", self.scheme.clone()),
            ("authority", self.authority.clone()),
            ("prefix", or_none(&self.prefix)),
            ("body", body.unwrap_or("of unknown length".to_owned())),
            ("id", self.id.clone()),
        ]
    }

    fn of_the_server(&self) -> [(&'static str, String); 9] {
        let (server, listener, worker) = (&self.server, self.listener, &self.worker);
        [
            ("client", self.peer.clone()),
            ("connection", self.connection.clone()),
            ("server", format!("{server}, listener {listener}")),
            ("software", self.software.clone()),
            ("worker", format!("pid {}, slot {}", worker.pid, worker.slot)),
            ("generation", worker.generation.to_string()),
            ("workers", worker.workers.to_string()),
            ("threads", format!("{} in each worker", worker.threads)),
            ("waited", format!("{} µs for its call", self.queued_us)),
        ]
    }
}

fn or_none(text: &str) -> String {
    if text.is_empty() { "none" } else { text }.to_owned()
}

const TEMPLATE: &str = include_str!("info.html");

/// A table of names and values, all escaped.
fn table<'a>(title: &str, rows: impl IntoIterator<Item = (&'a str, String)>) -> String {
    let mut html = format!("<section><h2>{title}</h2><table>");
    for (name, value) in rows {
        let (name, value) = (page::escape(name), page::escape(&value));
        // Writing to a string does not fail.
        let _ = write!(html, "<tr><th scope=\"row\">{name}</th><td>{value}</td></tr>");
    }
    html.push_str("</table></section>\n");
    html
}
