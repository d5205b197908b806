//! Behaviour: the calling convention of hypercalls (pv-abi 2.1).
//! Trigger: hypercalls with known registers, unknown numbers, and pointers that the guest may not use.
//! Expectation: only rax, rcx and r11 change; -ENOSYS; -EFAULT without any other effect.
#![no_std]
#![no_main]

use rexen_guests::{abi, check, check_eq, guest, hypercall, machine, memory};

guest!("hypercall_abi", main);

fn main() {
    registers_are_kept();
    number_is_all_of_rax();
    unknown_numbers_are_refused();
    bad_pointers_fault();
}

/// XENVER_version with a value in every register.
fn registers_are_kept() {
    let mut seen = [0u64; 15];
    machine!(
        "push rbx", "push rbp",
        "push rdi",
        "mov eax, 17", "xor edi, edi", "xor esi, esi",
        "mov edx, 0x1002", "mov ebx, 0x1003", "mov ebp, 0x1004", "mov r8d, 0x1008", "mov r9d, 0x1009", "mov r10d, 0x100a",
        "mov r12d, 0x100c", "mov r13d, 0x100d", "mov r14d, 0x100e", "mov r15d, 0x100f",
        "syscall",
        "2: xchg rdi, [rsp]",
        "mov [rdi], rax", "mov [rdi + 8], rdx", "mov [rdi + 16], rbx", "mov [rdi + 24], rbp", "mov [rdi + 32], r8",
        "mov [rdi + 40], r9", "mov [rdi + 48], r10", "mov [rdi + 56], r12", "mov [rdi + 64], r13", "mov [rdi + 72], r14",
        "mov [rdi + 80], r15", "mov [rdi + 88], rsi", "mov [rdi + 96], rcx", "mov [rdi + 104], r11",
        "lea rax, [rip + 2b]", "sub [rdi + 96], rax",
        "pop rax", "mov [rdi + 112], rax",
        "pop rbp", "pop rbx",
        in("rdi") seen.as_mut_ptr(), lateout("rdi") _, out("rax") _, out("rcx") _, out("rdx") _, out("rsi") _,
        out("r8") _, out("r9") _, out("r10") _, out("r11") _, out("r12") _, out("r13") _, out("r14") _, out("r15") _,
    );
    check_eq!(seen[0] >> 16, 4, "major version");
    let names = [
        "rdx",
        "rbx",
        "rbp",
        "r8",
        "r9",
        "r10",
        "r12",
        "r13",
        "r14",
        "r15",
        "rsi",
        "rcx - next rip",
    ];
    let wanted = [
        0x1002, 0x1003, 0x1004, 0x1008, 0x1009, 0x100a, 0x100c, 0x100d, 0x100e, 0x100f, 0, 0,
    ];
    for ((name, want), got) in names.iter().zip(wanted).zip(&seen[1..]) {
        check_eq!(*got, want, "{name} after a hypercall");
    }
    check_eq!(seen[14], 0, "rdi after a hypercall");
    check_eq!(seen[13] & 0x202, 0x202, "r11 holds rflags");
}

fn number_is_all_of_rax() {
    let mut rax = 17u64 | 1 << 32;
    machine!("syscall", inout("rax") rax, in("rdi") 0u64, in("rsi") 0u64, out("rcx") _, out("r11") _);
    check_eq!(
        rax.cast_signed(),
        abi::ENOSYS,
        "version called with rax bit 32 set"
    );
}

fn unknown_numbers_are_refused() {
    for number in [
        11,
        38,
        43,
        47,
        56,
        63,
        64,
        100,
        1000,
        0x7fff_ffff,
        0x8000_0000,
        0xffff_ffff,
    ] {
        check_eq!(
            hypercall::call(number, [0]),
            abi::ENOSYS,
            "hypercall {number:#x}"
        );
    }
}

fn bad_pointers_fault() {
    // CONSOLEIO_write reads from the guest; the pointer may be unmapped, in the hypervisor's hole, not canonical, at
    // the end of the hole's lower side, or wrap.
    let bad = [
        0x1000,
        abi::HYPERVISOR_VIRT_START + 0x80_0000_0000,
        abi::HYPERVISOR_VIRT_END - 8,
        0xffff_82d0_4000_0000,
        0xffff_8300_0000_0000,
        0x0000_8000_0000_0000,
        0x7fff_ffff_fff8,
        0xffff_ffff_ffff_fff8,
        0xdead_beef_dead_beef,
    ];
    for address in bad {
        check_eq!(
            hypercall::call(abi::MMU_UPDATE, [address, 1, 0, abi::DOMID_SELF]),
            abi::EFAULT,
            "mmu_update reading {address:#x}"
        );
        check_eq!(
            hypercall::call(abi::EVENT_CHANNEL_OP, [5, address]),
            abi::EFAULT,
            "event_channel_op reading {address:#x}"
        );
        check_eq!(
            hypercall::call(abi::XEN_VERSION, [1, address]),
            abi::EFAULT,
            "xen_version writing {address:#x}"
        );
    }
    // Writing to a page that is mapped read-only.
    let page = memory::new_page();
    memory::write(page, 0x55);
    memory::seal(page);
    check_eq!(
        hypercall::call(abi::XEN_VERSION, [1, page]),
        abi::EFAULT,
        "xen_version writing a read-only page"
    );
    check_eq!(memory::read(page), 0x55, "the read-only page");
    // Across the end of a mapped page into an unmapped one.
    let pair = memory::new_page();
    let second = memory::new_page();
    check_eq!(second, pair + memory::PAGE, "pages in a row");
    check_eq!(
        hypercall::update_va_mapping(second, 0),
        0,
        "unmapping a page"
    );
    check_eq!(
        hypercall::call(abi::XEN_VERSION, [1, second - 8]),
        abi::EFAULT,
        "xen_version across into an unmapped page"
    );
    check_eq!(
        hypercall::call(abi::XEN_VERSION, [1, second - 16]),
        0,
        "xen_version up to the end of a page"
    );
    check!(memory::read(second - 16) != 0, "the extra version is text");
}
