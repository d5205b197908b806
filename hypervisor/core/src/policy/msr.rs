//! Model-specific registers: what a guest kernel reads, and what becomes of its writes.
//!
//! Denied by default, and nothing is passed through: either the answer is made here, or the caller is told which live
//! register of the vcpu is meant.

use super::cpuid::{CpuidPolicy, Vendor};
use super::is_canonical;

/// MSR numbers as the processor manuals name them.
#[expect(
    missing_docs,
    reason = "the names are the manuals'; there is nothing to add"
)]
pub mod number {
    pub const TSC: u32 = 0x10;
    pub const PLATFORM_ID: u32 = 0x17;
    pub const APIC_BASE: u32 = 0x1b;
    pub const SPEC_CTRL: u32 = 0x48;
    pub const PRED_CMD: u32 = 0x49;
    pub const UCODE_REV: u32 = 0x8b;
    pub const MPERF: u32 = 0xe7;
    pub const APERF: u32 = 0xe8;
    pub const MCG_CAP: u32 = 0x179;
    pub const MCG_STATUS: u32 = 0x17a;
    pub const PERF_CTL: u32 = 0x199;
    pub const MISC_ENABLE: u32 = 0x1a0;
    pub const CR_PAT: u32 = 0x277;
    pub const PERF_CAPABILITIES: u32 = 0x345;
    pub const MC0_CTL: u32 = 0x400;
    pub const MC31_MISC: u32 = 0x47f;
    pub const HYPERCALL_PAGE: u32 = 0x4000_0000;
    pub const EFER: u32 = 0xc000_0080;
    pub const FS_BASE: u32 = 0xc000_0100;
    pub const GS_BASE: u32 = 0xc000_0101;
    pub const KERNEL_GS_BASE: u32 = 0xc000_0102;
    pub const TSC_AUX: u32 = 0xc000_0103;
    pub const K7_EVNTSEL0: u32 = 0xc001_0000;
    pub const K7_PERFCTR3: u32 = 0xc001_0007;
    pub const AMD_SYSCFG: u32 = 0xc001_0010;
    pub const AMD_HWCR: u32 = 0xc001_0015;
    pub const AMD_INT_PENDING: u32 = 0xc001_0055;
    pub const AMD_PSTATE_CTL: u32 = 0xc001_0062;
    pub const AMD_DE_CFG: u32 = 0xc001_1029;
}
use number::*;

/// The page attribute table that the hypervisor programs and guests use in their entries: WB WT UC- UC WC WP UC UC.
pub const PAT: u64 = 0x0000_0501_0007_0406;

/// DE_CFG: `lfence` waits for everything before it.
const DE_CFG_LFENCE_SERIALISE: u64 = 1 << 1;

/// What the answers depend on; set up once per vcpu, and `tsc_aux` kept up to date.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct VcpuMsrState {
    /// vcpu 0, which Linux takes for the one that booted.
    pub bootstrap: bool,
    /// The vcpu belongs to domain 0.
    pub hardware_domain: bool,
    /// The guest has NX (its policy does).
    pub nx: bool,
    /// The guest has RDTSCP or RDPID.
    pub has_tsc_aux: bool,
    /// The guest has IBPB.
    pub has_ibpb: bool,
    /// What the guest wrote to TSC_AUX.
    pub tsc_aux: u32,
    /// The machine's microcode revision, as in MSR 0x8b; domain 0 reads it.
    pub microcode: u64,
    /// The machine's PLATFORM_ID (Intel); domain 0 reads it.
    pub platform_id: u64,
    /// The machine's MISC_ENABLE (Intel).
    pub misc_enable: u64,
    /// `lfence` is serialising on this machine (AMD's DE_CFG).
    pub lfence_serialising: bool,
}

impl VcpuMsrState {
    /// The state of a vcpu with this policy on a machine whose own MSRs are not known (0).
    pub fn new(policy: &CpuidPolicy, hardware_domain: bool, bootstrap: bool) -> Self {
        VcpuMsrState {
            bootstrap,
            hardware_domain,
            nx: policy.has("nx"),
            has_tsc_aux: policy.has("rdtscp") || policy.has("rdpid"),
            has_ibpb: policy.has("ibpb"),
            tsc_aux: 0,
            microcode: 0,
            platform_id: 0,
            misc_enable: 0,
            lfence_serialising: false,
        }
    }

    /// EFER as the guest sees it: long mode, system calls and, if it has it, NX.
    pub fn efer(&self) -> u64 {
        const SCE_LME_LMA: u64 = 1 | 1 << 8 | 1 << 10;
        SCE_LME_LMA | u64::from(self.nx) << 11
    }
}

/// The answer to `rdmsr`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MsrRead {
    /// This value.
    Value(u64),
    /// The live FS base.
    FsBase,
    /// The live GS base.
    GsBase,
    /// The GS base of the guest's user space, live in the inactive register.
    KernelGsBase,
    /// The guest's time-stamp counter.
    Tsc,
    /// #GP; but while the guest has no #GP handler, 0 if the machine itself can read this MSR.
    Fault,
}

/// What becomes of a `wrmsr`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MsrWrite {
    /// Nothing: the guest goes on.
    Ignored,
    /// Set the FS base, which is canonical.
    FsBase(u64),
    /// Set the GS base, which is canonical.
    GsBase(u64),
    /// Set the inactive GS base, which is canonical.
    KernelGsBase(u64),
    /// Keep as `tsc_aux`, and load it into the machine's TSC_AUX.
    TscAux(u32),
    /// Issue an indirect-branch predictor barrier.
    PredictorBarrier,
    /// Write the hypercall page to this guest pseudophysical frame (`public/arch-x86/cpuid.h`, leaf 0x40000002).
    HypercallPage(u64),
    /// #GP.
    Fault,
}

/// Answers a guest kernel's `rdmsr`.
#[inline]
pub fn read(msr: u32, state: &VcpuMsrState, vendor: Vendor) -> MsrRead {
    // Linux reads this on every context switch.
    if msr == KERNEL_GS_BASE {
        return MsrRead::KernelGsBase;
    }
    read_other(msr, state, vendor)
}

#[inline(never)]
fn read_other(msr: u32, state: &VcpuMsrState, vendor: Vendor) -> MsrRead {
    const INTEL: Vendor = Vendor::Intel;
    const AMD: Vendor = Vendor::Amd;
    let value = match (msr, vendor) {
        (FS_BASE, _) => return MsrRead::FsBase,
        (GS_BASE, _) => return MsrRead::GsBase,
        (TSC, _) => return MsrRead::Tsc,
        // Enabled at the usual address; bit 8: this is the bootstrap processor.
        (APIC_BASE, _) => 0xfee0_0000 | 1 << 11 | u64::from(state.bootstrap) << 8,
        (CR_PAT, _) => PAT,
        (EFER, _) => state.efer(),
        (TSC_AUX, _) if state.has_tsc_aux => u64::from(state.tsc_aux),
        // Machine checks are the hypervisor's: no banks, and nothing in them.
        (MCG_CAP | MCG_STATUS | MC0_CTL..=MC31_MISC, _) => 0,
        (UCODE_REV, INTEL | AMD) if state.hardware_domain => state.microcode,
        (UCODE_REV, INTEL | AMD) => 0,
        (PLATFORM_ID, INTEL) if state.hardware_domain => state.platform_id,
        (MISC_ENABLE, INTEL) => misc_enable(state.misc_enable),
        (PERF_CAPABILITIES, INTEL) => 0,
        (AMD_DE_CFG, AMD) if state.lfence_serialising => DE_CFG_LFENCE_SERIALISE,
        (AMD_SYSCFG | AMD_HWCR | AMD_INT_PENDING | AMD_DE_CFG, AMD) => 0,
        // No performance counters, but a guest's probe of them need not fault.
        (K7_EVNTSEL0..=K7_PERFCTR3, AMD) => 0,
        _ => return MsrRead::Fault,
    };
    MsrRead::Value(value)
}

/// MISC_ENABLE without performance monitoring: not available (bit 7), no branch trace (11), no sampling (12).
fn misc_enable(host: u64) -> u64 {
    host & !(1 << 7) | 1 << 11 | 1 << 12
}

/// Judges a guest kernel's `wrmsr`.
#[inline(never)]
pub fn write(msr: u32, value: u64, state: &VcpuMsrState, vendor: Vendor) -> MsrWrite {
    const INTEL: Vendor = Vendor::Intel;
    const AMD: Vendor = Vendor::Amd;
    match (msr, vendor) {
        (FS_BASE, _) if is_canonical(value) => MsrWrite::FsBase(value),
        (GS_BASE, _) if is_canonical(value) => MsrWrite::GsBase(value),
        (KERNEL_GS_BASE, _) if is_canonical(value) => MsrWrite::KernelGsBase(value),
        (TSC_AUX, _) if state.has_tsc_aux => match u32::try_from(value) {
            Ok(value) => MsrWrite::TscAux(value),
            Err(_) => MsrWrite::Fault,
        },
        (EFER, _) if value == state.efer() => MsrWrite::Ignored,
        (PRED_CMD, _) if state.has_ibpb && value == 1 => MsrWrite::PredictorBarrier,
        (PRED_CMD, _) if state.has_ibpb && value == 0 => MsrWrite::Ignored,
        (HYPERCALL_PAGE, _) => MsrWrite::HypercallPage(value >> 12),
        (MCG_STATUS | MC0_CTL..=MC31_MISC, _) => MsrWrite::Ignored,
        // Intel's way to read the microcode revision begins with writing 0.
        (UCODE_REV, INTEL) => MsrWrite::Ignored,
        (MISC_ENABLE, INTEL) => MsrWrite::Ignored,
        (AMD_SYSCFG | AMD_HWCR | AMD_INT_PENDING | AMD_DE_CFG, AMD) => MsrWrite::Ignored,
        (K7_EVNTSEL0..=K7_PERFCTR3, AMD) => MsrWrite::Ignored,
        // Frequency is the hypervisor's.
        (APERF | MPERF | PERF_CTL, _) | (AMD_PSTATE_CTL, AMD) => MsrWrite::Ignored,
        _ => MsrWrite::Fault,
    }
}
