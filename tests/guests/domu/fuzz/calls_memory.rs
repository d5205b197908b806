//! Calls on memory: page tables, pins, reservations, descriptors, grants.

use core::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

use rexen_guests::{abi, entry, memory};

use crate::arguments::{Arena, Call, Then, count, domain, place};
use crate::rng::Rng;
use crate::world::{self, KINDS, MFNS};

/// Where two pages of the grant table are mapped.
pub static GRANTS: AtomicU64 = AtomicU64::new(0);
/// Handles of mapped grants.
pub static HANDLES: [AtomicU32; 64] = [const { AtomicU32::new(0) }; 64];

/// The machine address of an entry in some table, and the level of that table as far as it is known.
fn entry_place(rng: &mut Rng) -> (u64, u8) {
    match rng.weighted(&[60, 20, 10, 10]) {
        0 => {
            let kind = 1 + rng.below(4) as u8;
            let slot = world::slot_of(rng, kind).unwrap_or_else(|| world::slot(rng));
            let index = rng.below(512);
            (MFNS[slot].load(Relaxed) << 12 | index << 3, kind)
        }
        1 => {
            // The entry through which the guest sees a page of its pool.
            (world::entry_of_page(rng), 1)
        }
        2 => {
            let index = match rng.chance(80) {
                true => rng.below(256),
                false => rng.below(world::TOP_SLOT),
            };
            (
                memory::maddr_of(entry::start_info().pt_base) | index << 3,
                4,
            )
        }
        _ => {
            let mfn = world::mappable(rng);
            match world::is_precious(mfn) {
                true => (world::entry_of_page(rng), 1),
                false => (mfn << 12 | rng.below(512) << 3, 1),
            }
        }
    }
}

/// Whether a store to machine address `at` could cut the guest off from itself.
fn is_vital(at: u64) -> bool {
    at >> 3 & 511 == world::TOP_SLOT
}

/// `mmu_update` with a list of requests.
pub fn mmu_update(rng: &mut Rng, arena: &mut Arena) -> Call {
    let right = match rng.below(20) {
        0 => 64,
        _ => 1 + rng.below(3),
    };
    let list = arena.take(right * 16);
    for request in 0..right {
        let (at, level) = entry_place(rng);
        let mut value = world::pte(rng, level);
        let mut kind = rng.pick(&[0, 0, 0, 2, 2, 3, 1]);
        if rng.chance(3) {
            kind = rng.below(8);
        }
        let mut place = at & !7 | kind;
        if is_vital(at) {
            value = world::top_entry();
        } else if rng.chance(2) {
            place ^= 1 << (40 + rng.below(24));
        }
        if world::is_precious(at >> 12) && kind == 1 {
            place = world::mappable(rng) << 12 | 1;
        }
        if kind == 1 {
            value = rng.odd();
        }
        memory::write(list + request * 16, place);
        memory::write(list + request * 16 + 8, value);
    }
    let nr = count(rng, right) | if rng.chance(2) { 1 << 31 } else { 0 };
    let done = if rng.chance(30) { arena.take(8) } else { 0 };
    let done = if done != 0 { place(rng, done, 8) } else { 0 };
    let mut whom = domain(rng);
    if rng.chance(5) {
        whom |= (1 + rng.below(4)) << 16;
    }
    // A list that is longer than what lies there goes on with whatever follows: never with zeroed precious entries.
    let nr = if nr & 0x7fff_ffff > right {
        nr & 1 << 31 | right
    } else {
        nr
    };
    Call::new(
        abi::MMU_UPDATE,
        [place(rng, list, right * 16), nr, done, whom],
    )
}

/// `update_va_mapping`, of this domain or another.
pub fn update_va_mapping(rng: &mut Rng) -> Call {
    let va = world::address(rng);
    let slot = world::slot(rng).min(world::MAPPED - 1);
    let (va, pte) = match rng.chance(30) {
        // Back to where it was, read-only or not.
        true => (
            world::page(slot),
            MFNS[slot].load(Relaxed) << 12 | 0x25 | if rng.chance(60) { abi::PTE_RW } else { 0 },
        ),
        false => (va, world::pte(rng, 1)),
    };
    let mut flags = rng.pick(&[0, 1, 2, 2, 2, 6]);
    if rng.chance(5) {
        flags = rng.odd();
    }
    if flags & 3 != 0 && rng.chance(4) {
        flags = flags & 7 | (world::address(rng) & !7);
    }
    match rng.chance(6) {
        true => Call::new(22, [va, pte, flags, domain(rng)]),
        false => Call::new(abi::UPDATE_VA_MAPPING, [va, pte, flags]),
    }
}

/// `mmuext_op`: pins, unpins, base pointers, flushes, descriptors, pages to clear and copy.
pub fn mmuext_op(rng: &mut Rng, arena: &mut Arena) -> Call {
    let right = match rng.below(20) {
        0 => 40,
        _ => 1 + rng.below(3),
    };
    let list = arena.take(right * 24);
    let mut then = Then::Nothing;
    for n in 0..right {
        let op = list + n * 24;
        let cmd = match rng.weighted(&[34, 26, 4, 10, 4, 4, 14, 4]) {
            0 => rng.below(4),
            1 => 4,
            2 => 5,
            3 => 6 + rng.below(7),
            4 => 13,
            5 => 15,
            6 => 16 + rng.below(2),
            _ => rng.odd() & 31,
        };
        let slot = world::slot(rng);
        let mut arg1 = world::mfn(rng);
        let mut arg2 = 0;
        match cmd {
            0..=3 => {
                let kind = if rng.chance(80) {
                    cmd as u8 + 1
                } else {
                    1 + rng.below(4) as u8
                };
                if let Some(slot) = world::slot_of(rng, kind)
                    && rng.chance(80)
                {
                    arg1 = MFNS[slot].load(Relaxed);
                }
            }
            5 => {
                // Other root tables are loaded by `acts::root`, which looks at them first.
                arg1 = match rng.below(4) {
                    0 => world::first_table(rng),
                    1 => rng.pick(&[0, 0xfee00, 0xffff_ffff, u64::MAX]),
                    _ => memory::mfn_of(entry::start_info().pt_base),
                };
                then = Then::OwnTables;
            }
            7 | 9 | 11 => arg1 = world::address(rng),
            13 => {
                let kind = world::slot_of(rng, world::DESCRIPTORS).filter(|&s| s < world::MAPPED);
                arg1 = kind.map_or_else(|| world::address(rng), world::page);
                arg2 = rng.pick(&[0, 1, 512, 513, 8192, 8193, u64::MAX]);
            }
            15 => {
                arg1 = match (world::slot_of(rng, 4), rng.below(4)) {
                    (Some(slot), 0 | 1) => MFNS[slot].load(Relaxed),
                    (_, 2) => 0,
                    _ => world::mappable(rng),
                };
            }
            16 | 17 => {
                arg1 = MFNS[slot].load(Relaxed);
                KINDS[slot].store(0, Relaxed);
                arg2 = world::mappable(rng);
                if rng.chance(10) {
                    arg1 = world::mappable(rng);
                }
            }
            _ => {}
        }
        if matches!(cmd, 8 | 9) {
            let mask = arena.words([rng.odd()]);
            arg2 = place(rng, mask, 8);
        }
        memory::write(op, cmd);
        memory::write(op + 8, arg1);
        memory::write(op + 16, arg2);
    }
    let mut nr = count(rng, right) | if rng.chance(2) { 1 << 31 } else { 0 };
    if nr & 0x7fff_ffff > right {
        nr = right;
    }
    let done = if rng.chance(30) { arena.take(8) } else { 0 };
    Call::new(
        abi::MMUEXT_OP,
        [place(rng, list, right * 24), nr, done, domain(rng)],
    )
    .then(then)
}

/// Frames of the pool, in the arena: as single frames, or as aligned blocks of 2^order.
fn frame_list(rng: &mut Rng, arena: &mut Arena, nr: u64, order: u64) -> u64 {
    let list = arena.take(nr * 8);
    for n in 0..nr {
        let mut mfn = MFNS[world::slot(rng)].load(Relaxed) & !((1u64 << order.min(20)) - 1);
        let mut block = mfn..mfn.saturating_add(1 << order.min(9));
        if rng.chance(3) || block.any(world::is_precious) {
            mfn = rng.pick(&[u64::MAX, 1 << 52, 0xfee00, 3]);
        }
        memory::write(list + n * 8, mfn);
    }
    list
}

fn reservation(at: u64, extents: u64, nr: u64, order: u64, flags: u64, whom: u64) {
    memory::write(at, extents);
    memory::write(at + 8, nr);
    memory::write(at + 16, order & 0xffff_ffff | flags << 32);
    memory::write(at + 24, whom);
}

/// `memory_op`: the reservation's ups and downs, exchanges, and what can be asked.
pub fn memory_op(rng: &mut Rng, arena: &mut Arena) -> Call {
    let order = rng.pick(&[0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 2, 2, 3, 4, 9, 63]);
    let order = if rng.chance(2) { rng.odd() } else { order };
    let flags = if rng.chance(80) { 0 } else { rng.odd() };
    let right = 1 + rng.below(8);
    let op = arena.take(80);
    let whom = domain(rng);
    let start = |rng: &mut Rng, number: u64| match rng.chance(2) {
        true => number | rng.odd() << 6,
        false => number,
    };
    match rng.weighted(&[14, 22, 24, 22, 18]) {
        0 => {
            let list = arena.take(right * 8);
            let named = if rng.chance(95) {
                list
            } else {
                place(rng, list, right * 8)
            };
            reservation(op, named, right, order, flags, whom);
            let call = Call::new(abi::MEMORY_OP, [start(rng, 0), place(rng, op, 32)]);
            call.then(Then::Took(list, order))
        }
        1 => {
            let list = frame_list(rng, arena, right, order);
            reservation(op, list, count(rng, right).min(right), order, flags, whom);
            let call = Call::new(abi::MEMORY_OP, [start(rng, 1), place(rng, op, 32)]);
            call.then(Then::Gave(list, order))
        }
        2 => {
            let list = arena.take(right * 8);
            for n in 0..right {
                memory::write(list + n * 8, rng.below(1 << 18));
            }
            reservation(op, list, count(rng, right).min(right), order, flags, whom);
            let call = Call::new(abi::MEMORY_OP, [start(rng, 6), place(rng, op, 32)]);
            call.then(Then::Took(list, order))
        }
        3 => {
            let (order_in, order_out) = rng.pick(&[
                (0, 0),
                (0, 0),
                (0, 1),
                (1, 0),
                (0, 3),
                (3, 0),
                (0, 9),
                (9, 9),
            ]);
            let total: u64 = (1u64 << order_in.max(order_out)) * (1 + rng.below(2));
            let (nr_in, nr_out) = (total >> order_in, total >> order_out);
            let list = frame_list(rng, arena, nr_in, order_in);
            let out = arena.take(nr_out * 8);
            for n in 0..nr_out {
                memory::write(out + n * 8, rng.below(1 << 18));
            }
            let named = place(rng, out, nr_out * 8);
            reservation(op, list, nr_in, order_in, flags, whom);
            reservation(op + 32, named, nr_out, order_out, flags, whom);
            if rng.chance(4) {
                memory::write(op + 64, rng.odd());
            }
            let then = if named == out {
                Then::Exchanged(op)
            } else {
                Then::Gave(list, order_in)
            };
            Call::new(abi::MEMORY_OP, [start(rng, 11), op]).then(then)
        }
        _ => {
            for word in 0..6 {
                let value = match rng.below(3) {
                    0 => world::address(rng),
                    1 => rng.odd(),
                    _ => domain(rng),
                };
                memory::write(op + word * 8, value);
            }
            let number = rng.pick(&[
                2, 3, 4, 5, 7, 8, 9, 10, 12, 14, 15, 16, 23, 24, 25, 26, 27, 28, 40,
            ]);
            let number = if number == 24 && rng.chance(90) {
                4
            } else {
                number
            };
            Call::new(abi::MEMORY_OP, [start(rng, number), place(rng, op, 48)])
        }
    }
}

/// `set_gdt` with a list of frames.
pub fn set_gdt(rng: &mut Rng, arena: &mut Arena) -> Call {
    let nr = if rng.chance(80) {
        1 + rng.below(2)
    } else {
        1 + rng.below(16)
    };
    let list = arena.take(nr * 8);
    for n in 0..nr {
        let slot = world::slot_of(rng, world::DESCRIPTORS);
        let mfn = match (slot, rng.chance(95)) {
            (Some(slot), true) => MFNS[slot].load(Relaxed),
            _ => world::mappable(rng),
        };
        memory::write(list + n * 8, mfn);
    }
    let entries = if rng.chance(10) {
        rng.odd()
    } else {
        nr * 512 - rng.below(512)
    };
    // More entries than frames named: what follows in the arena is zeroes or numbers, both harmless.
    Call::new(
        abi::SET_GDT,
        [place(rng, list, nr * 8), entries.min(14 * 512 + 1)],
    )
}

/// A descriptor that ought to be accepted: none, or flat code or data.
pub fn sound_descriptor(rng: &mut Rng) -> u64 {
    rng.pick(&[
        0,
        0x00cf_fb00_0000_ffff,
        0x00cf_f300_0000_ffff,
        0x00af_fb00_0000_ffff,
    ])
}

/// A descriptor: of the kinds that are allowed, or any.
pub fn descriptor(rng: &mut Rng) -> u64 {
    match rng.below(6) {
        0..=2 => sound_descriptor(rng),
        3 => 0x00af_fa00_0000_ffff | rng.word() & 0x00ff_0000_00ff_0000,
        4 => rng.word() | 0xf800 << 32,
        _ => rng.word(),
    }
}

/// `update_descriptor`.
pub fn update_descriptor(rng: &mut Rng) -> Call {
    let slot = world::slot_of(rng, world::DESCRIPTORS).unwrap_or_else(|| world::slot(rng));
    let mfn = if rng.chance(85) {
        MFNS[slot].load(Relaxed)
    } else {
        world::mappable(rng)
    };
    let at = mfn << 12 | rng.below(512) << 3 | if rng.chance(3) { rng.below(8) } else { 0 };
    Call::new(abi::UPDATE_DESCRIPTOR, [at, descriptor(rng)])
}

/// Fills an entry of the grant table, as version 1 or version 2 has them.
pub fn grant_entry(rng: &mut Rng) {
    let table = GRANTS.load(Relaxed);
    if table == 0 {
        return;
    }
    let flags = match rng.chance(75) {
        true => 1 | rng.pick(&[0, 0, 0, 4, 0x100]),
        false => rng.word() & 0xffff,
    };
    let whom = if rng.chance(60) {
        world::neighbour(rng)
    } else {
        domain(rng)
    };
    let mfn = world::mappable(rng);
    match rng.chance(60) {
        true => {
            let entry = table + rng.below(64) * 8;
            memory::write(entry, flags & 0xffff | (whom & 0xffff) << 16 | mfn << 32);
        }
        false => {
            let entry = table + rng.below(64) * 16;
            let second = match rng.below(3) {
                0 => mfn,
                1 => mfn << 32 | rng.word() & 0x0fff_0fff,
                _ => whom & 0xffff | rng.below(64) << 32,
            };
            let flags = if rng.chance(20) {
                flags & !3 | 3
            } else {
                flags
            };
            memory::write(
                entry,
                flags & 0xffff | (whom & 0xffff) << 16 | rng.below(64) << 32,
            );
            memory::write(entry + 8, second);
        }
    }
}

fn handle(rng: &mut Rng) -> u64 {
    match rng.chance(85) {
        true => u64::from(HANDLES[rng.below(64) as usize].load(Relaxed)),
        false => rng.odd() & 0xffff_ffff,
    }
}

fn gref(rng: &mut Rng) -> u64 {
    match rng.chance(92) {
        true => rng.below(64),
        false => rng.odd() & 0xffff_ffff,
    }
}

/// Where a grant is to be mapped, by flags: an address, or a page-table entry.
fn map_place(rng: &mut Rng) -> (u64, u64) {
    let mut flags = rng.pick(&[2, 2, 2, 6, 0x12, 0x12, 0x16]);
    if rng.chance(8) {
        flags ^= 1 << rng.below(8);
    }
    if rng.chance(8) {
        flags |= 1 << (16 + rng.below(6));
    }
    let at = match flags & 0x10 != 0 {
        true => {
            let (at, _) = entry_place(rng);
            if is_vital(at) { at ^ 8 } else { at }
        }
        false => world::address(rng),
    };
    (at, flags)
}

/// `grant_table_op`.
pub fn grant_table_op(rng: &mut Rng, arena: &mut Arena) -> Call {
    let most = if rng.chance(5) { 40 } else { 4 };
    let right = 1 + rng.below(most);
    let (mut number, size): (u64, u64) = rng.pick(&[
        (0, 32),
        (0, 32),
        (0, 32),
        (1, 24),
        (1, 24),
        (2, 24),
        (4, 24),
        (5, 40),
        (5, 40),
        (5, 40),
        (6, 16),
        (7, 32),
        (8, 8),
        (9, 24),
        (10, 16),
        (11, 16),
        (12, 24),
        (3, 16),
    ]);
    let right = if matches!(number, 8) { 1 } else { right };
    let list = arena.take(right * size);
    let mut then = Then::Nothing;
    for n in 0..right {
        let op = list + n * size;
        let whom = if rng.chance(50) {
            world::neighbour(rng)
        } else {
            domain(rng)
        };
        match number {
            0 => {
                let (at, flags) = map_place(rng);
                memory::write(op, at);
                memory::write(op + 8, flags | gref(rng) << 32);
                memory::write(op + 16, whom);
                then = Then::Handles(list, right);
            }
            1 => {
                let (at, _) = map_place(rng);
                memory::write(op, at);
                memory::write(op + 8, if rng.chance(70) { 0 } else { rng.odd() });
                memory::write(op + 16, handle(rng));
            }
            2 | 9 => {
                let frames = arena.take(64);
                memory::write(op, whom | rng.below(5) << 32);
                memory::write(op + 16, place(rng, frames, 64));
                if number == 9 {
                    memory::write(op, rng.below(5) | whom << 32);
                }
            }
            4 => {
                memory::write(op, MFNS[world::slot(rng)].load(Relaxed));
                memory::write(op + 8, domain(rng) | gref(rng) << 32);
            }
            5 => {
                let mut flags = rng.below(4);
                for (bit, at) in [(1, op), (2, op + 16)] {
                    let what = if flags & bit != 0 {
                        gref(rng)
                    } else {
                        world::mappable(rng)
                    };
                    memory::write(at, what);
                    memory::write(at + 8, domain(rng) | rng.below(4097) << 16);
                }
                if rng.chance(3) {
                    flags = rng.odd();
                }
                let len = if rng.chance(80) {
                    rng.below(256)
                } else {
                    rng.below(0x1_0000)
                };
                memory::write(op + 32, len | flags << 16);
            }
            7 => {
                memory::write(op, world::address(rng));
                memory::write(op + 8, world::address(rng));
                memory::write(op + 16, handle(rng));
            }
            8 => memory::write(op, rng.pick(&[1, 1, 2, 2, 0, 3, 1 << 31])),
            11 => memory::write(op, gref(rng) | gref(rng) << 32),
            12 => {
                memory::write(op, world::mappable(rng) << 12);
                memory::write(
                    op + 8,
                    rng.below(4097) | rng.below(4097) << 16 | rng.below(8) << 32,
                );
            }
            _ => memory::write(op, whom),
        }
    }
    if rng.chance(2) {
        number |= rng.odd() << 8;
    }
    let nr = count(rng, right).min(right.max(1));
    Call::new(
        abi::GRANT_TABLE_OP,
        [number, place(rng, list, right * size), nr],
    )
    .then(then)
}
