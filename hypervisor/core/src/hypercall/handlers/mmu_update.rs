//! Changes of page-table entries (`public/xen.h`, HYPERVISOR_mmu_update, HYPERVISOR_update_va_mapping).

use alloc::sync::Arc;
use core::sync::atomic::Ordering::Relaxed;

use rexen_abi::Plain;
use rexen_abi::errno::Errno;
use rexen_abi::xen::{MmuUpdate, UVMF_ALL, UVMF_FLUSHTYPE_MASK, UVMF_INVLPG, UVMF_TLB_FLUSH};

use super::args::{all_vcpus, data_owner, element, low16, low32, vcpu_mask};
use crate::domain::Domain;
use crate::hypercall::{Call, Machine, Outcome, authority};
use crate::pvmmu::{DomainMm, MmuError};
use crate::units::{DomId, Mfn};

/// Set in a count: this is a continuation, and the done counter already counts.
pub(super) const PREEMPTED: u32 = 0x8000_0000;
/// Requests copied in at a time.
const BATCH: usize = 16;
/// Batches between two looks at whether to stop.
const BATCHES_PER_LOOK: u32 = 4;

/// How far a batch came.
pub(super) struct Progress {
    /// Where the requests start, how many there are, and where the caller wants to know how many were done.
    pub list: u64,
    pub count: u32,
    pub done_at: u64,
    pub foreign: u64,
    /// Requests done in this turn.
    pub done: u32,
    was_preempted: bool,
}

impl Progress {
    #[inline]
    pub fn new(args: [u64; 5]) -> Self {
        let [list, count, done_at, foreign, _] = args;
        let count = low32(count);
        Progress {
            list,
            count: count & !PREEMPTED,
            done_at,
            foreign,
            done: 0,
            was_preempted: count & PREEMPTED != 0,
        }
    }

    #[inline]
    pub fn left(&self) -> u32 {
        self.count.saturating_sub(self.done)
    }

    /// Tells the caller how many were done, if it wants to know, and ends the hypercall or this turn of it.
    #[inline]
    pub fn finish<M: Machine>(
        self,
        call: &Call<'_, M>,
        size: u64,
        result: Result<(), MmuOrErrno>,
    ) -> Outcome {
        if self.done_at != 0 {
            self.report(call);
        }
        match result {
            Ok(()) => Outcome::Done(0),
            Err(MmuOrErrno::Errno(e)) => Outcome::Done(e.to_rax()),
            Err(MmuOrErrno::Again) => {
                let list = element(self.list, u64::from(self.done), size);
                let count = u64::from(self.left() | PREEMPTED);
                call.again([list, count])
            }
        }
    }

    #[cold]
    fn report<M: Machine>(&self, call: &Call<'_, M>) {
        let before = if self.was_preempted {
            call.read::<u32>(self.done_at).unwrap_or(0)
        } else {
            0
        };
        // The requests are done whether or not the guest can be told.
        let _ = call.write(self.done_at, &before.wrapping_add(self.done));
    }
}

/// Why a batch stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum MmuOrErrno {
    /// Go on later.
    Again,
    /// For the guest.
    Errno(Errno),
}

impl From<Errno> for MmuOrErrno {
    fn from(e: Errno) -> Self {
        MmuOrErrno::Errno(e)
    }
}

impl From<MmuError> for MmuOrErrno {
    #[inline]
    fn from(e: MmuError) -> Self {
        match e {
            MmuError::Again => MmuOrErrno::Again,
            e => MmuOrErrno::Errno(e.into()),
        }
    }
}

/// `mmu_update(requests, count, *done, foreigndom)`.
pub fn mmu_update<M: Machine>(call: &mut Call<'_, M>) -> Outcome {
    let mut progress = Progress::new(call.args);
    let result = run(call, &mut progress);
    progress.finish(call, MmuUpdate::SIZE as u64, result)
}

#[inline]
fn run<M: Machine>(call: &Call<'_, M>, progress: &mut Progress) -> Result<(), MmuOrErrno> {
    let data = data_owner(call, low16(progress.foreign))?;
    let other = table_owner(call, low16(progress.foreign >> 16))?;
    let tables = other.as_deref().unwrap_or(call.domain);
    if progress.count == 1 {
        // Nearly all calls are of one request.
        let request = call.read::<MmuUpdate>(progress.list)?;
        return apply(
            call,
            tables,
            data,
            core::slice::from_ref(&request),
            progress,
        );
    }
    if progress.count == 0 {
        return settle(call, tables);
    }
    let mut batches = 0u32;
    while progress.left() != 0 {
        batches += 1;
        if batches.is_multiple_of(BATCHES_PER_LOOK) && call.m.should_stop() {
            return Err(MmuOrErrno::Again);
        }
        let mut requests = [MmuUpdate::ZERO; BATCH];
        let wanted = (progress.left() as usize).min(BATCH);
        let got = copy_batch(
            call,
            element(progress.list, u64::from(progress.done), 16),
            &mut requests,
            wanted,
        )?;
        apply(
            call,
            tables,
            data,
            requests.get(..got).unwrap_or_default(),
            progress,
        )?;
    }
    Ok(())
}

/// Copies up to `wanted` requests in; just one, if they are not all there: the guest gets those before the fault done.
fn copy_batch<M: Machine>(
    call: &Call<'_, M>,
    from: u64,
    requests: &mut [MmuUpdate; BATCH],
    wanted: usize,
) -> Result<usize, Errno> {
    let mut bytes = [0; BATCH * MmuUpdate::SIZE];
    let mut got = wanted;
    if call
        .m
        .copy_in(
            from,
            bytes
                .get_mut(..wanted * MmuUpdate::SIZE)
                .ok_or(Errno::EINVAL)?,
        )
        .is_err()
    {
        call.m
            .copy_in(from, bytes.get_mut(..MmuUpdate::SIZE).ok_or(Errno::EINVAL)?)?;
        got = 1;
    }
    for (request, bytes) in requests
        .iter_mut()
        .zip(bytes.chunks_exact(MmuUpdate::SIZE))
        .take(got)
    {
        request.fill(bytes).ok_or(Errno::EFAULT)?;
    }
    Ok(got)
}

#[inline]
fn apply<M: Machine>(
    call: &Call<'_, M>,
    tables: &Domain,
    data: DomId,
    requests: &[MmuUpdate],
    progress: &mut Progress,
) -> Result<(), MmuOrErrno> {
    let mut state = tables.mm.lock();
    let mut mm = DomainMm::new(call.m.frames(), call.m, &mut state);
    for request in requests {
        mm.mmu_update(request.ptr, request.val, data)?;
        progress.done += 1;
    }
    if progress.left() == 0 {
        mm.settle()?;
    }
    Ok(())
}

/// Lets tables go whose last use ended, so that the guest finds their frames free to use.
#[inline]
pub(super) fn settle<M: Machine>(call: &Call<'_, M>, tables: &Domain) -> Result<(), MmuOrErrno> {
    let mut state = tables.mm.lock();
    Ok(DomainMm::new(call.m.frames(), call.m, &mut state).settle()?)
}

/// Whose page tables: the caller's for 0, else those of domain `id_plus_1` - 1.
#[inline]
fn table_owner<M: Machine>(
    call: &Call<'_, M>,
    id_plus_1: u16,
) -> Result<Option<Arc<Domain>>, Errno> {
    match id_plus_1.checked_sub(1) {
        None => Ok(None),
        Some(id) if DomId(id) == call.domain.id => Ok(None),
        Some(id) => {
            authority::Control::of(call.domain)?;
            let domain = call.m.domain(DomId(id)).filter(|domain| !domain.is_dying());
            domain.map(Some).ok_or(Errno::EINVAL)
        }
    }
}

/// `update_va_mapping(va, val, flags)`.
pub fn update_va_mapping<M: Machine>(call: &mut Call<'_, M>) -> Outcome {
    map(call, call.domain.id)
}

/// `update_va_mapping_otherdomain(va, val, flags, domid)`.
pub fn update_va_mapping_otherdomain<M: Machine>(call: &mut Call<'_, M>) -> Outcome {
    match data_owner(call, low16(call.args[3])) {
        Ok(owner) => map(call, owner),
        Err(e) => Err::<u64, _>(e).into(),
    }
}

#[inline]
fn map<M: Machine>(call: &Call<'_, M>, owner: DomId) -> Outcome {
    let [va, val, flags, _, _] = call.args;
    let base = Mfn(call.vcpu.kernel_l4.load(Relaxed));
    let result = {
        let mut state = call.domain.mm.lock();
        DomainMm::new(call.m.frames(), call.m, &mut state).update_va_mapping(base, va, val, owner)
    };
    match result {
        Ok(()) if flags & UVMF_FLUSHTYPE_MASK == 0 => Outcome::Done(0),
        Ok(()) => flush(call, va, flags).into(),
        Err(MmuError::Again) => Outcome::Again(call.args),
        Err(e) => Err::<u64, Errno>(e.into()).into(),
    }
}

fn flush<M: Machine>(call: &Call<'_, M>, va: u64, flags: u64) -> Result<(), Errno> {
    let gva = match flags & UVMF_FLUSHTYPE_MASK {
        UVMF_TLB_FLUSH => None,
        UVMF_INVLPG => Some(va),
        _ => return Ok(()),
    };
    match flags & !UVMF_FLUSHTYPE_MASK {
        0 => call.m.flush_local(gva),
        UVMF_ALL => call.m.flush_vcpus(call.domain, all_vcpus(call.domain), gva),
        mask => call.m.flush_vcpus(call.domain, vcpu_mask(call, mask)?, gva),
    }
    Ok(())
}
