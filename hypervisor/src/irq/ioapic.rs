//! IO-APICs: pins, found by their global number (GSI).

// UNSAFETY: accesses device registers.
#![expect(unsafe_code)]

use alloc::vec::Vec;

use rexen_core::options::LogLevel;
use rexen_core::platform::acpi::IoApic as Described;
use rexen_core::sync::Mutex;
use rexen_core::units::CpuId;
use spin::Once;

use super::apic;
use crate::log;
use crate::mm::map_mmio;

/// How a line signals.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Line {
    /// The interrupt lasts as long as the level does.
    pub level: bool,
    /// Low means interrupt.
    pub active_low: bool,
}

const MASKED: u32 = 1 << 16;
const LEVEL: u32 = 1 << 15;
const ACTIVE_LOW: u32 = 1 << 13;
const SELECT: u64 = 0;
const WINDOW: u64 = 0x10;
const VERSION: u32 = 1;
const FIRST_ENTRY: u32 = 0x10;

struct IoApic {
    id: u8,
    maddr: u64,
    gsi_base: u32,
    pins: u32,
    state: Mutex<State>,
}

/// The select and data registers belong together; `low` remembers the low word of each pin.
struct State {
    registers: u64,
    low: Vec<u32>,
}

static IO_APICS: Once<Vec<IoApic>> = Once::new();

impl State {
    fn read(&mut self, register: u32) -> u32 {
        // SAFETY: `init` mapped the register page for good; the lock keeps the two accesses together.
        unsafe {
            ((self.registers + SELECT) as *mut u32).write_volatile(register);
            ((self.registers + WINDOW) as *const u32).read_volatile()
        }
    }

    fn write(&mut self, register: u32, value: u32) {
        // SAFETY: as `read`. Entries only ever name vectors of ours and CPUs that are up.
        unsafe {
            ((self.registers + SELECT) as *mut u32).write_volatile(register);
            ((self.registers + WINDOW) as *mut u32).write_volatile(value);
        }
    }

    fn set_low(&mut self, pin: u32, value: u32) {
        if let Some(low) = self.low.get_mut(pin as usize) {
            *low = value;
            self.write(FIRST_ENTRY + pin * 2, value);
        }
    }
}

/// Maps the IO-APICs and masks all their pins.
pub fn init(described: &[Described]) {
    IO_APICS.call_once(|| described.iter().map(start).collect());
}

fn start(d: &Described) -> IoApic {
    let mut state = State {
        registers: map_mmio(d.address.into(), 4096) as u64,
        low: Vec::new(),
    };
    let version = state.read(VERSION);
    let pins = (version >> 16 & 0xff) + 1;
    state.low.resize(pins as usize, MASKED);
    for pin in 0..pins {
        state.set_low(pin, MASKED);
    }
    let last = d.gsi_base + pins - 1;
    log!(
        LogLevel::Info,
        "IO-APIC {}: version {:#x}, at {:#x}, GSI {}-{last}",
        d.id,
        version & 0xff,
        d.address,
        d.gsi_base
    );
    IoApic {
        id: d.id,
        maddr: d.address.into(),
        gsi_base: d.gsi_base,
        pins,
        state: Mutex::new(state),
    }
}

fn all() -> &'static [IoApic] {
    IO_APICS.get().map_or(&[], |v| v)
}

fn find(gsi: u32) -> Option<(&'static IoApic, u32)> {
    all().iter().find_map(|a| {
        gsi.checked_sub(a.gsi_base)
            .filter(|&pin| pin < a.pins)
            .map(|pin| (a, pin))
    })
}

/// One more than the highest GSI.
pub fn nr_gsis() -> u32 {
    all().iter().map(|a| a.gsi_base + a.pins).max().unwrap_or(0)
}

/// Id, machine address and first GSI of each IO-APIC.
pub fn list() -> impl Iterator<Item = (u8, u64, u32)> {
    all().iter().map(|a| (a.id, a.maddr, a.gsi_base))
}

/// Sets what a pin does: `vector` on `cpu`. Unknown GSIs are ignored.
pub fn program(gsi: u32, vector: u8, cpu: CpuId, line: Line, masked: bool) {
    let Some((io_apic, pin)) = find(gsi) else {
        return;
    };
    let mut low = u32::from(vector);
    if line.level {
        low |= LEVEL;
    }
    if line.active_low {
        low |= ACTIVE_LOW;
    }
    let mut state = io_apic.state.lock();
    state.set_low(pin, low | MASKED);
    state.write(FIRST_ENTRY + pin * 2 + 1, apic::id_of(cpu) << 24);
    if !masked {
        state.set_low(pin, low);
    }
}

/// Masks a pin.
pub fn mask(gsi: u32) {
    change(gsi, |low| low | MASKED);
}

/// Unmasks a pin.
pub fn unmask(gsi: u32) {
    change(gsi, |low| low & !MASKED);
}

fn change(gsi: u32, f: impl Fn(u32) -> u32) {
    if let Some((io_apic, pin)) = find(gsi) {
        let mut state = io_apic.state.lock();
        if let Some(&low) = state.low.get(pin as usize) {
            state.set_low(pin, f(low));
        }
    }
}

/// Whether a GSI has a pin at all.
pub fn exists(gsi: u32) -> bool {
    find(gsi).is_some()
}

/// Reads a register of the IO-APIC at machine address `maddr`, for PHYSDEVOP_apic_read; `None` if there is none.
pub fn read_register(maddr: u64, register: u32) -> Option<u32> {
    let io_apic = all().iter().find(|a| a.maddr == maddr)?;
    Some(io_apic.state.lock().read(register & 0xff))
}
