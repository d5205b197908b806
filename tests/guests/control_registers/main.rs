//! Behaviour: control registers, the FPU's task switched flag, and privileged instructions (pv-abi 3.7, 3.8).
//! Trigger: mov to and from cr0, cr2, cr3, cr4; clts; fpu_taskswitch; instructions that no guest may run.
//! Expectation: emulated where the ABI says so, #GP where not.
#![no_std]
#![no_main]

use rexen_guests::{
    abi, check, check_eq, entry, guest, hypercall, machine, memory, trap, user, user_code,
};

guest!("control_registers", main);

const NM: u64 = 7;
const CR0_TS: u64 = 8;

user_code!(read_cr0, "mov rax, cr0", "ud2");

macro_rules! read {
    ($register:literal) => {{
        let value: u64;
        machine!(concat!("mov {}, ", $register), out(reg) value);
        value
    }};
}

fn vector_of(seen: Option<trap::Frame>) -> Option<(u64, u64)> {
    seen.map(|frame| (frame.vector, frame.error))
}

fn main() {
    cr0();
    cr2_and_cr3();
    cr4();
    refused();
    let space = user::Space::new();
    space.load(read_cr0());
    check_eq!(
        user::run(user::start_frame()).vector,
        trap::GP,
        "mov from cr0 in user mode"
    );
}

fn cr0() {
    let cr0 = read!("cr0");
    check_eq!(cr0 & 0x8001_0001, 0x8001_0001, "cr0: PE, WP, PG");
    check_eq!(cr0 & CR0_TS, 0, "cr0.TS at the start");
    check_eq!(
        hypercall::call(abi::FPU_TASKSWITCH, [1]),
        0,
        "fpu_taskswitch(1)"
    );
    check_eq!(read!("cr0") & CR0_TS, CR0_TS, "cr0.TS after it");
    check_eq!(
        vector_of(trap::catch(|| machine!("fninit"))),
        Some((NM, 0)),
        "an FPU instruction with TS"
    );
    check_eq!(read!("cr0") & CR0_TS, 0, "#NM clears TS");
    check_eq!(
        vector_of(trap::catch(|| machine!("fninit"))),
        None,
        "an FPU instruction without TS"
    );
    machine!("mov cr0, {}", in(reg) cr0 | CR0_TS);
    check_eq!(read!("cr0") & CR0_TS, CR0_TS, "mov to cr0 sets TS");
    machine!("clts");
    check_eq!(read!("cr0") & CR0_TS, 0, "clts");
    hypercall::call(abi::FPU_TASKSWITCH, [1]);
    check_eq!(
        hypercall::call(abi::FPU_TASKSWITCH, [0]),
        0,
        "fpu_taskswitch(0)"
    );
    check_eq!(
        vector_of(trap::catch(|| machine!("fninit"))),
        None,
        "an FPU instruction after it"
    );
    let seen = trap::catch(|| machine!("mov cr0, {}", in(reg) cr0 & !1));
    check_eq!(vector_of(seen), Some((trap::GP, 0)), "clearing cr0.PE");
    check_eq!(read!("cr0"), cr0, "cr0 after a refusal");
}

fn cr2_and_cr3() {
    machine!("mov cr2, {}", in(reg) 0x1234_5678u64);
    check_eq!(read!("cr2"), 0x1234_5678, "cr2");
    let l4 = memory::maddr_of(entry::start_info().pt_base);
    check_eq!(read!("cr3"), l4, "cr3");
    machine!("mov cr3, {}", in(reg) l4);
    check_eq!(read!("cr3"), l4, "cr3 after a write");
    let page = memory::maddr_of(memory::new_page());
    let seen = trap::catch(|| machine!("mov cr3, {}", in(reg) page));
    check_eq!(vector_of(seen), Some((trap::GP, 0)), "a cr3 that is no L4");
    check_eq!(read!("cr3"), l4, "cr3 after a refusal");
}

fn cr4() {
    let cr4 = read!("cr4");
    check_eq!(cr4 & 0x620, 0x620, "cr4: PAE, OSFXSR, OSXMMEXCPT");
    check_eq!(
        cr4 & (1 << 4 | 1 << 13 | 1 << 20 | 1 << 21),
        0,
        "cr4: PSE, VMXE, SMEP, SMAP are hidden"
    );
    let seen = trap::catch(|| machine!("mov cr4, {}", in(reg) cr4));
    check_eq!(vector_of(seen), None, "cr4 as it was");
    let seen = trap::catch(|| machine!("mov cr4, {}", in(reg) cr4 | 1 << 20));
    check_eq!(vector_of(seen), None, "cr4.SMEP is ignored");
    check_eq!(read!("cr4"), cr4, "cr4 after it");
    // TSD makes rdtsc trap, and the hypervisor carries it out for the kernel.
    machine!("mov cr4, {}", in(reg) cr4 | 4);
    check_eq!(read!("cr4"), cr4 | 4, "cr4.TSD");
    check_eq!(
        vector_of(trap::catch(
            || machine!("rdtsc", out("rax") _, out("rdx") _)
        )),
        None,
        "rdtsc with TSD"
    );
    machine!("mov cr4, {}", in(reg) cr4);
    check_eq!(read!("cr4"), cr4, "cr4 without TSD");
}

fn refused() {
    let gp = Some((trap::GP, 0));
    let mut pointer = [0u64; 2];
    let at = hypercall::pointer(&mut pointer);
    check_eq!(vector_of(trap::catch(|| machine!("hlt"))), gp, "hlt");
    check_eq!(
        vector_of(trap::catch(|| machine!("invlpg [{}]", in(reg) at))),
        gp,
        "invlpg"
    );
    check_eq!(
        vector_of(trap::catch(|| machine!("lgdt [{}]", in(reg) at))),
        gp,
        "lgdt"
    );
    check_eq!(
        vector_of(trap::catch(|| machine!("lidt [{}]", in(reg) at))),
        gp,
        "lidt"
    );
    check_eq!(
        vector_of(trap::catch(|| machine!("ltr {0:x}", in(reg) at))),
        gp,
        "ltr"
    );
    check_eq!(
        vector_of(trap::catch(|| machine!("lmsw {0:x}", in(reg) at))),
        gp,
        "lmsw"
    );
    check_eq!(vector_of(trap::catch(|| machine!("swapgs"))), gp, "swapgs");
    check_eq!(
        vector_of(trap::catch(|| machine!("mov cr8, {}", in(reg) at))),
        gp,
        "mov to cr8"
    );
    check_eq!(vector_of(trap::catch(|| machine!("invd"))), gp, "invd");
    check_eq!(
        vector_of(trap::catch(|| machine!("wbinvd"))),
        None,
        "wbinvd in domain 0"
    );
    check!(abi::KERNEL_CS & 3 == 0, "the kernel believes in ring 0");
}
