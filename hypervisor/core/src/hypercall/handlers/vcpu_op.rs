//! Starting and stopping vcpus, their timers and the areas they register (`public/vcpu.h`).

use core::sync::atomic::Ordering::{Relaxed, SeqCst};

use rexen_abi::errno::Errno;
use rexen_abi::sched::SHUTDOWN_poweroff;
use rexen_abi::vcpu::*;

use super::args::low32;
use super::domctl::send_nmi;
use super::mmu_update::MmuOrErrno;
use super::vcpu_context::initialise;
use crate::domain::{Vcpu, VcpuFlags};
use crate::evtchn::{VCPU_INFO_BYTES, Virq};
use crate::hypercall::{Call, Machine, Outcome, block, deliver, raise_virq, shut_down, unblock};
use crate::pvmmu::Refs;
use crate::units::{EvtchnPort, Mfn, PAGE_SIZE, VcpuId};

/// `vcpu_op(cmd, vcpu, arg)`.
pub fn vcpu_op<M: Machine>(call: &mut Call<'_, M>) -> Outcome {
    let [cmd, id, arg, ..] = call.args;
    let Some(vcpu) = call.domain.vcpu(VcpuId(low32(id))) else {
        return Err::<u64, _>(Errno::ENOENT).into();
    };
    match low32(cmd) {
        VCPUOP_is_up => Outcome::Done(u64::from(is_up(vcpu))),
        VCPUOP_initialise => match initialise(call.m, call.domain, vcpu, arg) {
            Ok(()) => Outcome::Done(0),
            Err(MmuOrErrno::Again) => Outcome::Again(call.args),
            Err(MmuOrErrno::Errno(e)) => Outcome::Done(e.to_rax()),
        },
        cmd => others(call, cmd, vcpu, arg).into(),
    }
}

fn is_up(vcpu: &Vcpu) -> bool {
    vcpu.flags.load(Relaxed) & VcpuFlags::DOWN == 0
}

fn others<M: Machine>(call: &Call<'_, M>, cmd: u32, vcpu: &Vcpu, arg: u64) -> Result<(), Errno> {
    let m = call.m;
    match cmd {
        VCPUOP_up => {
            if vcpu.flags.load(SeqCst) & VcpuFlags::INITIALISED == 0 {
                return Err(Errno::EINVAL);
            }
            unblock(m, vcpu, VcpuFlags::DOWN);
        }
        VCPUOP_down => down(call, vcpu),
        VCPUOP_get_runstate_info => call.write(arg, &runstate(call, vcpu))?,
        VCPUOP_register_runstate_memory_area => {
            let area = call.read::<VcpuRegisterRunstateMemoryArea>(arg)?.addr;
            if area != 0 {
                call.write(area, &runstate(call, vcpu))?;
            }
            vcpu.runstate_area.store(area, Relaxed);
            if is_caller(call, vcpu) {
                m.update_runstate_area(vcpu);
            }
        }
        VCPUOP_set_periodic_timer => {
            let period = call.read::<VcpuSetPeriodicTimer>(arg)?.period_ns;
            vcpu.timers.set_periodic(period, m.now())?;
            m.timers_changed(vcpu);
        }
        VCPUOP_stop_periodic_timer => {
            vcpu.timers.stop_periodic();
            m.timers_changed(vcpu);
        }
        VCPUOP_set_singleshot_timer => {
            only_caller(call, vcpu)?;
            let deadline = call.read::<VcpuSetSingleshotTimer>(arg)?.timeout_abs_ns;
            let fires = vcpu.timers.set_singleshot(deadline, m.now());
            timer_set(call, fires);
        }
        VCPUOP_stop_singleshot_timer => {
            only_caller(call, vcpu)?;
            vcpu.timers.stop_singleshot();
            m.timers_changed(vcpu);
        }
        VCPUOP_register_vcpu_info => register_vcpu_info(call, vcpu, &call.read(arg)?)?,
        VCPUOP_send_nmi => send_nmi(m, vcpu),
        // Only vcpus that are pinned to a CPU could be told.
        VCPUOP_get_physid => return Err(Errno::EINVAL),
        VCPUOP_register_vcpu_time_memory_area => {
            let area = call.read::<VcpuRegisterTimeMemoryArea>(arg)?.addr;
            vcpu.time_area.store(area, Relaxed);
            if is_caller(call, vcpu) {
                m.update_time(vcpu);
            }
        }
        _ => return Err(Errno::ENOSYS),
    }
    Ok(())
}

fn is_caller<M: Machine>(call: &Call<'_, M>, vcpu: &Vcpu) -> bool {
    vcpu.id == call.vcpu.id
}

fn only_caller<M: Machine>(call: &Call<'_, M>, vcpu: &Vcpu) -> Result<(), Errno> {
    if is_caller(call, vcpu) {
        Ok(())
    } else {
        Err(Errno::EINVAL)
    }
}

/// Takes a vcpu down; a domain without any that is up has switched itself off.
fn down<M: Machine>(call: &Call<'_, M>, vcpu: &Vcpu) {
    block(call.m, vcpu, VcpuFlags::DOWN);
    if !call.domain.vcpus.iter().any(is_up) {
        shut_down(call.m, call.domain, SHUTDOWN_poweroff);
    }
}

fn runstate<M: Machine>(call: &Call<'_, M>, vcpu: &Vcpu) -> VcpuRunstateInfo {
    let info = vcpu.runstate.lock().at(call.m.now());
    VcpuRunstateInfo {
        // The four states have small numbers.
        state: info.state.cast_signed(),
        state_entry_time: info.state_entry_time.0,
        time: info.time,
    }
}

/// The caller's one-shot timer was set; `fires`: to a time that has passed.
#[inline]
pub(super) fn timer_set<M: Machine>(call: &Call<'_, M>, fires: bool) {
    call.m.timers_changed(call.vcpu);
    if fires {
        raise_virq(call.m, call.domain, call.vcpu.id, Virq::TIMER);
    }
}

fn register_vcpu_info<M: Machine>(
    call: &Call<'_, M>,
    vcpu: &Vcpu,
    place: &VcpuRegisterVcpuInfo,
) -> Result<(), Errno> {
    if u64::from(place.offset) > PAGE_SIZE - u64::from(VCPU_INFO_BYTES)
        || !place.offset.is_multiple_of(8)
    {
        return Err(Errno::ENXIO);
    }
    if !is_caller(call, vcpu) && is_up(vcpu) {
        return Err(Errno::EINVAL);
    }
    let (m, mfn) = (call.m, Mfn(place.mfn));
    let refs = Refs {
        frames: m.frames(),
        host: m,
    };
    refs.hold_writable(mfn, call.domain.id)?;
    match call
        .domain
        .events
        .register_vcpu_info(m, vcpu.id, mfn, place.offset)
    {
        Ok(raised) => {
            m.vcpu_info_moved(vcpu);
            deliver(m, call.domain, EvtchnPort(0), raised);
            Ok(())
        }
        Err(e) => {
            refs.release_writable(mfn);
            Err(e.into())
        }
    }
}
