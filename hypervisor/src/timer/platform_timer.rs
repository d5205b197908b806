//! The clock that the others are measured with: HPET, else the ACPI PM timer, else the PIT.

// UNSAFETY: reads HPET registers.
#![expect(unsafe_code)]

use crate::cpu::regs::{inb, inl, outb, rdtsc};
use crate::irq::apic;
use crate::mm::map_mmio;
use crate::platform::platform;

/// How long a measurement lasts.
const WINDOW_NS: u64 = 10_000_000;
/// Readings at each end; the quickest one counts, because nothing came between its two halves.
const TRIES: usize = 8;

#[derive(Clone, Copy)]
enum Source {
    /// Address of the counter, femtoseconds per tick, whether it counts 64 bits.
    Hpet(u64, u64, bool),
    /// Its I/O port, and whether it counts 32 bits.
    Pm(u16, bool),
    /// Channel 2, counting down from 65535.
    Pit,
}

const PM_HZ: u64 = 3_579_545;
const PIT_HZ: u64 = 1_193_182;

/// One reading: the source's counter, the TSC, and the local APIC timer, as close together as it gets.
#[derive(Clone, Copy)]
struct Reading {
    counter: u64,
    tsc: u64,
    apic: u32,
}

impl Source {
    fn find() -> Self {
        let acpi = platform().acpi.as_ref();
        if let Some(source) = acpi
            .and_then(|a| a.hpet)
            .and_then(|h| start_hpet(h.address))
        {
            return source;
        }
        let fadt = acpi.and_then(|a| a.fadt);
        match fadt.and_then(|f| Some((f.pm_timer?.port()?, f.pm_timer_32bit))) {
            Some((port, wide)) if counts(port) => Source::Pm(port, wide),
            _ => {
                start_pit();
                Source::Pit
            }
        }
    }

    fn name(self) -> &'static str {
        match self {
            Source::Hpet(..) => "HPET",
            Source::Pm(..) => "ACPI PM Timer",
            Source::Pit => "PIT",
        }
    }

    /// Reads the counter; it counts up modulo `mask() + 1`.
    fn read(self) -> u64 {
        match self {
            // SAFETY: `start_hpet` mapped the registers for good.
            Source::Hpet(at, _, true) => unsafe { (at as *const u64).read_volatile() },
            // SAFETY: as above.
            Source::Hpet(at, _, false) => unsafe { (at as *const u32).read_volatile().into() },
            Source::Pm(port, _) => inl(port).into(),
            Source::Pit => {
                outb(0x43, 0x80); // latch channel 2
                let count = u64::from(inb(0x42)) | u64::from(inb(0x42)) << 8;
                0xffff - count
            }
        }
    }

    fn mask(self) -> u64 {
        match self {
            Source::Hpet(_, _, true) => u64::MAX,
            Source::Hpet(_, _, false) | Source::Pm(_, true) => 0xffff_ffff,
            Source::Pm(_, false) => 0xff_ffff,
            Source::Pit => 0xffff,
        }
    }

    fn ns(self, ticks: u64) -> u64 {
        match self {
            Source::Hpet(_, fs, _) => (u128::from(ticks) * u128::from(fs) / 1_000_000) as u64,
            Source::Pm(..) => ticks.saturating_mul(1_000_000_000) / PM_HZ,
            Source::Pit => ticks.saturating_mul(1_000_000_000) / PIT_HZ,
        }
    }

    fn reading(self) -> Reading {
        let one = || {
            let before = rdtsc();
            let counter = self.read();
            let apic = apic::timer_count();
            let after = rdtsc();
            (
                after.wrapping_sub(before),
                Reading {
                    counter,
                    tsc: before,
                    apic,
                },
            )
        };
        (0..TRIES)
            .map(|_| one())
            .min_by_key(|r| r.0)
            .unwrap_or_else(one)
            .1
    }
}

/// Starts the HPET's main counter if it does not run. `None` if the device makes no sense.
fn start_hpet(maddr: u64) -> Option<Source> {
    const ENABLE: u64 = 1;
    const WIDE: u64 = 1 << 13;
    let base = map_mmio(maddr, 1024) as u64;
    // SAFETY: `map_mmio` mapped the registers for good; starting the counter touches no memory.
    let capabilities = unsafe {
        let configuration = (base + 0x10) as *mut u64;
        configuration.write_volatile(configuration.read_volatile() | ENABLE);
        (base as *const u64).read_volatile()
    };
    let femtoseconds = capabilities >> 32;
    // The specification allows at most 100 ns per tick.
    (1..=100_000_000)
        .contains(&femtoseconds)
        .then(|| Source::Hpet(base + 0xf0, femtoseconds, capabilities & WIDE != 0))
}

/// Whether the PM timer moves at all.
fn counts(port: u16) -> bool {
    let first = inl(port);
    (0..1000).any(|_| inl(port) != first)
}

/// Starts channel 2 of the PIT, which raises no interrupt: mode 0, from 65535.
fn start_pit() {
    outb(0x61, inb(0x61) & !2 | 1);
    outb(0x43, 0xb0);
    outb(0x42, 0xff);
    outb(0x42, 0xff);
}

/// Measures TSC and local APIC timer, in ticks per second, and names the clock used.
pub fn measure() -> (u64, u64, &'static str) {
    let source = Source::find();
    apic::set_timer_count(u32::MAX);
    let first = source.reading();
    let wide = |counter: u64| counter.wrapping_sub(first.counter) & source.mask();
    while source.ns(wide(source.read())) < WINDOW_NS {
        core::hint::spin_loop();
    }
    let last = source.reading();
    apic::set_timer_count(0);
    let ns = source.ns(wide(last.counter)).max(1);
    let per_second = |ticks: u64| (u128::from(ticks) * 1_000_000_000 / u128::from(ns)) as u64;
    let apic_ticks = first.apic.wrapping_sub(last.apic);
    (
        per_second(last.tsc.wrapping_sub(first.tsc)),
        per_second(apic_ticks.into()),
        source.name(),
    )
}
