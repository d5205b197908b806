use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

use proptest::prelude::*;
use rexen_abi::xen::StartInfo;
use rexen_core::units::PAGE_SIZE;
use rustix::io::Errno;

use super::*;
use crate::error::Result as CallResult;

const PAGE: usize = PAGE_SIZE as usize;
const BASE: u64 = 0xffff_ffff_8000_0000;
const SHARED_INFO: Mfn = Mfn(0x77);
const DOMAIN: DomId = DomId(5);

type Frames = Rc<RefCell<BTreeMap<u64, Vec<u8>>>>;

/// A hypervisor in memory, with one domain. Its free memory is full of rubbish.
#[derive(Default)]
struct Fake {
    frames: Frames,
    calls: RefCell<Vec<String>>,
    blocks_left: Cell<usize>,
    pages_left: Cell<usize>,
    next_frame: Cell<u64>,
    windows: Rc<Cell<usize>>,
    registers: RefCell<Option<VcpuGuestContext>>,
    grants: RefCell<Vec<(GrantRef, Mfn, DomId)>>,
    /// The call that fails.
    fails: Option<&'static str>,
}

struct FakeWindow {
    frames: Frames,
    mapped: Vec<Mfn>,
    open: Rc<Cell<usize>>,
}

impl Drop for FakeWindow {
    fn drop(&mut self) {
        self.open.set(self.open.get() - 1);
    }
}

impl Window for FakeWindow {
    fn write(&self, offset: usize, bytes: &[u8]) {
        for (n, byte) in bytes.iter().enumerate() {
            let at = offset + n;
            let mut frames = self.frames.borrow_mut();
            frames.get_mut(&self.mapped[at / PAGE].0).unwrap()[at % PAGE] = *byte;
        }
    }

    fn clear(&self, offset: usize, len: usize) {
        self.write(offset, &vec![0; len]);
    }
}

impl Fake {
    fn new(blocks: usize, pages: usize) -> Self {
        let fake = Self::default();
        fake.blocks_left.set(blocks);
        fake.pages_left.set(pages);
        fake.next_frame.set(0x1000);
        fake.frames
            .borrow_mut()
            .insert(SHARED_INFO.0, vec![0; PAGE]);
        fake
    }

    fn note(&self, call: &'static str, detail: String) -> CallResult<()> {
        self.calls.borrow_mut().push(format!("{call} {detail}"));
        if self.fails == Some(call) {
            return Err(Error::new(call, Errno::NOMEM).on(DOMAIN));
        }
        Ok(())
    }

    fn frame(&self, mfn: u64) -> Vec<u8> {
        self.frames.borrow()[&mfn].clone()
    }

    /// Walks the domain's tables as the CPU would.
    fn walk(&self, va: u64) -> Option<u64> {
        let context = self.registers.borrow();
        let mut frame = context.as_ref()?.ctrlreg[3] >> 12;
        for shift in [39, 30, 21, 12] {
            let at = (va >> shift) as usize % 512 * 8;
            let entry = u64::read(&self.frame(frame)[at..])?;
            if entry & 1 == 0 {
                return None;
            }
            frame = entry >> 12 & 0xff_ffff_ffff;
        }
        Some(frame)
    }
}

impl Machine for Fake {
    fn set_max_vcpus(&self, domain: DomId, count: u32) -> CallResult<()> {
        self.note("vcpus", format!("{} {count}", domain.0))
    }
    fn set_max_memory(&self, _: DomId, kib: u64) -> CallResult<()> {
        self.note("max_mem", kib.to_string())
    }
    fn set_memory_map(&self, _: DomId, kib: u64) -> CallResult<()> {
        self.note("memory_map", kib.to_string())
    }
    fn alloc_unbound(&self, _: DomId, remote: DomId) -> CallResult<EvtchnPort> {
        self.note("port", remote.0.to_string())?;
        Ok(EvtchnPort(self.calls.borrow().len() as u32))
    }
    fn populate(&self, _: DomId, first: Pfn, count: usize, order: u32) -> CallResult<Vec<Mfn>> {
        self.note("populate", format!("{:#x} {count} {order}", first.0))?;
        let left = if order == 0 {
            &self.pages_left
        } else {
            &self.blocks_left
        };
        let done = count.min(left.get());
        left.set(left.get() - done);
        Ok((0..done)
            .map(|_| {
                let start = self.next_frame.get();
                self.next_frame.set(start + (1 << order) + 3);
                for mfn in start..start + (1 << order) {
                    self.frames.borrow_mut().insert(mfn, vec![0xa5; PAGE]);
                }
                Mfn(start)
            })
            .collect())
    }
    fn shared_info(&self, _: DomId) -> CallResult<Mfn> {
        Ok(SHARED_INFO)
    }
    fn map(&self, _: DomId, frames: &[Mfn]) -> CallResult<Box<dyn Window>> {
        if self.fails == Some("map") {
            return Err(Error::new("map", Errno::NOMEM));
        }
        self.windows.set(self.windows.get() + 1);
        Ok(Box::new(FakeWindow {
            frames: self.frames.clone(),
            mapped: frames.to_vec(),
            open: self.windows.clone(),
        }))
    }
    fn pin_l4(&self, _: DomId, frame: Mfn) -> CallResult<()> {
        assert_eq!(self.windows.get(), 0, "tables are pinned while mapped");
        self.note("pin", format!("{:#x}", frame.0))
    }
    fn set_registers(&self, _: DomId, context: &VcpuGuestContext) -> CallResult<()> {
        *self.registers.borrow_mut() = Some(*context);
        self.note("registers", String::new())
    }
    fn seed_grants(&self, _: DomId, grants: &[(GrantRef, Mfn, DomId)]) -> CallResult<()> {
        *self.grants.borrow_mut() = grants.to_vec();
        self.note("grants", String::new())
    }
}

/// A small kernel as Linux' notes have it: 3 pages of text at 16 MiB, a page of bss.
fn kernel() -> Vec<u8> {
    let mut notes = Vec::new();
    let mut note = |number: u32, value: &[u8]| {
        for word in [4, value.len() as u32, number] {
            notes.extend(word.to_le_bytes());
        }
        notes.extend(b"Xen\0");
        notes.extend(value);
        notes.resize(notes.len().next_multiple_of(4), 0);
    };
    note(1, &(BASE + 0x100_0040).to_le_bytes());
    note(3, &BASE.to_le_bytes());
    note(5, b"xen-3.0\0");
    note(6, b"linux\0");
    note(15, &0x80_0000_0000u64.to_le_bytes());
    note(16, &1u64.to_le_bytes());
    let text: Vec<u8> = (0..3 * PAGE).map(|n| (n * 7) as u8).collect();
    let mut elf = vec![0; 0x100];
    elf[..7].copy_from_slice(b"\x7fELF\x02\x01\x01");
    let mut put = |at: usize, bytes: &[u8]| elf[at..at + bytes.len()].copy_from_slice(bytes);
    put(16, &2u16.to_le_bytes());
    put(18, &62u16.to_le_bytes());
    put(32, &64u64.to_le_bytes());
    put(54, &56u16.to_le_bytes());
    put(56, &2u16.to_le_bytes());
    let mut header = |at: usize, kind: u32, offset: u64, paddr: u64, file: u64, memory: u64| {
        put(at, &kind.to_le_bytes());
        put(at + 8, &offset.to_le_bytes());
        put(at + 24, &paddr.to_le_bytes());
        put(at + 32, &file.to_le_bytes());
        put(at + 40, &memory.to_le_bytes());
        put(at + 48, &4u64.to_le_bytes());
    };
    let text_len = text.len() as u64;
    header(64, 1, 0x100, 0x100_0000, text_len, text_len + 4096);
    header(
        120,
        4,
        0x100 + text_len,
        0,
        notes.len() as u64,
        notes.len() as u64,
    );
    elf.extend(text);
    elf.extend(notes);
    elf
}

fn spec(pages: u64) -> Spec<'static> {
    Spec {
        ramdisk: &[7; 5000],
        cmdline: "console=hvc0 root=/dev/xvda1",
        pages,
        max_kib: 40 << 10,
        vcpus: 2,
        store_domain: DomId(0),
        console_domain: DomId(3),
    }
}

const PAGES: u64 = 8192 + 17;

fn build(fake: &Fake) -> Result<Built, BuildError> {
    let file = kernel();
    let kernel = Kernel::unpack(&file)?;
    let plan = Plan::new(&kernel, spec(PAGES))?;
    plan.carry_out(DOMAIN, fake, |_| ())
}

#[test]
fn a_domain_is_built_so_that_it_can_run() {
    let fake = Fake::new(16, 17);
    let built = build(&fake).unwrap();
    assert_eq!(fake.windows.get(), 0);
    let context = fake.registers.borrow().unwrap();
    let regs = context.user_regs;
    assert_eq!(regs.rip, BASE + 0x100_0040);
    assert_eq!((regs.cs, regs.ss, regs.rflags), (0xe033, 0xe02b, 0x202));
    assert_eq!(
        (context.kernel_sp, context.flags),
        (regs.rsp, 1 << 2 | 1 << 5)
    );

    // What the kernel sees through its own tables.
    let text = fake.frame(fake.walk(BASE + 0x100_1000).unwrap());
    assert_eq!(text[1], (4097 * 7) as u8);
    let bss = fake.frame(fake.walk(BASE + 0x100_3000).unwrap());
    assert_eq!(bss, [0; PAGE]);
    let stack = fake.frame(fake.walk(regs.rsp - 8).unwrap());
    assert_eq!(stack, [0; PAGE]);
    let info = StartInfo::read(&fake.frame(fake.walk(regs.rsi).unwrap())).unwrap();
    assert_eq!(&info.magic[..15], b"xen-3.0-x86_64\0");
    assert_eq!(info.nr_pages, PAGES);
    assert_eq!(info.shared_info, SHARED_INFO.maddr());
    assert_eq!(
        (info.store_mfn, info.console_mfn),
        (built.store_frame.0, built.console_frame.0)
    );
    assert_eq!(
        (info.store_evtchn, info.console_evtchn),
        (built.store_port.0, built.console_port.0)
    );
    assert_ne!(built.store_port, built.console_port);
    assert_eq!(info.mod_len, 5000);
    assert_eq!(&info.cmd_line[..29], b"console=hvc0 root=/dev/xvda1\0");
    assert_eq!(fake.walk(info.pt_base), Some(context.ctrlreg[3] >> 12));
    for page in 0..info.nr_pt_frames {
        assert!(fake.walk(info.pt_base + page * 4096).is_some());
    }
    // The p2m list names each page's frame; the ramdisk is at its page.
    let p2m = |pfn: u64| {
        let page = fake.frame(fake.walk(info.mfn_list + pfn / 512 * 4096).unwrap());
        u64::read(&page[(pfn % 512) as usize * 8..]).unwrap()
    };
    assert_eq!(p2m(0x1001), fake.walk(BASE + 0x100_1000).unwrap());
    assert_eq!(fake.frame(p2m(info.mod_start)), [7; PAGE]);
    assert_eq!(fake.frame(p2m(info.mod_start + 1))[..904], [7; 904]);
    assert_eq!(p2m(PAGES - 1), fake.next_frame.get() - 4);
    assert_eq!(p2m(PAGES), u64::MAX);

    let shared_info = fake.frame(SHARED_INFO.0);
    for vcpu in 0..32 {
        assert_eq!(shared_info[vcpu * 64..][..2], [0, 1]);
    }
    assert!(shared_info[32 * 64..].iter().all(|byte| *byte == 0));
    assert_eq!(
        *fake.grants.borrow(),
        [
            (GrantRef(0), built.console_frame, DomId(3)),
            (GrantRef(1), built.store_frame, DomId(0))
        ]
    );
}

#[test]
fn the_printed_plan_is_what_is_done() {
    let file = kernel();
    let kernel = Kernel::unpack(&file).unwrap();
    let plan = Plan::new(&kernel, spec(PAGES)).unwrap();
    let fake = Fake::new(16, 17);
    let mut seen = Vec::new();
    plan.carry_out(DOMAIN, &fake, |step| seen.push(step.to_string()))
        .unwrap();
    let printed = plan.to_string();
    assert_eq!(printed.lines().collect::<Vec<_>>(), seen);
    assert!(
        printed.contains("make 2 vcpus\nlimit its memory to 40960 KiB\n"),
        "{printed}"
    );
    let calls = fake.calls.borrow();
    assert_eq!(
        calls[..7],
        [
            "vcpus 5 2",
            "max_mem 40960",
            "memory_map 40960",
            "port 0",
            "port 3",
            "populate 0x0 16 9",
            "populate 0x2000 17 0"
        ]
    );
}

#[test]
fn scattered_memory_does_as_well_and_too_little_is_told() {
    let fake = Fake::new(3, 8192);
    build(&fake).unwrap();
    let fake = Fake::new(3, 100);
    let error = build(&fake).unwrap_err();
    assert_eq!(
        error,
        BuildError::OutOfMemory {
            wanted: PAGES,
            got: 3 * 512 + 100
        }
    );
    assert!(error.to_string().contains("6 MiB of 32 MiB"), "{error}");
}

#[test]
fn a_call_that_fails_ends_it_and_leaves_nothing_mapped() {
    for call in [
        "vcpus",
        "max_mem",
        "memory_map",
        "port",
        "populate",
        "map",
        "pin",
        "registers",
        "grants",
    ] {
        let fake = Fake {
            fails: Some(call),
            ..Fake::new(16, 17)
        };
        assert!(
            matches!(build(&fake), Err(BuildError::Call(e)) if e.call() == call),
            "{call}"
        );
        assert_eq!(fake.windows.get(), 0);
    }
}

#[test]
fn what_is_no_kernel_is_told() {
    let error = Kernel::unpack(b"#!/bin/sh\n").unwrap_err().to_string();
    assert!(error.contains("neither bzImage nor ELF"), "{error}");
    let file = kernel();
    let unpacked = Kernel::unpack(&file).unwrap();
    let error = Plan::new(&unpacked, spec(16)).unwrap_err();
    assert!(matches!(error, BuildError::Layout(_)), "{error}");
}

proptest! {
    /// A damaged kernel: a message or a plan, and a plan can be carried out.
    #[test]
    fn no_kernel_panics(
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..12),
        cut in any::<Option<prop::sample::Index>>(),
    ) {
        let mut file = kernel();
        for (at, value) in &damage {
            // Most of the file is text, which nobody looks at.
            let at = at.index(0x100 + 400);
            let at = if at < 0x100 { at } else { file.len() - 1 - (at - 0x100) % 300 };
            file[at] = *value;
        }
        if let Some(cut) = cut {
            file.truncate(cut.index(file.len()));
        }
        let Ok(kernel) = Kernel::unpack(&file) else {
            return Ok(());
        };
        if let Ok(plan) = Plan::new(&kernel, spec(PAGES)) {
            let fake = Fake::new(16, 17);
            prop_assert!(plan.carry_out(DOMAIN, &fake, |_| ()).is_ok());
        }
    }
}
