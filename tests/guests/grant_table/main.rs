//! Behaviour: grant tables, version 1 (pv-abi 7).
//! Trigger: a domain that grants pages to itself, maps them, copies them, and gets everything wrong once.
//! Expectation: the status codes of the ABI; the entry shows who uses it; a mapped grant holds.
#![no_std]
#![no_main]

use rexen_guests::{abi, check, check_eq, event, guest, hypercall, lone::Lone, memory};

guest!("grant_table", main);

const MAP: u64 = 0;
const UNMAP: u64 = 1;
const SETUP: u64 = 2;
const COPY: u64 = 5;
const QUERY_SIZE: u64 = 6;
const SET_VERSION: u64 = 8;

const HOST_MAP: u64 = 2;
const READ_ONLY: u64 = 4;
const CONTAINS_PTE: u64 = 0x10;

const PERMIT_ACCESS: u64 = 1;
const GRANT_READ_ONLY: u64 = 4;

const BAD_DOMAIN: i16 = -2;
const BAD_GNTREF: i16 = -3;
const BAD_HANDLE: i16 = -4;
const GENERAL_ERROR: i16 = -1;
const BAD_COPY_ARG: i16 = -10;

/// Where the first page of the table is mapped.
static TABLE: Lone<u64> = Lone::new(0);

fn op(cmd: u64, argument: &mut [u64]) -> i64 {
    hypercall::call(abi::GRANT_TABLE_OP, [cmd, argument.as_mut_ptr() as u64, 1])
}

fn main() {
    event::shared_info();
    setup();
    let page = memory::new_page();
    map_and_unmap(page);
    map_errors(page);
    copy(page);
}

fn setup() {
    let mut query = [abi::DOMID_SELF, 0];
    check_eq!(op(QUERY_SIZE, &mut query), 0, "query_size");
    let (frames, most) = (query[0] >> 32, query[1] as u32);
    check!(
        frames >= 1 && u64::from(most) >= frames,
        "query_size: {frames} of {most} frames"
    );
    let mut version = [1];
    check_eq!(op(SET_VERSION, &mut version), 0, "set_version(1)");
    check_eq!(version[0] as u32, 1, "the version after it");
    let mut frame = u64::MAX;
    let mut argument = [
        abi::DOMID_SELF | 1 << 32,
        0x5555,
        hypercall::pointer(&mut frame),
    ];
    check_eq!(op(SETUP, &mut argument), 0, "setup_table");
    check_eq!(argument[1] as i16, 0, "its status");
    let table = memory::new_page();
    check_eq!(
        hypercall::update_va_mapping(table, (frame * 4096) | 3),
        0,
        "mapping the table"
    );
    TABLE.set(table);
    memory::write(table + 9 * 8, 0);
    let mut argument = [1234 | 1 << 32, 0x5555, hypercall::pointer(&mut frame)];
    check_eq!(
        op(SETUP, &mut argument),
        0,
        "setup_table of a domain that is not there"
    );
    check_eq!(argument[1] as i16, BAD_DOMAIN, "its status");
}

/// Fills entry `gref`: grants the frame of `page` to domain `to`.
fn grant(gref: u64, page: u64, to: u64, flags: u64) {
    memory::write(
        TABLE.get() + gref * 8,
        memory::mfn_of(page) << 32 | to << 16 | flags,
    );
}

fn flags_of(gref: u64) -> u64 {
    memory::read(TABLE.get() + gref * 8) & 0xffff
}

/// Maps grant `gref` of domain `dom`: status and handle.
fn map(host_addr: u64, flags: u64, gref: u64, dom: u64) -> (i16, u32) {
    let mut argument = [host_addr, flags | gref << 32, dom, 0];
    check_eq!(op(MAP, &mut argument), 0, "map_grant_ref");
    ((argument[2] >> 16) as i16, (argument[2] >> 32) as u32)
}

fn unmap(host_addr: u64, handle: u32) -> i16 {
    let mut argument = [host_addr, 0, u64::from(handle) | 0x5555 << 32];
    check_eq!(op(UNMAP, &mut argument), 0, "unmap_grant_ref");
    (argument[2] >> 32) as i16
}

fn map_and_unmap(page: u64) {
    let window = memory::new_page();
    memory::write(page, 0x1234);
    check_eq!(
        hypercall::update_va_mapping(window, 0),
        0,
        "clearing the window"
    );
    grant(9, page, 0, PERMIT_ACCESS);
    let (status, handle) = map(window, HOST_MAP, 9, 0);
    check_eq!(status, 0, "mapping writable");
    check_eq!(
        flags_of(9),
        PERMIT_ACCESS | 0x18,
        "reading and writing show in the entry"
    );
    check_eq!(memory::read(window), 0x1234, "the page through the window");
    memory::write(window, 0x5678);
    check_eq!(memory::read(page), 0x5678, "a write through the window");
    check_eq!(
        memory::set_writable(page, false),
        0,
        "the page itself, read-only"
    );
    let pinned = hypercall::mmuext(abi::MMUEXT_PIN_L1_TABLE, memory::mfn_of(page), 0);
    check_eq!(
        pinned,
        abi::EINVAL,
        "pinning a page that a grant maps writable"
    );
    check_eq!(
        memory::set_writable(page, true),
        0,
        "the page itself, writable"
    );
    check_eq!(
        unmap(window, handle + 1),
        BAD_HANDLE,
        "unmapping another handle"
    );
    check_eq!(unmap(window, handle), 0, "unmapping");
    check_eq!(flags_of(9), PERMIT_ACCESS, "nobody uses the entry");
    check_eq!(memory::pte_of(window), 0, "the window's entry");
    check_eq!(unmap(window, handle), BAD_HANDLE, "unmapping twice");

    let (status, handle) = map(window, HOST_MAP | READ_ONLY, 9, 0);
    check_eq!(status, 0, "mapping read-only");
    check_eq!(flags_of(9), PERMIT_ACCESS | 8, "reading shows in the entry");
    check_eq!(
        memory::pte_of(window) & abi::PTE_RW,
        0,
        "the window is read-only"
    );
    check_eq!(unmap(window, handle), 0, "unmapping");

    let slot = memory::maddr_of(memory::entry_address(window, 1).unwrap_or(0));
    let (status, handle) = map(slot, HOST_MAP | CONTAINS_PTE, 9, 0);
    check_eq!(status, 0, "mapping at a page-table entry");
    check_eq!(memory::read(window), 0x5678, "the page through it");
    check_eq!(unmap(slot, handle), 0, "unmapping at a page-table entry");
    check_eq!(
        memory::set_writable(window, true),
        0,
        "the window's own page back"
    );
}

fn map_errors(page: u64) {
    let window = memory::new_page();
    check_eq!(
        hypercall::update_va_mapping(window, 0),
        0,
        "clearing the window"
    );
    grant(10, page, 0, PERMIT_ACCESS | GRANT_READ_ONLY);
    check_eq!(
        map(window, HOST_MAP, 10, 0).0,
        GENERAL_ERROR,
        "mapping a read-only grant writable"
    );
    let (status, handle) = map(window, HOST_MAP | READ_ONLY, 10, 0);
    check_eq!(status, 0, "mapping it read-only");
    check_eq!(unmap(window, handle), 0, "unmapping");
    grant(11, page, 77, PERMIT_ACCESS);
    check_eq!(
        map(window, HOST_MAP, 11, 0).0,
        GENERAL_ERROR,
        "mapping a grant to another domain"
    );
    check_eq!(
        map(window, HOST_MAP, 12, 0).0,
        GENERAL_ERROR,
        "mapping an empty entry"
    );
    check_eq!(
        map(window, HOST_MAP, 0xff_ffff, 0).0,
        BAD_GNTREF,
        "mapping beyond the table"
    );
    check_eq!(
        map(window, HOST_MAP, 9, 1234).0,
        BAD_DOMAIN,
        "mapping from a domain that is not there"
    );
    check_eq!(
        map(0x5000_0000, HOST_MAP, 9, 0).0,
        GENERAL_ERROR,
        "mapping where there is no L1"
    );
    check_eq!(flags_of(9), PERMIT_ACCESS, "the entry after a failure");
    let theirs =
        memory::read(rexen_guests::entry::start_info().pt_base + 261 * 8) >> 12 & 0xffff_ffff;
    memory::write(TABLE.get() + 13 * 8, theirs << 32 | PERMIT_ACCESS);
    let (status, _) = map(window, HOST_MAP, 13, 0);
    check!(
        status < 0,
        "mapping a grant of a foreign frame gives {status}"
    );
    check_eq!(
        hypercall::call(abi::GRANT_TABLE_OP, [MAP, 0x1000, 1]),
        abi::EFAULT,
        "a bad pointer"
    );
    check_eq!(
        hypercall::call(abi::GRANT_TABLE_OP, [99, 0, 0]),
        abi::ENOSYS,
        "grant_table_op 99"
    );
}

fn copy(page: u64) {
    let target = memory::new_page();
    memory::write(page + 16, 0xabcd);
    let run = |source: [u64; 2], dest: [u64; 2], length: u64, flags: u64| {
        let mut argument = [
            source[0],
            source[1],
            dest[0],
            dest[1],
            length | flags << 16 | 0x5555 << 32,
        ];
        check_eq!(op(COPY, &mut argument), 0, "copy");
        (argument[4] >> 32) as i16
    };
    let at = |domid: u64, offset: u64| domid | offset << 16;
    let frame = memory::mfn_of(target);
    check_eq!(
        run([9, at(0, 16)], [frame, at(abi::DOMID_SELF, 8)], 8, 1),
        0,
        "copy from a grant"
    );
    check_eq!(memory::read(target + 8), 0xabcd, "the copy");
    check_eq!(flags_of(9), PERMIT_ACCESS, "nobody uses the entry");
    memory::write(target, 0x4321);
    check_eq!(
        run([frame, at(abi::DOMID_SELF, 0)], [9, at(0, 24)], 8, 2),
        0,
        "copy to a grant"
    );
    check_eq!(memory::read(page + 24), 0x4321, "the copy");
    check_eq!(
        run([frame, at(abi::DOMID_SELF, 0)], [10, at(0, 24)], 8, 2),
        GENERAL_ERROR,
        "copy to a read-only grant"
    );
    check_eq!(
        run([9, at(0, 4092)], [frame, at(abi::DOMID_SELF, 0)], 8, 1),
        BAD_COPY_ARG,
        "copy across the end"
    );
    check_eq!(
        run([12, at(0, 0)], [frame, at(abi::DOMID_SELF, 0)], 8, 1),
        GENERAL_ERROR,
        "copy from an empty entry"
    );
    let l4 = memory::mfn_of(rexen_guests::entry::start_info().pt_base);
    let status = run([9, at(0, 0)], [l4, at(abi::DOMID_SELF, 0)], 8, 1);
    check!(status < 0, "copy onto a page table gives {status}");
}
