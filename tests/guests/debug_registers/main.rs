//! Behaviour: debug registers and single steps (pv-abi 3.7, 3.3).
//! Trigger: set_debugreg and get_debugreg, mov dr, a watched store, a breakpoint, TF.
//! Expectation: #DB with dr6; the hypervisor cannot be watched.
#![no_std]
#![no_main]

use rexen_guests::{abi, check, check_eq, guest, hypercall, lone::Lone, machine, trap};

guest!("debug_registers", main);

static WATCHED: Lone<u64> = Lone::new(0);
static STEPS: Lone<u64> = Lone::new(0);

fn set(register: u64, value: u64) -> i64 {
    hypercall::call(abi::SET_DEBUGREG, [register, value])
}

fn get(register: u64) -> u64 {
    hypercall::call(abi::GET_DEBUGREG, [register]).cast_unsigned()
}

fn main() {
    registers();
    watchpoint();
    single_step();
}

fn registers() {
    for register in 0..4 {
        check_eq!(set(register, 0x1_2340 + register), 0, "dr{register}");
        check_eq!(get(register), 0x1_2340 + register, "dr{register}");
        for address in [
            abi::HYPERVISOR_VIRT_START,
            0xffff_82d0_4000_0000,
            abi::HYPERVISOR_VIRT_END - 1,
            0x8000_0000_0000,
        ] {
            check_eq!(
                set(register, address),
                abi::EPERM,
                "dr{register} at {address:#x}"
            );
        }
        check_eq!(
            get(register),
            0x1_2340 + register,
            "dr{register} after refusals"
        );
        check_eq!(set(register, 0), 0, "dr{register} to 0");
    }
    check_eq!(get(6) & 0xffff_0ff0, 0xffff_0ff0, "fixed bits of dr6");
    check_eq!(get(7) & 0x400, 0x400, "the fixed bit of dr7");
    check_eq!(set(8, 0), abi::ENODEV, "dr8");
    check_eq!(get(8).cast_signed(), abi::ENODEV, "reading dr8");
    // mov to and from a debug register does the same.
    let value: u64;
    machine!("mov dr1, {0}", "mov {0}, dr1", inout(reg) 0x5670u64 => value);
    check_eq!(value, 0x5670, "mov dr1");
    check_eq!(get(1), 0x5670, "get_debugreg after mov");
    let seen = trap::catch(|| machine!("mov dr1, {0}", in(reg) abi::HYPERVISOR_VIRT_START));
    check_eq!(
        seen.map(|f| (f.vector, f.error)),
        Some((trap::GP, 0)),
        "mov dr1 of the hypervisor's address"
    );
    set(1, 0);
}

fn watchpoint() {
    check_eq!(set(0, WATCHED.address()), 0, "dr0");
    // L0, write, 8 bytes.
    check_eq!(set(7, 1 << 0 | 1 << 16 | 2 << 18 | 0x400), 0, "dr7");
    let at = WATCHED.address();
    let seen = trap::catch(|| machine!("mov qword ptr [{}], 5", "nop", in(reg) at));
    check_eq!(seen.map(|f| f.vector), Some(trap::DB), "a watched store");
    check_eq!(WATCHED.get(), 5, "the store is done");
    check_eq!(get(6) & 0xf, 1, "dr6 says which");
    check_eq!(set(6, 0), 0, "clearing dr6");
    let seen = trap::catch(|| machine!("mov {}, qword ptr [{}]", out(reg) _, in(reg) at));
    check_eq!(seen.map(|f| f.vector), None, "a read is not watched");
    check_eq!(set(7, 0), 0, "dr7 to 0");
    let seen = trap::catch(|| machine!("mov qword ptr [{}], 6", "nop", in(reg) at));
    check_eq!(seen.map(|f| f.vector), None, "a store after that");
}

fn single_step() {
    trap::set_hook(Some(|frame| {
        if frame.vector != trap::DB {
            return false;
        }
        STEPS.set(STEPS.get() + 1);
        true
    }));
    machine!(
        "pushfq",
        "or qword ptr [rsp], 0x100",
        "popfq",
        "nop",
        "nop",
        "pushfq",
        "and qword ptr [rsp], ~0x100",
        "popfq"
    );
    trap::set_hook(None);
    check_eq!(STEPS.get(), 5, "steps");
    check!(get(6) & 0x4000 != 0, "dr6.BS: {:#x}", get(6));
}
