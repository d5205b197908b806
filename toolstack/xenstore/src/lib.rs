//! The xenstore protocol (public/io/xs_wire.h), a client, and the daemon.
#![forbid(unsafe_code)]

pub mod client;
pub mod daemon;
pub mod path;
pub mod perms;
pub mod store;
pub mod wire;
