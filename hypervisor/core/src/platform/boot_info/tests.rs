use std::vec;
use std::vec::Vec;

use super::super::testmem::{Random, TestMem};
use super::*;

const INFO: u64 = 0x9500;

fn put(bytes: &mut [u8], at: usize, value: u32) {
    bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
}

/// What QEMU's `-kernel hv -append "dom0_mem=1G -- quiet" -initrd "vmlinuz console=hvc0,initrd.gz"` gives.
fn qemu_record() -> TestMem {
    let mut info = vec![0; 116];
    for (at, value) in [
        (0, 1 << 0 | 1 << 2 | 1 << 3 | 1 << 6 | 1 << 9),
        (4, 639),
        (8, 65536),
        (16, 0xa000),
        (20, 2),
        (24, 0xa200),
        (44, 48),
        (48, 0xa300),
        (64, 0xa100),
    ] {
        put(&mut info, at, value);
    }
    let mut modules = vec![0; 32];
    for (at, value) in [
        (0, 0x80_0000),
        (4, 0x90_0000),
        (8, 0xa020),
        (16, 0x90_1000),
        (20, 0x91_0000),
        (24, 0xa040),
    ] {
        put(&mut modules, at, value);
    }
    let mut mmap = vec![0; 48];
    for (at, value) in [
        (0, 20),
        (12, 0x9_fc00),
        (20, 1),
        (24, 20),
        (28, 0x10_0000),
        (36, 0x100_0000),
        (44, 1),
    ] {
        put(&mut mmap, at, value);
    }
    TestMem(vec![
        (INFO, info),
        (0xa000, b"hv.elf  dom0_mem=1G -- quiet\0".to_vec()),
        (0xa020, b"vmlinuz console=hvc0\0".to_vec()),
        (0xa040, b"initrd.gz\0".to_vec()),
        (0xa100, b"qemu\0".to_vec()),
        (0xa200, modules),
        (0xa300, mmap),
    ])
}

fn tag(list: &mut Vec<u8>, kind: u32, body: &[u8]) {
    list.extend(kind.to_le_bytes());
    list.extend((body.len() as u32 + 8).to_le_bytes());
    list.extend(body);
    list.resize(list.len().next_multiple_of(8), 0);
}

/// What GRUB 2 gives for `multiboot2 /hv placeholder mem=2G`.
fn grub_record() -> Vec<u8> {
    let mut list = vec![0; 8];
    tag(&mut list, 1, b"placeholder mem=2G\0");
    tag(&mut list, 2, b"GRUB 2.06-13\0");
    let mut module = Vec::new();
    module.extend(0x1_0000u32.to_le_bytes());
    module.extend(0x80_0000u32.to_le_bytes());
    module.extend(b"placeholder root=/dev/sda1\0");
    tag(&mut list, 3, &module);
    let mut mmap = vec![24, 0, 0, 0, 0, 0, 0, 0];
    mmap.extend([0u64, 0x9_fc00, 1].into_iter().flat_map(u64::to_le_bytes));
    mmap.extend(
        [0x9_fc00u64, 0x400, 2]
            .into_iter()
            .flat_map(u64::to_le_bytes),
    );
    tag(&mut list, 6, &mmap);
    let mut fb = Vec::new();
    fb.extend(0xfd00_0000u64.to_le_bytes());
    fb.extend([4096u32, 1024, 768].into_iter().flat_map(u32::to_le_bytes));
    fb.extend([32, 1, 0, 0, 16, 8, 8, 8, 0, 8]);
    tag(&mut list, 8, &fb);
    tag(&mut list, 15, b"RSD PTR new");
    tag(&mut list, 14, b"RSD PTR old");
    tag(&mut list, 0, &[]);
    let total = list.len() as u32;
    put(&mut list, 0, total);
    list
}

#[test]
fn multiboot1_record_of_qemu_is_read() {
    let boot = BootInfo::parse(MULTIBOOT1_MAGIC, INFO, &qemu_record()).unwrap();
    assert_eq!(boot.loader_name, "qemu");
    assert_eq!(boot.options_text(), "dom0_mem=1G");
    assert_eq!(boot.dom0_extra(), "quiet");
    assert_eq!(boot.dom0_cmdline(&["noapic"]), "console=hvc0 quiet noapic");
    let spans: Vec<_> = boot.modules.iter().map(|m| (m.start, m.end)).collect();
    assert_eq!(spans, [(0x80_0000, 0x90_0000), (0x90_1000, 0x91_0000)]);
    assert_eq!(boot.initrd().unwrap().string, "initrd.gz");
    assert_eq!(
        boot.memory,
        [
            RawRegion {
                base: 0,
                len: 0x9_fc00,
                kind: 1
            },
            RawRegion {
                base: 0x10_0000,
                len: 0x100_0000,
                kind: 1
            }
        ]
    );
}

#[test]
fn multiboot2_record_of_grub_is_read() {
    let mem = TestMem(vec![(INFO, grub_record())]);
    let boot = BootInfo::parse(MULTIBOOT2_MAGIC, INFO, &mem).unwrap();
    assert_eq!(boot.options_text(), "placeholder mem=2G");
    assert_eq!(boot.dom0_cmdline(&[]), "placeholder root=/dev/sda1");
    assert_eq!(
        (boot.modules[0].start, boot.modules[0].end),
        (0x1_0000, 0x80_0000)
    );
    assert_eq!(
        boot.memory[1],
        RawRegion {
            base: 0x9_fc00,
            len: 0x400,
            kind: 2
        }
    );
    assert_eq!(boot.rsdp.as_deref(), Some(&b"RSD PTR new"[..]));
    let fb = boot.framebuffer.unwrap();
    assert_eq!(
        (fb.addr, fb.pitch, fb.width, fb.height, fb.bpp),
        (0xfd00_0000, 4096, 1024, 768, 32)
    );
    assert_eq!(fb.rgb, [(16, 8), (8, 8), (0, 8)]);
}

#[test]
fn image_name_is_stripped_unless_grub_2_loaded_us() {
    assert_eq!(strip_image_name("  /boot/hv a b", "qemu"), "a b");
    assert_eq!(strip_image_name("/boot/hv", ""), "");
    assert_eq!(strip_image_name("/boot/hv a", "GNU GRUB 0.97"), "a");
    assert_eq!(strip_image_name(" a b", "GRUB 2.06"), "a b");
    assert_eq!(strip_image_name("hv a", "GRUB "), "a");
}

#[test]
fn command_line_splits_at_the_lone_dashes() {
    assert_eq!(split_options("a=1 --  b --c"), ("a=1", "b --c"));
    assert_eq!(split_options("-- b"), ("", "b"));
    assert_eq!(split_options("a --b"), ("a --b", ""));
    assert_eq!(split_options("a --"), ("a", ""));
}

#[test]
fn missing_pieces_are_named() {
    let mem = TestMem(vec![(INFO, vec![0; 116])]);
    assert_eq!(
        BootInfo::parse(MULTIBOOT1_MAGIC, INFO, &mem),
        Err(BootInfoError::NoMemoryMap)
    );
    assert_eq!(
        BootInfo::parse(MULTIBOOT1_MAGIC, 0, &mem),
        Err(BootInfoError::Unreadable(0))
    );
    assert_eq!(
        BootInfo::parse(1, INFO, &mem),
        Err(BootInfoError::UnknownMagic(1))
    );
    assert_eq!(
        BootInfo::parse(MULTIBOOT2_MAGIC, INFO, &mem),
        Err(BootInfoError::BadTagList)
    );
    let mut unterminated = grub_record();
    let short = unterminated.len() as u32 - 8;
    put(&mut unterminated, 0, short);
    let mem = TestMem(vec![(INFO, unterminated)]);
    assert_eq!(
        BootInfo::parse(MULTIBOOT2_MAGIC, INFO, &mem),
        Err(BootInfoError::BadTagList)
    );
}

#[test]
fn spoiled_records_never_panic_or_hang() {
    let mut random = Random(0xabcd_ef01_2345);
    let mut read = 0;
    for _ in 0..3000 {
        let mut one = qemu_record();
        let which = random.next() as usize % one.0.len();
        random.spoil(&mut one.0[which].1, 4);
        read += BootInfo::parse(MULTIBOOT1_MAGIC, INFO, &one).is_ok() as u32;
        let mut two = grub_record();
        random.spoil(&mut two, 4);
        read += BootInfo::parse(MULTIBOOT2_MAGIC, INFO, &TestMem(vec![(INFO, two)])).is_ok() as u32;
        let noise = random.bytes(200);
        let _ = BootInfo::parse(MULTIBOOT2_MAGIC, INFO, &TestMem(vec![(INFO, noise)]));
    }
    assert!(read > 1000, "the spoiling must leave many records readable");
}
