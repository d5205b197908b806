//! Tests of the frame room: every rule of the word, its loop under loom, the allocator against a set.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::testkit::Machine;
use crate::units::{DomId, Mfn};

const D1: DomId = DomId(1);
const D2: DomId = DomId(2);
const TYPES: [FrameType; 8] = [
    FrameType::None,
    FrameType::L1,
    FrameType::L2,
    FrameType::L3,
    FrameType::L4,
    FrameType::SegDesc,
    FrameType::Shared,
    FrameType::Writable,
];

fn assigned() -> Word {
    apply(Word::PRIVATE, Request::Assign(D1)).unwrap()
}

fn after(requests: &[Request]) -> Word {
    requests.iter().fold(assigned(), |w, r| {
        apply(w, *r).unwrap_or_else(|e| panic!("{w:?} {r:?}: {e:?}"))
    })
}

/// Words of `D1` and of nobody with every combination of flags and types, and counts around every limit.
fn many_words() -> Vec<Word> {
    let mut words = vec![
        Word::IO,
        Word::PRIVATE,
        Word::FREE,
        Word::UNSCRUBBED,
        Word::FREE_DIRTY,
        Word::FREE.free_head(0, None),
        Word::FREE_DIRTY.free_head(18, Some((1 << 18) - 1)),
    ];
    let owner = assigned().0 & !0x1_ffff_ffff_ffff;
    for refs in [0, 1, 2, 3, 4, MAX_REFS - 1, MAX_REFS] {
        for count in [0, 1, 2, 3, MAX_TYPE_COUNT - 1, MAX_TYPE_COUNT] {
            for t in 0..8u64 {
                for flags in 0..16u64 {
                    words.push(Word(owner | flags << 45 | t << 42 | count << 22 | refs));
                }
            }
        }
    }
    words.retain(|w| w.is_sound());
    words
}

fn all_requests() -> Vec<Request> {
    use Request::*;
    let mut all = vec![
        GetRef(D1),
        GetRef(D2),
        GetRef(DomId::IO),
        GetRef(DomId::XEN),
        GetRef(DomId::INVALID),
        PutRef,
        PutType,
        Validated,
        BeginEnd,
        End,
        Pin,
        Unpin,
        Assign(D1),
        Share(D1),
        Publish,
        Steal(D1),
        Steal(D2),
        DropAllocation,
    ];
    all.extend(
        TYPES[1..]
            .iter()
            .flat_map(|t| [GetType(D1, *t), GetType(D2, *t), GetType(DomId::IO, *t)]),
    );
    all
}

#[test]
fn a_sound_word_stays_sound_whatever_is_asked() {
    let words = many_words();
    assert!(words.len() > 300, "{}", words.len());
    for w in words {
        for r in all_requests() {
            if let Ok(new) = apply(w, r) {
                assert!(new.is_sound(), "{w:?} {r:?} -> {new:?}");
                assert!(
                    new.refs() <= MAX_REFS && new.type_count() <= MAX_TYPE_COUNT,
                    "{w:?} {r:?} -> {new:?}"
                );
                let moved = new.refs() as i64 - w.refs() as i64;
                let typed = new.type_count() as i64 - w.type_count() as i64;
                let expected = match r {
                    Request::GetRef(_) => (1, 0),
                    Request::PutRef | Request::DropAllocation => (-1, 0),
                    Request::GetType(..) => (1, 1),
                    Request::PutType | Request::End => (-1, -1),
                    Request::Share(_) | Request::Publish => (1, 1),
                    _ => (0, 0),
                };
                assert_eq!((moved, typed), expected, "{w:?} {r:?} -> {new:?}");
            }
        }
    }
}

#[test]
fn nobody_gets_a_reference_on_what_is_not_allocated_to_the_owner_named() {
    for w in many_words() {
        for r in all_requests() {
            if let Request::GetRef(dom) | Request::GetType(dom, _) | Request::Steal(dom) = r
                && (!w.is_allocated() || w.owner() != dom)
            {
                assert_eq!(apply(w, r), Err(FrameError::NotOwned), "{w:?} {r:?}");
            }
        }
    }
}

#[test]
fn a_type_changes_only_when_nobody_uses_the_old_one() {
    for w in many_words() {
        for r in all_requests() {
            if let Ok(new) = apply(w, r)
                && new.frame_type() != w.frame_type()
            {
                assert_eq!(w.type_count(), 0, "{w:?} {r:?} -> {new:?}");
            }
        }
    }
}

#[test]
fn a_checked_type_begins_partial_and_only_validation_makes_it_valid() {
    for w in many_words() {
        for r in all_requests() {
            if let Ok(new) = apply(w, r)
                && new.is_validated()
                && !w.is_validated()
            {
                assert_eq!(r, Request::Validated);
                assert!(w.is_partial());
            }
        }
    }
    for t in TYPES.into_iter().filter(|t| t.is_checked()) {
        assert!(after(&[Request::GetType(D1, t)]).is_partial());
    }
}

#[test]
fn only_a_frame_in_no_use_changes_hands() {
    let mut stolen = 0;
    for w in many_words() {
        if let Ok(new) = apply(w, Request::Steal(D1)) {
            assert_eq!(new, Word::PRIVATE);
            assert_eq!((w.refs(), w.type_count()), (1, 0), "{w:?}");
            stolen += 1;
        }
    }
    assert!(stolen > 0);
    assert_eq!(apply(assigned(), Request::Steal(D1)), Ok(Word::PRIVATE));
    let used = after(&[Request::GetRef(D1)]);
    assert_eq!(
        apply(used, Request::Steal(D1)),
        Err(FrameError::TypeConflict)
    );
}

#[test]
fn counts_refuse_before_they_overflow() {
    let mut seen = 0;
    for w in many_words().into_iter().filter(|w| w.is_held_by(D1)) {
        if w.refs() == MAX_REFS {
            assert_eq!(apply(w, Request::GetRef(D1)), Err(FrameError::Overflow));
            seen += 1;
        }
        let full = w.refs() == MAX_REFS || w.type_count() == MAX_TYPE_COUNT;
        if full && !w.is_partial() && (w.type_count() == 0 || w.frame_type() != FrameType::None) {
            let t = if w.type_count() == 0 {
                FrameType::L1
            } else {
                w.frame_type()
            };
            assert_eq!(
                apply(w, Request::GetType(D1, t)),
                Err(FrameError::Overflow),
                "{w:?}"
            );
            seen += 1;
        }
    }
    assert!(seen > 50);
}

#[test]
fn dropping_what_nobody_holds_is_a_bug_and_changes_nothing() {
    use Request::*;
    for (w, r) in [
        (assigned(), PutRef),
        (assigned(), PutType),
        (assigned(), End),
        (assigned(), BeginEnd),
        (assigned(), Validated),
        (assigned(), Pin),
        (Word::IO, PutRef),
        (Word::IO, PutType),
        (Word::FREE, PutRef),
        (Word::FREE.free_head(3, Some(0)), PutType),
        (Word::UNSCRUBBED, Assign(D2)),
        (after(&[GetType(D1, FrameType::Writable)]), PutRef),
        (after(&[GetType(D1, FrameType::L1)]), PutType),
        (
            after(&[GetType(D1, FrameType::L1), Validated, Pin]),
            PutType,
        ),
        (
            after(&[GetType(D1, FrameType::L1), Validated, Pin]),
            BeginEnd,
        ),
        (after(&[GetType(D1, FrameType::SegDesc), Validated]), Pin),
        (after(&[GetType(D1, FrameType::L1)]), Pin),
        (assigned(), Assign(D2)),
        (assigned(), Share(D2)),
        (Word::FREE, Assign(D2)),
        (Word::IO, Assign(D2)),
        (Word::IO, Publish),
    ] {
        assert_eq!(apply(w, r), Err(FrameError::Bug), "{w:?} {r:?}");
    }
    assert_eq!(
        apply(after(&[DropAllocation]), PutRef),
        Err(FrameError::Bug),
        "the last reference went already"
    );
}

#[test]
fn the_last_use_of_a_checked_type_has_to_let_go_of_its_contents() {
    use Request::*;
    let valid = after(&[GetType(D1, FrameType::L2), Validated]);
    assert_eq!(apply(valid, PutType), Err(FrameError::LastUse));
    let twice = apply(valid, GetType(D1, FrameType::L2)).unwrap();
    assert_eq!(apply(twice, PutType), Ok(valid));
    assert_eq!(apply(twice, BeginEnd), Err(FrameError::Bug));
    let partial = apply(valid, BeginEnd).unwrap();
    assert!(partial.is_partial() && !partial.is_validated());
    assert_eq!(
        apply(partial, GetType(D1, FrameType::L2)),
        Err(FrameError::Partial)
    );
    assert_eq!(
        apply(partial, GetType(D1, FrameType::L1)),
        Err(FrameError::TypeConflict)
    );
    assert_eq!(apply(partial, End).unwrap().type_count(), 0);
}

#[test]
fn a_pin_holds_the_type_and_is_undone_once() {
    use Request::*;
    let pinned = after(&[GetType(D1, FrameType::L4), Validated, Pin]);
    assert_eq!(apply(pinned, Pin), Err(FrameError::AlreadyPinned));
    let unpinned = apply(pinned, Unpin).unwrap();
    assert_eq!(unpinned.type_count(), 1);
    assert_eq!(apply(unpinned, Unpin), Err(FrameError::NotPinned));
}

#[test]
fn a_frame_given_back_lives_until_its_last_use_and_gets_no_new_one() {
    use Request::*;
    let w = after(&[GetRef(D1), DropAllocation]);
    assert_eq!(w.refs(), 1);
    assert_eq!(apply(w, GetRef(D1)), Err(FrameError::NotOwned));
    assert_eq!(
        apply(w, GetType(D1, FrameType::Writable)),
        Err(FrameError::NotOwned)
    );
    assert_eq!(apply(w, DropAllocation), Err(FrameError::NotAllocated));
    assert_eq!(apply(w, PutRef).unwrap().refs(), 0);
}

#[test]
fn shared_frames_can_be_mapped_and_never_become_tables() {
    let shared = apply(Word::PRIVATE, Request::Share(D1)).unwrap();
    assert!(apply(shared, Request::GetType(D1, FrameType::Writable)).is_ok());
    assert_eq!(
        apply(shared, Request::GetType(D1, FrameType::L1)),
        Err(FrameError::TypeConflict)
    );
    let published = apply(Word::PRIVATE, Request::Publish).unwrap();
    assert!(apply(published, Request::GetRef(DomId::XEN)).is_ok());
    assert_eq!(
        apply(published, Request::GetType(DomId::XEN, FrameType::Writable)),
        Err(FrameError::TypeConflict)
    );
    assert_eq!(
        apply(Word::PRIVATE, Request::GetRef(DomId::XEN)),
        Err(FrameError::NotOwned)
    );
}

#[test]
fn a_zeroed_table_is_no_ram() {
    let m = Machine::new(4, 1);
    let word = m.frames().word(Mfn(2));
    assert!(word.is_io() && word.owner() == DomId::IO && word == Word(0));
    assert_eq!(m.frames().word(Mfn(4)), Word::IO);
    assert!(m.frames().get(Mfn(u64::MAX)).is_none());
}

#[test]
fn owners_survive_packing() {
    for dom in [D1, D2, DomId(0), DomId(0x7fef), DomId::XEN] {
        assert_eq!(
            apply(Word::PRIVATE, Request::Assign(dom)).unwrap().owner(),
            dom
        );
    }
    assert_eq!(Word::PRIVATE.owner(), DomId::XEN);
    assert_eq!(Word::FREE.owner(), DomId::INVALID);
    assert!(!assigned().is_free() && !assigned().is_io());
}

#[test]
fn a_changed_type_asks_for_a_flush_by_the_old_types_end() {
    let m = Machine::new(4, 4);
    m.give(D1, [1]);
    let info = m.frames().get(Mfn(1)).unwrap();
    assert_eq!(
        info.get_type(D1, FrameType::Writable).unwrap().flush,
        None,
        "never used before"
    );
    assert_eq!(info.put_type(|| 77).unwrap(), Put::Held);
    assert_eq!(
        info.get_type(D1, FrameType::Writable).unwrap().flush,
        None,
        "same type again"
    );
    assert_eq!(info.put_type(|| 78).unwrap(), Put::Held);
    assert_eq!(
        info.get_type(D1, FrameType::L1).unwrap(),
        Taken {
            flush: Some(78),
            validate: true
        }
    );
    info.set_progress(Progress {
        index: 512,
        child: true,
        owned: true,
    });
    assert_eq!(
        info.progress(),
        Progress {
            index: 512,
            child: true,
            owned: true
        }
    );
    assert_eq!(info.end_type(91).unwrap(), Put::Held);
    assert_eq!(
        info.get_type(D1, FrameType::Writable).unwrap().flush,
        Some(91)
    );
}

#[test]
fn the_latest_of_racing_writable_puts_leaves_its_stamp() {
    let m = Machine::new(4, 4);
    m.give(D1, [1]);
    let info = m.frames().get(Mfn(1)).unwrap();
    for _ in 0..2 {
        let _ = info.get_type(D1, FrameType::Writable).unwrap();
    }
    let _ = info.put_type(|| 50).unwrap();
    // It read the clock first, but came second.
    let _ = info.put_type(|| 40).unwrap();
    assert_eq!(info.get_type(D1, FrameType::L1).unwrap().flush, Some(50));
}

#[test]
fn the_put_of_a_table_that_is_not_the_last_needs_no_clock() {
    let m = Machine::new(4, 4);
    m.give(D1, [1]);
    let info = m.frames().get(Mfn(1)).unwrap();
    let _ = info.get_type(D1, FrameType::L1).unwrap();
    info.set_validated().unwrap();
    let _ = info.get_type(D1, FrameType::L1).unwrap();
    let _ = info
        .put_type(|| unreachable!("only the last one needs the clock"))
        .unwrap();
}

mod races {
    use super::*;
    use loom::sync::Arc;
    use loom::sync::atomic::{AtomicU64, Ordering};

    impl Word64 for AtomicU64 {
        fn load(&self) -> u64 {
            AtomicU64::load(self, Ordering::Acquire)
        }
        fn compare_exchange(&self, old: u64, new: u64) -> Result<u64, u64> {
            AtomicU64::compare_exchange(self, old, new, Ordering::AcqRel, Ordering::Acquire)
        }
    }

    fn get(word: &AtomicU64, t: FrameType) -> bool {
        update(word, Request::GetType(D1, t), |_| ()).is_ok()
    }

    #[test]
    fn a_frame_never_becomes_table_and_writable_at_once() {
        loom::model(|| {
            let word = Arc::new(AtomicU64::new(assigned().0));
            let other = word.clone();
            let mapper = loom::thread::spawn(move || get(&other, FrameType::Writable));
            let table = get(&word, FrameType::L1);
            let writable = mapper.join().unwrap();
            assert!(table != writable, "exactly one wins");
        });
    }

    #[test]
    fn exactly_one_of_two_racing_puts_frees_the_frame() {
        loom::model(|| {
            let start = after(&[
                Request::GetRef(D1),
                Request::GetRef(D1),
                Request::DropAllocation,
            ]);
            let word = Arc::new(AtomicU64::new(start.0));
            let other = word.clone();
            let put = |w: &AtomicU64| update(w, Request::PutRef, |_| ()).unwrap().1.refs() == 0;
            let first = loom::thread::spawn(move || put(&other));
            let second = put(&word);
            assert!(first.join().unwrap() != second);
        });
    }

    #[test]
    fn a_frame_that_is_freed_by_one_cannot_be_taken_by_another() {
        loom::model(|| {
            let word = Arc::new(AtomicU64::new(assigned().0));
            let other = word.clone();
            let taker =
                loom::thread::spawn(move || update(&*other, Request::GetRef(D1), |_| ()).is_ok());
            let freed = update(&*word, Request::DropAllocation, |_| ())
                .unwrap()
                .1
                .refs()
                == 0;
            assert!(taker.join().unwrap() != freed);
        });
    }

    #[test]
    fn whoever_retypes_a_frame_sees_the_stamp_of_its_last_writable_use() {
        loom::model(|| {
            let start = after(&[Request::GetType(D1, FrameType::Writable)]);
            let word = Arc::new(AtomicU64::new(start.0));
            let stamp = Arc::new(AtomicU64::new(0));
            let (w, s) = (word.clone(), stamp.clone());
            let unmapper = loom::thread::spawn(move || {
                update(&*w, Request::PutType, |old| {
                    if old.type_count() == 1 {
                        s.store(7, Ordering::Relaxed);
                    }
                })
                .unwrap();
            });
            if get(&word, FrameType::L1) {
                assert_eq!(stamp.load(Ordering::Relaxed), 7);
            }
            unmapper.join().unwrap();
        });
    }
}

#[test]
fn the_allocator_prefers_high_memory_and_keeps_below_a_limit() {
    let m = Machine::new(64, 64);
    let mut buddy = m.buddy(0);
    assert_eq!(buddy.free_frames(), 63, "frame 0 is never used");
    assert!(buddy.alloc(0, 64).unwrap().0 >= 32);
    for _ in 0..7 {
        assert!(buddy.alloc(0, 15).unwrap().0 < 8);
    }
    assert_eq!(buddy.alloc(0, 15), None);
    assert_eq!(buddy.alloc(0, 12), None);
    assert_eq!(buddy.alloc(0, 0), None);
    assert_eq!(buddy.alloc(6, 64), None);
    assert_eq!(buddy.alloc(u32::MAX, 64), None);
}

#[test]
fn the_allocator_takes_back_only_what_nobody_uses() {
    let m = Machine::new(64, 32);
    let mut buddy = m.buddy(16);
    let got = buddy.alloc(1, 64).unwrap();
    let info = m.frames().get(got).unwrap();
    assert_eq!(info.assign(D1), Err(FrameError::Bug), "not scrubbed");
    info.set_scrubbed();
    info.assign(D1).unwrap();
    let free = buddy.free_frames();
    for (mfn, order) in [
        (got, 0),
        (got, 1),
        (Mfn(31), 0),
        (Mfn(33), 0),
        (Mfn(64), 0),
        (Mfn(0), 0),
        (Mfn(9), 1),
    ] {
        assert_eq!(
            buddy.free(mfn, order),
            Err(FrameError::Bug),
            "{mfn:?} {order}"
        );
    }
    assert_eq!(buddy.free(Mfn(16), 19), Err(FrameError::Bug));
    assert_eq!(buddy.free_frames(), free);
    let _ = m.frames().get(got).unwrap().drop_allocation().unwrap();
    buddy.free(got, 1).unwrap();
    assert_eq!(buddy.free(got, 1), Err(FrameError::Bug), "twice");
    assert_eq!(buddy.alloc(4, 64), Some(Mfn(16)), "all merged again");
}

#[test]
fn a_run_takes_only_its_frames_and_gives_them_back() {
    let m = Machine::new(80, 80);
    let mut pool = Pool::new(m.buddy(16));
    let free = pool.figures().free;
    for (nr, align) in [(1, 0), (3, 0), (5, 2), (1, 4), (17, 0), (32, 0)] {
        let first = pool.alloc_run(nr, align).unwrap();
        assert_eq!(first.0 % (1 << align), 0);
        assert_eq!(pool.figures().free, free - nr, "{nr}");
        assert!((first.0..first.0 + nr).all(|i| !m.frames().word(Mfn(i)).is_free()));
        pool.free_run(first, nr).unwrap();
        assert_eq!(pool.figures().free, free);
        assert_eq!(pool.free_run(first, nr), Err(FrameError::Bug), "twice");
    }
    assert_eq!(pool.alloc_run(33, 0), None);
    assert_eq!(pool.alloc_run(u64::MAX, 0), None);
}

#[test]
fn what_is_put_back_is_claimed_again_only_while_the_claim_stands() {
    let m = Machine::new(80, 80);
    let mut pool = Pool::new(m.buddy(16));
    let claim = Claim::default();
    pool.claim(&claim, 4, 0, 100).unwrap();
    let block = pool.alloc(2, 64, Some(&claim)).unwrap();
    assert_eq!(claim.pages(), 0);
    pool.put_back(block, Some(&claim)).unwrap();
    assert_eq!((claim.pages(), pool.figures().claimed), (4, 4));
    let block = pool.alloc(2, 64, Some(&claim)).unwrap();
    pool.claim(&claim, 0, 0, 100).unwrap();
    pool.put_back(block, Some(&claim)).unwrap();
    assert_eq!((claim.pages(), pool.figures().claimed), (0, 0));
}

/// What is done to the allocator.
#[derive(Clone, Debug)]
enum Step {
    Alloc {
        order: u32,
        bits: u32,
    },
    Free {
        pick: usize,
    },
    /// Scrub so many of the block's frames, then put it back.
    PutBack {
        pick: usize,
        scrubbed: u64,
    },
    Scrub,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0u32..5, 12u32..22).prop_map(|(order, bits)| Step::Alloc { order, bits }),
        2 => any::<usize>().prop_map(|pick| Step::Free { pick }),
        1 => (any::<usize>(), 0u64..16).prop_map(|(pick, scrubbed)| Step::PutBack { pick, scrubbed }),
        3 => Just(Step::Scrub),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]
    #[test]
    fn the_allocator_never_gives_a_frame_twice_loses_none_and_knows_which_are_dirty(
        start in 0u64..40,
        steps in prop::collection::vec(step(), 1..120),
    ) {
        let m = Machine::new(300, 256);
        let mut buddy = m.buddy(start);
        let all = buddy.free_frames();
        prop_assert_eq!(all, 256 - start.max(1));
        let mut held: Vec<(Mfn, u32)> = Vec::new();
        let mut used = BTreeSet::new();
        // Frames whose contents are an old secret.
        let mut secret: BTreeSet<u64> = (start.max(1)..256).collect();
        let frames = |mfn: Mfn, order: u32| mfn.0..mfn.0 + (1 << order);
        for step in steps {
            match step {
                Step::Alloc { order, bits } => {
                    let limit = (1u64 << bits) >> 12;
                    if let Some(mfn) = buddy.alloc(order, bits) {
                        prop_assert_eq!(mfn.0 % (1 << order), 0);
                        prop_assert!(mfn.0 >= start.max(1) && mfn.0 + (1 << order) <= limit.min(256));
                        for i in frames(mfn, order) {
                            prop_assert!(used.insert(i));
                            let word = if secret.contains(&i) { Word::UNSCRUBBED } else { Word::PRIVATE };
                            prop_assert_eq!(m.frames().word(Mfn(i)), word);
                        }
                        held.push((mfn, order));
                    } else {
                        let fits = |b: u64| b != 0 && b >= start && b + (1 << order) <= limit.min(256)
                            && (b..b + (1 << order)).all(|f| !used.contains(&f));
                        prop_assert!(!(0..256u64).step_by(1 << order).any(fits));
                    }
                }
                Step::Free { pick } if !held.is_empty() => {
                    let (mfn, order) = held.swap_remove(pick % held.len());
                    buddy.free(mfn, order).unwrap();
                    frames(mfn, order).for_each(|i| assert!(used.remove(&i)));
                    secret.extend(frames(mfn, order));
                }
                Step::PutBack { pick, scrubbed } if !held.is_empty() => {
                    let (mfn, order) = held.swap_remove(pick % held.len());
                    for i in frames(mfn, order).take(scrubbed as usize) {
                        secret.remove(&i);
                        m.frames().get(Mfn(i)).unwrap().set_scrubbed();
                    }
                    buddy.put_back(mfn, order).unwrap();
                    frames(mfn, order).for_each(|i| assert!(used.remove(&i)));
                }
                // Taken like an allocation; put back by another step.
                Step::Scrub => match buddy.take_dirty() {
                    Dirty::Nothing => prop_assert!(secret.is_subset(&used)),
                    Dirty::Later => {}
                    Dirty::Block(mfn, order) => {
                        let dirty: Vec<_> = frames(mfn, order).filter(|i| secret.contains(i)).collect();
                        prop_assert!(!dirty.is_empty());
                        for i in frames(mfn, order) {
                            prop_assert!(used.insert(i));
                            let word = if dirty.contains(&i) { Word::UNSCRUBBED } else { Word::PRIVATE };
                            prop_assert_eq!(m.frames().word(Mfn(i)), word);
                        }
                        held.push((mfn, order));
                    }
                },
                _ => {}
            }
            prop_assert_eq!(buddy.free_frames() + used.len() as u64, all);
            prop_assert_eq!(buddy.dirty_frames(), secret.difference(&used).count() as u64);
        }
        for (mfn, order) in held {
            buddy.free(mfn, order).unwrap();
            secret.extend(frames(mfn, order));
        }
        loop {
            match buddy.take_dirty() {
                Dirty::Nothing => break,
                Dirty::Later => {}
                Dirty::Block(mfn, order) => {
                    for i in frames(mfn, order) {
                        secret.remove(&i);
                        m.frames().get(Mfn(i)).unwrap().set_scrubbed();
                    }
                    buddy.put_back(mfn, order).unwrap();
                }
            }
        }
        prop_assert!(secret.is_empty() && buddy.dirty_frames() == 0);
        let fresh = Machine::new(300, 256);
        let mut other = fresh.buddy(start);
        for order in (0..8).rev() {
            while let Some(mfn) = other.alloc(order, 64) {
                let same = buddy.alloc(order, 64);
                prop_assert_eq!(same.map(|m| m.0 >> order != 0), Some(mfn.0 >> order != 0), "all merged");
                prop_assert_eq!(m.frames().word(same.unwrap()), Word::PRIVATE);
            }
        }
    }

    #[test]
    fn claims_are_kept_and_nothing_is_promised_twice(
        ops in prop::collection::vec((0usize..5, 0usize..3, 0u64..40, any::<usize>()), 1..150),
    ) {
        let m = Machine::new(140, 140);
        let mut pool = Pool::new(m.buddy(12));
        // Two domains that may claim, and the hypervisor, which does not.
        let claims = [Claim::default(), Claim::default()];
        let mut tot = [0u64; 3];
        let mut left = [0u64; 3];
        let mut blocks: Vec<(usize, Block)> = Vec::new();
        let mut scrubbing = None;
        for (op, who, n, pick) in ops {
            let claim = claims.get(who);
            let free = pool.figures().free;
            match op {
                0 | 1 => {
                    let order = n as u32 % 3;
                    let open = free - left.iter().sum::<u64>() + left[who];
                    match pool.alloc(order, 64, claim) {
                        Some(block) => {
                            prop_assert!(1 << order <= open);
                            left[who] -= left[who].min(1 << order);
                            tot[who] += 1 << order;
                            blocks.push((who, block));
                        }
                        None => prop_assert!(open < 1 << order || order > 0 || pool.is_scrubbing()),
                    }
                }
                2 if !blocks.is_empty() => {
                    let (who, block) = blocks.swap_remove(pick % blocks.len());
                    pool.free(block.mfn, block.order).unwrap();
                    tot[who] -= 1 << block.order;
                }
                3 => {
                    // What was stopped while it was scrubbed: as if it had not been.
                    let before = (pool.figures(), left);
                    if let Some(block) = pool.alloc(n as u32 % 3, 64, claim) {
                        pool.put_back(block, claim).unwrap();
                    }
                    prop_assert_eq!((pool.figures(), left), before);
                }
                4 if who < 2 => {
                    let open = free - left.iter().sum::<u64>();
                    let wanted = if n == 0 {
                        left[who] = 0;
                        Ok(())
                    } else if left[who] != 0 || n <= tot[who] || n > 32 {
                        Err(ClaimError::Invalid)
                    } else if n - tot[who] > open {
                        Err(ClaimError::NoMemory)
                    } else {
                        left[who] = n - tot[who];
                        Ok(())
                    };
                    prop_assert_eq!(pool.claim(&claims[who], n, tot[who], 32), wanted);
                }
                // An idle CPU scrubs: the numbers stay as they are.
                _ => match scrubbing.take() {
                    Some((mfn, order)) => pool.end_scrub(mfn, order).unwrap(),
                    None => if let Dirty::Block(mfn, order) = pool.begin_scrub() {
                        scrubbing = Some((mfn, order));
                    },
                },
            }
            let figures = pool.figures();
            prop_assert_eq!([claims[0].pages(), claims[1].pages()], [left[0], left[1]]);
            prop_assert_eq!(figures.claimed, left.iter().sum::<u64>());
            prop_assert_eq!(figures.free + tot.iter().sum::<u64>(), 128);
            prop_assert!(figures.claimed <= figures.free);
        }
    }
}
