//! PCI configuration space, through ports 0xcf8 and 0xcfc or, where known, through memory.

// UNSAFETY: accesses configuration space that is mapped into memory.
#![expect(unsafe_code)]

use alloc::vec::Vec;

use rexen_core::sync::Mutex;

use crate::cpu::regs::{inb, inl, inw, outb, outl, outw};
use crate::mm::map_mmio;

/// A PCI function.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Function {
    /// Segment group.
    pub segment: u16,
    /// Bus.
    pub bus: u8,
    /// Device in bits 7 to 3, function in bits 2 to 0.
    pub devfn: u8,
}

struct Window {
    segment: u16,
    first_bus: u8,
    last_bus: u8,
    /// Where bus 0 would be mapped.
    base: u64,
}

static PORTS: Mutex<()> = Mutex::new(());
static WINDOWS: Mutex<Vec<Window>> = Mutex::new(Vec::new());

/// Adds memory-mapped configuration space: `maddr` is where bus 0 of the segment would be.
pub fn add_mmcfg(maddr: u64, segment: u16, first_bus: u8, last_bus: u8) {
    if first_bus > last_bus {
        return;
    }
    let skip = u64::from(first_bus) << 20;
    let bytes = (u64::from(last_bus - first_bus) + 1) << 20;
    let mut windows = WINDOWS.lock();
    if !windows
        .iter()
        .any(|w| w.segment == segment && w.first_bus == first_bus)
    {
        let base = map_mmio(maddr + skip, bytes) as u64 - skip;
        windows.push(Window {
            segment,
            first_bus,
            last_bus,
            base,
        });
    }
}

/// The address of a register in memory, if it is mapped.
fn in_memory(f: Function, register: u16) -> Option<u64> {
    let windows = WINDOWS.lock();
    let w = windows
        .iter()
        .find(|w| w.segment == f.segment && (w.first_bus..=w.last_bus).contains(&f.bus))?;
    Some(w.base + (u64::from(f.bus) << 20 | u64::from(f.devfn) << 12 | u64::from(register & 0xfff)))
}

/// The value for port 0xcf8 that selects a register, if the ports can reach it.
fn selector(f: Function, register: u16) -> Option<u32> {
    (f.segment == 0 && register < 256).then(|| {
        1 << 31 | u32::from(f.bus) << 16 | u32::from(f.devfn) << 8 | u32::from(register & 0xfc)
    })
}

/// Reads 1, 2 or 4 aligned bytes of configuration space; all ones where nothing is.
pub fn read(f: Function, register: u16, bytes: u8) -> u32 {
    if let Some(select) = selector(f, register) {
        return read_port(select, (register & 3) as u8, bytes);
    }
    let ones = u32::MAX >> (32 - 8 * u32::from(bytes.clamp(1, 4)));
    let Some(at) = in_memory(f, register) else {
        return ones;
    };
    // SAFETY: inside a mapped window; reading configuration space does not touch RAM.
    unsafe {
        match bytes {
            1 => (at as *const u8).read_volatile().into(),
            2 => (at as *const u16).read_volatile().into(),
            _ => (at as *const u32).read_volatile(),
        }
    }
}

/// Writes 1, 2 or 4 aligned bytes of configuration space. Ignored where nothing is.
pub fn write(f: Function, register: u16, bytes: u8, value: u32) {
    if let Some(select) = selector(f, register) {
        return write_port(select, (register & 3) as u8, bytes, value);
    }
    let Some(at) = in_memory(f, register) else {
        return;
    };
    // SAFETY: inside a mapped window; what the device then does is decided by who asked for the write.
    unsafe {
        match bytes {
            1 => (at as *mut u8).write_volatile(value as u8),
            2 => (at as *mut u16).write_volatile(value as u16),
            _ => (at as *mut u32).write_volatile(value),
        }
    }
}

/// One access through the ports: `select` goes to 0xcf8, then 1, 2 or 4 bytes are read at 0xcfc + `offset` (0 to 3).
pub fn read_port(select: u32, offset: u8, bytes: u8) -> u32 {
    let port = 0xcfc + u16::from(offset & 3);
    let _held = PORTS.lock();
    outl(0xcf8, select);
    match bytes {
        1 => inb(port).into(),
        2 => inw(port).into(),
        _ => inl(port),
    }
}

/// As [`read_port`], but writes.
pub fn write_port(select: u32, offset: u8, bytes: u8, value: u32) {
    let port = 0xcfc + u16::from(offset & 3);
    let _held = PORTS.lock();
    outl(0xcf8, select);
    match bytes {
        1 => outb(port, value as u8),
        2 => outw(port, value as u16),
        _ => outl(port, value),
    }
}

/// The offset of a capability in a function's list, if it is there.
pub fn find_capability(f: Function, id: u8) -> Option<u16> {
    const STATUS_HAS_LIST: u32 = 1 << 4;
    if read(f, 6, 2) & STATUS_HAS_LIST == 0 {
        return None;
    }
    let mut at = read(f, 0x34, 1) as u16 & 0xfc;
    // 48 capabilities fill the space: a longer list is a loop.
    for _ in 0..48 {
        if at < 0x40 {
            return None;
        }
        let head = read(f, at, 2);
        if head as u8 == id {
            return Some(at);
        }
        at = (head >> 8) as u16 & 0xfc;
    }
    None
}

/// The machine address of memory BAR `index`, if the function has it and it is set.
pub fn memory_bar(f: Function, index: u8) -> Option<u64> {
    let register = 0x10 + u16::from(index) * 4;
    let low = read(f, register, 4);
    if index > 5 || low & 1 != 0 {
        return None;
    }
    let high = if low & 6 == 4 && index < 5 {
        read(f, register + 4, 4)
    } else {
        0
    };
    let address = u64::from(high) << 32 | u64::from(low & !0xf);
    (address != 0).then_some(address)
}
