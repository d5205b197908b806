//! Behaviour: memory_op (pv-abi 4.7), and mmu_update's machine-to-physical requests (4.6).
//! Trigger: giving pages back, taking pages, exchanging one, asking for the machine's layout.
//! Expectation: the number of extents done; M2P follows; a page given back cannot be mapped or given back again.
#![no_std]
#![no_main]

use rexen_guests::{abi, check, check_eq, entry, guest, hypercall, memory};

guest!("memory_reservation", main);

const DECREASE: u64 = 1;
const MAXIMUM_RAM_PAGE: u64 = 2;
const CURRENT: u64 = 3;
const MAXIMUM: u64 = 4;
const POPULATE: u64 = 6;
const MACHINE_MEMORY_MAP: u64 = 10;
const EXCHANGE: u64 = 11;
const MACHPHYS_MAPPING: u64 = 12;

/// `struct xen_memory_reservation`: extents, their number, order and mem_flags, domain.
fn reservation(list: &mut [u64], order: u64) -> [u64; 4] {
    [
        list.as_mut_ptr() as u64,
        list.len() as u64,
        order,
        abi::DOMID_SELF,
    ]
}

fn op<const N: usize>(cmd: u64, words: &mut [u64; N]) -> i64 {
    hypercall::call(abi::MEMORY_OP, [cmd, hypercall::pointer(words)])
}

fn m2p(mfn: u64) -> u64 {
    memory::read(abi::MACH2PHYS_VIRT_START + mfn * 8)
}

fn current() -> i64 {
    op(CURRENT, &mut [abi::DOMID_SELF])
}

fn main() {
    layout();
    give_and_take();
    exchange();
    machine_to_physical();
}

fn layout() {
    let nr_pages = entry::start_info().nr_pages.cast_signed();
    check_eq!(current(), nr_pages, "current_reservation");
    check!(
        op(MAXIMUM, &mut [abi::DOMID_SELF]) >= nr_pages,
        "maximum_reservation"
    );
    let highest = op(MAXIMUM_RAM_PAGE, &mut [0]);
    check!(
        highest > nr_pages && highest < 1 << 40,
        "maximum_ram_page {highest:#x}"
    );
    let mut mapping = [0u64; 3];
    check_eq!(op(MACHPHYS_MAPPING, &mut mapping), 0, "machphys_mapping");
    check_eq!(mapping[0], abi::MACH2PHYS_VIRT_START, "v_start");
    check_eq!(mapping[1], abi::MACH2PHYS_VIRT_START + (1 << 38), "v_end");
    check!(
        mapping[2] > 0 && mapping[2] < 1 << 35,
        "max_mfn {:#x}",
        mapping[2]
    );
    // struct xen_memory_map: u32 nr_entries, buffer; an entry is 20 bytes.
    let mut entries = [0u32; 5 * 64];
    let mut map = [64, hypercall::pointer(&mut entries)];
    check_eq!(op(MACHINE_MEMORY_MAP, &mut map), 0, "machine_memory_map");
    let count = map[0] as u32 as usize;
    check!(
        (1..=64).contains(&count),
        "{count} entries in the machine's map"
    );
    let ram = entries
        .chunks_exact(5)
        .take(count)
        .filter(|entry| entry[4] == 1)
        .count();
    check!(ram > 0, "no RAM in the machine's map");
    check_eq!(
        op(3, &mut [1234]),
        abi::ESRCH,
        "current_reservation of a domain that is not there"
    );
    check_eq!(op(63, &mut [0]), abi::ENOSYS, "memory_op 63");
    // These answer with the number of extents done even then.
    check_eq!(
        hypercall::call(abi::MEMORY_OP, [POPULATE, 0x1000]),
        0,
        "populate_physmap at a bad pointer"
    );
    check_eq!(
        hypercall::call(abi::MEMORY_OP, [EXCHANGE, 0x1000]),
        abi::EFAULT,
        "exchange at a bad pointer"
    );
}

fn give_and_take() {
    let page = memory::new_page();
    let (pfn, mfn) = ((page - abi::VIRT_BASE) / 4096, memory::mfn_of(page));
    let pages = current();
    check_eq!(hypercall::update_va_mapping(page, 0), 0, "unmapping");
    let mut list = [mfn];
    check_eq!(
        op(DECREASE, &mut reservation(&mut list, 0)),
        1,
        "decrease_reservation"
    );
    check_eq!(current(), pages - 1, "pages after decrease");
    check!(m2p(mfn) != pfn, "the M2P entry of a page given back");
    check_eq!(
        op(DECREASE, &mut reservation(&mut list, 0)),
        0,
        "giving it back twice"
    );
    let result = hypercall::update_va_mapping(page, (mfn * 4096) | 7);
    check_eq!(result, abi::EBUSY, "mapping a page given back");

    let mut list = [pfn];
    check_eq!(
        op(POPULATE, &mut reservation(&mut list, 0)),
        1,
        "populate_physmap"
    );
    check_eq!(current(), pages, "pages after populate");
    check_eq!(m2p(list[0]), pfn, "the M2P entry of the new page");
    check_eq!(
        hypercall::update_va_mapping(page, (list[0] * 4096) | 7),
        0,
        "mapping the new page"
    );
    memory::write(page, 0x99);
    check_eq!(memory::read(page), 0x99, "the new page");

    // A foreign frame among good ones: done up to it.
    let other = memory::new_page();
    let (other_pfn, other_mfn) = ((other - abi::VIRT_BASE) / 4096, memory::mfn_of(other));
    check_eq!(hypercall::update_va_mapping(other, 0), 0, "unmapping");
    let theirs = (memory::read(entry::start_info().pt_base + 261 * 8) & abi::PTE_FRAME) / 4096;
    let mut list = [other_mfn, theirs, 0xff_ffff_ffff];
    check_eq!(
        op(DECREASE, &mut reservation(&mut list, 0)),
        1,
        "decrease_reservation with a foreign frame"
    );
    let mut list = [other_pfn];
    check_eq!(
        op(POPULATE, &mut reservation(&mut list, 0)),
        1,
        "populate_physmap"
    );
    check_eq!(
        hypercall::update_va_mapping(other, (list[0] * 4096) | 7),
        0,
        "mapping the new page"
    );
    let mut list = [other_pfn];
    check_eq!(
        op(POPULATE, &mut reservation(&mut list, 30)),
        0,
        "populate_physmap of order 30"
    );
    check_eq!(
        op(POPULATE, &mut reservation(&mut [], 0)),
        0,
        "populate_physmap of nothing"
    );
    let mut foreign = reservation(&mut list, 0);
    foreign[3] = 1234;
    check_eq!(
        op(POPULATE, &mut foreign),
        0,
        "populate_physmap of a domain that is not there"
    );
}

fn exchange() {
    let page = memory::new_page();
    let (pfn, mfn) = ((page - abi::VIRT_BASE) / 4096, memory::mfn_of(page));
    check_eq!(hypercall::update_va_mapping(page, 0), 0, "unmapping");
    let (mut given, mut taken) = ([mfn], [pfn]);
    let trade = |given: &mut [u64], taken: &mut [u64], order, done| {
        let [a, b] = [reservation(given, 0), reservation(taken, order)];
        let mut words = [a[0], a[1], a[2], a[3], b[0], b[1], b[2], b[3], done];
        (op(EXCHANGE, &mut words), words[8])
    };
    check_eq!(trade(&mut given, &mut taken, 0, 0), (0, 1), "exchange");
    check_eq!(m2p(taken[0]), pfn, "the M2P entry of the page taken");
    check_eq!(
        hypercall::update_va_mapping(page, (taken[0] * 4096) | 7),
        0,
        "mapping it"
    );
    memory::write(page, 1);
    check_eq!(
        trade(&mut given, &mut [pfn, pfn], 0, 0).0,
        abi::EINVAL,
        "exchange of unequal sizes"
    );
    check_eq!(
        trade(&mut given, &mut [pfn], 0, 2).0,
        abi::EINVAL,
        "exchange with too much done"
    );

    // Four frames for one run of four.
    let pages: [u64; 4] = core::array::from_fn(|_| memory::new_page());
    let mut given = pages.map(memory::mfn_of);
    for page in pages {
        check_eq!(hypercall::update_va_mapping(page, 0), 0, "unmapping");
    }
    let first = (pages[0] - abi::VIRT_BASE) / 4096;
    let mut taken = [first];
    check_eq!(
        trade(&mut given, &mut taken, 2, 0),
        (0, 4),
        "exchange for a run of four"
    );
    check_eq!(taken[0] % 4, 0, "the run is aligned");
    for (index, page) in (0..).zip(pages) {
        check_eq!(
            m2p(taken[0] + index),
            first + index,
            "the M2P entry of frame {index} of the run"
        );
        check_eq!(
            hypercall::update_va_mapping(page, ((taken[0] + index) * 4096) | 7),
            0,
            "mapping frame {index}"
        );
    }
}

fn machine_to_physical() {
    let mfn = memory::mfn_of(memory::new_page());
    let before = m2p(mfn);
    check_eq!(
        hypercall::mmu_update((mfn * 4096) | 1, 0x1234),
        0,
        "a machine-to-physical request"
    );
    check_eq!(m2p(mfn), 0x1234, "the M2P entry");
    check_eq!(
        hypercall::mmu_update((mfn * 4096) | 1, before),
        0,
        "the old entry back"
    );
    let theirs = memory::read(entry::start_info().pt_base + 261 * 8) & abi::PTE_FRAME;
    check_eq!(
        hypercall::mmu_update(theirs | 1, 0x1234),
        abi::EINVAL,
        "a request for a foreign frame"
    );
}
