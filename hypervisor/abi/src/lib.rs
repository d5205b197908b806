//! The public Xen PV ABI for x86_64 as Rust types.
//!
//! One module per public header of Xen 4.17. Layouts are asserted at compile time and, in `tests/`, against the headers
//! of Debian's `libxen-dev`. Constants keep the headers' spelling, so that grep finds both. Structures cross the guest
//! boundary as bytes, through [`Plain`].
#![no_std]
#![forbid(unsafe_code)]

pub mod arch_x86;
pub mod callback;
pub mod cpuid;
pub mod domctl;
pub mod elfnote;
pub mod errno;
pub mod event_channel;
pub mod features;
pub mod grant_table;
pub mod io;
pub mod memory;
pub mod nmi;
pub mod physdev;
pub mod plain;
pub mod platform;
pub mod sched;
pub mod sysctl;
pub mod vcpu;
pub mod version;
pub mod xen;

pub use plain::Plain;

/// Every structure of this crate, by module: what the tests hold against the C headers.
pub const LAYOUTS: &[&[plain::Layout]] = &[
    arch_x86::LAYOUTS,
    callback::LAYOUTS,
    domctl::LAYOUTS,
    event_channel::LAYOUTS,
    grant_table::LAYOUTS,
    memory::LAYOUTS,
    nmi::LAYOUTS,
    physdev::LAYOUTS,
    platform::LAYOUTS,
    sched::LAYOUTS,
    sysctl::LAYOUTS,
    vcpu::LAYOUTS,
    version::LAYOUTS,
    xen::LAYOUTS,
    io::console::LAYOUTS,
    io::xs_wire::LAYOUTS,
];

/// Every constant of this crate that a header has, by module.
pub const CONSTANTS: &[&[plain::Constant]] = &[
    arch_x86::CONSTANTS,
    callback::CONSTANTS,
    cpuid::CONSTANTS,
    domctl::CONSTANTS,
    elfnote::CONSTANTS,
    event_channel::CONSTANTS,
    features::CONSTANTS,
    grant_table::CONSTANTS,
    memory::CONSTANTS,
    nmi::CONSTANTS,
    physdev::CONSTANTS,
    platform::CONSTANTS,
    sched::CONSTANTS,
    sysctl::CONSTANTS,
    vcpu::CONSTANTS,
    version::CONSTANTS,
    xen::CONSTANTS,
    io::xenbus::CONSTANTS,
    io::xs_wire::CONSTANTS,
];
