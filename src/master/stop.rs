//! The end: a stop that was asked for, at once or after `drain_delay`, and a start that failed.

use std::time::Duration;

use tracing::{error, info, warn};

use super::moment::{Monotonic, NEVER, after};
use super::reload::generation::Fate;
use super::workers::children::Parting;
use super::{Master, Phase};

/// How long a worker may take when everybody has to go now.
pub(super) const QUICK: Duration = Duration::from_secs(1);

/// Beyond the workers' own time: to kill who has not gone, and to close.
const CLOSING: Duration = Duration::from_secs(5);

impl Master {
    /// Everybody is to leave like this; asked again, faster.
    pub(super) fn stop(&mut self, parting: Parting) {
        match (self.phase, self.drain_delay()) {
            (Phase::Starting, _) => {
                self.failure = Some("it was stopped before it was ready".to_owned());
                self.begin_to_stop(0, parting);
            }
            (Phase::Running, Some(delay)) if parting == Parting::Stop => self.begin_to_drain(delay),
            (Phase::Running | Phase::Draining { .. }, _) => self.begin_to_stop(0, parting),
            (Phase::Stopping { .. }, _) => {
                self.dissolve_all(parting);
                self.ask_for_time(Duration::ZERO, parting);
            }
        }
    }

    /// A worker could not boot: the others go too, and the process says which kind of failure it was.
    pub(super) fn fail_start(&mut self, exit_code: u8, sentence: String) {
        error!("{sentence}");
        self.failure = Some(sentence);
        self.begin_to_stop(exit_code, Parting::Quick);
    }

    /// How long whoever serves now goes on after TERM; not at all where another master does.
    fn drain_delay(&self) -> Option<Duration> {
        if self.is_succeeded() {
            return None;
        }
        let serving = self.generations.iter().rfind(|generation| generation.fate == Fate::Serving);
        serving.map(|generation| generation.settings.drain_delay).filter(|delay| !delay.is_zero())
    }

    /// Newcomers are still sent by who does not know yet, so they are served. The manager hears at once.
    fn begin_to_drain(&mut self, delay: Duration) {
        info!(
            "Draining for {} s (drain_delay) before the stop: everybody is served as before",
            delay.as_secs_f64()
        );
        self.phase = Phase::Draining { until: after(self.now(), delay) };
        self.ask_for_time(delay, Parting::Stop);
        self.say_stopping();
    }

    /// When the stop begins that was asked for.
    pub(super) fn end_of_delay(&self) -> Monotonic {
        match self.phase {
            Phase::Draining { until } => until,
            Phase::Starting | Phase::Running | Phase::Stopping { .. } => NEVER,
        }
    }

    /// Begins the stop when `drain_delay` is over.
    pub(super) fn end_the_delay(&mut self) {
        if self.now() >= self.end_of_delay() {
            self.begin_to_stop(0, Parting::Stop);
        }
    }

    fn begin_to_stop(&mut self, exit_code: u8, parting: Parting) {
        info!("Shutting down: Master");
        self.phase = Phase::Stopping { exit_code };
        self.tell_successor_of_leaving();
        // Beside another master the service does not stop.
        let parting = if self.is_succeeded() {
            self.hand_back_main_process();
            if parting == Parting::Stop { Parting::Reload } else { parting }
        } else {
            self.tell_parent_of_leaving();
            self.ask_for_time(Duration::ZERO, parting);
            self.say_stopping();
            parting
        };
        self.passed.clear();
        self.dissolve_all(parting);
        self.close_left_listeners(self.now());
    }

    /// The service manager is to wait for what the settings allow, from now on.
    fn ask_for_time(&mut self, delay: Duration, parting: Parting) {
        let graceful = self.generations.iter().map(|generation| generation.settings.graceful_timeout).max();
        let workers = match parting {
            Parting::Reload | Parting::Stop => graceful.unwrap_or_default(),
            Parting::Quick => QUICK,
        };
        let now = self.now();
        self.heartbeat.extend_until(after(now, delay + workers + CLOSING), now);
    }

    pub(super) fn dissolve_all(&mut self, parting: Parting) {
        for generation in &mut self.generations {
            generation.dissolve(parting);
        }
    }

    /// The last things that the master does outside of itself.
    pub(super) fn close(mut self) -> u8 {
        let code = self.exit_code();
        self.leave_successor();
        if let Some(place) = self.place() {
            place.remove(&self.directory.fd);
        }
        if let Some(pidfile) = self.pidfile.take()
            && !self.is_inherited_by_successor(&pidfile)
            && let Err(error) = pidfile.remove()
        {
            warn!("{error}");
        }
        self.notifier.flush();
        if let Some(reason) = &self.failure {
            self.tell_parent(reason);
        }
        if let Some(starter) = self.starter.take() {
            // Whoever waits for the server is told that there is none, also when nothing is to blame.
            let reason = self.failure.take().unwrap_or_default();
            starter.failed(code.max(1), &reason);
        }
        code
    }
}
