//! Attack: hypercalls that are given the hypervisor's own memory to read or write (pv-abi 13; XSA-29, 212, 215).
//! Trigger: every hypercall and operation with every argument in the hypervisor's hole, at its edges, across the ends of
//! memory, unmapped, read-only and not canonical.
//! Expectation: errors; nothing of the hypervisor's is read or written, and the guest's read-only pages stay as they are.
//! Harmless to Xen.
#![no_std]
#![no_main]

use rexen_guests::{abi, check, check_eq, event, guest, hypercall, memory, trap};

guest!("hostile_pointers", main);

/// Hypercalls whose arguments are no pointers, and change what this guest runs on: stack, callbacks, FPU, debug registers,
/// mappings, timer, assists, iret, vcpus, bases. sched_op and its elder, which may not come back, have a list of their own.
const NOT_HERE: [u32; 15] = [3, 4, 5, 6, 8, 9, 14, 15, 21, 22, 23, 24, 25, 29, 30];

fn main() {
    event::shared_info();
    let [sealed, table] = [memory::new_page(), memory::new_page()];
    for word in 0..512 {
        memory::write(sealed + word * 8, 0x5a5a_0000 + word);
    }
    memory::seal(sealed);
    memory::seal(table);
    check_eq!(memory::pin(table, 1), 0, "pinning");
    let pointers = [
        0,
        0x1234_5000,
        sealed,
        sealed + 4090,
        table,
        1 << 47,
        (1 << 47) - 4,
        abi::HYPERVISOR_VIRT_START - 4,
        abi::HYPERVISOR_VIRT_START,
        abi::MACH2PHYS_VIRT_START,
        abi::MACH2PHYS_VIRT_START + 0x2000_0000,
        0xffff_8200_0000_0000,
        0xffff_82d0_4020_0000,
        0xffff_8300_0000_0000,
        0xffff_8300_0010_0000,
        abi::HYPERVISOR_VIRT_END - 4,
        !0 - 3,
        !0,
    ];
    let mut calls = 0u32;
    for number in (0..56).filter(|number| !NOT_HERE.contains(number)) {
        for cmd in 0..48 {
            for pointer in pointers {
                // The pointer as second argument behind a command, as first before a count, as third.
                hypercall::call(number, [cmd, pointer, 1, 0x7ff0, 0]);
                hypercall::call(number, [pointer, cmd & 7, pointer, 0x7ff0, pointer]);
                calls += 2;
            }
        }
        // What such calls may have changed of this guest: its trap table.
        trap::install();
    }
    // Not poll, which may wait for ever, and not shutdown_code and watchdog, which say how this guest ends.
    for cmd in [4, 7, 8, 9] {
        for pointer in pointers {
            hypercall::call(abi::SCHED_OP, [cmd, pointer]);
            hypercall::call(abi::CALLBACK_OP, [cmd & 1, pointer]);
        }
        trap::install();
    }
    check!(calls > 60_000, "{calls} calls");
    let wrong = (0..512).filter(|word| memory::read(sealed + word * 8) != 0x5a5a_0000 + word);
    check_eq!(wrong.count(), 0, "words of a read-only page");
    let wrong = (0..512).filter(|word| memory::read(table + word * 8) != 0);
    check_eq!(wrong.count(), 0, "words of a page table");
    check_eq!(memory::unpin(table), 0, "unpinning");
    let pfn = (sealed - abi::VIRT_BASE) / memory::PAGE;
    check_eq!(
        memory::read(abi::MACH2PHYS_VIRT_START + memory::mfn_of(sealed) * 8),
        pfn,
        "the machine-to-physical table"
    );
    check_eq!(
        hypercall::call(abi::XEN_VERSION, [0, 0]) >> 16,
        4,
        "the version"
    );
}
