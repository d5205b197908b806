//! The allocator of machine frames: free blocks of 2^order frames, merged with their buddies when both are free.
//!
//! Free lists are doubly linked through the frame table itself. They are kept apart by the highest bit of the mfn
//! ("zone"), so that an allocation below an address limit is as quick as any other and high memory is used first.
//! The caller locks, and scrubs a frame before its owner changes: this room never sees the contents.

use core::sync::atomic::Ordering;

use super::table::{FrameInfo, FrameTable};
use super::word::{FrameError, Word};
use crate::units::{Mfn, PAGE_SHIFT};

/// The largest block is 2^18 frames, 1 GiB.
pub const MAX_ORDER: u32 = 18;
const ORDERS: usize = MAX_ORDER as usize + 1;
const ZONES: usize = 32;
const NIL: u32 = u32::MAX;

/// The free frames of the machine.
#[derive(Debug)]
pub struct Buddy<'a> {
    frames: FrameTable<'a>,
    heads: [[u32; ORDERS]; ZONES],
    /// Per zone, a bit for every order that has a free block.
    orders: [u32; ZONES],
    free: u64,
}

impl<'a> Buddy<'a> {
    /// An allocator over `frames` that has nothing yet.
    pub const fn new(frames: FrameTable<'a>) -> Self {
        Buddy {
            frames,
            heads: [[NIL; ORDERS]; ZONES],
            orders: [0; ZONES],
            free: 0,
        }
    }

    /// How many frames are free.
    pub const fn free_frames(&self) -> u64 {
        self.free
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
            for i in mfn..mfn + (1 << order) {
                if let Some(info) = self.frames.get(Mfn(i)) {
                    info.set_word(Word::FREE);
                }
            }
            self.insert_merged(mfn, order);
            mfn += 1 << order;
        }
    }

    /// Takes 2^`order` frames below 2^`max_address_bits`, aligned to their size, private to the hypervisor.
    ///
    /// The contents are whatever was scrubbed or written last.
    pub fn alloc(&mut self, order: u32, max_address_bits: u32) -> Option<Mfn> {
        let zones = (max_address_bits.checked_sub(PAGE_SHIFT)? as usize).min(ZONES);
        let zone = (0..zones)
            .rev()
            .find(|z| self.orders[*z].checked_shr(order).unwrap_or(0) != 0)?;
        let found = order + (self.orders[zone] >> order).trailing_zeros();
        let head = self.heads[zone][found as usize];
        self.unlink(head, found);
        // Give back the upper halves until the block has the size that was asked for.
        for half in (order..found).rev() {
            self.link(head + (1 << half), half);
        }
        for i in 0..1u64 << order {
            if let Some(info) = self.frames.get(Mfn(head as u64 + i)) {
                info.set_word(Word::PRIVATE);
                info.aux.store(0, Ordering::Relaxed);
            }
        }
        self.free -= 1 << order;
        Some(Mfn(head as u64))
    }

    /// Gives back 2^`order` frames: private to the hypervisor, or freed by their last reference.
    ///
    /// # Errors
    /// `Bug`, and nothing is changed: some frame is in use, free already, or no RAM.
    pub fn free(&mut self, mfn: Mfn, order: u32) -> Result<(), FrameError> {
        if order > MAX_ORDER || mfn.0 == 0 || mfn.0 & ((1 << order) - 1) != 0 || mfn.0 >= NIL as u64
        {
            return Err(FrameError::Bug);
        }
        for i in 0..1 << order {
            let word = self.frames.word(Mfn(mfn.0 + i));
            let unused =
                word == Word::PRIVATE || (word.refs() == 0 && !word.is_io() && !word.is_free());
            if !unused {
                return Err(FrameError::Bug);
            }
        }
        for i in 0..1 << order {
            if let Some(info) = self.frames.get(Mfn(mfn.0 + i)) {
                info.set_word(Word::FREE);
            }
        }
        self.insert_merged(mfn.0, order);
        Ok(())
    }

    fn insert_merged(&mut self, mut mfn: u64, mut order: u32) {
        self.free += 1 << order;
        while order < MAX_ORDER {
            let buddy = mfn ^ (1 << order);
            if buddy == 0 || self.frames.word(Mfn(buddy)).free_order() != Some(order) {
                break;
            }
            self.unlink(buddy as u32, order);
            mfn &= !(1 << order);
            order += 1;
        }
        self.link(mfn as u32, order);
    }

    fn link(&mut self, mfn: u32, order: u32) {
        let zone = mfn.ilog2() as usize;
        let next = self.heads[zone][order as usize];
        if let Some(info) = self.info(mfn) {
            info.set_word(Word::free_head(order));
            set_links(info, NIL, next);
        }
        if let Some(info) = self.info(next) {
            set_links(info, mfn, links(info).1);
        }
        self.heads[zone][order as usize] = mfn;
        self.orders[zone] |= 1 << order;
    }

    fn unlink(&mut self, mfn: u32, order: u32) {
        let zone = mfn.ilog2() as usize;
        let Some(info) = self.info(mfn) else { return };
        let (prev, next) = links(info);
        info.set_word(Word::FREE);
        if let Some(next) = self.info(next) {
            set_links(next, prev, links(next).1);
        }
        match self.info(prev) {
            Some(prev) => set_links(prev, links(prev).0, next),
            None => self.heads[zone][order as usize] = next,
        }
        if self.heads[zone][order as usize] == NIL {
            self.orders[zone] &= !(1 << order);
        }
    }

    fn info(&self, mfn: u32) -> Option<&'a FrameInfo> {
        if mfn == NIL {
            None
        } else {
            self.frames.get(Mfn(mfn as u64))
        }
    }
}

fn links(info: &FrameInfo) -> (u32, u32) {
    let aux = info.aux.load(Ordering::Relaxed);
    ((aux >> 32) as u32, aux as u32)
}

fn set_links(info: &FrameInfo, prev: u32, next: u32) {
    info.aux
        .store((prev as u64) << 32 | next as u64, Ordering::Relaxed);
}
