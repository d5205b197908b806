//! Builds a paravirtual domain from its kernel and its initrd: domain 0 in the hypervisor, others in the toolstack.
//!
//! In this order, each step pure:
//! 1. [`bzimage::unpack`]: the kernel file as an ELF image (bzImage, ELF, compressed ELF).
//! 2. [`KernelImage::parse`]: the ELF's segments and Xen notes; [`KernelImage::check_dom0`] what we ask of domain 0.
//! 3. [`Layout::plan`], for domains other than 0 [`Layout::plan_guest`]: which page of the domain holds what, and where
//!    the guest sees it.
//! 4. [`build()`]: writes all of it through a [`BuildHost`]; the caller then pins the L4, which checks every table.
//!
//! All input may be cut, damaged or hostile: it gives a one-line error, never a panic.

pub mod build;
pub mod bzimage;
mod crc32;
pub mod hypercall_page;
pub mod image;
pub mod layout;
pub mod screen;
mod xz;

pub use build::{BuildHost, BuildParams, BuiltDomain, Role, build};
pub use bzimage::{UnpackError, unpack};
pub use hypercall_page::fill_hypercall_page;
pub use image::{ImageError, KernelImage, Segment};
pub use layout::{Layout, LayoutError, P2mPlan, PfnRange};
pub use screen::screen;
