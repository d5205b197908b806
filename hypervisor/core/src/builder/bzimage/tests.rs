use std::io::Write;
use std::vec;
use std::vec::Vec;

use super::super::super::platform::testmem::Random;
use super::*;

const LIMIT: usize = 64 << 20;

/// Something ELF-like: code-like parts that the x86 filter changes, noise and zeroes.
fn image(len: usize) -> Vec<u8> {
    let mut random = Random(42);
    let mut image = b"\x7fELF".to_vec();
    while image.len() < len {
        match random.next() % 3 {
            0 => image.extend(random.bytes(50)),
            1 => image.resize(image.len() + 300, 0),
            _ => (0..40).for_each(|i| image.extend([0xe8, i, 0x10, 0, 0, 0x48, 0x89])),
        }
    }
    image.truncate(len);
    image
}

fn gzip(data: &[u8], with_name: bool) -> Vec<u8> {
    let mut out = vec![
        0x1f,
        0x8b,
        8,
        if with_name { 8 | 4 } else { 0 },
        0,
        0,
        0,
        0,
        2,
        3,
    ];
    if with_name {
        out.extend([3, 0, 1, 2, 3]);
        out.extend(b"vmlinux.bin\0");
    }
    out.extend(miniz_oxide::deflate::compress_to_vec(data, 6));
    out.extend(crc32(data).to_le_bytes());
    out.extend((data.len() as u32).to_le_bytes());
    out
}

fn xz(data: &[u8], x86_filter: bool, block_size: Option<u64>) -> Vec<u8> {
    let mut options = lzma_rust2::XzOptions::with_preset(3);
    options.set_check_sum_type(lzma_rust2::CheckType::Crc32);
    options.set_block_size(block_size.and_then(|n| n.try_into().ok()));
    if x86_filter {
        options.prepend_pre_filter(lzma_rust2::FilterType::BcjX86, 0);
    }
    let mut writer = lzma_rust2::XzWriter::new(Vec::new(), options).unwrap();
    writer.write_all(data).unwrap();
    writer.finish().unwrap()
}

fn zstd(data: &[u8]) -> Vec<u8> {
    ruzstd::encoding::compress_to_vec(data, ruzstd::encoding::CompressionLevel::Fastest)
}

fn lz4(data: &[u8]) -> Vec<u8> {
    let mut out = vec![0x02, 0x21, 0x4c, 0x18];
    for block in data.chunks(LZ4_BLOCK) {
        let mut packed = vec![0; lz4_flex::block::get_maximum_output_size(block.len())];
        let len = lz4_flex::block::compress_into(block, &mut packed).unwrap();
        out.extend((len as u32).to_le_bytes());
        out.extend(&packed[..len]);
    }
    out
}

/// A bzImage around a payload; gzip's own trailer is the size.
fn bzimage(mut payload: Vec<u8>, size: usize) -> Vec<u8> {
    if !payload.starts_with(b"\x1f\x8b") {
        payload.extend((size as u32).to_le_bytes());
    }
    let mut file = vec![0; (3 + 1) * 512 + 0x2c0];
    file[0x1f1] = 3;
    file[0x202..0x206].copy_from_slice(b"HdrS");
    file[0x206..0x208].copy_from_slice(&0x20fu16.to_le_bytes());
    file[0x248..0x24c].copy_from_slice(&0x2c0u32.to_le_bytes());
    file[0x24c..0x250].copy_from_slice(&(payload.len() as u32).to_le_bytes());
    file.extend(payload);
    file.extend([0xee; 100]);
    file
}

fn all_payloads(data: &[u8]) -> [(Compression, Vec<u8>); 4] {
    [
        (Compression::Gzip, gzip(data, false)),
        (Compression::Xz, xz(data, true, None)),
        (Compression::Zstd, zstd(data)),
        (Compression::Lz4, lz4(data)),
    ]
}

#[test]
fn every_compression_unpacks_to_the_same_bytes() {
    let image = image(700_000);
    for (how, payload) in all_payloads(&image) {
        let file = bzimage(payload.clone(), image.len());
        assert_eq!(
            find_payload(&file).unwrap().unwrap().unpacked_size as usize,
            image.len()
        );
        assert!(
            unpack(&file, LIMIT).unwrap() == image,
            "{how:?} in a bzImage"
        );
        assert!(unpack(&payload, LIMIT).unwrap() == image, "{how:?} alone");
    }
}

#[test]
fn lz4_of_several_blocks_unpacks() {
    let image = image(LZ4_BLOCK + 5000);
    let file = bzimage(lz4(&image), image.len());
    assert!(unpack(&file, LIMIT).unwrap() == image);
}

#[test]
fn xz_without_filter_or_of_several_blocks_unpacks() {
    let image = image(300_000);
    assert!(unpack(&xz(&image, false, None), LIMIT).unwrap() == image);
    let blocks = xz(&image, false, Some(100_000));
    assert!(unpack(&bzimage(blocks, image.len()), LIMIT).unwrap() == image);
}

#[test]
fn plain_elf_is_borrowed_and_gzip_headers_are_skipped() {
    let image = image(5000);
    assert!(matches!(unpack(&image, LIMIT), Ok(Cow::Borrowed(b)) if b == image));
    assert!(
        matches!(unpack(&bzimage(image.clone(), image.len()), LIMIT), Ok(Cow::Borrowed(b)) if b == image)
    );
    assert!(unpack(&gzip(&image, true), LIMIT).unwrap() == image);
}

#[test]
fn what_we_cannot_take_is_named() {
    let error = |file: &[u8]| unpack(file, 1000).unwrap_err();
    assert_eq!(error(b""), UnpackError::NotAKernel);
    assert_eq!(error(&[0x90; 5000]), UnpackError::NotAKernel);
    assert_eq!(
        unpacked_size(&bzimage(b"BZh91AY".to_vec(), 0xffff_ffff), 1000),
        Err(UnpackError::Unsupported("bzip2")),
        "whatever it says of its size"
    );
    assert_eq!(
        error(&bzimage(b"BZh91AY".to_vec(), 9)),
        UnpackError::Unsupported("bzip2")
    );
    assert_eq!(
        error(&bzimage(b"\x5d\0\0\x80\0".to_vec(), 9)),
        UnpackError::Unsupported("lzma")
    );
    assert_eq!(
        error(&bzimage(b"\x89LZO\0".to_vec(), 9)),
        UnpackError::Unsupported("lzo")
    );
    assert_eq!(
        error(&bzimage(b"????".to_vec(), 9)),
        UnpackError::Corrupt(Compression::None)
    );
    assert_eq!(error(&gzip(b"no kernel", false)), UnpackError::NotElf);
    let large = image(1001);
    for (_, payload) in all_payloads(&large) {
        assert_eq!(
            error(&bzimage(payload, 1001)),
            UnpackError::TooLarge {
                size: 1001,
                limit: 1000
            }
        );
    }
    let mut old = bzimage(b"BZh".to_vec(), 1);
    old[0x206] = 7;
    old[0x207] = 2;
    assert_eq!(error(&old), UnpackError::TooOld { version: 0x207 });
    assert_eq!(
        error(&old).to_string(),
        "the kernel's boot protocol 2.07 is too old, need 2.08"
    );
}

#[test]
fn a_wrong_size_or_a_cut_is_corrupt() {
    let image = image(60_000);
    for (how, payload) in all_payloads(&image) {
        if how != Compression::Gzip {
            for size in [image.len() - 1, image.len() + 1] {
                assert_eq!(
                    unpack(&bzimage(payload.clone(), size), LIMIT),
                    Err(UnpackError::Corrupt(how)),
                    "{size}"
                );
            }
        }
        let cut = bzimage(payload[..payload.len() / 2].to_vec(), image.len());
        assert!(unpack(&cut, LIMIT).is_err(), "{how:?}");
        let file = bzimage(payload, image.len());
        assert_eq!(
            unpack(&file[..file.len() - 200], LIMIT),
            Err(UnpackError::Truncated)
        );
        assert_eq!(unpack(&file[..0x300], LIMIT), Err(UnpackError::Truncated));
    }
}

#[test]
fn a_flipped_byte_is_an_error_and_never_a_panic() {
    let image = image(20_000);
    for (how, payload) in all_payloads(&image) {
        let mut random = Random(7 + payload.len() as u64);
        for _ in 0..150 {
            let mut file = bzimage(payload.clone(), image.len());
            let start = 4 * 512 + 0x2c0;
            let at = start + random.next() as usize % payload.len();
            file[at] ^= 1 << (random.next() % 8);
            let got = unpack(&file, LIMIT);
            match how {
                // LZ4's legacy frame has no checksum, and this zstd encoder writes none.
                Compression::Lz4 | Compression::Zstd => drop(got),
                // Flips in gzip's flags or time, or in xz's index, leave the bytes as they were.
                _ => assert!(got.is_err() || got.unwrap() == image, "{how:?} at {at}"),
            }
        }
    }
}

#[test]
fn random_files_never_panic() {
    let mut random = Random(99);
    let heads: [&[u8]; 5] = [
        b"\x1f\x8b\x08\0",
        b"\xfd7zXZ\0\0\x01",
        b"\x28\xb5\x2f\xfd",
        b"\x02\x21\x4c\x18",
        b"\x7fELF",
    ];
    for round in 0..500 {
        let mut noise = heads[round % heads.len()].to_vec();
        let len = random.next() as usize % 2000;
        noise.extend(random.bytes(len));
        let _ = unpack(
            &bzimage(noise.clone(), (random.next() % 70_000) as usize),
            LIMIT,
        );
        let _ = unpack(&noise, 100_000);
        let mut header = bzimage(noise, 5000);
        random.spoil(&mut header[0x1f0..0x250], 8);
        let _ = unpack(&header, 1 << 20);
    }
}

/// Set REXEN_TEST_VMLINUZ to a kernel, and REXEN_TEST_VMLINUX to what another program unpacks from it.
#[test]
fn a_real_kernel_unpacks() {
    let Some(path) = std::env::var_os("REXEN_TEST_VMLINUZ") else {
        return;
    };
    let file = std::fs::read(path).unwrap();
    let image = unpack(&file, 128 << 20).unwrap();
    assert_eq!(
        image.len(),
        find_payload(&file).unwrap().unwrap().unpacked_size as usize
    );
    if let Some(path) = std::env::var_os("REXEN_TEST_VMLINUX") {
        assert!(*image == *std::fs::read(path).unwrap());
    }
}
