//! How a worker comes to its application: found, loaded, started, and what it can ask of its worker at any time. Not its
//! calls (`hand`).

use std::io;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, OnceLock};

use nix::unistd::Pid;
use tracing::{debug, info, warn};

use super::boot::{Boot, become_the_user, set_environment};
use super::mold;
use crate::app::{Application, HostFacts, Level, LoadError, Provenance, Running, Services, Source};
use crate::log;
use crate::scoreboard::{Draft, Scoreboard, Seat};
use crate::settings::{AppSource, Settings};
use crate::sys::identity;
use crate::sys::image::Image;

/// Loads and starts the application of a worker. An error is a sentence.
pub(super) fn start(boot: &Boot, seat: &'static Seat) -> Result<Running, String> {
    let app = load(&boot.settings, boot.image.clone()).map_err(|error| error.to_string())?;
    debug!("boot: load the application");
    let facts = facts(&boot.settings, boot.slot, boot.generation);
    let services: &'static AppServices = Box::leak(Box::new(AppServices { seat }));
    let running = app.start(facts, services).map_err(|error| error.to_string())?;
    debug!("boot: start the application");
    Ok(running)
}

/// Loads it, by way of the image where there is one, and says once for each generation what was loaded.
pub(super) fn load(settings: &Settings, image: Option<Arc<Image>>) -> Result<Application, LoadError> {
    let (source, config) = (source(&settings.app.source), settings.app.config.clone());
    let app = match image {
        Some(image) => {
            // Open for the rest of the process's life, whatever becomes of the load: its number is the library's name.
            let image: &'static Image = Box::leak(Box::new(image));
            Application::load_image(&source, config, image, settings.image_limit)?
        }
        None => Application::load(&source, config)?,
    };
    match app.provenance() {
        Some(Provenance::Made(origin, checksum)) => info!("Application: {origin}, CRC-32 {checksum:08x}"),
        Some(Provenance::Path(origin, Some(reason))) => warn!(
            "Application: {origin}. It is loaded from there and not from a copy in memory, since {reason}. So whoever \
             overwrites or truncates it crashes its workers, and a worker that is started later runs what is there \
             then: install a new one by rename, and send HUP"
        ),
        Some(Provenance::Path(origin, None)) => debug!("application: {origin}"),
        Some(Provenance::Image) => debug!("application: the image of this generation"),
        None => {}
    }
    Ok(app)
}

/// Loads and starts the application as a worker would, for whoever wants to know whether it can.
pub(crate) fn try_application(settings: &Settings) -> Result<(), String> {
    become_the_user(settings).map_err(|error| format!("cannot change the identity: {error}"))?;
    if let Some(path) = &settings.chdir {
        identity::chdir(path).map_err(|error| format!("cannot enter {}: {error}", path.display()))?;
    }
    set_environment(settings);
    let image = Image::create(c"application").ok().filter(|_| settings.image_limit > 0).map(Arc::new);
    let app = load(settings, image).map_err(|error| error.to_string())?;
    let running = app.start(facts(settings, 0, 1), &NoServices).map_err(|error| error.to_string())?;
    if settings.preload_app {
        mold::check_threads()?;
    }
    running.stop();
    Ok(())
}

/// Who runs `start` when that is no worker: the numbers of the generation, and no slot.
pub(super) fn mold_facts(settings: &Settings, generation: u64) -> HostFacts {
    HostFacts { slot: u32::MAX, ..facts(settings, 0, generation) }
}

pub(super) fn facts(settings: &Settings, slot: usize, generation: u64) -> HostFacts {
    HostFacts {
        slot: u32::try_from(slot).unwrap_or(u32::MAX),
        generation,
        threads: u32::try_from(settings.threads).unwrap_or(u32::MAX),
        workers: u32::try_from(settings.workers).unwrap_or(u32::MAX),
        pid: Pid::this().as_raw(),
    }
}

pub(super) fn source(source: &AppSource) -> Source {
    match source {
        AppSource::Builtin(name) => Source::Builtin(name.clone()),
        AppSource::Library(path) => Source::Library(path.clone()),
    }
}

/// What this worker does for its application at any time.
struct AppServices {
    seat: &'static Seat,
}

impl Services for AppServices {
    fn log(&self, level: Level, target: &str, text: &str) {
        write_line(level, target, text);
    }

    fn counter(&self, name: &str) -> Option<&'static AtomicU64> {
        self.seat.counter(name)
    }
}

/// The same in a mold, and in the workers that are forked from it.
pub(super) struct ForkedServices {
    /// What stands in for the seat's counters as long as there is none.
    counters: Draft,
    /// In a worker.
    seat: OnceLock<&'static Seat>,
}

impl ForkedServices {
    /// For a mold.
    pub(super) fn new() -> io::Result<&'static ForkedServices> {
        let services = ForkedServices { counters: Draft::create()?, seat: OnceLock::new() };
        Ok(Box::leak(Box::new(services)))
    }

    /// In a worker: the counters that the application knows are those of the seat from here on.
    pub(super) fn take_seat(&self, board: &Scoreboard, slot: usize) -> io::Result<&'static Seat> {
        let seat = board.take_drafted_seat(slot, &self.counters)?;
        Ok(self.seat.get_or_init(|| Box::leak(Box::new(seat))))
    }
}

impl Services for ForkedServices {
    fn log(&self, level: Level, target: &str, text: &str) {
        write_line(level, target, text);
    }

    fn counter(&self, name: &str) -> Option<&'static AtomicU64> {
        match self.seat.get() {
            Some(seat) => seat.counter(name),
            None => self.counters.counter(name),
        }
    }
}

/// The same where the application is only tried.
struct NoServices;

impl Services for NoServices {
    fn log(&self, level: Level, target: &str, text: &str) {
        write_line(level, target, text);
    }

    fn counter(&self, _name: &str) -> Option<&'static AtomicU64> {
        None
    }
}

fn write_line(level: Level, target: &str, text: &str) {
    let level = match level {
        Level::Debug => log::Level::Debug,
        Level::Info => log::Level::Info,
        Level::Warning => log::Level::Warning,
        Level::Error => log::Level::Error,
        Level::Critical => log::Level::Critical,
    };
    log::error::application(level, target, text);
}
