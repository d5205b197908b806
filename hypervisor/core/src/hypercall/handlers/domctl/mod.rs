//! What the toolstack does to one domain (`public/domctl.h`): a file per subject, this one finds the domain.

mod info;
mod lifecycle;

pub use info::domain_info;

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
        _ => Err(Errno::ENOSYS),
    };
    Ok(done.into())
}
