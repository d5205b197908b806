//! Device registers and firmware tables, which are not in the direct map.

use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::{layout, tables};

static NEXT: AtomicU64 = AtomicU64::new(layout::MMIO);

/// Maps device registers uncached, for good. `maddr` need not be aligned.
pub fn map_mmio(maddr: u64, bytes: u64) -> *mut u8 {
    map(maddr, bytes, tables::DEVICE)
}

/// Maps memory that firmware filled (ACPI tables) cached and read-only, for good.
pub fn map_firmware(maddr: u64, bytes: u64) -> *const u8 {
    map(maddr, bytes, tables::CONST)
}

fn map(maddr: u64, bytes: u64, flags: u64) -> *mut u8 {
    let first = maddr & !4095;
    let span = (maddr + bytes).next_multiple_of(4096) - first;
    let va = NEXT.fetch_add(span, Relaxed);
    assert!(
        va + span <= layout::FRAME_TABLE,
        "mmio: no address space left"
    );
    for page in (0..span).step_by(4096) {
        tables::map_page(va + page, first + page, flags);
    }
    (va + (maddr - first)) as *mut u8
}
