//! Behaviour: the iret hypercall (pv-abi 3.5).
//! Trigger: frames for kernel and user mode with every flag set, with VGCF_in_syscall, and with bad selectors.
//! Expectation: IOPL and VM never set, IF always; the upcall mask is !IF; registers restored; a bad selector is
//! the guest's #GP.
#![no_std]
#![no_main]

use rexen_guests::{abi, check, check_eq, event, guest, machine, trap, user, user_code};

guest!("iret", main);

user_code!(
    read_flags,
    "pushfq",
    "pop rax",
    "mov rbx, cs",
    "mov rdx, ss",
    "ud2"
);
user_code!(call_kernel, "syscall", "ud2");

fn main() {
    event::shared_info();
    kernel_flags();
    kernel_registers();
    bad_selectors();
    user_flags();
}

/// The address of code that puts rflags, cs and ss in rax, rbx and rdx, and then traps.
fn probe() -> u64 {
    let address;
    machine!("lea {}, [rip + 2f]", "jmp 3f", "2: pushfq", "pop rax", "mov rbx, cs", "mov rdx, ss", "ud2", "3:", out(reg) address);
    address
}

fn kernel_flags() {
    for (flags, want) in [
        (0u64, 0x202),
        (0x0cd5, 0x0ed7),       // every arithmetic flag and DF
        (0x3000, 0x202),        // IOPL 3
        (0x2_0000, 0x202),      // VM
        (0x20_0000, 0x20_0202), // ID
        (0x200, 0x202),
    ] {
        let mut frame = trap::kernel_frame(probe());
        frame.rflags = flags;
        let Some(seen) = trap::catch(|| trap::resume(frame)) else {
            check!(false, "rflags {flags:#x}: no trap came");
            continue;
        };
        check_eq!(seen.vector, trap::UD, "rflags {flags:#x}: vector");
        check_eq!(seen.rax, want, "rflags after iret with {flags:#x}");
        check_eq!(seen.rbx, abi::FLAT_CS64, "cs after iret");
        check_eq!(seen.rdx, abi::FLAT_SS64, "ss after iret");
        let mask = u8::from(flags & abi::EFLAGS_IF == 0);
        check_eq!(
            seen.saved_upcall_mask(),
            mask,
            "upcall mask after iret with {flags:#x}"
        );
    }
    event::set_upcall_mask(1);
}

fn kernel_registers() {
    for in_syscall in [0, 0x100] {
        let mut frame = trap::kernel_frame(probe());
        frame.rip += 8; // past the probe's reads: ud2
        frame = trap::Frame {
            r15: 15,
            r14: 14,
            r13: 13,
            r12: 12,
            r11: 11,
            r10: 10,
            r9: 9,
            r8: 8,
            rbp: 5,
            rdi: 7,
            rsi: 6,
            rdx: 2,
            rcx: 1,
            rbx: 3,
            rax: 4,
            ..frame
        };
        frame.rsp -= 0x128;
        let Some(seen) = trap::catch(|| trap::resume_with(frame, in_syscall)) else {
            check!(false, "no trap came");
            continue;
        };
        let got = [
            seen.r15, seen.r14, seen.r13, seen.r12, seen.r10, seen.r9, seen.r8, seen.rbp, seen.rdi,
            seen.rsi, seen.rdx, seen.rbx, seen.rax, seen.rsp,
        ];
        let want = [15, 14, 13, 12, 10, 9, 8, 5, 7, 6, 2, 3, 4, frame.rsp];
        check_eq!(got, want, "registers after iret with flags {in_syscall:#x}");
        if in_syscall == 0 {
            check_eq!([seen.rcx, seen.r11], [1, 11], "rcx and r11 after iret");
        }
    }
}

fn bad_selectors() {
    let mut frame = trap::kernel_frame(probe());
    frame.cs = 0xdff8;
    let seen = trap::catch(|| trap::resume(frame));
    check_eq!(
        seen.map(|f| (f.vector, f.error, f.rip)),
        Some((trap::GP, 0xdff8, frame.rip)),
        "iret to a bad cs"
    );
    let mut frame = trap::kernel_frame(probe());
    frame.ss = 0xdff8;
    let seen = trap::catch(|| trap::resume(frame));
    check_eq!(
        seen.map(|f| (f.vector, f.error, f.rip)),
        Some((trap::GP, 0xdff8, frame.rip)),
        "iret to a bad ss"
    );
}

fn user_flags() {
    let space = user::Space::new();
    space.load(read_flags());
    for (flags, want) in [
        (0x200u64, 0x202),
        (0, 0x202),
        (0x3a00, 0xa02),
        (0x2_0200, 0x202),
    ] {
        let seen = user::run(trap::Frame {
            rflags: flags,
            ..user::start_frame()
        });
        check_eq!(seen.vector, trap::UD, "user, rflags {flags:#x}: vector");
        check!(
            seen.is_user(),
            "user, rflags {flags:#x}: cs {:#x} in the frame",
            seen.cs
        );
        check_eq!(seen.rax, want, "user rflags after iret with {flags:#x}");
        check_eq!(seen.rbx, abi::FLAT_CS64, "user cs");
        check_eq!(seen.rdx, abi::FLAT_SS64, "user ss");
        let mask = u8::from(flags & abi::EFLAGS_IF == 0);
        check_eq!(
            seen.saved_upcall_mask(),
            mask,
            "upcall mask in user mode after iret with {flags:#x}"
        );
    }
    space.load(call_kernel());
    for in_syscall in [0, 0x100] {
        let frame = user::start_frame();
        let seen = trap::catch(|| trap::resume_with(frame, in_syscall));
        check_eq!(
            seen.map(|f| f.vector),
            Some(trap::SYSCALL),
            "user entered with iret flags {in_syscall:#x}"
        );
    }
    event::set_upcall_mask(1);
}
