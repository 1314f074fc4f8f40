//! The program: command line in, exit code out.

use std::process::ExitCode;

use unirs::cli::{self, Task};
use unirs::{reload_command, server};

fn main() -> ExitCode {
    match cli::read() {
        Task::Done(code) => code,
        Task::Refused(code, reason) => server::refuse(code, &reason),
        Task::Check(sources, loaded) => server::check(sources, *loaded),
        Task::Reload(request) => reload_command::run(&request),
        Task::Serve(sources, loaded) => server::run(sources, *loaded),
    }
}
