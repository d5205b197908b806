//! Attack: one frame as two things at once: a superpage, a writable page table, a table of two levels, a GDT
//! (pv-abi 13; XSA-37, 109, 148, 167, 182, 401).
//! Trigger: entries with PSE at every level, on every path; pages that are writable, pinned as tables; tables mapped writable.
//! Expectation: all refused, and no refusal leaves a type or a count behind. Harmless to Xen.
#![no_std]
#![no_main]

use rexen_guests::{abi, check, check_eq, event, guest, hypercall, memory, refused, trap};

guest!("hostile_page_types", main);

const RIGHTS: u64 = abi::PTE_P | abi::PTE_RW | abi::PTE_US | abi::PTE_A;
/// An address whose entry at each level is not used.
const FREE: [u64; 3] = [
    abi::VIRT_BASE + 0x3f00_0000,
    abi::VIRT_BASE + 0x4000_0000,
    0x1000_0000_0000,
];

fn frame(page: u64) -> u64 {
    memory::mfn_of(page) * memory::PAGE
}

/// Whether a page can be mapped writable: then nobody holds it as a table any more.
fn demand_plain(page: u64, after: &str) {
    check_eq!(
        memory::set_writable(page, true),
        0,
        "mapping the page writable after {after}"
    );
}

fn main() {
    event::shared_info();
    superpages_by_update();
    superpages_by_pin();
    hypervisor_slots();
    two_types();
    tables_as_other_things();
}

fn superpages_by_update() {
    let page = memory::new_page();
    for (level, va) in (2..=4).zip(FREE) {
        let slot = memory::entry_address(va, level).unwrap_or(0);
        check_eq!(memory::read(slot), 0, "the free entry of level {level}");
        for bits in [
            abi::PTE_P | abi::PTE_PSE,
            RIGHTS | abi::PTE_PSE,
            RIGHTS | abi::PTE_PSE | abi::PTE_G | 0x40,
            RIGHTS | abi::PTE_PSE | 1 << 12 | abi::PTE_NX,
        ] {
            refused!(
                memory::set_entry(slot, frame(page) | bits),
                "a superpage {bits:#x} at level {level}"
            );
            // PRESERVE_AD is another path to the same entry.
            refused!(
                hypercall::mmu_update(memory::maddr_of(slot) | 2, frame(page) | bits),
                "the same, keeping A and D"
            );
        }
        // The same frame with rights changed only is the fast path.
        let used = memory::entry_address(page, level).unwrap_or(0);
        let old = memory::read(used);
        refused!(
            memory::set_entry(used, old | abi::PTE_PSE),
            "PSE added to an entry of level {level}"
        );
        check_eq!(
            memory::read(used) & !0x60,
            old & !0x60,
            "the entry of level {level}"
        );
        let stored = trap::catch(|| memory::write(used, old | abi::PTE_PSE));
        check_eq!(
            stored.map(|frame| frame.vector),
            Some(trap::PF),
            "a store to a table of level {level}"
        );
    }
    demand_plain(page, "superpage entries");
}

fn superpages_by_pin() {
    let [table, page] = [memory::new_page(), memory::new_page()];
    for level in 2..=4 {
        for index in [0, 7, 255] {
            memory::clear(table);
            memory::write(table + index * 8, frame(page) | RIGHTS | abi::PTE_PSE);
            memory::seal(table);
            refused!(
                memory::pin(table, level),
                "pinning a table of level {level} with a superpage"
            );
            demand_plain(table, "a pin refused");
        }
    }
    demand_plain(page, "pins refused");
}

/// The L4 entries that are the hypervisor's.
fn hypervisor_slots() {
    let page = memory::new_page();
    let l4 = rexen_guests::entry::start_info().pt_base;
    for index in 256..272 {
        let old = memory::read(l4 + index * 8);
        refused!(
            memory::set_entry(l4 + index * 8, frame(page) | RIGHTS),
            "L4 entry {index}"
        );
        refused!(
            memory::set_entry(l4 + index * 8, 0),
            "clearing L4 entry {index}"
        );
        refused!(
            memory::set_entry(l4 + index * 8, old | abi::PTE_US | abi::PTE_RW),
            "more rights in L4 entry {index}"
        );
    }
    demand_plain(page, "L4 entries");
}

fn two_types() {
    let page = memory::new_page();
    for level in 1..=4 {
        refused!(
            memory::pin(page, level),
            "pinning a writable page at level {level}"
        );
    }
    for level in 1..=4 {
        memory::clear(page);
        memory::seal(page);
        check_eq!(
            memory::pin(page, level),
            0,
            "pinning an empty table at level {level}"
        );
        for other in 1..=4 {
            refused!(memory::pin(page, other), "pinning it at level {other} too");
        }
        refused!(
            memory::set_writable(page, true),
            "mapping the table of level {level} writable"
        );
        let slot = memory::maddr_of(memory::entry_address(page, 1).unwrap_or(0));
        for bits in [RIGHTS, RIGHTS | abi::PTE_NX, RIGHTS | abi::PTE_G | 0x40] {
            refused!(
                hypercall::mmu_update(slot, frame(page) | bits),
                "the same by mmu_update"
            );
            refused!(
                hypercall::mmu_update(slot | 2, frame(page) | bits),
                "the same, keeping A and D"
            );
        }
        let stored = trap::catch(|| memory::write(page + 8, RIGHTS | abi::PTE_PSE | frame(page)));
        check!(
            stored.is_some_and(|frame| matches!(frame.vector, trap::PF | trap::GP)),
            "a store of a writable self-reference to a table of level {level}: {:?}",
            stored.map(|frame| frame.vector)
        );
        refused!(
            hypercall::mmuext(abi::MMUEXT_CLEAR_PAGE, memory::mfn_of(page), 0),
            "CLEAR_PAGE of a table"
        );
        let source = memory::mfn_of(abi::VIRT_BASE + 0x10_0000);
        refused!(
            hypercall::mmuext(abi::MMUEXT_COPY_PAGE, memory::mfn_of(page), source),
            "COPY_PAGE to a table"
        );
        check_eq!(memory::read(page + 8), 0, "the table is as before");
        check_eq!(memory::unpin(page), 0, "unpinning");
        demand_plain(page, "its time as a table");
    }
}

fn tables_as_other_things() {
    let page = memory::new_page();
    memory::seal(page);
    check_eq!(memory::pin(page, 1), 0, "pinning");
    let mfn = memory::mfn_of(page);
    let mut frames = [mfn; 16];
    refused!(
        hypercall::call(abi::SET_GDT, [hypercall::pointer(&mut frames), 512]),
        "a table as GDT"
    );
    let mut place = [mfn, 0];
    refused!(
        hypercall::call(abi::VCPU_OP, [10, 0, hypercall::pointer(&mut place)]),
        "vcpu_info in a table"
    );
    let mut control = [mfn, 0, 0];
    refused!(
        hypercall::call(
            abi::EVENT_CHANNEL_OP,
            [11, hypercall::pointer(&mut control)]
        ),
        "a FIFO control block in a table"
    );
    check_eq!(memory::unpin(page), 0, "unpinning");
    check_eq!(
        hypercall::call(abi::SET_GDT, [hypercall::pointer(&mut frames), 512]),
        0,
        "it is a GDT now"
    );
    for level in 1..=4 {
        refused!(memory::pin(page, level), "pinning a GDT at level {level}");
    }
    refused!(memory::set_writable(page, true), "mapping a GDT writable");
    check_eq!(
        hypercall::call(abi::SET_GDT, [hypercall::pointer(&mut frames), 0]),
        0,
        "no GDT"
    );
    demand_plain(page, "its time as a GDT");
}
