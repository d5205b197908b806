//! What building needs of a hypervisor.

use rexen_abi::arch_x86::VcpuGuestContext;
use rexen_core::units::{DomId, EvtchnPort, GrantRef, Mfn, Pfn, VcpuId};
use rustix::io::Errno;

use crate::error::{Error, Result};
use crate::sys::shared::SharedPages;
use crate::xen::Xen;

/// Some pages of a domain, mapped. Offsets are within them.
pub trait Window {
    /// Copies bytes in.
    fn write(&self, offset: usize, bytes: &[u8]);
    /// Fills `len` bytes with zeroes.
    fn clear(&self, offset: usize, len: usize);
}

/// A hypervisor, as far as building a domain needs one. The methods are those of [`Xen`].
#[expect(missing_docs, reason = "they are documented at `Xen`")]
pub trait Machine {
    fn set_max_vcpus(&self, domain: DomId, count: u32) -> Result<()>;
    fn set_max_memory(&self, domain: DomId, kib: u64) -> Result<()>;
    fn set_memory_map(&self, domain: DomId, kib: u64) -> Result<()>;
    fn alloc_unbound(&self, domain: DomId, remote: DomId) -> Result<EvtchnPort>;
    fn populate(&self, domain: DomId, first: Pfn, count: usize, order: u32) -> Result<Vec<Mfn>>;
    fn shared_info(&self, domain: DomId) -> Result<Mfn>;
    fn map(&self, domain: DomId, frames: &[Mfn]) -> Result<Box<dyn Window>>;
    fn pin_l4(&self, domain: DomId, frame: Mfn) -> Result<()>;
    /// Sets vcpu 0's.
    fn set_registers(&self, domain: DomId, context: &VcpuGuestContext) -> Result<()>;
    fn seed_grants(&self, domain: DomId, grants: &[(GrantRef, Mfn, DomId)]) -> Result<()>;
}

impl Window for SharedPages {
    fn write(&self, offset: usize, bytes: &[u8]) {
        SharedPages::write(self, offset, bytes);
    }

    fn clear(&self, offset: usize, len: usize) {
        SharedPages::clear(self, offset, len);
    }
}

impl Machine for Xen {
    fn set_max_vcpus(&self, domain: DomId, count: u32) -> Result<()> {
        Xen::set_max_vcpus(self, domain, count)
    }

    fn set_max_memory(&self, domain: DomId, kib: u64) -> Result<()> {
        Xen::set_max_memory(self, domain, kib)
    }

    fn set_memory_map(&self, domain: DomId, kib: u64) -> Result<()> {
        Xen::set_memory_map(self, domain, kib)
    }

    fn alloc_unbound(&self, domain: DomId, remote: DomId) -> Result<EvtchnPort> {
        Xen::alloc_unbound(self, domain, remote)
    }

    fn populate(&self, domain: DomId, first: Pfn, count: usize, order: u32) -> Result<Vec<Mfn>> {
        Xen::populate(self, domain, first, count, order)
    }

    fn shared_info(&self, domain: DomId) -> Result<Mfn> {
        match self.domain(domain)? {
            Some(info) => Ok(info.shared_info),
            None => Err(Error::new("looking up the domain", Errno::SRCH).on(domain)),
        }
    }

    fn map(&self, domain: DomId, frames: &[Mfn]) -> Result<Box<dyn Window>> {
        Ok(Box::new(self.map_foreign(domain, frames, true)?))
    }

    fn pin_l4(&self, domain: DomId, frame: Mfn) -> Result<()> {
        Xen::pin_l4(self, domain, frame)
    }

    fn set_registers(&self, domain: DomId, context: &VcpuGuestContext) -> Result<()> {
        self.set_vcpu_context(domain, VcpuId(0), context)
    }

    fn seed_grants(&self, domain: DomId, grants: &[(GrantRef, Mfn, DomId)]) -> Result<()> {
        Xen::seed_grants(self, domain, grants)
    }
}
