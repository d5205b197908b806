//! What the hypervisor thinks.
//!
//! A folder per room; a room uses only the rooms above it in this list. No hardware is known here: what core needs from
//! the machine it takes through the small traits that each room declares, implemented by the hypervisor binary and, for
//! tests, by a machine in RAM. No `unsafe`, no floating point, no panic that a guest can reach.
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod builder;
pub mod domain;
pub mod emulate;
pub mod evtchn;
pub mod frame;
pub mod gnttab;
pub mod hypercall;
pub mod options;
pub mod platform;
pub mod policy;
pub mod pvmmu;
pub mod sched;
pub mod sync;
#[cfg(test)]
pub mod testkit;
pub mod time;
pub mod units;
