//! Exceptions and interrupts, by where they came from; system calls of guest user space that take the long way.

// UNSAFETY: forms a reference to the frame of a nested exception.
#![expect(unsafe_code)]

use core::sync::atomic::Ordering::Relaxed;

use rexen_abi::arch_x86::{CpuUserRegs, TI_DPL_MASK};
use rexen_abi::sched::SHUTDOWN_crash;
use rexen_core::domain::{Domain, Vcpu};

use super::bounce::{self, Unhandled};
use super::{current, page_fault, privop};
use crate::console::panic::{die, print_registers};
use crate::cpu::{extable, regs as cpu_regs};
use crate::machine::HW;
use crate::{entry, irq, println, stretch};

/// Vectors below this are exceptions.
const FIRST_INTERRUPT: u32 = 0x20;
const LINUX_SYSCALL: u32 = 0x80;
const TF: u64 = 1 << 8;

/// Everything but a page fault, from a guest.
pub extern "C" fn guest_trap(regs: &mut CpuUserRegs) {
    let vector = regs.entry_vector;
    let _stretch = stretch::enter(stretch::Kind::Trap(vector));
    if vector >= FIRST_INTERRUPT && vector != LINUX_SYSCALL {
        irq::dispatch(vector as u8);
        return;
    }
    let Some((domain, vcpu)) = current::current() else {
        die(regs, "a trap from a guest, but none runs here");
    };
    let handled = match vector {
        1 => {
            debug_trap(vcpu);
            bounce::exception(regs, domain, vcpu, 1, None)
        }
        6 => privop::invalid_opcode(regs, domain, vcpu),
        7 => {
            if vcpu.ts.swap(false, Relaxed) {
                current::load_ts(vcpu);
            }
            bounce::exception(regs, domain, vcpu, 7, None)
        }
        13 => privop::general_protection(regs, domain, vcpu),
        LINUX_SYSCALL => int80(regs, domain, vcpu),
        10..=12 | 17 | 21 => {
            bounce::exception(regs, domain, vcpu, vector as u8, Some(regs.error_code))
        }
        n => bounce::exception(regs, domain, vcpu, n as u8, None),
    };
    if let Err(why) = handled {
        crash(regs, domain, vcpu, vector, why);
    }
}

/// A page fault from a guest.
pub extern "C" fn guest_page_fault(regs: &mut CpuUserRegs) {
    let _stretch = stretch::enter(stretch::Kind::Trap(14));
    let address = cpu_regs::read_cr2();
    let Some((domain, vcpu)) = current::current() else {
        die(regs, "a page fault from a guest, but none runs here");
    };
    if let Err(why) = page_fault::from_guest(regs, domain, vcpu, address) {
        crash(regs, domain, vcpu, 14, why);
    }
}

/// SYSCALL from guest user space when the fast path could not do it.
pub extern "C" fn user_syscall(regs: &mut CpuUserRegs) {
    with_current(regs, |regs, domain, vcpu| {
        let callback = &vcpu.callbacks.syscall;
        if callback.address.load(Relaxed) == 0 {
            regs.rip = regs.rip.wrapping_sub(2);
            // The fast path has entered the kernel already; #UD is user space's.
            current::set_mode(false);
            return bounce::exception(regs, domain, vcpu, 6, None);
        }
        current::set_mode(false);
        bounce::callback(regs, domain, vcpu, callback)
    });
}

/// SYSCALL from 32-bit user space.
pub extern "C" fn user_syscall32(regs: &mut CpuUserRegs) {
    with_current(regs, |regs, domain, vcpu| {
        if current::in_kernel() || vcpu.callbacks.syscall32.address.load(Relaxed) == 0 {
            regs.rip = regs.rip.wrapping_sub(2);
            return bounce::exception(regs, domain, vcpu, 6, None);
        }
        bounce::callback(regs, domain, vcpu, &vcpu.callbacks.syscall32)
    });
}

/// SYSENTER, which brings neither return address nor stack.
pub extern "C" fn user_sysenter(regs: &mut CpuUserRegs) {
    regs.rflags |= 0x202;
    regs.rflags &= !TF;
    with_current(regs, |regs, domain, vcpu| {
        if current::in_kernel() || vcpu.callbacks.sysenter.address.load(Relaxed) == 0 {
            return bounce::exception(regs, domain, vcpu, 13, Some(0));
        }
        bounce::callback(regs, domain, vcpu, &vcpu.callbacks.sysenter)
    });
}

fn with_current(
    regs: &mut CpuUserRegs,
    f: impl FnOnce(&mut CpuUserRegs, &Domain, &Vcpu) -> Result<(), Unhandled>,
) {
    let Some((domain, vcpu)) = current::current() else {
        die(regs, "a system call, but no guest runs here");
    };
    if let Err(why) = f(regs, domain, vcpu) {
        crash(regs, domain, vcpu, 0x100, why);
    }
}

/// `int 0x80`: straight to the guest's handler if it has one.
fn int80(regs: &mut CpuUserRegs, domain: &Domain, vcpu: &Vcpu) -> Result<(), Unhandled> {
    if vcpu.traps[0x80].address.load(Relaxed) != 0 {
        return bounce::exception(regs, domain, vcpu, 0x80, None);
    }
    regs.rip = regs.rip.wrapping_sub(2);
    bounce::exception(regs, domain, vcpu, 13, Some(0x80 << 3 | 2))
}

/// `int n` for a guest: allowed if the trap's privilege says so (#GP otherwise, at the instruction).
pub fn software_interrupt(
    regs: &mut CpuUserRegs,
    domain: &Domain,
    vcpu: &Vcpu,
    vector: u8,
    advance: u8,
) -> Result<(), Unhandled> {
    let slot = &vcpu.traps[usize::from(vector)];
    let allowed = (slot.meta.load(Relaxed) >> 16) as u8 & TI_DPL_MASK;
    // The guest kernel is ring 1 of the flags, user space ring 3.
    let level = if current::in_kernel() { 1 } else { 3 };
    if allowed < level {
        return bounce::exception(regs, domain, vcpu, 13, Some(u32::from(vector) << 3 | 2));
    }
    regs.rip = regs.rip.wrapping_add(u64::from(advance));
    bounce::exception(regs, domain, vcpu, vector, None)
}

fn debug_trap(vcpu: &Vcpu) {
    vcpu.debug.lock().merge_dr6(privop::take_dr6());
}

/// An exception or interrupt while the hypervisor ran. 0: go on; else the guest frame to leave by.
pub extern "C" fn hypervisor_trap(frame: *mut CpuUserRegs) -> u64 {
    // SAFETY: `entry.s` passes the frame that it has just pushed; nobody else uses it, and the one path that rewrites the
    // memory around it does so after the last use of this reference.
    let regs = unsafe { &mut *frame };
    let vector = regs.entry_vector;
    if vector >= FIRST_INTERRUPT {
        let _stretch = stretch::interrupt();
        irq::dispatch(vector as u8);
        return 0;
    }
    if vector == 14 && resolve(regs.error_code) {
        return 0;
    }
    if entry::is_exit_iret(regs.rip) {
        return privop::guest_iret_failed(frame);
    }
    match extable::fixup(regs.rip) {
        Some(to) => {
            regs.rip = to;
            0
        }
        None => die(regs, "an exception in the hypervisor"),
    }
}

/// Whether a page fault of the hypervisor's own access is gone: an LDT page that was not mapped yet, or a guest's page
/// whose translation was stale.
fn resolve(error: u32) -> bool {
    let address = cpu_regs::read_cr2();
    let Some((domain, vcpu)) = current::current() else {
        return false;
    };
    page_fault::map_ldt_page(domain, vcpu, address)
        || entry::is_guest_range(address, 1) && page_fault::is_stale(address, error)
}

/// #DF, NMI, #MC from anywhere, #DB out of the hypervisor: on a stack of its own.
pub extern "C" fn ist_trap(regs: &mut CpuUserRegs) {
    match regs.entry_vector {
        1 => {
            privop::take_dr6();
        }
        2 => {
            if crate::smp::shutdown::must_halt() {
                crate::cpu::halt_forever();
            }
        }
        8 => die(regs, "double fault"),
        _ => die(regs, "machine check"),
    }
}

/// Ends a domain that is in a state we cannot answer.
#[cold]
pub fn crash(regs: &CpuUserRegs, domain: &Domain, vcpu: &Vcpu, vector: u32, why: Unhandled) {
    let mode = if current::in_kernel() {
        "kernel"
    } else {
        "user"
    };
    println!(
        "d{}v{}: {why:?} for vector {vector:#x} error {:#x} in guest {mode} mode: ending domain {}",
        domain.id.0, vcpu.id.0, regs.error_code, domain.id.0
    );
    if !domain.is_privileged {
        // Domain 0's end is reported where the machine stops.
        report(regs, domain, vcpu);
    }
    rexen_core::hypercall::shut_down(&HW, domain, SHUTDOWN_crash);
}

/// Prints registers, the page walk of the faulting and the executing address, and the guest's stack.
pub fn report(regs: &CpuUserRegs, domain: &Domain, vcpu: &Vcpu) {
    print_registers(regs);
    println!("guest cr2 {:#x}", vcpu.cr2.load(Relaxed));
    for address in [vcpu.cr2.load(Relaxed), regs.rip, regs.rsp] {
        page_fault::print_walk(domain, address);
    }
    println!("Guest stack from {:#x}:", regs.rsp);
    for line in 0..6u64 {
        let mut bytes = [0u8; 32];
        let at = regs.rsp.wrapping_add(line * 32);
        if !entry::copy_from_guest(at, &mut bytes) {
            println!("  {at:016x}: not readable");
            break;
        }
        let mut words = [0u64; 4];
        for (word, chunk) in words.iter_mut().zip(bytes.chunks_exact(8)) {
            *word = chunk
                .iter()
                .rev()
                .fold(0, |value, byte| value << 8 | u64::from(*byte));
        }
        println!(
            "  {at:016x}: {:016x} {:016x} {:016x} {:016x}",
            words[0], words[1], words[2], words[3]
        );
    }
}
