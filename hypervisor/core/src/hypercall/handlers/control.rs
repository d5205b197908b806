//! What the toolstack asks about the machine (`public/sysctl.h`). For now what a lone domain 0 needs.

use rexen_abi::Plain;
use rexen_abi::domctl::{XEN_SCHEDULER_NULL, XenDomctlGetdomaininfo};
use rexen_abi::errno::Errno;
use rexen_abi::sysctl::*;

use super::args::element;
use super::domctl::domain_info;
use crate::hypercall::authority::Control;
use crate::hypercall::{Call, Machine, Outcome};
use crate::units::DomId;

/// Byte offset of the union in the envelope.
const SYSCTL_UNION: u64 = 8;
/// Bytes of console text copied at a time.
const PIECE: usize = 128;
/// Keys that one call may press.
const MAX_KEYS: u32 = 64;

/// `sysctl(op)`.
pub fn sysctl<M: Machine>(call: &mut Call<'_, M>, _: Control) -> Outcome {
    act(call).into()
}

fn act<M: Machine>(call: &Call<'_, M>) -> Result<(), Errno> {
    let at = call.args[0];
    let op = call.read::<XenSysctl>(at)?;
    if op.interface_version != XEN_SYSCTL_INTERFACE_VERSION {
        return Err(Errno::EACCES);
    }
    let union = element(at, SYSCTL_UNION, 1);
    match op.cmd {
        XEN_SYSCTL_readconsole => {
            let asked = XenSysctlReadconsole::read(&op.u).ok_or(Errno::EINVAL)?;
            call.write(union, &read_console(call, asked)?)
        }
        XEN_SYSCTL_physinfo => call.write(union, &physinfo(call.m)),
        XEN_SYSCTL_sched_id => {
            // None of ours has a number there; "null" is the one without parameters.
            call.write(
                union,
                &XenSysctlSchedId {
                    sched_id: XEN_SCHEDULER_NULL,
                },
            )
        }
        XEN_SYSCTL_getdomaininfolist => {
            let asked = XenSysctlGetdomaininfolist::read(&op.u).ok_or(Errno::EINVAL)?;
            call.write(union, &list_domains(call, asked)?)
        }
        XEN_SYSCTL_debug_keys => {
            let asked = XenSysctlDebugKeys::read(&op.u).ok_or(Errno::EINVAL)?;
            for n in 0..asked.nr_keys.min(MAX_KEYS) {
                call.m
                    .debug_key(call.read(element(asked.keys, u64::from(n), 1))?);
            }
            Ok(())
        }
        XEN_SYSCTL_availheap => {
            let mut asked = XenSysctlAvailheap::read(&op.u).ok_or(Errno::EINVAL)?;
            asked.avail_bytes = call
                .m
                .nr_free_frames()
                .saturating_mul(crate::units::PAGE_SIZE);
            call.write(union, &asked)
        }
        XEN_SYSCTL_cputopoinfo => topology(call, union),
        _ => Err(Errno::ENOSYS),
    }
}

fn read_console<M: Machine>(
    call: &Call<'_, M>,
    mut asked: XenSysctlReadconsole,
) -> Result<XenSysctlReadconsole, Errno> {
    let mut from = if asked.incremental != 0 {
        asked.index
    } else {
        0
    };
    let mut done = 0;
    while done < asked.count {
        let mut text = [0; PIECE];
        let room = PIECE.min((asked.count - done) as usize);
        let piece = text.get_mut(..room).ok_or(Errno::EINVAL)?;
        let (got, next) = call.m.read_log(from, piece);
        let got = got.min(room);
        if got == 0 {
            break;
        }
        call.m.copy_out(
            element(asked.buffer, u64::from(done), 1),
            piece.get(..got).unwrap_or_default(),
        )?;
        from = next;
        done += got as u32;
    }
    if asked.clear != 0 {
        call.m.clear_log();
    }
    asked.count = done;
    asked.index = from;
    Ok(asked)
}

fn physinfo<M: Machine>(m: &M) -> XenSysctlPhysinfo {
    let cpus = m.nr_cpus();
    XenSysctlPhysinfo {
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
        free_pages: m.nr_free_frames(),
        max_mfn: m.max_frame().saturating_sub(1),
        ..XenSysctlPhysinfo::default()
    }
}

/// One socket, one node, a core for each CPU.
fn topology<M: Machine>(call: &Call<'_, M>, union: u64) -> Result<(), Errno> {
    let room = call.read::<u32>(union)?;
    let list = call.read::<u64>(element(union, 8, 1))?;
    let cpus = call.m.nr_cpus();
    if list != 0 {
        for cpu in 0..room.min(cpus) {
            call.write(element(list, u64::from(cpu), 12), &[cpu, 0, 0])?;
        }
    }
    call.write(union, &cpus)
}

fn list_domains<M: Machine>(
    call: &Call<'_, M>,
    mut asked: XenSysctlGetdomaininfolist,
) -> Result<XenSysctlGetdomaininfolist, Errno> {
    asked.num_domains = 0;
    let mut from = DomId(asked.first_domain);
    while asked.num_domains < asked.max_domains
        && let Some(domain) = call.m.next_domain(from)
    {
        let at = element(
            asked.buffer,
            u64::from(asked.num_domains),
            XenDomctlGetdomaininfo::SIZE as u64,
        );
        call.write(at, &domain_info(call.m, &domain))?;
        asked.num_domains += 1;
        from = DomId(domain.id.0.saturating_add(1));
    }
    Ok(asked)
}
