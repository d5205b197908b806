//! Attack: the grant table changes its form while it is in use (pv-abi 13; XSA-255, 379, 382, 384).
//! Trigger: set_version with grants mapped, with the table and the status frames mapped; the table grown to its limit; all
//! the older operations with garbage; transitive and sub-page grants that change.
//! Expectation: refused while in use; frames that the guest maps stay its own. Harmless to Xen.
#![no_std]
#![no_main]

use rexen_guests::{abi, check, check_eq, entry, guest, hypercall, memory, refused};

guest!("hostile_grant_versions", main);

const MAP: u64 = 0;
const UNMAP: u64 = 1;
const SETUP: u64 = 2;
const COPY: u64 = 5;
const QUERY_SIZE: u64 = 6;
const SET_VERSION: u64 = 8;
const STATUS_FRAMES: u64 = 9;
const SWAP: u64 = 11;
/// The grant in use; the first eight are reserved.
const GREF: u64 = 9;

fn op<const N: usize>(cmd: u64, words: &mut [u64; N]) -> i64 {
    hypercall::call(abi::GRANT_TABLE_OP, [cmd, hypercall::pointer(words), 1])
}

fn set_version(version: u64) -> i64 {
    op(SET_VERSION, &mut [version])
}

/// Status, and the frames.
fn setup(frames: u64) -> (i16, [u64; 64]) {
    let mut list = [u64::MAX; 64];
    let mut argument = [
        abi::DOMID_SELF | frames << 32,
        0x5555,
        hypercall::pointer(&mut list),
    ];
    op(SETUP, &mut argument);
    (argument[1] as i16, list)
}

/// Maps the grant, which this guest gave itself: by its number, for it cannot be DOMID_SELF here.
fn map(window: u64) -> (i16, u32) {
    let domid = entry::option("domid").unwrap_or(0);
    let mut argument = [window, 2 | GREF << 32, domid, 0];
    op(MAP, &mut argument);
    ((argument[2] >> 16) as i16, (argument[2] >> 32) as u32)
}

fn unmap(window: u64, handle: u32) -> i16 {
    let mut argument = [window, 0, u64::from(handle)];
    op(UNMAP, &mut argument);
    (argument[2] >> 32) as i16
}

fn main() {
    let domid = entry::option("domid").unwrap_or(0);
    let (status, frames) = setup(1);
    check_eq!(status, 0, "setup_table");
    let [table, window, page] = core::array::from_fn(|_| memory::new_page());
    check_eq!(
        hypercall::update_va_mapping(table, frames[0] << 12 | 0x27),
        0,
        "mapping the table"
    );
    memory::unmap(window);
    for version in [0, 3, 4, 0x102, u64::from(u32::MAX)] {
        refused!(set_version(version), "version {version:#x}");
    }
    memory::write(
        table + GREF * 8,
        memory::mfn_of(page) << 32 | domid << 16 | 1,
    );
    let (status, handle) = map(window);
    check_eq!(status, 0, "mapping a grant of one's own");
    refused!(set_version(2), "version 2 while a grant is mapped");
    check_eq!(unmap(window, handle), 0, "unmapping");
    memory::write(table + GREF * 8, 0);
    for round in 0..30 {
        check_eq!(set_version(2), 0, "version 2, time {round}");
        check_eq!(set_version(1), 0, "version 1, time {round}");
    }
    second_version(table, window, page, domid);
    growth();
    garbage();
}

fn second_version(table: u64, window: u64, page: u64, domid: u64) {
    check_eq!(set_version(2), 0, "version 2");
    let mut frames = [u64::MAX; 4];
    let mut argument = [1 | abi::DOMID_SELF << 32, hypercall::pointer(&mut frames)];
    check_eq!(op(STATUS_FRAMES, &mut argument), 0, "get_status_frames");
    check_eq!((argument[0] >> 48) as i16, 0, "its status");
    let status = memory::new_page();
    check_eq!(
        hypercall::update_va_mapping(status, frames[0] << 12 | 0x27),
        0,
        "mapping the status frame"
    );
    // Of 16 bytes: flags, domain; the frame.
    memory::write(table + GREF * 16 + 8, memory::mfn_of(page));
    memory::write(table + GREF * 16, domid << 16 | 1);
    let (result, handle) = map(window);
    check_eq!(result, 0, "mapping in version 2");
    refused!(set_version(1), "version 1 while a grant is mapped");
    memory::write(window, 0x5678);
    check_eq!(memory::read(page), 0x5678, "a store through the grant");
    // The entry changes while it is mapped.
    for value in [0, u64::MAX, 0xffff_0001, domid << 16 | 2, domid << 16 | 3] {
        memory::write(table + GREF * 16, value);
        memory::write(table + GREF * 16 + 8, value);
        let again = memory::new_page();
        let (result, second) = map(again);
        if result == 0 {
            // What is mapped already may be mapped again; it is the same frame.
            check_eq!(memory::read(page), 0x5678, "the frame");
            check_eq!(unmap(again, second), 0, "unmapping it again");
        }
        for word in 0..512 {
            memory::write(status + word * 8, u64::MAX);
        }
    }
    check_eq!(unmap(window, handle), 0, "unmapping");
    // Transitive: to domains that are not there, to oneself, round and round.
    for domain in [0, domid, 999, 0x7ff0] {
        memory::write(table + GREF * 16, domid << 16 | 3);
        memory::write(table + GREF * 16 + 8, domain | GREF << 32);
        let mut copy = [
            GREF,
            domid,
            memory::mfn_of(page),
            abi::DOMID_SELF,
            8 | 1 << 16,
        ];
        op(COPY, &mut copy);
        check!(
            ((copy[4] >> 32) as i16) < 0,
            "copy of a transitive grant of {domain}"
        );
    }
    memory::write(table + GREF * 16, 0);
    memory::write(table + GREF * 16 + 8, 0);
    // XSA-379: the status frames go, and the guest still maps one.
    let with_mapping = set_version(1);
    if with_mapping == 0 {
        check_eq!(
            memory::read(status),
            memory::read(status),
            "the status frame can be read"
        );
    }
    check_eq!(memory::unmap(status), 0, "unmapping the status frame");
    if with_mapping != 0 {
        check_eq!(set_version(1), 0, "version 1");
    }
    // Whether the frame is still there for this guest is the hypervisor's choice; nobody else's it may be.
    if hypercall::update_va_mapping(status, frames[0] << 12 | 0x27) == 0 {
        check_eq!(memory::unmap(status), 0, "unmapping the old status frame");
    }
}

fn growth() {
    let mut query = [abi::DOMID_SELF, 0];
    check_eq!(op(QUERY_SIZE, &mut query), 0, "query_size");
    let most = query[1] & 0xffff_ffff;
    check_eq!(most, 32, "the most frames of this domain's table");
    for frames in [most + 1, 64, 1 << 16, u64::from(u32::MAX)] {
        check!(setup(frames).0 < 0, "a table of {frames} frames");
    }
    let (status, frames) = setup(most);
    check_eq!(status, 0, "a table of the most frames");
    let window = memory::new_page();
    for mfn in frames.iter().take(most as usize) {
        check_eq!(
            hypercall::update_va_mapping(window, mfn << 12 | 0x27),
            0,
            "mapping frame {mfn:#x} of it"
        );
        refused!(
            hypercall::mmuext(abi::MMUEXT_PIN_L1_TABLE, *mfn, 0),
            "pinning it"
        );
    }
    check_eq!(set_version(2), 0, "version 2 of a large table");
    check_eq!(set_version(1), 0, "version 1 of it");
}

fn garbage() {
    for cmd in 0..=14 {
        for value in [0, 1, 0xffff, 1 << 47, abi::HYPERVISOR_VIRT_START, u64::MAX] {
            // setup_table (2) with a list in nowhere is an error of its own; set_version is above.
            if cmd == SET_VERSION {
                continue;
            }
            let mut words = [value; 8];
            hypercall::call(
                abi::GRANT_TABLE_OP,
                [cmd, hypercall::pointer(&mut words), 1],
            );
            refused!(
                hypercall::call(abi::GRANT_TABLE_OP, [cmd, abi::HYPERVISOR_VIRT_START, 2]),
                "operation {cmd} on the hypervisor"
            );
        }
    }
    for cmd in [15, 16, 99, 0xffff_ffff] {
        refused!(
            hypercall::call(
                abi::GRANT_TABLE_OP,
                [cmd, hypercall::pointer(&mut [0u64; 8]), 1]
            ),
            "operation {cmd}"
        );
    }
    for [one, other] in [[0, 0xffff_ffffu64], [0xffff_ffff, 0], [8, 8], [8, 1 << 20]] {
        op(SWAP, &mut [one | other << 32, 0]);
    }
    // Counts that no list has.
    for count in [u64::from(u32::MAX), 1 << 31] {
        for cmd in [MAP, UNMAP, COPY] {
            refused!(
                hypercall::call(abi::GRANT_TABLE_OP, [cmd, abi::VIRT_BASE - 4096, count]),
                "operation {cmd}, {count} times"
            );
        }
    }
}
