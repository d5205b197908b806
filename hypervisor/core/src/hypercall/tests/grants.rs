//! Two domains, one that grants and one that maps: every order in which they act and die, up to a depth.
//!
//! Each order is run on its own, from two new domains to their end. After every step all references, pins and marks are
//! counted again; at its end the machine has what it had. States that are alike have the same future, so that only the first
//! order that leads to one is followed further.

use std::collections::{BTreeSet, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::vec::Vec;

use rexen_abi::grant_table::*;
use rexen_abi::memory::*;
use rexen_abi::xen::*;

use crate::domain::{Domain, DomainSpec, Stage};
use crate::hypercall::testing::{Fake, GUEST, MAPPED};
use crate::hypercall::{Machine, Outcome, teardown};
use crate::pvmmu::TableAccess;
use crate::units::{DomId, Mfn};

pub(super) const GRANTER: u16 = 5;
pub(super) const MAPPER: u16 = 6;
/// Frames of each: four page tables and then, by index, these.
const FRAMES: usize = 10;
const REPLACEMENT: usize = 4;
const GRANTED: usize = 5;
const COPIED: usize = 6;
const GIVEN: usize = 7;
/// Entries of the grant table.
const GREF: u32 = 8;
const ACCEPTING: u32 = 9;
/// Where the mapper maps, writable and read-only, and what it has to replace a mapping with.
const RW_AT: u64 = MAPPED;
const RO_AT: u64 = MAPPED + 0x1000;
const REPLACE_AT: u64 = MAPPED + 0x2000;

/// How many acts follow each other.
const DEPTH: usize = 5;

/// What a domain does next. Those of the granter come first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Act {
    Permit,
    PermitReadOnly,
    EndAccess,
    Accept,
    Version(u32),
    GiveBack,
    KillGranter,
    MapWritable,
    MapReadOnly,
    Unmap(u32),
    Replace,
    Overwrite,
    CopyFrom,
    CopyTo,
    Transfer,
    KillMapper,
}

pub(super) const ALL: [Act; 18] = [
    Act::Permit,
    Act::PermitReadOnly,
    Act::EndAccess,
    Act::Accept,
    Act::Version(1),
    Act::Version(2),
    Act::GiveBack,
    Act::KillGranter,
    Act::MapWritable,
    Act::MapReadOnly,
    Act::Unmap(0),
    Act::Unmap(1),
    Act::Replace,
    Act::Overwrite,
    Act::CopyFrom,
    Act::CopyTo,
    Act::Transfer,
    Act::KillMapper,
];

/// The two domains.
pub(super) struct Pair<'a> {
    m: &'a Fake,
    /// The frames of the granter, and of the mapper.
    frames: [Vec<Mfn>; 2],
}

fn build(m: &Fake, id: u16) -> Vec<Mfn> {
    let spec = DomainSpec {
        id: Some(DomId(id)),
        is_privileged: false,
        is_store: false,
        ssidref: 0,
        handle: [0; 16],
        nr_vcpus: 1,
        max_port: 63,
        nr_pirqs: 0,
        max_grant_frames: 4,
        max_maptrack_frames: 1,
        max_grant_version: 2,
    };
    let domain = m.create_domain(&spec).unwrap();
    domain.max_pages.store(FRAMES as u64 + 1, SeqCst);
    domain.tot_pages.store(FRAMES as u64, SeqCst);
    let frame = |_| {
        let mfn = m.alloc_frames(0, 64).unwrap();
        domain.span.grow(mfn, 1);
        m.frames().get(mfn).unwrap().assign(domain.id).unwrap();
        mfn
    };
    let frames: Vec<Mfn> = (0..FRAMES).map(frame).collect();
    m.write(frames[3], 2, frames[REPLACEMENT].maddr() | 7);
    drop(domain);
    m.tables_in(id, [frames[0], frames[1], frames[2], frames[3]]);
    frames
}

impl<'a> Pair<'a> {
    pub fn new(m: &'a Fake) -> Self {
        let frames = [GRANTER, MAPPER].map(|id| build(m, id));
        Pair { m, frames }
    }

    fn domain(&self, id: u16) -> Option<Arc<Domain>> {
        self.m.domain(DomId(id))
    }

    pub fn lives(&self, id: u16) -> bool {
        self.domain(id).is_some_and(|domain| !domain.is_dying())
    }

    /// Whether it can be done at all: by a domain that runs.
    pub fn can(&self, act: Act) -> bool {
        match act {
            Act::KillGranter => self.can_die(GRANTER),
            Act::KillMapper => self.can_die(MAPPER),
            _ => self.lives(Self::who(act)),
        }
    }

    fn can_die(&self, id: u16) -> bool {
        let domain = self.domain(id);
        domain.is_some_and(|domain| domain.life.stage() != Stage::Dead)
    }

    pub fn who(act: Act) -> u16 {
        match act {
            Act::Permit
            | Act::PermitReadOnly
            | Act::EndAccess
            | Act::Accept
            | Act::Version(_)
            | Act::GiveBack
            | Act::KillGranter => GRANTER,
            _ => MAPPER,
        }
    }

    /// Does it. What is long is stopped as often as it can be.
    pub fn act(&self, act: Act) {
        let arg = GUEST + u64::from(Self::who(act) - GRANTER) * 0x1000;
        let [granter, mapper] = &self.frames;
        let permit = u64::from(GTF_permit_access);
        match act {
            Act::Permit => self.write_entry(GREF, permit, granter[GRANTED].0),
            Act::PermitReadOnly => {
                let header = permit | u64::from(GTF_readonly);
                self.write_entry(GREF, header, granter[GRANTED].0);
            }
            Act::EndAccess => self.write_entry(GREF, 0, 0),
            Act::Accept => self.write_entry(ACCEPTING, GTF_accept_transfer.into(), 0),
            Act::Version(version) => {
                self.op(arg, GNTTABOP_set_version, &GnttabSetVersion { version })
            }
            Act::GiveBack => {
                self.m.put(arg + 64, &granter[GRANTED].0);
                let reservation = XenMemoryReservation {
                    extent_start: arg + 64,
                    nr_extents: 1,
                    domid: DOMID_SELF,
                    ..XenMemoryReservation::default()
                };
                self.m.put(arg, &reservation);
                let command = u64::from(XENMEM_decrease_reservation);
                self.finish(GRANTER, __HYPERVISOR_memory_op, [command, arg, 0, 0, 0]);
            }
            Act::MapWritable => self.map(arg, RW_AT, GNTMAP_host_map),
            Act::MapReadOnly => self.map(
                arg,
                RO_AT,
                GNTMAP_host_map | GNTMAP_device_map | GNTMAP_readonly,
            ),
            Act::Unmap(handle) => {
                let (host_addr, mfn) = self.place_of(handle);
                let op = GnttabUnmapGrantRef {
                    host_addr,
                    dev_bus_addr: mfn.maddr(),
                    handle,
                    status: 0,
                };
                self.op(arg, GNTTABOP_unmap_grant_ref, &op);
            }
            Act::Replace => {
                let op = GnttabUnmapAndReplace {
                    host_addr: self.place_of(0).0,
                    new_addr: REPLACE_AT,
                    handle: 0,
                    status: 0,
                };
                self.op(arg, GNTTABOP_unmap_and_replace, &op);
            }
            Act::Overwrite => {
                self.finish(
                    MAPPER,
                    __HYPERVISOR_update_va_mapping,
                    [RW_AT, 0, UVMF_INVLPG, 0, 0],
                );
            }
            Act::CopyFrom => self.copy(arg, GNTCOPY_source_gref, mapper[COPIED]),
            Act::CopyTo => self.copy(arg, GNTCOPY_dest_gref, mapper[COPIED]),
            Act::Transfer => {
                let op = GnttabTransfer {
                    mfn: mapper[GIVEN].0,
                    domid: GRANTER,
                    gref: ACCEPTING,
                    status: 0,
                };
                self.op(arg, GNTTABOP_transfer, &op);
            }
            Act::KillGranter => self.kill(GRANTER, u64::MAX),
            Act::KillMapper => self.kill(MAPPER, u64::MAX),
        }
        teardown::reap(self.m);
    }

    /// One turn of its destruction.
    fn kill(&self, id: u16, stops: u64) {
        if let Some(domain) = self.domain(id) {
            self.m.stops.store(stops, SeqCst);
            teardown::destroy(self.m, &domain);
            self.m.stops.store(0, SeqCst);
        }
    }

    /// A hypercall to its end, with a stop wherever it asks.
    fn finish(&self, dom: u16, number: u32, mut args: [u64; 5]) {
        for _ in 0..100 {
            self.m.stops.store(u64::MAX, SeqCst);
            match self.m.turn(dom, 0, number, args) {
                Outcome::Again(next) => args = next,
                _ => return self.m.stops.store(0, SeqCst),
            }
        }
        panic!("the hypercall does not end");
    }

    fn op<T: rexen_abi::Plain>(&self, arg: u64, cmd: u32, op: &T) {
        self.m.put(arg, op);
        let dom = GRANTER + ((arg - GUEST) / 0x1000) as u16;
        self.finish(dom, __HYPERVISOR_grant_table_op, [cmd.into(), arg, 1, 0, 0]);
    }

    fn map(&self, arg: u64, host_addr: u64, flags: u32) {
        let op = GnttabMapGrantRef {
            host_addr,
            flags,
            gref: GREF,
            dom: GRANTER,
            ..GnttabMapGrantRef::default()
        };
        self.op(arg, GNTTABOP_map_grant_ref, &op);
    }

    /// Where the mapper believes to have what it maps by `handle`: it knows from the entries that it has there.
    fn place_of(&self, handle: u32) -> (u64, Mfn) {
        let l1 = self.frames[1][3];
        let order = if handle == 0 { [0, 1] } else { [1, 0] };
        let index = order
            .into_iter()
            .find(|index| self.m.read(l1, *index) & 1 != 0);
        let index = index.unwrap_or(0);
        let mfn = Mfn(self.m.read(l1, index) >> 12 & 0xff_ffff);
        (MAPPED + index as u64 * 0x1000, mfn)
    }

    fn copy(&self, arg: u64, flags: u16, own: Mfn) {
        let granted = GnttabCopyPtr {
            u: GREF.into(),
            domid: GRANTER,
            offset: 0,
        };
        let own = GnttabCopyPtr {
            u: own.0,
            domid: DOMID_SELF,
            offset: 8,
        };
        let (source, dest) = if flags == GNTCOPY_source_gref {
            (granted, own)
        } else {
            (own, granted)
        };
        let op = GnttabCopy {
            source,
            dest,
            len: 16,
            flags,
            status: 0,
        };
        self.op(arg, GNTTABOP_copy, &op);
    }

    /// The granter writes an entry, and leaves the marks in it alone as it must.
    fn write_entry(&self, gref: u32, header: u64, frame: u64) {
        let domain = self.domain(GRANTER).unwrap();
        let Some(table) = domain.grants.frame(0) else {
            return;
        };
        let header = header | u64::from(MAPPER) << 16;
        let index = gref as usize;
        if domain.grants.version() == 2 {
            self.m.write(table, index * 2 + 1, frame);
            self.m.write(table, index * 2, header);
        } else {
            let marked = |old: u64| {
                let marks = old & u64::from(GTF_reading | GTF_writing);
                header | marks | frame << 32
            };
            let mut old = self.m.read(table, index);
            while let Err(seen) = self.m.cmpxchg(table, index, old, marked(old)) {
                old = seen;
            }
        }
    }

    /// Counts everything again.
    pub fn check(&self) {
        self.m.check();
        let domains = [GRANTER, MAPPER].map(|id| self.domain(id));
        for domain in domains.iter().flatten() {
            let tables = domains.iter().flatten().map(|mapper| &mapper.grants);
            domain.grants.recount(self.m, tables);
        }
    }

    /// All that decides what can happen next, whichever frames it happens in.
    fn fingerprint(&self) -> u64 {
        let all = || self.frames.iter().flatten();
        let label = |mfn: Mfn| all().position(|frame| *frame == mfn).unwrap_or(99) as u64;
        let masked = |word: u64| {
            let mfn = Mfn(word >> 12 & 0xff_ffff);
            (word & 0xfff, label(mfn))
        };
        let mut hasher = DefaultHasher::new();
        for mfn in all() {
            self.m.frames().word(*mfn).0.hash(&mut hasher);
        }
        for id in [GRANTER, MAPPER] {
            let Some(domain) = self.domain(id) else {
                id.hash(&mut hasher);
                continue;
            };
            domain.grants.fingerprint(label).hash(&mut hasher);
            (domain.life.stage() as u64).hash(&mut hasher);
            domain.tot_pages.load(SeqCst).hash(&mut hasher);
            let progress = domain.life.teardown.lock();
            (progress.step as u64, progress.cursor.min(2)).hash(&mut hasher);
            if let Some(table) = domain.grants.frame(0) {
                for index in 8..24 {
                    let word = self.m.read(table, index);
                    let by_label = [Mfn(word), Mfn(word >> 32)].map(label);
                    (word as u32 & 0xff_ffff, by_label).hash(&mut hasher);
                }
            }
        }
        for index in 0..3 {
            masked(self.m.read(self.frames[1][3], index)).hash(&mut hasher);
        }
        hasher.finish()
    }

    /// Both die; nothing remains.
    pub fn end(&self) {
        for _ in 0..20 {
            self.kill(MAPPER, 0);
            self.kill(GRANTER, 0);
            teardown::reap(self.m);
        }
        for id in [GRANTER, MAPPER] {
            assert!(self.domain(id).is_none(), "{id} is still there");
        }
        self.m.check();
    }
}

/// Follows every order of acts up to `depth`; says how many states there are.
fn explore(depth: usize) -> usize {
    let m = Fake::new();
    let free = m.nr_free_frames();
    let run = |path: &[Act]| {
        let pair = Pair::new(&m);
        for act in path {
            if !pair.can(*act) {
                pair.end();
                return None;
            }
            pair.act(*act);
        }
        pair.check();
        let fingerprint = pair.fingerprint();
        pair.end();
        assert_eq!(m.nr_free_frames(), free, "free frames");
        m.forget();
        Some(fingerprint)
    };
    let run = |path: &[Act]| {
        let run = std::panic::AssertUnwindSafe(|| run(path));
        std::panic::catch_unwind(run).unwrap_or_else(|_| panic!("after {path:?}"))
    };
    let mut seen = BTreeSet::from([run(&[]).unwrap()]);
    let mut next = VecDeque::from([Vec::new()]);
    while let Some(path) = next.pop_front() {
        for act in ALL {
            let path = [&path[..], &[act]].concat();
            if run(&path).is_some_and(|state| seen.insert(state)) && path.len() < depth {
                next.push_back(path);
            }
        }
    }
    seen.len()
}

#[test]
fn every_order_of_two_domains_acts_leaves_every_count_right() {
    let states = explore(DEPTH);
    assert!(states > 1000, "{states}");
}
