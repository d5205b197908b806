//! Behaviour: multicall (pv-abi 2.4).
//! Trigger: lists with good, failing, unknown and nested entries, and lists that cannot be read.
//! Expectation: each entry gets its own result, and one failure stops nothing.
#![no_std]
#![no_main]

use rexen_guests::{abi, check_eq, guest, hypercall, memory};

guest!("multicall", main);

/// `struct multicall_entry`.
#[repr(C)]
#[derive(Clone, Copy)]
struct Entry {
    op: u64,
    result: i64,
    arguments: [u64; 6],
}

fn entry<const N: usize>(op: u32, arguments: [u64; N]) -> Entry {
    let mut words = [0; 6];
    words[..N].copy_from_slice(&arguments);
    Entry {
        op: u64::from(op),
        result: 0x5555,
        arguments: words,
    }
}

fn main() {
    let scratch = memory::new_page();
    let mut inner = [entry(abi::XEN_VERSION, [0])];
    let nested = hypercall::pointer(&mut inner);
    let mut list = [
        entry(abi::XEN_VERSION, [0]),
        entry(
            abi::UPDATE_VA_MAPPING,
            [scratch, memory::own_pte(scratch, false), abi::UVMF_INVLPG],
        ),
        entry(63, []),
        entry(abi::MULTICALL, [nested, 1]),
        entry(abi::XEN_VERSION, [1, 0x1000]),
        entry(
            abi::UPDATE_VA_MAPPING,
            [scratch, memory::own_pte(scratch, false) | 1 << 51, 0],
        ),
        entry(abi::XEN_VERSION, [7]),
    ];
    let result = hypercall::call(
        abi::MULTICALL,
        [hypercall::pointer(&mut list), list.len() as u64],
    );
    check_eq!(result, 0, "multicall");
    check_eq!(list[0].result >> 16, 4, "the version");
    check_eq!(list[1].result, 0, "update_va_mapping");
    check_eq!(memory::pte_of(scratch) & abi::PTE_RW, 0, "its effect");
    check_eq!(list[2].result, abi::ENOSYS, "an unknown hypercall");
    check_eq!(list[3].result, abi::EINVAL, "a multicall in a multicall");
    check_eq!(inner[0].result, 0x5555, "the inner entry is untouched");
    check_eq!(list[4].result, abi::EFAULT, "a bad pointer");
    check_eq!(list[5].result, abi::EPERM, "a bad frame");
    check_eq!(list[6].result, 4096, "the page size, after failures");
    for (index, entry) in list.iter().enumerate() {
        check_eq!(
            entry.op,
            [17, 14, 63, 13, 17, 14, 17][index],
            "the number of entry {index} is kept"
        );
    }

    check_eq!(
        hypercall::call(abi::MULTICALL, [0, 0]),
        0,
        "an empty multicall"
    );
    check_eq!(
        hypercall::call(abi::MULTICALL, [0x1000, 1]),
        abi::EFAULT,
        "a list that is not there"
    );
    check_eq!(
        hypercall::call(abi::MULTICALL, [abi::HYPERVISOR_VIRT_START, 1]),
        abi::EFAULT,
        "a list in the hole"
    );
    // A list that runs off the end of what is mapped: what is readable is done.
    let [page, next] = [memory::new_page(), memory::new_page()];
    check_eq!(next, page + 4096, "pages in a row");
    check_eq!(
        hypercall::update_va_mapping(next, 0),
        0,
        "unmapping the second"
    );
    let last = page + 4096 - 64;
    memory::write(last, u64::from(abi::XEN_VERSION));
    memory::write(last + 16, 7);
    check_eq!(
        hypercall::call(abi::MULTICALL, [last, 2]),
        abi::EFAULT,
        "a list across into nothing"
    );
    check_eq!(memory::read(last + 8), 4096, "its first entry's result");
    // Many entries: preemptible, and all done.
    let mut many = [entry(abi::XEN_VERSION, [7]); 200];
    check_eq!(
        hypercall::call(abi::MULTICALL, [hypercall::pointer(&mut many), 200]),
        0,
        "200 entries"
    );
    check_eq!(
        many.iter().filter(|entry| entry.result == 4096).count(),
        200,
        "results among 200 entries"
    );
}
