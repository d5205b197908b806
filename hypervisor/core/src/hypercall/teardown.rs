//! Destroying a domain, in turns: each call goes on where the last one stopped.
//!
//! 1. The domain is marked dying and its vcpus are stopped. From then on it is given nothing new: whoever does something
//!    for another domain asks `Domain::is_dying` at the start of each turn.
//! 2. Its ports are closed. When for a moment nobody else has anything to do with the domain ([`Machine::is_idle`]), all
//!    that began before the mark has ended, and nobody raises events in it any more.
//! 3. So what it holds can go: frames where its vcpus wrote, page-table bases, descriptor tables, its frames, and the
//!    mappings of what others granted it.
//! 4. It is dead now, and the toolstack is told. What others use of it keeps it listed, as dead, so that its number means
//!    nobody else: frames that they map, entries of its grant table. [`reap`] removes it when there is nothing left.

use alloc::sync::Arc;
use core::sync::atomic::{AtomicU64, Ordering::SeqCst};

use super::allocate::set_claim;
use super::handlers::args::frame_or_none;
use super::handlers::event_channel_op::{close_all, end_reset};
use super::handlers::grant_host::{Mapper, unshare};
use super::handlers::set_gdt::release_gdt;
use super::{Machine, block, tell_toolstack};
use crate::domain::{Domain, Stage, Step, Teardown, Vcpu, VcpuFlags};
use crate::gnttab::Abandoned;
use crate::pvmmu::{DomainMm, Refs};
use crate::units::{DomId, Mfn};

/// Mappings between two looks at whether to stop.
const PER_LOOK: u32 = 16;

/// The turn is over before the work is.
pub(super) struct Again;

/// Destroys `domain`, which is not the caller's, for a turn. True: it is dead.
pub fn destroy<M: Machine>(m: &M, domain: &Arc<Domain>) -> bool {
    mark(domain);
    let done = {
        // Another vcpu that does the same gets its turn later.
        let Some(mut progress) = domain.life.teardown.try_lock() else {
            return false;
        };
        while progress.step != Step::Done {
            match step(m, domain, &mut progress) {
                Ok(next) => {
                    *progress = Teardown {
                        step: next,
                        cursor: 0,
                    }
                }
                Err(Again) => return false,
            }
        }
        domain.life.stage() != Stage::Dead
    };
    if done {
        domain.life.advance(Stage::Dead);
        tell_toolstack(m);
    }
    true
}

/// Marks the domain as dying.
fn mark(domain: &Domain) {
    if domain.is_dying() {
        return;
    }
    domain.life.advance(Stage::Dying);
    domain.events.set_dying();
    domain.grants.set_dying();
}

fn step<M: Machine>(m: &M, domain: &Arc<Domain>, progress: &mut Teardown) -> Result<Step, Again> {
    match progress.step {
        Step::Stop => {
            stop(m, domain)?;
            Ok(Step::Events)
        }
        Step::Events => {
            end_events(m, domain)?;
            Ok(Step::Vcpus)
        }
        Step::Vcpus => {
            while let Some(vcpu) = domain.vcpus.get(progress.cursor as usize) {
                end_vcpu(m, domain, vcpu)?;
                progress.cursor += 1;
            }
            Ok(Step::Frames)
        }
        Step::Frames => {
            let mut state = domain.mm.lock();
            DomainMm::new(m.frames(), m, &mut state)
                .relinquish(domain.span.range(), &mut progress.cursor)
                .map_err(|_| Again)?;
            Ok(Step::Mappings)
        }
        Step::Mappings => {
            end_mappings(m, domain, &mut progress.cursor)?;
            Ok(Step::Done)
        }
        Step::Done => Ok(Step::Done),
    }
}

/// Stops the vcpus for good.
fn stop<M: Machine>(m: &M, domain: &Domain) -> Result<(), Again> {
    let mut all_off = true;
    for vcpu in &domain.vcpus {
        if vcpu.flags.load(SeqCst) & VcpuFlags::DYING == 0 {
            vcpu.timers.stop_all();
            block(m, vcpu, VcpuFlags::DYING);
        }
        all_off &= m.is_off_cpu(vcpu);
    }
    if all_off { Ok(()) } else { Err(Again) }
}

/// Closes the ports, and lets go of the frames where events are written.
fn end_events<M: Machine>(m: &M, domain: &Arc<Domain>) -> Result<(), Again> {
    if !close_all(m, domain) {
        return Err(Again);
    }
    if !m.is_idle(domain) {
        return Err(Again);
    }
    // Ending a claim cannot fail.
    let _ = set_claim(m, domain, 0);
    m.virq_handlers().forget(domain.id);
    // Neither can this: a dying domain opens no port.
    let _ = end_reset(m, domain);
    let refs = refs(m);
    for vcpu in &domain.vcpus {
        if let Some(mfn) = domain.events.forget_vcpu_info(vcpu.id) {
            refs.release_writable(mfn);
        }
    }
    let eoi_map = domain.pirq_eoi_map.swap(0, SeqCst);
    if eoi_map != 0 {
        refs.release_writable(Mfn(eoi_map >> 1));
    }
    Ok(())
}

/// Lets go of a vcpu's page tables and descriptors.
pub(super) fn end_vcpu<M: Machine>(m: &M, domain: &Domain, vcpu: &Vcpu) -> Result<(), Again> {
    end_base(m, domain, &vcpu.kernel_l4)?;
    end_base(m, domain, &vcpu.user_l4)?;
    let gdt = core::mem::take(&mut *vcpu.gdt.lock());
    release_gdt(m, domain, &gdt);
    let ldt = core::mem::take(&mut *vcpu.ldt.lock());
    let mut state = domain.mm.lock();
    let mut mm = DomainMm::new(m.frames(), m, &mut state);
    for mfn in ldt.frames.iter().flatten() {
        mm.release_descriptors(*mfn);
    }
    Ok(())
}

fn end_base<M: Machine>(m: &M, domain: &Domain, base: &AtomicU64) -> Result<(), Again> {
    let mut state = domain.mm.lock();
    let mut mm = DomainMm::new(m.frames(), m, &mut state);
    mm.settle().map_err(|_| Again)?;
    mm.replace_base(frame_or_none(base.load(SeqCst)), None)
        .map_err(|_| Again)?;
    base.store(0, SeqCst);
    // What is left of the table is let go at the start of the next operation.
    mm.settle().map_err(|_| Again)
}

/// Lets go of what others granted the domain. The page-table entries are gone, but the granters count the mappings.
fn end_mappings<M: Machine>(m: &M, domain: &Domain, cursor: &mut u64) -> Result<(), Again> {
    let mapper = Mapper::of_dying(m, domain);
    let mut handle = u32::try_from(*cursor).unwrap_or(u32::MAX);
    let mut ended = 0u32;
    loop {
        match domain.grants.abandon_next(&mut handle) {
            Abandoned::Mapping(unmapped) => {
                // The granter cannot be gone: it stays listed while someone uses its entries.
                if let Some(granter) = m.domain(unmapped.granter()) {
                    domain
                        .grants
                        .finish_unmap(&mapper, &granter.grants, unmapped);
                }
            }
            Abandoned::More => {}
            Abandoned::All => return Ok(()),
        }
        *cursor = u64::from(handle);
        ended += 1;
        if ended.is_multiple_of(PER_LOOK) && m.should_stop() {
            return Err(Again);
        }
    }
}

/// Removes the dead domains of which nobody uses anything any more.
pub fn reap<M: Machine>(m: &M) {
    let mut from = DomId::DOM0;
    while let Some(domain) = m.next_domain(from) {
        from = DomId(domain.id.0.saturating_add(1));
        if domain.life.stage() == Stage::Dead && remove(m, &domain) {
            tell_toolstack(m);
        }
    }
}

/// Removes a dead domain, if nothing of it is used.
fn remove<M: Machine>(m: &M, domain: &Arc<Domain>) -> bool {
    let Some(_progress) = domain.life.teardown.try_lock() else {
        return false;
    };
    if !domain.grants.retire(|mfn| unshare(m, domain, mfn)) {
        return false;
    }
    let Some(shared_info) = m.frames().get(domain.shared_info) else {
        return false;
    };
    // It stays until the domain is off the list, for writing to it is what one does to every listed domain.
    let _ = shared_info.drop_allocation();
    m.free_dropped();
    let is_last = shared_info.word().refs() == 1 && domain.tot_pages.load(SeqCst) == 0;
    if !is_last || !m.remove_domain(domain) {
        return false;
    }
    // Nobody can have it cached: it goes past `frame_freed`, which would look for its owner.
    if shared_info.put_type(|| m.flush_stamp_now()).is_ok() {
        m.free_frames(domain.shared_info, 0);
    }
    true
}

fn refs<M: Machine>(m: &M) -> Refs<'_, M> {
    Refs {
        frames: m.frames(),
        host: m,
    }
}
