//! Reboot, power-off, and stopping all other CPUs.

// UNSAFETY: writes the ACPI reset register where that is in memory.
#![expect(unsafe_code)]

use core::sync::atomic::{AtomicU32, Ordering::Relaxed};

use rexen_core::options::LogLevel;
use rexen_core::platform::acpi::{AcpiInfo, Gas};

use crate::cpu::regs::{inb, inw, outb, outw};
use crate::cpu::{self, desc};
use crate::irq::{apic, vector};
use crate::mm::map_mmio;
use crate::platform;
use crate::{log, timer};

/// The CPU that goes on alone, plus one; 0 while all run.
static SURVIVOR: AtomicU32 = AtomicU32::new(0);

/// Whether the current CPU should stop for good.
#[inline]
pub fn must_halt() -> bool {
    let survivor = SURVIVOR.load(Relaxed);
    survivor != 0 && survivor != cpu::this_cpu().0 + 1
}

/// Stops all other CPUs: by interrupt, or where they wait with interrupts off. Locks that they hold stay locked.
pub fn halt_others() {
    let me = cpu::this_cpu().0 + 1;
    if SURVIVOR.compare_exchange(0, me, Relaxed, Relaxed).is_ok() {
        apic::send_all_but_self(vector::HALT);
    }
}

/// Registers the interrupt that stops a CPU.
pub fn init() {
    crate::irq::set_handler(vector::HALT, |_| crate::cpu::halt_forever());
}

fn acpi() -> Option<&'static AcpiInfo> {
    platform::get()?.acpi.as_ref()
}

/// Starts the machine again: ACPI reset register, port 0xcf9, keyboard controller, triple fault.
pub fn reboot() -> ! {
    if let Some((register, value)) = acpi().and_then(|a| a.fadt).and_then(|f| f.reset) {
        write_register(&register, value);
        timer::delay_us(50_000);
    }
    let keep = inb(0xcf9) & !6;
    outb(0xcf9, keep | 2);
    outb(0xcf9, keep | 6);
    timer::delay_us(50_000);
    outb(0x64, 0xfe);
    timer::delay_us(50_000);
    desc::triple_fault()
}

fn write_register(register: &Gas, value: u8) {
    match register.port() {
        Some(port) => outb(port, value),
        // SAFETY: the firmware says that this byte is the reset register.
        None if register.space == Gas::MEMORY => unsafe {
            map_mmio(register.address, 1).write_volatile(value)
        },
        None => {}
    }
}

/// Switches the machine off through ACPI S5. Returns if it cannot.
pub fn power_off() {
    let Some((a, b)) = acpi().and_then(|a| a.s5) else {
        log!(LogLevel::Error, "power: the firmware describes no S5 state");
        return;
    };
    let value = |slp_typ: u8| u16::from(slp_typ & 7) << 10;
    enter_sleep(value(a), value(b));
}

/// Enters a sleep state: `value_a` and `value_b` are PM1 control words with SLP_TYP in bits 12 to 10 (XENPF_enter_acpi_sleep).
/// Returns if the machine stays awake.
pub fn enter_sleep(value_a: u16, value_b: u16) {
    const SLP_TYP: u16 = 7 << 10;
    const SLP_EN: u16 = 1 << 13;
    let Some(fadt) = acpi().and_then(|a| a.fadt) else {
        log!(LogLevel::Error, "power: no FADT");
        return;
    };
    for (register, value) in [(fadt.pm1a_control, value_a), (fadt.pm1b_control, value_b)] {
        if let Some(port) = register.and_then(|r| r.port()) {
            outw(
                port,
                inw(port) & !(SLP_TYP | SLP_EN) | value & SLP_TYP | SLP_EN,
            );
        }
    }
    timer::delay_us(1_000_000);
    log!(LogLevel::Error, "power: the machine did not go to sleep");
}
