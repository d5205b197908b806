//! What the toolstack asks about the machine (`public/sysctl.h`): a file per subject, this one has the log and the list of
//! domains.

mod cpus;
mod topology;

use rexen_abi::Plain;
use rexen_abi::domctl::XenDomctlGetdomaininfo;
use rexen_abi::errno::Errno;
use rexen_abi::sysctl::*;

use super::args::element;
use super::domctl::domain_info;
use crate::hypercall::authority::Control;
use crate::hypercall::{Call, Machine, Outcome};
use crate::units::DomId;

/// Byte offset of the union in the envelope.
const UNION: u64 = 8;
/// Bytes of console text copied at a time.
const PIECE: usize = 128;
/// Keys that one call may press.
const MAX_KEYS: u32 = 64;

/// A sysctl that was read in and found to be of our version.
struct Op {
    envelope: XenSysctl,
    at: u64,
}

impl Op {
    /// The command's structure.
    ///
    /// # Errors
    /// EINVAL: it does not fit.
    fn arg<T: Plain>(&self) -> Result<T, Errno> {
        T::read(&self.envelope.u).ok_or(Errno::EINVAL)
    }

    /// Gives the caller the command's structure back.
    ///
    /// # Errors
    /// EFAULT.
    fn answer<T: Plain, M: Machine>(&self, call: &Call<'_, M>, arg: &T) -> Result<(), Errno> {
        call.write(element(self.at, UNION, 1), arg)
    }
}

/// `sysctl(op)`.
pub fn sysctl<M: Machine>(call: &mut Call<'_, M>, _: Control) -> Outcome {
    act(call).into()
}

fn act<M: Machine>(call: &Call<'_, M>) -> Result<(), Errno> {
    let at = call.args[0];
    let envelope = call.read::<XenSysctl>(at)?;
    if envelope.interface_version != XEN_SYSCTL_INTERFACE_VERSION {
        return Err(Errno::EACCES);
    }
    let op = Op { envelope, at };
    match op.envelope.cmd {
        XEN_SYSCTL_readconsole => op.answer(call, &read_console(call, op.arg()?)?),
        XEN_SYSCTL_getdomaininfolist => op.answer(call, &list_domains(call, op.arg()?)?),
        XEN_SYSCTL_debug_keys => press_keys(call, op.arg()?),
        XEN_SYSCTL_physinfo => topology::physinfo(call, &op),
        XEN_SYSCTL_cputopoinfo => topology::cpus(call, &op),
        XEN_SYSCTL_numainfo => topology::nodes(call, &op),
        XEN_SYSCTL_pcitopoinfo => topology::devices(call, &op),
        XEN_SYSCTL_availheap => topology::free_memory(call, &op),
        XEN_SYSCTL_getcpuinfo => cpus::idle_times(call, &op),
        XEN_SYSCTL_cpupool_op => cpus::pool_op(call, &op),
        XEN_SYSCTL_sched_id => cpus::scheduler_number(call, &op),
        XEN_SYSCTL_scheduler_op => cpus::scheduler_op(call, &op),
        XEN_SYSCTL_get_cpu_featureset => cpus::features(call, &op),
        XEN_SYSCTL_get_cpu_policy => cpus::policy(call, &op),
        XEN_SYSCTL_get_cpu_levelling_caps => op.answer(call, &XenSysctlCpuLevellingCaps::default()),
        XEN_SYSCTL_psr_cmt_op | XEN_SYSCTL_psr_alloc | XEN_SYSCTL_get_pmstat => Err(Errno::ENODEV),
        XEN_SYSCTL_coverage_op
        | XEN_SYSCTL_cpu_hotplug
        | XEN_SYSCTL_pm_op
        | XEN_SYSCTL_page_offline_op => Err(Errno::EOPNOTSUPP),
        _ => Err(Errno::ENOSYS),
    }
}

fn press_keys<M: Machine>(call: &Call<'_, M>, asked: XenSysctlDebugKeys) -> Result<(), Errno> {
    for n in 0..asked.nr_keys.min(MAX_KEYS) {
        call.m
            .debug_key(call.read(element(asked.keys, u64::from(n), 1))?);
    }
    Ok(())
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
