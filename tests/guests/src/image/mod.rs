//! The library as it is on the bare machine.

pub mod abi;
pub mod clock;
pub mod console;
pub mod control;
pub mod crew;
pub mod entry;
pub mod event;
pub mod hypercall;
pub mod lone;
pub mod memory;
pub mod report;
pub mod runtime;
pub mod smp;
pub mod trap;
pub mod user;
