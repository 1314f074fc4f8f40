//! The command line: what was asked for, and the exit code. What the settings mean and how they are served is said
//! elsewhere.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "this is where the program answers its user")]

use std::process::ExitCode;

use crate::settings::{Loaded, ReloadRequest, Reply, Sources};

/// What the command line asks for.
pub enum Task {
    /// Nothing more: the user was answered.
    Done(ExitCode),
    /// Nothing more: the settings are refused, and the user was told why. A master that has started this process (USR2)
    /// wants to know it, too.
    Refused(ExitCode, String),
    /// Say whether the server would start.
    Check(Sources, Box<Loaded>),
    /// Have a running server reload.
    Reload(ReloadRequest),
    /// Serve.
    Serve(Sources, Box<Loaded>),
}

/// Reads the command line, and everything that it leads to.
pub fn read() -> Task {
    let sources = match Sources::capture() {
        Ok(sources) => sources,
        Err(why) => return refused(&format!("cannot read the current directory: {why}")),
    };
    match sources.reload_request() {
        Some(Ok(request)) => return Task::Reload(request),
        Some(Err(reply)) => return answered(&reply),
        None => {}
    }
    if let Some(reply) = sources.reply() {
        return answered(&reply);
    }
    match sources.load() {
        Ok(loaded) => asked(sources, Box::new(loaded)),
        Err(problems) => {
            let sentences: Vec<String> = problems.iter().map(ToString::to_string).collect();
            sentences.iter().for_each(|sentence| eprintln!("Error: {sentence}"));
            Task::Refused(ExitCode::from(problems.exit_code()), sentences.join("; "))
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

fn answered(reply: &Reply) -> Task {
    if reply.is_error {
        eprint!("{}", reply.text);
    } else {
        print!("{}", reply.text);
    }
    Task::Done(ExitCode::from(reply.exit_code))
}

fn refused(sentence: &str) -> Task {
    eprintln!("Error: {sentence}");
    Task::Done(ExitCode::FAILURE)
}
