//! Attack: what only the toolstack may do, and what belongs to others (pv-abi 13; XSA-109, 113, 127).
//! Trigger: domctl, sysctl, platform_op of every number; mappings, pins, memory, grants, vcpus and events of other domains.
//! Expectation: EPERM or another error, and nothing changes. Harmless to Xen.
#![no_std]
#![no_main]

use rexen_abi::plain::Plain;
use rexen_guests::{
    abi, check, check_eq, control, entry, event, guest, hypercall, memory, refused,
};

guest!("hostile_domains", main);

/// Domains that are not this one: domain 0, the special ones, some that are not there.
const OTHERS: [u64; 7] = [0, 0x7ff1, 0x7ff2, 0x7ff3, 0x7ff4, 999, 0xffff];
const RIGHTS: u64 = abi::PTE_P | abi::PTE_RW | abi::PTE_US | abi::PTE_A;

fn main() {
    event::shared_info();
    control_calls();
    foreign_frames();
    foreign_memory();
    foreign_grants();
    other_hypercalls();
}

fn control_calls() {
    let own = entry::option("domid").unwrap_or(0) as u16;
    for cmd in (0..90).chain([1000, 1001, 1002, 1003, u32::MAX]) {
        for domain in [own, 0, 0x7ff0, 999] {
            let mut argument = [0u8; 128];
            let (result, _) = control::domctl(cmd, domain, &mut argument);
            refused!(result, "domctl {cmd} on {domain}");
        }
    }
    for cmd in (0..31).chain([u32::MAX]) {
        let mut argument = [0u8; 128];
        refused!(control::sysctl(cmd, &mut argument), "sysctl {cmd}");
    }
    for cmd in (0..70).chain([u32::MAX]) {
        let mut op = [0u64; 17];
        op[0] = u64::from(cmd) | 0x0300_0000 << 32;
        refused!(
            hypercall::call(abi::PLATFORM_OP, [hypercall::pointer(&mut op)]),
            "platform_op {cmd}"
        );
    }
}

fn foreign_frames() {
    let window = memory::new_page();
    let slot = memory::maddr_of(memory::entry_address(window, 1).unwrap_or(0));
    let own_tables = memory::mfn_of(entry::start_info().pt_base);
    // Frames that are not ours: the hypervisor's low memory, devices, the ends of everything; and each neighbour of ours.
    let frames = [
        0,
        1,
        0x9f,
        0xa0,
        0xb8,
        0x100,
        0x200,
        0xf_ec00,
        0xf_ed00,
        0xf_ee00,
        1 << 40,
        (1 << 40) - 1,
    ];
    let neighbours =
        (0..40).map(|page| memory::mfn_of(memory::spare_page(page).unwrap_or(0)) ^ 0x4000);
    for mfn in frames.into_iter().chain(neighbours) {
        if memory::mfn_of(window) == mfn || is_own(mfn) {
            continue;
        }
        refused!(
            hypercall::mmu_update(slot, mfn << 12 & abi::PTE_FRAME | RIGHTS),
            "mapping frame {mfn:#x}"
        );
        refused!(
            hypercall::update_va_mapping(window, mfn << 12 & abi::PTE_FRAME | abi::PTE_P),
            "mapping frame {mfn:#x} read-only"
        );
        for level in 0..4 {
            refused!(
                hypercall::mmuext(abi::MMUEXT_PIN_L1_TABLE + level, mfn, 0),
                "pinning frame {mfn:#x}"
            );
        }
        refused!(
            hypercall::mmuext(abi::MMUEXT_NEW_BASEPTR, mfn, 0),
            "frame {mfn:#x} as cr3"
        );
        refused!(
            hypercall::mmuext(abi::MMUEXT_NEW_USER_BASEPTR, mfn.max(1), 0),
            "frame {mfn:#x} as user cr3"
        );
        refused!(
            hypercall::mmuext(abi::MMUEXT_CLEAR_PAGE, mfn, 0),
            "clearing frame {mfn:#x}"
        );
        refused!(
            hypercall::mmu_update(mfn << 12 | 1, 0),
            "the M2P entry of frame {mfn:#x}"
        );
        refused!(
            hypercall::mmu_update(mfn << 12, 0),
            "frame {mfn:#x} as a table"
        );
    }
    // DOMID_IO is left out: it stands for devices, and for one's own memory.
    for other in OTHERS.into_iter().filter(|other| *other != 0x7ff1) {
        for owner in [0, other + 1] {
            let mut request = [slot, memory::mfn_of(window) << 12 | RIGHTS];
            let domains = other | owner << 16;
            let result = hypercall::call(
                abi::MMU_UPDATE,
                [hypercall::pointer(&mut request), 1, 0, domains],
            );
            refused!(result, "mmu_update for {domains:#x}");
        }
        let mut op = hypercall::MmuextOp {
            cmd: abi::MMUEXT_PIN_L4_TABLE,
            arg1: own_tables,
            arg2: 0,
        };
        refused!(
            hypercall::call(abi::MMUEXT_OP, [hypercall::pointer(&mut op), 1, 0, other]),
            "mmuext_op for {other:#x}"
        );
        let pte = memory::mfn_of(window) << 12 | RIGHTS;
        refused!(
            hypercall::call(22, [window, pte, 0, other]),
            "update_va_mapping_otherdomain for {other:#x}"
        );
    }
    check_eq!(
        memory::pte_of(window) & abi::PTE_FRAME,
        memory::mfn_of(window) << 12,
        "the window is as before"
    );
}

/// Whether the list of this guest's frames has it.
fn is_own(mfn: u64) -> bool {
    (0..entry::start_info().nr_pages).any(|pfn| memory::mfn_of_pfn(pfn) == mfn)
}

fn foreign_memory() {
    for other in OTHERS {
        let mut list = [memory::mfn_of(memory::new_page())];
        let mut reservation = [hypercall::pointer(&mut list), 1, 0, other];
        for cmd in [0, 1, 6] {
            let done = hypercall::call(abi::MEMORY_OP, [cmd, hypercall::pointer(&mut reservation)]);
            check!(done <= 0, "memory_op {cmd} for {other:#x}: {done}");
        }
        for cmd in [3, 4, 14] {
            let mut domain = [other];
            refused!(
                hypercall::call(abi::MEMORY_OP, [cmd, hypercall::pointer(&mut domain)]),
                "memory_op {cmd} for {other:#x}"
            );
        }
        refused!(
            hypercall::call(abi::MEMORY_OP, [24, hypercall::pointer(&mut reservation)]),
            "claim_pages for {other:#x}"
        );
        let mut resource = [other, 1, 0, 0];
        refused!(
            hypercall::call(abi::MEMORY_OP, [28, hypercall::pointer(&mut resource)]),
            "acquire_resource of {other:#x}"
        );
        let mut add = [other | 1 << 16, 0, 0, 0];
        refused!(
            hypercall::call(abi::MEMORY_OP, [7, hypercall::pointer(&mut add)]),
            "add_to_physmap of {other:#x}"
        );
    }
    let mut map = [64, 0x1000];
    refused!(
        hypercall::call(abi::MEMORY_OP, [10, hypercall::pointer(&mut map)]),
        "machine_memory_map"
    );
}

fn foreign_grants() {
    for other in OTHERS.into_iter().filter(|other| *other != 0xffff) {
        let mut frame = 0u64;
        let mut setup = [other | 1 << 32, 0x5555, hypercall::pointer(&mut frame)];
        hypercall::call(abi::GRANT_TABLE_OP, [2, hypercall::pointer(&mut setup), 1]);
        check!(
            (setup[1] as i16) < 0,
            "setup_table of {other:#x}: {}",
            setup[1] as i16
        );
        for gref in [0, 1, 2, 511, 0xffff_ffff] {
            let mut map = [memory::new_page(), 2 | gref << 32, other, 0];
            hypercall::call(abi::GRANT_TABLE_OP, [0, hypercall::pointer(&mut map), 1]);
            check!(
                ((map[2] >> 16) as i16) < 0,
                "mapping grant {gref} of {other:#x}"
            );
            let mut copy = [
                gref,
                other,
                memory::mfn_of(memory::new_page()),
                abi::DOMID_SELF,
                8 | 1 << 16,
            ];
            hypercall::call(abi::GRANT_TABLE_OP, [5, hypercall::pointer(&mut copy), 1]);
            check!(
                ((copy[4] >> 32) as i16) < 0,
                "copying grant {gref} of {other:#x}"
            );
        }
        let mut status = [1 | other << 32, 0x1000];
        let result = hypercall::call(abi::GRANT_TABLE_OP, [9, hypercall::pointer(&mut status), 1]);
        check!(
            result < 0 || ((status[0] >> 48) as i16) < 0,
            "get_status_frames of {other:#x}"
        );
    }
}

fn other_hypercalls() {
    // kexec_op, xenoprof, hvm_op, xsm_op, dm_op, xenpmu, tmem, argo, hypfs, mca and numbers that are none.
    for number in [
        16,
        19,
        27,
        31,
        34,
        37,
        38,
        39,
        40,
        41,
        42,
        43,
        47,
        48,
        49,
        55,
        63,
        64,
        127,
        1 << 31,
        u32::MAX,
    ] {
        for first in [0, 1, 2, 3, 7, u64::MAX] {
            let result = hypercall::call(number, [first, 0, 0, 0, 0, 0]);
            refused!(result, "hypercall {number} with {first:#x}");
        }
    }
    let mut shutdown = rexen_abi::sched::SchedRemoteShutdown::ZERO;
    for domain in [0, 999, 0x7ff1] {
        shutdown.domain_id = domain;
        refused!(
            hypercall::call(abi::SCHED_OP, [4, hypercall::pointer(&mut shutdown)]),
            "remote_shutdown of {domain}"
        );
    }
    // physdev_op: what a guest without devices may ask (its IOPL, a free PIRQ) is left out.
    for cmd in [
        2, 8, 9, 11, 13, 14, 15, 16, 17, 18, 21, 24, 25, 26, 27, 30, 31, 32,
    ] {
        let mut argument = [0u64; 8];
        refused!(
            hypercall::call(abi::PHYSDEV_OP, [cmd, hypercall::pointer(&mut argument)]),
            "physdev_op {cmd}"
        );
    }
    let mut text = *b"from a domU\n";
    let result = hypercall::call(abi::CONSOLE_IO, [1, 12, hypercall::pointer(&mut text)]);
    refused!(result, "reading the hypervisor's console");
}
