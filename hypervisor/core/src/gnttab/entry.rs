//! One shared grant entry of version 1: flags in bits 0-15, the grantee in 16-31, the frame in 32-63 of a 64-bit word
//! (`public/grant_table.h`, struct grant_entry_v1).
//!
//! Read and changed as a whole, it cannot show the flags of one moment beside the frame of another.

use core::sync::atomic::{AtomicU64, Ordering::SeqCst};

use super::GrantStatus;
use crate::units::{DomId, Mfn};

const TYPE_MASK: u64 = 3;
const PERMIT_ACCESS: u64 = 1;
const READONLY: u64 = 1 << 2;
const READING: u64 = 1 << 3;
const WRITING: u64 = 1 << 4;

/// How often an entry that the granter keeps changing is tried.
const TRIES: u32 = 5;

/// How a frame is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    Read,
    Write,
}

/// Marks the entry as in use by `grantee`, if it permits that; gives the frame that it names.
pub(super) fn mark(entry: &AtomicU64, grantee: DomId, access: Access) -> Result<Mfn, GrantStatus> {
    for _ in 0..TRIES {
        let old = entry.load(SeqCst);
        let permits = old & TYPE_MASK == PERMIT_ACCESS
            && old >> 16 & 0xffff == u64::from(grantee.0)
            && (access == Access::Read || old & READONLY == 0);
        if !permits {
            return Err(GrantStatus::GeneralError);
        }
        let new = old
            | if access == Access::Write {
                READING | WRITING
            } else {
                READING
            };
        if entry.compare_exchange(old, new, SeqCst, SeqCst).is_ok() {
            return Ok(Mfn(old >> 32));
        }
    }
    Err(GrantStatus::GeneralError)
}

/// Takes back what no pin needs any more: the mark for writing, or all marks.
pub(super) fn unmark(entry: &AtomicU64, still_read: bool) {
    let gone = if still_read {
        WRITING
    } else {
        READING | WRITING
    };
    entry.fetch_and(!gone, SeqCst);
}
