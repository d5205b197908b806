//! A vcpu's timers: one singleshot, one periodic, and the end of a poll. The first two raise VIRQ_TIMER (`public/vcpu.h`;
//! `public/sched.h`).
//!
//! Mostly the vcpu itself sets them, and the CPU that has them in its [`super::TimerQueue`] looks at them, so each is an
//! atomic. Whoever sets one must see to that queue afterwards.

use core::sync::atomic::{
    AtomicU32, AtomicU64,
    Ordering::{Relaxed, SeqCst},
};

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

/// A timer that is not set.
const OFF: u64 = 0;
/// [`VcpuTimers::queue`]: in none.
const NO_QUEUE: u32 = u32::MAX;

/// What is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Due {
    /// VIRQ_TIMER.
    pub tick: bool,
    /// The poll is over.
    pub poll_over: bool,
}

/// A vcpu's timers.
#[derive(Debug)]
pub struct VcpuTimers {
    /// Deadline in ns.
    singleshot: AtomicU64,
    /// Period in ns.
    period: AtomicU64,
    /// When the periodic timer fired last, or was set.
    last_tick: AtomicU64,
    /// Deadline in ns.
    poll_end: AtomicU64,
    /// The CPU in whose queue they are or were last, and the deadline that they have there, [`OFF`] if none.
    queue: AtomicU32,
    queued: AtomicU64,
}

impl VcpuTimers {
    /// The timers of a vcpu made at `now`: periodic with 10 ms, nothing else.
    pub const fn new(now: Nanos) -> Self {
        VcpuTimers {
            singleshot: AtomicU64::new(OFF),
            period: AtomicU64::new(PERIODIC_DEFAULT_NS),
            last_tick: AtomicU64::new(now.0),
            poll_end: AtomicU64::new(OFF),
            queue: AtomicU32::new(NO_QUEUE),
            queued: AtomicU64::new(OFF),
        }
    }

    /// Sets the period, counted from `now`. The timer ticks only while the vcpu runs.
    ///
    /// # Errors
    /// EINVAL: below a millisecond, or beyond all time.
    /// # Source
    /// `public/vcpu.h`, VCPUOP_set_periodic_timer.
    pub fn set_periodic(&self, period_ns: u64, now: Nanos) -> Result<(), Errno> {
        if !(PERIODIC_MIN_NS..=PERIODIC_MAX_NS).contains(&period_ns) {
            return Err(Errno::EINVAL);
        }
        self.last_tick.store(now.0, Relaxed);
        self.period.store(period_ns, Relaxed);
        Ok(())
    }

    /// Stops the periodic timer (`public/vcpu.h`, VCPUOP_stop_periodic_timer).
    pub fn stop_periodic(&self) {
        self.period.store(OFF, Relaxed);
    }

    /// The period; `None` if off.
    pub fn period_ns(&self) -> Option<u64> {
        let period = self.period.load(Relaxed);
        (period != OFF).then_some(period)
    }

    /// Sets the singleshot timer to `deadline`. True: that has passed, so VIRQ_TIMER is to be raised now.
    /// # Source
    /// `public/vcpu.h`, VCPUOP_set_singleshot_timer. (VCPU_SSHOTTMR_future is ignored.)
    #[inline]
    pub fn set_singleshot(&self, deadline: u64, now: Nanos) -> bool {
        let fires = deadline <= now.0;
        let deadline = if fires { OFF } else { deadline };
        self.singleshot.store(deadline, Relaxed);
        fires
    }

    /// Stops the singleshot timer (`public/vcpu.h`, VCPUOP_stop_singleshot_timer).
    #[inline]
    pub fn stop_singleshot(&self) {
        self.singleshot.store(OFF, Relaxed);
    }

    /// Sets the singleshot timer as set_timer_op does: 0 stops it, and an absurd deadline means 100 ms from now. True:
    /// VIRQ_TIMER is to be raised now.
    /// # Source
    /// `public/sched.h`, set_timer_op.
    #[inline]
    pub fn set_timer_op(&self, deadline: u64, now: Nanos) -> bool {
        if deadline == 0 {
            self.stop_singleshot();
            return false;
        }
        let ahead = deadline.saturating_sub(now.0);
        if deadline > i64::MAX as u64 || ahead >> ABSURD_SHIFT != 0 {
            return self.set_singleshot(now.0.saturating_add(ABSURD_INSTEAD_NS), now);
        }
        self.set_singleshot(deadline, now)
    }

    /// The singleshot deadline that is set.
    pub fn singleshot(&self) -> Option<Nanos> {
        let deadline = self.singleshot.load(Relaxed);
        (deadline != OFF).then_some(Nanos(deadline))
    }

    /// Sets when a poll ends, 0 for never. True: that has changed.
    pub fn set_poll_end(&self, deadline: u64) -> bool {
        self.poll_end.swap(deadline, Relaxed) != deadline
    }

    /// When a poll ends.
    pub fn poll_end(&self) -> Option<Nanos> {
        let deadline = self.poll_end.load(Relaxed);
        (deadline != OFF).then_some(Nanos(deadline))
    }

    /// Stops all.
    pub fn stop_all(&self) {
        for timer in [&self.singleshot, &self.period, &self.poll_end] {
            timer.store(OFF, SeqCst);
        }
    }

    /// When the next is due. The periodic one waits until the vcpu runs: there is no use in waking a CPU for it.
    #[inline]
    pub fn next(&self, is_running: bool) -> Option<Nanos> {
        let period = self.period.load(Relaxed);
        let tick = if is_running && period != OFF {
            self.last_tick.load(Relaxed).saturating_add(period)
        } else {
            OFF
        };
        let singleshot = self.singleshot.load(Relaxed);
        let poll_end = self.poll_end.load(Relaxed);
        let set = [singleshot, tick, poll_end].into_iter();
        set.filter(|at| *at != OFF).min().map(Nanos)
    }

    /// Takes what is due: each once, whoever else looks at the same time. Ticks missed while the vcpu did not run are made
    /// up for by one.
    pub fn take_due(&self, now: Nanos, is_running: bool) -> Due {
        let take = |timer: &AtomicU64| {
            let deadline = timer.load(Relaxed);
            let is_due = deadline != OFF && deadline <= now.0;
            is_due
                && timer
                    .compare_exchange(deadline, OFF, Relaxed, Relaxed)
                    .is_ok()
        };
        Due {
            tick: take(&self.singleshot) | (is_running && self.take_tick(now)),
            poll_over: take(&self.poll_end),
        }
    }

    fn take_tick(&self, now: Nanos) -> bool {
        let (period, last) = (self.period.load(Relaxed), self.last_tick.load(Relaxed));
        let late = now.0.saturating_sub(last);
        if period == OFF || late < period {
            return false;
        }
        // Stay on the beat: the last tick that should have been.
        let beat = now.0 - late % period;
        self.last_tick
            .compare_exchange(last, beat, Relaxed, Relaxed)
            .is_ok()
    }

    /// The number of the CPU in whose queue they are.
    #[inline]
    pub fn queue(&self) -> Option<u32> {
        let cpu = self.queue.load(Relaxed);
        (cpu != NO_QUEUE).then_some(cpu)
    }

    /// They are to be in the queue of CPU `cpu`, for `deadline`. `None`: they are. Else gives the CPU in whose queue they
    /// are, which may be the same; a number that is no CPU's if they are in none.
    #[inline]
    pub fn enter_queue(&self, cpu: u32, deadline: Option<Nanos>) -> Option<u32> {
        let deadline = deadline.map_or(OFF, |at| at.0);
        if self.queue.load(Relaxed) == cpu && self.queued.load(Relaxed) == deadline {
            return None;
        }
        self.queued.store(deadline, Relaxed);
        Some(self.queue.swap(cpu, Relaxed))
    }

    /// The queue of CPU `cpu` has let go of them, as they were due.
    pub fn left_queue(&self, cpu: u32) {
        if self.queue.load(Relaxed) == cpu {
            self.queued.store(OFF, Relaxed);
        }
    }
}
