//! Behaviour: grant tables, version 2 (pv-abi 7): entries of 16 bytes, marks in status frames, parts of pages.
//! Trigger: a domain that changes its table's version, there and back, and grants pages to itself in between.
//! Expectation: the status codes of the ABI; the marks show in the status frame, not in the entry; reserved entries survive.
#![no_std]
#![no_main]

use rexen_guests::{abi, check, check_eq, event, guest, hypercall, lone::Lone, memory};

guest!("grant_table_v2", main);

const MAP: u64 = 0;
const UNMAP: u64 = 1;
const SETUP: u64 = 2;
const TRANSFER: u64 = 4;
const COPY: u64 = 5;
const SET_VERSION: u64 = 8;
const GET_STATUS_FRAMES: u64 = 9;
const GET_VERSION: u64 = 10;
const SWAP: u64 = 11;

const HOST_MAP: u64 = 2;
const READ_ONLY: u64 = 4;

const PERMIT_ACCESS: u64 = 1;
const ACCEPT_TRANSFER: u64 = 2;
const TRANSITIVE: u64 = 3;
const GRANT_READ_ONLY: u64 = 4;
const SUB_PAGE: u64 = 1 << 8;
const TRANSFER_DONE: u64 = 4 | 8;
const READING: u64 = 8;
const WRITING: u64 = 16;

const GENERAL_ERROR: i16 = -1;
const BAD_DOMAIN: i16 = -2;
const BAD_GNTREF: i16 = -3;
const BAD_VIRT_ADDR: i16 = -5;

/// Where the first page of the table is mapped, and its status page.
static TABLE: Lone<u64> = Lone::new(0);
static STATUS: Lone<u64> = Lone::new(0);

fn op(cmd: u64, argument: &mut [u64]) -> i64 {
    hypercall::call(abi::GRANT_TABLE_OP, [cmd, argument.as_mut_ptr() as u64, 1])
}

fn set_version(version: u64) -> i64 {
    op(SET_VERSION, &mut [version])
}

fn get_version() -> u64 {
    let mut argument = [abi::DOMID_SELF, 0];
    check_eq!(op(GET_VERSION, &mut argument), 0, "get_version");
    argument[0] >> 32
}

fn main() {
    event::shared_info();
    let mut frame = 0;
    let mut argument = [abi::DOMID_SELF | 1 << 32, 0, hypercall::pointer(&mut frame)];
    check_eq!(op(SETUP, &mut argument), 0, "setup_table");
    TABLE.set(window(frame));
    let page = memory::new_page();
    there(page);
    map(page);
    parts(page);
    others(page);
    back(page);
}

/// A new place where `frame` is mapped.
fn window(frame: u64) -> u64 {
    let page = memory::new_page();
    check_eq!(
        hypercall::update_va_mapping(page, (frame * 4096) | 3),
        0,
        "mapping a shared frame"
    );
    page
}

/// Fills entry `gref`: header and frame.
fn grant(gref: u64, header: u64, frame: u64) {
    memory::write(TABLE.get() + gref * 16 + 8, frame);
    memory::write(TABLE.get() + gref * 16, header);
}

/// The marks of entry `gref`.
fn marks(gref: u64) -> u64 {
    memory::read(STATUS.get() + gref / 4 * 8) >> (gref % 4 * 16) & 0xffff
}

/// Maps grant `gref`: status and handle.
fn map_at(host_addr: u64, flags: u64, gref: u64) -> (i16, u32) {
    let mut argument = [host_addr, flags | gref << 32, 0, 0];
    check_eq!(op(MAP, &mut argument), 0, "map_grant_ref");
    ((argument[2] >> 16) as i16, (argument[2] >> 32) as u32)
}

fn unmap(host_addr: u64, handle: u32) -> i16 {
    let mut argument = [host_addr, 0, u64::from(handle)];
    check_eq!(op(UNMAP, &mut argument), 0, "unmap_grant_ref");
    (argument[2] >> 32) as i16
}

/// To version 2.
fn there(page: u64) {
    let frame = memory::mfn_of(page);
    let table = TABLE.get();
    let empty = memory::new_page();
    check_eq!(
        hypercall::update_va_mapping(empty, 0),
        0,
        "clearing a window"
    );
    memory::write(table + 9 * 8, frame << 32 | PERMIT_ACCESS);
    let (_, handle) = map_at(empty, HOST_MAP, 9);
    check_eq!(set_version(2), abi::EBUSY, "version 2 with an entry in use");
    check_eq!(set_version(1), 0, "version 1 with an entry in use");
    check_eq!(unmap(empty, handle), 0, "unmapping");
    // A reserved entry may be in use.
    memory::write(table + 5 * 8, frame << 32 | PERMIT_ACCESS);
    let (_, handle) = map_at(empty, HOST_MAP, 5);
    check_eq!(set_version(2), 0, "version 2");
    check_eq!(get_version(), 2, "the version");
    check_eq!(memory::read(table + 9 * 8), 0, "where entry 9 was");
    check_eq!(memory::read(table + 5 * 16), PERMIT_ACCESS, "entry 5");
    check_eq!(memory::read(table + 5 * 16 + 8), frame, "its frame");

    let mut status = [0u64; 2];
    let list = status.as_mut_ptr() as u64;
    let get = |dom: u64, count: u64, list: u64| {
        let mut argument = [count | dom << 32 | 0x5555 << 48, list];
        check_eq!(op(GET_STATUS_FRAMES, &mut argument), 0, "get_status_frames");
        (argument[0] >> 48) as i16
    };
    check_eq!(get(abi::DOMID_SELF, 1, list), 0, "get_status_frames");
    check_eq!(
        get(abi::DOMID_SELF, 2, list),
        GENERAL_ERROR,
        "more than there are"
    );
    check_eq!(get(1234, 1, list), BAD_DOMAIN, "of no domain");
    check_eq!(
        get(abi::DOMID_SELF, 1, 0x1000),
        BAD_VIRT_ADDR,
        "with a bad list"
    );
    STATUS.set(window(status[0]));
    check_eq!(marks(5), READING | WRITING, "entry 5 is in use");
    check_eq!(unmap(empty, handle), 0, "unmapping entry 5");
    check_eq!(marks(5), 0, "entry 5 is not in use");
    grant(5, 0, 0);
}

fn map(page: u64) {
    let frame = memory::mfn_of(page);
    let place = memory::new_page();
    check_eq!(
        hypercall::update_va_mapping(place, 0),
        0,
        "clearing a window"
    );
    memory::write(page, 0x1234);
    grant(9, PERMIT_ACCESS, frame);
    let (status, handle) = map_at(place, HOST_MAP, 9);
    check_eq!(status, 0, "mapping");
    check_eq!(memory::read(place), 0x1234, "the page");
    check_eq!(
        memory::read(TABLE.get() + 9 * 16),
        PERMIT_ACCESS,
        "the entry"
    );
    check_eq!(marks(9), READING | WRITING, "its marks");
    check_eq!(set_version(1), abi::EBUSY, "version 1 with an entry in use");
    check_eq!(unmap(place, handle), 0, "unmapping");
    check_eq!(marks(9), 0, "its marks");
    let (_, handle) = map_at(place, HOST_MAP | READ_ONLY, 9);
    check_eq!(marks(9), READING, "the marks of a read-only mapping");
    check_eq!(unmap(place, handle), 0, "unmapping");
    grant(10, PERMIT_ACCESS | GRANT_READ_ONLY, frame);
    grant(11, PERMIT_ACCESS | 77 << 16, frame);
    grant(12, TRANSITIVE, 9);
    grant(13, PERMIT_ACCESS | SUB_PAGE | 16 << 32 | 32 << 48, frame);
    for (gref, expected, what) in [
        (10, GENERAL_ERROR, "a read-only grant writable"),
        (11, GENERAL_ERROR, "another's grant"),
        (12, GENERAL_ERROR, "a transitive grant"),
        (13, GENERAL_ERROR, "a part of a page"),
        (255, GENERAL_ERROR, "the last entry, empty"),
        (300, BAD_GNTREF, "beyond the table"),
    ] {
        check_eq!(map_at(place, HOST_MAP, gref).0, expected, "mapping {what}");
        if gref < 256 {
            check_eq!(marks(gref), 0, "marks after mapping {what}");
        }
    }
}

fn copy(from: [u64; 2], to: [u64; 2], length: u64, flags: u64) -> i16 {
    let mut argument = [
        from[0],
        from[1],
        to[0],
        to[1],
        length | flags << 16 | 0x5555 << 32,
    ];
    check_eq!(op(COPY, &mut argument), 0, "copy");
    (argument[4] >> 32) as i16
}

/// Copies of parts of pages.
fn parts(page: u64) {
    let frame = memory::mfn_of(page);
    let target = memory::new_page();
    let own = |offset: u64| [memory::mfn_of(target), abi::DOMID_SELF | offset << 16];
    let part = |offset: u64| [13, offset << 16];
    memory::write(page + 16, 0xabcd);
    check_eq!(copy(part(16), own(0), 32, 1), 0, "copy of the part");
    check_eq!(memory::read(target), 0xabcd, "the copy");
    check_eq!(copy(part(40), own(0), 8, 1), 0, "copy of its end");
    check_eq!(
        copy(part(15), own(0), 32, 1),
        GENERAL_ERROR,
        "copy from before it"
    );
    check_eq!(
        copy(part(16), own(0), 33, 1),
        GENERAL_ERROR,
        "copy beyond it"
    );
    memory::write(target, 0x4321);
    check_eq!(copy(own(0), part(16), 8, 2), 0, "copy to the part");
    check_eq!(memory::read(page + 16), 0x4321, "the copy");
    check_eq!(
        copy(own(0), part(48), 8, 2),
        GENERAL_ERROR,
        "copy to after it"
    );
    check_eq!(memory::read(page + 48), 0, "after it");
    let odd = |start: u64, length: u64| PERMIT_ACCESS | SUB_PAGE | start << 32 | length << 48;
    for (start, length, offset, bytes, expected) in [
        (4090, 32, 4090, 6, 0),
        (0, 0xffff, 4090, 6, 0),
        (5000, 0, 0, 0, GENERAL_ERROR),
        (0xffff, 0xffff, 0, 8, GENERAL_ERROR),
    ] {
        grant(14, odd(start, length), frame);
        let status = copy([14, offset << 16], own(0), bytes, 1);
        check_eq!(
            status,
            expected,
            "copy of {bytes} at {offset} of {start}+{length}"
        );
    }
    check_eq!(copy([9, 0], own(0), 4096, 1), 0, "copy of a page");
    check_eq!(marks(9) | marks(13) | marks(14), 0, "marks after copies");
}

fn others(page: u64) {
    let frame = memory::mfn_of(page);
    let victim = memory::new_page();
    let given = memory::mfn_of(victim);
    check_eq!(
        hypercall::update_va_mapping(victim, 0),
        0,
        "unmapping a page"
    );
    grant(15, ACCEPT_TRANSFER, 0x1_2345);
    let mut argument = [given, 15 << 32, 0x5555];
    check_eq!(op(TRANSFER, &mut argument), 0, "transfer");
    check_eq!(argument[2] as i16, 0, "its status");
    let entry = TABLE.get() + 15 * 16;
    check_eq!(
        memory::read(entry),
        ACCEPT_TRANSFER | TRANSFER_DONE,
        "the entry"
    );
    check_eq!(memory::read(entry + 8), given, "its frame");
    check_eq!(memory::set_writable(victim, true), 0, "mapping it again");

    let mut argument = [9 | 15 << 32, 0x5555];
    check_eq!(op(SWAP, &mut argument), 0, "swap_grant_ref");
    check_eq!(argument[1] as i16, 0, "its status");
    check_eq!(memory::read(entry), PERMIT_ACCESS, "the entry");
    check_eq!(memory::read(entry + 8), frame, "its frame");
    check_eq!(
        memory::read(TABLE.get() + 9 * 16 + 8),
        given,
        "the other's frame"
    );
}

/// Back to version 1.
fn back(page: u64) {
    let frame = memory::mfn_of(page);
    check_eq!(
        hypercall::update_va_mapping(STATUS.get(), 0),
        0,
        "unmapping the status page"
    );
    for (header, word, what) in [
        (TRANSITIVE, frame, "a transitive reserved entry"),
        (PERMIT_ACCESS, frame | 1 << 32, "a frame of 33 bits"),
    ] {
        grant(6, header, word);
        check_eq!(set_version(1), abi::ERANGE, "version 1 with {what}");
    }
    grant(6, PERMIT_ACCESS | 7 << 16, frame);
    check_eq!(set_version(1), 0, "version 1");
    check_eq!(get_version(), 1, "the version");
    let entry = memory::read(TABLE.get() + 6 * 8);
    check_eq!(entry, frame << 32 | 7 << 16 | PERMIT_ACCESS, "entry 6");
    check!(
        (8..512).all(|gref| memory::read(TABLE.get() + gref * 8) == 0),
        "entries that are not reserved"
    );
    check_eq!(set_version(2), 0, "version 2 again");
    check_eq!(
        memory::read(TABLE.get() + 6 * 16 + 8),
        frame,
        "entry 6's frame"
    );
}
