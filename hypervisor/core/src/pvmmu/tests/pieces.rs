//! Operations that stop at any point and go on later.

use super::*;

/// Runs `op` until it is through; the world is checked at every stop.
fn through<T>(
    m: &Machine,
    mut op: impl FnMut() -> Result<T, MmuError>,
) -> (Result<T, MmuError>, u32) {
    for turn in 0..100_000 {
        match op() {
            Err(MmuError::Again) => m.check(published()),
            done => return (done, turn),
        }
    }
    panic!("no progress");
}

/// Everything is as before anything was pinned.
fn nothing_left(m: &Machine) {
    m.check(published());
    for mfn in 1..20 {
        let w = word(m, mfn);
        assert_eq!(
            (w.refs(), w.type_count(), w.is_partial()),
            (1, 0, false),
            "{mfn}: {w:?}"
        );
    }
}

/// How often a whole pin and unpin can stop.
const POINTS: u32 = 60;

#[test]
fn a_pin_can_stop_at_every_point_and_go_on() {
    for at in 0..POINTS {
        let (m, mut s) = (machine(), state());
        m.stops.set(1 << at);
        let (done, turns) = through(&m, || m.mm(&mut s).pin(4, Mfn(L4)));
        assert_eq!((done, turns), (Ok(()), 1), "stopped once, at {at}");
        m.check(published());
        assert!(word(&m, L1B).is_valid_as(FrameType::L1));
        m.stops.set(1 << at);
        m.mm(&mut s).unpin(Mfn(L4)).unwrap();
        m.check(published());
        through(&m, || m.mm(&mut s).settle()).0.unwrap();
        nothing_left(&m);
    }
}

#[test]
fn a_pin_that_stops_all_the_time_still_gets_through() {
    let (m, mut s) = (machine(), state());
    for i in 0..20 {
        m.poke(L1, i * 7, e(PAGE + i as u64 % 4, KERNEL));
    }
    let mut op = || {
        m.stops.set(u64::MAX);
        m.mm(&mut s).pin(4, Mfn(L4))
    };
    let (done, turns) = through(&m, &mut op);
    assert_eq!(done, Ok(()));
    assert!(turns > 100, "{turns}");
    m.stops.set(u64::MAX);
    m.mm(&mut s).unpin(Mfn(L4)).unwrap();
    through(&m, || {
        m.stops.set(u64::MAX);
        m.mm(&mut s).settle()
    })
    .0
    .unwrap();
    nothing_left(&m);
}

#[test]
fn a_refused_pin_is_undone_wherever_it_stops() {
    for (table, index, bad) in [
        (L1, 3, e(FOREIGN, P)),
        (L1B, 511, e(L1B, KERNEL)),
        (L2, 500, e(PAGE, TABLE | entry::PAT)),
        (L3, 1, e(L4, TABLE)),
        (L4, 511, e(FOREIGN, TABLE)),
    ] {
        for stops in (0..POINTS)
            .map(|at| 1 << at)
            .chain([u64::MAX, 0xaaaa_aaaa_aaaa_aaaa])
        {
            let (m, mut s) = (machine(), state());
            m.poke(L1, 0, e(PAGE, KERNEL));
            m.poke(table, index, bad);
            m.stops.set(stops);
            let (done, _) = through(&m, || m.mm(&mut s).pin(4, Mfn(L4)));
            assert!(matches!(done, Err(e) if e != MmuError::Again));
            m.check(published());
            through(&m, || m.mm(&mut s).settle()).0.unwrap();
            nothing_left(&m);
        }
    }
}

#[test]
fn another_vcpu_may_use_any_part_of_a_tree_that_is_half_validated() {
    for at in 0..POINTS {
        for (level, mfn) in [(1, L1), (1, L1B), (2, L2), (3, L3), (4, L4)] {
            for stops in [0, 1 << 3, u64::MAX] {
                let (m, mut s) = (machine(), state());
                m.stops.set(1 << at);
                assert_eq!(m.mm(&mut s).pin(4, Mfn(L4)), Err(MmuError::Again));
                m.stops.set(stops);
                let (helped, _) = through(&m, || m.mm(&mut s).pin(level, Mfn(mfn)));
                assert_eq!(helped, Ok(()));
                m.check(published());
                let (done, _) = through(&m, || m.mm(&mut s).pin(4, Mfn(L4)));
                assert_eq!(
                    done,
                    if level == 4 {
                        Err(MmuError::AlreadyPinned)
                    } else {
                        Ok(())
                    }
                );
                m.check(published());
                m.mm(&mut s).unpin(Mfn(L4)).unwrap();
                m.stops.set(stops);
                if level != 4 {
                    through(&m, || m.mm(&mut s).unpin(Mfn(mfn))).0.unwrap();
                }
                through(&m, || m.mm(&mut s).settle()).0.unwrap();
                nothing_left(&m);
            }
        }
    }
}

#[test]
fn a_part_that_another_vcpu_finds_bad_stays_the_half_validated_trees() {
    for at in 0..POINTS {
        let (m, mut s) = (machine(), state());
        m.poke(L1B, 511, e(FOREIGN, P));
        m.stops.set(1 << at);
        if m.mm(&mut s).pin(4, Mfn(L4)) != Err(MmuError::Again) {
            continue;
        }
        let (bad, _) = through(&m, || m.mm(&mut s).pin(2, Mfn(L2)));
        assert_eq!(bad, Err(MmuError::LeafRefused));
        m.check(published());
        let (bad, _) = through(&m, || m.mm(&mut s).pin(4, Mfn(L4)));
        assert_eq!(bad, Err(MmuError::LeafRefused));
        through(&m, || m.mm(&mut s).settle()).0.unwrap();
        nothing_left(&m);
    }
}

#[test]
fn nothing_writes_a_half_validated_table() {
    for at in 0..POINTS {
        let (m, mut s) = (machine(), state());
        m.stops.set(1 << at);
        assert_eq!(m.mm(&mut s).pin(4, Mfn(L4)), Err(MmuError::Again));
        for mfn in (1..6).filter(|mfn| word(&m, *mfn).is_partial()) {
            let before = m.peek(mfn, 0);
            assert_eq!(set(&m, &mut s, mfn, 0, 0x123), Err(MmuError::TypeConflict));
            assert!(
                m.mm(&mut s)
                    .emulated_store(Mfn(mfn), 0, 8, StoreKind::Write, 0)
                    .is_err()
            );
            assert!(m.refs().hold_writable(Mfn(mfn), D1).is_err());
            assert!(m.mm(&mut s).update_descriptor(mfn << 12, 0).is_err());
            assert!(m.mm(&mut s).unpin(Mfn(mfn)).is_err());
            assert_eq!(m.mm(&mut s).walk(Mfn(mfn), VA), Err(MmuError::NotMapped));
            assert_eq!(m.peek(mfn, 0), before);
        }
        m.check(published());
    }
}

#[test]
fn after_an_unpin_that_stopped_the_next_operation_finishes_it_first() {
    for at in 0..POINTS {
        let (m, mut s) = pinned();
        m.stops.set(1 << at);
        m.mm(&mut s).unpin(Mfn(L4)).unwrap();
        assert_eq!(set(&m, &mut s, L1, 0, 0x77), Ok(()), "a plain page by now");
        assert_eq!(m.peek(L1, 0), 0x77);
        nothing_left(&m);
    }
}

#[test]
fn replaced_subtrees_are_let_go_in_pieces() {
    for at in 0..POINTS {
        let (m, mut s) = pinned();
        m.stops.set(1 << at);
        let (done, _) = through(&m, || set(&m, &mut s, L4, 300, 0));
        assert_eq!(done, Ok(()));
        assert_eq!(m.peek(L4, 300), 0);
        m.check(published());
        through(&m, || m.mm(&mut s).settle()).0.unwrap();
        m.check(published());
        assert_eq!((3..6).map(|mfn| word(&m, mfn).type_count()).sum::<u64>(), 0);
    }
}

#[test]
fn new_subtrees_are_validated_in_pieces() {
    for at in 0..POINTS {
        let (m, mut s) = (machine(), state());
        m.poke(L4, 300, 0);
        m.mm(&mut s).pin(4, Mfn(L4)).unwrap();
        m.stops.set(1 << at);
        let (done, turns) = through(&m, || set(&m, &mut s, L4, 17, e(L3, TABLE)));
        assert_eq!(done, Ok(()));
        assert!(turns <= 1);
        m.check(published());
    }
}

#[test]
fn a_dying_domain_gives_back_everything_wherever_it_stood() {
    for at in 0..POINTS {
        for then in [0, u64::MAX, 0x5555_5555_5555_5555] {
            let (m, mut s) = (machine(), state());
            m.poke(L1, 0, e(PAGE, KERNEL));
            m.poke(L1B, 9, e(PAGE, P));
            m.mm(&mut s).pin(1, Mfn(L1B)).unwrap();
            m.stops.set(1 << at);
            let _ = m.mm(&mut s).pin(4, Mfn(L4));
            let mut cursor = 0;
            through(&m, || {
                m.stops.set(then);
                m.mm(&mut s).relinquish(0..u64::MAX, &mut cursor)
            })
            .0
            .unwrap();
            m.check(published());
            let mut freed: Vec<u64> = m.freed.borrow().iter().map(|(mfn, _)| mfn.0).collect();
            freed.sort_unstable();
            assert_eq!(freed, (1..20).collect::<Vec<_>>());
        }
    }
}

#[test]
fn a_dying_domains_frames_wait_for_others_that_map_them() {
    let (m, mut s) = pinned();
    let mut other = MmState::new(D2, 40, false);
    m.mm(&mut other).pin(1, Mfn(FOREIGN)).unwrap();
    m.mm(&mut other)
        .mmu_update(FOREIGN << 12, e(PAGE, KERNEL), D1)
        .unwrap();
    m.load_caches(D2);
    m.mm(&mut s).relinquish(0..u64::MAX, &mut 0).unwrap();
    assert_eq!(m.freed.borrow().len(), 18);
    m.check(published());
    m.mm(&mut other).mmu_update(FOREIGN << 12, 0, D1).unwrap();
    assert_eq!(m.freed.borrow().last(), Some(&(Mfn(PAGE), D1)));
    m.check(published());
}

#[test]
fn descriptor_pages_are_released_while_a_table_is_still_to_be_let_go() {
    let (m, mut s) = pinned();
    m.mm(&mut s).hold_descriptors(Mfn(PAGE)).unwrap();
    m.stops.set(1);
    m.mm(&mut s).unpin(Mfn(L4)).unwrap();
    m.mm(&mut s).release_descriptors(Mfn(PAGE));
    m.check(published());
    m.mm(&mut s).settle().unwrap();
    nothing_left(&m);
}
