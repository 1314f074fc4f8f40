//! Counters for an application that is started before its worker has a seat: it is given addresses, and what is there becomes
//! the seat's later.

use std::io;
use std::sync::atomic::AtomicU64;
use std::sync::{Mutex, PoisonError};

use super::seat::register;
use super::slot::HEADER_WORDS;
use crate::sys::memory::StandIn;

/// The part of a slot that an application is given addresses of, in memory of this process's own.
#[derive(Debug)]
pub struct Draft {
    pages: StandIn,
    /// The names that were registered. Locked over each registration.
    names: Mutex<Vec<String>>,
}

impl Draft {
    /// All zero.
    pub fn create() -> io::Result<Draft> {
        Ok(Draft { pages: StandIn::create(HEADER_WORDS)?, names: Mutex::default() })
    }

    /// As [`Seat::counter`](super::Seat::counter). What is added before there is a seat counts nowhere.
    pub fn counter(&self, name: &str) -> Option<&'static AtomicU64> {
        register(self.pages.words(), &self.names, name)
    }

    pub(super) fn pages(&self) -> &StandIn {
        &self.pages
    }

    pub(super) fn names(&self) -> Vec<String> {
        self.names.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
