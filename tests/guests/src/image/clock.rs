//! System time, as a PV guest computes it from its vcpu_time_info (pv-abi 6).

// UNSAFETY: reading the TSC.
#![expect(unsafe_code)]

use super::{event, memory};
use core::arch::asm;

/// Nanoseconds since the hypervisor started, as vcpu 0 sees them.
pub fn now() -> u64 {
    let time = event::shared_info() + 0x20;
    loop {
        let version = memory::read(time) as u32;
        let (stamp, system, scale) = (
            memory::read(time + 8),
            memory::read(time + 16),
            memory::read(time + 24),
        );
        let (low, high): (u64, u64);
        // SAFETY: reads a register.
        unsafe { asm!("lfence", "rdtsc", out("rax") low, out("rdx") high, options(nostack)) };
        if version & 1 == 1 || version != memory::read(time) as u32 {
            continue;
        }
        let delta = (high << 32 | low).saturating_sub(stamp);
        let shift = (scale >> 32) as i8;
        let delta = if shift >= 0 {
            delta << shift
        } else {
            delta >> -shift
        };
        return system + ((u128::from(delta) * u128::from(scale as u32)) >> 32) as u64;
    }
}
