//! Behaviour: plain stores to page tables under VM assist 2, carried out by the hypervisor (pv-abi 4.6).
//! Trigger: every store form that kernels use on a live L1: mov, xchg, locked and, or, btr, bts, cmpxchg, short ones.
//! Expectation: as if the page were writable, with old values and flags; a forbidden value is the guest's #PF.
#![no_std]
#![no_main]

use rexen_guests::{abi, check_eq, guest, hypercall, machine, memory, trap};

guest!("writable_page_tables", main);

/// The bits of an entry that the hypervisor may add or the processor sets: A, D, US, G, and 52.
const THEIRS: u64 = 0x20 | 0x40 | 4 | 0x100 | 1 << 52;

fn shape(pte: u64) -> u64 {
    pte & !THEIRS
}

fn main() {
    let scratch = memory::new_page();
    let entry = memory::entry_address(scratch, 1).unwrap_or(0);
    // Domain 0's are carried out before it asks.
    let before = memory::read(entry);
    memory::write(entry, 0);
    check_eq!(memory::read(entry), 0, "mov of 0 without the assist");
    memory::write(entry, before);
    check_eq!(
        hypercall::enable_vm_assist(abi::VMASST_TYPE_WRITABLE_PAGETABLES),
        0,
        "vm_assist"
    );

    let own = memory::own_pte(scratch, true);
    let read_only = memory::own_pte(scratch, false);
    let other = memory::own_pte(memory::new_page(), true);

    memory::write(entry, 0);
    check_eq!(memory::read(entry), 0, "mov of 0");
    memory::write(entry, own);
    check_eq!(shape(memory::read(entry)), shape(own), "mov of an entry");
    memory::write(scratch, 0x77);
    check_eq!(
        memory::read(scratch),
        0x77,
        "the page through the new entry"
    );

    let mut old = 0u64;
    machine!("xchg [{}], {}", in(reg) entry, inout(reg) old);
    check_eq!(shape(old), shape(own), "xchg gives the old entry");
    check_eq!(old & 0x60, 0x60, "xchg gives A and D");
    check_eq!(memory::read(entry), 0, "xchg of 0");
    memory::write(entry, own);

    locked_bits(entry, own, read_only);
    compare_exchange(entry, own, other);
    short_stores(entry);
    memory::write(entry, own);
    forbidden(entry, own);
    higher_levels(scratch);
}

fn locked_bits(entry: u64, own: u64, read_only: u64) {
    let flags: u64;
    machine!("lock and qword ptr [{}], {}", "pushfq", "pop {}", in(reg) entry, in(reg) !abi::PTE_RW, lateout(reg) flags);
    check_eq!(shape(memory::read(entry)), shape(read_only), "lock and");
    check_eq!(flags & 0x841, 0, "flags of lock and: OF, ZF, CF");
    machine!("lock or qword ptr [{}], 2", in(reg) entry);
    check_eq!(shape(memory::read(entry)), shape(own), "lock or");
    let (first, second, third): (u8, u8, u8);
    machine!("lock btr qword ptr [{e}], 1", "setc {a}", "lock btr qword ptr [{e}], 1", "setc {b}",
        "lock bts qword ptr [{e}], 1", "setc {c}", e = in(reg) entry, a = out(reg_byte) first, b = out(reg_byte) second,
        c = out(reg_byte) third);
    check_eq!((first, second, third), (1, 0, 0), "carry of btr, btr, bts");
    check_eq!(shape(memory::read(entry)), shape(own), "btr and bts");
    machine!("or qword ptr [{}], 0x200", in(reg) entry);
    check_eq!(
        shape(memory::read(entry)),
        shape(own) | 0x200,
        "or without lock"
    );
    machine!("and qword ptr [{}], {}", in(reg) entry, in(reg) !0x200u64);
    check_eq!(shape(memory::read(entry)), shape(own), "and without lock");
}

fn compare_exchange(entry: u64, own: u64, other: u64) {
    let current = memory::read(entry);
    let (mut rax, equal) = (current, 0u8);
    let mut equal = equal;
    machine!("lock cmpxchg [{}], {}", "sete {}", in(reg) entry, in(reg) other, inout(reg_byte) equal, inout("rax") rax);
    check_eq!((equal, rax), (1, current), "cmpxchg that matches");
    check_eq!(
        shape(memory::read(entry)),
        shape(other),
        "the entry after cmpxchg"
    );
    let now = memory::read(entry);
    rax = current;
    machine!("lock cmpxchg [{}], {}", "sete {}", in(reg) entry, in(reg) own, inout(reg_byte) equal, inout("rax") rax);
    check_eq!((equal, rax), (0, now), "cmpxchg that does not match");
    check_eq!(memory::read(entry), now, "the entry after a mismatch");
}

fn short_stores(entry: u64) {
    memory::write(entry, 0x1122_3344_5566_7700);
    machine!("mov dword ptr [{}], 0x12345670", in(reg) entry + 4);
    check_eq!(
        memory::read(entry),
        0x1234_5670_5566_7700,
        "a four-byte store"
    );
    machine!("mov word ptr [{}], 0x7fff", in(reg) entry + 2);
    check_eq!(
        memory::read(entry),
        0x1234_5670_7fff_7700,
        "a two-byte store"
    );
    machine!("mov byte ptr [{}], 0x42", in(reg) entry);
    check_eq!(
        memory::read(entry),
        0x1234_5670_7fff_7742,
        "a one-byte store"
    );
}

fn forbidden(entry: u64, own: u64) {
    let table = memory::own_pte(entry & !4095, true);
    let theirs = memory::read(rexen_guests::entry::start_info().pt_base + 261 * 8);
    for (name, value) in [
        ("a page table, writable", table),
        ("the hypervisor's frame", theirs),
        ("frame bit 51", own | 1 << 51),
    ] {
        let before = memory::read(entry);
        let seen = trap::catch(|| memory::write(entry, value));
        check_eq!(
            seen.map(|f| (f.vector, f.error)),
            Some((trap::PF, 3)),
            "{name}"
        );
        check_eq!(memory::read_cr2(), entry, "{name}: cr2");
        check_eq!(memory::read(entry), before, "{name}: the entry");
    }
}

/// Only level-1 tables are written for the guest.
fn higher_levels(scratch: u64) {
    for level in 2..=4 {
        let entry = memory::entry_address(scratch, level).unwrap_or(0);
        let value = memory::read(entry);
        let seen = trap::catch(|| memory::write(entry, value));
        check_eq!(
            seen.map(|f| (f.vector, f.error)),
            Some((trap::PF, 3)),
            "a store to L{level}"
        );
    }
}
