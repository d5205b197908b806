//! Attack: tables that contain themselves or each other (pv-abi 13; XSA-240, 280, 309).
//! Trigger: an entry that names its own table, pairs, and a long chain of tables of one level; then all is taken down.
//! Expectation: never writable; refused or bounded; afterwards every page is a plain one again. Harmless to Xen, which
//! allows a single read-only step.
#![no_std]
#![no_main]

use rexen_guests::{abi, check_eq, entry, guest, memory, refused};

guest!("hostile_linear_tables", main);

const READ: u64 = abi::PTE_P | abi::PTE_US | abi::PTE_A;
const CHAIN: u64 = 300;

fn frame(page: u64) -> u64 {
    memory::mfn_of(page) * memory::PAGE
}

fn main() {
    live();
    for level in 2..=4 {
        itself(level);
        pair(level);
        chain(level);
    }
}

/// The running L4.
fn live() {
    let l4 = entry::start_info().pt_base;
    let slot = l4 + 32 * 8;
    refused!(
        memory::set_entry(slot, frame(l4) | READ | abi::PTE_RW),
        "the running L4 in itself, writable"
    );
    // Either answer will do: what counts is that it comes undone.
    let _ = memory::set_entry(slot, frame(l4) | READ);
    check_eq!(memory::set_entry(slot, 0), 0, "clearing the entry");
}

fn itself(level: u32) {
    let table = memory::new_page();
    for index in [0, 300, 511]
        .into_iter()
        .filter(|index| level < 4 || *index != 300)
    {
        memory::write(table + index * 8, frame(table) | READ);
    }
    memory::seal(table);
    for rights in [READ, READ | abi::PTE_RW] {
        if memory::pin(table, level) == 0 {
            check_eq!(
                memory::unpin(table),
                0,
                "unpinning a table of level {level} in itself"
            );
        }
        check_eq!(
            memory::set_writable(table, true),
            0,
            "the table of level {level}, plain"
        );
        memory::write(table, frame(table) | rights);
        memory::seal(table);
    }
    refused!(
        memory::pin(table, level),
        "a table of level {level} in itself, writable"
    );
    check_eq!(
        memory::set_writable(table, true),
        0,
        "the table of level {level}, plain"
    );
}

fn pair(level: u32) {
    let [one, other] = [memory::new_page(), memory::new_page()];
    memory::write(one, frame(other) | READ);
    memory::write(other, frame(one) | READ);
    memory::seal(one);
    memory::seal(other);
    let pinned = [one, other].map(|table| memory::pin(table, level));
    for (table, result) in [one, other].into_iter().zip(pinned) {
        if result == 0 {
            check_eq!(
                memory::unpin(table),
                0,
                "unpinning one of a pair of level {level}"
            );
        }
    }
    for table in [one, other] {
        check_eq!(
            memory::set_writable(table, true),
            0,
            "one of a pair of level {level}, plain"
        );
    }
}

/// A table that leads to a table of its level, and so on.
fn chain(level: u32) {
    let page = |index| memory::spare_page(index).unwrap_or(0);
    for index in 0..CHAIN {
        memory::clear(page(index));
        if index > 0 {
            memory::write(page(index), frame(page(index - 1)) | READ);
        }
    }
    for index in 0..CHAIN {
        memory::seal(page(index));
    }
    // From either end.
    for index in [CHAIN - 1, 0, 1, 2, CHAIN / 2] {
        if memory::pin(page(index), level) == 0 {
            check_eq!(
                memory::unpin(page(index)),
                0,
                "unpinning link {index} of a chain of level {level}"
            );
        }
    }
    for index in 0..CHAIN {
        check_eq!(
            memory::set_writable(page(index), true),
            0,
            "link {index} of level {level}, plain"
        );
    }
}
