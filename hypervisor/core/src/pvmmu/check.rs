//! Counts everything again, from the tables themselves, and compares.
//!
//! Slow and obvious on purpose, and it shares no logic with what it checks. For tests after each step, and for a debug
//! key. The machine must stand still, and every domain's lock be free of deferred work (`DomainMm` dropped).

use alloc::vec::Vec;

use super::MmuHost;
use super::entry::{self, P, RW, US, frame_of};
use crate::frame::{FrameTable, FrameType, Progress, Word};
use crate::units::{DomId, Mfn, PTES_PER_TABLE};

/// A reference that something other than a page table, pin or allocation holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Root {
    /// On which frame.
    pub mfn: Mfn,
    /// A typed reference of this type; a general one if `None`.
    pub as_type: Option<FrameType>,
}

/// Something that is not as it must be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mismatch {
    /// The frame's counts are not those of its uses.
    Counts {
        /// The frame.
        mfn: Mfn,
        /// Its word.
        word: Word,
        /// General references found.
        refs: u64,
        /// Typed references found.
        typed: u64,
    },
    /// The word breaks a rule of its own.
    Word {
        /// The frame.
        mfn: Mfn,
        /// Its word.
        word: Word,
    },
    /// The frame is used as a type that is not its own.
    Type {
        /// The frame.
        mfn: Mfn,
        /// Its word.
        word: Word,
        /// As which type it is used.
        used_as: FrameType,
    },
    /// An entry that may not stand.
    Entry {
        /// The table.
        table: Mfn,
        /// The entry's index.
        index: usize,
        /// The entry.
        entry: u64,
    },
}

struct Count<'a> {
    frames: FrameTable<'a>,
    found: Vec<(u32, u32)>,
    bad: Vec<Mismatch>,
    /// Whether there was no room for something in `bad`.
    is_full: bool,
}

impl Count<'_> {
    fn complain(&mut self, mismatch: Mismatch) {
        match self.bad.try_reserve(1) {
            Ok(()) => self.bad.push(mismatch),
            Err(_) => self.is_full = true,
        }
    }

    fn count(&mut self, mfn: Mfn, as_type: Option<FrameType>) {
        let Some(found) = self.found.get_mut(mfn.0 as usize) else {
            return;
        };
        found.0 += 1;
        if let Some(used_as) = as_type {
            found.1 += 1;
            let word = self.frames.word(mfn);
            if word.frame_type() != used_as || word.type_count() == 0 {
                self.complain(Mismatch::Type { mfn, word, used_as });
            }
        }
    }

    fn count_entry(&mut self, owner: DomId, level: u32, table: Mfn, index: usize, entry: u64) {
        let target = frame_of(entry);
        let word = self.frames.word(target);
        let mut good = entry & US != 0;
        if level == 1 {
            let is_user_global = entry & entry::G != 0;
            good &= is_user_global == (entry & entry::GUEST_KERNEL == 0);
            if !word.is_io() {
                self.count(target, (entry & RW != 0).then_some(FrameType::Writable));
            }
        } else {
            good &= entry & (entry::PAT | entry::PWT | entry::PCD | entry::G) == 0
                && word.owner() == owner;
            self.count(target, FrameType::table(level - 1));
        }
        if !good {
            self.complain(Mismatch::Entry {
                table,
                index,
                entry,
            });
        }
    }
}

/// Recounts all references of all frames, and checks every entry of every table in use.
///
/// `roots`: what vcpus' bases, descriptor tables, grants and the hypervisor itself hold. Nothing when there is no memory to
/// count in: 8 bytes for each frame.
pub fn check_world<H: MmuHost>(
    frames: FrameTable<'_>,
    host: &H,
    roots: impl IntoIterator<Item = Root>,
) -> Option<Vec<Mismatch>> {
    let mut found = Vec::new();
    let nr_frames = frames.len() as usize;
    found.try_reserve_exact(nr_frames).ok()?;
    found.resize(nr_frames, (0, 0));
    let mut c = Count {
        frames,
        found,
        bad: Vec::new(),
        is_full: false,
    };
    for root in roots {
        c.count(root.mfn, root.as_type);
    }
    for (mfn, info) in (0..frames.len()).filter_map(|n| Some((Mfn(n), frames.get(Mfn(n))?))) {
        let word = info.word();
        if !word.is_sound() {
            c.complain(Mismatch::Word { mfn, word });
        }
        if word.is_free() || word.is_io() {
            continue;
        }
        if word.is_allocated() {
            c.count(mfn, None);
        }
        if word.is_pinned() {
            c.count(mfn, Some(word.frame_type()));
        }
        let p = match (word.is_validated(), word.is_partial()) {
            (true, _) => Progress {
                index: PTES_PER_TABLE as u16,
                child: false,
                owned: true,
            },
            (_, true) => info.progress(),
            _ => continue,
        };
        if !p.owned {
            c.count(mfn, Some(word.frame_type()));
        }
        let Some(level) = word.frame_type().level() else {
            continue;
        };
        for index in 0..PTES_PER_TABLE {
            let entry = host.read(mfn, index);
            let is_ours = level == 4 && entry::is_hypervisor_slot(index);
            // A user base shows no machine-to-physical table.
            let is_hidden = index == entry::FIRST_HYPERVISOR_SLOT && entry == 0;
            if is_ours
                && !is_hidden
                && word.is_validated()
                && host.l4_slots().get(index - 256) != Some(&entry)
            {
                c.complain(Mismatch::Entry {
                    table: mfn,
                    index,
                    entry,
                });
            }
            let held = index < p.index as usize || (p.child && index == p.index as usize);
            if !is_ours && held && entry & P != 0 {
                c.count_entry(word.owner(), level, mfn, index, entry);
            }
        }
    }
    let found = core::mem::take(&mut c.found);
    for ((refs, typed), n) in found.into_iter().zip(0..) {
        let (refs, typed) = (u64::from(refs), u64::from(typed));
        let (mfn, word) = (Mfn(n), frames.word(Mfn(n)));
        // The hypervisor's own: in use, or with an idle CPU that scrubs it.
        let is_private = word == Word::PRIVATE || word == Word::UNSCRUBBED;
        let counted = !word.is_free() && !word.is_io() && !is_private;
        if counted && (word.refs(), word.type_count()) != (refs, typed)
            || !counted && (refs, typed) != (0, 0)
        {
            c.complain(Mismatch::Counts {
                mfn,
                word,
                refs,
                typed,
            });
        }
    }
    (!c.is_full).then_some(c.bad)
}
