//! Device registers, which are not in the direct map.

use rexen_core::sync::Mutex;

use super::{layout, tables};

/// The first address that is not in use.
static NEXT: Mutex<u64> = Mutex::new(layout::MMIO);

const LARGE: u64 = 2 << 20;

/// Maps device registers uncached, for good. `maddr` need not be aligned.
pub fn map_mmio(maddr: u64, bytes: u64) -> *mut u8 {
    let first = maddr & !4095;
    let span = (maddr + bytes).next_multiple_of(4096) - first;
    // A large span gets large pages, for which both addresses must be equally far into one.
    let skew = if span >= LARGE { first % LARGE } else { 0 };
    let mut next = NEXT.lock();
    let va = if span >= LARGE {
        next.next_multiple_of(LARGE) + skew
    } else {
        *next
    };
    assert!(
        va + span <= layout::FRAME_TABLE,
        "mmio: no address space left"
    );
    *next = va + span;
    tables::map(va, first, span, tables::DEVICE);
    (va + (maddr - first)) as *mut u8
}
