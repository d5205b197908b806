//! Time: how fast the TSC ticks, what time it is, and one timer per CPU.
//!
//! System time is nanoseconds since [`init`], computed from the TSC with the same factor that guests are given.

pub mod platform_timer;
pub mod rtc;

use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

use rexen_core::options::LogLevel;
use rexen_core::time::{PvClock, TscScale};
use rexen_core::units::Nanos;
use spin::Once;

use crate::cpu::{features, regs};
use crate::irq::apic;
use crate::log;
use crate::platform::platform;

struct Clock {
    tsc_khz: u64,
    pv: PvClock,
    /// TSC ticks per nanosecond, times 2^32.
    ticks_per_ns: u64,
    /// Local APIC timer ticks per nanosecond, times 2^32; 0 where the TSC deadline is used.
    apic_per_ns: u64,
}

/// One tick is one nanosecond: what is assumed until something was measured.
const FALLBACK: TscScale = TscScale {
    mul: 1 << 31,
    shift: 1,
};

static CLOCK: Once<Clock> = Once::new();
/// Seconds since 1970 at system time 0.
static BOOT_SECONDS: AtomicU64 = AtomicU64::new(0);

/// Measures the clocks and starts system time. Needs the local APIC of the boot CPU.
pub fn init() {
    let deadline = features().tsc_deadline;
    apic::enable_timer(deadline);
    let (tsc_hz, apic_hz, name) = platform_timer::measure();
    let tsc_khz = (tsc_hz + 500) / 1000;
    // A machine without a sensible counter would have failed long before.
    let scale = TscScale::from_khz(tsc_khz).unwrap_or(FALLBACK);
    let pv = PvClock {
        tsc: regs::rdtsc(),
        base: Nanos(0),
        scale,
    };
    let clock = Clock {
        tsc_khz,
        pv,
        ticks_per_ns: ((u128::from(tsc_khz) << 32) / 1_000_000) as u64,
        apic_per_ns: if deadline {
            0
        } else {
            ((u128::from(apic_hz) << 32) / 1_000_000_000) as u64
        },
    };
    CLOCK.call_once(|| clock);
    let fadt = platform().acpi.as_ref().and_then(|a| a.fadt);
    let century = fadt.map_or(0, |f| f.century);
    BOOT_SECONDS.store(rtc::read_seconds(century), Relaxed);
    log!(LogLevel::Info, "Platform timer is {name}");
    log!(
        LogLevel::Info,
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

/// System time as a function of the TSC, with the factors that guests are given.
#[inline]
pub fn clock() -> PvClock {
    CLOCK.get().map_or(
        PvClock {
            tsc: 0,
            base: Nanos(0),
            scale: FALLBACK,
        },
        |c| c.pv,
    )
}

/// System time now.
#[inline]
pub fn now_ns() -> Nanos {
    CLOCK.get().map_or(Nanos(0), |c| c.pv.at(regs::rdtsc()))
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
                .pv
                .tsc
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
