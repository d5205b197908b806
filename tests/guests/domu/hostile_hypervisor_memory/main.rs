//! Attack: the hypervisor's own memory, and what it shares with the guest (pv-abi 13; XSA-100, 122, 215, 239).
//! Trigger: loads, stores and jumps all over the hypervisor's addresses; stores to the machine-to-physical table; shared
//! pages made tables or given back; any value in one's own machine-to-physical entries.
//! Expectation: faults of this guest's own, and refusals. Harmless to Xen.
#![no_std]
#![no_main]

use rexen_guests::{
    abi, check, check_eq, entry, event, guest, hypercall, machine, memory, refused, trap,
};

guest!("hostile_hypervisor_memory", main);

const RIGHTS: u64 = abi::PTE_P | abi::PTE_RW | abi::PTE_US | abi::PTE_A;
/// Where the read-only machine-to-physical table ends for a small machine, and the rest is nothing of the guest's.
const TABLE_BYTES: u64 = 0x10_0000;

fn vector(code: impl FnOnce()) -> Option<u64> {
    trap::catch(code).map(|frame| frame.vector)
}

fn main() {
    event::shared_info();
    addresses();
    the_table();
    shared_pages();
    own_entries();
    shared_pages_back();
}

fn addresses() {
    // A page of each L4 entry, and of each power of two within.
    let starts = (256..272u64).map(|index| index << 39 | 0xffff << 48);
    for start in starts {
        for shift in 12..39 {
            let address = start + (1 << shift);
            let is_table = (abi::MACH2PHYS_VIRT_START..abi::MACH2PHYS_VIRT_START + TABLE_BYTES)
                .contains(&address);
            let is_beyond = address >= abi::HYPERVISOR_VIRT_END;
            if is_beyond {
                continue;
            }
            let stored = vector(|| memory::write(address, 0x5555));
            check_eq!(stored, Some(trap::PF), "a store at {address:#x}");
            if !is_table && start != abi::MACH2PHYS_VIRT_START {
                let loaded = vector(|| {
                    memory::read(address);
                });
                check_eq!(loaded, Some(trap::PF), "a load at {address:#x}");
            }
            let jumped = vector(|| machine!("jmp {}", in(reg) address, options(noreturn)));
            check!(jumped.is_some(), "a jump to {address:#x}");
        }
    }
    for number in 0..64 {
        // A locked operation on a table entry, where writes are emulated.
        let address = abi::MACH2PHYS_VIRT_START + number * 8;
        let seen =
            vector(|| machine!("lock cmpxchg [{0}], {0}", in(reg) address, inout("rax") 0u64 => _));
        check_eq!(seen, Some(trap::PF), "a locked store to the table");
    }
}

fn the_table() {
    let mfn = memory::mfn_of(memory::new_page());
    let entry = abi::MACH2PHYS_VIRT_START + mfn * 8;
    let before = memory::read(entry);
    check_eq!(
        vector(|| memory::write(entry, 0)),
        Some(trap::PF),
        "a store to one's own entry"
    );
    check_eq!(memory::read(entry), before, "the entry");
    // Where the table is, for whom may know.
    let mut frames = [0u64; 16];
    let mut list = [16, hypercall::pointer(&mut frames), 0];
    if hypercall::call(abi::MEMORY_OP, [5, hypercall::pointer(&mut list)]) != 0 {
        return;
    }
    let window = memory::new_page();
    for frame in frames.into_iter().take((list[2] as u32).min(16) as usize) {
        for rights in [RIGHTS, RIGHTS & !abi::PTE_RW] {
            refused!(
                hypercall::update_va_mapping(window, frame << 12 | rights),
                "mapping frame {frame:#x} of the table"
            );
            let mut request = [
                memory::maddr_of(memory::entry_address(window, 1).unwrap_or(0)),
                frame << 12 | rights,
            ];
            let arguments = [hypercall::pointer(&mut request), 1, 0, 0x7ff2];
            refused!(
                hypercall::call(abi::MMU_UPDATE, arguments),
                "mapping it as DOMID_XEN's"
            );
        }
        for level in 0..4 {
            refused!(
                hypercall::mmuext(abi::MMUEXT_PIN_L1_TABLE + level, frame, 0),
                "pinning it"
            );
        }
    }
}

/// shared_info and the grant table: the hypervisor's pages, lent.
fn shared_pages() {
    let mut grants = u64::MAX;
    let mut setup = [
        abi::DOMID_SELF | 1 << 32,
        0,
        hypercall::pointer(&mut grants),
    ];
    hypercall::call(abi::GRANT_TABLE_OP, [2, hypercall::pointer(&mut setup), 1]);
    let shared = entry::start_info().shared_info / memory::PAGE;
    let table = memory::new_page();
    for mfn in [shared, grants] {
        for level in 0..4 {
            refused!(
                hypercall::mmuext(abi::MMUEXT_PIN_L1_TABLE + level, mfn, 0),
                "pinning shared frame {mfn:#x}"
            );
        }
        refused!(
            hypercall::mmuext(abi::MMUEXT_NEW_BASEPTR, mfn, 0),
            "it as cr3"
        );
        let mut frames = [mfn; 16];
        let used = hypercall::call(abi::SET_GDT, [hypercall::pointer(&mut frames), 512]);
        check!(used < 0, "it as GDT: {used}");
        let mut place = [mfn, 0];
        hypercall::call(abi::VCPU_OP, [10, 0, hypercall::pointer(&mut place)]);
        memory::clear(table);
        memory::write(table, mfn << 12 | RIGHTS);
        memory::seal(table);
        for level in 2..=4 {
            refused!(
                memory::pin(table, level),
                "a table of level {level} that names it"
            );
        }
        check_eq!(memory::set_writable(table, true), 0, "the table, plain");
    }
    check_eq!(
        memory::read(event::shared_info() + 0xc00) & 1,
        0,
        "shared_info is there"
    );
}

/// The table says about one's own frames what one wants; the hypervisor must not believe it.
fn own_entries() {
    let page = memory::new_page();
    let mfn = memory::mfn_of(page);
    let pfn = memory::read(abi::MACH2PHYS_VIRT_START + mfn * 8);
    for value in [0, u64::MAX, 1 << 40, abi::HYPERVISOR_VIRT_START, !0 >> 1] {
        check_eq!(
            hypercall::mmu_update(mfn << 12 | 1, value),
            0,
            "setting one's own entry to {value:#x}"
        );
        memory::clear(page);
        memory::seal(page);
        check_eq!(memory::pin(page, 1), 0, "pinning the page");
        check_eq!(memory::unpin(page), 0, "unpinning it");
        check_eq!(memory::set_writable(page, true), 0, "mapping it writable");
    }
    check_eq!(
        hypercall::mmu_update(mfn << 12 | 1, pfn),
        0,
        "the entry as it was"
    );
    check_eq!(memory::va_of_mfn(mfn), page, "the table is right again");
}

/// Xen takes them, and lives; it is enough that nothing is lost, which the warden sees.
fn shared_pages_back() {
    let mut grants = [u64::MAX; 4];
    let mut setup = [
        abi::DOMID_SELF | 4 << 32,
        0,
        hypercall::pointer(&mut grants),
    ];
    hypercall::call(abi::GRANT_TABLE_OP, [2, hypercall::pointer(&mut setup), 1]);
    let shared = entry::start_info().shared_info / memory::PAGE;
    for mfn in grants.into_iter().chain([shared]) {
        for _ in 0..2 {
            let mut list = [mfn];
            let mut reservation = [hypercall::pointer(&mut list), 1, 0, abi::DOMID_SELF];
            let done = hypercall::call(abi::MEMORY_OP, [1, hypercall::pointer(&mut reservation)]);
            check!(
                (-4095..=1).contains(&done),
                "giving shared frame {mfn:#x} back: {done}"
            );
        }
        let mut frames = [mfn; 16];
        hypercall::call(abi::SET_GDT, [hypercall::pointer(&mut frames), 512]);
        hypercall::call(abi::SET_GDT, [hypercall::pointer(&mut frames), 0]);
        hypercall::mmuext(abi::MMUEXT_PIN_L1_TABLE, mfn, 0);
    }
    hypercall::call(abi::SET_TIMER_OP, [1]);
    check_eq!(
        hypercall::call(abi::XEN_VERSION, [0, 0]) >> 16,
        4,
        "the version"
    );
}
