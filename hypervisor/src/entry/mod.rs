//! The ways into the hypervisor and out of it: `entry.s`, and the words that it shares with Rust.
//!
//! What the fast paths of `entry.s` need of the running vcpu lies ready in its CPU's [`CpuInfo`], in the [`slot`]s;
//! `guest/current.rs` keeps them right. Rust code is entered at `guest/traps.rs` and `guest/hypercall.rs`.

// UNSAFETY: assembly, and the functions that it defines.
#![expect(unsafe_code)]

use core::arch::global_asm;

use rexen_abi::arch_x86::CpuUserRegs;
use rexen_abi::xen::__HYPERVISOR_xen_version;
use rexen_core::hypercall::handlers::xen_version::VERSION;
use rexen_core::units::CpuId;

use crate::cpu::info::{CPU_INFO_BYTES, CpuInfo, FRAME_END};
use crate::guest::{hypercall, traps};
use crate::mm::{layout, percpu};

/// Words in [`CpuInfo::hv`] that belong to the entry code.
pub mod slot {
    use crate::cpu::info::slot::FIRST_ENTRY as FIRST;
    /// The guest's rsp, while the stub has no stack yet.
    pub const SCRATCH_RSP: usize = FIRST;
    /// A register while a fast path needs one.
    pub const SAVE0: usize = FIRST + 1;
    /// Another.
    pub const SAVE1: usize = FIRST + 2;
    /// 1 while the running vcpu is in guest-kernel mode, 0 in guest-user mode.
    pub const KERNEL_MODE: usize = FIRST + 3;
    /// CR3 for guest-kernel mode.
    pub const KERNEL_CR3: usize = FIRST + 4;
    /// CR3 for guest-user mode; 0 for none.
    pub const USER_CR3: usize = FIRST + 5;
    /// Where the hypervisor sees the running vcpu's vcpu_info.
    pub const VCPU_INFO: usize = FIRST + 6;
    /// Where the frame of the syscall callback goes; 0 for the long way.
    pub const SYSCALL_SP: usize = FIRST + 7;
    /// The syscall callback.
    pub const SYSCALL_RIP: usize = FIRST + 8;
    /// 1 if the syscall callback masks events.
    pub const SYSCALL_MASKS: usize = FIRST + 9;
    /// What is to be done before the next return to a guest (`guest/exit.rs`); 0 for nothing.
    pub const PENDING: usize = FIRST + 10;
    /// The running vcpu, a pointer; 0 when idle.
    pub const VCPU: usize = FIRST + 11;
    /// Its domain, a pointer.
    pub const DOMAIN: usize = FIRST + 12;
    /// Its domain's number; `u64::MAX` when idle.
    pub const DOMID: usize = FIRST + 13;
}

/// rflags that a bounce keeps: all but AC, VM, RF, NT, TF, IOPL and DF.
const BOUNCE_FLAGS: u32 = !(0x4_0000 | 0x2_0000 | 0x1_0000 | 0x4000 | 0x100 | 0x3000);
/// rflags that a guest may return with: arithmetic flags, TF, IF, DF, NT, AC, ID.
const USER_FLAGS: u32 = 0x0024_4fd5;

const HV: u64 = core::mem::offset_of!(CpuInfo, hv) as u64;
const fn from_top(slot: usize) -> u64 {
    HV + slot as u64 * 8 - FRAME_END
}
const fn from_frame(slot: usize) -> u64 {
    HV + slot as u64 * 8
}

/// From the end of an instruction at `end` in a stub page to an address in the same CPU's stack block.
const fn stub_to(from_top_of_frame: u64, end: u64) -> u64 {
    let top = layout::PERCPU_STACKS + layout::STACK_BLOCK_BYTES - CPU_INFO_BYTES + FRAME_END;
    top + from_top_of_frame - layout::PERCPU_STUBS - end
}

/// Offset of the 32-bit stub in its page.
const STUB32: usize = 0x40;
/// Bytes of the stubs' first two instructions.
const STUB_STORE: u64 = 7;
const STUB_STACK: u64 = 14;

global_asm!(
    include_str!("entry.s"),
    STUB_TO_SCRATCH = const stub_to(from_top(slot::SCRATCH_RSP), STUB_STORE),
    STUB_TO_TOP = const stub_to(0, STUB_STACK),
    STUB32_TO_SCRATCH = const stub_to(from_top(slot::SCRATCH_RSP), STUB_STORE + STUB32 as u64),
    STUB32_TO_TOP = const stub_to(0, STUB_STACK + STUB32 as u64),
    T_SCRATCH_RSP = const from_top(slot::SCRATCH_RSP),
    T_SAVE0 = const from_top(slot::SAVE0),
    T_SAVE1 = const from_top(slot::SAVE1),
    T_KERNEL_MODE = const from_top(slot::KERNEL_MODE),
    T_KERNEL_CR3 = const from_top(slot::KERNEL_CR3),
    T_USER_CR3 = const from_top(slot::USER_CR3),
    T_VCPU_INFO = const from_top(slot::VCPU_INFO),
    T_SYSCALL_SP = const from_top(slot::SYSCALL_SP),
    T_SYSCALL_RIP = const from_top(slot::SYSCALL_RIP),
    T_SYSCALL_MASKS = const from_top(slot::SYSCALL_MASKS),
    T_PENDING = const from_top(slot::PENDING),
    R_PENDING = const from_frame(slot::PENDING),
    R_VCPU_INFO = const from_frame(slot::VCPU_INFO),
    R_RIP = const core::mem::offset_of!(CpuUserRegs, rip),
    R_CS = const core::mem::offset_of!(CpuUserRegs, cs),
    CPU_INFO_SIZE = const CPU_INFO_BYTES,
    XEN_VERSION_CALL = const __HYPERVISOR_xen_version,
    XEN_VERSION = const VERSION,
    BOUNCE_FLAGS = const BOUNCE_FLAGS,
    USER_FLAGS = const USER_FLAGS,
    hypercall = sym hypercall::hypercall_entry,
    iret = sym hypercall::iret_entry,
    user_syscall = sym traps::user_syscall,
    user_syscall32 = sym traps::user_syscall32,
    user_sysenter = sym traps::user_sysenter,
    exit_work = sym crate::guest::exit::exit_work,
    guest_trap = sym traps::guest_trap,
    guest_page_fault = sym traps::guest_page_fault,
    hypervisor_trap = sym traps::hypervisor_trap,
    ist_trap = sym traps::ist_trap,
);

unsafe extern "C" {
    static syscall_stub_start: u8;
    static syscall_stub_end: u8;
    static syscall32_stub_start: u8;
    static syscall32_stub_end: u8;
    static idt_stub_table: [u64; 256];
    fn exit_iret();
    fn exit_to_guest();
    fn sysenter_entry();
    fn copy_guest(to: *mut u8, from: *const u8, count: usize) -> usize;
    fn copy_guest_16(to: *mut u8, from: *const u8) -> u64;
    fn copy_guest_8(to: *mut u8, from: *const u8) -> u64;
    fn copy_guest_4(to: *mut u8, from: *const u8) -> u64;
    fn copy_guest_words(to: *mut u64, count: usize, from: *const u64) -> u64;
    fn load_ds(selector: u64) -> u64;
    fn load_es(selector: u64) -> u64;
    fn load_fs(selector: u64) -> u64;
    fn load_gs(selector: u64) -> u64;
    fn restore_xsave(area: *const u8, mask: u64) -> u64;
    fn restore_fxsave(area: *const u8) -> u64;
}

/// Routes every vector to `entry.s`. Once, before guests run.
pub fn install_gates() {
    // SAFETY: constant data of the image.
    crate::cpu::desc::set_gates(unsafe { &idt_stub_table });
}

/// Makes SYSCALL and SYSENTER of the current CPU, number `cpu`, enter here.
pub fn install_this(cpu: CpuId) {
    let code = |start: *const u8, end: *const u8| {
        // SAFETY: both symbols are in the image's text, in this order.
        unsafe { core::slice::from_raw_parts(start, end.offset_from(start) as usize) }
    };
    // SAFETY: (1) the stubs find their CPU's own words, whose places are constants; (2) the addresses are the stubs'.
    unsafe {
        let long = percpu::install_stub(
            cpu,
            0,
            code(&raw const syscall_stub_start, &raw const syscall_stub_end),
        );
        let compat = percpu::install_stub(
            cpu,
            STUB32,
            code(
                &raw const syscall32_stub_start,
                &raw const syscall32_stub_end,
            ),
        );
        crate::cpu::set_syscall_msrs(long, compat);
        let top = layout::stack_end(cpu.0 as usize) - CPU_INFO_BYTES + FRAME_END;
        crate::cpu::set_sysenter_msrs(sysenter_entry as *const () as u64, top);
    }
}

/// Whether `rip` is the IRET by which guests are returned to: then a fault there is the guest's.
pub fn is_exit_iret(rip: u64) -> bool {
    rip == exit_iret as *const () as u64
}

/// Leaves the hypervisor for the vcpu that was made current, for the first time on this CPU.
pub fn enter_guest() -> ! {
    let regs = crate::cpu::cpu_info();
    // SAFETY: (1) CpuInfo starts with the frame that `exit_to_guest` expects at rsp; (2) nothing on the stack is needed
    // any more.
    unsafe {
        core::arch::asm!("mov rsp, {}", "jmp {}", in(reg) regs, sym exit_to_guest, options(noreturn));
    }
}

/// Whether `len` bytes from `gva` on keep out of the hypervisor's range.
#[inline(always)]
pub fn is_guest_range(gva: u64, len: u64) -> bool {
    // Below the hole: addresses between the canonical halves fault by themselves. Above it: must not wrap.
    let end = gva.wrapping_add(len);
    (end <= layout::M2P && end >= gva) || (gva >= layout::END && (end >= gva || end == 0))
}

/// Copies from guest address `gva` of the loaded address space; false on a fault or an address not the guest's.
#[inline]
pub fn copy_from_guest(gva: u64, into: &mut [u8]) -> bool {
    if !is_guest_range(gva, into.len() as u64) {
        return false;
    }
    // SAFETY: (1) the source is the guest's, or faults, which .ex_table expects; (2) the destination is ours.
    unsafe {
        match into.len() {
            4 => copy_guest_4(into.as_mut_ptr(), gva as *const u8) == 0,
            8 => copy_guest_8(into.as_mut_ptr(), gva as *const u8) == 0,
            16 => copy_guest_16(into.as_mut_ptr(), gva as *const u8) == 0,
            n => copy_guest(into.as_mut_ptr(), gva as *const u8, n) == 0,
        }
    }
}

/// Copies to guest address `gva` of the loaded address space; false on a fault or an address not the guest's.
#[inline]
pub fn copy_to_guest(gva: u64, from: &[u8]) -> bool {
    if !is_guest_range(gva, from.len() as u64) {
        return false;
    }
    // SAFETY: (1) the destination is the guest's, mapped writable for it, or faults, which .ex_table expects (CR0.WP is
    // set); (2) no Rust object of ours lives in a guest's range; (3) the source is ours.
    unsafe {
        match from.len() {
            4 => copy_guest_4(gva as *mut u8, from.as_ptr()) == 0,
            8 => copy_guest_8(gva as *mut u8, from.as_ptr()) == 0,
            16 => copy_guest_16(gva as *mut u8, from.as_ptr()) == 0,
            n => copy_guest(gva as *mut u8, from.as_ptr(), n) == 0,
        }
    }
}

/// Writes a frame of words to guest address `gva`; false on a fault or an address not the guest's.
#[inline]
pub fn push_to_guest(gva: u64, words: &[u64]) -> bool {
    if !is_guest_range(gva, words.len() as u64 * 8) || words.is_empty() {
        return false;
    }
    // SAFETY: as `copy_to_guest`.
    unsafe { copy_guest_words(gva as *mut u64, words.len(), words.as_ptr()) == 0 }
}

/// Loads the data segment registers; a selector that the GDT does not have becomes null. Whether all were good.
pub fn load_segments(ds: u16, es: u16, fs: u16, gs: u16) -> bool {
    // SAFETY: the hypervisor uses none of these segments; a bad selector faults, which .ex_table expects.
    unsafe {
        load_ds(u64::from(ds))
            | load_es(u64::from(es))
            | load_fs(u64::from(fs))
            | load_gs(u64::from(gs))
            == 0
    }
}

/// Loads gs alone.
pub fn load_gs_selector(gs: u16) -> bool {
    // SAFETY: as `load_segments`.
    unsafe { load_gs(u64::from(gs)) == 0 }
}

/// Loads the FPU state of `area`; false if the CPU refused the image.
pub fn load_fpu(area: &rexen_core::domain::FpuArea, xsave: bool, mask: u64) -> bool {
    // SAFETY: (1) the area is large enough and aligned by its type; (2) the hypervisor has no FPU state of its own.
    unsafe {
        if xsave {
            restore_xsave(area.0.as_ptr(), mask) == 0
        } else {
            restore_fxsave(area.0.as_ptr()) == 0
        }
    }
}

/// Saves the FPU state to `area`.
pub fn save_fpu(area: &mut rexen_core::domain::FpuArea, xsave: bool) {
    let to = area.0.as_mut_ptr();
    // SAFETY: (1) the area is large enough for every state in XCR0 and aligned by its type; (2) CR0.TS is clear.
    unsafe {
        if xsave {
            core::arch::asm!("xsave64 [{}]", in(reg) to, in("eax") u32::MAX, in("edx") u32::MAX, options(nostack));
        } else {
            core::arch::asm!("fxsave64 [{}]", in(reg) to, options(nostack));
        }
    }
}

/// Reads the data segment selectors: ds, es, fs, gs.
pub fn read_segments() -> [u16; 4] {
    let (ds, es, fs, gs): (u32, u32, u32, u32);
    // SAFETY: reads registers.
    unsafe {
        core::arch::asm!("mov {:e}, ds", "mov {:e}, es", "mov {:e}, fs", "mov {:e}, gs",
            out(reg) ds, out(reg) es, out(reg) fs, out(reg) gs, options(nomem, nostack, preserves_flags));
    }
    [ds as u16, es as u16, fs as u16, gs as u16]
}
