//! The word that decides about a frame: owner, references, type, type count and flags, in 64 bits.
//!
//! [`apply`] is the whole truth: a pure function from the old word and a request to the new word or a refusal. The
//! compare-exchange loop around it is [`update`]; nothing else changes a word.
//!
//! Every typed reference is also a general reference, and the domain's allocation holds one general reference, so
//! `refs >= type_count + allocated` always.

use core::fmt;
use core::sync::atomic::{AtomicU64, Ordering};

use crate::units::DomId;

const REFS_SHIFT: u32 = 0;
const REFS_MASK: u64 = (1 << 22) - 1;
const COUNT_SHIFT: u32 = 22;
const COUNT_MASK: u64 = ((1 << 20) - 1) << COUNT_SHIFT;
const TYPE_SHIFT: u32 = 42;
const TYPE_MASK: u64 = 7 << TYPE_SHIFT;
const PINNED: u64 = 1 << 45;
const VALIDATED: u64 = 1 << 46;
const PARTIAL: u64 = 1 << 47;
const ALLOCATED: u64 = 1 << 48;
const OWNER_SHIFT: u32 = 49;
const OWNER_MASK: u64 = 0x7fff << OWNER_SHIFT;

const ONE_REF: u64 = 1 << REFS_SHIFT;
const ONE_TYPED: u64 = ONE_REF + (1 << COUNT_SHIFT);

/// The most general references a frame can have; the next one is refused.
pub const MAX_REFS: u64 = REFS_MASK >> 1;
/// The most typed references a frame can have; the next one is refused.
pub const MAX_TYPE_COUNT: u64 = (COUNT_MASK >> COUNT_SHIFT) >> 1;

/// What a frame is used as. The numbers are the ABI's (`DOMCTL_PFINFO_LTAB` counts them so).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum FrameType {
    /// Nothing yet.
    None = 0,
    /// A validated level 1 page table.
    L1 = 1,
    /// A validated level 2 page table.
    L2 = 2,
    /// A validated level 3 page table.
    L3 = 3,
    /// A validated level 4 page table.
    L4 = 4,
    /// A page of a GDT or LDT.
    SegDesc = 5,
    /// Shared by the hypervisor, read-only for all (the M2P table).
    Shared = 6,
    /// Mapped writable, or written by the hypervisor for the guest.
    Writable = 7,
}

impl FrameType {
    const fn from_bits(bits: u64) -> Self {
        match bits & 7 {
            0 => FrameType::None,
            1 => FrameType::L1,
            2 => FrameType::L2,
            3 => FrameType::L3,
            4 => FrameType::L4,
            5 => FrameType::SegDesc,
            6 => FrameType::Shared,
            _ => FrameType::Writable,
        }
    }

    /// The level of a page-table type, 1 to 4.
    pub const fn level(self) -> Option<u32> {
        match self {
            FrameType::L1 => Some(1),
            FrameType::L2 => Some(2),
            FrameType::L3 => Some(3),
            FrameType::L4 => Some(4),
            _ => None,
        }
    }

    /// The type of a page table of `level`, 1 to 4.
    pub const fn table(level: u32) -> Option<Self> {
        match level {
            1 => Some(FrameType::L1),
            2 => Some(FrameType::L2),
            3 => Some(FrameType::L3),
            4 => Some(FrameType::L4),
            _ => None,
        }
    }

    /// Whether the contents are checked when the type is taken and stay checked until it ends.
    pub const fn is_checked(self) -> bool {
        matches!(
            self,
            FrameType::L1 | FrameType::L2 | FrameType::L3 | FrameType::L4 | FrameType::SegDesc
        )
    }
}

/// Why a request on a frame was refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FrameError {
    /// No such frame, another owner, or given back by its owner.
    NotOwned,
    /// The frame is in use as another type.
    TypeConflict,
    /// Too many references.
    Overflow,
    /// Its validation is not finished.
    Partial,
    /// This is the last use of a checked type: the contents have to be let go first.
    LastUse,
    /// Pinned already.
    AlreadyPinned,
    /// Not pinned.
    NotPinned,
    /// The domain's allocation was given back already.
    NotAllocated,
    /// A bug of the hypervisor: a reference was dropped that nobody held, or a state cannot be.
    Bug,
}

/// One frame's packed word.
///
/// The all-zero word is a frame of [`DomId::IO`] without references: no RAM. So a zeroed frame table is safe.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(transparent)]
pub struct Word(pub u64);

impl Word {
    /// A frame that is no RAM.
    pub const IO: Word = Word(0);
    /// A frame of the hypervisor's own: one reference, which no domain can add to.
    pub const PRIVATE: Word = Word(owner_bits(DomId::XEN) | ONE_REF);
    /// The same, with what its last owner left in it: until it is scrubbed it cannot become anyone's.
    pub const UNSCRUBBED: Word = Word::PRIVATE.with_type(FrameType::Writable);
    /// A free frame, scrubbed, that does not begin a free block.
    pub const FREE: Word = Word(owner_bits(DomId::INVALID));
    /// The same with what its last owner left in it.
    pub const FREE_DIRTY: Word = Word::FREE.with_type(FrameType::Writable);

    /// This free frame as the beginning of a free block of 2^`order` frames, of which those before `first_dirty` are
    /// scrubbed; all of them if there is none.
    pub(super) const fn free_head(self, order: u32, first_dirty: Option<u64>) -> Self {
        let dirty = match first_dirty {
            Some(index) => (index + 1) & REFS_MASK,
            None => 0,
        };
        Word(self.free_member().0 | ((order as u64 + 1) << COUNT_SHIFT) | dirty)
    }
    /// This free frame, not beginning a block.
    pub(super) const fn free_member(self) -> Self {
        Word(self.0 & !(COUNT_MASK | REFS_MASK))
    }
    /// The order of the free block that begins here.
    pub const fn free_order(self) -> Option<u32> {
        let count = (self.0 & COUNT_MASK) >> COUNT_SHIFT;
        if self.is_free() && count != 0 {
            Some(count as u32 - 1)
        } else {
            None
        }
    }
    /// In the free block that begins here, the first frame that may be dirty.
    pub(super) const fn first_dirty(self) -> Option<u64> {
        (self.0 & REFS_MASK).checked_sub(1)
    }
    /// Whether a free frame has yet to be scrubbed.
    pub const fn is_dirty(self) -> bool {
        self.is_free() && self.0 & TYPE_MASK != 0
    }
    /// Whether the frame is in the allocator.
    pub const fn is_free(self) -> bool {
        self.0 & OWNER_MASK == Self::FREE.0
    }
    /// Who owns the frame.
    #[inline]
    pub const fn owner(self) -> DomId {
        DomId(((self.0 >> OWNER_SHIFT) as u16) ^ DomId::IO.0)
    }
    /// General references, the typed ones among them.
    #[inline]
    pub const fn refs(self) -> u64 {
        self.0 & REFS_MASK
    }
    /// The current type; when the type count is 0, the last one.
    #[inline]
    pub const fn frame_type(self) -> FrameType {
        FrameType::from_bits(self.0 >> TYPE_SHIFT)
    }
    /// Typed references.
    #[inline]
    pub const fn type_count(self) -> u64 {
        (self.0 & COUNT_MASK) >> COUNT_SHIFT
    }
    /// Whether an explicit pin holds one typed reference.
    #[inline]
    pub const fn is_pinned(self) -> bool {
        self.0 & PINNED != 0
    }
    /// Whether the contents are checked and every present entry holds its reference.
    #[inline]
    pub const fn is_validated(self) -> bool {
        self.0 & VALIDATED != 0
    }
    /// Whether only a prefix of the entries holds references (`pvmmu/promote.rs`).
    #[inline]
    pub const fn is_partial(self) -> bool {
        self.0 & PARTIAL != 0
    }
    /// Whether the owner's allocation reference is held.
    #[inline]
    pub const fn is_allocated(self) -> bool {
        self.0 & ALLOCATED != 0
    }
    /// Whether this is no RAM: no references are counted for it.
    #[inline]
    pub const fn is_io(self) -> bool {
        self.0 & OWNER_MASK == 0
    }
    /// Whether `dom` owns the frame and has not given it back.
    #[inline]
    pub const fn is_held_by(self, dom: DomId) -> bool {
        self.0 & (OWNER_MASK | ALLOCATED) == owner_bits(dom) | ALLOCATED
    }
    /// Whether this is a checked page of type `t`, in use.
    #[inline]
    pub const fn is_valid_as(self, t: FrameType) -> bool {
        self.0 & (TYPE_MASK | VALIDATED) == ((t as u64) << TYPE_SHIFT) | VALIDATED
    }
    const fn with_type(self, t: FrameType) -> Self {
        Word(self.0 & !TYPE_MASK | (t as u64) << TYPE_SHIFT)
    }
    /// Whether the word breaks no rule that holds for words on their own.
    pub const fn is_sound(self) -> bool {
        if self.is_free() || self.is_io() {
            return self.is_free() || self.0 == 0;
        }
        let checked = self.frame_type().is_checked() && self.type_count() > 0;
        self.refs() >= self.type_count() + self.is_allocated() as u64
            && self.type_count() >= self.is_pinned() as u64
            && checked == (self.is_validated() || self.is_partial())
            && !(self.is_validated() && self.is_partial())
            && (!self.is_pinned() || self.is_validated())
            && !(self.is_partial() && self.type_count() != 1)
            && !(self.type_count() > 0 && matches!(self.frame_type(), FrameType::None))
    }
}

impl fmt::Debug for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_free() {
            let dirty = if self.is_dirty() { ", dirty" } else { "" };
            return write!(f, "free (order {:?}{dirty})", self.free_order());
        }
        write!(
            f,
            "d{} refs {} {:?} x{}",
            self.owner().0,
            self.refs(),
            self.frame_type(),
            self.type_count()
        )?;
        for (is, name) in [
            (self.is_pinned(), " pinned"),
            (self.is_validated(), " validated"),
            (self.is_partial(), " partial"),
            (self.is_allocated(), " allocated"),
        ] {
            if is {
                f.write_str(name)?;
            }
        }
        Ok(())
    }
}

const fn owner_bits(dom: DomId) -> u64 {
    (((dom.0 ^ DomId::IO.0) & 0x7fff) as u64) << OWNER_SHIFT
}

/// What can be asked of a word.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Request {
    /// One more general reference, if this domain owns the frame and has not given it back.
    GetRef(DomId),
    /// One general reference less. At 0 the frame is nobody's and must go to the allocator.
    PutRef,
    /// One more typed reference. The first of a checked type leaves the frame partial, to be validated.
    GetType(DomId, FrameType),
    /// One typed reference less, if that is not the last of a checked type.
    PutType,
    /// Validation is finished.
    Validated,
    /// The last use of a checked type ends: from now on partial.
    BeginEnd,
    /// The partial frame's entries are all let go: its last typed reference goes.
    End,
    /// The caller's typed reference becomes the pin's.
    Pin,
    /// The pin's typed reference becomes the caller's.
    Unpin,
    /// A frame private to the hypervisor is allocated to this domain.
    Assign(DomId),
    /// A frame private to the hypervisor is shared with this domain: allocated to it, and written by the hypervisor.
    Share(DomId),
    /// A frame private to the hypervisor may be mapped, read-only, by who names [`DomId::XEN`] as the owner.
    Publish,
    /// A frame that this domain has allocated, and that is in no use at all, becomes private to the hypervisor.
    Steal(DomId),
    /// The domain gives the frame back; it stays alive until the last reference goes.
    DropAllocation,
}

/// The new word, or why not.
///
/// The arithmetic wraps only to spare the hot paths a check that the ones before it make superfluous.
#[inline(always)]
pub fn apply(old: Word, request: Request) -> Result<Word, FrameError> {
    let w = old.0;
    match request {
        Request::GetRef(dom) => {
            if !old.is_held_by(dom) {
                return Err(FrameError::NotOwned);
            }
            if old.refs() >= MAX_REFS {
                return Err(FrameError::Overflow);
            }
            Ok(Word(w.wrapping_add(ONE_REF)))
        }
        Request::PutRef => {
            if old.refs() <= old.type_count() + old.is_allocated() as u64 || old.is_free() {
                return Err(FrameError::Bug);
            }
            Ok(Word(w.wrapping_sub(ONE_REF)))
        }
        Request::GetType(dom, t) => {
            if !old.is_held_by(dom) {
                return Err(FrameError::NotOwned);
            }
            if old.type_count() == 0 {
                if old.refs() >= MAX_REFS {
                    return Err(FrameError::Overflow);
                }
                let partial = if t.is_checked() { PARTIAL } else { 0 };
                return Ok(Word((old.with_type(t).0.wrapping_add(ONE_TYPED)) | partial));
            }
            if old.frame_type() != t {
                return Err(FrameError::TypeConflict);
            }
            if old.is_partial() {
                return Err(FrameError::Partial);
            }
            if old.refs() >= MAX_REFS || old.type_count() >= MAX_TYPE_COUNT {
                return Err(FrameError::Overflow);
            }
            Ok(Word(w.wrapping_add(ONE_TYPED)))
        }
        Request::PutType => {
            if old.type_count() <= old.is_pinned() as u64
                || old.refs() == 0
                || old.is_free()
                || old.is_partial()
            {
                return Err(FrameError::Bug);
            }
            if old.type_count() == 1 && old.is_validated() {
                return Err(FrameError::LastUse);
            }
            Ok(Word(w.wrapping_sub(ONE_TYPED)))
        }
        Request::Validated => {
            if !old.is_partial() {
                return Err(FrameError::Bug);
            }
            Ok(Word(w & !PARTIAL | VALIDATED))
        }
        Request::BeginEnd => {
            if !old.is_validated() || old.type_count() != 1 || old.is_pinned() {
                return Err(FrameError::Bug);
            }
            Ok(Word(w & !VALIDATED | PARTIAL))
        }
        Request::End => {
            if !old.is_partial() || old.type_count() != 1 {
                return Err(FrameError::Bug);
            }
            Ok(Word(w.wrapping_sub(ONE_TYPED) & !PARTIAL))
        }
        Request::Pin => {
            if old.is_pinned() {
                return Err(FrameError::AlreadyPinned);
            }
            if !old.is_validated() || old.frame_type().level().is_none() {
                return Err(FrameError::Bug);
            }
            Ok(Word(w | PINNED))
        }
        Request::Unpin => {
            if !old.is_pinned() {
                return Err(FrameError::NotPinned);
            }
            Ok(Word(w & !PINNED))
        }
        Request::Assign(dom) => private(old).map(|()| Word(owner_bits(dom) | ALLOCATED | ONE_REF)),
        Request::Share(dom) => private(old).map(|()| {
            Word(
                Word(owner_bits(dom) | ALLOCATED | ONE_REF)
                    .with_type(FrameType::Writable)
                    .0
                    + ONE_TYPED,
            )
        }),
        Request::Publish => private(old).map(|()| {
            Word(
                Word(owner_bits(DomId::XEN) | ALLOCATED | ONE_REF)
                    .with_type(FrameType::Shared)
                    .0
                    + ONE_TYPED,
            )
        }),
        Request::Steal(dom) => {
            if !old.is_held_by(dom) {
                return Err(FrameError::NotOwned);
            }
            if old.refs() != 1 {
                return Err(FrameError::TypeConflict);
            }
            Ok(Word::PRIVATE)
        }
        Request::DropAllocation => {
            if !old.is_allocated() {
                return Err(FrameError::NotAllocated);
            }
            if old.refs() <= old.type_count() {
                return Err(FrameError::Bug);
            }
            Ok(Word(w.wrapping_sub(ONE_REF) & !ALLOCATED))
        }
    }
}

fn private(old: Word) -> Result<(), FrameError> {
    if old == Word::PRIVATE {
        Ok(())
    } else {
        Err(FrameError::Bug)
    }
}

/// What the compare-exchange loop needs of an atomic word; loom's and core's both have it.
pub trait Word64 {
    /// Reads, with acquire ordering.
    fn load(&self) -> u64;
    /// Replaces `old` by `new`, with acquire-release ordering, or says what is there instead.
    fn compare_exchange(&self, old: u64, new: u64) -> Result<u64, u64>;
}

impl Word64 for AtomicU64 {
    #[inline(always)]
    fn load(&self) -> u64 {
        AtomicU64::load(self, Ordering::Acquire)
    }
    #[inline(always)]
    fn compare_exchange(&self, old: u64, new: u64) -> Result<u64, u64> {
        AtomicU64::compare_exchange(self, old, new, Ordering::AcqRel, Ordering::Acquire)
    }
}

/// Applies `request` to a shared word; returns the word before and after.
///
/// `before_change` is called with each word that is about to be replaced, while the caller's own reference still keeps
/// the frame as it is (a TLB stamp is stored there).
///
/// # Errors
/// Those of [`apply`]; the word is then unchanged.
#[inline(always)]
pub fn update<W: Word64>(
    word: &W,
    request: Request,
    before_change: impl Fn(Word),
) -> Result<(Word, Word), FrameError> {
    let mut old = word.load();
    loop {
        let new = apply(Word(old), request)?;
        before_change(Word(old));
        match word.compare_exchange(old, new.0) {
            Ok(_) => return Ok((Word(old), new)),
            Err(seen) => old = seen,
        }
    }
}
