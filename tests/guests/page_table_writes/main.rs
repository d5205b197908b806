//! Behaviour: writes to page tables that a guest must never get (pv-abi 4.2, 4.3).
//! Trigger: update_va_mapping, mmu_update and plain stores with forbidden values.
//! Expectation: -EINVAL for what is malformed, -EBUSY for a frame that cannot be had, -EPERM for one that is no
//! memory, the guest's own #PF for a store; and the entry as it was.
#![no_std]
#![no_main]

use rexen_guests::{abi, check, check_eq, entry, guest, hypercall, memory, trap};

guest!("page_table_writes", main);

fn main() {
    let scratch = memory::new_page();
    page_tables_are_never_writable(scratch);
    only_own_frames_are_mapped(scratch);
    the_hole_is_not_the_guests();
    reserved_bits_and_superpages(scratch);
    bad_requests(scratch);
    good_writes(scratch);
}

fn table_of(va: u64, level: u32) -> u64 {
    memory::entry_address(va, level).expect("the tables of the initial mapping") & !4095
}

fn page_tables_are_never_writable(scratch: u64) {
    for level in 1..=4 {
        let table = table_of(scratch, level);
        let before = memory::pte_of(scratch);
        let mapping = memory::own_pte(table, true);
        check_eq!(
            hypercall::update_va_mapping(scratch, mapping),
            abi::EBUSY,
            "update_va_mapping, L{level} writable"
        );
        let l1e = memory::maddr_of(memory::entry_address(scratch, 1).unwrap_or(0));
        check_eq!(
            hypercall::mmu_update(l1e, mapping),
            abi::EBUSY,
            "mmu_update, L{level} writable"
        );
        check_eq!(
            memory::pte_of(scratch),
            before,
            "the entry after refusals, L{level}"
        );
        check_eq!(
            memory::set_writable(table, true),
            abi::EBUSY,
            "L{level} writable where it is mapped"
        );
        // Nor does a store get the mapping in. (For domain 0 Xen carries out good stores to an L1 even without the VM
        // assist, so only a bad one shows the same everywhere.)
        let entry = memory::entry_address(scratch, level).unwrap_or(0);
        let seen = trap::catch(|| memory::write(entry, mapping));
        check_eq!(
            seen.map(|f| (f.vector, f.error)),
            Some((trap::PF, 3)),
            "a store to L{level}"
        );
        check_eq!(memory::read_cr2(), entry, "cr2 of a store to L{level}");
        // Read-only mappings are fine.
        check_eq!(
            hypercall::update_va_mapping(scratch, memory::own_pte(table, false)),
            0,
            "L{level} read-only"
        );
        check_eq!(
            memory::set_writable(scratch, true),
            0,
            "the scratch page back"
        );
    }
}

fn only_own_frames_are_mapped(scratch: u64) {
    // The hypervisor's own table, found in the L4 that the guest may read.
    for slot in [256, 261, 262] {
        let theirs = memory::read(entry::start_info().pt_base + slot * 8) & abi::PTE_FRAME;
        check!(theirs != 0, "L4 slot {slot} is the hypervisor's");
        for rights in [abi::PTE_P, abi::PTE_P | abi::PTE_RW] {
            let result = hypercall::update_va_mapping(scratch, theirs | rights | abi::PTE_US);
            check_eq!(
                result,
                abi::EBUSY,
                "the table of L4 slot {slot}, rights {rights}"
            );
        }
    }
    // shared_info belongs to the guest, and may be mapped.
    let shared = entry::start_info().shared_info;
    check_eq!(
        hypercall::update_va_mapping(scratch, shared | 7),
        0,
        "shared_info"
    );
    check_eq!(
        memory::set_writable(scratch, true),
        0,
        "the scratch page back"
    );
}

fn the_hole_is_not_the_guests() {
    let l4 = entry::start_info().pt_base;
    let maddr = memory::maddr_of(l4);
    let own = memory::read(memory::entry_address(abi::VIRT_BASE, 4).unwrap_or(0));
    for slot in [256, 257, 260, 261, 270, 271] {
        let before = memory::read(l4 + slot * 8);
        check_eq!(
            hypercall::mmu_update(maddr + slot * 8, own),
            abi::EINVAL,
            "L4 slot {slot}"
        );
        check_eq!(
            hypercall::mmu_update(maddr + slot * 8, 0),
            abi::EINVAL,
            "L4 slot {slot} to 0"
        );
        check_eq!(
            memory::read(l4 + slot * 8),
            before,
            "L4 slot {slot} after refusals"
        );
    }
    for slot in [0, 255, 272, 510] {
        check_eq!(
            hypercall::mmu_update(maddr + slot * 8, own),
            0,
            "L4 slot {slot}, the guest's"
        );
        check_eq!(
            memory::read(l4 + slot * 8) & abi::PTE_FRAME,
            own & abi::PTE_FRAME,
            "L4 slot {slot}"
        );
        check_eq!(
            hypercall::mmu_update(maddr + slot * 8, 0),
            0,
            "L4 slot {slot} to 0"
        );
        check_eq!(memory::read(l4 + slot * 8), 0, "L4 slot {slot} after 0");
    }
    for va in [
        abi::HYPERVISOR_VIRT_START,
        0xffff_82d0_4000_0000,
        abi::HYPERVISOR_VIRT_END - 4096,
    ] {
        check_eq!(
            hypercall::update_va_mapping(va, 0),
            abi::EINVAL,
            "update_va_mapping at {va:#x}"
        );
    }
}

fn reserved_bits_and_superpages(scratch: u64) {
    let own = memory::own_pte(scratch, true);
    check_eq!(
        hypercall::update_va_mapping(scratch, own | 1 << 51),
        abi::EPERM,
        "L1 frame bit 51"
    );
    let before = memory::pte_of(scratch);
    for level in 2..=4 {
        let entry = memory::entry_address(scratch, level).unwrap_or(0);
        let (value, at) = (memory::read(entry), memory::maddr_of(entry));
        for (name, bit) in [
            ("PSE", abi::PTE_PSE),
            ("G", abi::PTE_G),
            ("PCD", 0x10),
            ("PWT", 8),
            ("frame bit 51", 1 << 51),
        ] {
            // Bit 8 of an L2 to L4 entry is ignored by the processor, yet refused.
            check_eq!(
                hypercall::mmu_update(at, value | bit),
                abi::EINVAL,
                "L{level} with {name}"
            );
        }
        check_eq!(
            memory::read(entry),
            value,
            "the L{level} entry after refusals"
        );
        // A table of the wrong level.
        let wrong = memory::own_pte(table_of(scratch, level), true);
        check_eq!(
            hypercall::mmu_update(at, wrong),
            abi::EINVAL,
            "L{level} pointing to an L{level}"
        );
        let page = memory::own_pte(scratch, true);
        check_eq!(
            hypercall::mmu_update(at, page),
            abi::EINVAL,
            "L{level} pointing to a writable page"
        );
        check_eq!(
            memory::read(entry),
            value,
            "the L{level} entry after wrong tables"
        );
    }
    check_eq!(memory::pte_of(scratch), before, "the scratch mapping");
}

fn bad_requests(scratch: u64) {
    let l1e = memory::maddr_of(memory::entry_address(scratch, 1).unwrap_or(0));
    let own = memory::own_pte(scratch, true);
    check_eq!(
        hypercall::mmu_update(l1e | 3, own),
        0,
        "mmu_update type 3 (no translate) is served"
    );
    check_eq!(
        hypercall::mmu_update(l1e | 4, own),
        abi::ENOSYS,
        "mmu_update type 4"
    );
    let foreign = entry::start_info().pt_base;
    let theirs = memory::read(foreign + 261 * 8) & abi::PTE_FRAME;
    check_eq!(
        hypercall::mmu_update(theirs, 0),
        abi::EINVAL,
        "mmu_update of a table that is not the guest's"
    );
    let mut request = [l1e, own];
    let result = hypercall::call(
        abi::MMU_UPDATE,
        [hypercall::pointer(&mut request), 1, 0, 1234],
    );
    check_eq!(
        result,
        abi::ESRCH,
        "mmu_update for a domain that is not there"
    );
    check_eq!(
        hypercall::update_va_mapping(0x5000_0000, own),
        abi::EINVAL,
        "update_va_mapping without an L1"
    );
}

fn good_writes(scratch: u64) {
    let l1e = memory::maddr_of(memory::entry_address(scratch, 1).unwrap_or(0));
    let other = memory::new_page();
    memory::write(other, 0x1111);
    memory::write(scratch, 0x2222);
    let mut done = 77u32;
    let mut requests = [
        l1e,
        memory::own_pte(other, false),
        l1e,
        memory::own_pte(other, true),
    ];
    let result = hypercall::call(
        abi::MMU_UPDATE,
        [
            hypercall::pointer(&mut requests),
            2,
            hypercall::pointer(&mut done),
            abi::DOMID_SELF,
        ],
    );
    check_eq!((result, done), (0, 2), "two requests");
    hypercall::mmuext(abi::MMUEXT_TLB_FLUSH_LOCAL, 0, 0);
    check_eq!(
        memory::read(scratch),
        0x1111,
        "the page mapped by mmu_update"
    );
    // The second of three fails: one done, the third untouched.
    requests[3] = memory::own_pte(table_of(scratch, 1), true);
    done = 77;
    let result = hypercall::call(
        abi::MMU_UPDATE,
        [
            hypercall::pointer(&mut requests),
            2,
            hypercall::pointer(&mut done),
            abi::DOMID_SELF,
        ],
    );
    check_eq!((result, done), (abi::EBUSY, 1), "the second request bad");
    check_eq!(
        memory::pte_of(scratch) & abi::PTE_RW,
        0,
        "the first request was carried out"
    );
    check_eq!(
        memory::set_writable(scratch, true),
        0,
        "the scratch page back"
    );
    check_eq!(memory::read(scratch), 0x2222, "the scratch page");
    // A non-present entry holds anything.
    check_eq!(
        hypercall::update_va_mapping(scratch, 0xffff_ffff_ffff_fffe),
        0,
        "a non-present entry"
    );
    check_eq!(
        memory::pte_of(scratch),
        0xffff_ffff_ffff_fffe,
        "a non-present entry is kept"
    );
    check_eq!(
        memory::set_writable(scratch, true),
        0,
        "the scratch page back"
    );
    // MMU_PRESERVE_AD keeps accessed and dirty.
    memory::write(scratch, 0x3333);
    let mapping = memory::own_pte(scratch, true) & !abi::PTE_A;
    check_eq!(
        hypercall::mmu_update(l1e | 2, mapping),
        0,
        "mmu_update preserving A and D"
    );
    check_eq!(memory::pte_of(scratch) & 0x60, 0x60, "A and D preserved");
    check_eq!(
        hypercall::mmu_update(l1e, mapping),
        0,
        "mmu_update not preserving"
    );
    check_eq!(memory::pte_of(scratch) & 0x60, 0, "A and D not preserved");
}
