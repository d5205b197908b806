//! Behaviour: long hypercalls can be interrupted and go on by themselves (pv-abi 2.3).
//! Trigger: thousands of requests in one call while a timer fires again and again.
//! Expectation: every request is done once, counts are right, and events arrive meanwhile.
#![no_std]
#![no_main]

use rexen_guests::{abi, check, check_eq, event, guest, hypercall, lone::Lone, memory, trap};

guest!("long_operations", main);

const REQUESTS: usize = 20_000;

static LIST: Lone<[u64; REQUESTS * 2]> = Lone::new([0; REQUESTS * 2]);
/// How often to ask for another timer event.
static LEFT: Lone<u32> = Lone::new(0);

fn arm() {
    // A deadline in the past: at once, and so in the middle of whatever runs.
    hypercall::call(abi::SET_TIMER_OP, [1]);
}

fn rearm(frame: &mut trap::Frame) -> bool {
    if frame.vector == trap::EVENT && LEFT.get() > 0 {
        LEFT.set(LEFT.get() - 1);
        event::clear_pending(PORT.get());
        arm();
    }
    false
}

static PORT: Lone<u32> = Lone::new(0);

fn main() {
    let Ok(port) = event::bind_virq(0, 0) else {
        check!(false, "bind VIRQ_TIMER");
        return;
    };
    PORT.set(port);
    hypercall::call(abi::VCPU_OP, [7, 0, 0]);
    event::set_port_mask(port, false);
    trap::set_hook(Some(rearm));
    mmu_updates();
    flushes();
    pins();
    trap::set_hook(None);
    event::set_upcall_mask(1);
}

/// Runs `code` with events open and the timer firing 20 times.
fn under_fire<T>(code: impl FnOnce() -> T) -> T {
    let before = event::upcalls();
    LEFT.set(20);
    event::set_upcall_mask(0);
    arm();
    let result = code();
    event::set_upcall_mask(1);
    check!(event::upcalls() > before, "no event came");
    event::clear_pending(PORT.get());
    result
}

fn mmu_updates() {
    let page = memory::new_page();
    let entry = memory::maddr_of(memory::entry_address(page, 1).unwrap_or(0));
    for index in 0..REQUESTS as u64 {
        // Every second request changes the rights; the last one leaves the page read-only.
        memory::write(LIST.address() + index * 16, entry);
        memory::write(
            LIST.address() + index * 16 + 8,
            memory::own_pte(page, index % 2 == 0),
        );
    }
    let mut done = 0u32;
    let result = under_fire(|| {
        let list = [
            LIST.address(),
            REQUESTS as u64,
            hypercall::pointer(&mut done),
            abi::DOMID_SELF,
        ];
        hypercall::call(abi::MMU_UPDATE, list)
    });
    check_eq!((result, done as usize), (0, REQUESTS), "many updates");
    check_eq!(
        memory::pte_of(page) & abi::PTE_RW,
        0,
        "the last update counts"
    );
    // One bad request far in: exactly those before it are done.
    memory::write(
        LIST.address() + 15_000 * 16 + 8,
        memory::own_pte(page, true) | 1 << 51,
    );
    let result = under_fire(|| {
        let list = [
            LIST.address(),
            REQUESTS as u64,
            hypercall::pointer(&mut done),
            abi::DOMID_SELF,
        ];
        hypercall::call(abi::MMU_UPDATE, list)
    });
    check_eq!(
        (result, done),
        (abi::EPERM, 15_000),
        "the 15001st update is bad"
    );
}

fn flushes() {
    const OPS: usize = 10_000;
    for index in 0..OPS as u64 {
        memory::write(
            LIST.address() + index * 24,
            u64::from(abi::MMUEXT_TLB_FLUSH_LOCAL),
        );
    }
    let mut done = 0u32;
    let result = under_fire(|| {
        let list = [
            LIST.address(),
            OPS as u64,
            hypercall::pointer(&mut done),
            abi::DOMID_SELF,
        ];
        hypercall::call(abi::MMUEXT_OP, list)
    });
    check_eq!((result, done as usize), (0, OPS), "many flushes");
}

/// Full tables: each pin and unpin looks at 512 entries.
fn pins() {
    let [table, page] = [memory::new_page(), memory::new_page()];
    for index in 0..512 {
        memory::write(table + index * 8, memory::own_pte(page, true));
    }
    memory::seal(table);
    let mfn = memory::mfn_of(table);
    let failures = under_fire(|| {
        let mut failures = 0;
        for _ in 0..200 {
            failures += u32::from(hypercall::mmuext(abi::MMUEXT_PIN_L1_TABLE, mfn, 0) != 0);
            failures += u32::from(hypercall::mmuext(abi::MMUEXT_UNPIN_TABLE, mfn, 0) != 0);
        }
        failures
    });
    check_eq!(failures, 0, "pins and unpins that failed");
    check_eq!(
        memory::set_writable(table, true),
        0,
        "nothing holds the table"
    );
}
