//! Making, stopping and ending domains.

use core::sync::atomic::Ordering::Relaxed;

use rexen_abi::domctl::*;
use rexen_abi::errno::Errno;

use super::Op;
use crate::domain::{DomainSpec, NOT_SHUT_DOWN, VcpuFlags};
use crate::hypercall::{Call, Machine, Outcome, block, teardown, unblock};
use crate::units::DomId;

/// Vcpus that a domain may have: calls name them in bitmaps of one word.
const MAX_VCPUS: u32 = 64;
/// Frames of a grant table, and frames' worth of handles: what there may be, and what there is by default.
const MAX_GRANT_FRAMES: u32 = 64;
const MAX_MAPTRACK_FRAMES: u32 = 1024;
/// The highest version of grant tables.
const MAX_GRANT_VERSION: u32 = 2;
/// Flags of a domain that mean something to us, or nothing to a paravirtual domain.
const KNOWN_FLAGS: u32 =
    XEN_DOMCTL_CDF_s3_integrity | XEN_DOMCTL_CDF_oos_off | XEN_DOMCTL_CDF_xs_domain;
/// Bits of the architecture's `misc_flags`: unknown MSRs read as zero, which is what we do anyway.
const KNOWN_MISC_FLAGS: u32 = 1;

/// XEN_DOMCTL_createdomain.
pub(super) fn create<M: Machine>(call: &Call<'_, M>, op: &Op) -> Result<(), Errno> {
    let spec = spec(op.envelope.domain, &op.arg()?)?;
    teardown::reap(call.m);
    let domain = call.m.create_domain(&spec)?;
    op.answer_domain(call, domain.id)
}

fn spec(id: u16, asked: &XenDomctlCreatedomain) -> Result<DomainSpec, Errno> {
    let version = asked.grant_opts & XEN_DOMCTL_GRANT_version_mask;
    let sound = asked.flags & !KNOWN_FLAGS == 0
        && asked.iommu_opts == 0
        && asked.arch.misc_flags & !KNOWN_MISC_FLAGS == 0
        && asked.vmtrace_size == 0
        && (1..=MAX_VCPUS).contains(&asked.max_vcpus)
        && asked.grant_opts & !XEN_DOMCTL_GRANT_version_mask == 0
        && (1..=MAX_GRANT_VERSION).contains(&version);
    if !sound {
        return Err(Errno::EINVAL);
    }
    if asked.arch.emulation_flags != 0 {
        return Err(Errno::EOPNOTSUPP);
    }
    if asked.cpupool_id != 0 {
        return Err(Errno::ENOENT);
    }
    // Negative is the default.
    let limit = |asked: i32, min: u32, max: u32| match u32::try_from(asked) {
        Err(_) => Ok(max),
        Ok(asked) if (min..=max).contains(&asked) => Ok(asked),
        Ok(_) => Err(Errno::EINVAL),
    };
    let id = DomId(id);
    Ok(DomainSpec {
        id: (id != DomId::DOM0 && id < DomId::FIRST_RESERVED).then_some(id),
        is_privileged: false,
        is_store: asked.flags & XEN_DOMCTL_CDF_xs_domain != 0,
        ssidref: asked.ssidref,
        handle: asked.handle,
        nr_vcpus: asked.max_vcpus,
        max_port: asked.max_evtchn_port,
        nr_pirqs: 0,
        max_grant_frames: limit(asked.max_grant_frames, 1, MAX_GRANT_FRAMES)?,
        max_maptrack_frames: limit(asked.max_maptrack_frames, 0, MAX_MAPTRACK_FRAMES)?,
        max_grant_version: version,
    })
}

/// XEN_DOMCTL_max_vcpus: they have been there from the start, so only the number is checked.
pub(super) fn max_vcpus<M: Machine>(call: &Call<'_, M>, op: &Op) -> Result<(), Errno> {
    let domain = op.other_domain(call)?;
    let asked: XenDomctlMaxVcpus = op.arg()?;
    if asked.max as usize == domain.vcpus.len() {
        Ok(())
    } else {
        Err(Errno::EINVAL)
    }
}

/// XEN_DOMCTL_pausedomain. The vcpus are off their CPUs soon after: who needs that asks `Machine::is_off_cpu`.
pub(super) fn pause<M: Machine>(call: &Call<'_, M>, op: &Op) -> Result<(), Errno> {
    let domain = op.other_domain(call)?;
    let mut control = domain.life.control();
    if control.pause()? {
        for vcpu in &domain.vcpus {
            block(call.m, vcpu, VcpuFlags::PAUSED);
        }
    }
    Ok(())
}

/// XEN_DOMCTL_unpausedomain. The first ends the construction of the domain.
pub(super) fn unpause<M: Machine>(call: &Call<'_, M>, op: &Op) -> Result<(), Errno> {
    let domain = op.domain(call)?;
    let mut control = domain.life.control();
    if control.unpause()? {
        domain.policy.get();
        for vcpu in &domain.vcpus {
            unblock(call.m, vcpu, VcpuFlags::PAUSED);
        }
    }
    Ok(())
}

/// XEN_DOMCTL_resumedomain: a domain that has shut down goes on as if it had not.
pub(super) fn resume<M: Machine>(call: &Call<'_, M>, op: &Op) -> Result<(), Errno> {
    let domain = op.other_domain(call)?;
    let _control = domain.life.control();
    domain.shutdown.store(NOT_SHUT_DOWN, Relaxed);
    domain.latched_reason.store(NOT_SHUT_DOWN, Relaxed);
    for vcpu in &domain.vcpus {
        unblock(call.m, vcpu, VcpuFlags::SHUT_DOWN);
    }
    Ok(())
}

/// XEN_DOMCTL_destroydomain.
pub(super) fn destroy<M: Machine>(call: &Call<'_, M>, op: &Op) -> Result<Outcome, Errno> {
    let domain = op.other_domain(call)?;
    if domain.is_privileged {
        return Err(Errno::EINVAL);
    }
    Ok(if teardown::destroy(call.m, &domain) {
        Outcome::Done(0)
    } else {
        Outcome::Again(call.args)
    })
}

/// XEN_DOMCTL_setdomainhandle.
pub(super) fn set_handle<M: Machine>(call: &Call<'_, M>, op: &Op) -> Result<(), Errno> {
    *op.domain(call)?.control.handle.lock() = op.arg()?;
    Ok(())
}
