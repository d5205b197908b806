//! Message-signalled interrupts: MSI and MSI-X of PCI functions.
//!
//! Only the hypervisor writes addresses and data, so a guest cannot make a device raise a vector that is not its own.

// UNSAFETY: writes MSI-X tables, which are device memory.
#![expect(unsafe_code)]

use alloc::vec::Vec;

use rexen_core::sync::Mutex;
use rexen_core::units::CpuId;

use super::{apic, pci};
use crate::mm::map_mmio;

/// Capability id of MSI.
pub const CAP_MSI: u8 = 5;
/// Capability id of MSI-X.
pub const CAP_MSIX: u8 = 0x11;

const MSI_ENABLE: u32 = 1;
const MSI_64BIT: u32 = 1 << 7;
const MSI_MASKABLE: u32 = 1 << 8;
const MSIX_ENABLE: u32 = 1 << 15;
const MSIX_MASK_ALL: u32 = 1 << 14;

/// What a message interrupt lacks, so that it could not be set up.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MsiError {
    /// The function lacks the capability.
    Capability,
    /// The MSI-X table has no such entry.
    Entry,
    /// The MSI-X table's BAR is not a set memory BAR.
    Bar,
}

/// Which message of which function.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Message {
    /// The only MSI message that we use.
    Msi(pci::Function),
    /// An entry of the MSI-X table.
    MsiX(pci::Function, u16),
}

/// An MSI-X table that is mapped.
struct Table {
    maddr: u64,
    entries: u16,
    base: u64,
}

static TABLES: Mutex<Vec<Table>> = Mutex::new(Vec::new());

fn address_for(cpu: CpuId) -> u32 {
    0xfee0_0000 | (apic::id_of(cpu) & 0xff) << 12
}

/// Makes `message` raise `vector` on `cpu`, and unmasks it. MSI-X is enabled for the function, MSI too.
///
/// # Errors
/// See [`MsiError`]; nothing is changed then.
pub fn program(message: Message, vector: u8, cpu: CpuId) -> Result<(), MsiError> {
    match message {
        Message::Msi(f) => {
            let cap = pci::find_capability(f, CAP_MSI).ok_or(MsiError::Capability)?;
            let control = pci::read(f, cap + 2, 2);
            pci::write(f, cap + 4, 4, address_for(cpu));
            let data = if control & MSI_64BIT != 0 {
                pci::write(f, cap + 8, 4, 0);
                cap + 12
            } else {
                cap + 8
            };
            pci::write(f, data, 2, vector.into());
            if control & MSI_MASKABLE != 0 {
                pci::write(f, data + 4, 4, pci::read(f, data + 4, 4) & !1);
            }
            // One message: the multiple-message field stays 0.
            pci::write(f, cap + 2, 2, control & !0x70 | MSI_ENABLE);
        }
        Message::MsiX(f, index) => {
            let cap = pci::find_capability(f, CAP_MSIX).ok_or(MsiError::Capability)?;
            let entry = entry(f, cap, index)?;
            // Enabled with everything masked while the entry changes; also makes the table decode.
            let control = pci::read(f, cap + 2, 2);
            pci::write(f, cap + 2, 2, control | MSIX_ENABLE | MSIX_MASK_ALL);
            write_word(entry, 3, 1);
            write_word(entry, 0, address_for(cpu));
            write_word(entry, 1, 0);
            write_word(entry, 2, vector.into());
            write_word(entry, 3, 0);
            pci::write(f, cap + 2, 2, control & !MSIX_MASK_ALL | MSIX_ENABLE);
        }
    }
    Ok(())
}

/// Masks or unmasks a message. Gives false where MSI without mask bits cannot.
pub fn set_masked(message: Message, masked: bool) -> bool {
    match message {
        Message::Msi(f) => {
            let Some(cap) = pci::find_capability(f, CAP_MSI) else {
                return false;
            };
            let control = pci::read(f, cap + 2, 2);
            if control & MSI_MASKABLE == 0 {
                return false;
            }
            let at = cap + if control & MSI_64BIT != 0 { 16 } else { 12 };
            pci::write(f, at, 4, pci::read(f, at, 4) & !1 | u32::from(masked));
            true
        }
        Message::MsiX(f, index) => {
            let found = pci::find_capability(f, CAP_MSIX)
                .ok_or(MsiError::Capability)
                .and_then(|c| entry(f, c, index));
            if let Ok(entry) = found {
                write_word(entry, 3, masked.into());
            }
            found.is_ok()
        }
    }
}

/// Switches a message off: MSI for the whole function, MSI-X by masking the entry.
pub fn disable(message: Message) {
    match message {
        Message::Msi(f) => {
            if let Some(cap) = pci::find_capability(f, CAP_MSI) {
                pci::write(f, cap + 2, 2, pci::read(f, cap + 2, 2) & !MSI_ENABLE);
            }
        }
        Message::MsiX(..) => {
            set_masked(message, true);
        }
    }
}

fn table_place(f: pci::Function, cap: u16) -> Result<(u64, u16), MsiError> {
    let entries = (pci::read(f, cap + 2, 2) as u16 & 0x7ff) + 1;
    let place = pci::read(f, cap + 4, 4);
    let bar = pci::memory_bar(f, (place & 7) as u8).ok_or(MsiError::Bar)?;
    Ok((bar + u64::from(place & !7), entries))
}

/// The address of an MSI-X table entry; maps the table on first use, and again if domain 0 has moved the BAR.
fn entry(f: pci::Function, cap: u16, index: u16) -> Result<u64, MsiError> {
    let (maddr, entries) = table_place(f, cap)?;
    if index >= entries {
        return Err(MsiError::Entry);
    }
    let mut tables = TABLES.lock();
    let known = tables
        .iter()
        .find(|t| t.maddr == maddr && t.entries >= entries)
        .map(|t| t.base);
    let base = known.unwrap_or_else(|| {
        let base = map_mmio(maddr, u64::from(entries) * 16) as u64;
        tables.push(Table {
            maddr,
            entries,
            base,
        });
        base
    });
    Ok(base + u64::from(index) * 16)
}

fn write_word(entry: u64, word: u64, value: u32) {
    // SAFETY: `entry` checked that this is an entry of a mapped MSI-X table.
    unsafe { ((entry + word * 4) as *mut u32).write_volatile(value) };
}
