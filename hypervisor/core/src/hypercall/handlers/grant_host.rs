//! Frames and page tables for grant operations.

use core::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

use crate::domain::{Domain, Vcpu};
use crate::evtchn::{DwordIndex, QwordIndex, SharedFrames};
use crate::gnttab::{GrantHost, GrantStatus, HostAddr};
use crate::hypercall::Machine;
use crate::pvmmu::entry::{P, RW, frame_of};
use crate::pvmmu::{DomainMm, INVALID_PFN, L1Slot, Refs};
use crate::units::{DomId, Mfn, PAGE_SIZE};

/// A vcpu that maps, unmaps or copies.
pub(in crate::hypercall) struct Mapper<'a, M> {
    pub m: &'a M,
    pub domain: &'a Domain,
    pub vcpu: &'a Vcpu,
}

impl<M: Machine> SharedFrames for Mapper<'_, M> {
    #[inline]
    fn word64(&self, mfn: Mfn, index: QwordIndex) -> &AtomicU64 {
        self.m.word64(mfn, index)
    }
    #[inline]
    fn word32(&self, mfn: Mfn, index: DwordIndex) -> &AtomicU32 {
        self.m.word32(mfn, index)
    }
}

impl<M: Machine> Mapper<'_, M> {
    fn refs(&self) -> Refs<'_, M> {
        Refs {
            frames: self.m.frames(),
            host: self.m,
        }
    }

    /// The entry that `at` means, in a level 1 table of the domain. Whatever is wrong with it, Xen says `GeneralError`.
    fn slot(&self, mm: &DomainMm<'_, M>, at: HostAddr) -> Result<L1Slot, GrantStatus> {
        match at {
            HostAddr::Linear(va) => mm.walk(Mfn(self.vcpu.kernel_l4.load(Relaxed)), va),
            HostAddr::Entry(maddr) => {
                mm.l1_slot(Mfn::containing(maddr), (maddr % PAGE_SIZE) as usize)
            }
        }
        .map_err(|_| GrantStatus::GeneralError)
    }

    fn with_tables<R>(&self, act: impl FnOnce(&mut DomainMm<'_, M>) -> R) -> R {
        let mut state = self.domain.mm.lock();
        act(&mut DomainMm::new(self.m.frames(), self.m, &mut state))
    }
}

impl<M: Machine> GrantHost for Mapper<'_, M> {
    fn hold(&self, mfn: Mfn, owner: DomId, writable: bool) -> bool {
        let held = if writable {
            self.refs().hold_writable(mfn, owner)
        } else {
            self.refs().hold(mfn, owner)
        };
        held.is_ok()
    }

    fn release(&self, mfn: Mfn, writable: bool) {
        if writable {
            self.refs().release_writable(mfn);
        } else {
            self.refs().release(mfn);
        }
    }

    fn install(&self, at: HostAddr, pte: u64) -> Result<(), GrantStatus> {
        self.with_tables(|mm| {
            let slot = self.slot(mm, at)?;
            mm.install_l1_entry(slot, pte);
            Ok(())
        })
    }

    fn take(&self, at: HostAddr, mfn: Mfn, writable: bool) -> Result<(), GrantStatus> {
        self.with_tables(|mm| {
            let slot = self.slot(mm, at)?;
            mm.take_l1_entry(slot, mfn, writable)
                .map_err(|_| GrantStatus::GeneralError)
        })
    }

    fn replace(&self, at: HostAddr, mfn: Mfn, writable: bool, new: u64) -> Result<(), GrantStatus> {
        self.with_tables(|mm| {
            let from = self.slot(mm, HostAddr::Linear(new))?;
            let to = self.slot(mm, at)?;
            let entry = mm.read_l1_entry(from);
            if from == to || entry & P == 0 {
                return Err(GrantStatus::GeneralError);
            }
            mm.take_l1_entry(to, mfn, writable)
                .map_err(|_| GrantStatus::GeneralError)?;
            // Only this domain's lock lets entries change; what was read still stands, but for the bits the CPU sets.
            if mm
                .take_l1_entry(from, frame_of(entry), entry & RW != 0)
                .is_ok()
            {
                mm.install_l1_entry(to, entry);
            }
            Ok(())
        })
    }

    fn copy(&self, from: Mfn, from_offset: u16, to: Mfn, to_offset: u16, len: u16) {
        self.m.copy_bytes(from, from_offset, to, to_offset, len);
    }
}

/// Lets the grant table of `domain` have at least `nr_frames` frames. A new domain's has one.
///
/// # Errors
/// `GeneralError`: more than it may have, or no memory.
pub fn add_frames<M: Machine>(m: &M, domain: &Domain, nr_frames: u32) -> Result<(), GrantStatus> {
    let allocate = || {
        let mfn = m.alloc_frames(0, u64::BITS)?;
        m.set_m2p(mfn, INVALID_PFN);
        if m.frames()
            .get(mfn)
            .is_some_and(|info| info.share(domain.id).is_ok())
        {
            return Some(mfn);
        }
        m.bug("the allocator gave a frame that is not private", mfn);
        None
    };
    domain
        .grants
        .grow(nr_frames, allocate, |mfn| unshare(m, domain, mfn))
}

/// Ends the sharing of a frame with `domain`. For as long as others map it, it counts as one of the domain's pages.
pub fn unshare<M: Machine>(m: &M, domain: &Domain, mfn: Mfn) {
    let refs = Refs {
        frames: m.frames(),
        host: m,
    };
    if let Some(info) = m.frames().get(mfn) {
        domain.tot_pages.fetch_add(1, Relaxed);
        let _ = info.drop_allocation();
        refs.release_writable(mfn);
    }
}
