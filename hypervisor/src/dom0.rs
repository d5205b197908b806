//! Building and starting domain 0.
//!
//! The modules that the loader left become a domain: `rexen_core::builder` decides what goes where, this file gives it
//! frames, validates the page tables like any guest's, and sets every CPU going.

// UNSAFETY: writes frames that belong to nobody yet, and gives the scratch memory back.
#![expect(unsafe_code)]

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::sync::atomic::Ordering::SeqCst;

use rexen_abi::memory::E820Entry;
use rexen_abi::plain::Plain;
use rexen_core::builder::{self, BuildHost, BuildParams, KernelImage, Layout, bzimage};
use rexen_core::domain::{Domain, DomainSpec, VcpuFlags};
use rexen_core::evtchn::Virq;
use rexen_core::hypercall::{self, Machine};
use rexen_core::pvmmu::{DomainMm, MmuError};
use rexen_core::sched::{self, SCHEDULERS};
use rexen_core::units::{CpuId, DomId, Mfn, PAGE_SIZE, Pfn, VcpuId};

use crate::cpu;
use crate::cpu::desc::{USER_CS64, USER_DS};
use crate::entry;
use crate::guest::{current, exit, pirq, timers};
use crate::irq::ioapic;
use crate::machine::{self, HW};
use crate::mm::{self, frames, m2p};
use crate::platform::platform;
use crate::{console, debug, domain, println, smp, timer};

/// A kernel larger than this is not one.
const MAX_KERNEL_BYTES: usize = 512 << 20;
/// What unpacking needs besides the result: the dictionary and tables of xz.
const UNPACK_OVERHEAD: u64 = 48 << 20;
/// Ports that domain 0 may have.
const MAX_PORT: u32 = 131_071;
/// Frames of its grant table, 512 entries each.
const MAX_GRANT_FRAMES: u32 = 64;
/// Frames' worth of mappings of others' grants, 256 each.
const MAX_MAPTRACK_FRAMES: u32 = 1024;

/// The frames of domain 0, by pfn.
struct Frames {
    p2m: Vec<Mfn>,
}

impl BuildHost for Frames {
    fn mfn_of(&self, pfn: Pfn) -> Mfn {
        self.p2m[pfn.0 as usize]
    }
    fn write(&mut self, pfn: Pfn, offset: usize, bytes: &[u8]) {
        assert!(
            offset + bytes.len() <= PAGE_SIZE as usize,
            "the builder writes within a page"
        );
        // SAFETY: the frame is domain 0's, which does not run yet; the range is within it.
        unsafe {
            frames::direct_map(self.mfn_of(pfn))
                .add(offset)
                .copy_from_nonoverlapping(bytes.as_ptr(), bytes.len())
        };
    }
    fn set_m2p(&mut self, mfn: Mfn, pfn: Pfn) {
        m2p::set(mfn, pfn.0);
    }
    fn zero(&mut self, pfn: Pfn) {
        // SAFETY: as `write`.
        unsafe { frames::zero_frame(self.mfn_of(pfn)) };
    }
}

/// Builds domain 0 and runs it.
pub fn start() -> ! {
    current::set_none();
    match build() {
        Ok(()) => {}
        Err(why) => {
            println!("Cannot start domain 0: {why}");
            println!("Halted: correct the boot entry and reset the machine");
            cpu::halt_forever();
        }
    }
    smp::set_ap_main(ap_main);
    entry::install_this(CpuId(0));
    println!("*** Serial input to domain 0 (type 'CTRL-a' three times to switch input)");
    exit::run()
}

fn ap_main(cpu: CpuId) -> ! {
    entry::install_this(cpu);
    exit::run()
}

fn line(error: impl fmt::Display) -> String {
    alloc::format!("{error}")
}

fn build() -> Result<(), String> {
    let boot = &platform().boot;
    let options = &platform().options;
    let kernel_module = boot
        .kernel()
        .ok_or("no kernel: the boot loader gave no module; add one (GRUB: module2 KERNEL)")?;
    // SAFETY: the loader put the modules into RAM that `mm` keeps from everyone else until `free_modules`.
    let (kernel_file, initrd) = unsafe {
        let bytes = |start: u64, end: u64| frames::bytes(start, end.saturating_sub(start) as usize);
        (
            bytes(kernel_module.start, kernel_module.end),
            boot.initrd().map_or(&[][..], |m| bytes(m.start, m.end)),
        )
    };
    let unpacked = bzimage::unpacked_size(kernel_file, MAX_KERNEL_BYTES).map_err(line)?;
    mm::lend_scratch(unpacked.saturating_add(UNPACK_OVERHEAD))?;
    let built = build_from(kernel_file, initrd);
    // SAFETY: `build_from` has dropped the unpacked kernel and all it made of it.
    let scratch = unsafe { mm::return_scratch() };
    built?;
    if let Some((start, end)) = scratch {
        machine::add_free(start, end);
    }
    for module in &boot.modules {
        machine::add_free(
            Mfn::containing(module.start.next_multiple_of(PAGE_SIZE)),
            Mfn::containing(module.end),
        );
    }
    println!("Hypervisor: {} MB free", HW.nr_free_frames() >> 8);
    let _ = options;
    Ok(())
}

fn build_from(kernel_file: &[u8], initrd: &[u8]) -> Result<(), String> {
    let options = &platform().options;
    let name = options.sched.as_deref();
    let scheduler = match name {
        None => sched::DEFAULT_SCHEDULER,
        Some(name) => sched::scheduler_named(name).ok_or_else(|| {
            let known: Vec<&str> = SCHEDULERS.iter().map(|s| s.name).collect();
            alloc::format!(
                "sched={name}: there is no such scheduler; there are: {}",
                known.join(", ")
            )
        })?,
    };
    println!("Using scheduler: {} ({})", scheduler.about, scheduler.name);
    let image = builder::unpack(kernel_file, MAX_KERNEL_BYTES).map_err(line)?;
    let kernel = KernelImage::parse(&image).map_err(line)?;
    kernel.check_dom0().map_err(line)?;

    machine::init((scheduler.build)(), &mm::take_free_ranges());
    for cpu in smp::members(smp::online()) {
        machine::scheduler().cpu_online(cpu);
    }
    timers::init();
    pirq::init();

    let free = HW.nr_free_frames();
    let (nr_pages, max_pages) = options.dom0_mem.resolve(free);
    if nr_pages > free {
        return Err(alloc::format!(
            "dom0_mem asks for {} MB of memory, but only {} MB are free: ask for less",
            nr_pages >> 8,
            free >> 8
        ));
    }
    let cmdline = platform().boot.dom0_cmdline(&[]);
    let layout = Layout::plan(&kernel, initrd.len() as u64, nr_pages, &cmdline).map_err(line)?;

    let nr_vcpus = options
        .dom0_max_vcpus
        .map_or(smp::nr_online(), |range| range.resolve(smp::nr_online()))
        .clamp(1, 64);
    let domain = domain::create(&DomainSpec {
        id: Some(DomId::DOM0),
        is_privileged: true,
        is_store: false,
        ssidref: 0,
        handle: [0; 16],
        nr_vcpus,
        max_port: MAX_PORT,
        nr_pirqs: pirq::NR_PIRQS,
        max_grant_frames: MAX_GRANT_FRAMES,
        max_maptrack_frames: MAX_MAPTRACK_FRAMES,
        max_grant_version: 2,
    })
    .map_err(|e| alloc::format!("it cannot be created: {e:?}"))?;
    domain.max_pages.store(max_pages, SeqCst);
    domain.tot_pages.store(nr_pages, SeqCst);
    *domain.memory_map.lock() = memory_map();
    let mut host = Frames {
        p2m: allocate(&domain, nr_pages)?,
    };
    let params = BuildParams {
        role: builder::Role::Dom0 {
            screen: builder::screen(&platform().boot),
        },
        shared_info_maddr: domain.shared_info.maddr(),
        cmdline: &cmdline,
        initrd,
    };
    let start_of_day = builder::build(&kernel, &layout, &params, &mut host);
    for (at, bytes) in platform().root_pointer.iter().flatten() {
        host.write(Pfn(0), *at as usize, bytes);
    }

    println!(
        "Domain 0: {} MB, {} vcpus, kernel {} at {:#x}, initrd {} kB",
        nr_pages >> 8,
        nr_vcpus,
        kernel.guest_os,
        kernel.start,
        initrd.len() >> 10
    );
    pin(&domain, start_of_day.l4)
        .map_err(|e| alloc::format!("its page tables are refused: {e:?}"))?;

    let vcpu = domain.vcpu(VcpuId(0)).ok_or("no vcpu")?;
    vcpu.kernel_l4.store(start_of_day.l4.0, SeqCst);
    vcpu.kernel_sp.store(start_of_day.stack_top, SeqCst);
    vcpu.kernel_ss.store(USER_DS.into(), SeqCst);
    {
        let mut saved = vcpu.saved.lock();
        saved.regs.rip = start_of_day.entry;
        saved.regs.rsp = start_of_day.stack_top;
        saved.regs.rsi = start_of_day.start_info_va;
        saved.regs.rflags = 0x202;
        saved.regs.cs = USER_CS64;
        saved.regs.ss = USER_DS;
    }
    HW.set_wall_clock(timer::boot_seconds(), 0);
    console::set_notify(|| exit::request(exit::MESSAGES));
    console::input::set_notify(|| {
        hypercall::raise_global_virq(&HW, Virq::CONSOLE);
    });
    debug::register_keys();
    entry::install_gates();
    vcpu.flags.store(VcpuFlags::INITIALISED, SeqCst);
    HW.vcpu_wake(vcpu);
    Ok(())
}

/// Takes the frames of the domain, large blocks first, and puts them in ascending order.
fn allocate(domain: &Domain, nr_pages: u64) -> Result<Vec<Mfn>, String> {
    let mut p2m = Vec::new();
    p2m.try_reserve_exact(nr_pages as usize)
        .map_err(|_| "the hypervisor's heap is too small for the list of domain 0's frames")?;
    let table = HW.frame_table();
    let mut order = 18;
    while (p2m.len() as u64) < nr_pages {
        let left = nr_pages - p2m.len() as u64;
        if 1 << order > left {
            order -= 1;
            continue;
        }
        let Some(first) = machine::take_unscrubbed(order) else {
            if order == 0 {
                return Err("ran out of frames for domain 0".into());
            }
            order -= 1;
            continue;
        };
        domain.span.grow(first, 1 << order);
        for n in 0..1 << order {
            let mfn = Mfn(first.0 + n);
            table
                .get(mfn)
                .and_then(|f| f.assign(domain.id).ok())
                .ok_or("a free frame could not be assigned")?;
            p2m.push(mfn);
        }
    }
    p2m.sort_unstable();
    Ok(p2m)
}

fn pin(domain: &Domain, l4: Mfn) -> Result<(), MmuError> {
    loop {
        let mut state = domain.mm.lock();
        let mut mm = DomainMm::new(HW.frame_table(), &HW, &mut state);
        // A pin, and a reference for vcpu 0, whose base it is.
        match mm.pin(4, l4) {
            Err(MmuError::Again) => continue,
            Err(e) => return Err(e),
            Ok(()) => {}
        }
        return mm.replace_base(None, Some(l4));
    }
}

/// The machine's memory map as domain 0 is shown it: without what is the hypervisor's to program.
fn memory_map() -> Vec<E820Entry> {
    let local_apic = platform()
        .acpi
        .as_ref()
        .and_then(|a| a.madt.as_ref())
        .map_or(0xfee0_0000, |m| m.local_apic_address);
    let denied = core::iter::once((local_apic, local_apic + PAGE_SIZE))
        .chain(ioapic::list().map(|(_, maddr, _)| (maddr, maddr + PAGE_SIZE)));
    platform()
        .map
        .for_dom0(denied)
        .regions()
        .iter()
        .filter_map(|r| E820Entry::read(&r.to_bytes()))
        .collect()
}
