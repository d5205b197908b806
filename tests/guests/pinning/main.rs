//! Behaviour: pinning and unpinning page tables, and what holds a page's type (pv-abi 4.2, 4.5).
//! Trigger: mmuext_op pins of good and bad tables in every order.
//! Expectation: a type lasts as long as anything holds it, and bad tables are refused whole.
#![no_std]
#![no_main]

use rexen_guests::{abi, check_eq, guest, hypercall, memory, trap};

guest!("pinning", main);

const RIGHTS: u64 = abi::PTE_P | abi::PTE_RW | abi::PTE_US | abi::PTE_A;

fn pin(table: u64, level: u32) -> i64 {
    hypercall::mmuext(
        abi::MMUEXT_PIN_L1_TABLE + level - 1,
        memory::mfn_of(table),
        0,
    )
}

fn unpin(table: u64) -> i64 {
    hypercall::mmuext(abi::MMUEXT_UNPIN_TABLE, memory::mfn_of(table), 0)
}

fn link(table: u64, index: u64, page: u64) {
    memory::write(
        table + index * 8,
        (memory::mfn_of(page) * memory::PAGE) | RIGHTS,
    );
}

fn main() {
    one_table();
    bad_tables();
    a_whole_tree();
    foreign_and_base_pointers();
}

fn one_table() {
    let (table, page) = (memory::new_page(), memory::new_page());
    link(table, 5, page);
    check_eq!(
        pin(table, 1),
        abi::EINVAL,
        "pinning a page that is mapped writable"
    );
    memory::seal(table);
    check_eq!(unpin(table), abi::EINVAL, "unpinning what is not pinned");
    check_eq!(pin(table, 1), 0, "pinning an L1");
    check_eq!(pin(table, 1), abi::EINVAL, "pinning it twice");
    check_eq!(pin(table, 2), abi::EINVAL, "pinning it as an L2 too");
    check_eq!(
        memory::set_writable(table, true),
        abi::EBUSY,
        "mapping a pinned table writable"
    );
    check_eq!(
        memory::set_writable(table, false),
        0,
        "mapping a pinned table read-only again"
    );
    check_eq!(
        memory::set_writable(page, false),
        0,
        "the page in the table, read-only"
    );
    check_eq!(
        pin(page, 1),
        abi::EINVAL,
        "pinning a page that a table maps writable"
    );
    check_eq!(memory::set_writable(page, true), 0, "the page, writable");
    check_eq!(unpin(table), 0, "unpinning");
    check_eq!(unpin(table), abi::EINVAL, "unpinning twice");
    check_eq!(
        memory::set_writable(table, true),
        0,
        "an unpinned table becomes writable"
    );
    let seen = trap::catch(|| memory::write(table, 0));
    check_eq!(seen.map(|f| f.vector), None, "writing what was a table");
    // The references of its entries are gone with it.
    check_eq!(memory::set_writable(page, false), 0, "the page, read-only");
    check_eq!(pin(page, 1), 0, "an empty L1");
    check_eq!(unpin(page), 0, "unpinning the empty L1");
}

fn bad_tables() {
    let (table, page) = (memory::new_page(), memory::new_page());
    let frame = memory::mfn_of(page) * memory::PAGE;
    let theirs = memory::read(rexen_guests::entry::start_info().pt_base + 261 * 8) & abi::PTE_FRAME;
    let own_table = memory::own_pte(memory::entry_address(page, 1).unwrap_or(0) & !4095, true);
    for (level, name, entry, error) in [
        (1, "frame bit 51", frame | RIGHTS | 1 << 51, abi::EPERM),
        (1, "the hypervisor's frame", theirs | RIGHTS, abi::EBUSY),
        (1, "a page table, writable", own_table, abi::EBUSY),
        (2, "a superpage", frame | RIGHTS | abi::PTE_PSE, abi::EINVAL),
        (2, "a writable page for an L1", frame | RIGHTS, abi::EINVAL),
        (3, "a writable page for an L2", frame | RIGHTS, abi::EINVAL),
        (4, "a writable page for an L3", frame | RIGHTS, abi::EINVAL),
    ] {
        memory::write(table + 8 * 100, frame | RIGHTS & !abi::PTE_P);
        memory::write(table + 8 * 200, entry);
        check_eq!(memory::set_writable(table, false), 0, "sealing");
        check_eq!(pin(table, level), error, "pinning an L{level} with {name}");
        // Refused whole: nothing holds the table or the page.
        check_eq!(
            memory::set_writable(table, true),
            0,
            "the refused table, writable: {name}"
        );
        memory::write(table + 8 * 200, 0);
    }
    // In an L1 the good entry before the bad one lets its page go again.
    link(table, 100, page);
    memory::write(table + 8 * 200, frame | RIGHTS | 1 << 51);
    check_eq!(memory::set_writable(table, false), 0, "sealing");
    check_eq!(
        pin(table, 1),
        abi::EPERM,
        "pinning an L1 with one good and one bad entry"
    );
    check_eq!(memory::set_writable(page, false), 0, "the page, read-only");
    check_eq!(pin(page, 1), 0, "nothing maps the page writable any more");
    check_eq!(unpin(page), 0, "unpinning");
}

fn a_whole_tree() {
    let [l4, l3, l2, l1, page]: [u64; 5] = core::array::from_fn(|_| memory::new_page());
    link(l1, 3, page);
    link(l2, 3, l1);
    link(l3, 3, l2);
    link(l4, 3, l3);
    // The hypervisor's slots are filled whatever the guest has there.
    memory::write(l4 + 261 * 8, (memory::mfn_of(page) * memory::PAGE) | RIGHTS);
    for table in [l4, l3, l2, l1] {
        memory::seal(table);
    }
    check_eq!(pin(l4, 4), 0, "pinning an L4");
    let theirs = memory::read(rexen_guests::entry::start_info().pt_base + 261 * 8);
    check_eq!(
        memory::read(l4 + 261 * 8) & abi::PTE_FRAME,
        theirs & abi::PTE_FRAME,
        "L4 slot 261 is the hypervisor's"
    );
    for (level, table) in [(1, l1), (2, l2), (3, l3)] {
        check_eq!(
            memory::set_writable(table, true),
            abi::EBUSY,
            "L{level} of a pinned tree, writable"
        );
        check_eq!(pin(table, level), 0, "pinning L{level} inside the tree");
    }
    check_eq!(unpin(l4), 0, "unpinning the L4");
    check_eq!(memory::set_writable(l4, true), 0, "the L4, writable");
    check_eq!(
        memory::set_writable(l3, true),
        abi::EBUSY,
        "the L3 is still pinned"
    );
    for (level, table) in [(3, l3), (2, l2), (1, l1)] {
        check_eq!(unpin(table), 0, "unpinning L{level}");
        check_eq!(memory::set_writable(table, true), 0, "L{level}, writable");
    }
    check_eq!(memory::set_writable(page, false), 0, "the page, read-only");
    check_eq!(pin(page, 1), 0, "the tree holds the page no longer");
    check_eq!(unpin(page), 0, "unpinning");
}

fn foreign_and_base_pointers() {
    let theirs = (memory::read(rexen_guests::entry::start_info().pt_base + 261 * 8)
        & abi::PTE_FRAME)
        / memory::PAGE;
    check_eq!(
        hypercall::mmuext(abi::MMUEXT_PIN_L4_TABLE, theirs, 0),
        abi::EINVAL,
        "pinning the hypervisor's table"
    );
    check_eq!(
        hypercall::mmuext(abi::MMUEXT_UNPIN_TABLE, theirs, 0),
        abi::EINVAL,
        "unpinning the hypervisor's table"
    );
    let far = 0xff_ffff_ffff;
    check_eq!(
        hypercall::mmuext(abi::MMUEXT_PIN_L1_TABLE, far, 0),
        abi::EINVAL,
        "pinning beyond all memory"
    );
    check_eq!(
        hypercall::mmuext(abi::MMUEXT_NEW_BASEPTR, far, 0),
        abi::EINVAL,
        "NEW_BASEPTR beyond all memory"
    );
    let page = memory::new_page();
    check_eq!(
        hypercall::mmuext(abi::MMUEXT_NEW_BASEPTR, memory::mfn_of(page), 0),
        abi::EINVAL,
        "NEW_BASEPTR to a writable page"
    );
    check_eq!(
        hypercall::mmuext(abi::MMUEXT_NEW_USER_BASEPTR, memory::mfn_of(page), 0),
        abi::EINVAL,
        "NEW_USER_BASEPTR to a writable page"
    );
    let l4 = memory::mfn_of(rexen_guests::entry::start_info().pt_base);
    check_eq!(
        hypercall::mmuext(abi::MMUEXT_NEW_BASEPTR, l4, 0),
        0,
        "NEW_BASEPTR to the current L4"
    );
    check_eq!(
        hypercall::mmuext(abi::MMUEXT_NEW_USER_BASEPTR, l4, 0),
        0,
        "NEW_USER_BASEPTR to the kernel's L4"
    );
    check_eq!(
        hypercall::mmuext(abi::MMUEXT_NEW_USER_BASEPTR, 0, 0),
        0,
        "no user page table"
    );
    check_eq!(hypercall::mmuext(14, 0, 0), abi::ENOSYS, "mmuext_op 14");
    check_eq!(hypercall::mmuext(99, 0, 0), abi::ENOSYS, "mmuext_op 99");
    // CLEAR_PAGE and COPY_PAGE need a page that may be written.
    memory::write(page, 0x55);
    let copy = memory::new_page();
    check_eq!(
        hypercall::mmuext(
            abi::MMUEXT_COPY_PAGE,
            memory::mfn_of(copy),
            memory::mfn_of(page)
        ),
        0,
        "COPY_PAGE"
    );
    check_eq!(memory::read(copy), 0x55, "the copy");
    check_eq!(
        hypercall::mmuext(abi::MMUEXT_CLEAR_PAGE, memory::mfn_of(page), 0),
        0,
        "CLEAR_PAGE"
    );
    check_eq!(memory::read(page), 0, "the cleared page");
    check_eq!(
        hypercall::mmuext(abi::MMUEXT_CLEAR_PAGE, l4, 0),
        abi::EINVAL,
        "CLEAR_PAGE of the L4"
    );
    check_eq!(
        hypercall::mmuext(abi::MMUEXT_COPY_PAGE, l4, memory::mfn_of(copy)),
        abi::EINVAL,
        "COPY_PAGE onto the L4"
    );
}
