//! What contents a page table may have: the rules of paravirtual paging, over `frame`.
//!
//! A guest's page tables are the tables that the CPU walks. So every table is checked before it is used, every change of
//! a used table is checked before it is made, and a present entry holds a reference on the frame it names for as long as
//! it stands. `docs/frame-types.md` has the invariants in a page.
//!
//! - `host.rs`: what is needed of the machine
//! - `entry.rs`: which bits an entry of a level may have
//! - `refs.rs`: references on frames for grants and hypercalls; needs no lock
//! - `domain.rs`: a domain's page tables under their lock; references of leaf entries
//! - `promote.rs`: validation of whole tables and its undoing, in pieces
//! - `update.rs`: changes of single entries: mmu_update, update_va_mapping, trapped stores, grant mappings
//! - `pin.rs`: pins, page-table bases, descriptor pages, giving frames back
//! - `descriptor.rs`: what may stand in a GDT or LDT
//! - `check.rs`: recounts everything from the tables themselves

mod check;
mod descriptor;
mod domain;
pub mod entry;
mod error;
mod host;
mod pin;
mod promote;
mod refs;
mod update;

#[cfg(test)]
mod tests;

pub use check::{Mismatch, Root, check_world};
pub use descriptor::check as check_descriptor;
pub use domain::{DomainMm, MmState};
pub use error::MmuError;
pub use host::{IoAccess, IoPolicy, MmuHost, TableAccess, Tlb};
pub use pin::INVALID_PFN;
pub use refs::Refs;
pub use update::{
    L1Slot, MMU_MACHPHYS_UPDATE, MMU_NORMAL_PT_UPDATE, MMU_PT_UPDATE_NO_TRANSLATE,
    MMU_PT_UPDATE_PRESERVE_AD, StoreKind, Stored,
};
