//! Time: what the cycle counter says in nanoseconds, how guests are told, and what happens when.
//!
//! * `pvclock.rs`: cycles to nanoseconds by multiplication, and the calibration of that.
//! * `guest_clock.rs`: writing vcpu_time_info and the wall clock where guests read them.
//! * `wallclock.rs`: from the fields of a battery clock to seconds since 1970.
//! * `timer_queue.rs`: a CPU's pending deadlines. `vcpu_timers.rs`: a vcpu's timers.
//!
//! Nothing here reads a clock: `now` is always an argument.

mod guest_clock;
mod pvclock;
mod timer_queue;
mod vcpu_timers;
mod wallclock;

#[cfg(test)]
mod tests;

pub use guest_clock::{TIME_INFO_BYTES, TimeInfoFlags, TimeInfoWriter, Wallclock};
pub use pvclock::{Calibration, PvClock, TscScale};
pub use timer_queue::{TimerId, TimerKind, TimerQueue};
pub use vcpu_timers::{Due, PERIODIC_DEFAULT_NS, PERIODIC_MIN_NS, VcpuTimers};
pub use wallclock::{RtcReading, days_from_civil};

/// Nanoseconds in a second.
pub const NS_PER_SEC: u64 = 1_000_000_000;
