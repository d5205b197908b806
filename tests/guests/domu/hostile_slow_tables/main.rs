//! Attack: page tables that are slow to validate and to take down (pv-abi 13; XSA-45, 97, 290, 380).
//! Trigger: trees of all the guest's memory, pinned, loaded, unpinned and refused at the last entry while a timer fires;
//! long lists of updates and exchanges; the largest tree stays pinned when the guest ends.
//! Expectation: each goes on after every interruption and is right in the end; the timer is heard meanwhile. Harmless to Xen.
#![no_std]
#![no_main]

use rexen_guests::{
    abi, check, check_eq, clock, event, guest, hypercall, lone::Lone, memory, refused, trap,
};

guest!("hostile_slow_tables", main);

const RIGHTS: u64 = abi::PTE_P | abi::PTE_RW | abi::PTE_US | abi::PTE_A;
/// Tables of level 1.
const L1S: u64 = 1200;
const L2S: u64 = 3;

/// From one event to the next, shorter than what is interrupted.
const PERIOD_NS: u64 = 50_000;

/// How often to ask for another timer event, and its port.
static LEFT: Lone<u32> = Lone::new(0);
static PORT: Lone<u32> = Lone::new(0);

fn arm() {
    hypercall::call(abi::SET_TIMER_OP, [clock::now() + PERIOD_NS]);
}

fn rearm(frame: &mut trap::Frame) -> bool {
    if frame.vector == trap::EVENT && LEFT.get() > 0 {
        LEFT.set(LEFT.get() - 1);
        event::clear_pending(PORT.get());
        arm();
    }
    false
}

/// Runs `code` while the timer fires up to 30 times.
fn under_fire<T>(what: &str, code: impl FnOnce() -> T) -> T {
    let before = event::upcalls();
    LEFT.set(30);
    event::set_upcall_mask(0);
    arm();
    let result = code();
    event::set_upcall_mask(1);
    check!(event::upcalls() > before, "no event came during {what}");
    event::clear_pending(PORT.get());
    result
}

fn frame(page: u64) -> u64 {
    memory::mfn_of(page) * memory::PAGE
}

fn spare(index: u64) -> u64 {
    memory::spare_page(index).unwrap_or(0)
}

fn main() {
    event::shared_info();
    let Ok(port) = event::bind_virq(0, 0) else {
        check!(false, "bind VIRQ_TIMER");
        return;
    };
    PORT.set(port);
    hypercall::call(abi::VCPU_OP, [7, 0, 0]);
    event::set_port_mask(port, false);
    trap::set_hook(Some(rearm));
    let [l4, l3] = [memory::new_page(), memory::new_page()];
    build(l4, l3);
    for round in 0..2 {
        check_eq!(
            under_fire("pin", || memory::pin(l4, 4)),
            0,
            "round {round}: pinning the tree"
        );
        check_eq!(
            under_fire("unpin", || memory::unpin(l4)),
            0,
            "round {round}: unpinning it"
        );
        check_eq!(
            under_fire("load", || load_user(memory::mfn_of(l4))),
            0,
            "round {round}: loading it"
        );
        check_eq!(
            under_fire("unload", || load_user(0)),
            0,
            "round {round}: loading none"
        );
    }
    refused_at_the_end(l4, l3);
    linked_and_unlinked(l3);
    // It stays, for the destruction of this domain to take down.
    check_eq!(memory::pin(l4, 4), 0, "pinning the tree for good");
    trap::set_hook(None);
}

fn load_user(mfn: u64) -> i64 {
    hypercall::mmuext(abi::MMUEXT_NEW_USER_BASEPTR, mfn, 0)
}

/// L1s full of entries, each in many L2 entries; 1200 * 512 entries to look at.
fn build(l4: u64, l3: u64) {
    let targets: [u64; 8] = core::array::from_fn(|_| memory::new_page());
    for index in 0..L1S {
        let target = targets[index as usize % targets.len()];
        for entry in 0..512 {
            memory::write(spare(index) + entry * 8, frame(target) | RIGHTS);
        }
        memory::seal(spare(index));
    }
    for index in 0..L2S {
        let l2 = spare(L1S + index);
        for entry in 0..512 {
            memory::write(
                l2 + entry * 8,
                frame(spare((index * 400 + entry) % L1S)) | RIGHTS,
            );
        }
        memory::seal(l2);
    }
    for entry in 0..512 {
        memory::write(l3 + entry * 8, frame(spare(L1S + entry % L2S)) | RIGHTS);
    }
    memory::seal(l3);
    for entry in (0..256).chain(272..511) {
        memory::write(l4 + entry * 8, frame(l3) | RIGHTS);
    }
    memory::seal(l4);
}

/// A tree whose last entry is bad: all that was done must be undone.
fn refused_at_the_end(l4: u64, l3: u64) {
    let bad = spare(L1S - 1);
    check_eq!(memory::set_writable(bad, true), 0, "the last L1, writable");
    for round in 0..2 {
        let result = under_fire("a refused pin", || memory::pin(l4, 4));
        refused!(result, "round {round}: a tree with a writable table");
    }
    for page in [l4, l3, spare(0), spare(L1S)] {
        check_eq!(
            memory::set_writable(page, true),
            0,
            "a page of the refused tree, writable"
        );
        check_eq!(memory::set_writable(page, false), 0, "read-only again");
    }
    check_eq!(
        memory::set_writable(bad, false),
        0,
        "the last L1, read-only"
    );
}

/// The tree below one entry of the running L4, put there and taken away by an update.
fn linked_and_unlinked(l3: u64) {
    let slot = memory::entry_address(0x1000_0000_0000, 4).unwrap_or(0);
    for round in 0..2 {
        let linked = under_fire("link", || memory::set_entry(slot, frame(l3) | RIGHTS));
        check_eq!(linked, 0, "round {round}: linking");
        check_eq!(
            under_fire("unlink", || memory::set_entry(slot, 0)),
            0,
            "round {round}: unlinking"
        );
    }
}
