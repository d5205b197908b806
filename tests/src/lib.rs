//! The harness for tests that boot QEMU: which hypervisor, which guest, what came of it.
//!
//! It adds to the library of installer/, which builds images and runs QEMU, only what tests need: a limit on QEMUs at
//! once ([`slots`]), the two hypervisors that must behave alike ([`host`]), the bare guests and their verdicts
//! ([`guest`]), those that the warden runs as other domains ([`warden`]), and kernel images that are wrong on purpose
//! ([`kernel_image`]), Debian's `xl` in domain 0 ([`xl`]), also with our own kernels ([`kernels`]), and our own toolstack
//! in its place ([`toolstack`]), and a stock Debian that gets all of it by the installer ([`debian_host`]); what came of their checks is demanded in [`verdict`]. Tests are in tests/tests/machines, one program; README.md says which ring a test belongs to.
#![forbid(unsafe_code)]

pub mod debian_host;
pub mod debian_stock;
pub mod guest;
pub mod host;
pub mod kernel_image;
pub mod kernels;
pub mod slots;
pub mod toolstack;
pub mod verdict;
pub mod warden;
pub mod xl;
