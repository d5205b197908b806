use std::vec;
use std::vec::Vec;

use super::super::super::platform::testmem::Random;
use super::*;

/// A small ELF64 kernel: notes, and segments of (paddr, bytes, size in memory).
pub(in crate::builder) struct Elf {
    pub notes: Vec<(u32, Vec<u8>)>,
    pub segments: Vec<(u64, Vec<u8>, u64)>,
}

pub(in crate::builder) const BASE: u64 = 0xffff_ffff_8000_0000;

impl Elf {
    /// A kernel like Debian's, but tiny: text at 16 MiB, data and bss behind.
    pub(in crate::builder) fn linux() -> Self {
        let number = |n: u64| n.to_le_bytes().to_vec();
        Self {
            notes: vec![
                (note::GUEST_OS, b"linux\0".to_vec()),
                (7, b"2.6\0".to_vec()),
                (note::XEN_VERSION, b"xen-3.0\0".to_vec()),
                (note::VIRT_BASE, number(BASE)),
                (note::PADDR_OFFSET, number(0)),
                (note::ENTRY, number(BASE + 0x100_0040)),
                (
                    note::FEATURES,
                    b"!writable_page_tables|pae_pgdir_above_4gb".to_vec(),
                ),
                (note::SUPPORTED_FEATURES, 0x8801u32.to_le_bytes().to_vec()),
                (note::L1_MFN_VALID, [number(1), number(1)].concat()),
                (note::SUSPEND_CANCEL, 1u32.to_le_bytes().to_vec()),
                (note::INIT_P2M, number(0x80_0000_0000)),
                (note::MOD_START_PFN, 1u32.to_le_bytes().to_vec()),
            ],
            segments: vec![
                (0x100_0000, (0..6000).map(|i| (i * 7) as u8).collect(), 6000),
                (0x100_3000, vec![0x5a; 100], 0x2500),
            ],
        }
    }

    pub(in crate::builder) fn set(&mut self, kind: u32, desc: &[u8]) {
        self.unset(kind);
        self.notes.push((kind, desc.to_vec()));
    }

    pub(in crate::builder) fn unset(&mut self, kind: u32) {
        self.notes.retain(|(k, _)| *k != kind);
    }

    pub(in crate::builder) fn bytes(&self) -> Vec<u8> {
        let mut notes = Vec::new();
        // Others' notes stand between ours, as in real kernels.
        add_note(&mut notes, b"GNU\0", 3, &[1; 20]);
        for (kind, desc) in &self.notes {
            add_note(&mut notes, b"Xen\0", *kind, desc);
            add_note(&mut notes, b"Linux\0", note::ENTRY, &[2; 5]);
        }
        let nr_headers = self.segments.len() + 1;
        let mut at = 64 + 56 * nr_headers;
        let mut elf = b"\x7fELF\x02\x01\x01".to_vec();
        elf.resize(64, 0);
        elf[16] = 2;
        elf[18] = 62;
        elf[32] = 64;
        elf[54] = 56;
        elf[56] = nr_headers as u8;
        let mut body = Vec::new();
        let headers = self
            .segments
            .iter()
            .map(|(paddr, data, size)| (1u32, *paddr, data.clone(), *size));
        for (kind, paddr, data, size) in headers.chain([(4, 0, notes.clone(), 0)]) {
            elf.extend(kind.to_le_bytes());
            elf.extend(5u32.to_le_bytes());
            // The virtual address (the second) must not matter.
            for word in [at as u64, 0x1234, paddr, data.len() as u64, size, 4] {
                elf.extend(word.to_le_bytes());
            }
            at += data.len();
            body.extend(data);
        }
        elf.extend(body);
        elf
    }
}

fn add_note(notes: &mut Vec<u8>, name: &[u8], kind: u32, desc: &[u8]) {
    notes.extend((name.len() as u32).to_le_bytes());
    notes.extend((desc.len() as u32).to_le_bytes());
    notes.extend(kind.to_le_bytes());
    for part in [name, desc] {
        notes.extend(part);
        notes.resize(notes.len().next_multiple_of(4), 0);
    }
}

#[test]
fn a_linux_like_kernel_is_read() {
    let elf = Elf::linux().bytes();
    let image = KernelImage::parse(&elf).unwrap();
    assert_eq!(
        (image.entry, image.virt_base, image.paddr_offset),
        (BASE + 0x100_0040, BASE, 0)
    );
    assert_eq!(
        (image.start, image.end),
        (BASE + 0x100_0000, BASE + 0x100_5500)
    );
    assert_eq!(image.segments.len(), 2);
    assert_eq!(
        image.segments[1],
        Segment {
            va: BASE + 0x100_3000,
            data: &[0x5a; 100],
            mem_size: 0x2500
        }
    );
    assert_eq!(
        (image.init_p2m, image.hypercall_page),
        (Some(0x80_0000_0000), None)
    );
    assert!(image.mod_start_pfn && image.suspend_cancel);
    assert_eq!(
        (image.supported_features, image.l1_mfn_valid),
        (Some(0x8801), Some((1, 1)))
    );
    assert_eq!(image.guest_os, "linux");
    assert_eq!(image.check_dom0(), Ok(()));
}

#[test]
fn paddr_offset_moves_the_segments() {
    let mut elf = Elf::linux();
    elf.set(note::PADDR_OFFSET, &0x100_0000u64.to_le_bytes());
    elf.set(note::ENTRY, &(BASE + 0x10).to_le_bytes());
    elf.set(note::HYPERCALL_PAGE, &(BASE + 0x1000).to_le_bytes());
    let bytes = elf.bytes();
    let image = KernelImage::parse(&bytes).unwrap();
    assert_eq!(
        (image.start, image.hypercall_page),
        (BASE, Some(BASE + 0x1000))
    );
}

#[test]
fn bad_notes_are_named() {
    let error = |change: fn(&mut Elf)| {
        let mut elf = Elf::linux();
        change(&mut elf);
        KernelImage::parse(&elf.bytes()).unwrap_err()
    };
    assert_eq!(error(|e| e.notes.clear()), ImageError::NoXenNotes);
    assert_eq!(
        error(|e| e.unset(note::ENTRY)),
        ImageError::BadNote("ENTRY")
    );
    assert_eq!(
        error(|e| e.set(note::VIRT_BASE, b"abc")),
        ImageError::BadNote("VIRT_BASE")
    );
    assert_eq!(
        error(|e| e.unset(note::XEN_VERSION)),
        ImageError::BadNote("XEN_VERSION")
    );
    assert_eq!(
        error(|e| e.set(note::XEN_VERSION, b"xen-9")),
        ImageError::OtherXenVersion("xen-9".into())
    );
    assert_eq!(
        error(|e| e.set(note::GUEST_OS, b"other\0")),
        ImageError::BadNote("LOADER")
    );
    assert_eq!(
        error(|e| e.set(note::FEATURES, b"x|!supervisor_mode_kernel\0")),
        ImageError::RequiredFeature("supervisor_mode_kernel".into())
    );
    assert_eq!(
        error(|e| e.set(note::ENTRY, &BASE.to_le_bytes())),
        ImageError::BadAddress("ENTRY", BASE)
    );
    assert_eq!(
        error(|e| e.set(note::INIT_P2M, &8u64.to_le_bytes())),
        ImageError::BadAddress("INIT_P2M", 8)
    );
    const HOLE: u64 = 0xffff_8100_0000_0000;
    assert_eq!(
        error(|e| e.set(note::INIT_P2M, &HOLE.to_le_bytes())),
        ImageError::BadAddress("INIT_P2M", HOLE)
    );
    let late = BASE + 0x100_5000;
    assert_eq!(
        error(|e| e.set(note::HYPERCALL_PAGE, &(BASE + 0x100_5000).to_le_bytes())),
        ImageError::BadAddress("HYPERCALL_PAGE", late)
    );
    assert_eq!(
        error(|e| e.set(note::HYPERCALL_PAGE, &0u64.to_le_bytes())),
        ImageError::BadAddress("HYPERCALL_PAGE", 0)
    );
}

#[test]
fn a_kernel_without_dom0_support_is_refused_as_dom0_only() {
    let mut elf = Elf::linux();
    elf.set(note::SUPPORTED_FEATURES, &0x8001u32.to_le_bytes());
    let bytes = elf.bytes();
    assert_eq!(
        KernelImage::parse(&bytes).unwrap().check_dom0(),
        Err(ImageError::NotForDom0)
    );
    elf.unset(note::SUPPORTED_FEATURES);
    let bytes = elf.bytes();
    assert_eq!(KernelImage::parse(&bytes).unwrap().check_dom0(), Ok(()));
}

#[test]
fn bad_segments_are_refused() {
    let error = |paddr: u64, data: usize, size: u64| {
        let mut elf = Elf::linux();
        elf.segments.push((paddr, vec![1; data], size));
        KernelImage::parse(&elf.bytes()).unwrap_err()
    };
    assert_eq!(
        error(0x200_0000, 10, 9),
        ImageError::BadSegment { paddr: 0x200_0000 }
    );
    assert_eq!(
        error(u64::MAX, 1, 1),
        ImageError::BadSegment { paddr: u64::MAX }
    );
    assert_eq!(
        error(0x200_0000, 1, u64::MAX),
        ImageError::BadSegment { paddr: 0x200_0000 }
    );
    assert_eq!(
        error(0x200_0000, 1, 0x6000_0000),
        ImageError::TooLarge { size: 0x6200_0000 }
    );
    let mut elf = Elf::linux();
    elf.set(note::VIRT_BASE, &0xffff_8000_0000_0000u64.to_le_bytes());
    assert_eq!(
        KernelImage::parse(&elf.bytes()),
        Err(ImageError::BadSegment { paddr: 0x100_0000 })
    );
    elf.segments.clear();
    assert_eq!(
        KernelImage::parse(&elf.bytes()),
        Err(ImageError::NothingToLoad)
    );
}

#[test]
fn what_is_no_elf64_is_refused() {
    let good = Elf::linux().bytes();
    for (at, value) in [(4, 1), (5, 2), (16, 1), (18, 3), (54, 55)] {
        let mut bad = good.clone();
        bad[at] = value;
        assert_eq!(
            KernelImage::parse(&bad),
            Err(ImageError::NotElf64),
            "byte {at}"
        );
    }
    let mut many = good.clone();
    many[57] = 1;
    assert_eq!(
        KernelImage::parse(&many),
        Err(ImageError::TooManySegments(259))
    );
    for len in 0..good.len() {
        assert!(KernelImage::parse(&good[..len]).is_err(), "{len} bytes");
    }
}

#[test]
fn spoiled_kernels_never_panic() {
    let good = Elf::linux().bytes();
    let head = 64 + 3 * 56;
    let notes = good.len() - 600;
    let mut random = Random(0xdead_beef);
    let mut read = 0;
    for round in 0..20_000 {
        let mut elf = good.clone();
        let part = if round % 2 == 0 {
            &mut elf[..head]
        } else {
            &mut elf[notes..]
        };
        random.spoil(part, 6);
        if let Ok(image) = KernelImage::parse(&elf) {
            read += 1;
            let free = random.next() % 100_000;
            let _ = super::super::Layout::plan(&image, random.next() % (1 << 28), free, "");
        }
    }
    assert!(read > 1000, "the spoiling must leave many kernels readable");
}
