//! Walking over sets of CPUs.

use crate::units::{CpuId, CpuMask};

/// The CPUs of `mask`; quick when there are few.
pub(super) fn members(mask: CpuMask) -> impl Iterator<Item = CpuId> {
    let lowest = |left: u64| (left != 0).then_some(left);
    core::iter::successors(lowest(mask.0), move |left| lowest(left & (left - 1)))
        .map(|left| CpuId(left.trailing_zeros()))
}

/// The first CPU of `mask` from `start` on, going round.
pub(super) fn first_from(mask: CpuMask, start: CpuId) -> Option<CpuId> {
    let turned = mask.0.rotate_right(start.0 % 64);
    (turned != 0).then(|| CpuId((turned.trailing_zeros() + start.0) % 64))
}

/// CPUs that are in both.
pub(super) fn both(a: CpuMask, b: CpuMask) -> CpuMask {
    CpuMask(a.0 & b.0)
}
