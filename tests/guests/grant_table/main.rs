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
const DUMP: u64 = 3;
const TRANSFER: u64 = 4;
const COPY: u64 = 5;
const QUERY_SIZE: u64 = 6;
const UNMAP_AND_REPLACE: u64 = 7;
const SET_VERSION: u64 = 8;
const GET_STATUS_FRAMES: u64 = 9;
const GET_VERSION: u64 = 10;
const SWAP: u64 = 11;
const CACHE_FLUSH: u64 = 12;

const DEVICE_MAP: u64 = 1;
const HOST_MAP: u64 = 2;
const READ_ONLY: u64 = 4;
const CONTAINS_PTE: u64 = 0x10;

const PERMIT_ACCESS: u64 = 1;
const ACCEPT_TRANSFER: u64 = 2;
const GRANT_READ_ONLY: u64 = 4;
const TRANSFER_DONE: u64 = 4 | 8;

const BAD_DOMAIN: i16 = -2;
const BAD_GNTREF: i16 = -3;
const BAD_HANDLE: i16 = -4;
const GENERAL_ERROR: i16 = -1;
const BAD_VIRT_ADDR: i16 = -5;
const BAD_DEV_ADDR: i16 = -6;
const PERMISSION_DENIED: i16 = -8;
const BAD_PAGE: i16 = -9;
const BAD_COPY_ARG: i16 = -10;
const EAGAIN: i16 = -12;

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
    device_map(page);
    unmap_and_replace(page);
    copy(page);
    swap(page);
    transfer();
    whole_table(page);
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

fn device_map(page: u64) {
    let window = memory::new_page();
    check_eq!(
        hypercall::update_va_mapping(window, 0),
        0,
        "clearing the window"
    );
    check_eq!(
        map(window, READ_ONLY, 9, 0).0,
        BAD_GNTREF,
        "mapping neither for the host nor for a device"
    );
    check_eq!(
        map(window, HOST_MAP, 9, abi::DOMID_SELF).0,
        BAD_DOMAIN,
        "mapping a grant of DOMID_SELF"
    );
    let (status, handle) = map(window, HOST_MAP | DEVICE_MAP, 9, 0);
    check_eq!(status, 0, "mapping for host and device");
    let unmap_both = |host_addr: u64, bus: u64| {
        let mut argument = [host_addr, bus, u64::from(handle) | 0x5555 << 32];
        check_eq!(op(UNMAP, &mut argument), 0, "unmap_grant_ref");
        (argument[2] >> 32) as i16
    };
    let bus = memory::maddr_of(page);
    check_eq!(unmap_both(0, 0), 0, "unmapping nothing");
    check_eq!(unmap_both(0, 0x1000), BAD_DEV_ADDR, "another bus address");
    check_eq!(unmap_both(window, 0), 0, "unmapping the host's");
    check_eq!(
        flags_of(9),
        PERMIT_ACCESS | 0x18,
        "the device still uses the entry"
    );
    check_eq!(unmap_both(window, bus), 0, "unmapping the device's");
    check_eq!(flags_of(9), PERMIT_ACCESS, "nobody uses the entry");
    check_eq!(unmap_both(0, bus), BAD_HANDLE, "unmapping once more");
    // What the guest does to its entry meanwhile is its own affair, but the entry must be as it was for unmapping.
    let (status, handle) = map(window, HOST_MAP, 9, 0);
    check_eq!(status, 0, "mapping");
    check_eq!(hypercall::update_va_mapping(window, 0), 0, "clearing it");
    check_eq!(
        unmap(window, handle),
        GENERAL_ERROR,
        "unmapping an empty entry"
    );
    check_eq!(
        hypercall::update_va_mapping(window, memory::own_pte(page, false)),
        0,
        "mapping the page itself read-only"
    );
    check_eq!(
        unmap(window, handle),
        GENERAL_ERROR,
        "unmapping a read-only entry of a writable mapping"
    );
    check_eq!(
        hypercall::update_va_mapping(window, memory::own_pte(page, true)),
        0,
        "mapping the page itself writable"
    );
    check_eq!(unmap(window, handle), 0, "unmapping an entry like it");
    check_eq!(flags_of(9), PERMIT_ACCESS, "nobody uses the entry");
}

fn unmap_and_replace(page: u64) {
    let (window, other) = (memory::new_page(), memory::new_page());
    let own = memory::mfn_of(other);
    check_eq!(
        hypercall::update_va_mapping(window, 0),
        0,
        "clearing the window"
    );
    let replace = |host_addr: u64, new_addr: u64, handle: u32| {
        let mut argument = [host_addr, new_addr, u64::from(handle) | 0x5555 << 32];
        check_eq!(op(UNMAP_AND_REPLACE, &mut argument), 0, "unmap_and_replace");
        (argument[2] >> 32) as i16
    };
    memory::write(page, 0x1111);
    memory::write(other, 0x2222);
    let (_, handle) = map(window, HOST_MAP, 9, 0);
    check_eq!(memory::read(window), 0x1111, "the granted page");
    check_eq!(
        replace(window, other, handle + 1),
        BAD_HANDLE,
        "another handle"
    );
    check_eq!(
        replace(window, 0x5000_0000, handle),
        GENERAL_ERROR,
        "a new address where there is no L1"
    );
    check_eq!(replace(window, other, handle), 0, "unmap_and_replace");
    check_eq!(memory::read(window), 0x2222, "the other page");
    check_eq!(memory::pte_of(other), 0, "where it was");
    check_eq!(
        (memory::pte_of(window) / 4096) & 0xff_ffff_ffff,
        own,
        "its frame"
    );
    check_eq!(flags_of(9), PERMIT_ACCESS, "nobody uses the entry");
    let slot = memory::maddr_of(memory::entry_address(window, 1).unwrap_or(0));
    let (_, handle) = map(slot, HOST_MAP | CONTAINS_PTE, 9, 0);
    check_eq!(
        replace(slot, other, handle),
        GENERAL_ERROR,
        "a new address for a page-table entry's"
    );
    check_eq!(unmap(slot, handle), 0, "unmapping");
    let (_, handle) = map(window, HOST_MAP, 9, 0);
    check_eq!(replace(window, other, handle), 0, "replacing by nothing");
    check_eq!(memory::pte_of(window), 0, "nothing");
}

fn swap(page: u64) {
    let swap = |a: u64, b: u64| {
        let mut argument = [a | b << 32, 0x5555];
        check_eq!(op(SWAP, &mut argument), 0, "swap_grant_ref");
        argument[1] as i16
    };
    grant(20, page, 0, PERMIT_ACCESS);
    memory::write(TABLE.get() + 21 * 8, 0);
    let entry = memory::read(TABLE.get() + 20 * 8);
    check_eq!(swap(20, 21), 0, "swapping");
    check_eq!(memory::read(TABLE.get() + 21 * 8), entry, "one entry");
    check_eq!(memory::read(TABLE.get() + 20 * 8), 0, "the other");
    check_eq!(swap(21, 0xff_ffff), BAD_GNTREF, "swapping beyond the table");
    let (_, handle) = map(0, DEVICE_MAP, 21, 0);
    check_eq!(swap(20, 21), EAGAIN, "swapping one in use");
    check_eq!(swap(21, 21), 0, "swapping it with itself");
    let mut argument = [0, memory::maddr_of(page), u64::from(handle)];
    check_eq!(op(UNMAP, &mut argument), 0, "unmapping");
    check_eq!(swap(20, 21), 0, "swapping it back");
}

fn transfer() {
    let victim = memory::new_page();
    let frame = memory::mfn_of(victim);
    let give = |frame: u64, dom: u64, gref: u64| {
        let mut argument = [frame, dom | gref << 32, 0x5555];
        check_eq!(op(TRANSFER, &mut argument), 0, "transfer");
        argument[2] as i16
    };
    memory::write(victim, 0x7777);
    memory::write(TABLE.get() + 22 * 8, 0x1_2345 << 32 | ACCEPT_TRANSFER);
    check_eq!(give(frame, 0, 22), BAD_PAGE, "giving a page that is mapped");
    check_eq!(give(0xffff_ffff, 0, 22), BAD_PAGE, "giving no frame");
    check_eq!(
        hypercall::update_va_mapping(victim, 0),
        0,
        "unmapping the page"
    );
    check_eq!(give(frame, 0, 22), 0, "giving it to ourselves");
    check_eq!(
        memory::read(TABLE.get() + 22 * 8),
        frame << 32 | ACCEPT_TRANSFER | TRANSFER_DONE,
        "the entry"
    );
    check_eq!(
        memory::read(abi::MACH2PHYS_VIRT_START + frame * 8),
        0x1_2345,
        "its name is the one that the entry gave"
    );
    check_eq!(memory::set_writable(victim, true), 0, "mapping it again");
    check_eq!(memory::read(victim), 0x7777, "what is in it");
    check_eq!(give(frame, 0, 22), BAD_PAGE, "giving it once more, mapped");
    // What becomes of a page that nobody takes differs: from now on these are not ours to use.
    for (dom, gref, status, what) in [
        (0, 22, GENERAL_ERROR, "an entry that has a page"),
        (0, 23, GENERAL_ERROR, "an empty entry"),
        (0, 0xff_ffff, GENERAL_ERROR, "beyond the table"),
        (1234, 22, BAD_DOMAIN, "a domain that is not there"),
    ] {
        let page = memory::new_page();
        check_eq!(hypercall::update_va_mapping(page, 0), 0, "unmapping a page");
        let given = give(memory::mfn_of(page), dom, gref);
        check_eq!(given, status, "giving a page to {what}");
    }
}

fn whole_table(page: u64) {
    let self_or = |dom: u64, word: u64| dom | word << 32;
    let mut frames = [0u64; 4];
    let list = frames.as_mut_ptr() as u64;
    let mut argument = [self_or(abi::DOMID_SELF, 3), 0x5555, list];
    check_eq!(op(SETUP, &mut argument), 0, "setup_table for three frames");
    check_eq!(argument[1] as i16, 0, "its status");
    check!(
        frames[..3].iter().all(|frame| *frame != 0) && frames[3] == 0,
        "three frames: {frames:x?}"
    );
    let mut argument = [self_or(abi::DOMID_SELF, 1 << 20), 0x5555, list];
    check_eq!(op(SETUP, &mut argument), 0, "setup_table for too many");
    check_eq!(argument[1] as i16, GENERAL_ERROR, "its status");
    let mut argument = [self_or(abi::DOMID_SELF, 1), 0x5555, 0x1000];
    check_eq!(op(SETUP, &mut argument), 0, "setup_table with a bad list");
    check_eq!(argument[1] as i16, BAD_VIRT_ADDR, "its status");
    let mut argument = [1 | abi::DOMID_SELF << 32 | 0x5555 << 48, list];
    check_eq!(op(GET_STATUS_FRAMES, &mut argument), 0, "get_status_frames");
    check_eq!(
        (argument[0] >> 48) as i16,
        GENERAL_ERROR,
        "its status in version 1"
    );
    let mut argument = [abi::DOMID_SELF, 0];
    check_eq!(op(GET_VERSION, &mut argument), 0, "get_version");
    check_eq!(argument[0] >> 32, 1, "the version");
    let mut argument = [1234, 0];
    check_eq!(op(GET_VERSION, &mut argument), abi::ESRCH, "of no domain");
    for version in [0, 3] {
        check_eq!(
            op(SET_VERSION, &mut [version]),
            abi::EINVAL,
            "version {version}"
        );
    }
    check_eq!(op(DUMP, &mut [abi::DOMID_SELF]), abi::ENOSYS, "dump_table");
    check_eq!(op(0x1000, &mut [0]), abi::EINVAL, "bits above the command");
    for (count, what) in [(0, "none"), (2, "two")] {
        let result = hypercall::call(abi::GRANT_TABLE_OP, [QUERY_SIZE, list, count]);
        check_eq!(result, abi::EINVAL, "query_size, {what}");
    }
    for count in [0, 1 << 32] {
        let result = hypercall::call(abi::GRANT_TABLE_OP, [MAP, 0, count]);
        check_eq!(result, 0, "mapping {count:#x}");
    }
    let flush = |address: u64, offset: u64, length: u64, how: u64| {
        let mut argument = [address, offset | length << 16 | how << 32];
        op(CACHE_FLUSH, &mut argument)
    };
    let own = memory::maddr_of(page);
    check_eq!(flush(own, 0, 64, 1), 0, "cache_flush");
    check_eq!(flush(own, 0, 64, 3), 0, "cache_flush, and invalidate");
    check_eq!(flush(0, 0, 0, 1), 0, "cache_flush of no bytes");
    check_eq!(flush(0, 0, 64, 1), abi::EPERM, "of a frame not its own");
    check_eq!(flush(own, 0, 8000, 1), abi::EINVAL, "beyond the page");
    check_eq!(flush(own, 0, 64, 8), abi::EINVAL, "in no way");
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
    let own = at(abi::DOMID_SELF, 0);
    let errors = [
        (
            run([12, 0], [frame, own], 0, 1),
            GENERAL_ERROR,
            "no bytes of an empty entry",
        ),
        (
            run([0xff_ffff, 0], [frame, own], 0, 1),
            BAD_GNTREF,
            "beyond the table",
        ),
        (
            run([9, at(1234, 0)], [frame, own], 8, 1),
            BAD_DOMAIN,
            "of no domain",
        ),
        (
            run([frame, at(1234, 0)], [frame, own], 8, 0),
            BAD_DOMAIN,
            "a frame of no domain",
        ),
        (
            run([frame, 0], [frame, own], 8, 0),
            PERMISSION_DENIED,
            "a frame by our number",
        ),
        (
            run([0xffff_ffff, own], [frame, own], 8, 0),
            BAD_PAGE,
            "from no frame",
        ),
        (
            run([frame, own], [0xffff_ffff, own], 8, 0),
            BAD_PAGE,
            "to no frame",
        ),
        (
            run([frame, own], [9, at(0, 4092)], 8, 2),
            BAD_COPY_ARG,
            "across the other end",
        ),
        (
            run([9, at(0, 5000)], [frame, own], 0, 1),
            BAD_COPY_ARG,
            "no bytes from beyond",
        ),
    ];
    for (status, expected, what) in errors {
        check_eq!(status, expected, "copy: {what}");
    }
    check_eq!(run([9, 0], [frame, own], 0, 1), 0, "copy of no bytes");
    check_eq!(
        run([9, 0], [frame, own], 8, 0xf1),
        0,
        "copy with unknown flags"
    );
    check_eq!(
        run([frame, own], [memory::mfn_of(page), own], 4096, 0),
        0,
        "copy of a page"
    );
    check_eq!(memory::read(page + 8), 0xabcd, "the copy");
    let l4 = memory::mfn_of(rexen_guests::entry::start_info().pt_base);
    let status = run([9, at(0, 0)], [l4, at(abi::DOMID_SELF, 0)], 8, 1);
    check!(status < 0, "copy onto a page table gives {status}");
}
