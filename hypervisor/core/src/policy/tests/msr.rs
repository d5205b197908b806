//! MSR rules, one sentence each.

use super::cpuid::Machine;
use crate::policy::cpuid::{CpuidPolicy, Extent, Vendor};
use crate::policy::features::CpuidOption;
use crate::policy::msr::number::*;
use crate::policy::msr::{MsrRead, MsrWrite, PAT, VcpuMsrState, read, write};

fn state() -> VcpuMsrState {
    VcpuMsrState {
        microcode: 0x1234_0000_0000,
        platform_id: 0x10,
        misc_enable: 0x85_0089,
        lfence_serialising: true,
        tsc_aux: 9,
        ..VcpuMsrState::new(
            &CpuidPolicy::collect(&Machine::amd()).for_pv(
                Extent::Default,
                &CpuidOption::default(),
                false,
                true,
            ),
            false,
            true,
        )
    }
}

const VENDORS: [Vendor; 3] = [Vendor::Intel, Vendor::Amd, Vendor::Other];

fn value(msr: u32, state: &VcpuMsrState, vendor: Vendor) -> Option<u64> {
    match read(msr, state, vendor) {
        MsrRead::Value(value) => Some(value),
        _ => None,
    }
}

#[test]
fn segment_bases_are_the_live_registers() {
    for vendor in VENDORS {
        assert_eq!(read(FS_BASE, &state(), vendor), MsrRead::FsBase);
        assert_eq!(read(GS_BASE, &state(), vendor), MsrRead::GsBase);
        assert_eq!(
            read(KERNEL_GS_BASE, &state(), vendor),
            MsrRead::KernelGsBase
        );
    }
}

#[test]
fn segment_bases_take_canonical_addresses_only() {
    let to = |msr, value| write(msr, value, &state(), Vendor::Other);
    for base in [0, 0x7fff_ffff_ffff, 0xffff_8000_0000_0000, u64::MAX] {
        assert_eq!(to(FS_BASE, base), MsrWrite::FsBase(base));
        assert_eq!(to(GS_BASE, base), MsrWrite::GsBase(base));
        assert_eq!(to(KERNEL_GS_BASE, base), MsrWrite::KernelGsBase(base));
    }
    for base in [0x8000_0000_0000, 0xffff_7fff_ffff_ffff, 1 << 63] {
        for msr in [FS_BASE, GS_BASE, KERNEL_GS_BASE] {
            assert_eq!(to(msr, base), MsrWrite::Fault);
        }
    }
}

#[test]
fn the_apic_is_enabled_and_vcpu_0_is_the_bootstrap_processor() {
    assert_eq!(value(APIC_BASE, &state(), Vendor::Amd), Some(0xfee0_0900));
    let second = VcpuMsrState {
        bootstrap: false,
        ..state()
    };
    assert_eq!(value(APIC_BASE, &second, Vendor::Amd), Some(0xfee0_0800));
    assert_eq!(
        write(APIC_BASE, 0xfee0_0900, &state(), Vendor::Amd),
        MsrWrite::Fault
    );
}

#[test]
fn the_page_attribute_table_is_constant() {
    assert_eq!(
        value(CR_PAT, &state(), Vendor::Intel),
        Some(0x0000_0501_0007_0406)
    );
    assert_eq!(write(CR_PAT, PAT, &state(), Vendor::Intel), MsrWrite::Fault);
}

#[test]
fn efer_may_be_written_only_as_it_is() {
    assert_eq!(value(EFER, &state(), Vendor::Amd), Some(0xd01));
    assert_eq!(write(EFER, 0xd01, &state(), Vendor::Amd), MsrWrite::Ignored);
    for changed in [0xd00, 0x501, 0x1d01, 0] {
        assert_eq!(write(EFER, changed, &state(), Vendor::Amd), MsrWrite::Fault);
    }
    assert_eq!(
        value(
            EFER,
            &VcpuMsrState {
                nx: false,
                ..state()
            },
            Vendor::Amd
        ),
        Some(0x501)
    );
}

#[test]
fn tsc_aux_exists_with_rdtscp_and_has_32_bits() {
    assert_eq!(value(TSC_AUX, &state(), Vendor::Intel), Some(9));
    assert_eq!(
        write(TSC_AUX, 0xffff_ffff, &state(), Vendor::Intel),
        MsrWrite::TscAux(0xffff_ffff)
    );
    assert_eq!(
        write(TSC_AUX, 1 << 32, &state(), Vendor::Intel),
        MsrWrite::Fault
    );
    let without = VcpuMsrState {
        has_tsc_aux: false,
        ..state()
    };
    assert_eq!(read(TSC_AUX, &without, Vendor::Intel), MsrRead::Fault);
    assert_eq!(write(TSC_AUX, 0, &without, Vendor::Intel), MsrWrite::Fault);
}

#[test]
fn there_are_no_machine_check_banks_but_looking_does_not_fault() {
    for msr in [MCG_CAP, MCG_STATUS, 0x400, 0x407, 0x47f] {
        assert_eq!(value(msr, &state(), Vendor::Amd), Some(0), "{msr:#x}");
    }
    assert_eq!(
        write(0x404, u64::MAX, &state(), Vendor::Amd),
        MsrWrite::Ignored
    );
    assert_eq!(write(MCG_CAP, 0, &state(), Vendor::Amd), MsrWrite::Fault);
}

#[test]
fn only_domain_0_reads_the_microcode_revision() {
    let dom0 = VcpuMsrState {
        hardware_domain: true,
        ..state()
    };
    assert_eq!(value(UCODE_REV, &dom0, Vendor::Amd), Some(0x1234_0000_0000));
    assert_eq!(value(UCODE_REV, &state(), Vendor::Amd), Some(0));
    assert_eq!(read(UCODE_REV, &dom0, Vendor::Other), MsrRead::Fault);
    assert_eq!(value(PLATFORM_ID, &dom0, Vendor::Intel), Some(0x10));
    assert_eq!(read(PLATFORM_ID, &state(), Vendor::Intel), MsrRead::Fault);
}

#[test]
fn misc_enable_shows_no_performance_monitoring() {
    assert_eq!(value(MISC_ENABLE, &state(), Vendor::Intel), Some(0x85_1809));
    assert_eq!(
        write(MISC_ENABLE, 0, &state(), Vendor::Intel),
        MsrWrite::Ignored
    );
    assert_eq!(read(MISC_ENABLE, &state(), Vendor::Amd), MsrRead::Fault);
    assert_eq!(
        write(MISC_ENABLE, 0, &state(), Vendor::Amd),
        MsrWrite::Fault
    );
}

#[test]
fn amd_configuration_registers_read_as_zero_and_forget_writes() {
    for msr in [
        AMD_SYSCFG,
        AMD_HWCR,
        AMD_INT_PENDING,
        K7_EVNTSEL0,
        K7_PERFCTR3,
    ] {
        assert_eq!(value(msr, &state(), Vendor::Amd), Some(0), "{msr:#x}");
        assert_eq!(
            write(msr, u64::MAX, &state(), Vendor::Amd),
            MsrWrite::Ignored,
            "{msr:#x}"
        );
        assert_eq!(
            read(msr, &state(), Vendor::Intel),
            MsrRead::Fault,
            "{msr:#x}"
        );
        assert_eq!(
            write(msr, 0, &state(), Vendor::Intel),
            MsrWrite::Fault,
            "{msr:#x}"
        );
    }
}

#[test]
fn de_cfg_tells_whether_lfence_serialises() {
    assert_eq!(value(AMD_DE_CFG, &state(), Vendor::Amd), Some(2));
    let not = VcpuMsrState {
        lfence_serialising: false,
        ..state()
    };
    assert_eq!(value(AMD_DE_CFG, &not, Vendor::Amd), Some(0));
}

#[test]
fn a_predictor_barrier_needs_its_feature_and_no_other_bit() {
    assert_eq!(
        write(PRED_CMD, 1, &state(), Vendor::Amd),
        MsrWrite::PredictorBarrier
    );
    assert_eq!(write(PRED_CMD, 0, &state(), Vendor::Amd), MsrWrite::Ignored);
    assert_eq!(
        write(PRED_CMD, 0x81, &state(), Vendor::Amd),
        MsrWrite::Fault
    );
    assert_eq!(read(PRED_CMD, &state(), Vendor::Amd), MsrRead::Fault);
    let without = VcpuMsrState {
        has_ibpb: false,
        ..state()
    };
    assert_eq!(write(PRED_CMD, 1, &without, Vendor::Amd), MsrWrite::Fault);
}

#[test]
fn system_call_and_speculation_registers_do_not_exist() {
    // STAR, LSTAR, CSTAR, SFMASK, SYSENTER_*, SPEC_CTRL, ARCH_CAPABILITIES, VM_HSAVE_PA, feature control.
    for msr in [
        0xc000_0081,
        0xc000_0082,
        0xc000_0083,
        0xc000_0084,
        0x174,
        0x175,
        0x176,
        SPEC_CTRL,
        0x10a,
        0xc001_0117,
        0x3a,
    ] {
        for vendor in VENDORS {
            assert_eq!(read(msr, &state(), vendor), MsrRead::Fault, "{msr:#x}");
            assert_eq!(write(msr, 0, &state(), vendor), MsrWrite::Fault, "{msr:#x}");
        }
    }
}

#[test]
fn the_tsc_can_be_read_and_not_set() {
    assert_eq!(read(TSC, &state(), Vendor::Intel), MsrRead::Tsc);
    assert_eq!(write(TSC, 0, &state(), Vendor::Intel), MsrWrite::Fault);
}

#[test]
fn frequency_writes_are_ignored() {
    for msr in [APERF, MPERF, PERF_CTL] {
        assert_eq!(write(msr, 1, &state(), Vendor::Intel), MsrWrite::Ignored);
        assert_eq!(read(msr, &state(), Vendor::Intel), MsrRead::Fault);
    }
}

#[test]
fn the_hypercall_page_goes_to_the_named_frame() {
    assert_eq!(
        write(HYPERCALL_PAGE, 0x1234_5000, &state(), Vendor::Amd),
        MsrWrite::HypercallPage(0x1_2345)
    );
}
