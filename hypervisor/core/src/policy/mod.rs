//! What a domain may see and touch of the machine: CPUID, model-specific registers, I/O ports, control and debug
//! registers.
//!
//! Decisions only. The rooms here hold tables and rules, and are asked by the trap handlers and by the hypercalls that
//! read or change them. What is hidden is hidden everywhere: a feature without its CPUID bit has no CR4 or XCR0 bit
//! and no MSR either.

pub mod cpuid;
pub mod cr;
pub mod debugreg;
pub mod features;
pub mod ioports;
pub mod msr;
