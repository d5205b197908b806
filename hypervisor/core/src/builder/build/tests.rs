use std::collections::HashMap;
use std::vec;
use std::vec::Vec;

use super::super::image::tests::{BASE, Elf};
use super::*;
use crate::platform::bytes::{u32_at, u64_at};

/// A domain in RAM. Its frames are scattered, and full of rubbish at first, so that nothing is right by luck.
struct TestHost {
    nr_pages: u64,
    frames: HashMap<u64, Vec<u8>>,
    m2p: HashMap<u64, u64>,
}

impl TestHost {
    fn new(nr_pages: u64) -> Self {
        Self {
            nr_pages,
            frames: HashMap::new(),
            m2p: HashMap::new(),
        }
    }

    fn frame(&mut self, mfn: Mfn) -> &mut Vec<u8> {
        assert!(
            self.pfn_of(mfn) < self.nr_pages,
            "{mfn:?} is not the domain's"
        );
        self.frames
            .entry(mfn.0)
            .or_insert_with(|| vec![0xa5; PAGE_BYTES])
    }

    fn pfn_of(&self, mfn: Mfn) -> u64 {
        (0x10_0000 - mfn.0) / 3
    }

    fn page(&mut self, pfn: Pfn) -> Vec<u8> {
        let mfn = self.mfn_of(pfn);
        self.frame(mfn).clone()
    }

    /// Walks the tables as the CPU would; checks that inner entries are the builder's.
    fn walk(&mut self, l4: Mfn, va: u64) -> Option<u64> {
        let mut table = l4;
        for shift in [39, 30, 21] {
            let entry = u64_at(self.frame(table), (va >> shift) as usize % 512 * 8).unwrap();
            if entry == 0 {
                return None;
            }
            assert_eq!(entry & 0xfff, 0x67);
            table = Mfn::containing(entry);
        }
        let entry = u64_at(self.frame(table), (va >> 12) as usize % 512 * 8).unwrap();
        (entry != 0).then_some(entry)
    }

    fn mapped_pfn(&mut self, l4: Mfn, va: u64) -> Option<(Pfn, bool)> {
        let entry = self.walk(l4, va)?;
        let writable = entry & 2 != 0;
        assert_eq!(entry & !2 & 0xfff0_0000_0000_0fff, 1 << 52 | 0x25);
        Some((
            Pfn(self.pfn_of(Mfn(entry >> 12 & 0xff_ffff_ffff))),
            writable,
        ))
    }
}

impl BuildHost for TestHost {
    fn mfn_of(&self, pfn: Pfn) -> Mfn {
        assert!(pfn.0 < self.nr_pages);
        Mfn(0x10_0000 - pfn.0 * 3)
    }
    fn write(&mut self, pfn: Pfn, offset: usize, bytes: &[u8]) {
        let mfn = self.mfn_of(pfn);
        self.frame(mfn)[offset..offset + bytes.len()].copy_from_slice(bytes);
    }
    fn set_m2p(&mut self, mfn: Mfn, pfn: Pfn) {
        assert_eq!(self.m2p.insert(mfn.0, pfn.0), None, "set twice");
    }
    fn zero(&mut self, pfn: Pfn) {
        let mfn = self.mfn_of(pfn);
        self.frame(mfn).fill(0);
    }
}

const SHARED_INFO: u64 = 0x7_7000;

fn built(elf: &Elf, initrd: &[u8], nr_pages: u64) -> (Layout, BuiltDomain, TestHost) {
    let bytes = elf.bytes();
    let kernel = KernelImage::parse(&bytes).unwrap();
    let cmdline = "console=hvc0 root=/dev/ram0";
    let layout = Layout::plan(&kernel, initrd.len() as u64, nr_pages, cmdline).unwrap();
    let mut host = TestHost::new(nr_pages);
    let params = BuildParams {
        role: Role::Dom0 { screen: None },
        shared_info_maddr: SHARED_INFO,
        cmdline,
        initrd,
    };
    let domain = build(&kernel, &layout, &params, &mut host);
    (layout, domain, host)
}

const NR_PAGES: u64 = 0x3321;

#[test]
fn the_guest_sees_its_kernel_with_a_zeroed_bss() {
    let (layout, domain, mut host) = built(&Elf::linux(), &[], NR_PAGES);
    assert_eq!(domain.entry, BASE + 0x100_0040);
    let text: Vec<u8> = (0..6000).map(|i| (i * 7) as u8).collect();
    let mut memory = Vec::new();
    for page in 0x1000..0x1006 {
        let (pfn, writable) = host.mapped_pfn(domain.l4, BASE + page * 0x1000).unwrap();
        assert_eq!((pfn, writable), (Pfn(page), true));
        memory.extend(host.page(pfn));
    }
    assert_eq!(memory[..6000], text);
    assert_eq!(memory[0x3000..0x3064], [0x5a; 100]);
    assert!(memory[0x3064..0x5500].iter().all(|b| *b == 0));
    assert!(host.page(layout.stack).iter().all(|b| *b == 0));
}

#[test]
fn the_mapping_is_complete_and_shows_its_tables_read_only() {
    let (layout, domain, mut host) = built(&Elf::linux(), &[1; 9000], NR_PAGES);
    assert_eq!(
        (domain.l4_pfn, domain.l4),
        (layout.l4(), host.mfn_of(layout.l4()))
    );
    for pfn in 0..layout.mapped_end.0 {
        let expected = (Pfn(pfn), !layout.page_tables.contains(Pfn(pfn)));
        assert_eq!(
            host.mapped_pfn(domain.l4, layout.va(Pfn(pfn))),
            Some(expected)
        );
    }
    assert_eq!(host.walk(domain.l4, layout.va(layout.mapped_end)), None);
    assert_eq!(host.walk(domain.l4, 0), None);
    let l4 = host.page(layout.l4());
    let used: Vec<usize> = (0..512)
        .filter(|i| l4[i * 8..i * 8 + 8] != [0; 8])
        .collect();
    assert_eq!(used, [1, 511]);
}

#[test]
fn the_p2m_list_is_mapped_and_matches_the_m2p() {
    let (layout, domain, mut host) = built(&Elf::linux(), &[1; 9000], NR_PAGES);
    let mut list = Vec::new();
    for index in 0..layout.p2m.data.len() {
        let (pfn, writable) = host
            .mapped_pfn(domain.l4, 0x80_0000_0000 + index * 0x1000)
            .unwrap();
        assert_eq!(
            (pfn, writable),
            (Pfn(layout.p2m.data.start.0 + index), true)
        );
        list.extend(
            host.page(pfn)
                .chunks(8)
                .map(|e| u64_at(e, 0).unwrap())
                .collect::<Vec<_>>(),
        );
    }
    assert_eq!(
        host.walk(domain.l4, 0x80_0000_0000 + layout.p2m.data.len() * 0x1000),
        None
    );
    for (pfn, entry) in list.into_iter().enumerate() {
        let pfn = pfn as u64;
        if pfn < NR_PAGES {
            assert_eq!(entry, host.mfn_of(Pfn(pfn)).0);
            assert_eq!(host.m2p.get(&entry), Some(&pfn));
        } else {
            assert_eq!(entry, u64::MAX);
        }
    }
    assert_eq!(host.m2p.len() as u64, NR_PAGES);
}

#[test]
fn start_info_says_what_the_plan_says() {
    let initrd: Vec<u8> = (0..9000).map(|i| (i * 3) as u8).collect();
    let (layout, domain, mut host) = built(&Elf::linux(), &initrd, NR_PAGES);
    assert_eq!(
        (domain.start_info_va, domain.stack_top),
        (layout.va(layout.start_info), layout.stack_top())
    );
    let info = host.page(layout.start_info);
    assert_eq!(info[..17], *b"xen-3.0-x86_64p\0\0");
    let field = |at| u64_at(&info, at).unwrap();
    assert_eq!((field(0x20), field(0x28)), (NR_PAGES, SHARED_INFO));
    assert_eq!(u32_at(&info, 0x30), Some(1 | 2 | 8));
    assert!(info[0x34..0x58].iter().all(|b| *b == 0));
    assert_eq!(
        (field(0x58), field(0x60)),
        (layout.va(layout.l4()), layout.page_tables.len())
    );
    assert_eq!(field(0x68), 0x80_0000_0000);
    assert_eq!((field(0x70), field(0x78)), (layout.initrd.start.0, 9000));
    assert_eq!(info[0x80..0x80 + 28], *b"console=hvc0 root=/dev/ram0\0");
    assert_eq!(field(0x480), layout.p2m.data.start.0);
    assert_eq!(
        field(0x488),
        layout.p2m.data.len() + layout.p2m.tables.len()
    );
    assert!(info[0x490..].iter().all(|b| *b == 0));
    let copied: Vec<u8> = layout
        .initrd
        .iter()
        .flat_map(|pfn| host.page(pfn))
        .collect();
    assert_eq!(copied[..9000], initrd);
    assert!(copied[9000..].iter().all(|b| *b == 0));
}

#[test]
fn an_old_kernel_gets_addresses_in_its_mapping_and_a_hypercall_page() {
    let mut elf = Elf::linux();
    elf.unset(15);
    elf.unset(16);
    elf.set(2, &(BASE + 0x100_1000).to_le_bytes());
    let (layout, domain, mut host) = built(&elf, &[7; 5000], NR_PAGES);
    let info = host.page(layout.start_info);
    let field = |at| u64_at(&info, at).unwrap();
    assert_eq!(u32_at(&info, 0x30), Some(3));
    assert_eq!(
        (field(0x68), field(0x70)),
        (
            layout.va(layout.p2m.data.start),
            layout.va(layout.initrd.start)
        )
    );
    assert_eq!((field(0x480), field(0x488)), (0, 0));
    let (pfn, _) = host.mapped_pfn(domain.l4, field(0x70)).unwrap();
    assert_eq!(host.page(pfn), [7; PAGE_BYTES]);
    assert_eq!(host.page(Pfn(0x1001))[..4], [0x51, 0x41, 0x53, 0xb8]);
    let (pfn, _) = host.mapped_pfn(domain.l4, field(0x68)).unwrap();
    assert_eq!(u64_at(&host.page(pfn), 8), Some(host.mfn_of(Pfn(1)).0));
}

#[test]
fn a_guest_is_told_its_rings_and_has_tables_that_a_toolstack_may_write() {
    let bytes = Elf::linux().bytes();
    let kernel = KernelImage::parse(&bytes).unwrap();
    let layout = Layout::plan_guest(&kernel, 9000, NR_PAGES, "").unwrap();
    let mut host = TestHost::new(NR_PAGES);
    let params = BuildParams {
        role: Role::Guest {
            store: EvtchnPort(3),
            console: EvtchnPort(4),
        },
        shared_info_maddr: SHARED_INFO,
        cmdline: "",
        initrd: &[1; 9000],
    };
    let domain = build(&kernel, &layout, &params, &mut host);
    let info = host.page(layout.start_info);
    let field = |at| u64_at(&info, at).unwrap();
    assert_eq!(info[..17], *b"xen-3.0-x86_64\0\0\0");
    assert_eq!(u32_at(&info, 0x30), Some(0x10 | 8));
    let (store, console) = (layout.store().unwrap(), layout.console().unwrap());
    assert_eq!((field(0x38), field(0x40)), (host.mfn_of(store).0, 3));
    assert_eq!((field(0x48), field(0x50)), (host.mfn_of(console).0, 4));
    for page in [store, console] {
        assert_eq!(host.page(page), [0; PAGE_BYTES]);
        let entry = host.walk(domain.l4, layout.va(page)).unwrap();
        assert_eq!(entry, host.mfn_of(page).maddr() | 0x23);
    }
    let entry = host.walk(domain.l4, layout.va(layout.l4())).unwrap();
    assert_eq!(entry, domain.l4.maddr() | 0x21);
}

#[test]
fn domain_0_is_told_of_its_screen() {
    let bytes = Elf::linux().bytes();
    let kernel = KernelImage::parse(&bytes).unwrap();
    let layout = Layout::plan(&kernel, 0, NR_PAGES, "").unwrap();
    let mut host = TestHost::new(NR_PAGES);
    let screen = Dom0VgaConsoleInfo {
        width: 1024,
        ..Default::default()
    };
    let params = BuildParams {
        role: Role::Dom0 {
            screen: Some(screen),
        },
        shared_info_maddr: SHARED_INFO,
        cmdline: "",
        initrd: &[],
    };
    build(&kernel, &layout, &params, &mut host);
    let info = host.page(layout.start_info);
    let (at, size) = (u32_at(&info, 0x48).unwrap(), u32_at(&info, 0x4c).unwrap());
    let (at, size) = (at as usize, size as usize);
    assert!(at >= size_of::<StartInfo>() && at % 4 == 0);
    assert_eq!(info[at..at + size], screen.to_bytes());
}

/// Set REXEN_TEST_VMLINUZ to Debian 12's kernel 6.1 to check the numbers that Xen was seen to give it.
#[test]
fn debian_kernel_is_laid_out_as_on_xen() {
    let Some(path) = std::env::var_os("REXEN_TEST_VMLINUZ") else {
        return;
    };
    let file = std::fs::read(path).unwrap();
    let elf = super::super::unpack(&file, 128 << 20).unwrap();
    let kernel = KernelImage::parse(&elf).unwrap();
    assert_eq!(kernel.check_dom0(), Ok(()));
    assert_eq!(
        (kernel.start, kernel.end),
        (0xffff_ffff_8100_0000, 0xffff_ffff_84a0_0000)
    );
    assert_eq!(
        (kernel.virt_base, kernel.init_p2m),
        (BASE, Some(0x80_0000_0000))
    );
    assert!(kernel.mod_start_pfn && kernel.suspend_cancel);
    assert_eq!(
        (kernel.supported_features, kernel.hypercall_page),
        (Some(0x8801), None)
    );
    let nr_pages = 0x2_0000;
    let initrd = [3; 1 << 20];
    let layout = Layout::plan(&kernel, initrd.len() as u64, nr_pages, "").unwrap();
    assert_eq!(layout.va(layout.page_tables.end), 0xffff_ffff_84a2_a000);
    assert_eq!(layout.va(layout.mapped_end), 0xffff_ffff_84c0_0000);
    let mut host = TestHost::new(nr_pages);
    let params = BuildParams {
        role: Role::Dom0 { screen: None },
        shared_info_maddr: SHARED_INFO,
        cmdline: "",
        initrd: &initrd,
    };
    let domain = build(&kernel, &layout, &params, &mut host);
    let entry = host.mapped_pfn(domain.l4, domain.entry & !0xfff).unwrap().0;
    assert!(layout.kernel.contains(entry));
}
