//! Tests of the page-table rules: a sentence per rule (`rules.rs`, `operations.rs`), stopping and going on (`pieces.rs`), and random
//! sequences against a slow obvious model (`model.rs`).

mod model;
mod operations;
mod pieces;
mod rules;

use super::entry::{A, D, GUEST_KERNEL, NX, P, RW, US};
use super::*;
use crate::frame::{FrameType, Word};
use crate::testkit::Machine;
use crate::units::{DomId, Mfn};

const D1: DomId = DomId(1);
const D2: DomId = DomId(2);

/// Frames of `D1`: a whole address space. L4 1 -> L3 2 -> L2 3 -> L1 4 (slot 0) and L1 5 (slot 1), in slot 300 of the L4.
const L4: u64 = 1;
const L3: u64 = 2;
const L2: u64 = 3;
const L1: u64 = 4;
const L1B: u64 = 5;
/// An untouched frame of `D1`, and more up to 19.
const PAGE: u64 = 8;
/// Frames of `D2`: 20 to 23.
const FOREIGN: u64 = 20;
/// A frame of the hypervisor's.
const PRIVATE: u64 = 24;
/// A frame that dom0 may map read-only.
const PUBLISHED: u64 = 25;
/// I/O in the table: allowed, read-only, refused. And one beyond the table, allowed.
const IO_RW: u64 = 28;
const IO_RO: u64 = 29;
const IO_NO: u64 = 30;
const IO_FAR: u64 = 0x1000;
/// What maps the first level 1 entry.
const VA: u64 = 0xffff_0000_0000_0000 | 300 << 39;

const TABLE: u64 = P | RW | US | A | D;
const KERNEL: u64 = P | RW | A | D;

fn e(mfn: u64, flags: u64) -> u64 {
    mfn << 12 | flags
}

fn machine() -> Machine {
    let m = Machine::new(32, 26);
    m.give(D1, 1..20);
    m.give(D2, 20..24);
    m.frames().get(Mfn(PUBLISHED)).unwrap().publish().unwrap();
    for (mfn, access) in [
        (IO_RW, IoAccess::ReadWrite),
        (IO_RO, IoAccess::ReadOnly),
        (IO_FAR, IoAccess::ReadWrite),
    ] {
        m.io.borrow_mut().insert((D1, Mfn(mfn)), access);
    }
    m.poke(L4, 300, e(L3, TABLE));
    m.poke(L3, 0, e(L2, TABLE));
    m.poke(L2, 0, e(L1, TABLE));
    m.poke(L2, 1, e(L1B, TABLE));
    m
}

fn state() -> MmState {
    MmState::new(D1, 40, true)
}

/// A machine whose address space is pinned.
fn pinned() -> (Machine, MmState) {
    let m = machine();
    let mut s = state();
    m.mm(&mut s).pin(4, Mfn(L4)).unwrap();
    m.check(published());
    (m, s)
}

/// What the hypervisor holds in [`machine`].
fn published() -> Vec<Root> {
    vec![Root {
        mfn: Mfn(PUBLISHED),
        as_type: Some(FrameType::Shared),
    }]
}

fn set(m: &Machine, s: &mut MmState, mfn: u64, index: usize, val: u64) -> Result<(), MmuError> {
    m.mm(s).mmu_update(mfn << 12 | (index as u64) << 3, val, D1)
}

fn word(m: &Machine, mfn: u64) -> Word {
    m.frames().word(Mfn(mfn))
}
