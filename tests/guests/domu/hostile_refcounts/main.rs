//! Attack: counts driven up, and left wrong by failures (pv-abi 13; XSA-58, 242, 291, 299, 310).
//! Trigger: one frame named by 100000 entries; validations that fail at their last entry, again and again.
//! Expectation: every count comes back to where it was, so the frame can become a table. Harmless to Xen.
#![no_std]
#![no_main]

use rexen_guests::{abi, check, check_eq, guest, hypercall, memory, refused};

guest!("hostile_refcounts", main);

const READ: u64 = abi::PTE_P | abi::PTE_US | abi::PTE_A;
const WRITE: u64 = READ | abi::PTE_RW;
const TABLES: u64 = 200;

fn frame(page: u64) -> u64 {
    memory::mfn_of(page) * memory::PAGE
}

fn spare(index: u64) -> u64 {
    memory::spare_page(index).unwrap_or(0)
}

/// That nothing holds the page but this guest's own mapping: it can be a table, and plain again.
fn demand_free(page: u64, after: &str) {
    memory::clear(page);
    memory::seal(page);
    check_eq!(memory::pin(page, 1), 0, "pinning the frame after {after}");
    check_eq!(memory::unpin(page), 0, "unpinning it");
    check_eq!(memory::set_writable(page, true), 0, "mapping it writable");
}

fn main() {
    many_references(WRITE, 200);
    many_references(READ, 200);
    saturation();
    one_table_in_many_places();
    failures();
    failing_updates();
}

fn many_references(rights: u64, tables: u64) {
    let page = memory::new_page();
    for index in 0..tables {
        for entry in 0..512 {
            memory::write(spare(index) + entry * 8, frame(page) | rights);
        }
        memory::seal(spare(index));
        check_eq!(memory::pin(spare(index), 1), 0, "pinning table {index}");
    }
    memory::seal(page);
    if rights == WRITE {
        refused!(
            memory::pin(page, 1),
            "pinning a frame that is mapped writable 100000 times"
        );
    }
    for index in 0..tables {
        check_eq!(memory::unpin(spare(index)), 0, "unpinning table {index}");
        memory::set_writable(spare(index), true);
        memory::clear(spare(index));
    }
    memory::set_writable(page, true);
    demand_free(page, "100000 references");
}

/// More references to one frame than a hypervisor may be able to count: it then refuses those beyond, and loses none.
fn saturation() {
    const MANY: u64 = 1100;
    let page = memory::new_page();
    let mut pinned = 0;
    for index in 0..MANY {
        for entry in 0..512 {
            memory::write(spare(index) + entry * 8, frame(page) | WRITE);
        }
        memory::seal(spare(index));
        let result = memory::pin(spare(index), 1);
        if result == 0 {
            check_eq!(pinned, index, "a pin after one that was refused");
            pinned += 1;
        } else {
            refused!(result, "pinning table {index}");
        }
    }
    check!(pinned >= 500, "{pinned} tables of references");
    memory::seal(page);
    refused!(
        memory::pin(page, 1),
        "pinning a frame that is mapped writable half a million times"
    );
    for index in 0..MANY {
        if index < pinned {
            check_eq!(memory::unpin(spare(index)), 0, "unpinning table {index}");
        }
        memory::set_writable(spare(index), true);
        memory::clear(spare(index));
    }
    memory::set_writable(page, true);
    demand_free(page, "half a million references");
}

/// One L1 in every entry of many L2s.
fn one_table_in_many_places() {
    let [l1, page] = [memory::new_page(), memory::new_page()];
    memory::write(l1, frame(page) | WRITE);
    memory::seal(l1);
    for index in 0..TABLES {
        for entry in 0..512 {
            memory::write(spare(index) + entry * 8, frame(l1) | WRITE);
        }
        memory::seal(spare(index));
        check_eq!(memory::pin(spare(index), 2), 0, "pinning L2 {index}");
    }
    refused!(memory::set_writable(l1, true), "mapping an L1 writable");
    for index in 0..TABLES {
        check_eq!(memory::unpin(spare(index)), 0, "unpinning L2 {index}");
        memory::set_writable(spare(index), true);
        memory::clear(spare(index));
    }
    check_eq!(
        memory::set_writable(l1, true),
        0,
        "mapping the L1 writable again"
    );
    demand_free(l1, "100000 references from L2s");
    demand_free(page, "its L1's time");
}

/// Validations that fail late.
fn failures() {
    let [l2, l1, page] = [memory::new_page(), memory::new_page(), memory::new_page()];
    for entry in 0..511 {
        memory::write(l1 + entry * 8, frame(page) | WRITE);
    }
    // A reserved bit.
    memory::write(l1 + 511 * 8, frame(page) | WRITE | 1 << 51);
    memory::seal(l1);
    for _ in 0..200 {
        refused!(memory::pin(l1, 1), "a bad L1");
    }
    memory::set_writable(l1, true);
    memory::write(l1 + 511 * 8, 0);
    memory::seal(l1);
    for entry in 0..511 {
        memory::write(l2 + entry * 8, frame(l1) | WRITE);
    }
    // The last one names a page that is mapped writable.
    memory::write(l2 + 511 * 8, frame(page) | WRITE);
    memory::seal(l2);
    for _ in 0..200 {
        refused!(memory::pin(l2, 2), "a bad L2");
    }
    for table in [l2, l1] {
        check_eq!(
            memory::set_writable(table, true),
            0,
            "a table after 200 failures"
        );
        demand_free(table, "200 failures");
    }
    demand_free(page, "200 failures");
}

/// Updates that fail, and others that drop what they replace.
fn failing_updates() {
    let [page, other] = [memory::new_page(), memory::new_page()];
    let slot = memory::entry_address(other, 1).unwrap_or(0);
    for _ in 0..500 {
        refused!(
            memory::set_entry(slot, frame(page) | WRITE | 1 << 51),
            "a bad entry"
        );
        refused!(
            hypercall::update_va_mapping(other, frame(page) | WRITE | 1 << 51),
            "a bad mapping"
        );
        check_eq!(
            memory::set_entry(slot, frame(page) | WRITE),
            0,
            "the page in place of the other"
        );
        check_eq!(memory::set_entry(slot, frame(page) | READ), 0, "read-only");
        check_eq!(memory::set_entry(slot, 0), 0, "nothing");
    }
    demand_free(page, "500 updates");
    check_eq!(
        memory::set_writable(other, true),
        0,
        "the other page in its place"
    );
    demand_free(other, "500 updates");
}
