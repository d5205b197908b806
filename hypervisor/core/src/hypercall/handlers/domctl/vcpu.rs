//! A vcpu's registers and what it is doing, for building, saving and debugging a domain.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::Ordering::{Relaxed, SeqCst};

use rexen_abi::Plain;
use rexen_abi::domctl::*;
use rexen_abi::errno::Errno;

use super::Op;
use crate::domain::{Callback, Domain, FpuArea, Vcpu, VcpuFlags};
use crate::hypercall::handlers::args::{canonical, element};
use crate::hypercall::handlers::callbacks::set;
use crate::hypercall::handlers::mmu_update::MmuOrErrno;
use crate::hypercall::handlers::vcpu_context;
use crate::hypercall::{Call, Machine, Outcome, block, unblock, wake_for_event};
use crate::policy::cr::check_xsetbv;
use crate::policy::msr::number::TSC_AUX;
use crate::sched::RunstateKind;
use crate::units::VcpuId;

/// Bytes of XCR0 and of all bits it ever had, which precede the XSAVE area.
const EXTSTATE_HEADER: usize = 16;
/// Bytes of the legacy region and of the header in an XSAVE area.
const LEGACY: usize = 512;
const XSAVE_MIN: usize = 576;

/// The vcpu that a command names.
///
/// # Errors
/// `missing`: there is none.
fn named(domain: &Domain, id: u32, missing: Errno) -> Result<&Vcpu, Errno> {
    domain.vcpu(VcpuId(id)).ok_or(missing)
}

/// The domain of a command that cannot be about the caller's own.
///
/// # Errors
/// ESRCH. EINVAL: the caller.
fn other_domain<M: Machine>(call: &Call<'_, M>, op: &Op) -> Result<Arc<Domain>, Errno> {
    let domain = op.domain(call)?;
    if domain.id == call.domain.id {
        return Err(Errno::EINVAL);
    }
    Ok(domain)
}

/// Does something to `vcpu` while it is on no CPU.
///
/// # Errors
/// `Again`: it is still on one, or someone else does something to it, or `act` says so. It stays off until the caller
/// comes again.
fn while_off<M: Machine, R>(
    m: &M,
    vcpu: &Vcpu,
    act: impl FnOnce() -> Result<R, MmuOrErrno>,
) -> Result<R, MmuOrErrno> {
    block(m, vcpu, VcpuFlags::HELD);
    if !m.is_off_cpu(vcpu) {
        return Err(MmuOrErrno::Again);
    }
    if vcpu.flags.fetch_or(VcpuFlags::INITIALISING, SeqCst) & VcpuFlags::INITIALISING != 0 {
        return Err(MmuOrErrno::Again);
    }
    let result = act();
    vcpu.flags.fetch_and(!VcpuFlags::INITIALISING, SeqCst);
    if !matches!(result, Err(MmuOrErrno::Again)) {
        unblock(m, vcpu, VcpuFlags::HELD);
    }
    result
}

/// How a command ends that may have to be made again.
fn end<M: Machine>(call: &Call<'_, M>, result: Result<(), MmuOrErrno>) -> Result<Outcome, Errno> {
    match result {
        Ok(()) => Ok(Outcome::Done(0)),
        Err(MmuOrErrno::Again) => Ok(Outcome::Again(call.args)),
        Err(MmuOrErrno::Errno(e)) => Err(e),
    }
}

/// `XEN_DOMCTL_setvcpucontext`: a null pointer takes the registers away.
pub(super) fn set_context<M: Machine>(call: &Call<'_, M>, op: &Op) -> Result<Outcome, Errno> {
    let arg: XenDomctlVcpucontext = op.arg()?;
    let domain = other_domain(call, op)?;
    let vcpu = named(&domain, arg.vcpu, Errno::EINVAL)?;
    // What is given to a dying domain, nobody takes away.
    if domain.is_dying() {
        return Err(Errno::EINVAL);
    }
    let m = call.m;
    let result = while_off(m, vcpu, || {
        if arg.ctxt == 0 {
            vcpu.flags.fetch_or(VcpuFlags::DOWN, SeqCst);
            vcpu.flags
                .fetch_and(!(VcpuFlags::INITIALISED | VcpuFlags::NMI_PENDING), SeqCst);
            return vcpu_context::reset(m, &domain, vcpu).map(|()| None);
        }
        let flags = vcpu_context::set_context(m, &domain, vcpu, arg.ctxt)?;
        vcpu.flags.fetch_or(VcpuFlags::INITIALISED, SeqCst);
        if vcpu.id == VcpuId(0) {
            // The toolstack has cleared the page where it stood.
            m.update_wall_clock(&domain);
        }
        Ok(Some(flags.is_online()))
    });
    end(
        call,
        result.map(|online| match online {
            Some(true) => unblock(m, vcpu, VcpuFlags::DOWN),
            Some(false) => block(m, vcpu, VcpuFlags::DOWN),
            None => {}
        }),
    )
}

/// `XEN_DOMCTL_getvcpucontext`.
pub(super) fn get_context<M: Machine>(call: &Call<'_, M>, op: &Op) -> Result<Outcome, Errno> {
    let arg: XenDomctlVcpucontext = op.arg()?;
    let domain = other_domain(call, op)?;
    let vcpu = named(&domain, arg.vcpu, Errno::EINVAL)?;
    if vcpu.flags.load(SeqCst) & VcpuFlags::INITIALISED == 0 {
        return Err(Errno::ENODATA);
    }
    let result = while_off(call.m, vcpu, || {
        Ok(vcpu_context::get_context(call.m, &domain, vcpu, arg.ctxt)?)
    });
    end(call, result)
}

/// `XEN_DOMCTL_getvcpuinfo`.
pub(super) fn info<M: Machine>(call: &Call<'_, M>, op: &Op) -> Result<(), Errno> {
    let mut arg: XenDomctlGetvcpuinfo = op.arg()?;
    let domain = op.domain(call)?;
    let vcpu = named(&domain, arg.vcpu, Errno::EINVAL)?;
    let flags = vcpu.flags.load(SeqCst);
    let run = *vcpu.runstate.lock();
    arg.online = u8::from(flags & VcpuFlags::DOWN == 0);
    arg.blocked = u8::from(flags & VcpuFlags::BLOCKED != 0);
    arg.running = u8::from(run.kind() == RunstateKind::Running);
    arg.cpu_time = run.at(call.m.now()).time[0];
    arg.cpu = call.m.scheduler().cpu_of(vcpu.sched).map_or(0, |cpu| cpu.0);
    op.answer(call, &arg)
}

/// `XEN_DOMCTL_sendtrigger`.
pub(super) fn trigger<M: Machine>(call: &Call<'_, M>, op: &Op) -> Result<(), Errno> {
    let arg: XenDomctlSendtrigger = op.arg()?;
    let domain = op.domain(call)?;
    let vcpu = named(&domain, arg.vcpu, Errno::ESRCH)?;
    if arg.trigger != XEN_DOMCTL_SENDTRIGGER_NMI {
        return Err(Errno::ENOSYS);
    }
    send_nmi(call.m, vcpu);
    Ok(())
}

/// Makes a virtual NMI wait for `vcpu`.
pub(in crate::hypercall::handlers) fn send_nmi<M: Machine>(m: &M, vcpu: &Vcpu) {
    if vcpu.flags.fetch_or(VcpuFlags::NMI_PENDING, SeqCst) & VcpuFlags::NMI_PENDING == 0 {
        wake_for_event(m, vcpu);
    }
}

/// `XEN_DOMCTL_set_ext_vcpucontext`.
pub(super) fn set_ext<M: Machine>(call: &Call<'_, M>, op: &Op) -> Result<(), Errno> {
    let arg: XenDomctlExtVcpucontext = op.arg()?;
    let domain = other_domain(call, op)?;
    let vcpu = named(&domain, arg.vcpu, Errno::ESRCH)?;
    if (arg.size as usize) < core::mem::offset_of!(XenDomctlExtVcpucontext, mcg_cap) {
        return Err(Errno::EINVAL);
    }
    canonical(arg.syscall32_callback_eip)?;
    canonical(arg.sysenter_callback_eip)?;
    let masks = [arg.syscall32_disables_events, arg.sysenter_disables_events].map(|m| m != 0);
    let all = &vcpu.callbacks;
    set(&all.syscall32, arg.syscall32_callback_eip, masks[0])?;
    set(&all.sysenter, arg.sysenter_callback_eip, masks[1])
}

/// `XEN_DOMCTL_get_ext_vcpucontext`.
pub(super) fn get_ext<M: Machine>(call: &Call<'_, M>, op: &Op) -> Result<(), Errno> {
    let arg: XenDomctlExtVcpucontext = op.arg()?;
    let domain = other_domain(call, op)?;
    let vcpu = named(&domain, arg.vcpu, Errno::ESRCH)?;
    let address = |callback: &Callback| callback.address.load(Relaxed);
    let masks = |callback: &Callback| u8::from(callback.masks_events.load(Relaxed));
    let (syscall32, sysenter) = (&vcpu.callbacks.syscall32, &vcpu.callbacks.sysenter);
    let answer = XenDomctlExtVcpucontext {
        vcpu: arg.vcpu,
        size: XenDomctlExtVcpucontext::SIZE as u32,
        syscall32_callback_eip: address(syscall32),
        sysenter_callback_eip: address(sysenter),
        // The only selectors that entries through these use.
        syscall32_callback_cs: rexen_abi::arch_x86::FLAT_RING3_CS64,
        sysenter_callback_cs: rexen_abi::arch_x86::FLAT_RING3_CS64,
        syscall32_disables_events: masks(syscall32),
        sysenter_disables_events: masks(sysenter),
        ..XenDomctlExtVcpucontext::default()
    };
    op.answer(call, &answer)
}

/// `XEN_DOMCTL_getvcpuextstate`: a null buffer asks for the size.
pub(super) fn get_extstate<M: Machine>(call: &Call<'_, M>, op: &Op) -> Result<Outcome, Errno> {
    let arg: XenDomctlVcpuextstate = op.arg()?;
    let domain = other_domain(call, op)?;
    let vcpu = named(&domain, arg.vcpu, Errno::ESRCH)?;
    let policy = domain.policy.now();
    let allowed = policy.limits.xcr0_allowed;
    let size = EXTSTATE_HEADER + xsave_size(&policy.cpuid, allowed);
    if arg.buffer == 0 {
        let answer = XenDomctlVcpuextstate {
            xfeature_mask: allowed,
            size: size as u64,
            ..arg
        };
        op.answer(call, &answer)?;
        return Ok(Outcome::Done(0));
    }
    if arg.size != size as u64 || arg.xfeature_mask != allowed {
        return Err(Errno::EINVAL);
    }
    let mut image = buffer(size)?;
    let result = while_off(call.m, vcpu, || {
        if let Some((header, area)) = image.split_at_mut_checked(EXTSTATE_HEADER)
            && !area.is_empty()
        {
            let xcr0 = vcpu.xcr0.load(Relaxed);
            let saved = vcpu.saved.lock();
            for (to, from) in area.iter_mut().zip(saved.fpu.0) {
                *to = from;
            }
            let used = word(area, LEGACY) & allowed;
            set_word(area, LEGACY, used);
            set_word(header, 0, xcr0);
            set_word(header, 8, xcr0 | used);
        }
        Ok(call.m.copy_out(arg.buffer, &image)?)
    });
    end(call, result)
}

/// `XEN_DOMCTL_setvcpuextstate`.
pub(super) fn set_extstate<M: Machine>(call: &Call<'_, M>, op: &Op) -> Result<Outcome, Errno> {
    let arg: XenDomctlVcpuextstate = op.arg()?;
    let domain = other_domain(call, op)?;
    let vcpu = named(&domain, arg.vcpu, Errno::ESRCH)?;
    let policy = domain.policy.now();
    let allowed = policy.limits.xcr0_allowed;
    let most = EXTSTATE_HEADER + xsave_size(&policy.cpuid, allowed);
    let size = usize::try_from(arg.size)
        .ok()
        .filter(|size| (EXTSTATE_HEADER..=most).contains(size))
        .ok_or(Errno::EINVAL)?;
    let mut image = buffer(size)?;
    call.m.copy_in(arg.buffer, &mut image)?;
    let (header, area) = image
        .split_at_checked(EXTSTATE_HEADER)
        .ok_or(Errno::EINVAL)?;
    let (xcr0, all) = (word(header, 0), word(header, 8));
    if all == 0 && area.is_empty() {
        // A vcpu that never used any of it.
        return Ok(Outcome::Done(0));
    }
    check_extstate(xcr0, all, area, allowed)?;
    let result = while_off(call.m, vcpu, || {
        let mut saved = vcpu.saved.lock();
        let mut fpu = FpuArea::new();
        if let Some(legacy) = area.first_chunk() {
            vcpu_context::set_legacy_fpu(&mut fpu, legacy);
        }
        for (to, from) in fpu.0.iter_mut().zip(area).skip(LEGACY) {
            *to = *from;
        }
        *saved.fpu = fpu;
        vcpu.xcr0.store(xcr0, Relaxed);
        Ok(())
    });
    end(call, result)
}

/// Whether an XSAVE area can be loaded: states that the domain may have, in the standard format.
fn check_extstate(xcr0: u64, all: u64, area: &[u8], allowed: u64) -> Result<(), Errno> {
    let header = area.get(LEGACY..XSAVE_MIN).ok_or(Errno::EINVAL)?;
    let (used, rest) = header.split_at_checked(8).ok_or(Errno::EINVAL)?;
    check_xsetbv(0, xcr0, allowed).map_err(|_| Errno::EINVAL)?;
    if all & !allowed != 0
        || xcr0 & !all != 0
        || word(used, 0) & !all != 0
        || rest.iter().any(|byte| *byte != 0)
    {
        return Err(Errno::EINVAL);
    }
    Ok(())
}

/// Bytes of a domain's XSAVE areas.
fn xsave_size(cpuid: &crate::policy::cpuid::CpuidPolicy, allowed: u64) -> usize {
    if allowed == 0 {
        return 0;
    }
    (cpuid.xstate_size(allowed, false) as usize).clamp(XSAVE_MIN, FpuArea::SIZE)
}

fn buffer(size: usize) -> Result<Vec<u8>, Errno> {
    let mut bytes = Vec::new();
    bytes.try_reserve_exact(size).map_err(|_| Errno::ENOMEM)?;
    bytes.resize(size, 0);
    Ok(bytes)
}

fn word(bytes: &[u8], at: usize) -> u64 {
    bytes.get(at..).and_then(u64::read).unwrap_or(0)
}

fn set_word(bytes: &mut [u8], at: usize, value: u64) {
    if let Some(place) = bytes.get_mut(at..) {
        let _ = value.write(place);
    }
}

/// MSRs of a vcpu that are its own, and not in its context: TSC_AUX.
const NR_MSRS: u32 = 1;

/// `XEN_DOMCTL_get_vcpu_msrs`: a null list asks how many there can be; those that are zero are left out.
pub(super) fn get_msrs<M: Machine>(call: &Call<'_, M>, op: &Op) -> Result<(), Errno> {
    let mut arg: XenDomctlVcpuMsrs = op.arg()?;
    let domain = other_domain(call, op)?;
    let vcpu = named(&domain, arg.vcpu, Errno::EINVAL)?;
    let value = u64::from(vcpu.tsc_aux.load(Relaxed));
    if arg.msrs == 0 {
        arg.msr_count = NR_MSRS;
    } else if value == 0 {
        arg.msr_count = 0;
    } else if arg.msr_count < NR_MSRS {
        return Err(Errno::ENOBUFS);
    } else {
        let entry = XenDomctlVcpuMsr {
            index: TSC_AUX,
            reserved: 0,
            value,
        };
        call.write(arg.msrs, &entry)?;
        arg.msr_count = NR_MSRS;
    }
    op.answer(call, &arg)
}

/// Entries of a list of MSRs that are looked at: one for each that Xen 4.17 saves.
const MAX_MSRS: u32 = 16;

/// `XEN_DOMCTL_set_vcpu_msrs`.
pub(super) fn set_msrs<M: Machine>(call: &Call<'_, M>, op: &Op) -> Result<(), Errno> {
    let arg: XenDomctlVcpuMsrs = op.arg()?;
    let domain = other_domain(call, op)?;
    let vcpu = named(&domain, arg.vcpu, Errno::EINVAL)?;
    if arg.msr_count > MAX_MSRS {
        return Err(Errno::EINVAL);
    }
    for n in 0..u64::from(arg.msr_count) {
        let at = element(arg.msrs, n, XenDomctlVcpuMsr::SIZE as u64);
        let entry: XenDomctlVcpuMsr = call.read(at)?;
        match (entry.index, u32::try_from(entry.value)) {
            _ if entry.reserved != 0 => return Err(Errno::EINVAL),
            (TSC_AUX, Ok(value)) if domain.policy.now().limits.msr.has_tsc_aux => {
                vcpu.tsc_aux.store(value, Relaxed);
            }
            _ => return Err(Errno::EINVAL),
        }
    }
    Ok(())
}
