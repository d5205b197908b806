//! Attack: floods, for whoever listens (pv-abi 13; XSA-146, 152).
//! Trigger: the console page with any indices and all bytes, events to domain 0 without end, the hypervisor's console,
//! calls that the hypervisor logs.
//! Expectation: domain 0 and the hypervisor's log are not drowned, and the console works afterwards. Harmless to Xen.
#![no_std]
#![no_main]

use rexen_guests::{
    abi, check, check_eq, entry, event, guest, hypercall, machine, memory, refused, trap,
};

guest!("hostile_console", main);

const OUT_CONS: u64 = 3080;
const OUT_PROD: u64 = 3084;

fn main() {
    event::shared_info();
    let info = entry::start_info();
    let (page, port) = (memory::va_of_mfn(info.console[0]), info.console[1] as u32);
    for offset in 0..3072 {
        memory::write_byte(page + offset, b'.');
    }
    let mut random = 0x1234_5678u32;
    for _ in 0..2000 {
        random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        memory::write_u32(page + OUT_PROD, random);
        memory::write_u32(page + 3072 + u64::from(random >> 8 & 3) * 4, random);
        event::send(port);
    }
    for _ in 0..50_000 {
        event::send(port);
    }
    // All is printed: the rest of the ring is this guest's again.
    let cons = memory::read_u32(page + OUT_CONS);
    memory::write_u32(page + OUT_PROD, cons.wrapping_add(1));
    memory::write_byte(page + 1024 + u64::from(cons % 2048), b'\n');
    event::send(port);
    let mut empty = false;
    for _ in 0..1_000_000 {
        empty = memory::read_u32(page + OUT_CONS) == memory::read_u32(page + OUT_PROD);
        if empty {
            break;
        }
        hypercall::call(abi::SCHED_OP, [abi::SCHEDOP_YIELD, 0]);
    }
    check!(empty, "domain 0 reads the console again");
    hypervisor_console();
    logged_calls();
}

fn hypervisor_console() {
    let mut text = *b"a domU's line\n";
    let mut written = 0;
    for _ in 0..1000 {
        let result = hypercall::call(
            abi::CONSOLE_IO,
            [0, text.len() as u64, hypercall::pointer(&mut text)],
        );
        if result >= 0 {
            written += 1;
        }
    }
    check_eq!(written, 0, "lines on the hypervisor's console");
    for count in [0, 1, 1 << 31, u64::MAX] {
        for address in [
            0,
            abi::HYPERVISOR_VIRT_START,
            !0,
            hypercall::pointer(&mut text),
        ] {
            refused!(
                hypercall::call(abi::CONSOLE_IO, [0, count, address]),
                "writing {count:#x} bytes at {address:#x}"
            );
        }
    }
}

/// What a hypervisor may find worth a line of its log.
fn logged_calls() {
    let window = memory::new_page();
    for index in 0..3000u64 {
        hypercall::update_va_mapping(window, index << 12 | 3 | 1 << 51);
        hypercall::mmuext(abi::MMUEXT_PIN_L4_TABLE, index, 0);
        hypercall::call(100 + index as u32 % 1000, [index]);
        trap::catch(|| machine!("wrmsr", in("ecx") 0x1b, in("eax") 0, in("edx") 0));
        hypercall::call(
            abi::GRANT_TABLE_OP,
            [
                0,
                hypercall::pointer(&mut [window, 2 | index << 32, 0u64, 0]),
                1,
            ],
        );
    }
    check_eq!(
        memory::set_writable(window, true),
        0,
        "the window, writable"
    );
}
