//! The order in which the machine comes up.

// UNSAFETY: leaves the boot stack.
#![expect(unsafe_code)]

use alloc::vec::Vec;
use core::arch::asm;
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

use rexen_core::options::{self, ComPort, Consoles, LogLevel, Options};
use rexen_core::platform::{AcpiInfo, BootInfo, MemoryMap, planted_root_pointer};
use rexen_core::units::CpuId;

use crate::console::{self, serial};
use crate::cpu::{self, info};
use crate::irq::{self, apic, ioapic, pci, pic, vector};
use crate::mm::{self, layout};
use crate::platform::{self, BootMemory, Platform};
use crate::{log, println, smp, timer};

/// The page that further CPUs start in; 0 means none.
static LOW_PAGE: AtomicU64 = AtomicU64::new(0);

/// The first Rust code, on the boot stack and the boot page tables. `magic` tells the loader's protocol, `loader_info` is
/// the physical address of its record.
pub extern "C" fn rust_start(magic: u32, loader_info: u64) -> ! {
    mm::init_first_heap();
    serial::init(&ComPort::COM1);
    println!("Rexen version {}", env!("CARGO_PKG_VERSION"));
    cpu::early_traps::install();
    let boot = match BootInfo::parse(magic, loader_info, &BootMemory) {
        Ok(boot) => boot,
        Err(error) => fail(format_args!("boot loader: {error}")),
    };
    println!("Bootloader: {}", boot.loader_name);
    println!("Command line: {}", boot.options_text());
    let (options, problems) = options::parse(boot.options_text());
    apply_options(&options);
    for problem in &problems {
        if problem.is_fatal() {
            fail(format_args!("{problem}"));
        }
        println!("{problem}");
    }
    let mut map = MemoryMap::from_raw(boot.memory.iter().copied());
    if let Some(limit) = options.mem {
        map.clip_ram(limit);
    }
    for r in map.regions() {
        log!(
            LogLevel::Info,
            " [{:016x}, {:016x}] {:?}",
            r.start,
            r.end - 1,
            r.kind
        );
    }
    let acpi = match AcpiInfo::find(&BootMemory, boot.rsdp.as_deref()) {
        Ok(acpi) => Some(acpi),
        Err(error) => {
            log!(LogLevel::Error, "ACPI: {error}");
            None
        }
    };
    let root_pointer = planted_root_pointer(&BootMemory, boot.rsdp.as_deref());
    let in_use: Vec<(u64, u64)> = boot.modules.iter().map(|m| (m.start, m.end)).collect();
    LOW_PAGE.store(mm::take_low_page(&map, &in_use).unwrap_or(0), Relaxed);
    if let Err(error) = mm::init(&map, &in_use) {
        fail(format_args!("{error}"));
    }
    log!(
        LogLevel::Info,
        "System RAM: {}MB ({}kB)",
        map.ram_bytes() >> 20,
        map.ram_bytes() >> 10
    );
    platform::set(Platform {
        boot,
        options,
        map,
        acpi,
        root_pointer,
    });
    let pages = mm::percpu::create(0);
    cpu::desc::fill(0, pages.gdt);
    let stack = (layout::stack_end(0) - info::CPU_INFO_BYTES) & !15;
    // SAFETY: (1) the stack of CPU 0 is mapped and unused; (2) `on_own_stack` never returns, so nothing is lost with the old
    // one, which stays mapped.
    unsafe {
        asm!("mov rsp, {}", "xor ebp, ebp", "call {}", "ud2", in(reg) stack, sym on_own_stack, options(noreturn))
    }
}

/// The rest of the start, on CPU 0's own stack.
extern "C" fn on_own_stack() -> ! {
    info::word(info::slot::CPU_ID).store(0, Relaxed);
    cpu::init_this(0);
    smp::set_online(CpuId(0));
    console::keys::init();
    let acpi = platform::platform().acpi.as_ref();
    let madt = acpi.and_then(|a| a.madt.as_ref());
    pic::disable();
    apic::init(madt.map_or(0xfee0_0000, |m| m.local_apic_address));
    if let Some(madt) = madt {
        ioapic::init(&madt.io_apics);
    }
    for m in acpi.map_or(&[][..], |a| &a.mcfg) {
        pci::add_mmcfg(m.base, m.segment, m.start_bus, m.end_bus);
    }
    irq::set_handler(vector::EVENT_CHECK, |_| apic::eoi());
    timer::init();
    smp::shutdown::init();
    smp::flush::init();
    let page = LOW_PAGE.load(Relaxed);
    smp::start_all(&platform::platform().options, (page != 0).then_some(page));
    console::start_input();
    crate::dom0::start()
}

/// Lets the options on consoles and messages take effect, now that they are known.
fn apply_options(options: &Options) {
    match options.console {
        Consoles { com1: true, .. } => serial::init(&options.com[0]),
        Consoles { com2: true, .. } => serial::init(&options.com[1]),
        _ => serial::disable(),
    }
    console::panic::NO_REBOOT.store(options.noreboot, Relaxed);
    console::log::HYPERVISOR.set(options.loglvl);
    console::log::GUEST.set(options.guest_loglvl);
}

/// Prints why we cannot go on, and stops.
fn fail(why: core::fmt::Arguments<'_>) -> ! {
    println!("Cannot start: {why}");
    cpu::halt_forever()
}
