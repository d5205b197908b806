//! Vcpus: their registers and how they do.

use rexen_abi::Plain;
use rexen_abi::arch_x86::VcpuGuestContext;
use rexen_abi::domctl::*;
use rexen_core::units::{DomId, VcpuId};

use super::{Xen, domctl_in};
use crate::error::Result;

impl Xen {
    /// Sets all registers of a vcpu that does not run. The hypervisor checks them.
    ///
    /// # Errors
    /// `INVAL`: a register cannot be so, or the page tables are refused.
    pub fn set_vcpu_context(
        &self,
        domain: DomId,
        vcpu: VcpuId,
        context: &VcpuGuestContext,
    ) -> Result<()> {
        let mut call = self.hypercalls.begin();
        let buffer = call.put(context);
        let mut argument = XenDomctlVcpucontext {
            vcpu: vcpu.0,
            ctxt: call.handle(buffer),
        };
        domctl_in(
            &mut call,
            "setting its registers",
            XEN_DOMCTL_setvcpucontext,
            domain,
            &mut argument,
        )
        .map(|_| ())
    }

    /// All registers of a vcpu.
    ///
    /// # Errors
    /// `NODATA`: it has never been set up. `INVAL`: there is no such vcpu.
    pub fn vcpu_context(&self, domain: DomId, vcpu: VcpuId) -> Result<VcpuGuestContext> {
        let mut call = self.hypercalls.begin();
        let buffer = call.room(VcpuGuestContext::SIZE);
        let mut argument = XenDomctlVcpucontext {
            vcpu: vcpu.0,
            ctxt: call.handle(buffer),
        };
        domctl_in(
            &mut call,
            "reading its registers",
            XEN_DOMCTL_getvcpucontext,
            domain,
            &mut argument,
        )?;
        Ok(call.get(buffer))
    }

    /// How a vcpu does.
    ///
    /// # Errors
    /// `SRCH`: no such domain, or vcpu.
    pub fn vcpu(&self, domain: DomId, vcpu: VcpuId) -> Result<XenDomctlGetvcpuinfo> {
        let mut argument = XenDomctlGetvcpuinfo {
            vcpu: vcpu.0,
            ..XenDomctlGetvcpuinfo::ZERO
        };
        self.change(
            "looking up a vcpu",
            XEN_DOMCTL_getvcpuinfo,
            domain,
            &mut argument,
        )?;
        Ok(argument)
    }

    /// Sends a trigger (`XEN_DOMCTL_SENDTRIGGER_*`), such as an NMI, to a vcpu.
    ///
    /// # Errors
    /// `NOSYS`, `INVAL`: not this one, or not to this kind of domain.
    pub fn send_trigger(&self, domain: DomId, trigger: u32, vcpu: VcpuId) -> Result<()> {
        let mut argument = XenDomctlSendtrigger {
            trigger,
            vcpu: vcpu.0,
        };
        self.change(
            "sending it a trigger",
            XEN_DOMCTL_sendtrigger,
            domain,
            &mut argument,
        )
    }
}
