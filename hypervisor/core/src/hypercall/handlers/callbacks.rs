//! Where the guest kernel is entered (`public/arch-x86/xen.h`, set_trap_table; `public/callback.h`; `public/nmi.h`).

use core::sync::atomic::Ordering::Relaxed;

use rexen_abi::Plain;
use rexen_abi::arch_x86::{TI_DPL_MASK, TI_MASK_EVENTS, TrapInfo};
use rexen_abi::callback::*;
use rexen_abi::errno::Errno;
use rexen_abi::nmi::{XENNMI_register_callback, XENNMI_unregister_callback, XennmiCallback};

use super::args::{canonical, element, low16, low32, ring3};
use crate::domain::{Callback, Vcpu};
use crate::hypercall::{Call, Machine, Outcome};

/// Trap table entries between two looks at whether to stop.
const TRAPS_PER_LOOK: u64 = 64;

/// `set_trap_table(table)`: sets entries up to one with address 0; clears all for a null pointer.
pub fn set_trap_table<M: Machine>(call: &mut Call<'_, M>) -> Outcome {
    let table = call.args[0];
    if table == 0 {
        for slot in &call.vcpu.traps {
            slot.address.store(0, Relaxed);
            slot.meta.store(0, Relaxed);
        }
        call.m.entry_changed(call.vcpu);
        return Outcome::Done(0);
    }
    let mut n = 0;
    loop {
        let at = element(table, n, TrapInfo::SIZE as u64);
        if n != 0 && n.is_multiple_of(TRAPS_PER_LOOK) && call.m.should_stop() {
            return call.again([at]);
        }
        let set = call
            .read::<TrapInfo>(at)
            .and_then(|trap| match trap.address {
                0 => Ok(false),
                _ => set_trap(call.vcpu, &trap).map(|()| true),
            });
        match set {
            Ok(true) => n += 1,
            other => {
                call.m.entry_changed(call.vcpu);
                return other.map(|_| 0).into();
            }
        }
    }
}

/// Sets one trap handler.
///
/// # Errors
/// EINVAL: not canonical.
pub(super) fn set_trap(vcpu: &Vcpu, trap: &TrapInfo) -> Result<(), Errno> {
    let address = canonical(trap.address)?;
    let slot = vcpu
        .traps
        .get(usize::from(trap.vector))
        .ok_or(Errno::EINVAL)?;
    let flags = trap.flags & (TI_DPL_MASK | TI_MASK_EVENTS);
    slot.meta
        .store(u32::from(ring3(trap.cs)) | u32::from(flags) << 16, Relaxed);
    slot.address.store(address, Relaxed);
    Ok(())
}

/// Sets one entry point.
///
/// # Errors
/// EINVAL: not canonical.
pub(super) fn set(callback: &Callback, address: u64, masks_events: bool) -> Result<(), Errno> {
    callback.address.store(canonical(address)?, Relaxed);
    callback.masks_events.store(masks_events, Relaxed);
    Ok(())
}

/// `set_callbacks(event, failsafe, syscall)`: the old form of three CALLBACKOP_register.
pub fn set_callbacks<M: Machine>(call: &mut Call<'_, M>) -> Outcome {
    let [event, failsafe, syscall, ..] = call.args;
    let callbacks = &call.vcpu.callbacks;
    let checked = [event, failsafe, syscall].map(canonical);
    let set = checked
        .into_iter()
        .try_for_each(|address| address.map(|_| ()))
        .and_then(|()| {
            set(&callbacks.event, event, true)?;
            set(&callbacks.failsafe, failsafe, false)?;
            set(&callbacks.syscall, syscall, false)
        });
    call.m.entry_changed(call.vcpu);
    set.into()
}

/// `callback_op(cmd, arg)`.
pub fn callback_op<M: Machine>(call: &mut Call<'_, M>) -> Outcome {
    let [cmd, arg, ..] = call.args;
    let result = match low32(cmd) {
        CALLBACKOP_register => call.read(arg).and_then(|new| register(call.vcpu, &new)),
        CALLBACKOP_unregister => call
            .read(arg)
            .and_then(|old: CallbackUnregister| unregister(call.vcpu, old.kind)),
        _ => Err(Errno::ENOSYS),
    };
    call.m.entry_changed(call.vcpu);
    result.into()
}

fn register(vcpu: &Vcpu, new: &CallbackRegister) -> Result<(), Errno> {
    let asked = new.flags & CALLBACKF_mask_events != 0;
    let all = &vcpu.callbacks;
    let (callback, masks) = match new.kind {
        // Upcalls and NMIs always mask: they would nest without end.
        CALLBACKTYPE_event => (&all.event, true),
        CALLBACKTYPE_nmi => (&all.nmi, true),
        CALLBACKTYPE_failsafe => (&all.failsafe, asked),
        CALLBACKTYPE_syscall => (&all.syscall, asked),
        CALLBACKTYPE_syscall32 => (&all.syscall32, asked),
        CALLBACKTYPE_sysenter => (&all.sysenter, asked),
        _ => return Err(Errno::ENOSYS),
    };
    set(callback, new.address, masks)
}

fn unregister(vcpu: &Vcpu, kind: u16) -> Result<(), Errno> {
    match kind {
        CALLBACKTYPE_nmi => set(&vcpu.callbacks.nmi, 0, false),
        CALLBACKTYPE_event
        | CALLBACKTYPE_failsafe
        | CALLBACKTYPE_syscall
        | CALLBACKTYPE_sysenter => Err(Errno::EINVAL),
        _ => Err(Errno::ENOSYS),
    }
}

/// `nmi_op(cmd, arg)`.
pub fn nmi_op<M: Machine>(call: &mut Call<'_, M>) -> Outcome {
    let [cmd, arg, ..] = call.args;
    let nmi = &call.vcpu.callbacks.nmi;
    let result = match low32(cmd) {
        XENNMI_register_callback => call
            .read::<XennmiCallback>(arg)
            .and_then(|new| set(nmi, new.handler_address, true)),
        XENNMI_unregister_callback => set(nmi, 0, false),
        _ => Err(Errno::ENOSYS),
    };
    result.into()
}

/// `stack_switch(ss, sp)`: the stack for entries from guest user space.
#[inline]
pub fn stack_switch<M: Machine>(call: &mut Call<'_, M>) -> Outcome {
    let [ss, sp, ..] = call.args;
    call.vcpu
        .kernel_ss
        .store(u64::from(ring3(low16(ss))), Relaxed);
    call.vcpu.kernel_sp.store(sp, Relaxed);
    call.m.entry_changed(call.vcpu);
    Outcome::Done(0)
}
