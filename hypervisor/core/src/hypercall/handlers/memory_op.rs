//! A domain's memory (`public/memory.h`).

use core::sync::atomic::Ordering::{Relaxed, SeqCst};

use rexen_abi::Plain;
use rexen_abi::arch_x86::{MACH2PHYS_VIRT_END, MACH2PHYS_VIRT_START};
use rexen_abi::errno::Errno;
use rexen_abi::memory::*;
use rexen_abi::xen::shared_info_offset;

use super::args::{element, low32};
use super::grant_resource::acquire_resource;
use super::memory_exchange::exchange;
use crate::domain::Domain;
use crate::evtchn::QwordIndex;
use crate::hypercall::{Call, Machine, Outcome, allocate, authority};
use crate::pvmmu::{DomainMm, INVALID_PFN, MmuError};
use crate::units::{DomId, Mfn};

/// The highest order of an extent: of domain 0, and of others.
const MAX_ORDER_DOM0: u32 = 12;
const MAX_ORDER: u32 = 9;
/// The most extents of one call: the number done must fit above the command.
pub(super) const MAX_EXTENTS: u64 = (u32::MAX >> MEMOP_EXTENT_SHIFT) as u64;
/// Extents between two looks at whether to stop.
const EXTENTS_PER_LOOK: u64 = 64;
/// Address width for "anywhere".
const ANY_WIDTH: u32 = 64;
/// Entries of a domain's memory map.
const MAX_MAP: u32 = 128;
/// Entries of the M2P in the 2 MiB that one mfn of XENMEM_machphys_mfn_list stands for.
const M2P_ENTRIES_PER_CHUNK: u64 = (2 << 20) / 8;

/// `memory_op(cmd, arg)`. The start extent of a continuation is in the bits above the command.
pub fn memory_op<M: Machine>(call: &mut Call<'_, M>) -> Outcome {
    let [cmd, arg, ..] = call.args;
    let op = low32(cmd) & ((1 << MEMOP_EXTENT_SHIFT) - 1);
    match op {
        XENMEM_increase_reservation | XENMEM_decrease_reservation | XENMEM_populate_physmap => {
            let start = u64::from(low32(cmd) >> MEMOP_EXTENT_SHIFT);
            reservation(call, op, start, cmd >> 32, arg)
        }
        XENMEM_exchange => exchange(call, arg),
        XENMEM_acquire_resource => acquire_resource(call, arg),
        _ => others(call, op, arg).into(),
    }
}

/// The highest order of an extent that the caller may name.
pub(super) fn max_order<M: Machine>(call: &Call<'_, M>) -> u32 {
    if call.domain.is_privileged {
        MAX_ORDER_DOM0
    } else {
        MAX_ORDER
    }
}

/// The address width that a reservation's flags ask for.
pub(super) fn address_bits(mem_flags: u32) -> u32 {
    match mem_flags & XENMEMF_ADDRESS_BITS_MASK {
        0 => ANY_WIDTH,
        bits => bits.min(ANY_WIDTH),
    }
}

/// Returns the number of extents done, whatever went wrong. It goes on with extent `start`, and there behind the first
/// `part` frames, which only a decrease that was interrupted asks for.
fn reservation<M: Machine>(
    call: &Call<'_, M>,
    op: u32,
    start: u64,
    mut part: u64,
    arg: u64,
) -> Outcome {
    let Ok(asked) = call.read::<XenMemoryReservation>(arg) else {
        return Outcome::Done(start);
    };
    if asked.nr_extents > MAX_EXTENTS
        || start >= asked.nr_extents
        || asked.extent_order > max_order(call)
    {
        return Outcome::Done(start);
    }
    let Ok(domain) = call.target(asked.domid) else {
        return Outcome::Done(start);
    };
    let per_look = EXTENTS_PER_LOOK >> asked.extent_order.min(6);
    let mut n = start;
    while n < asked.nr_extents {
        if n != start && (n - start).is_multiple_of(per_look) && call.m.should_stop() {
            return call.again([u64::from(op) | n << MEMOP_EXTENT_SHIFT]);
        }
        let at = element(asked.extent_start, n, 8);
        let done = match op {
            XENMEM_populate_physmap => populate(call, &domain, &asked, at),
            XENMEM_increase_reservation => increase(call, &domain, &asked, at),
            _ => decrease(call, &domain, asked.extent_order, at, &mut part),
        };
        match done {
            Ok(()) => n += 1,
            Err(MmuError::Again) => {
                return call.again([u64::from(op) | n << MEMOP_EXTENT_SHIFT | part << 32]);
            }
            Err(_) => break,
        }
    }
    Outcome::Done(n)
}

/// Why an extent is not done; which error it was is nowhere told.
const FAILED: MmuError = MmuError::BadArgument;

/// Gives the domain an extent at the pfn in the list, and puts the mfn there.
fn populate<M: Machine>(
    call: &Call<'_, M>,
    domain: &Domain,
    asked: &XenMemoryReservation,
    at: u64,
) -> Result<(), MmuError> {
    let pfn = call.read::<u64>(at).map_err(|_| FAILED)?;
    let mfn = allocate(
        call.m,
        domain,
        asked.extent_order,
        address_bits(asked.mem_flags),
    )?;
    give(call.m, domain, mfn, asked.extent_order, pfn)?;
    call.write(at, &mfn.0).map_err(|_| FAILED)
}

/// Gives the domain an extent, and puts the mfn into the list if there is one.
fn increase<M: Machine>(
    call: &Call<'_, M>,
    domain: &Domain,
    asked: &XenMemoryReservation,
    at: u64,
) -> Result<(), MmuError> {
    let mfn = allocate(
        call.m,
        domain,
        asked.extent_order,
        address_bits(asked.mem_flags),
    )?;
    give(call.m, domain, mfn, asked.extent_order, INVALID_PFN)?;
    if asked.extent_start == 0 {
        return Ok(());
    }
    call.write(at, &mfn.0).map_err(|_| FAILED)
}

/// Takes an extent from the domain, of which `part` frames are gone already; 0 again when all of it is gone.
///
/// # Errors
/// `Again`, with what is gone in `part`. Else: a frame is not the domain's, or in use.
fn decrease<M: Machine>(
    call: &Call<'_, M>,
    domain: &Domain,
    order: u32,
    at: u64,
    part: &mut u64,
) -> Result<(), MmuError> {
    let first = call.read::<u64>(at).map_err(|_| FAILED)?;
    let frames = 1u64 << order;
    if *part >= frames {
        // No continuation of ours.
        *part = 0;
    }
    while *part < frames {
        let end = frames.min(part.saturating_add(EXTENTS_PER_LOOK));
        let mut state = domain.mm.lock();
        let mut mm = DomainMm::new(call.m.frames(), call.m, &mut state);
        for n in *part..end {
            surrender(call.m, &mut mm, Mfn(first.wrapping_add(n)))?;
        }
        *part = end;
        if end < frames && call.m.should_stop() {
            return Err(MmuError::Again);
        }
    }
    *part = 0;
    Ok(())
}

/// Allocates frames that count as `domain`'s but are not assigned yet.
///
/// # Errors
/// `Again`. Else: it has all it may have, or there are none.
pub(super) fn allocate<M: Machine>(
    m: &M,
    domain: &Domain,
    order: u32,
    address_bits: u32,
) -> Result<Mfn, MmuError> {
    let count = 1u64 << order;
    let max = domain.max_pages.load(Relaxed);
    if domain.is_dying() {
        return Err(FAILED);
    }
    let more = |tot: u64| tot.checked_add(count).filter(|tot| *tot <= max);
    domain
        .tot_pages
        .fetch_update(SeqCst, SeqCst, more)
        .map_err(|_| FAILED)?;
    allocate::alloc_for(m, domain, order, address_bits).inspect_err(|_| {
        domain.tot_pages.fetch_sub(count, SeqCst);
    })
}

/// Makes allocated frames `domain`'s, from `pfn` on.
///
/// # Errors
/// `Bug`, reported: the frames did not come from the allocator.
pub(super) fn give<M: Machine>(
    m: &M,
    domain: &Domain,
    first: Mfn,
    order: u32,
    pfn: u64,
) -> Result<(), MmuError> {
    domain.span.grow(first, 1 << order);
    for n in 0..1u64 << order {
        let mfn = Mfn(first.0.wrapping_add(n));
        // Named before the guest can have it: nobody else may name it meanwhile.
        m.set_m2p(
            mfn,
            if pfn == INVALID_PFN {
                INVALID_PFN
            } else {
                pfn.wrapping_add(n)
            },
        );
        let assigned = m
            .frames()
            .get(mfn)
            .is_some_and(|info| info.assign(domain.id).is_ok());
        if !assigned {
            m.bug("the allocator gave a frame that is not private", mfn);
            return Err(MmuError::Bug);
        }
    }
    Ok(())
}

/// Gives a frame back for the domain. It is freed when nothing uses it any more; then the machine counts it out of
/// `tot_pages`.
///
/// # Errors
/// `NotOwned`, `Overflow`.
pub(super) fn surrender<M: Machine>(
    m: &M,
    mm: &mut DomainMm<'_, M>,
    mfn: Mfn,
) -> Result<(), MmuError> {
    let refs = mm.refs();
    // Held, so that it cannot belong to another when the M2P forgets it.
    refs.hold(mfn, mm.domain())?;
    m.set_m2p(mfn, INVALID_PFN);
    let given = mm.give_back(mfn);
    refs.release(mfn);
    given
}

fn others<M: Machine>(call: &Call<'_, M>, op: u32, arg: u64) -> Result<u64, Errno> {
    let m = call.m;
    match op {
        XENMEM_maximum_ram_page => Ok(m.max_frame().saturating_sub(1)),
        XENMEM_current_reservation => Ok(call.target(call.read(arg)?)?.tot_pages.load(Relaxed)),
        XENMEM_maximum_reservation => Ok(call.target(call.read(arg)?)?.max_pages.load(Relaxed)),
        XENMEM_maximum_gpfn => {
            let domain = call.target(call.read(arg)?)?;
            let word = m.word64(
                domain.shared_info,
                QwordIndex::at_byte(shared_info_offset::MAX_PFN),
            );
            Ok(word.load(Relaxed).saturating_sub(1))
        }
        XENMEM_machphys_mapping => {
            let mapping = XenMachphysMapping {
                v_start: MACH2PHYS_VIRT_START,
                v_end: MACH2PHYS_VIRT_END,
                max_mfn: m.max_frame().saturating_sub(1),
            };
            call.write(arg, &mapping).map(|()| 0)
        }
        XENMEM_machphys_mfn_list => {
            let list = call.read::<XenMachphysMfnList>(arg)?;
            call.write(arg, &m2p_frames(call, list)?).map(|()| 0)
        }
        XENMEM_memory_map => {
            let map = call.read::<XenMemoryMap>(arg)?;
            let count = call.domain.memory_map.lock().len() as u32;
            if count == 0 {
                return Err(Errno::ENOSYS);
            }
            let map = give_map(call, map, map.nr_entries.min(count))?;
            call.write(arg, &map).map(|()| 0)
        }
        XENMEM_machine_memory_map => {
            authority::Hardware::of(call.domain)?;
            let map = call.read::<XenMemoryMap>(arg)?;
            let count = call.domain.memory_map.lock().len() as u32;
            if map.nr_entries <= count {
                return Err(Errno::EINVAL);
            }
            call.write(arg, &give_map(call, map, count)?).map(|()| 0)
        }
        XENMEM_set_memory_map => {
            let control = authority::Control::of(call.domain)?;
            set_map(call, &call.read(arg)?, control).map(|()| 0)
        }
        XENMEM_claim_pages => {
            let asked = call.read::<XenMemoryReservation>(arg)?;
            if asked.extent_start != 0 || asked.extent_order != 0 || asked.mem_flags != 0 {
                return Err(Errno::EINVAL);
            }
            let domain = m.domain(DomId(asked.domid)).ok_or(Errno::EINVAL)?;
            authority::Control::of(call.domain)?;
            if domain.is_dying() {
                return Err(Errno::EINVAL);
            }
            allocate::set_claim(m, &domain, asked.nr_extents).map(|()| 0)
        }
        XENMEM_get_sharing_freed_pages | XENMEM_get_sharing_shared_pages => Ok(0),
        // For guests whose frame numbers are translated; ours see machine frames.
        XENMEM_add_to_physmap | XENMEM_add_to_physmap_batch => Err(Errno::EACCES),
        XENMEM_machphys_compat_mfn_list | XENMEM_set_pod_target | XENMEM_get_pod_target => {
            Err(Errno::EINVAL)
        }
        XENMEM_get_vnumainfo => Err(Errno::EOPNOTSUPP),
        _ => Err(Errno::ENOSYS),
    }
}

/// Gives the caller the first `count` entries of its memory map.
fn give_map<M: Machine>(
    call: &Call<'_, M>,
    mut map: XenMemoryMap,
    count: u32,
) -> Result<XenMemoryMap, Errno> {
    map.nr_entries = 0;
    for n in 0..count {
        let entry = call.domain.memory_map.lock().get(n as usize).copied();
        let Some(entry) = entry else { break };
        call.write(
            element(map.buffer, u64::from(n), E820Entry::SIZE as u64),
            &entry,
        )?;
        map.nr_entries = n + 1;
    }
    Ok(map)
}

/// Sets the memory map that a domain under construction will be given.
fn set_map<M: Machine>(
    call: &Call<'_, M>,
    asked: &XenForeignMemoryMap,
    _: authority::Control,
) -> Result<(), Errno> {
    let domain = call.target(asked.domid)?;
    if asked.map.nr_entries > MAX_MAP {
        return Err(Errno::EINVAL);
    }
    let mut entries = alloc::vec::Vec::new();
    entries
        .try_reserve_exact(asked.map.nr_entries as usize)
        .map_err(|_| Errno::ENOMEM)?;
    for n in 0..asked.map.nr_entries {
        entries.push(call.read(element(
            asked.map.buffer,
            u64::from(n),
            E820Entry::SIZE as u64,
        ))?);
    }
    *domain.memory_map.lock() = entries;
    Ok(())
}

/// Tells which frames hold the M2P, 2 MiB at a time.
fn m2p_frames<M: Machine>(
    call: &Call<'_, M>,
    mut list: XenMachphysMfnList,
) -> Result<XenMachphysMfnList, Errno> {
    let chunks = call.m.max_frame().div_ceil(M2P_ENTRIES_PER_CHUNK);
    list.nr_extents = 0;
    for n in 0..chunks.min(u64::from(list.max_extents)) {
        let mfn = call.m.m2p_chunk(n).ok_or(Errno::EINVAL)?;
        call.write(element(list.extent_start, n, 8), &mfn.0)?;
        list.nr_extents += 1;
    }
    Ok(list)
}
