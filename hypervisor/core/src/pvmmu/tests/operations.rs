//! What each operation does and refuses, beside the rules for entries: pins, bases, stores, grants, flushes.

use super::*;

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
            Err(MmuError::BadCommand)
        );
    }
    assert_eq!(m.mm(&mut s).mmu_update(!7, 0, D1), Err(MmuError::NotOwned));
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
        Err(MmuError::LeafRefused)
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
        Err(MmuError::LeafRefused)
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
        Err(MmuError::LeafRefused)
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
    assert_eq!(
        set(&m, &mut s, L1, 1, e(PAGE, P)),
        Err(MmuError::LeafRefused)
    );
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
        (MmuError::LeafRefused, Errno::EBUSY),
        (MmuError::BadCommand, Errno::ENOSYS),
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
