//! Installs Rexen on a running host, and takes it away again.
//!
//! [`host`] looks whether it can be; [`wanted`] is what goes there, [`plan`] what that changes, [`apply`] and [`remove`] do it
//! through [`disk`], with a [`record`] that is the journal, too; [`grub`] knows the boot menu. [`run`] has it in order.
//!
//! What an install tree is: [`manifest`], [`scan`], [`compare`], [`facts`], [`hash`]; the orchestrator, which makes trees,
//! shares them.
#![forbid(unsafe_code)]

pub mod apply;
pub mod cli;
pub mod compare;
pub mod disk;
pub mod error;
pub mod facts;
pub mod grub;
pub mod hash;
pub mod host;
pub mod manifest;
pub mod plan;
pub mod record;
pub mod remove;
pub mod run;
pub mod scan;
pub mod wanted;
