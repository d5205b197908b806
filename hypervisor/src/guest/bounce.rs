//! Handing something to the guest kernel: the frame on its stack, and the jump to its handler.
//!
//! The frame is that of section 3.4 of the ABI notes: rcx, r11, perhaps an error code, rip, cs (with the saved event mask
//! in bits 39:32, and RPL 0 if it came from the guest kernel), rflags, rsp, ss.

use core::sync::atomic::Ordering::Relaxed;

use rexen_abi::arch_x86::{CpuUserRegs, TI_MASK_EVENTS};
use rexen_core::domain::{Callback, Domain, Vcpu, assist};

use super::current;
use crate::cpu::desc::{USER_CS64, USER_DS};
use crate::entry::push_to_guest;

const IF: u64 = 1 << 9;
/// rflags that do not survive a bounce: AC, VM, RF, NT, TF, IOPL.
const CLEARED: u64 = 0x4_0000 | 0x2_0000 | 0x1_0000 | 0x4000 | 0x3000 | 0x100;

/// The guest could not take it; it is to be crashed.
#[derive(Clone, Copy, Debug)]
pub enum Unhandled {
    /// It has no handler.
    NoHandler,
    /// Its stack cannot take the frame.
    BadStack,
}

/// Enters the guest kernel at `rip`, with a frame that tells of the interrupted context.
#[inline]
fn enter(
    regs: &mut CpuUserRegs,
    domain: &Domain,
    vcpu: &Vcpu,
    rip: u64,
    masks_events: bool,
    error: Option<u32>,
) -> Result<(), Unhandled> {
    if rip == 0 {
        return Err(Unhandled::NoHandler);
    }
    let mask = current::upcall_mask();
    let masked = mask.load(Relaxed);
    let (sp, cs) = if current::in_kernel() {
        (regs.rsp, regs.cs & !3)
    } else {
        current::set_mode(true);
        (vcpu.kernel_sp.load(Relaxed), regs.cs)
    };
    let mut flags = regs.rflags & !(IF | 0x3000);
    if masked == 0 {
        flags |= IF;
    }
    if domain.has_assist(assist::ARCHITECTURAL_IOPL) {
        flags |= u64::from(vcpu.iopl.load(Relaxed) & 3) << 12;
    }
    let cs = u64::from(cs) | u64::from(masked) << 32;
    let sp = sp & !0xf;
    let ss = u64::from(regs.ss);
    let to;
    let good = if let Some(error) = error {
        let frame = [
            regs.rcx,
            regs.r11,
            u64::from(error),
            regs.rip,
            cs,
            flags,
            regs.rsp,
            ss,
        ];
        to = sp.wrapping_sub(64);
        push_to_guest(to, &frame)
    } else {
        let frame = [regs.rcx, regs.r11, regs.rip, cs, flags, regs.rsp, ss];
        to = sp.wrapping_sub(56);
        push_to_guest(to, &frame)
    };
    if !good {
        return Err(Unhandled::BadStack);
    }
    if masks_events {
        mask.store(1, Relaxed);
    }
    regs.rip = rip;
    regs.cs = USER_CS64;
    regs.ss = USER_DS;
    regs.rflags = regs.rflags & !CLEARED | IF;
    regs.rsp = to;
    Ok(())
}

/// Hands exception `vector` to the guest kernel.
#[inline]
pub fn exception(
    regs: &mut CpuUserRegs,
    domain: &Domain,
    vcpu: &Vcpu,
    vector: u8,
    error: Option<u32>,
) -> Result<(), Unhandled> {
    let slot = &vcpu.traps[usize::from(vector)];
    let flags = (slot.meta.load(Relaxed) >> 16) as u8;
    enter(
        regs,
        domain,
        vcpu,
        slot.address.load(Relaxed),
        flags & TI_MASK_EVENTS != 0,
        error,
    )
}

/// Hands a page fault at `address` to the guest kernel. The user bit of `error` is made that of the guest's mode.
#[inline]
pub fn page_fault(
    regs: &mut CpuUserRegs,
    domain: &Domain,
    vcpu: &Vcpu,
    address: u64,
    error: u32,
) -> Result<(), Unhandled> {
    current::set_guest_cr2(vcpu, address);
    let user = if current::in_kernel() { 0 } else { 4 };
    exception(regs, domain, vcpu, 14, Some(error & !4 | user))
}

/// Enters the guest kernel at one of its callbacks.
pub fn callback(
    regs: &mut CpuUserRegs,
    domain: &Domain,
    vcpu: &Vcpu,
    which: &Callback,
) -> Result<(), Unhandled> {
    enter(
        regs,
        domain,
        vcpu,
        which.address.load(Relaxed),
        which.masks_events.load(Relaxed),
        None,
    )
}

/// Enters the failsafe callback: the data selectors in `wanted` (ds, es, fs, gs) could not all be loaded.
pub fn failsafe(
    regs: &mut CpuUserRegs,
    domain: &Domain,
    vcpu: &Vcpu,
    wanted: [u16; 4],
) -> Result<(), Unhandled> {
    callback(regs, domain, vcpu, &vcpu.callbacks.failsafe)?;
    // rcx and r11 stay lowest; the four selectors go between them and rip.
    let mut frame = [0u64; 2];
    let mut bytes = [0u8; 16];
    if !crate::entry::copy_from_guest(regs.rsp, &mut bytes) {
        return Err(Unhandled::BadStack);
    }
    for (word, chunk) in frame.iter_mut().zip(bytes.chunks_exact(8)) {
        *word = chunk
            .iter()
            .rev()
            .fold(0, |value, byte| value << 8 | u64::from(*byte));
    }
    let [ds, es, fs, gs] = wanted.map(u64::from);
    let to = regs.rsp.wrapping_sub(32);
    if !push_to_guest(to, &[frame[0], frame[1], ds, es, fs, gs]) {
        return Err(Unhandled::BadStack);
    }
    regs.rsp = to;
    Ok(())
}
