//! Raw access to machine frames through the direct map.

// UNSAFETY: turns machine addresses into pointers.
#![expect(unsafe_code)]

use rexen_core::units::Mfn;

use super::layout::DIRECT_MAP;

/// Where the direct map has machine address `maddr`. Only RAM and the first MiB are mapped there.
#[inline]
pub const fn direct(maddr: u64) -> *mut u8 {
    (DIRECT_MAP + maddr) as *mut u8
}

/// Where the direct map has a frame. A pointer only: using it is the unsafe part.
#[inline]
pub const fn direct_map(mfn: Mfn) -> *mut u8 {
    direct(mfn.maddr())
}

/// The machine address of something inside the direct map, such as a heap block.
#[inline]
pub fn direct_to_maddr(ptr: *const u8) -> u64 {
    (ptr as u64).wrapping_sub(DIRECT_MAP)
}

/// Fills a frame with zeros.
///
/// # Safety
/// The frame is RAM, and no Rust reference to it exists.
#[inline]
pub unsafe fn zero_frame(mfn: Mfn) {
    // SAFETY: RAM is mapped writable in the direct map; the caller promises that nobody holds a reference.
    unsafe { direct_map(mfn).write_bytes(0, 4096) }
}

/// Copies a frame.
///
/// # Safety
/// Both are RAM, they differ, and no Rust reference to `to` exists.
#[inline]
pub unsafe fn copy_frame(to: Mfn, from: Mfn) {
    // SAFETY: as `zero_frame`; two distinct frames do not overlap.
    unsafe { direct_map(to).copy_from_nonoverlapping(direct_map(from), 4096) }
}

/// The bytes of machine memory `maddr..maddr + bytes` for good.
///
/// # Safety
/// The range is in the direct map and nobody ever writes to it again.
pub unsafe fn bytes(maddr: u64, bytes: usize) -> &'static [u8] {
    // SAFETY: the caller's promise.
    unsafe { core::slice::from_raw_parts(direct(maddr), bytes) }
}
