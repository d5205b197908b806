//! Grants on a machine of counted frames and a flat page table.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::SeqCst};

use proptest::prelude::*;
use rexen_abi::errno::Errno;

use super::*;
use crate::evtchn::ram::Ram;
use crate::evtchn::{DwordIndex, QwordIndex, SharedFrames};
use crate::units::{DomId, GrantRef, Mfn};

const GRANTER: DomId = DomId(1);
const MAPPER: DomId = DomId(2);
/// Frames 0x100 to 0x107 are the granter's, 0x200 to 0x207 the mapper's; the last of each is a page table.
const FRAMES: u64 = 8;
const READING: u64 = 8;
const WRITING: u64 = 16;
const DEVICE_MAP: u32 = 1;
const HOST_MAP: u32 = 2;
const READONLY: u32 = 4;
const APPLICATION: u32 = 8;
const CONTAINS_PTE: u32 = 16;

#[derive(Default)]
struct Counts {
    held: BTreeMap<(u64, bool), u32>,
    entries: BTreeMap<u64, u64>,
    copies: Vec<(u64, u64)>,
}

struct Machine {
    ram: Ram,
    counts: RefCell<Counts>,
    /// The status frame, if the granter's table is of version 2.
    status: Cell<Option<Mfn>>,
}

impl Machine {
    fn new() -> Self {
        Machine {
            ram: Ram::new(4),
            counts: RefCell::default(),
            status: Cell::new(None),
        }
    }

    fn owner(mfn: Mfn) -> Option<DomId> {
        match mfn.0 & !(FRAMES - 1) {
            0x100 => Some(GRANTER),
            0x200 => Some(MAPPER),
            _ => None,
        }
    }

    /// Entries by machine address and by linear address are different ones here.
    fn slot(at: HostAddr) -> Result<u64, GrantStatus> {
        match at {
            HostAddr::Linear(va) if va < 0x8000 => Ok(va),
            HostAddr::Entry(ma) if ma < 0x8000 && ma % 8 == 0 => Ok(0x10_0000 + ma),
            _ => Err(GrantStatus::GeneralError),
        }
    }

    fn grant(&self, gref: u32, flags: u16, to: DomId, frame: u64) {
        let header = u64::from(flags) | u64::from(to.0) << 16;
        if self.status.get().is_some() {
            self.word(gref as usize * 2 + 1).store(frame, SeqCst);
            self.word(gref as usize * 2).store(header, SeqCst);
        } else {
            self.entry(gref).store(header | frame << 32, SeqCst);
        }
    }

    /// Header and frame of an entry.
    fn granted(&self, gref: u32) -> (u64, u64) {
        if self.status.get().is_some() {
            let read = |index| self.word(index).load(SeqCst);
            return (read(gref as usize * 2), read(gref as usize * 2 + 1));
        }
        let entry = self.entry(gref).load(SeqCst);
        (entry & 0xffff_ffff, entry >> 32)
    }

    /// The marks that an entry shows.
    fn marks(&self, gref: u32) -> u64 {
        match self.status.get() {
            Some(status) => {
                let word = self.ram.qword(status, gref as usize / 4 * 8);
                word.load(SeqCst) >> (gref % 4 * 16) & 0xffff
            }
            None => self.entry(gref).load(SeqCst) & (READING | WRITING),
        }
    }

    /// An entry of version 1.
    fn entry(&self, gref: u32) -> &AtomicU64 {
        self.word(gref as usize)
    }

    fn word(&self, index: usize) -> &AtomicU64 {
        self.ram.qword(self.ram.mfn(index / 512), index % 512 * 8)
    }

    fn drop_entry(&self, pte: u64) {
        self.release(Mfn::containing(pte & 0xf_ffff_f000), pte & 2 != 0);
    }

    /// The guest changes an entry by mmu_update.
    fn overwrite(&self, va: u64) {
        let old = self.counts.borrow_mut().entries.remove(&va);
        old.into_iter().for_each(|pte| self.drop_entry(pte));
    }

    fn held(&self) -> BTreeMap<(u64, bool), u32> {
        let mut held = self.counts.borrow().held.clone();
        held.retain(|_, count| *count != 0);
        held
    }
}

impl SharedFrames for Machine {
    fn word64(&self, mfn: Mfn, index: QwordIndex) -> &AtomicU64 {
        self.ram.word64(mfn, index)
    }
    fn word32(&self, mfn: Mfn, index: DwordIndex) -> &AtomicU32 {
        self.ram.word32(mfn, index)
    }
}

impl GrantHost for Machine {
    fn hold(&self, mfn: Mfn, owner: DomId, writable: bool) -> bool {
        let is_table = mfn.0 % FRAMES == FRAMES - 1;
        let may = Self::owner(mfn) == Some(owner) && !(writable && is_table);
        if may {
            *self
                .counts
                .borrow_mut()
                .held
                .entry((mfn.0, writable))
                .or_default() += 1;
        }
        may
    }
    fn release(&self, mfn: Mfn, writable: bool) {
        let mut counts = self.counts.borrow_mut();
        let held = counts.held.get_mut(&(mfn.0, writable)).expect("never held");
        *held = held.checked_sub(1).expect("released too often");
    }
    fn install(&self, at: HostAddr, pte: u64) -> Result<(), GrantStatus> {
        let old = self
            .counts
            .borrow_mut()
            .entries
            .insert(Self::slot(at)?, pte);
        old.into_iter().for_each(|pte| self.drop_entry(pte));
        Ok(())
    }
    fn take(&self, at: HostAddr, mfn: Mfn, writable: bool) -> Result<(), GrantStatus> {
        let slot = Self::slot(at)?;
        let mut counts = self.counts.borrow_mut();
        match counts.entries.get(&slot) {
            Some(pte) if pte & 0xf_ffff_f000 == mfn.maddr() && (pte & 2 != 0) == writable => {
                counts.entries.remove(&slot);
                Ok(())
            }
            _ => Err(GrantStatus::GeneralError),
        }
    }
    fn replace(&self, at: HostAddr, mfn: Mfn, writable: bool, new: u64) -> Result<(), GrantStatus> {
        let slot = Self::slot(at)?;
        self.take(at, mfn, writable)?;
        let mut counts = self.counts.borrow_mut();
        if let Some(moved) = counts.entries.remove(&new) {
            counts.entries.insert(slot, moved);
        }
        Ok(())
    }
    fn copy(&self, from: Mfn, _: u16, to: Mfn, _: u16, _: u16) {
        self.counts.borrow_mut().copies.push((from.0, to.0));
    }
}

/// A machine, a granter with two frames of entries, and a mapper with 256 handles.
fn setup() -> (Machine, GrantTable, GrantTable) {
    let machine = Machine::new();
    let granter = GrantTable::new(GRANTER, 2, 1, 2);
    let mut next = 0..;
    granter
        .grow(
            2,
            || next.next().map(|n| machine.ram.mfn(n)),
            |_| panic!("superfluous"),
            || false,
        )
        .unwrap();
    (machine, granter, GrantTable::new(MAPPER, 1, 1, 1))
}

/// What becomes of a dead mapper's handles.
fn abandon(machine: &Machine, granter: &GrantTable, mapper: &GrantTable) {
    let mut cursor = 0;
    loop {
        match mapper.abandon_next(&mut cursor) {
            Abandoned::Mapping(unmapped) => mapper.finish_unmap(machine, granter, unmapped),
            Abandoned::More => {}
            Abandoned::All => return,
        }
    }
}

/// The same with a table of version 2.
fn setup_v2() -> (Machine, GrantTable, GrantTable) {
    let (machine, granter, mapper) = setup();
    assert_eq!(switch(&machine, &granter, 2), Ok(true));
    (machine, granter, mapper)
}

/// Changes the granter's version without a stop. Its status frame is the machine's third frame.
fn switch(machine: &Machine, granter: &GrantTable, version: u32) -> Result<bool, Errno> {
    let status = machine.ram.mfn(2);
    let changed = granter.set_version(
        machine,
        version,
        || Some(status),
        |_| panic!("superfluous"),
        || false,
    );
    machine.status.set(granter.status_frame(0));
    changed
}

fn request(gref: u32, flags: u32, host_addr: u64) -> MapRequest {
    MapRequest {
        host_addr,
        flags,
        gref: GrantRef(gref),
    }
}

fn unmap_at(handle: u32, host_addr: u64) -> UnmapRequest {
    UnmapRequest {
        host_addr,
        dev_bus_addr: 0,
        new_addr: None,
        handle,
    }
}

#[test]
fn granted_frame_is_mapped_marked_and_let_go() {
    let (machine, granter, mapper) = setup();
    machine.grant(600, 1, MAPPER, 0x103);
    let mapped = mapper
        .map(&machine, &granter, request(600, HOST_MAP, 0x1000))
        .unwrap();
    assert_eq!(mapped.mfn, Mfn(0x103));
    assert_eq!(
        machine.entry(600).load(SeqCst) & 0xffff,
        1 | READING | WRITING
    );
    assert_eq!(
        machine.counts.borrow().entries[&0x1000],
        0x8010_0000_0010_3067,
        "P RW US A D, kernel, NX"
    );
    assert!(granter.is_used());
    let unmapped = mapper
        .begin_unmap(&machine, unmap_at(mapped.handle, 0x1000))
        .unwrap();
    assert!(unmapped.needs_flush() && unmapped.granter() == GRANTER);
    assert_eq!(machine.held().len(), 1, "held until the flush");
    assert_eq!(machine.entry(600).load(SeqCst) & WRITING, WRITING);
    assert_eq!(
        mapper.begin_unmap(&machine, unmap_at(mapped.handle, 0x1000)),
        Err(GrantStatus::BadHandle)
    );
    mapper.finish_unmap(&machine, &granter, unmapped);
    assert!(machine.held().is_empty() && !granter.is_used());
    assert_eq!(machine.entry(600).load(SeqCst) & 0xffff, 1);
    assert_eq!(
        mapper.begin_unmap(&machine, unmap_at(mapped.handle, 0x1000)),
        Err(GrantStatus::BadHandle)
    );
}

#[test]
fn map_flags_become_bits_of_the_entry() {
    let (machine, granter, mapper) = setup();
    machine.grant(9, 1 | 4, MAPPER, 0x100);
    let flags = HOST_MAP | READONLY | APPLICATION | CONTAINS_PTE | 5 << 16;
    mapper
        .map(&machine, &granter, request(9, flags, 0x40))
        .unwrap();
    let pte = machine.counts.borrow().entries[&0x10_0040];
    assert_eq!(pte, 1 << 63 | 0x10_0000 | 5 << 9 | 0x65);
}

#[test]
fn entries_that_do_not_permit_it_are_refused_without_a_trace() {
    let (machine, granter, mapper) = setup();
    let refused = [
        (0, MAPPER, 0x100, HOST_MAP | READONLY),
        (2, MAPPER, 0x100, HOST_MAP),
        (3, MAPPER, 0x100, HOST_MAP),
        (1, DomId(3), 0x100, HOST_MAP),
        (1 | 4, MAPPER, 0x100, HOST_MAP),
        (1, MAPPER, 0x200, HOST_MAP),
        (1, MAPPER, 0xffff_ffff, HOST_MAP | READONLY),
        (1, MAPPER, 0x107, HOST_MAP | DEVICE_MAP),
    ];
    for (flags, to, frame, map) in refused {
        machine.grant(20, flags, to, frame);
        let before = machine.entry(20).load(SeqCst);
        let got = mapper.map(&machine, &granter, request(20, map, 0));
        assert_eq!(
            got,
            Err(GrantStatus::GeneralError),
            "{flags} {to:?} {frame:#x}"
        );
        assert_eq!(machine.entry(20).load(SeqCst), before);
    }
    machine.grant(20, 1, MAPPER, 0x100);
    assert_eq!(
        mapper.map(&machine, &granter, request(20, READONLY, 0)),
        Err(GrantStatus::BadGntref)
    );
    for gref in [1024, u32::MAX] {
        assert_eq!(
            mapper.map(&machine, &granter, request(gref, HOST_MAP, 0)),
            Err(GrantStatus::BadGntref)
        );
    }
    let nowhere = request(20, HOST_MAP | DEVICE_MAP, 0x9000);
    assert_eq!(
        mapper.map(&machine, &granter, nowhere),
        Err(GrantStatus::GeneralError)
    );
    assert_eq!(machine.entry(20).load(SeqCst) & 0xffff, 1);
    assert!(machine.held().is_empty() && !granter.is_used());
    assert_eq!(mapper.maptrack.lock().used().len(), 0);
}

#[test]
fn page_table_can_be_granted_only_for_reading() {
    let (machine, granter, mapper) = setup();
    machine.grant(8, 1, MAPPER, 0x107);
    assert!(
        mapper
            .map(&machine, &granter, request(8, HOST_MAP | READONLY, 0))
            .is_ok()
    );
    assert_eq!(
        mapper.map(&machine, &granter, request(8, HOST_MAP, 0x1000)),
        Err(GrantStatus::GeneralError)
    );
    assert_eq!(machine.entry(8).load(SeqCst) & (READING | WRITING), READING);
}

#[test]
fn frame_of_a_used_entry_is_the_one_first_mapped() {
    let (machine, granter, mapper) = setup();
    machine.grant(8, 1, MAPPER, 0x100);
    mapper
        .map(&machine, &granter, request(8, HOST_MAP | READONLY, 0))
        .unwrap();
    machine.grant(8, 1, MAPPER, 0x101);
    let second = mapper
        .map(&machine, &granter, request(8, HOST_MAP, 0x1000))
        .unwrap();
    assert_eq!(second.mfn, Mfn(0x100));
    machine.grant(8, 1, GRANTER, 0x102);
    assert_eq!(
        granter.map(&machine, &granter, request(8, HOST_MAP, 0x2000)),
        Err(GrantStatus::GeneralError),
        "the mapper has it"
    );
}

#[test]
fn handles_run_out_and_come_back() {
    let (machine, granter, mapper) = setup();
    machine.grant(8, 1, MAPPER, 0x100);
    for n in 0..256 {
        assert_eq!(
            mapper
                .map(&machine, &granter, request(8, HOST_MAP, n * 8))
                .unwrap()
                .handle,
            n as u32
        );
    }
    let over = request(8, HOST_MAP, 0x7000);
    assert_eq!(
        mapper.map(&machine, &granter, over),
        Err(GrantStatus::NoSpace)
    );
    let unmapped = mapper.begin_unmap(&machine, unmap_at(77, 77 * 8)).unwrap();
    mapper.finish_unmap(&machine, &granter, unmapped);
    assert_eq!(mapper.map(&machine, &granter, over).unwrap().handle, 77);
    for handle in [256, u32::MAX] {
        assert_eq!(
            mapper.begin_unmap(&machine, unmap_at(handle, 0)),
            Err(GrantStatus::BadHandle)
        );
    }
}

#[test]
fn host_and_device_mapping_end_one_by_one() {
    let (machine, granter, mapper) = setup();
    machine.grant(8, 1, MAPPER, 0x100);
    let handle = mapper
        .map(&machine, &granter, request(8, HOST_MAP | DEVICE_MAP, 0))
        .unwrap()
        .handle;
    assert_eq!(machine.held()[&(0x100, true)], 2);
    let device = UnmapRequest {
        host_addr: 0,
        dev_bus_addr: 0x10_1000,
        new_addr: None,
        handle,
    };
    assert_eq!(
        mapper.begin_unmap(&machine, device),
        Err(GrantStatus::BadDevAddr)
    );
    let device = UnmapRequest {
        dev_bus_addr: 0x10_0000,
        ..device
    };
    let unmapped = mapper.begin_unmap(&machine, device).unwrap();
    assert!(!unmapped.needs_flush());
    mapper.finish_unmap(&machine, &granter, unmapped);
    assert_eq!(machine.entry(8).load(SeqCst) & WRITING, WRITING);
    // Address 0 means "leave it": the host mapping at 0 cannot be named, as in the ABI.
    let nothing = mapper.begin_unmap(&machine, unmap_at(handle, 0)).unwrap();
    mapper.finish_unmap(&machine, &granter, nothing);
    assert_eq!(machine.held()[&(0x100, true)], 1);
}

#[test]
fn replacing_moves_the_other_entry_in() {
    let (machine, granter, mapper) = setup();
    machine.grant(8, 1, MAPPER, 0x100);
    let handle = mapper
        .map(&machine, &granter, request(8, HOST_MAP, 0x1000))
        .unwrap()
        .handle;
    assert!(machine.hold(Mfn(0x201), MAPPER, true));
    machine
        .install(HostAddr::Linear(0x2000), 0x20_1003)
        .unwrap();
    let replace = UnmapRequest {
        new_addr: Some(0x2000),
        ..unmap_at(handle, 0x1000)
    };
    let unmapped = mapper.begin_unmap(&machine, replace).unwrap();
    mapper.finish_unmap(&machine, &granter, unmapped);
    assert_eq!(
        machine.counts.borrow().entries,
        BTreeMap::from([(0x1000, 0x20_1003)])
    );
    let handle = mapper
        .map(
            &machine,
            &granter,
            request(8, HOST_MAP | CONTAINS_PTE, 0x40),
        )
        .unwrap()
        .handle;
    let replace = UnmapRequest {
        new_addr: Some(0x2000),
        ..unmap_at(handle, 0x40)
    };
    assert_eq!(
        mapper.begin_unmap(&machine, replace),
        Err(GrantStatus::GeneralError)
    );
    assert!(mapper.begin_unmap(&machine, unmap_at(handle, 0x40)).is_ok());
}

#[test]
fn copy_holds_both_frames_only_while_it_copies() {
    let (machine, granter, mapper) = setup();
    machine.grant(8, 1 | 4, MAPPER, 0x100);
    machine.grant(9, 1, MAPPER, 0x101);
    let granted = |gref| CopyEnd::Granted {
        table: &granter,
        gref: GrantRef(gref),
    };
    let page = CopyRange {
        from_offset: 96,
        to_offset: 0,
        len: 4000,
    };
    let own = CopyEnd::Own(Mfn(0x201));
    assert_eq!(mapper.copy(&machine, granted(8), own, page), Ok(()));
    assert_eq!(mapper.copy(&machine, own, granted(9), page), Ok(()));
    assert_eq!(mapper.copy(&machine, granted(8), granted(9), page), Ok(()));
    assert_eq!(mapper.copy(&machine, own, own, page), Ok(()));
    let done = [
        (0x100, 0x201),
        (0x201, 0x101),
        (0x100, 0x101),
        (0x201, 0x201),
    ];
    assert_eq!(machine.counts.borrow().copies, done);
    for (from, to, range, status) in [
        (own, granted(8), page, GrantStatus::GeneralError),
        (granted(10), own, page, GrantStatus::GeneralError),
        (granted(5000), own, page, GrantStatus::BadGntref),
        (CopyEnd::Own(Mfn(0x100)), own, page, GrantStatus::BadPage),
        (
            granted(8),
            CopyEnd::Own(Mfn(0x207)),
            page,
            GrantStatus::GeneralError,
        ),
        (
            own,
            own,
            CopyRange {
                from_offset: 97,
                ..page
            },
            GrantStatus::BadCopyArg,
        ),
        (
            own,
            own,
            CopyRange {
                to_offset: u16::MAX,
                len: u16::MAX,
                ..page
            },
            GrantStatus::BadCopyArg,
        ),
    ] {
        assert_eq!(mapper.copy(&machine, from, to, range), Err(status));
    }
    assert_eq!(machine.counts.borrow().copies.len(), 4);
    assert!(machine.held().is_empty() && !granter.is_used());
    assert_eq!(machine.entry(9).load(SeqCst) & 0xffff, 1);
}

#[test]
fn dying_granter_stays_until_the_last_mapping_goes() {
    let (machine, granter, mapper) = setup();
    machine.grant(8, 1, MAPPER, 0x100);
    mapper
        .map(&machine, &granter, request(8, HOST_MAP, 0x1000))
        .unwrap();
    granter.set_dying();
    assert_eq!(
        mapper.map(&machine, &granter, request(8, HOST_MAP, 0x2000)),
        Err(GrantStatus::GeneralError)
    );
    assert!(!granter.retire(|_| panic!("in use")));
    // The mapper dies too: its page tables go first.
    machine.overwrite(0x1000);
    abandon(&machine, &granter, &mapper);
    let mut frames = Vec::new();
    assert!(granter.retire(|mfn| frames.push(mfn)));
    assert_eq!(frames, [machine.ram.mfn(0), machine.ram.mfn(1)]);
    assert_eq!(granter.size().0, 0);
    assert!(machine.held().is_empty());
}

#[test]
fn table_grows_to_its_limit_and_no_further() {
    let (machine, granter, mapper) = setup();
    assert_eq!(granter.size(), (2, 2));
    assert_eq!(granter.frame(1), Some(machine.ram.mfn(1)));
    assert_eq!(granter.frame(2), None);
    let never = || -> bool { panic!("nothing was added") };
    assert_eq!(
        granter.grow(1, || panic!("no need"), |_| {}, never),
        Ok(true)
    );
    assert_eq!(
        granter.grow(3, || panic!("too many"), |_| {}, never),
        Err(GrantStatus::GeneralError)
    );
    assert_eq!(
        mapper.grow(1, || None, |_| {}, never),
        Err(GrantStatus::GeneralError)
    );
    assert_eq!(mapper.size(), (0, 1));
}

#[test]
fn swapping_needs_both_entries_unused() {
    let (machine, granter, mapper) = setup();
    machine.grant(8, 1, MAPPER, 0x100);
    machine.grant(700, 1, MAPPER, 0x101);
    let (a, b) = (GrantRef(8), GrantRef(700));
    let (was_a, was_b) = (
        machine.entry(8).load(SeqCst),
        machine.entry(700).load(SeqCst),
    );
    assert_eq!(granter.swap(&machine, a, b), Ok(()));
    assert_eq!(
        (
            machine.entry(8).load(SeqCst),
            machine.entry(700).load(SeqCst)
        ),
        (was_b, was_a)
    );
    mapper
        .map(&machine, &granter, request(8, HOST_MAP, 0x1000))
        .unwrap();
    assert_eq!(granter.swap(&machine, a, b), Err(GrantStatus::Eagain));
    assert_eq!(
        granter.swap(&machine, b, GrantRef(4096)),
        Err(GrantStatus::BadGntref)
    );
}

#[test]
fn version_changes_in_pieces_and_keeps_reserved_entries() {
    let (machine, granter, mapper) = setup();
    machine.grant(1, 1, MAPPER, 0x101);
    machine.grant(7, 1 | 4, DomId(9), 0x107);
    machine.grant(8, 1, MAPPER, 0x100);
    let reserved = mapper
        .map(&machine, &granter, request(1, HOST_MAP | READONLY, 0x1000))
        .unwrap();
    let used = mapper
        .map(&machine, &granter, request(8, HOST_MAP, 0x2000))
        .unwrap();
    assert_eq!(switch(&machine, &granter, 2), Err(Errno::EBUSY));
    let unmapped = mapper
        .begin_unmap(&machine, unmap_at(used.handle, 0x2000))
        .unwrap();
    mapper.finish_unmap(&machine, &granter, unmapped);

    // One piece at a time: meanwhile nothing is granted, but what is mapped can go, and come back later.
    let mut pieces = 0;
    let piece = |version| {
        let status = machine.ram.mfn(2);
        granter.set_version(&machine, version, || Some(status), |_| (), || true)
    };
    while piece(2) == Ok(false) {
        pieces += 1;
        assert_eq!(granter.version(), 1);
        assert_eq!(
            mapper.map(&machine, &granter, request(1, HOST_MAP, 0x3000)),
            Err(GrantStatus::Eagain)
        );
        granter.recount(&machine, [&mapper]);
    }
    assert_eq!(
        (pieces, granter.version()),
        (4, 2),
        "a status frame, three cleared"
    );
    assert_eq!(granter.status_size(), (1, 1));
    machine.status.set(granter.status_frame(0));
    assert_eq!(machine.granted(1), (1 | u64::from(MAPPER.0) << 16, 0x101));
    assert_eq!(machine.granted(7), (1 | 4 | 9 << 16, 0x107));
    assert_eq!(machine.granted(8), (0, 0));
    assert_eq!((machine.marks(1), machine.marks(7)), (READING, 0));

    // And back, while the last mapping goes.
    assert_eq!(piece(1), Ok(false));
    let unmapped = mapper
        .begin_unmap(&machine, unmap_at(reserved.handle, 0x1000))
        .unwrap();
    mapper.finish_unmap(&machine, &granter, unmapped);
    while piece(1) == Ok(false) {}
    machine.status.set(None);
    assert_eq!((granter.version(), granter.status_frame(0)), (1, None));
    assert_eq!(machine.granted(1), (1 | u64::from(MAPPER.0) << 16, 0x101));
    assert_eq!(machine.held().len(), 0);
    assert_eq!(granter.nr_held(), 3, "the domain may have it mapped");
}

#[test]
fn version_that_cannot_be_is_refused() {
    let (machine, granter, mapper) = setup_v2();
    for version in [0, 3, u32::MAX] {
        assert_eq!(switch(&machine, &granter, version), Err(Errno::EINVAL));
    }
    assert_eq!(switch(&machine, &mapper, 2), Err(Errno::ENOSYS));
    machine.status.set(Some(machine.ram.mfn(2)));
    for (flags, frame) in [(3, 0x100), (1 | 1 << 8, 0x100), (1, 1 << 32)] {
        machine.grant(2, flags, MAPPER, frame);
        assert_eq!(switch(&machine, &granter, 1), Err(Errno::ERANGE), "{flags}");
    }
    machine.grant(2, 1, MAPPER, 0xffff_ffff);
    assert_eq!(switch(&machine, &granter, 1), Ok(true));
    let none = granter.set_version(&machine, 2, || None, |_| (), || false);
    assert_eq!(none, Ok(true), "the status frame is still there");
    let poor = GrantTable::new(MAPPER, 9, 1, 2);
    let mut frames = [0, 1].into_iter();
    let mut take = || frames.next().map(|n| machine.ram.mfn(n));
    assert_eq!(poor.grow(1, &mut take, |_| (), || false), Ok(true));
    let lacking = poor.set_version(&machine, 2, || None, |_| (), || false);
    assert_eq!((lacking, poor.version()), (Err(Errno::ENOMEM), 1));
}

#[test]
fn status_frames_come_before_the_entries_they_are_for() {
    let machine = Machine::new();
    let granter = GrantTable::new(GRANTER, 9, 1, 2);
    let mut next = 0u64..;
    let mut take = || next.next().map(|n| Mfn(0x1000 + n));
    assert_eq!(granter.grow(8, &mut take, |_| (), || false), Ok(true));
    let to_v2 = granter.set_version(&machine, 2, &mut take, |_| (), || true);
    assert_eq!(to_v2, Ok(false));
    assert_eq!(granter.nr_held(), 9);
    assert_eq!(granter.grow(9, &mut take, |_| (), || true), Ok(false));
    assert_eq!(
        (granter.size().0, granter.nr_held()),
        (8, 10),
        "a second status frame"
    );
    assert_eq!(granter.grow(9, &mut take, |_| (), || true), Ok(false));
    assert_eq!(granter.grow(9, &mut take, |_| (), || true), Ok(true));
    let mut held = 0;
    granter.for_each_held_frame(|_, is_written| held += usize::from(is_written));
    assert_eq!(held, 11);
}

#[test]
fn part_of_a_page_is_copied_and_no_more_and_not_mapped() {
    let (machine, granter, mapper) = setup_v2();
    let part = 1 | 1 << 8;
    machine.grant(8, part, MAPPER, 0x100);
    machine.word(16).fetch_or(64 << 32 | 32 << 48, SeqCst);
    let from = CopyEnd::Granted {
        table: &granter,
        gref: GrantRef(8),
    };
    let own = CopyEnd::Own(Mfn(0x201));
    for (offset, len, expected) in [
        (64, 32, Ok(())),
        (95, 1, Ok(())),
        (96, 0, Ok(())),
        (63, 2, Err(GrantStatus::GeneralError)),
        (95, 2, Err(GrantStatus::GeneralError)),
        (97, 0, Err(GrantStatus::GeneralError)),
    ] {
        let (from_offset, to_offset) = (offset, offset);
        let range = CopyRange {
            from_offset,
            to_offset,
            len,
        };
        assert_eq!(mapper.copy(&machine, from, own, range), expected);
        assert_eq!(mapper.copy(&machine, own, from, range), expected);
    }
    assert_eq!(
        mapper.map(&machine, &granter, request(8, HOST_MAP, 0)),
        Err(GrantStatus::GeneralError)
    );
    assert_eq!((machine.marks(8), granter.is_used()), (0, false));
    for flags in [0, 2, 3] {
        machine.grant(8, flags, MAPPER, 0x100);
        let range = CopyRange {
            from_offset: 0,
            to_offset: 0,
            len: 1,
        };
        let refused = mapper.copy(&machine, from, own, range);
        assert_eq!(refused, Err(GrantStatus::GeneralError), "{flags}");
        assert_eq!(machine.marks(8), 0);
    }
    assert!(machine.held().is_empty());
}

#[test]
fn entry_accepts_one_frame_from_whom_it_names() {
    for is_v2 in [false, true] {
        let (machine, granter, _) = if is_v2 { setup_v2() } else { setup() };
        let accept = |gref, from, mfn| {
            let mut told = None;
            let done = granter.accept(&machine, GrantRef(gref), from, Mfn(mfn), |pfn| {
                told = Some(pfn);
            });
            assert_eq!(done.is_ok(), told.is_some());
            done.map(|()| told.unwrap())
        };
        machine.grant(8, 2, MAPPER, 0x77);
        let no = Err(GrantStatus::GeneralError);
        assert_eq!(accept(8, GRANTER, 0x201), no, "from another");
        assert_eq!(accept(9, MAPPER, 0x201), no, "an empty entry");
        assert_eq!(accept(5000, MAPPER, 0x201), no, "no entry");
        assert_eq!(accept(8, MAPPER, 0x201), Ok(0x77));
        let done = 2 | 4 | 8 | u64::from(MAPPER.0) << 16;
        assert_eq!(machine.granted(8), (done, 0x201));
        assert_eq!(accept(8, MAPPER, 0x202), no, "a second frame");
        machine.grant(8, 2, MAPPER, 0);
        let high = accept(8, MAPPER, 1 << 32);
        let too_high = Err(GrantStatus::AddressTooBig);
        assert_eq!(high, if is_v2 { Ok(0) } else { too_high });
        granter.set_dying();
        machine.grant(9, 2, MAPPER, 0);
        assert_eq!(accept(9, MAPPER, 0x201), no, "a dying domain");
    }
}

#[test]
fn entry_that_never_holds_still_is_given_up() {
    for is_v2 in [false, true] {
        let words = [const { AtomicU64::new(0) }; 3];
        let [header, frame, status] = &words;
        let permit = 1 | u64::from(MAPPER.0) << 16;
        header.store(permit, SeqCst);
        let stop = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let mut n = 0u64;
                while !stop.load(SeqCst) {
                    n += 1;
                    header.store(permit | n << 32, SeqCst);
                }
            });
            let entry = if is_v2 {
                entry::Entry::V2(entry::EntryV2 {
                    header,
                    frame,
                    status,
                    shift: 16,
                })
            } else {
                entry::Entry::V1(header)
            };
            for _ in 0..10_000 {
                match entry.mark(MAPPER, entry::Access::Write, true) {
                    Ok(_) if is_v2 => assert_eq!(entry.marks(), READING | WRITING),
                    Ok(_) => {}
                    Err(_) if is_v2 => assert_eq!(entry.marks(), 0),
                    Err(_) => {}
                }
                entry.unmark(false);
            }
            stop.store(true, SeqCst);
        });
    }
}

#[derive(Clone, Debug)]
enum Op {
    Grant { gref: u32, flags: u16, frame: u64 },
    Map { gref: u32, flags: u32, va: u64 },
    Unmap { pick: usize, wrong_va: bool },
    Flush,
    Overwrite { va: u64 },
    Copy { gref: u32, own: u64, out: bool },
}

fn op() -> impl Strategy<Value = Op> {
    let gref = 8..12u32;
    let va = (1..6u64).prop_map(|n| n * 8);
    prop_oneof![
        2 => (gref.clone(), prop_oneof![Just(0u16), Just(1), Just(1), Just(5)], 0x100..0x109u64)
            .prop_map(|(gref, flags, frame)| Op::Grant { gref, flags, frame }),
        4 => (gref.clone(), 0..32u32, va.clone()).prop_map(|(gref, flags, va)| Op::Map { gref, flags, va }),
        4 => (any::<prop::sample::Index>(), prop::bool::weighted(0.1))
            .prop_map(|(pick, wrong_va)| Op::Unmap { pick: pick.index(64), wrong_va }),
        2 => Just(Op::Flush),
        1 => va.prop_map(|va| Op::Overwrite { va }),
        2 => (gref, 0x200..0x209u64, any::<bool>()).prop_map(|(gref, own, out)| Op::Copy { gref, own, out }),
    ]
}

/// A mapping as the test remembers it.
struct Mapping {
    handle: u32,
    gref: u32,
    flags: u32,
    va: u64,
    mfn: u64,
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, ..ProptestConfig::default() })]

    #[test]
    fn references_and_marks_are_exactly_those_of_the_mappings(
        is_v2: bool,
        ops in prop::collection::vec(op(), 1..80),
    ) {
        let (machine, granter, mapper) = if is_v2 { setup_v2() } else { setup() };
        let mut mappings: Vec<Mapping> = Vec::new();
        let mut unflushed: Vec<(Mapping, Unmapped)> = Vec::new();
        for op in ops {
            match op {
                Op::Grant { gref, flags, frame } => {
                    // An honest granter: it changes only entries that nobody uses.
                    if !mappings.iter().chain(unflushed.iter().map(|(m, _)| m)).any(|m| m.gref == gref) {
                        machine.grant(gref, flags, MAPPER, frame);
                    }
                }
                Op::Map { gref, flags, va } => {
                    let (entry, frame) = machine.granted(gref);
                    let writable = flags & READONLY == 0;
                    let may = entry & 3 == 1 && !(writable && entry & 4 != 0) && frame < 0x108
                        && !(writable && frame == 0x107) && flags & 3 != 0;
                    let got = mapper.map(&machine, &granter, request(gref, flags, va));
                    prop_assert_eq!(got.is_ok(), may, "{:?}", got);
                    if let Ok(mapped) = got {
                        prop_assert_eq!(mapped.mfn.0, frame);
                        mappings.push(Mapping { handle: mapped.handle, gref, flags, va, mfn: frame });
                    }
                }
                Op::Unmap { pick, wrong_va } => {
                    if mappings.is_empty() {
                        continue;
                    }
                    let mapping = mappings.remove(pick % mappings.len());
                    let va = mapping.va + if wrong_va { 0x4000 } else { 0 };
                    let all = UnmapRequest {
                        host_addr: va,
                        dev_bus_addr: mapping.mfn << 12,
                        new_addr: None,
                        handle: mapping.handle,
                    };
                    match mapper.begin_unmap(&machine, all) {
                        Ok(unmapped) => unflushed.push((mapping, unmapped)),
                        Err(status) => {
                            prop_assert_eq!(status, GrantStatus::GeneralError);
                            mappings.push(mapping);
                        }
                    }
                }
                Op::Flush => {
                    for (_, unmapped) in unflushed.drain(..) {
                        mapper.finish_unmap(&machine, &granter, unmapped);
                    }
                }
                Op::Overwrite { va } => machine.overwrite(va),
                Op::Copy { gref, own, out } => {
                    let granted = CopyEnd::Granted { table: &granter, gref: GrantRef(gref) };
                    let own = CopyEnd::Own(Mfn(own));
                    let range = CopyRange { from_offset: 0, to_offset: 0, len: 4096 };
                    let (from, to) = if out { (own, granted) } else { (granted, own) };
                    let before = machine.held();
                    let _ = mapper.copy(&machine, from, to, range);
                    prop_assert_eq!(machine.held(), before);
                }
            }
            check(&machine, &granter, &mapper, &mappings, &unflushed);
        }
        for (_, unmapped) in unflushed.drain(..) {
            mapper.finish_unmap(&machine, &granter, unmapped);
        }
        // The mapper dies: its tables, then its handles.
        let all: Vec<u64> = machine.counts.borrow().entries.keys().copied().collect();
        all.into_iter().for_each(|va| machine.overwrite(va));
        abandon(&machine, &granter, &mapper);
        prop_assert!(machine.held().is_empty());
        prop_assert!((8..12).all(|gref| machine.marks(gref) == 0));
        prop_assert!(granter.retire(drop));
        prop_assert_eq!(mapper.maptrack.lock().used().len(), 0);
    }
}

fn check(
    machine: &Machine,
    granter: &GrantTable,
    mapper: &GrantTable,
    mappings: &[Mapping],
    unflushed: &[(Mapping, Unmapped)],
) {
    // References: one per present entry, one per device mapping, and those of what is unmapped and not flushed.
    let mut expected: BTreeMap<(u64, bool), u32> = BTreeMap::new();
    for pte in machine.counts.borrow().entries.values() {
        *expected
            .entry(((pte & 0xf_ffff_f000) >> 12, pte & 2 != 0))
            .or_default() += 1;
    }
    let mut count = |m: &Mapping, flag: u32| {
        if m.flags & flag != 0 {
            *expected
                .entry((m.mfn, m.flags & READONLY == 0))
                .or_default() += 1;
        }
    };
    mappings.iter().for_each(|m| count(m, DEVICE_MAP));
    unflushed.iter().for_each(|(m, _)| {
        count(m, DEVICE_MAP);
        count(m, HOST_MAP);
    });
    assert_eq!(machine.held(), expected);
    let live: Vec<&Mapping> = mappings
        .iter()
        .chain(unflushed.iter().map(|(m, _)| m))
        .collect();
    for gref in 8..12 {
        let used = live.iter().any(|m| m.gref == gref);
        let written = live
            .iter()
            .any(|m| m.gref == gref && m.flags & READONLY == 0);
        assert_eq!(
            machine.marks(gref),
            (u64::from(used) * READING) | (u64::from(written) * WRITING),
            "{gref}"
        );
    }
    granter.recount(machine, [mapper]);
    assert_eq!(granter.is_used(), !live.is_empty());
    let handles: BTreeSet<u32> = live.iter().map(|m| m.handle).collect();
    assert_eq!(
        (handles.len(), mapper.maptrack.lock().used().len()),
        (live.len(), live.len())
    );
}
