//! The kinds of values that options take, and how each is read.

use crate::units::PAGE_SIZE;

/// The most pages that a domain may have.
const MAX_PAGES: u64 = u32::MAX as u64;

/// An amount of memory, absolute or by what is left to others.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MemSize {
    /// So many bytes.
    Bytes(u64),
    /// All but so many bytes.
    AllBut(u64),
}

impl MemSize {
    /// In pages, where `available` pages are to be had.
    pub const fn pages(self, available: u64) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes / PAGE_SIZE,
            Self::AllBut(bytes) => available.saturating_sub(bytes / PAGE_SIZE),
        }
    }
}

/// `dom0_mem=`: how much memory domain 0 gets.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Dom0Mem {
    /// What it gets at boot; `None`: nearly all there is.
    pub size: Option<MemSize>,
    /// The least that it gets at boot.
    pub min: Option<MemSize>,
    /// The most that it gets at boot, and may have later.
    pub max: Option<MemSize>,
}

impl Dom0Mem {
    /// (pages at boot, most pages ever), where `available` pages are free.
    ///
    /// Without a size, a sixteenth but at most 128 MiB stays with the hypervisor. A size that is more than there is stays
    /// so: booting with less than was asked for would hide the mistake. The most ever fits 32 bits, because hypercalls
    /// give it as a number that must not be negative.
    pub fn resolve(&self, available: u64) -> (u64, u64) {
        let reserve = (available / 16).min((128 << 20) / PAGE_SIZE);
        let size = self
            .size
            .map_or(available - reserve, |s| s.pages(available));
        let min = self.min.map_or(0, |s| s.pages(available));
        let max = self.max.map_or(MAX_PAGES, |s| s.pages(available));
        let pages = size.max(min).min(max);
        (pages, max.max(pages))
    }

    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut mem = Self::default();
        for part in text.split(',') {
            let (field, size) = match part.split_once(':') {
                None => (&mut mem.size, part),
                Some(("min", size)) => (&mut mem.min, size),
                Some(("max", size)) => (&mut mem.max, size),
                Some(_) => return None,
            };
            *field = Some(match size.strip_prefix('-') {
                Some(rest) => MemSize::AllBut(parse_size(rest)?),
                None => MemSize::Bytes(parse_size(size).filter(|s| *s >= PAGE_SIZE)?),
            });
        }
        Some(mem)
    }
}

/// `dom0_max_vcpus=`: a number of vcpus, or its bounds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct VcpuRange {
    /// At least so many; 1 or more.
    pub min: u32,
    /// At most so many.
    pub max: u32,
}

impl VcpuRange {
    /// How many vcpus, where there are `cpus` CPUs.
    pub fn resolve(self, cpus: u32) -> u32 {
        cpus.clamp(self.min, self.max)
    }

    /// `N`, `N-M`, `N-` or `-M`.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (min, max) = match text.split_once('-') {
            None => {
                let n = parse_number(text)?;
                (n, n)
            }
            Some(("", "")) => return None,
            Some((min, "")) => (parse_number(min)?, u32::MAX),
            Some(("", max)) => (1, parse_number(max)?),
            Some((min, max)) => (parse_number(min)?, parse_number(max)?),
        };
        (1 <= min && min <= max).then_some(Self { min, max })
    }
}

/// `console=`: where the hypervisor's lines go.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Consoles {
    /// The first serial port.
    pub com1: bool,
    /// The second serial port.
    pub com2: bool,
}

impl Default for Consoles {
    fn default() -> Self {
        Self {
            com1: true,
            com2: false,
        }
    }
}

impl Consoles {
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut consoles = Self {
            com1: false,
            com2: false,
        };
        for name in text.split(',') {
            match name {
                "com1" => consoles.com1 = true,
                "com2" => consoles.com2 = true,
                // The hypervisor draws on no screen; the word is common in boot menus made for Xen.
                "none" | "vga" => {}
                _ => return None,
            }
        }
        Some(consoles)
    }
}

/// The parity bit of a serial line.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Parity {
    /// No parity bit.
    None,
    /// Odd parity.
    Odd,
    /// Even parity.
    Even,
    /// Always 1.
    Mark,
    /// Always 0.
    Space,
}

/// `com1=`, `com2=`: a serial port.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ComPort {
    /// Bits per second; `None`: as the firmware left it.
    pub baud: Option<u32>,
    /// Data bits, 5 to 8.
    pub data_bits: u8,
    /// Parity.
    pub parity: Parity,
    /// Stop bits, 1 or 2.
    pub stop_bits: u8,
    /// The first I/O port.
    pub port: u16,
    /// The interrupt; 0 means none, poll.
    pub irq: u8,
}

impl ComPort {
    /// The first port of a PC.
    pub const COM1: Self = Self {
        baud: Some(115_200),
        data_bits: 8,
        parity: Parity::None,
        stop_bits: 1,
        port: 0x3f8,
        irq: 4,
    };
    /// The second.
    pub const COM2: Self = Self {
        port: 0x2f8,
        irq: 3,
        ..Self::COM1
    };

    /// `BAUD[,DPS[,PORT[,IRQ]]]` over `self` as default. BAUD may be `auto`; DPS is such as `8n1`.
    pub(super) fn parse(self, text: &str) -> Option<Self> {
        let mut port = self;
        let mut parts = text.split(',');
        port.baud = match parts.next()? {
            "auto" => None,
            baud => Some(parse_number(baud).filter(|b| (50..=4_000_000).contains(b))?),
        };
        if let Some(format) = parts.next().filter(|p| !p.is_empty()) {
            let [data, parity, stop] = *format.as_bytes().as_array::<3>()?;
            port.data_bits = (b'5'..=b'8').contains(&data).then(|| data - b'0')?;
            port.parity = match parity {
                b'n' => Parity::None,
                b'o' => Parity::Odd,
                b'e' => Parity::Even,
                b'm' => Parity::Mark,
                b's' => Parity::Space,
                _ => return None,
            };
            port.stop_bits = (b'1'..=b'2').contains(&stop).then(|| stop - b'0')?;
        }
        if let Some(base) = parts.next().filter(|p| !p.is_empty()) {
            port.port = parse_number(base)
                .and_then(|n| u16::try_from(n).ok())
                .filter(|p| *p != 0 && *p <= 0xfff8)?;
        }
        if let Some(irq) = parts.next() {
            port.irq = parse_number(irq)
                .and_then(|n| u8::try_from(n).ok())
                .filter(|i| *i < 16)?;
        }
        parts.next().is_none().then_some(port)
    }
}

/// How grave a message is; the lower, the graver.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum LogLevel {
    /// As a threshold: no message.
    None,
    /// Something asked for failed.
    Error,
    /// Odd, but served.
    Warning,
    /// A rare change of state.
    Info,
    /// Anything else.
    Debug,
}

impl LogLevel {
    fn parse(text: &str) -> Option<Self> {
        match text {
            "none" => Some(Self::None),
            "error" => Some(Self::Error),
            "warning" => Some(Self::Warning),
            "info" => Some(Self::Info),
            "debug" | "all" => Some(Self::Debug),
            _ => None,
        }
    }
}

/// `loglvl=`, `guest_loglvl=`: which messages are printed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LogThresholds {
    /// Messages up to this level are always printed.
    pub always: LogLevel,
    /// Messages up to this level are printed at a limited rate; not below `always`.
    pub limited: LogLevel,
}

impl LogThresholds {
    /// `LEVEL` or `LEVEL/RATE_LIMITED_LEVEL`.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (always, limited) = text.split_once('/').unwrap_or((text, text));
        let (always, limited) = (LogLevel::parse(always)?, LogLevel::parse(limited)?);
        Some(Self {
            always,
            limited: limited.max(always),
        })
    }
}

/// A decimal number, or a hexadecimal one after `0x`.
pub(super) fn parse_number(text: &str) -> Option<u32> {
    let (digits, radix) = text.strip_prefix("0x").map_or((text, 10), |hex| (hex, 16));
    // from_str_radix would take a sign.
    digits.bytes().next().filter(u8::is_ascii_hexdigit)?;
    u32::from_str_radix(digits, radix).ok()
}

/// A size in bytes: a number and B, K, M, G or T; without a letter it means KiB, as in Xen.
pub(super) fn parse_size(text: &str) -> Option<u64> {
    let (digits, shift) = match text.as_bytes().last()?.to_ascii_uppercase() {
        b'B' => (&text[..text.len() - 1], 0),
        b'K' => (&text[..text.len() - 1], 10),
        b'M' => (&text[..text.len() - 1], 20),
        b'G' => (&text[..text.len() - 1], 30),
        b'T' => (&text[..text.len() - 1], 40),
        _ => (text, 10),
    };
    digits.bytes().next().filter(u8::is_ascii_digit)?;
    digits.parse::<u64>().ok()?.checked_mul(1 << shift)
}

/// Yes or no, in the spellings that Xen takes; no value means yes.
pub(super) fn parse_switch(value: Option<&str>) -> Option<bool> {
    match value {
        None | Some("yes" | "on" | "true" | "enable" | "1") => Some(true),
        Some("no" | "off" | "false" | "disable" | "0") => Some(false),
        Some(_) => None,
    }
}
