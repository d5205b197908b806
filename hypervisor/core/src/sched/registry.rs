//! The schedulers by name, for the boot option `sched=`.

use alloc::boxed::Box;

use super::{Bvt, RoundRobin, Scheduler};

/// A scheduler that can be chosen.
pub struct SchedulerEntry {
    /// What follows `sched=`.
    pub name: &'static str,
    /// One line about it, for the boot log.
    pub about: &'static str,
    /// Makes one with no CPU and no vcpu.
    pub build: fn() -> Box<dyn Scheduler>,
}

/// All schedulers.
pub const SCHEDULERS: &[SchedulerEntry] = &[
    SchedulerEntry {
        name: "bvt",
        about: "borrowed virtual time, weighted shares of all CPUs",
        build: || Box::new(Bvt::new()),
    },
    SchedulerEntry {
        name: "rr",
        about: "round robin, a queue per CPU, 10 ms turns",
        build: || Box::new(RoundRobin::new()),
    },
];

/// The one used when the boot option says nothing.
pub const DEFAULT_SCHEDULER: &SchedulerEntry = &SCHEDULERS[0];

/// The scheduler called `name`.
pub fn scheduler_named(name: &str) -> Option<&'static SchedulerEntry> {
    SCHEDULERS.iter().find(|entry| entry.name == name)
}
