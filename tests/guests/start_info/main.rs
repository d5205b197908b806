//! Behaviour: how the domain builder starts a kernel (pv-abi 1.5, 1.6).
//! Trigger: a boot with a command line.
//! Expectation: start_info, the initial mapping, p2m and m2p, selectors and the stack as the ABI says.
#![no_std]
#![no_main]

use rexen_guests::{abi, check, check_eq, entry, event, guest, machine, memory, trap};

guest!("start_info", main);

fn main() {
    let info = entry::start_info();
    check!(
        info.magic.starts_with(b"xen-3.0-x86_64"),
        "magic {:?}",
        core::str::from_utf8(&info.magic)
    );
    check_eq!(info.flags & 3, 3, "flags: privileged, initial domain");
    check!(
        (1024..1 << 24).contains(&info.nr_pages),
        "nr_pages {}",
        info.nr_pages
    );
    check_eq!(
        info.shared_info % 4096,
        0,
        "shared_info is a machine address of a page"
    );
    check_eq!(
        (info.store_mfn, info.store_evtchn),
        (0, 0),
        "domain 0 has no xenstore yet"
    );
    check_eq!((info.mod_start, info.mod_len), (0, 0), "there is no initrd");
    let line = info
        .cmd_line
        .split(|byte| *byte == 0)
        .next()
        .unwrap_or_default();
    check!(
        line.ends_with(b"start_info"),
        "the command line {:?}",
        core::str::from_utf8(line)
    );
    selectors_and_stack();
    page_tables();
    p2m();
    shared_info();
}

fn selectors_and_stack() {
    let (cs, ss, ds, es, fs, gs): (u64, u64, u64, u64, u64, u64);
    machine!("mov {}, cs", "mov {}, ss", "mov {}, ds", "mov {}, es", "mov {}, fs", "mov {}, gs",
        out(reg) cs, out(reg) ss, out(reg) ds, out(reg) es, out(reg) fs, out(reg) gs);
    check_eq!([cs, ss], [abi::FLAT_CS64, abi::FLAT_SS64], "cs and ss");
    check_eq!([ds, es, fs, gs], [0; 4], "ds, es, fs, gs");
    let flags: u64;
    machine!("pushfq", "pop {}", out(reg) flags);
    check_eq!(
        flags & 0x3_7700,
        0x200,
        "rflags: IF, and no IOPL, NT, VM, DF, TF"
    );
    // The boot stack is one page behind the page tables.
    let info = entry::start_info();
    let stack = entry::entry_stack();
    let tables_end = info.pt_base + info.nr_pt_frames * 4096;
    check!(
        stack > tables_end && stack <= tables_end + 4096,
        "rsp at entry {stack:#x}, tables end at {tables_end:#x}"
    );
    memory::write(stack - 8, 1);
}

fn page_tables() {
    let info = entry::start_info();
    let cr3: u64;
    machine!("mov {}, cr3", out(reg) cr3);
    check_eq!(
        cr3,
        memory::maddr_of(info.pt_base),
        "cr3 is the table at pt_base"
    );
    check!(
        info.nr_pt_frames >= 4 && info.nr_pt_frames < 64,
        "nr_pt_frames {}",
        info.nr_pt_frames
    );
    for index in 0..info.nr_pt_frames {
        let va = info.pt_base + index * 4096;
        check_eq!(
            memory::pte_of(va) & (abi::PTE_P | abi::PTE_RW),
            abi::PTE_P,
            "the mapping of table {index}"
        );
    }
    // From the first page to the rounded end everything is mapped in order, and writable but for the tables.
    let start = entry::start_info_address();
    for va in [
        abi::VIRT_BASE,
        abi::VIRT_BASE + 0x10_0000,
        start & !4095,
        info.pt_base,
        entry::entry_stack() - 8,
    ] {
        check_eq!(
            (memory::pte_of(va) & abi::PTE_FRAME) / 4096,
            memory::mfn_of(va),
            "the frame mapped at {va:#x}"
        );
    }
    let end = (entry::entry_stack() + 0x8_0000).next_multiple_of(0x40_0000);
    check!(
        memory::pte_of(end - 4096) & 3 == 3,
        "the last page before {end:#x} is mapped writable"
    );
    check_eq!(
        trap::catch(|| memory::write(end - 8, 1)).map(|f| f.vector),
        None,
        "writing the end of the mapping"
    );
    // The hypervisor shows in its slots, the rest of the L4 is empty.
    let present: u32 = (0..512)
        .map(|slot| (memory::read(info.pt_base + slot * 8) & 1) as u32)
        .sum();
    let of_hypervisor: u32 = (256..272)
        .map(|slot| (memory::read(info.pt_base + slot * 8) & 1) as u32)
        .sum();
    check_eq!(present - of_hypervisor, 1, "L4 slots of the guest");
}

fn p2m() {
    let info = entry::start_info();
    // INIT_P2M is not asked for: the list lies in the initial mapping, before start_info.
    check!(
        info.mfn_list > abi::VIRT_BASE && info.mfn_list < entry::start_info_address(),
        "mfn_list {:#x}",
        info.mfn_list
    );
    let mut wrong = 0u64;
    let mut holes = 0u64;
    for pfn in 0..info.nr_pages {
        let mfn = memory::mfn_of_pfn(pfn);
        if mfn == u64::MAX {
            holes += 1;
        } else if memory::read(abi::MACH2PHYS_VIRT_START + mfn * 8) != pfn {
            wrong += 1;
        }
    }
    check_eq!(
        (wrong, holes),
        (0, 0),
        "p2m entries that m2p contradicts, and holes"
    );
    // The M2P of frame 0, which is nobody's, can be read.
    check_eq!(
        trap::catch(|| {
            memory::read(abi::MACH2PHYS_VIRT_START);
        })
        .map(|f| f.vector),
        None,
        "reading the M2P"
    );
}

fn shared_info() {
    let info = event::shared_info();
    for vcpu in 0..2 {
        check_eq!(
            memory::read_byte(info + vcpu * 64 + 1),
            1,
            "upcall mask of vcpu {vcpu}"
        );
        check_eq!(
            memory::read_byte(info + vcpu * 64),
            0,
            "upcall pending of vcpu {vcpu}"
        );
    }
    for word in 0..64 {
        check_eq!(
            memory::read(info + event::PENDING + word * 8),
            0,
            "pending word {word}"
        );
        check_eq!(
            memory::read(info + event::MASK + word * 8),
            0,
            "mask word {word}: nothing is masked"
        );
    }
    check_eq!(
        memory::read(info + 0xc10),
        0,
        "max_pfn is the guest's to fill"
    );
}
