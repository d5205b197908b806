use std::string::ToString;

use super::super::image::KernelImage;
use super::*;
use crate::platform::testmem::Random;

const BASE: u64 = 0xffff_ffff_8000_0000;
const MIB: u64 = 256;

/// Debian's 6.1 kernel, as far as the layout looks at it.
fn debian() -> KernelImage<'static> {
    KernelImage {
        virt_base: BASE,
        start: 0xffff_ffff_8100_0000,
        end: 0xffff_ffff_84a0_0000,
        init_p2m: Some(0x80_0000_0000),
        mod_start_pfn: true,
        ..KernelImage::default()
    }
}

fn range(start: u64, end: u64) -> PfnRange {
    PfnRange {
        start: Pfn(start),
        end: Pfn(end),
    }
}

#[test]
fn debian_gets_the_addresses_that_xen_gives_it() {
    let plan = Layout::plan(&debian(), 40 << 20, 1024 * MIB, "console=hvc0").unwrap();
    assert_eq!(plan.kernel, range(0x1000, 0x4a00));
    assert_eq!(plan.va(plan.start_info), 0xffff_ffff_84a0_0000);
    assert_eq!(plan.va(plan.page_tables.start), 0xffff_ffff_84a0_1000);
    assert_eq!(plan.va(plan.page_tables.end), 0xffff_ffff_84a2_a000);
    assert_eq!(plan.va(plan.stack), 0xffff_ffff_84a2_a000);
    assert_eq!(plan.stack_top(), 0xffff_ffff_84a2_b000);
    assert_eq!(plan.va(plan.mapped_end), 0xffff_ffff_84c0_0000);
    assert_eq!(
        plan.mapping_tables(),
        TableCount {
            l1: 38,
            l2: 1,
            l3: 1
        }
    );
    assert_eq!(plan.initrd, range(0x4c00, 0x4c00 + 40 * MIB));
    assert!(!plan.initrd_mapped);
    // 1 GiB is 2^18 pages, of which 512 fit in a page of the list; one L1 maps these 512.
    let list = 0x4c00 + 40 * MIB;
    assert_eq!(
        plan.p2m,
        P2mPlan {
            va: 0x80_0000_0000,
            data: range(list, list + 512),
            tables: range(list + 512, list + 515)
        }
    );
    assert_eq!(plan.used_end, Pfn(list + 515));
}

#[test]
fn a_guest_has_its_rings_before_its_tables() {
    let plan = Layout::plan_guest(&debian(), 40 << 20, 1024 * MIB, "").unwrap();
    assert_eq!(plan.start_info, Pfn(0x4a00));
    assert_eq!(
        (plan.store(), plan.console()),
        (Some(Pfn(0x4a01)), Some(Pfn(0x4a02)))
    );
    assert_eq!(plan.l4(), Pfn(0x4a03));
    let dom0 = Layout::plan(&debian(), 0, 1024 * MIB, "").unwrap();
    assert_eq!((dom0.store(), dom0.console()), (None, None));
}

#[test]
fn a_kernel_without_the_notes_has_everything_in_the_mapping() {
    let old = KernelImage {
        init_p2m: None,
        mod_start_pfn: false,
        ..debian()
    };
    let plan = Layout::plan(&old, 5000, 512 * MIB, "").unwrap();
    assert_eq!(plan.initrd, range(0x4a00, 0x4a02));
    assert!(plan.initrd_mapped);
    assert_eq!(plan.p2m.data, range(0x4a02, 0x4a02 + 256));
    assert_eq!(plan.p2m.va, plan.va(Pfn(0x4a02)));
    assert!(plan.p2m.tables.is_empty());
    assert_eq!(plan.start_info, Pfn(0x4b02));
    assert_eq!(plan.used_end, plan.mapped_end);
}

#[test]
fn the_pad_grows_when_the_stack_ends_close_to_4_mib() {
    // Stack ends at 0x4a2b pages + this; the mapping must leave 128 pages.
    let at = |extra: u64| {
        let kernel = KernelImage {
            end: debian().end + extra * PAGE_SIZE,
            ..debian()
        };
        let plan = Layout::plan(&kernel, 0, 1024 * MIB, "").unwrap();
        (plan.stack.0 + 1, plan.mapped_end.0)
    };
    let exact = 0x4c00 - 128 - 0x4a2b;
    assert_eq!(at(exact), (0x4b80, 0x4c00));
    // Two more L1s for the 4 MiB that are added.
    assert_eq!(at(exact + 1), (0x4b83, 0x5000));
}

#[test]
fn too_little_memory_says_how_much_is_needed() {
    let plan = |pages| Layout::plan(&debian(), 10 << 20, pages, "");
    let Err(LayoutError::TooLittleMemory { need, have }) = plan(64 * MIB) else {
        panic!("64 MiB must not do")
    };
    assert_eq!(have, 64 * MIB);
    assert_eq!(
        LayoutError::TooLittleMemory { need, have }.to_string(),
        "the domain gets 64 MiB, but its kernel and initrd alone need 87 MiB; raise its memory (of domain 0: dom0_mem=)"
    );
    let least = (1..1000 * MIB).find(|pages| plan(*pages).is_ok()).unwrap();
    assert!(plan(least - 1).is_err() && least < 88 * MIB);
    assert_eq!(plan(least).unwrap().used_end.0, least);
    assert!(plan(0).is_err());
    assert!(matches!(
        Layout::plan(&debian(), u64::MAX, 1024, ""),
        Err(LayoutError::TooLittleMemory { have: 1024, .. })
    ));
}

#[test]
fn what_cannot_fit_is_refused() {
    let long = "x".repeat(1024);
    assert_eq!(
        Layout::plan(&debian(), 0, 1024 * MIB, &long),
        Err(LayoutError::CmdlineTooLong { len: 1024 })
    );
    assert!(Layout::plan(&debian(), 0, 1024 * MIB, &long[1..]).is_ok());
    assert_eq!(
        Layout::plan(&debian(), 0, 1 << 35, ""),
        Err(LayoutError::TooManyPages(1 << 35))
    );
    // A list in the kernel's own L4 slot, and one that would run into the hypervisor's addresses.
    for va in [
        0xffff_ff80_0000_0000,
        0xffff_7fff_ffff_f000 & 0x7fff_ffff_f000,
    ] {
        let kernel = KernelImage {
            init_p2m: Some(va),
            ..debian()
        };
        assert_eq!(
            Layout::plan(&kernel, 0, 1024 * MIB, ""),
            Err(LayoutError::NoRoom { va })
        );
    }
}

#[test]
fn any_plan_is_disjoint_and_inside_the_domain() {
    let mut random = Random(0x5151_5151);
    let mut made = 0;
    for _ in 0..3000 {
        let bits = random.next();
        let start = BASE + random.next() % (1 << 26);
        let kernel = KernelImage {
            virt_base: BASE,
            start,
            end: start + 1 + random.next() % (1 << 27),
            init_p2m: (bits & 1 != 0)
                .then_some(0x80_0000_0000 + (random.next() % (1 << 20)) * PAGE_SIZE),
            mod_start_pfn: bits & 2 != 0,
            ..KernelImage::default()
        };
        let nr_pages = random.next() % (1 << 22);
        let is_guest = bits & 4 != 0;
        let plan = if is_guest {
            Layout::plan_guest
        } else {
            Layout::plan
        };
        let Ok(plan) = plan(&kernel, random.next() % (1 << 26), nr_pages, "") else {
            continue;
        };
        assert_eq!(plan.rings.len(), if is_guest { 2 } else { 0 });
        made += 1;
        let single = |pfn: Pfn| PfnRange::new(pfn.0, 1);
        let mut parts = [
            plan.kernel,
            plan.initrd,
            plan.p2m.data,
            plan.p2m.tables,
            single(plan.start_info),
            plan.rings,
            plan.page_tables,
            single(plan.stack),
        ];
        parts.sort_by_key(|r| (r.start, r.end));
        assert!(parts.windows(2).all(|p| p[0].end <= p[1].start), "{plan:?}");
        assert!(plan.used_end.0 <= nr_pages && parts.iter().all(|r| r.end <= plan.used_end));
        assert_eq!(plan.page_tables.len(), 1 + plan.mapping_tables().total());
        assert_eq!(plan.p2m.tables.len(), plan.p2m_tables().total());
        assert!(plan.p2m.data.len() * 512 >= nr_pages);
        let pad = plan.mapped_end.0 - plan.stack.0 - 1;
        assert!((128..1024 + 128).contains(&pad), "{plan:?}");
        assert_eq!(plan.mapped_end.0 % 1024, 0);
    }
    assert!(made > 500);
}
