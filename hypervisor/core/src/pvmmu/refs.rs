//! References on frames, with what must happen in the machine when one is taken or the last one goes.
//!
//! None of this needs a page-table lock: it is all compare-exchange on the frame's word.

use super::{MmuError, MmuHost};
use crate::frame::{FrameError, FrameInfo, FrameTable, FrameType, Put, Taken};
use crate::units::{DomId, Mfn};

/// Takes and drops references for grants, hypercalls and the page-table rules.
#[derive(Debug)]
pub struct Refs<'a, H> {
    /// All frames.
    pub frames: FrameTable<'a>,
    /// The machine.
    pub host: &'a H,
}

impl<H> Clone for Refs<'_, H> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<H> Copy for Refs<'_, H> {}

impl<'a, H: MmuHost> Refs<'a, H> {
    /// Takes a general reference: the frame stays `owner`'s until [`Self::release`].
    ///
    /// # Errors
    /// `NotOwned`, `Overflow`.
    #[inline]
    pub fn hold(self, mfn: Mfn, owner: DomId) -> Result<(), MmuError> {
        Ok(self.info(mfn)?.get_ref(owner)?)
    }

    /// Drops what [`Self::hold`] took.
    #[inline]
    pub fn release(self, mfn: Mfn) {
        if let Ok(info) = self.info(mfn) {
            self.after_put(mfn, info, info.put_ref());
        }
    }

    /// Takes a writable reference: the frame stays `owner`'s and no page or descriptor table until
    /// [`Self::release_writable`].
    ///
    /// # Errors
    /// `NotOwned`, `TypeConflict`, `Overflow`.
    #[inline]
    pub fn hold_writable(self, mfn: Mfn, owner: DomId) -> Result<(), MmuError> {
        self.take_writable(self.info(mfn)?, owner)
            .map_err(MmuError::from)
    }

    /// Drops what [`Self::hold_writable`] took.
    #[inline]
    pub fn release_writable(self, mfn: Mfn) {
        if let Ok(info) = self.info(mfn) {
            self.after_put(mfn, info, info.put_type(|| self.host.flush_stamp_now()));
        }
    }

    /// Writes a word of a frame of `owner` that is no table and no descriptor page.
    ///
    /// # Errors
    /// `NotOwned`, `TypeConflict`, `Overflow`.
    pub fn write_plain(
        self,
        mfn: Mfn,
        owner: DomId,
        index: usize,
        value: u64,
    ) -> Result<(), MmuError> {
        self.hold_writable(mfn, owner)?;
        self.host.write(mfn, index, value);
        self.release_writable(mfn);
        Ok(())
    }

    /// Fills a frame of `owner` with zeroes (`public/xen.h`, MMUEXT_CLEAR_PAGE).
    ///
    /// # Errors
    /// `NotOwned`, `TypeConflict`, `Overflow`.
    pub fn clear_page(self, mfn: Mfn, owner: DomId) -> Result<(), MmuError> {
        self.hold_writable(mfn, owner)?;
        self.host.clear(mfn);
        self.release_writable(mfn);
        Ok(())
    }

    /// Copies a frame of `owner` over another of its frames (`public/xen.h`, MMUEXT_COPY_PAGE).
    ///
    /// # Errors
    /// `NotOwned`, `TypeConflict`, `Overflow`.
    pub fn copy_page(self, from: Mfn, to: Mfn, owner: DomId) -> Result<(), MmuError> {
        self.hold(from, owner)?;
        let held = self.hold_writable(to, owner);
        if held.is_ok() {
            self.host.copy(from, to);
            self.release_writable(to);
        }
        self.release(from);
        held
    }

    #[inline(always)]
    pub(super) fn info(self, mfn: Mfn) -> Result<&'a FrameInfo, MmuError> {
        self.frames.get(mfn).ok_or(MmuError::NotOwned)
    }

    #[inline(always)]
    pub(super) fn take_writable(self, info: &FrameInfo, owner: DomId) -> Result<(), FrameError> {
        let taken = info.get_type(owner, FrameType::Writable)?;
        self.after_take(taken, owner);
        Ok(())
    }

    /// The typed reference stands, so that no one else can change the type; only now is the old type's cache flushed, and
    /// only after that may the new type be relied on.
    #[inline(always)]
    pub(super) fn after_take(self, taken: Taken, owner: DomId) {
        if let Some(stamp) = taken.flush {
            self.host.flush_before_retype(owner, stamp);
        }
    }

    #[inline(always)]
    pub(super) fn after_put(self, mfn: Mfn, info: &FrameInfo, put: Result<Put, FrameError>) {
        match put {
            Ok(Put::Held) => {}
            Ok(Put::Freed) => self.host.frame_freed(mfn, info.word().owner()),
            Err(_) => self.put_failed(mfn, info),
        }
    }

    /// Frames that are no RAM have no counts to drop; for any other this is a bug, and leaking beats freeing.
    #[cold]
    fn put_failed(self, mfn: Mfn, info: &FrameInfo) {
        if !info.word().is_io() {
            self.host.bug("dropped a reference that nobody held", mfn);
        }
    }
}
