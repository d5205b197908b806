//! Validation of whole tables and its undoing, in pieces.
//!
//! A table in between is *partial*: entries `0..index` hold their references, and when `child` is set entry `index` does
//! too, naming a table that may itself be partial. That is the same state whether we were going up or down, so either
//! can be taken up at any time. A partial table holds exactly one typed reference, on behalf of
//! - the `child` entry of a partial table one level up (`owned`), or
//! - nobody: whoever asks for the same type next goes on and gets it; or [`MmState::pending`](super::MmState) lets it go.
//!
//! While a table is partial nothing can write it, and nobody is given it as valid.

use super::entry::{
    self, AFTER_HYPERVISOR_SLOTS, FIRST_HYPERVISOR_SLOT, P, adjust_l1, adjust_table, frame_of,
};
use super::{DomainMm, MmuError, MmuHost};
use crate::frame::{FrameError, FrameInfo, FrameType, Progress};
use crate::units::{Mfn, PTES_PER_TABLE};

const ENTRIES: usize = PTES_PER_TABLE;
const BLOCK: usize = 8;

/// A validation that did not end well.
struct Stuck {
    why: MmuError,
    /// The table is partial now and its typed reference is the caller's.
    held: bool,
}

impl<H: MmuHost> DomainMm<'_, H> {
    /// Takes a typed reference on a table of this domain, validating it if need be.
    ///
    /// On `Again` the table stays partial, held by nobody: ask again. On other errors everything is undone.
    #[inline]
    pub(super) fn table_get(&mut self, mfn: Mfn, level: u32) -> Result<(), MmuError> {
        match self.try_table_get(mfn, level) {
            Ok(()) => Ok(()),
            Err(Stuck { why, held }) => {
                if held && why != MmuError::Again {
                    self.let_go(mfn);
                }
                Err(why)
            }
        }
    }

    /// Drops a typed reference on a table; with the last one its entries are let go, later if that takes long.
    #[inline]
    pub(super) fn table_put(&mut self, mfn: Mfn) {
        let Some(info) = self.refs.frames.get(mfn) else {
            return;
        };
        let host = self.host();
        match info.put_type(|| host.flush_stamp_now()) {
            Err(FrameError::LastUse) => {
                self.begin_end(mfn, info);
                self.let_go(mfn);
            }
            put => self.refs.after_put(mfn, info, put),
        }
    }

    /// Lets go of a partial table that is held by nobody, now or as the pending one.
    pub(super) fn let_go(&mut self, mfn: Mfn) {
        if self.state.pending.is_some() {
            // An operation drops one table at most and starts with none pending.
            return self.host().bug("two tables to let go at once", mfn);
        }
        self.state.pending = Some(mfn);
        // What is left is done by whoever comes next.
        let _ = self.finish_pending();
    }

    #[cold]
    pub(super) fn finish_pending(&mut self) -> Result<(), MmuError> {
        let Some(mfn) = self.state.pending else {
            return Ok(());
        };
        let info = self.refs.info(mfn)?;
        self.devalidate(mfn, info)?;
        self.state.pending = None;
        self.end(mfn, info);
        Ok(())
    }

    #[inline]
    fn try_table_get(&mut self, mfn: Mfn, level: u32) -> Result<(), Stuck> {
        let refused = |why| Stuck { why, held: false };
        let domain = self.state.domain;
        let t = FrameType::table(level).ok_or(refused(MmuError::BadArgument))?;
        let info = self.refs.info(mfn).map_err(refused)?;
        match info.get_type(domain, t) {
            Ok(taken) => {
                self.refs.after_take(taken, domain);
                if taken.validate {
                    self.go_on(mfn, info)
                } else {
                    Ok(())
                }
            }
            Err(FrameError::Partial) if info.progress().owned => {
                // Help the one who holds it: what we achieve stays, for it to go on with or to undo.
                self.validate(mfn, info).map_err(refused)?;
                self.finish_validation(mfn, info).map_err(refused)?;
                info.get_type(domain, t)
                    .map(|_| ())
                    .map_err(|e| refused(e.into()))
            }
            Err(FrameError::Partial) => self.go_on(mfn, info),
            Err(e) => Err(refused(e.into())),
        }
    }

    /// Goes on validating a partial table whose reference is the caller's.
    fn go_on(&mut self, mfn: Mfn, info: &FrameInfo) -> Result<(), Stuck> {
        let done = self
            .validate(mfn, info)
            .and_then(|()| self.finish_validation(mfn, info));
        done.map_err(|why| Stuck { why, held: true })
    }

    fn finish_validation(&self, mfn: Mfn, info: &FrameInfo) -> Result<(), MmuError> {
        info.set_progress(Progress::default());
        info.set_validated().inspect_err(|_| {
            self.host()
                .bug("validated a table that was not partial", mfn)
        })?;
        Ok(())
    }

    pub(super) fn begin_end(&self, mfn: Mfn, info: &FrameInfo) {
        if info.begin_end().is_err() {
            self.host().bug("the last use of a table was not", mfn);
        }
        info.set_progress(Progress {
            index: ENTRIES as u16,
            child: false,
            owned: false,
        });
    }

    pub(super) fn end(&self, mfn: Mfn, info: &FrameInfo) {
        self.refs
            .after_put(mfn, info, info.end_type(self.host().flush_stamp_now()));
    }

    /// Takes the references of a partial table's remaining entries. On any error the progress is stored.
    fn validate(&mut self, mfn: Mfn, info: &FrameInfo) -> Result<(), MmuError> {
        match info.word().frame_type().level() {
            Some(1) => self.validate_l1(mfn, info),
            Some(level) => self.validate_upper(mfn, info, level),
            None => Err(MmuError::Busy),
        }
    }

    fn validate_l1(&mut self, mfn: Mfn, info: &FrameInfo) -> Result<(), MmuError> {
        let start = info.progress();
        let domain = self.state.domain;
        let host = self.host();
        let mut index = start.index as usize;
        while index < ENTRIES {
            let mut work = 1;
            if !index.is_multiple_of(BLOCK) || !host.block_is_empty(mfn, index) {
                work = BLOCK as u32;
                let end = index - index % BLOCK + BLOCK;
                while index < end {
                    let found = host.read(mfn, index);
                    if found & P != 0 {
                        match self.leaf_get(adjust_l1(found), domain) {
                            Ok(entry) if entry == found => {}
                            Ok(entry) => host.write(mfn, index, entry),
                            Err(e) => {
                                info.set_progress(Progress {
                                    index: index as u16,
                                    ..start
                                });
                                return Err(e);
                            }
                        }
                    }
                    index += 1;
                }
            } else {
                index += BLOCK;
            }
            if index < ENTRIES && self.should_stop(work) {
                info.set_progress(Progress {
                    index: index as u16,
                    ..start
                });
                return Err(MmuError::Again);
            }
        }
        Ok(())
    }

    fn validate_upper(&mut self, mfn: Mfn, info: &FrameInfo, level: u32) -> Result<(), MmuError> {
        let mut at = info.progress();
        let host = self.host();
        if level == 4 && at.index == 0 && !at.child {
            for (slot, entry) in (FIRST_HYPERVISOR_SLOT..).zip(host.l4_slots()) {
                host.write(mfn, slot, *entry);
            }
        }
        if at.child {
            self.validate_child(frame_of(host.read(mfn, at.index as usize)))?;
            at = Progress {
                index: at.index + 1,
                child: false,
                ..at
            };
            info.set_progress(at);
        }
        let mut index = at.index as usize;
        while index < ENTRIES {
            let mut work = 1;
            if level == 4 && index == FIRST_HYPERVISOR_SLOT {
                index = AFTER_HYPERVISOR_SLOTS;
            } else if index.is_multiple_of(BLOCK) && host.block_is_empty(mfn, index) {
                index += BLOCK;
            } else {
                let found = host.read(mfn, index);
                if found & P != 0 {
                    work = BLOCK as u32;
                    if let Err(e) = self.validate_upper_entry(mfn, level, index, found) {
                        info.set_progress(Progress {
                            index: index as u16,
                            child: e.held,
                            ..at
                        });
                        return Err(e.why);
                    }
                }
                index += 1;
            }
            if index < ENTRIES && self.should_stop(work) {
                info.set_progress(Progress {
                    index: index as u16,
                    ..at
                });
                return Err(MmuError::Again);
            }
        }
        Ok(())
    }

    fn validate_upper_entry(
        &mut self,
        mfn: Mfn,
        level: u32,
        index: usize,
        found: u64,
    ) -> Result<(), Stuck> {
        let entry = adjust_table(level, found).map_err(|why| Stuck { why, held: false })?;
        if entry != found {
            self.host().write(mfn, index, entry);
        }
        let child = frame_of(entry);
        self.try_table_get(child, level - 1).inspect_err(|e| {
            if let (true, Some(info)) = (e.held, self.refs.frames.get(child)) {
                info.set_progress(Progress {
                    owned: true,
                    ..info.progress()
                });
            }
        })
    }

    /// Finishes the table of a `child` entry, unless someone did it for us.
    fn validate_child(&mut self, mfn: Mfn) -> Result<(), MmuError> {
        let info = self.refs.info(mfn)?;
        if info.word().is_validated() {
            return Ok(());
        }
        self.validate(mfn, info)?;
        self.finish_validation(mfn, info)
    }

    /// Drops the references of a partial table's entries, from the last one down. `Again` is the only error.
    fn devalidate(&mut self, mfn: Mfn, info: &FrameInfo) -> Result<(), MmuError> {
        let Some(level) = info.word().frame_type().level() else {
            return Ok(());
        };
        let host = self.host();
        let mut at = info.progress();
        if at.child {
            let child = frame_of(host.read(mfn, at.index as usize));
            let child_info = self.refs.info(child)?;
            if child_info.word().is_partial() {
                self.devalidate(child, child_info)?;
                self.end(child, child_info);
                at.child = false;
                info.set_progress(at);
            } else {
                at.child = false;
                info.set_progress(at);
                self.put_child(info, at, child)?;
            }
        }
        let mut index = at.index as usize;
        while index > 0 {
            let mut work = 1;
            if level == 4 && index == AFTER_HYPERVISOR_SLOTS {
                index = FIRST_HYPERVISOR_SLOT;
            } else if index.is_multiple_of(BLOCK) && host.block_is_empty(mfn, index - BLOCK) {
                index -= BLOCK;
            } else {
                index -= 1;
                let entry = host.read(mfn, index);
                if entry & P != 0 {
                    if level == 1 {
                        self.leaf_put(entry);
                    } else {
                        work = BLOCK as u32;
                        self.put_child(
                            info,
                            Progress {
                                index: index as u16,
                                ..at
                            },
                            frame_of(entry),
                        )?;
                    }
                }
            }
            if index > 0 && self.should_stop(work) {
                info.set_progress(Progress {
                    index: index as u16,
                    ..at
                });
                return Err(MmuError::Again);
            }
        }
        info.set_progress(Progress { index: 0, ..at });
        Ok(())
    }

    /// Drops the reference of entry `at.index` of a table that is being let go. If it has to stop in the child, that
    /// becomes the table's `child`.
    fn put_child(&mut self, parent: &FrameInfo, at: Progress, child: Mfn) -> Result<(), MmuError> {
        let info = self.refs.info(child)?;
        let host = self.host();
        match info.put_type(|| host.flush_stamp_now()) {
            Err(FrameError::LastUse) => {
                self.begin_end(child, info);
                if let Err(e) = self.devalidate(child, info) {
                    info.set_progress(Progress {
                        owned: true,
                        ..info.progress()
                    });
                    parent.set_progress(Progress { child: true, ..at });
                    return Err(e);
                }
                self.end(child, info);
            }
            put => self.refs.after_put(child, info, put),
        }
        Ok(())
    }

    /// Whether L4 slot `index` may be named by a guest's update.
    pub(super) fn check_slot(level: u32, index: usize) -> Result<(), MmuError> {
        if level == 4 && entry::is_hypervisor_slot(index) {
            Err(MmuError::BadArgument)
        } else {
            Ok(())
        }
    }
}
