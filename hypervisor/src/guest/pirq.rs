//! Physical interrupts of domains: IO-APIC lines and message-signalled interrupts, from a vector to an event.
//!
//! A pirq below the number of GSIs is the IO-APIC line of that number; the rest are handed out for MSIs. Edge lines and
//! MSIs are acknowledged at once. A level line is masked until the guest says that it has served its device.

use alloc::vec::Vec;
use core::sync::atomic::{AtomicU32, Ordering::Relaxed};

use rexen_abi::errno::Errno;
use rexen_core::domain::Domain;
use rexen_core::hypercall::{self, Machine, MsiRequest};
use rexen_core::sync::Mutex;
use rexen_core::units::{CpuId, DomId, Pirq};

use crate::irq::ioapic::Line;
use crate::irq::msi::{self, Message};
use crate::irq::{self, apic, gsi, ioapic, pci};
use crate::machine::HW;

/// Pirqs in all.
pub const NR_PIRQS: u32 = 512;

#[derive(Clone, Copy)]
enum Source {
    /// Nothing, but perhaps handed out.
    None,
    Gsi {
        line: Line,
        level: bool,
    },
    Msi(Message),
}

#[derive(Clone, Copy)]
struct Entry {
    source: Source,
    vector: u8,
    owner: Option<DomId>,
    /// A level line is masked until the guest's EOI.
    waiting: bool,
    taken: bool,
}

const FREE: Entry = Entry {
    source: Source::None,
    vector: 0,
    owner: None,
    waiting: false,
    taken: false,
};

static ENTRIES: Mutex<Vec<Entry>> = Mutex::new(Vec::new());
/// The pirq behind each vector; `u32::MAX` for none.
static PIRQ_OF: [AtomicU32; 256] = [const { AtomicU32::new(u32::MAX) }; 256];

/// Makes the table. Once, after the IO-APICs are known.
pub fn init() {
    *ENTRIES.lock() = alloc::vec![FREE; NR_PIRQS as usize];
}

fn with<R>(pirq: Pirq, f: impl FnOnce(&mut Entry) -> Result<R, Errno>) -> Result<R, Errno> {
    f(ENTRIES
        .lock()
        .get_mut(pirq.0 as usize)
        .ok_or(Errno::EINVAL)?)
}

fn arrived(vector: u8) {
    let pirq = Pirq(PIRQ_OF[usize::from(vector)].load(Relaxed));
    let owner = {
        let mut entries = ENTRIES.lock();
        let Some(entry) = entries.get_mut(pirq.0 as usize) else {
            apic::eoi();
            return;
        };
        if let Source::Gsi { level: true, .. } = entry.source {
            ioapic::mask(pirq.0);
            entry.waiting = true;
        }
        entry.owner
    };
    apic::eoi();
    if let Some(domain) = owner.and_then(|id| HW.domain(id))
        && let Some((port, raised)) = domain.events.raise_pirq(&HW, pirq)
    {
        hypercall::deliver(&HW, &domain, port, raised);
    }
}

/// Programs a GSI for domain 0, masked until bound.
pub fn setup_gsi(number: u32, level: bool, active_low: bool) -> Result<(), Errno> {
    if !ioapic::exists(number) {
        return Err(Errno::EINVAL);
    }
    if gsi::is_ours(number) {
        // Domain 0 sets up every line of the ISA bus that the firmware names, and takes this for "done before".
        return Err(Errno::EEXIST);
    }
    with(Pirq(number), |entry| {
        if matches!(entry.source, Source::Gsi { .. }) {
            return Err(Errno::EEXIST);
        }
        let vector = irq::alloc_vector().ok_or(Errno::ENOSPC)?;
        let line = Line { level, active_low };
        *entry = Entry {
            source: Source::Gsi { line, level },
            vector,
            taken: true,
            ..FREE
        };
        PIRQ_OF[usize::from(vector)].store(number, Relaxed);
        irq::set_handler(vector, arrived);
        ioapic::program(number, vector, CpuId(0), line, true);
        Ok(())
    })
}

/// Lets the pirq through to `domain`.
pub fn bind(domain: &Domain, pirq: Pirq) -> Result<(), Errno> {
    if gsi::is_ours(pirq.0) {
        return Err(Errno::EBUSY);
    }
    if ioapic::exists(pirq.0) {
        // Lines of the ISA bus are bound without having been set up: take what the firmware says of them.
        let line = gsi::line(pirq.0);
        match setup_gsi(pirq.0, line.level, line.active_low) {
            Ok(()) | Err(Errno::EEXIST) => {}
            Err(e) => return Err(e),
        }
    }
    with(pirq, |entry| {
        if entry.owner.is_some_and(|owner| owner != domain.id) {
            return Err(Errno::EBUSY);
        }
        entry.owner = Some(domain.id);
        entry.waiting = false;
        match entry.source {
            Source::None => return Err(Errno::EINVAL),
            Source::Gsi { .. } => ioapic::unmask(pirq.0),
            Source::Msi(message) => {
                msi::set_masked(message, false);
            }
        }
        Ok(())
    })
}

/// Masks the pirq and forgets its domain.
pub fn unbind(domain: &Domain, pirq: Pirq) {
    let _ = with(pirq, |entry| {
        if entry.owner == Some(domain.id) {
            entry.owner = None;
            match entry.source {
                Source::None => {}
                Source::Gsi { .. } => ioapic::mask(pirq.0),
                Source::Msi(message) => {
                    msi::set_masked(message, true);
                }
            }
        }
        Ok(())
    });
}

/// The guest has served the device.
pub fn eoi(domain: &Domain, pirq: Pirq) {
    let _ = with(pirq, |entry| {
        if entry.owner == Some(domain.id) && core::mem::take(&mut entry.waiting) {
            ioapic::unmask(pirq.0);
        }
        Ok(())
    });
}

/// Whether the guest must say when it has served the device.
pub fn needs_eoi(pirq: Pirq) -> bool {
    // A line that is not set up yet: what it will be.
    with(pirq, |entry| {
        Ok(match entry.source {
            Source::Gsi { level, .. } => level,
            Source::Msi(_) => false,
            Source::None => ioapic::exists(pirq.0) && gsi::line(pirq.0).level,
        })
    })
    .unwrap_or(false)
}

/// A free pirq above the IO-APIC's, marked as taken.
pub fn free_pirq() -> Option<Pirq> {
    let first = ioapic::nr_gsis() as usize;
    let mut entries = ENTRIES.lock();
    let found = entries.iter().skip(first).position(|entry| !entry.taken)? + first;
    if let Some(entry) = entries.get_mut(found) {
        entry.taken = true;
    }
    u32::try_from(found).ok().map(Pirq)
}

/// Makes a pirq for an MSI and programs the device, masked until bound where the device can mask.
pub fn map_msi(request: MsiRequest) -> Result<Pirq, Errno> {
    let function = pci::Function {
        segment: request.segment,
        bus: request.bus,
        devfn: request.devfn,
    };
    let message = if request.table_base == 0 {
        Message::Msi(function)
    } else {
        Message::MsiX(function, request.entry)
    };
    let pirq = free_pirq().ok_or(Errno::ENOSPC)?;
    let vector = irq::alloc_vector().ok_or(Errno::ENOSPC);
    let programmed = vector.and_then(|vector| {
        irq::set_handler(vector, arrived);
        PIRQ_OF[usize::from(vector)].store(pirq.0, Relaxed);
        match msi::program(message, vector, CpuId(0)) {
            Ok(()) => Ok(vector),
            Err(_) => {
                irq::free_vector(vector);
                Err(Errno::ENODEV)
            }
        }
    });
    with(pirq, |entry| match programmed {
        Ok(vector) => {
            *entry = Entry {
                source: Source::Msi(message),
                vector,
                taken: true,
                ..FREE
            };
            Ok(pirq)
        }
        Err(e) => {
            *entry = FREE;
            Err(e)
        }
    })
}

/// Takes back an MSI's pirq, or one that nothing is behind.
pub fn unmap(pirq: Pirq) -> Result<(), Errno> {
    with(pirq, |entry| {
        match entry.source {
            Source::Msi(message) => {
                msi::disable(message);
                PIRQ_OF[usize::from(entry.vector)].store(u32::MAX, Relaxed);
                irq::free_vector(entry.vector);
                *entry = FREE;
            }
            Source::None if entry.taken => *entry = FREE,
            Source::None => return Err(Errno::EINVAL),
            // Lines stay as they were set up.
            Source::Gsi { .. } => {}
        }
        Ok(())
    })
}

/// Prints one line per pirq in use, for a debug key.
pub fn print() {
    // A copy, because nothing is printed under a lock that interrupts take.
    let entries = ENTRIES.lock().clone();
    for (number, entry) in entries.iter().enumerate() {
        let kind = match entry.source {
            Source::None => continue,
            Source::Gsi { line, .. } => {
                if line.level {
                    "level"
                } else {
                    "edge"
                }
            }
            Source::Msi(_) => "msi",
        };
        crate::println!(
            " pirq {number:3} {kind:5} vector {:#04x} owner {:?} waiting {}",
            entry.vector,
            entry.owner.map(|d| d.0),
            entry.waiting
        );
    }
}
