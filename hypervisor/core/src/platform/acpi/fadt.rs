//! The fixed ACPI description table, and the power-off value of the DSDT (ACPI 6.5, sections 5.2.9 and 7.4.2).

use super::super::bytes::{slice_at, u8_at, u16_at, u32_at, u64_at};

/// Where a register is (ACPI 6.5, section 5.2.3.2).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Gas {
    /// [`Gas::MEMORY`], [`Gas::IO`], [`Gas::PCI`] or other.
    pub space: u8,
    /// Width in bits.
    pub bit_width: u8,
    /// First bit at the address.
    pub bit_offset: u8,
    /// Access size: 0 any, 1 byte, 2 word, 3 dword, 4 qword.
    pub access: u8,
    /// Machine address or port.
    pub address: u64,
}

impl Gas {
    /// Memory-mapped.
    pub const MEMORY: u8 = 0;
    /// An I/O port.
    pub const IO: u8 = 1;
    /// PCI configuration space of bus 0.
    pub const PCI: u8 = 2;

    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        Some(Self {
            space: u8_at(bytes, 0)?,
            bit_width: u8_at(bytes, 1)?,
            bit_offset: u8_at(bytes, 2)?,
            access: u8_at(bytes, 3)?,
            address: u64_at(bytes, 4)?,
        })
    }

    /// The I/O port, if it is one.
    pub fn port(&self) -> Option<u16> {
        u16::try_from(self.address)
            .ok()
            .filter(|port| self.space == Self::IO && *port != 0)
    }
}

/// What the hypervisor needs of the table. A register that is absent is `None`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Fadt {
    /// The GSI (or, with 8259s, the IRQ) of ACPI events.
    pub sci_int: u16,
    /// The port that switches the machine to ACPI mode; 0 if it always is.
    pub smi_cmd: u32,
    /// PM1a event block.
    pub pm1a_event: Option<Gas>,
    /// PM1b event block.
    pub pm1b_event: Option<Gas>,
    /// PM1a control block: power-off writes here.
    pub pm1a_control: Option<Gas>,
    /// PM1b control block.
    pub pm1b_control: Option<Gas>,
    /// The power-management timer, 3.579545 MHz.
    pub pm_timer: Option<Gas>,
    /// Whether the timer has 32 bits, not 24.
    pub pm_timer_32bit: bool,
    /// The CMOS index of the century; 0 if there is none.
    pub century: u8,
    /// IA-PC boot flags: bit 0 legacy devices, 1 8042, 2 no VGA, 3 no MSI, 5 no CMOS clock.
    pub boot_flags: u16,
    /// The register that resets the machine, and the value to write, if the table says that it works.
    pub reset: Option<(Gas, u8)>,
    /// Machine address of the DSDT.
    pub dsdt: Option<u64>,
}

impl Fadt {
    /// Reads a table whose header is already checked; `None` if even the ACPI 1.0 part is cut.
    pub(super) fn parse(table: &[u8]) -> Option<Self> {
        let flags = u32_at(table, 112)?;
        let register = |old_at: usize, bytes_at: usize, new_at: usize| {
            let new = slice_at(table, new_at, 12)
                .and_then(Gas::parse)
                .filter(|g| g.address != 0);
            let old = || {
                let address = u64::from(u32_at(table, old_at)?);
                let bit_width = u8_at(table, bytes_at)?.saturating_mul(8);
                (address != 0).then_some(Gas {
                    space: Gas::IO,
                    bit_width,
                    bit_offset: 0,
                    access: 0,
                    address,
                })
            };
            new.or_else(old)
        };
        let reset_register = slice_at(table, 116, 12)
            .and_then(Gas::parse)
            .filter(|g| g.address != 0);
        let new_dsdt = u64_at(table, 140).filter(|a| *a != 0);
        let old_dsdt = u32_at(table, 40).filter(|a| *a != 0).map(u64::from);
        Some(Self {
            sci_int: u16_at(table, 46)?,
            smi_cmd: u32_at(table, 48)?,
            pm1a_event: register(56, 88, 148),
            pm1b_event: register(60, 88, 160),
            pm1a_control: register(64, 89, 172),
            pm1b_control: register(68, 89, 184),
            pm_timer: register(76, 91, 208),
            pm_timer_32bit: flags & 1 << 8 != 0,
            century: u8_at(table, 108)?,
            boot_flags: u16_at(table, 109)?,
            reset: reset_register
                .zip(u8_at(table, 128))
                .filter(|_| flags & 1 << 10 != 0),
            dsdt: new_dsdt.or(old_dsdt),
        })
    }
}

/// Finds `Name (\_S5, Package () { a, b, ... })` in a DSDT without an AML interpreter, by its bytes.
///
/// The name is followed by PackageOp, a package length of one to four bytes, the element count, then integers.
pub(super) fn find_s5(dsdt: &[u8]) -> Option<(u8, u8)> {
    dsdt.windows(5)
        .enumerate()
        .filter(|(_, w)| *w == b"_S5_\x12")
        .find_map(|(at, _)| {
            let length_at = at + 5;
            let extra = usize::from(u8_at(dsdt, length_at)? >> 6);
            let count_at = length_at + 1 + extra;
            if u8_at(dsdt, count_at)? < 2 {
                return None;
            }
            let (a, next) = aml_small_integer(dsdt, count_at + 1)?;
            let (b, _) = aml_small_integer(dsdt, next)?;
            (a < 8 && b < 8).then_some((a, b))
        })
}

/// An AML integer that fits in a byte: ZeroOp, OneOp or BytePrefix; and where the next term begins.
fn aml_small_integer(aml: &[u8], at: usize) -> Option<(u8, usize)> {
    match u8_at(aml, at)? {
        0x0a => Some((u8_at(aml, at + 1)?, at + 2)),
        small @ (0 | 1) => Some((small, at + 1)),
        _ => None,
    }
}
