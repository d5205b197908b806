//! Which bits a guest's page-table entry may have, level by level, and which ones we add.

use super::MmuError;
use crate::units::Mfn;

/// Present.
pub const P: u64 = 1;
/// Writable.
pub const RW: u64 = 1 << 1;
/// Accessible from ring 3, where guest kernels run too.
pub const US: u64 = 1 << 2;
/// Write-through, level 1.
pub const PWT: u64 = 1 << 3;
/// Not cached, level 1.
pub const PCD: u64 = 1 << 4;
/// Accessed.
pub const A: u64 = 1 << 5;
/// Dirty.
pub const D: u64 = 1 << 6;
/// Level 1: with PWT and PCD, the memory type. Level 2 and up: a superpage, always refused.
pub const PAT: u64 = 1 << 7;
/// Global: survives a change of page tables. Set on user pages only.
pub const G: u64 = 1 << 8;
/// "This is a page of the guest's kernel": the guest's own US was 0.
pub const GUEST_KERNEL: u64 = 1 << 52;
/// Not executable.
pub const NX: u64 = 1 << 63;
/// Bits that are the guest's to use.
pub const AVAIL: u64 = 7 << 9 | 0x7ff << 52;
/// The frame number.
pub const FRAME: u64 = 0x000f_ffff_ffff_f000;

/// What may change in a present level 1 entry, its frame unchanged, without a look at references.
pub const L1_FAST: u64 = NX | AVAIL | G | D | A | US;
/// The same in a higher entry. RW is not in it (XSA-182).
pub const TABLE_FAST: u64 = NX | AVAIL | D | A | US;
/// What a present entry of level 2 to 4 may have.
const TABLE_ALLOWED: u64 = P | RW | US | A | D | AVAIL | FRAME | NX;

/// The first L4 slot of the hypervisor's.
pub const FIRST_HYPERVISOR_SLOT: usize = 256;
/// The first L4 slot after those of the hypervisor.
pub const AFTER_HYPERVISOR_SLOTS: usize = 272;

/// Whether L4 slot `index` is the hypervisor's.
#[inline(always)]
pub const fn is_hypervisor_slot(index: usize) -> bool {
    index >= FIRST_HYPERVISOR_SLOT && index < AFTER_HYPERVISOR_SLOTS
}

/// The frame that an entry names.
#[inline(always)]
pub const fn frame_of(entry: u64) -> Mfn {
    Mfn((entry & FRAME) >> 12)
}

/// The bits that no present level 1 entry of a domain may have.
pub const fn l1_refused(phys_bits: u32, may_set_cache_type: bool) -> u64 {
    let above = FRAME & !((1u64 << if phys_bits > 52 { 52 } else { phys_bits }) - 1);
    above
        | if may_set_cache_type {
            0
        } else {
            PWT | PCD | PAT
        }
}

/// A level 1 entry as it will stand: US always set, since guest kernels run in ring 3. The guest's intent is kept: kernel
/// pages get [`GUEST_KERNEL`], user pages [`G`] so that they survive the switch between kernel and user tables.
#[inline(always)]
pub const fn adjust_l1(entry: u64) -> u64 {
    if entry & P == 0 {
        entry
    } else if entry & US == 0 || entry & GUEST_KERNEL != 0 {
        // A global kernel page would stay visible to the guest's own user mode.
        (entry | US | GUEST_KERNEL) & !G
    } else {
        entry | US | G
    }
}

/// A present entry of level 2 to 4 as it will stand.
///
/// # Errors
/// `BadEntry`: a bit that is not allowed (PSE, caching, global).
#[inline(always)]
pub const fn adjust_table(level: u32, entry: u64) -> Result<u64, MmuError> {
    if entry & !TABLE_ALLOWED != 0 {
        return Err(MmuError::BadEntry);
    }
    Ok(entry | US | if level == 4 { A } else { 0 })
}
