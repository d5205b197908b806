//! The handlers, a file per hypercall (small ones of one subject share a file).
//!
//! Each file names the section of the public headers that it implements. Which number leads where is in `table.rs`.

#![allow(
    non_upper_case_globals,
    reason = "patterns name the headers' constants, in their spelling"
)]

pub(super) mod args;
pub mod callbacks;
pub mod console_io;
pub mod cpu;
mod cpu_policy;
pub mod domctl;
pub mod event_channel_op;
mod grant_admin;
pub mod grant_host;
mod grant_resource;
pub mod grant_table_op;
mod grant_transfer;
pub mod memory_exchange;
pub mod memory_op;
pub mod mmu_update;
pub mod mmuext_op;
pub mod multicall;
pub mod physdev_op;
pub mod platform_op;
pub mod sched_op;
pub mod set_gdt;
pub mod sysctl;
pub mod vcpu_context;
pub mod vcpu_op;
pub mod xen_version;
