//! One sentence, one rule.

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
            Err(MmuError::TypeConflict)
        );
        assert_eq!(
            set(&m, &mut s, L1, 0, e(table, P)),
            Ok(()),
            "read-only is fine"
        );
        assert_eq!(
            set(&m, &mut s, L1, 0, e(table, P | RW)),
            Err(MmuError::TypeConflict),
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
        Err(MmuError::TypeConflict)
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
        Err(MmuError::BadEntry)
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
                Err(MmuError::NotOwned)
            );
        }
    }
    let ptr = L1 << 12;
    assert_eq!(m.mm(&mut s).mmu_update(ptr, e(FOREIGN, KERNEL), D2), Ok(()));
    assert_eq!(
        m.mm(&mut s).mmu_update(ptr | 8, e(PAGE, KERNEL), D2),
        Err(MmuError::NotOwned)
    );
    assert_eq!(word(&m, FOREIGN).type_count(), 1);
    m.check(published());
}

#[test]
fn published_frames_are_mapped_read_only_by_who_names_the_hypervisor() {
    let (m, mut s) = pinned();
    let mut xen = |mfn, flags| m.mm(&mut s).mmu_update(L1 << 12, e(mfn, flags), DomId::XEN);
    assert_eq!(xen(PUBLISHED, P), Ok(()));
    assert_eq!(xen(PUBLISHED, KERNEL), Err(MmuError::TypeConflict));
    assert_eq!(xen(PRIVATE, P), Err(MmuError::NotOwned));
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
        Err(MmuError::NotOwned)
    );
    assert_eq!(
        m.mm(&mut s).mmu_update(L1 << 12 | 8, e(IO_RW, KERNEL), D2),
        Err(MmuError::NotOwned)
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
        Err(MmuError::NotOwned),
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

#[test]
fn preserved_bits_are_the_cpus_accessed_and_dirty() {
    let (m, mut s) = pinned();
    set(&m, &mut s, L1, 0, e(PAGE, P | RW)).unwrap();
    m.poke(L1, 0, m.peek(L1, 0) | A | D);
    m.mm(&mut s)
        .mmu_update(
            L1 << 12 | MMU_PT_UPDATE_PRESERVE_AD,
            e(PAGE, P | RW | NX),
            D1,
        )
        .unwrap();
    assert_eq!(m.peek(L1, 0) & (A | D | NX), A | D | NX);
    m.mm(&mut s)
        .mmu_update(L1 << 12 | MMU_NORMAL_PT_UPDATE, e(PAGE, P | RW | NX), D1)
        .unwrap();
    assert_eq!(m.peek(L1, 0) & (A | D | NX), NX);
    m.poke(L2, 0, m.peek(L2, 0) | A);
    m.mm(&mut s)
        .mmu_update(L2 << 12 | MMU_PT_UPDATE_PRESERVE_AD, e(L1, P | RW), D1)
        .unwrap();
    assert_eq!(m.peek(L2, 0) & A, A);
}

#[test]
fn updates_of_ordinary_pages_are_plain_writes() {
    let (m, mut s) = pinned();
    for val in [7, !0, e(FOREIGN, TABLE)] {
        assert_eq!(set(&m, &mut s, PAGE, 3, val), Ok(()));
        assert_eq!(m.peek(PAGE, 3), val);
    }
    assert_eq!(word(&m, PAGE).type_count(), 0);
    m.mm(&mut s).hold_descriptors(Mfn(PAGE + 1)).unwrap();
    assert_eq!(set(&m, &mut s, PAGE + 1, 0, 0), Err(MmuError::TypeConflict));
}

#[test]
fn misaligned_updates_are_refused() {
    let (m, mut s) = pinned();
    for low in 4..8 {
        assert_eq!(
            m.mm(&mut s).mmu_update(L1 << 12 | low, 0, D1),
            Err(MmuError::BadArgument)
        );
    }
    assert_eq!(
        m.mm(&mut s).mmu_update(u64::MAX & !7, 0, D1),
        Err(MmuError::NotOwned)
    );
}

#[test]
fn machphys_entries_are_set_for_frames_of_the_data_owner() {
    let (m, mut s) = pinned();
    let cmd = MMU_MACHPHYS_UPDATE;
    assert_eq!(m.mm(&mut s).mmu_update(PAGE << 12 | cmd, 42, D1), Ok(()));
    assert_eq!(
        m.mm(&mut s).mmu_update(FOREIGN << 12 | cmd, 43, D1),
        Err(MmuError::NotOwned)
    );
    assert_eq!(m.mm(&mut s).mmu_update(FOREIGN << 12 | cmd, 44, D2), Ok(()));
    assert_eq!(
        m.mm(&mut s).mmu_update(IO_RW << 12 | cmd, 45, D1),
        Err(MmuError::NotOwned)
    );
    assert_eq!(
        m.m2p
            .borrow()
            .iter()
            .map(|(k, v)| (k.0, *v))
            .collect::<Vec<_>>(),
        [(PAGE, 42), (FOREIGN, 44)]
    );
    m.check(published());
}

#[test]
fn pins_are_counted_once() {
    let (m, mut s) = pinned();
    assert_eq!(m.mm(&mut s).pin(4, Mfn(L4)), Err(MmuError::AlreadyPinned));
    assert_eq!(m.mm(&mut s).pin(3, Mfn(L4)), Err(MmuError::TypeConflict));
    assert_eq!(m.mm(&mut s).unpin(Mfn(L3)), Err(MmuError::NotPinned));
    assert_eq!(m.mm(&mut s).unpin(Mfn(FOREIGN)), Err(MmuError::NotOwned));
    for level in [0, 5, u32::MAX] {
        assert_eq!(
            m.mm(&mut s).pin(level, Mfn(PAGE)),
            Err(MmuError::BadArgument)
        );
    }
    m.check(published());
    assert_eq!(m.mm(&mut s).unpin(Mfn(L4)), Ok(()));
    assert_eq!(m.mm(&mut s).unpin(Mfn(L4)), Err(MmuError::NotPinned));
    m.check(published());
    for mfn in 1..20 {
        assert_eq!((word(&m, mfn).refs(), word(&m, mfn).type_count()), (1, 0));
    }
}

#[test]
fn bases_hold_the_top_table() {
    let (m, mut s) = pinned();
    let base = Root {
        mfn: Mfn(L4),
        as_type: Some(FrameType::L4),
    };
    m.mm(&mut s).replace_base(None, Some(Mfn(L4))).unwrap();
    m.mm(&mut s).unpin(Mfn(L4)).unwrap();
    m.check(published().into_iter().chain([base]));
    assert!(word(&m, L1).is_valid_as(FrameType::L1), "still in use");
    assert_eq!(
        m.mm(&mut s).replace_base(Some(Mfn(L4)), Some(Mfn(L3))),
        Err(MmuError::TypeConflict)
    );
    m.check(published().into_iter().chain([base]));
    m.mm(&mut s)
        .replace_base(Some(Mfn(L4)), Some(Mfn(L4)))
        .unwrap();
    m.check(published().into_iter().chain([base]));
    m.mm(&mut s).replace_base(Some(Mfn(L4)), None).unwrap();
    assert_eq!(word(&m, L1).type_count(), 0);
    m.check(published());
}

#[test]
fn va_mappings_are_found_by_walking() {
    let (m, mut s) = pinned();
    let mut mm = m.mm(&mut s);
    assert_eq!(
        mm.walk(Mfn(L4), VA | 3 << 12)
            .map(|s| (s.table(), s.index())),
        Ok((Mfn(L1), 3))
    );
    assert_eq!(
        mm.walk(Mfn(L4), VA | 1 << 21)
            .map(|s| (s.table(), s.index())),
        Ok((Mfn(L1B), 0))
    );
    for hole in [
        0,
        VA | 2 << 21,
        VA | 1 << 30,
        1 << 47,
        0xffff_8000_0000_0000,
        0xffff_87ff_ffff_f000,
        VA & !(1 << 63),
    ] {
        assert_eq!(
            mm.walk(Mfn(L4), hole),
            Err(MmuError::NotMapped),
            "{hole:#x}"
        );
        assert_eq!(
            mm.update_va_mapping(Mfn(L4), hole, 0, D1),
            Err(MmuError::NotMapped)
        );
    }
    assert_eq!(mm.walk(Mfn(L3), VA), Err(MmuError::NotMapped));
    mm.update_va_mapping(Mfn(L4), VA | 5 << 12, e(PAGE, KERNEL), D1)
        .unwrap();
    assert_eq!(
        mm.update_va_mapping(Mfn(L4), VA, e(L1, KERNEL), D1),
        Err(MmuError::TypeConflict)
    );
    drop(mm);
    assert_eq!(m.peek(L1, 5), e(PAGE, KERNEL | US | GUEST_KERNEL));
    m.check(published());
}

#[test]
fn descriptor_pages_are_checked_and_never_writable() {
    let (m, mut s) = pinned();
    let data = 0x00cf_9300_0000_ffff_u64;
    m.poke(PAGE, 511, data);
    m.mm(&mut s).hold_descriptors(Mfn(PAGE)).unwrap();
    assert_eq!(m.peek(PAGE, 511), data | 3 << 45, "forced to ring 3");
    assert_eq!(
        set(&m, &mut s, L1, 0, e(PAGE, KERNEL)),
        Err(MmuError::TypeConflict)
    );
    assert_eq!(set(&m, &mut s, L1, 0, e(PAGE, P)), Ok(()));
    let root = Root {
        mfn: Mfn(PAGE),
        as_type: Some(FrameType::SegDesc),
    };
    m.check(published().into_iter().chain([root]));
    m.mm(&mut s).hold_descriptors(Mfn(PAGE)).unwrap();
    m.mm(&mut s).release_descriptors(Mfn(PAGE));
    m.mm(&mut s).release_descriptors(Mfn(PAGE));
    m.check(published());
    m.poke(PAGE, 500, 0x0000_8900_0000_0067);
    assert_eq!(
        m.mm(&mut s).hold_descriptors(Mfn(PAGE)),
        Err(MmuError::BadDescriptor)
    );
    assert_eq!(
        m.mm(&mut s).hold_descriptors(Mfn(FOREIGN)),
        Err(MmuError::NotOwned)
    );
    assert_eq!(word(&m, PAGE).type_count(), 0);
    m.check(published());
}

#[test]
fn descriptors_are_updated_in_checked_and_ordinary_pages_only() {
    let (m, mut s) = pinned();
    let (good, tss) = (0x00cf_9300_0000_ffff_u64, 0x0000_8900_0000_0067);
    m.mm(&mut s).hold_descriptors(Mfn(PAGE)).unwrap();
    for mfn in [PAGE, PAGE + 1] {
        let maddr = mfn << 12 | 16;
        assert_eq!(
            m.mm(&mut s).update_descriptor(maddr, tss),
            Err(MmuError::BadDescriptor)
        );
        assert_eq!(m.mm(&mut s).update_descriptor(maddr, good), Ok(()));
        assert_eq!(m.peek(mfn, 2), good | 3 << 45);
        assert_eq!(
            m.mm(&mut s).update_descriptor(maddr + 4, good),
            Err(MmuError::BadArgument)
        );
    }
    assert_eq!(
        m.mm(&mut s).update_descriptor(L1 << 12, good),
        Err(MmuError::TypeConflict)
    );
    assert_eq!(
        m.mm(&mut s).update_descriptor(FOREIGN << 12, good),
        Err(MmuError::NotOwned)
    );
}

#[test]
fn stores_to_tables_are_checked_updates() {
    let (m, mut s) = pinned();
    let entry = e(PAGE, KERNEL);
    let mut store = |offset, size, kind, value| {
        m.mm(&mut s)
            .emulated_store(Mfn(L1), offset, size, kind, value)
    };
    assert_eq!(
        store(8, 8, StoreKind::Write, entry),
        Ok(Stored {
            old: 0,
            stored: true
        })
    );
    let stands = m.peek(L1, 1);
    assert_eq!(stands, entry | US | GUEST_KERNEL);
    let wrong = StoreKind::Cmpxchg { expected: entry };
    assert_eq!(
        store(8, 8, wrong, 0),
        Ok(Stored {
            old: stands,
            stored: false
        }),
        "the guest sees what stands"
    );
    let right = StoreKind::Cmpxchg { expected: stands };
    assert_eq!(
        store(8, 8, right, e(L2, KERNEL)),
        Err(MmuError::TypeConflict)
    );
    assert_eq!(
        store(8, 8, right, stands & !RW),
        Ok(Stored {
            old: stands,
            stored: true
        })
    );
    assert_eq!(word(&m, PAGE).type_count(), 0);
    assert_eq!(
        store(8, 1, StoreKind::Write, 0),
        Ok(Stored {
            old: (stands & !RW) & 0xff,
            stored: true
        })
    );
    assert_eq!(
        m.peek(L1, 1),
        (stands & !RW) & !0xff,
        "merged with the rest"
    );
    assert_eq!(word(&m, PAGE).refs(), 1);
    assert_eq!(
        store(
            12,
            4,
            StoreKind::Cmpxchg {
                expected: 0x10_0000
            },
            0xabcd
        )
        .map(|s| s.stored),
        Ok(true)
    );
    assert_eq!(m.peek(L1, 1) >> 32, 0xabcd);
    for (offset, size) in [(1, 2), (4, 8), (8, 3), (8, 0), (4096, 8), (8, 16)] {
        assert_eq!(
            store(offset, size, StoreKind::Write, 0),
            Err(MmuError::BadArgument),
            "{offset} {size}"
        );
    }
    for table in [L2, PAGE, IO_RW, FOREIGN] {
        assert_eq!(
            m.mm(&mut s)
                .emulated_store(Mfn(table), 0, 8, StoreKind::Write, 0),
            Err(MmuError::NotOwned)
        );
    }
    m.check(published());
}

#[test]
fn grant_mappings_bring_and_take_their_references() {
    let (m, mut s) = pinned();
    let refs = m.refs();
    refs.hold_writable(Mfn(FOREIGN), D2).unwrap();
    let slot = m.mm(&mut s).l1_slot(Mfn(L1), 16).unwrap();
    m.mm(&mut s)
        .set_l1_entry(slot, e(PAGE, KERNEL), D1)
        .unwrap();
    m.mm(&mut s).install_l1_entry(slot, e(FOREIGN, KERNEL));
    assert_eq!(word(&m, PAGE).refs(), 1);
    m.check(published());
    let mut take = |frame, writable| m.mm(&mut s).take_l1_entry(slot, Mfn(frame), writable);
    assert_eq!(take(FOREIGN, false), Err(MmuError::NotMapped));
    assert_eq!(take(PAGE, true), Err(MmuError::NotMapped));
    assert_eq!(take(FOREIGN, true), Ok(()));
    assert_eq!(take(FOREIGN, true), Err(MmuError::NotMapped));
    assert_eq!(
        word(&m, FOREIGN).type_count(),
        1,
        "the reference is the caller's"
    );
    refs.release_writable(Mfn(FOREIGN));
    assert_eq!(m.mm(&mut s).l1_slot(Mfn(L2), 0), Err(MmuError::NotOwned));
    assert_eq!(m.mm(&mut s).l1_slot(Mfn(L1), 4), Err(MmuError::BadArgument));
    assert_eq!(
        m.mm(&mut s).l1_slot(Mfn(L1), 4096),
        Err(MmuError::BadArgument)
    );
    m.check(published());
}

#[test]
fn pages_are_cleared_and_copied_only_where_the_guest_could_write() {
    let (m, _) = pinned();
    m.poke(PAGE, 9, 99);
    let refs = m.refs();
    assert_eq!(refs.copy_page(Mfn(PAGE), Mfn(PAGE + 1), D1), Ok(()));
    assert_eq!(m.peek(PAGE + 1, 9), 99);
    assert_eq!(
        refs.copy_page(Mfn(L1), Mfn(PAGE), D1),
        Ok(()),
        "reading a table is fine"
    );
    assert_eq!(
        refs.copy_page(Mfn(PAGE), Mfn(L1), D1),
        Err(MmuError::TypeConflict)
    );
    assert_eq!(
        refs.copy_page(Mfn(FOREIGN), Mfn(PAGE), D1),
        Err(MmuError::NotOwned)
    );
    assert_eq!(refs.clear_page(Mfn(PAGE + 1), D1), Ok(()));
    assert_eq!(m.peek(PAGE + 1, 9), 0);
    assert_eq!(refs.clear_page(Mfn(L4), D1), Err(MmuError::TypeConflict));
    assert_eq!(refs.clear_page(Mfn(FOREIGN), D1), Err(MmuError::NotOwned));
    m.check(published());
}

#[test]
fn a_frame_given_back_is_freed_by_its_last_use() {
    let (m, mut s) = pinned();
    set(&m, &mut s, L1, 0, e(PAGE, KERNEL)).unwrap();
    m.mm(&mut s).give_back(Mfn(PAGE)).unwrap();
    assert_eq!(
        m.mm(&mut s).give_back(Mfn(PAGE)),
        Err(MmuError::NotAllocated)
    );
    assert_eq!(
        m.mm(&mut s).give_back(Mfn(FOREIGN)),
        Err(MmuError::NotOwned)
    );
    assert_eq!(set(&m, &mut s, L1, 1, e(PAGE, P)), Err(MmuError::NotOwned));
    assert_eq!(*m.freed.borrow(), []);
    m.mm(&mut s).give_back(Mfn(PAGE + 1)).unwrap();
    assert_eq!(*m.freed.borrow(), [(Mfn(PAGE + 1), D1)]);
    set(&m, &mut s, L1, 0, 0).unwrap();
    assert_eq!(m.freed.borrow().len(), 2);
    m.mm(&mut s).give_back(Mfn(L4)).unwrap();
    assert!(word(&m, L4).is_pinned(), "no implicit unpin");
    m.mm(&mut s).unpin(Mfn(L4)).unwrap();
    assert_eq!(m.freed.borrow().last(), Some(&(Mfn(L4), D1)));
    m.check(published());
}

#[test]
fn a_writable_page_is_flushed_before_it_is_validated_as_a_table() {
    let (m, mut s) = pinned();
    set(&m, &mut s, L1, 0, e(PAGE, KERNEL)).unwrap();
    m.load_caches(D1);
    set(&m, &mut s, L1, 0, 0).unwrap();
    assert_eq!(m.flushes.get(), (0, 0), "not before it is needed");
    m.mm(&mut s).pin(1, Mfn(PAGE)).unwrap();
    assert_eq!(m.flushes.get().0, 1);
    m.check(published());
    m.mm(&mut s).unpin(Mfn(PAGE)).unwrap();
    m.mm(&mut s).pin(1, Mfn(PAGE)).unwrap();
    assert_eq!(m.flushes.get().0, 1, "the same type again needs none");
}

#[test]
fn a_table_that_becomes_writable_is_flushed_first() {
    let (m, mut s) = pinned();
    m.load_caches(D1);
    set(&m, &mut s, L2, 1, 0).unwrap();
    m.load_caches(D1);
    let before = m.flushes.get().0;
    set(&m, &mut s, L1, 0, e(L1B, KERNEL)).unwrap();
    assert_eq!(m.flushes.get().0, before + 1);
    m.check(published());
}

#[test]
fn changes_of_intermediate_entries_flush_the_domain() {
    let (m, mut s) = pinned();
    for (table, val) in [(L2, e(L1, TABLE | NX)), (L2, 0), (L3, 0), (L4, 0)] {
        let before = m.flushes.get().1;
        let index = if table == L4 { 300 } else { 0 };
        set(&m, &mut s, table, index, val).unwrap();
        assert_eq!(m.flushes.get().1, before + 1, "{table} {val:#x}");
    }
    let before = m.flushes.get().1;
    set(&m, &mut s, L4, 1, 0).unwrap();
    assert_eq!(m.flushes.get().1, before, "nothing was there to be cached");
}

#[test]
fn many_changes_under_one_lock_flush_once() {
    let (m, mut s) = pinned();
    let mut mm = m.mm(&mut s);
    mm.mmu_update(L2 << 12, 0, D1).unwrap();
    mm.mmu_update(L2 << 12 | 8, 0, D1).unwrap();
    drop(mm);
    assert_eq!(m.flushes.get(), (0, 1));
}

#[test]
fn foreign_frames_are_let_go_only_after_our_own_caches() {
    let (m, mut s) = pinned();
    for i in 0..40 {
        let ptr = L1 << 12 | i << 3;
        m.mm(&mut s)
            .mmu_update(ptr, e(FOREIGN + i % 4, KERNEL), D2)
            .unwrap();
    }
    m.load_caches(D1);
    let mut mm = m.mm(&mut s);
    mm.mmu_update(L1 << 12, 0, D1).unwrap();
    assert_eq!(word(&m, FOREIGN).type_count(), 10, "not yet");
    for i in 1..40 {
        mm.mmu_update(L1 << 12 | i << 3, 0, D1).unwrap();
    }
    drop(mm);
    assert_eq!(m.flushes.get().1, 3, "in batches");
    assert_eq!(word(&m, FOREIGN).type_count(), 0);
    let mut other = MmState::new(D2, 40, false);
    m.mm(&mut other).pin(1, Mfn(FOREIGN)).unwrap();
    m.check(published());
}

#[test]
fn unpinning_a_tree_with_foreign_frames_lets_them_go() {
    let (m, mut s) = pinned();
    m.mm(&mut s)
        .mmu_update(L1 << 12, e(FOREIGN, KERNEL), D2)
        .unwrap();
    m.load_caches(D1);
    m.mm(&mut s).unpin(Mfn(L4)).unwrap();
    assert_eq!(word(&m, FOREIGN).type_count(), 0);
    m.mm(&mut MmState::new(D2, 40, false))
        .pin(1, Mfn(FOREIGN))
        .unwrap();
    m.check(published());
}

#[test]
fn errors_have_the_abis_numbers() {
    use rexen_abi::errno::Errno;
    for (error, errno) in [
        (MmuError::BadEntry, Errno::EINVAL),
        (MmuError::NotOwned, Errno::EINVAL),
        (MmuError::TypeConflict, Errno::EINVAL),
        (MmuError::IoRefused, Errno::EPERM),
        (MmuError::NotMapped, Errno::EINVAL),
        (MmuError::AlreadyPinned, Errno::EINVAL),
    ] {
        assert_eq!(Errno::from(error), errno);
    }
}

#[test]
fn the_old_base_is_let_go_only_when_the_caller_goes_on() {
    for by_settle in [true, false] {
        let (m, mut s) = pinned();
        m.mm(&mut s).replace_base(None, Some(Mfn(L4))).unwrap();
        m.mm(&mut s).unpin(Mfn(L4)).unwrap();
        m.mm(&mut s).give_back(Mfn(L4)).unwrap();
        let mut mm = m.mm(&mut s);
        mm.replace_base(Some(Mfn(L4)), Some(Mfn(PAGE))).unwrap();
        assert!(
            word(&m, L4).is_valid_as(FrameType::L4) && word(&m, PAGE).is_valid_as(FrameType::L4)
        );
        if by_settle {
            mm.settle().unwrap();
            assert_eq!(*m.freed.borrow(), [(Mfn(L4), D1)]);
        }
        drop(mm);
        assert_eq!(*m.freed.borrow(), [(Mfn(L4), D1)]);
        let bad = m
            .mm(&mut s)
            .replace_base(Some(Mfn(PAGE)), Some(Mfn(FOREIGN)));
        assert_eq!(bad, Err(MmuError::NotOwned));
        assert!(word(&m, PAGE).is_valid_as(FrameType::L4));
    }
}

#[test]
fn a_store_that_races_with_the_cpu_keeps_the_counts() {
    for kind in [StoreKind::Write, StoreKind::Cmpxchg { expected: 0xff }] {
        let (m, mut s) = pinned();
        set(&m, &mut s, L1, 0, e(PAGE, KERNEL & !D | 0xe00)).unwrap();
        let before = m.peek(L1, 0);
        m.interfere.set(D);
        let size = if kind == StoreKind::Write { 8 } else { 1 };
        let got = m
            .mm(&mut s)
            .emulated_store(Mfn(L1), 0, size, kind, e(PAGE + 1, KERNEL));
        match kind {
            StoreKind::Write => assert_eq!(
                got,
                Ok(Stored {
                    old: before | D,
                    stored: true
                }),
                "no bit is lost"
            ),
            _ => assert_eq!(got.map(|s| s.stored), Ok(false)),
        }
        m.check(published());
        let (m, mut s) = pinned();
        m.interfere.set(A);
        m.mm(&mut s)
            .emulated_store(Mfn(L1), 0, 8, StoreKind::Write, e(PAGE, KERNEL))
            .unwrap();
        m.check(published());
        m.interfere.set(D);
        let nx = e(PAGE, KERNEL & !D | NX);
        m.mm(&mut s)
            .emulated_store(Mfn(L1), 0, 8, StoreKind::Write, nx)
            .unwrap();
        m.check(published());
        m.interfere.set(D);
        let ptr = L1 << 12 | MMU_PT_UPDATE_PRESERVE_AD;
        m.mm(&mut s)
            .mmu_update(ptr, e(PAGE, P | RW | NX), D1)
            .unwrap();
        assert_eq!(m.peek(L1, 0) & (D | NX), D | NX);
    }
}

#[test]
fn write_faults_are_told_apart() {
    let (m, mut s) = pinned();
    m.mm(&mut s).replace_base(None, Some(Mfn(L4))).unwrap();
    for (index, val) in [
        (0, e(L1, P)),
        (1, e(L2, P)),
        (2, e(PAGE, P)),
        (3, e(PAGE, KERNEL)),
        (4, e(IO_RO, P)),
        (5, e(IO_RW, P)),
    ] {
        set(&m, &mut s, L1, index, val).unwrap();
    }
    let mut fault = |index: u64| m.mm(&mut s).write_fault(Mfn(L4), VA | index << 12);
    assert_eq!(fault(0), WriteFault::Table(Mfn(L1)));
    assert_eq!(fault(1), WriteFault::Guest, "only level 1 is emulated");
    assert_eq!(fault(2), WriteFault::Guest);
    assert_eq!(fault(3), WriteFault::Allowed);
    assert_eq!(fault(4), WriteFault::ReadOnlyIo(Mfn(IO_RO)));
    assert_eq!(fault(5), WriteFault::Guest);
    assert_eq!(fault(6), WriteFault::Guest);
    assert_eq!(fault(1024), WriteFault::Guest);
    for (table, index, target) in [(L2, 0, L1), (L3, 0, L2), (L4, 300, L3)] {
        set(&m, &mut s, table, index, e(target, TABLE & !RW)).unwrap();
        assert_eq!(
            m.mm(&mut s).write_fault(Mfn(L4), VA | 3 << 12),
            WriteFault::Guest
        );
        set(&m, &mut s, table, index, e(target, TABLE)).unwrap();
    }
    assert_eq!(
        m.mm(&mut s).write_fault(Mfn(L4), VA | 3 << 12),
        WriteFault::Allowed
    );
}
