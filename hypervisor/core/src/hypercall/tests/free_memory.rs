//! What is set aside for domains under construction, and what is left in memory that changes hands.

use std::sync::atomic::Ordering::SeqCst;

use proptest::prelude::*;

use rexen_abi::errno::Errno;
use rexen_abi::memory::*;
use rexen_abi::xen::*;

use super::err;
use crate::hypercall::allocate::scrub_some;
use crate::hypercall::testing::{DOM0, DOMU, FREE, Fake, GUEST};
use crate::hypercall::{Machine, Outcome};
use crate::pvmmu::TableAccess;
use crate::units::{Mfn, PTES_PER_TABLE};

const ARG: u64 = GUEST;
const LIST: u64 = GUEST + 0x1000;
const DOMU_PAGES: u64 = DOMU.1 - DOMU.0;

fn reservation(domid: u16, count: u64, order: u32) -> XenMemoryReservation {
    XenMemoryReservation {
        extent_start: LIST,
        nr_extents: count,
        extent_order: order,
        mem_flags: 0,
        domid,
    }
}

fn op(m: &Fake, by: u16, cmd: u32, asked: &XenMemoryReservation) -> u64 {
    m.put(ARG, asked);
    m.call(by, __HYPERVISOR_memory_op, [u64::from(cmd), ARG])
}

fn claim(m: &Fake, domid: u16, pages: u64) -> u64 {
    let asked = XenMemoryReservation {
        extent_start: 0,
        ..reservation(domid, pages, 0)
    };
    op(m, 0, XENMEM_claim_pages, &asked)
}

fn populate(m: &Fake, by: u16, domid: u16, count: u64, order: u32) -> u64 {
    let asked = reservation(domid, count, order);
    op(m, by, XENMEM_populate_physmap, &asked)
}

#[test]
fn what_is_claimed_is_there_for_its_domain_and_for_nobody_else() {
    let m = Fake::new();
    let free = m.memory().free;
    for domain in [0, 1] {
        m.dom(domain).max_pages.store(1000, SeqCst);
    }
    assert_eq!(claim(&m, 1, DOMU_PAGES + 100), 0);
    assert_eq!(m.memory().claimed, 100);
    assert_eq!(m.dom(1).claim.pages(), 100);
    assert_eq!(m.memory().free, free, "claimed is still free");
    // Domain 0 gets what is left, and so does the hypervisor: nothing then.
    assert_eq!(populate(&m, 0, 0, free, 0), free - 100);
    assert_eq!(m.alloc_frames(0, 64), None);
    assert_eq!(populate(&m, 0, 1, 20, 0), 20);
    assert_eq!(m.dom(1).claim.pages(), 80);
    // It is its memory, whoever asks.
    assert_eq!(populate(&m, 1, DOMID_SELF, 5, 0), 5);
    assert_eq!(m.memory().claimed, 75);
    assert_eq!(populate(&m, 0, 0, 1, 0), 0);
    assert_eq!(claim(&m, 1, 0), 0);
    assert_eq!((m.memory().claimed, m.dom(1).claim.pages()), (0, 0));
    assert_eq!(populate(&m, 0, 0, 1, 0), 1);
    m.check();
}

#[test]
fn claims_that_make_no_sense_are_refused() {
    let m = Fake::new();
    m.dom(1).max_pages.store(1000, SeqCst);
    let free = m.memory().free;
    assert_eq!(claim(&m, 1, DOMU_PAGES), err(Errno::EINVAL), "has so many");
    assert_eq!(claim(&m, 1, 1001), err(Errno::EINVAL), "may not have them");
    assert_eq!(claim(&m, 1, DOMU_PAGES + free + 1), err(Errno::ENOMEM));
    assert_eq!(claim(&m, 7, 50), err(Errno::EINVAL), "no such domain");
    assert_eq!(claim(&m, DOMID_SELF, 50), err(Errno::EINVAL));
    assert_eq!(claim(&m, 1, DOMU_PAGES + free), 0);
    assert_eq!(claim(&m, 1, DOMU_PAGES + 1), err(Errno::EINVAL), "twice");
    assert_eq!(claim(&m, 0, DOM0.1 - DOM0.0 + 1), err(Errno::ENOMEM));
    let listed = reservation(1, 50, 0);
    assert_eq!(op(&m, 0, XENMEM_claim_pages, &listed), err(Errno::EINVAL));
    let own = XenMemoryReservation {
        extent_start: 0,
        ..reservation(1, 50, 0)
    };
    assert_eq!(op(&m, 1, XENMEM_claim_pages, &own), err(Errno::EPERM));
    assert_eq!(m.memory().claimed, free);
    m.check();
}

#[test]
fn a_frame_is_scrubbed_while_idle_or_when_it_is_given() {
    let m = Fake::new();
    let all = FREE.1 - FREE.0;
    assert_eq!(m.memory().dirty, all, "nobody knows what was in it");
    assert!(scrub_some(&m));
    assert_eq!(m.memory().dirty, all - 4);
    assert_eq!(populate(&m, 1, DOMID_SELF, 4, 0), 4);
    assert_eq!(
        m.memory().dirty,
        all - 4,
        "the scrubbed ones were used first"
    );
    assert_eq!(
        op(&m, 1, XENMEM_decrease_reservation, &reservation(1, 4, 0)),
        4
    );
    assert_eq!(m.memory().dirty, all);
    while scrub_some(&m) {}
    assert_eq!(m.memory().dirty, 0);
    m.check();
}

#[test]
fn a_large_extent_is_scrubbed_in_pieces() {
    let m = Fake::new();
    m.stops.store(u64::MAX, SeqCst);
    m.put(LIST, &0u64);
    m.put(ARG, &reservation(DOMID_SELF, 1, 6));
    let mut args = [u64::from(XENMEM_populate_physmap), ARG, 0, 0, 0];
    let mut left = Vec::new();
    let turns = (1..)
        .find(|_| match m.turn(1, 0, __HYPERVISOR_memory_op, args) {
            Outcome::Again(next) => {
                assert_eq!(m.memory().free, FREE.1 - FREE.0, "nothing is kept");
                assert_eq!(m.dom(1).tot_pages.load(SeqCst), DOMU_PAGES);
                left.push(m.memory().dirty);
                args = next;
                false
            }
            done => {
                assert_eq!(done, Outcome::Done(1));
                true
            }
        })
        .unwrap();
    assert!(turns >= 4, "{turns} turns for 64 frames");
    assert!(left.is_sorted_by(|a, b| a > b), "{left:?}");
    m.check();
}

/// What two domains and an idle CPU do to memory.
#[derive(Clone, Debug)]
enum Op {
    Populate { dom: u16, order: u32, count: u64 },
    Decrease { dom: u16, pick: usize, order: u32 },
    Exchange { dom: u16, pick: usize, order: u32 },
    Scrub { times: u32 },
}

fn any_op() -> impl Strategy<Value = Op> {
    let order = 0u32..4;
    prop_oneof![
        3 => (0..2u16, order.clone(), 1..4u64).prop_map(|(dom, order, count)| Op::Populate { dom, order, count }),
        3 => (0..2u16, any::<usize>(), order.clone()).prop_map(|(dom, pick, order)| Op::Decrease { dom, pick, order }),
        1 => (0..2u16, any::<usize>(), order).prop_map(|(dom, pick, order)| Op::Exchange { dom, pick, order }),
        1 => (0..20u32).prop_map(|times| Op::Scrub { times }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]
    #[test]
    fn what_a_domain_left_in_a_frame_is_never_seen_by_the_next_owner(
        ops in prop::collection::vec(any_op(), 1..40),
        stops in any::<u64>(),
    ) {
        let m = Fake::new();
        m.stops.store(stops, SeqCst);
        let secret = |mfn: u64| (0..PTES_PER_TABLE).for_each(|n| m.write(Mfn(mfn), n, 0x5ec2e7));
        (FREE.0..FREE.1).for_each(secret);
        let mut owned: [Vec<u64>; 2] = [(DOM0.0..DOM0.1).collect(), (DOMU.0..DOMU.1).collect()];
        let mut total = [DOM0.1 - DOM0.0, DOMU.1 - DOMU.0];
        for op_ in ops {
            m.stops.store(m.stops.load(SeqCst).rotate_left(7) ^ stops, SeqCst);
            let mut got = Vec::new();
            let who = match op_ {
                Op::Populate { dom, order, count } => {
                    (0..count).for_each(|n| m.put(LIST + n * 8, &(n << 8)));
                    let done = populate(&m, dom, DOMID_SELF, count, order);
                    for n in 0..done {
                        let first: u64 = m.get(LIST + n * 8);
                        got.extend(first..first + (1 << order));
                    }
                    prop_assert!(total[usize::from(dom)] + (done << order) <= 100);
                    usize::from(dom)
                }
                Op::Decrease { dom, pick, order } => {
                    let mine = &mut owned[usize::from(dom)];
                    if mine.is_empty() {
                        continue;
                    }
                    let first = mine[pick % mine.len()] >> order << order;
                    let whole = (first..first + (1 << order)).all(|mfn| mine.contains(&mfn));
                    m.put(LIST, &first);
                    let asked = reservation(DOMID_SELF, 1, order);
                    let done = op(&m, dom, XENMEM_decrease_reservation, &asked);
                    prop_assert_eq!(done == 1, whole);
                    // Up to the first that is not its own.
                    for mfn in first..first + (1 << order) {
                        match mine.iter().position(|own| *own == mfn) {
                            Some(at) => _ = mine.swap_remove(at),
                            None => break,
                        }
                    }
                    usize::from(dom)
                }
                Op::Exchange { dom, pick, order } => {
                    let mine = &mut owned[usize::from(dom)];
                    if mine.len() < 1 << order {
                        continue;
                    }
                    let len = mine.len();
                    mine.rotate_left(pick % len);
                    let given: Vec<u64> = mine[..1 << order].to_vec();
                    given.iter().zip(0..).for_each(|(mfn, n)| m.put(LIST + n * 8, mfn));
                    m.put(LIST + 0x800, &0u64);
                    let output = XenMemoryReservation {
                        extent_start: LIST + 0x800,
                        ..reservation(DOMID_SELF, 1, order)
                    };
                    let asked = XenMemoryExchange {
                        input: reservation(DOMID_SELF, 1 << order, 0),
                        output,
                        nr_exchanged: 0,
                    };
                    m.put(ARG, &asked);
                    let number = u64::from(XENMEM_exchange);
                    if m.call(dom, __HYPERVISOR_memory_op, [number, ARG]) == 0 {
                        mine.drain(..1 << order);
                        let first: u64 = m.get(LIST + 0x800);
                        got.extend(first..first + (1 << order));
                    }
                    usize::from(dom)
                }
                Op::Scrub { times } => {
                    (0..times).for_each(|_| _ = scrub_some(&m));
                    0
                }
            };
            for mfn in &got {
                prop_assert!((0..PTES_PER_TABLE).all(|n| m.read(Mfn(*mfn), n) == 0), "{mfn:#x}");
                secret(*mfn);
            }
            owned[who].extend(got);
            for (dom, mine) in (0..).zip(&owned) {
                total[dom] = mine.len() as u64;
                prop_assert_eq!(m.dom(dom as u16).tot_pages.load(SeqCst), total[dom]);
            }
            let figures = m.memory();
            prop_assert_eq!(figures.free + total[0] + total[1], FREE.1 - FREE.0 + 80);
        }
        m.check();
    }
}
