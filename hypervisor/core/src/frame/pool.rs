//! The free frames with what domains have claimed of them: a claim sets frames aside for a domain that is being built, so
//! that it either finds all its memory or is refused at once.
//!
//! Never more frames are claimed than are free. Who has no claim gets only the frames beyond all claims; who has one, those
//! and its own. Nothing here is ever promised twice.

use core::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use super::buddy::{Buddy, Dirty};
use super::word::FrameError;
use crate::units::Mfn;

/// The frames set aside for one domain. It changes only under the pool's lock.
#[derive(Debug, Default)]
pub struct Claim {
    left: AtomicU64,
    /// Not ended by the toolstack, even if nothing is left.
    is_open: AtomicBool,
}

impl Claim {
    /// How many frames are set aside still.
    pub fn pages(&self) -> u64 {
        self.left.load(Relaxed)
    }
}

/// Why a claim is refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ClaimError {
    /// There is a claim, or the number is not more than the domain has, or more than it may have.
    Invalid,
    /// There are not so many free frames beyond all claims.
    NoMemory,
}

/// Frames taken from the pool, which can be put back.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub struct Block {
    /// The first frame.
    pub mfn: Mfn,
    /// 2^order frames.
    pub order: u32,
    /// How many of them were claimed.
    claimed: u64,
}

/// What the pool has, in frames.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MemoryFigures {
    /// Free, the next two among them.
    pub free: u64,
    /// Not scrubbed yet.
    pub dirty: u64,
    /// Set aside for domains.
    pub claimed: u64,
}

/// The free frames of the machine.
#[derive(Debug)]
pub struct Pool<'a> {
    buddy: Buddy<'a>,
    claimed: u64,
    /// Frames that are out to be scrubbed. They are free, but not to be had this moment.
    scrubbing: u64,
}

impl<'a> Pool<'a> {
    /// A pool of what `buddy` has.
    pub const fn new(buddy: Buddy<'a>) -> Self {
        Pool {
            buddy,
            claimed: 0,
            scrubbing: 0,
        }
    }

    /// Adds RAM: see [`Buddy::add_range`].
    pub fn add_range(&mut self, start: Mfn, count: u64) {
        self.buddy.add_range(start, count);
    }

    /// What there is.
    pub const fn figures(&self) -> MemoryFigures {
        MemoryFigures {
            free: self.buddy.free_frames() + self.scrubbing,
            dirty: self.buddy.dirty_frames() + self.scrubbing,
            claimed: self.claimed,
        }
    }

    /// Takes 2^`order` frames below 2^`max_address_bits`: see [`Buddy::alloc`]. A claim is used up first.
    ///
    /// While [`Self::is_scrubbing`], what cannot be had now may be had soon.
    pub fn alloc(
        &mut self,
        order: u32,
        max_address_bits: u32,
        claim: Option<&Claim>,
    ) -> Option<Block> {
        let count = 1u64.checked_shl(order)?;
        let own = claim.map_or(0, Claim::pages);
        let others = self.claimed.saturating_sub(own);
        if count > self.figures().free.saturating_sub(others) {
            return None;
        }
        let mfn = self.buddy.alloc(order, max_address_bits)?;
        let claimed = count.min(own);
        if let Some(claim) = claim {
            claim.left.store(own - claimed, Relaxed);
            self.claimed -= claimed;
        }
        Some(Block {
            mfn,
            order,
            claimed,
        })
    }

    /// Gives back frames, dirty: see [`Buddy::free`].
    ///
    /// # Errors
    /// `Bug`.
    pub fn free(&mut self, mfn: Mfn, order: u32) -> Result<(), FrameError> {
        self.buddy.free(mfn, order)
    }

    /// Takes `nr` frames in a row that nobody has claimed, the first aligned to 2^`align_order` frames. Their contents are
    /// whatever was there.
    pub fn alloc_run(&mut self, nr: u64, align_order: u32) -> Option<Mfn> {
        let order = nr.checked_next_power_of_two()?.ilog2().max(align_order);
        let block = self.alloc(order, u64::BITS, None)?;
        // What is beyond the run was only just taken, so this cannot fail.
        for (mfn, order) in pieces(block.mfn.0 + nr, (1 << order) - nr) {
            self.buddy.put_back(mfn, order).ok()?;
        }
        Some(block.mfn)
    }

    /// Gives back a run of [`Self::alloc_run`].
    ///
    /// # Errors
    /// `Bug`: see [`Buddy::free`].
    pub fn free_run(&mut self, mfn: Mfn, nr: u64) -> Result<(), FrameError> {
        pieces(mfn.0, nr).try_for_each(|(mfn, order)| self.buddy.free(mfn, order))
    }

    /// Undoes [`Self::alloc`] with this claim; what was scrubbed meanwhile stays scrubbed.
    ///
    /// # Errors
    /// `Bug`: see [`Buddy::put_back`].
    pub fn put_back(&mut self, block: Block, claim: Option<&Claim>) -> Result<(), FrameError> {
        self.buddy.put_back(block.mfn, block.order)?;
        if let Some(claim) = claim.filter(|claim| claim.is_open.load(Relaxed)) {
            claim.left.fetch_add(block.claimed, Relaxed);
            self.claimed += block.claimed;
        }
        Ok(())
    }

    /// Whether some CPU holds free frames to scrub them.
    pub const fn is_scrubbing(&self) -> bool {
        self.scrubbing != 0
    }

    /// Takes dirty frames, to scrub them without the lock: see [`Buddy::take_dirty`].
    pub fn begin_scrub(&mut self) -> Dirty {
        let dirty = self.buddy.take_dirty();
        if let Dirty::Block(_, order) = dirty {
            self.scrubbing += 1 << order;
        }
        dirty
    }

    /// Puts back what [`Self::begin_scrub`] took.
    ///
    /// # Errors
    /// `Bug`: see [`Buddy::put_back`].
    pub fn end_scrub(&mut self, mfn: Mfn, order: u32) -> Result<(), FrameError> {
        self.buddy.put_back(mfn, order)?;
        self.scrubbing -= 1 << order;
        Ok(())
    }

    /// Sets frames aside so that a domain with `tot_pages`, which may have `max_pages`, can have `pages` in all; 0 ends
    /// its claim.
    ///
    /// # Errors
    /// See [`ClaimError`].
    /// # Source
    /// `public/memory.h`, XENMEM_claim_pages.
    pub fn claim(
        &mut self,
        claim: &Claim,
        pages: u64,
        tot_pages: u64,
        max_pages: u64,
    ) -> Result<(), ClaimError> {
        if pages == 0 {
            claim.is_open.store(false, Relaxed);
            self.claimed -= claim.left.swap(0, Relaxed);
            return Ok(());
        }
        if claim.pages() != 0 || pages <= tot_pages || pages > max_pages {
            return Err(ClaimError::Invalid);
        }
        let more = pages - tot_pages;
        if more > self.figures().free.saturating_sub(self.claimed) {
            return Err(ClaimError::NoMemory);
        }
        claim.left.store(more, Relaxed);
        claim.is_open.store(true, Relaxed);
        self.claimed += more;
        Ok(())
    }
}

/// The blocks that a run of frames consists of.
fn pieces(mut mfn: u64, mut nr: u64) -> impl Iterator<Item = (Mfn, u32)> {
    core::iter::from_fn(move || {
        let order = nr.checked_ilog2()?.min(mfn.trailing_zeros());
        let piece = (Mfn(mfn), order);
        mfn += 1 << order;
        nr -= 1 << order;
        Some(piece)
    })
}
