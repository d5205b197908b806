//! When the hypervisor itself is broken: say so, say where, and stop or reboot.

// UNSAFETY: walks the stack.
#![expect(unsafe_code)]

use core::panic::PanicInfo;
use core::sync::atomic::{AtomicBool, Ordering::Relaxed};

use rexen_abi::arch_x86::CpuUserRegs;

use crate::cpu::{self, info};
use crate::mm::layout;
use crate::println;

/// Whether a panic leaves the machine standing (option `noreboot`) instead of starting it again.
pub static NO_REBOOT: AtomicBool = AtomicBool::new(false);

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    if super::begin_panic() {
        println!("****************************************");
        println!("Panic on CPU {}:", cpu::this_cpu().0);
        match info.location() {
            Some(at) => println!("{} ({}:{})", info.message(), at.file(), at.line()),
            None => println!("{}", info.message()),
        }
        print_stack(&raw const info as u64);
    }
    end()
}

/// Stops the machine because of an exception in the hypervisor itself.
pub fn die(frame: &CpuUserRegs, why: &str) -> ! {
    if super::begin_panic() {
        println!("****************************************");
        println!("Panic on CPU {}: {why}", cpu::this_cpu().0);
        let (vector, error) = (frame.entry_vector, frame.error_code);
        println!("Exception {vector}, error code {error:#x}");
        print_registers(frame);
    }
    end()
}

fn end() -> ! {
    println!("****************************************");
    crate::smp::shutdown::halt_others();
    if !NO_REBOOT.load(Relaxed) {
        println!("Reboot in five seconds...");
        crate::timer::delay_us(5_000_000);
        crate::smp::shutdown::reboot();
    }
    println!("Manual reset required ('noreboot' specified)");
    cpu::halt_forever()
}

/// Prints the registers of an exception frame, and the code addresses on its stack.
pub fn print_registers(r: &CpuUserRegs) {
    println!(
        "CPU {}  RIP {:04x}:{:016x}  RFLAGS {:016x}",
        cpu::this_cpu().0,
        r.cs,
        r.rip,
        r.rflags
    );
    println!(
        "rax {:016x}  rbx {:016x}  rcx {:016x}  rdx {:016x}",
        r.rax, r.rbx, r.rcx, r.rdx
    );
    println!(
        "rsi {:016x}  rdi {:016x}  rbp {:016x}  rsp {:016x}",
        r.rsi, r.rdi, r.rbp, r.rsp
    );
    println!(
        "r8  {:016x}  r9  {:016x}  r10 {:016x}  r11 {:016x}",
        r.r8, r.r9, r.r10, r.r11
    );
    println!(
        "r12 {:016x}  r13 {:016x}  r14 {:016x}  r15 {:016x}",
        r.r12, r.r13, r.r14, r.r15
    );
    println!(
        "cr3 {:016x}  cr2 {:016x}  ss {:04x}",
        cpu::regs::read_cr3(),
        cpu::regs::read_cr2(),
        r.ss
    );
    if r.cs & 3 == 0 {
        print_stack(r.rsp);
    }
}

/// Prints every word of our stack, from `from` on, that looks like a return address.
fn print_stack(from: u64) {
    let own = info::cpu_info() as u64;
    if from & !(layout::STACK_BLOCK_BYTES - 1) != own & !(layout::STACK_BLOCK_BYTES - 1) {
        return;
    }
    let (text, rodata) = crate::mm::code_range();
    // After an overflow the stack pointer is in the guard page, which is not mapped.
    let guard_end = (own & !(layout::STACK_BLOCK_BYTES - 1)) + (layout::GUARD_PAGE + 1) * 4096;
    let in_guard = (guard_end - 4096..guard_end).contains(&from);
    let from = if in_guard { guard_end } else { from };
    println!("Code addresses on the stack:");
    let mut left = 40;
    for at in (from.next_multiple_of(8)..own).step_by(8) {
        // SAFETY: between a live stack pointer and the end of the same block, all of it is mapped.
        let word = unsafe { (at as *const u64).read_volatile() };
        if (text..rodata).contains(&word) && left > 0 {
            println!("  {word:016x}");
            left -= 1;
        }
    }
}
