//! One shared grant entry, which the granter may change at any moment (`public/grant_table.h`).
//!
//! Version 1 (struct grant_entry_v1) is a 64-bit word: flags in bits 0-15, the grantee in 16-31, the frame in 32-63. Read and
//! changed as a whole, it cannot show the flags of one moment beside the frame of another.
//!
//! Version 2 (union grant_entry_v2) is two words, flags and grantee in the first as above, in its upper half the part of the
//! page for a sub-page grant; the frame in the second. Who uses it shows in 16 bits of a status frame, which is the
//! granter's to write as well: we only ever set and clear our marks there, and believe nothing that we read.

use core::sync::atomic::{AtomicU64, Ordering::SeqCst};

use rexen_abi::grant_table::*;

use super::GrantStatus;
use crate::units::{DomId, Mfn, PAGE_SIZE};

pub(super) const TYPE_MASK: u64 = GTF_type_mask as u64;
const PERMIT_ACCESS: u64 = GTF_permit_access as u64;
const ACCEPT_TRANSFER: u64 = GTF_accept_transfer as u64;
pub(super) const TRANSITIVE: u64 = GTF_transitive as u64;
const READONLY: u64 = GTF_readonly as u64;
pub(super) const READING: u64 = GTF_reading as u64;
pub(super) const WRITING: u64 = GTF_writing as u64;
pub(super) const MARKS: u64 = READING | WRITING;
pub(super) const SUB_PAGE: u64 = GTF_sub_page as u64;
const COMMITTED: u64 = GTF_transfer_committed as u64;
const COMPLETED: u64 = GTF_transfer_completed as u64;

/// How often an entry that the granter keeps changing is tried.
const TRIES: u32 = 5;

/// How a frame is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    Read,
    Write,
}

impl Access {
    fn marks(self) -> u64 {
        match self {
            Access::Read => READING,
            Access::Write => MARKS,
        }
    }
}

/// What an entry grants: a part of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Extent {
    frame: u32,
    pub part: Part,
}

/// Where in a page: its first byte in the lower half, how many in the upper.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Part(u32);

impl Part {
    pub const PAGE: Part = Part((PAGE_SIZE as u32) << 16);

    /// Whether `len` bytes from `offset` on, which lie within the page, are part of it.
    #[inline]
    pub fn contains(self, offset: u16, len: u16) -> bool {
        if self == Self::PAGE {
            return true;
        }
        let (start, end) = (self.0 & 0xffff, (self.0 & 0xffff) + (self.0 >> 16));
        let (offset, len) = (u32::from(offset), u32::from(len));
        offset >= start && offset + len <= end
    }
}

impl Extent {
    #[inline]
    pub const fn new(frame: u32, part: Part) -> Self {
        Extent { frame, part }
    }

    /// All of a frame, if its number is one that we keep.
    pub fn page(mfn: Mfn) -> Option<Self> {
        Some(Extent::new(u32::try_from(mfn.0).ok()?, Part::PAGE))
    }

    #[inline]
    pub fn frame(self) -> u32 {
        self.frame
    }

    #[inline]
    pub fn mfn(self) -> Mfn {
        Mfn(u64::from(self.frame))
    }
}

/// Where an entry is.
pub(super) enum Entry<'a> {
    V1(&'a AtomicU64),
    V2(EntryV2<'a>),
}

/// Where an entry of version 2 is.
pub(super) struct EntryV2<'a> {
    pub header: &'a AtomicU64,
    pub frame: &'a AtomicU64,
    pub status: &'a AtomicU64,
    /// Which bits of the status word are this entry's.
    pub shift: u32,
}

impl Entry<'_> {
    /// Marks the entry as in use by `grantee`, if it permits that; gives what it grants. A mapping needs a `whole` page.
    ///
    /// # Errors
    /// `GeneralError`: it does not permit it.
    #[inline(always)]
    pub fn mark(&self, grantee: DomId, access: Access, whole: bool) -> Result<Extent, GrantStatus> {
        match self {
            Entry::V1(entry) => mark_v1(entry, grantee, access),
            Entry::V2(entry) => entry.mark(grantee, access, whole),
        }
    }

    /// Takes back what no pin needs any more: the mark for writing, or all marks.
    #[inline(always)]
    pub fn unmark(&self, still_read: bool) {
        let gone = if still_read { WRITING } else { MARKS };
        match *self {
            Entry::V1(entry) => entry.fetch_and(!gone, SeqCst),
            Entry::V2(EntryV2 { status, shift, .. }) => status.fetch_and(!(gone << shift), SeqCst),
        };
    }

    /// The marks that it shows.
    #[cfg(test)]
    pub fn marks(&self) -> u64 {
        match *self {
            Entry::V1(entry) => entry.load(SeqCst) & MARKS,
            Entry::V2(EntryV2 { status, shift, .. }) => status.load(SeqCst) >> shift & 0xffff,
        }
    }

    /// Gives the entry a frame, if it waits for one from `from`. `give` makes the frame the granter's, and is told what the
    /// entry says of the frame: the number by which the granter will know it.
    ///
    /// # Errors
    /// `GeneralError`: the entry does not accept one. `give` was not called then.
    pub fn accept(&self, from: DomId, mfn: Mfn, give: impl FnOnce(u64)) -> Result<(), GrantStatus> {
        let (Entry::V1(word) | Entry::V2(EntryV2 { header: word, .. })) = *self;
        let old = commit(word, from)?;
        match *self {
            Entry::V1(entry) => {
                give(old >> 32);
                // Whatever the granter has made of the entry meanwhile: its frame is in it, and it is done.
                let done = old & 0xffff_ffff | COMMITTED | COMPLETED;
                entry.store(done | mfn.0 << 32, SeqCst);
            }
            Entry::V2(EntryV2 { header, frame, .. }) => {
                give(frame.load(SeqCst));
                frame.store(mfn.0, SeqCst);
                header.fetch_or(COMPLETED, SeqCst);
            }
        }
        Ok(())
    }
}

fn permits(header: u64, grantee: DomId, access: Access) -> bool {
    header & TYPE_MASK == PERMIT_ACCESS
        && header >> 16 & 0xffff == u64::from(grantee.0)
        && (access == Access::Read || header & READONLY == 0)
}

#[inline(always)]
fn mark_v1(entry: &AtomicU64, grantee: DomId, access: Access) -> Result<Extent, GrantStatus> {
    for _ in 0..TRIES {
        let old = entry.load(SeqCst);
        if !permits(old, grantee, access) {
            return Err(GrantStatus::GeneralError);
        }
        let new = old | access.marks();
        if entry.compare_exchange(old, new, SeqCst, SeqCst).is_ok() {
            return Ok(Extent::new((old >> 32) as u32, Part::PAGE));
        }
    }
    Err(GrantStatus::GeneralError)
}

impl EntryV2<'_> {
    fn mark(&self, grantee: DomId, access: Access, whole: bool) -> Result<Extent, GrantStatus> {
        let marks = access.marks() << self.shift;
        let before = self.status.fetch_or(marks, SeqCst);
        self.read(grantee, access, whole).inspect_err(|_| {
            // What others' pins set stays. A guest that sets the marks itself keeps its own.
            self.status.fetch_and(!(marks & !before), SeqCst);
        })
    }

    /// The marks stand already: a granter that takes the grant back first clears the header and then looks at the marks, so
    /// either it sees them or we see its header.
    fn read(&self, grantee: DomId, access: Access, whole: bool) -> Result<Extent, GrantStatus> {
        for _ in 0..TRIES {
            let old = self.header.load(SeqCst);
            let is_part = old & SUB_PAGE != 0;
            if !permits(old, grantee, access) || (whole && is_part) {
                break;
            }
            let frame = u32::try_from(self.frame.load(SeqCst));
            let part = if is_part {
                Part((old >> 32) as u32)
            } else {
                Part::PAGE
            };
            if self.header.load(SeqCst) == old {
                let frame = frame.map_err(|_| GrantStatus::GeneralError)?;
                return Ok(Extent::new(frame, part));
            }
        }
        Err(GrantStatus::GeneralError)
    }
}

/// Tells the granter that a frame is coming; gives the entry's word from before.
fn commit(word: &AtomicU64, from: DomId) -> Result<u64, GrantStatus> {
    for _ in 0..TRIES {
        let old = word.load(SeqCst);
        if old & 0xffff != ACCEPT_TRANSFER || old >> 16 & 0xffff != u64::from(from.0) {
            return Err(GrantStatus::GeneralError);
        }
        if word
            .compare_exchange(old, old | COMMITTED, SeqCst, SeqCst)
            .is_ok()
        {
            return Ok(old);
        }
    }
    Err(GrantStatus::GeneralError)
}
