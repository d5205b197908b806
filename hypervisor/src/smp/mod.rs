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
