//! Behaviour: the guest's user mode has its own page table and its own GS (pv-abi 3.1, 3.6, 4.4, 4.8).
//! Trigger: user code that reads and writes its own memory, the kernel's, the hypervisor's and the M2P.
//! Expectation: only what the user L4 maps; faults carry the U bit; the GS bases change places at each crossing.
#![no_std]
#![no_main]

use rexen_guests::{
    abi, check, check_eq, entry, event, guest, hypercall, machine, memory, trap, user, user_code,
};

guest!("user_address_space", main);

user_code!(access, "mov rax, [rdi]", "mov [rsi], rbx", "ud2");
user_code!(read_gs, "mov rax, gs:[0]", "ud2");

fn main() {
    event::shared_info();
    let space = user::Space::new();
    space.load(access());
    own_memory(&space);
    foreign_memory();
    hypervisor_memory();
    read_only_memory(&space);
    entries_are_marked(&space);
    gs_bases(&space);
}

fn run(read: u64, write: u64) -> trap::Frame {
    user::run(trap::Frame {
        rdi: read,
        rsi: write,
        rbx: 0x4455,
        ..user::start_frame()
    })
}

fn own_memory(space: &user::Space) {
    memory::write(space.data, 0x1234);
    let seen = run(user::DATA, user::DATA + 8);
    check_eq!(
        (seen.vector, seen.rax),
        (trap::UD, 0x1234),
        "user memory read"
    );
    check_eq!(memory::read(space.data + 8), 0x4455, "user memory written");
}

fn foreign_memory() {
    let kernel = memory::new_page();
    for (name, address) in [("kernel memory", kernel), ("nothing", 0x7000_0000)] {
        let seen = run(address, user::DATA);
        check_eq!(
            (seen.vector, seen.error, memory::read_cr2()),
            (trap::PF, 4, address),
            "user read of {name}"
        );
        check!(seen.is_user(), "the frame is the user's");
        let seen = run(user::DATA, address);
        check_eq!(
            (seen.vector, seen.error, memory::read_cr2()),
            (trap::PF, 6, address),
            "user write of {name}"
        );
        check_eq!(
            memory::read(event::shared_info() + 0x10),
            address,
            "cr2 in vcpu_info"
        );
    }
}

fn hypervisor_memory() {
    let theirs = 0xffff_82d0_4000_0000;
    let seen = run(theirs, user::DATA);
    check_eq!(
        (seen.vector, seen.error & 6, memory::read_cr2()),
        (trap::PF, 4, theirs),
        "user read of the hypervisor"
    );
    let seen = run(user::DATA, abi::MACH2PHYS_VIRT_START + 8);
    check_eq!(
        (seen.vector, seen.error & 6),
        (trap::PF, 6),
        "user write of the M2P"
    );
    let seen = trap::catch(|| memory::write(abi::MACH2PHYS_VIRT_START + 8, 0));
    check_eq!(
        seen.map(|f| (f.vector, f.error & 6)),
        Some((trap::PF, 2)),
        "kernel write of the M2P"
    );
}

fn read_only_memory(space: &user::Space) {
    let at = memory::maddr_of(space.l1) + (user::DATA >> 12 & 511) * 8;
    let mapping = memory::own_pte(space.data, false);
    check_eq!(
        hypercall::mmu_update(at, mapping),
        0,
        "making user memory read-only"
    );
    hypercall::mmuext(abi::MMUEXT_TLB_FLUSH_LOCAL, 0, 0);
    let seen = run(user::DATA, user::DATA);
    check_eq!(
        (seen.vector, seen.error),
        (trap::PF, 7),
        "user write of a read-only page"
    );
    check_eq!(
        hypercall::mmu_update(at, mapping | abi::PTE_RW),
        0,
        "making it writable"
    );
    // The stale read-only translation may stay, but must not show.
    let seen = run(user::DATA, user::DATA);
    check_eq!(seen.vector, trap::UD, "user write after the upgrade");
    check_eq!(hypercall::mmu_update(at, 0), 0, "unmapping user memory");
    hypercall::mmuext(abi::MMUEXT_INVLPG_LOCAL, user::DATA, 0);
    let seen = run(user::DATA, user::DATA);
    check_eq!(
        (seen.vector, seen.error),
        (trap::PF, 4),
        "user read of unmapped memory, which was global"
    );
    check_eq!(
        hypercall::mmu_update(at, mapping | abi::PTE_RW),
        0,
        "mapping it again"
    );
}

/// The hypervisor's marks: USER everywhere, GLOBAL on user pages, bit 52 on kernel pages.
fn entries_are_marked(space: &user::Space) {
    let at = space.l1 + (user::DATA >> 12 & 511) * 8;
    check_eq!(
        memory::read(at) & (abi::PTE_US | abi::PTE_G | 1 << 52),
        abi::PTE_US | abi::PTE_G,
        "a user entry"
    );
    let without_user = memory::own_pte(space.data, true) & !abi::PTE_US;
    check_eq!(
        hypercall::mmu_update(memory::maddr_of(at), without_user),
        0,
        "an entry without USER"
    );
    check_eq!(
        memory::read(at) & (abi::PTE_US | abi::PTE_G | 1 << 52),
        abi::PTE_US | 1 << 52,
        "a kernel entry"
    );
    check_eq!(
        hypercall::mmu_update(memory::maddr_of(at), without_user | abi::PTE_US),
        0,
        "mapping it again"
    );
    let own = memory::read(space.l4 + (user::DATA >> 39 & 511) * 8);
    check_eq!(own & abi::PTE_US, abi::PTE_US, "an L4 entry");
    for slot in [261, 262] {
        let (user, kernel) = (
            memory::read(space.l4 + slot * 8),
            memory::read(entry::start_info().pt_base + slot * 8),
        );
        check_eq!(
            user & abi::PTE_FRAME,
            kernel & abi::PTE_FRAME,
            "L4 slot {slot} of the user's table"
        );
    }
}

fn gs_bases(space: &user::Space) {
    let mut kernel_data = 0xaaaau64;
    memory::write(space.data, 0xbbbb);
    let kernel = hypercall::pointer(&mut kernel_data);
    hypercall::call(abi::SET_SEGMENT_BASE, [2, kernel]);
    hypercall::call(abi::SET_SEGMENT_BASE, [1, user::DATA]);
    space.load(read_gs());
    for _ in 0..2 {
        let seen = run(0, 0);
        check_eq!(
            (seen.vector, seen.rax),
            (trap::UD, 0xbbbb),
            "gs in user mode"
        );
        let got: u64;
        machine!("mov {}, gs:[0]", out(reg) got);
        check_eq!(got, 0xaaaa, "gs in kernel mode");
    }
}
