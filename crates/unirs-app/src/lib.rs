//! The interface between unirs, a pre-fork HTTP application server, and the applications it serves.
//!
//! An application is a type that implements [`App`], compiled into a shared library. The server loads it into each of its
//! worker processes and calls it with one request after the other, on as many threads as its settings say.
//!
//! # A first application
//!
//! `Cargo.toml`:
//!
//! ```toml
//! [package]
//! name = "hello"
//! version = "0.1.0"
//! edition = "2024"
//!
//! [lib]
//! crate-type = ["cdylib"]
//!
//! [dependencies]
//! unirs-app = "0.1"
//! ```
//!
//! `src/lib.rs`:
//!
//! ```
//! use unirs_app::{App, Request, Response, Startup};
//!
//! struct Hello;
//! impl App for Hello {
//!     fn start(_: &Startup) -> Result<Self, unirs_app::Error> { Ok(Hello) }
//!     fn call(&self, _: &mut Request) -> Response { Response::text("Hello, World!\n") }
//! }
//! unirs_app::export!(Hello);
//! ```
//!
//! `cargo build --release` makes `target/release/libhello.so`, and `unirs target/release/libhello.so` serves it.
//!
//! # Requests
//!
//! A [`Request`] has [`method`](Request::method), [`path`](Request::path), [`header`](Request::header), the
//! [query](Request::query_pairs) and the [`peer`](Request::peer), without a copy. Its [`body`](Request::body) is read
//! whole, as [`bytes`](Body::bytes), [`text`](Body::text) or [`json`](Body::json), or piece by piece: it is a
//! [`Read`](std::io::Read).
//!
//! # Answers
//!
//! A [`Response`] is [`text`](Response::text), [`html`](Response::html), [`json`](Response::json),
//! [`bytes`](Response::bytes), a [`file`](Response::file), a [`redirect`](Response::redirect), or a
//! [`stream`](Response::stream) that a closure writes. Status and header fields are added to it as it is made:
//!
//! ```
//! # use unirs_app::Response;
//! Response::text("Gone fishing.\n").status(503).header("retry-after", "3600");
//! ```
//!
//! # Errors
//!
//! `?` makes an [`Error`] of any error. It is answered by a 500 without a word about the inside of the application, and
//! the error log has the rest; an error with a [status](OrStatus) of its own is answered by that. [`App::call`] returns a
//! `Response`, so `?` is for the functions below it, of which [`IntoResponse`] makes one.
//!
//! A panic is caught: a 500, and a line in the log that says what and where. The panic hook runs as in any program, so
//! standard error has its message too. (With `panic = "abort"` in the profile a panic ends the worker.)
//!
//! # Routes
//!
//! A [`Router`] holds functions by method and path. The methods of an application are such functions:
//!
//! ```
//! use std::sync::Mutex;
//! use unirs_app::{App, Error, OrStatus, Request, Response, Router, Startup};
//!
//! struct Notes {
//!     notes: Mutex<Vec<String>>,
//!     routes: Router<Notes>,
//! }
//!
//! impl App for Notes {
//!     fn start(_: &Startup) -> Result<Self, Error> {
//!         let routes = Router::new().post("/notes", Notes::add).get("/notes/{number}", Notes::show);
//!         Ok(Notes { notes: Mutex::default(), routes })
//!     }
//!
//!     fn call(&self, request: &mut Request) -> Response {
//!         self.routes.call(self, request)
//!     }
//! }
//!
//! impl Notes {
//!     fn add(&self, request: &mut Request) -> Result<Response, Error> {
//!         let note = request.body().limit(10_000).text()?;
//!         let mut notes = self.notes.lock().unwrap();
//!         notes.push(note.into_owned());
//!         Ok(Response::new(201).header("Location", format!("/notes/{}", notes.len() - 1)))
//!     }
//!
//!     fn show(&self, request: &mut Request) -> Result<String, Error> {
//!         let number: usize = request.part("number").or_status(404)?.parse().or_status(400)?;
//!         self.notes.lock().unwrap().get(number).cloned().or_status(404)
//!     }
//! }
//! # let notes = unirs_app::test::Server::new::<Notes>();
//! # assert_eq!(notes.post("/notes", "milk").header("Location"), Some("/notes/0"));
//! # assert_eq!(notes.get("/notes/0").text(), "milk");
//! # assert_eq!(notes.get("/notes/1").status(), 404);
//! ```
//!
//! What stands around an application, such as a request log, is an application that [holds it](App#middleware).
//!
//! # Configuration, logs, counters
//!
//! [`Startup`] has the application's own table of the settings file, and counters that the server publishes; [`log`](mod@log) writes
//! to the server's error log.
//!
//! # Tests
//!
//! [`test::Server`] calls an application without a server and shows the answer.
//!
//! # The binary interface
//!
//! [`abi`] is what crosses between a server and a library. It only grows, so a library that was built with this version
//! loads in later servers. `include/unirs_app.h`, in this package, is the same for C and C++.
//!
//! # Features
//!
//! - `serde` (on by default): JSON in and out, and [`Startup::config`].

pub mod abi;
pub mod log;
pub mod test;

mod app;
mod body;
mod bytes;
mod error;
mod export;
mod host;
mod panics;
mod pattern;
mod query;
mod refusal;
mod request;
mod response;
mod router;
mod send;
mod startup;
mod status;
mod writer;

pub use app::{App, Hook};
pub use body::Body;
pub use bytes::Bytes;
pub use error::{Error, OrStatus};
pub use export::{Package, abi_table, abi_table_of};
pub use query::Query;
pub use refusal::Refusal;
pub use request::{Endpoint, Request};
pub use response::{IntoResponse, Response};
pub use router::Router;
pub use startup::{Counter, Startup, Worker};
pub use writer::Writer;
