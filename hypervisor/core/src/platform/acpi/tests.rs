use std::vec;
use std::vec::Vec;

use super::super::testmem::{Random, TestMem};
use super::*;

/// A table with correct length and checksum.
fn table(signature: &[u8; 4], body: &[u8]) -> Vec<u8> {
    let mut t = signature.to_vec();
    t.extend((36 + body.len() as u32).to_le_bytes());
    t.resize(36, 0);
    t.extend(body);
    fix_checksum(&mut t, 9);
    t
}

fn fix_checksum(bytes: &mut [u8], at: usize) {
    bytes[at] = 0;
    bytes[at] = bytes.iter().fold(0u8, |s, b| s.wrapping_sub(*b));
}

fn rsdp(rsdt: u32, xsdt: u64) -> Vec<u8> {
    let mut r = b"RSD PTR ".to_vec();
    r.resize(36, 0);
    r[15] = if xsdt == 0 { 0 } else { 2 };
    r[16..20].copy_from_slice(&rsdt.to_le_bytes());
    fix_checksum(&mut r[..20], 8);
    r[20] = 36;
    r[24..32].copy_from_slice(&xsdt.to_le_bytes());
    fix_checksum(&mut r, 32);
    r
}

fn madt() -> Vec<u8> {
    let mut b = vec![0, 0, 0xe0, 0xfe, 1, 0, 0, 0];
    b.extend([0, 8, 0, 0, 1, 0, 0, 0]); // CPU 0, enabled
    b.extend([0, 8, 1, 1, 0, 0, 0, 0]); // CPU 1, absent
    b.extend([0, 8, 2, 2, 2, 0, 0, 0]); // CPU 2, online capable
    b.extend([0, 8, 9, 0xff, 1, 0, 0, 0]); // unused slot
    b.extend([9, 16, 0, 0, 0, 1, 0, 0, 1, 0, 0, 0, 7, 0, 0, 0]); // x2APIC 0x100, acpi id 7
    b.extend([1, 12, 5, 0, 0, 0, 0xc0, 0xfe, 24, 0, 0, 0]); // IO-APIC 5 at gsi 24
    b.extend([2, 10, 0, 0, 2, 0, 0, 0, 0, 0]); // ISA 0 is gsi 2
    b.extend([2, 10, 0, 9, 9, 0, 0, 0, 0xd, 0]); // ISA 9 level, active high
    b.extend([3, 8, 5, 0, 17, 0, 0, 0]); // gsi 17 is an NMI
    b.extend([4, 6, 0xff, 0, 0, 1]); // LINT1 of all CPUs
    b.extend([0x7f, 3, 0]); // unknown kind
    b.extend([5, 12, 0, 0, 0, 0, 0xe1, 0xfe, 1, 0, 0, 0]); // local APIC elsewhere
    table(b"APIC", &b)
}

fn fadt() -> Vec<u8> {
    let mut t = vec![0; 244 - 36];
    let mut put =
        |at: usize, bytes: &[u8]| t[at - 36..at - 36 + bytes.len()].copy_from_slice(bytes);
    put(40, &0x5000u32.to_le_bytes());
    put(46, &9u16.to_le_bytes());
    put(64, &0x604u32.to_le_bytes());
    put(76, &0x608u32.to_le_bytes());
    put(89, &[2, 0, 4]);
    put(108, &[0x32]);
    put(112, &(1u32 << 10 | 1 << 8).to_le_bytes());
    put(116, &[1, 8, 0, 1]);
    put(120, &0xcf9u64.to_le_bytes());
    put(128, &[0xf]);
    put(148, &[1, 32, 0, 2]);
    put(152, &0x600u64.to_le_bytes());
    table(b"FACP", &t)
}

fn machine(root_at: u64) -> TestMem {
    let mut mcfg = vec![0; 8];
    mcfg.extend(0xb000_0000u64.to_le_bytes());
    mcfg.extend([0, 0, 0, 255, 0, 0, 0, 0]);
    let mut hpet = vec![0; 4];
    hpet.extend([0, 64, 0, 0]);
    hpet.extend(0xfed0_0000u64.to_le_bytes());
    hpet.extend([0, 0x80, 0, 0]);
    let mut xsdt = Vec::new();
    for address in [0x2000u64, 0x2800, 0x3000, 0x3800, 0x9_9999_0000] {
        xsdt.extend(address.to_le_bytes());
    }
    TestMem(vec![
        (0x40e, vec![0xc0, 0x9f]), // EBDA at 0x9fc00
        (0x1000, table(b"XSDT", &xsdt)),
        (0x2000, madt()),
        (0x2800, table(b"MCFG", &mcfg)),
        (0x3000, table(b"HPET", &hpet)),
        (0x3800, fadt()),
        (
            0x5000,
            table(b"DSDT", b"\x08_S5_\x12\x06\x04\x0a\x05\x01\x00\x00"),
        ),
        (root_at, rsdp(0, 0x1000)),
    ])
}

#[test]
fn tables_are_found_and_read() {
    let info = AcpiInfo::find(&machine(0xf_5ad0), None).unwrap();
    assert_eq!(info.rsdp.address, Some(0xf_5ad0));
    assert_eq!(info.problems, [AcpiError::Unreadable(0x9_9999_0000)]);
    assert_eq!(info.tables.len(), 4);

    let madt = info.madt.unwrap();
    assert_eq!(
        (madt.local_apic_address, madt.has_8259),
        (0x1_fee1_0000, true)
    );
    let cpus: Vec<_> = madt
        .local_apics
        .iter()
        .map(|c| (c.apic_id, c.acpi_id, c.enabled, c.online_capable))
        .collect();
    assert_eq!(
        cpus,
        [
            (0, 0, true, false),
            (1, 1, false, false),
            (2, 2, false, true),
            (0x100, 7, true, false)
        ]
    );
    assert_eq!(madt.enabled_cpus().count(), 2);
    assert_eq!(
        madt.io_apics,
        [IoApic {
            id: 5,
            address: 0xfec0_0000,
            gsi_base: 24
        }]
    );
    assert_eq!((madt.isa_gsi(0), madt.isa_gsi(4)), ((2, 0), (4, 0)));
    assert!(madt.overrides[1].level_triggered() && !madt.overrides[1].active_low());
    assert_eq!(madt.nmi_sources, [NmiSource { gsi: 17, flags: 5 }]);
    assert_eq!(
        madt.local_nmis,
        [LocalApicNmi {
            acpi_id: None,
            lint: 1,
            flags: 0
        }]
    );

    assert_eq!(
        info.mcfg,
        [McfgEntry {
            base: 0xb000_0000,
            segment: 0,
            start_bus: 0,
            end_bus: 255
        }]
    );
    assert_eq!(
        info.hpet,
        Some(Hpet {
            address: 0xfed0_0000,
            number: 0,
            min_tick: 0x80
        })
    );
    let fadt = info.fadt.unwrap();
    assert_eq!(fadt.sci_int, 9);
    assert_eq!(fadt.pm1a_control.unwrap().port(), Some(0x604));
    assert_eq!(fadt.pm1a_event.unwrap().port(), Some(0x600));
    assert_eq!(fadt.pm1b_control, None);
    assert_eq!(
        (fadt.pm_timer.unwrap().port(), fadt.pm_timer_32bit),
        (Some(0x608), true)
    );
    assert_eq!(
        fadt.reset.map(|(g, v)| (g.port(), v)),
        Some((Some(0xcf9), 0xf))
    );
    assert_eq!(fadt.century, 0x32);
    assert_eq!(info.s5, Some((5, 1)));
}

#[test]
fn root_pointer_is_found_in_the_ebda_or_given() {
    assert_eq!(
        AcpiInfo::find(&machine(0x9_fc10), None)
            .unwrap()
            .rsdp
            .address,
        Some(0x9_fc10)
    );
    let hidden = machine(0x77_0000);
    assert_eq!(AcpiInfo::find(&hidden, None), Err(AcpiError::NoRootPointer));
    assert!(
        AcpiInfo::find(&hidden, Some(&rsdp(0, 0x1000)))
            .unwrap()
            .madt
            .is_some()
    );
}

#[test]
fn a_root_pointer_that_only_the_loader_knows_is_planted_where_a_search_finds_it() {
    let given = rsdp(0, 0x1000);
    let mut mem = machine(0x77_0000);
    mem.0.remove(0); // no EBDA either
    assert_eq!(planted_root_pointer(&mem, None), None);
    mem.0
        .extend(planted_root_pointer(&mem, Some(&given)).unwrap());
    let info = AcpiInfo::find(&mem, None).unwrap();
    assert_eq!(info.rsdp.address, Some(0x500));
    assert!(info.madt.is_some());
    assert_eq!(
        planted_root_pointer(&mem, Some(&given)),
        None,
        "there is one now"
    );
    assert_eq!(planted_root_pointer(&machine(0x9_fc10), Some(&given)), None);
}

#[test]
fn bad_root_pointer_checksum_is_refused() {
    let mut bad = rsdp(0, 0x1000);
    bad[10] ^= 1;
    assert_eq!(
        AcpiInfo::find(&machine(0x77_0000), Some(&bad)),
        Err(AcpiError::NoRootPointer)
    );
}

#[test]
fn bad_xsdt_falls_back_to_the_rsdt() {
    let mut mem = machine(0xf_0000);
    mem.0[1].1[20] ^= 0xff;
    mem.0
        .push((0x6000, table(b"RSDT", &0x2000u32.to_le_bytes())));
    let info = AcpiInfo::find(&mem, Some(&rsdp(0x6000, 0x1000))).unwrap();
    assert_eq!(info.problems, [AcpiError::BadChecksum(Signature(*b"XSDT"))]);
    assert_eq!((info.tables.len(), info.madt.is_some()), (1, true));
}

#[test]
fn one_bad_table_leaves_the_others() {
    let mut mem = machine(0xf_0000);
    mem.0[4].1[30] ^= 1;
    let info = AcpiInfo::find(&mem, None).unwrap();
    assert!(info.hpet.is_none() && info.madt.is_some());
    assert!(
        info.problems
            .contains(&AcpiError::BadChecksum(Signature(*b"HPET")))
    );
}

#[test]
fn spoiled_tables_never_panic() {
    let mut random = Random(0xfeed_5eed_1234_5677);
    let mut madts = 0;
    for _ in 0..3000 {
        let mut mem = machine(0xf_0000);
        let which = 1 + random.next() as usize % 6;
        let bytes = &mut mem.0[which].1;
        random.spoil(&mut bytes[36..], 6);
        if random.next().is_multiple_of(2) {
            let cut = 36 + random.next() as usize % (bytes.len() - 35);
            bytes.truncate(cut);
            bytes[4..8].copy_from_slice(&(cut as u32).to_le_bytes());
        }
        fix_checksum(bytes, 9);
        madts += AcpiInfo::find(&mem, None).is_ok_and(|i| i.madt.is_some()) as u32;
    }
    assert!(
        madts > 1000,
        "the spoiling must leave most machines readable"
    );
}

#[test]
fn random_bytes_never_panic() {
    let mut random = Random(77);
    for _ in 0..2000 {
        let len = random.next() as usize % 300;
        let bytes = random.bytes(len);
        let _ = Madt::parse(&bytes);
        let _ = Fadt::parse(&bytes);
        let _ = parse_mcfg(&bytes);
        let _ = parse_hpet(&bytes);
        let _ = parse_rsdp(&bytes, None);
        let _ = fadt::find_s5(&bytes);
    }
}
