//! What the toolstack does to one domain (`public/domctl.h`): a file per subject, this one finds the domain.

mod info;
mod lifecycle;
mod memory;
mod placement;
mod settings;
mod vcpu;

pub use info::domain_info;
pub(super) use vcpu::send_nmi;

use alloc::sync::Arc;

use rexen_abi::Plain;
use rexen_abi::domctl::*;
use rexen_abi::errno::Errno;

use super::args::element;
use crate::domain::Domain;
use crate::hypercall::authority::Control;
use crate::hypercall::{Call, Machine, Outcome, teardown};
use crate::units::DomId;

/// Byte offset of the domain's number in the envelope, and of the union.
const DOMAIN: u64 = 8;
const UNION: u64 = 16;

/// A domctl that was read in and found to be of our version.
pub(super) struct Op {
    /// The envelope.
    pub envelope: XenDomctl,
    at: u64,
}

impl Op {
    /// The command's structure.
    ///
    /// # Errors
    /// EINVAL: it does not fit.
    pub fn arg<T: Plain>(&self) -> Result<T, Errno> {
        T::read(&self.envelope.u).ok_or(Errno::EINVAL)
    }

    /// Gives the caller the command's structure back.
    ///
    /// # Errors
    /// EFAULT.
    pub fn answer<T: Plain, M: Machine>(&self, call: &Call<'_, M>, arg: &T) -> Result<(), Errno> {
        call.write(element(self.at, UNION, 1), arg)
    }

    /// Tells the caller which domain it was about.
    ///
    /// # Errors
    /// EFAULT.
    pub fn answer_domain<M: Machine>(&self, call: &Call<'_, M>, id: DomId) -> Result<(), Errno> {
        call.write(element(self.at, DOMAIN, 1), &id.0)
    }

    /// The domain it names.
    ///
    /// # Errors
    /// ESRCH.
    pub fn domain<M: Machine>(&self, call: &Call<'_, M>) -> Result<Arc<Domain>, Errno> {
        let id = DomId(self.envelope.domain);
        call.m.domain(id).ok_or(Errno::ESRCH)
    }

    /// The domain it names, which is not the caller's.
    ///
    /// # Errors
    /// ESRCH. EINVAL: the caller's.
    pub fn other_domain<M: Machine>(&self, call: &Call<'_, M>) -> Result<Arc<Domain>, Errno> {
        let domain = self.domain(call)?;
        if domain.id == call.domain.id {
            return Err(Errno::EINVAL);
        }
        Ok(domain)
    }
}

/// `domctl(op)`.
pub fn domctl<M: Machine>(call: &mut Call<'_, M>, control: Control) -> Outcome {
    act(call, control).unwrap_or_else(|e| Outcome::Done(e.to_rax()))
}

fn act<M: Machine>(call: &Call<'_, M>, _: Control) -> Result<Outcome, Errno> {
    let at = call.args[0];
    let envelope = call.read::<XenDomctl>(at)?;
    if envelope.interface_version != XEN_DOMCTL_INTERFACE_VERSION {
        return Err(Errno::EACCES);
    }
    let op = Op { envelope, at };
    let done = match op.envelope.cmd {
        XEN_DOMCTL_createdomain => lifecycle::create(call, &op),
        XEN_DOMCTL_max_vcpus => lifecycle::max_vcpus(call, &op),
        XEN_DOMCTL_pausedomain => lifecycle::pause(call, &op),
        XEN_DOMCTL_unpausedomain => lifecycle::unpause(call, &op),
        XEN_DOMCTL_destroydomain => return lifecycle::destroy(call, &op),
        XEN_DOMCTL_resumedomain => lifecycle::resume(call, &op),
        XEN_DOMCTL_setdomainhandle => lifecycle::set_handle(call, &op),
        XEN_DOMCTL_getdomaininfo => {
            teardown::reap(call.m);
            // As Xen does: the first domain from this number on.
            let from = DomId(op.envelope.domain);
            let domain = call.m.next_domain(from).ok_or(Errno::ESRCH)?;
            op.answer_domain(call, domain.id)?;
            op.answer(call, &domain_info(call.m, &domain))
        }
        XEN_DOMCTL_setvcpucontext => return vcpu::set_context(call, &op),
        XEN_DOMCTL_getvcpucontext => return vcpu::get_context(call, &op),
        XEN_DOMCTL_setvcpuextstate => return vcpu::set_extstate(call, &op),
        XEN_DOMCTL_getvcpuextstate => return vcpu::get_extstate(call, &op),
        XEN_DOMCTL_set_ext_vcpucontext => vcpu::set_ext(call, &op),
        XEN_DOMCTL_get_ext_vcpucontext => vcpu::get_ext(call, &op),
        XEN_DOMCTL_set_vcpu_msrs => vcpu::set_msrs(call, &op),
        XEN_DOMCTL_get_vcpu_msrs => vcpu::get_msrs(call, &op),
        XEN_DOMCTL_getvcpuinfo => vcpu::info(call, &op),
        XEN_DOMCTL_sendtrigger => vcpu::trigger(call, &op),

        XEN_DOMCTL_setvcpuaffinity | XEN_DOMCTL_getvcpuaffinity => placement::affinity(call, &op),
        XEN_DOMCTL_setnodeaffinity => placement::set_nodes(call, &op),
        XEN_DOMCTL_getnodeaffinity => placement::get_nodes(call, &op),
        XEN_DOMCTL_scheduler_op => placement::scheduler_op(call, &op),

        XEN_DOMCTL_max_mem => memory::max_mem(call, &op),
        XEN_DOMCTL_getpageframeinfo3 => memory::frame_types(call, &op),
        XEN_DOMCTL_hypercall_init => memory::hypercall_page(call, &op),
        XEN_DOMCTL_shadow_op => memory::shadow_op(call, &op),

        XEN_DOMCTL_setdebugging => settings::set_debugging(call, &op),
        XEN_DOMCTL_settimeoffset => settings::set_time_offset(call, &op),
        XEN_DOMCTL_subscribe => settings::subscribe(call, &op),
        XEN_DOMCTL_set_virq_handler => settings::set_virq_handler(call, &op),
        XEN_DOMCTL_irq_permission => settings::irq_permission(call, &op),
        XEN_DOMCTL_iomem_permission => settings::iomem_permission(call, &op),
        XEN_DOMCTL_ioport_permission => settings::ioport_permission(call, &op),
        XEN_DOMCTL_gettscinfo => settings::get_tsc(call, &op),
        XEN_DOMCTL_settscinfo => settings::set_tsc(call, &op),
        XEN_DOMCTL_get_cpu_policy => settings::get_cpu_policy(call, &op),
        XEN_DOMCTL_set_cpu_policy => settings::set_cpu_policy(call, &op),
        // 64-bit guests only.
        XEN_DOMCTL_set_address_size => match op.domain(call).and(op.arg::<u32>())? {
            64 => Ok(()),
            _ => Err(Errno::EINVAL),
        },
        XEN_DOMCTL_get_address_size => op.domain(call).and_then(|_| op.answer(call, &64u32)),

        XEN_DOMCTL_setvnumainfo
        | XEN_DOMCTL_get_paging_mempool_size
        | XEN_DOMCTL_set_paging_mempool_size => Err(Errno::EOPNOTSUPP),
        XEN_DOMCTL_assign_device
        | XEN_DOMCTL_test_assign_device
        | XEN_DOMCTL_deassign_device
        | XEN_DOMCTL_get_device_group => Err(Errno::ENODEV),
        _ => Err(Errno::ENOSYS),
    };
    Ok(done.into())
}
