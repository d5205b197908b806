//! A vcpu's timers: one singleshot, one periodic. Both raise VIRQ_TIMER (`public/vcpu.h`; `public/sched.h`).

use rexen_abi::errno::Errno;

use crate::units::Nanos;

/// The period that every vcpu starts with.
pub const PERIODIC_DEFAULT_NS: u64 = 10_000_000;
/// The shortest period that a guest may ask for.
pub const PERIODIC_MIN_NS: u64 = 1_000_000;
/// The longest one, about 290 years halved twice: sums with it cannot overflow.
const PERIODIC_MAX_NS: u64 = i64::MAX as u64 / 4;
/// set_timer_op deadlines further off than 2^50 ns come of a guest that miscounted.
const ABSURD_SHIFT: u32 = 50;
const ABSURD_INSTEAD_NS: u64 = 100_000_000;

/// Why a timer was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimerError {
    /// The period is below a millisecond or beyond all time (EINVAL).
    BadPeriod,
}

impl From<TimerError> for Errno {
    fn from(_: TimerError) -> Self {
        Errno::EINVAL
    }
}

/// What to do about a timer that was set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Alarm {
    /// Stop it, if it is in the queue.
    Off,
    /// Put it in the queue, to expire then.
    At(Nanos),
    /// Raise VIRQ_TIMER now; it is off.
    Now,
}

/// The state of a vcpu's timers. What is pending is in the CPU's [`super::TimerQueue`].
#[derive(Clone, Copy, Debug)]
pub struct VcpuTimers {
    /// 0: off.
    period_ns: u64,
    /// When the periodic timer fired last, or was set.
    last_tick: Nanos,
    singleshot: Option<Nanos>,
}

impl VcpuTimers {
    /// The timers of a vcpu made at `now`: periodic with 10 ms, no singleshot.
    pub const fn new(now: Nanos) -> Self {
        VcpuTimers {
            period_ns: PERIODIC_DEFAULT_NS,
            last_tick: now,
            singleshot: None,
        }
    }

    /// Sets the period, counted from `now`. The timer runs only while the vcpu does.
    ///
    /// # Errors
    /// `BadPeriod` (EINVAL).
    /// # Source
    /// `public/vcpu.h`, VCPUOP_set_periodic_timer.
    pub fn set_periodic(&mut self, period_ns: u64, now: Nanos) -> Result<Alarm, TimerError> {
        if !(PERIODIC_MIN_NS..=PERIODIC_MAX_NS).contains(&period_ns) {
            return Err(TimerError::BadPeriod);
        }
        self.period_ns = period_ns;
        self.last_tick = now;
        Ok(self.next_tick())
    }

    /// Stops the periodic timer (`public/vcpu.h`, VCPUOP_stop_periodic_timer).
    pub fn stop_periodic(&mut self) -> Alarm {
        self.period_ns = 0;
        Alarm::Off
    }

    /// The period; `None` if off.
    pub fn period_ns(&self) -> Option<u64> {
        (self.period_ns != 0).then_some(self.period_ns)
    }

    /// The vcpu is about to run, or its periodic timer expired: tells whether to raise VIRQ_TIMER, and when the next tick
    /// is. Ticks missed while it did not run are made up for by one.
    pub fn periodic_due(&mut self, now: Nanos) -> (bool, Alarm) {
        if self.period_ns == 0 {
            return (false, Alarm::Off);
        }
        let late = now.0.saturating_sub(self.last_tick.0);
        if late < self.period_ns {
            return (false, self.next_tick());
        }
        // Stay on the beat: the last tick that should have been.
        self.last_tick = Nanos(now.0 - late % self.period_ns);
        (true, self.next_tick())
    }

    fn next_tick(&self) -> Alarm {
        Alarm::At(Nanos(self.last_tick.0.saturating_add(self.period_ns)))
    }

    /// Sets the singleshot timer to `deadline`; one that has passed fires at once.
    /// # Source
    /// `public/vcpu.h`, VCPUOP_set_singleshot_timer. (VCPU_SSHOTTMR_future is ignored.)
    pub fn set_singleshot(&mut self, deadline: Nanos, now: Nanos) -> Alarm {
        if deadline <= now {
            self.singleshot = None;
            return Alarm::Now;
        }
        self.singleshot = Some(deadline);
        Alarm::At(deadline)
    }

    /// Stops the singleshot timer (`public/vcpu.h`, VCPUOP_stop_singleshot_timer).
    pub fn stop_singleshot(&mut self) -> Alarm {
        self.singleshot = None;
        Alarm::Off
    }

    /// Sets the singleshot timer as set_timer_op does: 0 stops it, and an absurd deadline means 100 ms from now.
    /// # Source
    /// `public/sched.h`, set_timer_op.
    pub fn set_timer_op(&mut self, deadline: u64, now: Nanos) -> Alarm {
        if deadline == 0 {
            return self.stop_singleshot();
        }
        let ahead = deadline.saturating_sub(now.0);
        if deadline > i64::MAX as u64 || ahead >> ABSURD_SHIFT != 0 {
            return self.set_singleshot(Nanos(now.0.saturating_add(ABSURD_INSTEAD_NS)), now);
        }
        self.set_singleshot(Nanos(deadline), now)
    }

    /// The singleshot deadline that is set.
    pub fn singleshot(&self) -> Option<Nanos> {
        self.singleshot
    }

    /// The singleshot timer expired: tells whether to raise VIRQ_TIMER, which is not so if it was stopped or set anew.
    pub fn singleshot_due(&mut self, now: Nanos) -> bool {
        let due = self.singleshot.is_some_and(|deadline| deadline <= now);
        if due {
            self.singleshot = None;
        }
        due
    }
}
