//! Attack: more memory than allowed, the same memory twice, memory in use given away (pv-abi 13; XSA-29, 31, 158, 212, 287).
//! Trigger: populate, decrease and exchange with limits exceeded, counts and orders that overflow, lists in the hypervisor,
//! frames repeated, frames that are tables, mapped or granted.
//! Expectation: no page more than the limit, none lost, none twice. Harmless to Xen.
#![no_std]
#![no_main]

use rexen_guests::{abi, check, check_eq, entry, guest, hypercall, memory};

guest!("hostile_memory", main);

const INCREASE: u64 = 0;
const DECREASE: u64 = 1;
const CURRENT: u64 = 3;
const POPULATE: u64 = 6;
const EXCHANGE: u64 = 11;

fn op<const N: usize>(cmd: u64, words: &mut [u64; N]) -> i64 {
    hypercall::call(abi::MEMORY_OP, [cmd, hypercall::pointer(words)])
}

fn current() -> i64 {
    op(CURRENT, &mut [abi::DOMID_SELF])
}

/// Gives frames back, or takes some for the pages named.
fn change(cmd: u64, list: &mut [u64]) -> i64 {
    let mut reservation = [
        list.as_mut_ptr() as u64,
        list.len() as u64,
        0,
        abi::DOMID_SELF,
    ];
    op(cmd, &mut reservation)
}

fn main() {
    let pages = current();
    check_eq!(
        pages,
        entry::start_info().nr_pages.cast_signed(),
        "the reservation"
    );
    bad_requests();
    check_eq!(current(), pages, "the reservation after bad requests");
    limit(pages);
    in_use(pages);
    exchanges();
    check_eq!(current(), pages, "the reservation after exchanges");
    churn();
    check_eq!(current(), pages, "the reservation at the end");
}

fn bad_requests() {
    let mut list = [
        u64::MAX,
        1 << 40,
        0,
        1,
        memory::mfn_of(entry::start_info().pt_base),
    ];
    check!(
        change(DECREASE, &mut list) <= 0,
        "giving back what is not ours"
    );
    let good = list.as_mut_ptr() as u64;
    for address in [
        0x1234_5000,
        abi::HYPERVISOR_VIRT_START,
        abi::MACH2PHYS_VIRT_START,
        1 << 47,
        !7,
        !0,
        good,
    ] {
        for count in [1, 2, 1 << 32, 1 << 52, 1 << 61, u64::MAX] {
            for order in [0u64, 1, 9, 20, 31, 32, 63, 64, 0xffff_ffff] {
                if address == good && order == 0 {
                    continue;
                }
                for cmd in [INCREASE, DECREASE, POPULATE] {
                    let done = op(cmd, &mut [address, count, order, abi::DOMID_SELF]);
                    check!(
                        done <= 0,
                        "memory_op {cmd} at {address:#x} of {count:#x} extents of order {order}: {done}"
                    );
                }
            }
        }
    }
    // Start extents beyond the list, as a continuation would have them.
    for start in [1u64, 1 << 10, 1 << 20, 1 << 50] {
        for cmd in [INCREASE, DECREASE, POPULATE, EXCHANGE] {
            hypercall::call(
                abi::MEMORY_OP,
                [
                    cmd | start << 6,
                    hypercall::pointer(&mut [0x1234_5000, 1u64, 0, abi::DOMID_SELF, 0, 0, 0, 0, 0]),
                ],
            );
        }
    }
    // Every flag there is.
    for flags in [0xffff_ffffu64, 1 << 8, 64, 0xff] {
        let mut list = [5u64];
        let done = op(
            POPULATE,
            &mut [
                hypercall::pointer(&mut list),
                1,
                flags << 32,
                abi::DOMID_SELF,
            ],
        );
        check!(
            done <= 0,
            "a page beyond the limit with flags {flags:#x}: {done}"
        );
    }
}

fn limit(pages: i64) {
    let mut list: [u64; 64] = core::array::from_fn(|index| 0x10_0000 + index as u64);
    check!(
        change(POPULATE, &mut list) <= 0,
        "64 pages beyond the limit"
    );
    check!(
        change(INCREASE, &mut list) <= 0,
        "64 pages beyond the limit, by increase"
    );
    check_eq!(current(), pages, "the reservation");
    let mut given: [u64; 10] = core::array::from_fn(|index| take_out(index as u64));
    check_eq!(change(DECREASE, &mut given), 10, "giving ten back");
    check!(change(DECREASE, &mut given) <= 0, "giving them back again");
    let mut twice = [take_out(10); 2];
    check_eq!(change(DECREASE, &mut twice), 1, "one twice in a list");
    check_eq!(current(), pages - 11, "the reservation");
    let mut list: [u64; 64] = core::array::from_fn(|index| 0x10 + index as u64);
    check_eq!(change(POPULATE, &mut list), 11, "as many as fit of 64");
    check_eq!(current(), pages, "the reservation");
    for (index, mfn) in list.iter().take(11).enumerate() {
        put_in(index as u64, *mfn);
    }
}

/// Takes a spare page out of the address space: its frame.
fn take_out(index: u64) -> u64 {
    let page = memory::spare_page(index).unwrap_or(0);
    let mfn = memory::pte_of(page) >> 12 & 0xff_ffff_ffff;
    check_eq!(memory::unmap(page), 0, "unmapping spare page {index}");
    mfn
}

fn put_in(index: u64, mfn: u64) {
    let page = memory::spare_page(index).unwrap_or(0);
    check_eq!(
        hypercall::update_va_mapping(page, mfn << 12 | 0x27),
        0,
        "mapping frame {mfn:#x} as spare page {index}"
    );
    memory::write(page, mfn);
}

/// Frames that something still refers to may go only when nothing does any more.
fn in_use(pages: i64) {
    let table = memory::spare_page(20).unwrap_or(0);
    memory::seal(table);
    check_eq!(memory::pin(table, 1), 0, "pinning");
    let mut list = [memory::mfn_of(table)];
    let done = change(DECREASE, &mut list);
    check!(done <= 0 || done == 1, "giving a pinned table back: {done}");
    let now = current();
    check!(
        now == pages || now == pages - done,
        "the reservation: {now}"
    );
    if done != 1 {
        check_eq!(memory::unpin(table), 0, "unpinning");
        memory::set_writable(table, true);
        return;
    }
    // Xen takes it, and the frame is free when its last reference goes.
    memory::unpin(table);
    memory::unmap(table);
    let mut list = [0x20u64];
    check_eq!(change(POPULATE, &mut list), 1, "another page for it");
    put_in(20, list[0]);
}

fn exchanges() {
    let exchange = |input: u64,
                    count: u64,
                    order: u64,
                    output: u64,
                    out_count: u64,
                    out_order: u64,
                    done: u64| {
        op(
            EXCHANGE,
            &mut [
                input,
                count,
                order,
                abi::DOMID_SELF,
                output,
                out_count,
                out_order,
                abi::DOMID_SELF,
                done,
            ],
        )
    };
    let mut list = [take_out(30)];
    let mut answer = [0x30u64; 4];
    let (good, out) = (
        hypercall::pointer(&mut list),
        hypercall::pointer(&mut answer),
    );
    for (count, order, out_count, out_order) in [
        (1, 0, 2, 0),
        (1, 1, 1, 0),
        (1, 0, 1, 9),
        (1, 64, 1, 64),
        (u64::MAX, 0, u64::MAX, 0),
        (1 << 61, 3, 1 << 61, 3),
        (1 << 55, 9, 1 << 63, 0),
        (1, 0xffff_ffff, 1, 0xffff_ffff),
    ] {
        let result = exchange(good, count, order, out, out_count, out_order, 0);
        check!(
            result < 0,
            "exchange of {count:#x} of order {order} for {out_count:#x} of {out_order}: {result}"
        );
    }
    for address in [
        abi::HYPERVISOR_VIRT_START,
        abi::HYPERVISOR_VIRT_START - 8,
        abi::MACH2PHYS_VIRT_START,
        1 << 47,
    ] {
        check!(
            exchange(address, 1, 0, out, 1, 0, 0) < 0,
            "exchange from a list at {address:#x}"
        );
        for done in [0, 1, 1 << 40, 1 << 60, u64::MAX] {
            check!(
                exchange(good, 1, 0, address, 1, 0, done) <= 0,
                "exchange to a list at {address:#x} from {done:#x} on"
            );
        }
    }
    // Progress that is a lie: what lies behind the list would be written.
    for done in [2, 1 << 20, 1 << 61, u64::MAX] {
        check!(
            exchange(good, 1, 0, out, 1, 0, done) <= 0,
            "exchange with {done:#x} done"
        );
    }
    check_eq!(answer[1..] == [0x30; 3], true, "what lies behind the list");
    let result = exchange(good, 1, 0, out, 1, 0, 0);
    check_eq!(result, 0, "a good exchange");
    put_in(30, answer[0]);
    // Xen finds out about this list only when it has exchanged the frame. It is this guest's still, wherever it is.
    let mut list = [take_out(31)];
    check!(
        exchange(hypercall::pointer(&mut list), 1, 0, 0x1234_5000, 1, 0, 0) <= 0,
        "exchange to a list that is not mapped"
    );
}

fn churn() {
    for _ in 0..60 {
        let mut list: [u64; 64] = core::array::from_fn(|index| take_out(40 + index as u64));
        check_eq!(change(DECREASE, &mut list), 64, "giving 64 back");
        let mut list: [u64; 64] = core::array::from_fn(|index| 0x40 + index as u64);
        check_eq!(change(POPULATE, &mut list), 64, "taking 64");
        for (index, mfn) in list.iter().enumerate() {
            put_in(40 + index as u64, *mfn);
        }
    }
}
