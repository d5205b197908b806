//! The CPUs: what they can do, how idle they are, who shares them out.

use core::iter::successors;

use rexen_abi::Plain;
use rexen_abi::errno::Errno;
use rexen_abi::sysctl::*;

use super::Op;
use crate::hypercall::handlers::args::{element, online_cpus, write_bitmap};
use crate::hypercall::handlers::cpu_policy;
use crate::hypercall::{Call, Machine};
use crate::policy::features::NR_WORDS;
use crate::sched::Tunables;
use crate::units::{CpuId, DomId, Nanos};

/// The one pool: all CPUs, all domains.
const POOL: u32 = 0;
const NS_PER_MS: u64 = 1_000_000;
const NS_PER_US: u64 = 1000;

/// `XEN_SYSCTL_getcpuinfo`.
pub(super) fn idle_times<M: Machine>(call: &Call<'_, M>, op: &Op) -> Result<(), Errno> {
    let mut arg: XenSysctlGetcpuinfo = op.arg()?;
    arg.nr_cpus = call.m.nr_cpus().min(arg.max_cpus);
    for cpu in 0..arg.nr_cpus {
        let at = element(arg.info, cpu.into(), XenSysctlCpuinfo::SIZE as u64);
        let idletime = call.m.idle_time(CpuId(cpu)).0;
        call.write(at, &XenSysctlCpuinfo { idletime })?;
    }
    op.answer(call, &arg)
}

/// `XEN_SYSCTL_cpupool_op`.
pub(super) fn pool_op<M: Machine>(call: &Call<'_, M>, op: &Op) -> Result<(), Errno> {
    let mut arg: XenSysctlCpupoolOp = op.arg()?;
    let is_there = arg.cpupool_id == POOL;
    match arg.op {
        XEN_SYSCTL_CPUPOOL_OP_INFO if is_there => {
            let domains = successors(call.m.next_domain(DomId(0)), |d| {
                call.m.next_domain(DomId(d.id.0.saturating_add(1)))
            });
            arg.n_dom = u32::try_from(domains.count()).unwrap_or(u32::MAX);
            arg.sched_id = call.m.scheduler().number();
            write_bitmap(call, &arg.cpumap, online_cpus(call.m))?;
            op.answer(call, &arg)
        }
        XEN_SYSCTL_CPUPOOL_OP_FREEINFO => write_bitmap(call, &arg.cpumap, 0),
        XEN_SYSCTL_CPUPOOL_OP_CREATE => Err(Errno::EOPNOTSUPP),
        _ if !is_there => Err(Errno::ENOENT),
        XEN_SYSCTL_CPUPOOL_OP_DESTROY => Err(Errno::EBUSY),
        XEN_SYSCTL_CPUPOOL_OP_ADDCPU | XEN_SYSCTL_CPUPOOL_OP_RMCPU
            if arg.cpu >= call.m.nr_cpus() =>
        {
            Err(Errno::EINVAL)
        }
        XEN_SYSCTL_CPUPOOL_OP_ADDCPU | XEN_SYSCTL_CPUPOOL_OP_RMCPU => Err(Errno::EBUSY),
        XEN_SYSCTL_CPUPOOL_OP_MOVEDOMAIN => {
            let id = u16::try_from(arg.domid).map_err(|_| Errno::EINVAL)?;
            call.m.domain(DomId(id)).map(|_| ()).ok_or(Errno::EINVAL)
        }
        _ => Err(Errno::ENOSYS),
    }
}

/// `XEN_SYSCTL_sched_id`.
pub(super) fn scheduler_number<M: Machine>(call: &Call<'_, M>, op: &Op) -> Result<(), Errno> {
    let sched_id = call.m.scheduler().number();
    op.answer(call, &XenSysctlSchedId { sched_id })
}

/// `XEN_SYSCTL_scheduler_op`, in the words of the credit scheduler.
pub(super) fn scheduler_op<M: Machine>(call: &Call<'_, M>, op: &Op) -> Result<(), Errno> {
    let mut arg: XenSysctlSchedulerOp = op.arg()?;
    let scheduler = call.m.scheduler();
    if arg.cpupool_id != POOL {
        return Err(Errno::ESRCH);
    }
    if arg.sched_id != scheduler.number() {
        return Err(Errno::EINVAL);
    }
    let [first, second] = arg.u.map(u64::to_le_bytes);
    let mut bytes = [0; 16];
    for (to, from) in bytes.iter_mut().zip(first.into_iter().chain(second)) {
        *to = from;
    }
    match arg.cmd {
        XEN_SYSCTL_SCHEDOP_getinfo => {
            let now = scheduler.tunables()?;
            let parts = |time: Nanos, unit| u32::try_from(time.0 / unit).unwrap_or(u32::MAX);
            let tslice_ms = parts(now.turn, NS_PER_MS);
            let ratelimit_us = parts(now.rate_limit, NS_PER_US);
            // Nothing holds a vcpu on a CPU for the sake of its caches alone: vcpu_migr_delay_us is 0.
            arg.u = [u64::from(tslice_ms) | u64::from(ratelimit_us) << 32, 0];
            op.answer(call, &arg)
        }
        XEN_SYSCTL_SCHEDOP_putinfo => {
            let asked = XenSysctlCreditSchedule::read(&bytes).ok_or(Errno::EINVAL)?;
            let slices = XEN_SYSCTL_CSCHED_TSLICE_MIN..=XEN_SYSCTL_CSCHED_TSLICE_MAX;
            let limits = XEN_SYSCTL_SCHED_RATELIMIT_MIN..=XEN_SYSCTL_SCHED_RATELIMIT_MAX;
            if !slices.contains(&asked.tslice_ms)
                || asked.ratelimit_us != 0 && !limits.contains(&asked.ratelimit_us)
                || asked.vcpu_migr_delay_us > XEN_SYSCTL_CSCHED_MGR_DLY_MAX_US
            {
                return Err(Errno::EINVAL);
            }
            scheduler.set_tunables(&Tunables {
                turn: Nanos(u64::from(asked.tslice_ms) * NS_PER_MS),
                rate_limit: Nanos(u64::from(asked.ratelimit_us) * NS_PER_US),
            })?;
            Ok(())
        }
        _ => Err(Errno::EINVAL),
    }
}

/// `XEN_SYSCTL_get_cpu_featureset`: a null list asks how many words there are.
pub(super) fn features<M: Machine>(call: &Call<'_, M>, op: &Op) -> Result<(), Errno> {
    let mut arg: XenSysctlCpuFeatureset = op.arg()?;
    let policies = call.m.policies();
    let policy = match arg.index {
        XEN_SYSCTL_cpu_featureset_raw | XEN_SYSCTL_cpu_featureset_host => &policies.raw,
        XEN_SYSCTL_cpu_featureset_pv => &policies.pv_default,
        XEN_SYSCTL_cpu_featureset_pv_max => &policies.pv_max,
        XEN_SYSCTL_cpu_featureset_hvm | XEN_SYSCTL_cpu_featureset_hvm_max => {
            return Err(Errno::EOPNOTSUPP);
        }
        _ => return Err(Errno::EINVAL),
    };
    let room = if arg.features == 0 {
        u32::MAX
    } else {
        arg.nr_features
    };
    let words = policy.features().0;
    arg.nr_features = room.min(NR_WORDS as u32);
    if arg.features != 0 {
        for (n, word) in (0..arg.nr_features).zip(words) {
            call.write(element(arg.features, n.into(), 4), &word)?;
        }
    }
    op.answer(call, &arg)?;
    if room < NR_WORDS as u32 {
        return Err(Errno::ENOBUFS);
    }
    Ok(())
}

/// `XEN_SYSCTL_get_cpu_policy`: null lists ask for the most entries there can be.
pub(super) fn policy<M: Machine>(call: &Call<'_, M>, op: &Op) -> Result<(), Errno> {
    let mut arg: XenSysctlCpuPolicy = op.arg()?;
    if arg.reserved != 0 {
        return Err(Errno::EINVAL);
    }
    let policies = call.m.policies();
    let policy = match arg.index {
        XEN_SYSCTL_cpu_policy_raw | XEN_SYSCTL_cpu_policy_host => &policies.raw,
        XEN_SYSCTL_cpu_policy_pv_max => &policies.pv_max,
        XEN_SYSCTL_cpu_policy_pv_default => &policies.pv_default,
        XEN_SYSCTL_cpu_policy_hvm_max | XEN_SYSCTL_cpu_policy_hvm_default => {
            return Err(Errno::EOPNOTSUPP);
        }
        _ => return Err(Errno::EINVAL),
    };
    arg.nr_leaves = cpu_policy::put_leaves(call, policy, arg.leaves, arg.nr_leaves)?;
    arg.nr_msrs = cpu_policy::put_msrs(arg.msrs);
    op.answer(call, &arg)
}
