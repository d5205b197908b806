//! The order in which the machine comes up.

// UNSAFETY: leaves the boot stack.
#![expect(unsafe_code)]

use alloc::vec::Vec;
use core::arch::asm;
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

use rexen_core::platform::{AcpiInfo, BootInfo, MemoryMap};
use rexen_core::units::CpuId;

use crate::console::{self, serial};
use crate::cpu::{self, info};
use crate::irq::{self, apic, ioapic, pci, pic, vector};
use crate::mm::{self, layout};
use crate::platform::{self, BootMemory, Platform};
use crate::{println, smp, timer};

/// The page that further CPUs start in; 0 means none.
static LOW_PAGE: AtomicU64 = AtomicU64::new(0);

/// The first Rust code, on the boot stack and the boot page tables. `magic` tells the loader's protocol, `loader_info` is
/// the physical address of its record.
pub extern "C" fn rust_start(magic: u32, loader_info: u64) -> ! {
    mm::init_first_heap();
    serial::init(serial::COM1);
    println!("Rexen version {}", env!("CARGO_PKG_VERSION"));
    cpu::early_traps::install();
    let boot = match BootInfo::parse(magic, loader_info, &BootMemory) {
        Ok(boot) => boot,
        Err(error) => fail(format_args!("boot loader: {error}")),
    };
    println!("Bootloader: {}", boot.loader_name);
    println!("Command line: {}", boot.options_text());
    apply_options(boot.options_text());
    let map = MemoryMap::from_raw(boot.memory.iter().copied());
    for r in map.regions() {
        println!(" [{:016x}, {:016x}] {:?}", r.start, r.end - 1, r.kind);
    }
    let acpi = match AcpiInfo::find(&BootMemory, boot.rsdp.as_deref()) {
        Ok(acpi) => Some(acpi),
        Err(error) => {
            println!("ACPI: {error}");
            None
        }
    };
    let in_use: Vec<(u64, u64)> = boot.modules.iter().map(|m| (m.start, m.end)).collect();
    LOW_PAGE.store(mm::take_low_page(&map, &in_use).unwrap_or(0), Relaxed);
    if let Err(error) = mm::init(&map, &in_use) {
        fail(format_args!("{error}"));
    }
    println!(
        "System RAM: {}MB ({}kB)",
        map.ram_bytes() >> 20,
        map.ram_bytes() >> 10
    );
    platform::set(Platform { boot, map, acpi });
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
    let options = platform::platform().boot.options_text();
    smp::start_all(max_cpus(options), (page != 0).then_some(page));
    console::start_input();
    crate::dom0::start()
}

/// The value of option `name`, or an empty text for one without a value. The last one counts.
fn option<'a>(line: &'a str, name: &str) -> Option<&'a str> {
    line.split_ascii_whitespace()
        .rev()
        .find_map(|word| match word.split_once('=') {
            Some((key, value)) => (key == name).then_some(value),
            None => (word == name).then_some(""),
        })
}

/// Settings of a serial port: `baud,8n1,port`; what is left out stays.
fn serial_settings(text: &str, mut settings: serial::Settings) -> serial::Settings {
    let mut parts = text.split(',');
    if let Some(baud) = parts.next().and_then(|b| b.split('/').next()?.parse().ok()) {
        settings.baud = baud;
    }
    if let Some(port) = parts
        .nth(1)
        .and_then(|p| u16::from_str_radix(p.trim_start_matches("0x"), 16).ok())
    {
        settings.port = port;
    }
    settings
}

fn apply_options(line: &str) {
    let console = option(line, "console").unwrap_or("com1");
    let chosen = [("com1", serial::COM1), ("com2", serial::COM2)];
    match chosen
        .into_iter()
        .find(|(name, _)| console.split(',').any(|c| c == *name))
    {
        Some((name, settings)) => {
            serial::init(serial_settings(option(line, name).unwrap_or(""), settings))
        }
        None => serial::disable(),
    }
    let no_reboot =
        option(line, "noreboot").is_some_and(|v| !["0", "false", "no", "off"].contains(&v));
    console::panic::NO_REBOOT.store(no_reboot, Relaxed);
}

fn max_cpus(line: &str) -> usize {
    if option(line, "nosmp").is_some() {
        return 1;
    }
    option(line, "maxcpus")
        .and_then(|v| v.parse().ok())
        .unwrap_or(usize::MAX)
}

/// Prints why we cannot go on, and stops.
fn fail(why: core::fmt::Arguments<'_>) -> ! {
    println!("Cannot start: {why}");
    cpu::halt_forever()
}
