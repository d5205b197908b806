//! A machine in RAM for tests: frames, their contents, caches that keep all they ever saw, and I/O frames.

pub mod schedules;

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};

use crate::frame::{Buddy, FrameInfo, FrameTable, FrameType};
use crate::pvmmu::entry::{self, P, RW, frame_of};
use crate::pvmmu::{
    DomainMm, IoAccess, IoPolicy, MmState, MmuHost, Refs, Root, TableAccess, Tlb, check_world,
};
use crate::units::{DomId, Mfn, PTES_PER_TABLE};

/// How a CPU may have cached a frame.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Cached {
    /// As the target of a read-only translation.
    Read,
    /// As the target of a writable translation.
    Write,
    /// As a table of this level.
    Table(u32),
}

/// The machine. Frames `1..ram` are RAM, private to the hypervisor at first; the rest of the table is I/O.
pub struct Machine {
    frames: Vec<FrameInfo>,
    ram: Vec<Vec<Cell<u64>>>,
    slots: [u64; 16],
    clock: Cell<u64>,
    tlb: RefCell<BTreeSet<(DomId, Mfn, Cached)>>,
    flushed: RefCell<BTreeMap<DomId, u64>>,
    /// How often each kind of flush was asked for.
    pub flushes: Cell<(u32, u32)>,
    /// `should_stop` says yes when the lowest bit is set, and shifts.
    pub stops: Cell<u64>,
    /// Bits that the CPU sets in an entry just before our next compare-exchange.
    pub interfere: Cell<u64>,
    /// What `frame_freed` was told.
    pub freed: RefCell<Vec<(Mfn, DomId)>>,
    /// What `bug` was told. Stays empty.
    pub bugs: RefCell<Vec<(&'static str, Mfn)>>,
    /// What `set_m2p` was told.
    pub m2p: RefCell<BTreeMap<Mfn, u64>>,
    /// Who may map which I/O frame, beside nobody.
    pub io: RefCell<BTreeMap<(DomId, Mfn), IoAccess>>,
}

impl Machine {
    /// A machine whose frame table covers `all` frames, the first `ram` of them RAM.
    pub fn new(all: usize, ram: usize) -> Self {
        let m = Machine {
            frames: (0..all).map(|_| FrameInfo::new()).collect(),
            ram: (0..ram)
                .map(|_| vec![Cell::new(0); PTES_PER_TABLE])
                .collect(),
            slots: std::array::from_fn(|i| 0x8000_0000_dead_0063 + ((i as u64) << 12)),
            clock: Cell::new(1),
            tlb: RefCell::default(),
            flushed: RefCell::default(),
            flushes: Cell::default(),
            stops: Cell::default(),
            interfere: Cell::default(),
            freed: RefCell::default(),
            bugs: RefCell::default(),
            m2p: RefCell::default(),
            io: RefCell::default(),
        };
        for mfn in 1..ram {
            m.frames().reserve(Mfn(mfn as u64)).unwrap();
        }
        m
    }

    /// All frames.
    pub fn frames(&self) -> FrameTable<'_> {
        FrameTable::new(&self.frames)
    }

    /// Gives the frames `mfns` to `owner`.
    pub fn give(&self, owner: DomId, mfns: impl IntoIterator<Item = u64>) {
        for mfn in mfns {
            self.frames().get(Mfn(mfn)).unwrap().assign(owner).unwrap();
        }
    }

    /// The tables of `state`'s domain.
    pub fn mm<'a>(&'a self, state: &'a mut MmState) -> DomainMm<'a, Self> {
        DomainMm::new(self.frames(), self, state)
    }

    /// References that need no lock.
    pub fn refs(&self) -> Refs<'_, Self> {
        Refs {
            frames: self.frames(),
            host: self,
        }
    }

    /// Writes a word as if by a mapping that the guest has.
    pub fn poke(&self, mfn: u64, index: usize, value: u64) {
        self.ram[mfn as usize][index].set(value);
    }

    /// Reads a word.
    pub fn peek(&self, mfn: u64, index: usize) -> u64 {
        self.ram[mfn as usize][index].get()
    }

    /// Every CPU of `domain` loads all that the domain's tables say: the worst that can happen.
    pub fn load_caches(&self, domain: DomId) {
        let mut tlb = self.tlb.borrow_mut();
        for mfn in 0..self.ram.len() as u64 {
            let word = self.frames().word(Mfn(mfn));
            let (Some(level), true, true) = (
                word.frame_type().level(),
                word.is_validated(),
                word.owner() == domain,
            ) else {
                continue;
            };
            tlb.insert((domain, Mfn(mfn), Cached::Table(level)));
            for index in
                (0..PTES_PER_TABLE).filter(|i| level != 4 || !entry::is_hypervisor_slot(*i))
            {
                let e = self.peek(mfn, index);
                if e & P != 0 && level == 1 {
                    let how = if e & RW != 0 {
                        Cached::Write
                    } else {
                        Cached::Read
                    };
                    tlb.insert((domain, frame_of(e), how));
                }
            }
        }
    }

    /// What some CPU may still do that it must not.
    pub fn stale(&self) -> Vec<(DomId, Mfn, Cached)> {
        let bad = |&(domain, mfn, how): &(DomId, Mfn, Cached)| {
            let word = self.frames().word(mfn);
            if word.is_io() {
                return false;
            }
            let in_use = word.type_count() > 0;
            let gone = word.refs() == 0 || word.is_free();
            match how {
                Cached::Read => gone,
                Cached::Write => gone || in_use && word.frame_type() != FrameType::Writable,
                Cached::Table(level) => {
                    gone || word.owner() != domain
                        || in_use && word.frame_type().level() != Some(level)
                }
            }
        };
        self.tlb.borrow().iter().copied().filter(bad).collect()
    }

    /// Panics unless all counts are right, no cache is stale and no bug was reported.
    #[track_caller]
    pub fn check(&self, roots: impl IntoIterator<Item = Root>) {
        assert_eq!(*self.bugs.borrow(), []);
        let wrong = check_world(self.frames(), self, roots).expect("memory to count in");
        assert!(wrong.is_empty(), "{wrong:#x?}");
        assert_eq!(self.stale(), []);
    }

    /// An allocator that has all RAM from `from` on.
    pub fn buddy(&self, from: u64) -> Buddy<'_> {
        let mut buddy = Buddy::new(self.frames());
        buddy.add_range(Mfn(from), self.ram.len() as u64 - from);
        buddy
    }

    fn cell(&self, frame: Mfn, index: usize) -> &Cell<u64> {
        assert!(
            !self.frames().word(frame).is_io(),
            "the contents of {frame:?} were touched, which is no RAM"
        );
        &self.ram[frame.0 as usize][index]
    }
}

impl TableAccess for Machine {
    fn read(&self, frame: Mfn, index: usize) -> u64 {
        self.cell(frame, index).get()
    }
    fn write(&self, frame: Mfn, index: usize, value: u64) {
        self.cell(frame, index).set(value);
    }
    fn cmpxchg(&self, frame: Mfn, index: usize, old: u64, new: u64) -> Result<u64, u64> {
        let seen = self.read(frame, index) | self.interfere.take();
        self.write(frame, index, seen);
        if seen == old {
            self.write(frame, index, new);
            Ok(old)
        } else {
            Err(seen)
        }
    }
    fn block_is_empty(&self, frame: Mfn, first: usize) -> bool {
        assert_eq!(first % 8, 0);
        (first..first + 8).all(|i| self.read(frame, i) == 0)
    }
    fn clear(&self, frame: Mfn) {
        (0..PTES_PER_TABLE).for_each(|i| self.write(frame, i, 0));
    }
    fn copy(&self, from: Mfn, to: Mfn) {
        (0..PTES_PER_TABLE).for_each(|i| self.write(to, i, self.read(from, i)));
    }
}

impl Tlb for Machine {
    fn flush_stamp_now(&self) -> u64 {
        self.clock.get()
    }
    fn flush_before_retype(&self, owner: DomId, stamp: u64) {
        let (retypes, domains) = self.flushes.get();
        self.flushes.set((retypes + 1, domains));
        if self
            .flushed
            .borrow()
            .get(&owner)
            .is_none_or(|at| *at <= stamp)
        {
            self.flush_domain(owner);
            self.flushes.set((retypes + 1, domains));
        }
    }
    fn flush_domain(&self, domain: DomId) {
        self.clock.set(self.clock.get() + 1);
        self.tlb.borrow_mut().retain(|(d, _, _)| *d != domain);
        self.flushed.borrow_mut().insert(domain, self.clock.get());
        let (retypes, domains) = self.flushes.get();
        self.flushes.set((retypes, domains + 1));
    }
}

impl IoPolicy for Machine {
    fn io_access(&self, domain: DomId, mfn: Mfn) -> IoAccess {
        self.io
            .borrow()
            .get(&(domain, mfn))
            .copied()
            .unwrap_or(IoAccess::Refused)
    }
}

impl MmuHost for Machine {
    const POLL_EVERY: u32 = 1;

    fn should_stop(&self) -> bool {
        let stops = self.stops.get();
        self.stops.set(stops >> 1);
        stops & 1 != 0
    }
    fn l4_slots(&self) -> &[u64; 16] {
        &self.slots
    }
    fn set_m2p(&self, mfn: Mfn, pfn: u64) {
        self.m2p.borrow_mut().insert(mfn, pfn);
    }
    fn frame_freed(&self, mfn: Mfn, owner: DomId) {
        self.flush_domain(owner);
        self.freed.borrow_mut().push((mfn, owner));
    }
    fn bug(&self, what: &'static str, mfn: Mfn) {
        self.bugs.borrow_mut().push((what, mfn));
    }
}
