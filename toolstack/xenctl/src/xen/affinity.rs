//! On which physical CPUs a vcpu may run.

use rexen_abi::domctl::*;
use rexen_abi::xen::XenctlBitmap;
use rexen_core::units::{DomId, VcpuId};

use super::{Xen, domctl_in};
use crate::error::Result;
use crate::sys::hypercall::Call;

/// A set of physical CPUs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CpuSet {
    bits: Vec<u8>,
}

impl CpuSet {
    /// CPUs 0 up to, not including, `count`.
    pub fn first(count: u32) -> Self {
        (0..count).collect()
    }

    /// Adds a CPU.
    pub fn insert(&mut self, cpu: u32) {
        let byte = (cpu / 8) as usize;
        if self.bits.len() <= byte {
            self.bits.resize(byte + 1, 0);
        }
        self.bits[byte] |= 1 << (cpu % 8);
    }

    /// Whether a CPU is in the set.
    pub fn contains(&self, cpu: u32) -> bool {
        let byte = self.bits.get((cpu / 8) as usize);
        byte.is_some_and(|byte| byte >> (cpu % 8) & 1 != 0)
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.iter().next().is_none()
    }

    /// The CPUs, in ascending order.
    pub fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        (0..self.bits.len() as u32 * 8).filter(|cpu| self.contains(*cpu))
    }
}

impl FromIterator<u32> for CpuSet {
    fn from_iter<I: IntoIterator<Item = u32>>(cpus: I) -> Self {
        let mut set = Self::default();
        for cpu in cpus {
            set.insert(cpu);
        }
        set
    }
}

/// Where a vcpu may run, and where it had better.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Affinity {
    /// Nowhere else.
    pub hard: CpuSet,
    /// Elsewhere only if these are busy.
    pub soft: CpuSet,
}

impl Xen {
    /// Pins a vcpu, hard or softly or both; the answer is what became of it: CPUs that are not there do not count.
    ///
    /// # Errors
    /// `INVAL`: no CPU of the domain's pool is in the set. `SRCH`: no such vcpu.
    pub fn set_affinity(
        &self,
        domain: DomId,
        vcpu: VcpuId,
        hard: Option<&CpuSet>,
        soft: Option<&CpuSet>,
    ) -> Result<Affinity> {
        let cpus = self.max_cpus()?;
        let mut call = self.hypercalls.begin();
        let mut flags = 0;
        let mut map = |set: Option<&CpuSet>, flag| {
            if set.is_some() {
                flags |= flag;
            }
            let mut bits = set.map(|set| set.bits.clone()).unwrap_or_default();
            bits.resize(bytes_for(cpus), 0);
            call.put_bytes(&bits)
        };
        let hard = map(hard, XEN_VCPUAFFINITY_HARD);
        let soft = map(soft, XEN_VCPUAFFINITY_SOFT);
        let mut argument = XenDomctlVcpuaffinity {
            vcpu: vcpu.0,
            flags,
            cpumap_hard: bitmap(call.handle(hard), cpus),
            cpumap_soft: bitmap(call.handle(soft), cpus),
        };
        domctl_in(
            &mut call,
            "pinning a vcpu",
            XEN_DOMCTL_setvcpuaffinity,
            domain,
            &mut argument,
        )?;
        Ok(answer(&call, hard, soft))
    }

    /// Where a vcpu may run.
    ///
    /// # Errors
    /// `INVAL`, `SRCH`: no such vcpu or domain.
    pub fn affinity(&self, domain: DomId, vcpu: VcpuId) -> Result<Affinity> {
        let cpus = self.max_cpus()?;
        let mut call = self.hypercalls.begin();
        let hard = call.room(bytes_for(cpus));
        let soft = call.room(bytes_for(cpus));
        let mut argument = XenDomctlVcpuaffinity {
            vcpu: vcpu.0,
            flags: XEN_VCPUAFFINITY_HARD | XEN_VCPUAFFINITY_SOFT,
            cpumap_hard: bitmap(call.handle(hard), cpus),
            cpumap_soft: bitmap(call.handle(soft), cpus),
        };
        domctl_in(
            &mut call,
            "looking where a vcpu may run",
            XEN_DOMCTL_getvcpuaffinity,
            domain,
            &mut argument,
        )?;
        Ok(answer(&call, hard, soft))
    }

    /// Places a domain's memory to come on NUMA nodes.
    ///
    /// # Errors
    /// `INVAL`: no such node.
    pub fn set_node_affinity(&self, domain: DomId, nodes: &CpuSet) -> Result<()> {
        let mut call = self.hypercalls.begin();
        let buffer = call.put_bytes(&nodes.bits);
        let mut argument = XenDomctlNodeaffinity {
            nodemap: bitmap(call.handle(buffer), nodes.bits.len() as u32 * 8),
        };
        domctl_in(
            &mut call,
            "placing it on nodes",
            XEN_DOMCTL_setnodeaffinity,
            domain,
            &mut argument,
        )
        .map(|_| ())
    }

    /// Physical CPUs that there can be.
    fn max_cpus(&self) -> Result<u32> {
        Ok(self.physinfo()?.max_cpu_id.saturating_add(1).min(4096))
    }
}

const fn bytes_for(cpus: u32) -> usize {
    cpus.div_ceil(8) as usize
}

fn bitmap(handle: u64, bits: u32) -> XenctlBitmap {
    XenctlBitmap {
        bitmap: handle,
        nr_bits: bits,
    }
}

fn answer(
    call: &Call<'_>,
    hard: crate::sys::hypercall::Buffer,
    soft: crate::sys::hypercall::Buffer,
) -> Affinity {
    Affinity {
        hard: CpuSet {
            bits: call.bytes(hard),
        },
        soft: CpuSet {
            bits: call.bytes(soft),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_holds_its_members() {
        let set: CpuSet = [0, 9, 63].into_iter().collect();
        assert_eq!(set.iter().collect::<Vec<_>>(), [0, 9, 63]);
        assert!(set.contains(9) && !set.contains(8) && !set.contains(4000));
        assert!(CpuSet::default().is_empty());
        assert_eq!(CpuSet::first(3).iter().collect::<Vec<_>>(), [0, 1, 2]);
    }
}
