//! `welcome`: the page of a server that was just started. It shows who answered, and what to try next, in commands
//! that fit this very process. Not documentation.

use std::os::unix::process::parent_id;

use unirs_app::{App, Error, Request, Response, Startup};

use super::page::{self, Part};

/// Answers `/` with the page.
pub(super) struct Welcome {
    /// The server's name and version.
    software: String,
}

impl App for Welcome {
    const NAME: &'static str = "welcome";
    const VERSION: &'static str = super::VERSION;

    fn start(startup: &Startup) -> Result<Self, Error> {
        Ok(Welcome { software: startup.software().to_owned() })
    }

    fn call(&self, request: &mut Request) -> Response {
        match (request.path(), request.method()) {
            ("/", "GET" | "HEAD") => self.page(request),
            ("/", _) => Response::plain_status(405).header("Allow", "GET, HEAD"),
            _ => Response::plain_status(404),
        }
    }
}

const TEMPLATE: &str = include_str!("welcome.html");

impl Welcome {
    fn page(&self, request: &Request) -> Response {
        let worker = request.worker();
        let [pid, slot] = [worker.pid.to_string(), worker.slot.to_string()];
        let [threads, workers] = [worker.threads.to_string(), worker.workers.to_string()];
        // Whoever forked us is told what to do with it; the operator's shell finds it by the same number.
        let (generation, master) = (worker.generation.to_string(), parent_id().to_string());
        let width = master.len().max(pid.len());
        // One below the other in commands, so of one width.
        let (to_master, to_worker) = (format!("{master:width$}"), format!("{pid:width$}"));
        page::render(
            TEMPLATE,
            &[
                ("software", Part::Text(&self.software)),
                ("address", Part::Text(&address(request))),
                ("pid", Part::Text(&pid)),
                ("slot", Part::Text(&slot)),
                ("generation", Part::Text(&generation)),
                ("threads", Part::Text(&threads)),
                ("workers", Part::Text(&workers)),
                ("master", Part::Text(&master)),
                ("to_master", Part::Text(&to_master)),
                ("to_worker", Part::Text(&to_worker)),
                ("rust", Part::Text(include_str!("shop.rs").trim_end())),
                ("c", Part::Text(include_str!("shop.c").trim_end())),
            ],
        )
    }
}

/// What to type after `curl`: the address by which this client came here.
fn address(request: &Request) -> String {
    let prefix = request.prefix();
    match request.authority() {
        "" => format!("http://localhost{prefix}/"),
        authority => format!("{}://{authority}{prefix}/", request.scheme()),
    }
}
