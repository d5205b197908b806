//! The daemon: one thread that serves sockets and domain rings from one store, and survives being killed.
//!
//! [`Server`] does rounds; [`Journal`] is its memory across deaths; [`Platform`] is the machine below.

mod control;
mod domains;
#[cfg(test)]
mod fuzz_tests;
mod journal;
mod link;
mod log;
mod output;
mod platform;
mod record;
mod restore;
mod ring;
mod saving;
mod server;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod torn_tests;

pub use journal::{Journal, Loaded, boot_id};
pub use log::Log;
pub use platform::{Fate, Happening, NoDomains, OpenRing, Platform, XenPlatform};
pub use server::Server;
