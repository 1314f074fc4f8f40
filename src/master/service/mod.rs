//! What the service manager is told (sd_notify): the line to it, the server's state in a line, and what is due again and
//! again.

pub(in crate::master) mod heartbeat;
pub(in crate::master) mod notify;
pub(in crate::master) mod status;
