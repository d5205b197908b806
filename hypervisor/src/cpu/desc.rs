//! Descriptor tables: the hypervisor's part of the GDT, the task state segments, the IDT.

// UNSAFETY: writes descriptor tables and loads the registers that point to them.
#![expect(unsafe_code)]

use core::arch::asm;
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

use rexen_core::units::CpuId;

use super::info;
use crate::mm::{frames, layout};

/// Hypervisor code.
pub const HV_CS: u16 = 0xe008;
/// Hypervisor data and stack.
pub const HV_DS: u16 = 0xe010;
/// 32-bit user code.
pub const USER_CS32: u16 = 0xe023;
/// User data and stack.
pub const USER_DS: u16 = 0xe02b;
/// 64-bit user code.
pub const USER_CS64: u16 = 0xe033;
/// The task state segment.
pub const TSS_SELECTOR: u16 = 0xe040;
/// The guest's LDT.
pub const LDT_SELECTOR: u16 = 0xe050;

const GDT_PAGE_OFFSET: u16 = 0xe000;
const TSS_SLOT: usize = 8;
const NR_SLOTS: usize = 12;

/// The flat descriptors, with the accessed bit set so that the CPU need not write it.
const FLAT: [u64; 8] = [
    0,
    0x00af_9b00_0000_ffff, // 0xe008: 64-bit code, ring 0
    0x00cf_9300_0000_ffff, // 0xe010: data, ring 0
    0x00cf_9b00_0000_ffff, // 0xe018: 32-bit code, ring 0
    0x00cf_fb00_0000_ffff, // 0xe020: 32-bit code, ring 3
    0x00cf_f300_0000_ffff, // 0xe028: data, ring 3
    0x00af_fb00_0000_ffff, // 0xe030: 64-bit code, ring 3
    0,
];

#[repr(C, packed)]
struct Pointer {
    limit: u16,
    base: u64,
}

/// A system descriptor: `kind` 0x89 is a TSS, 0x82 an LDT.
fn system_descriptor(base: u64, limit: u64, kind: u64) -> [u64; 2] {
    let low = limit & 0xffff
        | (base & 0xff_ffff) << 16
        | kind << 40
        | (limit >> 16 & 0xf) << 48
        | (base >> 24 & 0xff) << 56;
    [low, base >> 32]
}

/// Fills `cpu`'s GDT page (at machine address `gdt`) and its task state segment. Its area must be mapped.
pub fn fill(cpu: usize, gdt: u64) {
    let tss = layout::percpu(cpu) + layout::PERCPU_TSS;
    let stacks = layout::percpu(cpu) + layout::PERCPU_STACKS;
    let mut words = [0u64; 13]; // 104 bytes, of which the first four are reserved
    let mut put = |offset: usize, value: u64| {
        // 64-bit fields of a TSS are only 4-byte aligned.
        let (word, shift) = (offset / 8, offset % 8 * 8);
        words[word] |= value << shift;
        if shift != 0
            && let Some(next) = words.get_mut(word + 1)
        {
            *next |= value >> (64 - shift);
        }
    };
    put(
        4,
        layout::stack_end(cpu) - info::CPU_INFO_BYTES + info::FRAME_END,
    );
    for n in 0..layout::NR_IST_PAGES {
        put(0x24 + 8 * n as usize, stacks + (n + 1) * 4096);
    }
    put(0x64, 0x68 << 16); // the I/O bitmap starts past the end: none
    let descriptor = system_descriptor(tss, 0x67, 0x89);
    // SAFETY: (1) both pages belong to this CPU's area, are mapped writable, and are large enough; (2) `cpu` does not run
    // yet, so it does not use them.
    unsafe {
        (tss as *mut [u64; 13]).write(words);
        let table = frames::direct(gdt).cast::<u64>();
        table.cast::<[u64; 8]>().write(FLAT);
        table.add(TSS_SLOT).cast::<[u64; 2]>().write(descriptor);
    }
}

/// Loads GDT, segment registers, TSS and IDT of the current CPU, number `cpu`.
pub fn load(cpu: usize) {
    let gdt = Pointer {
        limit: GDT_PAGE_OFFSET + NR_SLOTS as u16 * 8 - 1,
        base: layout::window(cpu),
    };
    // SAFETY: (1) `fill` made the descriptors, the window maps them; (2) the new code and data segments are flat like the
    // old ones; (3) each CPU loads its own TSS once, so it is not busy.
    unsafe {
        asm!(
            "lgdt [{gdt}]",
            "push {cs}",
            "lea {tmp}, [rip + 2f]",
            "push {tmp}",
            "retfq",
            "2: mov ss, {ds:e}",
            "xor {tmp:e}, {tmp:e}",
            "mov ds, {tmp:e}",
            "mov es, {tmp:e}",
            "mov fs, {tmp:e}",
            "mov gs, {tmp:e}",
            "lldt {tmp:x}",
            "ltr {tss:x}",
            gdt = in(reg) &raw const gdt, cs = in(reg) u64::from(HV_CS), ds = in(reg) u32::from(HV_DS),
            tss = in(reg) TSS_SELECTOR, tmp = out(reg) _,
        );
    }
    load_idt();
}

/// Makes the current CPU's LDT the first `entries` descriptors of its LDT window; none for 0.
#[inline]
pub fn set_ldt(cpu: CpuId, entries: u32) {
    let window = layout::window(cpu.0 as usize);
    let selector = if entries == 0 { 0 } else { LDT_SELECTOR };
    let limit = u64::from(entries.min(8192)) * 8;
    let descriptor = system_descriptor(window + 16 * 4096, limit.wrapping_sub(1) & 0xffff, 0x82);
    let at = (window + u64::from(LDT_SELECTOR)) as *mut [u64; 2];
    // SAFETY: (1) the hypervisor's GDT page of this window is mapped writable; (2) the descriptor is a valid LDT inside the
    // window; (3) only `cpu` itself uses its window.
    unsafe {
        if entries != 0 {
            at.write(descriptor);
        }
        asm!("lldt {:x}", in(reg) selector, options(nostack, preserves_flags));
    }
}

/// The IDT: two words per gate, shared by all CPUs.
#[repr(align(4096))]
struct Idt([AtomicU64; 512]);
static IDT: Idt = Idt([const { AtomicU64::new(0) }; 512]);

/// Vectors that ring 3 may raise with INT n: breakpoint, overflow, and Linux' old system call.
const USER_VECTORS: [usize; 3] = [3, 4, 0x80];

/// Makes each gate enter the hypervisor at the address in `stubs`, on the stack that its vector needs.
pub fn set_gates(stubs: &[u64; 256]) {
    for (vector, &address) in stubs.iter().enumerate() {
        let ist: u64 = match vector {
            8 => 1,
            2 => 2,
            18 => 3,
            // MOV SS can carry a breakpoint into the first instruction of the syscall stub, where rsp is the guest's.
            1 => 4,
            _ => 0,
        };
        let dpl: u64 = if USER_VECTORS.contains(&vector) { 3 } else { 0 };
        let low = address & 0xffff
            | u64::from(HV_CS) << 16
            | ist << 32
            | (0x8e | dpl << 5) << 40
            | (address >> 16 & 0xffff) << 48;
        IDT.0[vector * 2 + 1].store(address >> 32, Relaxed);
        IDT.0[vector * 2].store(low, Relaxed);
    }
}

/// Loads the shared IDT on the current CPU.
fn load_idt() {
    let idt = Pointer {
        limit: 4095,
        base: core::ptr::from_ref(&IDT) as u64,
    };
    // SAFETY: `set_gates` filled the table, which lives for ever.
    unsafe { asm!("lidt [{}]", in(reg) &raw const idt, options(nostack, preserves_flags)) };
}

/// Resets the machine by an exception that cannot be delivered.
pub fn triple_fault() -> ! {
    let idt = Pointer { limit: 0, base: 0 };
    // SAFETY: nothing runs after this.
    unsafe { asm!("lidt [{}]", "int3", "hlt", in(reg) &raw const idt, options(noreturn)) }
}
