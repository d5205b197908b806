//! Where a domain's vcpus run, and how much.

use rexen_abi::Plain;
use rexen_abi::domctl::*;
use rexen_abi::errno::Errno;

use super::Op;
use crate::hypercall::handlers::args::{online_cpus, read_bitmap, write_bitmap};
use crate::hypercall::{Call, Machine};
use crate::sched::{Affinity, Params};
use crate::units::{CpuMask, VcpuId};

const HARD: u32 = XEN_VCPUAFFINITY_HARD;
const SOFT: u32 = XEN_VCPUAFFINITY_SOFT;
/// A cap in a put that leaves it as it is.
const SAME_CAP: u16 = u16::MAX;

/// `XEN_DOMCTL_setvcpuaffinity` and `XEN_DOMCTL_getvcpuaffinity`.
pub(super) fn affinity<M: Machine>(call: &Call<'_, M>, op: &Op) -> Result<(), Errno> {
    let arg: XenDomctlVcpuaffinity = op.arg()?;
    let domain = op.domain(call)?;
    let vcpu = domain.vcpu(VcpuId(arg.vcpu)).ok_or(Errno::EINVAL)?;
    if arg.flags & (HARD | SOFT) == 0
        || arg.flags & !(HARD | SOFT | XEN_VCPUAFFINITY_FORCE) != 0
        || arg.flags & HARD != 0 && arg.cpumap_hard.bitmap == 0
        || arg.flags & SOFT != 0 && arg.cpumap_soft.bitmap == 0
    {
        return Err(Errno::EINVAL);
    }
    let (m, scheduler) = (call.m, call.m.scheduler());
    let mut affinity = scheduler.affinity(vcpu.sched)?;
    if op.envelope.cmd == XEN_DOMCTL_setvcpuaffinity {
        if arg.flags & HARD != 0 {
            affinity.hard = CpuMask(read_bitmap(call, &arg.cpumap_hard)?);
        }
        if arg.flags & SOFT != 0 {
            affinity.soft = CpuMask(read_bitmap(call, &arg.cpumap_soft)?);
        }
        if let Some(cpu) = scheduler.set_affinity(vcpu.sched, affinity, m.now())? {
            m.reschedule(cpu);
        }
        // What the caller gets back is what has an effect.
        let hard = affinity.hard.0 & online_cpus(m);
        affinity = Affinity {
            hard: CpuMask(hard),
            soft: CpuMask(affinity.soft.0 & hard),
        };
    }
    if arg.flags & HARD != 0 {
        write_bitmap(call, &arg.cpumap_hard, affinity.hard.0)?;
    }
    if arg.flags & SOFT != 0 {
        write_bitmap(call, &arg.cpumap_soft, affinity.soft.0)?;
    }
    Ok(())
}

/// `XEN_DOMCTL_setnodeaffinity`: there is one node, number 0.
pub(super) fn set_nodes<M: Machine>(call: &Call<'_, M>, op: &Op) -> Result<(), Errno> {
    let arg: XenDomctlNodeaffinity = op.arg()?;
    op.domain(call)?;
    if read_bitmap(call, &arg.nodemap)? & 1 == 0 {
        return Err(Errno::EINVAL);
    }
    Ok(())
}

/// `XEN_DOMCTL_getnodeaffinity`.
pub(super) fn get_nodes<M: Machine>(call: &Call<'_, M>, op: &Op) -> Result<(), Errno> {
    let arg: XenDomctlNodeaffinity = op.arg()?;
    op.domain(call)?;
    write_bitmap(call, &arg.nodemap, 1)
}

/// `XEN_DOMCTL_scheduler_op`, in the words of the credit scheduler.
pub(super) fn scheduler_op<M: Machine>(call: &Call<'_, M>, op: &Op) -> Result<(), Errno> {
    let mut arg: XenDomctlSchedulerOp = op.arg()?;
    let domain = op.domain(call)?;
    let scheduler = call.m.scheduler();
    if arg.sched_id != scheduler.number() {
        return Err(Errno::EINVAL);
    }
    let params = scheduler.params(domain.id)?;
    match arg.cmd {
        XEN_DOMCTL_SCHEDOP_getinfo => {
            let credit = XenDomctlSchedCredit {
                weight: u16::try_from(params.weight).unwrap_or(u16::MAX),
                cap: 0,
            };
            arg.u[0] = u64::from(credit.weight) | u64::from(credit.cap) << 16;
            op.answer(call, &arg)
        }
        XEN_DOMCTL_SCHEDOP_putinfo => {
            let asked = XenDomctlSchedCredit::read(&arg.u[0].to_le_bytes()).ok_or(Errno::EINVAL)?;
            // There is no limit that is not a share.
            if asked.cap != 0 && asked.cap != SAME_CAP {
                return Err(Errno::EINVAL);
            }
            if asked.weight == 0 {
                return Ok(());
            }
            let weight = u32::from(asked.weight);
            Ok(scheduler.set_params(domain.id, &Params { weight, ..params })?)
        }
        _ => Err(Errno::EINVAL),
    }
}
