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
