//! CPUID leaves and MSRs as the toolstack exchanges them (`public/arch-x86/xen.h`, xen_cpuid_leaf_t, xen_msr_entry_t).

use rexen_abi::Plain;
use rexen_abi::arch_x86::{XenCpuidLeaf, XenMsrEntry};
use rexen_abi::errno::Errno;

use super::args::element;
use crate::hypercall::{Call, Machine};
use crate::policy::cpuid::CpuidPolicy;

/// Leaves that a policy may have. libxc makes room for so many, also for its own, which have more than ours.
pub(super) const MAX_LEAVES: u32 = 192;
/// MSRs that a policy may have, likewise. Ours has none.
pub(super) const MAX_MSRS: u32 = 8;

/// MSRs that libxc's policies have: PLATFORM_INFO and ARCH_CAPABILITIES.
const KNOWN: [u32; 2] = [0xce, 0x10a];

/// Writes the leaves of `policy` to the list at `list`, which has room for `room`; how many there are, or for a null
/// list how many there could be.
///
/// # Errors
/// ENOBUFS: too little room. EFAULT.
pub(super) fn put_leaves<M: Machine>(
    call: &Call<'_, M>,
    policy: &CpuidPolicy,
    list: u64,
    room: u32,
) -> Result<u32, Errno> {
    if list == 0 {
        return Ok(MAX_LEAVES);
    }
    let mut count = 0;
    for leaf in policy.leaves() {
        if count == room {
            return Err(Errno::ENOBUFS);
        }
        let [a, b, c, d] = leaf.regs;
        let entry = XenCpuidLeaf {
            leaf: leaf.leaf,
            subleaf: leaf.subleaf,
            a,
            b,
            c,
            d,
        };
        let at = element(list, u64::from(count), XenCpuidLeaf::SIZE as u64);
        call.write(at, &entry)?;
        count += 1;
    }
    Ok(count)
}

/// How many MSRs were written to `list`, or for a null one could be.
pub(super) fn put_msrs(list: u64) -> u32 {
    if list == 0 { MAX_MSRS } else { 0 }
}

/// Whether a domain's policy may have this MSR: it says that the processor has nothing more than CPUID tells.
pub(super) fn is_msr_allowed(msr: &XenMsrEntry) -> bool {
    KNOWN.contains(&msr.idx) && msr.flags == 0 && msr.val == 0
}
