//! unirs: a pre-fork, multi-process HTTP application server for Linux.
//!
//! The library exists for the binary, the benchmarks and the fuzz targets; it is no public interface. Applications
//! are written against the crate `unirs-app`.
#![deny(unsafe_code)]

pub mod app;
pub mod cli;
mod last_words;
mod listener;
pub mod log;
mod master;
mod pair;
pub mod reload_command;
pub mod scoreboard;
pub mod server;
pub mod settings;
mod symbolizer;
mod sys;
mod worker;

/// HTTP/1.1: a crate of its own, with an optimisation of its own.
pub use unirs_http as http;
#[doc(hidden)] // for tests and fuzz targets
pub use worker::trial;
