//! Giving up the CPU (`public/sched.h`).

use core::sync::atomic::Ordering::{Relaxed, SeqCst};

use rexen_abi::errno::Errno;
use rexen_abi::sched::*;

use super::args::{element, low32};
use crate::domain::{NOT_SHUT_DOWN, VcpuFlags};
use crate::hypercall::{Call, Machine, Outcome, authority, shut_down, sleep_or_wake};
use crate::time::NS_PER_SEC;
use crate::units::EvtchnPort;

/// Ports that one poll may name.
const MAX_POLL: u32 = 128;

/// `sched_op(cmd, arg)`.
#[inline]
pub fn sched_op<M: Machine>(call: &mut Call<'_, M>) -> Outcome {
    match low32(call.args[0]) {
        SCHEDOP_yield => call.m.yield_cpu(),
        SCHEDOP_block => block(call),
        _ => return others(call).into(),
    }
    Outcome::Done(0)
}

fn others<M: Machine>(call: &Call<'_, M>) -> Result<u64, Errno> {
    let [cmd, arg, ..] = call.args;
    match low32(cmd) {
        SCHEDOP_poll => poll(call, &call.read(arg)?)?,
        SCHEDOP_shutdown => {
            let asked = call.read::<SchedShutdown>(arg)?;
            shut_down(call.m, call.domain, reason(call, asked.reason));
        }
        SCHEDOP_shutdown_code => {
            let asked = call.read::<SchedShutdown>(arg)?;
            call.domain
                .latched_reason
                .store(asked.reason & 0xff, Relaxed);
        }
        SCHEDOP_remote_shutdown => {
            let asked = call.read::<SchedRemoteShutdown>(arg)?;
            authority::Control::of(call.domain)?;
            let target = call.target(asked.domain_id)?;
            shut_down(call.m, &target, asked.reason & 0xff);
        }
        SCHEDOP_watchdog => {
            let asked = call.read::<SchedWatchdog>(arg)?;
            let ahead = u64::from(asked.timeout).saturating_mul(NS_PER_SEC);
            let deadline = (asked.timeout != 0).then(|| call.m.now().0.saturating_add(ahead));
            return call.domain.watchdogs.set(asked.id, deadline).map(u64::from);
        }
        SCHEDOP_pin_override => {
            authority::Hardware::of(call.domain)?;
            return Err(Errno::ENOSYS);
        }
        _ => return Err(Errno::ENOSYS),
    }
    Ok(0)
}

/// The reason that the guest told before, or the one it tells now.
fn reason<M: Machine>(call: &Call<'_, M>, asked: u32) -> u32 {
    match call.domain.latched_reason.load(Relaxed) {
        NOT_SHUT_DOWN => asked & 0xff,
        latched => latched,
    }
}

/// Unmasks events, and sleeps until one is pending.
fn block<M: Machine>(call: &Call<'_, M>) {
    let (m, vcpu) = (call.m, call.vcpu);
    call.domain.events.unmask_upcalls(m, vcpu.id);
    vcpu.flags.fetch_or(VcpuFlags::BLOCKED, SeqCst);
    // Whoever raises an event from here on sees the flag; one raised before is seen here.
    let nmi = vcpu.flags.load(SeqCst) & VcpuFlags::NMI_PENDING != 0;
    if nmi || call.domain.events.upcall_pending(m, vcpu.id) {
        vcpu.flags.fetch_and(!VcpuFlags::BLOCKED, SeqCst);
    }
    // Even if it stays awake: who ended its last sleep may have seen the flag meanwhile, and told the scheduler.
    sleep_or_wake(m, vcpu);
}

/// Sleeps until an event is pending on one of the ports, masked or not, or the time has come.
fn poll<M: Machine>(call: &Call<'_, M>, asked: &SchedPoll) -> Result<(), Errno> {
    if asked.nr_ports > MAX_POLL {
        return Err(Errno::EINVAL);
    }
    let (m, vcpu, events) = (call.m, call.vcpu, &call.domain.events);
    events.poll_begin(vcpu.id);
    vcpu.flags.fetch_or(VcpuFlags::POLLING, SeqCst);
    let stay = look(call, asked);
    if !matches!(stay, Ok(true)) {
        vcpu.flags.fetch_and(!VcpuFlags::POLLING, SeqCst);
        events.poll_end(vcpu.id);
        // As in `block`.
        sleep_or_wake(m, vcpu);
        return stay.map(|_| ());
    }
    if vcpu.timers.set_poll_end(asked.timeout) {
        m.timers_changed(vcpu);
    }
    sleep_or_wake(m, vcpu);
    Ok(())
}

/// Whether there is reason to sleep.
fn look<M: Machine>(call: &Call<'_, M>, asked: &SchedPoll) -> Result<bool, Errno> {
    let (m, vcpu, events) = (call.m, call.vcpu, &call.domain.events);
    if events.upcall_due(m, vcpu.id) || (asked.timeout != 0 && asked.timeout <= m.now().0) {
        return Ok(false);
    }
    for n in 0..asked.nr_ports {
        let port = EvtchnPort(call.read(element(asked.ports, u64::from(n), 4))?);
        if events.is_pending(m, port)? {
            return Ok(false);
        }
        if asked.nr_ports == 1 {
            events.poll_only(vcpu.id, port);
        }
    }
    Ok(true)
}
