//! What contents a page table may have: the rules of paravirtual paging, over `frame`.
//!
//! A guest's page tables are the tables that the CPU walks. So every table is checked before it is used, every change of
//! a used table is checked before it is made, and a present entry holds a reference on the frame it names for as long as
//! it stands. `docs/frame-types.md` has the invariants in a page.
//!
//! - `host.rs`: what is needed of the machine
//! - `entry.rs`: which bits an entry of a level may have
//! - `refs.rs`: references of leaf entries; writable holds for grants and hypercalls. No lock needed
//! - `promote.rs`: validation of whole tables and its undoing, in pieces
//! - `update.rs`: changes of single entries: mmu_update, update_va_mapping, emulated stores
//! - `pin.rs`: pins, page-table bases, giving frames back
//! - `descriptor.rs`: GDT and LDT pages
//! - `check.rs`: recounts everything from the tables themselves

mod error;
mod host;

pub use error::MmuError;
pub use host::{IoAccess, IoPolicy, MmuHost, TableAccess, Tlb};
