//! The multiple APIC description table: CPUs, IO-APICs and how interrupts reach them (ACPI 6.5, section 5.2.12).

use alloc::vec::Vec;

use super::super::bytes::{slice_at, u8_at, u16_at, u32_at, u64_at};

/// More entries of one kind than this are not looked at.
const MAX_ENTRIES: usize = 4096;

/// A CPU, from a local APIC or local x2APIC entry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LocalApic {
    /// The local APIC's id; above 254 only in x2APIC mode.
    pub apic_id: u32,
    /// The id by which the DSDT names this CPU.
    pub acpi_id: u32,
    /// Whether the CPU can be used now.
    pub enabled: bool,
    /// Whether the CPU, not enabled now, could be enabled later.
    pub online_capable: bool,
    /// Whether this came from an x2APIC entry.
    pub x2apic: bool,
}

/// An IO-APIC.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct IoApic {
    /// Its id.
    pub id: u8,
    /// Machine address of its registers.
    pub address: u32,
    /// The global system interrupt of its pin 0.
    pub gsi_base: u32,
}

/// An ISA interrupt that is not wired one to one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct InterruptOverride {
    /// The ISA interrupt number.
    pub irq: u8,
    /// The global system interrupt that it drives.
    pub gsi: u32,
    /// Bits 0-1 polarity (0 bus default, 1 high, 3 low), bits 2-3 trigger (0 bus default, 1 edge, 3 level).
    pub flags: u16,
}

impl InterruptOverride {
    /// Whether the line is active low; the ISA default is high.
    pub const fn active_low(&self) -> bool {
        self.flags & 3 == 3
    }

    /// Whether the line is level-triggered; the ISA default is edge.
    pub const fn level_triggered(&self) -> bool {
        self.flags >> 2 & 3 == 3
    }
}

/// A global system interrupt that is to be delivered as NMI.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NmiSource {
    /// The global system interrupt.
    pub gsi: u32,
    /// Polarity and trigger as in [`InterruptOverride::flags`].
    pub flags: u16,
}

/// A local APIC's LINT pin that is wired to NMI.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LocalApicNmi {
    /// The CPU's ACPI id; `None` means all CPUs.
    pub acpi_id: Option<u32>,
    /// 0 or 1.
    pub lint: u8,
    /// Polarity and trigger as in [`InterruptOverride::flags`].
    pub flags: u16,
}

/// The whole table.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Madt {
    /// Machine address of the local APIC's registers.
    pub local_apic_address: u64,
    /// Whether two 8259 controllers are there and must be masked.
    pub has_8259: bool,
    /// The CPUs, usable or not, in the table's order, each APIC id once.
    pub local_apics: Vec<LocalApic>,
    /// The IO-APICs.
    pub io_apics: Vec<IoApic>,
    /// Overrides of ISA interrupts.
    pub overrides: Vec<InterruptOverride>,
    /// Interrupts that are NMIs.
    pub nmi_sources: Vec<NmiSource>,
    /// LINT pins that are NMIs.
    pub local_nmis: Vec<LocalApicNmi>,
}

impl Madt {
    /// Reads a table whose header is already checked. Entries that are cut short end the walk; unknown kinds are skipped.
    pub(super) fn parse(table: &[u8]) -> Option<Self> {
        let mut madt = Self {
            local_apic_address: u32_at(table, 36)?.into(),
            has_8259: u32_at(table, 40)? & 1 != 0,
            ..Self::default()
        };
        let mut at = 44;
        while let Some(len) = u8_at(table, at + 1).map(usize::from) {
            match slice_at(table, at, len) {
                Some(entry) if len >= 2 => madt.add(entry),
                _ => break,
            };
            at += len;
        }
        Some(madt)
    }

    /// The CPUs that can be started now.
    pub fn enabled_cpus(&self) -> impl Iterator<Item = &LocalApic> {
        self.local_apics.iter().filter(|cpu| cpu.enabled)
    }

    /// Where ISA interrupt `irq` arrives: the global system interrupt and the override's flags (0 without override).
    pub fn isa_gsi(&self, irq: u8) -> (u32, u16) {
        self.overrides
            .iter()
            .find(|o| o.irq == irq)
            .map_or((irq.into(), 0), |o| (o.gsi, o.flags))
    }

    /// Takes over one entry; a short one says nothing.
    fn add(&mut self, e: &[u8]) -> Option<()> {
        match u8_at(e, 0)? {
            0 => {
                let cpu = (u8_at(e, 3)?.into(), u8_at(e, 2)?.into());
                self.add_cpu(cpu, u32_at(e, 4)?, false);
            }
            1 => {
                let io_apic = IoApic {
                    id: u8_at(e, 2)?,
                    address: u32_at(e, 4)?,
                    gsi_base: u32_at(e, 8)?,
                };
                push(&mut self.io_apics, io_apic);
            }
            2 => {
                let over = InterruptOverride {
                    irq: u8_at(e, 3)?,
                    gsi: u32_at(e, 4)?,
                    flags: u16_at(e, 8)?,
                };
                push(&mut self.overrides, over);
            }
            3 => push(
                &mut self.nmi_sources,
                NmiSource {
                    flags: u16_at(e, 2)?,
                    gsi: u32_at(e, 4)?,
                },
            ),
            4 => {
                let acpi_id = Some(u8_at(e, 2)?).filter(|id| *id != 0xff).map(u32::from);
                push(
                    &mut self.local_nmis,
                    LocalApicNmi {
                        acpi_id,
                        flags: u16_at(e, 3)?,
                        lint: u8_at(e, 5)?,
                    },
                );
            }
            5 => self.local_apic_address = u64_at(e, 4)?,
            9 => {
                let cpu = (u32_at(e, 4)?, u32_at(e, 12)?);
                self.add_cpu(cpu, u32_at(e, 8)?, true);
            }
            10 => {
                let acpi_id = Some(u32_at(e, 4)?).filter(|id| *id != u32::MAX);
                push(
                    &mut self.local_nmis,
                    LocalApicNmi {
                        acpi_id,
                        flags: u16_at(e, 2)?,
                        lint: u8_at(e, 8)?,
                    },
                );
            }
            _ => {}
        }
        Some(())
    }

    /// Firmware may list a CPU both ways, and marks unused local APIC slots with id 255.
    fn add_cpu(&mut self, (apic_id, acpi_id): (u32, u32), flags: u32, x2apic: bool) {
        let unused = if x2apic { u32::MAX } else { 0xff };
        if apic_id == unused || self.local_apics.iter().any(|c| c.apic_id == apic_id) {
            return;
        }
        let (enabled, online_capable) = (flags & 1 != 0, flags & 2 != 0);
        push(
            &mut self.local_apics,
            LocalApic {
                apic_id,
                acpi_id,
                enabled,
                online_capable,
                x2apic,
            },
        );
    }
}

fn push<T>(list: &mut Vec<T>, entry: T) {
    if list.len() < MAX_ENTRIES {
        list.push(entry);
    }
}
