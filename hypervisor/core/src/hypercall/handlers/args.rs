//! What several handlers do with their arguments.

use rexen_abi::errno::Errno;

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

/// The frame whose number is stored in an atomic of a vcpu; 0 is none.
#[inline]
pub const fn frame_or_none(raw: u64) -> Option<Mfn> {
    if raw == 0 { None } else { Some(Mfn(raw)) }
}
