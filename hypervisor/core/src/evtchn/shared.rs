//! Words that hypervisor and guest both write.
//!
//! The guest may change them at any moment, so they are only ever seen as atomics, each read once and then distrusted.

use core::sync::atomic::{AtomicU32, AtomicU64};

use crate::units::{Mfn, PAGE_SIZE};

/// The index of a 64-bit word in a frame: always below 512.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QwordIndex(usize);

impl QwordIndex {
    /// The word that holds byte `offset`; only the offset within a page counts.
    #[inline]
    pub const fn at_byte(offset: usize) -> Self {
        QwordIndex((offset / 8) & 511)
    }
    /// The index, below 512.
    #[inline]
    pub const fn get(self) -> usize {
        self.0 & 511
    }
}

/// The index of a 32-bit word in a frame: always below 1024.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DwordIndex(usize);

impl DwordIndex {
    /// The word that holds byte `offset`; only the offset within a page counts.
    #[inline]
    pub const fn at_byte(offset: usize) -> Self {
        DwordIndex((offset / 4) & 1023)
    }
    /// The index, below 1024.
    #[inline]
    pub const fn get(self) -> usize {
        self.0 & 1023
    }
}

/// Reaches the words of frames that are shared with guests.
///
/// Core names only frames which the caller handed to it for sharing: shared_info pages, and guest frames that the caller
/// holds with a writable type for as long as core may use them.
pub trait SharedFrames {
    /// The 64-bit word `index` of frame `mfn`.
    fn word64(&self, mfn: Mfn, index: QwordIndex) -> &AtomicU64;
    /// The 32-bit word `index` of frame `mfn`.
    fn word32(&self, mfn: Mfn, index: DwordIndex) -> &AtomicU32;
}

/// Where a shared structure starts: a machine address, 8-byte aligned, whose structure stays within its frame.
///
/// One word, so that the place of a vcpu_info can be changed atomically.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SharedSpot(u64);

impl SharedSpot {
    /// The spot at byte `offset` of `mfn` for a structure of `bytes` bytes, if it is aligned and fits the frame.
    pub fn try_new(mfn: Mfn, offset: u32, bytes: u32) -> Option<Self> {
        let fits = u64::from(offset).checked_add(u64::from(bytes))? <= PAGE_SIZE;
        let nameable = mfn.0 <= u64::MAX / PAGE_SIZE;
        (fits && nameable && offset.is_multiple_of(8))
            .then(|| SharedSpot(mfn.maddr() | u64::from(offset)))
    }

    /// The spot as one word; never 0 unless it lies in frame 0.
    #[inline]
    pub(crate) const fn to_raw(self) -> u64 {
        self.0
    }

    /// The spot that `to_raw` made `raw` from; `None` for 0.
    #[inline]
    pub(crate) fn from_raw(raw: u64) -> Option<Self> {
        (raw != 0).then_some(SharedSpot(raw))
    }

    /// The frame.
    #[inline]
    pub const fn mfn(self) -> Mfn {
        Mfn::containing(self.0)
    }

    /// The byte offset in the frame.
    #[inline]
    pub const fn offset(self) -> usize {
        (self.0 & (PAGE_SIZE - 1)) as usize
    }

    /// The 64-bit word at byte `at` of the structure.
    #[inline]
    pub fn qword<F: SharedFrames + ?Sized>(self, frames: &F, at: usize) -> &AtomicU64 {
        frames.word64(self.mfn(), QwordIndex::at_byte(self.offset() + at))
    }

    /// The 32-bit word at byte `at` of the structure.
    #[inline]
    pub fn dword<F: SharedFrames + ?Sized>(self, frames: &F, at: usize) -> &AtomicU32 {
        frames.word32(self.mfn(), DwordIndex::at_byte(self.offset() + at))
    }
}
