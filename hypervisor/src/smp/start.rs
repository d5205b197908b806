//! Starting the other CPUs: INIT, start-up interrupts, a trampoline below 1 MiB.

// UNSAFETY: writes the trampoline and what it is told.
#![expect(unsafe_code)]

use alloc::vec::Vec;
use core::arch::global_asm;
use core::sync::atomic::{
    AtomicU64,
    Ordering::{Acquire, Relaxed},
};

use rexen_core::options::{LogLevel, Options};
use rexen_core::units::{CpuId, MAX_CPUS};
use spin::Once;

use crate::cpu::{self, info, regs};
use crate::irq::{apic, vector};
use crate::mm::{self, frames, layout};
use crate::platform::platform;
use crate::{log, timer};

global_asm!(
    r#"
    .section .rodata.trampoline, "a"
    .balign 16
trampoline:
    .code16
    jmp 2f
    .org trampoline + 8             // real mode finds these two by their offset
trampoline_gdtr:
    .short 23
    .long 0
    .org trampoline + 16
    .quad boot_l4
2:  cli
    cld
    mov ax, cs
    mov ds, ax
    lgdt ds:[8]
    mov eax, cr4
    or eax, 0x20
    mov cr4, eax
    mov eax, ds:[16]
    mov cr3, eax
    mov ecx, 0xc0000080
    rdmsr
    or eax, 0x900
    wrmsr
    mov eax, cr0
    and eax, 0x9fffffff             // caches on
    or eax, 0x80010001
    mov cr0, eax
    .byte 0x66, 0xea                // far jump, straight into 64-bit code
trampoline_far:
    .long 0
    .short 8
    .code64
trampoline_64:
    mov eax, 0x10
    mov ss, eax
    mov rax, [rip + trampoline_entry]
    mov rsi, [rip + trampoline_l4]
    mov rdx, [rip + trampoline_stack]
    mov rdi, [rip + trampoline_cpu]
    jmp rax
    .balign 8
trampoline_gdt:
    .quad 0, 0x00af9b000000ffff, 0x00cf93000000ffff
trampoline_entry: .quad ap_entry
trampoline_l4:    .quad 0
trampoline_stack: .quad 0
trampoline_cpu:   .quad 0
trampoline_end:

    .section .rodata.trampoline_offsets, "a"
    .balign 8
trampoline_offsets:
    .quad trampoline_far - trampoline, trampoline_64 - trampoline
    .quad trampoline_gdtr - trampoline + 2, trampoline_gdt - trampoline
    .quad trampoline_l4 - trampoline
    .quad trampoline, trampoline_end

    .section .text.entry, "ax", @progbits
ap_entry:
    mov cr3, rsi
    mov rsp, rdx
    xor ebp, ebp
    xor eax, eax
    mov ds, eax
    mov es, eax
    mov fs, eax
    mov gs, eax
    call {ap_start}
    ud2
    .text
"#,
    ap_start = sym ap_start,
);

/// Offsets inside the trampoline, and its bounds.
#[repr(C)]
struct Offsets {
    far: u64,
    code_64: u64,
    gdtr_base: u64,
    gdt: u64,
    /// Three words: L4, stack, CPU number.
    parameters: u64,
    start: u64,
    end: u64,
}

unsafe extern "C" {
    static trampoline_offsets: Offsets;
}

static AP_MAIN: Once<fn(CpuId) -> !> = Once::new();
/// APIC ids by CPU number, as far as CPUs were found.
static APIC_IDS: [AtomicU64; MAX_CPUS] = [const { AtomicU64::new(u64::MAX) }; MAX_CPUS];

/// Sets what each further CPU runs from now on, and wakes them. The first caller wins.
pub fn set_ap_main(main: fn(CpuId) -> !) {
    AP_MAIN.call_once(|| main);
    apic::send_all_but_self(vector::EVENT_CHECK);
}

/// Starts the CPUs that the MADT lists and `options` allow. `page` is a free page below 1 MiB.
pub fn start_all(options: &Options, page: Option<u64>) {
    let this = apic::id();
    APIC_IDS[0].store(this.into(), Relaxed);
    let madt = platform().acpi.as_ref().and_then(|a| a.madt.as_ref());
    let listed = madt.into_iter().flat_map(|m| m.enabled_cpus());
    let others: Vec<u32> = listed.map(|a| a.apic_id).filter(|&id| id != this).collect();
    let present = others.len() as u32 + 1;
    let max_cpus = (options.cpus_to_start(present) as usize).min(MAX_CPUS);
    let mut cpu = 1;
    for apic_id in others {
        if cpu >= max_cpus {
            break;
        }
        let Some(page) = page else {
            log!(
                LogLevel::Warning,
                "SMP: no free page below 1 MiB: one CPU only"
            );
            break;
        };
        if start_one(cpu, apic_id, page) {
            cpu += 1;
        } else {
            log!(
                LogLevel::Error,
                "SMP: the CPU with APIC id {apic_id} does not start"
            );
        }
    }
    log!(LogLevel::Info, "Brought up {} CPUs", super::nr_online());
}

fn start_one(cpu: usize, apic_id: u32, page: u64) -> bool {
    let pages = mm::percpu::create(cpu);
    cpu::desc::fill(cpu, pages.gdt);
    info::word_of(cpu, info::slot::CPU_ID).store(cpu as u64, Relaxed);
    info::word_of(cpu, info::slot::APIC_ID).store(apic_id.into(), Relaxed);
    APIC_IDS[cpu].store(apic_id.into(), Relaxed);
    write_trampoline(page, cpu);
    apic::send_init(apic_id);
    // Real CPUs from before 2006 want ten milliseconds here; later ones and virtual ones want nothing.
    timer::delay_us(if cpu::features().is_virtual {
        100
    } else {
        10_000
    });
    for _ in 0..2 {
        apic::send_startup(apic_id, page);
        let end = timer::now_ns().0 + 500_000_000;
        while timer::now_ns().0 < end {
            if super::online().contains(CpuId(cpu as u32)) {
                return true;
            }
            core::hint::spin_loop();
        }
    }
    APIC_IDS[cpu].store(u64::MAX, Relaxed);
    false
}

fn write_trampoline(page: u64, cpu: usize) {
    let stack = layout::stack_end(cpu) - info::CPU_INFO_BYTES + info::FRAME_END - 168;
    // SAFETY: (1) the page is RAM below 1 MiB that nobody uses, in the direct map; (2) the offsets are the assembler's;
    // (3) the previous CPU has left the trampoline before this one starts.
    unsafe {
        let o = &trampoline_offsets;
        let to = frames::direct(page);
        to.copy_from_nonoverlapping(o.start as *const u8, (o.end - o.start) as usize);
        let word32 = |offset: u64| to.add(offset as usize).cast::<u32>();
        word32(o.far).write_unaligned((page + o.code_64) as u32);
        word32(o.gdtr_base).write_unaligned((page + o.gdt) as u32);
        let parameters = to.add(o.parameters as usize).cast::<u64>();
        parameters.write(mm::idle_l4());
        parameters.add(1).write(stack & !15);
        parameters.add(2).write(cpu as u64);
    }
}

/// Where a further CPU enters Rust, on its own stack.
extern "C" fn ap_start(cpu: u64) -> ! {
    let id = CpuId(cpu as u32);
    cpu::init_this(cpu as usize);
    apic::init_this();
    timer::init_this();
    super::set_online(id);
    loop {
        if let Some(main) = AP_MAIN.get() {
            main(id);
        }
        regs::sti_hlt_cli();
        let _ = super::ONLINE.load(Acquire);
    }
}
