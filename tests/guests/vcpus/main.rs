//! Behaviour: vcpu_op, and a second vcpu (pv-abi 5.6).
//! Trigger: vcpu 1 initialised, started, sent an event, stopped; wrong orders and wrong numbers.
//! Expectation: the second vcpu runs what its context says; errors as documented. Skipped with one vcpu.
#![no_std]
#![no_main]

use rexen_guests::{
    abi, check, check_eq, entry, event, guest, hypercall, lone::Lone, machine, memory, skip, trap,
};

guest!("vcpus", main);

const INITIALISE: u64 = 0;
const UP: u64 = 1;
const DOWN: u64 = 2;
const IS_UP: u64 = 3;
const GET_RUNSTATE: u64 = 4;
const REGISTER_RUNSTATE_AREA: u64 = 5;
const REGISTER_VCPU_INFO: u64 = 10;

/// Where vcpu 1 counts, and where it finds its argument: [count, rdi at entry, rsp at entry, cs].
static SHARED: Lone<[u64; 4]> = Lone::new([0; 4]);

fn op(cmd: u64, vcpu: u64, argument: u64) -> i64 {
    hypercall::call(abi::VCPU_OP, [cmd, vcpu, argument])
}

/// Code for vcpu 1: stores its registers, then counts and yields for ever.
fn entry_point() -> u64 {
    let address;
    machine!(
        "lea {}, [rip + 2f]", "jmp 4f",
        "2: mov [rdi + 8], rdi", "mov [rdi + 16], rsp", "mov rax, cs", "mov [rdi + 24], rax", "mov rbx, rdi",
        "3: lock inc qword ptr [rbx]", "mov eax, 29", "xor edi, edi", "xor esi, esi", "syscall", "jmp 3b",
        "4:", out(reg) address);
    address
}

fn wait(mut condition: impl FnMut() -> bool) -> bool {
    for _ in 0..2_000_000 {
        if condition() {
            return true;
        }
        hypercall::call(abi::SCHED_OP, [abi::SCHEDOP_YIELD, 0]);
    }
    false
}

fn main() {
    check_eq!(op(IS_UP, 0, 0), 1, "is_up of vcpu 0");
    for vcpu in [128, 4000, 1 << 20] {
        check_eq!(op(IS_UP, vcpu, 0), abi::ENOENT, "is_up of vcpu {vcpu}");
    }
    check_eq!(op(99, 0, 0), abi::ENOSYS, "vcpu_op 99");
    runstate();
    vcpu_info_placement();
    if op(IS_UP, 1, 0) == abi::ENOENT {
        skip!("one vcpu only");
    }
    second_vcpu();
}

fn runstate() {
    let mut state = [0u64; 6];
    check_eq!(
        op(GET_RUNSTATE, 0, hypercall::pointer(&mut state)),
        0,
        "get_runstate_info"
    );
    check_eq!(state[0] as u32, 0, "the caller is running");
    check!(state[1] > 0, "state_entry_time");
    static AREA: Lone<[u64; 6]> = Lone::new([0; 6]);
    let mut argument = AREA.address();
    check_eq!(
        op(REGISTER_RUNSTATE_AREA, 0, hypercall::pointer(&mut argument)),
        0,
        "register_runstate_memory_area"
    );
    check!(AREA.get()[1] != 0, "the area is filled at once");
}

fn vcpu_info_placement() {
    let old = event::shared_info();
    let page = memory::new_page();
    let register = |mfn: u64, offset: u64| {
        let mut argument = [mfn, offset];
        op(REGISTER_VCPU_INFO, 0, hypercall::pointer(&mut argument))
    };
    let mfn = memory::mfn_of(page);
    check_eq!(
        register(mfn, 4096 - 63),
        abi::ENXIO,
        "register_vcpu_info across the end"
    );
    check_eq!(
        register(mfn, 4),
        abi::ENXIO,
        "register_vcpu_info at a crooked offset"
    );
    check_eq!(
        register(memory::mfn_of(entry::start_info().pt_base), 0),
        abi::EINVAL,
        "register_vcpu_info in a page table"
    );
    check_eq!(register(mfn, 128), 0, "register_vcpu_info");
    check_eq!(
        memory::read_byte(page + 128 + 1),
        memory::read_byte(old + 1),
        "the upcall mask moved along"
    );
    check_eq!(register(mfn, 256), abi::EINVAL, "register_vcpu_info twice");
    trap::catch(|| memory::read(0x1234_5000).checked_add(1).map_or((), |_| ()));
    check_eq!(
        memory::read(page + 128 + 0x10),
        0x1234_5000,
        "cr2 goes to the new place"
    );
}

/// `struct vcpu_guest_context`, 5168 bytes, at the offsets of the header.
fn context(stack_top: u64) -> u64 {
    let at = memory::new_page();
    let next = memory::new_page();
    assert!(next == at + 4096, "pages in a row");
    memory::write(at + 0x200, 1 << 2); // VGCF_in_kernel
    let registers = at + 0x208;
    memory::write(registers + 0x70, SHARED.address()); // rdi
    memory::write(registers + 0x80, entry_point());
    memory::write(registers + 0x88, abi::FLAT_CS64);
    memory::write(registers + 0x90, 0x200);
    memory::write(registers + 0x98, stack_top);
    memory::write(registers + 0xa0, abi::FLAT_SS64);
    memory::write(at + 0x1368, abi::FLAT_SS64);
    memory::write(at + 0x1370, stack_top);
    memory::write(at + 0x1390, memory::maddr_of(entry::start_info().pt_base)); // ctrlreg[3]
    at
}

fn second_vcpu() {
    check_eq!(op(IS_UP, 1, 0), 0, "is_up of vcpu 1");
    check_eq!(op(UP, 1, 0), abi::EINVAL, "up before initialise");
    check_eq!(
        op(INITIALISE, 1, 0x1000),
        abi::EFAULT,
        "initialise at a bad pointer"
    );
    let stack_top = memory::new_page() + 4096;
    let good = context(stack_top);
    let bad = context(stack_top);
    memory::write(bad + 0x1390, memory::maddr_of(bad));
    check_eq!(
        op(INITIALISE, 1, bad),
        abi::EINVAL,
        "initialise with a cr3 that is no L4"
    );
    memory::write(bad + 0x1390, memory::read(good + 0x1390));
    memory::write(bad + 0x13f8, 0x8000_0000_0000);
    check_eq!(
        op(INITIALISE, 1, bad),
        abi::EINVAL,
        "initialise with a callback that is not canonical"
    );
    check_eq!(op(INITIALISE, 1, good), 0, "initialise");
    check_eq!(op(INITIALISE, 1, good), abi::EEXIST, "initialise twice");
    check_eq!(op(IS_UP, 1, 0), 0, "initialised, it is not up");
    check_eq!(SHARED.get()[0], 0, "nor running");
    check_eq!(op(UP, 1, 0), 0, "up");
    check!(
        wait(|| SHARED.get()[0] > 10),
        "vcpu 1 does not count: {}",
        SHARED.get()[0]
    );
    check_eq!(op(IS_UP, 1, 0), 1, "it is up");
    check_eq!(
        SHARED.get()[1..] == [SHARED.address(), stack_top, abi::FLAT_CS64],
        true,
        "its registers {:x?}",
        SHARED.get()
    );
    check_eq!(op(UP, 1, 0), 0, "up again changes nothing");

    // An event for vcpu 1, which keeps it masked: pending in its own vcpu_info.
    if let Ok(port) = event::bind_ipi(1) {
        event::set_port_mask(port, false);
        check_eq!(event::send(port), 0, "send to vcpu 1");
        check_eq!(
            memory::read_byte(event::shared_info() + 64),
            1,
            "upcall_pending of vcpu 1"
        );
        check_eq!(
            memory::read_byte(event::shared_info()),
            0,
            "upcall_pending of vcpu 0"
        );
    } else {
        check!(false, "bind_ipi to vcpu 1");
    }

    check_eq!(op(DOWN, 1, 0), 0, "down");
    check_eq!(op(IS_UP, 1, 0), 0, "it is down");
    wait(false_after_a_while);
    let count = SHARED.get()[0];
    for _ in 0..1000 {
        hypercall::call(abi::SCHED_OP, [abi::SCHEDOP_YIELD, 0]);
    }
    check_eq!(SHARED.get()[0], count, "a vcpu that is down counts");
    check_eq!(op(UP, 1, 0), 0, "up again");
    check!(
        wait(|| SHARED.get()[0] > count + 10),
        "it does not go on counting"
    );
}

/// True after a thousand calls: time for a stop to arrive.
fn false_after_a_while() -> bool {
    static CALLS: Lone<u32> = Lone::new(0);
    CALLS.set(CALLS.get() + 1);
    CALLS.get() > 1000
}
