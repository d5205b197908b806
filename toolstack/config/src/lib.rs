//! Domain configurations, from what a user writes to a typed specification.
//!
//! `sxp` reads and writes S-expressions; `script` runs the Python of configuration files; `spec` is the typed specification of a domain, with its SXP and JSON forms.
//! Nothing here touches the machine: no file is opened and no address looked up but through a trait of the caller.
#![forbid(unsafe_code)]

pub mod script;
pub mod spec;
pub mod suggest;
pub mod sxp;
