//! A worker: a forked process that loads the application and serves requests until it is told to go.
//!
//! The order of its boot is the design's (§2): nothing of the application runs before the identity, the directory and
//! the environment are those of the settings.

mod answering;
mod application;
mod boot;
mod buffers;
mod connection;
mod course;
mod crew;
mod doors;
mod engine;
mod exchange;
mod farewell;
mod hand;
mod harvest;
mod incoming;
mod last_words;
mod lookout;
mod mold;
mod orders;
mod outgoing;
mod record;
mod rules;
mod shares;
mod table;
mod threads;
pub mod trial;
mod wire;

pub(crate) use application::try_application;
pub(crate) use boot::{Boot, run};
pub(crate) use mold::cast;
