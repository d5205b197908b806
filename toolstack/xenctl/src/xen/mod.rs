//! What we ask of the hypervisor: a file per kind of call, all of them methods of [`Xen`].

mod affinity;
mod domain;
mod grant;
mod machine;
mod memory;
mod scheduler;
mod vcpu;
mod version;

pub use affinity::{Affinity, CpuSet};
pub use domain::{DomainInfo, NewDomain, ShutdownReason};
pub use machine::{HypervisorLog, Scheduler};
pub use scheduler::CreditShare;
pub use version::{BuildFacts, Version};

use rexen_abi::Plain;
use rexen_abi::domctl::{XEN_DOMCTL_INTERFACE_VERSION, XEN_DOMCTL_getdomaininfo, XenDomctl};
use rexen_abi::sysctl::{XEN_SYSCTL_INTERFACE_VERSION, XEN_SYSCTL_sched_id, XenSysctl};
use rexen_abi::xen::{__HYPERVISOR_domctl, __HYPERVISOR_sysctl};
use rexen_core::units::{DomId, Mfn};
use rustix::io::Errno;

use crate::error::{Error, Result};
use crate::sys::hypercall::{Call, Hypercalls};
use crate::sys::shared::SharedPages;

/// The hypervisor, as domain 0's root may use it. Calls of several threads wait for each other.
#[derive(Debug)]
pub struct Xen {
    hypercalls: Hypercalls,
}

impl Xen {
    /// Opens the devices, and makes sure that the hypervisor speaks our version of its interface.
    ///
    /// # Errors
    /// A device cannot be opened; this is not domain 0; or the interface is another version's, which the text tells.
    pub fn open() -> Result<Self> {
        let xen = Self {
            hypercalls: Hypercalls::open()?,
        };
        let version = xen.version()?;
        let mut answer = [0u8; 128];
        xen.sysctl("sysctl", XEN_SYSCTL_sched_id, &mut answer)
            .map_err(|e| explain(e, &version, "sysctl", XEN_SYSCTL_INTERFACE_VERSION))?;
        xen.domctl("domctl", XEN_DOMCTL_getdomaininfo, DomId::DOM0, &mut answer)
            .map_err(|e| explain(e, &version, "domctl", XEN_DOMCTL_INTERFACE_VERSION))?;
        Ok(xen)
    }

    /// Maps frames of `domain`, in this order, for reading and perhaps writing.
    ///
    /// # Errors
    /// `SRCH`: no such domain. `INVAL`: a frame is not its own, or a page table and to be written.
    pub fn map_foreign(
        &self,
        domain: DomId,
        frames: &[Mfn],
        writable: bool,
    ) -> Result<SharedPages> {
        self.hypercalls
            .map_frames(domain, frames, writable)
            .map_err(|errno| Error::new("mapping its frames", errno).on(domain))
    }

    /// A domctl whose argument holds no handle.
    fn domctl<T: Plain>(
        &self,
        call: &'static str,
        cmd: u32,
        domain: DomId,
        argument: &mut T,
    ) -> Result<DomId> {
        domctl_in(&mut self.hypercalls.begin(), call, cmd, domain, argument)
    }

    /// A sysctl whose argument holds no handle.
    fn sysctl<T: Plain>(&self, call: &'static str, cmd: u32, argument: &mut T) -> Result<()> {
        sysctl_in(&mut self.hypercalls.begin(), call, cmd, argument)
    }

    /// A hypercall of a command and one structure, which it may change.
    fn op<T: Plain>(&self, number: u32, cmd: u32, argument: &mut T) -> rustix::io::Result<u64> {
        let mut call = self.hypercalls.begin();
        let buffer = call.put(argument);
        let handle = call.handle(buffer);
        let answer = call.issue(number, &[cmd.into(), handle])?;
        *argument = call.get(buffer);
        Ok(answer)
    }
}

/// A domctl, as part of a call that has buffers; the answer is the domain's number.
fn domctl_in<T: Plain>(
    hypercall: &mut Call<'_>,
    call: &'static str,
    cmd: u32,
    domain: DomId,
    argument: &mut T,
) -> Result<DomId> {
    const { assert!(T::SIZE <= 128) };
    let mut envelope = XenDomctl {
        cmd,
        interface_version: XEN_DOMCTL_INTERFACE_VERSION,
        domain: domain.0,
        ..XenDomctl::ZERO
    };
    let error = |errno| Error::new(call, errno).on(domain);
    argument.write(&mut envelope.u).ok_or(error(Errno::INVAL))?;
    let buffer = hypercall.put(&envelope);
    let handle = hypercall.handle(buffer);
    let result = hypercall.issue(__HYPERVISOR_domctl, &[handle]);
    let answer: XenDomctl = hypercall.get(buffer);
    argument.fill(&answer.u).ok_or(error(Errno::INVAL))?;
    result.map_err(error)?;
    Ok(DomId(answer.domain))
}

/// A sysctl, as part of a call that has buffers.
fn sysctl_in<T: Plain>(
    hypercall: &mut Call<'_>,
    call: &'static str,
    cmd: u32,
    argument: &mut T,
) -> Result<()> {
    const { assert!(T::SIZE <= 128) };
    let mut envelope = XenSysctl {
        cmd,
        interface_version: XEN_SYSCTL_INTERFACE_VERSION,
        ..XenSysctl::ZERO
    };
    let error = |errno| Error::new(call, errno);
    argument.write(&mut envelope.u).ok_or(error(Errno::INVAL))?;
    let buffer = hypercall.put(&envelope);
    let handle = hypercall.handle(buffer);
    hypercall
        .issue(__HYPERVISOR_sysctl, &[handle])
        .map_err(error)?;
    let answer: XenSysctl = hypercall.get(buffer);
    argument.fill(&answer.u).ok_or(error(Errno::INVAL))
}

/// Says what a refusal of the first call means.
fn explain(error: Error, version: &Version, interface: &str, ours: u32) -> Error {
    match error.errno() {
        Errno::ACCESS => error.because(format!(
            "this program speaks version {ours:#x} of the {interface} interface, that of Xen 4.17; this hypervisor calls \
             itself {version} and speaks another"
        )),
        Errno::PERM => error.because("only domain 0 may control domains, and this is not domain 0"),
        _ => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_that_does_not_fit_is_said() {
        let version = Version {
            major: 4,
            minor: 99,
            extra: ".1".into(),
        };
        let error = explain(
            Error::new("sysctl", Errno::ACCESS),
            &version,
            "sysctl",
            0x15,
        );
        let text = error.to_string();
        assert!(text.contains("0x15") && text.contains("4.99.1"), "{text}");
        let error = explain(Error::new("sysctl", Errno::PERM), &version, "sysctl", 0x15);
        assert!(error.to_string().contains("not domain 0"));
    }
}
