//! Timers: one queue per CPU, which holds the next deadline of each vcpu that set one there, and the scheduler's.

use core::sync::atomic::{
    AtomicU64,
    Ordering::{Relaxed, SeqCst},
};

use rexen_abi::sched::SHUTDOWN_watchdog;
use rexen_core::domain::{Vcpu, VcpuFlags};
use rexen_core::evtchn::Virq;
use rexen_core::hypercall::{self, Machine};
use rexen_core::sync::Mutex;
use rexen_core::time::{TimerId, TimerKind, TimerQueue};
use rexen_core::units::{CpuId, DomId, MAX_CPUS, Nanos};

use super::exit;
use crate::cpu::this_cpu;
use crate::irq::{self, apic, vector};
use crate::machine::{self, HW};
use crate::{domain, smp, timer};

/// Vcpus that may have timers on one CPU.
const ROOM: usize = 1024;

static QUEUES: [Mutex<TimerQueue>; MAX_CPUS] = [const { Mutex::new(TimerQueue::new()) }; MAX_CPUS];
/// When the scheduler wants to be asked again, per CPU; `u64::MAX` for never.
static SLICE: [AtomicU64; MAX_CPUS] = [const { AtomicU64::new(u64::MAX) }; MAX_CPUS];
/// When watchdogs are looked at next, and how often.
static WATCHDOGS: AtomicU64 = AtomicU64::new(0);
const WATCHDOGS_EVERY_NS: u64 = 100_000_000;
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

/// The scheduler is to be asked by then, or sooner if it said so before.
pub fn ask_by(at: Nanos) {
    SLICE[index()].fetch_min(at.0, Relaxed);
    program();
}

/// The soonest deadline; `u64::MAX` for none.
fn soonest() -> u64 {
    let this = index();
    let next = QUEUES[this].lock().next_deadline();
    next.map_or(u64::MAX, |at| at.0)
        .min(SLICE[this].load(Relaxed))
}

/// Sets the CPU's timer so that it does not miss the soonest deadline. It may come too soon: that costs less than to set it
/// whenever a deadline moves away, for most do.
pub fn program() {
    let next = soonest();
    if next < PROGRAMMED[index()].load(Relaxed) {
        set(next);
    }
}

/// Sets the CPU's timer to the soonest deadline exactly, for one that has nothing to do until then.
pub fn program_exactly() {
    let next = soonest();
    if next != PROGRAMMED[index()].load(Relaxed) {
        set(next);
    }
}

fn set(next: u64) {
    PROGRAMMED[index()].store(next, Relaxed);
    timer::set_deadline((next != u64::MAX).then_some(Nanos(next)));
}

fn id_of(vcpu: &Vcpu) -> TimerId {
    TimerId::of_vcpu(TimerKind::VcpuSingleshot, vcpu.domain, vcpu.id)
}

/// Timers of `vcpu` changed: its own CPU shall know.
pub fn changed(vcpu: &Vcpu) {
    let cpu = vcpu.on_cpu.load(SeqCst);
    if cpu == this_cpu().0 {
        adopt(vcpu);
        program();
    } else if cpu != u32::MAX {
        machine::kick_cpu(CpuId(cpu), exit::ADOPT);
    }
    // One that is on no CPU had only its periodic timer changed, which rests meanwhile.
}

/// Takes the timers of `vcpu`, which runs here, into this CPU's queue, where they stay when it goes.
pub fn adopt(vcpu: &Vcpu) {
    let this = index();
    let next = vcpu.timers.next(true);
    let Some(before) = vcpu.timers.enter_queue(this as u32, next) else {
        return;
    };
    if before != this as u32
        && let Some(queue) = QUEUES.get(before as usize)
    {
        let _ = queue.lock().remove(id_of(vcpu));
    }
    let mut queue = QUEUES[this].lock();
    match next {
        // Room was reserved; a guest whose timer finds none loses it, nobody else does.
        Some(at) => _ = queue.add(id_of(vcpu), at),
        None => _ = queue.remove(id_of(vcpu)),
    }
}

/// Forgets the timers of a domain that is no more.
pub fn forget(domain: DomId) {
    for queue in &QUEUES {
        queue.lock().remove_domain(domain);
    }
}

/// Shuts down domains whose watchdog has expired. Not at every timer interrupt: watchdogs count in seconds.
fn watchdogs(now: Nanos) {
    let next = WATCHDOGS.load(Relaxed);
    let after = now.0.saturating_add(WATCHDOGS_EVERY_NS);
    if next > now.0
        || WATCHDOGS
            .compare_exchange(next, after, Relaxed, Relaxed)
            .is_err()
    {
        return;
    }
    while let Some(domain) = domain::find(|d| d.watchdogs.expired(now) && !d.is_shut_down()) {
        hypercall::shut_down(&HW, &domain, SHUTDOWN_watchdog);
    }
}

/// Does what is due on this CPU.
pub fn run() {
    let now = HW.now();
    if SLICE[index()].load(Relaxed) <= now.0 {
        SLICE[index()].store(u64::MAX, Relaxed);
        exit::request(exit::SCHEDULE);
    }
    watchdogs(now);
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
        let here = this_cpu().0;
        let is_running = vcpu.on_cpu.load(SeqCst) == here;
        vcpu.timers.left_queue(here);
        let due = vcpu.timers.take_due(now, is_running);
        if due.poll_over {
            hypercall::unblock(&HW, vcpu, VcpuFlags::POLLING);
        }
        if due.tick {
            hypercall::raise_virq(&HW, &domain, vcpu.id, Virq::TIMER);
        }
        // One that runs elsewhere by now takes its timers along. One that rests may have run elsewhere meanwhile, and set
        // others: they stay here all the same. An entry too many is looked at in vain; one too few would never end a poll.
        let rests = vcpu.on_cpu.load(SeqCst) == u32::MAX;
        let next = vcpu.timers.next(is_running);
        if (is_running || rests)
            && let Some(at) = next
        {
            let _ = vcpu.timers.enter_queue(here, next);
            let at = Nanos(at.0.max(now.0 + 1));
            let _ = QUEUES[index()].lock().add(id, at);
        }
    }
    program();
}
