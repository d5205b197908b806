//! What the bare PV guests share: entry, hypercalls, traps, page tables, user mode, events, a verdict.
//!
//! Each guest is one small kernel with one behaviour to test, booted as domain 0. It prints one line,
//! `GUEST <name> PASS|FAIL|SKIP <detail>`, and asks to be powered off. The crate is empty unless the feature
//! `image` is on: then it is built for the bare machine, as the hypervisor is.
//!
//! All `unsafe` of the guests is in this library, and its functions are safe to call although some take any
//! address at all: a guest is a test of what the hypervisor does then, has one thread, and dies of a mistake
//! with a FAIL line. That is a licence for test guests and for nothing else.
#![cfg_attr(feature = "image", no_std)]
#![cfg_attr(
    feature = "image",
    allow(clippy::missing_safety_doc, clippy::new_without_default)
)]

#[cfg(feature = "image")]
mod image;
#[cfg(feature = "image")]
pub use image::*;
