//! Copying between frames, granted or one's own.

use super::entry::Access;
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
    /// `BadCopyArg`: the range leaves a page. `BadPage`: an own frame is not the caller's, or cannot be written.
    /// `BadGntref`, `GeneralError`: as for mapping. No byte was copied then.
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
            .map(|destination| {
                host.copy(
                    source,
                    range.from_offset,
                    destination,
                    range.to_offset,
                    range.len,
                );
                to.let_go(host, destination, Access::Write);
            });
        from.let_go(host, source, Access::Read);
        copied
    }
}

impl CopyEnd<'_> {
    fn acquire<H: GrantHost + ?Sized>(
        &self,
        host: &H,
        caller: DomId,
        access: Access,
    ) -> Result<Mfn, GrantStatus> {
        match *self {
            CopyEnd::Own(mfn) if host.hold(mfn, caller, access == Access::Write) => Ok(mfn),
            CopyEnd::Own(_) => Err(GrantStatus::BadPage),
            CopyEnd::Granted { table, gref } => table.pin_and_hold(
                host,
                gref,
                caller,
                Use {
                    access,
                    by_device: false,
                },
            ),
        }
    }

    fn let_go<H: GrantHost + ?Sized>(&self, host: &H, mfn: Mfn, access: Access) {
        match *self {
            CopyEnd::Own(_) => host.release(mfn, access == Access::Write),
            CopyEnd::Granted { table, gref } => {
                table.release_and_unpin(
                    host,
                    mfn,
                    gref,
                    Use {
                        access,
                        by_device: false,
                    },
                );
            }
        }
    }
}
