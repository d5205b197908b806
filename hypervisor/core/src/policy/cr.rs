//! Virtual control registers: CR0, CR4 and XCR0 as a guest kernel sees and may change them.

use super::cpuid::CpuidPolicy;

/// CR0.TS: the next FPU instruction traps.
pub const CR0_TS: u64 = 1 << 3;
/// CR4.TSD: rdtsc is privileged.
pub const CR4_TSD: u64 = 1 << 2;
/// CR4.DE: debug registers 4 and 5 do not exist.
pub const CR4_DE: u64 = 1 << 3;
/// CR4.PAE
pub const CR4_PAE: u64 = 1 << 5;
/// CR4.MCE
pub const CR4_MCE: u64 = 1 << 6;
/// CR4.OSFXSR
pub const CR4_OSFXSR: u64 = 1 << 9;
/// CR4.OSXMMEXCPT
pub const CR4_OSXMMEXCPT: u64 = 1 << 10;
/// CR4.FSGSBASE
pub const CR4_FSGSBASE: u64 = 1 << 16;
/// CR4.OSXSAVE
pub const CR4_OSXSAVE: u64 = 1 << 18;

/// The virtual CR4 of a vcpu that has not written it; these bits are always set.
pub const CR4_FIXED: u64 = CR4_PAE | CR4_MCE | CR4_OSFXSR | CR4_OSXMMEXCPT;

/// x87 and SSE state: always allowed where there is XSAVE.
pub const XCR0_ALWAYS: u64 = 0b11;
/// AVX state.
pub const XCR0_AVX: u64 = 1 << 2;
/// The three parts of AVX-512 state.
pub const XCR0_AVX512: u64 = 0b111 << 5;

/// The value is not allowed: the guest gets #GP.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Refused;

/// CR0 as a guest reads it: the machine's with the vcpu's own TS.
#[inline]
pub fn read_cr0(real: u64, virtual_ts: bool) -> u64 {
    real & !CR0_TS | if virtual_ts { CR0_TS } else { 0 }
}

/// The new virtual TS after a guest writes `value` to CR0 while reading it gives `current`.
///
/// # Errors
/// [`Refused`]: another bit than TS would change.
#[inline]
pub fn write_cr0(current: u64, value: u64) -> Result<bool, Refused> {
    if (current ^ value) & !CR0_TS != 0 {
        Err(Refused)
    } else {
        Ok(value & CR0_TS != 0)
    }
}

/// The bits of CR4 that a guest with this policy may change.
pub fn cr4_changeable(policy: &CpuidPolicy) -> u64 {
    let mut bits = CR4_TSD | CR4_DE;
    if policy.has("fsgsbase") {
        bits |= CR4_FSGSBASE;
    }
    if policy.has("xsave") {
        bits |= CR4_OSXSAVE;
    }
    bits
}

/// The virtual CR4 after a guest writes `value`: bits it may not change stay as they are fixed, and nothing faults.
#[inline]
pub fn write_cr4(changeable: u64, value: u64) -> u64 {
    value & changeable | CR4_FIXED
}

/// The real CR4 to run a vcpu with: the hypervisor's own, with the vcpu's choice for the bits that guests may change.
///
/// `emulate_tsc` forces TSD. OSXSAVE stays on whatever the guest wants, because the hypervisor uses XSAVE itself.
#[inline]
pub fn real_cr4(hypervisor: u64, virtual_cr4: u64, emulate_tsc: bool) -> u64 {
    const CHOICE: u64 = CR4_TSD | CR4_DE | CR4_FSGSBASE;
    let tsd = if emulate_tsc { CR4_TSD } else { 0 };
    hypervisor & !CHOICE | virtual_cr4 & CHOICE | tsd
}

/// Checks an `xsetbv` of extended control register `index`; `allowed` is [`CpuidPolicy::xcr0_allowed`].
///
/// # Errors
/// [`Refused`]: another register, a state that is not allowed, or a combination that the processor refuses.
pub fn check_xsetbv(index: u32, value: u64, allowed: u64) -> Result<(), Refused> {
    let avx512 = value & XCR0_AVX512;
    let valid = index == 0
        && value & !allowed == 0
        && value & 1 != 0
        && (value & XCR0_AVX == 0 || value & XCR0_ALWAYS == XCR0_ALWAYS)
        && (avx512 == 0 || (avx512 == XCR0_AVX512 && value & XCR0_AVX != 0));
    if valid { Ok(()) } else { Err(Refused) }
}
