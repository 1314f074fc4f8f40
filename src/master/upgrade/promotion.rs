//! USR2, seen from the master that was started by it: it serves beside its parent under the name `<pidfile>.2`, and takes
//! the parent's place when that has ended.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tracing::{info, warn};

use crate::listener::{BindError, Handed, Listener};
use crate::master::Master;
use crate::settings::Settings;

/// Behind the name of the pidfile of a master whose parent lives.
pub(in crate::master) const SUFFIX: &str = ".2";

impl Master {
    /// Goes on with the parent's listeners, those that the settings still name; see [`Master::keep_handed`].
    pub(in crate::master) fn take_handed(
        &mut self,
        handed: Vec<Handed>,
        passed: bool,
    ) -> Result<(), BindError> {
        let listeners: Result<Vec<_>, _> =
            handed.into_iter().map(|handed| Listener::take_over(handed).map(Arc::new)).collect();
        if passed {
            self.passed = listeners?;
        } else {
            self.handed = listeners?;
        }
        Ok(())
    }

    /// Closes what was handed over and is not used.
    pub(in crate::master) fn keep_handed(&mut self) {
        for listener in std::mem::take(&mut self.handed) {
            if Arc::strong_count(&listener) == 1 {
                info!("Not listening any more at: {}", listener.address());
                self.forget_shared(&listener);
            }
        }
    }

    /// Where the pidfile of these settings is.
    pub(in crate::master) fn pidfile_path(&self, settings: &Settings) -> Option<PathBuf> {
        let path = settings.pidfile.as_ref()?;
        Some(if self.parent.is_some() { with_suffix(path) } else { path.clone() })
    }

    /// The parent has said something, or has ended.
    pub(in crate::master) fn hear_parent(&mut self) {
        let Some(parent) = &mut self.parent else { return };
        let (may_speak, is_leaving, has_ended) = (parent.hear(), parent.is_leaving(), parent.has_ended());
        if may_speak {
            self.speak();
        }
        if is_leaving {
            self.is_left_alone();
        }
        if has_ended {
            self.be_promoted();
        }
    }

    /// The parent has ended: this is the only master now.
    fn be_promoted(&mut self) {
        let Some(parent) = self.parent.take() else { return };
        info!("Master has been promoted: the old one (pid:{}) has ended", parent.pid());
        let former = self.place();
        let arriving = self.generations.iter_mut().filter_map(|generation| generation.next_pidfile.as_mut());
        for pidfile in self.pidfile.iter_mut().chain(arriving) {
            if let Err(error) = pidfile.promote(SUFFIX) {
                warn!("{error}");
            }
        }
        self.move_outcome(former);
        self.forget_handing();
        self.speak();
        self.affirm_main_process();
        self.show_title();
    }
}

fn with_suffix(path: &Path) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(SUFFIX);
    PathBuf::from(name)
}
