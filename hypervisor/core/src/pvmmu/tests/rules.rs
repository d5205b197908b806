//! Which entries and types may be: one sentence, one rule.

use super::*;
use crate::pvmmu::entry::{G, PAT, PCD, PWT};

#[test]
fn pinning_the_top_types_the_whole_tree() {
    let (m, _) = pinned();
    for (mfn, t) in [
        (L4, FrameType::L4),
        (L3, FrameType::L3),
        (L2, FrameType::L2),
        (L1, FrameType::L1),
    ] {
        assert!(word(&m, mfn).is_valid_as(t));
        assert_eq!(word(&m, mfn).type_count(), 1);
    }
    assert!(word(&m, L4).is_pinned());
}

#[test]
fn the_hypervisors_slots_are_written_at_validation_whatever_the_guest_had_there() {
    let m = machine();
    m.poke(L4, 256, e(PAGE, TABLE));
    m.poke(L4, 271, e(FOREIGN, PAT | P));
    m.mm(&mut state()).pin(4, Mfn(L4)).unwrap();
    for i in 0..16 {
        assert_eq!(m.peek(L4, 256 + i), m.l4_slots()[i]);
    }
    m.check(published());
}

#[test]
fn the_hypervisors_slots_cannot_be_updated() {
    let (m, mut s) = pinned();
    for index in [256, 263, 271] {
        for val in [0, e(L3, TABLE), e(PAGE, TABLE)] {
            assert_eq!(set(&m, &mut s, L4, index, val), Err(MmuError::BadArgument));
        }
    }
    assert_eq!(set(&m, &mut s, L4, 255, e(L3, TABLE)), Ok(()));
    assert_eq!(set(&m, &mut s, L4, 272, e(L3, TABLE)), Ok(()));
    assert_eq!(
        set(&m, &mut s, L3, 256, e(L2, TABLE)),
        Ok(()),
        "only in level 4"
    );
    m.check(published());
}

#[test]
fn no_table_can_be_mapped_writable() {
    let (m, mut s) = pinned();
    for table in [L4, L3, L2, L1, L1B] {
        assert_eq!(
            set(&m, &mut s, L1, 0, e(table, KERNEL)),
            Err(MmuError::LeafRefused)
        );
        assert_eq!(
            set(&m, &mut s, L1, 0, e(table, P)),
            Ok(()),
            "read-only is fine"
        );
        assert_eq!(
            set(&m, &mut s, L1, 0, e(table, P | RW)),
            Err(MmuError::LeafRefused),
            "nor made writable"
        );
    }
    m.check(published());
}

#[test]
fn pinned_l2_refuses_writable_mapping() {
    let (m, mut s) = pinned();
    m.mm(&mut s).pin(2, Mfn(L2)).unwrap();
    assert_eq!(set(&m, &mut s, L3, 0, 0), Ok(()));
    assert_eq!(
        m.refs().hold_writable(Mfn(L2), D1),
        Err(MmuError::TypeConflict)
    );
    m.mm(&mut s).unpin(Mfn(L2)).unwrap();
    assert_eq!(m.refs().hold_writable(Mfn(L2), D1), Ok(()));
}

#[test]
fn what_is_mapped_writable_cannot_become_a_table() {
    let (m, mut s) = pinned();
    set(&m, &mut s, L1, 0, e(PAGE, KERNEL)).unwrap();
    for level in 1..=4 {
        assert_eq!(
            m.mm(&mut s).pin(level, Mfn(PAGE)),
            Err(MmuError::TypeConflict)
        );
    }
    assert_eq!(
        m.mm(&mut s).hold_descriptors(Mfn(PAGE)),
        Err(MmuError::TypeConflict)
    );
    assert_eq!(
        set(&m, &mut s, L2, 2, e(PAGE, TABLE)),
        Err(MmuError::TypeConflict)
    );
    set(&m, &mut s, L1, 0, e(PAGE, P)).unwrap();
    assert_eq!(set(&m, &mut s, L2, 2, e(PAGE, TABLE)), Ok(()));
    m.check(published());
}

#[test]
fn a_table_that_maps_itself_writable_is_refused() {
    let m = machine();
    m.poke(L1, 3, e(L1, KERNEL));
    assert_eq!(
        m.mm(&mut state()).pin(4, Mfn(L4)),
        Err(MmuError::LeafRefused)
    );
    for mfn in 1..20 {
        assert_eq!(word(&m, mfn).type_count(), 0, "undone: {mfn}");
    }
    m.check(published());
}

#[test]
fn linear_page_tables_are_refused() {
    let (m, mut s) = pinned();
    for (table, target) in [(L4, L4), (L3, L3), (L2, L2), (L4, L2), (L2, L3)] {
        assert_eq!(
            set(&m, &mut s, table, 5, e(target, TABLE)),
            Err(MmuError::TypeConflict)
        );
        assert_eq!(
            set(&m, &mut s, table, 5, e(target, TABLE & !RW)),
            Err(MmuError::TypeConflict)
        );
    }
    let m = machine();
    m.poke(L4, 5, e(L4, TABLE));
    assert_eq!(
        m.mm(&mut state()).pin(4, Mfn(L4)),
        Err(MmuError::TypeConflict)
    );
    m.check(published());
}

#[test]
fn superpages_are_refused_at_every_level_and_on_every_path() {
    let (m, mut s) = pinned();
    for table in [L4, L3, L2] {
        assert_eq!(
            set(&m, &mut s, table, 7, e(PAGE, TABLE | PAT)),
            Err(MmuError::BadEntry)
        );
    }
    assert_eq!(
        set(&m, &mut s, L2, 0, e(L1, TABLE | PAT)),
        Err(MmuError::BadEntry),
        "not by the fast path either"
    );
    for (table, level) in [(L4, 4), (L3, 3), (L2, 2)] {
        let m = machine();
        m.poke(table, 7, e(PAGE, TABLE | PAT));
        assert_eq!(
            m.mm(&mut state()).pin(level, Mfn(table)),
            Err(MmuError::BadEntry)
        );
    }
}

#[test]
fn intermediate_entries_have_no_cache_or_global_bits() {
    let (m, mut s) = pinned();
    for bit in [PWT, PCD, G] {
        assert_eq!(
            set(&m, &mut s, L2, 0, e(L1, TABLE | bit)),
            Err(MmuError::BadEntry)
        );
        assert_eq!(
            set(&m, &mut s, L2, 9, e(PAGE, TABLE | bit)),
            Err(MmuError::BadEntry)
        );
    }
    assert_eq!(
        set(&m, &mut s, L2, 0, e(L1, TABLE | NX | 7 << 9 | 0x7ff << 52)),
        Ok(())
    );
}

#[test]
fn cache_bits_need_io_rights() {
    for (rights, expected) in [(true, Ok(())), (false, Err(MmuError::BadEntry))] {
        for bit in [PWT, PCD, PAT] {
            let m = machine();
            let mut s = MmState::new(D1, 40, rights);
            m.mm(&mut s).pin(4, Mfn(L4)).unwrap();
            assert_eq!(set(&m, &mut s, L1, 0, e(PAGE, KERNEL | bit)), expected);
            set(&m, &mut s, L1, 1, e(PAGE, KERNEL)).unwrap();
            assert_eq!(
                set(&m, &mut s, L1, 1, e(PAGE, KERNEL | bit)),
                expected,
                "not by the fast path either"
            );
            m.check(published());
        }
    }
}

#[test]
fn frames_above_the_physical_width_are_refused() {
    let (m, mut s) = pinned();
    m.io.borrow_mut()
        .insert((D1, Mfn(1 << 28)), IoAccess::ReadWrite);
    m.io.borrow_mut()
        .insert((D1, Mfn(1 << 27)), IoAccess::ReadWrite);
    assert_eq!(
        set(&m, &mut s, L1, 0, e(1 << 28, KERNEL)),
        Err(MmuError::IoRefused)
    );
    assert_eq!(set(&m, &mut s, L1, 0, e(1 << 27, KERNEL)), Ok(()));
    assert_eq!(
        set(&m, &mut s, L2, 2, e(1 << 28, TABLE)),
        Err(MmuError::NotOwned)
    );
}

#[test]
fn kernel_entries_are_marked_and_user_entries_are_global() {
    let (m, mut s) = pinned();
    for (given, stands) in [
        (P, P | US | GUEST_KERNEL),
        (P | G, P | US | GUEST_KERNEL),
        (P | US, P | US | G),
        (P | US | GUEST_KERNEL, P | US | GUEST_KERNEL),
        (P | US | GUEST_KERNEL | G, P | US | GUEST_KERNEL),
        (P | NX | 7 << 9, P | US | GUEST_KERNEL | NX | 7 << 9),
    ] {
        set(&m, &mut s, L1, 0, e(PAGE, given)).unwrap();
        assert_eq!(m.peek(L1, 0), e(PAGE, stands), "update of {given:#x}");
        let fresh = machine();
        fresh.poke(L1, 0, e(PAGE, given));
        fresh.mm(&mut state()).pin(4, Mfn(L4)).unwrap();
        assert_eq!(
            fresh.peek(L1, 0),
            e(PAGE, stands),
            "validation of {given:#x}"
        );
    }
}

#[test]
fn intermediate_entries_get_us_and_the_top_gets_accessed() {
    let m = machine();
    m.poke(L4, 300, e(L3, P | RW));
    m.poke(L3, 0, e(L2, P | RW));
    let mut s = state();
    m.mm(&mut s).pin(4, Mfn(L4)).unwrap();
    assert_eq!(m.peek(L4, 300), e(L3, P | RW | US | A));
    assert_eq!(m.peek(L3, 0), e(L2, P | RW | US));
    set(&m, &mut s, L2, 1, e(L1B, P)).unwrap();
    assert_eq!(m.peek(L2, 1), e(L1B, P | US));
    set(&m, &mut s, L4, 1, e(L3, P)).unwrap();
    assert_eq!(m.peek(L4, 1), e(L3, P | US | A));
}

#[test]
fn absent_entries_may_be_anything_and_hold_nothing() {
    let (m, mut s) = pinned();
    for table in [L4, L3, L2, L1] {
        for junk in [e(PAGE, !P & 0xfff), !P, e(PRIVATE, RW)] {
            assert_eq!(set(&m, &mut s, table, 11, junk), Ok(()));
            assert_eq!(m.peek(table, 11), junk);
            m.check(published());
        }
    }
    let m = machine();
    (0..512).for_each(|i| m.poke(L1, i, !P));
    m.poke(L2, 9, !P);
    m.mm(&mut state()).pin(4, Mfn(L4)).unwrap();
    m.check(published());
}

#[test]
fn frames_of_others_cannot_be_mapped_unless_named() {
    let (m, mut s) = pinned();
    for target in [FOREIGN, PRIVATE, PUBLISHED] {
        for flags in [P, KERNEL] {
            assert_eq!(
                set(&m, &mut s, L1, 0, e(target, flags)),
                Err(MmuError::LeafRefused)
            );
        }
    }
    let ptr = L1 << 12;
    assert_eq!(m.mm(&mut s).mmu_update(ptr, e(FOREIGN, KERNEL), D2), Ok(()));
    assert_eq!(
        m.mm(&mut s).mmu_update(ptr | 8, e(PAGE, KERNEL), D2),
        Err(MmuError::LeafRefused)
    );
    assert_eq!(word(&m, FOREIGN).type_count(), 1);
    m.check(published());
}

#[test]
fn published_frames_are_mapped_read_only_by_who_names_the_hypervisor() {
    let (m, mut s) = pinned();
    let mut xen = |mfn, flags| m.mm(&mut s).mmu_update(L1 << 12, e(mfn, flags), DomId::XEN);
    assert_eq!(xen(PUBLISHED, P), Ok(()));
    assert_eq!(xen(PUBLISHED, KERNEL), Err(MmuError::LeafRefused));
    assert_eq!(xen(PRIVATE, P), Err(MmuError::LeafRefused));
    m.check(published());
}

#[test]
fn tables_are_never_another_domains() {
    let (m, mut s) = pinned();
    assert_eq!(
        set(&m, &mut s, L2, 2, e(FOREIGN, TABLE)),
        Err(MmuError::NotOwned)
    );
    assert_eq!(
        m.mm(&mut s)
            .mmu_update(L2 << 12 | 16, e(FOREIGN, TABLE), D2),
        Err(MmuError::NotOwned)
    );
    assert_eq!(m.mm(&mut s).pin(1, Mfn(FOREIGN)), Err(MmuError::NotOwned));
    assert_eq!(m.mm(&mut s).pin(1, Mfn(IO_RW)), Err(MmuError::NotOwned));
    assert_eq!(m.mm(&mut s).pin(1, Mfn(u64::MAX)), Err(MmuError::NotOwned));
}

#[test]
fn a_table_of_another_domain_cannot_be_updated() {
    let m = machine();
    let mut other = MmState::new(D2, 40, true);
    m.mm(&mut other).pin(1, Mfn(FOREIGN)).unwrap();
    m.mm(&mut other).pin(4, Mfn(FOREIGN + 1)).unwrap();
    let mut s = state();
    for (mfn, cmd) in [
        (FOREIGN, 0),
        (FOREIGN, 2),
        (FOREIGN + 1, 0),
        (FOREIGN + 2, 0),
        (PRIVATE, 0),
        (PUBLISHED, 3),
    ] {
        let ptr = mfn << 12 | cmd;
        assert_eq!(
            m.mm(&mut s).mmu_update(ptr, 0, D1),
            Err(MmuError::NotOwned),
            "{mfn}"
        );
        assert_eq!(
            m.mm(&mut s).mmu_update(ptr, e(PAGE, KERNEL), D2),
            Err(MmuError::NotOwned),
            "{mfn}"
        );
    }
    assert_eq!(
        m.mm(&mut s)
            .emulated_store(Mfn(FOREIGN), 0, 8, StoreKind::Write, 0),
        Err(MmuError::NotOwned)
    );
    assert!(!m.mm(&mut s).is_l1_table(Mfn(FOREIGN)) && m.mm(&mut other).is_l1_table(Mfn(FOREIGN)));
}

#[test]
fn io_frames_are_mapped_as_the_policy_says() {
    let (m, mut s) = pinned();
    for mfn in [IO_RW, IO_FAR] {
        assert_eq!(set(&m, &mut s, L1, 0, e(mfn, KERNEL | PCD)), Ok(()));
        assert_eq!(m.peek(L1, 0) & RW, RW);
    }
    assert_eq!(
        set(&m, &mut s, L1, 0, e(IO_RO, KERNEL)),
        Ok(()),
        "succeeds, but"
    );
    assert_eq!(m.peek(L1, 0) & RW, 0);
    assert_eq!(set(&m, &mut s, L1, 0, e(IO_RO, KERNEL)), Ok(()));
    assert_eq!(m.peek(L1, 0) & RW, 0, "nor does a second try");
    assert_eq!(
        set(&m, &mut s, L1, 0, e(IO_NO, P)),
        Err(MmuError::IoRefused)
    );
    assert_eq!(
        set(&m, &mut s, L1, 0, e(0x9999, P)),
        Err(MmuError::IoRefused)
    );
    assert_eq!(
        m.mm(&mut s)
            .mmu_update(L1 << 12, e(IO_RW, KERNEL), DomId::IO),
        Ok(())
    );
    assert_eq!(
        m.mm(&mut s)
            .mmu_update(L1 << 12, e(PAGE, KERNEL), DomId::IO),
        Err(MmuError::LeafRefused)
    );
    assert_eq!(
        m.mm(&mut s).mmu_update(L1 << 12 | 8, e(IO_RW, KERNEL), D2),
        Err(MmuError::LeafRefused)
    );
    m.check(published());
    m.mm(&mut s).unpin(Mfn(L4)).unwrap();
    m.check(published());
}

#[test]
fn io_read_only_frames_lose_rw_at_validation_too() {
    let m = machine();
    m.poke(L1, 0, e(IO_RO, KERNEL));
    m.mm(&mut state()).pin(4, Mfn(L4)).unwrap();
    assert_eq!(m.peek(L1, 0) & RW, 0);
    m.check(published());
}

#[test]
fn references_follow_the_mapping() {
    let (m, mut s) = pinned();
    set(&m, &mut s, L1, 0, e(PAGE, KERNEL)).unwrap();
    assert_eq!((word(&m, PAGE).refs(), word(&m, PAGE).type_count()), (2, 1));
    set(&m, &mut s, L1, 1, e(PAGE, P)).unwrap();
    assert_eq!((word(&m, PAGE).refs(), word(&m, PAGE).type_count()), (3, 1));
    set(&m, &mut s, L1, 0, e(PAGE + 1, KERNEL)).unwrap();
    assert_eq!((word(&m, PAGE).refs(), word(&m, PAGE).type_count()), (2, 0));
    set(&m, &mut s, L1, 1, 0).unwrap();
    assert_eq!((word(&m, PAGE).refs(), word(&m, PAGE).type_count()), (1, 0));
    m.check(published());
}

#[test]
fn flags_change_without_references() {
    let (m, mut s) = pinned();
    set(&m, &mut s, L1, 0, e(PAGE, KERNEL)).unwrap();
    m.mm(&mut s).give_back(Mfn(PAGE)).unwrap();
    assert_eq!(
        set(&m, &mut s, L1, 0, e(PAGE, P | RW | NX | 5 << 9)),
        Ok(()),
        "given back, but the mapping stands"
    );
    assert_eq!(
        set(&m, &mut s, L1, 0, e(PAGE, P)),
        Err(MmuError::LeafRefused),
        "RW is not just a flag"
    );
    m.check(published());
}

#[test]
fn a_failed_update_changes_nothing() {
    let (m, mut s) = pinned();
    set(&m, &mut s, L1, 0, e(PAGE, KERNEL)).unwrap();
    let before = (m.peek(L1, 0), word(&m, PAGE), m.peek(L2, 0));
    for bad in [e(FOREIGN, P), e(L2, KERNEL), e(IO_NO, P)] {
        assert!(set(&m, &mut s, L1, 0, bad).is_err());
        assert!(set(&m, &mut s, L2, 0, bad).is_err());
    }
    assert_eq!(before, (m.peek(L1, 0), word(&m, PAGE), m.peek(L2, 0)));
    m.check(published());
}
