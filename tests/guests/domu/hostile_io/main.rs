//! Attack: devices and model-specific registers (pv-abi 13; XSA-63, 253, 269, 333, 351).
//! Trigger: in and out of every port in every width, with IOPL 0 and 3; reads and writes of every register that could matter.
//! Expectation: no port answers and none is written; no register of the machine changes. Harmless to Xen.
#![no_std]
#![no_main]

use rexen_guests::{abi, check, check_eq, guest, hypercall, machine, refused, trap};

guest!("hostile_io", main);

fn main() {
    for iopl in [0u32, 3] {
        let mut argument = iopl;
        hypercall::call(abi::PHYSDEV_OP, [6, hypercall::pointer(&mut argument)]);
        ports(iopl);
    }
    for iopl in [4, 1 << 12, u32::MAX] {
        let mut argument = iopl;
        refused!(
            hypercall::call(abi::PHYSDEV_OP, [6, hypercall::pointer(&mut argument)]),
            "IOPL {iopl:#x}"
        );
    }
    registers();
}

fn vector(code: impl FnOnce()) -> Option<u64> {
    trap::catch(code).map(|frame| frame.vector)
}

/// A domU without ports: with IOPL 0 each access is a #GP, else nothing is read or written. What both hypervisors emulate
/// for any guest is left out: the CMOS, the third timer with its gate, and the PCI index.
fn ports(iopl: u32) {
    let emulated = |port: u16| matches!(port, 0x42 | 0x43 | 0x61 | 0x70 | 0x71 | 0xcf8..=0xcff);
    let all = (0..0x400u16)
        .chain((0x400..=0xffff).step_by(97))
        .chain([0x604, 0xb004, 0x5658, 0xfffe, 0xffff]);
    let mut wrong = 0;
    for port in all.filter(|port| !emulated(*port)) {
        let mut value = 0u32;
        let read = vector(|| machine!("in al, dx", in("dx") port, inout("eax") value));
        let write = vector(|| machine!("out dx, al", in("dx") port, in("al") 0u8));
        let right = match iopl {
            0 => read == Some(trap::GP) && write == Some(trap::GP),
            _ => read.is_none() && value == 0xff && write.is_none(),
        };
        if !right && wrong < 5 {
            check!(
                false,
                "port {port:#x} with IOPL {iopl}: {read:?}, {value:#x}, {write:?}"
            );
            wrong += 1;
        }
    }
    check_eq!(wrong, 0, "ports with IOPL {iopl}");
    for port in [0x3fcu16, 0xcf9, 0x604, 0x70, 0x71, 0xffff] {
        let mut value = 0u32;
        vector(|| machine!("in ax, dx", in("dx") port, inout("eax") value));
        vector(|| machine!("in eax, dx", in("dx") port, inout("eax") value));
        if port != 0x70 && port != 0x71 {
            vector(|| machine!("out dx, ax", in("dx") port, in("ax") 0u16));
            vector(|| machine!("out dx, eax", in("dx") port, in("eax") 0u32));
        }
    }
    if iopl != 0 {
        return;
    }
    // Strings into and out of the hypervisor.
    for address in [
        abi::HYPERVISOR_VIRT_START,
        abi::MACH2PHYS_VIRT_START,
        1 << 47,
        0u64,
    ] {
        let input = vector(
            || machine!("rep insb", inout("rdi") address => _, inout("rcx") 8u64 => _, in("dx") 0x80u16),
        );
        let output = vector(
            || machine!("rep outsb", inout("rsi") address => _, inout("rcx") 8u64 => _, in("dx") 0x80u16),
        );
        check!(
            input.is_some() && output.is_some(),
            "strings at {address:#x}: {input:?} {output:?}"
        );
    }
}

fn write_register(register: u32, value: u64) -> bool {
    vector(|| machine!("wrmsr", in("ecx") register, in("eax") value as u32, in("edx") (value >> 32) as u32)).is_none()
}

fn read_register(register: u32) -> Option<u64> {
    let (mut low, mut high) = (0u64, 0u64);
    let seen = vector(|| machine!("rdmsr", in("ecx") register, out("rax") low, out("rdx") high));
    seen.is_none().then_some(high << 32 | low)
}

fn registers() {
    // Where SYSCALL and SYSENTER enter, EFER, the APIC's base, the TSC, machine checks, memory types, debug control.
    let targets = [
        0x10,
        0x1b,
        0x3a,
        0x79,
        0x8b,
        0x174,
        0x175,
        0x176,
        0x179,
        0x1a0,
        0x1d9,
        0x200,
        0x250,
        0x277,
        0x2ff,
        0x400,
        0x401,
        0x480,
        0x600,
        0x6e0,
        0x802,
        0x830,
        0xd90,
        0xda0,
        0x4000_0000,
        0x4b56_4d00,
        0xc000_0080,
        0xc000_0081,
        0xc000_0082,
        0xc000_0083,
        0xc000_0084,
        0xc000_0103,
        0xc001_0015,
        0xc001_0055,
        0xc001_0117,
        0xc001_001f,
        0xffff_ffff,
    ];
    for register in targets {
        let before = read_register(register);
        for value in [
            0,
            1,
            u64::MAX,
            0xffff_8000_0000_0000,
            before.unwrap_or(0) ^ 1 << 11,
            before.unwrap_or(0) ^ 1,
        ] {
            // Some writes are dropped without a fault; what counts is that they have no effect.
            write_register(register, value);
        }
        if register != 0x10 {
            check_eq!(
                read_register(register),
                before,
                "register {register:#x} after writes"
            );
        }
    }
    for register in (0..0x2000)
        .chain(0xc000_0000..0xc000_0200)
        .chain(0xc001_0000..0xc001_0200)
    {
        read_register(register);
    }
    // SYSCALL still enters the hypervisor, where it should.
    check_eq!(
        hypercall::call(abi::XEN_VERSION, [0, 0]) >> 16,
        4,
        "the version"
    );
}
