//! What a domain is doing (`public/domctl.h`, xen_domctl_getdomaininfo).

use core::sync::atomic::Ordering::Relaxed;

use rexen_abi::domctl::*;

use crate::domain::{Domain, NOT_SHUT_DOWN, Stage, VcpuFlags};
use crate::hypercall::Machine;
use crate::sched::RunstateKind;

/// The answer about `domain`.
pub fn domain_info<M: Machine>(m: &M, domain: &Domain) -> XenDomctlGetdomaininfo {
    let now = m.now();
    let mut info = XenDomctlGetdomaininfo {
        domain: domain.id.0,
        tot_pages: domain.tot_pages.load(Relaxed),
        max_pages: domain.max_pages.load(Relaxed),
        shared_info_frame: domain.shared_info.0,
        max_vcpu_id: XEN_INVALID_MAX_VCPU_ID,
        handle: *domain.control.handle.lock(),
        gpaddr_bits: domain.policy.now().cpuid.physical_bits(),
        outstanding_pages: domain.claim.pages(),
        ssidref: domain.ssidref,
        ..XenDomctlGetdomaininfo::default()
    };
    info.flags = match domain.shutdown.load(Relaxed) {
        NOT_SHUT_DOWN => XEN_DOMINF_shutdownmask << XEN_DOMINF_shutdownshift,
        reason => {
            XEN_DOMINF_shutdown | (reason & XEN_DOMINF_shutdownmask) << XEN_DOMINF_shutdownshift
        }
    };
    let mut flag = |is: bool, bit| info.flags |= if is { bit } else { 0 };
    // While it is being destroyed it looks alive: the tools take a dying domain's resources back.
    flag(domain.life.stage() == Stage::Dead, XEN_DOMINF_dying);
    flag(domain.life.control().is_paused(), XEN_DOMINF_paused);
    flag(domain.control.debugged.load(Relaxed), XEN_DOMINF_debugged);
    flag(domain.is_store, XEN_DOMINF_xs_domain);
    let mut all_blocked = true;
    for vcpu in &domain.vcpus {
        let run = *vcpu.runstate.lock();
        info.cpu_time = info.cpu_time.wrapping_add(run.at(now).time[0]);
        info.max_vcpu_id = vcpu.id.0;
        if vcpu.flags.load(Relaxed) & VcpuFlags::DOWN != 0 {
            continue;
        }
        info.nr_online_vcpus += 1;
        all_blocked &= run.kind() == RunstateKind::Blocked;
        if run.kind() == RunstateKind::Running {
            info.flags |= XEN_DOMINF_running;
        }
    }
    if all_blocked && info.nr_online_vcpus != 0 {
        info.flags |= XEN_DOMINF_blocked;
    }
    info
}
