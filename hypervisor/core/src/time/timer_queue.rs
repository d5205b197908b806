//! The deadlines that one CPU waits for.
//!
//! A sorted vector, the soonest last: a CPU has a handful of timers, and most are set to expire soon. Setting a timer needs
//! no memory, as room for it is reserved when its owner is made.

use alloc::vec::Vec;

use crate::units::{DomId, Nanos, VcpuId};

/// What a timer is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum TimerKind {
    /// A vcpu's singleshot timer.
    VcpuSingleshot,
    /// A vcpu's periodic timer.
    VcpuPeriodic,
    /// The end of a vcpu's SCHEDOP_poll.
    PollTimeout,
    /// A domain's watchdog; which of the two is in place of a vcpu.
    Watchdog,
    /// The end of what the scheduler decided; one per CPU.
    SchedSlice,
    /// The hypervisor's own, such as calibration; what exactly is in place of a vcpu.
    Housekeeping,
}

/// Names a timer, at most one of each name per queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TimerId {
    /// What for.
    pub kind: TimerKind,
    /// Whose.
    pub dom: DomId,
    /// Which vcpu, or which of the domain's timers.
    pub vcpu: VcpuId,
}

impl TimerId {
    /// The CPU's scheduler timer.
    pub const SCHED: TimerId = TimerId {
        kind: TimerKind::SchedSlice,
        dom: DomId::XEN,
        vcpu: VcpuId(0),
    };

    /// A vcpu's timer.
    pub const fn of_vcpu(kind: TimerKind, dom: DomId, vcpu: VcpuId) -> Self {
        TimerId { kind, dom, vcpu }
    }
}

/// A CPU's pending timers.
#[derive(Debug, Default)]
pub struct TimerQueue {
    /// Descending by deadline.
    timers: Vec<(Nanos, TimerId)>,
}

impl TimerQueue {
    /// A queue with no timer and no room.
    pub const fn new() -> Self {
        TimerQueue { timers: Vec::new() }
    }

    /// Makes room for `count` timers in all; tells whether there was memory.
    pub fn reserve(&mut self, count: usize) -> bool {
        self.timers
            .try_reserve(count.saturating_sub(self.timers.len()))
            .is_ok()
    }

    /// Sets timer `id` to expire at `deadline`, instead of when it was to. False: there is no room, nothing has changed.
    #[must_use]
    pub fn add(&mut self, id: TimerId, deadline: Nanos) -> bool {
        match self.timers.iter().rposition(|(_, other)| *other == id) {
            Some(old) => _ = self.timers.remove(old),
            None if self.timers.try_reserve(1).is_err() => return false,
            None => {}
        }
        // Before its equals: what was set first expires first.
        let place = self.timers.partition_point(|(when, _)| *when > deadline);
        self.timers.insert(place, (deadline, id));
        true
    }

    /// Stops timer `id`; gives its deadline if it was set.
    pub fn remove(&mut self, id: TimerId) -> Option<Nanos> {
        let place = self.timers.iter().rposition(|(_, other)| *other == id)?;
        Some(self.timers.remove(place).0)
    }

    /// Stops all timers of `dom`.
    pub fn remove_domain(&mut self, dom: DomId) {
        self.timers.retain(|(_, id)| id.dom != dom);
    }

    /// The soonest deadline, for the CPU's timer.
    #[inline]
    pub fn next_deadline(&self) -> Option<Nanos> {
        self.timers.last().map(|(when, _)| *when)
    }

    /// Takes out one timer whose deadline is not after `now`, the soonest first. To be repeated until it gives `None`,
    /// setting again in between only deadlines after `now`.
    #[inline]
    pub fn expire(&mut self, now: Nanos) -> Option<(TimerId, Nanos)> {
        let (when, id) = *self.timers.last()?;
        if when > now {
            return None;
        }
        self.timers.pop();
        Some((id, when))
    }

    /// How many timers are set.
    pub fn len(&self) -> usize {
        self.timers.len()
    }

    /// Whether no timer is set.
    pub fn is_empty(&self) -> bool {
        self.timers.is_empty()
    }
}
