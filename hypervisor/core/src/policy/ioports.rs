//! Which I/O ports a domain may reach, and which of them the hypervisor answers itself.
//!
//! Asked after the guest's own check (`emulate::io`). A refused port is no fault: reads give ones, writes vanish.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::ops::RangeInclusive;
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::sync::Once;

/// Words of 64 ports each.
const WORDS: usize = 1024;

/// A set of I/O ports, which may change while it is asked. Empty sets, as unprivileged domains have, take no memory.
#[derive(Debug, Default)]
pub struct PortSet {
    words: Once<Box<[AtomicU64]>>,
}

/// No memory for a set of ports.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NoMemory;

impl PortSet {
    /// Every port.
    pub fn all() -> Self {
        let words = Once::new();
        words.call_once(|| (0..WORDS).map(|_| AtomicU64::new(u64::MAX)).collect());
        PortSet { words }
    }

    /// Adds ports.
    ///
    /// # Errors
    /// [`NoMemory`].
    pub fn try_allow(&self, ports: RangeInclusive<u16>) -> Result<(), NoMemory> {
        let words = match self.words.get() {
            Some(words) => words,
            None => {
                let mut words = Vec::new();
                words.try_reserve_exact(WORDS).map_err(|_| NoMemory)?;
                words.resize_with(WORDS, || AtomicU64::new(0));
                self.words.call_once(|| words.into_boxed_slice())
            }
        };
        for port in ports {
            if let Some(word) = words.get(usize::from(port >> 6)) {
                word.fetch_or(1 << (port & 63), Relaxed);
            }
        }
        Ok(())
    }

    /// Removes ports.
    pub fn deny(&self, ports: RangeInclusive<u16>) {
        let Some(words) = self.words.get() else {
            return;
        };
        for port in ports {
            if let Some(word) = words.get(usize::from(port >> 6)) {
                word.fetch_and(!(1 << (port & 63)), Relaxed);
            }
        }
    }

    /// Whether the set has `port`.
    #[inline]
    pub fn contains(&self, port: u16) -> bool {
        let Some(words) = self.words.get() else {
            return false;
        };
        words
            .get(usize::from(port >> 6))
            .is_some_and(|word| word.load(Relaxed) >> (port & 63) & 1 != 0)
    }

    /// Whether the set has all of `size` ports (1, 2 or 4) from `port` on.
    #[inline]
    pub fn contains_all(&self, port: u16, size: u8) -> bool {
        (0..u16::from(size)).all(|offset| match port.checked_add(offset) {
            Some(port) => self.contains(port),
            None => false,
        })
    }

    /// Whether the set has all ports of a range.
    pub fn contains_range(&self, mut ports: RangeInclusive<u16>) -> bool {
        ports.all(|port| self.contains(port))
    }

    /// Whether the set has any port.
    pub fn is_empty(&self) -> bool {
        self.words
            .get()
            .is_none_or(|words| words.iter().all(|word| word.load(Relaxed) == 0))
    }
}

/// Ports that the hypervisor uses itself and domain 0 must not.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct OwnedPorts {
    /// First of the eight ports of the hypervisor's UART.
    pub uart: Option<u16>,
    /// First of the four ports of the ACPI power-management timer, when it is the hypervisor's clock.
    pub pm_timer: Option<u16>,
}

const PIC: [RangeInclusive<u16>; 2] = [0x20..=0x21, 0xa0..=0xa1];
const PIT: RangeInclusive<u16> = 0x40..=0x43;
const SPEAKER: RangeInclusive<u16> = 0x61..=0x61;
const RTC: RangeInclusive<u16> = 0x70..=0x71;
const PCI_ADDRESS: u16 = 0xcf8;
const PCI_DATA: RangeInclusive<u16> = 0xcfc..=0xcff;

/// How an access is to be done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PortAccess {
    /// On the machine's port.
    Native,
    /// Not at all: read ones, forget writes.
    Denied,
    /// The PCI configuration address, 4 bytes: kept per domain in a [`PciAddress`].
    PciAddress,
    /// PCI configuration data at the kept address plus `offset` (0 to 3).
    PciData {
        /// The port's distance from 0xcfc.
        offset: u8,
    },
    /// The real-time clock's index, 1 byte: kept per domain in an [`RtcIndex`].
    RtcIndex,
    /// The real-time clock's data at the kept index, 1 byte.
    RtcData,
    /// Byte for byte, each asked about anew: the access covers ports of different kinds.
    Bytes,
}

/// A domain's ports.
#[derive(Debug, Default)]
pub struct DomainPorts {
    /// Ports reached natively. Those that are answered here are not in it.
    pub allowed: PortSet,
    /// Domain 0: PCI configuration and real-time clock are emulated.
    pub hardware_domain: bool,
}

impl DomainPorts {
    /// Domain 0's: everything but what the hypervisor owns or emulates.
    pub fn hardware(owned: &OwnedPorts) -> Self {
        let allowed = PortSet::all();
        for ports in PIC.into_iter().chain([PIT, SPEAKER, RTC, PCI_DATA]) {
            allowed.deny(ports);
        }
        if let Some(first) = owned.uart {
            allowed.deny(first..=first.saturating_add(7));
        }
        if let Some(first) = owned.pm_timer {
            allowed.deny(first..=first.saturating_add(3));
        }
        DomainPorts {
            allowed,
            hardware_domain: true,
        }
    }

    /// How to do an access of `size` bytes (1, 2 or 4) at `port`.
    #[inline]
    pub fn access(&self, port: u16, size: u8) -> PortAccess {
        if self.hardware_domain && (0x6d..=0x71).contains(&port) | (0xcf5..=0xcff).contains(&port) {
            return self.special_access(port, size);
        }
        if self.allowed.contains_all(port, size) {
            return PortAccess::Native;
        }
        if size == 1 {
            PortAccess::Denied
        } else {
            PortAccess::Bytes
        }
    }

    fn special_access(&self, port: u16, size: u8) -> PortAccess {
        let last = port.saturating_add(u16::from(size).saturating_sub(1));
        match (port, size) {
            (PCI_ADDRESS, 4) => PortAccess::PciAddress,
            (0xcfc..=0xcff, _) if last <= *PCI_DATA.end() => PortAccess::PciData {
                offset: (port & 3) as u8,
            },
            (0x70, 1) => PortAccess::RtcIndex,
            (0x71, 1) => PortAccess::RtcData,
            // 0xcf9 is the reset register, for instance.
            _ if self.allowed.contains_all(port, size) => PortAccess::Native,
            (_, 1) => PortAccess::Denied,
            _ => PortAccess::Bytes,
        }
    }
}

/// A domain's virtual PCI configuration address register (port 0xcf8).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct PciAddress(pub u32);

/// A place in PCI configuration space.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ConfigPlace {
    /// Bus number.
    pub bus: u8,
    /// Device number shifted by 3, and function.
    pub devfn: u8,
    /// Register in bytes; above 255 where the chipset takes bits 27:24 of the address (AMD).
    pub register: u16,
}

impl PciAddress {
    /// Where an access at data port 0xcfc plus `offset` (0 to 3) goes; `None` when the enable bit is off.
    #[inline]
    pub fn place(self, offset: u8) -> Option<ConfigPlace> {
        if self.0 >> 31 == 0 {
            return None;
        }
        let register =
            (self.0 & 0xfc) as u16 | u16::from(offset & 3) | (self.0 >> 16 & 0xf00) as u16;
        Some(ConfigPlace {
            bus: (self.0 >> 16) as u8,
            devfn: (self.0 >> 8) as u8,
            register,
        })
    }
}

/// A domain's virtual index register of the real-time clock (port 0x70). The NMI-disable bit is not kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct RtcIndex(u8);

impl RtcIndex {
    /// What the guest writes to port 0x70.
    pub fn write(&mut self, value: u8) {
        self.0 = value & 0x7f;
    }
    /// The index to put into the real port 0x70 before touching 0x71, and what the guest reads from 0x70.
    pub fn get(self) -> u8 {
        self.0
    }
}
