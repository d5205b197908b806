//! What a domain may see and touch of the machine: CPUID, model-specific registers, I/O ports, control and debug
//! registers.
//!
//! Decisions only. The rooms here hold tables and rules, and are asked by the trap handlers and by the hypercalls that
//! read or change them. What is hidden is hidden everywhere: a feature without its CPUID bit has no CR4 or XCR0 bit
//! and no MSR either.

pub mod cpuid;
pub mod cr;
pub mod debugreg;
pub mod features;
pub mod ioports;
pub mod msr;
#[cfg(test)]
mod tests;

use cpuid::{CpuidPolicy, Extent, HostCpuid};
use features::CpuidOption;

/// What the machine's processor says, and what PV domains may see of it.
#[derive(Clone, Debug)]
pub struct CpuPolicies {
    /// The machine's own.
    pub raw: CpuidPolicy,
    /// What a domain gets unless told otherwise.
    pub pv_default: CpuidPolicy,
    /// The most that a domain can be given.
    pub pv_max: CpuidPolicy,
}

impl CpuPolicies {
    /// Asks the machine; the rest is as for [`CpuidPolicy::for_pv`].
    pub fn collect<H: HostCpuid>(host: &H, option: &CpuidOption, host_osxsave: bool) -> Self {
        let raw = CpuidPolicy::collect(host);
        let pv = |extent| raw.for_pv(extent, option, false, host_osxsave);
        CpuPolicies {
            pv_default: pv(Extent::Default),
            pv_max: pv(Extent::Max),
            raw,
        }
    }
}

/// Whether an address has bits 63:47 all equal, as 4-level paging asks.
#[inline]
pub const fn is_canonical(address: u64) -> bool {
    ((address << 16) as i64 >> 16) as u64 == address
}
