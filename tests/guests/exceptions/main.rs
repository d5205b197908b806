//! Behaviour: exceptions bounced to the guest kernel (pv-abi 3.3, 3.4).
//! Trigger: each exception that a kernel can raise in itself, and INT n with all four privilege settings.
//! Expectation: the right vector, error code, rip, cr2; the kernel's cs without its RPL; registers untouched.
//!
//! QEMU before 8.0 gives the #GP of INT n the error code 16n + 2, so that a hypervisor which trusts the code
//! raises vector 2n instead of n: both are registered alike and accepted.
#![no_std]
#![no_main]

use rexen_guests::{abi, check, check_eq, event, guest, machine, memory, trap};

guest!("exceptions", main);

/// Runs assembly that must fault, with `rcx` and `r11` known, and the address of its first instruction in `rax`.
macro_rules! faulting {
    ($($line:literal),+ ; $rdi:expr) => {
        trap::catch(|| machine!(
            "lea rax, [rip + 3f]", "mov ecx, 0x1c", "mov r11d, 0x1b", "3:", $($line,)+
            in("rdi") $rdi, out("rax") _, out("rcx") _, out("rdx") _, out("r11") _,
        ))
    };
}

fn main() {
    event::shared_info();
    simple_faults();
    page_faults();
    frames_show_the_upcall_mask();
    software_interrupts();
}

fn expect(
    name: &str,
    got: Option<trap::Frame>,
    vector: u64,
    error: u64,
    rip_offset: u64,
) -> Option<trap::Frame> {
    let Some(frame) = got else {
        check!(false, "{name}: no trap came");
        return None;
    };
    check_eq!(frame.vector, vector, "{name}: vector");
    check_eq!(frame.error, error, "{name}: error code");
    check_eq!(frame.rip.wrapping_sub(frame.rax), rip_offset, "{name}: rip");
    check_eq!(frame.cs & 0xffff, abi::KERNEL_CS, "{name}: cs");
    check_eq!(frame.ss & 0xffff, abi::FLAT_SS64, "{name}: ss");
    check_eq!(frame.rcx, 0x1c, "{name}: rcx");
    check_eq!(frame.r11, 0x1b, "{name}: r11");
    Some(frame)
}

fn simple_faults() {
    expect(
        "divide",
        faulting!("xor ecx, ecx", "mov ecx, 0x1c", "xor edx, edx", "div edx" ; 0u64),
        trap::DE,
        0,
        9,
    );
    expect("ud2", faulting!("ud2" ; 0u64), trap::UD, 0, 0);
    expect("int3", faulting!("int3" ; 0u64), trap::BP, 0, 1);
    expect("hlt", faulting!("hlt" ; 0u64), trap::GP, 0, 0);
    expect(
        "bad selector",
        faulting!("mov edx, 0xdff8", "mov ds, edx" ; 0u64),
        trap::GP,
        0xdff8,
        5,
    );
    expect(
        "non-canonical read",
        faulting!("mov rdx, [rdi]" ; 0x8000_0000_0000_0000u64),
        trap::GP,
        0,
        0,
    );
}

fn page_faults() {
    let unmapped = 0x1234_5678u64;
    let read_only = memory::new_page();
    memory::seal(read_only);
    let no_execute = memory::new_page();
    memory::write(no_execute, 0xc3);
    let result = rexen_guests::hypercall::update_va_mapping(
        no_execute,
        memory::own_pte(no_execute, true) | abi::PTE_NX,
    );
    check_eq!(result, 0, "mapping a page no-execute");
    let hole = 0xffff_82d0_4000_0123u64;
    for (name, address, error, is_write) in [
        ("read of nothing", unmapped, 0, false),
        ("write of nothing", unmapped, 2, true),
        ("write of a read-only page", read_only, 3, true),
    ] {
        let cr2 = address + 8;
        let got = if is_write {
            faulting!("mov [rdi + 8], rdx" ; address)
        } else {
            faulting!("mov rdx, [rdi + 8]" ; address)
        };
        expect(name, got, trap::PF, error, 0);
        check_eq!(memory::read_cr2(), cr2, "{name}: cr2");
        check_eq!(
            memory::read(event::shared_info() + 0x10),
            cr2,
            "{name}: cr2 in vcpu_info"
        );
    }
    // A jump: rip is the target.
    let got = trap::catch(|| {
        machine!("mov rax, rdi", "mov ecx, 0x1c", "mov r11d, 0x1b", "call rdi",
        in("rdi") no_execute, out("rax") _, out("rcx") _, out("r11") _)
    });
    expect("fetch of a no-execute page", got, trap::PF, 0x11, 0);
    check_eq!(
        memory::read_cr2(),
        no_execute,
        "fetch of a no-execute page: cr2"
    );
    // The hypervisor's own memory: present or not is not the guest's to know.
    for (name, bit) in [("read", 0), ("write", 2)] {
        let got = if bit == 0 {
            faulting!("mov rdx, [rdi]" ; hole)
        } else {
            faulting!("mov [rdi], rdx" ; hole)
        };
        let Some(frame) = got else {
            check!(false, "{name} in the hypervisor: no trap came");
            continue;
        };
        check_eq!(frame.vector, trap::PF, "{name} in the hypervisor: vector");
        check_eq!(
            frame.error & !1,
            bit,
            "{name} in the hypervisor: error but for bit 0"
        );
        check_eq!(memory::read_cr2(), hole, "{name} in the hypervisor: cr2");
    }
}

fn frames_show_the_upcall_mask() {
    for mask in [1, 0] {
        event::set_upcall_mask(mask);
        if let Some(frame) = expect("ud2", faulting!("ud2" ; 0u64), trap::UD, 0, 0) {
            check_eq!(
                frame.saved_upcall_mask(),
                mask,
                "saved upcall mask with mask {mask}"
            );
            check_eq!(
                frame.rflags & abi::EFLAGS_IF,
                u64::from(1 - mask) << 9,
                "IF in the frame with mask {mask}"
            );
            check_eq!(frame.rflags & 0x3_7000, 0, "IOPL, NT, RF, VM in the frame");
        }
    }
    // Flag 4 of the trap table masks events on entry.
    for (flags, want) in [(1, 0), (5, 1)] {
        trap::set_flags(6, flags);
        trap::set_hook(Some(|frame| {
            if frame.vector == trap::UD {
                frame.rip += 2;
                frame.rax = u64::from(event::upcall_mask());
                return true;
            }
            false
        }));
        event::set_upcall_mask(0);
        let mask: u64;
        machine!("ud2", out("rax") mask);
        check_eq!(mask, want, "upcall mask in a handler with flags {flags}");
        check_eq!(
            event::upcall_mask(),
            0,
            "upcall mask after a handler with flags {flags}"
        );
        trap::set_hook(None);
    }
    trap::set_flags(6, 1);
    event::set_upcall_mask(1);
}

fn software_interrupts() {
    let (low, high) = (0x21, 0x42);
    for flags in 0..4 {
        trap::set_flags(low, flags);
        trap::set_flags(high, flags);
        let got = faulting!("int 0x21" ; 0u64);
        let Some(frame) = got else {
            check!(false, "int n with flags {flags}: no trap came");
            continue;
        };
        if flags == 0 {
            check_eq!(
                frame.vector,
                trap::GP,
                "int n that nobody may raise: vector"
            );
            check!(
                frame.error == u64::from(low) * 8 + 2 || frame.error == u64::from(high) * 8 + 2,
                "int n that nobody may raise: error code {:#x}",
                frame.error
            );
            check_eq!(frame.rip, frame.rax, "int n that nobody may raise: rip");
        } else {
            check!(
                frame.vector == u64::from(low) || frame.vector == u64::from(high),
                "int n: vector {:#x}",
                frame.vector
            );
            check_eq!(frame.rip, frame.rax + 2, "int n: rip");
        }
    }
    expect("int 0x80", faulting!("int 0x80" ; 0u64), 0x80, 0, 2);
}
