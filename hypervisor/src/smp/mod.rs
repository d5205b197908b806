//! All CPUs: starting them, and asking them for something.

pub mod flush;
pub mod shutdown;
pub mod start;

use core::sync::atomic::{
    AtomicU64,
    Ordering::{AcqRel, Acquire},
};

use rexen_core::units::{CpuId, CpuMask};

pub use start::{set_ap_main, start_all};

static ONLINE: AtomicU64 = AtomicU64::new(0);

/// The CPUs that are up.
#[inline]
pub fn online() -> CpuMask {
    CpuMask(ONLINE.load(Acquire))
}

/// How many CPUs are up.
pub fn nr_online() -> u32 {
    online().0.count_ones()
}

/// Counts `cpu` in.
pub fn set_online(cpu: CpuId) {
    ONLINE.fetch_or(CpuMask::one(cpu).0, AcqRel);
}

/// The members of a set, in ascending order, in as many steps as there are members.
#[inline]
pub fn members(cpus: CpuMask) -> impl Iterator<Item = CpuId> {
    let mut left = cpus.0;
    core::iter::from_fn(move || {
        let cpu = (left != 0).then(|| CpuId(left.trailing_zeros()))?;
        left &= left - 1;
        Some(cpu)
    })
}
