//! Little-endian numbers out of untrusted bytes: every access answers `None` rather than panic.

/// The `len` bytes at `offset`.
pub(crate) fn slice_at(data: &[u8], offset: usize, len: usize) -> Option<&[u8]> {
    data.get(offset..offset.checked_add(len)?)
}

/// The `N` bytes at `offset`.
fn array_at<const N: usize>(data: &[u8], offset: usize) -> Option<[u8; N]> {
    slice_at(data, offset, N)?.try_into().ok()
}

/// The byte at `offset`.
pub(crate) fn u8_at(data: &[u8], offset: usize) -> Option<u8> {
    data.get(offset).copied()
}

/// The little-endian 16-bit number at `offset`.
pub(crate) fn u16_at(data: &[u8], offset: usize) -> Option<u16> {
    array_at(data, offset).map(u16::from_le_bytes)
}

/// The little-endian 32-bit number at `offset`.
pub(crate) fn u32_at(data: &[u8], offset: usize) -> Option<u32> {
    array_at(data, offset).map(u32::from_le_bytes)
}

/// The little-endian 64-bit number at `offset`.
pub(crate) fn u64_at(data: &[u8], offset: usize) -> Option<u64> {
    array_at(data, offset).map(u64::from_le_bytes)
}
