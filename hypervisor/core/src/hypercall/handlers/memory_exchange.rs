//! Trading frames for others, so that a buffer for DMA is contiguous (`public/memory.h`, XENMEM_exchange).
//!
//! Chunk by chunk. A chunk's new frames are allocated before its old ones are given back, so that a chunk that cannot be
//! done changes nothing.

use core::mem::offset_of;
use core::sync::atomic::Ordering::SeqCst;

use alloc::vec::Vec;

use rexen_abi::errno::Errno;
use rexen_abi::memory::XenMemoryExchange;

use super::args::element;
use super::memory_op::{MAX_EXTENTS, address_bits, give, max_order, surrender};
use crate::domain::Domain;
use crate::frame::{Block, Word};
use crate::hypercall::{Call, Machine, Outcome, allocate};
use crate::pvmmu::{DomainMm, MmuError};
use crate::units::{DomId, Mfn};

/// `memory_op(XENMEM_exchange, arg)`.
pub(super) fn exchange<M: Machine>(call: &Call<'_, M>, arg: u64) -> Outcome {
    let (exchange, shape) = match call
        .read::<XenMemoryExchange>(arg)
        .and_then(|e| Ok((e, shape(call, &e)?)))
    {
        Ok(found) => found,
        Err(e) => return Err::<u64, _>(e).into(),
    };
    let progress_at = element(arg, offset_of!(XenMemoryExchange, nr_exchanged) as u64, 1);
    let domain = match call.target(exchange.input.domid) {
        Ok(domain) => domain,
        Err(e) => return Err::<u64, _>(e).into(),
    };
    let mut chunk = exchange.nr_exchanged >> shape.inputs_order;
    let first = chunk;
    let outcome = loop {
        if chunk >= shape.chunks {
            break Outcome::Done(0);
        }
        if chunk != first && call.m.should_stop() {
            break Outcome::Again(call.args);
        }
        match one_chunk(call, &domain, &exchange, shape, chunk) {
            Ok(true) => chunk += 1,
            Ok(false) => break Outcome::Again(call.args),
            Err(e) => break Err::<u64, _>(e).into(),
        }
    };
    // Also what a continuation goes on from.
    match call.write(progress_at, &(chunk << shape.inputs_order)) {
        Ok(()) => outcome,
        Err(e) => Err::<u64, _>(e).into(),
    }
}

/// How the exchange divides into chunks.
#[derive(Clone, Copy)]
struct Shape {
    chunks: u64,
    /// log2 of the extents given, and got, in a chunk. One of the two is 0.
    inputs_order: u32,
    outputs_order: u32,
}

fn shape<M: Machine>(call: &Call<'_, M>, e: &XenMemoryExchange) -> Result<Shape, Errno> {
    let (give, get) = (&e.input, &e.output);
    let limit = max_order(call);
    if give.extent_order > limit || get.extent_order > limit {
        return Err(Errno::EPERM);
    }
    let inputs_order = get.extent_order.saturating_sub(give.extent_order);
    let outputs_order = give.extent_order.saturating_sub(get.extent_order);
    let chunks = give.nr_extents >> inputs_order;
    let sound = give.domid == get.domid
        && give.nr_extents <= MAX_EXTENTS
        && get.nr_extents <= MAX_EXTENTS
        && chunks << inputs_order == give.nr_extents
        && chunks << outputs_order == get.nr_extents
        && e.nr_exchanged <= give.nr_extents
        && e.nr_exchanged.is_multiple_of(1 << inputs_order);
    if sound {
        Ok(Shape {
            chunks,
            inputs_order,
            outputs_order,
        })
    } else {
        Err(Errno::EINVAL)
    }
}

/// Exchanges one chunk, or changes nothing; false if a stop was asked for before it was exchanged.
fn one_chunk<M: Machine>(
    call: &Call<'_, M>,
    domain: &Domain,
    e: &XenMemoryExchange,
    shape: Shape,
    chunk: u64,
) -> Result<bool, Errno> {
    let m = call.m;
    let old = read_list(call, e.input.extent_start, chunk, shape.inputs_order)?;
    let pfns = read_list(call, e.output.extent_start, chunk, shape.outputs_order)?;
    let mut new = Vec::new();
    new.try_reserve_exact(pfns.len())
        .map_err(|_| Errno::ENOMEM)?;
    let undo = |new: &[Block]| {
        new.iter()
            .for_each(|block| allocate::put_back(m, *block, None));
    };
    let bits = address_bits(e.output.mem_flags);
    for _ in &pfns {
        match allocate::alloc_preemptible(m, None, e.output.extent_order, bits) {
            Ok(block) => new.push(block),
            Err(e) => {
                undo(&new);
                return match e {
                    MmuError::Again => Ok(false),
                    _ => Err(Errno::ENOMEM),
                };
            }
        }
    }

    let mut state = domain.mm.lock();
    let mut mm = DomainMm::new(m.frames(), m, &mut state);
    let frames =
        |extent: u64| (0..1u64 << e.input.extent_order).map(move |n| Mfn(extent.wrapping_add(n)));
    let mut given = old.iter().flat_map(|extent| frames(*extent));
    if !given.all(|mfn| is_unused(m.frames().word(mfn), domain.id)) {
        drop(mm);
        drop(state);
        undo(&new);
        return Err(Errno::EINVAL);
    }
    // The new ones count at once, the old ones until they are free: a moment too much, never too little.
    let count = (pfns.len() as u64) << e.output.extent_order;
    domain.tot_pages.fetch_add(count, SeqCst);
    // A frame can have come into use since we looked (by a grant, say): then it is freed when that ends. One that is
    // listed twice, or was given back meanwhile, is the guest's own loss.
    let mut lost = false;
    for mfn in old.iter().flat_map(|extent| frames(*extent)) {
        lost |= surrender(m, &mut mm, mfn).is_err();
    }
    drop(mm);
    drop(state);
    if lost {
        undo(&new);
        domain.tot_pages.fetch_sub(count, SeqCst);
        return Err(Errno::EINVAL);
    }
    for (block, pfn) in new.iter().zip(&pfns) {
        give(m, domain, block.mfn, block.order, *pfn)?;
    }
    for (block, n) in new.iter().zip(0..) {
        call.write(
            element(e.output.extent_start, (chunk << shape.outputs_order) + n, 8),
            &block.mfn.0,
        )?;
    }
    Ok(true)
}

/// Whether only the allocation keeps the frame.
fn is_unused(word: Word, owner: DomId) -> bool {
    word.owner() == owner && word.is_allocated() && word.refs() == 1 && word.type_count() == 0
}

/// The numbers in a list that belong to a chunk of 2^`order`.
fn read_list<M: Machine>(
    call: &Call<'_, M>,
    list: u64,
    chunk: u64,
    order: u32,
) -> Result<Vec<u64>, Errno> {
    let mut numbers = Vec::new();
    numbers
        .try_reserve_exact(1 << order)
        .map_err(|_| Errno::ENOMEM)?;
    for n in 0..1u64 << order {
        numbers.push(call.read(element(list, (chunk << order) + n, 8))?);
    }
    Ok(numbers)
}
