//! Grant tables, versions 1 and 2: what a domain lets others use, and what it uses of others.
//!
//! A [`GrantTable`] is both. As granter (`table.rs`) it has the frames that the guest writes its entries into, and for
//! each entry the *pins* that stand on it: how many mappings and copies in progress, read-only and writable. As mapper
//! (`maptrack.rs`) it has a handle for each mapping that it made. `map.rs` and `copy.rs` join the two ends; `entry.rs`
//! reads and marks the shared entries, which the granter may change at any moment; `version.rs` changes a table's version.
//!
//! Frames are held through [`GrantHost`]. A mapping in a page table holds a reference that belongs to the page-table entry
//! from then on: it goes when the entry goes, however that happens. Pins only say what the granter may take back.
//!
//! Two locks, never held at once, and none held while the host is called: the granter's table, the mapper's handles. Both
//! are plain locks; the only atomics are the words shared with the guest.
//!
//! A domain that dies as mapper ends its mappings by [`GrantTable::abandon_next`]; as granter it stays, and keeps its
//! shared frames, until [`GrantTable::retire`] says that nobody uses its entries.
//!
//! How we know: `tests.rs` has a sentence per rule and random operations against a model; `recount.rs` counts all pins
//! again from the mappers' handles; `hypercall/tests/grants.rs` runs every order of two domains' acts and deaths, and
//! `grant_threads.rs` beside it runs them at once.

mod copy;
mod entry;
mod map;
mod maptrack;
#[cfg(test)]
mod recount;
mod status;
mod table;
mod version;

#[cfg(test)]
mod tests;

pub use copy::{CopyEnd, CopyRange};
pub use map::{Abandoned, GrantHost, HostAddr, MapRequest, Mapped, UnmapRequest, Unmapped};
pub use status::GrantStatus;
pub use table::{ENTRIES_PER_FRAME, GrantTable};
