//! The time, from the vcpu's time information.

use rexen_guests::{machine, memory};

use crate::INFO;
use rexen_guests::crew;

/// Cycles.
pub fn cycles() -> u64 {
    let (low, high): (u32, u32);
    machine!("rdtsc", out("eax") low, out("edx") high, options(nomem, nostack));
    u64::from(high) << 32 | u64::from(low)
}

/// Nanoseconds since the machine was started, about.
pub fn now() -> u64 {
    let at = INFO.get()[crew::index()] + 32;
    let (before, system) = (memory::read(at + 8), memory::read(at + 16));
    let scale = memory::read(at + 24);
    let (multiplier, shift) = (scale & 0xffff_ffff, (scale >> 32) as i8);
    let passed = cycles().wrapping_sub(before);
    let passed = match shift {
        0.. => passed << (shift & 31),
        _ => passed >> (shift.unsigned_abs() & 31),
    };
    system.wrapping_add(((u128::from(passed) * u128::from(multiplier)) >> 32) as u64)
}
