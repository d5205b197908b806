//! How each global interrupt line signals, which GSI an ISA interrupt is, and which lines are the hypervisor's own.

use alloc::vec::Vec;

use rexen_core::platform::acpi::{InterruptOverride, Madt};

use rexen_core::sync::Mutex;

use super::ioapic::Line;
use crate::platform::platform;

static OURS: Mutex<Vec<u32>> = Mutex::new(Vec::new());

/// Takes a line for the hypervisor: no domain may program or bind it.
pub fn claim(gsi: u32) {
    OURS.lock().push(gsi);
}

/// Whether the line is the hypervisor's.
pub fn is_ours(gsi: u32) -> bool {
    OURS.lock().contains(&gsi)
}

fn madt() -> Option<&'static Madt> {
    platform().acpi.as_ref()?.madt.as_ref()
}

fn override_of(gsi: u32) -> Option<&'static InterruptOverride> {
    madt()?.overrides.iter().find(|o| o.gsi == gsi)
}

/// How `gsi` signals by default: as the MADT says, else as ISA (edge, high) below 16 and as PCI (level, low) above.
pub fn line(gsi: u32) -> Line {
    match override_of(gsi) {
        Some(o) => Line {
            level: o.level_triggered(),
            active_low: o.active_low(),
        },
        None => Line {
            level: gsi >= 16,
            active_low: gsi >= 16,
        },
    }
}

/// The GSI of an ISA interrupt.
pub fn of_isa(irq: u8) -> u32 {
    madt().map_or(u32::from(irq), |m| m.isa_gsi(irq).0)
}
