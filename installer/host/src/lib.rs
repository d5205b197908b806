//! Installs Rexen on a running host, and takes it away again.
//!
//! What an install tree is: [`manifest`], [`scan`], [`compare`], [`facts`], [`hash`]; the orchestrator, which makes trees,
//! shares them.
#![forbid(unsafe_code)]

pub mod compare;
pub mod error;
pub mod facts;
pub mod hash;
pub mod manifest;
pub mod scan;
