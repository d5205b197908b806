//! Grants (`public/grant_table.h`).

use rexen_abi::Plain;
use rexen_abi::errno::Errno;
use rexen_abi::grant_table::*;

use super::args::{element, low32};
use super::grant_host::Mapper;
use super::{grant_admin, grant_transfer};
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
    match cmd {
        GNTTABOP_map_grant_ref => each(call, list, count, GnttabMapGrantRef::SIZE, map),
        GNTTABOP_unmap_grant_ref => unmaps(call, list, count, &UNMAP),
        GNTTABOP_unmap_and_replace => unmaps(call, list, count, &REPLACE),
        GNTTABOP_copy => each(call, list, count, GnttabCopy::SIZE, copy),
        GNTTABOP_transfer => each(call, list, count, GnttabTransfer::SIZE, transfer),
        GNTTABOP_swap_grant_ref => each(call, list, count, GnttabSwapGrantRef::SIZE, swap),
        _ => grant_admin::single(call, cmd, list, count),
    }
}

/// Does `op` for each of a list of structures.
#[inline(always)]
fn each<M: Machine>(
    call: &Call<'_, M>,
    list: u64,
    count: u32,
    size: usize,
    op: impl Fn(&Call<'_, M>, u64) -> Result<(), Errno>,
) -> Outcome {
    let mut at = list;
    for left in (1..=count).rev() {
        if left != count && left.is_multiple_of(OPS_PER_LOOK) && call.m.should_stop() {
            return call.again([call.args[0], at, u64::from(left)]);
        }
        if let Err(e) = op(call, at) {
            return Err::<u64, _>(e).into();
        }
        at = element(at, 1, size as u64);
    }
    Outcome::Done(0)
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

/// One of the two ways to unmap.
struct Kind {
    size: usize,
    status: usize,
    is_replace: bool,
}

const UNMAP: Kind = Kind {
    size: GnttabUnmapGrantRef::SIZE,
    status: core::mem::offset_of!(GnttabUnmapGrantRef, status),
    is_replace: false,
};
const REPLACE: Kind = Kind {
    size: GnttabUnmapAndReplace::SIZE,
    status: core::mem::offset_of!(GnttabUnmapAndReplace, status),
    is_replace: true,
};

/// Unmaps a list.
fn unmaps<M: Machine>(call: &Call<'_, M>, list: u64, count: u32, kind: &Kind) -> Outcome {
    if count == 1 {
        // No room for a batch need be made.
        return unmap_some::<_, 1>(call, kind, list, 1).map(|_| 0).into();
    }
    let mut n = 0;
    while n < count {
        let at = element(list, u64::from(n), kind.size as u64);
        if n != 0 && call.m.should_stop() {
            return call.again([call.args[0], at, u64::from(count - n)]);
        }
        match unmap_some::<_, UNMAPS_PER_FLUSH>(call, kind, at, count - n) {
            Ok(done) => n += done,
            Err(e) => return Err::<u64, _>(e).into(),
        }
    }
    Outcome::Done(0)
}

/// Unmaps up to `N`, with one flush between the page tables' and the frames' part. Returns how many.
#[inline(never)]
fn unmap_some<M: Machine, const N: usize>(
    call: &Call<'_, M>,
    kind: &Kind,
    at: u64,
    left: u32,
) -> Result<u32, Errno> {
    let mut ended: [Option<Unmapped>; N] = [const { None }; N];
    let mut flush = false;
    let mut done = 0;
    let mut result = Ok(());
    for slot in ended.iter_mut().take(left as usize) {
        let at = element(at, u64::from(done), kind.size as u64);
        let (unmapped, told) = unmap(call, kind, at);
        flush |= unmapped.as_ref().is_some_and(Unmapped::needs_flush);
        *slot = unmapped;
        result = told;
        if result.is_err() {
            break;
        }
        done += 1;
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
#[inline(always)]
fn unmap<M: Machine>(
    call: &Call<'_, M>,
    kind: &Kind,
    at: u64,
) -> (Option<Unmapped>, Result<(), Errno>) {
    // Both structures begin alike.
    let op = match call.read::<GnttabUnmapGrantRef>(at) {
        Ok(op) => op,
        Err(e) => return (None, Err(e)),
    };
    let second = op.dev_bus_addr;
    let request = UnmapRequest {
        host_addr: op.host_addr,
        dev_bus_addr: if kind.is_replace { 0 } else { second },
        new_addr: kind.is_replace.then_some(second),
        handle: op.handle,
    };
    let unmapped = call.domain.grants.begin_unmap(&mapper(call), request);
    let status = GrantStatus::of(&unmapped);
    let told = call.write(element(at, kind.status as u64, 1), &status);
    (unmapped.ok(), told)
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
    let (source, dest) = (&op.source, &op.dest);
    let range = CopyRange {
        from_offset: source.offset,
        to_offset: dest.offset,
        len: op.len,
    };
    let copy = |from: CopyEnd<'_>, to: CopyEnd<'_>| {
        call.domain.grants.copy(&mapper(call), from, to, range)
    };
    let granted = (
        op.flags & GNTCOPY_source_gref != 0,
        op.flags & GNTCOPY_dest_gref != 0,
    );
    match granted {
        (true, false) => {
            let to = own(call, dest)?;
            with_granted(call, source, |from| copy(from, to))
        }
        (false, true) => {
            let from = own(call, source)?;
            with_granted(call, dest, |to| copy(from, to))
        }
        (true, true) => with_granted(call, source, |from| {
            with_granted(call, dest, |to| copy(from, to))
        }),
        (false, false) => copy(own(call, source)?, own(call, dest)?),
    }
}

/// An end of a copy that is a frame by its number: only DOMID_SELF's can be.
#[inline]
fn own<'a, M: Machine>(
    call: &Call<'_, M>,
    end: &GnttabCopyPtr,
) -> Result<CopyEnd<'a>, GrantStatus> {
    let id = DomId(end.domid);
    if id == DomId::SELF {
        Ok(CopyEnd::Own(Mfn(end.u)))
    } else if call.m.domain(id).is_some() {
        Err(GrantStatus::PermissionDenied)
    } else {
        Err(GrantStatus::BadDomain)
    }
}

/// Calls `act` with an end of a copy that is a grant.
#[inline(always)]
fn with_granted<M: Machine>(
    call: &Call<'_, M>,
    end: &GnttabCopyPtr,
    act: impl FnOnce(CopyEnd<'_>) -> Result<(), GrantStatus>,
) -> Result<(), GrantStatus> {
    let done = call.m.with_domain(named(call, end.domid), |domain| {
        act(CopyEnd::Granted {
            table: &domain.grants,
            gref: GrantRef(low32(end.u)),
        })
    });
    done.unwrap_or(Err(GrantStatus::BadDomain))
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
