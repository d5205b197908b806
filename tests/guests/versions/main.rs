//! Behaviour: xen_version and vm_assist (pv-abi 1.7, 3.7).
//! Trigger: every sub-operation, unknown ones, and every assist.
//! Expectation: Xen 4.17's interface, a PV guest's features.
#![no_std]
#![no_main]

use rexen_guests::{abi, check, check_eq, guest, hypercall};

guest!("versions", main);

fn version(cmd: u64, argument: u64) -> i64 {
    hypercall::call(abi::XEN_VERSION, [cmd, argument])
}

fn text<const N: usize>(cmd: u64) -> (i64, [u8; N]) {
    let mut bytes = [0xffu8; N];
    (version(cmd, hypercall::pointer(&mut bytes)), bytes)
}

fn contains(bytes: &[u8], what: &[u8]) -> bool {
    bytes.windows(what.len()).any(|window| window == what)
}

fn main() {
    check_eq!(version(0, 0), 4 << 16 | 17, "version");
    check_eq!(
        version(0, 0x1000),
        4 << 16 | 17,
        "version ignores its argument"
    );
    let (result, extra) = text::<16>(1);
    check!(
        result == 0 && contains(&extra, &[0]),
        "extraversion {extra:?}"
    );
    let (result, capabilities) = text::<1024>(3);
    check!(
        result == 0 && contains(&capabilities, b"xen-3.0-x86_64"),
        "capabilities"
    );
    let mut platform = 0u64;
    check_eq!(
        version(5, hypercall::pointer(&mut platform)),
        0,
        "platform_parameters"
    );
    check_eq!(platform, abi::HYPERVISOR_VIRT_START, "virt_start");
    features();
    check_eq!(version(7, 0), 4096, "pagesize");
    let (result, _) = text::<16>(8);
    check_eq!(result, 0, "guest_handle");
    let (result, line) = text::<1024>(9);
    check!(result == 0 && contains(&line, b"dom0_mem"), "commandline");
    check_eq!(version(99, 0), abi::ENOSYS, "xen_version 99");
    assists();
}

fn features() {
    let mut words = [0u32, 0];
    check_eq!(
        version(6, hypercall::pointer(&mut words)),
        0,
        "get_features"
    );
    for (bit, is_set) in [
        (0, 0),
        (1, 0),
        (2, 0),
        (3, 0),
        (5, 1),
        (6, 1),
        (7, 1),
        (8, 0),
        (11, 1),
        (13, 1),
        (17, 1),
    ] {
        check_eq!(words[1] >> bit & 1, is_set, "feature {bit}");
    }
    words = [1, 0];
    check_eq!(
        version(6, hypercall::pointer(&mut words)),
        abi::EINVAL,
        "get_features of another word"
    );
}

fn assists() {
    for assist in [0, 1, 2, 3, 4, 5, 32] {
        check_eq!(
            hypercall::call(abi::VM_ASSIST, [0, assist]),
            0,
            "enabling assist {assist}"
        );
    }
    let mut words = [0u32, 0];
    version(6, hypercall::pointer(&mut words));
    check_eq!(words[1] >> 4 & 1, 1, "feature 4 with assist 3");
    for assist in [1, 4, 5, 32] {
        check_eq!(
            hypercall::call(abi::VM_ASSIST, [1, assist]),
            0,
            "disabling assist {assist}"
        );
    }
    for assist in [6, 31, 33, 63, 64, 1000] {
        check_eq!(
            hypercall::call(abi::VM_ASSIST, [0, assist]),
            abi::EINVAL,
            "enabling assist {assist}"
        );
    }
    check_eq!(
        hypercall::call(abi::VM_ASSIST, [2, 0]),
        abi::ENOSYS,
        "vm_assist command 2"
    );
}
