//! Timers: one queue per CPU, which holds the next deadline of each vcpu that set one there, and the scheduler's.

use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

use rexen_abi::sched::SHUTDOWN_watchdog;
use rexen_core::domain::{Vcpu, VcpuFlags};
use rexen_core::evtchn::Virq;
use rexen_core::hypercall::{self, Machine};
use rexen_core::sync::Mutex;
use rexen_core::time::{TimerId, TimerKind, TimerQueue};
use rexen_core::units::{CpuId, MAX_CPUS, Nanos};

use super::exit;
use crate::cpu::this_cpu;
use crate::irq::{self, apic, vector};
use crate::machine::HW;
use crate::{domain, smp, timer};

/// Vcpus that may have timers on one CPU.
const ROOM: usize = 1024;

static QUEUES: [Mutex<TimerQueue>; MAX_CPUS] = [const { Mutex::new(TimerQueue::new()) }; MAX_CPUS];
/// When the scheduler wants to be asked again, per CPU; `u64::MAX` for never.
static SLICE: [AtomicU64; MAX_CPUS] = [const { AtomicU64::new(u64::MAX) }; MAX_CPUS];
/// What the CPU's timer is set to.
static PROGRAMMED: [AtomicU64; MAX_CPUS] = [const { AtomicU64::new(u64::MAX) }; MAX_CPUS];

fn index() -> usize {
    this_cpu().0 as usize % MAX_CPUS
}

/// Prepares the queues and the timer interrupt. Once.
pub fn init() {
    for (_, queue) in QUEUES
        .iter()
        .enumerate()
        .filter(|(n, _)| smp::online().contains(CpuId(*n as u32)))
    {
        assert!(queue.lock().reserve(ROOM), "no memory for timers");
    }
    irq::set_handler(vector::TIMER, |_| {
        apic::eoi();
        PROGRAMMED[index()].store(u64::MAX, Relaxed);
        exit::request(exit::TIMER);
    });
}

/// Sets when the scheduler is to be asked again; [`program`] must follow.
pub fn set_slice(until: Option<Nanos>) {
    SLICE[index()].store(until.map_or(u64::MAX, |at| at.0), Relaxed);
}

/// Sets the CPU's timer to the soonest deadline.
pub fn program() {
    let next = QUEUES[index()]
        .lock()
        .next_deadline()
        .map_or(u64::MAX, |at| at.0);
    let next = next.min(SLICE[index()].load(Relaxed));
    if PROGRAMMED[index()].swap(next, Relaxed) != next {
        timer::set_deadline((next != u64::MAX).then_some(Nanos(next)));
    }
}

fn id_of(vcpu: &Vcpu) -> TimerId {
    TimerId::of_vcpu(TimerKind::VcpuSingleshot, vcpu.domain, vcpu.id)
}

/// Timers of `vcpu`, which runs here, changed.
pub fn changed(vcpu: &Vcpu) {
    adopt(vcpu);
    program();
}

/// Takes the timers of `vcpu`, which starts to run here, into this CPU's queue.
pub fn adopt(vcpu: &Vcpu) {
    let mut queue = QUEUES[index()].lock();
    let _ = queue.remove(id_of(vcpu));
    if let Some(at) = vcpu.next_timer() {
        // Room was reserved; a guest whose timer finds none loses it, nobody else does.
        let _ = queue.add(id_of(vcpu), at);
    }
}

/// Does what is due on this CPU.
pub fn run() {
    let now = HW.now();
    if SLICE[index()].load(Relaxed) <= now.0 {
        SLICE[index()].store(u64::MAX, Relaxed);
        exit::request(exit::SCHEDULE);
    }
    if let Some(domain) = domain::find(|d| d.watchdogs.expired(now)) {
        hypercall::shut_down(&HW, &domain, SHUTDOWN_watchdog);
    }
    loop {
        let Some((id, _)) = QUEUES[index()].lock().expire(now) else {
            break;
        };
        let Some(domain) = HW.domain(id.dom) else {
            continue;
        };
        let Some(vcpu) = domain.vcpu(id.vcpu) else {
            continue;
        };
        let due = |at: &AtomicU64| {
            let deadline = at.load(Relaxed);
            deadline != 0
                && deadline <= now.0
                && at.compare_exchange(deadline, 0, Relaxed, Relaxed).is_ok()
        };
        let mut fire = due(&vcpu.singleshot);
        let period = vcpu.period.load(Relaxed);
        if period != 0 && vcpu.period_next.load(Relaxed) <= now.0 {
            // Missed ticks are made up for by one.
            vcpu.period_next
                .store(now.0.saturating_add(period), Relaxed);
            // A periodic timer ticks only while its vcpu could run.
            fire |= vcpu.is_runnable();
        }
        if due(&vcpu.poll_timeout) {
            hypercall::unblock(&HW, vcpu, VcpuFlags::POLLING);
        }
        if fire {
            hypercall::raise_virq(&HW, &domain, vcpu.id, Virq::TIMER);
        }
        // One that runs elsewhere by now has taken its timers along.
        let cpu = vcpu.on_cpu.load(Relaxed);
        let is_ours = cpu == u32::MAX || cpu == this_cpu().0;
        if is_ours && let Some(at) = vcpu.next_timer() {
            let at = Nanos(at.0.max(now.0 + 1));
            let _ = QUEUES[index()].lock().add(id, at);
        }
    }
    program();
}
