//! The library as it is on the bare machine.

pub mod abi;
pub mod entry;
pub mod event;
pub mod hypercall;
pub mod lone;
pub mod memory;
pub mod report;
pub mod runtime;
pub mod trap;
pub mod user;
