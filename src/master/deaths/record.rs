//! The first line of a record: who came to its end, how, in which request, and what the client was told. Pure; the stack
//! below it is the symbolizer's.

use std::time::Duration;

use nix::unistd::Pid;

use crate::last_words::{Cause, LastWords, Said, Spoken};
use crate::master::moment::{Monotonic, elapsed};
use crate::master::workers::children::Doom;
use crate::scoreboard::InFlight;
use crate::symbolizer::plain;
use crate::sys::signal;

/// A fault so near to the stack pointer, on either side of it, has run over the end of the stack.
const NEAR: u64 = 64 * 1024;

/// `Worker (pid:7) crashed: SIGSEGV at 0x0 | GET /cart | client 10.0.0.7:4711 | ...`
pub(in crate::master) fn headline(pid: Pid, words: &LastWords, doom: Option<Doom>) -> String {
    let mut parts = vec![format!("Worker (pid:{pid}) {}", what(words, doom))];
    parts.extend(words.exchange.iter().flat_map(request));
    parts.push(format!("thread {}", words.thread));
    if words.said != Said::Nothing {
        parts.push(words.said.to_string());
    }
    match words.parked {
        0 => {}
        1 => parts.push("1 idle connection went with it".to_owned()),
        parked => parts.push(format!("{parked} idle connections went with it")),
    }
    parts.join(" | ")
}

fn what(words: &LastWords, doom: Option<Doom>) -> String {
    match (words.cause, doom) {
        (Cause::Overtime, _) => "was too long in a request".to_owned(),
        (Cause::Exit { code: Some(code) }, _) => format!("ends, since its application called exit({code})"),
        (Cause::Exit { code: None }, _) => "ends, since its application called exit()".to_owned(),
        (Cause::Signal { number: libc::SIGABRT, .. }, Some(doom)) => {
            format!("was sent SIGABRT by the master: {}", doom.reason())
        }
        (Cause::Signal { number, code, address }, _) => fault(number, code, address, words.stack_pointer),
    }
}

/// A code above zero is the kernel's own, and comes with an address, but for `abort()`.
fn fault(number: i32, code: i32, address: u64, stack_pointer: u64) -> String {
    let name = signal::long_name(number);
    if number == libc::SIGABRT {
        return format!("crashed: {name}");
    }
    if code <= 0 {
        return format!("crashed: {name}, which a process has sent");
    }
    let is_overflow = number == libc::SIGSEGV && stack_pointer != 0 && address.abs_diff(stack_pointer) < NEAR;
    let overflow = if is_overflow { " (the stack has overflowed)" } else { "" };
    format!("crashed: {name} at {address:#x}{overflow}")
}

fn request(exchange: &Spoken) -> [String; 3] {
    [
        plain(&exchange.method_and_path),
        format!("client {}", plain(&exchange.client)),
        age(exchange.age, exchange.in_app),
    ]
}

fn age(age: Duration, in_app: Duration) -> String {
    format!("age {:.1} s, {:.1} s of it in the application", age.as_secs_f64(), in_app.as_secs_f64())
}

/// For a worker that could not say anything itself: what the scoreboard knows of the request that it is killed for.
pub(in crate::master) fn headline_from_outside(
    pid: Pid,
    exchange: Option<InFlight>,
    now: Monotonic,
) -> String {
    let head = format!("Worker (pid:{pid}) was too long in a request, and did not react within a second");
    let Some(exchange) = exchange else {
        return format!("{head} | its slot does not say in which | no stack");
    };
    let in_app = match exchange.in_app_since {
        0 => Duration::ZERO,
        since => elapsed(since, now),
    };
    let age = age(elapsed(exchange.started, now), in_app);
    format!("{head} | {} | {age} | not answered | no stack", exchange.request)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(cause: Cause) -> LastWords {
        LastWords {
            cause,
            thread: 78,
            exchange: None,
            said: Said::Nothing,
            parked: 0,
            pc: 0,
            stack_pointer: 0x7f00_0000,
            frames: Vec::new(),
            maps: Vec::new(),
        }
    }

    fn first(words: &LastWords, doom: Option<Doom>) -> String {
        headline(Pid::from_raw(77), words, doom)
    }

    #[test]
    fn a_crash_in_a_request_has_one_line_and_what_came_from_the_network_cannot_break_it() {
        let segv = Cause::Signal { number: libc::SIGSEGV, code: 1, address: 16 };
        let exchange = Spoken {
            number: 3,
            method_and_path: "GET /a\n\x1b[31m\"é".to_owned(),
            client: "10.0.0.7:4711".to_owned(),
            age: Duration::from_millis(1234),
            in_app: Duration::from_millis(1200),
        };
        let words =
            LastWords { exchange: Some(exchange), said: Said::Answered(500), parked: 2, ..words(segv) };
        let line = "Worker (pid:77) crashed: SIGSEGV at 0x10 | GET /a\\x0a\\x1b[31m\\\"\\xc3\\xa9 | client 10.0.0.7:4711 | \
                    age 1.2 s, 1.2 s of it in the application | thread 78 | the client was answered 500 | \
                    2 idle connections went with it";
        assert_eq!(first(&words, None), line);
    }

    #[test]
    fn the_cause_is_told_from_its_neighbours() {
        let signal = |number, code, address| words(Cause::Signal { number, code, address });
        let overflow = first(&signal(libc::SIGSEGV, 2, 0x7eff_fff8), None);
        assert!(overflow.contains("SIGSEGV at 0x7efffff8 (the stack has overflowed)"), "{overflow}");
        let sent = first(&signal(libc::SIGSEGV, 0, 0), None);
        assert!(sent.contains("SIGSEGV, which a process has sent"), "{sent}");
        let abort = signal(libc::SIGABRT, -6, 0);
        assert_eq!(first(&abort, None), "Worker (pid:77) crashed: SIGABRT | thread 78");
        assert!(first(&abort, Some(Doom::Silent)).contains("by the master: its engine did not answer"));
        assert!(first(&words(Cause::Exit { code: Some(7) }), None).contains("called exit(7)"));
        assert!(first(&words(Cause::Overtime), None).contains("too long in a request"));
    }
}
