//! The hypervisor's own page tables.
//!
//! One set of tables below L4 serves every address space: the L4 entries of slots 256 to 271 are made once, and copied
//! into each L4 that is ever loaded. After boot only leaf entries change.

// UNSAFETY: reads and writes page-table entries.
#![expect(unsafe_code)]

use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

use rexen_core::sync::Mutex;

use super::{frames::direct, layout};

/// Present.
pub const P: u64 = 1;
/// Writable.
pub const RW: u64 = 1 << 1;
/// Reachable by guests.
pub const US: u64 = 1 << 2;
/// Accessed and dirty, set in advance so that the CPU need not write them.
pub const AD: u64 = 3 << 5;
/// With [`PCD`]: uncached, under our PAT.
pub const PWT: u64 = 1 << 3;
/// With [`PWT`]: uncached, under our PAT.
pub const PCD: u64 = 1 << 4;
/// A large page, in an L2 entry.
pub const PSE: u64 = 1 << 7;
/// Stays in the TLB when CR3 changes.
pub const G: u64 = 1 << 8;
/// Not executable.
pub const NX: u64 = 1 << 63;
/// The frame's address in an entry.
pub const ADDR: u64 = 0x000f_ffff_ffff_f000;

/// Hypervisor code.
pub const CODE: u64 = P | AD | G;
/// Hypervisor constants.
pub const CONST: u64 = P | AD | G | NX;
/// Hypervisor data.
pub const DATA: u64 = P | RW | AD | G | NX;
/// Device registers.
pub const DEVICE: u64 = DATA | PCD | PWT;

/// The machine address of the hypervisor's own L4.
static ROOT: AtomicU64 = AtomicU64::new(0);
/// Held while tables grow.
static GROW: Mutex<()> = Mutex::new(());

/// Makes the L4 and the L3 tables that its hypervisor slots name for ever.
pub fn create_root(last_direct_slot: usize) {
    let root = super::take_table();
    ROOT.store(root, Relaxed);
    for slot in layout::FIRST_L4_SLOT..=last_direct_slot {
        let user = if slot == layout::FIRST_L4_SLOT { US } else { 0 };
        // Guests reach slot 256; its leaves are read-only and everything above them can stay writable.
        entry(root, slot).store(super::take_table() | P | RW | AD | user, Relaxed);
    }
}

/// The machine address of the L4 table that a CPU without a guest runs on.
pub fn idle_l4() -> u64 {
    ROOT.load(Relaxed)
}

/// The L4 entries of slots 256 to 271, the same for every address space.
pub fn hypervisor_l4_entries() -> [u64; layout::NR_L4_SLOTS] {
    core::array::from_fn(|i| entry(idle_l4(), layout::FIRST_L4_SLOT + i).load(Relaxed))
}

/// An entry of the table at machine address `table`.
fn entry(table: u64, index: usize) -> &'static AtomicU64 {
    // SAFETY: (1) `table` is a page that `take_table` gave us for ever, reached through the direct map; (2) `index` is
    // taken modulo 512, so the entry is inside it; (3) all our accesses are atomic.
    unsafe { &*direct(table).cast::<AtomicU64>().add(index % 512) }
}

fn index(va: u64, level: u32) -> usize {
    (va >> (12 + 9 * (level - 1))) as usize % 512
}

/// The entry of level `level` (1 or 2) that maps `va`, growing the tables down to it.
fn leaf(va: u64, level: u32) -> &'static AtomicU64 {
    let mut table = idle_l4();
    for at in (level + 1..=4).rev() {
        let e = entry(table, index(va, at));
        let mut value = e.load(Relaxed);
        if value & P == 0 {
            let user = if va < layout::PERCPU { US } else { 0 };
            value = super::take_table() | P | RW | AD | user;
            e.store(value, Relaxed);
        }
        assert!(
            at > 2 || value & PSE == 0,
            "page tables: {va:#x} is inside a large page"
        );
        table = value & ADDR;
    }
    entry(table, index(va, level))
}

/// Maps one 4 KiB page. The caller flushes if something else was mapped there.
pub fn map_page(va: u64, maddr: u64, flags: u64) {
    let _held = GROW.lock();
    leaf(va, 1).store(maddr | flags, Relaxed);
}

/// Maps one 2 MiB page.
pub fn map_large(va: u64, maddr: u64, flags: u64) {
    let _held = GROW.lock();
    leaf(va, 2).store(maddr | flags | PSE, Relaxed);
}

/// Maps `bytes` from `va` to `maddr`, with large pages where both are aligned.
pub fn map(va: u64, maddr: u64, bytes: u64, flags: u64) {
    const LARGE: u64 = 0x20_0000;
    let mut done = 0;
    while done < bytes {
        let (v, m) = (va + done, maddr + done);
        if (v | m) % LARGE == 0 && bytes - done >= LARGE {
            map_large(v, m, flags);
            done += LARGE;
        } else {
            map_page(v, m, flags);
            done += 4096;
        }
    }
}

/// The L1 entry that maps `va`, for windows whose pages change.
pub fn l1_entry(va: u64) -> &'static AtomicU64 {
    let _held = GROW.lock();
    leaf(va, 1)
}
