//! Virtual time: what a vcpu has run, over its share.

use crate::sched::{DEFAULT_WEIGHT, Params};

/// Fixed point of [`Rate`].
const ONE_SHIFT: u32 = 16;
/// Longer runs than this, about 17 s, are counted as this long.
const LONGEST_RUN_NS: u64 = 1 << 34;

/// A point in virtual time. It may wrap, so points compare by which is ahead, not by size: all that are compared lie
/// within half the range.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(super) struct Virtual(pub u64);

impl Virtual {
    pub fn is_before(self, other: Virtual) -> bool {
        self.0.wrapping_sub(other.0).cast_signed() < 0
    }
    pub fn later(self, other: Virtual) -> Virtual {
        if self.is_before(other) { other } else { self }
    }
    pub fn earlier(self, other: Virtual) -> Virtual {
        if self.is_before(other) { self } else { other }
    }
    pub fn plus(self, span: u64) -> Virtual {
        Virtual(self.0.wrapping_add(span))
    }
    pub fn minus(self, span: u64) -> Virtual {
        Virtual(self.0.wrapping_sub(span))
    }
    /// How far this is after `other`; 0 if it is before.
    pub fn since(self, other: Virtual) -> u64 {
        if self.is_before(other) {
            0
        } else {
            self.0.wrapping_sub(other.0)
        }
    }
}

/// How fast virtual time passes while a vcpu runs: BVT's `mcu_advance`. 1.0 for a lone vcpu of the default weight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rate(u64);

impl Rate {
    /// The rate of a domain with one vcpu awake.
    pub fn of(params: &Params) -> Rate {
        let one = u64::from(DEFAULT_WEIGHT) << ONE_SHIFT;
        Rate(one / u64::from(params.weight.max(1)))
    }
    /// The rate of each of `nr_awake` vcpus that share it.
    pub fn among(self, nr_awake: u32) -> Rate {
        Rate(self.0 * u64::from(nr_awake.max(1)))
    }
    /// The virtual time that running for `ns` takes.
    pub fn advance(self, ns: u64) -> u64 {
        ns.min(LONGEST_RUN_NS).saturating_mul(self.0) >> ONE_SHIFT
    }
    /// How long running takes `span` of virtual time, rounded up.
    pub fn time_for(self, span: u64) -> u64 {
        (span.saturating_mul(1 << ONE_SHIFT) / self.0).saturating_add(1)
    }
}
