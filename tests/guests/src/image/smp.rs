//! More vcpus that run Rust code. They share nothing but atomics with vcpu 0: what is `Lone` stays vcpu 0's.
//!
//! A trap on such a vcpu continues at the address in r15, which [`read`] and [`write`] point at their own end; any other
//! trap there goes wherever r15 points, and so crashes the guest, which is what a test wants to see.
// UNSAFETY: the trap stubs and the probing accesses, in assembly.
#![expect(unsafe_code)]

use super::{abi, entry, hypercall, memory};
use core::arch::{asm, global_asm};
use rexen_abi::arch_x86::{TrapInfo, VcpuGuestContext};
use rexen_abi::plain::Plain;

const STACK_PAGES: u64 = 4;

global_asm!(
    ".text",
    // Both drop the frame's rcx, r11 (and error code) and resume at r15.
    "smp_trap_error:",
    "    pop rcx; pop r11; add rsp, 8; jmp 1f",
    "smp_trap_plain:",
    "    pop rcx; pop r11",
    "1:  mov [rsp], r15",
    "    push 0; push rcx; push r11; push rax",
    "    mov eax, 23",
    "    syscall",
    "    ud2",
);

unsafe extern "C" {
    safe static smp_trap_error: u8;
    safe static smp_trap_plain: u8;
}

extern "C" fn run(function: extern "C" fn(u64), argument: u64) -> ! {
    function(argument);
    loop {
        // VCPUOP_down of itself; the number is in the high half.
        hypercall::call(abi::VCPU_OP, [2, argument >> 32, 0]);
    }
}

/// Starts `function` on `vcpu`, events masked, with its own stack and the page tables of vcpu 0. The function is
/// given `argument`; when it returns, the vcpu goes down. The error of whichever vcpu_op fails, else 0.
pub fn start(vcpu: u32, function: extern "C" fn(u64), argument: u32) -> i64 {
    let stack = memory::new_page();
    for _ in 1..STACK_PAGES {
        memory::new_page();
    }
    let top = stack + STACK_PAGES * memory::PAGE;
    let mut context = VcpuGuestContext::ZERO;
    context.flags = 1 << 2;
    context.user_regs.rip = run as *const () as u64;
    context.user_regs.rdi = function as *const () as u64;
    context.user_regs.rsi = u64::from(vcpu) << 32 | u64::from(argument);
    context.user_regs.rsp = top - 8;
    context.user_regs.rflags = abi::EFLAGS_IF;
    context.user_regs.cs = abi::FLAT_CS64 as u16;
    context.user_regs.ss = abi::FLAT_SS64 as u16;
    context.kernel_ss = abi::FLAT_SS64;
    context.kernel_sp = top - memory::PAGE;
    context.ctrlreg[3] = memory::maddr_of(entry::start_info().pt_base);
    for (vector, trap) in context.trap_ctxt.iter_mut().enumerate() {
        let has_error = matches!(vector, 8 | 10..=14 | 17 | 21);
        let stub = if has_error {
            &smp_trap_error
        } else {
            &smp_trap_plain
        };
        *trap = TrapInfo {
            vector: vector as u8,
            flags: 0,
            cs: abi::FLAT_CS64 as u16,
            address: core::ptr::from_ref(stub) as u64,
        };
    }
    let result = hypercall::call(
        abi::VCPU_OP,
        [0, u64::from(vcpu), hypercall::pointer(&mut context)],
    );
    if result == 0 {
        hypercall::call(abi::VCPU_OP, [1, u64::from(vcpu), 0])
    } else {
        result
    }
}

/// The argument that `start` was given, without the vcpu's number.
pub fn argument(given: u64) -> u32 {
    given as u32
}

/// Reads eight bytes on a started vcpu; nothing when that faults.
pub fn read(va: u64) -> Option<u64> {
    let (value, failed): (u64, u64);
    // SAFETY: a test's access; a fault continues behind it.
    unsafe {
        asm!("lea r15, [rip + 2f]", "mov {failed}, 1", "mov {value}, [{va}]", "xor {failed:e}, {failed:e}", "2:",
            value = out(reg) value, failed = out(reg) failed, va = in(reg) va, out("r15") _)
    };
    (failed == 0).then_some(value)
}

/// Writes eight bytes on a started vcpu; false when that faults.
pub fn write(va: u64, value: u64) -> bool {
    let failed: u64;
    // SAFETY: a test's access; a fault continues behind it.
    unsafe {
        asm!("lea r15, [rip + 2f]", "mov {failed}, 1", "mov [{va}], {value}", "xor {failed:e}, {failed:e}", "2:",
            value = in(reg) value, failed = out(reg) failed, va = in(reg) va, out("r15") _)
    };
    failed == 0
}
