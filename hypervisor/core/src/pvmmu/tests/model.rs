//! Random operations against a slow obvious model.
//!
//! The model keeps no counts. From the roots it finds what every frame is used as, and an operation must succeed if and
//! only if the frames that it adds fit to that: "refused iff the world with the old *and* the new use breaks a rule".

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::pvmmu::entry::{FRAME, G, PAT, PCD, frame_of, is_hypervisor_slot};

/// Frames that the operations choose from: tables, pages, foreign, private, published, I/O.
const PICKS: [u64; 17] = [
    1, 2, 3, 4, 5, 6, 7, 8, 9, 20, 21, PRIVATE, PUBLISHED, IO_RW, IO_RO, IO_NO, IO_FAR,
];
const INDICES: [usize; 9] = [0, 1, 2, 8, 255, 256, 271, 300, 511];

#[derive(Clone, Debug)]
enum Op {
    Update {
        table: u64,
        index: usize,
        val: u64,
        preserve: bool,
        fd: DomId,
    },
    Store {
        table: u64,
        index: usize,
        size: usize,
        cmpxchg: bool,
        val: u64,
    },
    Poke {
        page: u64,
        index: usize,
        val: u64,
    },
    UpdateVa {
        va: u64,
        val: u64,
    },
    Pin {
        level: u32,
        mfn: u64,
    },
    Unpin {
        mfn: u64,
    },
    Base {
        which: usize,
        mfn: Option<u64>,
    },
    Descriptors {
        mfn: u64,
        hold: bool,
    },
    Hold {
        mfn: u64,
        writable: bool,
        hold: bool,
    },
    GiveBack {
        mfn: u64,
    },
    Settle,
}

fn pick() -> impl Strategy<Value = u64> {
    // Mostly the domain's own frames.
    prop_oneof![6 => prop::sample::select(&PICKS[..9]), 1 => prop::sample::select(&PICKS[..])]
}

fn index() -> impl Strategy<Value = usize> {
    prop::sample::select(&INDICES[..])
}

fn val() -> impl Strategy<Value = u64> {
    let flags = prop::sample::select(vec![
        0,
        P,
        KERNEL,
        KERNEL,
        TABLE,
        TABLE,
        TABLE,
        TABLE | NX,
        TABLE & !RW,
        KERNEL | PAT,
        TABLE | PCD,
        TABLE | G,
        P | US | GUEST_KERNEL | 7 << 9,
        0x80,
        P | 1 << 45,
    ]);
    prop_oneof![
        20 => (pick(), flags).prop_map(|(mfn, flags)| e(mfn, flags)),
        2 => Just(0u64),
        1 => any::<u64>(),
    ]
}

fn op() -> impl Strategy<Value = Op> {
    let fd = prop_oneof![6 => Just(D1), 1 => Just(D2), 1 => Just(DomId::IO), 1 => Just(DomId::XEN)];
    let va = (0u64..3, 0u64..3, any::<bool>())
        .prop_map(|(l2, l1, top)| (if top { VA } else { 0 }) | l2 << 21 | l1 << 12);
    prop_oneof![
        8 => (pick(), index(), val(), any::<bool>(), fd)
            .prop_map(|(table, index, val, preserve, fd)| Op::Update { table, index, val, preserve, fd }),
        3 => (pick(), index(), 0u32..4, any::<bool>(), val())
            .prop_map(|(table, index, size, cmpxchg, val)| Op::Store { table, index, size: 1 << size, cmpxchg, val }),
        6 => (1u64..10, index(), val()).prop_map(|(page, index, val)| Op::Poke { page, index, val }),
        2 => (va, val()).prop_map(|(va, val)| Op::UpdateVa { va, val }),
        4 => (1u32..5, pick()).prop_map(|(level, mfn)| Op::Pin { level, mfn }),
        3 => pick().prop_map(|mfn| Op::Unpin { mfn }),
        3 => (0usize..3, prop::option::of(pick())).prop_map(|(which, mfn)| Op::Base { which, mfn }),
        1 => (pick(), any::<bool>()).prop_map(|(mfn, hold)| Op::Descriptors { mfn, hold }),
        2 => (pick(), any::<bool>(), any::<bool>()).prop_map(|(mfn, writable, hold)| Op::Hold { mfn, writable, hold }),
        1 => (5u64..10).prop_map(|mfn| Op::GiveBack { mfn }),
        1 => Just(Op::Settle),
    ]
}

/// What the model knows beside the contents of memory: the roots.
#[derive(Default)]
struct World {
    pins: BTreeMap<u64, u32>,
    bases: [Option<u64>; 3],
    descriptors: Vec<u64>,
    holds: Vec<(u64, bool)>,
    given_back: Vec<u64>,
}

type Uses = BTreeMap<u64, FrameType>;

impl World {
    fn roots(&self) -> Vec<Root> {
        let typed = |mfn: u64, t| Root {
            mfn: Mfn(mfn),
            as_type: t,
        };
        let mut all = published();
        all.extend(
            self.bases
                .iter()
                .flatten()
                .map(|mfn| typed(*mfn, Some(FrameType::L4))),
        );
        all.extend(
            self.descriptors
                .iter()
                .map(|mfn| typed(*mfn, Some(FrameType::SegDesc))),
        );
        all.extend(
            self.holds
                .iter()
                .map(|(mfn, w)| typed(*mfn, w.then_some(FrameType::Writable))),
        );
        all
    }

    /// What every frame is used as, found from the roots alone.
    fn uses(&self, m: &Machine) -> Uses {
        fn visit(m: &Machine, uses: &mut Uses, mfn: u64, level: u32) {
            if uses.insert(mfn, FrameType::table(level).unwrap()).is_some() {
                return;
            }
            for index in (0..512).filter(|i| level != 4 || !is_hypervisor_slot(*i)) {
                let entry = m.peek(mfn, index);
                let target = frame_of(entry).0;
                if entry & P == 0 || is_io(target) {
                } else if level > 1 {
                    visit(m, uses, target, level - 1);
                } else if entry & RW != 0 {
                    uses.insert(target, FrameType::Writable);
                }
            }
        }
        let mut uses = Uses::from([(PUBLISHED, FrameType::Shared)]);
        for (mfn, level) in self
            .pins
            .iter()
            .map(|(m, l)| (*m, *l))
            .chain(self.bases.iter().flatten().map(|m| (*m, 4)))
        {
            visit(m, &mut uses, mfn, level);
        }
        uses.extend(
            self.descriptors
                .iter()
                .map(|mfn| (*mfn, FrameType::SegDesc)),
        );
        uses.extend(
            self.holds
                .iter()
                .filter(|(_, w)| *w)
                .map(|(mfn, _)| (*mfn, FrameType::Writable)),
        );
        uses
    }

    fn owned_by(&self, mfn: u64, dom: DomId) -> bool {
        let owner = match mfn {
            0 | PRIVATE => return false,
            PUBLISHED => DomId::XEN,
            FOREIGN..PRIVATE => D2,
            _ => D1,
        };
        !is_io(mfn) && owner == dom && !self.given_back.contains(&mfn)
    }

    /// Adds a use of `mfn` as `t`, if it fits.
    fn fits(&self, uses: &mut Uses, mfn: u64, t: FrameType, dom: DomId) -> bool {
        self.owned_by(mfn, dom) && *uses.entry(mfn).or_insert(t) == t
    }

    fn leaf_fits(&self, uses: &mut Uses, entry: u64, fd: DomId) -> bool {
        let mfn = frame_of(entry).0;
        if entry & FRAME >> 40 << 40 != 0 {
            return false;
        }
        if is_io(mfn) {
            return (fd == D1 || fd == DomId::IO) && [IO_RW, IO_RO, IO_FAR].contains(&mfn);
        }
        if entry & RW != 0 {
            self.fits(uses, mfn, FrameType::Writable, fd)
        } else {
            self.owned_by(mfn, fd)
        }
    }

    fn table_fits(&self, m: &Machine, uses: &mut Uses, mfn: u64, level: u32) -> bool {
        let t = FrameType::table(level).unwrap();
        let known = uses.contains_key(&mfn);
        if !self.fits(uses, mfn, t, D1) {
            return false;
        }
        known
            || (0..512)
                .filter(|i| level != 4 || !is_hypervisor_slot(*i))
                .all(|index| {
                    let entry = m.peek(mfn, index);
                    entry & P == 0 || self.entry_fits(m, uses, level, entry, D1)
                })
    }

    fn entry_fits(&self, m: &Machine, uses: &mut Uses, level: u32, entry: u64, fd: DomId) -> bool {
        if level == 1 {
            return self.leaf_fits(uses, entry, fd);
        }
        let forbidden = PAT | PCD | G | entry::PWT;
        entry & forbidden == 0 && self.table_fits(m, uses, frame_of(entry).0, level - 1)
    }

    /// Whether a present or absent `val` may replace `old` in a table of `level`.
    fn update_fits(
        &self,
        m: &Machine,
        level: u32,
        index: usize,
        old: u64,
        val: u64,
        fd: DomId,
    ) -> bool {
        if level == 4 && is_hypervisor_slot(index) {
            return false;
        }
        if val & P == 0 {
            return true;
        }
        let may_change = NX | 7 << 9 | 0x7ff << 52 | A | D | US | if level == 1 { G } else { 0 };
        if old & P != 0 && (old ^ val) & !may_change == 0 {
            return true;
        }
        self.entry_fits(m, &mut self.uses(m), level, val, fd)
    }
}

fn is_io(mfn: u64) -> bool {
    mfn == 0 || mfn >= 26
}

/// Carries out `op` on the machine, in as many pieces as it takes, and on the model; both must agree.
fn step(m: &Machine, s: &mut MmState, w: &mut World, op: &Op, stops: u64) {
    let mut first = true;
    let mut run = |f: &mut dyn FnMut(&mut DomainMm<'_, Machine>) -> Result<bool, MmuError>| loop {
        m.stops
            .set(if std::mem::take(&mut first) { stops } else { 0 });
        let got = f(&mut m.mm(s));
        m.stops.set(0);
        match got {
            Err(MmuError::Again) => assert_eq!(*m.bugs.borrow(), []),
            Err(_) => return false,
            Ok(x) => return x,
        }
    };
    // What is still to be let go would confuse the model, which has no pieces.
    let ok = |r: Result<(), MmuError>| r.map(|()| true);
    match *op {
        Op::Update {
            table,
            index,
            val,
            preserve,
            fd,
        } => {
            let level = w.uses(m).get(&table).copied();
            let expected = match level.map(|t| (t, t.level())) {
                Some((_, Some(level))) => {
                    w.update_fits(m, level, index, m.peek(table, index), val, fd)
                }
                Some((FrameType::Writable, _)) | None => w.owned_by(table, D1),
                _ => false,
            };
            let ptr = table << 12
                | (index as u64) << 3
                | if preserve {
                    MMU_PT_UPDATE_PRESERVE_AD
                } else {
                    0
                };
            assert_eq!(run(&mut |mm| ok(mm.mmu_update(ptr, val, fd))), expected);
        }
        Op::Store {
            table,
            index,
            size,
            cmpxchg,
            val,
        } => {
            let is_l1 = w.uses(m).get(&table) == Some(&FrameType::L1);
            let old = if is_l1 { m.peek(table, index) } else { 0 };
            let mask = if size == 8 { !0 } else { (1 << (size * 8)) - 1 };
            let expected = is_l1 && w.update_fits(m, 1, index, old, old & !mask | val & mask, D1);
            let kind = if cmpxchg {
                StoreKind::Cmpxchg {
                    expected: old & mask,
                }
            } else {
                StoreKind::Write
            };
            let got = run(&mut |mm| {
                let stored = mm.emulated_store(Mfn(table), index * 8, size, kind, val)?;
                assert_eq!(
                    stored,
                    Stored {
                        old: old & mask,
                        stored: true
                    }
                );
                Ok(true)
            });
            assert_eq!(got, expected);
        }
        Op::Poke { page, index, val } => {
            // A guest can write what is not a table; the validated contents are nobody's to write.
            if w.uses(m)
                .get(&page)
                .is_none_or(|t| *t == FrameType::Writable)
            {
                run(&mut |mm| ok(mm.settle()));
                m.poke(page, index, val);
            }
        }
        Op::UpdateVa { va, val } => {
            let Some(l4) = w.bases[0] else { return };
            let index = |level: u32| (va >> (12 + 9 * (level - 1))) as usize % 512;
            let table = [4, 3, 2].into_iter().try_fold(l4, |table, level| {
                let entry = m.peek(table, index(level));
                (entry & P != 0).then_some(frame_of(entry).0)
            });
            let expected =
                table.is_some_and(|t| w.update_fits(m, 1, index(1), m.peek(t, index(1)), val, D1));
            assert_eq!(
                run(&mut |mm| ok(mm.update_va_mapping(Mfn(l4), va, val, D1))),
                expected
            );
        }
        Op::Pin { level, mfn } => {
            let expected =
                !w.pins.contains_key(&mfn) && w.table_fits(m, &mut w.uses(m), mfn, level);
            assert_eq!(run(&mut |mm| ok(mm.pin(level, Mfn(mfn)))), expected);
            if expected {
                w.pins.insert(mfn, level);
            }
        }
        Op::Unpin { mfn } => {
            let expected = w.pins.remove(&mfn).is_some();
            assert_eq!(run(&mut |mm| ok(mm.unpin(Mfn(mfn)))), expected);
        }
        Op::Base { which, mfn } => {
            let old = w.bases[which];
            let expected =
                old == mfn || mfn.is_none_or(|mfn| w.table_fits(m, &mut w.uses(m), mfn, 4));
            assert_eq!(
                run(&mut |mm| ok(mm.replace_base(old.map(Mfn), mfn.map(Mfn)))),
                expected
            );
            if expected {
                w.bases[which] = mfn;
            }
        }
        Op::Descriptors { mfn, hold: true } => {
            let mut uses = w.uses(m);
            let known = uses.contains_key(&mfn);
            let expected = w.fits(&mut uses, mfn, FrameType::SegDesc, D1)
                && (known || (0..512).all(|i| check_descriptor(m.peek(mfn, i)).is_some()));
            assert_eq!(run(&mut |mm| ok(mm.hold_descriptors(Mfn(mfn)))), expected);
            if expected {
                w.descriptors.push(mfn);
            }
        }
        Op::Descriptors { mfn, hold: false } => {
            if let Some(at) = w.descriptors.iter().position(|d| *d == mfn) {
                w.descriptors.remove(at);
                m.mm(s).release_descriptors(Mfn(mfn));
            }
        }
        Op::Hold {
            mfn,
            writable,
            hold: true,
        } => {
            // As a grant does: without the domain's lock, so perhaps while a table is still being let go.
            run(&mut |mm| ok(mm.settle()));
            let expected = w.leaf_fits(&mut w.uses(m), e(mfn, if writable { RW } else { 0 }), D1)
                && !is_io(mfn);
            let refs = m.refs();
            let got = if writable {
                refs.hold_writable(Mfn(mfn), D1)
            } else {
                refs.hold(Mfn(mfn), D1)
            };
            assert_eq!(got.is_ok(), expected);
            if expected {
                w.holds.push((mfn, writable));
            }
        }
        Op::Hold {
            mfn,
            writable,
            hold: false,
        } => {
            if let Some(at) = w.holds.iter().position(|h| *h == (mfn, writable)) {
                w.holds.remove(at);
                let refs = m.refs();
                if writable {
                    refs.release_writable(Mfn(mfn))
                } else {
                    refs.release(Mfn(mfn))
                }
            }
        }
        Op::GiveBack { mfn } => {
            let expected = w.owned_by(mfn, D1);
            assert_eq!(run(&mut |mm| ok(mm.give_back(Mfn(mfn)))), expected);
            if expected {
                w.given_back.push(mfn);
            }
        }
        Op::Settle => assert!(run(&mut |mm| ok(mm.settle()))),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, max_shrink_iters: 4000, ..ProptestConfig::default() })]

    #[test]
    fn an_operation_is_refused_exactly_when_a_rule_would_break(
        ops in prop::collection::vec((op(), prop_oneof![2 => Just(0u64), 1 => any::<u64>()]), 1..60),
        start_pinned: bool,
    ) {
        let (m, mut s, mut w) = (machine(), state(), World::default());
        if start_pinned {
            step(&m, &mut s, &mut w, &Op::Pin { level: 4, mfn: L4 }, 0);
        }
        for (op, stops) in &ops {
            m.load_caches(D1);
            step(&m, &mut s, &mut w, op, *stops);
            m.check(w.roots());
        }
        // Everything can be let go of, and then nothing is left.
        for (mfn, writable) in std::mem::take(&mut w.holds) {
            let refs = m.refs();
            if writable { refs.release_writable(Mfn(mfn)) } else { refs.release(Mfn(mfn)) }
        }
        for mfn in std::mem::take(&mut w.descriptors) {
            m.mm(&mut s).release_descriptors(Mfn(mfn));
        }
        for base in std::mem::take(&mut w.bases).into_iter().flatten() {
            m.mm(&mut s).replace_base(Some(Mfn(base)), None).unwrap();
        }
        m.mm(&mut s).relinquish(0..u64::MAX, &mut 0).unwrap();
        m.check(published());
        let freed: std::collections::BTreeSet<_> = m.freed.borrow().iter().map(|(mfn, _)| mfn.0).collect();
        prop_assert_eq!(m.freed.borrow().len(), 19);
        prop_assert_eq!(freed, (1..20).collect());
    }

    /// No model here, but a guest that never comes back to what it began.
    #[test]
    fn counts_stay_right_when_operations_are_abandoned(
        ops in prop::collection::vec((op(), any::<u64>()), 1..60),
    ) {
        let (m, mut s, mut bases) = (machine(), state(), [None; 3]);
        for (op, stops) in ops {
            m.load_caches(D1);
            m.stops.set(stops);
            let mut mm = m.mm(&mut s);
            let _ = match op {
                Op::Update { table, index, val, fd, .. } => mm.mmu_update(table << 12 | (index as u64) << 3, val, fd),
                Op::Store { table, index, size, val, .. } => {
                    mm.emulated_store(Mfn(table), index * 8, size, StoreKind::Write, val).map(|_| ())
                }
                Op::Pin { level, mfn } => mm.pin(level, Mfn(mfn)),
                Op::Unpin { mfn } => mm.unpin(Mfn(mfn)),
                Op::Base { which, mfn } => {
                    let moved = mm.replace_base(bases[which], mfn.map(Mfn));
                    if moved.is_ok() {
                        bases[which] = mfn.map(Mfn);
                    }
                    moved
                }
                Op::Poke { page, index, val } => {
                    if word(&m, page).type_count() == 0 {
                        m.poke(page, index, val);
                    }
                    Ok(())
                }
                Op::GiveBack { mfn } => mm.give_back(Mfn(mfn)),
                _ => mm.settle(),
            };
            drop(mm);
            m.stops.set(0);
            let base = |mfn: Mfn| Root { mfn, as_type: Some(FrameType::L4) };
            m.check(published().into_iter().chain(bases.into_iter().flatten().map(base)));
        }
        for base in bases.into_iter().flatten() {
            m.mm(&mut s).replace_base(Some(base), None).unwrap();
        }
        m.mm(&mut s).relinquish(0..u64::MAX, &mut 0).unwrap();
        m.check(published());
        prop_assert_eq!(m.freed.borrow().len(), 19);
    }
}
