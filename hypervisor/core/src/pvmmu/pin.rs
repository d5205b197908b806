//! Pins, page-table bases, descriptor pages, and frames given back.

use core::ops::Range;

use super::entry::FIRST_HYPERVISOR_SLOT;
use super::{DomainMm, MmuError, MmuHost, descriptor};
use crate::frame::{FrameError, FrameType};
use crate::units::{Mfn, PTES_PER_TABLE};

/// The M2P's word for a frame that no pfn names.
pub const INVALID_PFN: u64 = u64::MAX;

/// What freeing a frame counts for, in the unit of [`MmuHost::POLL_EVERY`].
const WORK_OF_A_FREED_FRAME: u32 = 5;
/// How many frames of others a dying domain's teardown passes by as one such unit.
const RUN: u64 = 16;

impl<H: MmuHost> DomainMm<'_, H> {
    /// Keeps `mfn` validated as a table of `level` until it is unpinned.
    ///
    /// # Errors
    /// `Again`; `AlreadyPinned`; or it cannot be a table of that level.
    /// # Source
    /// `public/xen.h`, MMUEXT_PIN_L1_TABLE to MMUEXT_PIN_L4_TABLE.
    pub fn pin(&mut self, level: u32, mfn: Mfn) -> Result<(), MmuError> {
        self.begin()?;
        self.table_get(mfn, level)?;
        let pinned = self.refs.info(mfn)?.pin();
        if pinned.is_err() {
            self.table_put(mfn);
        }
        Ok(pinned?)
    }

    /// Undoes [`Self::pin`].
    ///
    /// # Errors
    /// `Again`, `NotOwned`, `NotPinned`.
    /// # Source
    /// `public/xen.h`, MMUEXT_UNPIN_TABLE.
    pub fn unpin(&mut self, mfn: Mfn) -> Result<(), MmuError> {
        self.begin()?;
        let info = self.refs.info(mfn)?;
        if info.word().owner() != self.state.domain {
            return Err(MmuError::NotOwned);
        }
        info.unpin()?;
        self.table_put(mfn);
        Ok(())
    }

    /// Moves the reference of a vcpu's page-table base (kernel's or user's) from `old` to `new`, a level 4 table.
    ///
    /// On success the caller takes `old` off every CPU that has it loaded for this vcpu, and only then calls
    /// [`Self::settle`] or drops `self`: that lets go of `old`, which may be freed and scrubbed there and then.
    ///
    /// # Errors
    /// `Again`, or `new` cannot be a level 4 table; the vcpu keeps `old`.
    /// # Source
    /// `public/xen.h`, MMUEXT_NEW_BASEPTR, MMUEXT_NEW_USER_BASEPTR.
    #[inline]
    pub fn replace_base(&mut self, old: Option<Mfn>, new: Option<Mfn>) -> Result<(), MmuError> {
        if old == new {
            return Ok(());
        }
        self.begin()?;
        if let Some(new) = new {
            self.table_get(new, 4)?;
        }
        self.retired = old;
        Ok(())
    }

    /// Maps the machine-to-physical table in `l4`, a valid level 4 table that serves as kernel base, or takes it out of one
    /// that serves as user base: user space has no business with machine frame numbers.
    #[inline]
    pub fn show_m2p(&self, l4: Mfn, shown: bool) {
        let entry = if shown { self.host().l4_slots()[0] } else { 0 };
        self.host().write(l4, FIRST_HYPERVISOR_SLOT, entry);
    }

    /// Makes `mfn` a page of descriptors, checked and never writable, until [`Self::release_descriptors`].
    ///
    /// # Errors
    /// `Again`, `NotOwned`, `TypeConflict`, `Overflow`, `BadDescriptor`.
    /// # Source
    /// `public/xen.h`, HYPERVISOR_set_gdt, MMUEXT_SET_LDT.
    pub fn hold_descriptors(&mut self, mfn: Mfn) -> Result<(), MmuError> {
        self.begin()?;
        let (domain, host) = (self.state.domain, self.host());
        let info = self.refs.info(mfn)?;
        let taken = info.get_type(domain, FrameType::SegDesc)?;
        self.refs.after_take(taken, domain);
        if !taken.validate {
            return Ok(());
        }
        for index in 0..PTES_PER_TABLE {
            let found = host.read(mfn, index);
            match descriptor::check(found) {
                Some(fixed) if fixed == found => {}
                Some(fixed) => host.write(mfn, index, fixed),
                None => {
                    self.end(mfn, info);
                    return Err(MmuError::BadDescriptor);
                }
            }
        }
        Ok(info.set_validated()?)
    }

    /// Undoes [`Self::hold_descriptors`]. Never fails and never waits.
    pub fn release_descriptors(&mut self, mfn: Mfn) {
        let (Some(info), host) = (self.refs.frames.get(mfn), self.host()) else {
            return;
        };
        match info.put_type(|| host.flush_stamp_now()) {
            Err(FrameError::LastUse) => {
                self.begin_end(mfn, info);
                self.end(mfn, info);
            }
            put => self.refs.after_put(mfn, info, put),
        }
    }

    /// Writes a descriptor at machine address `maddr`.
    ///
    /// # Errors
    /// `BadArgument`: not aligned. `BadDescriptor`. Otherwise the frame is no descriptor page and cannot be written.
    /// # Source
    /// `public/xen.h`, HYPERVISOR_update_descriptor.
    pub fn update_descriptor(&mut self, maddr: u64, value: u64) -> Result<(), MmuError> {
        self.begin()?;
        if !maddr.is_multiple_of(8) {
            return Err(MmuError::BadArgument);
        }
        let (domain, mfn) = (self.state.domain, Mfn::containing(maddr));
        let index = (maddr as usize >> 3) % PTES_PER_TABLE;
        let fixed = descriptor::check(value).ok_or(MmuError::BadDescriptor)?;
        let word = self.refs.info(mfn)?.word();
        if word.is_valid_as(FrameType::SegDesc) && word.owner() == domain {
            // Only under this lock does the type end, so no reference is needed.
            self.host().write(mfn, index, fixed);
            return Ok(());
        }
        self.refs.write_plain(mfn, domain, index, fixed)
    }

    /// Gives a frame back: it is freed when its last use ends, and gets no new ones. A pin stays (XSA-252).
    ///
    /// # Errors
    /// `NotOwned`; `NotAllocated`: given back before.
    /// # Source
    /// `public/memory.h`, XENMEM_decrease_reservation.
    pub fn give_back(&mut self, mfn: Mfn) -> Result<(), MmuError> {
        let info = self.refs.info(mfn)?;
        if info.word().owner() != self.state.domain {
            return Err(MmuError::NotOwned);
        }
        match info.drop_allocation() {
            Err(FrameError::NotAllocated) => return Err(MmuError::NotAllocated),
            put => self.refs.after_put(mfn, info, put),
        }
        Ok(())
    }

    /// Ends all that a dying domain itself does with its frames: pins, half-done tables, allocations. Afterwards only other
    /// domains' uses keep a frame alive.
    ///
    /// No vcpu may hold a base any more. All its frames are in `span`. `cursor` starts at 0 and keeps the place over `Again`.
    ///
    /// # Errors
    /// `Again`.
    pub fn relinquish(&mut self, span: Range<u64>, cursor: &mut u64) -> Result<(), MmuError> {
        self.begin()?;
        let end = span.end.min(self.refs.frames.len());
        *cursor = span.start.max(*cursor);
        while *cursor < end {
            let most = RUN.min(end - *cursor);
            let others = self
                .refs
                .frames
                .run_of_others(Mfn(*cursor), self.state.domain, most);
            *cursor += others;
            let mut work = 1;
            if others < most {
                work += self.relinquish_frame(Mfn(*cursor))?;
                *cursor += 1;
            }
            if self.should_stop(work) {
                return Err(MmuError::Again);
            }
        }
        Ok(())
    }

    /// The same for one frame; what it came to.
    fn relinquish_frame(&mut self, mfn: Mfn) -> Result<u32, MmuError> {
        let domain = self.state.domain;
        let info = self.refs.info(mfn)?;
        let mut word = info.word();
        if word.owner() == domain && word.is_pinned() && info.unpin().is_ok() {
            self.table_put(mfn);
            self.begin()?;
            word = info.word();
        }
        if word.owner() == domain && word.is_partial() && !info.progress().owned {
            self.let_go(mfn);
            self.begin()?;
            word = info.word();
        }
        if word.owner() == domain && word.is_allocated() {
            self.host().set_m2p(mfn, INVALID_PFN);
            self.refs.after_put(mfn, info, info.drop_allocation());
            return Ok(WORK_OF_A_FREED_FRAME);
        }
        Ok(0)
    }
}
