//! The vcpu that this CPU runs.
//!
//! Its registers lie in `CpuInfo`, what its entry paths need in the CPU's slots, and the rest is live in the machine:
//! segments, FPU, control registers, descriptor windows. [`load`] puts a vcpu there, [`save`] takes it away.

// UNSAFETY: turns the per-CPU pointer into references, and loads machine state of the guest.
#![expect(unsafe_code)]

use alloc::sync::Arc;
use core::sync::atomic::{
    AtomicBool, AtomicU8, AtomicU16, AtomicU64, AtomicUsize,
    Ordering::{Relaxed, SeqCst},
};

use rexen_abi::arch_x86::CpuUserRegs;
use rexen_core::domain::{Domain, Vcpu};
use rexen_core::policy::cr;
use rexen_core::sync::Mutex;
use rexen_core::units::{CpuId, DomId, MAX_CPUS, Mfn, VcpuId};

use crate::cpu::info::{self, word};
use crate::cpu::{self, features, msr, regs, this_cpu};
use crate::entry::{self, is_guest_range, slot};
use crate::mm::{frames, layout, tables, window};
use crate::smp::flush;

/// What keeps the running vcpu's domain alive.
static HELD: [Mutex<Option<Arc<Domain>>>; MAX_CPUS] = [const { Mutex::new(None) }; MAX_CPUS];

/// The vcpu_info of an idle CPU: nothing is ever pending there.
static NO_VCPU_INFO: [AtomicU64; 8] = [const { AtomicU64::new(0) }; 8];

/// Runs `f` on the guest frame of this CPU. For code that was not handed the frame and runs below none that uses it.
pub fn with_guest_regs<R>(f: impl FnOnce(&mut CpuUserRegs) -> R) -> R {
    // SAFETY: (1) the frame is always mapped; (2) callers are `load`, `save` and code that hands the frame on, none of
    // which runs while another reference is in use: `exit_work` holds none.
    f(unsafe { &mut (*cpu::cpu_info()).regs })
}

/// The running vcpu and its domain; `None` when idle.
///
/// The references are good until the next [`save`] on this CPU, which only `exit.rs` calls.
#[inline]
pub fn current() -> Option<(&'static Domain, &'static Vcpu)> {
    let words = info::words();
    let vcpu = words[slot::VCPU].load(Relaxed) as *const Vcpu;
    let domain = words[slot::DOMAIN].load(Relaxed) as *const Domain;
    // SAFETY: (1) `load` stored pointers into the domain that HELD keeps alive, or both are null; (2) both types are shared
    // freely.
    unsafe { domain.as_ref().zip(vcpu.as_ref()) }
}

/// Whether the running vcpu is in guest-kernel mode.
#[inline]
pub fn in_kernel() -> bool {
    word(slot::KERNEL_MODE).load(Relaxed) != 0
}

/// The pending and mask bytes at the start of the running vcpu's vcpu_info: pending low, mask high.
#[inline]
pub fn upcall_word() -> &'static AtomicU16 {
    // SAFETY: the slot always holds the address of an 8-aligned vcpu_info in the direct map, or of NO_VCPU_INFO.
    unsafe { &*(word(slot::VCPU_INFO).load(Relaxed) as *const AtomicU16) }
}

/// Whether the running vcpu has an event to take, and takes events.
#[inline]
pub fn is_upcall_due() -> bool {
    let upcall = upcall_word().load(Relaxed);
    upcall & 0xff != 0 && upcall >> 8 == 0
}

/// The byte that masks events of the running vcpu.
#[inline]
pub fn upcall_mask() -> &'static AtomicU8 {
    // SAFETY: as `upcall_word`; a byte further on.
    unsafe { &*((word(slot::VCPU_INFO).load(Relaxed) + 1) as *const AtomicU8) }
}

/// cr2 in the running vcpu's vcpu_info.
#[inline]
pub fn set_guest_cr2(vcpu: &Vcpu, address: u64) {
    vcpu.cr2.store(address, Relaxed);
    // SAFETY: as `upcall_word`; offset 0x10 is within the 64 bytes.
    unsafe {
        (*((word(slot::VCPU_INFO).load(Relaxed) + 0x10) as *const AtomicU64))
            .store(address, Relaxed)
    };
}

/// Recomputes what the entry paths use: after a change of stack, callbacks or page-table bases.
pub fn entry_changed(vcpu: &Vcpu) {
    let callback = &vcpu.callbacks.syscall;
    let rip = callback.address.load(Relaxed);
    let sp = vcpu.kernel_sp.load(Relaxed) & !0xf;
    let usable = rip != 0 && is_guest_range(sp.wrapping_sub(64), 64);
    word(slot::SYSCALL_SP).store(if usable { sp } else { 0 }, Relaxed);
    word(slot::SYSCALL_RIP).store(rip, Relaxed);
    word(slot::SYSCALL_MASKS).store(u64::from(callback.masks_events.load(Relaxed)), Relaxed);
    word(slot::KERNEL_CR3).store(Mfn(vcpu.kernel_l4.load(Relaxed)).maddr(), Relaxed);
    word(slot::USER_CR3).store(Mfn(vcpu.user_l4.load(Relaxed)).maddr(), Relaxed);
}

/// Where the entry paths find the vcpu_info of the running vcpu.
pub fn vcpu_info_moved(domain: &Domain, vcpu: &Vcpu) {
    let address = match domain.events.vcpu_info(vcpu.id) {
        Some(spot) => frames::direct_map(spot.mfn()) as u64 + spot.offset() as u64,
        None => (&raw const NO_VCPU_INFO) as u64,
    };
    word(slot::VCPU_INFO).store(address, Relaxed);
}

/// Makes an idle CPU's words those of no vcpu. Also at the start of every CPU.
pub fn set_none() {
    forget_vcpu();
    word(slot::DOMID).store(DomIds::NONE.0, SeqCst);
}

fn forget_vcpu() {
    word(slot::VCPU).store(0, Relaxed);
    word(slot::DOMAIN).store(0, Relaxed);
    word(slot::VCPU_INFO).store((&raw const NO_VCPU_INFO) as u64, Relaxed);
    word(slot::SYSCALL_SP).store(0, Relaxed);
}

/// Switches between guest-kernel and guest-user mode: address space, GS base, and the mode itself.
#[inline]
pub fn set_mode(kernel: bool) {
    if in_kernel() == kernel {
        return;
    }
    let base = word(if kernel {
        slot::KERNEL_CR3
    } else {
        slot::USER_CR3
    })
    .load(Relaxed);
    // SAFETY: (1) both bases are validated L4 tables whose hypervisor slots are ours, held by the vcpu; (2) the hypervisor
    // does not use GS.
    unsafe {
        regs::write_cr3(base);
        core::arch::asm!("swapgs", options(nomem, nostack, preserves_flags));
    }
    word(slot::KERNEL_MODE).store(u64::from(kernel), Relaxed);
}

/// Runs `f` in the guest kernel's address space, for an address that the kernel gave while user space may run.
pub fn in_kernel_space<R>(f: impl FnOnce() -> R) -> R {
    let kernel = in_kernel();
    set_mode(true);
    let result = f();
    set_mode(kernel);
    result
}

/// Loads the base of the running vcpu's present mode, and drops all translations of the old one.
pub fn load_base(vcpu: &Vcpu) {
    entry_changed(vcpu);
    flush::note();
    let base = word(if in_kernel() {
        slot::KERNEL_CR3
    } else {
        slot::USER_CR3
    })
    .load(Relaxed);
    // SAFETY: as `set_mode`. PGE goes off and on around it, because user pages are global.
    unsafe {
        let cr4 = regs::read_cr4();
        regs::write_cr4(cr4 & !cpu::cr4::PGE);
        regs::write_cr3(base);
        regs::write_cr4(cr4);
    }
}

/// CR4 for the running vcpu.
pub fn load_cr4(vcpu: &Vcpu) {
    let value = cr::real_cr4(cpu::base_cr4(), vcpu.cr4.load(Relaxed), false);
    if regs::read_cr4() != value {
        // SAFETY: only bits that policy lets a guest choose differ from the hypervisor's own value.
        unsafe { regs::write_cr4(value) };
    }
}

/// Sets or clears CR0.TS as the running vcpu wants it.
pub fn load_ts(vcpu: &Vcpu) {
    let cr0 = regs::read_cr0();
    let want = if vcpu.ts.load(Relaxed) {
        cr0 | cr::CR0_TS
    } else {
        cr0 & !cr::CR0_TS
    };
    if want != cr0 {
        // SAFETY: the hypervisor uses no FPU.
        unsafe { regs::write_cr0(want) };
    }
}

/// Pages of each CPU's GDT window that hold a guest's descriptors. Beyond them it is as it was at the start.
static GDT_PAGES: [AtomicUsize; MAX_CPUS] = [const { AtomicUsize::new(0) }; MAX_CPUS];
/// Whether any page of each CPU's LDT window is mapped.
static LDT_MAPPED: [AtomicBool; MAX_CPUS] = [const { AtomicBool::new(false) }; MAX_CPUS];

fn cpu_index() -> usize {
    this_cpu().0 as usize % MAX_CPUS
}

/// Maps the running vcpu's GDT into this CPU's window.
pub fn load_gdt(vcpu: &Vcpu) {
    let gdt = vcpu.gdt.lock();
    let pages = (gdt.entries as usize).div_ceil(512);
    let before = GDT_PAGES[cpu_index()].swap(pages, Relaxed);
    for (index, frame) in gdt.frames.iter().enumerate().take(pages.max(before)) {
        window::map_window(this_cpu(), index, (index < pages).then_some(*frame), true);
    }
}

/// Sets the running vcpu's LDT; its pages are mapped when they fault.
pub fn load_ldt(vcpu: &Vcpu) {
    let ldt = vcpu.ldt.lock();
    let is_used = ldt.entries != 0;
    if !is_used && !LDT_MAPPED[cpu_index()].load(Relaxed) {
        return;
    }
    for (index, frame) in ldt.frames.iter().enumerate() {
        window::map_window(this_cpu(), 16 + index, *frame, true);
    }
    LDT_MAPPED[cpu_index()].store(is_used, Relaxed);
    cpu::desc::set_ldt(this_cpu(), ldt.entries);
}

/// Takes the LDT of a vcpu that stops running out of this CPU's window.
fn unload_ldt() {
    if LDT_MAPPED[cpu_index()].swap(false, Relaxed) {
        for index in 0..16 {
            window::map_window(this_cpu(), 16 + index, None, false);
        }
        cpu::desc::set_ldt(this_cpu(), 0);
    }
}

/// Loads the running vcpu's debug registers.
pub fn load_debug_registers(vcpu: &Vcpu) {
    let debug = vcpu.debug.lock();
    let [a, b, c, d] = debug.addresses();
    // SAFETY: policy lets no breakpoint lie in the hypervisor's range and never sets DR7.GD.
    unsafe {
        core::arch::asm!("mov dr7, {zero}", "mov dr0, {a}", "mov dr1, {b}", "mov dr2, {c}", "mov dr3, {d}", "mov dr7, {seven}",
            zero = in(reg) 0u64, a = in(reg) a, b = in(reg) b, c = in(reg) c, d = in(reg) d,
            seven = in(reg) debug.dr7(), options(nomem, nostack, preserves_flags));
    }
}

/// Turns all breakpoints off.
fn clear_debug_registers() {
    // SAFETY: no breakpoint is armed afterwards.
    unsafe {
        core::arch::asm!("mov dr7, {}", in(reg) 0x400u64, options(nomem, nostack, preserves_flags))
    };
}

/// Base of the inactive GS: user space's while the guest kernel runs.
#[inline]
pub fn inactive_gs_base() -> u64 {
    // SAFETY: every 64-bit CPU has it.
    unsafe { regs::rdmsr(msr::KERNEL_GS_BASE) }
}

/// Reads FS_BASE or GS_BASE (`msr`).
#[inline]
pub fn read_base(msr: u32) -> u64 {
    // SAFETY: callers pass one of the three segment-base MSRs.
    unsafe { regs::rdmsr(msr) }
}

/// Writes a segment-base MSR; `base` is canonical.
#[inline]
pub fn write_base(msr: u32, base: u64) {
    // SAFETY: callers pass one of the three segment-base MSRs, and a canonical base; the hypervisor uses neither segment.
    unsafe { regs::wrmsr(msr, base) };
}

/// Loads a selector into user space's GS, which is inactive while the guest kernel runs; a bad one becomes null.
pub fn set_gs_user_selector(selector: u16) {
    // SAFETY: the hypervisor does not use GS. In between, user space's base is the active one, so that a null selector,
    // which leaves the base alone on some CPUs, leaves the right one alone.
    unsafe { core::arch::asm!("swapgs", options(nomem, nostack, preserves_flags)) };
    entry::load_gs_selector(selector);
    // SAFETY: as above, and back.
    unsafe { core::arch::asm!("swapgs", options(nomem, nostack, preserves_flags)) };
}

/// What a saved vcpu leaves on its CPU: its address space, until another is loaded.
#[must_use = "the CPU still has the vcpu's page tables"]
pub struct Leftover {
    domain: Arc<Domain>,
    vcpu: VcpuId,
}

impl Leftover {
    /// Loads the hypervisor's own page tables: the CPU idles.
    pub fn clear(self) {
        // SAFETY: the idle tables map the hypervisor as every table does.
        unsafe {
            regs::write_cr4(cpu::base_cr4());
            regs::write_cr3(tables::idle_l4());
        }
        flush::note();
        regs::flush_tlb_global();
        self.forget(DomIds::NONE);
    }

    /// This CPU knows nothing of the vcpu's address space any more: only now may others take it so.
    fn forget(self, now: DomIds) {
        word(slot::DOMID).store(now.0, SeqCst);
        if let Some(vcpu) = self.domain.vcpu(self.vcpu) {
            vcpu.on_cpu.store(u32::MAX, SeqCst);
        }
        // The domain may go with this reference.
    }
}

/// A CPU's DOMID word: the domains of which it may know translations. The low half names the one that it runs, the high
/// half, during a switch, the one that it leaves; all ones is none.
#[derive(Clone, Copy)]
struct DomIds(u64);

impl DomIds {
    const NONE: Self = DomIds(u64::MAX);

    fn running(domain: &Domain) -> Self {
        DomIds(u64::from(domain.id.0) | u64::from(u32::MAX) << 32)
    }

    fn leaving(self, domain: &Domain) -> Self {
        DomIds(self.0 & u64::from(u32::MAX) | u64::from(domain.id.0) << 32)
    }
}

/// Whether `cpu` may know translations of `domain`.
#[inline]
pub fn may_know(cpu: CpuId, domain: DomId) -> bool {
    let ids = info::word_of(cpu.0 as usize, slot::DOMID).load(SeqCst);
    ids as u32 == u32::from(domain.0) || (ids >> 32) as u32 == u32::from(domain.0)
}

/// Makes `vcpu` of `domain` the one this CPU runs, after what was saved there, if anything was. Whether all its selectors
/// could be loaded.
pub fn load(domain: Arc<Domain>, vcpu: &Vcpu, before: Option<Leftover>) -> bool {
    let cpu = this_cpu();
    word(slot::VCPU).store(core::ptr::from_ref(vcpu) as u64, Relaxed);
    word(slot::DOMAIN).store(Arc::as_ptr(&domain) as u64, Relaxed);
    let ids = DomIds::running(&domain);
    let both = before
        .as_ref()
        .map_or(ids, |left| ids.leaving(&left.domain));
    word(slot::DOMID).store(both.0, SeqCst);
    vcpu.on_cpu.store(cpu.0, SeqCst);
    let mut saved = vcpu.saved.lock();
    let saved = &mut *saved;
    with_guest_regs(|regs| *regs = saved.regs);
    word(slot::KERNEL_MODE).store(u64::from(saved.in_kernel), Relaxed);
    vcpu_info_moved(&domain, vcpu);
    load_cr4(vcpu);
    load_base(vcpu);
    if let Some(left) = before {
        left.forget(ids);
    }
    load_gdt(vcpu);
    load_ldt(vcpu);
    let good = entry::load_segments(saved.regs.ds, saved.regs.es, saved.regs.fs, saved.regs.gs);
    let (active, inactive) = if saved.in_kernel {
        (saved.gs_base_kernel, saved.gs_base_user)
    } else {
        (saved.gs_base_user, saved.gs_base_kernel)
    };
    write_base(msr::FS_BASE, saved.fs_base);
    write_base(msr::GS_BASE, active);
    write_base(msr::KERNEL_GS_BASE, inactive);
    if features().xsave {
        // SAFETY: policy let only supported bits into the guest's XCR0.
        unsafe { regs::write_xcr0(cpu::base_xcr0()) };
    }
    if !entry::load_fpu(&saved.fpu, features().xsave, cpu::base_xcr0()) {
        *saved.fpu = rexen_core::domain::FpuArea::new();
        entry::load_fpu(&saved.fpu, features().xsave, cpu::base_xcr0());
    }
    if features().xsave && vcpu.xcr0.load(Relaxed) != cpu::base_xcr0() {
        // SAFETY: as above.
        unsafe { regs::write_xcr0(vcpu.xcr0.load(Relaxed)) };
    }
    load_ts(vcpu);
    if vcpu.debug_active.load(Relaxed) {
        load_debug_registers(vcpu);
    }
    *HELD[cpu_index()].lock() = Some(domain);
    good
}

/// Takes the running vcpu off this CPU, all but its address space.
pub fn save() -> Option<Leftover> {
    let (_, vcpu) = current()?;
    let mut saved = vcpu.saved.lock();
    let saved = &mut *saved;
    saved.regs = with_guest_regs(|regs| *regs);
    let [ds, es, fs, gs] = entry::read_segments();
    (saved.regs.ds, saved.regs.es, saved.regs.fs, saved.regs.gs) = (ds, es, fs, gs);
    saved.in_kernel = in_kernel();
    saved.fs_base = read_base(msr::FS_BASE);
    let (active, inactive) = (read_base(msr::GS_BASE), inactive_gs_base());
    (saved.gs_base_kernel, saved.gs_base_user) = if saved.in_kernel {
        (active, inactive)
    } else {
        (inactive, active)
    };
    let cr0 = regs::read_cr0();
    if cr0 & cr::CR0_TS != 0 {
        // SAFETY: the hypervisor uses no FPU; clear for the save.
        unsafe { regs::write_cr0(cr0 & !cr::CR0_TS) };
    }
    if features().xsave {
        // SAFETY: the hypervisor's own value: save everything, whatever the guest has enabled.
        unsafe { regs::write_xcr0(cpu::base_xcr0()) };
    }
    entry::save_fpu(&mut saved.fpu, features().xsave);
    if vcpu.debug_active.load(Relaxed) {
        clear_debug_registers();
    }
    forget_vcpu();
    unload_ldt();
    let domain = HELD[cpu_index()].lock().take()?;
    Some(Leftover {
        domain,
        vcpu: vcpu.id,
    })
}

/// Where in the LDT window `address` lies, if it does: the page's index.
pub fn ldt_page_of(address: u64) -> Option<usize> {
    let start = layout::window(info::this_cpu().0 as usize) + 16 * 4096;
    let offset = address.checked_sub(start)?;
    (offset < 16 * 4096).then_some((offset / 4096) as usize)
}
