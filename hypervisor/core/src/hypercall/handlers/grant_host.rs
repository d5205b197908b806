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
    m: &'a M,
    domain: &'a Domain,
    /// What linear addresses are looked up in.
    kernel_l4: Mfn,
}

impl<'a, M: Machine> Mapper<'a, M> {
    /// One that works for `vcpu`.
    #[inline]
    pub fn of(m: &'a M, domain: &'a Domain, vcpu: &Vcpu) -> Self {
        let kernel_l4 = Mfn(vcpu.kernel_l4.load(Relaxed));
        Mapper {
            m,
            domain,
            kernel_l4,
        }
    }

    /// One for a domain whose page tables are gone.
    pub fn of_dying(m: &'a M, domain: &'a Domain) -> Self {
        Mapper {
            m,
            domain,
            kernel_l4: Mfn(0),
        }
    }
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
            HostAddr::Linear(va) => mm.walk(self.kernel_l4, va),
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
            if from == to {
                return Err(GrantStatus::GeneralError);
            }
            mm.take_l1_entry(to, mfn, writable)
                .map_err(|_| GrantStatus::GeneralError)?;
            // Only this domain's lock lets entries change; what was read still stands, but for the bits the CPU sets. An
            // empty entry replaces as well.
            if entry & P != 0
                && mm
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

/// Frames that are added to a table between two looks at whether to stop.
const FRAMES_PER_LOOK: u32 = 16;

/// Lets the grant table of `domain` have at least `nr_frames` frames. A new domain's has one. Tells whether it has them
/// all; if not, call it again.
///
/// # Errors
/// `GeneralError`: more than it may have, or no memory.
pub fn add_frames<M: Machine>(m: &M, domain: &Domain, nr_frames: u32) -> Result<bool, GrantStatus> {
    domain.grants.grow(
        nr_frames,
        || share_new_frame(m, domain),
        |mfn| unshare(m, domain, mfn),
        stop_seldom(m),
    )
}

/// Asks the machine whether to stop on every [`FRAMES_PER_LOOK`]th call.
pub(super) fn stop_seldom<M: Machine>(m: &M) -> impl FnMut() -> bool {
    let mut calls = 0u32;
    move || {
        calls = calls.wrapping_add(1);
        calls.is_multiple_of(FRAMES_PER_LOOK) && m.should_stop()
    }
}

/// A new frame for the grant table of `domain`.
pub(super) fn share_new_frame<M: Machine>(m: &M, domain: &Domain) -> Option<Mfn> {
    let mfn = m.alloc_frames(0, u64::BITS)?;
    m.set_m2p(mfn, INVALID_PFN);
    domain.span.grow(mfn, 1);
    if m.frames()
        .get(mfn)
        .is_some_and(|info| info.share(domain.id).is_ok())
    {
        return Some(mfn);
    }
    m.bug("the allocator gave a frame that is not private", mfn);
    None
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
