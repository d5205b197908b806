//! Attack: vcpus started, stopped, placed and interrupted in every wrong order (pv-abi 13; XSA-296, 327, 344, 454).
//! Trigger: vcpu_op of every number on every vcpu; vcpus going up and down while others send them events; areas for vcpu_info,
//! runstate and time in the hypervisor, in tables, in pages that become tables; timers with no period.
//! Expectation: errors, and vcpus that still start when all is over. Harmless to Xen. Needs four vcpus.
#![no_std]
#![no_main]

use core::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use rexen_guests::{abi, check, check_eq, event, guest, hypercall, memory, refused, smp};

guest!("hostile_vcpus", main);

const INITIALISE: u64 = 0;
const UP: u64 = 1;
const DOWN: u64 = 2;
const VCPUS: u32 = 4;

static RUNS: [AtomicU64; VCPUS as usize] = [const { AtomicU64::new(0) }; VCPUS as usize];
static PORT: AtomicU64 = AtomicU64::new(0);
static IS_OVER: AtomicBool = AtomicBool::new(false);

fn op(cmd: u64, vcpu: u64, argument: u64) -> i64 {
    hypercall::call(abi::VCPU_OP, [cmd, vcpu, argument])
}

/// What the other vcpus do: count, send, stop one another, and go on.
extern "C" fn work(given: u64) {
    let number = u64::from(smp::argument(given));
    let mut port = [0u32];
    while !IS_OVER.load(SeqCst) {
        RUNS[number as usize].fetch_add(1, SeqCst);
        port[0] = PORT.load(SeqCst) as u32;
        hypercall::call(abi::EVENT_CHANNEL_OP, [4, hypercall::pointer(&mut port)]);
        let other = 1 + RUNS[number as usize].load(SeqCst) % u64::from(VCPUS - 1);
        if other != number {
            op(DOWN, other, 0);
            op(UP, other, 0);
        }
        // Itself, now and then: vcpu 0 wakes it.
        if RUNS[number as usize].load(SeqCst).is_multiple_of(64) {
            op(DOWN, number, 0);
        }
    }
}

fn main() {
    event::shared_info();
    bad_calls();
    areas();
    timers();
    storm();
}

fn bad_calls() {
    for vcpu in [u64::from(VCPUS), 31, 32, 127, 128, 8191, 8192, 0xffff_ffff] {
        for cmd in 0..16 {
            refused!(
                op(cmd, vcpu, hypercall::pointer(&mut [0u64; 16])),
                "vcpu_op {cmd} on vcpu {vcpu}"
            );
        }
    }
    for cmd in [8, 12, 14, 15, 99, 0xffff_ffff] {
        for vcpu in [0, 1] {
            refused!(op(cmd, vcpu, 0), "vcpu_op {cmd} on vcpu {vcpu}");
        }
    }
    for vcpu in 1..u64::from(VCPUS) {
        refused!(
            op(UP, vcpu, 0),
            "starting vcpu {vcpu} before it is initialised"
        );
        for address in [0x1234_5000, abi::HYPERVISOR_VIRT_START, 1 << 47, !0 - 100] {
            refused!(
                op(INITIALISE, vcpu, address),
                "vcpu {vcpu} with its context at {address:#x}"
            );
        }
    }
    for address in [
        0x1234_5000,
        abi::HYPERVISOR_VIRT_START,
        abi::MACH2PHYS_VIRT_START,
        1 << 47,
    ] {
        refused!(op(4, 0, address), "runstate to {address:#x}");
    }
}

fn areas() {
    let table = memory::new_page();
    memory::seal(table);
    check_eq!(memory::pin(table, 1), 0, "pinning");
    // A runstate area or a time area anywhere: the hypervisor may take it, but must not write where the guest cannot.
    for address in [
        abi::HYPERVISOR_VIRT_START,
        abi::MACH2PHYS_VIRT_START,
        1 << 47,
        0x1234_5000,
        table,
        table + 4090,
        !0 - 7,
    ] {
        for cmd in [5, 13] {
            let mut argument = [address];
            op(cmd, 0, hypercall::pointer(&mut argument));
            for _ in 0..20 {
                hypercall::call(abi::SCHED_OP, [abi::SCHEDOP_YIELD, 0]);
            }
        }
    }
    for word in 0..512 {
        let value = memory::read(table + word * 8);
        if value != 0 {
            check_eq!(value, 0, "word {word} of a table that was given as an area");
        }
    }
    // An area that becomes a table afterwards.
    let later = memory::new_page();
    let mut argument = [later];
    check_eq!(
        op(5, 0, hypercall::pointer(&mut argument)),
        0,
        "a runstate area"
    );
    memory::clear(later);
    memory::seal(later);
    if memory::pin(later, 1) == 0 {
        for _ in 0..20 {
            hypercall::call(abi::SCHED_OP, [abi::SCHEDOP_YIELD, 0]);
        }
        check_eq!(
            memory::read(later + 8),
            0,
            "a table that was a runstate area"
        );
        check_eq!(memory::unpin(later), 0, "unpinning");
    }
    argument = [0x1234_5000];
    op(5, 0, hypercall::pointer(&mut argument));
    check_eq!(memory::unpin(table), 0, "unpinning");
    // vcpu_info: bad places; a good one, that then cannot be a table.
    let page = memory::new_page();
    for (mfn, offset) in [
        (memory::mfn_of(page), 4096 - 32),
        (memory::mfn_of(page), 0xffff_fff8),
        (memory::mfn_of(page), 4),
        (0, 0),
        (1 << 40, 0),
    ] {
        let mut argument = [mfn, offset];
        refused!(
            op(10, 1, hypercall::pointer(&mut argument)),
            "vcpu_info at {mfn:#x}+{offset:#x}"
        );
    }
    let mut argument = [memory::mfn_of(page), 64];
    check_eq!(
        op(10, 1, hypercall::pointer(&mut argument)),
        0,
        "vcpu_info of vcpu 1"
    );
    memory::seal(page);
    for level in 1..=4 {
        refused!(
            memory::pin(page, level),
            "a table of level {level} in its page"
        );
    }
    check_eq!(memory::set_writable(page, true), 0, "the page, writable");
}

fn timers() {
    for period in [0, 1, 999_999, 1 << 62, u64::MAX] {
        let mut argument = [period];
        refused!(
            op(6, 0, hypercall::pointer(&mut argument)),
            "a period of {period} ns"
        );
    }
    for deadline in [0, 1, 1 << 62, u64::MAX] {
        for flags in [0u64, 1, u64::MAX] {
            let mut argument = [deadline, flags];
            op(8, 0, hypercall::pointer(&mut argument));
            hypercall::call(abi::SET_TIMER_OP, [deadline]);
        }
    }
    for _ in 0..5000 {
        hypercall::call(abi::SET_TIMER_OP, [1]);
    }
    hypercall::call(abi::SET_TIMER_OP, [0]);
}

fn storm() {
    let port = event::bind_ipi(1).unwrap_or(0);
    event::set_port_mask(port, false);
    PORT.store(u64::from(port), SeqCst);
    for vcpu in 1..VCPUS {
        check_eq!(smp::start(vcpu, work, vcpu), 0, "starting vcpu {vcpu}");
    }
    for round in 0..500u32 {
        let vcpu = u64::from(1 + round % (VCPUS - 1));
        op(DOWN, vcpu, 0);
        // Bind the port anew, under those who send to it.
        event::op(8, &mut [port, vcpu as u32]);
        op(UP, vcpu, 0);
        op(3, vcpu, 0);
        let mut runstate = [0u64; 6];
        op(4, vcpu, hypercall::pointer(&mut runstate));
        hypercall::call(abi::SCHED_OP, [abi::SCHEDOP_YIELD, 0]);
    }
    for vcpu in 1..VCPUS {
        let start = RUNS[vcpu as usize].load(SeqCst);
        let mut runs = start;
        for _ in 0..200_000 {
            op(UP, u64::from(vcpu), 0);
            runs = RUNS[vcpu as usize].load(SeqCst);
            if runs > start {
                break;
            }
            hypercall::call(abi::SCHED_OP, [abi::SCHEDOP_YIELD, 0]);
        }
        check!(runs > start, "vcpu {vcpu} runs after the storm");
    }
    IS_OVER.store(true, SeqCst);
}
