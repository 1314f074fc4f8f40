//! The program: command line in, exit code out.

use std::process::ExitCode;

use unirs::cli::{self, Task};
use unirs::server;

fn main() -> ExitCode {
    match cli::read() {
        Task::Done(code) => code,
        Task::Check(sources, loaded) => server::check(sources, *loaded),
        Task::Serve(sources, loaded) => server::run(sources, *loaded),
    }
}
