//! What a process is and has, and what an application can do to it.

use std::fmt::Write;
use std::fs;
use std::io;
use std::thread;
use std::time::Duration;

use unirs_app::{Error, OrStatus, Request, Response, Router};

use crate::{TestApp, hang, millis, part};

pub(crate) fn routes(router: Router<TestApp>) -> Router<TestApp> {
    router
        .get("/abort", |_, _| -> Response { std::process::abort() })
        .get("/exit", |_, _| -> Response { leave() })
        .get("/segv", |_, _| -> Response { write_to_nowhere() })
        .get("/burn/{ms}", burn)
        .get("/backtrace", |_, _| std::backtrace::Backtrace::force_capture().to_string())
        .get("/pid", |_, _| std::process::id().to_string())
        .get("/env/{name}", env)
        .get("/cwd", |_, _| -> Result<_, Error> { Ok(std::env::current_dir()?.display().to_string()) })
        .get("/umask", |_, _| status_line("Umask:"))
        .get("/ids", ids)
        .get("/fds", fds)
        .get("/threads", |_, _| -> Result<_, Error> {
            Ok(fs::read_dir("/proc/self/task")?.count().to_string())
        })
        .get("/leak-threads/{n}", leak_threads)
        .get("/block-signals", |_, _| block_signals())
        .get("/close-fd/{n}", close)
}

/// Calls `exit`, as a library may that was written for a program of its own.
#[allow(clippy::exit, reason = "misbehaving is what this crate is for")]
pub(crate) fn leave() -> ! {
    std::process::exit(7)
}

fn write_to_nowhere() -> ! {
    let nowhere = std::ptr::without_provenance_mut::<u8>(1);
    // SAFETY: none; the fault is what was asked for. (A null pointer would be an abort in a debug build.)
    unsafe { nowhere.write_volatile(0) };
    std::process::abort()
}

/// Burns this thread's CPU time.
fn burn(_: &TestApp, request: &mut Request) -> Result<Response, Error> {
    let wanted = millis(&part(request, "ms")?)?;
    let start = thread_time()?;
    while thread_time()?.saturating_sub(start) < wanted {
        std::hint::black_box((0..1000_u64).fold(0, u64::wrapping_add));
    }
    Ok(Response::text(format!("burnt {} ms\n", wanted.as_millis())))
}

fn thread_time() -> io::Result<Duration> {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: a place for the result.
    if unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec.unsigned_abs() as u32))
}

fn env(_: &TestApp, request: &mut Request) -> Result<String, Error> {
    std::env::var(part(request, "name")?).or_status(404)
}

/// The values of a line of `/proc/self/status`.
fn status_line(name: &str) -> Result<String, Error> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix(name)).or_status(404)?;
    Ok(line.split_whitespace().collect::<Vec<_>>().join(" "))
}

/// The effective ones: `uid=1 gid=2 groups=2 3`.
fn ids(_: &TestApp, _: &mut Request) -> Result<String, Error> {
    let effective = |line: String| line.split(' ').nth(1).unwrap_or_default().to_owned();
    let (uid, gid) = (effective(status_line("Uid:")?), effective(status_line("Gid:")?));
    Ok(format!("uid={uid} gid={gid} groups={}", status_line("Groups:")?))
}

/// A line `NUMBER TARGET` for each open descriptor, but for that which reads them.
fn fds(_: &TestApp, _: &mut Request) -> Result<String, Error> {
    let mut descriptors = Vec::new();
    for entry in fs::read_dir("/proc/self/fd")? {
        let entry = entry?;
        let number: u32 = entry.file_name().to_string_lossy().parse()?;
        descriptors.push((number, entry.path()));
    }
    descriptors.sort();
    let mut lines = String::new();
    for (number, path) in descriptors {
        // The directory that was read is closed by now.
        if let Ok(target) = fs::read_link(path) {
            writeln!(lines, "{number} {}", target.display())?;
        }
    }
    Ok(lines)
}

fn leak_threads(_: &TestApp, request: &mut Request) -> Result<Response, Error> {
    let count: u32 = part(request, "n")?.parse().or_status(400)?;
    for _ in 0..count {
        thread::spawn(|| hang());
    }
    Ok(Response::text(format!("{count} threads\n")))
}

/// Blocks all signals in this thread.
fn block_signals() -> &'static str {
    // SAFETY: all zeros are a set; it is filled below.
    let mut all: libc::sigset_t = unsafe { std::mem::zeroed() };
    // SAFETY: a set of ours.
    unsafe { libc::sigfillset(&mut all) };
    // SAFETY: a set of ours; the old mask is not asked for.
    unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, &all, std::ptr::null_mut()) };
    "blocked\n"
}

/// Closes a descriptor that may be anybody's.
fn close(_: &TestApp, request: &mut Request) -> Result<Response, Error> {
    let number: i32 = part(request, "n")?.parse().or_status(400)?;
    // SAFETY: a breach on purpose: whose descriptor it is, the request decides.
    let result = unsafe { libc::close(number) };
    Ok(Response::text(format!("{result}\n")))
}
