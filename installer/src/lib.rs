//! The build orchestrator: everything between a clone and a running domain 0, as a library of steps.
//!
//! A step is a function of its inputs: they are hashed, and its output is kept in a [`cache`] outside the tree.
//! `main.rs` puts a command line around them; the tests in tests/ call them directly.
#![forbid(unsafe_code)]

pub mod boot;
pub mod cache;
pub mod checks;
pub mod cmd;
pub mod compare;
pub mod cpio;
pub mod debian;
pub mod debian_set;
pub mod dist;
pub mod gate;
pub mod hypervisor;
pub mod image;
pub mod initramfs;
pub mod interrupt;
pub mod kernel;
pub mod kmod;
pub mod lock;
pub mod packages;
pub mod qemu;
pub mod reproduce;
pub mod toolstack;
pub mod tree;
pub mod ui;
pub mod world;
pub mod xl_root;

pub use boot::Boot;
pub use debian::{Consent, fetch_debian_kernel, fetch_debian_xen};
pub use error::{Error, Exit, Result};
pub use hypervisor::{Artefacts, Options, build_guest, build_guests, build_hypervisor};
pub use initramfs::initramfs;
pub use kernel::{Flavour, Kernel, KernelOptions, build_kernel};
pub use qemu::{End, Flow, Nic, Qemu, Run, SerialLog};
pub use rexen_install::error;
