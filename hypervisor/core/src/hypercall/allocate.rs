//! Taking frames from the pool for domains and for ourselves, always scrubbed, and setting frames aside.

use rexen_abi::errno::Errno;
use spin::RelaxStrategy;

use super::Machine;
use crate::domain::Domain;
use crate::frame::{Block, Claim, ClaimError, Dirty, Word};
use crate::pvmmu::MmuError;
use crate::sync::Relax;
use crate::units::Mfn;

/// Frames that are scrubbed between two looks at whether to stop.
const SCRUBS_PER_LOOK: u64 = 16;
/// Turns for which frames that are being scrubbed are waited for.
const WAITS: u32 = 1000;

/// Takes 2^`order` scrubbed frames for `domain`, of its claim first.
///
/// # Errors
/// See [`alloc_preemptible`].
pub fn alloc_for<M: Machine>(
    m: &M,
    domain: &Domain,
    order: u32,
    address_bits: u32,
) -> Result<Mfn, MmuError> {
    alloc_preemptible(m, Some(&domain.claim), order, address_bits).map(|block| block.mfn)
}

/// Takes 2^`order` scrubbed frames, of `claim` first.
///
/// # Errors
/// `Again`: a stop was asked for. What was scrubbed until then stays scrubbed, so that this ends. `BadArgument`: there are no
/// such frames, or they are set aside for others.
pub fn alloc_preemptible<M: Machine>(
    m: &M,
    claim: Option<&Claim>,
    order: u32,
    address_bits: u32,
) -> Result<Block, MmuError> {
    let block = take(m, order, address_bits, claim).ok_or(MmuError::BadArgument)?;
    if clear(m, block.mfn, block.order, || m.should_stop()) {
        return Ok(block);
    }
    put_back(m, block, claim);
    Err(MmuError::Again)
}

/// Undoes [`alloc_preemptible`].
pub fn put_back<M: Machine>(m: &M, block: Block, claim: Option<&Claim>) {
    if m.pool().lock().put_back(block, claim).is_err() {
        m.bug("frames just allocated cannot be put back", block.mfn);
    }
}

/// Takes 2^`order` scrubbed frames that nobody has claimed.
pub fn alloc_frames<M: Machine>(m: &M, order: u32, address_bits: u32) -> Option<Mfn> {
    let block = take(m, order, address_bits, None)?;
    clear(m, block.mfn, block.order, || false);
    Some(block.mfn)
}

fn take<M: Machine>(m: &M, order: u32, address_bits: u32, claim: Option<&Claim>) -> Option<Block> {
    let try_once = || m.pool().lock().alloc(order, address_bits, claim);
    let found = try_once().or_else(|| {
        m.free_dropped();
        try_once()
    });
    if found.is_some() {
        return found;
    }
    // Idle CPUs may hold the last frames, to scrub them; not for long.
    for _ in 0..WAITS {
        if !m.pool().lock().is_scrubbing() {
            return try_once();
        }
        Relax::relax();
    }
    try_once()
}

/// Scrubs some free frames, if any need it, without being in the way of who allocates; an idle CPU's pastime. False: there
/// is nothing to do.
pub fn scrub_some<M: Machine>(m: &M) -> bool {
    let Some(dirty) = m.pool().try_lock().map(|mut pool| pool.begin_scrub()) else {
        return true;
    };
    if let Dirty::Block(mfn, order) = dirty {
        clear(m, mfn, order, || false);
        if m.pool().lock().end_scrub(mfn, order).is_err() {
            m.bug("frames being scrubbed cannot be put back", mfn);
        }
    }
    dirty != Dirty::Nothing
}

/// Clears what was not cleared before; false if it was stopped.
fn clear<M: Machine>(m: &M, first: Mfn, order: u32, should_stop: impl Fn() -> bool) -> bool {
    let mut cleared = 0;
    let all = (0..1u64 << order).map(|n| Mfn(first.0.wrapping_add(n)));
    for (mfn, info) in all.filter_map(|mfn| Some((mfn, m.frames().get(mfn)?))) {
        if info.word() != Word::UNSCRUBBED {
            continue;
        }
        if cleared == SCRUBS_PER_LOOK {
            if should_stop() {
                return false;
            }
            cleared = 0;
        }
        m.clear(mfn);
        info.set_scrubbed();
        cleared += 1;
    }
    true
}

/// Sets frames aside so that `domain` can have `pages` in all; 0 ends its claim, as its destruction must.
///
/// # Errors
/// EINVAL: it has a claim, or `pages` is not more than it has, or more than it may have. ENOMEM: there are not so many.
/// # Source
/// `public/memory.h`, XENMEM_claim_pages.
pub fn set_claim<M: Machine>(m: &M, domain: &Domain, pages: u64) -> Result<(), Errno> {
    use core::sync::atomic::Ordering::Relaxed;
    m.free_dropped();
    let (tot, max) = (
        domain.tot_pages.load(Relaxed),
        domain.max_pages.load(Relaxed),
    );
    let set = m.pool().lock().claim(&domain.claim, pages, tot, max);
    set.map_err(|e| match e {
        ClaimError::Invalid => Errno::EINVAL,
        ClaimError::NoMemory => Errno::ENOMEM,
    })
}
