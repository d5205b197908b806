//! Asking other CPUs to forget TLB entries.
//!
//! All requests of the machine are numbered. The asker takes a number, writes it to every target (the highest stays),
//! sends interrupts, and waits until each target has done at least that number. A target that flushed for a higher number
//! did so after ours was taken, so it has forgotten what we meant. Because a target may itself wait with interrupts off,
//! whoever waits, here or for a lock, serves requests meanwhile.

use core::sync::atomic::{
    AtomicU64,
    Ordering::{Acquire, Relaxed, Release, SeqCst},
};

use rexen_core::units::{CpuId, CpuMask, MAX_CPUS};

use crate::cpu::{self, regs};
use crate::irq::{self, apic, vector};

/// Numbers of one kind of request to one CPU.
struct Queue {
    wanted: AtomicU64,
    done: AtomicU64,
}

impl Queue {
    const fn new() -> Self {
        Queue {
            wanted: AtomicU64::new(0),
            done: AtomicU64::new(0),
        }
    }

    /// The number to be served, if something is to be done. Acquire: what the asker changed before is seen.
    #[inline]
    fn waiting(&self) -> Option<u64> {
        let wanted = self.wanted.load(Acquire);
        (wanted != self.done.load(Relaxed)).then_some(wanted)
    }
}

#[repr(align(64))]
struct Requests {
    local: Queue,
    global: Queue,
}

static REQUESTS: [Requests; MAX_CPUS] = [const {
    Requests {
        local: Queue::new(),
        global: Queue::new(),
    }
}; MAX_CPUS];

/// The number of the latest request.
static LATEST: AtomicU64 = AtomicU64::new(0);

/// Counts flushes of all CPUs: a stamp taken from it tells later whether a CPU has flushed since.
static CLOCK: AtomicU64 = AtomicU64::new(1);
/// The clock at each CPU's last flush of everything, read before that flush began.
static FLUSHED: [AtomicU64; MAX_CPUS] = [const { AtomicU64::new(0) }; MAX_CPUS];

/// The clock now.
#[inline]
pub fn stamp() -> u64 {
    CLOCK.load(SeqCst)
}

/// The current CPU is about to forget every translation, global ones too.
#[inline]
pub fn note() {
    let now = CLOCK.fetch_add(1, SeqCst) + 1;
    FLUSHED[cpu::this_cpu().0 as usize % MAX_CPUS].store(now, SeqCst);
}

/// Whether `cpu` has forgotten everything that it knew when the clock showed `stamp`.
#[inline]
pub fn has_flushed_since(cpu: CpuId, stamp: u64) -> bool {
    FLUSHED[cpu.0 as usize % MAX_CPUS].load(SeqCst) > stamp
}

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
        Flush::Global => {
            note();
            regs::flush_tlb_global();
        }
    }
}

fn requests(cpu: CpuId) -> &'static Requests {
    &REQUESTS[cpu.0 as usize % MAX_CPUS]
}

/// Does what other CPUs have asked of the current one. Cheap when there is nothing.
#[inline]
pub fn serve() {
    let r = requests(cpu::this_cpu());
    if let Some(number) = r.global.waiting() {
        flush_this(Flush::Global);
        r.global.done.store(number, Release);
    }
    if let Some(number) = r.local.waiting() {
        flush_this(Flush::Local);
        r.local.done.store(number, Release);
    }
    if super::shutdown::must_halt() {
        cpu::halt_forever();
    }
}

/// Flushes the TLBs of `cpus`, the current one included if it is a member, and returns when all have done so.
///
/// # Locking
/// A target that waits for a lock of `rexen_core::sync` serves the request there, so any such lock may be held.
pub fn flush_tlb(cpus: CpuMask, what: Flush) {
    let this = cpu::this_cpu();
    if cpus.contains(this) {
        flush_this(what);
    }
    let others = CpuMask(cpus.without(this).0 & super::online().0);
    if others.is_empty() {
        return;
    }
    let queue = |cpu: CpuId| match what {
        Flush::Local => &requests(cpu).local,
        Flush::Global => &requests(cpu).global,
    };
    let number = LATEST.fetch_add(1, SeqCst) + 1;
    for cpu in super::members(others) {
        queue(cpu).wanted.fetch_max(number, SeqCst);
        apic::send_ipi(cpu, vector::TLB_FLUSH);
    }
    for cpu in super::members(others) {
        while queue(cpu).done.load(Acquire) < number {
            serve();
            core::hint::spin_loop();
        }
    }
}
