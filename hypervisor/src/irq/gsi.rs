//! How each global interrupt line signals, and which GSI an ISA interrupt is.

use rexen_core::platform::acpi::{InterruptOverride, Madt};

use super::ioapic::Line;
use crate::platform::platform;

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
