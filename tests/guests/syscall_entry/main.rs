//! Behaviour: SYSCALL from the guest's user mode (pv-abi 3.2, 3.3, 3.4).
//! Trigger: a user program that makes a system call, with the callback registered in each way or not at all.
//! Expectation: the syscall callback on the kernel stack of stack_switch, registers as they were; without a
//! callback #UD at the instruction. A user program can make no hypercall and reach no kernel memory.
#![no_std]
#![no_main]

use rexen_guests::{
    abi, check_eq, event, guest, hypercall, lone::Lone, memory, trap, user, user_code,
};

guest!("syscall_entry", main);

user_code!(
    call_kernel,
    "mov eax, 17",
    "xor edi, edi",
    "xor esi, esi",
    "stc",
    "syscall",
    "ud2"
);

/// Length of the user code up to and with its SYSCALL.
const AFTER_SYSCALL: u64 = 5 + 2 + 2 + 1 + 2;

static FRAME_AT: Lone<u64> = Lone::new(0);
static MASK_IN_HANDLER: Lone<u8> = Lone::new(0);

fn note(frame: &mut trap::Frame) -> bool {
    FRAME_AT.set(core::ptr::from_mut(frame) as u64);
    MASK_IN_HANDLER.set(event::upcall_mask());
    false
}

fn main() {
    event::shared_info();
    let space = user::Space::new();
    space.load(call_kernel());
    trap::set_hook(Some(note));
    let frame = trap::Frame {
        r15: 15,
        r14: 14,
        r13: 13,
        r12: 12,
        r10: 10,
        r9: 9,
        r8: 8,
        rbp: 5,
        rdx: 2,
        rbx: 3,
        ..user::start_frame()
    };
    for (flags, mask) in [(1, 1), (0, 0)] {
        trap::register_callback(2, flags, trap::syscall_callback());
        let seen = user::run(frame);
        check_eq!(seen.vector, trap::SYSCALL, "vector");
        check_eq!(seen.rip, user::CODE + AFTER_SYSCALL, "rip");
        check_eq!(seen.cs & 0xffff, abi::FLAT_CS64, "cs");
        check_eq!(seen.ss & 0xffff, abi::FLAT_SS64, "ss");
        check_eq!(seen.rsp, frame.rsp, "rsp");
        check_eq!(seen.rflags & 0x3_7fff, 0x247, "rflags");
        check_eq!(seen.rcx, seen.rip, "rcx");
        check_eq!(seen.r11, seen.rflags, "r11");
        check_eq!(seen.saved_upcall_mask(), 0, "saved upcall mask");
        check_eq!(
            MASK_IN_HANDLER.get(),
            mask,
            "upcall mask in the handler, callback flags {flags}"
        );
        let got = [
            seen.r15, seen.r14, seen.r13, seen.r12, seen.r10, seen.r9, seen.r8, seen.rbp, seen.rdi,
            seen.rsi, seen.rdx, seen.rbx, seen.rax,
        ];
        check_eq!(
            got,
            [15, 14, 13, 12, 10, 9, 8, 5, 0, 0, 2, 3, 17],
            "registers"
        );
        check_eq!(
            FRAME_AT.get() + size_of::<trap::Frame>() as u64,
            trap::kernel_stack_top(),
            "the kernel stack"
        );
    }
    kernel_stack_is_switched(frame);
    without_callback(frame);
}

fn kernel_stack_is_switched(frame: trap::Frame) {
    let stack = memory::new_page();
    // Not aligned to 16 bytes: the hypervisor aligns it.
    check_eq!(
        hypercall::call(abi::STACK_SWITCH, [abi::FLAT_SS64, stack + 4096 - 8]),
        0,
        "stack_switch"
    );
    user::run(frame);
    check_eq!(
        FRAME_AT.get() + size_of::<trap::Frame>() as u64,
        stack + 4096 - 16,
        "the new kernel stack, aligned"
    );
    check_eq!(
        hypercall::call(
            abi::STACK_SWITCH,
            [abi::FLAT_SS64, trap::kernel_stack_top()]
        ),
        0,
        "stack_switch back"
    );
}

fn without_callback(frame: trap::Frame) {
    check_eq!(
        trap::register_callback(2, 0, 0x8000_0000_0000_0000),
        abi::EINVAL,
        "a callback at a non-canonical address"
    );
    check_eq!(
        trap::register_callback(9, 0, 0),
        abi::ENOSYS,
        "an unknown callback type"
    );
    check_eq!(
        trap::register_callback(2, 0, 0),
        0,
        "a syscall callback at 0"
    );
    let seen = user::run(frame);
    check_eq!(
        seen.vector,
        trap::UD,
        "system call without a callback: vector"
    );
    check_eq!(
        seen.rip,
        user::CODE + AFTER_SYSCALL - 2,
        "system call without a callback: rip"
    );
}
