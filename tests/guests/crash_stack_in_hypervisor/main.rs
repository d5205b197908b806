//! Behaviour: a bounce frame never touches the hypervisor's memory (pv-abi 3.4, XSA-215).
//! Trigger: an exception while rsp points just above the lower end of the hypervisor's hole.
//! Expectation: the hypervisor crashes this domain, says so, and lives.
#![no_std]
#![no_main]

use rexen_guests::{abi, crashing, guest, machine};

guest!("crash_stack_in_hypervisor", main);

fn main() {
    crashing!("an exception with the stack in the hypervisor");
    machine!("mov rsp, {}", "ud2", in(reg) abi::HYPERVISOR_VIRT_START + 0x40, options(noreturn));
}
