//! Addresses of PCI functions given to a domain.

use super::SpecError;
use std::fmt;
use std::str::FromStr;

/// A PCI function of the machine, written `0000:00:1d.7`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PciAddress {
    /// The PCI domain (segment).
    pub segment: u16,
    /// The bus.
    pub bus: u8,
    /// The device on the bus, below 32.
    pub device: u8,
    /// The function of the device, below 8.
    pub function: u8,
}

const EXPECTED: &str = "BUS,DEV,FUNC or [SEGMENT:]BUS:DEV.FUNC, in hexadecimal";

impl PciAddress {
    /// Checks the ranges of an address.
    ///
    /// # Errors
    /// A part is too large.
    pub fn try_new(segment: u32, bus: u32, device: u32, function: u32) -> Result<Self, SpecError> {
        let made = || {
            Some(Self {
                segment: segment.try_into().ok()?,
                bus: bus.try_into().ok()?,
                device: device.try_into().ok().filter(|nr| *nr < 32)?,
                function: function.try_into().ok().filter(|nr| *nr < 8)?,
            })
        };
        let value = || format!("{segment:x}:{bus:x}:{device:x}.{function:x}");
        made().ok_or_else(|| {
            SpecError::invalid(
                "pci",
                value(),
                "bus up to ff, device up to 1f, function up to 7",
            )
        })
    }
}

impl FromStr for PciAddress {
    type Err = SpecError;

    fn from_str(text: &str) -> Result<Self, SpecError> {
        let invalid = || SpecError::invalid("pci", text, EXPECTED);
        let hex = |part: &str| {
            let part = part.trim();
            let digits = !part.is_empty() && part.bytes().all(|b| b.is_ascii_hexdigit());
            digits
                .then(|| u32::from_str_radix(part, 16).ok())
                .flatten()
                .ok_or_else(invalid)
        };
        let parts: Vec<&str> = text.split(',').collect();
        if let [bus, device, function] = parts[..]
            && !bus.contains(':')
        {
            return Self::try_new(0, hex(bus)?, hex(device)?, hex(function)?);
        }
        if parts.len() > 1 || text.contains('@') {
            let reason = "options and virtual slots are not offered; write the address alone";
            return Err(SpecError::refused(format!("pci={text:?}"), reason));
        }
        let (rest, function) = text.rsplit_once('.').ok_or_else(invalid)?;
        let parts: Vec<&str> = rest.split(':').collect();
        match parts[..] {
            [bus, device] => Self::try_new(0, hex(bus)?, hex(device)?, hex(function)?),
            [segment, bus, device] => {
                Self::try_new(hex(segment)?, hex(bus)?, hex(device)?, hex(function)?)
            }
            _ => Err(invalid()),
        }
    }
}

impl fmt::Display for PciAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:04x}:{:02x}:{:02x}.{:x}",
            self.segment, self.bus, self.device, self.function
        )
    }
}
