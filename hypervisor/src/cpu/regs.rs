//! Single instructions: ports, control registers, model-specific registers, CPUID, TLB.
//!
//! Each wrapper is one instruction. Those that cannot harm memory safety are safe functions; the rest say what the
//! caller must see to.

// UNSAFETY: every function here is one privileged instruction.
#![expect(unsafe_code)]

use core::arch::asm;

/// Reads a byte from an I/O port.
#[inline]
pub fn inb(port: u16) -> u8 {
    let value;
    // SAFETY: port reads do not touch memory that Rust owns; devices that the hypervisor drives do no DMA on a read.
    unsafe {
        asm!("in al, dx", in("dx") port, out("al") value, options(nomem, nostack, preserves_flags))
    };
    value
}

/// Reads a word from an I/O port.
#[inline]
pub fn inw(port: u16) -> u16 {
    let value;
    // SAFETY: as `inb`.
    unsafe {
        asm!("in ax, dx", in("dx") port, out("ax") value, options(nomem, nostack, preserves_flags))
    };
    value
}

/// Reads a double word from an I/O port.
#[inline]
pub fn inl(port: u16) -> u32 {
    let value;
    // SAFETY: as `inb`.
    unsafe {
        asm!("in eax, dx", in("dx") port, out("eax") value, options(nomem, nostack, preserves_flags))
    };
    value
}

/// Writes a byte to an I/O port.
#[inline]
pub fn outb(port: u16, value: u8) {
    // SAFETY: the hypervisor itself starts no DMA through ports; what domain 0 may write is decided by its permissions.
    unsafe {
        asm!("out dx, al", in("dx") port, in("al") value, options(nomem, nostack, preserves_flags))
    };
}

/// Writes a word to an I/O port.
#[inline]
pub fn outw(port: u16, value: u16) {
    // SAFETY: as `outb`.
    unsafe {
        asm!("out dx, ax", in("dx") port, in("ax") value, options(nomem, nostack, preserves_flags))
    };
}

/// Writes a double word to an I/O port.
#[inline]
pub fn outl(port: u16, value: u32) {
    // SAFETY: as `outb`.
    unsafe {
        asm!("out dx, eax", in("dx") port, in("eax") value, options(nomem, nostack, preserves_flags))
    };
}

/// Masks interrupts and halts until something that cannot be masked happens.
pub fn cli_hlt() {
    // SAFETY: touches no memory.
    unsafe { asm!("cli", "hlt", options(nomem, nostack)) };
}

macro_rules! control_register {
    ($read:ident, $write:ident, $name:literal) => {
        #[doc = concat!("Reads ", $name, ".")]
        #[inline]
        pub fn $read() -> u64 {
            let value;
            // SAFETY: reading a control register has no effect.
            unsafe { asm!(concat!("mov {}, ", $name), out(reg) value, options(nomem, nostack, preserves_flags)) };
            value
        }
        #[doc = concat!("Writes ", $name, ".")]
        ///
        /// # Safety
        /// The CPU must go on working as Rust expects: the same code, stack and data stay mapped.
        #[inline]
        pub unsafe fn $write(value: u64) {
            // SAFETY: the caller's promise.
            unsafe { asm!(concat!("mov ", $name, ", {}"), in(reg) value, options(nostack, preserves_flags)) };
        }
    };
}
control_register!(read_cr0, write_cr0, "cr0");
control_register!(read_cr3, write_cr3, "cr3");
control_register!(read_cr4, write_cr4, "cr4");

/// Reads the address of the latest page fault.
#[inline]
pub fn read_cr2() -> u64 {
    let value;
    // SAFETY: reading CR2 has no effect.
    unsafe { asm!("mov {}, cr2", out(reg) value, options(nomem, nostack, preserves_flags)) };
    value
}

/// Writes extended control register 0.
///
/// # Safety
/// CR4.OSXSAVE is set, and the value is one that this CPU supports (else #GP).
#[inline]
pub unsafe fn write_xcr0(value: u64) {
    // SAFETY: the caller's promise.
    unsafe {
        asm!("xsetbv", in("ecx") 0, in("eax") value as u32, in("edx") (value >> 32) as u32, options(nostack, preserves_flags));
    }
}

/// Forgets what the TLB of this CPU knows about one page, global or not.
#[inline]
pub fn invlpg(va: u64) {
    // SAFETY: forgetting translations is always sound.
    unsafe { asm!("invlpg [{}]", in(reg) va, options(nostack, preserves_flags)) };
}

/// Forgets every translation of this CPU but global ones.
#[inline]
pub fn flush_tlb() {
    // SAFETY: loads the value that is there already.
    unsafe { write_cr3(read_cr3()) };
}

/// Forgets every translation of this CPU, global ones too.
pub fn flush_tlb_global() {
    let cr4 = read_cr4();
    // SAFETY: clearing and restoring PGE changes nothing but the TLB.
    unsafe {
        write_cr4(cr4 & !(1 << 7));
        write_cr4(cr4);
    }
}

/// Reads a model-specific register.
///
/// # Safety
/// The CPU has it (else #GP).
#[inline]
pub unsafe fn rdmsr(msr: u32) -> u64 {
    let (low, high): (u32, u32);
    // SAFETY: the caller's promise.
    unsafe {
        asm!("rdmsr", in("ecx") msr, out("eax") low, out("edx") high, options(nomem, nostack, preserves_flags))
    };
    u64::from(high) << 32 | u64::from(low)
}

/// Writes a model-specific register.
///
/// # Safety
/// The CPU has it, takes the value (else #GP), and goes on working as Rust expects.
#[inline]
pub unsafe fn wrmsr(msr: u32, value: u64) {
    // SAFETY: the caller's promise.
    unsafe {
        asm!("wrmsr", in("ecx") msr, in("eax") value as u32, in("edx") (value >> 32) as u32, options(nostack, preserves_flags));
    }
}

/// Reads a model-specific register, or gives `None` where that faults.
pub fn rdmsr_safe(msr: u32) -> Option<u64> {
    let (low, high, ok): (u32, u32, u32);
    // SAFETY: a #GP goes on at the fixup, where `ok` is still 0. Reading has no effect that Rust could see.
    unsafe {
        asm!(
            "xor {ok:e}, {ok:e}",
            "2: rdmsr",
            "inc {ok:e}",
            "3:",
            ".pushsection .ex_table, \"a\"",
            ".balign 8",
            ".quad 2b, 3b",
            ".popsection",
            ok = out(reg) ok, in("ecx") msr, out("eax") low, out("edx") high, options(nomem, nostack)
        );
    }
    (ok != 0).then_some(u64::from(high) << 32 | u64::from(low))
}

/// What CPUID answers.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cpuid {
    /// eax
    pub eax: u32,
    /// ebx
    pub ebx: u32,
    /// ecx
    pub ecx: u32,
    /// edx
    pub edx: u32,
}

/// Executes CPUID.
#[inline]
pub fn cpuid(leaf: u32, subleaf: u32) -> Cpuid {
    let (eax, ebx, ecx, edx): (u32, u64, u32, u32);
    // SAFETY: CPUID only writes the four registers; rbx, which the compiler keeps for itself, is put back.
    unsafe {
        asm!(
            "mov {b}, rbx", "cpuid", "xchg {b}, rbx",
            b = out(reg) ebx, inout("eax") leaf => eax, inout("ecx") subleaf => ecx, out("edx") edx,
            options(nomem, nostack, preserves_flags)
        );
    }
    Cpuid {
        eax,
        ebx: ebx as u32,
        ecx,
        edx,
    }
}

/// Reads the time-stamp counter, not before earlier loads are done.
#[inline]
pub fn rdtsc() -> u64 {
    let (low, high): (u32, u32);
    // SAFETY: only reads a counter.
    unsafe {
        asm!("lfence", "rdtsc", out("eax") low, out("edx") high, options(nostack, preserves_flags))
    };
    u64::from(high) << 32 | u64::from(low)
}

/// Lets interrupts in, once: waits for one and masks again.
#[inline]
pub fn sti_hlt_cli() {
    // SAFETY: the interrupt handlers keep Rust's rules; memory may change meanwhile, so no `nomem`.
    unsafe { asm!("sti", "hlt", "cli") };
}

/// Lets pending interrupts in and masks again.
#[inline]
pub fn sti_nop_cli() {
    // SAFETY: as `sti_hlt_cli`.
    unsafe { asm!("sti", "nop", "cli") };
}
