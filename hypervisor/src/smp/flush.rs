//! Asking other CPUs to forget TLB entries.
//!
//! Each CPU has a ticket counter of requests and one of what it has done. The asker takes a ticket on every target,
//! sends interrupts, and waits until each target has done at least that ticket. Because a target may itself wait with
//! interrupts off, whoever waits, here or for a lock, serves requests meanwhile.

use core::sync::atomic::{
    AtomicBool, AtomicU64,
    Ordering::{Acquire, Relaxed, Release, SeqCst},
};

use rexen_core::units::{CpuId, CpuMask, MAX_CPUS};

use crate::cpu::{self, regs};
use crate::irq::{self, apic, vector};

#[repr(align(64))]
struct Requests {
    wanted: AtomicU64,
    done: AtomicU64,
    /// Some request since the last service wants global entries forgotten too.
    global: AtomicBool,
}

static REQUESTS: [Requests; MAX_CPUS] = [const {
    Requests {
        wanted: AtomicU64::new(0),
        done: AtomicU64::new(0),
        global: AtomicBool::new(false),
    }
}; MAX_CPUS];

/// What to forget.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Flush {
    /// Every translation but global ones.
    Local,
    /// Every translation.
    Global,
}

/// Makes waiting CPUs serve requests, and sets the interrupt's handler.
pub fn init() {
    rexen_core::sync::set_relax_hook(serve);
    irq::set_handler(vector::TLB_FLUSH, |_| {
        apic::eoi();
        serve();
    });
}

fn flush_this(what: Flush) {
    match what {
        Flush::Local => regs::flush_tlb(),
        Flush::Global => regs::flush_tlb_global(),
    }
}

/// Does what other CPUs have asked of the current one. Cheap when there is nothing.
#[inline]
pub fn serve() {
    let requests = &REQUESTS[cpu::this_cpu().0 as usize % MAX_CPUS];
    if requests.wanted.load(Relaxed) != requests.done.load(Relaxed) {
        serve_slow(requests);
    }
    if super::shutdown::must_halt() {
        cpu::halt_forever();
    }
}

#[cold]
fn serve_slow(requests: &Requests) {
    // Acquire pairs with the asker's release of its page-table change and of `global`.
    let wanted = requests.wanted.load(Acquire);
    let global = requests.global.swap(false, SeqCst);
    flush_this(if global { Flush::Global } else { Flush::Local });
    requests.done.store(wanted, Release);
}

/// Flushes the TLBs of `cpus`, the current one included if it is a member, and returns when all have done so.
pub fn flush_tlb(cpus: CpuMask, what: Flush) {
    let this = cpu::this_cpu();
    let others = CpuMask(cpus.without(this).0 & super::online().0);
    if cpus.contains(this) {
        flush_this(what);
    }
    if others.is_empty() {
        return;
    }
    let mut tickets = [0u64; MAX_CPUS];
    for cpu in others.iter() {
        let requests = &REQUESTS[index(cpu)];
        if what == Flush::Global {
            requests.global.store(true, SeqCst);
        }
        tickets[index(cpu)] = requests.wanted.fetch_add(1, SeqCst) + 1;
        apic::send_ipi(cpu, vector::TLB_FLUSH);
    }
    for cpu in others.iter() {
        while REQUESTS[index(cpu)].done.load(Acquire) < tickets[index(cpu)] {
            serve();
            core::hint::spin_loop();
        }
    }
}

fn index(cpu: CpuId) -> usize {
    cpu.0 as usize % MAX_CPUS
}
