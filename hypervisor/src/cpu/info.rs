//! What a CPU keeps at the end of its stack block: the guest's registers, and words of its own.
//!
//! The block is aligned to its size, so any stack pointer inside it, on any of its stacks, leads here by masking: no
//! segment register is needed, and entering from a guest touches no other memory.

// UNSAFETY: finds the structure from the stack pointer.
#![expect(unsafe_code)]

use core::arch::asm;
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

use rexen_abi::arch_x86::CpuUserRegs;
use rexen_core::units::CpuId;

use crate::mm::layout;

/// Indices into [`CpuInfo::hv`]. The entry code's own slots start at [`slot::FIRST_ENTRY`].
pub mod slot {
    /// This CPU's number.
    pub const CPU_ID: usize = 0;
    /// The local APIC's id of this CPU.
    pub const APIC_ID: usize = 1;
    /// The first slot that the entry code may use as it likes.
    pub const FIRST_ENTRY: usize = 2;
    /// How many slots there are.
    pub const COUNT: usize = 32;
}

/// The last bytes of a CPU's stack block.
#[repr(C)]
pub struct CpuInfo {
    /// The guest's registers, while the hypervisor runs on its behalf. The CPU pushes into this frame: its end (the field
    /// `es`) is the TSS's `rsp0` and therefore 16-byte aligned.
    pub regs: CpuUserRegs,
    /// Words of the hypervisor, named in [`slot`]. Only this CPU writes them.
    pub hv: [AtomicU64; slot::COUNT],
}

/// Bytes of [`CpuInfo`].
pub const CPU_INFO_BYTES: u64 = size_of::<CpuInfo>() as u64;
/// Where in [`CpuInfo`] the CPU starts to push on an entry from a guest.
pub const FRAME_END: u64 = core::mem::offset_of!(CpuInfo, regs.es) as u64;

const _: () = assert!(FRAME_END == 168 && (CPU_INFO_BYTES - FRAME_END).is_multiple_of(16));

/// The CPU information of the current CPU. Its `regs` are shared with the entry code: access them through the raw pointer.
#[inline]
pub fn cpu_info() -> *mut CpuInfo {
    let rsp: u64;
    // SAFETY: reads a register.
    unsafe { asm!("mov {}, rsp", out(reg) rsp, options(nomem, nostack, preserves_flags)) };
    ((rsp | (layout::STACK_BLOCK_BYTES - 1)) + 1 - CPU_INFO_BYTES) as *mut CpuInfo
}

/// The CPU information of `cpu`, which must have its area.
#[inline]
pub fn cpu_info_of(cpu: usize) -> *mut CpuInfo {
    (layout::stack_end(cpu) - CPU_INFO_BYTES) as *mut CpuInfo
}

/// The words of the current CPU.
#[inline]
pub fn words() -> &'static [AtomicU64; slot::COUNT] {
    // SAFETY: (1) every stack we run on is in a block that ends with a `CpuInfo`; (2) it stays mapped for ever.
    unsafe { &(*cpu_info()).hv }
}

/// A word of the current CPU.
#[inline]
pub fn word(index: usize) -> &'static AtomicU64 {
    &words()[index]
}

/// A word of `cpu`, which must have its area.
#[inline]
pub fn word_of(cpu: usize, index: usize) -> &'static AtomicU64 {
    // SAFETY: as `word`; the caller has made the area.
    unsafe { &(&(*cpu_info_of(cpu)).hv)[index] }
}

/// The number of the current CPU.
#[inline]
pub fn this_cpu() -> CpuId {
    CpuId(word(slot::CPU_ID).load(Relaxed) as u32)
}
