//! The end: a stop that was asked for, and a start that failed.

use std::time::Duration;

use tracing::{error, info, warn};

use super::children::Parting;
use super::{Master, Phase};

/// How long a worker may take when everybody has to go now.
pub(super) const QUICK: Duration = Duration::from_secs(1);

impl Master {
    /// Everybody is to leave like this; asked again, faster.
    pub(super) fn stop(&mut self, parting: Parting) {
        match self.phase {
            Phase::Starting | Phase::Running => {
                if self.phase == Phase::Starting {
                    self.failure = Some("it was stopped before it was ready".to_owned());
                }
                self.begin_to_stop(0, parting);
            }
            Phase::Stopping { .. } => self.dissolve_all(parting),
        }
    }

    /// A worker could not boot: the others go too, and the process says which kind of failure it was.
    pub(super) fn fail_start(&mut self, exit_code: u8, sentence: String) {
        error!("{sentence}");
        self.failure = Some(sentence);
        self.begin_to_stop(exit_code, Parting::Quick);
    }

    fn begin_to_stop(&mut self, exit_code: u8, parting: Parting) {
        info!("Shutting down: Master");
        self.phase = Phase::Stopping { exit_code };
        self.notifier.send("STOPPING=1\nSTATUS=stopping");
        self.passed.clear();
        self.dissolve_all(parting);
        self.close_left_listeners(self.now());
    }

    fn dissolve_all(&mut self, parting: Parting) {
        for generation in &mut self.generations {
            generation.dissolve(parting);
        }
    }

    /// The last things that the master does outside of itself.
    pub(super) fn close(mut self) -> u8 {
        let code = self.exit_code();
        if let Some(pidfile) = self.pidfile.take()
            && let Err(error) = pidfile.remove()
        {
            warn!("{error}");
        }
        self.notifier.flush();
        if let Some(starter) = self.starter.take() {
            // Whoever waits for the server is told that there is none, also when nothing is to blame.
            let reason = self.failure.take().unwrap_or_default();
            starter.failed(code.max(1), &reason);
        }
        code
    }
}
