//! What the hypervisor thinks.
//!
//! A folder per room; a room uses only the rooms above it in this list. No hardware is known here: what core needs from
//! the machine it takes through the small traits that each room declares, implemented by the hypervisor binary and, for
//! tests, by a machine in RAM. No `unsafe`, no floating point, no panic that a guest can reach.
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod sync;
pub mod units;
pub mod emulate;
pub mod policy;
pub mod frame;
pub mod pvmmu;
pub mod platform;
pub mod evtchn;
pub mod sched;
pub mod time;
pub mod builder;
#[cfg(test)]
pub mod testkit;
pub mod options;
pub mod gnttab;
pub mod domain;
pub mod hypercall;
