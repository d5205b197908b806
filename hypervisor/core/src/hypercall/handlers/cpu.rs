//! Small state of the virtual CPU: segment bases, TS, debug registers, assists, the one-shot timer.

use core::sync::atomic::Ordering::Relaxed;

use rexen_abi::arch_x86::{SEGBASE_FS, SEGBASE_GS_KERNEL, SEGBASE_GS_USER, SEGBASE_GS_USER_SEL};
use rexen_abi::errno::Errno;
use rexen_abi::xen::*;

use super::args::{canonical, low16, low32, ring3};
use super::vcpu_op::timer_set;
use crate::domain::assist;
use crate::hypercall::{Call, Machine, Outcome, SegmentBase};

/// CR4.DE.
const CR4_DE: u64 = 1 << 3;
/// Assists that there are: those of [`assist`], and the two of 32-bit segments, which mean nothing here.
const ASSISTS: u64 = 0b11
    | assist::WRITABLE_PAGETABLES
    | assist::PAE_EXTENDED_CR3
    | assist::ARCHITECTURAL_IOPL
    | assist::RUNSTATE_UPDATE_FLAG
    | assist::M2P_STRICT;

/// `set_segment_base(which, base)` (`public/arch-x86/xen.h`).
#[inline]
pub fn set_segment_base<M: Machine>(call: &mut Call<'_, M>) -> Outcome {
    let [which, base, ..] = call.args;
    let which = match low32(which) {
        SEGBASE_FS => SegmentBase::Fs,
        SEGBASE_GS_USER => SegmentBase::GsUser,
        SEGBASE_GS_KERNEL => SegmentBase::GsKernel,
        SEGBASE_GS_USER_SEL => {
            // Selector 0 is a good one as it is.
            let selector = low16(base);
            call.m.set_gs_user_selector(if selector & !3 == 0 {
                0
            } else {
                ring3(selector)
            });
            return Outcome::Done(0);
        }
        _ => return Err::<u64, _>(Errno::EINVAL).into(),
    };
    canonical(base)
        .map(|base| call.m.set_segment_base(which, base))
        .into()
}

/// `fpu_taskswitch(set)`: virtual CR0.TS.
pub fn fpu_taskswitch<M: Machine>(call: &mut Call<'_, M>) -> Outcome {
    call.vcpu.ts.store(low32(call.args[0]) != 0, Relaxed);
    call.m.ts_changed(call.vcpu);
    Outcome::Done(0)
}

fn debug_extensions<M: Machine>(call: &Call<'_, M>) -> bool {
    call.vcpu.cr4.load(Relaxed) & CR4_DE != 0
}

/// `set_debugreg(number, value)`.
pub fn set_debugreg<M: Machine>(call: &mut Call<'_, M>) -> Outcome {
    let [number, value, ..] = call.args;
    let set = {
        let mut debug = call.vcpu.debug.lock();
        let set = debug.set(low32(number), value, debug_extensions(call));
        call.vcpu.debug_active.store(debug.is_active(), Relaxed);
        set
    };
    if set.is_ok() {
        call.m.load_debug_registers(call.vcpu);
    }
    set.into()
}

/// `get_debugreg(number)`.
pub fn get_debugreg<M: Machine>(call: &mut Call<'_, M>) -> Outcome {
    call.vcpu
        .debug
        .lock()
        .get(low32(call.args[0]), debug_extensions(call))
        .into()
}

/// `vm_assist(cmd, type)`.
pub fn vm_assist<M: Machine>(call: &mut Call<'_, M>) -> Outcome {
    let [cmd, kind, ..] = call.args;
    let Some(bit) = 1u64
        .checked_shl(low32(kind))
        .filter(|bit| bit & ASSISTS != 0)
    else {
        return Err::<u64, _>(Errno::EINVAL).into();
    };
    match low32(cmd) {
        VMASST_CMD_enable => call.domain.assists.fetch_or(bit, Relaxed),
        VMASST_CMD_disable => call.domain.assists.fetch_and(!bit, Relaxed),
        _ => return Err::<u64, _>(Errno::ENOSYS).into(),
    };
    Outcome::Done(0)
}

/// `set_timer_op(deadline)`: the one-shot timer, 0 to stop it.
pub fn set_timer_op<M: Machine>(call: &mut Call<'_, M>) -> Outcome {
    let now = call.m.now();
    let fires = call.vcpu.timers.set_timer_op(call.args[0], now);
    timer_set(call, fires);
    Outcome::Done(0)
}
