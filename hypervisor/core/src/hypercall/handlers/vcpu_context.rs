//! Giving a vcpu its registers, and looking at them (`public/arch-x86/xen.h`, vcpu_guest_context).

use alloc::vec::Vec;
use core::mem::offset_of;
use core::sync::atomic::{
    AtomicU64,
    Ordering::{Relaxed, SeqCst},
};

use rexen_abi::Plain;
use rexen_abi::arch_x86::*;
use rexen_abi::errno::Errno;

use super::args::{canonical, frame_or_none, low16, ring3};
use super::callbacks::{set, set_trap};
use super::mmu_update::MmuOrErrno;
use super::set_gdt::{hold_gdt, read_gdt, release_gdt};
use crate::domain::{Domain, FpuArea, Gdt, Ldt, Vcpu, VcpuFlags};
use crate::hypercall::Machine;
use crate::hypercall::teardown::end_vcpu;
use crate::policy::cr::write_cr4;
use crate::policy::debugreg::DebugRegisters;
use crate::pvmmu::{DomainMm, MmuError};
use crate::units::{Mfn, PAGE_SIZE};

/// Flags in rflags that a guest may start with: all arithmetic ones, TF, DF, AC, ID.
const RFLAGS_ALLOWED: u64 = 0x0024_0dd5;
/// Always on: bit 1 as the processor has it, and interrupts.
const RFLAGS_FIXED: u64 = 0x202;
const RFLAGS_IOPL_SHIFT: u32 = 12;
/// CR0 as a guest sees it, but for TS: PG, WP, NE, ET, MP, PE.
const CR0: u64 = 0x8001_0033;
const CR0_TS: u64 = 1 << 3;
const CR4_DE: u64 = 1 << 3;
/// Byte offset of MXCSR in an FXSAVE image, and the bits of it that exist on all processors with 64-bit mode.
const MXCSR: usize = 24;
const MXCSR_ALLOWED: u32 = 0xffff;

/// A `vcpu_guest_context` that was copied in once.
struct Image(Vec<u8>);

impl Image {
    const SIZE: usize = VcpuGuestContext::SIZE;

    fn zeroed() -> Result<Self, Errno> {
        let mut bytes = Vec::new();
        bytes
            .try_reserve_exact(Self::SIZE)
            .map_err(|_| Errno::ENOMEM)?;
        bytes.resize(Self::SIZE, 0);
        Ok(Image(bytes))
    }

    fn read<M: Machine>(m: &M, at: u64) -> Result<Self, Errno> {
        let mut image = Image::zeroed()?;
        m.copy_in(at, &mut image.0)?;
        Ok(image)
    }

    fn get<T: Plain>(&self, offset: usize) -> Result<T, Errno> {
        let bytes = self.0.get(offset..).ok_or(Errno::EINVAL)?;
        T::read(bytes).ok_or(Errno::EINVAL)
    }

    fn put<T: Plain>(&mut self, offset: usize, value: &T) -> Result<(), Errno> {
        let bytes = self.0.get_mut(offset..).ok_or(Errno::EINVAL)?;
        value.write(bytes).ok_or(Errno::EINVAL)
    }
}

/// The member of an [`Image`] that is called `$field`.
macro_rules! member {
    ($image:expr, $field:ident) => {
        $image.get(offset_of!(VcpuGuestContext, $field))?
    };
}

/// Sets the member of an [`Image`] that is called `$field`.
macro_rules! set_member {
    ($image:expr, $field:ident, $value:expr) => {
        $image.put(offset_of!(VcpuGuestContext, $field), &$value)?
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
        set_context(m, domain, vcpu, at).map(|_| ())
    };
    if result.is_ok() {
        vcpu.flags.fetch_or(VcpuFlags::INITIALISED, SeqCst);
    }
    vcpu.flags.fetch_and(!VcpuFlags::INITIALISING, SeqCst);
    result
}

/// Gives `vcpu`, which does not run, the registers at guest address `at`, and lets go of the tables it had.
///
/// # Errors
/// `Again`: the tables are not all validated yet; nothing has changed. EFAULT. EINVAL: a value that may not be. What the
/// vcpu had, it keeps then.
pub(super) fn set_context<M: Machine>(
    m: &M,
    domain: &Domain,
    vcpu: &Vcpu,
    at: u64,
) -> Result<ContextFlags, MmuOrErrno> {
    let image = Image::read(m, at)?;
    let flags: u64 = member!(image, flags);
    let regs: CpuUserRegs = member!(image, user_regs);
    let ctrlreg: [u64; 8] = member!(image, ctrlreg);
    let in_kernel = flags & VGCF_IN_KERNEL != 0;
    let kernel = Some(Mfn(ctrlreg[3] >> 12));
    let user = (ctrlreg[1] != 0).then_some(Mfn(ctrlreg[1] >> 12));
    if !in_kernel && user.is_none() {
        return Err(Errno::EINVAL.into());
    }
    let limits = domain.policy.now().limits;
    let fpu: Option<[u8; 512]> = if flags & VGCF_I387_VALID != 0 {
        Some(member!(image, fpu_ctxt))
    } else {
        None
    };
    let fs_base = canonical(member!(image, fs_base))?;
    let gs_base_kernel = canonical(member!(image, gs_base_kernel))?;
    let gs_base_user = canonical(member!(image, gs_base_user))?;
    let cr4 = write_cr4(limits.cr4_changeable, ctrlreg[4]);
    let debug = debug_registers(member!(image, debugreg), cr4 & CR4_DE != 0)?;
    let ldt = ldt(member!(image, ldt_base), member!(image, ldt_ents))?;
    let gdt = gdt(&image)?;
    let entry_points = EntryPoints::read(&image, flags)?;
    let kernel_ss: u64 = member!(image, kernel_ss);
    let kernel_sp: u64 = member!(image, kernel_sp);

    hold_gdt(m, domain, &gdt)?;
    if let Err(e) = replace_bases(m, domain, vcpu, kernel, user) {
        release_descriptors(m, domain, &gdt, &Ldt::default());
        return Err(e);
    }
    // Nothing can fail from here on.
    entry_points.set(vcpu)?;
    vcpu.kernel_ss
        .store(u64::from(ring3(low16(kernel_ss))), Relaxed);
    vcpu.kernel_sp.store(kernel_sp, Relaxed);
    vcpu.iopl
        .store((regs.rflags >> RFLAGS_IOPL_SHIFT & 3) as u8, Relaxed);
    vcpu.ts.store(ctrlreg[0] & CR0_TS != 0, Relaxed);
    vcpu.cr4.store(cr4, Relaxed);
    vcpu.debug_active.store(debug.is_active(), Relaxed);
    *vcpu.debug.lock() = debug;
    let old_gdt = core::mem::replace(&mut *vcpu.gdt.lock(), gdt);
    let old_ldt = core::mem::replace(&mut *vcpu.ldt.lock(), ldt);
    {
        let mut saved = vcpu.saved.lock();
        saved.reset();
        saved.regs = clean(regs);
        saved.in_kernel = in_kernel;
        (saved.fs_base, saved.gs_base_kernel) = (fs_base, gs_base_kernel);
        saved.gs_base_user = gs_base_user;
        if let Some(fpu) = &fpu {
            set_legacy_fpu(&mut saved.fpu, fpu);
        }
        vcpu.xcr0.store(saved.xcr0, Relaxed);
    }
    release_descriptors(m, domain, &old_gdt, &old_ldt);
    Ok(ContextFlags(flags))
}

/// The flags of a context (`VGCF_*`).
pub(super) struct ContextFlags(u64);

impl ContextFlags {
    /// Whether the vcpu shall be up.
    pub fn is_online(&self) -> bool {
        self.0 & VGCF_online != 0
    }
}

/// Takes everything away that `vcpu`, which does not run, was given: it is as before its first initialisation.
///
/// # Errors
/// `Again`: its tables are not all let go yet.
pub(super) fn reset<M: Machine>(m: &M, domain: &Domain, vcpu: &Vcpu) -> Result<(), MmuOrErrno> {
    end_vcpu(m, domain, vcpu).map_err(|_| MmuOrErrno::Again)?;
    for slot in &vcpu.traps {
        slot.address.store(0, Relaxed);
        slot.meta.store(0, Relaxed);
    }
    let all = &vcpu.callbacks;
    for callback in [
        &all.event,
        &all.failsafe,
        &all.syscall,
        &all.syscall32,
        &all.sysenter,
        &all.nmi,
    ] {
        callback.address.store(0, Relaxed);
    }
    *vcpu.debug.lock() = DebugRegisters::default();
    vcpu.debug_active.store(false, Relaxed);
    vcpu.saved.lock().reset();
    Ok(())
}

/// Lets go of the pages of descriptor tables that a vcpu no longer uses.
fn release_descriptors<M: Machine>(m: &M, domain: &Domain, gdt: &Gdt, ldt: &Ldt) {
    release_gdt(m, domain, gdt);
    let mut state = domain.mm.lock();
    let mut mm = DomainMm::new(m.frames(), m, &mut state);
    for mfn in ldt.frames.iter().flatten() {
        mm.release_descriptors(*mfn);
    }
}

/// Fills in the registers of `vcpu`, which does not run, at guest address `at`.
///
/// # Errors
/// EFAULT. ENOMEM.
pub(super) fn get_context<M: Machine>(
    m: &M,
    domain: &Domain,
    vcpu: &Vcpu,
    at: u64,
) -> Result<(), Errno> {
    let mut image = Image::zeroed()?;
    let mut flags = VGCF_I387_VALID;
    {
        let saved = vcpu.saved.lock();
        let FpuArea(area) = &*saved.fpu;
        if let Some(legacy) = area.first_chunk::<512>() {
            set_member!(image, fpu_ctxt, *legacy);
        }
        let iopl = u64::from(vcpu.iopl.load(Relaxed)) << RFLAGS_IOPL_SHIFT;
        let regs = CpuUserRegs {
            rflags: saved.regs.rflags & !(3 << RFLAGS_IOPL_SHIFT) | iopl,
            error_code: 0,
            entry_vector: 0,
            saved_upcall_mask: 0,
            ..saved.regs
        };
        set_member!(image, user_regs, regs);
        set_member!(image, fs_base, saved.fs_base);
        set_member!(image, gs_base_kernel, saved.gs_base_kernel);
        set_member!(image, gs_base_user, saved.gs_base_user);
        if saved.in_kernel {
            flags |= VGCF_IN_KERNEL;
        }
    }
    if vcpu.flags.load(Relaxed) & VcpuFlags::DOWN == 0 {
        flags |= VGCF_online;
    }
    for (vector, (slot, at)) in (0..=u8::MAX).zip(vcpu.traps.iter().zip(trap_offsets())) {
        let (address, meta) = (slot.address.load(Relaxed), slot.meta.load(Relaxed));
        if address != 0 {
            let trap = TrapInfo {
                vector,
                flags: (meta >> 16) as u8,
                cs: meta as u16,
                address,
            };
            image.put(at, &trap)?;
        }
    }
    let ldt = *vcpu.ldt.lock();
    set_member!(image, ldt_base, ldt.base);
    set_member!(image, ldt_ents, u64::from(ldt.entries));
    let gdt = *vcpu.gdt.lock();
    let mut gdt_frames = [0u64; 16];
    for (to, from) in gdt_frames.iter_mut().zip(super::set_gdt::frames(&gdt)) {
        *to = from.0;
    }
    set_member!(image, gdt_frames, gdt_frames);
    set_member!(image, gdt_ents, u64::from(gdt.entries));
    set_member!(image, kernel_ss, vcpu.kernel_ss.load(Relaxed));
    set_member!(image, kernel_sp, vcpu.kernel_sp.load(Relaxed));
    let ts = u64::from(vcpu.ts.load(Relaxed)) * CR0_TS;
    let cr4 = vcpu.cr4.load(Relaxed);
    let [kernel, user] =
        [&vcpu.kernel_l4, &vcpu.user_l4].map(|base| Mfn(base.load(Relaxed)).maddr());
    set_member!(image, ctrlreg, [CR0 | ts, user, 0, kernel, cr4, 0, 0, 0u64]);
    let debug = *vcpu.debug.lock();
    let [a, b, c, d] = debug.addresses();
    let dr6 = debug.get(6, false).unwrap_or(0);
    set_member!(image, debugreg, [a, b, c, d, 0, 0, dr6, debug.dr7()]);
    let all = &vcpu.callbacks;
    set_member!(image, event_callback_eip, all.event.address.load(Relaxed));
    set_member!(
        image,
        failsafe_callback_eip,
        all.failsafe.address.load(Relaxed)
    );
    set_member!(
        image,
        syscall_callback_eip,
        all.syscall.address.load(Relaxed)
    );
    if all.failsafe.masks_events.load(Relaxed) {
        flags |= VGCF_failsafe_disables_events;
    }
    if all.syscall.masks_events.load(Relaxed) {
        flags |= VGCF_syscall_disables_events;
    }
    set_member!(image, flags, flags);
    set_member!(image, vm_assist, domain.assists.load(Relaxed));
    m.copy_out(at, &image.0)
}

/// Where in an [`Image`] the trap table's entries lie.
fn trap_offsets() -> impl Iterator<Item = usize> {
    (0..256).map(|n| offset_of!(VcpuGuestContext, trap_ctxt) + n * TrapInfo::SIZE)
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

/// Puts an FXSAVE image into `area`.
pub(super) fn set_legacy_fpu(area: &mut FpuArea, image: &[u8; 512]) {
    let FpuArea(area) = area;
    if let Some(legacy) = area.first_chunk_mut() {
        *legacy = *image;
    }
    if let Some(mxcsr) = area.get_mut(MXCSR..MXCSR + 4) {
        let allowed = u32::read(mxcsr).unwrap_or(0) & MXCSR_ALLOWED;
        let _ = allowed.write(mxcsr);
    }
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

fn gdt(image: &Image) -> Result<Gdt, Errno> {
    let entries: u64 = member!(image, gdt_ents);
    let frames: [u64; 16] = member!(image, gdt_frames);
    let mut frames = frames.into_iter();
    read_gdt(u32::try_from(entries).map_err(|_| Errno::EINVAL)?, |_| {
        frames.next().ok_or(Errno::EINVAL)
    })
}

/// Trap table and callbacks, checked.
struct EntryPoints {
    traps: Vec<TrapInfo>,
    event: u64,
    failsafe: (u64, bool),
    syscall: (u64, bool),
}

impl EntryPoints {
    fn read(image: &Image, flags: u64) -> Result<Self, Errno> {
        let mut traps = Vec::new();
        traps.try_reserve_exact(256).map_err(|_| Errno::ENOMEM)?;
        for (vector, at) in (0..=u8::MAX).zip(trap_offsets()) {
            let trap: TrapInfo = image.get(at)?;
            canonical(trap.address)?;
            traps.push(TrapInfo { vector, ..trap });
        }
        let failsafe = canonical(member!(image, failsafe_callback_eip))?;
        let syscall = canonical(member!(image, syscall_callback_eip))?;
        Ok(EntryPoints {
            traps,
            event: canonical(member!(image, event_callback_eip))?,
            failsafe: (failsafe, flags & VGCF_failsafe_disables_events != 0),
            syscall: (syscall, flags & VGCF_syscall_disables_events != 0),
        })
    }

    /// Cannot fail after [`Self::read`] did not.
    fn set(&self, vcpu: &Vcpu) -> Result<(), Errno> {
        let callbacks = &vcpu.callbacks;
        set(&callbacks.event, self.event, true)?;
        set(&callbacks.failsafe, self.failsafe.0, self.failsafe.1)?;
        set(&callbacks.syscall, self.syscall.0, self.syscall.1)?;
        self.traps.iter().try_for_each(|trap| set_trap(vcpu, trap))
    }
}

/// Moves both bases. A stop between the two leaves one moved, and the next try goes on from there.
fn replace_bases<M: Machine>(
    m: &M,
    domain: &Domain,
    vcpu: &Vcpu,
    kernel: Option<Mfn>,
    user: Option<Mfn>,
) -> Result<(), MmuOrErrno> {
    let old = [&vcpu.kernel_l4, &vcpu.user_l4].map(|base| frame_or_none(base.load(Relaxed)));
    let set = |base: &AtomicU64, mfn: Option<Mfn>| base.store(mfn.map_or(0, |mfn| mfn.0), Relaxed);
    let mut state = domain.mm.lock();
    let mut mm = DomainMm::new(m.frames(), m, &mut state);
    mm.replace_base(old[0], kernel)?;
    set(&vcpu.kernel_l4, kernel);
    if let Err(e) = mm.replace_base(old[1], user) {
        // A vcpu that had none shall have none after a failure.
        if e != MmuError::Again && old[0].is_none() && mm.replace_base(kernel, None).is_ok() {
            set(&vcpu.kernel_l4, None);
        }
        return Err(e.into());
    }
    set(&vcpu.user_l4, user);
    if let Some(l4) = user {
        mm.show_m2p(l4, false);
    }
    if let Some(l4) = kernel {
        mm.show_m2p(l4, true);
    }
    Ok(())
}
