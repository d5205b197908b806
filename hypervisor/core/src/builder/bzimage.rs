//! From a kernel file to the ELF image inside it.
//!
//! A bzImage carries the compressed ELF as its payload, whose last four bytes are the unpacked size (Linux
//! `Documentation/arch/x86/boot.rst`, payload_offset). Plain and compressed ELF files are taken too.

use alloc::borrow::Cow;
use alloc::vec::Vec;
use core::fmt;

use super::crc32::crc32;
use super::xz;
use crate::platform::bytes::{slice_at, u8_at, u16_at, u32_at};

/// The largest window that a zstd payload may ask for; the kernel's own build uses 128 MiB.
const ZSTD_WINDOW_LIMIT: u64 = 128 << 20;
/// What each block of an LZ4 legacy frame, but the last, unpacks to.
const LZ4_BLOCK: usize = 8 << 20;

/// How a payload is compressed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Compression {
    /// Not at all: an ELF image.
    None,
    /// gzip.
    Gzip,
    /// xz.
    Xz,
    /// Zstandard.
    Zstd,
    /// LZ4 in its legacy frame.
    Lz4,
}

impl Compression {
    /// The usual name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "no",
            Self::Gzip => "gzip",
            Self::Xz => "xz",
            Self::Zstd => "zstd",
            Self::Lz4 => "lz4",
        }
    }

    /// Tells the compression by the first bytes.
    fn detect(data: &[u8]) -> Detected {
        const MAGICS: [(&[u8], Detected); 10] = [
            (b"\x7fELF", Ok(Compression::None)),
            (b"\x1f\x8b", Ok(Compression::Gzip)),
            (b"\x1f\x9e", Ok(Compression::Gzip)),
            (b"\xfd7zXZ\0", Ok(Compression::Xz)),
            (b"\x28\xb5\x2f\xfd", Ok(Compression::Zstd)),
            (b"\x02\x21\x4c\x18", Ok(Compression::Lz4)),
            (b"BZh", Err(Some("bzip2"))),
            (b"\x5d\0\0", Err(Some("lzma"))),
            (b"\x89LZO", Err(Some("lzo"))),
            (b"\x04\x22\x4d\x18", Err(Some("lz4 (new frame)"))),
        ];
        MAGICS
            .iter()
            .find(|(magic, _)| data.starts_with(magic))
            .map_or(Err(None), |(_, found)| *found)
    }
}

/// A compression that we unpack, else the name of one that we do not, if it is known.
type Detected = Result<Compression, Option<&'static str>>;

/// Why no ELF image came out of the kernel file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum UnpackError {
    /// Neither bzImage nor ELF nor something compressed that we know.
    NotAKernel,
    /// A bzImage of a boot protocol before 2.08, which has no payload fields.
    TooOld {
        /// The protocol's version, such as 0x206.
        version: u16,
    },
    /// Compressed by a method that we do not unpack.
    Unsupported(&'static str),
    /// The file ends before its payload does.
    Truncated,
    /// The payload does not unpack, or to something other than its checksum or size says.
    Corrupt(Compression),
    /// What comes out is no ELF image.
    NotElf,
    /// The image would be larger than the limit.
    TooLarge {
        /// Bytes of the unpacked image.
        size: u64,
        /// Bytes allowed.
        limit: u64,
    },
    /// The heap has no room for the image.
    OutOfMemory {
        /// Bytes of the unpacked image.
        size: u64,
    },
}

impl fmt::Display for UnpackError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAKernel => {
                f.write_str("the first module is not a kernel: neither bzImage nor ELF")
            }
            Self::TooOld { version } => {
                write!(
                    f,
                    "the kernel's boot protocol {}.{:02} is too old, need 2.08",
                    version >> 8,
                    version & 0xff
                )
            }
            Self::Unsupported(method) => {
                write!(
                    f,
                    "the kernel is compressed with {method}; use gzip, xz, zstd or lz4 instead"
                )
            }
            Self::Truncated => f.write_str("the kernel file is cut short"),
            Self::Corrupt(how) => write!(
                f,
                "the kernel file is damaged: its {} data does not unpack",
                how.name()
            ),
            Self::NotElf => f.write_str("the kernel file does not hold an ELF image"),
            Self::TooLarge { size, limit } => {
                write!(
                    f,
                    "the kernel unpacks to {size} bytes, more than the limit of {limit}"
                )
            }
            Self::OutOfMemory { size } => {
                write!(f, "not enough memory to unpack the kernel to {size} bytes")
            }
        }
    }
}

/// The payload of a bzImage, still compressed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Payload<'a> {
    /// The compressed bytes, without the four bytes of the size.
    pub data: &'a [u8],
    /// Bytes when unpacked.
    pub unpacked_size: u32,
}

/// Finds the payload if `file` is a bzImage; `Ok(None)` if it is not one.
///
/// # Errors
/// `TooOld`, or `Truncated` if the file ends too early.
pub fn find_payload(file: &[u8]) -> Result<Option<Payload<'_>>, UnpackError> {
    if slice_at(file, 0x202, 4) != Some(b"HdrS") {
        return Ok(None);
    }
    let version = u16_at(file, 0x206).ok_or(UnpackError::Truncated)?;
    if version < 0x208 {
        return Err(UnpackError::TooOld { version });
    }
    let find = || {
        let setup_sectors = u8_at(file, 0x1f1).map(|n| if n == 0 { 4 } else { usize::from(n) })?;
        let start =
            ((setup_sectors + 1) * 512).checked_add(usize::try_from(u32_at(file, 0x248)?).ok()?)?;
        let whole = slice_at(file, start, usize::try_from(u32_at(file, 0x24c)?).ok()?)?;
        let (data, size) = whole.split_last_chunk::<4>()?;
        // gzip's own trailer is that size; it belongs to the stream as well.
        let data = if Compression::detect(data) == Ok(Compression::Gzip) {
            whole
        } else {
            data
        };
        Some(Payload {
            data,
            unpacked_size: u32::from_le_bytes(*size),
        })
    };
    find().map(Some).ok_or(UnpackError::Truncated)
}

/// The compressed part of a kernel file that we can unpack.
struct Packed<'a> {
    data: &'a [u8],
    how: Compression,
    size: u64,
    in_bzimage: bool,
}

fn find_packed(file: &[u8], limit: usize) -> Result<Packed<'_>, UnpackError> {
    let payload = find_payload(file)?;
    let in_bzimage = payload.is_some();
    let data = payload.map_or(file, |p| p.data);
    let how = Compression::detect(data).map_err(|name| match name {
        Some(name) => UnpackError::Unsupported(name),
        None if in_bzimage => UnpackError::Corrupt(Compression::None),
        None => UnpackError::NotAKernel,
    })?;
    let size = match payload {
        Some(p) => u64::from(p.unpacked_size),
        None => size_of_bare(data, how, limit).ok_or(UnpackError::Truncated)?,
    };
    if size > limit as u64 {
        return Err(UnpackError::TooLarge {
            size,
            limit: limit as u64,
        });
    }
    Ok(Packed {
        data,
        how,
        size,
        in_bzimage,
    })
}

/// How large the ELF image of a kernel file says to be, at most `limit` bytes: what [`unpack`] needs, but for its window.
///
/// # Errors
/// See [`UnpackError`]: all that can be told without unpacking.
pub fn unpacked_size(file: &[u8], limit: usize) -> Result<u64, UnpackError> {
    find_packed(file, limit).map(|packed| packed.size)
}

/// The ELF image of a kernel file, at most `limit` bytes; borrowed if it is not compressed.
///
/// Takes heap for the image and, for xz and zstd, the window (Debian: 63 MiB and 32 MiB).
///
/// # Errors
/// See [`UnpackError`].
pub fn unpack(file: &[u8], limit: usize) -> Result<Cow<'_, [u8]>, UnpackError> {
    let Packed {
        data,
        how,
        size,
        in_bzimage,
    } = find_packed(file, limit)?;
    let image = if how == Compression::None {
        Cow::Borrowed(data)
    } else {
        let size = usize::try_from(size).map_err(|_| UnpackError::OutOfMemory { size })?;
        Cow::Owned(decompress(data, how, size, !in_bzimage)?)
    };
    if image.starts_with(b"\x7fELF") {
        Ok(image)
    } else {
        Err(UnpackError::NotElf)
    }
}

/// The unpacked size of a compressed file that is no bzImage: gzip says it at its end, for others it is at most `limit`.
fn size_of_bare(data: &[u8], how: Compression, limit: usize) -> Option<u64> {
    match how {
        Compression::None => Some(data.len() as u64),
        Compression::Gzip => data
            .last_chunk::<4>()
            .map(|b| u32::from_le_bytes(*b).into()),
        _ => Some(limit as u64),
    }
}

/// Unpacks to exactly `size` bytes, or to at most so many if `may_be_less`.
fn decompress(
    data: &[u8],
    how: Compression,
    size: usize,
    may_be_less: bool,
) -> Result<Vec<u8>, UnpackError> {
    let mut out = Vec::new();
    out.try_reserve_exact(size)
        .map_err(|_| UnpackError::OutOfMemory { size: size as u64 })?;
    out.resize(size, 0);
    let produced = match how {
        Compression::None => None,
        Compression::Gzip => gunzip(data, &mut out),
        Compression::Xz => match xz::decompress(data, &mut out) {
            Ok(produced) => Some(produced),
            Err(xz::XzError::Corrupt) => None,
            Err(xz::XzError::Unsupported(what)) => return Err(UnpackError::Unsupported(what)),
        },
        Compression::Zstd => unzstd(data, &mut out),
        Compression::Lz4 => unlz4(data, &mut out),
    };
    match produced {
        Some(n) if n == size || may_be_less => {
            out.truncate(n);
            Ok(out)
        }
        _ => Err(UnpackError::Corrupt(how)),
    }
}

/// Unpacks a gzip member (RFC 1952) and checks its CRC-32 and size; `None` if anything is wrong.
fn gunzip(data: &[u8], out: &mut [u8]) -> Option<usize> {
    let (head, deflated, trailer) = split_gzip(data)?;
    debug_assert!(head >= 10);
    let (crc, size) = (u32_at(trailer, 0)?, u32_at(trailer, 4)?);
    let produced = miniz_oxide::inflate::decompress_slice_iter_to_slice(
        out,
        core::iter::once(deflated),
        false,
        true,
    )
    .ok()?;
    let good = size as usize == produced && crc32(out.get(..produced)?) == crc;
    good.then_some(produced)
}

/// Splits a gzip member into the header's length, the deflated bytes and the eight bytes of the trailer.
fn split_gzip(data: &[u8]) -> Option<(usize, &[u8], &[u8])> {
    const HEADER_CRC: u8 = 2;
    const EXTRA: u8 = 4;
    const NAME: u8 = 8;
    const COMMENT: u8 = 16;
    const DEFLATE: u8 = 8;
    if u8_at(data, 2)? != DEFLATE {
        return None;
    }
    let flags = u8_at(data, 3)?;
    let mut at = 10;
    if flags & EXTRA != 0 {
        at += 2 + usize::from(u16_at(data, at)?);
    }
    for string in [NAME, COMMENT] {
        if flags & string != 0 {
            at += data.get(at..)?.iter().position(|b| *b == 0)? + 1;
        }
    }
    if flags & HEADER_CRC != 0 {
        at += 2;
    }
    let (deflated, trailer) = data.get(at..)?.split_last_chunk::<8>()?;
    Some((at, deflated, trailer))
}

fn unzstd(data: &[u8], out: &mut [u8]) -> Option<usize> {
    let mut decoder = ruzstd::decoding::FrameDecoder::new();
    decoder.set_max_window_size(ZSTD_WINDOW_LIMIT);
    let produced = decoder.decode_all(data, out).ok()?;
    // The checksum is optional, and the decoder leaves the comparison to us.
    let good = decoder
        .get_checksum_from_data()
        .is_none_or(|sum| decoder.get_calculated_checksum() == Some(sum));
    good.then_some(produced)
}

/// Unpacks an LZ4 legacy frame: the magic number, then blocks, each after its size as u32.
fn unlz4(data: &[u8], out: &mut [u8]) -> Option<usize> {
    let mut rest = data.get(4..)?;
    let mut produced = 0;
    while !rest.is_empty() {
        let (size, tail) = rest.split_first_chunk::<4>()?;
        let (block, next) =
            tail.split_at_checked(usize::try_from(u32::from_le_bytes(*size)).ok()?)?;
        let room = out.get_mut(produced..)?;
        let len = room.len().min(LZ4_BLOCK);
        produced += lz4_flex::block::decompress_into(block, room.get_mut(..len)?).ok()?;
        rest = next;
    }
    Some(produced)
}

#[cfg(test)]
mod tests;
