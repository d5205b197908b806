//! How many CPUs, nodes and pages there are: one socket and one node, a core for each CPU.

use rexen_abi::Plain;
use rexen_abi::errno::Errno;
use rexen_abi::physdev::PhysdevPciDevice;
use rexen_abi::sysctl::*;

use super::Op;
use crate::hypercall::handlers::args::element;
use crate::hypercall::{Call, Machine};
use crate::units::PAGE_SIZE;

/// The distance of a node to itself.
const LOCAL_DISTANCE: u32 = 10;
/// Most devices that one call may ask about.
const MAX_DEVICES: u32 = 4096;

/// `XEN_SYSCTL_physinfo`.
pub(super) fn physinfo<M: Machine>(call: &Call<'_, M>, op: &Op) -> Result<(), Errno> {
    let m = call.m;
    let cpus = m.nr_cpus();
    let memory = m.memory();
    let mut hw_cap = [0; 8];
    for (to, from) in hw_cap.iter_mut().zip(m.policies().raw.features().0) {
        *to = from;
    }
    op.answer(
        call,
        &XenSysctlPhysinfo {
            threads_per_core: 1,
            cores_per_socket: cpus,
            nr_cpus: cpus,
            max_cpu_id: cpus.saturating_sub(1),
            nr_nodes: 1,
            cpu_khz: m.tsc_khz(),
            capabilities: XEN_SYSCTL_PHYSCAP_pv
                | XEN_SYSCTL_PHYSCAP_gnttab_v1
                | XEN_SYSCTL_PHYSCAP_gnttab_v2,
            total_pages: m.nr_ram_frames(),
            free_pages: memory.free,
            scrub_pages: memory.dirty,
            outstanding_pages: memory.claimed,
            max_mfn: m.max_frame().saturating_sub(1),
            hw_cap,
            ..XenSysctlPhysinfo::default()
        },
    )
}

/// `XEN_SYSCTL_cputopoinfo`: a null list asks how many there are.
pub(super) fn cpus<M: Machine>(call: &Call<'_, M>, op: &Op) -> Result<(), Errno> {
    let mut arg: XenSysctlCputopoinfo = op.arg()?;
    let mut count = call.m.nr_cpus();
    if arg.cputopo != 0 {
        count = count.min(arg.num_cpus);
        for cpu in 0..count {
            let at = element(arg.cputopo, cpu.into(), XenSysctlCputopo::SIZE as u64);
            let place = XenSysctlCputopo {
                core: cpu,
                socket: 0,
                node: 0,
            };
            call.write(at, &place)?;
        }
    }
    arg.num_cpus = count;
    op.answer(call, &arg)
}

/// `XEN_SYSCTL_numainfo`: null lists ask how many nodes there are.
pub(super) fn nodes<M: Machine>(call: &Call<'_, M>, op: &Op) -> Result<(), Errno> {
    let mut arg: XenSysctlNumainfo = op.arg()?;
    let m = call.m;
    let asked = arg.meminfo != 0 || arg.distance != 0;
    let count = if asked { arg.num_nodes.min(1) } else { 1 };
    if count != 0 {
        if arg.meminfo != 0 {
            let memory = XenSysctlMeminfo {
                memsize: m.nr_ram_frames().saturating_mul(PAGE_SIZE),
                memfree: m.memory().free.saturating_mul(PAGE_SIZE),
            };
            call.write(arg.meminfo, &memory)?;
        }
        if arg.distance != 0 {
            call.write(arg.distance, &LOCAL_DISTANCE)?;
        }
    }
    arg.num_nodes = count;
    op.answer(call, &arg)
}

/// `XEN_SYSCTL_pcitopoinfo`: nothing is known of where devices are.
pub(super) fn devices<M: Machine>(call: &Call<'_, M>, op: &Op) -> Result<(), Errno> {
    let mut arg: XenSysctlPcitopoinfo = op.arg()?;
    if arg.devs == 0 || arg.nodes == 0 {
        return Err(Errno::EINVAL);
    }
    // As after an interruption, the caller is told how many were done, and comes back for the rest.
    arg.num_devs = arg.num_devs.min(MAX_DEVICES);
    for n in 0..u64::from(arg.num_devs) {
        let at = element(arg.devs, n, PhysdevPciDevice::SIZE as u64);
        call.read::<PhysdevPciDevice>(at)?;
        call.write(element(arg.nodes, n, 4), &XEN_INVALID_NODE_ID)?;
    }
    op.answer(call, &arg)
}

/// `XEN_SYSCTL_availheap`, whatever the width of addresses.
pub(super) fn free_memory<M: Machine>(call: &Call<'_, M>, op: &Op) -> Result<(), Errno> {
    let mut arg: XenSysctlAvailheap = op.arg()?;
    arg.avail_bytes = call.m.memory().free.saturating_mul(PAGE_SIZE);
    op.answer(call, &arg)
}
