//! Running guests: which vcpu a CPU runs, what happens when it traps, and what happens before it goes on.
//!
//! - `current.rs`: the running vcpu, and loading and saving one
//! - `traps.rs`: exceptions and interrupts, by where they came from; `page_fault.rs`, `privop.rs`: the guest's two kinds
//!   that are more than passed on
//! - `bounce.rs`: handing an exception, event or system call to the guest kernel
//! - `exit.rs`: what is done before a return to a guest: scheduling, timers, events
//! - `hypercall.rs`: from registers to `rexen_core::hypercall` and back; the iret hypercall
//! - `timers.rs`, `pirq.rs`: timers of vcpus, physical interrupts of domains

pub mod bounce;
pub mod current;
pub mod exit;
pub mod hypercall;
pub mod page_fault;
pub mod pirq;
pub mod privop;
pub mod timers;
pub mod traps;
