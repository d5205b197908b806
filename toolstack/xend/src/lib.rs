//! The node daemon: it makes domains, watches over them, and ends them.
//!
//! `plan` says what is to be done, `carry` does it on a `world` (the real one in `live`, one in memory in `sim`) and keeps a
//! `journal`; `node` holds the domains, each a task with a `state` machine; `api` serves clients.
#![forbid(unsafe_code)]

pub mod api;
pub mod blueprint;
pub mod carry;
pub mod config;
pub mod console;
pub mod daemon;
pub mod devices;
pub mod error;
pub mod events;
pub mod guest_store;
pub mod journal;
pub mod live;
pub mod log;
pub mod manual;
pub mod node;
pub mod plan;
pub mod sim;
pub mod state;
pub mod world;
