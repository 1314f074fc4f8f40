//! The command line: what was asked for, and the exit code. What the settings mean and how they are served is said
//! elsewhere.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "this is where the program answers its user")]

use std::process::ExitCode;

use crate::settings::{Loaded, Sources};

/// What the command line asks for.
pub enum Task {
    /// Nothing more: the user was answered.
    Done(ExitCode),
    /// Say whether the server would start.
    Check(Sources, Box<Loaded>),
    /// Serve.
    Serve(Sources, Box<Loaded>),
}

/// Reads the command line, and everything that it leads to.
pub fn read() -> Task {
    let sources = match Sources::capture() {
        Ok(sources) => sources,
        Err(why) => return refused(&format!("cannot read the current directory: {why}")),
    };
    if let Some(reply) = sources.reply() {
        if reply.is_error {
            eprint!("{}", reply.text);
        } else {
            print!("{}", reply.text);
        }
        return Task::Done(ExitCode::from(reply.exit_code));
    }
    match sources.load() {
        Ok(loaded) => asked(sources, Box::new(loaded)),
        Err(problems) => {
            problems.iter().for_each(|problem| eprintln!("Error: {problem}"));
            Task::Done(ExitCode::from(problems.exit_code()))
        }
    }
}

fn asked(sources: Sources, loaded: Box<Loaded>) -> Task {
    let invocation = loaded.invocation;
    if invocation.print_config {
        print!("{}", loaded.print());
    }
    if invocation.check_config {
        Task::Check(sources, loaded)
    } else if invocation.print_config {
        Task::Done(ExitCode::SUCCESS)
    } else {
        Task::Serve(sources, loaded)
    }
}

fn refused(sentence: &str) -> Task {
    eprintln!("Error: {sentence}");
    Task::Done(ExitCode::FAILURE)
}
