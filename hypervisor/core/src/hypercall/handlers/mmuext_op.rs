//! Pins, page-table bases, flushes (`public/xen.h`, HYPERVISOR_mmuext_op).

use alloc::sync::Arc;
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

use rexen_abi::Plain;
use rexen_abi::errno::Errno;
use rexen_abi::xen::*;

use super::args::{
    all_vcpus, canonical, data_owner, element, frame_or_none, low16, low32, vcpu_mask,
};
use super::mmu_update::{MmuOrErrno, Progress, settle};
use crate::domain::{Domain, Ldt};
use crate::hypercall::{Call, Machine, Outcome, authority};
use crate::pvmmu::{DomainMm, MmuError, Refs};
use crate::units::{DomId, Mfn, PAGE_SIZE};

/// Descriptors that an LDT can have.
const MAX_LDT_ENTRIES: u32 = 8192;
/// Operations between two looks at whether to stop.
const OPS_PER_LOOK: u32 = 16;

/// `mmuext_op(ops, count, *done, foreigndom)`.
pub fn mmuext_op<M: Machine>(call: &mut Call<'_, M>) -> Outcome {
    let mut progress = Progress::new(call.args);
    let result = run(call, &mut progress);
    progress.finish(call, MmuextOp::SIZE as u64, result)
}

#[inline]
fn run<M: Machine>(call: &Call<'_, M>, progress: &mut Progress) -> Result<(), MmuOrErrno> {
    let owner = data_owner(call, low16(progress.foreign))?;
    let other = if owner == call.domain.id {
        None
    } else {
        call.m.domain(owner)
    };
    // Only operations on tables leave anything to settle; a continuation may have such a rest.
    let mut tables_changed = progress.left() == 0;
    while progress.left() != 0 {
        if progress.done != 0 && progress.done.is_multiple_of(OPS_PER_LOOK) && call.m.should_stop()
        {
            return Err(MmuOrErrno::Again);
        }
        let op = call.read::<MmuextOp>(element(
            progress.list,
            u64::from(progress.done),
            MmuextOp::SIZE as u64,
        ))?;
        tables_changed |= one(call, &op, owner, &other)?;
        progress.done += 1;
    }
    if tables_changed {
        settle(call, other.as_deref().unwrap_or(call.domain))
    } else {
        Ok(())
    }
}

/// Carries out one operation; tells whether it may have let tables go.
#[inline]
fn one<M: Machine>(
    call: &Call<'_, M>,
    op: &MmuextOp,
    owner: DomId,
    other: &Option<Arc<Domain>>,
) -> Result<bool, MmuOrErrno> {
    let mfn = Mfn(op.arg1);
    match op.cmd {
        MMUEXT_NEW_BASEPTR => {
            own(call, owner)?;
            drop_ldt_pages(call);
            return new_base(call, &call.vcpu.kernel_l4, Some(mfn), |m| {
                m.load_base(call.vcpu)
            });
        }
        MMUEXT_NEW_USER_BASEPTR => {
            own(call, owner)?;
            return new_base(call, &call.vcpu.user_l4, frame_or_none(mfn.0), |m| {
                m.entry_changed(call.vcpu)
            });
        }
        MMUEXT_TLB_FLUSH_LOCAL => {
            own(call, owner)?;
            call.m.flush_local(None);
        }
        MMUEXT_INVLPG_LOCAL => {
            own(call, owner)?;
            call.m.flush_local(Some(op.arg1));
        }
        MMUEXT_TLB_FLUSH_MULTI | MMUEXT_INVLPG_MULTI => {
            own(call, owner)?;
            let gva = (op.cmd == MMUEXT_INVLPG_MULTI).then_some(op.arg1);
            call.m
                .flush_vcpus(call.domain, vcpu_mask(call, op.arg2)?, gva);
        }
        MMUEXT_TLB_FLUSH_ALL | MMUEXT_INVLPG_ALL => {
            own(call, owner)?;
            let gva = (op.cmd == MMUEXT_INVLPG_ALL).then_some(op.arg1);
            call.m.flush_vcpus(call.domain, all_vcpus(call.domain), gva);
        }
        MMUEXT_PIN_L1_TABLE..=MMUEXT_PIN_L4_TABLE => {
            on_tables(call, owner, other, |mm| mm.pin(op.cmd + 1, mfn))?;
            return Ok(true);
        }
        MMUEXT_UNPIN_TABLE => {
            on_tables(call, owner, other, |mm| mm.unpin(mfn))?;
            return Ok(true);
        }
        MMUEXT_SET_LDT => {
            own(call, owner)?;
            set_ldt(call, op.arg1, low32(op.arg2))?;
        }
        MMUEXT_CLEAR_PAGE => refs(call).clear_page(mfn, owner)?,
        MMUEXT_COPY_PAGE => refs(call).copy_page(Mfn(op.arg2), mfn, owner)?,
        MMUEXT_FLUSH_CACHE | MMUEXT_FLUSH_CACHE_GLOBAL => {
            own(call, owner)?;
            authority::Hardware::of(call.domain).map_err(|_| Errno::EACCES)?;
            call.m.write_back_caches();
        }
        MMUEXT_MARK_SUPER | MMUEXT_UNMARK_SUPER => return Err(Errno::EOPNOTSUPP.into()),
        _ => return Err(Errno::ENOSYS.into()),
    }
    Ok(false)
}

/// # Errors
/// EPERM: the operation is on the caller's own vcpu, and cannot name another domain.
#[inline]
fn own<M: Machine>(call: &Call<'_, M>, owner: DomId) -> Result<(), Errno> {
    if owner == call.domain.id {
        Ok(())
    } else {
        Err(Errno::EPERM)
    }
}

fn refs<'a, M: Machine>(call: &Call<'a, M>) -> Refs<'a, M> {
    Refs {
        frames: call.m.frames(),
        host: call.m,
    }
}

/// Does something to the page tables of `owner`.
fn on_tables<M: Machine>(
    call: &Call<'_, M>,
    owner: DomId,
    other: &Option<Arc<Domain>>,
    act: impl FnOnce(&mut DomainMm<'_, M>) -> Result<(), MmuError>,
) -> Result<(), MmuOrErrno> {
    let domain = match other {
        Some(other) if other.is_dying() => return Err(Errno::EINVAL.into()),
        Some(other) => other,
        None if owner == call.domain.id => call.domain,
        // Frames of DOMID_IO and DOMID_XEN are no tables.
        None => return Err(Errno::EINVAL.into()),
    };
    let mut state = domain.mm.lock();
    match act(&mut DomainMm::new(call.m.frames(), call.m, &mut state)) {
        // Another vcpu of ours is about to finish the same table. We do not wait like that for another domain's vcpus.
        Err(MmuError::Busy) if owner == call.domain.id => Err(MmuOrErrno::Again),
        result => Ok(result?),
    }
}

/// Moves a base to `new`, and tells the machine before the lock is given back. True: the old table is not all let go.
#[inline]
fn new_base<M: Machine>(
    call: &Call<'_, M>,
    base: &AtomicU64,
    new: Option<Mfn>,
    tell: impl FnOnce(&M),
) -> Result<bool, MmuOrErrno> {
    let mut state = call.domain.mm.lock();
    let mut mm = DomainMm::new(call.m.frames(), call.m, &mut state);
    match mm.replace_base(frame_or_none(base.load(Relaxed)), new) {
        Ok(()) => {}
        Err(MmuError::Busy) => return Err(MmuOrErrno::Again),
        Err(e) => return Err(e.into()),
    }
    if let Some(l4) = new {
        let is_kernel = core::ptr::eq(base, &call.vcpu.kernel_l4);
        mm.show_m2p(l4, is_kernel || l4.0 == call.vcpu.kernel_l4.load(Relaxed));
    }
    base.store(new.map_or(0, |mfn| mfn.0), Relaxed);
    tell(call.m);
    Ok(mm.settle().is_err())
}

/// Makes `mfn` the kernel page-table base of the calling vcpu, as its `mov` to CR3 asks. False: the tables are not all
/// validated yet, and the instruction is to run again.
///
/// # Errors
/// It cannot be a level 4 table.
pub fn load_kernel_base<M: Machine>(call: &Call<'_, M>, mfn: Mfn) -> Result<bool, Errno> {
    drop_ldt_pages(call);
    match new_base(call, &call.vcpu.kernel_l4, Some(mfn), |m| {
        m.load_base(call.vcpu)
    }) {
        Ok(_) => Ok(true),
        Err(MmuOrErrno::Again) => Ok(false),
        Err(MmuOrErrno::Errno(e)) => Err(e),
    }
}

/// Lets the LDT's pages be looked up again in the new tables when next used.
#[inline]
fn drop_ldt_pages<M: Machine>(call: &Call<'_, M>) {
    let mut ldt = call.vcpu.ldt.lock();
    if ldt.entries == 0 || ldt.frames.iter().all(Option::is_none) {
        return;
    }
    let emptied = Ldt {
        frames: [None; 16],
        ..*ldt
    };
    let old = core::mem::replace(&mut *ldt, emptied);
    drop(ldt);
    call.m.load_ldt(call.vcpu);
    release_ldt(call, &old);
}

fn set_ldt<M: Machine>(call: &Call<'_, M>, base: u64, entries: u32) -> Result<(), Errno> {
    if entries > MAX_LDT_ENTRIES || !base.is_multiple_of(PAGE_SIZE) {
        return Err(Errno::EINVAL);
    }
    let last = base.wrapping_add(u64::from(entries) * 8);
    if entries != 0 && (canonical(base).is_err() || canonical(last).is_err() || last < base) {
        return Err(Errno::EINVAL);
    }
    let new = Ldt {
        base,
        entries,
        frames: [None; 16],
    };
    let old = core::mem::replace(&mut *call.vcpu.ldt.lock(), new);
    if old.entries == 0 && entries == 0 {
        return Ok(());
    }
    call.m.load_ldt(call.vcpu);
    release_ldt(call, &old);
    Ok(())
}

fn release_ldt<M: Machine>(call: &Call<'_, M>, old: &Ldt) {
    if old.frames.iter().all(Option::is_none) {
        return;
    }
    let mut state = call.domain.mm.lock();
    let mut mm = DomainMm::new(call.m.frames(), call.m, &mut state);
    for mfn in old.frames.iter().flatten() {
        mm.release_descriptors(*mfn);
    }
}
