//! Giving a vcpu its first registers (`public/arch-x86/xen.h`, vcpu_guest_context).

use core::mem::offset_of;
use core::sync::atomic::Ordering::{Relaxed, SeqCst};

use rexen_abi::Plain;
use rexen_abi::arch_x86::*;
use rexen_abi::errno::Errno;

use super::args::{canonical, element, low16, ring3};
use super::callbacks::{set, set_trap};
use super::mmu_update::MmuOrErrno;
use super::set_gdt::{hold_gdt, read_gdt, release_gdt};
use crate::domain::{Domain, FpuArea, Gdt, Ldt, SavedContext, Vcpu, VcpuFlags};
use crate::hypercall::{Machine, read};
use crate::policy::cr::write_cr4;
use crate::policy::debugreg::DebugRegisters;
use crate::pvmmu::DomainMm;
use crate::units::{Mfn, PAGE_SIZE};

/// Flags in rflags that a guest may start with: all arithmetic ones, TF, DF, AC, ID.
const RFLAGS_ALLOWED: u64 = 0x0024_0dd5;
/// Always on: bit 1 as the processor has it, and interrupts.
const RFLAGS_FIXED: u64 = 0x202;
const RFLAGS_IOPL_SHIFT: u32 = 12;
const CR0_TS: u64 = 1 << 3;
const CR4_DE: u64 = 1 << 3;
/// Byte offset of MXCSR in an FXSAVE image, and the bits of it that exist on all processors with 64-bit mode.
const MXCSR: usize = 24;
const MXCSR_ALLOWED: u32 = 0xffff;

/// Reads the member of the guest's structure at `$at` that is called `$field`.
macro_rules! member {
    ($m:expr, $at:expr, $field:ident) => {
        read(
            $m,
            element($at, offset_of!(VcpuGuestContext, $field) as u64, 1),
        )?
    };
}

/// Gives `vcpu` the registers at guest address `at`. It stays down.
///
/// # Errors
/// EEXIST: it has some. EFAULT. EINVAL: a value that may not be. Nothing is held then.
pub(super) fn initialise<M: Machine>(
    m: &M,
    domain: &Domain,
    vcpu: &Vcpu,
    at: u64,
) -> Result<(), MmuOrErrno> {
    let before = vcpu.flags.fetch_or(VcpuFlags::INITIALISING, SeqCst);
    if before & VcpuFlags::INITIALISING != 0 {
        return Err(MmuOrErrno::Again);
    }
    let result = if before & VcpuFlags::INITIALISED != 0 {
        Err(Errno::EEXIST.into())
    } else {
        set_context(m, domain, vcpu, at)
    };
    if result.is_ok() {
        vcpu.flags.fetch_or(VcpuFlags::INITIALISED, SeqCst);
    }
    vcpu.flags.fetch_and(!VcpuFlags::INITIALISING, SeqCst);
    result
}

/// All but the tables, which are held last: nothing can fail after them.
fn set_context<M: Machine>(m: &M, domain: &Domain, vcpu: &Vcpu, at: u64) -> Result<(), MmuOrErrno> {
    let flags: u64 = member!(m, at, flags);
    let regs: CpuUserRegs = member!(m, at, user_regs);
    let ctrlreg: [u64; 8] = member!(m, at, ctrlreg);
    let in_kernel = flags & VGCF_IN_KERNEL != 0;
    let kernel = Some(Mfn(ctrlreg[3] >> 12));
    let user = (ctrlreg[1] != 0).then_some(Mfn(ctrlreg[1] >> 12));
    if !in_kernel && user.is_none() {
        return Err(Errno::EINVAL.into());
    }
    let saved = SavedContext {
        regs: clean(regs),
        in_kernel,
        fs_base: canonical(member!(m, at, fs_base))?,
        gs_base_kernel: canonical(member!(m, at, gs_base_kernel))?,
        gs_base_user: canonical(member!(m, at, gs_base_user))?,
        ..SavedContext::default()
    };
    let saved = if flags & VGCF_I387_VALID != 0 {
        with_fpu(m, at, saved)?
    } else {
        saved
    };
    let cr4 = write_cr4(domain.policy.now().limits.cr4_changeable, ctrlreg[4]);
    let debug = debug_registers(member!(m, at, debugreg), cr4 & CR4_DE != 0)?;
    let ldt = ldt(member!(m, at, ldt_base), member!(m, at, ldt_ents))?;
    let gdt = gdt(m, at)?;
    set_entry_points(m, vcpu, at, flags)?;
    let kernel_ss: u64 = member!(m, at, kernel_ss);
    let kernel_sp: u64 = member!(m, at, kernel_sp);

    hold_gdt(m, domain, &gdt)?;
    if let Err(e) = hold_bases(m, domain, kernel, user) {
        release_gdt(m, domain, &gdt);
        return Err(e);
    }
    vcpu.kernel_l4.store(kernel.map_or(0, |mfn| mfn.0), Relaxed);
    vcpu.user_l4.store(user.map_or(0, |mfn| mfn.0), Relaxed);
    vcpu.kernel_ss
        .store(u64::from(ring3(low16(kernel_ss))), Relaxed);
    vcpu.kernel_sp.store(kernel_sp, Relaxed);
    vcpu.iopl
        .store((regs.rflags >> RFLAGS_IOPL_SHIFT & 3) as u8, Relaxed);
    vcpu.ts.store(ctrlreg[0] & CR0_TS != 0, Relaxed);
    vcpu.cr4.store(cr4, Relaxed);
    vcpu.xcr0.store(saved.xcr0, Relaxed);
    vcpu.debug_active.store(debug.is_active(), Relaxed);
    *vcpu.debug.lock() = debug;
    *vcpu.gdt.lock() = gdt;
    *vcpu.ldt.lock() = ldt;
    *vcpu.saved.lock() = saved;
    Ok(())
}

/// The registers as a guest may have them.
fn clean(regs: CpuUserRegs) -> CpuUserRegs {
    CpuUserRegs {
        cs: ring3(regs.cs),
        ss: ring3(regs.ss),
        rflags: regs.rflags & RFLAGS_ALLOWED | RFLAGS_FIXED,
        error_code: 0,
        entry_vector: 0,
        saved_upcall_mask: 0,
        ..regs
    }
}

fn with_fpu<M: Machine>(m: &M, at: u64, mut saved: SavedContext) -> Result<SavedContext, Errno> {
    let mut image = [0; 512];
    m.copy_in(
        element(at, offset_of!(VcpuGuestContext, fpu_ctxt) as u64, 1),
        &mut image,
    )?;
    if let Some(mxcsr) = image.get_mut(MXCSR..MXCSR + 4) {
        let allowed = u32::read(mxcsr).unwrap_or(0) & MXCSR_ALLOWED;
        let _ = allowed.write(mxcsr);
    }
    let FpuArea(area) = &mut *saved.fpu;
    if let Some(legacy) = area.first_chunk_mut() {
        *legacy = image;
    }
    Ok(saved)
}

fn debug_registers(values: [u64; 8], debug_extensions: bool) -> Result<DebugRegisters, Errno> {
    let mut debug = DebugRegisters::default();
    for (number, value) in (0..)
        .zip(values)
        .filter(|(number, _)| !matches!(number, 4 | 5))
    {
        debug.set(number, value, debug_extensions)?;
    }
    Ok(debug)
}

fn ldt(base: u64, entries: u64) -> Result<Ldt, Errno> {
    let entries = u32::try_from(entries)
        .ok()
        .filter(|n| *n <= 8192)
        .ok_or(Errno::EINVAL)?;
    if entries == 0 {
        return Ok(Ldt::default());
    }
    if !base.is_multiple_of(PAGE_SIZE) {
        return Err(Errno::EINVAL);
    }
    canonical(base)?;
    Ok(Ldt {
        base,
        entries,
        frames: [None; 16],
    })
}

fn gdt<M: Machine>(m: &M, at: u64) -> Result<Gdt, Errno> {
    let entries: u64 = member!(m, at, gdt_ents);
    let list = element(at, offset_of!(VcpuGuestContext, gdt_frames) as u64, 1);
    read_gdt(u32::try_from(entries).map_err(|_| Errno::EINVAL)?, |n| {
        read(m, element(list, n, 8))
    })
}

/// Trap table and callbacks. The vcpu has never run: what a later error leaves here is overwritten by the next try.
fn set_entry_points<M: Machine>(m: &M, vcpu: &Vcpu, at: u64, flags: u64) -> Result<(), Errno> {
    let callbacks = &vcpu.callbacks;
    set(&callbacks.event, member!(m, at, event_callback_eip), true)?;
    let mask = flags & VGCF_failsafe_disables_events != 0;
    set(
        &callbacks.failsafe,
        member!(m, at, failsafe_callback_eip),
        mask,
    )?;
    let mask = flags & VGCF_syscall_disables_events != 0;
    set(
        &callbacks.syscall,
        member!(m, at, syscall_callback_eip),
        mask,
    )?;
    let table = element(at, offset_of!(VcpuGuestContext, trap_ctxt) as u64, 1);
    for vector in 0..=u8::MAX {
        let trap: TrapInfo = read(m, element(table, u64::from(vector), TrapInfo::SIZE as u64))?;
        set_trap(vcpu, &TrapInfo { vector, ..trap })?;
    }
    Ok(())
}

/// Takes the references of both bases, or none.
fn hold_bases<M: Machine>(
    m: &M,
    domain: &Domain,
    kernel: Option<Mfn>,
    user: Option<Mfn>,
) -> Result<(), MmuOrErrno> {
    let mut state = domain.mm.lock();
    let mut mm = DomainMm::new(m.frames(), m, &mut state);
    mm.replace_base(None, kernel)?;
    if let Err(e) = mm.replace_base(None, user) {
        // What was validated of the two stays so for the next try, if this was an interruption.
        let _ = mm.replace_base(kernel, None);
        return Err(e.into());
    }
    if let Some(l4) = user {
        mm.show_m2p(l4, false);
    }
    if let Some(l4) = kernel {
        mm.show_m2p(l4, true);
    }
    Ok(())
}
