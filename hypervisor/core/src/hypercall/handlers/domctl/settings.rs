//! What the toolstack says about a domain: its name, clock, processor, devices.

use core::ops::RangeInclusive;
use core::sync::atomic::Ordering::Relaxed;

use rexen_abi::Plain;
use rexen_abi::arch_x86::{XenCpuidLeaf, XenMsrEntry};
use rexen_abi::domctl::*;
use rexen_abi::errno::Errno;

use super::Op;
use crate::domain::{Domain, DomainPolicy, Ranges, room_for};
use crate::evtchn::Virq;
use crate::hypercall::handlers::args::element;
use crate::hypercall::handlers::cpu_policy::{self, MAX_LEAVES, MAX_MSRS};
use crate::hypercall::{Call, Machine};
use crate::policy::cpuid::{Leaf, TscView};
use crate::pvmmu::IoAccess;
use crate::units::Mfn;

/// `tsc_mode`: whatever is best, and never emulated (`xen/arch/x86/include/asm/time.h` calls them so).
const TSC_MODE_DEFAULT: u32 = 0;
const TSC_MODE_NEVER_EMULATE: u32 = 2;
/// In a field that reports a bad leaf or MSR: none.
const NONE: u32 = u32::MAX;
/// Most frames whose permission one call may change: each is asked about.
const MAX_IO_FRAMES: u64 = 1 << 16;

/// `XEN_DOMCTL_setdebugging`.
pub(super) fn set_debugging<M: Machine>(call: &Call<'_, M>, op: &Op) -> Result<(), Errno> {
    let arg: XenDomctlSetdebugging = op.arg()?;
    let domain = op.domain(call)?;
    if domain.id == call.domain.id {
        return Err(Errno::EINVAL);
    }
    domain.control.debugged.store(arg.enable != 0, Relaxed);
    Ok(())
}

/// `XEN_DOMCTL_settimeoffset`.
pub(super) fn set_time_offset<M: Machine>(call: &Call<'_, M>, op: &Op) -> Result<(), Errno> {
    let arg: XenDomctlSettimeoffset = op.arg()?;
    let domain = op.domain(call)?;
    domain
        .control
        .time_offset
        .store(arg.time_offset_seconds, Relaxed);
    call.m.update_wall_clock(&domain);
    Ok(())
}

/// `XEN_DOMCTL_subscribe`.
pub(super) fn subscribe<M: Machine>(call: &Call<'_, M>, op: &Op) -> Result<(), Errno> {
    let arg: XenDomctlSubscribe = op.arg()?;
    let domain = op.domain(call)?;
    domain.control.suspend_port.store(arg.port, Relaxed);
    Ok(())
}

/// `XEN_DOMCTL_set_virq_handler`.
pub(super) fn set_virq_handler<M: Machine>(call: &Call<'_, M>, op: &Op) -> Result<(), Errno> {
    let arg: XenDomctlSetVirqHandler = op.arg()?;
    let domain = op.domain(call)?;
    if domain.is_dying() {
        return Err(Errno::EINVAL);
    }
    let virq = Virq::try_from(arg.virq)?;
    Ok(call.m.virq_handlers().set(virq, domain.id)?)
}

/// `XEN_DOMCTL_irq_permission`: only what the caller has.
pub(super) fn irq_permission<M: Machine>(call: &Call<'_, M>, op: &Op) -> Result<(), Errno> {
    let arg: XenDomctlIrqPermission = op.arg()?;
    let domain = op.domain(call)?;
    if arg.pirq >= call.m.nr_gsis() {
        return Err(Errno::EINVAL);
    }
    let pirq = u64::from(arg.pirq);
    change(
        &mut domain.control.pirqs.lock(),
        pirq..=pirq,
        arg.allow_access,
    )
}

/// `XEN_DOMCTL_iomem_permission`.
pub(super) fn iomem_permission<M: Machine>(call: &Call<'_, M>, op: &Op) -> Result<(), Errno> {
    let arg: XenDomctlIomemPermission = op.arg()?;
    let domain = op.domain(call)?;
    let last = arg
        .nr_mfns
        .checked_sub(1)
        .and_then(|n| arg.first_mfn.checked_add(n))
        .ok_or(Errno::EINVAL)?;
    if arg.nr_mfns > MAX_IO_FRAMES {
        return Err(Errno::E2BIG);
    }
    let range = arg.first_mfn..=last;
    let frames = call.m.frames();
    // RAM is never given away like this, and of the rest only what the caller itself may change.
    let is_ours = |n: u64| {
        frames.word(Mfn(n)).is_io()
            && call.m.io_access(call.domain.id, Mfn(n)) == IoAccess::ReadWrite
    };
    if arg.allow_access != 0 && !range.clone().all(is_ours) {
        return Err(Errno::EPERM);
    }
    change(
        &mut domain.control.io_memory.lock(),
        range,
        arg.allow_access,
    )
}

fn change(ranges: &mut Ranges, range: RangeInclusive<u64>, allow: u8) -> Result<(), Errno> {
    if allow != 0 {
        ranges.allow(range)
    } else {
        ranges.deny(range)
    }
}

/// `XEN_DOMCTL_ioport_permission`.
pub(super) fn ioport_permission<M: Machine>(call: &Call<'_, M>, op: &Op) -> Result<(), Errno> {
    let arg: XenDomctlIoportPermission = op.arg()?;
    let domain = op.domain(call)?;
    if arg.nr_ports == 0 {
        return Ok(());
    }
    let last = arg
        .first_port
        .checked_add(arg.nr_ports - 1)
        .ok_or(Errno::EINVAL)?;
    let [first, last] = [arg.first_port, last].map(u16::try_from);
    let ports = first.map_err(|_| Errno::EINVAL)?..=last.map_err(|_| Errno::EINVAL)?;
    let allowed = &domain.ports.allowed;
    if arg.allow_access == 0 {
        allowed.deny(ports);
        return Ok(());
    }
    if !call.domain.ports.allowed.contains_range(ports.clone()) {
        return Err(Errno::EPERM);
    }
    allowed.try_allow(ports).map_err(|_| Errno::ENOMEM)
}

/// `XEN_DOMCTL_gettscinfo`.
pub(super) fn get_tsc<M: Machine>(call: &Call<'_, M>, op: &Op) -> Result<(), Errno> {
    let domain = op.domain(call)?;
    if domain.id == call.domain.id {
        return Err(Errno::EINVAL);
    }
    let tsc = domain.policy.now().limits.tsc;
    let never = tsc.mode == TSC_MODE_NEVER_EMULATE;
    let answer = XenDomctlTscInfo {
        tsc_mode: tsc.mode,
        gtsc_khz: if never { 0 } else { call.m.tsc_khz() },
        incarnation: tsc.incarnation,
        elapsed_nsec: if never { 0 } else { call.m.now().0 },
        ..XenDomctlTscInfo::default()
    };
    op.answer(call, &answer)
}

/// `XEN_DOMCTL_settscinfo`: the counter is the machine's, so only modes that allow this can be had.
pub(super) fn set_tsc<M: Machine>(call: &Call<'_, M>, op: &Op) -> Result<(), Errno> {
    let arg: XenDomctlTscInfo = op.arg()?;
    let domain = op.domain(call)?;
    if domain.id == call.domain.id {
        return Err(Errno::EINVAL);
    }
    if !matches!(arg.tsc_mode, TSC_MODE_DEFAULT | TSC_MODE_NEVER_EMULATE) {
        return Err(Errno::EOPNOTSUPP);
    }
    let mut policy = (*domain.policy.now()).clone();
    policy.limits.tsc = TscView {
        mode: arg.tsc_mode,
        incarnation: arg.incarnation,
        ..policy.limits.tsc
    };
    change_policy(&domain, policy)
}

/// `XEN_DOMCTL_get_cpu_policy`.
pub(super) fn get_cpu_policy<M: Machine>(call: &Call<'_, M>, op: &Op) -> Result<(), Errno> {
    let mut arg: XenDomctlCpuPolicy = op.arg()?;
    let policy = op.domain(call)?.policy.now();
    arg.nr_leaves = cpu_policy::put_leaves(call, &policy.cpuid, arg.leaves, arg.nr_leaves)?;
    arg.nr_msrs = cpu_policy::put_msrs(arg.msrs);
    op.answer(call, &arg)
}

/// `XEN_DOMCTL_set_cpu_policy`: at most what [`Machine::policies`] offers, before the domain first runs.
pub(super) fn set_cpu_policy<M: Machine>(call: &Call<'_, M>, op: &Op) -> Result<(), Errno> {
    let mut arg: XenDomctlCpuPolicy = op.arg()?;
    let domain = op.domain(call)?;
    if domain.id == call.domain.id {
        return Err(Errno::EINVAL);
    }
    if arg.nr_leaves > MAX_LEAVES || arg.nr_msrs > MAX_MSRS {
        return Err(Errno::E2BIG);
    }
    let old = domain.policy.now();
    let max = &call.m.policies().pv_max;
    let mut cpuid = old.cpuid.clone();
    (arg.err_leaf, arg.err_subleaf, arg.err_msr) = (NONE, NONE, NONE);
    for n in 0..u64::from(arg.nr_leaves) {
        let at = element(arg.leaves, n, XenCpuidLeaf::SIZE as u64);
        let leaf: XenCpuidLeaf = call.read(at)?;
        let leaf = Leaf {
            leaf: leaf.leaf,
            subleaf: leaf.subleaf,
            regs: [leaf.a, leaf.b, leaf.c, leaf.d],
        };
        if let Err(bad) = cpuid.set_leaf(leaf, max) {
            (arg.err_leaf, arg.err_subleaf) = (bad.leaf, bad.subleaf);
            op.answer(call, &arg)?;
            return Err(Errno::EINVAL);
        }
    }
    for n in 0..u64::from(arg.nr_msrs) {
        let at = element(arg.msrs, n, XenMsrEntry::SIZE as u64);
        let msr: XenMsrEntry = call.read(at)?;
        if !cpu_policy::is_msr_allowed(&msr) {
            arg.err_msr = msr.idx;
            op.answer(call, &arg)?;
            return Err(Errno::EINVAL);
        }
    }
    cpuid.finish(max);
    change_policy(&domain, old.with_cpuid(cpuid))
}

fn change_policy(domain: &Domain, policy: DomainPolicy) -> Result<(), Errno> {
    room_for(size_of::<DomainPolicy>())?;
    domain.policy.change(policy).map_err(|_| Errno::EEXIST)
}
