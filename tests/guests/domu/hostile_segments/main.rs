//! Attack: descriptors, selectors, segment bases, debug and control registers that reach ring 0 or the hypervisor
//! (pv-abi 13; XSA-12, 67, 110, 193, 293, 444).
//! Trigger: every descriptor type with every DPL in GDT and LDT; bases and breakpoints in the hypervisor and not canonical.
//! Expectation: refused, or made harmless; never a ring below 3. Harmless to Xen.
#![no_std]
#![no_main]

use rexen_guests::{abi, check, check_eq, guest, hypercall, machine, memory, refused, trap};

guest!("hostile_segments", main);

const BAD_ADDRESSES: [u64; 6] = [
    0x0000_8000_0000_0000,
    0xffff_7fff_ffff_ffff,
    0x8000_0000_0000_0000,
    0xdead_beef_0000_0000,
    1 << 47,
    !(1 << 47),
];

fn main() {
    gdt();
    ldt();
    bases();
    debug_registers();
    control_registers();
}

/// A descriptor with these access rights (P, DPL, S, type), flat, of 64 bits if `long`.
fn descriptor(access: u64, long: bool) -> u64 {
    0x000f_0000_0000_ffff | access << 40 | if long { 0xa0 << 48 } else { 0xc0 << 48 }
}

/// What CPL the guest has.
fn ring() -> u64 {
    let cs: u64;
    machine!("mov {}, cs", out(reg) cs);
    cs & 3
}

fn gdt() {
    let page = memory::new_page();
    memory::seal(page);
    let mut frames = [memory::mfn_of(page); 16];
    check_eq!(
        hypercall::call(abi::SET_GDT, [hypercall::pointer(&mut frames), 512]),
        0,
        "an empty GDT"
    );
    for access in 0..=0xff {
        for long in [false, true] {
            update_and_load(page + 8 * 64, descriptor(access, long), 64 << 3, access);
        }
    }
    for count in [
        513,
        8192,
        14 * 512,
        14 * 512 + 1,
        65536,
        u64::from(u32::MAX),
        u64::MAX,
    ] {
        let result = hypercall::call(abi::SET_GDT, [hypercall::pointer(&mut frames), count]);
        check!(
            result < 0 || count <= 14 * 512,
            "a GDT of {count} entries: {result}"
        );
    }
    for mfn in [
        0,
        1 << 40,
        u64::MAX,
        memory::mfn_of(rexen_guests::entry::start_info().pt_base),
    ] {
        frames = [mfn; 16];
        refused!(
            hypercall::call(abi::SET_GDT, [hypercall::pointer(&mut frames), 8]),
            "frame {mfn:#x} as GDT"
        );
    }
    check_eq!(
        hypercall::call(abi::SET_GDT, [hypercall::pointer(&mut frames), 0]),
        0,
        "no GDT"
    );
    check_eq!(memory::set_writable(page, true), 0, "its page, plain");
}

/// Puts a descriptor in a table, and if that works uses it in every way; the guest must stay in ring 3.
fn update_and_load(at: u64, value: u64, selector: u16, access: u64) {
    let result = hypercall::call(abi::UPDATE_DESCRIPTOR, [memory::maddr_of(at), value]);
    if result != 0 {
        return;
    }
    let stored = memory::read(at);
    let (present, dpl, is_system) = (stored >> 47 & 1, stored >> 45 & 3, stored >> 44 & 1 == 0);
    // Of the system types, Xen lets in the empty one, and call gates that no ring but 0 can use.
    let kind = stored >> 40 & 0xf;
    let harmless = match is_system {
        true => kind == 0 || (kind == 0xc && dpl == 0),
        false => dpl > 0,
    };
    check!(
        present == 0 || harmless,
        "descriptor {stored:#x} is in the table, for access {access:#x}"
    );
    for rpl in [0, 3] {
        let selector = u64::from(selector) | rpl;
        trap::catch(|| machine!("mov ds, {0:e}", "mov es, {0:e}", in(reg) selector));
        trap::catch(|| machine!("mov fs, {0:e}", in(reg) selector));
        trap::catch(|| machine!("lldt {0:x}", in(reg) selector));
        trap::catch(|| machine!("ltr {0:x}", in(reg) selector));
        // Not into 32-bit code: there an interrupt at the wrong moment cuts the stack pointer.
        let is_code = !is_system && stored >> 43 & 1 == 1;
        if !is_code || stored >> 53 & 1 == 1 {
            trap::catch(
                || machine!("push {0}", "lea {1}, [rip + 2f]", "push {1}", "retfq", "2: mov {1}, cs", in(reg) selector, out(reg) _),
            );
        }
        check_eq!(ring(), 3, "the ring with descriptor {value:#x}");
        machine!("mov ds, {0:e}", "mov es, {0:e}", "mov fs, {0:e}", in(reg) 0);
    }
}

fn ldt() {
    let page = memory::new_page();
    // Written before the page is an LDT: the check is at the change of type.
    for access in 0..=0xffu64 {
        memory::write(page + 8 * access, descriptor(access, true));
    }
    memory::seal(page);
    hypercall::mmuext(abi::MMUEXT_SET_LDT, page, 512);
    for access in (0..=0xffu32).step_by(3) {
        trap::catch(|| machine!("mov ds, {0:e}", in(reg) access << 3 | 7));
        trap::catch(
            || machine!("push {0}", "lea {1}, [rip + 2f]", "push {1}", "retfq", "2: nop", in(reg) u64::from(access << 3 | 7), out(reg) _),
        );
        check_eq!(ring(), 3, "the ring with LDT entry {access:#x}");
    }
    machine!("mov ds, {0:e}", in(reg) 0);
    for address in BAD_ADDRESSES.into_iter().chain([
        abi::HYPERVISOR_VIRT_START,
        abi::MACH2PHYS_VIRT_START,
        0x1234_5000,
    ]) {
        hypercall::mmuext(abi::MMUEXT_SET_LDT, address, 512);
        trap::catch(|| machine!("mov ds, {0:e}", in(reg) 0x17));
        check_eq!(ring(), 3, "the ring with an LDT at {address:#x}");
    }
    for count in [8193, 65536, u64::from(u32::MAX), u64::MAX] {
        refused!(
            hypercall::mmuext(abi::MMUEXT_SET_LDT, page, count),
            "an LDT of {count} entries"
        );
    }
    check_eq!(hypercall::mmuext(abi::MMUEXT_SET_LDT, 0, 0), 0, "no LDT");
    check_eq!(memory::set_writable(page, true), 0, "its page, plain");
}

fn bases() {
    for which in 0..3 {
        for address in BAD_ADDRESSES {
            refused!(
                hypercall::call(abi::SET_SEGMENT_BASE, [which, address]),
                "segment base {which} at {address:#x}"
            );
        }
        // In the hypervisor is harmless: pages there are not the guest's to use.
        hypercall::call(abi::SET_SEGMENT_BASE, [which, abi::HYPERVISOR_VIRT_START]);
        hypercall::call(abi::SET_SEGMENT_BASE, [which, 0]);
    }
    for selector in 0..0x200 {
        hypercall::call(abi::SET_SEGMENT_BASE, [3, selector]);
    }
    hypercall::call(abi::SET_SEGMENT_BASE, [3, 0]);
    refused!(
        hypercall::call(abi::SET_SEGMENT_BASE, [4, 0]),
        "segment base 4"
    );
    // By instruction: emulated MSR writes.
    for msr in [0xc000_0100u32, 0xc000_0101, 0xc000_0102] {
        for address in BAD_ADDRESSES {
            let seen = trap::catch(
                || machine!("wrmsr", in("ecx") msr, in("eax") address as u32, in("edx") (address >> 32) as u32),
            );
            check_eq!(
                seen.map(|frame| frame.vector),
                Some(trap::GP),
                "wrmsr of {msr:#x} with {address:#x}"
            );
        }
    }
    for address in BAD_ADDRESSES {
        hypercall::call(abi::STACK_SWITCH, [0, address]);
    }
    hypercall::call(
        abi::STACK_SWITCH,
        [abi::FLAT_SS64, trap::kernel_stack_top()],
    );
}

fn debug_registers() {
    for register in 0..4 {
        for address in [
            abi::HYPERVISOR_VIRT_START,
            abi::MACH2PHYS_VIRT_START + 64,
            abi::HYPERVISOR_VIRT_END - 8,
            1 << 47,
            !(1 << 47),
        ] {
            refused!(
                hypercall::call(abi::SET_DEBUGREG, [register, address]),
                "DR{register} at {address:#x}"
            );
        }
    }
    check_eq!(
        hypercall::call(abi::SET_DEBUGREG, [0, abi::VIRT_BASE]),
        0,
        "DR0"
    );
    // GD, global and reserved bits; I/O breakpoints; the length of 8 that is execute; everything.
    for bits in [
        1 << 13,
        0x2000 | 1,
        0xff << 8,
        1 << 32,
        u64::MAX,
        0x0002_0001,
        0xffff_0000 | 0xff,
    ] {
        hypercall::call(abi::SET_DEBUGREG, [7, bits]);
        let value = hypercall::call(abi::GET_DEBUGREG, [7]).cast_unsigned();
        check!(
            value < 0x1_0000_0000 && value & 0x2000 == 0,
            "DR7 after {bits:#x}: {value:#x}"
        );
        trap::catch(|| machine!("nop"));
        hypercall::call(abi::SET_DEBUGREG, [7, 0]);
    }
    for register in [4, 5, 8, 16, u64::MAX] {
        hypercall::call(abi::SET_DEBUGREG, [register, u64::MAX]);
        hypercall::call(abi::GET_DEBUGREG, [register]);
    }
    hypercall::call(abi::SET_DEBUGREG, [6, u64::MAX]);
    hypercall::call(abi::SET_DEBUGREG, [7, 0]);
    hypercall::call(abi::SET_DEBUGREG, [0, 0]);
    // A watchpoint on the trap stack, hit by the hypervisor's own stores for the guest.
    let watched = trap::kernel_stack_top() - 8;
    check_eq!(
        hypercall::call(abi::SET_DEBUGREG, [0, watched]),
        0,
        "DR0 on the trap stack"
    );
    check_eq!(
        hypercall::call(abi::SET_DEBUGREG, [7, 0x000f_0001 | 0x400]),
        0,
        "DR7"
    );
    for _ in 0..10 {
        trap::catch(|| machine!("ud2"));
        hypercall::call(abi::XEN_VERSION, [0, 0]);
    }
    hypercall::call(abi::SET_DEBUGREG, [7, 0]);
}

fn control_registers() {
    let cr4: u64;
    machine!("mov {}, cr4", out(reg) cr4);
    for bit in 0..64 {
        trap::catch(|| machine!("mov cr4, {}", in(reg) cr4 | 1 << bit));
        trap::catch(|| machine!("mov cr0, {}", in(reg) 1u64 << bit));
        trap::catch(|| machine!("mov cr3, {}", in(reg) 1u64 << bit));
        trap::catch(|| machine!("mov cr8, {}", in(reg) 1u64 << bit));
    }
    machine!("clts");
    let cr0: u64;
    machine!("mov {}, cr0", out(reg) cr0);
    check_eq!(cr0 & 0x8000_0001, 0x8000_0001, "PG and PE in CR0");
    trap::catch(|| machine!("mov cr4, {}", in(reg) cr4));
    // Those that Xen emulates as doing nothing or refuses; hlt is left out, for it would block this vcpu for good.
    const INSTRUCTIONS: [fn(); 8] = [
        || machine!("invd"),
        || machine!("lmsw ax"),
        || machine!("lgdt [rsp]"),
        || machine!("lidt [rsp]"),
        || machine!("sysretq"),
        || machine!("swapgs"),
        || machine!("invlpg [rsp]"),
        || machine!("rdpmc"),
    ];
    for (number, instruction) in INSTRUCTIONS.into_iter().enumerate() {
        trap::catch(instruction);
        check_eq!(ring(), 3, "the ring after instruction {number}");
    }
}
