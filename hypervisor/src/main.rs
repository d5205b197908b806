//! The bootable hypervisor: it joins the machine to `rexen-core` and decides nothing.
#![no_std]
#![no_main]

extern crate alloc;

mod boot;
mod console;
mod cpu;
mod debug;
mod dom0;
mod domain;
mod entry;
mod guest;
mod irq;
mod lang;
mod machine;
mod mm;
mod platform;
mod smp;
mod stretch;
mod timer;
