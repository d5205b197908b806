//! The build orchestrator: everything between a clone and a running domain 0, as a library of steps.
//!
//! A step is a function of its inputs: they are hashed, and its output is kept in a [`cache`] outside the tree.
//! `main.rs` puts a command line around them; tests call them directly.
#![forbid(unsafe_code)]

pub mod cache;
pub mod cmd;
pub mod error;
pub mod gate;
pub mod hypervisor;
pub mod tree;
pub mod ui;

pub use error::{Error, Exit, Result};
pub use hypervisor::{Artefacts, Options, build_guest, build_hypervisor};
