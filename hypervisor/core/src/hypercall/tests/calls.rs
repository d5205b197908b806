//! The list itself, authority, multicall, and the smaller calls.

use std::sync::atomic::Ordering::SeqCst;

use rexen_abi::domctl::*;
use rexen_abi::errno::Errno;
use rexen_abi::platform::*;
use rexen_abi::sysctl::*;
use rexen_abi::version::*;
use rexen_abi::xen::*;

use super::err;
use crate::hypercall::table::{HYPERCALLS, Who};
use crate::hypercall::testing::{Asked, DOM0, Fake, GUEST, MAPPED};
use crate::hypercall::{Outcome, PowerAction};
use crate::pvmmu::TableAccess;

const ARG: u64 = GUEST;
const BUFFER: u64 = GUEST + 0x2000;

#[test]
fn the_list_names_each_number_once() {
    for (n, call) in HYPERCALLS.iter().enumerate() {
        assert!(
            HYPERCALLS[n + 1..]
                .iter()
                .all(|other| other.number != call.number && other.name != call.name)
        );
        assert!(call.about.ends_with('.'));
    }
}

#[test]
fn what_is_domain_0s_is_refused_to_others() {
    let m = Fake::new();
    let for_dom0 = HYPERCALLS.iter().filter(|call| call.who == Who::Dom0);
    assert_eq!(for_dom0.clone().count(), 4);
    for call in for_dom0 {
        assert_eq!(
            m.call(1, call.number, [0, 0, 0]),
            err(Errno::EPERM),
            "{}",
            call.name
        );
    }
    assert_eq!(m.take_asked(), []);
}

#[test]
fn calls_that_nobody_has_fail_as_the_list_says() {
    let m = Fake::new();
    for call in HYPERCALLS {
        if let Who::Nobody(e) = call.who {
            assert_eq!(m.call(0, call.number, [0]), err(e), "{}", call.name);
        }
    }
    assert_eq!(
        m.call(0, __HYPERVISOR_xenpmu_op, [4]),
        err(Errno::EOPNOTSUPP)
    );
}

#[test]
fn unknown_numbers_are_refused_and_seldom_logged() {
    let m = Fake::new();
    for number in [11, 23, 43, 49, 127, u32::MAX] {
        for _ in 0..200 {
            assert_eq!(m.call(1, number, [0]), err(Errno::ENOSYS));
        }
    }
    let lines = m.take_asked();
    assert!(lines.iter().all(|asked| matches!(asked, Asked::Log(_))));
    assert!((5..20).contains(&lines.len()), "{}", lines.len());
}

#[test]
fn the_version_is_that_of_the_interface() {
    let m = Fake::new();
    let version = |dom, cmd: u32| m.call(dom, __HYPERVISOR_xen_version, [cmd.into(), ARG]);
    assert_eq!(
        m.call(1, __HYPERVISOR_xen_version, [XENVER_version.into(), 0]),
        0x40011
    );
    assert_eq!(version(1, XENVER_capabilities), 0);
    let text = m.get::<[u8; 1024]>(ARG);
    assert!(text.starts_with(b"xen-3.0-x86_64 \0"));
    assert_eq!(version(1, XENVER_guest_handle), 0);
    assert_eq!(m.get::<[u8; 16]>(ARG), [2; 16]);
    assert_eq!(version(1, XENVER_commandline), 0);
    assert!(m.get::<[u8; 1024]>(ARG).starts_with(b"<denied>\0"));
    assert_eq!(version(0, XENVER_commandline), 0);
    assert!(m.get::<[u8; 1024]>(ARG).starts_with(b"console=com1\0"));
    assert_eq!(version(0, XENVER_build_id), err(Errno::ENODATA));
    assert_eq!(version(1, XENVER_build_id), err(Errno::EPERM));
    assert_eq!(
        m.call(1, __HYPERVISOR_xen_version, [XENVER_pagesize.into(), 0]),
        4096
    );
    assert_eq!(version(0, 11), err(Errno::ENOSYS));
    assert_eq!(
        m.call(1, __HYPERVISOR_xen_version, [XENVER_extraversion.into(), 8]),
        err(Errno::EFAULT)
    );
}

#[test]
fn features_tell_domain_0_and_the_assist_apart() {
    let m = Fake::new();
    let features = |dom| {
        m.put(
            ARG,
            &XenFeatureInfo {
                submap_idx: 0,
                submap: 0,
            },
        );
        assert_eq!(
            m.call(
                dom,
                __HYPERVISOR_xen_version,
                [XENVER_get_features.into(), ARG]
            ),
            0
        );
        m.get::<XenFeatureInfo>(ARG).submap
    };
    let always = 1 << 5 | 1 << 6 | 1 << 7 | 1 << 13 | 1 << 17;
    assert_eq!(features(1), always);
    assert_eq!(features(0), always | 1 << 11);
    let assist = |cmd: u32, kind: u32| m.call(1, __HYPERVISOR_vm_assist, [cmd.into(), kind.into()]);
    assert_eq!(assist(VMASST_CMD_enable, VMASST_TYPE_pae_extended_cr3), 0);
    assert_eq!(features(1), always | 1 << 4);
    for kind in [0, 1, 2, 3, 4, 5, 32] {
        assert_eq!(assist(VMASST_CMD_enable, kind), 0);
    }
    for kind in [6, 31, 33, 64, u32::MAX] {
        assert_eq!(assist(VMASST_CMD_enable, kind), err(Errno::EINVAL));
    }
    assert_eq!(assist(VMASST_CMD_disable, VMASST_TYPE_pae_extended_cr3), 0);
    assert_eq!(features(1), always);
    assert_eq!(assist(4, 0), err(Errno::ENOSYS));
    m.put(
        ARG,
        &XenFeatureInfo {
            submap_idx: 1,
            submap: 0,
        },
    );
    assert_eq!(
        m.call(
            1,
            __HYPERVISOR_xen_version,
            [XENVER_get_features.into(), ARG]
        ),
        err(Errno::EINVAL)
    );
}

fn entry(m: &Fake, n: u64, op: u32, args: &[u64]) {
    let mut entry = MulticallEntry {
        op: op.into(),
        result: 77,
        ..MulticallEntry::default()
    };
    entry.args[..args.len()].copy_from_slice(args);
    m.put(ARG + n * 64, &entry);
}

fn result(m: &Fake, n: u64) -> u64 {
    m.get::<MulticallEntry>(ARG + n * 64).result
}

#[test]
fn a_multicall_runs_all_entries_whatever_becomes_of_each() {
    let m = Fake::new();
    entry(&m, 0, __HYPERVISOR_xen_version, &[0, 0]);
    entry(&m, 1, __HYPERVISOR_multicall, &[ARG, 1]);
    entry(&m, 2, 43, &[]);
    entry(&m, 3, __HYPERVISOR_stack_switch, &[0x2b, 0x7777]);
    assert_eq!(m.call(0, __HYPERVISOR_multicall, [ARG, 4]), 0);
    let results = [0, 1, 2, 3].map(|n| result(&m, n));
    assert_eq!(
        results,
        [0x40011, err(Errno::EINVAL), err(Errno::ENOSYS), 0]
    );
    assert_eq!(m.dom(0).vcpus[0].kernel_sp.load(SeqCst), 0x7777);
    assert_eq!(
        m.call(0, __HYPERVISOR_multicall, [8, 1]),
        err(Errno::EFAULT)
    );
    assert_eq!(m.call(0, __HYPERVISOR_multicall, [8, 0]), 0);
}

#[test]
fn a_multicall_goes_on_at_the_entry_that_has_to() {
    let m = Fake::new();
    let [.., l1] = m.tables(0);
    for n in 0..100 {
        m.put(
            BUFFER + n * 16,
            &MmuUpdate {
                ptr: l1.maddr() + n * 8,
                val: (DOM0.0 + 9) << 12 | 0x67,
            },
        );
    }
    entry(&m, 0, __HYPERVISOR_xen_version, &[0, 0]);
    entry(
        &m,
        1,
        __HYPERVISOR_mmu_update,
        &[BUFFER, 100, 0, DOMID_SELF.into()],
    );
    entry(
        &m,
        2,
        __HYPERVISOR_update_va_mapping,
        &[MAPPED + (200 << 12), 1 << 40, 0],
    );
    // Not between the entries; in the middle of the second.
    m.stops.store(0b10, SeqCst);
    let again = m.turn(0, 0, __HYPERVISOR_multicall, [ARG, 3, 7, 8, 9]);
    assert_eq!(again, Outcome::Again([ARG + 64, 2, 7, 8, 9]));
    let left = m.get::<MulticallEntry>(ARG + 64);
    assert_eq!(
        left.args[..4],
        [BUFFER + 48 * 16, 52 | 0x8000_0000, 0, DOMID_SELF.into()]
    );
    assert_eq!((result(&m, 0), result(&m, 1)), (0x40011, 77));
    assert_eq!(
        m.turn(0, 0, __HYPERVISOR_multicall, [ARG + 64, 2, 7, 8, 9]),
        Outcome::Done(0)
    );
    assert!((0..100).all(|n| m.read(l1, n) != 0));
    assert_eq!((result(&m, 1), result(&m, 2)), (0, 0));
    m.check();
}

#[test]
fn a_multicall_stops_between_entries() {
    let m = Fake::new();
    entry(&m, 0, __HYPERVISOR_xen_version, &[0, 0]);
    entry(&m, 1, __HYPERVISOR_xen_version, &[0, 0]);
    m.stops.store(1, SeqCst);
    let again = m.turn(0, 0, __HYPERVISOR_multicall, [ARG, 2, 0, 0, 0]);
    assert_eq!(again, Outcome::Again([ARG + 64, 1, 0, 0, 0]));
    assert_eq!((result(&m, 0), result(&m, 1)), (0x40011, 77));
}

#[test]
fn console_text_is_printed_in_pieces() {
    let m = Fake::new();
    let text: Vec<u8> = (0..300).map(|n| n as u8).collect();
    m.put(BUFFER, &<[u8; 300]>::try_from(&text[..]).unwrap());
    m.stops.store(1, SeqCst);
    let args = [CONSOLEIO_write.into(), 300, BUFFER, 3, 4];
    let again = m.turn(0, 0, __HYPERVISOR_console_io, args);
    assert_eq!(
        again,
        Outcome::Again([CONSOLEIO_write.into(), 172, BUFFER + 128, 3, 4])
    );
    let Outcome::Again(args) = again else {
        unreachable!()
    };
    assert_eq!(
        m.turn(0, 0, __HYPERVISOR_console_io, args),
        Outcome::Done(0)
    );
    let said = m.take_asked();
    let Ok([a, b, c]) = <[Asked; 3]>::try_from(said) else {
        panic!()
    };
    let all: Vec<u8> = [a, b, c]
        .into_iter()
        .flat_map(|asked| match asked {
            Asked::Console(bytes) => bytes,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(all, text);
    assert_eq!(
        m.call(0, __HYPERVISOR_console_io, [CONSOLEIO_write.into(), 1, 8]),
        err(Errno::EFAULT)
    );
    assert_eq!(
        m.call(0, __HYPERVISOR_console_io, [2, 1, BUFFER]),
        err(Errno::ENOSYS)
    );
}

#[test]
fn console_input_is_read_up_to_the_room() {
    let m = Fake::new();
    m.input.lock().unwrap().extend(b"hello");
    assert_eq!(
        m.call(
            0,
            __HYPERVISOR_console_io,
            [CONSOLEIO_read.into(), 3, BUFFER]
        ),
        3
    );
    assert_eq!(
        m.call(
            0,
            __HYPERVISOR_console_io,
            [CONSOLEIO_read.into(), 9, BUFFER + 3]
        ),
        2
    );
    assert_eq!(m.get::<[u8; 5]>(BUFFER), *b"hello");
    assert_eq!(
        m.call(
            0,
            __HYPERVISOR_console_io,
            [CONSOLEIO_read.into(), 9, BUFFER]
        ),
        0
    );
}

fn platform(m: &Fake, cmd: u32, fill: impl FnOnce(&mut [u8])) -> u64 {
    let mut op = XenPlatformOp {
        cmd,
        interface_version: XENPF_INTERFACE_VERSION,
        u: [0; 128],
    };
    fill(&mut op.u);
    m.put(ARG, &op);
    m.call(0, __HYPERVISOR_platform_op, [ARG])
}

#[test]
fn platform_operations_need_the_right_version() {
    let m = Fake::new();
    m.put(
        ARG,
        &XenPlatformOp {
            cmd: XENPF_settime64,
            interface_version: 1,
            u: [0; 128],
        },
    );
    assert_eq!(
        m.call(0, __HYPERVISOR_platform_op, [ARG]),
        err(Errno::EACCES)
    );
    assert_eq!(platform(&m, 99, |_| ()), err(Errno::ENOSYS));
    assert_eq!(
        platform(&m, XENPF_set_processor_pminfo, |_| ()),
        err(Errno::ENOSYS)
    );
}

#[test]
fn the_wall_clock_is_set_as_of_system_time_0() {
    let m = Fake::new();
    use rexen_abi::Plain;
    let time = XenpfSettime64 {
        secs: 1000,
        nsecs: 5,
        mbz: 0,
        system_time: 10_000_000_000,
    };
    assert_eq!(platform(&m, XENPF_settime64, |u| time.write(u).unwrap()), 0);
    assert_eq!(m.take_asked(), [Asked::Clock(990, 5)]);
    for bad in [
        XenpfSettime64 { mbz: 1, ..time },
        XenpfSettime64 {
            nsecs: u32::MAX,
            ..time
        },
    ] {
        assert_eq!(
            platform(&m, XENPF_settime64, |u| bad.write(u).unwrap()),
            err(Errno::EINVAL)
        );
    }
    assert_eq!(m.take_asked(), []);
}

#[test]
fn the_machine_is_switched_off_by_the_values_of_domain_0() {
    let m = Fake::new();
    use rexen_abi::Plain;
    let sleep = XenpfEnterAcpiSleep {
        val_a: 0x2000,
        val_b: 1,
        sleep_state: 5,
        flags: 0,
    };
    assert_eq!(
        platform(&m, XENPF_enter_acpi_sleep, |u| sleep.write(u).unwrap()),
        0
    );
    assert_eq!(
        m.take_asked(),
        [Asked::Power(PowerAction::Off {
            pm1a: 0x2000,
            pm1b: 1
        })]
    );
    let s3 = XenpfEnterAcpiSleep {
        sleep_state: 3,
        ..sleep
    };
    assert_eq!(
        platform(&m, XENPF_enter_acpi_sleep, |u| s3.write(u).unwrap()),
        err(Errno::EOPNOTSUPP)
    );
}

#[test]
fn cpus_and_firmware_are_described() {
    let m = Fake::new();
    use rexen_abi::Plain;
    for (cpu, flags) in [
        (1, XEN_PCPU_FLAGS_ONLINE),
        (2, XEN_PCPU_FLAGS_INVALID),
        (u32::MAX, XEN_PCPU_FLAGS_INVALID),
    ] {
        let asked = XenpfPcpuinfo {
            xen_cpuid: cpu,
            ..XenpfPcpuinfo::default()
        };
        assert_eq!(
            platform(&m, XENPF_get_cpuinfo, |u| asked.write(u).unwrap()),
            0
        );
        let told = m.get::<XenpfPcpuinfo>(ARG + 8);
        assert_eq!((told.flags, told.max_present), (flags, 1));
    }
    let disk = XenpfFirmwareInfo {
        kind: XEN_FW_DISK_INFO,
        index: 0,
        u: [0; 32],
    };
    assert_eq!(
        platform(&m, XENPF_firmware_info, |u| disk.write(u).unwrap()),
        err(Errno::ESRCH)
    );
    m.put(BUFFER, &0xffu8);
    let idle = XenpfGetidletime {
        cpumap_bitmap: BUFFER,
        cpumap_nr_cpus: 8,
        idletime: BUFFER + 8,
        now: 0,
    };
    assert_eq!(
        platform(&m, XENPF_getidletime, |u| idle.write(u).unwrap()),
        0
    );
    assert_eq!(m.get::<u8>(BUFFER), 3, "two CPUs are up");
    assert_eq!(m.get::<XenpfGetidletime>(ARG + 8).now, m.clock.load(SeqCst));
}

fn sysctl(m: &Fake, cmd: u32, fill: impl FnOnce(&mut [u8])) -> u64 {
    let mut op = XenSysctl {
        cmd,
        interface_version: XEN_SYSCTL_INTERFACE_VERSION,
        u: [0; 128],
    };
    fill(&mut op.u);
    m.put(ARG, &op);
    m.call(0, __HYPERVISOR_sysctl, [ARG])
}

#[test]
fn the_toolstack_sees_the_machine_and_its_log() {
    let m = Fake::new();
    use rexen_abi::Plain;
    assert_eq!(sysctl(&m, XEN_SYSCTL_physinfo, |_| ()), 0);
    let info = m.get::<XenSysctlPhysinfo>(ARG + 8);
    assert_eq!(
        (info.nr_cpus, info.capabilities, info.free_pages),
        (2, 0x302, 128)
    );
    let read = XenSysctlReadconsole {
        buffer: BUFFER,
        count: 300,
        clear: 1,
        ..XenSysctlReadconsole::default()
    };
    assert_eq!(
        sysctl(&m, XEN_SYSCTL_readconsole, |u| read.write(u).unwrap()),
        0
    );
    let told = m.get::<XenSysctlReadconsole>(ARG + 8);
    assert_eq!(
        (told.count, told.index, m.get::<[u8; 12]>(BUFFER)),
        (12, 12, *b"Rexen speaks")
    );
    assert_eq!(m.take_asked(), [Asked::ClearLog]);
    m.put(BUFFER, b"qd");
    let keys = XenSysctlDebugKeys {
        keys: BUFFER,
        nr_keys: 2,
    };
    assert_eq!(
        sysctl(&m, XEN_SYSCTL_debug_keys, |u| keys.write(u).unwrap()),
        0
    );
    assert_eq!(m.take_asked(), [Asked::Key(b'q'), Asked::Key(b'd')]);
    m.put(
        ARG,
        &XenSysctl {
            cmd: XEN_SYSCTL_physinfo,
            interface_version: 1,
            u: [0; 128],
        },
    );
    assert_eq!(m.call(0, __HYPERVISOR_sysctl, [ARG]), err(Errno::EACCES));
    assert_eq!(sysctl(&m, 99, |_| ()), err(Errno::ENOSYS));
}

#[test]
fn domains_are_listed_in_order() {
    let m = Fake::new();
    use rexen_abi::Plain;
    let list = XenSysctlGetdomaininfolist {
        first_domain: 0,
        max_domains: 9,
        buffer: BUFFER,
        num_domains: 0,
    };
    assert_eq!(
        sysctl(&m, XEN_SYSCTL_getdomaininfolist, |u| list.write(u).unwrap()),
        0
    );
    assert_eq!(m.get::<XenSysctlGetdomaininfolist>(ARG + 8).num_domains, 2);
    let second = m.get::<XenDomctlGetdomaininfo>(BUFFER + 112);
    assert_eq!(
        (second.domain, second.nr_online_vcpus, second.handle),
        (1, 1, [2; 16])
    );
    assert_eq!(second.flags >> XEN_DOMINF_shutdownshift, 255);
    let op = XenDomctl {
        cmd: XEN_DOMCTL_getdomaininfo,
        interface_version: XEN_DOMCTL_INTERFACE_VERSION,
        domain: 1,
        ..XenDomctl::default()
    };
    m.put(ARG, &op);
    assert_eq!(m.call(0, __HYPERVISOR_domctl, [ARG]), 0);
    assert_eq!(m.get::<XenDomctlGetdomaininfo>(ARG + 16), second);
    m.put(ARG, &XenDomctl { domain: 2, ..op });
    assert_eq!(m.call(0, __HYPERVISOR_domctl, [ARG]), err(Errno::ESRCH));
    m.put(
        ARG,
        &XenDomctl {
            interface_version: 0,
            ..op
        },
    );
    assert_eq!(m.call(0, __HYPERVISOR_domctl, [ARG]), err(Errno::EACCES));
}
