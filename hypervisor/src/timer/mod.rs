//! Time: how fast the TSC ticks, what time it is, and one timer per CPU.
//!
//! System time is nanoseconds since [`init`], computed from the TSC with the same factor that guests are given.

pub mod platform_timer;
pub mod rtc;

use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

use rexen_core::units::Nanos;
use spin::Once;

use crate::cpu::{features, regs};
use crate::irq::apic;
use crate::println;

/// How TSC ticks become nanoseconds, in the form of `vcpu_time_info`: `ns = ((ticks << shift) * mul) >> 32`, where a
/// negative shift goes right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scale {
    /// Factor, a fraction of 2^32; its top bit is set.
    pub mul: u32,
    /// Applied to the ticks first.
    pub shift: i8,
}

struct Clock {
    tsc_khz: u64,
    scale: Scale,
    /// The TSC at system time 0.
    start: u64,
    /// TSC ticks per nanosecond, times 2^32.
    ticks_per_ns: u64,
    /// Local APIC timer ticks per nanosecond, times 2^32; 0 where the TSC deadline is used.
    apic_per_ns: u64,
}

static CLOCK: Once<Clock> = Once::new();
/// Seconds since 1970 at system time 0.
static BOOT_SECONDS: AtomicU64 = AtomicU64::new(0);

impl Scale {
    /// The factor for a TSC of `hz` ticks per second. A `hz` of 0 counts as 1.
    pub fn for_frequency(hz: u64) -> Self {
        let mut hz = hz.max(1);
        let mut shift = 0i8;
        while hz > 2_000_000_000 {
            hz >>= 1;
            shift -= 1;
        }
        while hz <= 1_000_000_000 {
            hz <<= 1;
            shift += 1;
        }
        // 2^32 * 10^9 / hz is now from 2^31 up to, but not including, 2^32.
        Scale {
            mul: ((1_000_000_000u64 << 32) / hz) as u32,
            shift,
        }
    }

    /// Nanoseconds in `ticks`.
    #[inline]
    pub fn to_ns(self, ticks: u64) -> u64 {
        let shifted = if self.shift >= 0 {
            ticks.wrapping_shl(self.shift as u32)
        } else {
            ticks >> -self.shift
        };
        ((u128::from(shifted) * u128::from(self.mul)) >> 32) as u64
    }
}

/// Measures the clocks and starts system time. Needs the local APIC of the boot CPU.
pub fn init() {
    let deadline = features().tsc_deadline;
    apic::enable_timer(deadline);
    let (tsc_hz, apic_hz, name) = platform_timer::measure();
    let tsc_khz = (tsc_hz + 500) / 1000;
    let clock = Clock {
        tsc_khz,
        scale: Scale::for_frequency(tsc_khz * 1000),
        start: regs::rdtsc(),
        ticks_per_ns: ((u128::from(tsc_khz) << 32) / 1_000_000) as u64,
        apic_per_ns: if deadline {
            0
        } else {
            ((u128::from(apic_hz) << 32) / 1_000_000_000) as u64
        },
    };
    CLOCK.call_once(|| clock);
    BOOT_SECONDS.store(rtc::read_seconds(), Relaxed);
    println!("Platform timer is {name}");
    println!(
        "Detected {}.{:03} MHz processor.",
        tsc_khz / 1000,
        tsc_khz % 1000
    );
}

/// Sets up the timer of a further CPU.
pub fn init_this() {
    apic::enable_timer(features().tsc_deadline);
}

/// Thousands of TSC ticks per second.
pub fn tsc_khz() -> u64 {
    CLOCK.get().map_or(1_000_000, |c| c.tsc_khz)
}

/// The factor from TSC ticks to nanoseconds.
pub fn scale() -> Scale {
    CLOCK.get().map_or(
        Scale {
            mul: 1 << 31,
            shift: 1,
        },
        |c| c.scale,
    )
}

/// The TSC at system time 0.
pub fn start_tsc() -> u64 {
    CLOCK.get().map_or(0, |c| c.start)
}

/// System time at a TSC value.
#[inline]
pub fn ns_at(tsc: u64) -> Nanos {
    CLOCK.get().map_or(Nanos(0), |c| {
        Nanos(c.scale.to_ns(tsc.wrapping_sub(c.start)))
    })
}

/// System time now.
#[inline]
pub fn now_ns() -> Nanos {
    ns_at(regs::rdtsc())
}

/// Makes the current CPU's timer fire (vector `TIMER`) at system time `at`, at once if that is past; `None` stops it.
///
/// It may fire early when the time is far away: the handler looks at the clock and sets it again.
#[inline]
pub fn set_deadline(at: Option<Nanos>) {
    let Some(clock) = CLOCK.get() else { return };
    if clock.apic_per_ns == 0 {
        let tsc = at.map_or(0, |at| {
            let ticks = (u128::from(at.0) * u128::from(clock.ticks_per_ns)) >> 32;
            // One tick more, because the product is rounded down.
            clock
                .start
                .saturating_add(u64::try_from(ticks).unwrap_or(u64::MAX))
                .saturating_add(1)
        });
        apic::set_tsc_deadline(tsc);
    } else {
        let ticks = at.map_or(0, |at| {
            let ns = at.0.saturating_sub(now_ns().0);
            let ticks = (u128::from(ns) * u128::from(clock.apic_per_ns)) >> 32;
            u32::try_from(ticks).unwrap_or(u32::MAX).saturating_add(1)
        });
        apic::set_timer_count(ticks);
    }
}

/// Waits, at least `us` microseconds once the clock runs.
pub fn delay_us(us: u64) {
    let from = regs::rdtsc();
    let ticks = us * tsc_khz() / 1000;
    while regs::rdtsc().wrapping_sub(from) < ticks {
        core::hint::spin_loop();
    }
}

/// Seconds since 1970 (UTC) at system time 0, as the battery clock had it.
pub fn boot_seconds() -> u64 {
    BOOT_SECONDS.load(Relaxed)
}
