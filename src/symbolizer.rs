//! Turns the raw stack of a dying thread into a record for the error log, in a short-lived process of its own: names come
//! from files that a broken worker names, and are looked up by code that is much larger than the master's. It does not
//! decide who is symbolized, nor what the headline says.

use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::sys::resource::{Resource, setrlimit};

use crate::sys::identity::{self, Groups};
use crate::sys::image::Image;
use crate::sys::process;

mod elf;
mod files;
mod maps;
mod text;

pub(crate) use text::plain;

use files::Files;
use maps::Maps;
use text::Function;

/// For so long names are looked for; then the record is written with those that are there. It is less than the master
/// waits before it writes the record itself.
const PATIENCE: Duration = Duration::from_secs(4);
/// Debug information that wants more memory than this has no names.
const MOST_MEMORY: u64 = 4 << 30;

/// What is known of one thread's end.
#[derive(Debug)]
pub(crate) struct Case {
    /// What has happened: one line, already escaped.
    pub headline: String,
    /// Where the thread was, then the return addresses, innermost first.
    pub frames: Vec<u64>,
    /// `/proc/self/maps` of its process.
    pub maps: Vec<u8>,
    /// The file name of the application's library: what is below its last frame is the server, and of no interest.
    pub application: Option<String>,
}

/// The record without any name: modules and offsets, which a debugger or `addr2line` understands. Reads no file.
pub(crate) fn bare(case: &Case) -> String {
    let maps = Maps::parse(&case.maps);
    text::record(case, &maps, &[])
}

/// What a symbolizer has to do, and with what.
#[derive(Debug)]
pub(crate) struct Errand {
    /// What it is about.
    pub case: Case,
    /// What the application was loaded from: its image,
    pub image: Option<Arc<Image>>,
    /// or its library.
    pub library: Option<PathBuf>,
    /// Who it becomes before it reads what the case names.
    pub identity: Identity,
}

/// A user and a group, without others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    /// The user.
    pub uid: u32,
    /// The group.
    pub gid: u32,
}

/// The record with as many names as can be found in time. It changes its process, whose only business it is, and leaves a
/// thread behind.
///
/// The program, the application's image and its library are opened first, as whom they belong to: they are named by the
/// master's own configuration. What the maps of the dead name is opened by a user without privileges.
pub(crate) fn run(errand: Errand) -> io::Result<String> {
    let image = errand.image.as_ref().map(|image| image.path());
    let trusted: Vec<PathBuf> =
        [Some(PathBuf::from("/proc/self/exe")), image, errand.library].into_iter().flatten().collect();
    // An image has one position for all that hold it, so it is opened anew, as the others are.
    let trusted = trusted.iter().filter_map(|path| File::open(path).ok()).collect();
    let Identity { uid, gid } = errand.identity;
    identity::drop_privileges(uid, gid, Groups::Exactly(&[]))?;
    // Else /proc/self belongs to root.
    identity::set_dumpable()?;
    process::set_death_signal(Some(libc::SIGKILL))?;
    process::yield_to_others();
    setrlimit(Resource::RLIMIT_AS, MOST_MEMORY, MOST_MEMORY)?;
    let maps = Maps::parse(&errand.case.maps);
    let functions = look_up(&errand.case.frames, &maps, trusted);
    Ok(text::record(&errand.case, &maps, &functions))
}

/// For each frame its functions, innermost first: more than one where calls were inlined, none where nothing is known.
fn look_up(frames: &[u64], maps: &Maps, trusted: Vec<File>) -> Vec<Vec<Function>> {
    let deadline = Instant::now() + PATIENCE;
    let mut known = vec![Vec::new(); frames.len()];
    let (tell, hear) = std::sync::mpsc::channel();
    let queries = maps.queries(frames);
    // The thread may hang in a file system or in hostile debug information: it ends with the process.
    std::thread::spawn(move || {
        let mut files = Files::new(trusted);
        let mut modules: Vec<_> = queries
            .into_iter()
            .filter_map(|query| Some((files.open(&query.path)?, query.addresses)))
            .collect();
        // The application is mostly smaller than the server, and of more interest.
        modules.sort_by_key(|(file, _)| file.metadata().map_or(u64::MAX, |about| about.len()));
        elf::name_all(modules, |frame, functions| tell.send((frame, functions)).is_ok());
    });
    while let Ok((frame, functions)) = hear.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
        known[frame] = functions;
    }
    known
}

#[cfg(test)]
mod tests {
    use nix::sys::wait::WaitStatus;

    use super::*;
    use crate::sys::testing::{alone, forked};

    #[inline(never)]
    fn where_it_was() {
        std::hint::black_box(());
    }

    #[test]
    fn names_are_found_by_a_process_without_privileges() {
        if !alone!() || !nix::unistd::geteuid().is_root() {
            return;
        }
        let status = forked(|| {
            let case = Case {
                headline: "head".to_owned(),
                frames: vec![where_it_was as fn() as usize as u64],
                maps: std::fs::read("/proc/self/maps").unwrap(),
                application: None,
            };
            let identity = Identity { uid: 65534, gid: 65533 };
            let record = run(Errand { case, image: None, library: None, identity }).unwrap();
            assert!(record.contains("where_it_was (unirs-"), "{record}");
            assert!(std::fs::File::open("/etc/shadow").is_err());
            let status = std::fs::read_to_string("/proc/self/status").unwrap();
            assert!(status.contains("Uid:\t65534\t65534\t65534\t65534"), "{status}");
            assert!(status.contains("CapEff:\t0000000000000000"), "{status}");
            7
        });
        assert!(matches!(status, WaitStatus::Exited(_, 7)), "{status:?}");
    }
}
