//! One domain's page tables under its lock: the state that the lock guards, and leaf references.

use super::entry::{self, P, RW, frame_of};
use super::{IoAccess, MmuError, MmuHost, Refs};
use crate::frame::{FrameError, FrameInfo, FrameTable, Word};
use crate::units::{DomId, Mfn};

/// How many dropped mappings of other domains' frames wait for one flush.
const FOREIGN: usize = 16;

/// What a domain's page-table lock guards.
#[derive(Debug)]
pub struct MmState {
    pub(super) domain: DomId,
    pub(super) l1_refused: u64,
    /// A table whose last use has ended but whose entries are not all let go yet.
    pub(super) pending: Option<Mfn>,
    /// Whether an intermediate entry changed since the domain's caches were flushed.
    flush: bool,
    /// Dropped entries that mapped frames of others, which do not know that this domain's caches matter.
    foreign: [u64; FOREIGN],
    nr_foreign: usize,
}

impl MmState {
    /// The state of a domain without tables. `phys_bits`: the CPU's physical address width; `may_set_cache_type`:
    /// whether the domain has any I/O memory, port or device, and so may choose memory types.
    pub const fn new(domain: DomId, phys_bits: u32, may_set_cache_type: bool) -> Self {
        MmState {
            domain,
            l1_refused: entry::l1_refused(phys_bits, may_set_cache_type),
            pending: None,
            flush: false,
            foreign: [0; FOREIGN],
            nr_foreign: 0,
        }
    }
}

/// A domain's page tables, locked.
///
/// Made from the guard of the domain's page-table lock for as long as it is held. Dropping it makes the caches true
/// again, so it must go before the guard does. An operation that returns [`MmuError::Again`] has changed nothing that
/// the guest can see, and is to be run again with the same arguments.
pub struct DomainMm<'a, H: MmuHost> {
    pub(super) refs: Refs<'a, H>,
    pub(super) state: &'a mut MmState,
    /// A base that is loaded until the caller says otherwise by going on.
    pub(super) retired: Option<Mfn>,
    budget: u32,
}

impl<'a, H: MmuHost> DomainMm<'a, H> {
    /// The tables of `state`'s domain.
    #[inline]
    pub fn new(frames: FrameTable<'a>, host: &'a H, state: &'a mut MmState) -> Self {
        DomainMm {
            refs: Refs { frames, host },
            state,
            retired: None,
            budget: H::POLL_EVERY,
        }
    }

    /// Whose tables these are.
    pub fn domain(&self) -> DomId {
        self.state.domain
    }

    /// References that need no lock.
    pub fn refs(&self) -> Refs<'a, H> {
        self.refs
    }

    /// Finishes what the last operation left: call it at the end of a hypercall that pinned, unpinned, loaded a base
    /// or changed entries of level 2 and up, so that the guest finds its old tables free to use.
    ///
    /// # Errors
    /// `Again`.
    #[inline]
    pub fn settle(&mut self) -> Result<(), MmuError> {
        self.begin()?;
        self.flush();
        Ok(())
    }

    /// Every operation starts here.
    #[inline(always)]
    pub(super) fn begin(&mut self) -> Result<(), MmuError> {
        if self.retired.is_some() || self.state.pending.is_some() {
            self.finish_last()
        } else {
            Ok(())
        }
    }

    fn finish_last(&mut self) -> Result<(), MmuError> {
        self.let_go_of_retired();
        self.finish_pending()
    }

    fn let_go_of_retired(&mut self) {
        if let Some(old) = self.retired.take() {
            self.table_put(old);
        }
    }

    #[inline(always)]
    pub(super) fn host(&self) -> &'a H {
        self.refs.host
    }

    /// Accounts for `work`; says whether to stop. Ask after some progress, never before it.
    #[inline(always)]
    pub(super) fn should_stop(&mut self, work: u32) -> bool {
        if self.budget > work {
            self.budget -= work;
            return false;
        }
        self.budget = H::POLL_EVERY;
        self.host().should_stop()
    }

    /// An intermediate entry changed: paging-structure caches are stale until the lock is given back.
    #[inline(always)]
    pub(super) fn needs_flush(&mut self) {
        self.state.flush = true;
    }

    /// Takes the reference of a present level 1 entry; returns the entry as it may stand.
    ///
    /// `fd` is the domain that should own the frame.
    #[inline(always)]
    pub(super) fn leaf_get(&self, entry: u64, fd: DomId) -> Result<u64, MmuError> {
        if entry & self.state.l1_refused != 0 {
            return Err(self.l1_refusal(entry));
        }
        let mfn = frame_of(entry);
        let Some(info) = self.refs.frames.get(mfn) else {
            return self.io_get(entry, mfn, Word::IO, fd);
        };
        let taken = if entry & RW != 0 {
            self.refs.take_writable(info, fd)
        } else {
            info.get_ref(fd)
        };
        match taken {
            Ok(()) => Ok(entry),
            Err(FrameError::NotOwned) => self.io_get(entry, mfn, info.word(), fd),
            Err(_) => Err(MmuError::LeafRefused),
        }
    }

    /// Why a level 1 entry with a refused bit is: memory types are a matter of the entry, frames that the CPU cannot
    /// address are one of permission.
    #[cold]
    fn l1_refusal(&self, entry: u64) -> MmuError {
        if entry & self.state.l1_refused & entry::FRAME != 0 {
            MmuError::IoRefused
        } else {
            MmuError::BadEntry
        }
    }

    #[cold]
    fn io_get(&self, entry: u64, mfn: Mfn, word: Word, fd: DomId) -> Result<u64, MmuError> {
        let domain = self.state.domain;
        if !word.is_io() || (fd != domain && fd != DomId::IO) {
            return Err(MmuError::LeafRefused);
        }
        match self.host().io_access(domain, mfn) {
            IoAccess::Refused => Err(MmuError::IoRefused),
            IoAccess::ReadOnly => Ok(entry & !RW),
            IoAccess::ReadWrite => Ok(entry),
        }
    }

    /// Drops the reference of a present level 1 entry that no longer stands.
    #[inline(always)]
    pub(super) fn leaf_put(&mut self, entry: u64) {
        let mfn = frame_of(entry);
        let Some(info) = self.refs.frames.get(mfn) else {
            return;
        };
        if info.word().owner() != self.state.domain {
            return self.foreign_put(entry);
        }
        self.leaf_put_now(entry, info);
    }

    #[inline(always)]
    fn leaf_put_now(&self, entry: u64, info: &FrameInfo) {
        let host = self.host();
        let put = if entry & RW != 0 {
            info.put_type(|| host.flush_stamp_now())
        } else {
            info.put_ref()
        };
        self.refs.after_put(frame_of(entry), info, put);
    }

    /// The owner's flushes do not reach the CPUs of this domain, so this domain's caches go first.
    #[cold]
    fn foreign_put(&mut self, entry: u64) {
        if self.refs.frames.word(frame_of(entry)).is_io() {
            return;
        }
        if self.state.nr_foreign == FOREIGN {
            self.flush();
        }
        if let Some(slot) = self.state.foreign.get_mut(self.state.nr_foreign) {
            *slot = entry;
            self.state.nr_foreign += 1;
        }
    }

    #[inline]
    fn flush(&mut self) {
        if self.state.flush || self.state.nr_foreign != 0 {
            self.flush_cold();
        }
    }

    #[cold]
    fn flush_cold(&mut self) {
        self.host().flush_domain(self.state.domain);
        self.state.flush = false;
        let waiting = core::mem::take(&mut self.state.nr_foreign);
        let foreign = self.state.foreign;
        for entry in foreign.into_iter().take(waiting).filter(|e| e & P != 0) {
            if let Some(info) = self.refs.frames.get(frame_of(entry)) {
                self.leaf_put_now(entry, info);
            }
        }
    }
}

impl<H: MmuHost> Drop for DomainMm<'_, H> {
    #[inline]
    fn drop(&mut self) {
        self.let_go_of_retired();
        self.flush();
    }
}
