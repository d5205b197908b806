//! The processor: its registers, descriptor tables and features.

// UNSAFETY: programs control registers and model-specific registers.
#![expect(unsafe_code)]

pub mod desc;
pub mod early_traps;
pub mod extable;
pub mod features;
pub mod info;
pub mod regs;

pub use features::features;
pub use info::{cpu_info, this_cpu};

/// Model-specific registers that the hypervisor uses.
pub mod msr {
    /// Local APIC base and mode.
    pub const APIC_BASE: u32 = 0x1b;
    /// When the local APIC timer fires.
    pub const TSC_DEADLINE: u32 = 0x6e0;
    /// SYSENTER code segment.
    pub const SYSENTER_CS: u32 = 0x174;
    /// SYSENTER stack.
    pub const SYSENTER_ESP: u32 = 0x175;
    /// SYSENTER entry.
    pub const SYSENTER_EIP: u32 = 0x176;
    /// Page attribute table.
    pub const PAT: u32 = 0x277;
    /// Extended features: SYSCALL, long mode, NX.
    pub const EFER: u32 = 0xc000_0080;
    /// SYSCALL segments.
    pub const STAR: u32 = 0xc000_0081;
    /// SYSCALL entry from 64-bit code.
    pub const LSTAR: u32 = 0xc000_0082;
    /// SYSCALL entry from 32-bit code.
    pub const CSTAR: u32 = 0xc000_0083;
    /// Flags that SYSCALL clears.
    pub const SFMASK: u32 = 0xc000_0084;
    /// FS base.
    pub const FS_BASE: u32 = 0xc000_0100;
    /// GS base.
    pub const GS_BASE: u32 = 0xc000_0101;
    /// The GS base that SWAPGS brings.
    pub const KERNEL_GS_BASE: u32 = 0xc000_0102;
}

/// CR4 bits.
pub mod cr4 {
    /// Debugging extensions.
    pub const DE: u64 = 1 << 3;
    /// 64-bit page tables.
    pub const PAE: u64 = 1 << 5;
    /// Machine checks.
    pub const MCE: u64 = 1 << 6;
    /// Global pages.
    pub const PGE: u64 = 1 << 7;
    /// FXSAVE.
    pub const OSFXSR: u64 = 1 << 9;
    /// SIMD exceptions.
    pub const OSXMMEXCPT: u64 = 1 << 10;
    /// XSAVE.
    pub const OSXSAVE: u64 = 1 << 18;
    /// Supervisor-mode execution prevention.
    pub const SMEP: u64 = 1 << 20;
}

/// CR0: paging, alignment checks in ring 3, write protection, native x87 errors, MP, protected mode.
const CR0: u64 = 1 << 31 | 1 << 18 | 1 << 16 | 1 << 5 | 1 << 4 | 1 << 1 | 1;
/// Types WB, WT, UC-, UC, WC, WP, UC, UC: what Xen's ABI promises guests.
const PAT: u64 = 0x0000_0501_0007_0406;
/// NX, long mode active and enabled, SYSCALL.
const EFER: u64 = 1 << 11 | 1 << 10 | 1 << 8 | 1;
/// AC, VM, RF, NT, DF, IF, TF.
const SYSCALL_CLEARS: u64 = 0x4_0000 | 0x2_0000 | 0x1_0000 | 0x4000 | 0x400 | 0x200 | 0x100;

/// The CR4 that the hypervisor runs with; a guest adds FSGSBASE when it asked for it.
pub fn base_cr4() -> u64 {
    let f = features();
    let mut value = cr4::DE | cr4::PAE | cr4::MCE | cr4::PGE | cr4::OSFXSR | cr4::OSXMMEXCPT;
    if f.xsave {
        value |= cr4::OSXSAVE;
    }
    if f.smep {
        value |= cr4::SMEP;
    }
    value
}

/// XCR0 as the hypervisor sets it: x87, SSE, AVX and AVX-512 as far as the CPU has them.
pub fn base_xcr0() -> u64 {
    let have = features().xcr0 & 0xe7;
    // AVX-512 is all of its three bits with AVX, or none.
    if have & 0xe4 == 0xe4 { have } else { have & 7 }
}

/// Sets up the current CPU, number `cpu`, whose area exists: descriptor tables, control registers, PAT.
pub fn init_this(cpu: usize) {
    desc::load(cpu);
    // SAFETY: (1) long mode, paging and the code's own mapping stay as they are; (2) only features that CPUID shows are
    // switched on; (3) every 64-bit CPU has PAT and EFER.
    unsafe {
        regs::write_cr0(CR0);
        regs::write_cr4(base_cr4());
        regs::wrmsr(msr::PAT, PAT);
        regs::wrmsr(msr::EFER, EFER);
        if features().xsave {
            regs::write_xcr0(base_xcr0());
        }
    }
    regs::flush_tlb_global();
}

/// Programs where SYSCALL enters the hypervisor on the current CPU, from 64-bit and from 32-bit code.
///
/// # Safety
/// Both are entry code that can run on the guest's stack pointer.
pub unsafe fn set_syscall_msrs(lstar: u64, cstar: u64) {
    let star = u64::from(desc::USER_CS32) << 48 | u64::from(desc::HV_CS) << 32;
    // SAFETY: every 64-bit CPU has these registers; the addresses are the caller's promise.
    unsafe {
        regs::wrmsr(msr::STAR, star);
        regs::wrmsr(msr::LSTAR, lstar);
        regs::wrmsr(msr::CSTAR, cstar);
        regs::wrmsr(msr::SFMASK, SYSCALL_CLEARS);
    }
}

/// Programs where SYSENTER enters the hypervisor on the current CPU, and with which stack pointer.
///
/// # Safety
/// `eip` is entry code, `esp` the end of a stack that it may use.
pub unsafe fn set_sysenter_msrs(eip: u64, esp: u64) {
    // SAFETY: every 64-bit CPU has these registers; the values are the caller's promise.
    unsafe {
        regs::wrmsr(msr::SYSENTER_CS, u64::from(desc::HV_CS));
        regs::wrmsr(msr::SYSENTER_ESP, esp);
        regs::wrmsr(msr::SYSENTER_EIP, eip);
    }
}

/// Stops this CPU for good.
pub fn halt_forever() -> ! {
    loop {
        regs::cli_hlt();
    }
}
