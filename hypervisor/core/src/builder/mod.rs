//! Builds domain 0 from the files that the boot loader left in memory.
//!
//! In this order, each step pure:
//! 1. [`bzimage::unpack`]: the kernel file as an ELF image (bzImage, ELF, compressed ELF).
//! 2. [`KernelImage::parse`]: the ELF's segments and Xen notes; [`KernelImage::check_dom0`] what we ask of domain 0.
//! 3. [`Layout::plan`]: which page of the domain holds what, and where the guest sees it.
//! 4. [`build()`]: writes all of it through a [`BuildHost`]; the caller then pins the L4, which checks every table.
//!
//! All input is the operator's own kernel, yet it may be cut or damaged: it gives a one-line error, never a panic.

pub mod build;
pub mod bzimage;
mod crc32;
pub mod hypercall_page;
pub mod image;
pub mod layout;
mod xz;

pub use build::{BuildHost, BuildParams, BuiltDomain, build};
pub use bzimage::{UnpackError, unpack};
pub use hypercall_page::fill_hypercall_page;
pub use image::{ImageError, KernelImage, Segment};
pub use layout::{Layout, LayoutError, P2mPlan, PfnRange};
