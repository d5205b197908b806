//! The toolstack's `unsafe`: ioctls, memory that the hypervisor writes, memory that others share with us.
//!
//! What leaves this folder is safe to use in any way: mappings are reached by bounds-checked copies and atomic words,
//! never by references, and every ioctl gets the structure that it expects.

pub mod hypercall;
pub mod ioctl;
pub mod open;
pub mod shared;
