//! Changes of single entries: `mmu_update`, `update_va_mapping`, trapped stores, and grants' mappings.
//!
//! Always in this order: check and take the new reference, write, drop the old one.

use super::entry::{A, D, L1_FAST, P, PAT, RW, TABLE_FAST, adjust_l1, adjust_table, frame_of};
use super::{DomainMm, MmuError, MmuHost};
use crate::frame::{FrameType, Word};
use crate::units::{DomId, Mfn, PTES_PER_TABLE};

/// `public/xen.h`, MMU_NORMAL_PT_UPDATE.
pub const MMU_NORMAL_PT_UPDATE: u64 = 0;
/// `public/xen.h`, MMU_MACHPHYS_UPDATE.
pub const MMU_MACHPHYS_UPDATE: u64 = 1;
/// `public/xen.h`, MMU_PT_UPDATE_PRESERVE_AD.
pub const MMU_PT_UPDATE_PRESERVE_AD: u64 = 2;
/// `public/xen.h`, MMU_PT_UPDATE_NO_TRANSLATE.
pub const MMU_PT_UPDATE_NO_TRANSLATE: u64 = 3;

/// An entry of a valid level 1 table of the domain.
///
/// Good as long as the domain's lock is held and no operation on tables of level 2 and up came between.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct L1Slot {
    table: Mfn,
    index: u16,
}

impl L1Slot {
    /// The table.
    pub fn table(self) -> Mfn {
        self.table
    }

    /// The entry's index, below 512.
    pub fn index(self) -> usize {
        self.index as usize
    }
}

/// How a trapped store stores.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum StoreKind {
    /// Unconditionally (`mov`, and `xchg` with the old value).
    Write,
    /// Only if the bytes are these (`cmpxchg`, and the loop of any locked read-modify-write).
    Cmpxchg {
        /// What the bytes must be.
        expected: u64,
    },
}

/// What a trapped store did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stored {
    /// The bytes as they were, as the guest sees them.
    pub old: u64,
    /// Whether they were replaced.
    pub stored: bool,
}

impl<H: MmuHost> DomainMm<'_, H> {
    /// Carries out one request of `mmu_update`: `ptr` and `val` as in `struct mmu_update`, `fd` the owner of the data frame.
    ///
    /// This domain is the owner of the table; that the caller may touch both domains has been checked.
    ///
    /// # Errors
    /// `Again`; otherwise nothing is changed.
    /// # Source
    /// `public/xen.h`, HYPERVISOR_mmu_update.
    #[inline]
    pub fn mmu_update(&mut self, ptr: u64, val: u64, fd: DomId) -> Result<(), MmuError> {
        self.begin()?;
        let mfn = Mfn(ptr >> 12);
        if ptr & 4 != 0 {
            return Err(MmuError::BadCommand);
        }
        let index = (ptr as usize >> 3) % PTES_PER_TABLE;
        let preserve = match ptr & 3 {
            MMU_MACHPHYS_UPDATE => return self.machphys_update(mfn, val, fd),
            command => command == MMU_PT_UPDATE_PRESERVE_AD,
        };
        let word = self.refs.info(mfn)?.word();
        if self.is_own_l1(word) {
            return self.set_l1(mfn, index, val, fd, preserve);
        }
        self.update_other(mfn, word, index, val, preserve)
    }

    /// Replaces the level 1 entry that maps `va` in the tables under `l4`.
    ///
    /// # Errors
    /// `NotMapped`: there is no level 1 table for it. Otherwise as for [`Self::mmu_update`].
    /// # Source
    /// `public/xen.h`, HYPERVISOR_update_va_mapping.
    #[inline]
    pub fn update_va_mapping(
        &mut self,
        l4: Mfn,
        va: u64,
        val: u64,
        fd: DomId,
    ) -> Result<(), MmuError> {
        self.begin()?;
        let slot = self.walk(l4, va)?;
        self.set_l1(slot.table, slot.index(), val, fd, false)
    }

    /// The level 1 entry for `va` in the tables under `l4`, a valid level 4 table of this domain.
    ///
    /// # Errors
    /// `NotMapped`: there is none; the hypervisor's addresses and non-canonical ones have none.
    #[inline]
    pub fn walk(&self, l4: Mfn, va: u64) -> Result<L1Slot, MmuError> {
        let index = |level: u32| (va >> (12 + 9 * (level - 1))) as usize % PTES_PER_TABLE;
        let canonical = ((va << 16) as i64 >> 16) as u64 == va;
        let word = self.refs.info(l4)?.word();
        if !canonical || Self::check_slot(4, index(4)).is_err() || !word.is_valid_as(FrameType::L4)
        {
            return Err(MmuError::NotMapped);
        }
        let mut table = l4;
        for level in [4, 3, 2] {
            let entry = self.host().read(table, index(level));
            if entry & P == 0 {
                return Err(MmuError::NotMapped);
            }
            table = frame_of(entry);
        }
        Ok(L1Slot {
            table,
            index: index(1) as u16,
        })
    }

    /// The entry of `table` that lies at byte `offset`, if `table` is a valid level 1 table of this domain.
    ///
    /// # Errors
    /// `NotOwned`: it is not. `BadArgument`: the offset is not that of an entry.
    #[inline]
    pub fn l1_slot(&self, table: Mfn, offset: usize) -> Result<L1Slot, MmuError> {
        if !self.is_own_l1(self.refs.info(table)?.word()) {
            return Err(MmuError::NotOwned);
        }
        if !offset.is_multiple_of(8) || offset / 8 >= PTES_PER_TABLE {
            return Err(MmuError::BadArgument);
        }
        Ok(L1Slot {
            table,
            index: (offset / 8) as u16,
        })
    }

    /// The entry in `slot` as it stands.
    #[inline]
    pub fn read_l1_entry(&self, slot: L1Slot) -> u64 {
        self.host().read(slot.table, slot.index())
    }

    /// Replaces the entry in `slot` by the guest's `val`, which maps a frame of `fd`.
    ///
    /// # Errors
    /// As for [`Self::mmu_update`].
    #[inline]
    pub fn set_l1_entry(&mut self, slot: L1Slot, val: u64, fd: DomId) -> Result<(), MmuError> {
        self.set_l1(slot.table, slot.index(), val, fd, false)
    }

    /// Puts a present entry for a frame into `slot` whose reference (writable iff the entry is) the caller holds and gives
    /// to the entry; the old entry's reference is dropped. For grant mappings.
    ///
    /// Returns the entry as it stands.
    pub fn install_l1_entry(&mut self, slot: L1Slot, val: u64) -> u64 {
        let old = self.host().read(slot.table, slot.index());
        let new = adjust_l1(val);
        self.host().write(slot.table, slot.index(), new);
        if old & P != 0 {
            self.leaf_put(old);
        }
        new
    }

    /// Clears `slot`, if its entry maps `frame`, and writable iff `writable`; the entry's reference is the caller's then,
    /// to be dropped after this domain's caches are flushed. For grant unmapping.
    ///
    /// # Errors
    /// `NotMapped`: the entry is another.
    pub fn take_l1_entry(
        &mut self,
        slot: L1Slot,
        frame: Mfn,
        writable: bool,
    ) -> Result<(), MmuError> {
        let entry = self.host().read(slot.table, slot.index());
        if entry & P == 0 || frame_of(entry) != frame || (entry & RW != 0) != writable {
            return Err(MmuError::NotMapped);
        }
        self.host().write(slot.table, slot.index(), 0);
        Ok(())
    }

    /// A store by the guest's kernel to its read-only mapped level 1 table `table`: `size` bytes, naturally aligned, at byte
    /// `offset` of the page.
    ///
    /// # Errors
    /// `NotOwned`: not a level 1 table of this domain. `BadArgument`: not an aligned store. Otherwise the new entry may
    /// not stand, and the fault is the guest's.
    #[inline]
    pub fn emulated_store(
        &mut self,
        table: Mfn,
        offset: usize,
        size: usize,
        kind: StoreKind,
        value: u64,
    ) -> Result<Stored, MmuError> {
        self.begin()?;
        let slot = self.l1_slot(table, offset & !7)?;
        if !matches!(size, 1 | 2 | 4 | 8) || !offset.is_multiple_of(size) {
            return Err(MmuError::BadArgument);
        }
        let shift = (offset % 8 * 8) as u32;
        let bytes = if size == 8 {
            u64::MAX
        } else {
            (1 << (size * 8)) - 1
        };
        let mut old = self.host().read(table, slot.index());
        // The CPU may set A and D between our read and our write, so at most three turns.
        loop {
            let old_bytes = (old >> shift) & bytes;
            if let StoreKind::Cmpxchg { expected } = kind
                && expected & bytes != old_bytes
            {
                return Ok(Stored {
                    old: old_bytes,
                    stored: false,
                });
            }
            let merged = (old & !(bytes << shift)) | (value & bytes) << shift;
            match self.cmpxchg_l1(slot, old, merged)? {
                Ok(()) => {
                    return Ok(Stored {
                        old: old_bytes,
                        stored: true,
                    });
                }
                Err(seen) => old = seen,
            }
        }
    }

    /// Whether `mfn` is a valid level 1 table of this domain: whether a write fault may be a store to emulate.
    #[inline]
    pub fn is_l1_table(&self, mfn: Mfn) -> bool {
        self.is_own_l1(self.refs.frames.word(mfn))
    }

    #[inline(always)]
    fn is_own_l1(&self, word: Word) -> bool {
        word.is_valid_as(FrameType::L1) && word.owner() == self.state.domain
    }

    /// Replaces a level 1 entry; the heart of every hot path.
    #[inline(always)]
    fn set_l1(
        &mut self,
        table: Mfn,
        index: usize,
        val: u64,
        fd: DomId,
        preserve: bool,
    ) -> Result<(), MmuError> {
        let old = self.host().read(table, index);
        let mut new = adjust_l1(val);
        if new & P != 0 {
            if old & P != 0 && (old ^ new) & !L1_FAST == 0 {
                self.store(table, index, old, new, preserve);
                return Ok(());
            }
            new = self.leaf_get(new, fd)?;
        }
        self.store(table, index, old, new, preserve);
        if old & P != 0 {
            self.leaf_put(old);
        }
        Ok(())
    }

    /// As [`Self::set_l1`], but only if the entry is `old`; else says what it is.
    #[inline(always)]
    fn cmpxchg_l1(
        &mut self,
        slot: L1Slot,
        old: u64,
        val: u64,
    ) -> Result<Result<(), u64>, MmuError> {
        let (table, index) = (slot.table, slot.index());
        let mut new = adjust_l1(val);
        let same_frame = new & P != 0 && old & P != 0 && (old ^ new) & !L1_FAST == 0;
        if new & P != 0 && !same_frame {
            new = self.leaf_get(new, self.state.domain)?;
        }
        let swapped = self.host().cmpxchg(table, index, old, new);
        // One of the two entries no longer stands, unless both hold the same reference.
        let dropped = if swapped.is_ok() { old } else { new };
        if dropped & P != 0 && !same_frame {
            self.leaf_put(dropped);
        }
        Ok(swapped.map(|_| ()))
    }

    #[inline(always)]
    fn store(&self, table: Mfn, index: usize, old: u64, new: u64, preserve: bool) {
        if preserve {
            self.store_preserving(table, index, old, new)
        } else {
            self.host().write(table, index, new)
        }
    }

    fn store_preserving(&self, table: Mfn, index: usize, mut old: u64, new: u64) {
        while let Err(seen) = self.host().cmpxchg(table, index, old, new | old & (A | D)) {
            old = seen;
        }
    }

    #[cold]
    fn update_other(
        &mut self,
        mfn: Mfn,
        word: Word,
        index: usize,
        val: u64,
        preserve: bool,
    ) -> Result<(), MmuError> {
        let domain = self.state.domain;
        if word.owner() != domain {
            return Err(MmuError::NotOwned);
        }
        match word.frame_type().level() {
            Some(level) if word.is_validated() => {
                self.set_table_entry(mfn, level, index, val, preserve)
            }
            _ => self.refs.write_plain(mfn, domain, index, val),
        }
    }

    /// Replaces an entry of a valid table of level 2 to 4.
    fn set_table_entry(
        &mut self,
        table: Mfn,
        level: u32,
        index: usize,
        val: u64,
        preserve: bool,
    ) -> Result<(), MmuError> {
        Self::check_slot(level, index)?;
        let old = self.host().read(table, index);
        let mut new = val;
        if val & P != 0 {
            new = adjust_table(level, val)?;
            if old & P != 0 && (old ^ new) & !TABLE_FAST == 0 {
                self.store(table, index, old, new, preserve);
                self.needs_flush();
                return Ok(());
            }
            self.table_get(frame_of(new), level - 1)?;
        }
        self.store(table, index, old, new, preserve);
        if old & P != 0 {
            self.needs_flush();
            self.table_put(frame_of(old));
        }
        Ok(())
    }

    #[cold]
    fn machphys_update(&mut self, mfn: Mfn, pfn: u64, fd: DomId) -> Result<(), MmuError> {
        self.refs.hold(mfn, fd)?;
        self.host().set_m2p(mfn, pfn);
        self.refs.release(mfn);
        Ok(())
    }
}

const _: () = assert!(L1_FAST & (PAT | RW | P) == 0);
