//! Behaviour: the iret hypercall reads its frame from the guest's stack (pv-abi 2.5).
//! Trigger: the iret hypercall with rsp in nothing.
//! Expectation: the hypervisor crashes this domain, says so, and lives.
#![no_std]
#![no_main]

use rexen_guests::{crashing, guest, machine};

guest!("crash_iret_frame_unreadable", main);

fn main() {
    crashing!("iret with an unreadable frame");
    machine!("mov rsp, {}", "mov eax, 23", "syscall", "ud2", in(reg) 0x1000u64, options(noreturn));
}
