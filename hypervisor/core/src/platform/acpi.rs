//! The ACPI tables that the hypervisor reads itself; all others are domain 0's.
//!
//! [`AcpiInfo::find`] walks from the root pointer to MADT, MCFG, HPET and FADT. A table with a bad length or checksum is
//! noted in [`AcpiInfo::problems`] and skipped: a machine with a bad HPET table still boots. Source: ACPI 6.5, chapter 5.

mod fadt;
mod madt;

use alloc::vec::Vec;
use core::fmt;

pub use fadt::{Fadt, Gas};
pub use madt::{InterruptOverride, IoApic, LocalApic, LocalApicNmi, Madt, NmiSource};

use super::bytes::{slice_at, u8_at, u16_at, u32_at, u64_at};
use super::{PhysRead, read_array, read_vec};

/// Length of the header that all tables share.
const HEADER: usize = 36;
/// A longer table is refused; real DSDTs stay below.
const MAX_TABLE_BYTES: u32 = 4 << 20;
/// More tables than this are not looked at.
const MAX_TABLES: usize = 256;

/// A table's four-letter name.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Signature(pub [u8; 4]);

impl fmt::Display for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0
            .iter()
            .try_for_each(|b| write!(f, "{}", b.escape_ascii()))
    }
}

impl fmt::Debug for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Why a table could not be used.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AcpiError {
    /// There is no root pointer where firmware must put one.
    NoRootPointer,
    /// The table at this machine address is out of reach.
    Unreadable(u64),
    /// The bytes of the table do not add up to zero.
    BadChecksum(Signature),
    /// The length field is below the table's fixed part or absurdly large.
    BadLength(Signature, u32),
    /// The root table is neither RSDT nor XSDT.
    BadRoot(Signature),
}

impl fmt::Display for AcpiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoRootPointer => f.write_str("no ACPI root pointer found"),
            Self::Unreadable(a) => write!(f, "the ACPI table at {a:#x} is not readable"),
            Self::BadChecksum(s) => write!(f, "the ACPI table {s} has a bad checksum"),
            Self::BadLength(s, len) => {
                write!(f, "the ACPI table {s} has a bad length of {len} bytes")
            }
            Self::BadRoot(s) => write!(f, "the ACPI root pointer leads to a table {s}"),
        }
    }
}

/// The root pointer's content.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rsdp {
    /// Machine address of the structure, if it was found in memory and not handed over as a copy.
    pub address: Option<u64>,
    /// 0 for ACPI 1.0, else 2.
    pub revision: u8,
    /// Machine address of the RSDT.
    pub rsdt: u32,
    /// Machine address of the XSDT, if there is one.
    pub xsdt: Option<u64>,
}

/// Where one table lies.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TableRef {
    /// Its name.
    pub signature: Signature,
    /// Its machine address.
    pub address: u64,
    /// Its length in bytes.
    pub len: u32,
}

/// One range of memory-mapped PCI configuration space (PCI firmware specification 3.3, table 4-3).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct McfgEntry {
    /// Machine address of bus 0 of the segment, even if `start_bus` is higher.
    pub base: u64,
    /// PCI segment group.
    pub segment: u16,
    /// First bus.
    pub start_bus: u8,
    /// Last bus, inclusive.
    pub end_bus: u8,
}

/// The HPET table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Hpet {
    /// Machine address of the registers.
    pub address: u64,
    /// Number of this HPET.
    pub number: u8,
    /// Least period in ticks.
    pub min_tick: u16,
}

/// What the tables say.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AcpiInfo {
    /// The root pointer.
    pub rsdp: Rsdp,
    /// All tables that the root table lists and that are readable.
    pub tables: Vec<TableRef>,
    /// CPUs and interrupt controllers.
    pub madt: Option<Madt>,
    /// Memory-mapped PCI configuration space; empty if there is none.
    pub mcfg: Vec<McfgEntry>,
    /// The first HPET.
    pub hpet: Option<Hpet>,
    /// Power ports, PM timer, reset register.
    pub fadt: Option<Fadt>,
    /// SLP_TYPa and SLP_TYPb for power-off, from `\_S5` in the DSDT.
    pub s5: Option<(u8, u8)>,
    /// What was skipped, and why.
    pub problems: Vec<AcpiError>,
}

impl AcpiInfo {
    /// Finds and reads the tables; `given` is the boot loader's copy of the root pointer, if it made one.
    ///
    /// # Errors
    /// No valid root pointer, or no usable root table. Lesser trouble is in [`AcpiInfo::problems`].
    pub fn find(mem: &impl PhysRead, given: Option<&[u8]>) -> Result<Self, AcpiError> {
        let rsdp = given
            .and_then(|bytes| parse_rsdp(bytes, None))
            .or_else(|| search_rsdp(mem));
        let rsdp = rsdp.ok_or(AcpiError::NoRootPointer)?;
        let mut info = Self {
            rsdp,
            tables: Vec::new(),
            madt: None,
            mcfg: Vec::new(),
            hpet: None,
            fadt: None,
            s5: None,
            problems: Vec::new(),
        };
        for address in root_entries(mem, &rsdp, &mut info.problems)? {
            info.read_listed_table(mem, address);
        }
        if let Some(dsdt) = info.fadt.and_then(|f| f.dsdt) {
            match read_table(mem, dsdt) {
                Ok((_, bytes)) => info.s5 = fadt::find_s5(&bytes),
                Err(problem) => info.problems.push(problem),
            }
        }
        Ok(info)
    }

    /// Reads one table that the root table lists, if it is one of ours; notes what is wrong with it.
    fn read_listed_table(&mut self, mem: &impl PhysRead, address: u64) {
        let Some(header) = read_array::<HEADER>(mem, address) else {
            self.problems.push(AcpiError::Unreadable(address));
            return;
        };
        let (signature, len) = header_fields(&header);
        self.tables.push(TableRef {
            signature,
            address,
            len,
        });
        if !matches!(&signature.0, b"APIC" | b"MCFG" | b"HPET" | b"FACP") {
            return;
        }
        let bytes = match read_table(mem, address) {
            Ok((_, bytes)) => bytes,
            Err(problem) => {
                self.problems.push(problem);
                return;
            }
        };
        let understood = match &signature.0 {
            b"APIC" => {
                self.madt = self.madt.take().or_else(|| Madt::parse(&bytes));
                self.madt.is_some()
            }
            b"HPET" => {
                self.hpet = self.hpet.or_else(|| parse_hpet(&bytes));
                self.hpet.is_some()
            }
            b"FACP" => {
                self.fadt = self.fadt.or_else(|| Fadt::parse(&bytes));
                self.fadt.is_some()
            }
            _ => {
                self.mcfg = parse_mcfg(&bytes);
                true
            }
        };
        if !understood {
            self.problems.push(AcpiError::BadLength(signature, len));
        }
    }
}

/// Where [`planted_root_pointer`] puts it: a made-up EBDA, after the BIOS data area.
const PLANTED_AT: u64 = 0x500;

/// What to write to the first page of domain 0, and where, so that it finds the root pointer: nothing if a BIOS has left one.
///
/// UEFI tells it to the boot loader alone, and the loader, `given`, to us. Linux as domain 0 of a PV hypervisor looks where a BIOS
/// would have put it (ACPI 6.5, 5.2.5.1): in 0xe0000-0xfffff, which are the machine's, and where the word at 0x40e points; that
/// page is domain 0's own, and Linux leaves what is in it alone.
pub fn planted_root_pointer(
    mem: &impl PhysRead,
    given: Option<&[u8]>,
) -> Option<[(u64, Vec<u8>); 2]> {
    let bytes = given.filter(|bytes| parse_rsdp(bytes, None).is_some())?;
    if search_rsdp(mem).is_some() {
        return None;
    }
    let segment = (PLANTED_AT >> 4) as u16;
    Some([
        (PLANTED_AT, bytes.to_vec()),
        (EBDA_SEGMENT_AT, segment.to_le_bytes().to_vec()),
    ])
}

/// The BIOS data area holds the EBDA's segment here.
const EBDA_SEGMENT_AT: u64 = 0x40e;

/// Looks for the root pointer where a BIOS puts it: in the first KiB of the EBDA, then in 0xe0000-0xfffff.
fn search_rsdp(mem: &impl PhysRead) -> Option<Rsdp> {
    let ebda =
        read_array::<2>(mem, EBDA_SEGMENT_AT).map_or(0, |b| u64::from(u16::from_le_bytes(b)) << 4);
    let in_ebda = if (0x400..0xa_0000).contains(&ebda) {
        search_range(mem, ebda, 1024)
    } else {
        None
    };
    in_ebda.or_else(|| search_range(mem, 0xe_0000, 0x2_0000))
}

fn search_range(mem: &impl PhysRead, start: u64, len: u64) -> Option<Rsdp> {
    (start..start + len).step_by(16).find_map(|at| {
        let signature = read_array::<8>(mem, at)?;
        if &signature != b"RSD PTR " {
            return None;
        }
        let whole = read_array::<36>(mem, at).map(Vec::from);
        parse_rsdp(&whole.or_else(|| read_vec(mem, at, 20))?, Some(at))
    })
}

/// Reads a root pointer: 20 bytes in ACPI 1.0, 36 since; each part has its checksum.
fn parse_rsdp(bytes: &[u8], address: Option<u64>) -> Option<Rsdp> {
    let old = bytes
        .get(..20)
        .filter(|b| b.starts_with(b"RSD PTR ") && checksum_ok(b))?;
    let revision = u8_at(old, 15)?;
    let rsdt = u32_at(old, 16)?;
    let extended = bytes.get(..36).filter(|b| revision >= 2 && checksum_ok(b));
    let xsdt = extended.and_then(|b| u64_at(b, 24)).filter(|a| *a != 0);
    (xsdt.is_some() || rsdt != 0).then_some(Rsdp {
        address,
        revision,
        rsdt,
        xsdt,
    })
}

/// The addresses that the XSDT lists, or the RSDT if the XSDT is missing or bad.
fn root_entries(
    mem: &impl PhysRead,
    rsdp: &Rsdp,
    problems: &mut Vec<AcpiError>,
) -> Result<Vec<u64>, AcpiError> {
    if let Some(xsdt) = rsdp.xsdt {
        match read_root(mem, xsdt) {
            Ok(entries) => return Ok(entries),
            Err(problem) if rsdp.rsdt != 0 => problems.push(problem),
            Err(problem) => return Err(problem),
        }
    }
    read_root(mem, rsdp.rsdt.into())
}

fn read_root(mem: &impl PhysRead, address: u64) -> Result<Vec<u64>, AcpiError> {
    let (signature, bytes) = read_table(mem, address)?;
    let body = bytes.get(HEADER..).unwrap_or(&[]);
    let entries: Vec<u64> = match &signature.0 {
        b"XSDT" => body
            .chunks_exact(8)
            .filter_map(|e| u64_at(e, 0))
            .take(MAX_TABLES)
            .collect(),
        b"RSDT" => body
            .chunks_exact(4)
            .filter_map(|e| u32_at(e, 0))
            .map(u64::from)
            .take(MAX_TABLES)
            .collect(),
        _ => return Err(AcpiError::BadRoot(signature)),
    };
    Ok(entries
        .into_iter()
        .filter(|address| *address != 0)
        .collect())
}

fn header_fields(header: &[u8; HEADER]) -> (Signature, u32) {
    let [a, b, c, d, l0, l1, l2, l3, ..] = *header;
    (
        Signature([a, b, c, d]),
        u32::from_le_bytes([l0, l1, l2, l3]),
    )
}

/// Reads a whole table and checks its length and checksum.
fn read_table(mem: &impl PhysRead, address: u64) -> Result<(Signature, Vec<u8>), AcpiError> {
    let header = read_array::<HEADER>(mem, address).ok_or(AcpiError::Unreadable(address))?;
    let (signature, len) = header_fields(&header);
    if !(HEADER as u32..=MAX_TABLE_BYTES).contains(&len) {
        return Err(AcpiError::BadLength(signature, len));
    }
    let bytes = read_vec(mem, address, len as usize).ok_or(AcpiError::Unreadable(address))?;
    if checksum_ok(&bytes) {
        Ok((signature, bytes))
    } else {
        Err(AcpiError::BadChecksum(signature))
    }
}

fn checksum_ok(bytes: &[u8]) -> bool {
    bytes.iter().fold(0u8, |sum, b| sum.wrapping_add(*b)) == 0
}

fn parse_mcfg(table: &[u8]) -> Vec<McfgEntry> {
    let entries = table.get(44..).unwrap_or(&[]).chunks_exact(16);
    let read = |e: &[u8]| {
        Some(McfgEntry {
            base: u64_at(e, 0)?,
            segment: u16_at(e, 8)?,
            start_bus: u8_at(e, 10)?,
            end_bus: u8_at(e, 11)?,
        })
    };
    entries
        .filter_map(read)
        .filter(|e| e.base != 0 && e.start_bus <= e.end_bus)
        .collect()
}

/// Reads the HPET table; only registers in memory are of use.
fn parse_hpet(table: &[u8]) -> Option<Hpet> {
    let gas = Gas::parse(slice_at(table, 40, 12)?)?;
    let hpet = Hpet {
        address: gas.address,
        number: u8_at(table, 52)?,
        min_tick: u16_at(table, 53)?,
    };
    (gas.space == Gas::MEMORY && gas.address != 0).then_some(hpet)
}

#[cfg(test)]
mod tests;
