//! The allocator of machine frames: free blocks of 2^order frames, merged with their buddies when both are free.
//!
//! Free lists are doubly linked through the frame table itself. They are kept apart by the highest bit of the mfn
//! ("zone"), so that an allocation below an address limit is as quick as any other and high memory is used first.
//!
//! A freed frame is dirty until it is scrubbed, which happens while a CPU is idle ([`Buddy::take_dirty`]) or when the frame
//! is allocated: then its word is [`Word::UNSCRUBBED`], and it cannot be assigned before its new holder has scrubbed it.
//! Blocks that may contain a dirty frame are on lists of their own, and taken last. The head of such a block knows
//! the first frame that may be dirty.
//!
//! The caller locks, and scrubs: this room never sees the contents.

use core::sync::atomic::Ordering;

use super::table::{FrameInfo, FrameTable};
use super::word::{FrameError, Word};
use crate::units::{Mfn, PAGE_SHIFT};

/// The largest block is 2^18 frames, 1 GiB.
pub const MAX_ORDER: u32 = 18;
const ORDERS: usize = MAX_ORDER as usize + 1;
const ZONES: usize = 32;
const NIL: u32 = u32::MAX;

/// Frames that [`Buddy::take_dirty`] looks at, at most.
const LOOK_AHEAD: u64 = 256;
/// It takes 2^this frames at a time, at most.
const SCRUB_ORDER: u32 = 2;

/// What there is to scrub.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Dirty {
    /// Nothing.
    Nothing,
    /// Perhaps something, but not among the frames that were looked at.
    Later,
    /// These 2^order frames, some of which are [`Word::UNSCRUBBED`].
    Block(Mfn, u32),
}

/// Which of the two sets of lists: blocks that are scrubbed, and blocks that may not be.
const CLEAN: usize = 0;
const DIRTY: usize = 1;

/// The free frames of the machine.
#[derive(Debug)]
pub struct Buddy<'a> {
    frames: FrameTable<'a>,
    heads: [[[u32; ORDERS]; ZONES]; 2],
    /// Per zone, a bit for every order that has a free block.
    orders: [[u32; ZONES]; 2],
    free: u64,
    dirty: u64,
}

impl<'a> Buddy<'a> {
    /// An allocator over `frames` that has nothing yet.
    pub const fn new(frames: FrameTable<'a>) -> Self {
        Buddy {
            frames,
            heads: [[[NIL; ORDERS]; ZONES]; 2],
            orders: [[0; ZONES]; 2],
            free: 0,
            dirty: 0,
        }
    }

    /// How many frames are free.
    pub const fn free_frames(&self) -> u64 {
        self.free
    }

    /// How many of them have yet to be scrubbed.
    pub const fn dirty_frames(&self) -> u64 {
        self.dirty
    }

    /// Adds RAM at boot: `count` frames from `start`, whatever their words say. Frame 0 is never used.
    pub fn add_range(&mut self, start: Mfn, count: u64) {
        let end = start
            .0
            .saturating_add(count)
            .min(self.frames.len())
            .min(NIL as u64);
        let mut mfn = start.0.max(1);
        while mfn < end {
            let order = mfn.trailing_zeros().min(MAX_ORDER).min((end - mfn).ilog2());
            self.release(mfn, order, |_| Word::FREE_DIRTY);
            mfn += 1 << order;
        }
    }

    /// Takes 2^`order` frames below 2^`max_address_bits`, aligned to their size, private to the hypervisor.
    ///
    /// Those that were not scrubbed say so ([`Word::UNSCRUBBED`]).
    pub fn alloc(&mut self, order: u32, max_address_bits: u32) -> Option<Mfn> {
        let zones = (max_address_bits.checked_sub(PAGE_SHIFT)? as usize).min(ZONES);
        let (zone, list) = (0..zones)
            .rev()
            .flat_map(|zone| [(zone, CLEAN), (zone, DIRTY)])
            .find(|(zone, list)| self.orders[*list][*zone].checked_shr(order).unwrap_or(0) != 0)?;
        let found = order + (self.orders[list][zone] >> order).trailing_zeros();
        let head = self.heads[list][zone][found as usize];
        let mut first_dirty = self.unlink(head, found);
        // Give back the upper halves until the block has the size that was asked for.
        for half in (order..found).rev() {
            let upper_dirty = match first_dirty {
                Some(index) if index >= 1 << half => {
                    first_dirty = None;
                    Some(index - (1 << half))
                }
                // What comes after the first dirty frame is not known.
                Some(_) => Some(0),
                None => None,
            };
            self.link(head + (1 << half), half, upper_dirty);
        }
        self.hold(head as u64, order);
        Some(Mfn(head as u64))
    }

    /// Makes the frames of a block that is on no list the caller's.
    fn hold(&mut self, head: u64, order: u32) {
        for info in (head..head + (1 << order)).filter_map(|mfn| self.frames.get(Mfn(mfn))) {
            let word = if info.word().is_dirty() {
                self.dirty -= 1;
                Word::UNSCRUBBED
            } else {
                Word::PRIVATE
            };
            info.set_word(word);
            info.aux.store(0, Ordering::Relaxed);
        }
        self.free -= 1 << order;
    }

    /// Gives back 2^`order` frames, dirty: private to the hypervisor, or freed by their last reference.
    ///
    /// # Errors
    /// `Bug`, and nothing is changed: some frame is in use, free already, or no RAM.
    pub fn free(&mut self, mfn: Mfn, order: u32) -> Result<(), FrameError> {
        self.check(mfn, order, |word| {
            is_private(word) || (word.refs() == 0 && !word.is_io() && !word.is_free())
        })?;
        self.release(mfn.0, order, |_| Word::FREE_DIRTY);
        Ok(())
    }

    /// Gives back 2^`order` frames of [`Self::alloc`] to which nothing was done but scrubbing.
    ///
    /// # Errors
    /// `Bug`, and nothing is changed: some frame has become something else.
    pub fn put_back(&mut self, mfn: Mfn, order: u32) -> Result<(), FrameError> {
        self.check(mfn, order, is_private)?;
        self.release(mfn.0, order, |word| match word {
            Word::PRIVATE => Word::FREE,
            _ => Word::FREE_DIRTY,
        });
        Ok(())
    }

    /// Takes some dirty frames, for the caller to scrub and [`Self::put_back`].
    ///
    /// It looks at so many frames only, and may not get to one this time.
    pub fn take_dirty(&mut self) -> Dirty {
        let Some(zone) = (0..ZONES).rev().find(|zone| self.orders[DIRTY][*zone] != 0) else {
            return Dirty::Nothing;
        };
        let order = self.orders[DIRTY][zone].ilog2();
        let mut head = self.heads[DIRTY][zone][order as usize] as u64;
        let first = self.unlink(head as u32, order).unwrap_or(0);
        let end = (1 << order).min(first + LOOK_AHEAD);
        let is_dirty = |index: &u64| self.frames.word(Mfn(head + index)).is_dirty();
        let Some(mut index) = (first..end).find(is_dirty) else {
            self.link(head as u32, order, (end < 1 << order).then_some(end));
            return Dirty::Later;
        };
        let piece = order.min(SCRUB_ORDER);
        for half in (piece..order).rev() {
            let size = 1 << half;
            if index < size {
                self.link((head + size) as u32, half, Some(0));
            } else {
                // All before the one that was found are scrubbed.
                self.link(head as u32, half, None);
                head += size;
                index -= size;
            }
        }
        self.hold(head, piece);
        Dirty::Block(Mfn(head), piece)
    }

    fn check(
        &self,
        mfn: Mfn,
        order: u32,
        is_good: impl Fn(Word) -> bool,
    ) -> Result<(), FrameError> {
        let sound = order <= MAX_ORDER
            && mfn.0 != 0
            && mfn.0.is_multiple_of(1 << order)
            && mfn.0 < NIL as u64
            && (0..1 << order).all(|i| is_good(self.frames.word(Mfn(mfn.0 + i))));
        if sound { Ok(()) } else { Err(FrameError::Bug) }
    }

    /// Makes frames free, each with the word that `freed` makes of its own.
    fn release(&mut self, mfn: u64, order: u32, freed: impl Fn(Word) -> Word) {
        let mut first_dirty = None;
        for i in 0..1u64 << order {
            if let Some(info) = self.frames.get(Mfn(mfn + i)) {
                let word = freed(info.word());
                if word.is_dirty() {
                    self.dirty += 1;
                    first_dirty = first_dirty.or(Some(i));
                }
                info.set_word(word);
            }
        }
        self.insert_merged(mfn, order, first_dirty);
    }

    fn insert_merged(&mut self, mut mfn: u64, mut order: u32, mut first_dirty: Option<u64>) {
        self.free += 1 << order;
        while order < MAX_ORDER {
            let buddy = mfn ^ (1 << order);
            if buddy == 0 || self.frames.word(Mfn(buddy)).free_order() != Some(order) {
                break;
            }
            let theirs = self.unlink(buddy as u32, order);
            let (lower, upper) = if buddy < mfn {
                (theirs, first_dirty)
            } else {
                (first_dirty, theirs)
            };
            first_dirty = lower.or(upper.map(|index| index + (1 << order)));
            mfn &= !(1 << order);
            order += 1;
        }
        self.link(mfn as u32, order, first_dirty);
    }

    fn link(&mut self, mfn: u32, order: u32, first_dirty: Option<u64>) {
        let zone = mfn.ilog2() as usize;
        let list = list_of(first_dirty);
        let next = self.heads[list][zone][order as usize];
        if let Some(info) = self.info(mfn) {
            info.set_word(info.word().free_head(order, first_dirty));
            set_links(info, NIL, next);
        }
        if let Some(info) = self.info(next) {
            set_links(info, mfn, links(info).1);
        }
        self.heads[list][zone][order as usize] = mfn;
        self.orders[list][zone] |= 1 << order;
    }

    /// Takes a block off its list; gives the first frame in it that may be dirty.
    fn unlink(&mut self, mfn: u32, order: u32) -> Option<u64> {
        let zone = mfn.ilog2() as usize;
        let info = self.info(mfn)?;
        let (prev, next) = links(info);
        let first_dirty = info.word().first_dirty();
        let list = list_of(first_dirty);
        info.set_word(info.word().free_member());
        if let Some(next) = self.info(next) {
            set_links(next, prev, links(next).1);
        }
        match self.info(prev) {
            Some(prev) => set_links(prev, links(prev).0, next),
            None => self.heads[list][zone][order as usize] = next,
        }
        if self.heads[list][zone][order as usize] == NIL {
            self.orders[list][zone] &= !(1 << order);
        }
        first_dirty
    }

    fn info(&self, mfn: u32) -> Option<&'a FrameInfo> {
        if mfn == NIL {
            None
        } else {
            self.frames.get(Mfn(mfn as u64))
        }
    }
}

fn list_of(first_dirty: Option<u64>) -> usize {
    if first_dirty.is_some() { DIRTY } else { CLEAN }
}

fn is_private(word: Word) -> bool {
    matches!(word, Word::PRIVATE | Word::UNSCRUBBED)
}

fn links(info: &FrameInfo) -> (u32, u32) {
    let aux = info.aux.load(Ordering::Relaxed);
    ((aux >> 32) as u32, aux as u32)
}

fn set_links(info: &FrameInfo, prev: u32, next: u32) {
    info.aux
        .store((prev as u64) << 32 | next as u64, Ordering::Relaxed);
}
