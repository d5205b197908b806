//! What several handlers do with their arguments.

use rexen_abi::errno::Errno;
use rexen_abi::xen::XenctlBitmap;

use crate::domain::Domain;
use crate::hypercall::{Call, Machine, authority};
use crate::units::{DomId, Mfn};

/// A selector as a guest may have it: ring 3.
#[inline]
pub const fn ring3(selector: u16) -> u16 {
    selector | 3
}

/// The low 32 bits of a register: the ABI's `unsigned int` arguments ignore the rest.
#[inline]
pub const fn low32(word: u64) -> u32 {
    word as u32
}

/// The low 16 bits of a register.
#[inline]
pub const fn low16(word: u64) -> u16 {
    word as u16
}

/// The address, if it is canonical.
///
/// # Errors
/// EINVAL.
#[inline]
pub const fn canonical(address: u64) -> Result<u64, Errno> {
    if crate::policy::is_canonical(address) {
        Ok(address)
    } else {
        Err(Errno::EINVAL)
    }
}

/// Address of element `index` of an array of `size`-byte elements at `base`.
#[inline]
pub const fn element(base: u64, index: u64, size: u64) -> u64 {
    base.wrapping_add(index.wrapping_mul(size))
}

/// The owner of data frames that a guest names by `id` (`foreigndom`): itself, or I/O, or who it may control.
///
/// # Errors
/// EPERM, ESRCH.
#[inline]
pub fn data_owner<M: Machine>(call: &Call<'_, M>, id: u16) -> Result<DomId, Errno> {
    let id = DomId(id);
    if id == DomId::SELF || id == call.domain.id {
        return Ok(call.domain.id);
    }
    foreign_owner(call, id)
}

#[cold]
fn foreign_owner<M: Machine>(call: &Call<'_, M>, id: DomId) -> Result<DomId, Errno> {
    // Whose I/O memory may be mapped is asked entry by entry.
    if id == DomId::IO {
        return Ok(id);
    }
    authority::Control::of(call.domain)?;
    if id != DomId::XEN && call.m.domain(id).is_none() {
        return Err(Errno::ESRCH);
    }
    Ok(id)
}

/// Gives `len` bytes at `gva`: `text`, cut so that a final NUL fits, and zeroes.
///
/// # Errors
/// EFAULT.
pub fn write_text<M: Machine>(
    call: &Call<'_, M>,
    gva: u64,
    text: &str,
    len: usize,
) -> Result<(), Errno> {
    let mut text = text.bytes().take(len.saturating_sub(1));
    let mut at = 0;
    while at < len {
        let mut piece = [0; 64];
        let piece = piece
            .get_mut(..len.saturating_sub(at).min(64))
            .ok_or(Errno::EFAULT)?;
        for (byte, from) in piece.iter_mut().zip(text.by_ref()) {
            *byte = from;
        }
        call.m.copy_out(element(gva, at as u64, 1), piece)?;
        at += piece.len();
    }
    Ok(())
}

/// Reads a bitmap of vcpus: the first 64 of them.
///
/// # Errors
/// EFAULT.
#[inline]
pub fn vcpu_mask<M: Machine>(call: &Call<'_, M>, gva: u64) -> Result<u64, Errno> {
    call.read::<u64>(gva)
}

/// All vcpus of `domain` as a bitmap.
#[inline]
pub fn all_vcpus(domain: &Domain) -> u64 {
    match domain.vcpus.len() {
        n if n >= 64 => u64::MAX,
        n => (1 << n) - 1,
    }
}

/// All CPUs that are up, as a bitmap.
pub fn online_cpus<M: Machine>(m: &M) -> u64 {
    match m.nr_cpus() {
        n if n >= 64 => u64::MAX,
        n => (1 << n) - 1,
    }
}

/// Most bytes of a toolstack's bitmap.
const MAX_BITMAP: u32 = 1024;

/// Reads a toolstack's bitmap: the first 64 bits of it; those beyond its end are zero.
///
/// # Errors
/// EFAULT.
pub fn read_bitmap<M: Machine>(call: &Call<'_, M>, map: &XenctlBitmap) -> Result<u64, Errno> {
    let mut bytes = [0; 8];
    let len = map.nr_bits.div_ceil(8).min(8) as usize;
    call.m
        .copy_in(map.bitmap, bytes.get_mut(..len).unwrap_or_default())?;
    let known = 1u64
        .checked_shl(map.nr_bits)
        .map_or(u64::MAX, |end| end - 1);
    Ok(u64::from_le_bytes(bytes) & known)
}

/// Fills a toolstack's bitmap: its first 64 bits with `value`, the rest with zeroes.
///
/// # Errors
/// E2BIG: no bitmap is so long. EFAULT.
pub fn write_bitmap<M: Machine>(
    call: &Call<'_, M>,
    map: &XenctlBitmap,
    value: u64,
) -> Result<(), Errno> {
    let len = map.nr_bits.div_ceil(8);
    if len > MAX_BITMAP {
        return Err(Errno::E2BIG);
    }
    let mut value = value;
    for at in (0..len).step_by(8) {
        let bytes = value.to_le_bytes();
        let piece = bytes.get(..(len - at).min(8) as usize).unwrap_or(&bytes);
        call.m.copy_out(element(map.bitmap, at.into(), 1), piece)?;
        value = 0;
    }
    Ok(())
}

/// The frame whose number is stored in an atomic of a vcpu; 0 is none.
#[inline]
pub const fn frame_or_none(raw: u64) -> Option<Mfn> {
    if raw == 0 { None } else { Some(Mfn(raw)) }
}
