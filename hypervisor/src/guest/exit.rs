//! What is done before a CPU goes on with a guest: the scheduler's decisions, timers, the guest's events.
//!
//! Interrupt handlers and hypercalls leave a bit in the CPU's PENDING word; `entry.s` calls [`exit_work`] while one is
//! there, or while an upcall is due. A CPU without a vcpu to run waits here.

use core::sync::atomic::Ordering::{Relaxed, SeqCst};

use rexen_abi::arch_x86::CpuUserRegs;
use rexen_core::domain::VcpuFlags;
use rexen_core::sched::{IdleTime, VcpuRef};
use rexen_core::sync::Mutex;
use rexen_core::units::{CpuId, MAX_CPUS, Nanos};

use super::current::Leftover;
use super::{bounce, current, timers, traps};
use crate::cpu::info::word;
use crate::cpu::{regs as cpu_regs, this_cpu};
use crate::entry::slot;
use crate::machine::{self, HW};
use crate::{stretch, timer};
use rexen_core::evtchn::Virq;
use rexen_core::hypercall::{self, Machine, teardown};

/// Ask the scheduler.
pub const SCHEDULE: u64 = 1;
/// The CPU's timer went off.
pub const TIMER: u64 = 2;
/// Look again at flags of the running vcpu (virtual NMI).
pub const CHECK: u64 = 4;
/// Look again at the timers of the running vcpu.
pub const ADOPT: u64 = 8;
/// A dead domain may have lost its last frame.
pub const REAP: u64 = 16;
/// There are new messages.
pub const MESSAGES: u64 = 32;

/// When each CPU had nothing to run.
static IDLE: [Mutex<IdleTime>; MAX_CPUS] = [const { Mutex::new(IdleTime::new()) }; MAX_CPUS];

/// Leaves work for the current CPU's next return to a guest.
#[inline]
pub fn request(bits: u64) {
    word(slot::PENDING).fetch_or(bits, Relaxed);
}

/// Does what is pending, then lets the guest's events in. `_frame` is the one in CpuInfo, which a switch rewrites.
pub extern "C" fn exit_work(_frame: *mut CpuUserRegs) {
    let _stretch = stretch::on_the_way_out();
    loop {
        let pending = word(slot::PENDING).swap(0, Relaxed);
        if pending & ADOPT != 0
            && let Some((_, vcpu)) = current::current()
        {
            timers::changed(vcpu);
        }
        if pending & TIMER != 0 {
            timers::run();
        }
        if pending & REAP != 0 {
            teardown::reap(&HW);
        }
        if pending & MESSAGES != 0 {
            hypercall::raise_global_virq(&HW, Virq::CON_RING);
        }
        if pending & SCHEDULE != 0 || word(slot::VCPU).load(Relaxed) == 0 {
            schedule();
        }
        if word(slot::VCPU).load(Relaxed) == 0 {
            idle();
            continue;
        }
        current::with_guest_regs(deliver);
        if word(slot::PENDING).load(Relaxed) == 0 {
            return;
        }
    }
}

/// Waits until there is work. Meanwhile scrubs free frames, letting interrupts in after a few.
fn idle() {
    while word(slot::PENDING).load(Relaxed) == 0 {
        stretch::look();
        if machine::scrub_some() {
            cpu_regs::sti_nop_cli();
        } else {
            timers::program_exactly();
            cpu_regs::sti_hlt_cli();
        }
        stretch::look();
    }
}

/// Enters the running vcpu's event callback if an upcall is due, or its NMI callback.
fn deliver(regs: &mut CpuUserRegs) {
    let Some((domain, vcpu)) = current::current() else {
        return;
    };
    if vcpu.flags.load(Relaxed) & VcpuFlags::NMI_PENDING != 0
        && vcpu.callbacks.nmi.address.load(Relaxed) != 0
    {
        vcpu.flags.fetch_and(!VcpuFlags::NMI_PENDING, Relaxed);
        if let Err(why) = bounce::callback(regs, domain, vcpu, &vcpu.callbacks.nmi) {
            return traps::crash(regs, domain, vcpu, 2, why);
        }
    }
    let upcall = current::upcall_word().load(SeqCst);
    let callback = &vcpu.callbacks.event;
    if upcall & 0xff != 0
        && upcall >> 8 == 0
        && callback.address.load(Relaxed) != 0
        && let Err(why) = bounce::callback(regs, domain, vcpu, callback)
    {
        traps::crash(regs, domain, vcpu, 0x101, why);
    }
}

/// Asks the scheduler, and switches if it says so.
fn schedule() {
    let cpu = this_cpu();
    let now = HW.now();
    let decision = machine::scheduler().schedule(cpu, now);
    timers::set_slice(decision.until);
    if let Some(idle) = decision.kick {
        machine::kick_cpu(idle, SCHEDULE);
    }
    let running = current::current().map(|(_, vcpu)| vcpu.sched);
    if decision.next.map(|(id, _)| id) == running {
        timers::program();
        return;
    }
    let idle = &IDLE[cpu.0 as usize % MAX_CPUS];
    let mut left = None;
    match current::current() {
        Some((_, vcpu)) => {
            vcpu.count_waiting(now);
            HW.update_runstate_area(vcpu);
            left = current::save();
        }
        None => idle.lock().end(now),
    }
    if let Some((_, who)) = decision.next {
        switch_to(who, now, &mut left);
    } else {
        idle.lock().begin(now);
    }
    // Nothing was loaded in its place.
    if let Some(left) = left {
        left.clear();
    }
    if let Some(id) = running
        && let Some(other) = machine::scheduler().saved(id)
    {
        machine::kick_cpu(other, SCHEDULE);
    }
    timers::program();
}

fn switch_to(who: VcpuRef, now: Nanos, left: &mut Option<Leftover>) {
    let Some(domain) = HW.domain(who.dom) else {
        return;
    };
    let keep = domain.clone();
    let Some(vcpu) = keep.vcpu(who.vcpu) else {
        return;
    };
    // What the switch costs, the new one pays: so all time is somebody's.
    vcpu.count_running(now);
    let good = current::load(domain, vcpu, left.take());
    HW.update_runstate_area(vcpu);
    HW.update_time(vcpu);
    timers::adopt(vcpu);
    if !good {
        let saved = vcpu.saved.lock().regs;
        current::with_guest_regs(|regs| {
            let wanted = [saved.ds, saved.es, saved.fs, saved.gs];
            if let Err(why) = bounce::failsafe(regs, &keep, vcpu, wanted) {
                traps::crash(regs, &keep, vcpu, 0x102, why);
            }
        });
    }
}

/// How long `cpu` has had nothing to run, up to `now`.
pub fn idle_time_at(cpu: CpuId, now: Nanos) -> Nanos {
    IDLE.get(cpu.0 as usize)
        .map_or(Nanos(0), |idle| idle.lock().at(now))
}

/// The first thing a CPU does after its own start: waits for a vcpu, and runs it.
pub fn run() -> ! {
    timer::set_deadline(None);
    current::set_none();
    IDLE[this_cpu().0 as usize % MAX_CPUS]
        .lock()
        .begin(HW.now());
    request(SCHEDULE);
    exit_work(core::ptr::null_mut());
    crate::entry::enter_guest()
}
