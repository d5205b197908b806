//! Changing a table's version, in pieces.
//!
//! The toolstack's reserved entries live on, used or not; all others go, and none of them may be in use. While a change is
//! under way nobody gets at an entry; whichever vcpu asks for a change goes on with it.

use core::sync::atomic::Ordering::SeqCst;

use rexen_abi::errno::Errno;
use rexen_abi::grant_table::GNTTAB_NR_RESERVED_ENTRIES;

use super::GrantTable;
use super::entry::{MARKS, SUB_PAGE, TRANSITIVE, TYPE_MASK};
use super::table::{Active, Granted, nth_word};
use crate::evtchn::SharedFrames;
use crate::units::{GrantRef, Mfn};

const RESERVED: usize = GNTTAB_NR_RESERVED_ENTRIES as usize;
/// Words that are cleared under one acquisition of the lock.
const WORDS_PER_PIECE: usize = 512;

/// A change under way.
pub(super) struct Switch {
    pub is_to_v2: bool,
    /// Header (flags without marks, grantee) and frame of each reserved entry.
    reserved: [(u64, u64); RESERVED],
    /// How many frames are cleared, of the status frames and then of those with entries.
    cleared: usize,
}

#[cfg(test)]
impl Switch {
    /// How far it is, and where to.
    pub fn progress(&self) -> u64 {
        self.cleared as u64 * 2 + u64::from(self.is_to_v2)
    }
}

impl GrantTable {
    /// The table's version (`public/grant_table.h`, GNTTABOP_get_version).
    pub fn version(&self) -> u32 {
        1 + u32::from(self.granted.lock().is_v2)
    }

    /// Chooses the table's version: 1 or 2. `allocate` and `give_back` are as for [`GrantTable::grow`]; `stop` is asked now
    /// and then. Returns whether that is all done; if not, ask again.
    ///
    /// # Errors
    /// `ENOSYS`: not for this domain. `EINVAL`: no such version. `EBUSY`: an entry that is not reserved is in use. `ERANGE`: a
    /// reserved entry cannot be said in version 1. `ENOMEM`: no status frames.
    /// # Source
    /// `public/grant_table.h`, GNTTABOP_set_version.
    pub fn set_version<F: SharedFrames + ?Sized>(
        &self,
        frames: &F,
        version: u32,
        mut allocate: impl FnMut() -> Option<Mfn>,
        mut give_back: impl FnMut(Mfn),
        mut stop: impl FnMut() -> bool,
    ) -> Result<bool, Errno> {
        let is_to_v2 = match version {
            1 => false,
            2 if self.max_version < 2 => return Err(Errno::ENOSYS),
            2 => true,
            _ => return Err(Errno::EINVAL),
        };
        // A change that was under way may have led to the other version.
        while self.granted.lock().begin_switch(frames, is_to_v2)? {
            match self.grow(0, &mut allocate, &mut give_back, &mut stop) {
                Ok(true) => {}
                Ok(false) => return Ok(false),
                Err(_) => {
                    self.granted.lock().abandon_switch();
                    return Err(Errno::ENOMEM);
                }
            }
            while !self.granted.lock().go_on(frames) {
                if stop() {
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }
}

impl Granted {
    /// Whether there is a change to make. One that is under way goes on first, to wherever it leads.
    fn begin_switch<F: SharedFrames + ?Sized>(
        &mut self,
        frames: &F,
        is_to_v2: bool,
    ) -> Result<bool, Errno> {
        if self.switch.is_some() {
            return Ok(true);
        }
        if self.is_v2 == is_to_v2 {
            return Ok(false);
        }
        let mut reserved = [(0, 0); RESERVED];
        let mut used = 0;
        for (gref, saved) in (0..).map(GrantRef).zip(&mut reserved) {
            if let Some((mfn, active)) = self.locate(gref) {
                used += u64::from(active.is_used());
                *saved = self.read_reserved(frames, mfn, gref);
            }
        }
        if self.nr_used != used {
            return Err(Errno::EBUSY);
        }
        let is_sayable = |(header, frame): &(u64, u64)| {
            header & TYPE_MASK != TRANSITIVE && header & SUB_PAGE == 0 && frame >> 32 == 0
        };
        if !is_to_v2 && !reserved.iter().all(is_sayable) {
            return Err(Errno::ERANGE);
        }
        self.set_switch(Some(Switch {
            is_to_v2,
            reserved,
            cleared: 0,
        }));
        Ok(true)
    }

    fn read_reserved<F: SharedFrames + ?Sized>(
        &self,
        frames: &F,
        mfn: Mfn,
        gref: GrantRef,
    ) -> (u64, u64) {
        let read = |index| frames.word64(mfn, nth_word(index)).load(SeqCst);
        let index = gref.0 as usize;
        if self.is_v2 {
            (read(index * 2), read(index * 2 + 1))
        } else {
            let entry = read(index);
            (entry & 0xffff_ffff & !(MARKS | SUB_PAGE), entry >> 32)
        }
    }

    /// Nothing is cleared yet when memory is lacking.
    fn abandon_switch(&mut self) {
        if self.switch.as_ref().is_some_and(|s| s.cleared == 0) {
            self.set_switch(None);
        }
    }

    /// Does a piece of a change; tells whether it is made.
    fn go_on<F: SharedFrames + ?Sized>(&mut self, frames: &F) -> bool {
        let Some(switch) = &mut self.switch else {
            return true;
        };
        let entries = self.frames.iter().map(|frame| frame.mfn);
        let mut all = self.status.iter().copied().chain(entries);
        if let Some(mfn) = all.nth(switch.cleared) {
            for index in 0..WORDS_PER_PIECE {
                frames.word64(mfn, nth_word(index)).store(0, SeqCst);
            }
            switch.cleared += 1;
            return false;
        }
        self.finish_switch(frames);
        true
    }

    fn finish_switch<F: SharedFrames + ?Sized>(&mut self, frames: &F) {
        let Some(switch) = self.switch.take() else {
            return;
        };
        self.set_switch(None);
        let taken: [Active; RESERVED] = core::array::from_fn(|gref| {
            let found = self.locate(GrantRef(gref as u32));
            found
                .map(|(_, active)| core::mem::take(active))
                .unwrap_or_default()
        });
        self.is_v2 = switch.is_to_v2;
        for ((gref, saved), (header, frame)) in (0..).map(GrantRef).zip(taken).zip(switch.reserved)
        {
            let marks = saved.marks();
            let status = self.status_word(frames, gref);
            let Some((mfn, active)) = self.locate(gref) else {
                continue;
            };
            *active = saved;
            let index = gref.0 as usize;
            let write = |index, value| frames.word64(mfn, nth_word(index)).store(value, SeqCst);
            if !switch.is_to_v2 {
                write(index, header & 0xffff_ffff | marks | frame << 32);
                continue;
            }
            if let Some((status, shift)) = status {
                status.fetch_or(marks << shift, SeqCst);
            }
            write(index * 2 + 1, frame);
            write(index * 2, header);
        }
    }
}
