//! What the guest plays with, and what it must keep: the pool of its frames, and numbers and addresses to try.
//!
//! Everything that the guest lives on (code, stacks, arguments, first page tables) is *precious*: no generator names such a
//! frame, nor an address in it, as something to be written. The rest of its memory is the pool: some pages are mapped
//! where the initial mapping has them, others are mapped nowhere.

use core::sync::atomic::{AtomicU8, AtomicU64, Ordering::Relaxed};

use rexen_guests::{abi, entry, hypercall, lone::Lone, memory};

use crate::rng::Rng;

/// Pages of the pool with an address of their own.
pub const MAPPED: usize = 192;
/// All frames of the pool.
pub const FRAMES: usize = 768;
/// What [`KINDS`] says of a page of descriptors.
pub const DESCRIPTORS: u8 = 5;

#[repr(C, align(4096))]
struct Pool([u8; MAPPED * 4096]);

static POOL: Lone<Pool> = Lone::new(Pool([0; MAPPED * 4096]));
/// The frames of the pool; 0 where one was given away. The first [`MAPPED`] belong to the addresses of the pool.
pub static MFNS: [AtomicU64; FRAMES] = [const { AtomicU64::new(0) }; FRAMES];
/// What each frame was last made to look like: 1 to 4 a table of that level, [`DESCRIPTORS`], 0 data.
pub static KINDS: [AtomicU8; FRAMES] = [const { AtomicU8::new(0) }; FRAMES];

/// Machine addresses of the entries that map the pages of the pool.
static ENTRIES: Lone<[u64; MAPPED]> = Lone::new([0; MAPPED]);
/// One bit for each of the first million frames: whether it is precious.
static PRECIOUS: Lone<[u64; 16384]> = Lone::new([0; 16384]);
/// The guest's first page tables, root first.
static TABLES: Lone<[u64; 32]> = Lone::new([0; 32]);
static SPECIAL: Lone<[u64; 8]> = Lone::new([0; 8]);
/// The guest's own number.
static SELF: Lone<u64> = Lone::new(0);
/// The first frame behind all memory.
static RAM_END: Lone<u64> = Lone::new(0);
static TOP_ENTRY: Lone<u64> = Lone::new(0);
static INITIAL_END: Lone<u64> = Lone::new(0);

/// The slot of the root table through which the guest runs.
pub const TOP_SLOT: u64 = 511;

/// Fills the pool; `special` are frames of note that others own.
pub fn init(special: &[u64]) {
    RAM_END.set(hypercall::call(abi::MEMORY_OP, [2, 0]).cast_unsigned());
    SELF.set(entry::option("domid").unwrap_or(0));
    let info = entry::start_info();
    let first_spare = info.nr_pages.saturating_sub((FRAMES - MAPPED) as u64);
    let spare = abi::VIRT_BASE + first_spare * memory::PAGE;
    assert!(
        spare > entry::entry_stack(),
        "{} pages are too few for the pool",
        info.nr_pages
    );
    let mut end = abi::VIRT_BASE;
    while end < spare && memory::pte_of(end) & abi::PTE_P != 0 {
        end += memory::PAGE;
    }
    INITIAL_END.set(end);
    // The warden maps all memory of a domU: what is to become tables must not be mapped writable.
    for page in 0..(FRAMES - MAPPED) as u64 {
        let va = spare + page * memory::PAGE;
        if memory::pte_of(va) & abi::PTE_P != 0 {
            hypercall::update_va_mapping(va, 0);
        }
    }
    for pfn in 0..first_spare {
        set_precious(memory::mfn_of_pfn(pfn), true);
    }
    for (slot, mfn) in MFNS.iter().enumerate() {
        let pfn = match slot < MAPPED {
            true => (page(slot) - abi::VIRT_BASE) / memory::PAGE,
            false => first_spare + (slot - MAPPED) as u64,
        };
        let number = memory::mfn_of_pfn(pfn);
        set_precious(number, false);
        mfn.store(number, Relaxed);
    }
    // Now: the way there is by the machine-to-physical table, with which the guest plays, too.
    let mut entries = [0; MAPPED];
    for (slot, entry) in entries.iter_mut().enumerate() {
        *entry = memory::entry_address(page(slot), 1).map_or(0, memory::maddr_of);
    }
    ENTRIES.set(entries);
    let mut tables = [memory::mfn_of(info.pt_base); 32];
    for (page, table) in (0..info.nr_pt_frames).zip(tables.iter_mut()) {
        *table = memory::mfn_of(info.pt_base + page * memory::PAGE);
    }
    TABLES.set(tables);
    let mut own = [info.shared_info / memory::PAGE; 8];
    for (to, from) in own.iter_mut().skip(1).zip(special) {
        *to = *from;
    }
    SPECIAL.set(own);
    TOP_ENTRY.set(memory::read(info.pt_base + TOP_SLOT * 8));
}

fn set_precious(mfn: u64, is_precious: bool) {
    assert!(mfn < 1 << 20, "more memory than is watched");
    let word = PRECIOUS.address() + mfn / 64 * 8;
    let bit = 1 << (mfn % 64);
    let others = memory::read(word) & !bit;
    memory::write(word, if is_precious { others | bit } else { others });
}

/// Whether the guest lives on this frame.
pub fn is_precious(mfn: u64) -> bool {
    mfn < 1 << 20 && memory::read(PRECIOUS.address() + mfn / 64 * 8) >> (mfn % 64) & 1 == 1
}

/// The address of page `slot` of the pool, if it has one.
pub fn page(slot: usize) -> u64 {
    POOL.address() + slot.min(MAPPED - 1) as u64 * memory::PAGE
}

/// The machine address of an entry that maps a page of the pool, where the guest has them first.
pub fn entry_of_page(rng: &mut Rng) -> u64 {
    let limit = if rng.chance(50) { 48 } else { MAPPED as u64 };
    memory::read(ENTRIES.address() + rng.below(limit) * 8)
}

/// Whether `len` bytes at `va` may be written by the hypervisor or by us.
pub fn is_expendable(va: u64, len: u64) -> bool {
    let pool = POOL.address()..POOL.address() + (MAPPED as u64) * memory::PAGE;
    let end = va.saturating_add(len.max(8));
    let own = abi::VIRT_BASE..INITIAL_END.get();
    end <= own.start || va >= own.end || (va >= pool.start && end <= pool.end)
}

/// The entry that leads to the guest itself in every root table.
pub fn top_entry() -> u64 {
    TOP_ENTRY.get()
}

/// A slot of the pool with a frame.
pub fn slot(rng: &mut Rng) -> usize {
    let limit = if rng.chance(50) { 48 } else { FRAMES as u64 };
    for _ in 0..4 {
        let slot = rng.below(limit) as usize;
        if MFNS[slot].load(Relaxed) != 0 {
            return slot;
        }
    }
    0
}

/// A slot of which [`KINDS`] says `kind`, if one is found.
pub fn slot_of(rng: &mut Rng, kind: u8) -> Option<usize> {
    let start = rng.below(FRAMES as u64) as usize;
    (0..FRAMES)
        .map(|n| (start + n) % FRAMES)
        .find(|&slot| KINDS[slot].load(Relaxed) == kind && MFNS[slot].load(Relaxed) != 0)
}

/// One of the guest's first tables.
pub fn first_table(rng: &mut Rng) -> u64 {
    let nr = entry::start_info().nr_pt_frames.min(32);
    memory::read(TABLES.address() + rng.below(nr) * 8)
}

/// A frame number: mostly of the pool, now and then anything that is not precious.
pub fn mfn(rng: &mut Rng) -> u64 {
    let mfn = match rng.weighted(&[78, 5, 5, 6, 6]) {
        0 => MFNS[slot(rng)].load(Relaxed),
        1 => return first_table(rng),
        2 => memory::read(SPECIAL.address() + rng.below(8) * 8),
        3 => rng.below(1 << 17),
        _ => rng.pick(&[
            0,
            1,
            0x9f,
            0xa0,
            0xf0,
            0x100,
            0xfec00,
            0xfed00,
            0xfee00,
            0xfffff,
            0xffff_ffff,
            1 << 34,
            (1 << 40) - 1,
            1 << 52,
            u64::MAX >> 12,
            u64::MAX,
        ]),
    };
    if is_precious(mfn) {
        MFNS[slot(rng)].load(Relaxed)
    } else {
        mfn
    }
}

/// As [`mfn`], but never one of the first tables: what can be reached through them could be changed through the copy.
pub fn mappable(rng: &mut Rng) -> u64 {
    let mfn = mfn(rng);
    if is_precious(mfn) {
        MFNS[slot(rng)].load(Relaxed)
    } else {
        mfn
    }
}

/// A root table that was crafted and leads to the guest itself: one to load. `window` is a page to look at it through.
pub fn sound_root(rng: &mut Rng, window: u64) -> Option<u64> {
    let mfn = MFNS[slot_of(rng, 4)?].load(Relaxed);
    if hypercall::update_va_mapping(window, mfn << 12 | abi::PTE_P | abi::PTE_US | abi::PTE_A) != 0
    {
        return None;
    }
    let top = memory::read(window + TOP_SLOT * 8);
    hypercall::update_va_mapping(window, 0);
    (top & abi::PTE_FRAME == top_entry() & abi::PTE_FRAME && top & abi::PTE_P != 0).then_some(mfn)
}

/// Whether a slot is kept for tables: its frame is seldom mapped writable, or soon none could become a table any more.
pub fn is_for_tables(slot: usize) -> bool {
    slot % 4 == 3
}

/// An entry for a table of `level` that ought to be accepted, or none.
pub fn sound_pte(rng: &mut Rng, level: u8) -> u64 {
    let below = level.saturating_sub(1);
    if below > 0 {
        let table = slot_of(rng, below).map_or(0, |slot| MFNS[slot].load(Relaxed));
        return if table == 0 { 0 } else { table << 12 | 0x67 };
    }
    let slot = slot(rng);
    let (mfn, kind) = (MFNS[slot].load(Relaxed), KINDS[slot].load(Relaxed));
    let rights = if kind == 0 && !is_for_tables(slot) && rng.chance(70) {
        0x67
    } else {
        0x25
    };
    if mfn == 0 { 0 } else { mfn << 12 | rights }
}

/// An entry for a table of `level`: mostly a good one, sometimes with a bit changed, sometimes anything.
pub fn pte(rng: &mut Rng, level: u8) -> u64 {
    match rng.weighted(&[78, 6, 4, 8, 2, 2]) {
        0 => sound_pte(rng, level),
        1 => {
            let bit = if rng.chance(75) {
                rng.below(12)
            } else {
                rng.below(64)
            };
            let entry = sound_pte(rng, level) ^ 1 << bit;
            // A bit of the frame number may name what is not to be named.
            if bit >= 12 && is_precious(entry >> 12 & 0xff_ffff_ffff) {
                0
            } else {
                entry
            }
        }
        2 => {
            let frame = mappable(rng);
            let rights = if rng.chance(50) { abi::PTE_RW } else { 0 };
            frame << 12 | 0x25 | rights | unless_ram(frame)
        }
        3 => 0,
        4 => {
            let frame = mappable(rng);
            frame << 12 | rng.below(4096) & !abi::PTE_RW | unless_ram(frame)
        }
        _ => rng.word() & !abi::PTE_P,
    }
}

/// Domain 0 may map what is no memory. It must not run there: emulators have been seen to give up.
fn unless_ram(frame: u64) -> u64 {
    let is_ram = (0x100..RAM_END.get()).contains(&frame);
    if is_ram || !entry::is_domain0() {
        0
    } else {
        abi::PTE_NX
    }
}

/// A domain that may be there: numbers are given out one after the other.
pub fn neighbour(rng: &mut Rng) -> u64 {
    match rng.chance(20) {
        true => 0,
        false => (SELF.get() + rng.below(5)).saturating_sub(2),
    }
}

/// An address of the pool, aligned to eight bytes mostly.
pub fn pool_address(rng: &mut Rng) -> u64 {
    let offset = match rng.below(8) {
        0 => memory::PAGE - 1 - rng.below(16),
        1 => rng.below(memory::PAGE),
        _ => rng.below(512) * 8,
    };
    let limit = if rng.chance(50) { 48 } else { MAPPED as u64 };
    page(rng.below(limit) as usize) + offset
}

/// An address: of the pool, of areas that crafted tables may map, of the hypervisor, of nobody.
pub fn address(rng: &mut Rng) -> u64 {
    let va = match rng.weighted(&[60, 18, 16, 6]) {
        0 => return pool_address(rng),
        1 => rng.below(4) << 39 | rng.below(2) << 30 | rng.below(2) << 21 | rng.below(512) << 12,
        2 => {
            let edge = rng.pick(&[
                0,
                0x1000,
                0x7fff_ffff_f000,
                0x8000_0000_0000,
                0xffff_7fff_ffff_f000,
                0xffff_8000_0000_0000,
                0xffff_8040_0000_0000,
                0xffff_8180_0000_0000,
                0xffff_82d0_4020_0000,
                0xffff_87ff_ffff_f000,
                0xffff_8800_0000_0000,
                abi::VIRT_BASE,
                INITIAL_END.get(),
                0xffff_ffff_ffff_f000,
                u64::MAX,
            ]);
            edge.wrapping_add(rng.below(64)).wrapping_sub(32)
        }
        _ => rng.word(),
    };
    if is_expendable(va, 4096) {
        va
    } else {
        pool_address(rng)
    }
}
