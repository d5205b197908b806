//! The table of all frames: 16 bytes for each, found by mfn.

use core::sync::atomic::{AtomicU64, Ordering};

use super::word::{FrameError, FrameType, Request, Word, update};
use crate::units::{DomId, Mfn};

const STAMP_BITS: u32 = 40;
const STAMP_MASK: u64 = (1 << STAMP_BITS) - 1;
const INDEX_SHIFT: u32 = STAMP_BITS;
const INDEX_MASK: u64 = 0x3ff;
const CHILD: u64 = 1 << 50;
const OWNED: u64 = 1 << 51;

/// How far the validation of a partial table came, in either direction.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Progress {
    /// Entries `0..index` hold their references; 0 to 512.
    pub index: u16,
    /// Entry `index` as well: it names a table which may itself be partial.
    pub child: bool,
    /// The typed reference of this partial table is held by the `child` entry of a partial table one level up.
    pub owned: bool,
}

/// What taking a typed reference asks of the taker.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub struct Taken {
    /// Translations used by the owner's CPUs up to this clock value are stale: flush them before anything else.
    pub flush: Option<u64>,
    /// The frame is partial now, without progress: validate it.
    pub validate: bool,
}

/// What remains of a frame after a reference was dropped.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub enum Put {
    /// Others hold it.
    Held,
    /// That was the last reference: the frame belongs to nobody and must go to the allocator.
    Freed,
}

/// All the hypervisor keeps about one frame.
#[derive(Debug, Default)]
#[repr(C)]
pub struct FrameInfo {
    word: AtomicU64,
    /// In use: TLB stamp (40 bits) and [`Progress`] (24 bits). Free: the links of the free list.
    pub(super) aux: AtomicU64,
}

const _: () = assert!(size_of::<FrameInfo>() == 16);

impl FrameInfo {
    /// A frame that is no RAM; the same as 16 zero bytes.
    pub const fn new() -> Self {
        FrameInfo {
            word: AtomicU64::new(0),
            aux: AtomicU64::new(0),
        }
    }

    /// The word as it is now.
    #[inline(always)]
    pub fn word(&self) -> Word {
        Word(self.word.load(Ordering::Acquire))
    }

    /// Sets the word without regard to what it was: for boot and for the allocator, which alone knows the frame.
    pub(super) fn set_word(&self, word: Word) {
        self.word.store(word.0, Ordering::Release);
    }

    /// Says that a frame from the allocator no longer has what its last owner left in it: it was overwritten, or that is
    /// no secret from the next owner.
    pub fn set_scrubbed(&self) {
        // The allocator's caller alone knows the frame.
        if self.word() == Word::UNSCRUBBED {
            self.set_word(Word::PRIVATE);
        }
    }

    #[inline(always)]
    fn request(&self, request: Request) -> Result<(Word, Word), FrameError> {
        update(&self.word, request, |_| ())
    }

    /// Takes a general reference on a frame that `owner` owns and has not given back.
    ///
    /// # Errors
    /// `NotOwned`, `Overflow`.
    #[inline(always)]
    pub fn get_ref(&self, owner: DomId) -> Result<(), FrameError> {
        self.request(Request::GetRef(owner)).map(|_| ())
    }

    /// Drops a general reference.
    ///
    /// # Errors
    /// `Bug`: the caller held none.
    #[inline(always)]
    pub fn put_ref(&self) -> Result<Put, FrameError> {
        self.request(Request::PutRef).map(put)
    }

    /// Takes a typed reference, which is a general one as well, in one step.
    ///
    /// # Errors
    /// `NotOwned`, `TypeConflict`, `Overflow`, `Partial`.
    #[inline(always)]
    pub fn get_type(&self, owner: DomId, t: FrameType) -> Result<Taken, FrameError> {
        let (old, new) = self.request(Request::GetType(owner, t))?;
        let changed = old.type_count() == 0
            && !matches!(old.frame_type(), FrameType::None)
            && old.frame_type() != t;
        let flush = changed.then(|| self.stamp());
        let validate = new.is_partial();
        if validate {
            self.set_progress(Progress::default());
        }
        Ok(Taken { flush, validate })
    }

    /// Drops a typed reference. When it is the last one, `now` gives the stamp of the type's end.
    ///
    /// # Errors
    /// `LastUse`: of a checked type; nothing is changed. `Bug`: the caller held none.
    #[inline(always)]
    pub fn put_type(&self, now: impl Fn() -> u64) -> Result<Put, FrameError> {
        update(&self.word, Request::PutType, |old| {
            // Of a writable frame every end is stamped, not just the last: two that race may end in either order, and the
            // later time must stand.
            if !old.is_validated() {
                self.raise_stamp(now());
            }
        })
        .map(put)
    }

    /// Says that a partial frame's contents are valid.
    ///
    /// # Errors
    /// `Bug`: it was not partial.
    pub fn set_validated(&self) -> Result<(), FrameError> {
        self.request(Request::Validated).map(|_| ())
    }

    /// Makes the validated frame of the caller's last typed reference partial, with all entries still held.
    ///
    /// # Errors
    /// `Bug`: this was not the last typed reference, or the frame is pinned.
    pub fn begin_end(&self) -> Result<(), FrameError> {
        self.request(Request::BeginEnd).map(|_| ())
    }

    /// Drops the typed reference of a partial frame whose entries are all let go.
    ///
    /// # Errors
    /// `Bug`: it was not partial.
    pub fn end_type(&self, now: u64) -> Result<Put, FrameError> {
        update(&self.word, Request::End, |_| {
            self.aux.store(now & STAMP_MASK, Ordering::Relaxed)
        })
        .map(put)
    }

    /// Turns the caller's typed reference into the pin's.
    ///
    /// # Errors
    /// `AlreadyPinned`.
    pub fn pin(&self) -> Result<(), FrameError> {
        self.request(Request::Pin).map(|_| ())
    }

    /// Turns the pin's typed reference into the caller's.
    ///
    /// # Errors
    /// `NotPinned`.
    pub fn unpin(&self) -> Result<(), FrameError> {
        self.request(Request::Unpin).map(|_| ())
    }

    /// Gives a frame of the hypervisor to `owner`, which holds the allocation reference from now on.
    ///
    /// # Errors
    /// `Bug`: the frame was not private to the hypervisor (as the allocator hands them out).
    pub fn assign(&self, owner: DomId) -> Result<(), FrameError> {
        self.aux.store(0, Ordering::Relaxed);
        self.request(Request::Assign(owner)).map(|_| ())
    }

    /// Takes a frame that `owner` does not use from it, contents and all: private to the hypervisor then, as before
    /// [`Self::assign`]. Translations that the owner's CPUs have of it are the caller's to flush.
    ///
    /// # Errors
    /// `NotOwned`. `TypeConflict`: it is in use.
    pub fn steal(&self, owner: DomId) -> Result<(), FrameError> {
        self.request(Request::Steal(owner)).map(|_| ())
    }

    /// Shares a frame of the hypervisor with `owner`: it may map it, even writable, and the hypervisor keeps a typed
    /// reference (shared_info, grant tables). To end it: [`Self::drop_allocation`], then [`Self::put_type`].
    ///
    /// # Errors
    /// `Bug`: the frame was not private to the hypervisor.
    pub fn share(&self, owner: DomId) -> Result<(), FrameError> {
        self.aux.store(0, Ordering::Relaxed);
        self.request(Request::Share(owner)).map(|_| ())
    }

    /// Lets whoever may name [`DomId::XEN`] map a frame of the hypervisor read-only, for ever (M2P table).
    ///
    /// # Errors
    /// `Bug`: the frame was not private to the hypervisor.
    pub fn publish(&self) -> Result<(), FrameError> {
        self.aux.store(0, Ordering::Relaxed);
        self.request(Request::Publish).map(|_| ())
    }

    /// Drops the allocation reference: no new references can be taken, and the frame is freed when the last one goes.
    ///
    /// # Errors
    /// `NotAllocated`: done before.
    pub fn drop_allocation(&self) -> Result<Put, FrameError> {
        self.request(Request::DropAllocation).map(put)
    }

    /// When the last use of the current or last type ended, by the TLB clock.
    #[inline]
    pub fn stamp(&self) -> u64 {
        self.aux.load(Ordering::Relaxed) & STAMP_MASK
    }

    #[inline]
    fn raise_stamp(&self, now: u64) {
        let now = now & STAMP_MASK;
        if self.stamp() < now {
            // A frame of this type is not partial, so the stamp is all there is in the word.
            self.aux.fetch_max(now, Ordering::SeqCst);
        }
    }

    /// How far a partial frame is validated. Meaningful under the owner's page-table lock only.
    pub fn progress(&self) -> Progress {
        let aux = self.aux.load(Ordering::Relaxed);
        Progress {
            index: ((aux >> INDEX_SHIFT) & INDEX_MASK) as u16,
            child: aux & CHILD != 0,
            owned: aux & OWNED != 0,
        }
    }

    /// Stores how far a partial frame is validated. Under the owner's page-table lock only.
    pub fn set_progress(&self, p: Progress) {
        let flags = if p.child { CHILD } else { 0 } | if p.owned { OWNED } else { 0 };
        let index = (p.index as u64 & INDEX_MASK) << INDEX_SHIFT;
        self.aux
            .store(self.stamp() | index | flags, Ordering::Relaxed);
    }
}

#[inline(always)]
fn put((_, new): (Word, Word)) -> Put {
    if new.refs() == 0 {
        Put::Freed
    } else {
        Put::Held
    }
}

/// Every frame of the machine, by mfn.
#[derive(Clone, Copy, Debug)]
pub struct FrameTable<'a> {
    frames: &'a [FrameInfo],
}

impl<'a> FrameTable<'a> {
    /// A table over `frames`; frame 0 is the first.
    pub const fn new(frames: &'a [FrameInfo]) -> Self {
        FrameTable { frames }
    }

    /// How many frames the table covers; a higher mfn is no RAM.
    pub const fn len(self) -> u64 {
        self.frames.len() as u64
    }

    /// Whether the table covers no frame at all.
    pub const fn is_empty(self) -> bool {
        self.frames.is_empty()
    }

    /// The entry of `mfn`, if there is one.
    #[inline(always)]
    pub fn get(self, mfn: Mfn) -> Option<&'a FrameInfo> {
        self.frames.get(mfn.0 as usize)
    }

    /// How many of the `most` frames from `mfn` on, or of fewer at the table's end, come before the first that `owner` owns.
    #[inline]
    pub fn run_of_others(self, mfn: Mfn, owner: DomId, most: u64) -> u64 {
        let rest = self.frames.get(mfn.0 as usize..).unwrap_or_default();
        let rest = rest.get(..most as usize).unwrap_or(rest);
        let own = rest.iter().position(|info| info.word().owner() == owner);
        own.unwrap_or(rest.len()) as u64
    }

    /// The word of `mfn`; beyond the table, that of a frame which is no RAM.
    #[inline(always)]
    pub fn word(self, mfn: Mfn) -> Word {
        self.get(mfn).map_or(Word::IO, FrameInfo::word)
    }

    /// Marks RAM that the hypervisor uses itself: its image, this table, boot modules. Boot only.
    ///
    /// Returns `None` when the table does not cover the frame.
    pub fn reserve(self, mfn: Mfn) -> Option<()> {
        self.get(mfn)?.set_word(Word::PRIVATE);
        Some(())
    }
}
