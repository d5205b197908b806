//! Typed hypercalls, foreign memory, event channels and grants for programs in domain 0.
//!
//! A file per device of Linux: [`EventChannels`] (`/dev/xen/evtchn`), [`Gntdev`] and [`Gntalloc`] (grants of others, and
//! of ours), and [`Xen`] for all that only the hypervisor can do (`/dev/xen/privcmd`). What they map is a [`SharedPages`], and the byte rings in it that guests and daemons talk through are
//! [`ByteRing`]s. All `unsafe` of the toolstack is in `sys`.
#![deny(missing_docs)]

pub mod build;
mod error;
mod evtchn;
mod grants;
mod ring;
mod store_ring;
mod sys;
mod xen;

pub use error::{Error, Result};
pub use evtchn::{EventChannels, Virq};
pub use grants::{Gntalloc, Gntdev, OnUnmap};
pub use rexen_core::units::{DomId, EvtchnPort, GrantRef, Mfn, PAGE_SIZE, Pfn, VcpuId};
pub use ring::{Broken, ByteRing, console_rings, store_rings};
pub use store_ring::StoreRing;
pub use sys::shared::SharedPages;
pub use xen::{
    Affinity, BuildFacts, CpuSet, CreditShare, DomainInfo, HypervisorLog, NewDomain, Scheduler,
    ShutdownReason, Version, Xen,
};
