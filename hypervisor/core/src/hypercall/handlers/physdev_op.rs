//! Physical interrupts, ports and PCI devices (`public/physdev.h`).

use core::sync::atomic::Ordering::{Relaxed, SeqCst};

use rexen_abi::errno::Errno;
use rexen_abi::physdev::*;

use super::args::low32;
use crate::domain::{Domain, PortBitmapPlace};
use crate::evtchn::QwordIndex;
use crate::hypercall::authority::Hardware;
use crate::hypercall::{Call, Machine, MsiRequest, Outcome, deliver};
use crate::pvmmu::Refs;
use crate::units::{DomId, Mfn, PAGE_SIZE, Pirq};

/// I/O ports that there are.
const NR_PORTS: u32 = 65536;
/// First IO-APIC register of the redirection table.
const FIRST_REDIRECTION: u32 = 0x10;
/// The highest delivery mode, in bits 10:8 of a redirection entry, that a pin of a domain may have: lowest priority.
const LOWEST_PRIORITY: u32 = 1;

/// `physdev_op(cmd, arg)`.
pub fn physdev_op<M: Machine>(call: &mut Call<'_, M>) -> Outcome {
    let [cmd, arg, ..] = call.args;
    match low32(cmd) {
        PHYSDEVOP_eoi => call.read(arg).and_then(|pirq| eoi(call, Pirq(pirq))),
        PHYSDEVOP_set_iopl => call.read(arg).and_then(|iopl| set_iopl(call, iopl)),
        PHYSDEVOP_set_iobitmap => call.read(arg).and_then(|place| set_iobitmap(call, &place)),
        cmd => Hardware::of(call.domain).and_then(|hardware| of_hardware(call, cmd, arg, hardware)),
    }
    .into()
}

fn set_iopl<M: Machine>(call: &Call<'_, M>, iopl: u32) -> Result<(), Errno> {
    let iopl = u8::try_from(iopl)
        .ok()
        .filter(|level| *level <= 3)
        .ok_or(Errno::EINVAL)?;
    call.vcpu.iopl.store(iopl, Relaxed);
    Ok(())
}

fn set_iobitmap<M: Machine>(call: &Call<'_, M>, place: &PhysdevSetIobitmap) -> Result<(), Errno> {
    if place.nr_ports > NR_PORTS {
        return Err(Errno::EINVAL);
    }
    *call.vcpu.port_bitmap.lock() = PortBitmapPlace {
        address: place.bitmap,
        nr_ports: place.nr_ports,
    };
    Ok(())
}

fn eoi<M: Machine>(call: &Call<'_, M>, pirq: Pirq) -> Result<(), Errno> {
    let (m, domain) = (call.m, call.domain);
    let port = domain.events.port_of_pirq(pirq).ok_or(Errno::EINVAL)?;
    if domain.pirq_eoi_map.load(Relaxed) & 1 != 0
        && let Ok(raised) = domain.events.unmask(m, port)
    {
        deliver(m, domain, port, raised);
    }
    m.pirq_eoi(domain, pirq);
    Ok(())
}

fn of_hardware<M: Machine>(
    call: &Call<'_, M>,
    cmd: u32,
    arg: u64,
    _: Hardware,
) -> Result<(), Errno> {
    let m = call.m;
    match cmd {
        PHYSDEVOP_irq_status_query => {
            let mut op = call.read::<PhysdevIrqStatusQuery>(arg)?;
            op.flags = if needs_eoi(m, Pirq(op.irq)) {
                XENIRQSTAT_needs_eoi
            } else {
                0
            };
            call.write(arg, &op)
        }
        PHYSDEVOP_apic_read => {
            let mut op = call.read::<PhysdevApic>(arg)?;
            op.value = m
                .ioapic_read(op.apic_physbase, op.reg)
                .ok_or(Errno::EINVAL)?;
            call.write(arg, &op)
        }
        PHYSDEVOP_apic_write => apic_write(m, &call.read(arg)?),
        PHYSDEVOP_alloc_irq_vector => {
            // The vector is ours to choose, later; the guest only wants to see success.
            let mut op = call.read::<PhysdevIrq>(arg)?;
            if op.irq >= m.nr_gsis() {
                return Err(Errno::EINVAL);
            }
            op.vector = op.irq;
            call.write(arg, &op)
        }
        PHYSDEVOP_free_irq_vector => Ok(()),
        PHYSDEVOP_map_pirq => {
            let mut op = call.read::<PhysdevMapPirq>(arg)?;
            op.pirq = map_pirq(call, &op)?;
            call.write(arg, &op)
        }
        PHYSDEVOP_unmap_pirq => unmap_pirq(call, &call.read(arg)?),
        PHYSDEVOP_pirq_eoi_gmfn_v1 => set_eoi_map(call, call.read(arg)?, true),
        PHYSDEVOP_pirq_eoi_gmfn_v2 => set_eoi_map(call, call.read(arg)?, false),
        PHYSDEVOP_setup_gsi => setup_gsi(m, &call.read(arg)?),
        PHYSDEVOP_get_free_pirq => {
            let mut op = call.read::<PhysdevGetFreePirq>(arg)?;
            op.pirq = m.free_pirq().ok_or(Errno::ENOSPC)?.0;
            call.write(arg, &op)
        }
        // Domain 0 reaches the window as any other I/O memory.
        PHYSDEVOP_pci_mmcfg_reserved => call.read::<PhysdevPciMmcfgReserved>(arg).map(|_| ()),
        _ => pci(call, cmd, arg),
    }
}

/// What domain 0 says about PCI devices.
fn pci<M: Machine>(call: &Call<'_, M>, cmd: u32, arg: u64) -> Result<(), Errno> {
    let m = call.m;
    match cmd {
        PHYSDEVOP_manage_pci_add | PHYSDEVOP_manage_pci_remove => {
            let op = call.read::<PhysdevManagePci>(arg)?;
            m.pci_device(0, op.bus, op.devfn, cmd == PHYSDEVOP_manage_pci_add);
        }
        PHYSDEVOP_manage_pci_add_ext => {
            let op = call.read::<PhysdevManagePciExt>(arg)?;
            m.pci_device(0, op.bus, op.devfn, true);
        }
        PHYSDEVOP_pci_device_add => {
            let op = call.read::<PhysdevPciDeviceAdd>(arg)?;
            m.pci_device(op.seg, op.bus, op.devfn, true);
        }
        PHYSDEVOP_pci_device_remove => {
            let op = call.read::<PhysdevPciDevice>(arg)?;
            m.pci_device(op.seg, op.bus, op.devfn, false);
        }
        PHYSDEVOP_prepare_msix | PHYSDEVOP_release_msix => {
            call.read::<PhysdevPciDevice>(arg)?;
        }
        // Our own settings stay in the devices unless one is reset; then the guest sets its MSIs up anew.
        PHYSDEVOP_restore_msi => {
            call.read::<PhysdevRestoreMsi>(arg)?;
        }
        PHYSDEVOP_restore_msi_ext => {
            call.read::<PhysdevPciDevice>(arg)?;
        }
        _ => return Err(Errno::ENOSYS),
    }
    Ok(())
}

/// Accepts what domain 0 writes to its IO-APICs, and leaves them alone: PHYSDEVOP_setup_gsi programs the pins.
fn apic_write<M: Machine>(m: &M, op: &PhysdevApic) -> Result<(), Errno> {
    if m.ioapic_read(op.apic_physbase, op.reg).is_none() {
        return Err(Errno::EINVAL);
    }
    let is_low_half = op.reg >= FIRST_REDIRECTION && op.reg.is_multiple_of(2);
    if is_low_half && op.value >> 8 & 7 > LOWEST_PRIORITY {
        return Err(Errno::EINVAL);
    }
    Ok(())
}

/// Gives a pirq to a GSI, whose number it has, or to an MSI.
fn map_pirq<M: Machine>(call: &Call<'_, M>, op: &PhysdevMapPirq) -> Result<i32, Errno> {
    if DomId(op.domid) != DomId::SELF && DomId(op.domid) != call.domain.id {
        // Devices are not given to other domains yet.
        return Err(if call.m.domain(DomId(op.domid)).is_some() {
            Errno::EOPNOTSUPP
        } else {
            Errno::ESRCH
        });
    }
    match op.kind {
        MAP_PIRQ_TYPE_GSI => {
            let gsi = u32::try_from(op.index)
                .ok()
                .filter(|gsi| *gsi < call.m.nr_gsis())
                .ok_or(Errno::EINVAL)?;
            match op.pirq {
                wanted if wanted < 0 || wanted == op.index => {
                    i32::try_from(gsi).map_err(|_| Errno::EINVAL)
                }
                _ => Err(Errno::EINVAL),
            }
        }
        MAP_PIRQ_TYPE_MSI | MAP_PIRQ_TYPE_MSI_SEG => {
            let request = msi(op)?;
            let pirq = call.m.map_msi(request)?;
            i32::try_from(pirq.0).map_err(|_| Errno::ENOSPC)
        }
        MAP_PIRQ_TYPE_MULTI_MSI => Err(Errno::EOPNOTSUPP),
        _ => Err(Errno::EINVAL),
    }
}

/// The MSI that a map_pirq asks for.
fn msi(op: &PhysdevMapPirq) -> Result<MsiRequest, Errno> {
    let segment = if op.kind == MAP_PIRQ_TYPE_MSI_SEG {
        op.bus.cast_unsigned() >> 16
    } else {
        0
    };
    let small = |value: u32| u16::try_from(value).map_err(|_| Errno::EINVAL);
    Ok(MsiRequest {
        segment: small(segment)?,
        bus: (op.bus & 0xff) as u8,
        devfn: (op.devfn & 0xff) as u8,
        entry: if op.table_base == 0 {
            0
        } else {
            small(op.entry_nr.cast_unsigned())?
        },
        table_base: op.table_base,
    })
}

fn unmap_pirq<M: Machine>(call: &Call<'_, M>, op: &PhysdevUnmapPirq) -> Result<(), Errno> {
    if DomId(op.domid) != DomId::SELF && DomId(op.domid) != call.domain.id {
        return Err(Errno::ESRCH);
    }
    let pirq = Pirq(u32::try_from(op.pirq).map_err(|_| Errno::EINVAL)?);
    if pirq.0 < call.m.nr_gsis() {
        // A GSI has its pirq for ever.
        return Ok(());
    }
    call.m.unmap_msi(pirq)?;
    show_eoi(call.m, call.domain, pirq, false);
    Ok(())
}

fn setup_gsi<M: Machine>(m: &M, op: &PhysdevSetupGsi) -> Result<(), Errno> {
    let gsi = u32::try_from(op.gsi)
        .ok()
        .filter(|gsi| *gsi < m.nr_gsis())
        .ok_or(Errno::EINVAL)?;
    m.setup_gsi(gsi, op.triggering != 0, op.polarity != 0)
}

/// Whether the guest has to say when it has handled the pirq; said of those that do not exist as well.
pub(super) fn needs_eoi<M: Machine>(m: &M, pirq: Pirq) -> bool {
    m.pirq_needs_eoi(pirq)
}

/// Takes the guest's frame for the bitmap of pirqs that need PHYSDEVOP_eoi.
fn set_eoi_map<M: Machine>(
    call: &Call<'_, M>,
    place: PhysdevPirqEoiGmfn,
    unmasks: bool,
) -> Result<(), Errno> {
    let (m, domain, mfn) = (call.m, call.domain, Mfn(place.gmfn));
    let refs = Refs {
        frames: m.frames(),
        host: m,
    };
    refs.hold_writable(mfn, domain.id)?;
    let map = mfn.0 << 1 | u64::from(unmasks);
    if domain
        .pirq_eoi_map
        .compare_exchange(0, map, SeqCst, SeqCst)
        .is_err()
    {
        refs.release_writable(mfn);
        return Err(Errno::EBUSY);
    }
    for pirq in (0..m.nr_gsis()).map(Pirq) {
        if domain.events.port_of_pirq(pirq).is_some() {
            show_eoi(m, domain, pirq, needs_eoi(m, pirq));
        }
    }
    Ok(())
}

/// Sets or clears the pirq's bit in the domain's bitmap, if it has one.
pub(super) fn show_eoi<M: Machine>(m: &M, domain: &Domain, pirq: Pirq, needed: bool) {
    let map = domain.pirq_eoi_map.load(SeqCst);
    if map == 0 || u64::from(pirq.0) >= PAGE_SIZE * 8 {
        return;
    }
    let word = m.word64(Mfn(map >> 1), QwordIndex::at_byte(pirq.0 as usize / 64 * 8));
    let bit = 1 << (pirq.0 % 64);
    if needed {
        word.fetch_or(bit, SeqCst);
    } else {
        word.fetch_and(!bit, SeqCst);
    }
}
