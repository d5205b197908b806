//! Behaviour: cpuid through the forced-emulation prefix (pv-abi 3.8, 3.9).
//! Trigger: the prefix before cpuid and before another instruction, from kernel and user mode.
//! Expectation: the hypervisor's leaves and a PV guest's features; #UD for anything else behind the prefix.
#![no_std]
#![no_main]

use rexen_guests::{check, check_eq, guest, machine, trap, user, user_code};

guest!("cpuid", main);

user_code!(
    signature,
    "mov eax, 0x40000000",
    "xor ecx, ecx",
    ".byte 0x0f, 0x0b, 0x78, 0x65, 0x6e, 0x0f, 0xa2",
    "mov rsi, rbx",
    "ud2"
);

/// cpuid with the prefix: eax, ebx, ecx, edx.
fn cpuid(leaf: u32, subleaf: u32) -> [u32; 4] {
    let (mut eax, mut ecx) = (leaf, subleaf);
    let (ebx, edx): (u32, u32);
    machine!("push rbx", ".byte 0x0f, 0x0b, 0x78, 0x65, 0x6e, 0x0f, 0xa2", "mov edi, ebx", "pop rbx",
        inout("eax") eax, inout("ecx") ecx, out("edi") ebx, out("edx") edx);
    [eax, ebx, ecx, edx]
}

fn main() {
    let [top, ebx, ecx, edx] = cpuid(0x4000_0000, 0);
    check_eq!(
        [ebx, ecx, edx],
        [0x566e_6558, 0x6558_4d4d, 0x4d4d_566e],
        "the signature XenVMMXenVMM"
    );
    check!(
        (0x4000_0002..0x4000_0010).contains(&top),
        "the highest hypervisor leaf {top:#x}"
    );
    check_eq!(cpuid(0x4000_0001, 0)[0], 4 << 16 | 17, "the version");
    check_eq!(
        cpuid(0x4000_0002, 0)[..2] == [1, 0x4000_0000],
        true,
        "hypercall pages"
    );
    check_eq!(
        cpuid(0x4000_0100, 0)[1..4] == [0x566e_6558, 0x6558_4d4d, 0x4d4d_566e],
        false,
        "a signature at another base"
    );

    let [_, ebx1, ecx1, edx1] = cpuid(1, 0);
    for (name, bit) in [
        ("FPU", 0),
        ("TSC", 4),
        ("MSR", 5),
        ("PAE", 6),
        ("CX8", 8),
        ("APIC", 9),
        ("CMOV", 15),
        ("PAT", 16),
        ("FXSR", 24),
        ("SSE2", 26),
    ] {
        check_eq!(edx1 >> bit & 1, 1, "{name} shown");
    }
    for (name, bit) in [
        ("VME", 1),
        ("PSE", 3),
        ("PGE", 13),
        ("PSE36", 17),
        ("DS", 21),
        ("TM", 29),
    ] {
        check_eq!(edx1 >> bit & 1, 0, "{name} hidden");
    }
    check_eq!(ecx1 >> 31, 1, "HYPERVISOR shown");
    for (name, bit) in [
        ("VMX", 5),
        ("PCID", 17),
        ("X2APIC", 21),
        ("TSC_DEADLINE", 24),
    ] {
        check_eq!(ecx1 >> bit & 1, 0, "{name} hidden");
    }
    check_eq!(ebx1 >> 24, 0, "the initial APIC id");
    let [_, ebx7, ecx7, _] = cpuid(7, 0);
    check_eq!(
        ebx7 & (1 << 7 | 1 << 10 | 1 << 20),
        0,
        "SMEP, INVPCID, SMAP hidden"
    );
    check_eq!(
        ecx7 & (1 << 2 | 1 << 3 | 1 << 16),
        0,
        "UMIP, PKU, LA57 hidden"
    );
    let [_, _, ecx8, edx8] = cpuid(0x8000_0001, 0);
    check_eq!(
        edx8 & (1 << 29 | 1 << 20 | 1 << 11),
        1 << 29 | 1 << 20 | 1 << 11,
        "LM, NX, SYSCALL shown"
    );
    check_eq!(edx8 & 1 << 26, 0, "PAGE1GB hidden");
    check_eq!(ecx8 & (1 << 2 | 1 << 12), 0, "SVM, SKINIT hidden");
    check_eq!(cpuid(0xa, 0), [0; 4], "perfmon leaf");

    let seen = trap::catch(|| machine!(".byte 0x0f, 0x0b, 0x78, 0x65, 0x6e", "nop"));
    check_eq!(
        seen.map(|f| (f.vector, f.error)),
        Some((trap::UD, 0)),
        "the prefix before another instruction"
    );
    let seen = trap::catch(|| machine!(".byte 0x0f, 0x0b, 0x78, 0x65, 0x6d, 0x0f, 0xa2"));
    check_eq!(
        seen.map(|f| f.vector),
        Some(trap::UD),
        "a prefix with a typing error"
    );

    let space = user::Space::new();
    space.load(signature());
    let seen = user::run(user::start_frame());
    check_eq!(seen.vector, trap::UD, "user mode reaches its end");
    check_eq!(seen.rip, user::CODE + 5 + 2 + 7 + 3, "user mode: rip");
    check_eq!(
        [seen.rsi, seen.rcx, seen.rdx],
        [0x566e_6558, 0x6558_4d4d, 0x4d4d_566e],
        "user mode: the signature"
    );
}
