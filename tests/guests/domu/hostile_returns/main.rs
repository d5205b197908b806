//! Attack: every way back to the guest with an address that the processor cannot go to (pv-abi 13; XSA-7, 44, 202, 215).
//! Trigger: SYSCALL in the last two bytes before the canonical hole; iret frames, trap handlers, callbacks and vcpu contexts
//! with addresses that are not canonical or the hypervisor's, and with any flags and selectors.
//! Expectation: refused, or a trap of this guest's own; never ring 0, never with interrupts off. Harmless to Xen.
#![no_std]
#![no_main]

use rexen_guests::{
    abi, check, check_eq, event, guest, hypercall, machine, memory, refused, trap, user, user_code,
};

guest!("hostile_returns", main);

user_code!(trap_at_once, "ud2");

const NOT_CANONICAL: [u64; 5] = [
    1 << 47,
    !(1 << 47),
    1 << 63,
    0xdead_beef_0000_0000,
    0xffff_7fff_ffff_fff0,
];
/// The last page below the hole.
const LAST_PAGE: u64 = (1 << 47) - 4096;

fn main() {
    event::shared_info();
    syscall_at_the_edge();
    frames();
    handlers();
    callbacks();
    contexts();
}

/// Maps a page of code at the end of the lower half, and runs into its last instruction.
fn syscall_at_the_edge() {
    let [l3, l2, l1, code] = core::array::from_fn(|_| memory::new_page());
    let link = |table: u64, index: u64, page: u64| {
        memory::write(
            table + index * 8,
            (memory::mfn_of(page) * memory::PAGE) | 0x27,
        );
    };
    link(l3, 511, l2);
    link(l2, 511, l1);
    link(l1, 511, code);
    // syscall; and before it: nops.
    for offset in 0..4094 {
        memory::write_byte(code + offset, 0x90);
    }
    memory::write_byte(code + 4094, 0x0f);
    memory::write_byte(code + 4095, 0x05);
    for table in [l3, l2, l1] {
        memory::seal(table);
    }
    let slot = memory::entry_address(LAST_PAGE, 4).unwrap_or(0);
    let linked = memory::set_entry(slot, (memory::mfn_of(l3) * memory::PAGE) | 0x27);
    check_eq!(linked, 0, "linking the last page");
    // A short call, one that does not exist, one that yields, one that is slow, and iret with its frame.
    for (number, first, second) in [
        (17u64, 0u64, 0u64),
        (60, 0, 0),
        (29, 0, 0),
        (1, 0, 0),
        (26, 0, 0),
    ] {
        let seen = trap::catch(|| {
            machine!("jmp {}", in(reg) LAST_PAGE + 4094, in("rax") number, in("rdi") first, in("rsi") second,
                in("rdx") 0, in("r10") 0x7ff0, options(noreturn))
        });
        let vector = seen.map(|frame| frame.vector);
        check!(
            matches!(vector, Some(trap::GP | trap::FAILSAFE | trap::PF)),
            "hypercall {number} that returns to the hole: {vector:x?}"
        );
        check_ring();
    }
    // Running off the page: a fault at the hole's first byte.
    memory::write_byte(code + 4094, 0x90);
    memory::write_byte(code + 4095, 0x90);
    let seen = trap::catch(|| machine!("jmp {}", in(reg) LAST_PAGE + 4094, options(noreturn)));
    check!(seen.is_some(), "running into the hole");
    check_eq!(memory::set_entry(slot, 0), 0, "unlinking the last page");
}

fn check_ring() {
    let (cs, flags): (u64, u64);
    machine!("mov {}, cs", "pushfq", "pop {}", out(reg) cs, out(reg) flags);
    check_eq!((cs & 3, flags & 0x3_7200), (3, 0x200), "ring and flags");
}

fn frames() {
    let bad = NOT_CANONICAL.into_iter().chain([
        abi::HYPERVISOR_VIRT_START,
        abi::MACH2PHYS_VIRT_START,
        abi::HYPERVISOR_VIRT_END - 16,
    ]);
    for address in bad.clone() {
        for flags in [0, 0x100] {
            let frame = trap::kernel_frame(address);
            let seen = trap::catch(|| trap::resume_with(frame, flags));
            check!(seen.is_some(), "iret to {address:#x} with flags {flags:#x}");
            check_ring();
        }
    }
    let space = user::Space::new();
    space.load(trap_at_once());
    for address in bad {
        for flags in [0, 0x100] {
            let frame = trap::Frame {
                rip: address,
                ..user::start_frame()
            };
            let seen = trap::catch(|| trap::resume_with(frame, flags));
            check!(
                seen.is_some(),
                "iret of user mode to {address:#x} with flags {flags:#x}"
            );
            // A stack there does no harm until it is used.
            let frame = trap::Frame {
                rsp: address,
                ..user::start_frame()
            };
            let seen = trap::catch(|| trap::resume_with(frame, flags));
            check_eq!(
                seen.map(|frame| frame.vector),
                Some(trap::UD),
                "user mode with its stack at {address:#x}"
            );
        }
    }
    for bit in 0..64u32 {
        let frame = trap::Frame {
            rflags: 1 << bit,
            ..user::start_frame()
        };
        for flags in [0, 0x100] {
            let Some(seen) = trap::catch(|| trap::resume_with(frame, flags)) else {
                check!(false, "no trap after flag {bit}");
                continue;
            };
            check_eq!(seen.rflags & 0x2_3000, 0, "IOPL and VM after flag {bit}");
        }
    }
    // A bad cs is left out: Xen crashes the guest for it when the frame is of user mode.
    for selector in (0..0x100u64).chain([
        0xe008, 0xe010, 0xe018, 0xe020, 0xe030, 0xe038, 0xe040, 0xffff, 0xfff8,
    ]) {
        let frame = trap::Frame {
            ss: selector,
            ..user::start_frame()
        };
        check!(
            trap::catch(|| trap::resume(frame)).is_some(),
            "user mode with ss {selector:#x}"
        );
        check_ring();
    }
}

fn handlers() {
    for address in NOT_CANONICAL {
        let mut table = [
            trap::TrapInfo {
                vector: 6,
                flags: 1,
                cs: abi::FLAT_CS64 as u16,
                address,
            },
            trap::TrapInfo::default(),
        ];
        let result = hypercall::call(0, [hypercall::pointer(&mut table)]);
        refused!(result, "a trap handler at {address:#x}");
    }
    // In the hypervisor: a fault when it is called, which is this guest's own.
    let mut table = [
        trap::TrapInfo {
            vector: 6,
            flags: 1,
            cs: abi::FLAT_CS64 as u16,
            address: abi::HYPERVISOR_VIRT_START,
        },
        trap::TrapInfo::default(),
    ];
    if hypercall::call(0, [hypercall::pointer(&mut table)]) == 0 {
        let seen = trap::catch(|| machine!("ud2"));
        check_eq!(
            seen.map(|frame| frame.vector),
            Some(trap::PF),
            "a handler in the hypervisor"
        );
    }
    for selector in [0u16, 8, 0xe008, 0xe010, 0xe018, 0xe02b, 0xe040, 0xffff] {
        let mut table = [
            trap::TrapInfo {
                vector: 6,
                flags: 1,
                cs: selector,
                address: abi::VIRT_BASE,
            },
            trap::TrapInfo::default(),
        ];
        hypercall::call(0, [hypercall::pointer(&mut table)]);
    }
    trap::install();
    check_ring();
}

fn callbacks() {
    for kind in 0..8 {
        for address in NOT_CANONICAL {
            refused!(
                trap::register_callback(kind, 0, address),
                "callback {kind} at {address:#x}"
            );
        }
    }
    // The older call has no error for it, and changes nothing.
    for address in NOT_CANONICAL {
        hypercall::call(4, [address, address, address]);
    }
    // An event callback in the hypervisor.
    trap::register_callback(0, 0, abi::HYPERVISOR_VIRT_START);
    let port = event::bind_ipi(0).unwrap_or(0);
    event::set_port_mask(port, false);
    let seen = trap::catch(|| {
        event::send(port);
        event::set_upcall_mask(0);
        event::force_delivery();
    });
    check_eq!(
        seen.map(|frame| frame.vector),
        Some(trap::PF),
        "an event callback in the hypervisor"
    );
    event::set_upcall_mask(1);
    event::clear_pending(port);
    event::note_upcall();
    check_eq!(event::close(port), 0, "closing the port");
    trap::install();
}

/// A vcpu that would start, or take its callbacks, there.
fn contexts() {
    let page = memory::new_page();
    check_eq!(memory::new_page(), page + 4096, "pages in a row");
    let base = |at: u64, value: u64| {
        for offset in (0..5168).step_by(8) {
            memory::write(page + offset, 0);
        }
        memory::write(page + 0x200, 1 << 2);
        memory::write(page + 0x208 + 0x88, abi::FLAT_CS64);
        memory::write(page + 0x208 + 0xa0, abi::FLAT_SS64);
        memory::write(
            page + 0x1390,
            memory::maddr_of(rexen_guests::entry::start_info().pt_base),
        );
        memory::write(page + at, value);
        hypercall::call(abi::VCPU_OP, [0, 1, page])
    };
    for address in NOT_CANONICAL {
        // The three callbacks and the three segment bases.
        for at in [0x13f8, 0x1400, 0x1408, 0x1418, 0x1420, 0x1428] {
            refused!(
                base(at, address),
                "vcpu 1 with {address:#x} at {at:#x} of its context"
            );
        }
        refused!(base(0x1390, address), "vcpu 1 with cr3 {address:#x}");
    }
    // GDT and LDT that are none.
    refused!(base(0x1360, 100_000), "vcpu 1 with a GDT of 100000 entries");
    refused!(
        base(0x12d8, 100_000),
        "vcpu 1 with an LDT of 100000 entries"
    );
    refused!(hypercall::call(abi::VCPU_OP, [1, 1, 0]), "starting it");
}
