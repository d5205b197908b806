//! Windows: where each CPU has the GDT and LDT pages of the guest it runs.
//!
//! A window is 16 GDT pages, then 16 LDT pages. GDT pages 0 to 13 are the guest's, page 14 the hypervisor's, page 15 stays
//! unmapped. An unused guest GDT page shows a page of zeros, so that a guest that loads a selector from there gets the
//! #GP it deserves.

// UNSAFETY: keeps pointers to page-table entries.
#![expect(unsafe_code)]

use core::sync::atomic::{AtomicPtr, AtomicU64, Ordering::Relaxed};

use rexen_core::units::{CpuId, MAX_CPUS, Mfn};

use super::{layout, tables};
use crate::cpu::regs;

/// The L1 entries of each CPU's window: 64 in a row, of which 32 are used.
static ENTRIES: [AtomicPtr<AtomicU64>; MAX_CPUS] =
    [const { AtomicPtr::new(core::ptr::null_mut()) }; MAX_CPUS];
static ZERO_PAGE: AtomicU64 = AtomicU64::new(0);

/// Makes `cpu`'s window: zeros for the guest, `own_gdt` (machine address) as the hypervisor's page.
pub fn create(cpu: usize, own_gdt: u64) {
    if ZERO_PAGE.load(Relaxed) == 0 {
        ZERO_PAGE.store(super::take_table(), Relaxed);
    }
    let first = tables::l1_entry(layout::window(cpu));
    ENTRIES[cpu].store(core::ptr::from_ref(first).cast_mut(), Relaxed);
    for page in 0..layout::RESERVED_GDT_PAGE {
        map_window(CpuId(cpu as u32), page, None, false);
    }
    tables::map_page(
        layout::window(cpu) + layout::RESERVED_GDT_PAGE as u64 * 4096,
        own_gdt,
        tables::DATA & !tables::G,
    );
}

/// Puts `mfn` (or nothing) at page `index` of `cpu`'s window, and forgets what the current CPU cached of that page.
///
/// Pages 0 to 13 are the guest's GDT, 16 to 31 its LDT. `None` shows zeros in the GDT and unmaps in the LDT. A window is
/// used by its own CPU only, so `cpu` should be the current one, or not yet running a guest.
#[inline]
pub fn map_window(cpu: CpuId, index: usize, mfn: Option<Mfn>, writable: bool) {
    let Some(first) = ENTRIES.get(cpu.0 as usize) else {
        return;
    };
    let first = first.load(Relaxed);
    if first.is_null() || index >= layout::WINDOW_PAGES || (14..16).contains(&index) {
        return;
    }
    let value = match mfn {
        Some(mfn) => {
            mfn.maddr()
                | tables::P
                | tables::AD
                | tables::NX
                | if writable { tables::RW } else { 0 }
        }
        None if index < 16 => ZERO_PAGE.load(Relaxed) | tables::P | tables::AD | tables::NX,
        None => 0,
    };
    // SAFETY: `create` stored the first of this CPU's 64 entries, all in one L1 table (the stride divides its span);
    // `index` is below 32.
    unsafe { (*first.add(index)).store(value, Relaxed) };
    regs::invlpg(layout::window(cpu.0 as usize) + index as u64 * 4096);
}
