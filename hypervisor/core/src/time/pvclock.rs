//! Cycles of the time-stamp counter to nanoseconds, by the arithmetic that guests use too
//! (`public/xen.h`, struct vcpu_time_info).

use super::NS_PER_SEC;
use crate::units::Nanos;

/// How cycles become nanoseconds: shift left by `shift` (right if negative), multiply by `mul`, drop 32 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TscScale {
    /// tsc_to_system_mul. Its top bit is set, so that it is as precise as it can be.
    pub mul: u32,
    /// tsc_shift.
    pub shift: i8,
}

impl TscScale {
    /// The scale for a counter of `hz` cycles per second; `None` for frequencies that no such scale can express (0, or
    /// ones far from any machine's).
    pub fn from_hz(hz: u64) -> Option<Self> {
        if hz == 0 {
            return None;
        }
        // ns per cycle = NS_PER_SEC / hz = mul * 2^(shift - 32), with mul in 2^31 .. 2^32.
        let mut shift: i8 = 0;
        let mut numerator = u128::from(NS_PER_SEC) << 32;
        let mut denominator = u128::from(hz);
        while numerator / denominator >= 1 << 32 {
            denominator <<= 1;
            shift += 1;
        }
        while numerator / denominator < 1 << 31 {
            numerator <<= 1;
            shift -= 1;
        }
        let mul = u32::try_from((numerator + denominator / 2) / denominator).unwrap_or(u32::MAX);
        (-31..=31)
            .contains(&shift)
            .then_some(TscScale { mul, shift })
    }

    /// The scale for a counter of `khz` thousand cycles per second.
    pub fn from_khz(khz: u64) -> Option<Self> {
        Self::from_hz(khz.checked_mul(1000)?)
    }

    /// `cycles` in nanoseconds, rounded down. Exact arithmetic up to where the shifted cycles no longer fit 64 bits.
    #[inline]
    pub const fn to_ns(self, cycles: u64) -> u64 {
        let shifted = if self.shift < 0 {
            cycles >> (self.shift.unsigned_abs() & 63)
        } else {
            cycles << (self.shift.unsigned_abs() & 63)
        };
        ((shifted as u128 * self.mul as u128) >> 32) as u64
    }

    /// The cycles in `ns` nanoseconds, rounded up: at least as long. Divides; not for hot paths.
    pub fn to_cycles(self, ns: u64) -> u64 {
        let shifted = ((u128::from(ns) << 32).div_ceil(u128::from(self.mul.max(1))))
            .min(u128::from(u64::MAX)) as u64;
        let by = u32::from(self.shift.unsigned_abs());
        if self.shift < 0 {
            shifted.saturating_mul(1 << by.min(63))
        } else {
            shifted.div_ceil(1 << by.min(63))
        }
    }

    /// Cycles per second, to the nearest thousand cycles.
    pub fn khz(self) -> u64 {
        let hz = self.to_cycles(NS_PER_SEC);
        hz.saturating_add(500) / 1000
    }
}

/// A clock that runs with the time-stamp counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PvClock {
    /// The counter at `base`.
    pub tsc: u64,
    /// The time when the counter stood at `tsc`.
    pub base: Nanos,
    /// The scale from then on.
    pub scale: TscScale,
}

impl PvClock {
    /// The time when the counter stands at `tsc`. A counter below the base, as a CPU slightly behind has it, gives the
    /// base: the clock never runs backwards.
    #[inline]
    pub const fn at(&self, tsc: u64) -> Nanos {
        Nanos(
            self.base
                .0
                .wrapping_add(self.scale.to_ns(tsc.saturating_sub(self.tsc))),
        )
    }

    /// The counter when the time is `when`, or a little later; the counter's base if that has passed.
    pub fn tsc_at(&self, when: Nanos) -> u64 {
        self.tsc
            .saturating_add(self.scale.to_cycles(when.0.saturating_sub(self.base.0)))
    }

    /// The same clock, going on from `tsc` with another scale. Loses less than a nanosecond.
    pub fn rebased(&self, tsc: u64, scale: TscScale) -> Self {
        PvClock {
            tsc,
            base: self.at(tsc),
            scale,
        }
    }
}

/// A counter of unknown frequency measured against one of known frequency.
#[derive(Clone, Copy, Debug)]
pub struct Calibration {
    /// The reference counter's frequency: 1193182 for the PIT, the FADT's 3579545 for the power-management timer.
    pub reference_hz: u64,
    /// How far the reference counter went.
    pub reference_ticks: u64,
    /// How far the unknown counter went in that time.
    pub counted: u64,
}

impl Calibration {
    /// The unknown counter's frequency in Hz; `None` if the reference stood still.
    pub fn hz(&self) -> Option<u64> {
        let product = u128::from(self.counted) * u128::from(self.reference_hz);
        let hz = product.checked_div(u128::from(self.reference_ticks))?;
        u64::try_from(hz).ok().filter(|hz| *hz > 0)
    }

    /// The best of several measurements: the one in the middle, which a stolen moment in another does not spoil.
    pub fn median_hz(measured: &mut [u64]) -> Option<u64> {
        measured.sort_unstable();
        measured.get(measured.len() / 2).copied()
    }
}
