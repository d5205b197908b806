//! Domain configurations, from what a user writes to a typed specification.
//!
//! `sxp` reads and writes S-expressions; `script` runs the Python of configuration files; `spec` is the typed specification of a domain, with its SXP and JSON forms;
//! `vars` is the registry of configuration variables, and `create` brings a file and the words of a command line together
//! into a specification. Only `host` touches the machine, and only when a script asks for an address.
#![forbid(unsafe_code)]

pub mod create;
pub mod host;
pub mod script;
pub mod spec;
pub mod suggest;
pub mod sxp;
pub mod vars;
