//! The local APIC: xAPIC through memory, x2APIC through model-specific registers.

// UNSAFETY: accesses device registers.
#![expect(unsafe_code)]

use core::sync::atomic::{
    AtomicU64,
    Ordering::{Relaxed, SeqCst},
};

use rexen_core::options::LogLevel;
use rexen_core::units::{CpuId, CpuMask};

use super::vector;
use crate::cpu::{self, features, info, msr, regs};
use crate::log;
use crate::mm::map_mmio;

const ID: u32 = 0x20;
const TASK_PRIORITY: u32 = 0x80;
const EOI: u32 = 0xb0;
const SPURIOUS: u32 = 0xf0;
const ERROR_STATUS: u32 = 0x280;
const COMMAND: u32 = 0x300;
const COMMAND_HIGH: u32 = 0x310;
const LVT_TIMER: u32 = 0x320;
const LVT_LINT0: u32 = 0x350;
const LVT_LINT1: u32 = 0x360;
const LVT_ERROR: u32 = 0x370;
const TIMER_INITIAL: u32 = 0x380;
const TIMER_CURRENT: u32 = 0x390;
const TIMER_DIVIDE: u32 = 0x3e0;

const MASKED: u32 = 1 << 16;
const ENABLED: u32 = 1 << 8;
const DELIVERY_NMI: u32 = 4 << 8;
const DELIVERY_INIT: u32 = 5 << 8;
const DELIVERY_STARTUP: u32 = 6 << 8;
const ASSERT: u32 = 1 << 14;
const PENDING: u32 = 1 << 12;
const TIMER_TSC_DEADLINE: u32 = 2 << 17;
const DIVIDE_BY_1: u32 = 0xb;

const BASE_X2APIC: u64 = 1 << 10;
const BASE_ENABLED: u64 = 1 << 11;

/// Where the registers are mapped; 0 selects x2APIC.
static REGISTERS: AtomicU64 = AtomicU64::new(0);

#[inline]
fn read(register: u32) -> u32 {
    match REGISTERS.load(Relaxed) {
        // SAFETY: in x2APIC mode every register used here exists as an MSR.
        0 => unsafe { regs::rdmsr(0x800 + (register >> 4)) as u32 },
        // SAFETY: `init` mapped the register page for good.
        base => unsafe { ((base + u64::from(register)) as *const u32).read_volatile() },
    }
}

#[inline]
fn write(register: u32, value: u32) {
    match REGISTERS.load(Relaxed) {
        // SAFETY: as `read`; no register of the local APIC touches memory.
        0 => unsafe { regs::wrmsr(0x800 + (register >> 4), value.into()) },
        // SAFETY: as `read`.
        base => unsafe { ((base + u64::from(register)) as *mut u32).write_volatile(value) },
    }
}

/// Finds the local APIC (`address` is the MADT's) and enables that of the boot CPU.
pub fn init(address: u64) {
    // SAFETY: every 64-bit CPU has this register.
    let base = unsafe { regs::rdmsr(msr::APIC_BASE) };
    // Without interrupt remapping x2APIC is only safe where the firmware chose it, or where the machine is virtual.
    let x2apic = features().x2apic && (base & BASE_X2APIC != 0 || features().is_virtual);
    if !x2apic {
        REGISTERS.store(map_mmio(address, 4096) as u64, Relaxed);
    }
    log!(
        LogLevel::Info,
        "APIC: {} at {address:#x}",
        if x2apic { "x2APIC" } else { "xAPIC" }
    );
    init_this();
}

/// Enables the local APIC of the current CPU.
pub fn init_this() {
    let x2apic = REGISTERS.load(Relaxed) == 0;
    // SAFETY: every 64-bit CPU has this register; x2APIC mode is entered only where CPUID shows it, from enabled mode.
    unsafe {
        let base = regs::rdmsr(msr::APIC_BASE) | BASE_ENABLED;
        regs::wrmsr(msr::APIC_BASE, base);
        if x2apic {
            regs::wrmsr(msr::APIC_BASE, base | BASE_X2APIC);
        }
    }
    write(TASK_PRIORITY, 0);
    write(LVT_TIMER, MASKED | u32::from(vector::TIMER));
    write(LVT_LINT0, MASKED);
    write(
        LVT_LINT1,
        if cpu::this_cpu().0 == 0 {
            DELIVERY_NMI
        } else {
            MASKED
        },
    );
    write(LVT_ERROR, vector::ERROR.into());
    write(SPURIOUS, ENABLED | u32::from(vector::SPURIOUS));
    info::word(info::slot::APIC_ID).store(id().into(), Relaxed);
    super::set_handler(vector::ERROR, |_| {
        write(ERROR_STATUS, 0);
        log!(
            LogLevel::Error,
            "APIC: error {:#x} on CPU {}",
            read(ERROR_STATUS),
            cpu::this_cpu().0
        );
        eoi();
    });
    super::set_handler(vector::SPURIOUS, |_| {});
}

/// The local APIC's id of the current CPU.
pub fn id() -> u32 {
    let id = read(ID);
    if REGISTERS.load(Relaxed) == 0 {
        id
    } else {
        id >> 24
    }
}

/// Acknowledges the interrupt that the current CPU handles.
#[inline]
pub fn eoi() {
    write(EOI, 0);
}

/// Sends a command to the APIC with id `to`.
fn command(to: u32, what: u32) {
    match REGISTERS.load(Relaxed) {
        0 => {
            // Earlier stores must be seen before the interrupt is (Intel SDM 3A, 11.12.3).
            core::sync::atomic::fence(SeqCst);
            // SAFETY: in x2APIC mode the command register is one 64-bit MSR.
            unsafe { regs::wrmsr(0x830, u64::from(to) << 32 | u64::from(what)) };
        }
        _ => {
            while read(COMMAND) & PENDING != 0 {
                core::hint::spin_loop();
            }
            write(COMMAND_HIGH, to << 24);
            write(COMMAND, what);
        }
    }
}

/// The local APIC's id of `cpu`, which must have its area.
#[inline]
pub fn id_of(cpu: CpuId) -> u32 {
    info::word_of(cpu.0 as usize, info::slot::APIC_ID).load(Relaxed) as u32
}

/// Raises `vector` on another CPU, which must be up.
#[inline]
pub fn send_ipi(cpu: CpuId, vector: u8) {
    command(id_of(cpu), ASSERT | u32::from(vector));
}

/// Raises `vector` on every CPU of `cpus` but the current one.
pub fn send_ipi_mask(cpus: CpuMask, vector: u8) {
    for cpu in crate::smp::members(cpus.without(cpu::this_cpu())) {
        send_ipi(cpu, vector);
    }
}

/// Raises `vector` on every CPU that is up but the current one.
pub fn send_all_but_self(vector: u8) {
    send_ipi_mask(crate::smp::online(), vector);
}

/// Resets the CPU with this APIC id; it waits for [`send_startup`].
pub fn send_init(apic_id: u32) {
    command(apic_id, DELIVERY_INIT | ASSERT);
}

/// Starts a CPU in real mode at machine address `page`, below 1 MiB.
pub fn send_startup(apic_id: u32, page: u64) {
    command(apic_id, DELIVERY_STARTUP | ASSERT | (page >> 12) as u32);
}

/// Lets the timer fire once when the TSC reaches [`set_tsc_deadline`], or after [`set_timer_count`] ticks.
pub fn enable_timer(tsc_deadline: bool) {
    write(TIMER_DIVIDE, DIVIDE_BY_1);
    write(
        LVT_TIMER,
        u32::from(vector::TIMER) | if tsc_deadline { TIMER_TSC_DEADLINE } else { 0 },
    );
    // The mode must be in force before the deadline is written (Intel SDM 3A, 11.5.4.1).
    core::sync::atomic::fence(SeqCst);
}

/// Starts the timer to fire after `ticks` of the APIC's clock; 0 stops it.
#[inline]
pub fn set_timer_count(ticks: u32) {
    write(TIMER_INITIAL, ticks);
}

/// How many ticks the timer has left.
pub fn timer_count() -> u32 {
    read(TIMER_CURRENT)
}

/// Starts the timer to fire at a TSC value; 0 stops it.
#[inline]
pub fn set_tsc_deadline(tsc: u64) {
    // SAFETY: used only where CPUID shows the TSC-deadline mode.
    unsafe { regs::wrmsr(msr::TSC_DEADLINE, tsc) };
}
