//! Behaviour: rdmsr and wrmsr from the guest kernel and user mode (pv-abi 3.6, 3.8).
//! Trigger: the base registers, constants, unknown numbers, values that are not canonical.
//! Expectation: bases work; CR_PAT is the constant; what is unknown or forbidden is #GP.
#![no_std]
#![no_main]

use rexen_guests::{abi, check_eq, guest, hypercall, machine, trap, user, user_code};

guest!("model_specific_registers", main);

const FS_BASE: u32 = 0xc000_0100;
const GS_BASE: u32 = 0xc000_0101;
const KERNEL_GS_BASE: u32 = 0xc000_0102;
const CR_PAT: u32 = 0x277;
const EFER: u32 = 0xc000_0080;

const GP: Option<(u64, u64)> = Some((trap::GP, 0));

user_code!(user_rdmsr, "mov ecx, 0xc0000100", "rdmsr", "ud2");

fn read(msr: u32) -> Result<u64, (u64, u64)> {
    let (mut low, mut high) = (0u64, 0u64);
    let seen =
        trap::catch(|| machine!("rdmsr", in("ecx") msr, inout("rax") low, inout("rdx") high));
    seen.map_or(Ok(high << 32 | low), |frame| {
        Err((frame.vector, frame.error))
    })
}

fn write(msr: u32, value: u64) -> Option<(u64, u64)> {
    let seen = trap::catch(
        || machine!("wrmsr", in("ecx") msr, in("eax") value as u32, in("edx") (value >> 32) as u32),
    );
    seen.map(|frame| (frame.vector, frame.error))
}

fn main() {
    for msr in [FS_BASE, GS_BASE, KERNEL_GS_BASE] {
        for value in [0, 0x1234_5678_9abc, 0xffff_ffff_8000_1000, 0x7fff_ffff_ffff] {
            check_eq!(write(msr, value), None, "wrmsr {msr:#x} of {value:#x}");
            check_eq!(read(msr), Ok(value), "rdmsr {msr:#x}");
        }
        for value in [0x8000_0000_0000, 0xffff_7fff_ffff_ffff, 1 << 63] {
            check_eq!(write(msr, value), GP, "wrmsr {msr:#x} of {value:#x}");
            check_eq!(
                read(msr),
                Ok(0x7fff_ffff_ffff),
                "rdmsr {msr:#x} after a refusal"
            );
        }
    }
    bases_are_loaded();
    check_eq!(read(CR_PAT), Ok(0x0000_0501_0007_0406), "CR_PAT");
    check_eq!(write(CR_PAT, 0x0007_0406_0007_0406), GP, "wrmsr CR_PAT");
    check_eq!(
        read(EFER).map(|efer| efer & 0x501),
        Ok(0x501),
        "EFER: SCE, LME, LMA"
    );
    check_eq!(write(EFER, 0), GP, "wrmsr EFER of 0");
    check_eq!(
        read(0x1b).map(|base| base & 0xffff_f800),
        Ok(0xfee0_0800),
        "APIC_BASE"
    );
    for msr in [
        0xdead_beefu32,
        0x4000_0123,
        0xc000_0082,
        0xc000_0081,
        0xc000_0084,
    ] {
        check_eq!(read(msr), Err((trap::GP, 0)), "rdmsr {msr:#x}");
        check_eq!(write(msr, 0), GP, "wrmsr {msr:#x}");
    }
    let space = user::Space::new();
    space.load(user_rdmsr());
    check_eq!(
        user::run(user::start_frame()).vector,
        trap::GP,
        "rdmsr in user mode"
    );
}

fn bases_are_loaded() {
    let mut data = 0x1122_3344u64;
    let address = hypercall::pointer(&mut data);
    let got: u64;
    write(FS_BASE, address);
    machine!("mov {}, fs:[0]", out(reg) got);
    check_eq!(got, 0x1122_3344, "a read through fs");
    let got: u64;
    write(GS_BASE, address);
    machine!("mov {}, gs:[0]", out(reg) got);
    check_eq!(got, 0x1122_3344, "a read through gs");
    for (which, msr) in [(0, FS_BASE), (1, KERNEL_GS_BASE), (2, GS_BASE)] {
        check_eq!(
            hypercall::call(abi::SET_SEGMENT_BASE, [which, address + which]),
            0,
            "set_segment_base {which}"
        );
        check_eq!(
            read(msr),
            Ok(address + which),
            "rdmsr {msr:#x} after set_segment_base"
        );
        let result = hypercall::call(abi::SET_SEGMENT_BASE, [which, 0x8000_0000_0000]);
        check_eq!(
            result,
            abi::EINVAL,
            "set_segment_base {which}, not canonical"
        );
    }
    check_eq!(
        hypercall::call(abi::SET_SEGMENT_BASE, [3, 0xdff8]),
        0,
        "set_segment_base 3 of a bad selector"
    );
    check_eq!(
        hypercall::call(abi::SET_SEGMENT_BASE, [4, 0]),
        abi::EINVAL,
        "set_segment_base 4"
    );
}
