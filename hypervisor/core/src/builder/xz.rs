//! The xz container (The .xz File Format 1.2.1), as far as kernels use it, around a decoder of LZMA2.
//!
//! Read here rather than by the decoder's own crate, whose xz feature brings in SHA-256 code with vector instructions.
//! Kernel images have one block, CRC-32, the x86 filter and LZMA2; more blocks and no filter are taken as well.

use lzma_rust2::{Action, FilterConfig, Lzma2Stream, Status};

use super::crc32::crc32;
use crate::platform::bytes::{slice_at, u8_at, u32_at};

const STREAM_HEADER: usize = 12;
const FILTER_X86: u64 = 4;
const FILTER_LZMA2: u64 = 0x21;
const CHECK_NONE: u8 = 0;
const CHECK_CRC32: u8 = 1;
/// Property of a 128 MiB dictionary; the kernel's own decoder needs 32 MiB (0x1a) at most.
const MAX_DICTIONARY_PROPERTY: u8 = 0x1e;

/// Why a stream does not unpack.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum XzError {
    /// It is damaged or cut, or unpacks to more than the room given.
    Corrupt,
    /// It uses this, which we do not know.
    Unsupported(&'static str),
}

/// What a block header says.
struct Block {
    header_len: usize,
    x86_filter: bool,
    dictionary_property: u8,
}

/// Unpacks the stream into `out` and returns how many bytes came out.
pub(super) fn decompress(data: &[u8], out: &mut [u8]) -> Result<usize, XzError> {
    let flags = slice_at(data, 6, 2).ok_or(XzError::Corrupt)?;
    if Some(crc32(flags)) != u32_at(data, 8) {
        return Err(XzError::Corrupt);
    }
    let check = match *flags {
        [0, check @ (CHECK_NONE | CHECK_CRC32)] => check,
        _ => {
            return Err(XzError::Unsupported(
                "an xz integrity check other than CRC-32",
            ));
        }
    };
    let mut rest = data.get(STREAM_HEADER..).ok_or(XzError::Corrupt)?;
    let mut produced = 0;
    // A zero where a block header would begin starts the index: no more blocks.
    while *rest.first().ok_or(XzError::Corrupt)? != 0 {
        let block = parse_block_header(rest)?;
        rest = rest.get(block.header_len..).ok_or(XzError::Corrupt)?;
        let room = out.get_mut(produced..).ok_or(XzError::Corrupt)?;
        let (used, made) = unpack_block(&block, rest, room).ok_or(XzError::Corrupt)?;
        rest = rest
            .get(used.next_multiple_of(4)..)
            .ok_or(XzError::Corrupt)?;
        if check == CHECK_CRC32 {
            let made_bytes = room.get(..made).ok_or(XzError::Corrupt)?;
            if u32_at(rest, 0) != Some(crc32(made_bytes)) {
                return Err(XzError::Corrupt);
            }
            rest = rest.get(4..).ok_or(XzError::Corrupt)?;
        }
        produced += made;
    }
    Ok(produced)
}

fn parse_block_header(data: &[u8]) -> Result<Block, XzError> {
    let header_len = (usize::from(u8_at(data, 0).ok_or(XzError::Corrupt)?) + 1) * 4;
    let (header, crc) = data
        .get(..header_len)
        .and_then(<[u8]>::split_last_chunk::<4>)
        .ok_or(XzError::Corrupt)?;
    if crc32(header) != u32::from_le_bytes(*crc) {
        return Err(XzError::Corrupt);
    }
    let flags = u8_at(header, 1).ok_or(XzError::Corrupt)?;
    let mut at = 2;
    // Compressed and unpacked size, which the decoder finds out by itself.
    for present in [flags & 0x40 != 0, flags & 0x80 != 0] {
        if present {
            read_number(header, &mut at).ok_or(XzError::Corrupt)?;
        }
    }
    let mut block = Block {
        header_len,
        x86_filter: false,
        dictionary_property: 0,
    };
    let last = flags & 3;
    for index in 0..=last {
        let id = read_number(header, &mut at).ok_or(XzError::Corrupt)?;
        let len = read_number(header, &mut at)
            .and_then(|n| usize::try_from(n).ok())
            .ok_or(XzError::Corrupt)?;
        let properties = slice_at(header, at, len).ok_or(XzError::Corrupt)?;
        at += len;
        match (id, properties) {
            (FILTER_LZMA2, [property]) if index == last => block.dictionary_property = *property,
            (FILTER_X86, []) if index == 0 && last == 1 => block.x86_filter = true,
            _ => return Err(XzError::Unsupported("an xz filter other than x86")),
        }
    }
    if block.dictionary_property > MAX_DICTIONARY_PROPERTY {
        return Err(XzError::Unsupported("an xz dictionary above 128 MiB"));
    }
    Ok(block)
}

/// A number in groups of seven bits, the lowest first.
fn read_number(data: &[u8], at: &mut usize) -> Option<u64> {
    let mut value = 0;
    for shift in (0..63).step_by(7) {
        let byte = u8_at(data, *at)?;
        *at += 1;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

/// Decodes one block; returns the bytes used and made.
fn unpack_block(block: &Block, data: &[u8], out: &mut [u8]) -> Option<(usize, usize)> {
    let property = u32::from(block.dictionary_property);
    let dictionary = (2 | property & 1) << (property / 2 + 11);
    let mut stream = Lzma2Stream::new(dictionary);
    if block.x86_filter {
        stream.set_filters(&[FilterConfig::new_bcj_x86(0)]).ok()?;
    }
    let (mut used, mut made) = (0, 0);
    loop {
        let step = stream
            .process(data.get(used..)?, out.get_mut(made..)?, Action::Finish)
            .ok()?;
        used += step.bytes_consumed;
        made += step.bytes_produced;
        if step.status == Status::StreamEnd {
            return Some((used, made));
        }
        if step.bytes_consumed == 0 && step.bytes_produced == 0 {
            return None;
        }
    }
}
