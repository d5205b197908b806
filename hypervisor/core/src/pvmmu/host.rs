//! What the page-table rules need of the machine. The binary implements it, and for tests a machine in RAM.

use crate::units::{DomId, Mfn};

/// Access to the 512 words of a frame of RAM.
///
/// Only frames that the frame table says are RAM are named here, and indices are below 512.
pub trait TableAccess {
    /// Reads a word.
    fn read(&self, frame: Mfn, index: usize) -> u64;
    /// Writes a word, in one piece.
    fn write(&self, frame: Mfn, index: usize, value: u64);
    /// Replaces `old` by `new` atomically; returns `old`, or as the error what was there instead.
    fn cmpxchg(&self, frame: Mfn, index: usize, old: u64, new: u64) -> Result<u64, u64>;
    /// Whether the eight words from `first`, a multiple of 8, are all zero.
    fn block_is_empty(&self, frame: Mfn, first: usize) -> bool;
    /// Fills the frame with zeroes.
    fn clear(&self, frame: Mfn);
    /// Copies `from` over `to`.
    fn copy(&self, from: Mfn, to: Mfn);
}

/// Translation caches of all CPUs.
pub trait Tlb {
    /// The TLB clock. It counts up, 40 bits wide, and need only change when some CPU flushes.
    fn flush_stamp_now(&self) -> u64;
    /// Makes sure that no CPU holds a translation that `owner` may have loaded before the clock showed `stamp` or while
    /// it did. Waits until that is so.
    fn flush_before_retype(&self, owner: DomId, stamp: u64);
    /// Flushes all translations, intermediate levels and global ones too, on every CPU that may hold any of `domain`.
    fn flush_domain(&self, domain: DomId);
}

/// What a domain may do with a frame that is no RAM.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum IoAccess {
    /// Not map it.
    Refused,
    /// Map it read-only; a writable mapping is made read-only and succeeds (MMCFG, MSI-X tables, LAPIC).
    ReadOnly,
    /// Map it.
    ReadWrite,
}

/// Who may map which memory-mapped I/O.
pub trait IoPolicy {
    /// What `domain` may do with the frame `mfn`, which is no RAM.
    fn io_access(&self, domain: DomId, mfn: Mfn) -> IoAccess;
}

/// All of it, and the rest.
///
/// Called with the domain's page-table lock held: an implementation must not take that lock.
pub trait MmuHost: TableAccess + Tlb + IoPolicy {
    /// How much work may pass between two looks at [`Self::should_stop`]: 1 for an empty block of eight entries, 8 for
    /// another block.
    const POLL_EVERY: u32 = 256;
    /// Whether something more urgent waits, so that a long operation should stop and continue later.
    fn should_stop(&self) -> bool;
    /// The hypervisor's own entries for L4 slots 256 to 271, the same in every table.
    fn l4_slots(&self) -> &[u64; 16];
    /// Enters a frame in the machine-to-physical table.
    fn set_m2p(&self, mfn: Mfn, pfn: u64);
    /// The last reference to a frame of `owner` is gone: flush what `owner` may still have cached of it, scrub it, give it
    /// back to the allocator. May be done later and in batches, but in this order.
    fn frame_freed(&self, mfn: Mfn, owner: DomId);
    /// We are broken: a count would have gone wrong. The operation fails or leaks the frame, rather than go on.
    fn bug(&self, what: &'static str, mfn: Mfn);
}
