//! The public Xen PV ABI for x86_64 as Rust types.
//!
//! One module per public header of Xen 4.17. Layouts are asserted at compile time and, in `tests/`, against the headers
//! of Debian's `libxen-dev`. Constants keep the headers' spelling, so that grep finds both. Structures cross the guest
//! boundary as bytes, through [`Plain`].
#![no_std]
#![forbid(unsafe_code)]

pub mod arch_x86;
pub mod callback;
pub mod errno;
pub mod event_channel;
pub mod memory;
pub mod physdev;
pub mod plain;
pub mod sched;
pub mod vcpu;
pub mod xen;

pub use plain::Plain;
