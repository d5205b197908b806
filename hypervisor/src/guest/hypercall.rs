//! From registers to `rexen_core::hypercall` and back; the iret hypercall.

use core::sync::atomic::Ordering::{Relaxed, SeqCst};

use rexen_abi::arch_x86::{CpuUserRegs, IretContext, VGCF_in_syscall};
use rexen_core::domain::assist;
use rexen_core::hypercall::{Call, Outcome, table};

use super::bounce::Unhandled;
use super::{current, traps};
use crate::console::panic::die;
use crate::entry::copy_from_guest;
use crate::machine::{self, HW};
use crate::stretch;

const IF: u64 = 1 << 9;

/// A hypercall. Whether the frame is still that of this call, with only its results changed: then SYSRET will do.
pub extern "C" fn hypercall_entry(regs: &mut CpuUserRegs) -> bool {
    let Some((domain, vcpu)) = current::current() else {
        die(regs, "a hypercall, but no guest runs here");
    };
    // All of rax is the number; one beyond 32 bits names no call.
    let number = u32::try_from(regs.rax).unwrap_or(u32::MAX);
    let _stretch = stretch::enter(stretch::Kind::Hypercall(number, regs.rdi));
    let mut call = Call {
        m: &HW,
        domain,
        vcpu,
        args: [regs.rdi, regs.rsi, regs.rdx, regs.r10, regs.r8],
    };
    let outcome = table::dispatch(&mut call, number);
    machine::free_dropped();
    match outcome {
        Outcome::Done(value) => {
            regs.rax = value;
            true
        }
        Outcome::Again(args) => {
            [regs.rdi, regs.rsi, regs.rdx, regs.r10, regs.r8] = args;
            // rax still holds the number; SYSCALL is two bytes.
            regs.rip = regs.rip.wrapping_sub(2);
            true
        }
        Outcome::Replaced => false,
    }
}

/// The iret hypercall when the fast path could not do it.
pub extern "C" fn iret_entry(regs: &mut CpuUserRegs) {
    let _stretch = stretch::enter(stretch::Kind::Hypercall(23, 0));
    let Some((domain, vcpu)) = current::current() else {
        die(regs, "a hypercall, but no guest runs here");
    };
    let mut bytes = [0u8; 72];
    if !copy_from_guest(regs.rsp, &mut bytes) {
        return traps::crash(regs, domain, vcpu, 23, Unhandled::BadStack);
    }
    let frame = IretContext::from_bytes(&bytes);
    let to_user = frame.cs & 3 == 3;
    if to_user {
        if vcpu.user_l4.load(Relaxed) == 0 {
            return traps::crash(regs, domain, vcpu, 23, Unhandled::NoHandler);
        }
        current::set_mode(false);
    }
    if domain.has_assist(assist::ARCHITECTURAL_IOPL) {
        vcpu.iopl.store((frame.rflags >> 12 & 3) as u8, Relaxed);
    }
    regs.rip = frame.rip;
    regs.cs = frame.cs as u16 | 3;
    // VM off, IF on, IOPL 0.
    regs.rflags = frame.rflags & 0x0024_4fd5 | IF | 2;
    regs.rsp = frame.rsp;
    regs.ss = frame.ss as u16 | 3;
    regs.rax = frame.rax;
    if frame.flags & VGCF_in_syscall == 0 {
        regs.r11 = frame.r11;
        regs.rcx = frame.rcx;
    } else {
        regs.rcx = frame.rip;
        regs.r11 = regs.rflags;
    }
    current::upcall_mask().store(u8::from(frame.rflags & IF == 0), SeqCst);
}
