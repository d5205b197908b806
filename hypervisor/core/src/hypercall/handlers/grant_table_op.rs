//! Grants (`public/grant_table.h`).

use rexen_abi::Plain;
use rexen_abi::errno::Errno;
use rexen_abi::grant_table::*;

use super::args::{element, low32};
use super::grant_host::Mapper;
use super::{grant_admin, grant_transfer};
use crate::domain::Domain;
use crate::gnttab::{CopyEnd, CopyRange, GrantStatus, MapRequest, UnmapRequest, Unmapped};
use crate::hypercall::{Call, Machine, Outcome};
use crate::units::{DomId, GrantRef, Mfn};

/// What of a command's number is one; above it only cache_flush on Arm has anything.
const CMD_MASK: u32 = 0xfff;
/// Operations between two looks at whether to stop.
const OPS_PER_LOOK: u32 = 16;
/// Unmappings that share one flush.
const UNMAPS_PER_FLUSH: usize = 32;

/// `grant_table_op(cmd, array, count)`. What became of each operation is in its `status` field.
pub fn grant_table_op<M: Machine>(call: &mut Call<'_, M>) -> Outcome {
    let [cmd, list, count, ..] = call.args;
    let (cmd, count) = (low32(cmd), low32(count));
    if count > i32::MAX.cast_unsigned() {
        return Err::<u64, _>(Errno::EINVAL).into();
    }
    if cmd > CMD_MASK {
        return Err::<u64, _>(Errno::EINVAL).into();
    }
    if size_of_op(cmd) == 0 {
        return grant_admin::single(call, cmd, list, count);
    }
    let mut n = 0;
    while n < count {
        let at = element(list, u64::from(n), size_of_op(cmd));
        if n != 0 && n.is_multiple_of(OPS_PER_LOOK) && call.m.should_stop() {
            return call.again([u64::from(cmd), at, u64::from(count - n)]);
        }
        let done = match cmd {
            GNTTABOP_map_grant_ref => map(call, at).map(|()| 1),
            GNTTABOP_unmap_grant_ref | GNTTABOP_unmap_and_replace => {
                unmap_some(call, cmd, at, count - n)
            }
            GNTTABOP_copy => copy(call, at).map(|()| 1),
            GNTTABOP_transfer => transfer(call, at).map(|()| 1),
            _ => swap(call, at).map(|()| 1),
        };
        match done {
            Ok(done) => n += done,
            Err(e) => return Err::<u64, _>(e).into(),
        }
    }
    Outcome::Done(0)
}

/// Bytes from one operation of a list to the next; 0 where there is no list.
const fn size_of_op(cmd: u32) -> u64 {
    (match cmd {
        GNTTABOP_map_grant_ref => GnttabMapGrantRef::SIZE,
        GNTTABOP_unmap_grant_ref => GnttabUnmapGrantRef::SIZE,
        GNTTABOP_unmap_and_replace => GnttabUnmapAndReplace::SIZE,
        GNTTABOP_copy => GnttabCopy::SIZE,
        GNTTABOP_transfer => GnttabTransfer::SIZE,
        GNTTABOP_swap_grant_ref => GnttabSwapGrantRef::SIZE,
        _ => 0,
    }) as u64
}

fn mapper<'a, M: Machine>(call: &Call<'a, M>) -> Mapper<'a, M> {
    Mapper::of(call.m, call.domain, call.vcpu)
}

/// The domain that `id` means to the caller.
fn named<M: Machine>(call: &Call<'_, M>, id: u16) -> DomId {
    if DomId(id) == DomId::SELF {
        call.domain.id
    } else {
        DomId(id)
    }
}

fn map<M: Machine>(call: &Call<'_, M>, at: u64) -> Result<(), Errno> {
    let mut op = call.read::<GnttabMapGrantRef>(at)?;
    let request = MapRequest {
        host_addr: op.host_addr,
        flags: op.flags,
        gref: GrantRef(op.gref),
    };
    let mapped = call
        .m
        .with_domain(DomId(op.dom), |granter| {
            call.domain
                .grants
                .map(&mapper(call), &granter.grants, request)
        })
        .unwrap_or(Err(GrantStatus::BadDomain));
    op.status = GrantStatus::of(&mapped);
    if let Ok(mapped) = mapped {
        op.handle = mapped.handle;
        op.dev_bus_addr = mapped.mfn.maddr();
    }
    call.write(at, &op)
}

/// Unmaps up to a batch, with one flush between the page tables' and the frames' part. Returns how many.
fn unmap_some<M: Machine>(call: &Call<'_, M>, cmd: u32, at: u64, left: u32) -> Result<u32, Errno> {
    let mut ended: [Option<Unmapped>; UNMAPS_PER_FLUSH] = [const { None }; UNMAPS_PER_FLUSH];
    let mut flush = false;
    let mut done = 0;
    let mut result = Ok(());
    for slot in ended.iter_mut().take(left as usize) {
        match unmap(call, cmd, element(at, u64::from(done), size_of_op(cmd))) {
            Ok(unmapped) => {
                flush |= unmapped.as_ref().is_some_and(Unmapped::needs_flush);
                *slot = unmapped;
                done += 1;
            }
            Err((unmapped, e)) => {
                flush |= unmapped.as_ref().is_some_and(Unmapped::needs_flush);
                *slot = unmapped;
                result = Err(e);
                break;
            }
        }
    }
    if flush {
        call.m.flush_domain(call.domain.id);
    }
    for unmapped in ended.into_iter().flatten() {
        // The granter cannot be gone: it stays findable while someone uses its entries.
        call.m.with_domain(unmapped.granter(), |granter| {
            call.domain
                .grants
                .finish_unmap(&mapper(call), &granter.grants, unmapped);
        });
    }
    result.map(|()| done)
}

/// The page tables' part of one unmapping. Where the guest cannot be told, there may be a rest all the same.
fn unmap<M: Machine>(
    call: &Call<'_, M>,
    cmd: u32,
    at: u64,
) -> Result<Option<Unmapped>, (Option<Unmapped>, Errno)> {
    let no_rest = |e| (None, e);
    let (request, status_at) = if cmd == GNTTABOP_unmap_grant_ref {
        let op = call.read::<GnttabUnmapGrantRef>(at).map_err(no_rest)?;
        let request = UnmapRequest {
            host_addr: op.host_addr,
            dev_bus_addr: op.dev_bus_addr,
            new_addr: None,
            handle: op.handle,
        };
        (request, core::mem::offset_of!(GnttabUnmapGrantRef, status))
    } else {
        let op = call.read::<GnttabUnmapAndReplace>(at).map_err(no_rest)?;
        let request = UnmapRequest {
            host_addr: op.host_addr,
            dev_bus_addr: 0,
            new_addr: Some(op.new_addr),
            handle: op.handle,
        };
        (
            request,
            core::mem::offset_of!(GnttabUnmapAndReplace, status),
        )
    };
    let unmapped = call.domain.grants.begin_unmap(&mapper(call), request);
    let status = GrantStatus::of(&unmapped);
    let unmapped = unmapped.ok();
    match call.write(element(at, status_at as u64, 1), &status) {
        Ok(()) => Ok(unmapped),
        Err(e) => Err((unmapped, e)),
    }
}

fn copy<M: Machine>(call: &Call<'_, M>, at: u64) -> Result<(), Errno> {
    let op = call.read::<GnttabCopy>(at)?;
    let status = GrantStatus::of(&copy_bytes(call, &op));
    call.write(
        element(at, core::mem::offset_of!(GnttabCopy, status) as u64, 1),
        &status,
    )
}

fn copy_bytes<M: Machine>(call: &Call<'_, M>, op: &GnttabCopy) -> Result<(), GrantStatus> {
    let range = CopyRange {
        from_offset: op.source.offset,
        to_offset: op.dest.offset,
        len: op.len,
    };
    let (from, to) = (GNTCOPY_source_gref, GNTCOPY_dest_gref);
    with_end(call, &op.source, op.flags & from != 0, |from| {
        with_end(call, &op.dest, op.flags & to != 0, |to| {
            call.domain.grants.copy(&mapper(call), from, to, range)
        })
    })
}

/// Calls `act` with an end of a copy.
#[inline]
fn with_end<M: Machine>(
    call: &Call<'_, M>,
    end: &GnttabCopyPtr,
    is_gref: bool,
    act: impl FnOnce(CopyEnd<'_>) -> Result<(), GrantStatus>,
) -> Result<(), GrantStatus> {
    let id = DomId(end.domid);
    fn granted(domain: &Domain, word: u64) -> CopyEnd<'_> {
        CopyEnd::Granted {
            table: &domain.grants,
            gref: GrantRef(low32(word)),
        }
    }
    match (is_gref, id == DomId::SELF) {
        (true, true) => act(granted(call.domain, end.u)),
        (true, false) => {
            let done = call.m.with_domain(id, |domain| act(granted(domain, end.u)));
            done.unwrap_or(Err(GrantStatus::BadDomain))
        }
        (false, true) => act(CopyEnd::Own(Mfn(end.u))),
        // Frames are named by number only as DOMID_SELF's.
        (false, false) if call.m.domain(id).is_some() => Err(GrantStatus::PermissionDenied),
        (false, false) => Err(GrantStatus::BadDomain),
    }
}

/// Gives a frame away.
fn transfer<M: Machine>(call: &Call<'_, M>, at: u64) -> Result<(), Errno> {
    let mut op = call.read::<GnttabTransfer>(at)?;
    let given =
        grant_transfer::transfer(call, Mfn(op.mfn), named(call, op.domid), GrantRef(op.gref));
    op.status = GrantStatus::of(&given);
    call.write(at, &op)
}

fn swap<M: Machine>(call: &Call<'_, M>, at: u64) -> Result<(), Errno> {
    let mut op = call.read::<GnttabSwapGrantRef>(at)?;
    op.status = GrantStatus::of(&call.domain.grants.swap(
        call.m,
        GrantRef(op.ref_a),
        GrantRef(op.ref_b),
    ));
    call.write(at, &op)
}
