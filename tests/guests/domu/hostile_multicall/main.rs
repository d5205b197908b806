//! Attack: a batch that changes the ground under itself (pv-abi 13; XSA-213).
//! Trigger: multicalls in multicalls; iret to user mode in the middle; a batch that unmaps its own list, its results or its
//! page tables; lists in the hypervisor, across the ends of memory, of any length.
//! Expectation: after the switch to user mode no entry runs; the rest is errors. Harmless to Xen.
#![no_std]
#![no_main]

use rexen_guests::{
    abi, check, check_eq, entry, guest, hypercall, machine, memory, refused, trap, user, user_code,
};

guest!("hostile_multicall", main);

user_code!(trap_at_once, "ud2");

/// What an entry's result is before it ran.
const UNTOUCHED: u64 = 0x5555;

/// Writes entry `index` of the list at `list`.
fn put<const N: usize>(list: u64, index: u64, op: u64, arguments: [u64; N]) {
    let at = list + index * 64;
    memory::write(at, op);
    memory::write(at + 8, UNTOUCHED);
    for argument in 0..6 {
        memory::write(
            at + 16 + argument * 8,
            arguments.get(argument as usize).copied().unwrap_or(0),
        );
    }
}

fn result(list: u64, index: u64) -> u64 {
    memory::read(list + index * 64 + 8)
}

fn multicall(list: u64, count: u64) -> i64 {
    hypercall::call(abi::MULTICALL, [list, count])
}

fn main() {
    bad_lists();
    nested();
    leaves_kernel_mode();
    unmaps_itself();
    long();
}

fn bad_lists() {
    let page = memory::new_page();
    let read_only = memory::new_page();
    put(read_only, 0, 17, [0]);
    memory::seal(read_only);
    for address in [
        0x1234_5000,
        abi::HYPERVISOR_VIRT_START,
        abi::MACH2PHYS_VIRT_START,
        abi::HYPERVISOR_VIRT_START - 64,
        abi::HYPERVISOR_VIRT_END - 64,
        1 << 47,
        !0 - 63,
        !0 - 4095,
        read_only,
    ] {
        refused!(multicall(address, 2), "a list at {address:#x}");
    }
    check_eq!(memory::read(read_only + 8), UNTOUCHED, "a read-only list");
    put(page, 0, u64::MAX, []);
    put(page, 1, 1 << 32 | 17, [0]);
    put(page, 2, 17, [0]);
    check_eq!(multicall(page, 3), 0, "a list with odd numbers");
    check!((result(page, 0) as i64) < 0, "hypercall number -1");
    check_eq!(result(page, 2) >> 16, 4, "the version");
    // At the end of what is mapped, so that nothing behind the list is taken for one.
    let end = abi::VIRT_BASE + entry::start_info().nr_pages * memory::PAGE;
    for index in 0..3 {
        put(end - 192, index, 17, [0]);
    }
    for count in [u64::from(u32::MAX), 1 << 31, 1 << 26, 4] {
        refused!(multicall(end - 192, count), "a list of {count} entries");
    }
    check_eq!(multicall(page, 0), 0, "an empty list");
    // Counts beyond 32 bits are cut off.
    multicall(page, 1 << 32);
}

fn nested() {
    let [outer, inner] = [memory::new_page(), memory::new_page()];
    put(inner, 0, 17, [0]);
    put(outer, 0, 13, [inner, 1]);
    put(outer, 1, 13, [outer, 2]);
    put(outer, 2, 17, [0]);
    check_eq!(multicall(outer, 3), 0, "multicalls in a multicall");
    check!(
        (result(outer, 0) as i64) < 0 && (result(outer, 1) as i64) < 0,
        "their results"
    );
    check_eq!(result(inner, 0), UNTOUCHED, "the inner list");
    check_eq!(result(outer, 2) >> 16, 4, "the version");
}

fn leaves_kernel_mode() {
    let space = user::Space::new();
    space.load(trap_at_once());
    let list = memory::new_page();
    let [victim, stack] = [memory::new_page(), memory::new_page()];
    for flags in [0u64, 0x100] {
        put(list, 0, 17, [0]);
        put(list, 1, 23, []);
        // In user mode this would be a hypercall from there.
        put(list, 2, 14, [victim, 0, abi::UVMF_INVLPG]);
        put(list, 3, 17, [0]);
        let frame = [
            0,
            0,
            0,
            flags,
            user::CODE,
            abi::FLAT_CS64,
            abi::EFLAGS_IF,
            user::STACK + 4096,
            abi::FLAT_SS64,
        ];
        // With room below it for a trap.
        let at = stack + 2048;
        for (word, value) in (0u64..).zip(frame) {
            memory::write(at + word * 8, value);
        }
        let seen = trap::catch(|| {
            machine!("mov rsp, {0}", "mov eax, 13", "syscall", "ud2", in(reg) at, in("rdi") list, in("rsi") 4u64,
                options(noreturn))
        });
        let Some(seen) = seen else {
            check!(false, "no trap came");
            continue;
        };
        check_eq!(seen.vector, trap::UD, "the trap after the list");
        check_eq!(result(list, 0) >> 16, 4, "the entry before iret");
        if seen.rip != user::CODE {
            // To refuse it is as good: then the rest runs as ever.
            refused!(result(list, 1) as i64, "iret in a multicall");
            check_eq!(
                hypercall::update_va_mapping(victim, memory::own_pte(victim, true)),
                0,
                "mapping the page again"
            );
            continue;
        }
        check_eq!(
            [result(list, 2), result(list, 3)],
            [UNTOUCHED; 2],
            "the entries after iret"
        );
        check!(
            memory::pte_of(victim) != 0,
            "the page that they would have unmapped"
        );
    }
}

fn unmaps_itself() {
    let list = memory::new_page();
    let pte = memory::own_pte(list, true);
    for value in [0, memory::own_pte(list, false)] {
        put(list, 0, 14, [list, value, abi::UVMF_INVLPG]);
        put(list, 1, 17, [0]);
        let outcome = multicall(list, 2);
        check_eq!(
            hypercall::update_va_mapping(list, pte),
            0,
            "mapping the list again"
        );
        refused!(outcome, "a list that goes while it is run");
        check_eq!(result(list, 1), UNTOUCHED, "its second entry");
    }
    // The user space changes in the middle, to none and back.
    let space = user::Space::new();
    let op = memory::new_page();
    for (index, mfn) in [(0, 0), (1, memory::mfn_of(space.l4))] {
        memory::write(op + index * 24, u64::from(abi::MMUEXT_NEW_USER_BASEPTR));
        memory::write(op + index * 24 + 8, mfn);
        put(
            list,
            index,
            u64::from(abi::MMUEXT_OP),
            [op + index * 24, 1, 0, abi::DOMID_SELF],
        );
    }
    check_eq!(multicall(list, 2), 0, "switching the user table off and on");
    check_eq!([result(list, 0), result(list, 1)], [0; 2], "its results");
}

/// More entries than fit in any time slice, each of which fails or changes something.
fn long() {
    const ENTRIES: u64 = 12_000;
    let list = memory::spare_page(0).unwrap_or(0);
    let target = memory::new_page();
    for index in 0..ENTRIES {
        match index % 3 {
            0 => put(
                list,
                index,
                14,
                [
                    target,
                    memory::own_pte(target, index % 2 == 0),
                    abi::UVMF_INVLPG,
                ],
            ),
            1 => put(list, index, 17, [0]),
            _ => put(
                list,
                index,
                14,
                [target, memory::own_pte(target, true) | 1 << 51, 0],
            ),
        }
    }
    check_eq!(multicall(list, ENTRIES), 0, "a long list");
    let wrong = (0..ENTRIES).filter(|index| match index % 3 {
        0 => result(list, *index) != 0,
        1 => result(list, *index) >> 16 != 4,
        _ => (result(list, *index) as i64) >= 0,
    });
    check_eq!(wrong.count(), 0, "entries with a wrong result");
    check_eq!(memory::set_writable(target, true), 0, "the page, writable");
}
