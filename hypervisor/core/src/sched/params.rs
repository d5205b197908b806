//! What can be set of a scheduler: a domain's share, where a vcpu runs, and how often contexts switch.

use crate::units::{CpuMask, Nanos};

/// The weight that a domain starts with, which is also that of Xen's credit scheduler.
pub const DEFAULT_WEIGHT: u32 = 256;
/// The largest weight.
pub const MAX_WEIGHT: u32 = 65_535;

/// A domain's part in the scheduling.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Params {
    /// Its share of CPU time, next to those of others that want some; 1 to [`MAX_WEIGHT`]. It is shared by its vcpus.
    pub weight: u32,
    /// What lets it run sooner, not longer.
    pub warp: Warp,
}

impl Default for Params {
    fn default() -> Self {
        Params {
            weight: DEFAULT_WEIGHT,
            warp: Warp::default(),
        }
    }
}

/// Borrowing from one's own future: a warped vcpu is scheduled as if it had run less than it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Warp {
    /// How much less, in virtual time, which passes like time for a lone vcpu of the default weight. 0: never warped.
    pub by: Nanos,
    /// How long a vcpu may run warped without a break; 0 for ever.
    pub limit: Nanos,
    /// How long the break is.
    pub pause: Nanos,
}

/// How often contexts switch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tunables {
    /// How much longer than its share a vcpu may run before it gives way to one that has waited: the context-switch
    /// allowance.
    pub turn: Nanos,
    /// How long a vcpu runs at least, even when one with a better claim wakes.
    pub rate_limit: Nanos,
}

/// Where a vcpu runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Affinity {
    /// CPUs that it may run on. Those that are not online do not count.
    pub hard: CpuMask,
    /// CPUs of those that it had better run on.
    pub soft: CpuMask,
}

impl Affinity {
    /// Any CPU will do.
    pub const ANY: Affinity = Affinity {
        hard: CpuMask(u64::MAX),
        soft: CpuMask(u64::MAX),
    };
}
