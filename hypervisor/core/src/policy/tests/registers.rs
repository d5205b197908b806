//! Control and debug registers, XCR0 and I/O ports.

use super::cpuid::Machine;
use super::is_canonical;
use crate::policy::cpuid::{CpuidPolicy, Extent};
use crate::policy::cr::*;
use crate::policy::debugreg::DebugRegisters;
use crate::policy::features::CpuidOption;
use crate::policy::ioports::{
    ConfigPlace, DomainPorts, OwnedPorts, PciAddress, PortAccess, PortSet, RtcIndex,
};
use rexen_abi::errno::Errno::{ENODEV, EPERM};

#[test]
fn canonical_addresses_repeat_bit_47() {
    for address in [0, 0x7fff_ffff_ffff, 0xffff_8000_0000_0000, u64::MAX] {
        assert!(is_canonical(address));
    }
    for address in [0x8000_0000_0000, 0xffff_7fff_ffff_ffff, 1 << 63] {
        assert!(!is_canonical(address));
    }
}

#[test]
fn cr0_has_the_vcpus_own_ts_and_nothing_else_may_change() {
    let real = 0x8005_003b; // with TS
    assert_eq!(read_cr0(real, false), 0x8005_0033);
    assert_eq!(read_cr0(real & !CR0_TS, true), 0x8005_003b);
    assert_eq!(write_cr0(0x8005_0033, 0x8005_003b), Ok(true));
    assert_eq!(write_cr0(0x8005_003b, 0x8005_0033), Ok(false));
    for bit in (0..64).filter(|bit| 1u64 << bit != CR0_TS) {
        assert_eq!(
            write_cr0(0x8005_0033, 0x8005_0033 ^ 1 << bit),
            Err(Refused),
            "bit {bit}"
        );
    }
}

fn policy(option: &str) -> CpuidPolicy {
    let option = CpuidOption::parse(option).unwrap();
    CpuidPolicy::collect(&Machine::intel()).for_pv(Extent::Default, &option, false, true)
}

#[test]
fn only_four_bits_of_cr4_change_and_the_others_are_ignored() {
    let changeable = cr4_changeable(&policy(""));
    assert_eq!(changeable, CR4_TSD | CR4_DE | CR4_FSGSBASE | CR4_OSXSAVE);
    assert_eq!(write_cr4(changeable, u64::MAX), changeable | CR4_FIXED);
    assert_eq!(write_cr4(changeable, 0), 0x660);
}

#[test]
fn cr4_bits_of_hidden_features_stay_off() {
    let changeable = cr4_changeable(&policy("no-fsgsbase,no-xsave"));
    assert_eq!(
        write_cr4(changeable, u64::MAX),
        CR4_TSD | CR4_DE | CR4_FIXED
    );
}

#[test]
fn the_machine_runs_a_vcpu_with_its_choice_and_the_hypervisors_own_bits() {
    let own = CR4_PAE | CR4_OSXSAVE | CR4_FSGSBASE | 1 << 20;
    assert_eq!(
        real_cr4(own, CR4_FIXED, false),
        CR4_PAE | CR4_OSXSAVE | 1 << 20
    );
    assert_eq!(
        real_cr4(own, CR4_FIXED | CR4_DE | CR4_FSGSBASE, false),
        own | CR4_DE
    );
    assert_eq!(real_cr4(own, CR4_FIXED, true) & CR4_TSD, CR4_TSD);
}

#[test]
fn xcr0_takes_allowed_and_complete_combinations_only() {
    for good in [1, 3, 7, 0xe7] {
        assert_eq!(check_xsetbv(0, good, 0xe7), Ok(()), "{good:#x}");
    }
    // Without x87; AVX without SSE; parts of AVX-512; AVX-512 without AVX; PKRU.
    for bad in [0, 2, 6, 5, 0x67, 0xa7, 0x27, 0xe3, 0x2e7, u64::MAX] {
        assert_eq!(check_xsetbv(0, bad, 0xe7), Err(Refused), "{bad:#x}");
    }
    assert_eq!(check_xsetbv(1, 1, 0xe7), Err(Refused));
    assert_eq!(check_xsetbv(0, 7, 3), Err(Refused));
    assert_eq!(check_xsetbv(0, 1, 0), Err(Refused), "no XSAVE");
}

#[test]
fn breakpoints_cannot_be_set_on_the_hypervisor() {
    let mut debug = DebugRegisters::default();
    for address in [0, 0x7fff_ffff_ffff, 0xffff_8800_0000_0000, u64::MAX] {
        for number in 0..4 {
            assert_eq!(debug.set(number, address, false), Ok(()));
            assert_eq!(debug.get(number, false), Ok(address));
        }
    }
    for address in [
        0x8000_0000_0000,
        0xffff_8000_0000_0000,
        0xffff_87ff_ffff_ffff,
    ] {
        assert_eq!(debug.set(0, address, false), Err(EPERM));
    }
}

#[test]
fn dr4_and_dr5_are_aliases_unless_debug_extensions_are_on() {
    let mut debug = DebugRegisters::default();
    assert_eq!(debug.set(5, 0x401, false), Ok(()));
    assert_eq!(
        (debug.get(7, false), debug.get(5, false)),
        (Ok(0x401), Ok(0x401))
    );
    assert_eq!(debug.set(4, 1, false), Ok(()));
    assert_eq!(debug.get(6, true), Ok(0xffff_0ff1));
    for number in [4, 5] {
        assert_eq!(debug.set(number, 0, true), Err(ENODEV));
        assert_eq!(debug.get(number, true), Err(ENODEV));
    }
    assert_eq!(debug.set(8, 0, true), Err(ENODEV));
    assert_eq!(debug.get(8, true), Err(ENODEV));
    assert_eq!(debug.get(u32::MAX, true), Err(ENODEV));
}

#[test]
fn fixed_bits_of_dr6_and_dr7_stay_as_they_are() {
    let mut debug = DebugRegisters::default();
    debug.set(6, 0xffff_ffff, false).unwrap();
    assert_eq!(debug.get(6, false), Ok(0xffff_efff));
    debug.set(6, 0, false).unwrap();
    assert_eq!(debug.get(6, false), Ok(0xffff_0ff0));
    debug.set(7, 0x0000_dbff, false).unwrap();
    assert_eq!(debug.get(7, false), Ok(0x7ff));
    for number in [6, 7] {
        assert_eq!(debug.set(number, 1 << 32, false), Err(EPERM));
    }
}

#[test]
fn general_detect_and_io_breakpoints_are_refused() {
    let mut debug = DebugRegisters::default();
    assert_eq!(debug.set(7, 1 << 13, true), Err(EPERM));
    for breakpoint in 0..4 {
        assert_eq!(debug.set(7, 2 << (16 + 4 * breakpoint), true), Err(EPERM));
        assert_eq!(debug.set(7, 3 << (16 + 4 * breakpoint), true), Ok(()));
    }
}

#[test]
fn debug_registers_are_live_only_with_an_enabled_breakpoint() {
    let mut debug = DebugRegisters::default();
    assert!(!debug.is_active());
    debug.set(7, 0x80, false).unwrap();
    assert!(debug.is_active());
    debug.set(7, 0x300, false).unwrap();
    assert!(!debug.is_active());
    debug.merge_dr6(0xffff_4ff1);
    assert_eq!(debug.get(6, false), Ok(0xffff_4ff1));
}

#[test]
fn port_sets_hold_what_was_allowed_and_not_denied() {
    let ports = PortSet::default();
    assert!(ports.is_empty());
    ports.try_allow(0x3f8..=0x3ff).unwrap();
    ports.try_allow(0xffff..=0xffff).unwrap();
    ports.deny(0x3fa..=0x3fb);
    assert!(ports.contains(0x3f8) && ports.contains(0x3ff) && ports.contains(0xffff));
    assert!(!ports.contains(0x3fa) && !ports.contains(0x400) && !ports.contains(0x3f7));
    assert!(ports.contains_all(0x3fc, 4) && !ports.contains_all(0x3f9, 2));
    assert!(!ports.contains_all(0xffff, 2), "there is no port 0x10000");
    assert!(ports.contains_range(0x3fc..=0x3ff) && !ports.contains_range(0x3f8..=0x3ff));
    ports.deny(0..=0xffff);
    assert!(ports.is_empty());
}

fn dom0() -> DomainPorts {
    DomainPorts::hardware(&OwnedPorts {
        uart: Some(0x3f8),
        pm_timer: Some(0x608),
    })
}

#[test]
fn domain_0_reaches_its_devices_natively() {
    for (port, size) in [
        (0x60, 1),
        (0x64, 1),
        (0x1f0, 4),
        (0x3c0, 1),
        (0x2f8, 1),
        (0x510, 2),
        (0x511, 1),
        (0x604, 2),
        (0xcf9, 1),
        (0xffff, 1),
    ] {
        assert_eq!(dom0().access(port, size), PortAccess::Native, "{port:#x}");
    }
}

#[test]
fn domain_0_does_not_reach_what_the_hypervisor_uses() {
    for port in [
        0x20, 0x21, 0xa0, 0xa1, 0x40, 0x43, 0x61, 0x3f8, 0x3ff, 0x608, 0x60b,
    ] {
        assert_eq!(dom0().access(port, 1), PortAccess::Denied, "{port:#x}");
        assert_ne!(dom0().access(port, 4), PortAccess::Native, "{port:#x}");
    }
}

#[test]
fn the_real_time_clock_is_emulated_by_bytes() {
    assert_eq!(dom0().access(0x70, 1), PortAccess::RtcIndex);
    assert_eq!(dom0().access(0x71, 1), PortAccess::RtcData);
    for (port, size) in [(0x70, 2), (0x6f, 2), (0x6d, 4), (0x71, 4)] {
        assert_eq!(dom0().access(port, size), PortAccess::Bytes, "{port:#x}");
    }
    assert_eq!(dom0().access(0x6d, 2), PortAccess::Native);
}

#[test]
fn pci_configuration_is_emulated_in_any_size() {
    assert_eq!(dom0().access(0xcf8, 4), PortAccess::PciAddress);
    for (port, size) in [(0xcfc, 4), (0xcfc, 2), (0xcfe, 2), (0xcff, 1)] {
        assert_eq!(
            dom0().access(port, size),
            PortAccess::PciData {
                offset: (port & 3) as u8
            },
            "{port:#x}"
        );
    }
    assert_eq!(dom0().access(0xcff, 2), PortAccess::Bytes);
    assert_eq!(dom0().access(0xcfa, 4), PortAccess::Bytes);
    assert_eq!(dom0().access(0xcf8, 1), PortAccess::Native);
}

#[test]
fn a_wide_access_to_ports_of_which_some_are_denied_goes_byte_by_byte() {
    assert_eq!(dom0().access(0x3f7, 2), PortAccess::Bytes);
    assert_eq!(dom0().access(0x3f7, 1), PortAccess::Native);
}

#[test]
fn another_domain_reaches_just_the_ports_it_was_given() {
    let ports = DomainPorts::default();
    for port in [0x60, 0x70, 0x71, 0xcf8, 0xcfc] {
        assert_eq!(ports.access(port, 1), PortAccess::Denied, "{port:#x}");
    }
    assert_eq!(ports.access(0xcf8, 4), PortAccess::Bytes);
    ports.allowed.try_allow(0xc000..=0xc03f).unwrap();
    assert_eq!(ports.access(0xc000, 4), PortAccess::Native);
}

#[test]
fn a_configuration_address_names_bus_device_function_and_register() {
    let address = PciAddress(0x8001_1a3c);
    assert_eq!(
        address.place(2),
        Some(ConfigPlace {
            bus: 1,
            devfn: 0x1a,
            register: 0x3e
        })
    );
    assert_eq!(
        PciAddress(0x8f00_0000).place(0),
        Some(ConfigPlace {
            bus: 0,
            devfn: 0,
            register: 0xf00
        })
    );
    assert_eq!(PciAddress(0x0001_1a3c).place(2), None, "not enabled");
}

#[test]
fn the_clocks_index_loses_the_nmi_bit() {
    let mut index = RtcIndex::default();
    index.write(0x8c);
    assert_eq!(index.get(), 0x0c);
}
