//! What guests read their time from: a vcpu_time_info per vcpu, and the wall clock in shared_info.

use core::sync::atomic::{
    AtomicU32,
    Ordering::{Relaxed, Release},
    fence,
};

use super::{NS_PER_SEC, PvClock, RtcReading};
use crate::evtchn::{DwordIndex, SharedFrames, SharedSpot};
use crate::units::{Mfn, Nanos};

/// Bytes of a vcpu_time_info; in a vcpu_info it starts at byte 32.
pub const TIME_INFO_BYTES: u32 = 32;

/// Byte offset of vcpu_time_info in vcpu_info.
const IN_VCPU_INFO: usize = 0x20;

/// The flags of a vcpu_time_info (`public/xen.h`, XEN_PVCLOCK_*).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct TimeInfoFlags(pub u8);

impl TimeInfoFlags {
    /// All vcpus read the same, constant counter.
    pub const TSC_STABLE: TimeInfoFlags = TimeInfoFlags(1);
    /// The guest was stopped; a watchdog should not complain.
    pub const GUEST_STOPPED: TimeInfoFlags = TimeInfoFlags(2);
}

/// Writes one vcpu's time, keeping its version: even when readable, odd while being written.
///
/// The version that counts is this one, not the guest's copy, which the guest may have overwritten.
#[derive(Debug, Default)]
pub struct TimeInfoWriter {
    version: u32,
}

impl TimeInfoWriter {
    /// A writer for a vcpu whose time was never written.
    pub const fn new() -> Self {
        TimeInfoWriter { version: 0 }
    }

    /// Writes `clock` to the vcpu_time_info in the vcpu_info at `vcpu_info`. Only the vcpu's own CPU, or anyone while the
    /// vcpu does not run, may call it.
    pub fn write_vcpu_info<F: SharedFrames + ?Sized>(
        &mut self,
        frames: &F,
        vcpu_info: SharedSpot,
        clock: &PvClock,
        flags: TimeInfoFlags,
    ) {
        self.write_at(frames, vcpu_info, IN_VCPU_INFO, clock, flags);
    }

    /// Writes `clock` to a vcpu_time_info that stands alone (VCPUOP_register_vcpu_time_memory_area).
    pub fn write_area<F: SharedFrames + ?Sized>(
        &mut self,
        frames: &F,
        area: SharedSpot,
        clock: &PvClock,
        flags: TimeInfoFlags,
    ) {
        self.write_at(frames, area, 0, clock, flags);
    }

    fn write_at<F: SharedFrames + ?Sized>(
        &mut self,
        frames: &F,
        spot: SharedSpot,
        at: usize,
        clock: &PvClock,
        flags: TimeInfoFlags,
    ) {
        let version = spot.dword(frames, at);
        let scale = u64::from(clock.scale.mul)
            | u64::from(clock.scale.shift.cast_unsigned()) << 32
            | u64::from(flags.0) << 40;
        begin(version, &mut self.version);
        spot.qword(frames, at + 8).store(clock.tsc, Relaxed);
        spot.qword(frames, at + 16).store(clock.base.0, Relaxed);
        spot.qword(frames, at + 24).store(scale, Relaxed);
        end(version, &mut self.version);
    }
}

fn begin(shown: &AtomicU32, version: &mut u32) {
    *version = version.wrapping_add(1) | 1;
    shown.store(*version, Relaxed);
    fence(Release);
}

fn end(shown: &AtomicU32, version: &mut u32) {
    *version = version.wrapping_add(1);
    shown.store(*version, Release);
}

/// The wall clock: the UTC time when the hypervisor's clock stood at 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wallclock {
    /// Seconds since 1970.
    pub secs: u64,
    /// Nanoseconds beyond those, below a milliard.
    pub nsecs: u32,
}

/// Byte offsets in shared_info.
const WC_VERSION: usize = 0xc00;
const WC_SEC: usize = 0xc04;
const WC_NSEC: usize = 0xc08;
const WC_SEC_HI: usize = 0xc0c;

impl Wallclock {
    /// The wall clock, if it is `secs` seconds and `nsecs` nanoseconds after 1970 when the hypervisor's clock says
    /// `system_time`. `None`: `nsecs` is a second or more, or the clock would have started before 1970.
    /// # Source
    /// `public/platform.h`, XENPF_settime64.
    pub fn try_new(secs: u64, nsecs: u32, system_time: Nanos) -> Option<Self> {
        if u64::from(nsecs) >= NS_PER_SEC {
            return None;
        }
        let total = u128::from(secs) * u128::from(NS_PER_SEC) + u128::from(nsecs);
        let start = total.checked_sub(u128::from(system_time.0))?;
        Some(Wallclock {
            secs: u64::try_from(start / u128::from(NS_PER_SEC)).ok()?,
            nsecs: u32::try_from(start % u128::from(NS_PER_SEC)).ok()?,
        })
    }

    /// The wall clock from a battery clock read at `now`; `None` if that shows no date.
    pub fn from_rtc(reading: &RtcReading, now: Nanos) -> Option<Self> {
        Self::try_new(reading.to_unix_secs()?, 0, now)
    }

    /// Seconds since 1970 at `now`.
    pub fn secs_at(&self, now: Nanos) -> u64 {
        let beyond = u64::from(self.nsecs).saturating_add(now.0) / NS_PER_SEC;
        self.secs.saturating_add(beyond)
    }

    /// Shows the wall clock in a domain's shared_info, `offset_seconds` off (domctl settimeoffset).
    ///
    /// The caller sees to it that only one CPU at a time does so for a domain.
    pub fn write<F: SharedFrames + ?Sized>(
        &self,
        frames: &F,
        shared_info: Mfn,
        offset_seconds: i64,
    ) {
        let word = |offset| frames.word32(shared_info, DwordIndex::at_byte(offset));
        let secs = self.secs.saturating_add_signed(offset_seconds);
        let mut version = word(WC_VERSION).load(Relaxed);
        begin(word(WC_VERSION), &mut version);
        word(WC_SEC).store(secs as u32, Relaxed);
        word(WC_NSEC).store(self.nsecs, Relaxed);
        word(WC_SEC_HI).store((secs >> 32) as u32, Relaxed);
        end(word(WC_VERSION), &mut version);
    }
}
