//! One shared grant entry, which the granter may change at any moment (`public/grant_table.h`).
//!
//! Version 1 (struct grant_entry_v1) is a 64-bit word: flags in bits 0-15, the grantee in 16-31, the frame in 32-63. Read and
//! changed as a whole, it cannot show the flags of one moment beside the frame of another.
//!
//! Version 2 (union grant_entry_v2) is two words, flags and grantee in the first as above, in its upper half the part of the
//! page for a sub-page grant; the frame in the second. Who uses it shows in 16 bits of a status frame, which is the
//! granter's to write as well: we only ever set and clear our marks there, and believe nothing that we read.

use core::sync::atomic::{AtomicU64, Ordering::SeqCst};

use super::GrantStatus;
use crate::units::{DomId, Mfn, PAGE_SIZE};

pub(super) const TYPE_MASK: u64 = 3;
const PERMIT_ACCESS: u64 = 1;
const ACCEPT_TRANSFER: u64 = 2;
pub(super) const TRANSITIVE: u64 = 3;
const READONLY: u64 = 1 << 2;
pub(super) const READING: u64 = 1 << 3;
pub(super) const WRITING: u64 = 1 << 4;
pub(super) const MARKS: u64 = READING | WRITING;
pub(super) const SUB_PAGE: u64 = 1 << 8;
const COMMITTED: u64 = 1 << 2;
const COMPLETED: u64 = 1 << 3;

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

/// What an entry grants: bytes `start..start + len` of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Extent {
    pub mfn: Mfn,
    pub start: u16,
    pub len: u16,
}

impl Extent {
    pub const fn page(mfn: Mfn) -> Self {
        Extent {
            mfn,
            start: 0,
            len: PAGE_SIZE as u16,
        }
    }

    pub fn is_page(self) -> bool {
        self == Self::page(self.mfn)
    }

    /// Whether `len` bytes from `offset` on are part of it.
    #[inline]
    pub fn contains(self, offset: u16, len: u16) -> bool {
        let end = |from: u16, len: u16| u32::from(from) + u32::from(len);
        offset >= self.start && end(offset, len) <= end(self.start, self.len)
    }
}

/// Where an entry is.
pub(super) enum Entry<'a> {
    V1(&'a AtomicU64),
    V2 {
        header: &'a AtomicU64,
        frame: &'a AtomicU64,
        status: &'a AtomicU64,
        /// Which bits of the status word are this entry's.
        shift: u32,
    },
}

impl Entry<'_> {
    /// Marks the entry as in use by `grantee`, if it permits that; gives what it grants. A mapping needs a `whole` page.
    ///
    /// # Errors
    /// `GeneralError`: it does not permit it.
    #[inline]
    pub fn mark(&self, grantee: DomId, access: Access, whole: bool) -> Result<Extent, GrantStatus> {
        match *self {
            Entry::V1(entry) => mark_v1(entry, grantee, access).map(Extent::page),
            Entry::V2 {
                header,
                frame,
                status,
                shift,
            } => {
                let marks = access.marks() << shift;
                let before = status.fetch_or(marks, SeqCst);
                mark_v2(header, frame, grantee, access, whole).inspect_err(|_| {
                    // What others' pins set stays. A guest that sets the marks itself keeps its own.
                    status.fetch_and(!(marks & !before), SeqCst);
                })
            }
        }
    }

    /// Takes back what no pin needs any more: the mark for writing, or all marks.
    #[inline]
    pub fn unmark(&self, still_read: bool) {
        let gone = if still_read { WRITING } else { MARKS };
        match *self {
            Entry::V1(entry) => entry.fetch_and(!gone, SeqCst),
            Entry::V2 { status, shift, .. } => status.fetch_and(!(gone << shift), SeqCst),
        };
    }

    /// The marks that it shows.
    #[cfg(test)]
    pub fn marks(&self) -> u64 {
        match *self {
            Entry::V1(entry) => entry.load(SeqCst) & MARKS,
            Entry::V2 { status, shift, .. } => status.load(SeqCst) >> shift & 0xffff,
        }
    }

    /// Gives the entry a frame, if it waits for one from `from`. `give` makes the frame the granter's, and is told what the
    /// entry says of the frame: the number by which the granter will know it.
    ///
    /// # Errors
    /// `GeneralError`: the entry does not accept one. `give` was not called then.
    pub fn accept(&self, from: DomId, mfn: Mfn, give: impl FnOnce(u64)) -> Result<(), GrantStatus> {
        let (Entry::V1(word) | Entry::V2 { header: word, .. }) = *self;
        let old = commit(word, from)?;
        match *self {
            Entry::V1(entry) => {
                give(old >> 32);
                // Whatever the granter has made of the entry meanwhile: its frame is in it, and it is done.
                let done = old & 0xffff_ffff | COMMITTED | COMPLETED;
                entry.store(done | mfn.0 << 32, SeqCst);
            }
            Entry::V2 { header, frame, .. } => {
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

#[inline]
fn mark_v1(entry: &AtomicU64, grantee: DomId, access: Access) -> Result<Mfn, GrantStatus> {
    for _ in 0..TRIES {
        let old = entry.load(SeqCst);
        if !permits(old, grantee, access) {
            return Err(GrantStatus::GeneralError);
        }
        let new = old | access.marks();
        if entry.compare_exchange(old, new, SeqCst, SeqCst).is_ok() {
            return Ok(Mfn(old >> 32));
        }
    }
    Err(GrantStatus::GeneralError)
}

/// The marks stand already: a granter that takes the grant back first clears the header and then looks at the marks, so
/// either it sees them or we see its header.
fn mark_v2(
    header: &AtomicU64,
    frame: &AtomicU64,
    grantee: DomId,
    access: Access,
    whole: bool,
) -> Result<Extent, GrantStatus> {
    for _ in 0..TRIES {
        let old = header.load(SeqCst);
        if !permits(old, grantee, access) || (whole && old & SUB_PAGE != 0) {
            return Err(GrantStatus::GeneralError);
        }
        let mut extent = Extent::page(Mfn(frame.load(SeqCst)));
        if old & SUB_PAGE != 0 {
            extent.start = (old >> 32) as u16;
            extent.len = (old >> 48) as u16;
        }
        if header.load(SeqCst) == old {
            return Ok(extent);
        }
    }
    Err(GrantStatus::GeneralError)
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
