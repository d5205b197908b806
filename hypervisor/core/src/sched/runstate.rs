//! What became of a vcpu's time (`public/vcpu.h`, struct vcpu_runstate_info).

use crate::units::Nanos;

/// What a vcpu is doing (`public/vcpu.h`, RUNSTATE_*).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunstateKind {
    /// On a CPU.
    Running = 0,
    /// Wants a CPU.
    Runnable = 1,
    /// Waits for an event.
    Blocked = 2,
    /// Down, or paused by someone.
    Offline = 3,
}

/// The numbers of a vcpu_runstate_info.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RunstateInfo {
    /// A RUNSTATE_* number.
    pub state: u32,
    /// Since when, in hypervisor time.
    pub state_entry_time: Nanos,
    /// Nanoseconds spent in each state.
    pub time: [u64; 4],
}

/// A vcpu's runstate and the time it spent in each. The four sums add up to its age.
#[derive(Clone, Copy, Debug)]
pub struct Runstate {
    kind: RunstateKind,
    since: Nanos,
    time: [u64; 4],
}

impl Runstate {
    /// A vcpu made at `now`: offline.
    pub const fn new(now: Nanos) -> Self {
        Runstate {
            kind: RunstateKind::Offline,
            since: now,
            time: [0; 4],
        }
    }

    /// The present state.
    #[inline]
    pub fn kind(&self) -> RunstateKind {
        self.kind
    }

    /// Since when.
    pub const fn since(&self) -> Nanos {
        self.since
    }

    /// Enters `kind` at `now`. Clocks of different CPUs may differ by a little: time going back counts as none.
    #[inline]
    pub fn enter(&mut self, kind: RunstateKind, now: Nanos) {
        if let Some(sum) = self.time.get_mut(self.kind as usize) {
            *sum = sum.wrapping_add(now.0.saturating_sub(self.since.0));
        }
        self.since = Nanos(now.0.max(self.since.0));
        self.kind = kind;
    }

    /// The numbers, with the present state's time counted up to `now`, as VCPUOP_get_runstate_info gives them.
    pub fn at(&self, now: Nanos) -> RunstateInfo {
        let mut counted = *self;
        counted.enter(self.kind, now);
        RunstateInfo {
            state: self.kind as u32,
            state_entry_time: self.since,
            time: counted.time,
        }
    }

    /// The numbers as of the last change of state, as the memory area shows them.
    pub fn as_entered(&self) -> RunstateInfo {
        RunstateInfo {
            state: self.kind as u32,
            state_entry_time: self.since,
            time: self.time,
        }
    }
}

/// How long a CPU had nothing to do.
#[derive(Clone, Copy, Debug, Default)]
pub struct IdleTime {
    total: u64,
    since: Option<Nanos>,
}

impl IdleTime {
    /// Of a CPU that is busy, and was so far.
    pub const fn new() -> Self {
        IdleTime {
            total: 0,
            since: None,
        }
    }

    /// It has nothing to do from `now` on, if it had before.
    pub fn begin(&mut self, now: Nanos) {
        self.since.get_or_insert(now);
    }

    /// It has something to do.
    pub fn end(&mut self, now: Nanos) {
        self.total = self.at(now).0;
        self.since = None;
    }

    /// The sum up to `now`.
    pub fn at(&self, now: Nanos) -> Nanos {
        let open = self.since.map_or(0, |since| now.0.saturating_sub(since.0));
        Nanos(self.total.wrapping_add(open))
    }
}
