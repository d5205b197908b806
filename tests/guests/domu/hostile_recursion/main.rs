//! Attack: faults in the handling of faults, until nothing is left (pv-abi 13; XSA-44, 156).
//! Trigger: `case=`: handlers, stacks and tables that are not there when they are needed.
//! Expectation: the guest is crashed, and nothing else. Harmless to Xen.
#![no_std]
#![no_main]

use rexen_guests::{
    abi, crashing, entry, fail, guest, hypercall, machine, memory, trap, user, user_code,
};

guest!("hostile_recursion", main);

user_code!(trap_at_once, "ud2");

/// Where nothing is mapped.
const NOWHERE: u64 = 0x1234_5000;

fn set_handler(vector: u8, address: u64) {
    let mut table = [
        trap::TrapInfo {
            vector,
            flags: 1,
            cs: abi::FLAT_CS64 as u16,
            address,
        },
        trap::TrapInfo::default(),
    ];
    hypercall::call(0, [hypercall::pointer(&mut table)]);
}

fn main() {
    let case = entry::option("case");
    match case {
        Some(0) => {
            crashing!("a page-fault handler that is not mapped");
            set_handler(14, NOWHERE);
            machine!("mov al, [{}]", in(reg) NOWHERE, out("al") _);
        }
        Some(1) => {
            crashing!("a page-fault handler that faults itself");
            set_handler(14, faulting_handler());
            machine!("mov al, [{}]", in(reg) NOWHERE, out("al") _);
        }
        Some(2) => {
            crashing!("a kernel stack that is not mapped");
            let space = user::Space::new();
            space.load(trap_at_once());
            hypercall::call(abi::STACK_SWITCH, [abi::FLAT_SS64, NOWHERE + 64]);
            trap::resume(user::start_frame());
        }
        Some(3) => {
            crashing!("a kernel stack that is a page table");
            let space = user::Space::new();
            space.load(trap_at_once());
            hypercall::call(abi::STACK_SWITCH, [abi::FLAT_SS64, space.l1 + 4096]);
            trap::resume(user::start_frame());
        }
        Some(4) => {
            crashing!("an exception with a stack that is not canonical");
            machine!("mov rsp, {}", "ud2", in(reg) (1u64 << 47) + 64);
        }
        Some(5) => {
            crashing!("an exception with the stack at the machine-to-physical table");
            machine!("mov rsp, {}", "ud2", in(reg) abi::MACH2PHYS_VIRT_START + 4096);
        }
        Some(6) => {
            crashing!("an exception with the stack at address 0: the frame wraps around");
            machine!("mov rsp, {}", "ud2", in(reg) 16u64);
        }
        Some(7) => {
            crashing!("a failsafe callback that is not mapped");
            trap::register_callback(1, 0, NOWHERE);
            set_handler(13, NOWHERE);
            set_handler(14, NOWHERE);
            let mut frame = trap::kernel_frame(1 << 47);
            frame.cs = 0x33;
            trap::resume(frame);
        }
        Some(8) => {
            crashing!("iret with its frame in the hypervisor");
            machine!("mov rsp, {}", "mov eax, 23", "syscall", in(reg) abi::HYPERVISOR_VIRT_START);
        }
        Some(9) => {
            crashing!("an empty address space");
            let l4 = memory::new_page();
            memory::seal(l4);
            hypercall::mmuext(abi::MMUEXT_PIN_L4_TABLE, memory::mfn_of(l4), 0);
            hypercall::mmuext(abi::MMUEXT_NEW_BASEPTR, memory::mfn_of(l4), 0);
        }
        Some(10) => {
            crashing!("a double fault's handler that double-faults");
            for vector in 0..32 {
                set_handler(vector, NOWHERE + u64::from(vector) * 4096);
            }
            machine!("ud2");
        }
        Some(11) => {
            crashing!("an invalid opcode handler that is an invalid opcode");
            set_handler(6, bad_opcode());
            machine!("ud2");
        }
        _ => fail!("case {case:?}"),
    }
    fail!("alive after case {case:?}");
}

fn faulting_handler() -> u64 {
    let address;
    machine!("lea {0}, [rip + 2f]", "jmp 3f", "2: mov rcx, [rsp + 8]", "mov al, [0x1234567]", "ud2", "3:", out(reg) address);
    address
}

fn bad_opcode() -> u64 {
    let address;
    machine!("lea {0}, [rip + 2f]", "jmp 3f", "2: ud2", "3:", out(reg) address);
    address
}
