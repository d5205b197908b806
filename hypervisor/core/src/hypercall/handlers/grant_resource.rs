//! A domain's grant table as a resource that domain 0 maps (XENMEM_acquire_resource): so the toolstack fills the reserved
//! entries.

use rexen_abi::errno::Errno;
use rexen_abi::memory::*;

use super::args::element;
use super::grant_host::add_frames;
use crate::gnttab::GrantTable;
use crate::hypercall::{Call, Machine, Outcome, authority};

/// `memory_op(XENMEM_acquire_resource, arg)`.
pub(super) fn acquire_resource<M: Machine>(call: &Call<'_, M>, arg: u64) -> Outcome {
    let acquire = || -> Result<bool, Errno> {
        let control = authority::Control::of(call.domain)?;
        let mut asked = call.read::<XenMemAcquireResource>(arg)?;
        let Some(nr_frames) = list(call, &asked, control)? else {
            return Ok(false);
        };
        asked.nr_frames = nr_frames;
        call.write(arg, &asked).map(|()| true)
    };
    match acquire() {
        Ok(true) => Outcome::Done(0),
        Ok(false) => call.again([]),
        Err(e) => Err::<u64, _>(e).into(),
    }
}

/// Lists frames of another domain's grant table, for the caller to map: those with entries, or status frames. Returns how
/// many there are, or were listed; `None`: not finished.
fn list<M: Machine>(
    call: &Call<'_, M>,
    asked: &XenMemAcquireResource,
    _: authority::Control,
) -> Result<Option<u32>, Errno> {
    let domain = call.target(asked.domid)?;
    if asked.pad != 0 {
        return Err(Errno::EINVAL);
    }
    let is_status = match (asked.kind, asked.id) {
        (XENMEM_resource_grant_table, XENMEM_resource_grant_table_id_shared) => false,
        (XENMEM_resource_grant_table, XENMEM_resource_grant_table_id_status) => true,
        _ => return Err(Errno::EOPNOTSUPP),
    };
    let grants = &domain.grants;
    let max = if is_status {
        grants.status_size().1
    } else {
        grants.size().1
    };
    if asked.frame_list == 0 {
        return if asked.nr_frames == 0 {
            Ok(Some(max))
        } else {
            Err(Errno::EINVAL)
        };
    }
    let first = u32::try_from(asked.frame).map_err(|_| Errno::EINVAL)?;
    let end = first
        .checked_add(asked.nr_frames)
        .filter(|end| *end <= max)
        .ok_or(Errno::EINVAL)?;
    let frames = match is_status {
        true if grants.version() != 2 => return Err(Errno::EINVAL),
        true => GrantTable::frames_for_status(end).min(grants.size().1),
        false => end,
    };
    if !add_frames(call.m, &domain, frames).map_err(|_| Errno::ENOMEM)? {
        return Ok(None);
    }
    for (index, n) in (first..end).zip(0..) {
        let mfn = if is_status {
            grants.status_frame(index)
        } else {
            grants.frame(index)
        };
        let mfn = mfn.ok_or(Errno::EINVAL)?;
        call.write(element(asked.frame_list, n, 8), &mfn.0)?;
    }
    Ok(Some(asked.nr_frames))
}
