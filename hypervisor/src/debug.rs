//! What the debug keys of guests and scheduling print.

use alloc::vec::Vec;
use core::sync::atomic::{
    AtomicU64,
    Ordering::{Relaxed, SeqCst},
};

use rexen_core::domain::{Domain, Vcpu, VcpuFlags};
use rexen_core::frame::FrameType;
use rexen_core::hypercall::{self, Machine};
use rexen_core::pvmmu::{Mismatch, Root, check_world};
use rexen_core::units::{CpuId, CpuMask, VcpuId};

use crate::console::keys::register_key;
use crate::cpu::this_cpu;
use crate::guest::{current, exit, pirq, traps};
use crate::irq::{self, apic, vector};
use crate::machine::{self, HW};
use crate::mm::{heap, m2p};
use crate::{domain, println, smp, stretch};

/// Registers the keys.
pub fn register_keys() {
    irq::set_handler(vector::EVENT_CHECK, event_check);
    register_key(b'0', "show registers of all vcpus", registers);
    register_key(b'q', "show domains: memory, vcpus, event state", domains);
    register_key(b'r', "show run queues: which vcpu is where", run_queues);
    register_key(b'g', "show grant tables: entries that others use", grants);
    register_key(b'i', "show physical interrupts of domains", pirq::print);
    register_key(b'm', "show memory", memory);
    register_key(b'n', "send an NMI to every vcpu 0", nmi);
    stretch::register_key();
    register_key(b'D', "raise VIRQ_DEBUG in domain 0", debug_virq);
    register_key(
        b'C',
        "recount every frame's references (stop the guests first: it sees a moving world)",
        check,
    );
}

fn each(mut f: impl FnMut(&Domain, &Vcpu)) {
    for domain in domain::all() {
        for vcpu in &domain.vcpus {
            f(&domain, vcpu);
        }
    }
}

/// CPUs that are to print the vcpu they run.
static PRINT: AtomicU64 = AtomicU64::new(0);

/// The interrupt that makes a CPU look at its pending work: nothing more to do than to have come here, unless asked.
fn event_check(_: u8) {
    apic::eoi();
    let this = CpuMask::one(this_cpu()).0;
    if PRINT.fetch_and(!this, SeqCst) & this != 0 {
        print_running();
    }
}

fn print_running() {
    if let Some((domain, vcpu)) = current::current() {
        println!("d{}v{} on CPU {}:", domain.id.0, vcpu.id.0, this_cpu().0);
        current::with_guest_regs(|regs| traps::report(regs, domain, vcpu));
    }
}

fn registers() {
    each(|domain, vcpu| {
        let cpu = vcpu.on_cpu.load(SeqCst);
        println!(
            "d{}v{}: flags {:#x}",
            domain.id.0,
            vcpu.id.0,
            vcpu.flags.load(Relaxed)
        );
        if cpu == u32::MAX {
            let regs = vcpu.saved.lock().regs;
            println!(
                "  not running: rip {:#x} rsp {:#x} rflags {:#x}",
                regs.rip, regs.rsp, regs.rflags
            );
        } else if cpu == this_cpu().0 {
            print_running();
        } else {
            // Only that CPU knows them.
            PRINT.fetch_or(CpuMask::one(CpuId(cpu)).0, SeqCst);
            apic::send_ipi(CpuId(cpu), vector::EVENT_CHECK);
        }
    });
}

fn domains() {
    for domain in domain::all() {
        println!(
            "domain {}: {} pages of {}, shutdown {:#x}, assists {:#x}",
            domain.id.0,
            domain.tot_pages.load(Relaxed),
            domain.max_pages.load(Relaxed) as i64,
            domain.shutdown.load(Relaxed),
            domain.assists.load(Relaxed)
        );
        for vcpu in &domain.vcpus {
            println!(
                "  v{}: flags {:#x}, upcall pending {}, next timer {:?}, now {:?}",
                vcpu.id.0,
                vcpu.flags.load(Relaxed),
                domain.events.upcall_pending(&HW, vcpu.id),
                vcpu.timers.next(true),
                HW.now()
            );
        }
    }
}

fn grants() {
    for domain in domain::all() {
        let (frames, most) = domain.grants.size();
        println!(
            "grant table of domain {}: frames {frames} of {most}, entries in use {}",
            domain.id.0,
            domain.grants.nr_used()
        );
    }
}

fn run_queues() {
    let scheduler = machine::scheduler();
    println!("scheduler {}: {:?}", scheduler.name(), scheduler.tunables());
    // All sums for one point in time, before anything is printed, which takes long.
    let now = HW.now();
    let mut ran = 0;
    each(|_, vcpu| ran += vcpu.runstate.lock().at(now).time[0]);
    let cpus = || smp::members(smp::online());
    let idle: u64 = cpus().map(|cpu| exit::idle_time_at(cpu, now).0).sum();
    for domain in domain::all() {
        println!(
            "  domain {}: {:?}",
            domain.id.0,
            scheduler.params(domain.id)
        );
    }
    each(|domain, vcpu| {
        println!(
            "  d{}v{}: on CPU {}, last {:?}, ns {:?}",
            domain.id.0,
            vcpu.id.0,
            vcpu.on_cpu.load(Relaxed) as i32,
            scheduler.cpu_of(vcpu.sched).map(|cpu| cpu.0),
            vcpu.runstate.lock().at(now)
        );
    });
    for cpu in cpus() {
        let time = exit::idle_time_at(cpu, now).0;
        println!("  CPU {}: idle {time} ns", cpu.0);
    }
    // What is missing to the product is the time of domains that are no more, and of CPUs before they started.
    println!(
        "  now {} ns x {} CPUs; vcpus ran {ran} ns, CPUs idled {idle} ns",
        now.0,
        smp::nr_online()
    );
}

fn memory() {
    let memory = HW.memory();
    println!(
        "frames: {} of RAM, {} free ({} to be scrubbed, {} claimed), {} CPUs",
        HW.nr_ram_frames(),
        memory.free,
        memory.dirty,
        memory.claimed,
        smp::nr_online()
    );
    let heap = heap::usage();
    println!(
        "heap: {} kB in {} kB of spans for small things; {} frames of at most {} taken",
        heap.small >> 10,
        heap.spans >> 10,
        heap.frames,
        heap.limit
    );
    for domain in domain::all() {
        let span = domain.span.range();
        println!(
            "  d{}: {} frames of at most {}, {} claimed; all within {:#x}..{:#x}",
            domain.id.0,
            domain.tot_pages.load(Relaxed),
            domain.max_pages.load(Relaxed),
            domain.claim.pages(),
            span.start,
            span.end
        );
    }
}

fn nmi() {
    for domain in domain::all() {
        if let Some(vcpu) = domain.vcpu(VcpuId(0)) {
            vcpu.flags.fetch_or(VcpuFlags::NMI_PENDING, SeqCst);
            hypercall::wake_for_event(&HW, vcpu);
            machine::kick_vcpu_for(vcpu, exit::CHECK);
        }
    }
}

fn debug_virq() {
    if let Some(dom0) = HW.domain(rexen_core::units::DomId::DOM0) {
        hypercall::raise_virq(&HW, &dom0, VcpuId(0), rexen_core::evtchn::Virq::DEBUG);
    }
}

fn check() {
    // Guests may have taken all the memory there is.
    match recount() {
        Some(bad) => {
            for mismatch in bad.iter().take(20) {
                println!("check_world: {mismatch:?}");
            }
            println!("check_world: {} mismatches", bad.len());
        }
        None => {
            println!("check_world: page tables are being changed or memory is short, try again")
        }
    }
}

/// Nothing when it cannot be done just now.
fn recount() -> Option<Vec<Mismatch>> {
    let domains = domain::all();
    // Page tables stand still meanwhile. The key may have interrupted a call of this very CPU that holds such a lock, so do
    // not wait for it.
    let mut still = Vec::new();
    still.try_reserve_exact(domains.len()).ok()?;
    for domain in &domains {
        still.push(domain.mm.try_lock()?);
    }
    let mut nr_roots = m2p::published().count();
    for domain in &domains {
        domain.for_each_held_frame(|_| nr_roots += 1);
    }
    let mut roots = Vec::new();
    roots.try_reserve_exact(nr_roots).ok()?;
    for domain in &domains {
        domain.for_each_held_frame(|root| {
            // A grant that has come since they were counted is too late.
            if roots.len() < nr_roots {
                roots.push(root);
            }
        });
    }
    let published = m2p::published().map(|mfn| Root {
        mfn,
        as_type: Some(FrameType::Shared),
    });
    roots.extend(published.take(nr_roots - roots.len()));
    check_world(HW.frame_table(), &HW, roots)
}
