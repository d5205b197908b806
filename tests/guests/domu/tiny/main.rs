//! Behaviour: how a domU starts (pv-abi 1.5, 1.6, as the toolstack lays it out), and how it ends.
//! Trigger: the warden creates it. With `linger=` it stays for a random time of up to so many milliseconds: its end is when
//! the warden destroys the round's guests in the background, wherever they are. With `end=reboot` or `end=crash` it does that
//! instead of powering off. With `lines=` it prints so many numbered lines first, with `stay=1` it never ends.
//! Expectation: start_info, p2m, tables and registers as for domain 0, but for the privileges; it can print, and power off.
#![no_std]
#![no_main]

use rexen_guests::{abi, check, check_eq, clock, entry, event, guest, hypercall, memory, report};

guest!("tiny", main);

fn main() {
    let info = entry::start_info();
    check_eq!(info.flags & 3, 0, "flags: not privileged");
    check!(!entry::is_domain0(), "it is not domain 0");
    check!(info.console[0] != 0, "the console page has a frame");
    check_eq!(entry::text_option("name"), Some("tiny"), "the command line");
    check_eq!(
        memory::mfn_of(info.pt_base),
        memory::read(info.mfn_list + (info.pt_base - abi::VIRT_BASE) / 4096 * 8),
        "p2m"
    );
    check_eq!(
        memory::va_of_mfn(memory::mfn_of(info.pt_base)),
        info.pt_base,
        "m2p"
    );
    check_eq!(
        memory::pte_of(info.pt_base) & abi::PTE_RW,
        0,
        "the tables are read-only"
    );
    let spare = memory::spare_page(0).unwrap_or(0);
    check_eq!(memory::read(spare), 0, "a page behind the boot stack");
    memory::write(spare, 1);
    check_eq!(event::upcall_mask(), 1, "no events yet");
    for line in 1..=entry::option("lines").unwrap_or(0) {
        report::print(format_args!("line {line} of tiny"));
    }
    if entry::option("stay").is_some() {
        report::print(format_args!("GUEST tiny stays"));
        loop {
            hypercall::call(abi::SCHED_OP, [abi::SCHEDOP_BLOCK, 0]);
        }
    }
    if let Some(milliseconds) = entry::option("linger") {
        linger(milliseconds);
    }
    let reason = match entry::text_option("end") {
        Some("reboot") => abi::SHUTDOWN_REBOOT,
        Some("crash") => abi::SHUTDOWN_CRASH,
        _ => return, // It passes, and powers off.
    };
    report::print(format_args!("GUEST tiny ends otherwise"));
    hypercall::shut_down(reason)
}

fn linger(most_ms: u64) {
    let start = clock::now();
    let random = start.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
    let end = start + ((most_ms * 1_000_000 * random) >> 32);
    while clock::now() < end {
        hypercall::call(abi::SCHED_OP, [abi::SCHEDOP_YIELD, 0]);
    }
}
