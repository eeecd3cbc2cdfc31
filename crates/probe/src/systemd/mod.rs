//! Asking systemd for a scope: a group that systemd makes, moves us into, and
//! leaves to us (`Delegate=yes`).
//!
//! An ordinary user in a group that is not delegated can neither make groups
//! nor be placed in one elsewhere, since the common ancestor is not writable.
//! The user's own manager can have it done: it asks the system's manager, which
//! is root, to move the process. What is asked for here is only the group;
//! limits are set and read back by whoever asked, because systemd accepts
//! limits that it cannot set.

mod connection;
mod delegation;
mod manager;
mod message;

pub use connection::BusError;
pub use manager::{Instance, ScopeError, SystemdPlace, start_scope};

pub(crate) use delegation::is_undelegated_unit;
pub(crate) use manager::{knock, observe};
