//! Copying between frames, granted or one's own.

use super::entry::{Access, Extent};
use super::map::GrantHost;
use super::table::Use;
use super::{GrantStatus, GrantTable};
use crate::units::{DomId, GrantRef, Mfn, PAGE_SIZE};

/// One end of a copy.
#[derive(Clone, Copy)]
pub enum CopyEnd<'a> {
    /// A frame of the caller. (One of another domain cannot be named: PermissionDenied.)
    Own(Mfn),
    /// An entry of some domain's grant table.
    Granted {
        /// The granter's table.
        table: &'a GrantTable,
        /// Which entry.
        gref: GrantRef,
    },
}

/// How many bytes from where in a page to where in another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CopyRange {
    /// Where in the source page.
    pub from_offset: u16,
    /// Where in the destination page.
    pub to_offset: u16,
    /// Bytes.
    pub len: u16,
}

impl CopyRange {
    fn is_in_pages(self) -> bool {
        let ends_in_page = |offset: u16| u64::from(offset) + u64::from(self.len) <= PAGE_SIZE;
        ends_in_page(self.from_offset) && ends_in_page(self.to_offset)
    }
}

impl GrantTable {
    /// Copies bytes for this table's domain.
    ///
    /// # Errors
    /// `BadCopyArg`: the range leaves a page. `BadPage`: an own frame is not the caller's. `GeneralError`: it cannot be
    /// written; or bytes are not part of what is granted. `BadGntref`, `GeneralError`: as for mapping. No byte was copied
    /// then.
    /// # Source
    /// `public/grant_table.h`, GNTTABOP_copy.
    pub fn copy<H: GrantHost + ?Sized>(
        &self,
        host: &H,
        from: CopyEnd<'_>,
        to: CopyEnd<'_>,
        range: CopyRange,
    ) -> Result<(), GrantStatus> {
        if !range.is_in_pages() {
            return Err(GrantStatus::BadCopyArg);
        }
        let source = from.acquire(host, self.dom(), Access::Read)?;
        let copied = to
            .acquire(host, self.dom(), Access::Write)
            .and_then(|destination| {
                let is_granted = source.part.contains(range.from_offset, range.len)
                    && destination.part.contains(range.to_offset, range.len);
                if is_granted {
                    host.copy(
                        source.mfn(),
                        range.from_offset,
                        destination.mfn(),
                        range.to_offset,
                        range.len,
                    );
                }
                to.let_go(host, destination.mfn(), Access::Write);
                is_granted.then_some(()).ok_or(GrantStatus::GeneralError)
            });
        from.let_go(host, source.mfn(), Access::Read);
        copied
    }
}

impl CopyEnd<'_> {
    #[inline(always)]
    fn acquire<H: GrantHost + ?Sized>(
        &self,
        host: &H,
        caller: DomId,
        access: Access,
    ) -> Result<Extent, GrantStatus> {
        match *self {
            CopyEnd::Own(mfn) => {
                let extent = Extent::page(mfn).ok_or(GrantStatus::BadPage)?;
                if host.hold(mfn, caller, access == Access::Write) {
                    return Ok(extent);
                }
                Err(why_refused(host, mfn, caller))
            }
            CopyEnd::Granted { table, gref } => {
                table.pin_and_hold(host, gref, caller, use_of(access))
            }
        }
    }

    #[inline(always)]
    fn let_go<H: GrantHost + ?Sized>(&self, host: &H, mfn: Mfn, access: Access) {
        match *self {
            CopyEnd::Own(_) => host.release(mfn, access == Access::Write),
            CopyEnd::Granted { table, gref } => {
                table.release_and_unpin(host, mfn, gref, use_of(access));
            }
        }
    }
}

/// Why a frame could not be held: it is not the caller's, or it cannot be written.
#[cold]
fn why_refused<H: GrantHost + ?Sized>(host: &H, mfn: Mfn, caller: DomId) -> GrantStatus {
    if !host.hold(mfn, caller, false) {
        return GrantStatus::BadPage;
    }
    host.release(mfn, false);
    GrantStatus::GeneralError
}

const fn use_of(access: Access) -> Use {
    Use::new(access, false, false)
}
