//! Behaviour: descriptor tables (pv-abi 3.1).
//! Trigger: set_gdt, update_descriptor and SET_LDT with good and bad pages and descriptors; selectors loaded from them.
//! Expectation: only harmless descriptors enter a table, always with DPL 3; the tables are not writable while in use.
#![no_std]
#![no_main]

use rexen_guests::{abi, check, check_eq, guest, hypercall, machine, memory, trap};

guest!("descriptors", main);

const DATA_DPL0: u64 = 0x00cf_9300_0000_ffff;
const DATA_DPL3: u64 = 0x00cf_f300_0000_ffff;
const CODE64_DPL0: u64 = 0x00af_9b00_0000_ffff;
const CODE64_DPL3: u64 = 0x00af_fb00_0000_ffff;
const TSS: u64 = 0x0000_8900_0000_0067;
const LDT: u64 = 0x0000_8200_0000_0067;
const INTERRUPT_GATE: u64 = 0x0000_8e00_e008_0000;

fn set_gdt(page: u64, entries: u64) -> i64 {
    let mut frames = [memory::mfn_of(page); 16];
    hypercall::call(abi::SET_GDT, [hypercall::pointer(&mut frames), entries])
}

fn update(at: u64, descriptor: u64) -> i64 {
    hypercall::call(abi::UPDATE_DESCRIPTOR, [memory::maddr_of(at), descriptor])
}

fn load_ds(selector: u32) -> Option<(u64, u64)> {
    trap::catch(|| machine!("mov ds, {0:e}", in(reg) selector))
        .map(|frame| (frame.vector, frame.error))
}

fn load_fs(selector: u32) -> Option<(u64, u64)> {
    trap::catch(|| machine!("mov fs, {0:e}", in(reg) selector))
        .map(|frame| (frame.vector, frame.error))
}

fn main() {
    gdt();
    ldt();
}

fn gdt() {
    let page = memory::new_page();
    memory::write(page + 8, DATA_DPL0);
    memory::write(page + 16, CODE64_DPL0);
    memory::write(page + 24, DATA_DPL3 & !(1 << 47));
    check_eq!(
        set_gdt(page, 512),
        abi::EINVAL,
        "set_gdt with a page that is mapped writable"
    );
    memory::seal(page);
    check_eq!(
        set_gdt(page, 7169),
        abi::EINVAL,
        "set_gdt with too many entries"
    );
    check_eq!(
        hypercall::call(abi::SET_GDT, [0x1000, 512]),
        abi::EFAULT,
        "set_gdt with an unmapped list"
    );
    check_eq!(set_gdt(page, 512), 0, "set_gdt");
    check_eq!(
        memory::read(page + 8) & !(1 << 40),
        DATA_DPL3 & !(1 << 40),
        "a data descriptor gets DPL 3"
    );
    check_eq!(
        memory::read(page + 16) & !(1 << 40),
        CODE64_DPL3 & !(1 << 40),
        "a code descriptor gets DPL 3"
    );
    check_eq!(
        memory::set_writable(page, true),
        abi::EBUSY,
        "mapping the GDT writable"
    );

    check_eq!(load_ds(8), None, "ds from the guest's GDT");
    check_eq!(load_ds(8 | 3), None, "ds with RPL 3");
    check_eq!(load_ds(24), Some((trap::NP, 24)), "ds that is not present");
    check_eq!(
        load_ds(32),
        Some((trap::GP, 32)),
        "ds of an empty descriptor"
    );
    check_eq!(
        load_ds(511 * 8),
        Some((trap::GP, 511 * 8)),
        "ds of the last, empty descriptor"
    );
    check_eq!(load_ds(0xe02b), None, "ds from the hypervisor's part");
    check_eq!(
        load_ds(0xe010),
        Some((trap::GP, 0xe010)),
        "ds of the hypervisor's own"
    );
    check_eq!(load_ds(0), None, "ds null");

    for (name, descriptor) in [
        ("TSS", TSS),
        ("LDT", LDT),
        ("an interrupt gate", INTERRUPT_GATE),
    ] {
        check_eq!(
            update(page + 40, descriptor),
            abi::EINVAL,
            "update_descriptor with {name}"
        );
        check_eq!(memory::read(page + 40), 0, "the descriptor after {name}");
    }
    check_eq!(
        update(page + 40, DATA_DPL0),
        0,
        "update_descriptor with data"
    );
    check_eq!(memory::read(page + 40), DATA_DPL3, "it gets DPL 3");
    check_eq!(load_ds(40), None, "ds from the new descriptor");
    check_eq!(load_ds(0), None, "ds null");
    check_eq!(update(page + 40, 0), 0, "update_descriptor with 0");
    check_eq!(
        load_ds(40),
        Some((trap::GP, 40)),
        "ds from the cleared descriptor"
    );
    check_eq!(
        hypercall::call(abi::UPDATE_DESCRIPTOR, [memory::maddr_of(page) + 4, 0]),
        abi::EINVAL,
        "update_descriptor at a crooked address"
    );
    let table = memory::entry_address(page, 1).unwrap_or(0) & !7;
    check_eq!(
        update(table, 0),
        abi::EINVAL,
        "update_descriptor in a page table"
    );
    let theirs = memory::read(rexen_guests::entry::start_info().pt_base + 261 * 8) & abi::PTE_FRAME;
    check_eq!(
        hypercall::call(abi::UPDATE_DESCRIPTOR, [theirs, 0]),
        abi::EINVAL,
        "update_descriptor in the hypervisor's memory"
    );
    // A page with a bad descriptor is refused whole, and the table in use stays.
    let bad = memory::new_page();
    memory::write(bad + 80, TSS);
    memory::seal(bad);
    check_eq!(
        set_gdt(bad, 512),
        abi::EINVAL,
        "set_gdt with a TSS in the page"
    );
    check_eq!(load_ds(8), None, "ds from the table still in use");
    check_eq!(load_ds(0), None, "ds null");
    check_eq!(set_gdt(page, 0), 0, "set_gdt with no entry");
    check_eq!(load_ds(8), Some((trap::GP, 8)), "ds without a table");
    check_eq!(
        memory::set_writable(page, true),
        0,
        "the page, writable again"
    );
}

fn ldt() {
    let page = memory::new_page();
    memory::write(page + 8, DATA_DPL0);
    check_eq!(load_fs(8 | 4), Some((trap::GP, 8 | 4)), "fs without an LDT");
    memory::seal(page);
    check_eq!(
        hypercall::mmuext(abi::MMUEXT_SET_LDT, page + 8, 512),
        abi::EINVAL,
        "SET_LDT at a crooked address"
    );
    check_eq!(
        hypercall::mmuext(abi::MMUEXT_SET_LDT, page, 8193),
        abi::EINVAL,
        "SET_LDT with too many entries"
    );
    check_eq!(
        hypercall::mmuext(abi::MMUEXT_SET_LDT, page, 512),
        0,
        "SET_LDT"
    );
    check_eq!(load_fs(8 | 4), None, "fs from the LDT, faulted in");
    check_eq!(
        memory::read(page + 8) & 3 << 45,
        3 << 45,
        "the LDT descriptor gets DPL 3"
    );
    check_eq!(
        load_fs(16 | 4),
        Some((trap::GP, 16 | 4)),
        "fs of an empty LDT descriptor"
    );
    check_eq!(
        memory::set_writable(page, true),
        abi::EBUSY,
        "mapping the LDT writable"
    );
    check_eq!(load_fs(0), None, "fs null");
    check_eq!(hypercall::mmuext(abi::MMUEXT_SET_LDT, 0, 0), 0, "no LDT");
    check_eq!(
        load_fs(8 | 4),
        Some((trap::GP, 8 | 4)),
        "fs after the LDT went"
    );
    check_eq!(
        memory::set_writable(page, true),
        0,
        "the LDT page, writable again"
    );
    // A page that is mapped writable cannot be faulted in: the guest gets a page fault or a protection fault.
    check_eq!(
        hypercall::mmuext(abi::MMUEXT_SET_LDT, page, 512),
        0,
        "SET_LDT of a writable page"
    );
    let seen = load_fs(8 | 4);
    check!(seen.is_some(), "fs from an LDT that is mapped writable");
    check_eq!(seen.map(|(vector, _)| vector), Some(trap::PF), "its vector");
    check_eq!(hypercall::mmuext(abi::MMUEXT_SET_LDT, 0, 0), 0, "no LDT");
}
