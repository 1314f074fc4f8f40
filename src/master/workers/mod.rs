//! The workers that a master has: the table of them, how one comes to be, what it is told and reports, and the watch that
//! it lives, keeps its limits and does not serve for too long. When one is to come or to go is decided in `reload`.

pub(in crate::master) mod children;
pub(in crate::master) mod freeze;
pub(in crate::master) mod limits;
pub(in crate::master) mod orders;
pub(in crate::master) mod recycling;
pub(in crate::master) mod respawn;
pub(in crate::master) mod seating;
pub(in crate::master) mod spawn;
pub(in crate::master) mod watch;
